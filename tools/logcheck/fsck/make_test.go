package fsck

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/server/meta"
)

const (
	madeTopic   = "shop"
	madeVersion = 30 // metadata.version of 4.3
	madeTime    = 1_790_000_000_000
	madeCluster = "bWFkZS1mb3ItdGhlLXRlc3Q"
	madeQuorum  = `{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`
)

var (
	madeTopicID = meta.UUID{0x51, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15}
	madeKeysID  = meta.UUID{0x52, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15}
	madeDirID   = meta.UUID{0x61, 9, 8, 7, 6, 5, 0x44, 3, 0x82, 1, 1, 2, 3, 4, 5, 6}
)

// made is a small data directory with a file of every kind, as a clean stop of
// Gregor leaves it.
type made struct {
	t     testing.TB
	dir   string
	store *engine.Store
	clock *clock.Manual
}

type synced chan error

func (s synced) Synced(err error) { s <- err }

func (m *made) append(l *engine.Log, epoch int32, origin producer.Origin, b batch.Batch) {
	m.t.Helper()
	done := make(synced, 1)
	if _, err := l.Append(b, engine.AppendOptions{LeaderEpoch: epoch, Origin: origin}, done); err != nil {
		m.t.Fatal(err)
	}
	if err := <-done; err != nil {
		m.t.Fatal(err)
	}
}

func makeDirectory(t testing.TB) string {
	t.Helper()
	m := &made{t: t, dir: t.TempDir(), clock: clock.NewManual(time.UnixMilli(madeTime))}
	write(t, filepath.Join(m.dir, propertiesName),
		fmt.Sprintf("#\n#Sat Nov 21 06:12:55 UTC 2026\nnode.id=1\ndirectory.id=%s\nversion=1\ncluster.id=%s\n", madeDirID, madeCluster))
	var err error
	if m.store, err = engine.Open(engine.Options{Clock: m.clock, Dirs: []string{m.dir}, Manual: true}); err != nil {
		t.Fatal(err)
	}
	brokerEpoch := m.metadata()
	m.data()
	m.trimmed()
	m.compacted()
	if err := m.store.Close(brokerEpoch); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m.dir, metadataName, quorumName),
		madeQuorum)
	m.leftovers()
	snapshot := string(m.snapshot(0))
	write(t, filepath.Join(m.dir, bootstrapName), snapshot)
	write(t, filepath.Join(m.dir, metadataName, "00000000000000000000-0000000000.checkpoint"), snapshot)
	return m.dir
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// records builds a batch of metadata records.
func records(list ...meta.Record) batch.Batch {
	b := batch.NewBuilder(codec.None)
	for _, r := range list {
		b.Append(madeTime, nil, meta.Append(nil, r, madeVersion))
	}
	return b.Bytes()
}

func control(r meta.ControlRecord) batch.Batch {
	return batch.NewBuilder(codec.None).Control().
		Append(madeTime, meta.AppendControlKey(nil, r.ControlType()), meta.AppendControlValue(nil, r)).Bytes()
}

// registered makes the metadata log of a broker without topics.
func (m *made) registered() (brokerEpoch int64) {
	l, err := m.store.CreateLog(m.dir, metadataName, engine.ID(meta.MetadataTopicID), engine.LogConfig{})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := l.AssignEpoch(1); err != nil {
		m.t.Fatal(err)
	}
	voters := []meta.VoterID{{ID: 1}}
	m.append(l, 1, producer.Raft, control(&meta.LeaderChangeMessage{LeaderID: 1, Voters: voters, GrantingVoters: voters}))
	m.append(l, 1, producer.Raft, records(&meta.FeatureLevelRecord{Name: meta.MetadataVersionFeature, Level: madeVersion}))
	brokerEpoch = l.End()
	m.append(l, 1, producer.Raft, records(&meta.RegisterBrokerRecord{BrokerID: 1, IncarnationID: meta.UUID{7}, BrokerEpoch: brokerEpoch, LogDirs: []meta.UUID{madeDirID}}))
	return brokerEpoch
}

func (m *made) metadata() (brokerEpoch int64) {
	brokerEpoch = m.registered()
	l := m.store.Log(metadataName)
	partition := func(id int32) meta.Record {
		return &meta.PartitionRecord{PartitionID: id, TopicID: madeTopicID, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []meta.UUID{madeDirID}}
	}
	change := func(id, leader int32) meta.Record {
		c := meta.NewPartitionChange(madeTopicID, id)
		c.Leader = leader
		return c
	}
	m.append(l, 1, producer.Raft, records(&meta.TopicRecord{Name: madeTopic, TopicID: madeTopicID}, partition(0), partition(1)))
	m.append(l, 1, producer.Raft, records(change(0, -1), change(0, 1)))
	policy := "compact"
	m.append(l, 1, producer.Raft, records(&meta.TopicRecord{Name: "keys", TopicID: madeKeysID},
		&meta.PartitionRecord{TopicID: madeKeysID, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []meta.UUID{madeDirID}},
		&meta.ConfigRecord{ResourceType: meta.ResourceTopic, ResourceName: "keys", Name: "cleanup.policy", Value: &policy}))
	return brokerEpoch
}

