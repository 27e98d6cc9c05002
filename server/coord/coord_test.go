package coord_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
)

func TestRepliesWaitForTheirSync(t *testing.T) {
	log := coordtest.NewLog(0, true)
	b := newBench(t, log)
	first := b.put(t, 1)
	first.expect(t, 0, nil)
	// A read of what is not durable yet waits with it.
	read := new(answer)
	b.do(t, func(c *coord.Context, j *journal) { coord.Send(c, read.done, j.last()) })
	read.expect(t, 0, nil)
	second := b.put(t, 2, 3)
	log.Sync(nil)
	for i, a := range []*answer{first, read, second} {
		a.expect(t, 1, nil)
		if want := []uint64{1, 1, 3}[i]; a.value != want {
			t.Fatalf("answer %d is %d, expected %d", i, a.value, want)
		}
	}
	// Nothing is under way: answered before Do returns.
	idle := new(answer)
	b.do(t, func(c *coord.Context, j *journal) { coord.Send(c, idle.done, j.last()) })
	idle.expect(t, 1, nil)
}

func TestOneOperationIsOneBatch(t *testing.T) {
	log := coordtest.NewLog(7, true)
	b := newBench(t, log, func(o *coord.Options[*journal]) { o.Codec = codec.LZ4 })
	b.put(t, 1, 2, 3)
	b.put(t, 4)
	var got []batch.Batch
	if err := log.Load(func(b batch.Batch) error { got = append(got, b); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].RecordCount() != 3 || got[1].BaseOffset() != 3 || got[1].LeaderEpoch() != 7 || got[0].Codec() != codec.LZ4 {
		t.Fatalf("%d batches, the first of %d records", len(got), got[0].RecordCount())
	}
	for keep, want := range [][]uint64{{}, {1, 2, 3}, {1, 2, 3, 4}} {
		expectNumbers(t, newBench(t, log.Crash(keep)).numbers(t), want...)
	}
}

func TestRefusedAppendReadsTheLogAgain(t *testing.T) {
	log := coordtest.NewLog(0, true)
	b := newBench(t, log)
	before := b.put(t, 1)
	waiting := new(answer)
	var old *journal
	b.do(t, func(_ *coord.Context, j *journal) { old, j.parked = j, []parked{{9, waiting.done}} })
	full := errors.New("no space left")
	log.Refuse(full)
	refused := b.put(t, 2)
	refused.expect(t, 1, coord.ErrNotAvailable)
	if !errors.Is(refused.err, full) {
		t.Fatalf("the cause is lost: %v", refused.err)
	}
	waiting.expect(t, 1, coord.ErrNotAvailable)
	log.Refuse(nil)
	b.WaitLoaded()
	before.expect(t, 1, nil)
	expectNumbers(t, b.numbers(t), 1)
	if old.unloaded == nil {
		t.Fatal("the machine with the lost record was not unloaded")
	}
	again := b.put(t, 3)
	log.Sync(nil)
	again.expect(t, 1, nil)
	expectNumbers(t, b.numbers(t), 1, 3)
}

// TestFullDiskIsNotReadOverAndOver: with every append refused the pauses between
// loads grow, and all is well when appends are taken again.
func TestFullDiskIsNotReadOverAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &counting{Log: filled(t, 1)}
		b := newBench(t, log, func(o *coord.Options[*journal]) { o.Clock = clock.Real })
		log.Refuse(errors.New("no space left"))
		asked := 0
		for range 6000 { // a minute of clients that ask all the time
			<-time.After(10 * time.Millisecond)
			err := b.TryAt(0, func(c *coord.Context, j *journal) {
				asked++
				write(c, 2)
			})
			if err != nil && !errors.Is(err, coord.ErrLoading) {
				t.Fatal(err)
			}
		}
		if asked < 10 || log.loads.Load() > 30 {
			t.Fatalf("%d operations, %d loads in a minute", asked, log.loads.Load())
		}
		log.Refuse(nil)
		<-time.After(5 * time.Second)
		b.put(t, 5).expect(t, 1, nil)
		expectNumbers(t, b.numbers(t), 1, 5)
	})
}

