package txn

import (
	"slices"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
	"github.com/gregor-broker/gregor/server/txn/record"
)

var settings = config.Transactions{MaxTimeout: 15 * time.Minute, IDExpiration: 7 * 24 * time.Hour, AbortCheck: 10 * time.Second, ExpireCheck: time.Hour}

// bench is one shard with a clock of its own and markers that wait for the test.
type bench struct {
	t       *testing.T
	clock   *clock.Manual
	log     *coordtest.Log
	rt      *coord.Runtime[*Machine]
	version int16
	lastID  int64
	markers chan *written
}

// written is markers that the Machine asked for.
type written struct {
	Marker
	done func([]error)
}

// Write is Markers.
func (b *bench) Write(m Marker, done func([]error)) { b.markers <- &written{m, done} }

func newBench(t *testing.T, version int16) *bench {
	b := &bench{t: t, clock: clock.NewManual(time.UnixMilli(1_000_000)), log: coordtest.NewLog(4, false), version: version,
		lastID: 1000, markers: make(chan *written, 100)}
	b.serve()
	t.Cleanup(func() { b.rt.Close() })
	return b
}

func (b *bench) serve() {
	gate := Gate(b)
	b.rt = coord.NewRuntime(coord.Options[*Machine]{Topic: "__transaction_state", Clock: b.clock, New: func(p int32) *Machine {
		return New(Options{Settings: settings, Version: func() int16 { return b.version }, Markers: gate,
			Again:          func(p int32, op func(*coord.Context, *Machine)) { _ = b.rt.DoAt(p, op) },
			NextProducerID: func() (int64, error) { b.lastID++; return b.lastID, nil }}, p)
	}})
	b.rt.SetPartitions(1)
	b.rt.Serve(0, b.log)
	b.rt.WaitLoaded()
}

// restart goes on with the next leader epoch of the log.
func (b *bench) restart() {
	b.rt.Close()
	b.log = b.log.Crash(0)
	b.serve()
}

func (b *bench) do(op func(c *coord.Context, m *Machine)) {
	b.t.Helper()
	if err := b.rt.DoAt(0, op); err != nil {
		b.t.Fatal(err)
	}
}

// set puts a transactional id into a state, as a record of the log would.
func (b *bench) set(id string, v record.Value) {
	b.t.Helper()
	b.do(func(c *coord.Context, m *Machine) { m.write(c, id, v) })
}

// value is a state with what the tests do not care about filled in.
func value(s record.State, pid int64, epoch int16, partitions ...Partition) record.Value {
	v := record.Value{ProducerID: pid, PreviousProducerID: pid, NextProducerID: none, NextProducerEpoch: none, ProducerEpoch: epoch, TimeoutMs: 60_000,
		State: s, UpdatedMs: 1, StartedMs: none}
	if s != record.Empty {
		v.Topics, _ = merge(nil, partitions)
		v.StartedMs = 1
	}
	return v
}

func (b *bench) get(id string) (v record.Value, last int16) {
	b.t.Helper()
	b.do(func(_ *coord.Context, m *Machine) {
		t := m.all[id]
		if t == nil {
			b.t.Fatalf("transactional id %q is not known", id)
		}
		v, last = t.v, t.last
	})
	return v, last
}

// expect compares the state, the producer and the partitions of an id.
func (b *bench) expect(id string, s record.State, pid int64, epoch int16, partitions ...Partition) {
	b.t.Helper()
	v, _ := b.get(id)
	if v.State != s || v.ProducerID != pid || v.ProducerEpoch != epoch || !slices.Equal(flatten(v.Topics), partitions) {
		b.t.Fatalf("%q is %v of producer %d epoch %d with %v, expected %v of %d epoch %d with %v", id, v.State, v.ProducerID, v.ProducerEpoch,
			flatten(v.Topics), s, pid, epoch, partitions)
	}
}

func (b *bench) init(q InitRequest) (p Producer, used bool) {
	b.t.Helper()
	if q.TimeoutMs == 0 {
		q.TimeoutMs = 60_000
	}
	answered := false
	b.do(func(c *coord.Context, m *Machine) {
		used = m.InitProducerID(c, q, b.lastID+1, func(got Producer, err error) {
			if p, answered = got, true; err != nil {
				b.t.Error(err)
			}
		})
	})
	if !answered {
		b.t.Fatal("not answered")
	}
	if used {
		b.lastID++
	}
	return p, used
}

// fresh is InitProducerID of a producer that knows nothing.
func (b *bench) fresh(id string) Producer {
	b.t.Helper()
	p, _ := b.init(InitRequest{TransactionalID: id, ProducerID: none, ProducerEpoch: none})
	return p
}

func (b *bench) add(q AddRequest) []int16 {
	b.t.Helper()
	got := b.tryAdd(q)
	select {
	case codes := <-got:
		return codes
	default:
		b.t.Fatal("not answered")
		return nil
	}
}

// tryAdd may be parked.
func (b *bench) tryAdd(q AddRequest) chan []int16 {
	b.t.Helper()
	got := make(chan []int16, 1)
	b.do(func(c *coord.Context, m *Machine) {
		m.AddPartitions(c, q, func(codes []int16, err error) {
			if err != nil {
				codes = nil
			}
			got <- codes
		})
	})
	return got
}

func (b *bench) end(q EndRequest) Producer {
	b.t.Helper()
	var p Producer
	answered := false
	b.do(func(c *coord.Context, m *Machine) {
		used := m.End(c, q, b.lastID+1, func(got Producer, err error) {
			if p, answered = got, true; err != nil {
				b.t.Error(err)
			}
		})
		if used {
			b.lastID++
		}
	})
	if !answered {
		b.t.Fatal("not answered")
	}
	return p
}

// marked takes the next markers and answers for each partition; what became of them is known when it returns.
func (b *bench) marked(results ...error) Marker {
	b.t.Helper()
	w := <-b.markers
	if len(results) == 0 {
		results = make([]error, len(w.Partitions))
	}
	w.done(results)
	return w.Marker
}

// states are the records of an id in the log.
func (b *bench) states(id string) (list []record.Value) {
	b.t.Helper()
	err := b.log.Load(func(x batch.Batch) error {
		return x.Each(1<<20, func(r *batch.Record) error {
			if key, err := record.DecodeKey(r.Key); err != nil || key != id {
				return err
			}
			if r.Value == nil {
				list = append(list, record.Value{State: record.Dead})
				return nil
			}
			v, _, err := record.DecodeValue(r.Value)
			list = append(list, *v)
			return err
		})
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

var (
	p0 = Partition{"topic", 0}
	p1 = Partition{"topic", 1}
	p2 = Partition{"zoo", 0}
)
