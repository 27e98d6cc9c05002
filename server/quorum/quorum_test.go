package quorum

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
)

func TestCommitIsThereAfterAKill(t *testing.T) {
	disk := newDisk()
	n := mustRun(t, disk, testConfig())
	for i := range 5 {
		commitTopic(t, n, fmt.Sprintf("t%d", i), i+1)
	}
	want := n.Image()
	n.kill()
	n = mustRun(t, disk.Crash(simfs.CrashOptions{Keep: simfs.KeepNone}), testConfig())
	sameTopics(t, want, n.Image())
	// Registered anew and nothing else: 4 records.
	if got := n.Image().Offset - want.Offset; got != 5 {
		t.Errorf("%d records at a start after a kill, expected LeaderChange, RegisterController, RegisterBroker and 2 changes of it", got)
	}
	if n.BrokerEpoch() != want.Offset+3 {
		t.Errorf("broker epoch %d, expected the offset of its record %d", n.BrokerEpoch(), want.Offset+3)
	}
}

func TestRoundIsOneAppend(t *testing.T) {
	disk := newDisk()
	n := mustRun(t, disk, testConfig())
	r, err := n.Begin()
	if err != nil {
		t.Fatal(err)
	}
	before := n.Image()
	syncs := disk.Stats().Syncs
	for _, name := range []string{"a", "b", "c"} {
		if err := r.Propose(topicRecords(n, name, 1)); err != nil {
			t.Fatal(err)
		}
	}
	next := r.Next()
	if err := r.Propose([]meta.Record{&meta.TopicRecord{Name: "d", TopicID: meta.NewUUID()}, &meta.RemoveTopicRecord{TopicID: meta.NewUUID()}}); !errors.Is(err, meta.ErrUnknownTopic) {
		t.Errorf("a change that does not fit: %v", err)
	}
	if r.Next() != next || r.Image().Topic("d") != nil || r.Image().Topic("c") == nil {
		t.Error("a refused change left something behind")
	}
	if n.Image() != before {
		t.Error("visible before it is durable")
	}
	im, err := r.Commit()
	if err != nil || n.Image() != im || im.TopicCount() != 3 || im.Offset != next-1 {
		t.Fatalf("%+v, %v", im, err)
	}
	if got := disk.Stats().Syncs - syncs; got != 1 {
		t.Errorf("%d syncs, expected 1", got)
	}
	if r, err = n.Begin(); err != nil {
		t.Fatal(err)
	}
	r.Discard()
	if im, err = n.Commit(nil); err != nil || im != n.Image() {
		t.Errorf("empty commit: %v", err)
	}
}

func TestLargeChangeIsATransaction(t *testing.T) {
	disk := newDisk()
	n := mustRun(t, disk, testConfig())
	commitTopic(t, n, "large", 25_000)
	data := read(t, disk, logName)
	batches, open := 0, false
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > maxBatchBytes || b.RecordCount() > maxBatchRecords {
			t.Errorf("batch at offset %d: %d bytes, %d records", b.BaseOffset(), len(b), b.RecordCount())
		}
		list, _ := records(t, b)
		for _, r := range list {
			switch r := r.(type) {
			case *meta.BeginTransactionRecord:
				open = true
			case *meta.EndTransactionRecord:
				open = false
			case *meta.PartitionRecord:
				if !open {
					t.Fatalf("partition %d outside of a transaction", r.PartitionID)
				}
			}
		}
		batches++
		data = rest
	}
	if open || batches < 6 {
		t.Errorf("%d batches, transaction open: %t", batches, open)
	}
	n.kill()
	n = mustRun(t, disk, testConfig())
	if got := n.Image().PartitionCount(); got != 25_000 {
		t.Errorf("%d partitions after a restart, expected 25,000", got)
	}
}

func TestLargeChangeIsAllOrNothing(t *testing.T) {
	disk := newDisk()
	n := mustRun(t, disk, testConfig())
	// The power goes while the append is under way: its bytes may be there in part.
	disk.PowerOffAfter(1)
	if _, err := n.Commit(topicRecords(n, "large", 11_000)); !errors.Is(err, ErrFailed) {
		t.Fatalf("commit without power: %v", err)
	}
	if _, err := n.Commit(nil); !errors.Is(err, ErrFailed) {
		t.Errorf("commit after a failure: %v", err)
	}
	none, all := 0, 0
	for seed := range uint64(40) {
		after := disk.Crash(simfs.CrashOptions{Keep: simfs.KeepSome, Seed: seed + 1})
		n, err := run(after, testConfig())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		switch got := n.Image().PartitionCount(); got {
		case 0:
			none++
		case 11_000:
			all++
		default:
			t.Errorf("seed %d: %d partitions of a change of 11,000", seed, got)
		}
		n.kill()
	}
	if none == 0 {
		t.Error("no crash lost the change: the test cuts at the wrong moment")
	}
}

