package quorum

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// epochStart decides the records that begin a leader's epoch and puts them into batches.
type epochStart struct {
	c         *Config
	d         *Directory
	directory meta.UUID // of metadata.log.dir
	out       *appender
	kraft     int16
	voters    []meta.Voter
}

// control writes the first batch of the epoch (LeaderState.appendStartOfEpochControlRecords): the leader, and the voters where
// the log does not name them yet or not as they are now.
func (e *epochStart) control(now int64) {
	self := []meta.VoterID{{ID: e.c.NodeID}}
	records := []meta.ControlRecord{&meta.LeaderChangeMessage{LeaderID: e.c.NodeID, Voters: self, GrantingVoters: self}}
	voter := e.c.voter(e.directory)
	if e.kraft == 0 && len(e.c.StaticVoters) == 0 && !e.d.staticVoters && e.metadataVersion() >= kraftOneVersion {
		// Neither the files nor the configuration name a voter. Named in the log, Kafka finds it there too.
		e.kraft = 1
	}
	if e.kraft >= 1 {
		if len(voter.Endpoints) == 0 && len(e.voters) == 1 {
			voter.Endpoints = e.voters[0].Endpoints
		}
		known := len(e.voters) == 1 && sameVoter(e.voters[0], voter)
		if !known || e.d.state.votersAt < 0 {
			records = append(records, &meta.KRaftVersionRecord{KRaftVersion: e.kraft}, &meta.VotersRecord{Voters: []meta.Voter{voter}})
		}
		e.voters = []meta.Voter{voter}
	}
	e.out.control(now, records...)
}

func (e *epochStart) metadataVersion() int16 {
	if e.d.bootstrap != nil {
		return e.d.bootstrap.metadataVersion
	}
	return e.d.Image.MetadataVersion()
}

func sameVoter(a, b meta.Voter) bool {
	return a.ID == b.ID && a.DirectoryID == b.DirectoryID && slices.Equal(a.Endpoints, b.Endpoints) &&
		a.MinKRaftVersion == b.MinKRaftVersion && a.MaxKRaftVersion == b.MaxKRaftVersion
}

// activationRecords are the first records of a cluster, or the end of a transaction the last leader left open
// (ActivationRecordsGenerator).
func (e *epochStart) activationRecords() []meta.Record {
	var records []meta.Record
	mv := e.metadataVersion()
	if e.d.inTransaction {
		reason := "Controller failover"
		records = append(records, &meta.AbortTransactionRecord{Reason: &reason})
	}
	b := e.d.bootstrap
	if b == nil {
		return records
	}
	name := "Bootstrap records"
	if mv >= transactionsVersion {
		records = append(records, &meta.BeginTransactionRecord{Name: &name})
	}
	records = append(records, b.records...)
	if b.elr {
		value := fmt.Sprint(e.c.MinInSyncReplicas)
		records = append(records, &meta.ConfigRecord{ResourceType: meta.ResourceBroker, Name: "min.insync.replicas", Value: &value})
	}
	if mv >= transactionsVersion {
		records = append(records, &meta.EndTransactionRecord{})
	}
	return records
}

// registrationRecords register this node anew, as controller and as unfenced broker. offset is that of the first of them.
func (e *epochStart) registrationRecords(offset int64, logDirs []meta.UUID) (records []meta.Record, brokerEpoch int64) {
	mv := e.metadataVersion()
	if mv >= controllersVersion && len(e.c.ControllerListeners) > 0 {
		records = append(records, &meta.RegisterControllerRecord{
			ControllerID: e.c.NodeID, IncarnationID: meta.NewUUID(), EndPoints: e.c.ControllerListeners, Features: meta.SupportedFeatures(),
		})
		offset++
	}
	register := &meta.RegisterBrokerRecord{
		BrokerID: e.c.NodeID, IncarnationID: meta.NewUUID(), BrokerEpoch: offset, EndPoints: e.c.EndPoints,
		Features: meta.SupportedFeatures(), Rack: e.c.Rack, Fenced: true,
	}
	if mv >= directoriesVersion {
		register.LogDirs = logDirs
	}
	records = append(records, register)
	if mv >= cordonedVersion {
		records = append(records, &meta.BrokerRegistrationChangeRecord{BrokerID: e.c.NodeID, BrokerEpoch: offset, CordonedLogDirs: []meta.UUID{}})
	}
	return append(records, &meta.BrokerRegistrationChangeRecord{BrokerID: e.c.NodeID, BrokerEpoch: offset, Fenced: -1}), offset
}

// electionRecords make this node the leader, the in-sync replica and the keeper of every partition it has a replica of, and say
// nothing about those that already are so. logDirs are the directories to choose from, partitionDirs where replicas were found.
func electionRecords(im *meta.Image, nodeID int32, mv int16, logDirs []meta.UUID, partitionDirs map[string][]meta.UUID) []meta.Record {
	p := NewPlacement(im, nodeID, logDirs)
	var records []meta.Record
	for _, t := range im.Topics() {
		for _, part := range t.Partitions {
			i := slices.Index(part.Replicas, nodeID)
			if i < 0 {
				continue
			}
			var dirs []meta.UUID
			if mv >= directoriesVersion {
				dirs = p.fix(t.Name, part, i, partitionDirs)
			}
			if change := electionRecord(t.ID, part, nodeID, dirs); change != nil {
				records = append(records, change)
			}
		}
	}
	return records
}