func TestFailedSyncEndsService(t *testing.T) {
	log := coordtest.NewLog(0, true)
	b := newBench(t, log)
	lost := b.put(t, 1)
	waiting := new(answer)
	b.do(t, func(_ *coord.Context, j *journal) { j.parked = []parked{{9, waiting.done}} })
	cause := errors.New("input/output error")
	log.Sync(cause)
	lost.expect(t, 1, coord.ErrNotAvailable)
	if !errors.Is(lost.err, cause) {
		t.Fatalf("the cause is lost: %v", lost.err)
	}
	// The shard stops on a goroutine of its own; until then it answers with errors.
	for {
		a := new(answer)
		err := b.DoAt(0, func(c *coord.Context, j *journal) { coord.Send(c, a.done, 1) })
		if err == nil {
			a.expect(t, 1, coord.ErrNotAvailable)
			continue
		}
		if !errors.Is(err, coord.ErrNotCoordinator) || !errors.Is(err, cause) {
			t.Fatal(err)
		}
		break
	}
	waiting.expect(t, 1, coord.ErrNotCoordinator)
	// For good: serving the same partition again changes nothing.
	b.Serve(0, coordtest.NewLog(0, false))
	if err := b.DoAt(0, func(*coord.Context, *journal) {}); !errors.Is(err, coord.ErrNotCoordinator) {
		t.Fatalf("error %v", err)
	}
}

func TestTransactions(t *testing.T) {
	log := coordtest.NewLog(2, true)
	b := newBench(t, log)
	inTransaction := func(id int64, numbers ...uint64) {
		b.do(t, func(c *coord.Context, j *journal) {
			c.Transaction(id, 5)
			write(c, numbers...)
		})
	}
	inTransaction(10, 1, 2)
	inTransaction(11, 3)
	b.put(t, 4)
	expectNumbers(t, b.numbers(t), 4)
	var ended [2]answer
	for i, commit := range []bool{true, false} {
		if err := b.Marker(0, int64(10+i), 5, 8, 2, commit, func(err error) { ended[i].done(0, err) }); err != nil {
			t.Fatal(err)
		}
		ended[i].expect(t, 0, nil)
	}
	expectNumbers(t, b.numbers(t), 4, 1, 2)
	inTransaction(11, 6)
	log.Sync(nil)
	ended[0].expect(t, 1, nil)
	ended[1].expect(t, 1, nil)

	// Markers and open transactions survive a restart.
	again := newBench(t, log.Crash(0))
	expectNumbers(t, again.numbers(t), 4, 1, 2)
	if err := again.Marker(0, 11, 6, 9, 2, true, func(error) {}); err != nil {
		t.Fatal(err)
	}
	expectNumbers(t, again.numbers(t), 4, 1, 2, 6)

	refused := errors.New("fenced")
	log.Refuse(refused)
	if err := b.Marker(0, 11, 5, 8, 2, true, func(error) { t.Error("a refused marker was answered twice") }); !errors.Is(err, refused) {
		t.Fatalf("error %v", err)
	}
	log.Refuse(nil)
	expectNumbers(t, b.numbers(t), 4, 1, 2)
	if err := b.Marker(1, 11, 5, 8, 2, true, nil); !errors.Is(err, coord.ErrNotCoordinator) {
		t.Fatalf("a marker for a partition that is not served: %v", err)
	}
}

func TestPanicInAnOperation(t *testing.T) {
	log := coordtest.NewLog(0, true)
	b := newBench(t, log)
	b.put(t, 1)
	a := new(answer)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		_ = b.DoAt(0, func(c *coord.Context, j *journal) {
			write(c, 2)
			coord.Send(c, a.done, 2)
			panic("a defect")
		})
	}()
	a.expect(t, 1, coord.ErrNotAvailable)
	b.WaitLoaded()
	expectNumbers(t, b.numbers(t), 1)
	b.put(t, 3)
	log.Sync(nil)
	expectNumbers(t, b.numbers(t), 1, 3)
}

