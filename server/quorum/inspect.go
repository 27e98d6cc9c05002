package quorum

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// Directory is what Inspect found. It belongs to one start and is not kept up to date.
type Directory struct {
	// Formatted is false where nobody has formatted anything yet: Format comes next.
	Formatted bool
	// ClusterID is the cluster id found or configured; empty if neither.
	ClusterID string
	// Image is the metadata as it was left; empty when the log is. nil if not formatted.
	Image *meta.Image
	// LogEnd is the offset behind the last intact record.
	LogEnd int64
	// Epoch is the highest leader epoch seen; 0 when there was none.
	Epoch int32

	identity      *identity
	state         *metadataState
	bootstrap     *bootstrap // set when the log has no metadata.version yet
	snapshots     []snapshotID
	damaged       []snapshotID
	leftovers     []string
	lastTimestamp int64
	logBytes      int64               // since the newest snapshot
	partitionDirs map[string][]string // topic-partition to the log directory that has it; two behind a move that was cut short
	inTransaction bool
	staticVoters  bool // run with controller.quorum.voters before
}

// contents is what a look at the names in one log directory shows.
type contents struct {
	partitions  []string
	metadataDir bool // there is a __cluster_metadata-0
	metadataLog bool // with a segment or quorum-state in it
}

func readContents(f vfs.FS, dir string) (*contents, error) {
	has := &contents{}
	entries, err := f.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return has, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list log directory %s: %w", dir, err)
	}
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() {
			continue
		}
		if name == MetadataLogName {
			has.metadataDir = true
			inner, err := f.ReadDir(filepath.Join(dir, name))
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", filepath.Join(dir, name), err)
			}
			has.metadataLog = slices.ContainsFunc(inner, func(e fs.DirEntry) bool {
				return e.Name() == quorumStateFile || strings.HasSuffix(e.Name(), ".log")
			})
		} else if isPartitionName(name) {
			has.partitions = append(has.partitions, name)
		}
	}
	return has, nil
}

// isPartitionName recognizes topic-partition; directories on their way out end in another suffix.
func isPartitionName(name string) bool {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || i == len(name)-1 {
		return false
	}
	return strings.Trim(name[i+1:], "0123456789") == ""
}

// Inspect reads everything a start needs and changes nothing, not even a lock file. A directory that must not be taken over is a
// *RefusedError. Reading while another broker owns the directory is harmless: Open compares again under its lock.
func Inspect(f vfs.FS, c Config) (*Directory, error) {
	c = c.withDefaults()
	if err := checkConfig(&c); err != nil {
		return nil, err
	}
	found := map[string]*contents{}
	d := &Directory{partitionDirs: map[string][]string{}}
	for _, dir := range c.dirs() {
		has, err := readContents(f, dir)
		if err != nil {
			return nil, err
		}
		if has.metadataDir && !c.isMetadataDir(dir) {
			return nil, refuse(ErrMisplacedLog, filepath.Join(dir, MetadataLogName), "set metadata.log.dir to that directory", "metadata.log.dir is %s", c.MetadataLogDir)
		}
		found[dir] = has
		for _, name := range has.partitions {
			d.partitionDirs[name] = append(d.partitionDirs[name], dir)
		}
	}
	var err error
	if d.identity, err = readIdentity(f, &c); err != nil {
		return nil, err
	}
	if err := d.identity.requireComplete(&c, found); err != nil {
		return nil, err
	}
	d.ClusterID = d.identity.clusterID
	if d.Formatted = d.identity.formatted(&c); !d.Formatted {
		return d, nil
	}
	if err := d.load(f, &c); err != nil {
		return nil, err
	}
	return d, d.check(f, &c)
}

// checkConfig refuses what the configuration alone shows.
func checkConfig(c *Config) error {
	if len(c.LogDirs) == 0 {
		return refuse(ErrNotFormatted, "log.dirs", "name at least one directory", "it is empty")
	}
	if !c.Broker || !c.Controller {
		return refuse(ErrRoles, "process.roles", "only a node that is broker and controller at once can be run", "expected broker,controller")
	}
	if len(c.StaticVoters) > 1 {
		return refuse(ErrSeveralVoters, "controller.quorum.voters", adviceVoters, "voters %v, expected only %d", c.StaticVoters, c.NodeID)
	}
	if len(c.StaticVoters) == 1 && c.StaticVoters[0] != c.NodeID {
		return refuse(ErrNotVoter, "controller.quorum.voters", adviceVoters, "voter %d, expected node.id %d", c.StaticVoters[0], c.NodeID)
	}
	return nil
}

const adviceVoters = "a single node can only take over the directory of a single-node cluster; remove the other controllers from the quorum with Kafka first"

