package server

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

type told chan error

func (c told) Synced(err error) { c <- err }

func newCoordLog(t *testing.T) *coordLog {
	t.Helper()
	disk := simfs.New(simfs.Options{})
	if err := disk.MkdirAll("/data", 0o755); err != nil {
		t.Fatal(err)
	}
	store, err := engine.Open(engine.Options{FS: disk, Dirs: []string{"/data"}, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Abandon)
	log, err := store.CreateLog("/data", "__consumer_offsets-0", engine.ID{1}, engine.LogConfig{SegmentBytes: 1 << 20, Compact: true})
	if err != nil {
		t.Fatal(err)
	}
	return &coordLog{Log: log, epoch: 5}
}

func (l *coordLog) write(t *testing.T, base int64, values ...string) error {
	t.Helper()
	b := batch.NewBuilder(codec.None).BaseOffset(base)
	for i, v := range values {
		b.Append(1_700_000_000_000, fmt.Append(nil, i), []byte(v))
	}
	w := make(told, 1)
	if err := l.Append(b.Bytes(), w); err != nil {
		return err
	}
	return <-w
}

func TestCoordLogReadsWhatItWrote(t *testing.T) {
	l := newCoordLog(t)
	// More than one read, more than one segment, and a batch larger than a read.
	var next int64
	large := strings.Repeat("x", 700<<10)
	for i := range 20 {
		values := []string{fmt.Sprint("small ", i), "b", "c"}
		if i%4 == 3 {
			values[1] = large
		}
		if err := l.write(t, next, values...); err != nil {
			t.Fatal(err)
		}
		next += 3
	}
	var want int64
	err := l.Load(func(b batch.Batch) error {
		if b.BaseOffset() != want || b.LeaderEpoch() != 5 {
			t.Fatalf("batch at %d of epoch %d, expected %d", b.BaseOffset(), b.LeaderEpoch(), want)
		}
		first := true
		want = b.NextOffset()
		return b.Each(0, func(r *batch.Record) error {
			if first && !bytes.HasPrefix(r.Value, []byte("small")) {
				t.Fatalf("value %.20q", r.Value)
			}
			first = false
			return nil
		})
	})
	if err != nil || want != next {
		t.Fatalf("read up to %d of %d: %v", want, next, err)
	}
	stop := fmt.Errorf("stop")
	if err := l.Load(func(batch.Batch) error { return stop }); err != stop {
		t.Fatalf("error %v", err)
	}
}

// TestCoordLogNoticesOtherWriters: an append that is not where the coordinator
// thinks makes it read its log again.
func TestCoordLogNoticesOtherWriters(t *testing.T) {
	l := newCoordLog(t)
	if err := l.write(t, 0, "a"); err != nil {
		t.Fatal(err)
	}
	if err := l.write(t, 0, "b"); err == nil || !strings.Contains(err.Error(), "offset 0 was appended at 1") {
		t.Fatalf("error %v", err)
	}
	if err := l.write(t, 2, "c"); err != nil {
		t.Fatal(err)
	}
}

func TestCoordLogMarkers(t *testing.T) {
	l := newCoordLog(t)
	b := batch.NewBuilder(codec.None).Producer(9, 3, batch.NoSequence).Transactional().Append(1, []byte("k"), []byte("v")).Bytes()
	w := make(told, 2)
	if err := l.Append(b, w); err != nil {
		t.Fatal(err)
	}
	marker := func(epoch int16, base int64) error {
		m := batch.EndTransactionMarker(true, 7, 9, epoch, 1)
		m.SetBaseOffset(base)
		return l.AppendMarker(m, 2, w)
	}
	if err := marker(2, 1); err == nil {
		t.Fatal("the marker of an older epoch was taken")
	}
	if err := marker(4, 1); err != nil {
		t.Fatal(err)
	}
	if l.End() != 2 {
		t.Fatalf("end %d", l.End())
	}
}