// electionRecord returns nil where there is nothing to change.
func electionRecord(topic meta.UUID, part *meta.Partition, nodeID int32, dirs []meta.UUID) meta.Record {
	led := part.Leader == nodeID && len(part.ISR) == 1 && part.ISR[0] == nodeID
	if led && part.RecoveryState == meta.RecoveryStateRecovered && len(part.ELR)+len(part.LastKnownELR) == 0 && dirs == nil {
		return nil
	}
	change := meta.NewPartitionChange(topic, part.ID)
	change.Directories = dirs
	if part.Leader != nodeID {
		change.Leader = nodeID
	}
	if !led {
		change.ISR = []int32{nodeID}
	}
	if part.RecoveryState != meta.RecoveryStateRecovered {
		change.LeaderRecoveryState = meta.RecoveryStateRecovered
	}
	if len(part.ELR) > 0 {
		change.EligibleLeaderReplicas = []int32{}
	}
	if len(part.LastKnownELR) > 0 {
		change.LastKnownELR = []int32{}
	}
	return change
}

// Placement chooses log directories for new replicas as Kafka's LogManager does: the one with the fewest partitions. It belongs
// to one goroutine.
type Placement struct {
	dirs  []meta.UUID
	count map[meta.UUID]int
	name  []byte // of a partition, used again
}

// NewPlacement chooses among dirs, at least one, for replicas of the node; the image says how many each has.
func NewPlacement(im *meta.Image, nodeID int32, dirs []meta.UUID) *Placement {
	p := &Placement{dirs: dirs, count: map[meta.UUID]int{}}
	if len(dirs) > 1 {
		for _, t := range im.Topics() {
			for _, part := range t.Partitions {
				if i := slices.Index(part.Replicas, nodeID); i >= 0 && i < len(part.Directories) {
					p.count[part.Directories[i]]++
				}
			}
		}
	}
	return p
}

// Next returns the directory for one more replica and counts it.
func (p *Placement) Next() meta.UUID {
	best := slices.MinFunc(p.dirs, func(a, b meta.UUID) int { return cmp.Compare(p.count[a], p.count[b]) })
	p.count[best]++
	return best
}

// fix returns the partition's directories as they should be, or nil if they are.
func (p *Placement) fix(topic string, part *meta.Partition, i int, found map[string][]meta.UUID) []meta.UUID {
	p.name = strconv.AppendInt(append(append(p.name[:0], topic...), '-'), int64(part.ID), 10)
	places := found[string(p.name)]
	var want, have meta.UUID
	if i < len(part.Directories) {
		have = part.Directories[i]
	}
	switch {
	case slices.Contains(places, have):
		return nil // where two have it, this says which one counts
	case len(places) > 1:
		return nil // nobody knows: the start is refused where the logs are opened
	case len(places) == 1:
		want = places[0]
	case slices.Contains(p.dirs, have):
		return nil // not created yet
	default:
		want = p.Next()
	}
	dirs := make([]meta.UUID, len(part.Replicas))
	copy(dirs, part.Directories)
	dirs[i] = want
	return dirs
}

// adoptDirectories gives every directory without directory.id one, on disk, and returns all in the order of c.dirs. metadata.log.dir
// takes the id that the quorum knows for its voter, if any.
func adoptDirectories(f vfs.FS, c *Config, d *Directory) (byDir map[string]meta.UUID, err error) {
	byDir = map[string]meta.UUID{}
	for _, dir := range c.dirs() {
		p := d.identity.directories[dir]
		if !p.directory.IsZero() {
			byDir[dir] = p.directory
			continue
		}
		id := meta.NewUUID()
		if c.isMetadataDir(dir) && len(d.state.voters) == 1 && !d.state.voters[0].DirectoryID.IsZero() {
			id = d.state.voters[0].DirectoryID
		}
		p = &metaProperties{version: 1, clusterID: d.ClusterID, nodeID: c.NodeID, directory: id}
		if err := vfs.WriteFileAtomic(f, filepath.Join(dir, metaPropertiesFile), p.encode(c.Clock.Now())); err != nil {
			return nil, err
		}
		c.Logger.Info("gave the log directory an id", "dir", dir, "directory.id", id.String())
		byDir[dir] = id
	}
	return byDir, nil
}

// tidy removes what an interrupted snapshot left, sets damaged snapshots aside and writes a missing partition.metadata. Nothing
// of it needs to be durable.
func tidy(f vfs.FS, c *Config, d *Directory) error {
	path := c.logPath()
	for _, name := range d.leftovers {
		if err := f.Remove(filepath.Join(path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the leftover of a snapshot: %w", err)
		}
	}
	for _, id := range d.damaged {
		name := filepath.Join(path, id.String())
		if err := f.Rename(name+checkpointSuffix, name+damagedSuffix); err != nil {
			return fmt.Errorf("set a damaged snapshot aside: %w", err)
		}
		c.Logger.Warn("set a damaged snapshot aside; the metadata was read from an older one and the log", "file", name+damagedSuffix)
	}
	name := filepath.Join(path, partitionFile)
	if _, err := f.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return vfs.WriteFileAtomic(f, name, partitionMetadata())
}
