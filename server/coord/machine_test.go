package coord_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
)

// journal is a Machine that keeps the numbers written to it, in order. Parked
// askers wait for a number; a number may be part of a transaction.
type journal struct {
	partition int32
	numbers   []uint64
	undecided map[int64][]uint64
	parked    []parked
	fired     []string
	loaded    int
	unloaded  error
}

type parked struct {
	at   uint64
	done coord.Done[uint64]
}

func (j *journal) Apply(r coord.Record, o coord.Origin) error {
	if len(r.Key) != 8 {
		return fmt.Errorf("key of %d bytes", len(r.Key))
	}
	n := binary.BigEndian.Uint64(r.Key)
	if n == poisonNumber {
		panic("a number that panics")
	}
	if o.ProducerID >= 0 {
		if j.undecided == nil {
			j.undecided = map[int64][]uint64{}
		}
		j.undecided[o.ProducerID] = append(j.undecided[o.ProducerID], n)
		return nil
	}
	j.numbers = append(j.numbers, n)
	return nil
}

const poisonNumber = 1<<64 - 1

func (j *journal) EndTransaction(id int64, _ int16, commit bool, _ coord.Origin) error {
	if commit {
		j.numbers = append(j.numbers, j.undecided[id]...)
	}
	delete(j.undecided, id)
	return nil
}

func (j *journal) Loaded(*coord.Context) { j.loaded++ }

func (j *journal) Fire(c *coord.Context, k coord.TimerKey) { j.fired = append(j.fired, k.Name) }

func (j *journal) Unloaded(err error) {
	j.unloaded = err
	for _, p := range j.parked {
		p.done(0, err)
	}
	j.parked = nil
}

// last is the newest number, 0 for none.
func (j *journal) last() uint64 {
	if len(j.numbers) == 0 {
		return 0
	}
	return j.numbers[len(j.numbers)-1]
}

func number(n uint64) coord.Record {
	return coord.Record{Key: binary.BigEndian.AppendUint64(nil, n), Value: []byte("v")}
}

func write(c *coord.Context, numbers ...uint64) {
	for _, n := range numbers {
		c.Write(number(n))
	}
}

// answer is what a reply brought, counted.
type answer struct {
	times atomic.Int32
	value uint64
	err   error
}

func (a *answer) done(v uint64, err error) {
	a.value, a.err = v, err
	a.times.Add(1)
}

func (a *answer) expect(t *testing.T, times int32, err error) {
	t.Helper()
	if n := a.times.Load(); n != times {
		t.Fatalf("answered %d times, expected %d", n, times)
	}
	if times > 0 && (!errors.Is(a.err, err) || err == nil && a.err != nil) {
		t.Fatalf("answered with error %v, expected %v", a.err, err)
	}
}

var start = time.UnixMilli(1_700_000_000_000)

type bench struct {
	*coord.Runtime[*journal]
	clock *clock.Manual
}

// newBench is a runtime of one partition on a log.
func newBench(t *testing.T, log coord.Log, options ...func(*coord.Options[*journal])) *bench {
	b := &bench{clock: clock.NewManual(start)}
	o := coord.Options[*journal]{Topic: "__topic", New: func(p int32) *journal { return &journal{partition: p} }, Clock: b.clock}
	for _, f := range options {
		f(&o)
	}
	b.Runtime = coord.NewRuntime(o)
	b.SetPartitions(1)
	b.Serve(0, log)
	b.WaitLoaded()
	t.Cleanup(b.Close)
	return b
}

// do runs an operation and expects that it ran.
func (b *bench) do(t *testing.T, op func(c *coord.Context, j *journal)) {
	t.Helper()
	if err := b.DoAt(0, op); err != nil {
		t.Fatal(err)
	}
}

// put writes numbers in one operation and answers with the last.
func (b *bench) put(t *testing.T, numbers ...uint64) *answer {
	t.Helper()
	a := new(answer)
	b.do(t, func(c *coord.Context, j *journal) {
		write(c, numbers...)
		coord.Send(c, a.done, j.last())
	})
	return a
}

func (b *bench) numbers(t *testing.T) (out []uint64) {
	t.Helper()
	b.do(t, func(_ *coord.Context, j *journal) { out = slices.Clone(j.numbers) })
	return out
}

func expectNumbers(t *testing.T, got []uint64, want ...uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("numbers %v, expected %v", got, want)
	}
}

// gated is a log whose Load waits at a gate.
type gated struct {
	*coordtest.Log
	entered chan struct{}
	gate    chan struct{}
	fail    error
}

func newGated(log *coordtest.Log) *gated {
	return &gated{Log: log, entered: make(chan struct{}, 64), gate: make(chan struct{})}
}

func (g *gated) Load(f func(b batch.Batch) error) error {
	g.entered <- struct{}{}
	<-g.gate
	if g.fail != nil {
		return g.fail
	}
	return g.Log.Load(f)
}

// filled is a log that holds numbers.
func filled(t testing.TB, numbers ...uint64) *coordtest.Log {
	t.Helper()
	log := coordtest.NewLog(3, false)
	for _, n := range numbers {
		r := number(n)
		if err := log.Append(batch.NewBuilder(codec.None).Append(start.UnixMilli(), r.Key, r.Value).Bytes(), ignore{}); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

type ignore struct{}

func (ignore) Synced(error) {}

// counting counts loads.
type counting struct {
	*coordtest.Log
	loads atomic.Int32
}

func (l *counting) Load(f func(b batch.Batch) error) error {
	l.loads.Add(1)
	return l.Log.Load(f)
}