func TestTooManyRecordsWithoutTransactions(t *testing.T) {
	c := testConfig()
	c.MetadataVersion = 12
	n := mustRun(t, newDisk(), c)
	if _, err := n.Commit(topicRecords(n, "large", 10_001)); !errors.Is(err, ErrTooManyRecords) {
		t.Errorf("error %v, expected %v", err, ErrTooManyRecords)
	}
	if b := n.Image().Brokers[1]; b.Fenced || len(n.Image().Controllers) != 0 || len(b.LogDirs) != 0 {
		t.Errorf("registered at metadata.version 12: %+v", b)
	}
	commitTopic(t, n, "small", 3)
}

func TestAbortsTheTransactionOfADeadLeader(t *testing.T) {
	disk := newDisk()
	n := mustRun(t, disk, testConfig())
	n.stop(t)
	appendRecords(t, disk, &meta.BeginTransactionRecord{Name: ptr("x")}, &meta.TopicRecord{Name: "half", TopicID: meta.NewUUID()})
	n = mustRun(t, disk, testConfig())
	if n.Image().Topic("half") != nil || n.Image().InTransaction() {
		t.Error("half of a transaction counts")
	}
	list, _ := records(t, read(t, disk, logName))
	found := false
	for _, r := range list {
		if a, ok := r.(*meta.AbortTransactionRecord); ok && *a.Reason == "Controller failover" {
			found = true
		}
	}
	if !found {
		t.Error("no AbortTransactionRecord")
	}
}

func TestReadsAgainWhatMovedBeforeTheLock(t *testing.T) {
	disk := newDisk()
	c := testConfig()
	n := mustRun(t, disk, c)
	d, err := Inspect(disk, c)
	if err != nil {
		t.Fatal(err)
	}
	commitTopic(t, n, "meanwhile", 1)
	n.kill()
	late, err := Inspect(disk, c)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := Open(disk, c, d, &memoryLog{end: late.LogEnd}); err != nil || q.Image().Topic("meanwhile") == nil {
		t.Errorf("opened without what was written in between: %v", err)
	}
	if _, err := Open(disk, c, d, &memoryLog{end: 7}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened a log with another end than its files: %v", err)
	}
}

// memoryLog takes appends and forgets them.
type memoryLog struct {
	end     int64
	size    int64
	deleted int64
	fail    error
}

func (m *memoryLog) Start() int64 { return m.deleted }
func (m *memoryLog) End() int64   { return m.end }
func (m *memoryLog) Size() int64  { return m.size }
func (m *memoryLog) Append(p []byte, _ int32, w Waiter) (int64, error) {
	base := m.end
	m.size += int64(len(p))
	for len(p) > 0 {
		b, rest, err := batch.Next(p)
		if err != nil || b.BaseOffset() != m.end {
			return 0, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
		}
		m.end, p = b.NextOffset(), rest
	}
	w.Synced(m.fail)
	return base, nil
}
func (m *memoryLog) DeletePrefix(offset int64) error { m.size, m.deleted = 0, offset; return nil }

// snapshotNames lists what snapshots there are.
func snapshotNames(t *testing.T, f vfs.FS) (names []string) {
	t.Helper()
	list, left, err := listSnapshots(f, "/data/__cluster_metadata-0")
	if err != nil || len(left) > 0 {
		t.Fatalf("leftovers %v, %v", left, err)
	}
	for _, id := range list {
		names = append(names, id.String())
	}
	return names
}

