package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// TestEverythingAtOnce works on one store from many goroutines on the real
// disk: with -race it finds unguarded state, and views that are held show
// bytes that were taken away too early.
func TestEverythingAtOnce(t *testing.T) {
	dir := t.TempDir()
	open := func() *Store {
		st, err := Open(Options{Dirs: []string{dir}, CacheBytes: 8 << 20, CheckpointBytes: 128 << 10,
			RetentionInterval: 20 * time.Millisecond, CheckpointInterval: 15 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := open()
	config := LogConfig{SegmentBytes: 64 << 10, SegmentIndexBytes: 4096, IndexIntervalBytes: 512, Delete: true,
		RetentionMs: -1, RetentionBytes: 512 << 10, FileDeleteDelayMs: 1}
	names := []string{"a-0", "b-0", "cut-0"}
	for _, name := range names {
		if _, err := st.CreateLog(dir, name, ID{1}, config); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(2 * time.Second)
	if testing.Short() {
		deadline = time.Now().Add(300 * time.Millisecond)
	}
	var (
		work     sync.WaitGroup
		appended atomic.Int64
		viewed   atomic.Int64
	)
	repeat := func(do func(rng *rand.Rand) error) {
		work.Add(1)
		seed := rand.Uint64()
		go func() {
			defer work.Done()
			rng := rand.New(rand.NewPCG(seed, 1))
			for time.Now().Before(deadline) && !t.Failed() {
				if err := do(rng); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	appendTo := func(l *Log, id int64) func(rng *rand.Rand) error {
		var sequence int32
		done := make(waitChannel, 1)
		return func(rng *rand.Rand) error {
			n := 1 + rng.IntN(3)
			b := batch.NewBuilder(codec.None).Producer(id, 0, sequence)
			for range n {
				b.Append(time.Now().UnixMilli(), nil, make([]byte, rng.IntN(3000)))
			}
			_, err := l.Append(b.Bytes(), AppendOptions{LeaderEpoch: max(l.LatestEpoch(), 0), Rules: &batch.Rules{}}, done)
			if err != nil {
				return err
			}
			if err := <-done; err != nil {
				return err
			}
			appended.Add(int64(n))
			sequence += int32(n)
			return nil
		}
	}
	for _, name := range names[:2] {
		l := st.Log(name)
		for id := range int64(3) {
			repeat(appendTo(l, id))
		}
		for range 2 {
			repeat(func(rng *rand.Rand) error { return readAndHold(l, rng, &viewed) })
		}
		repeat(func(rng *rand.Rand) error {
			start, high := l.Start(), l.High()
			if high > start+200 {
				if _, err := l.DeleteRecordsBefore(start + rng.Int64N(100)); err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
					return err
				}
			}
			runtime.Gosched()
			return l.Retain()
		})
		repeat(func(rng *rand.Rand) error {
			c := config
			c.RetentionBytes = 128<<10 + rng.Int64N(512<<10)
			if rng.IntN(4) == 0 {
				c.FlushMessages = 50
			}
			l.SetConfig(c)
			if err := l.AssignEpoch(l.LatestEpoch() + 1); err != nil {
				return err
			}
			if _, _, err := l.OffsetForTimestamp(time.Now().UnixMilli() - rng.Int64N(500)); err != nil {
				return err
			}
			if _, _, err := l.MaxTimestamp(); err != nil {
				return err
			}
			_, err := l.AbortedTransactions(l.Start(), l.High())
			return err
		})
	}
	// A log that is cut under its appender.
	cut := st.Log("cut-0")
	repeat(func(rng *rand.Rand) error {
		done := make(waitChannel, 1)
		if _, err := cut.Append(records(3, "cut"), AppendOptions{}, done); err != nil {
			return err
		}
		<-done // an error if the records were cut before they were durable
		return nil
	})
	repeat(func(rng *rand.Rand) error {
		runtime.Gosched()
		end := cut.End()
		if err := cut.Truncate(max(cut.Start(), end-rng.Int64N(6))); err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
			return err
		}
		if cut.Durable() > cut.End() && cut.Durable() > end {
			return fmt.Errorf("durable %d beyond the end %d", cut.Durable(), cut.End())
		}
		return nil
	})
	// Logs that come and go.
	repeat(func(*rand.Rand) error {
		l, err := st.CreateLog(dir, "gone-0", ID{2}, config)
		if err != nil {
			return err
		}
		done := make(waitChannel, 1)
		if _, err := l.Append(records(2, "gone"), AppendOptions{WaitWritten: true}, done); err != nil {
			return err
		}
		<-done
		if err := st.DeleteLog("gone-0"); err != nil {
			return err
		}
		return nil
	})
	work.Wait()
	if err := st.Failed(dir); err != nil {
		t.Fatal(err)
	}
	ends := map[string]int64{}
	for _, name := range names {
		ends[name] = st.Log(name).End()
	}
	if err := st.Close(1); err != nil {
		t.Fatal(err)
	}
	st = open()
	for _, name := range names {
		l, err := st.OpenLog(dir, name, config)
		if err != nil {
			t.Fatal(err)
		}
		if l.End() != ends[name] {
			t.Fatalf("%s ends at %d, expected %d", name, l.End(), ends[name])
		}
		contents(t, l, 100_000)
	}
	if err := st.Close(2); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d records appended, %d batches read", appended.Load(), viewed.Load())
}

// readAndHold reads somewhere, lets others run, and then checks what it holds.
func readAndHold(l *Log, rng *rand.Rand, viewed *atomic.Int64) error {
	start, high := l.Start(), l.High()
	if high <= start {
		runtime.Gosched()
		return nil
	}
	at := start + rng.Int64N(high-start)
	v, err := l.Read(at, ReadOptions{MaxBytes: 100_000, AtLeastOne: true})
	if errors.Is(err, ErrOffsetOutOfRange) && at < l.Start() {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	defer v.Release()
	for range rng.IntN(20) {
		runtime.Gosched()
	}
	var all []byte
	for _, span := range v.Spans {
		all = append(all, span...)
	}
	if len(all) == 0 && at >= l.Start() {
		return fmt.Errorf("nothing to read at %d of [%d, %d)", at, start, high)
	}
	for first := true; len(all) > 0; first = false {
		b, rest, err := batch.Next(all)
		if err != nil {
			return fmt.Errorf("view from %d: %w", at, err)
		}
		if err := b.CheckCRC(); err != nil {
			return fmt.Errorf("view from %d: %w", at, err)
		}
		if b.LastOffset() < at || !first && b.BaseOffset() != at {
			return fmt.Errorf("view from %d: batch [%d, %d]", at, b.BaseOffset(), b.LastOffset())
		}
		at, all = b.NextOffset(), rest
		viewed.Add(1)
	}
	return nil
}
