package fsck

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// crashTopics are the logs of a world that crashes: some are compacted, some
// lose their beginning.
var crashTopics = []struct {
	name    string
	id      meta.UUID
	compact bool
	config  engine.LogConfig
}{
	{"plain", meta.UUID{0x41, 1}, false, engine.LogConfig{SegmentBytes: 2048, RetentionMs: -1, RetentionBytes: -1}},
	{"short", meta.UUID{0x42, 1}, false, engine.LogConfig{SegmentBytes: 1024, Delete: true, RetentionMs: 20_000, RetentionBytes: 5000}},
	{"keyed", meta.UUID{0x43, 1}, true, engine.LogConfig{SegmentBytes: 1024, Compact: true, RetentionMs: -1, RetentionBytes: -1, MinCleanableDirtyRatio: 0.1, DeleteRetentionMs: 3000}},
	{"both", meta.UUID{0x44, 1}, true, engine.LogConfig{SegmentBytes: 1024, Compact: true, Delete: true, RetentionMs: 30_000, RetentionBytes: -1, MinCleanableDirtyRatio: 0.1, DeleteRetentionMs: 100}},
}

// crashWorld is a store at work on a disk that loses power.
type crashWorld struct {
	t     *testing.T
	rng   *rand.Rand
	disk  *simfs.FS
	clock *clock.Manual
	store *engine.Store
	next  map[string]int32 // sequence of a producer in a log
	open  map[string]bool  // transactions
	epoch map[string]int32
}

func newCrashWorld(t *testing.T, seed uint64) *crashWorld {
	w := &crashWorld{t: t, rng: rand.New(rand.NewPCG(seed, 3)), clock: clock.NewManual(time.UnixMilli(madeTime)), next: map[string]int32{}, open: map[string]bool{}, epoch: map[string]int32{}}
	w.disk = simulated(t, memory{"/data/" + propertiesName: fmt.Appendf(nil, "node.id=1\ndirectory.id=%s\nversion=1\ncluster.id=%s\n", madeDirID, madeCluster)}, simfs.Options{Seed: seed})
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	m := &made{t: t, dir: "/data", store: w.store, clock: w.clock}
	m.registered()
	list := []meta.Record{}
	for _, topic := range crashTopics {
		list = append(list, &meta.TopicRecord{Name: topic.name, TopicID: topic.id}, &meta.PartitionRecord{TopicID: topic.id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []meta.UUID{madeDirID}})
		if topic.compact {
			policy := "compact"
			list = append(list, &meta.ConfigRecord{ResourceType: meta.ResourceTopic, ResourceName: topic.name, Name: "cleanup.policy", Value: &policy})
		}
	}
	m.append(w.store.Log(metadataName), 1, producer.Raft, records(list...))
	if err := writeFile(w.disk, filepath.Join("/data", metadataName, quorumName), []byte(madeQuorum)); err != nil {
		t.Fatal(err)
	}
	for _, topic := range crashTopics {
		l, err := w.store.CreateLog("/data", topic.name+"-0", engine.ID(topic.id), w.config(topic.config))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.AssignEpoch(0); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.disk.SyncDir("/data/"+metadataName), w.disk.SyncDir("/data")); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *crashWorld) config(c engine.LogConfig) engine.LogConfig {
	c.IndexIntervalBytes, c.SegmentIndexBytes, c.SegmentMs, c.FileDeleteDelayMs = 200, 4096, 1<<40, 500
	return c
}

func (w *crashWorld) start() (err error) {
	w.store, err = engine.Open(engine.Options{FS: w.disk, Clock: w.clock, Dirs: []string{"/data"}, Manual: true, SyncWorkers: 1, CheckpointBytes: 3000,
		Cleaner: engine.CleanerOptions{Backoff: time.Second, IOBufferBytes: 8192}})
	return err
}

// openLogs recovers what is there.
func (w *crashWorld) openLogs() error {
	if _, err := w.store.OpenLog("/data", metadataName, engine.LogConfig{SegmentBytes: 8192}); err != nil {
		return err
	}
	for _, topic := range crashTopics {
		l, err := w.store.OpenLog("/data", topic.name+"-0", w.config(topic.config))
		if err != nil {
			return err
		}
		w.forget(topic.name, l)
	}
	// As a broker does, begin a new epoch of every log.
	tree, err := Scan(w.disk, "/data/"+metadataName)
	if err != nil {
		return err
	}
	c := readCluster(w.disk, tree.Partitions[0], 1)
	for _, topic := range crashTopics {
		w.epoch[topic.name] = c.led[partitionKey{topic.id, 0}].epoch
		if err := w.lead(topic.name, topic.id); err != nil {
			return err
		}
	}
	return nil
}

// lead begins a new leader epoch: in the metadata, then in the log.
func (w *crashWorld) lead(topic string, id meta.UUID) error {
	change := meta.NewPartitionChange(id, 0)
	change.Leader = 1
	done := make(synced, 1)
	_, err := w.store.Log(metadataName).Append(records(change), engine.AppendOptions{LeaderEpoch: 1, Origin: producer.Raft}, done)
	if err == nil {
		err = <-done
	}
	if err != nil {
		return err
	}
	w.epoch[topic]++
	return w.store.Log(topic + "-0").AssignEpoch(w.epoch[topic])
}