func TestSnapshotAfterBytesAndRetention(t *testing.T) {
	disk := newDisk()
	c := testConfig()
	c.SnapshotBytes = 50_000
	c.RetentionBytes = 1
	d, err := Prepare(disk, c)
	if err != nil {
		t.Fatal(err)
	}
	log := &memoryLog{}
	q, err := Open(disk, c, d, log)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Quorum: q}
	for i := range 10 {
		commitTopic(t, n, fmt.Sprintf("t%d", i), 100)
		q.snapshots.wait.Wait()
	}
	q.Close()
	names := snapshotNames(t, disk)
	if len(names) != 1 || strings.HasPrefix(names[0], "00000000000000000000") {
		t.Fatalf("snapshots %v, expected the newest alone", names)
	}
	if want := fmt.Sprintf("%020d-0000000001", log.deleted); names[0] != want {
		t.Errorf("log begins at %d, newest snapshot is %s", log.deleted, names[0])
	}
	if _, err := q.Commit(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("commit after close: %v", err)
	}
}

func TestSnapshotAfterTimeAndAge(t *testing.T) {
	disk := newDisk()
	c := testConfig()
	hour := clock.NewManual(start)
	c.Clock, c.SnapshotInterval, c.Retention = hour, time.Hour, 90*time.Minute
	n := mustRun(t, disk, c)
	wait := func(d time.Duration) {
		hour.Advance(d)
		n.snapshots.wait.Wait()
	}
	wait(59 * time.Minute)
	if names := snapshotNames(t, disk); len(names) != 1 {
		t.Fatalf("after 59 minutes: %v", names)
	}
	wait(time.Minute)
	if names := snapshotNames(t, disk); len(names) != 2 {
		t.Fatalf("after an hour with changes: %v", names)
	}
	wait(5 * time.Hour)
	if names := snapshotNames(t, disk); len(names) != 2 {
		t.Fatalf("after hours without a change: %v", names)
	}
	commitTopic(t, n, "t", 1)
	wait(time.Hour)
	if names := snapshotNames(t, disk); len(names) != 1 || n.Image().Offset+1 != 19 {
		t.Fatalf("old snapshots stay: %v at %d", names, n.Image().Offset)
	}
	want := n.Image()
	n.kill()
	again := mustRun(t, disk, c)
	sameTopics(t, want, again.Image())
	voters, level := again.Voters()
	if level != 1 || len(voters) != 1 || voters[0].DirectoryID != again.DirectoryID("/data") {
		t.Errorf("voters read from a snapshot: %v, kraft.version %d", voters, level)
	}
}

func TestSnapshotSurvivesPowerCuts(t *testing.T) {
	for cut := 1; ; cut++ {
		disk := simfs.New(simfs.Options{Seed: uint64(cut)})
		c := testConfig()
		c.RetentionBytes = 1
		n := mustRun(t, disk, c)
		commitTopic(t, n, "a", 3)
		if err := n.Snapshot(); err != nil {
			t.Fatal(err)
		}
		commitTopic(t, n, "b", 3)
		want := n.Image()
		disk.PowerOffAfter(cut)
		err := n.Snapshot()
		for seed := range uint64(6) {
			again, err := run(disk.Crash(simfs.CrashOptions{Keep: simfs.KeepSome, Seed: seed + 1}), c)
			if err != nil {
				t.Fatalf("power cut after change %d, seed %d: %v", cut, seed, err)
			}
			sameTopics(t, want, again.Image())
			again.kill()
		}
		n.kill()
		if err == nil {
			return
		}
	}
}

func TestEndpointsOfTheVoterFollowTheConfiguration(t *testing.T) {
	disk := newDisk()
	n := mustRun(t, disk, testConfig())
	n.stop(t)
	c := testConfig()
	c.ControllerListeners = nil // not configured: as it was
	n = mustRun(t, disk, c)
	voters, _ := n.Voters()
	if voters[0].Endpoints[0].Port != 19093 {
		t.Errorf("voters %v", voters)
	}
	n.stop(t)
	c.ControllerListeners = []meta.Endpoint{{Name: "CONTROLLER", Host: "elsewhere", Port: 4}}
	n = mustRun(t, disk, c)
	n.kill()
	d, err := Inspect(disk, c)
	if err != nil || d.state.voters[0].Endpoints[0].Host != "elsewhere" || d.state.votersAt < 20 {
		t.Errorf("voters in the log: %+v at %d, %v", d.state.voters, d.state.votersAt, err)
	}
}

func BenchmarkStartOfTenThousandPartitions(b *testing.B) {
	dir := b.TempDir()
	c := testConfig(dir)
	c.Clock = nil
	n, err := run(vfs.OS, c)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		commitTopic(b, n, fmt.Sprintf("t%d", i), 100)
	}
	n.kill()
	for b.Loop() {
		n, err := run(vfs.OS, c)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		n.kill()
		b.StartTimer()
	}
}
