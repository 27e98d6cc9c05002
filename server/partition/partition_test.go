package partition

import (
	"errors"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
)

const self = 1

// image has one topic of n partitions that this broker leads in an epoch.
func image(t *testing.T, n int, epoch int32) *meta.Image {
	t.Helper()
	d := meta.NewDelta(nil)
	id := meta.UUID{1}
	records := []meta.Record{&meta.TopicRecord{Name: "topic", TopicID: id}}
	for i := range n {
		records = append(records, &meta.PartitionRecord{PartitionID: int32(i), TopicID: id, Replicas: []int32{self}, ISR: []int32{self},
			Leader: self, LeaderEpoch: epoch})
	}
	for _, r := range records {
		if err := d.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	return d.Image(1, 1)
}

// open makes a set of n partitions on a disk of memory.
func open(t *testing.T, n int, epoch int32, configure func(*Config)) *Set {
	t.Helper()
	disk := simfs.New(simfs.Options{})
	if err := disk.MkdirAll("/data", 0o755); err != nil {
		t.Fatal(err)
	}
	store, err := engine.Open(engine.Options{FS: disk, Dirs: []string{"/data"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(1); err != nil {
			t.Error(err)
		}
	})
	c := &Config{Log: engine.LogConfig{SegmentBytes: 1 << 20, Delete: true, RetentionMs: -1, RetentionBytes: -1}, MaxMessageBytes: 1000,
		TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64}
	if configure != nil {
		configure(c)
	}
	s := NewSet(Options{Store: store, Logger: slog.New(slog.DiscardHandler), Self: self, Default: "/data",
		Config: func(*meta.Image, string) *Config { return c }, Now: func() int64 { return clock.Real.Now().UnixMilli() }})
	if err := s.Start(image(t, n, epoch), nil, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// synced hands the outcome of a sync on.
type synced chan error

func (s synced) Synced(err error) { s <- err }

func appendTo(t *testing.T, p *Partition, b batch.Batch) {
	t.Helper()
	done := make(synced, 1)
	if _, err := p.Append(b, done); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func one(values ...string) batch.Batch {
	b := batch.NewBuilder(codec.None)
	for _, v := range values {
		b.Append(time.Now().UnixMilli(), []byte("key"), []byte(v))
	}
	return b.Bytes()
}

func TestAppendRefuses(t *testing.T) {
	p := open(t, 1, 0, func(c *Config) { c.RequireKeys = true }).Get(meta.UUID{1}, 0)
	edit := func(f func(batch.Batch)) batch.Batch {
		b := one("a")
		f(b)
		return b
	}
	for _, x := range []struct {
		name    string
		records []byte
		want    error
	}{
		{"damage", edit(func(b batch.Batch) { b[len(b)-1] ^= 1 }), batch.ErrCRC},
		{"two batches", append(one("a"), one("b")...), ErrInvalidBatch},
		{"a cut batch", one("a")[:70], ErrInvalidBatch},
		{"a base offset", edit(func(b batch.Batch) { b.SetBaseOffset(1) }), ErrInvalidBatch},
		{"too much", one(string(make([]byte, 1000))), engine.ErrBatchTooLarge},
		{"no key", batch.NewBuilder(codec.None).Append(0, nil, nil).Bytes(), batch.ErrNoKey},
	} {
		if _, err := p.Append(x.records, make(synced, 1)); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, expected %v", x.name, err, x.want)
		}
	}
	log, err := p.Log()
	if err != nil || log.End() != 0 {
		t.Errorf("log ends at %d: %v", log.End(), err)
	}
	appendTo(t, p, one("a", "b"))
	if log.High() != 2 {
		t.Errorf("high watermark %d, expected 2", log.High())
	}
}

func TestCheckEpoch(t *testing.T) {
	s := open(t, 1, 5, nil)
	p := s.Get(meta.UUID{1}, 0)
	for epoch, want := range map[int32]error{-1: nil, 4: ErrFencedEpoch, 5: nil, 6: ErrUnknownEpoch} {
		if err := p.CheckEpoch(epoch); !errors.Is(err, want) {
			t.Errorf("epoch %d: %v, expected %v", epoch, err, want)
		}
	}
	if s.Get(meta.UUID{1}, 1) != nil || s.Get(meta.UUID{1}, -1) != nil || s.Get(meta.UUID{2}, 0) != nil {
		t.Error("partitions that do not exist are found")
	}
}

// TestWaiterCountsWhatBecomesVisible on all its partitions, from the moment the
// caller looked, and fires once.
func TestWaiterCountsWhatBecomesVisible(t *testing.T) {
	s := open(t, 2, 0, nil)
	first, second := s.Get(meta.UUID{1}, 0), s.Get(meta.UUID{1}, 1)
	size := int64(len(one("a")))
	var fired atomic.Int32
	w := NewWaiter(3*size, func() { fired.Add(1) })
	log, err := first.Log()
	if err != nil {
		t.Fatal(err)
	}
	seen := log.VisibleBytes()
	appendTo(t, first, one("a")) // between the look and the registration
	w.Add(first, seen)
	w.Add(second, 0)
	appendTo(t, second, one("a"))
	if fired.Load() != 0 {
		t.Fatal("fired after two of three")
	}
	appendTo(t, first, one("a"))
	if fired.Load() != 1 {
		t.Fatalf("fired %d times after three of three", fired.Load())
	}
	appendTo(t, first, one("a"))
	w.Fire()
	w.Remove()
	if fired.Load() != 1 {
		t.Fatalf("fired %d times", fired.Load())
	}
}

// TestDeletedTopicsWakeTheirWaiters, which then find nothing.
func TestDeletedTopicsWakeTheirWaiters(t *testing.T) {
	s := open(t, 1, 0, nil)
	p := s.Get(meta.UUID{1}, 0)
	fired := make(chan struct{})
	w := NewWaiter(1, func() { close(fired) })
	w.Add(p, 0)
	s.Apply(image(t, 1, 0), meta.NewDelta(nil).Image(2, 1))
	<-fired
	w.Remove()
	if s.Get(meta.UUID{1}, 0) != nil {
		t.Error("the partition is still there")
	}
	if _, err := p.Append(one("a"), make(synced, 1)); err == nil {
		t.Error("a deleted partition takes records")
	}
}

// TestConcurrentWaitersAllFire: appends, registrations and removals race.
func TestConcurrentWaitersAllFire(t *testing.T) {
	s := open(t, 1, 0, nil)
	p := s.Get(meta.UUID{1}, 0)
	log, err := p.Log()
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	for range n {
		seen := log.VisibleBytes()
		done := make(synced, 1)
		if _, err := p.Append(one("a"), done); err != nil {
			t.Fatal(err)
		}
		fired := make(chan struct{})
		w := NewWaiter(1, func() { close(fired) })
		w.Add(p, seen)
		<-fired
		w.Remove()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}
