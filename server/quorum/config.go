package quorum

import (
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/server/meta"
)

// Names of the files this package owns, and Kafka's defaults.
const (
	metaPropertiesFile = "meta.properties"
	bootstrapFile      = "bootstrap.checkpoint"
	quorumStateFile    = "quorum-state"
	partitionFile      = "partition.metadata"

	// MetadataLogName is the directory name of the metadata log.
	MetadataLogName = "__cluster_metadata-0"

	maxBatchBytes   = 8 << 20 // KafkaRaftClient.MAX_BATCH_SIZE_BYTES
	maxBatchRecords = 10_000  // QuorumController.DEFAULT_MAX_RECORDS_PER_BATCH

	transactionsVersion int16 = 13 // 3.6-IV1: metadata transactions
	controllersVersion  int16 = 15 // 3.7-IV0: controllers register
	directoriesVersion  int16 = 17 // 3.7-IV2: directories of replicas
	kraftOneVersion     int16 = 21 // 3.9-IV0: kraft.version 1
	cordonedVersion     int16 = 30 // 4.3-IV0: cordoned log directories
)

// Config is what of the broker's configuration concerns the quorum. The zero value of every limit is Kafka's default.
type Config struct {
	NodeID         int32    // node.id
	Broker         bool     // process.roles has broker
	Controller     bool     // process.roles has controller
	LogDirs        []string // log.dirs, in order; at least one
	MetadataLogDir string   // metadata.log.dir; empty: the first of LogDirs
	// ClusterID is given to Format; empty: a random one. Inspect refuses another one than this if it is set.
	ClusterID string
	// StaticVoters are the ids of controller.quorum.voters; empty for a dynamic quorum.
	StaticVoters []int32
	// ControllerListeners are the listeners of controller.listener.names as others reach them, first the one voters use.
	ControllerListeners []meta.Endpoint
	// EndPoints are advertised.listeners.
	EndPoints []meta.Endpoint
	Rack      *string // broker.rack
	// MinInSyncReplicas is min.insync.replicas, written as cluster default when a new cluster has eligible leader replicas; 0: 1.
	MinInSyncReplicas int32
	// MetadataVersion is the level a new cluster is formatted at; 0: the newest.
	MetadataVersion int16

	SnapshotBytes    int64         // metadata.log.max.record.bytes.between.snapshots; 0: 20 MiB
	SnapshotInterval time.Duration // metadata.log.max.snapshot.interval.ms; 0: 1 h; negative: none
	RetentionBytes   int64         // metadata.max.retention.bytes; 0: 100 MiB; negative: no limit
	Retention        time.Duration // metadata.max.retention.ms; 0: 7 d; negative: no limit

	Clock  clock.Clock  // clock.Real when nil
	Logger *slog.Logger // discards when nil
}

func (c Config) withDefaults() Config {
	if c.MetadataLogDir == "" && len(c.LogDirs) > 0 {
		c.MetadataLogDir = c.LogDirs[0]
	}
	if c.MinInSyncReplicas == 0 {
		c.MinInSyncReplicas = 1
	}
	if c.MetadataVersion == 0 {
		c.MetadataVersion = meta.MaxMetadataVersion
	}
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = 20 << 20
	}
	if c.SnapshotInterval == 0 {
		c.SnapshotInterval = time.Hour
	}
	if c.RetentionBytes == 0 {
		c.RetentionBytes = 100 << 20
	}
	if c.Retention == 0 {
		c.Retention = 7 * 24 * time.Hour
	}
	if c.Clock == nil {
		c.Clock = clock.Real
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return c
}

// dirs returns every directory once: LogDirs, and MetadataLogDir if it is not among them.
func (c *Config) dirs() []string {
	seen := map[string]bool{}
	var list []string
	for _, dir := range append(append([]string{}, c.LogDirs...), c.MetadataLogDir) {
		if !seen[filepath.Clean(dir)] {
			seen[filepath.Clean(dir)] = true
			list = append(list, dir)
		}
	}
	return list
}

// isMetadataDir reports whether dir is metadata.log.dir, however it is spelled.
func (c *Config) isMetadataDir(dir string) bool {
	return filepath.Clean(dir) == filepath.Clean(c.MetadataLogDir)
}

// logPath is the directory of the metadata log.
func (c *Config) logPath() string { return filepath.Join(c.MetadataLogDir, MetadataLogName) }

// voter is this node as a member of the quorum.
func (c *Config) voter(directory meta.UUID) meta.Voter {
	v := meta.Voter{ID: c.NodeID, DirectoryID: directory, MaxKRaftVersion: 1}
	for _, l := range c.ControllerListeners {
		v.Endpoints = append(v.Endpoints, meta.VoterEndpoint{Name: l.Name, Host: l.Host, Port: l.Port})
	}
	return v
}