// work does one random thing.
func (w *crashWorld) work() error {
	w.clock.Advance(time.Duration(w.rng.IntN(300)) * time.Millisecond)
	topic := crashTopics[w.rng.IntN(len(crashTopics))]
	l := w.store.Log(topic.name + "-0")
	switch n := w.rng.IntN(100); {
	case n < 75:
		return w.append(topic.name, l)
	case n < 80:
		_, err := l.DeleteRecordsBefore(l.Start() + w.rng.Int64N(l.High()-l.Start()+1)/2)
		return err
	case n < 84:
		return w.lead(topic.name, topic.id)
	default:
		w.clock.Advance(time.Duration(w.rng.IntN(3000)) * time.Millisecond)
		w.store.RunJobs()
		return w.store.Failed("/data")
	}
}

// forget learns anew what the log knows of producers.
func (w *crashWorld) forget(topic string, l *engine.Log) {
	for id := range int64(3) {
		delete(w.next, fmt.Sprint(topic, id))
		w.open[fmt.Sprint(topic, id)] = false
	}
	for _, p := range l.Producers() {
		key := fmt.Sprint(topic, p.ID)
		w.next[key], w.open[key] = p.LastSequence+1, p.TxnFirstOffset >= 0
	}
}

func (w *crashWorld) append(topic string, l *engine.Log) error {
	b := batch.NewBuilder(codec.Type(w.rng.IntN(5)))
	for range 1 + w.rng.IntN(8) {
		value := []byte(strings.Repeat("v", w.rng.IntN(60)))
		if w.rng.IntN(6) == 0 {
			value = nil
		}
		b.Append(w.clock.Now().UnixMilli(), fmt.Appendf(nil, "k%d", w.rng.IntN(12)), value)
	}
	id := w.rng.Int64N(4)
	key := fmt.Sprint(topic, id)
	origin := producer.Client
	switch {
	case id == 3:
	case id == 2 && w.open[key] && w.rng.IntN(3) == 0:
		done := make(synced, 1)
		if _, err := l.Append(batch.EndTransactionMarker(w.rng.IntN(2) == 0, 1, id, 0, w.clock.Now().UnixMilli()), engine.AppendOptions{LeaderEpoch: w.epoch[topic], Origin: producer.Coordinator}, done); err != nil {
			return err
		}
		w.open[key] = false
		return <-done
	case id == 2:
		b.Producer(id, 0, w.next[key]).Transactional()
		w.open[key] = true
	default:
		b.Producer(id, 0, w.next[key])
	}
	p := b.Bytes()
	done := make(synced, 1)
	_, err := l.Append(p, engine.AppendOptions{LeaderEpoch: w.epoch[topic], Origin: origin}, done)
	if err == nil {
		err = <-done
	}
	if err == nil && id < 3 {
		w.next[key] = p.LastSequence() + 1
	}
	return err
}

// check verifies the disk as it is. What was promised must be whole; what a
// start puts in order by itself may be out of order.
func (w *crashWorld) check(when string, clean bool) {
	w.t.Helper()
	r, err := Verify(context.Background(), []string{"/data"}, Options{FS: w.disk, Deep: true, Workers: 1})
	if err != nil {
		w.t.Fatalf("%s: %v", when, err)
	}
	if r.Counts.Damage > 0 || r.Status == StatusUnchecked || clean && r.Status != StatusClean {
		w.t.Fatalf("%s: %s", when, describe(r))
	}
}

// TestNoFindingsAfterPowerCuts has the engine work on a disk that loses power,
// and checks what is there after every cut, after the recovery, and after a
// clean stop.
func TestNoFindingsAfterPowerCuts(t *testing.T) {
	seeds, cuts := uint64(max(2, 12/coarse)), 0
	if *full {
		seeds = 400
	}
	for seed := range seeds {
		w := newCrashWorld(t, seed)
		for round := range 8 {
			when := fmt.Sprintf("seed %d, round %d", seed, round)
			w.disk.PowerOffAfter(1 + w.rng.IntN(300))
			var err error
			for err == nil {
				err = w.work()
			}
			if !errors.Is(err, simfs.ErrPowerOff) && w.store.Failed("/data") == nil {
				t.Fatalf("%s: %v", when, err)
			}
			after := w.disk.Crash(simfs.CrashOptions{})
			w.store.Abandon()
			w.disk = after
			cuts++
			w.check(when+", before the recovery", false)
			if err := errors.Join(w.start(), w.openLogs()); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			w.check(when+", recovered", false)
			if round%3 == 2 {
				for range 40 {
					if err := w.work(); err != nil {
						t.Fatalf("%s: %v", when, err)
					}
				}
				if err := w.store.Close(2); err != nil {
					t.Fatalf("%s: %v", when, err)
				}
				w.check(when+", stopped", true)
				if err := errors.Join(w.start(), w.openLogs()); err != nil {
					t.Fatalf("%s: %v", when, err)
				}
			}
		}
		w.store.Abandon()
	}
	t.Logf("%d power cuts", cuts)
}