// data writes partition 0: three segments, all codecs, producers, transactions
// and two leader epochs.
func (m *made) data() {
	l, err := m.store.CreateLog(m.dir, madeTopic+"-0", engine.ID(madeTopicID), engine.LogConfig{SegmentBytes: 1100, IndexIntervalBytes: 150})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := l.AssignEpoch(0); err != nil {
		m.t.Fatal(err)
	}
	at, epoch := int64(madeTime), int32(0)
	build := func(c codec.Type, n int) *batch.Builder {
		b := batch.NewBuilder(c)
		for i := range n {
			at += 7
			b.Append(at, fmt.Appendf(nil, "key-%d", i), []byte(strings.Repeat("value ", 1+i%3)), batch.Header{Key: "h", Value: []byte{1}})
		}
		return b
	}
	put := func(origin producer.Origin, b batch.Batch) { m.append(l, epoch, origin, b) }
	for c := codec.None; c <= codec.Zstd; c++ {
		put(producer.Client, build(c, 3).Bytes())
	}
	put(producer.Client, build(codec.None, 2).Producer(7, 0, 0).Bytes())
	put(producer.Client, build(codec.None, 1).Producer(8, 1, 0).Transactional().Bytes())
	if err := l.AssignEpoch(2); err != nil {
		m.t.Fatal(err)
	}
	epoch = 2
	put(producer.Client, build(codec.None, 1).Producer(9, 0, 0).Transactional().Bytes())
	put(producer.Coordinator, batch.EndTransactionMarker(false, 3, 8, 1, at))
	put(producer.Client, build(codec.None, 2).Producer(7, 0, 2).Bytes())
	put(producer.Coordinator, batch.EndTransactionMarker(true, 3, 9, 0, at))
	put(producer.Client, build(codec.None, 1).Producer(9, 0, 1).Transactional().Bytes())
	put(producer.Coordinator, batch.EndTransactionMarker(false, 3, 9, 0, at))
	put(producer.Client, build(codec.LZ4, 20).Bytes())
	put(producer.Client, build(codec.None, 1).Producer(9, 0, 2).Transactional().Bytes())
	put(producer.Client, build(codec.None, 4).Bytes())
}

// trimmed writes partition 1, whose beginning was deleted.
func (m *made) trimmed() {
	l, err := m.store.CreateLog(m.dir, madeTopic+"-1", engine.ID(madeTopicID), engine.LogConfig{IndexIntervalBytes: 200})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := l.AssignEpoch(0); err != nil {
		m.t.Fatal(err)
	}
	for i := range 8 {
		b := batch.NewBuilder(codec.None)
		for range 5 {
			b.Append(madeTime+int64(i), []byte("k"), []byte("v"))
		}
		m.append(l, 0, producer.Client, b.Bytes())
	}
	if _, err := l.DeleteRecordsBefore(12); err != nil {
		m.t.Fatal(err)
	}
}

// compacted writes a log of keys and has it cleaned, which leaves gaps, an empty
// batch and a batch with a delete horizon.
func (m *made) compacted() {
	l, err := m.store.CreateLog(m.dir, "keys-0", engine.ID(madeKeysID), engine.LogConfig{SegmentBytes: 700, IndexIntervalBytes: 150, Compact: true, MinCleanableDirtyRatio: 0.01, DeleteRetentionMs: 1 << 40})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := l.AssignEpoch(0); err != nil {
		m.t.Fatal(err)
	}
	for i := range 14 {
		b := batch.NewBuilder(codec.None)
		for k := range 3 {
			value := []byte("value")
			if i == 5 {
				value = nil
			}
			b.Append(madeTime+int64(i)*10, fmt.Appendf(nil, "key-%d", (i+k)%7), value)
		}
		if i == 8 {
			b.Producer(5, 0, 0)
		}
		m.append(l, 0, producer.Client, b.Bytes())
	}
	m.clock.Advance(time.Minute)
	m.store.RunJobs()
	m.clock.Advance(time.Hour)
	m.store.RunJobs()
}

// leftovers puts files beside the compacted log that a crash in the middle of
// its next cleaning leaves: what it had made already, what it was making, and
// what it had taken away before.
func (m *made) leftovers() {
	dir := filepath.Join(m.dir, "keys-0")
	list, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(list) < 3 {
		m.t.Fatalf("%v %v", list, err)
	}
	for i, suffix := range []string{segment.DeletedSuffix, segment.SwapSuffix, segment.CleanedSuffix} {
		for _, kind := range []string{segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix} {
			name := strings.TrimSuffix(list[i], segment.LogSuffix) + kind
			data, err := os.ReadFile(name)
			if err != nil {
				m.t.Fatal(err)
			}
			write(m.t, name+suffix, string(data))
		}
	}
}

// snapshot is a snapshot of the metadata log, of three batches.
func (m *made) snapshot(epoch int32) (p []byte) {
	next := int64(0)
	for _, b := range []batch.Batch{
		control(&meta.SnapshotHeaderRecord{}),
		records(&meta.FeatureLevelRecord{Name: meta.MetadataVersionFeature, Level: madeVersion}),
		control(&meta.SnapshotFooterRecord{}),
	} {
		b.SetBaseOffset(next)
		b.SetLeaderEpoch(epoch)
		next = b.NextOffset()
		p = append(p, b...)
	}
	return p
}
