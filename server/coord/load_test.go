package coord_test

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
)

// newLoading is a runtime in a synctest bubble.
func newLoading(t *testing.T, wait time.Duration, loads int) *bench {
	b := &bench{}
	b.Runtime = coord.NewRuntime(coord.Options[*journal]{Topic: "__topic", Clock: clock.Real, LoadWait: wait, Loads: loads,
		New: func(p int32) *journal { return &journal{partition: p} }})
	b.SetPartitions(4)
	t.Cleanup(b.Close)
	return b
}

func TestOperationsWaitForALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLoading(t, time.Second, 0)
		log := newGated(filled(t, 1, 2))
		b.Serve(0, log)
		began := time.Now()
		if err := b.DoAt(0, nil); !errors.Is(err, coord.ErrLoading) || time.Since(began) != time.Second {
			t.Fatalf("error %v after %v", err, time.Since(began))
		}
		began = time.Now()
		if err := b.TryAt(0, nil); !errors.Is(err, coord.ErrLoading) || time.Since(began) != 0 {
			t.Fatalf("error %v after %v", err, time.Since(began))
		}
		if err := b.Marker(0, 1, 1, 1, 2, true, nil); !errors.Is(err, coord.ErrLoading) {
			t.Fatalf("error %v", err)
		}
		b.Each(func(*coord.Context, *journal) { t.Error("a machine that loads is in service") })
		var got []uint64
		var all sync.WaitGroup
		all.Go(func() {
			if err := b.DoAt(0, func(_ *coord.Context, j *journal) { got = slices.Clone(j.numbers) }); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		close(log.gate)
		all.Wait()
		expectNumbers(t, got, 1, 2)
	})
}

// TestSlowLoadsHoldNobody: the lock of a shard that loads is free, and empty
// logs need no load.
func TestSlowLoadsHoldNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLoading(t, 0, 2)
		slow := newGated(filled(t, 1))
		b.Serve(0, slow)
		for i := int32(1); i < 4; i++ {
			b.Serve(i, filled(t, uint64(i)))
		}
		b.Serve(4, coordtest.NewLog(0, false))
		synctest.Wait()
		for i := int32(1); i < 5; i++ {
			if err := b.DoAt(i, func(*coord.Context, *journal) {}); err != nil {
				t.Fatal(err)
			}
		}
		close(slow.gate)
	})
}

func TestLoadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLoading(t, 0, 3)
		var loads []*gated
		for i := range int32(20) {
			loads = append(loads, newGated(filled(t, uint64(i))))
			b.Serve(i, loads[i])
		}
		synctest.Wait()
		under := 0
		for _, l := range loads {
			under += len(l.entered)
		}
		if under != 3 {
			t.Fatalf("%d loads at a time", under)
		}
		for _, l := range loads {
			close(l.gate)
		}
		b.WaitLoaded()
		for i := range int32(20) {
			if err := b.DoAt(i, func(_ *coord.Context, j *journal) { expectNumbers(t, j.numbers, uint64(i)) }); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestStopDuringALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLoading(t, time.Minute, 1)
		first, second := newGated(filled(t, 1)), newGated(filled(t, 2))
		b.Serve(0, first)
		synctest.Wait()
		b.Serve(1, second)
		var told atomic.Int32
		for i := range int32(2) {
			go func() {
				if err := b.DoAt(i, nil); errors.Is(err, coord.ErrNotCoordinator) {
					told.Add(1)
				}
			}()
		}
		synctest.Wait()
		began := time.Now()
		b.Stop(0)
		b.Stop(1)
		synctest.Wait()
		if told.Load() != 2 || time.Since(began) != 0 {
			t.Fatalf("%d of 2 told, after %v", told.Load(), time.Since(began))
		}
		// The loads end unseen.
		close(first.gate)
		close(second.gate)
		b.Close()
	})
}

func TestFailedLoad(t *testing.T) {
	for name, log := range map[string]coord.Log{
		"the log cannot be read":       &gated{Log: filled(t, 1), entered: make(chan struct{}, 1), gate: closed(), fail: errors.New("input/output error")},
		"a record the machine refuses": with(t, []byte("short")),
		"a record that makes it panic": with(t, number(poisonNumber).Key),
		"a marker that is none":        withBatch(t, batch.NewBuilder(codec.None).Producer(1, 1, -1).Transactional().Control().Append(0, batch.ControlKey(batch.ControlCommit), nil).Bytes()),
		"a sync that failed before":    refused(t),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, log)
			if err := b.DoAt(0, nil); !errors.Is(err, coord.ErrNotCoordinator) {
				t.Fatalf("error %v", err)
			}
			if err := b.Check("a"); !errors.Is(err, coord.ErrNotCoordinator) {
				t.Fatalf("error %v", err)
			}
			if len(b.Serving()) != 1 {
				t.Fatal("a partition that cannot be read is still this broker's")
			}
		})
	}
	// A leader change and records without keys are nothing.
	b := newBench(t, withBatch(t, batch.NewBuilder(codec.None).Control().Append(0, batch.ControlKey(2), []byte{0, 0}).Bytes(),
		batch.NewBuilder(codec.None).Append(0, nil, []byte("x")).Bytes()))
	expectNumbers(t, b.numbers(t))
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func with(t *testing.T, key []byte) *coordtest.Log {
	return withBatch(t, batch.NewBuilder(codec.None).Append(0, key, nil).Bytes())
}

func withBatch(t *testing.T, batches ...batch.Batch) *coordtest.Log {
	log := coordtest.NewLog(0, false)
	for _, b := range batches {
		if err := log.Append(b, ignore{}); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

// refused is a log that failed a sync.
func refused(t *testing.T) *coordtest.Log {
	log := filled(t, 1)
	log.Sync(errors.New("input/output error"))
	return log
}

func TestOnLoaded(t *testing.T) {
	var loaded []int32
	var b *bench
	log := coordtest.NewLog(0, false)
	b = newBench(t, log, func(o *coord.Options[*journal]) {
		o.OnLoaded = func(p int32) {
			loaded = append(loaded, p)
			if b != nil {
				_ = b.DoAt(p, func(*coord.Context, *journal) {}) // no lock is held
			}
		}
	})
	log.Refuse(errors.New("no space left"))
	b.put(t, 1)
	log.Refuse(nil)
	b.WaitLoaded()
	b.Close()
	if len(loaded) != 2 {
		t.Fatalf("told %d times, expected 2", len(loaded))
	}
}

// TestIdleShardsAreSmall: a coordinator has fifty partitions, most of which
// nobody ever uses.
func TestIdleShardsAreSmall(t *testing.T) {
	const n = 1000
	b := &bench{}
	b.Runtime = coord.NewRuntime(coord.Options[*journal]{Topic: "__topic", Clock: clock.Real, New: func(p int32) *journal { return &journal{partition: p} }})
	logs := make([]*coordtest.Log, n)
	for i := range logs {
		logs[i] = coordtest.NewLog(0, false)
	}
	goroutines := runtime.NumGoroutine()
	before := heap()
	for i, log := range logs {
		b.Serve(int32(i), log)
	}
	if got := (heap() - before) / n; got > 1024 {
		t.Errorf("%d bytes for a shard without a record", got)
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines for idle shards", got-goroutines)
	}
	b.Close()
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