// load reads the newest usable snapshot, the log behind it and quorum-state.
func (d *Directory) load(f vfs.FS, c *Config) error {
	path := c.logPath()
	list, leftovers, err := listSnapshots(f, path)
	if err != nil {
		return err
	}
	d.leftovers = leftovers
	d.state = newMetadataState()
	from, epoch := int64(0), int32(-1)
	var damage error
	for i, id := range list {
		s, err := readSnapshot(f, filepath.Join(path, id.String()+checkpointSuffix), id)
		if err != nil {
			d.damaged = append(d.damaged, id)
			damage = errors.Join(damage, err)
			continue
		}
		d.state, from, epoch, d.snapshots = s, id.end, id.epoch, list[i:]
		break
	}
	d.state.header, d.state.footer, d.state.records = nil, false, 0
	bounds, err := scanLog(f, path, from, func(file string, position int64, b batch.Batch) error {
		if err := d.state.apply(b, from, noVoters); err != nil {
			return &RefusedError{Reason: ErrCorrupt, File: file, Found: fmt.Sprintf("the batch at position %d cannot be applied", position), Advice: "restore the directory from a copy", Cause: err}
		}
		d.logBytes += int64(len(b))
		return nil
	})
	if err != nil {
		return err
	}
	if bounds.start > from || bounds.end < from || !bounds.exists && (from > 0 || damage != nil) {
		return &RefusedError{Reason: ErrCorrupt, File: path, Advice: "restore the directory from a copy", Cause: damage,
			Found: fmt.Sprintf("the log covers offsets %d to %d, but the newest whole snapshot ends at %d", bounds.start, bounds.end, from)}
	}
	d.LogEnd, d.lastTimestamp, d.Epoch = bounds.end, bounds.timestamp, max(bounds.epoch, epoch, 0)
	if !bounds.exists && from == 0 && len(d.partitionDirs) > 0 {
		return refuse(ErrMissingMetadata, path, "restore it from a copy; without it the partitions belong to nobody",
			"no metadata log, but %d partitions such as %s", len(d.partitionDirs), slices.Min(keys(d.partitionDirs)))
	}
	d.inTransaction = d.state.delta.InTransaction()
	d.Image = d.state.delta.Image(bounds.end-1, d.Epoch)
	return nil
}

func keys[K comparable, V any](m map[K]V) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

// check refuses what must not be taken over.
func (d *Directory) check(f vfs.FS, c *Config) error {
	path := c.logPath()
	if err := d.checkVoters(f, c); err != nil {
		return err
	}
	for _, id := range slices.Sorted(slices.Values(keys(d.Image.Brokers))) {
		if id != c.NodeID {
			return refuse(ErrOtherBrokers, path, "unregister them with Kafka (kafka-cluster unregister) after moving their partitions", "broker %d is registered beside node %d", id, c.NodeID)
		}
		if d.Image.Brokers[id].IsMigratingZkBroker {
			return refuse(ErrMigration, path, "finish the migration with Kafka 3.9", "broker %d is registered as migrating", id)
		}
	}
	if d.state.migration == 1 || d.state.migration == 2 {
		return refuse(ErrMigration, path, "finish the migration with Kafka 3.9", "ZkMigrationState %d, expected 0 (none) or 3 (done)", d.state.migration)
	}
	if err := meta.Unsupported(d.Image); err != nil {
		return &RefusedError{Reason: ErrFeatures, File: path, Found: "newer than Kafka 4.3", Cause: err, Advice: "downgrade the features with the release that set them (kafka-features downgrade)"}
	}
	if d.state.kraftVersion > 1 {
		return refuse(ErrFeatures, path, "", "kraft.version %d, expected 0 or 1", d.state.kraftVersion)
	}
	if d.Image.Features[meta.MetadataVersionFeature] != 0 {
		return nil
	}
	b, err := readBootstrap(f, c)
	if err != nil {
		return err
	}
	probe := meta.NewDelta(nil)
	for _, r := range b.records {
		if err := probe.Apply(r); err != nil {
			return &RefusedError{Reason: ErrCorrupt, File: filepath.Join(c.MetadataLogDir, bootstrapFile), Found: "it cannot be applied", Cause: err}
		}
	}
	if err := meta.Unsupported(probe.Image(0, 0)); err != nil {
		return &RefusedError{Reason: ErrFeatures, File: filepath.Join(c.MetadataLogDir, bootstrapFile), Found: "newer than Kafka 4.3", Cause: err,
			Advice: "format with --release-version 4.3"}
	}
	d.bootstrap = &b
	return nil
}

// checkVoters makes sure that this node, in this directory, is the only voter.
func (d *Directory) checkVoters(f vfs.FS, c *Config) error {
	path := c.logPath()
	state, err := readQuorumState(f, path)
	if err != nil {
		return err
	}
	if len(d.state.voters) > 1 {
		return refuse(ErrSeveralVoters, path, adviceVoters, "voters %v, expected only %d", voterIDs(d.state.voters), c.NodeID)
	}
	directory := d.identity.directories[c.MetadataLogDir].directory
	for _, v := range d.state.voters {
		if v.ID != c.NodeID {
			return refuse(ErrNotVoter, path, adviceVoters, "the voter is node %d and this is node %d, so its metadata is a copy", v.ID, c.NodeID)
		}
		if !directory.IsZero() && !v.DirectoryID.IsZero() && v.DirectoryID != directory {
			return refuse(ErrNotVoter, path, "restore directory.id="+v.DirectoryID.String()+" in meta.properties", "the voter's directory is %s and this one is %s", v.DirectoryID, directory)
		}
	}
	if state == nil {
		return nil
	}
	d.staticVoters = state.version == 0 && len(state.voters) > 0
	name := filepath.Join(path, quorumStateFile)
	if len(state.voters) > 1 {
		return refuse(ErrSeveralVoters, name, adviceVoters, "voters %v, expected only %d", state.voters, c.NodeID)
	}
	if len(state.voters) == 1 && state.voters[0] != c.NodeID {
		return refuse(ErrNotVoter, name, adviceVoters, "the voter is node %d and this is node %d, so its metadata is a copy", state.voters[0], c.NodeID)
	}
	for _, id := range []int32{state.leaderID, state.votedID} {
		if id >= 0 && id != c.NodeID {
			return refuse(ErrNotVoter, name, adviceVoters, "node %d was leader or voted for in epoch %d, expected node %d alone", id, state.leaderEpoch, c.NodeID)
		}
	}
	d.Epoch = max(d.Epoch, state.leaderEpoch)
	return nil
}

func voterIDs(voters []meta.Voter) []int32 {
	var ids []int32
	for _, v := range voters {
		ids = append(ids, v.ID)
	}
	return ids
}