func TestCloseAnswersEverybody(t *testing.T) {
	log := coordtest.NewLog(0, true)
	b := newBench(t, log)
	written := b.put(t, 1)
	waiting := new(answer)
	b.do(t, func(_ *coord.Context, j *journal) { j.parked = []parked{{9, waiting.done}} })
	b.Close()
	waiting.expect(t, 1, coord.ErrNotCoordinator)
	written.expect(t, 0, nil)
	log.Sync(nil) // what was written is answered when it is durable
	written.expect(t, 1, nil)
	if err := b.DoAt(0, nil); !errors.Is(err, coord.ErrNotCoordinator) {
		t.Fatalf("error %v", err)
	}
	b.Serve(1, coordtest.NewLog(0, false))
	if len(b.Serving()) != 0 {
		t.Fatal("a closed runtime serves")
	}
}

func TestStopAnswersEverybodyAtOnce(t *testing.T) {
	log := coordtest.NewLog(0, true)
	b := newBench(t, log)
	written := b.put(t, 1)
	b.Stop(0)
	b.Stop(0)
	written.expect(t, 1, coord.ErrNotCoordinator)
	log.Sync(nil)
	written.expect(t, 1, coord.ErrNotCoordinator)
	// Another log, of a topic that was created again.
	b.Serve(0, coordtest.NewLog(0, false))
	expectNumbers(t, b.numbers(t))
}

func TestKeysWithoutATopic(t *testing.T) {
	b := newBench(t, coordtest.NewLog(0, false))
	if err := b.Check("a"); err != nil {
		t.Fatal(err)
	}
	b.SetPartitions(2)
	if err := b.Check("a"); !errors.Is(err, coord.ErrNotCoordinator) { // its hash is odd
		t.Fatalf("error %v", err)
	}
	b.SetPartitions(0)
	if err := b.Check("a"); !errors.Is(err, coord.ErrNotCoordinator) {
		t.Fatalf("error %v", err)
	}
	if err := b.Do("a", nil); !errors.Is(err, coord.ErrNotCoordinator) {
		t.Fatalf("error %v", err)
	}
	if _, ok := b.Partition("a"); ok {
		t.Fatal("a partition of a topic that is not there")
	}
}

func TestThenRunsOnceDurable(t *testing.T) {
	log := coordtest.NewLog(0, true)
	b := newBench(t, log)
	ran := make(chan uint64, 2)
	b.do(t, func(c *coord.Context, j *journal) {
		write(c, 1)
		c.Then(func() { ran <- 1 })
	})
	if len(ran) != 0 {
		t.Fatal("ran before the sync")
	}
	log.Sync(nil)
	if <-ran != 1 {
		t.Fatal("another function ran")
	}
	log.Refuse(errors.New("no space left"))
	b.do(t, func(c *coord.Context, j *journal) {
		write(c, 2)
		c.Then(func() { ran <- 2 })
	})
	log.Refuse(nil)
	b.Close()
	if len(ran) != 0 {
		t.Fatal("ran although its record is lost")
	}
}

// TestPartitionFor has values of Java's String.hashCode.
func TestPartitionFor(t *testing.T) {
	for key, want := range map[string]int32{
		"":                         0,
		"a":                        97,
		"group":                    98629247,
		"polygenelubricants":       0, // Integer.MIN_VALUE
		"my-group":                 1906497762,
		"\U0001F600":               1772899, // two units: 0xD83D, 0xDE00
		"gr\u00fc\u00dfe-\u65e5":   426817071,
		"console-consumer-00000-1": 1004230835,
	} {
		if got := coord.PartitionFor(key, 1<<31-1); got != want {
			t.Errorf("hash of %q is %d, expected %d", key, got, want)
		}
		if got := coord.PartitionFor(key, 50); got != want%50 {
			t.Errorf("partition of %q is %d, expected %d", key, got, want%50)
		}
	}
}
