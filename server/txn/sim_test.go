package txn

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
	"github.com/gregor-broker/gregor/server/txn/record"
)

var (
	seeds     = flag.Uint64("seeds", 300, "how many seeds TestSimulation tries")
	firstSeed = flag.Uint64("seed", 1, "the first of them")
)

// world is one broker, its clients and what they believe. Everything that happens is a choice of rand: which message
// arrives, which is lost, when a log is synced, when the power goes. It runs on one goroutine; in a bubble of synctest the
// coordinator has goroutines of its own.
type world struct {
	t       *testing.T
	seed    uint64
	rand    *rand.Rand
	clock   *clock.Manual
	log     *coordtest.Log
	rt      *coord.Runtime[*Machine]
	logs    []*simLog
	lastID  int64
	version int16 // of the cluster
	calm    bool
	bubble  bool
	started []func() // what the coordinator would run on goroutines

	follower *Machine // of the first followed batches of log
	followed int

	mu      sync.Mutex
	events  []event // what may happen next
	slow    []event // and much later
	arrived []event // not in order yet

	clients  []*client
	txns     []*txnHistory
	owners   map[string]owner // who got the last answer to InitProducerId
	nextKey  int64
	sessions int
}

// owner is a process that has a transactional id for itself.
type owner struct {
	session int
	pid     int64
	epoch   int16
}

// event is something that may happen next.
type event struct {
	name string // to put those that came together in order, the same in every run
	run  func()
}

const simPartitions = 3 // the last one is written by a coordinator, as __consumer_offsets is

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d: %s", w.seed, fmt.Sprintf(format, args...))
}

// later makes something happen at some time, from any goroutine.
func (w *world) later(name string, run func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arrived = append(w.arrived, event{name, run})
}

// start is the go statement of the coordinator.
func (w *world) start(f func()) {
	if w.bubble {
		go f()
		return
	}
	w.started = append(w.started, f)
}

// settle waits until nothing runs and takes in what it left.
func (w *world) settle() {
	if w.bubble {
		synctest.Wait()
	}
	for len(w.started) > 0 {
		f := w.started[0]
		w.started = w.started[1:]
		f()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.arrived) == 0 {
		return
	}
	slices.SortStableFunc(w.arrived, func(a, b event) int { return cmp.Compare(a.name, b.name) })
	for _, e := range w.arrived {
		if !w.calm && w.rand.IntN(12) == 0 {
			w.slow = append(w.slow, e)
		} else {
			w.events = append(w.events, e)
		}
	}
	clear(w.arrived)
	w.arrived = w.arrived[:0]
}

// run takes one of the events out and lets it happen.
func (w *world) run(events *[]event, i int) {
	e := (*events)[i]
	*events = slices.Delete(*events, i, i+1)
	e.run()
}

var simSettings = config.Transactions{MaxTimeout: 15 * time.Minute, IDExpiration: time.Hour, AbortCheck: time.Second, ExpireCheck: 10 * time.Minute}

func (w *world) serve() {
	markers := Gate(w)
	markers.(*gate).spawn = w.start
	w.rt = coord.NewRuntime(coord.Options[*Machine]{Topic: "__transaction_state", Clock: w.clock, Go: w.start, New: func(p int32) *Machine {
		return New(Options{Settings: simSettings, Version: func() int16 { return w.version }, Markers: markers,
			Again: func(p int32, op func(*coord.Context, *Machine)) { _ = w.rt.DoAt(p, op) },
			NextProducerID: func() (int64, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.lastID++
				return w.lastID, nil
			}}, p)
	}})
	w.rt.SetPartitions(1)
	w.rt.Serve(0, w.log)
	w.settle()
}

// Write is Markers: they arrive one after the other, and each waits for its sync.
func (w *world) Write(m Marker, done func([]error)) {
	results := make([]error, len(m.Partitions))
	left := len(results)
	for i, p := range m.Partitions {
		w.later(fmt.Sprintf("marker %s %v", m.TransactionalID, p), func() {
			w.logs[p.Index].marker(m, func(err error) {
				results[i] = err
				if left--; left == 0 {
					w.later("marked "+m.TransactionalID, func() { done(results) })
				}
			})
		})
	}
}

// crash is a power cut: everybody's messages are lost, logs keep what was synced and some of the rest.
func (w *world) crash() {
	w.rt.Close()
	w.settle()
	w.events, w.slow = nil, nil
	w.log = w.log.Crash(w.rand.IntN(w.log.Unsynced() + 1))
	w.follower = nil
	for _, l := range w.logs {
		l.crash(w.rand.IntN(len(l.batches) - l.durable + 1))
	}
	w.serve()
}

// step is one thing that happens.
func (w *world) step() {
	n := w.rand.IntN(100)
	switch {
	case n < 50 && len(w.events) > 0:
		// Mostly in order: late messages are many enough.
		i := 0
		if w.rand.IntN(3) == 0 {
			i = w.rand.IntN(len(w.events))
		}
		w.run(&w.events, i)
	case n == 50 && len(w.slow) > 0 && w.rand.IntN(3) == 0:
		w.run(&w.slow, w.rand.IntN(len(w.slow)))
	case n < 65:
		w.log.Sync(nil)
	case n < 80:
		w.logs[w.rand.IntN(len(w.logs))].sync()
	case n < 93:
		w.clients[w.rand.IntN(len(w.clients))].act()
	case n < 97:
		w.clock.Advance(time.Duration(1+w.rand.IntN(60)) * time.Millisecond)
	case n < 98 && !w.calm:
		w.clock.Advance(time.Duration(1+w.rand.IntN(3000)) * time.Millisecond)
	case n == 98 && !w.calm:
		l := w.logs[w.rand.IntN(len(w.logs))]
		l.offline = !l.offline && w.rand.IntN(2) == 0
	case n == 99 && !w.calm:
		switch w.rand.IntN(8) {
		case 0:
			w.crash()
		case 1, 2:
			w.refuse()
		default:
			for _, l := range w.logs {
				l.offline = false
			}
		}
	}
	w.settle()
	if w.rand.IntN(16) == 0 {
		w.checkReplay()
	}
}

// refuse is a full disk, for some time.
func (w *world) refuse() {
	w.log.Refuse(errors.New("no space left"))
	for range 1 + w.rand.IntN(4) {
		if len(w.events) > 0 {
			w.run(&w.events, 0)
			w.settle()
		}
	}
	w.clock.Advance(time.Duration(w.rand.IntN(300)) * time.Millisecond)
	w.log.Refuse(nil)
	w.clock.Advance(time.Duration(w.rand.IntN(300)) * time.Millisecond)
}

// checkReplay compares the state with what another Machine makes of the log, which is given each record once: as Apply knows
// nothing but its Machine and the record, a new one given all of them would be the same.
func (w *world) checkReplay() {
	w.t.Helper()
	err := w.rt.DoAt(0, func(_ *coord.Context, m *Machine) {
		if w.follower == nil {
			w.follower, w.followed = New(Options{}, 0), 0
		}
		again := w.follower
		var err error
		w.followed, err = w.log.LoadFrom(w.followed, func(b batch.Batch) error {
			return b.Each(1<<20, func(r *batch.Record) error {
				return again.Apply(coord.Record{Key: r.Key, Value: r.Value}, coord.Origin{})
			})
		})
		if err != nil {
			w.fatalf("%v", err)
		}
		if len(again.all) != len(m.all) || len(again.ongoing) != len(m.ongoing) {
			w.fatalf("%d ids, %d open; the log says %d and %d", len(m.all), len(m.ongoing), len(again.all), len(again.ongoing))
		}
		for id, t := range m.all {
			if x := again.all[id]; x == nil || !reflect.DeepEqual(x.v, t.v) {
				w.fatalf("%s is %+v, the log says %+v", id, t.v, x)
			}
		}
	})
	if err != nil && !errors.Is(err, coord.ErrLoading) {
		w.fatalf("%v", err)
	}
}

// quiesce lets everything come to its end.
func (w *world) quiesce() {
	w.calm = true
	w.log.Refuse(nil)
	for _, l := range w.logs {
		l.offline = false
	}
	for _, c := range w.clients {
		c.stopped = true
	}
	for len(w.slow) > 0 {
		w.run(&w.slow, 0)
		w.settle()
	}
	for range 60 {
		for range 50 {
			if len(w.events) == 0 {
				break
			}
			w.run(&w.events, 0)
			w.settle()
		}
		w.log.Sync(nil)
		for _, l := range w.logs {
			l.sync()
		}
		w.settle()
		w.clock.Advance(2500 * time.Millisecond)
		w.settle()
	}
	if len(w.events) > 0 {
		w.fatalf("%d things are still under way, such as %s", len(w.events), w.events[0].name)
	}
}

// check is what must hold at the end.
func (w *world) check() {
	w.t.Helper()
	w.follower = nil // from the beginning
	w.checkReplay()
	if err := w.rt.DoAt(0, func(_ *coord.Context, m *Machine) {
		for id, t := range m.all {
			if t.v.State == record.Ongoing || t.prepared() || t.sending != nil || len(t.waiting) > 0 {
				w.fatalf("%s has not come to an end: %+v", id, t.v)
			}
		}
	}); err != nil {
		w.fatalf("%v", err)
	}
	visible := map[int64]int{}
	for i, l := range w.logs {
		if n := l.table.OpenTransactions(); n > 0 {
			w.fatalf("%d transactions hang in partition %d", n, i)
		}
		l.visible(visible, i == simPartitions-1)
	}
	for _, x := range w.txns {
		n := 0
		for _, key := range x.acked {
			switch visible[key] {
			case 1:
				n++
			case 0:
			default:
				w.fatalf("record %d of %s is there %d times", key, x.name, visible[key])
			}
		}
		all := 0
		for _, key := range x.sent {
			if visible[key] > 0 {
				all++
			}
		}
		switch {
		case x.outcome == committed && n != len(x.acked):
			w.fatalf("%s was committed, %d of its %d records are there", x.name, n, len(x.acked))
		case x.outcome == committed && all != n:
			w.fatalf("%s was committed with %d records more than were acknowledged", x.name, all-n)
		case x.outcome == aborted && all != 0:
			w.fatalf("%s was aborted, %d of its records are there", x.name, all)
		case x.outcome == unknown && n != 0 && n != len(x.acked):
			w.fatalf("%s is there in part: %d of %d", x.name, n, len(x.acked))
		case x.outcome == unknown && n == 0 && all != 0:
			w.fatalf("%s is there in part: none of those acknowledged, %d others", x.name, all)
		}
	}
}

// result is what came of a seed.
type result struct {
	commits, fences int
	records         int64 // in the coordinator's log
	sent            int64
}

// simulate runs a seed, inside a bubble of synctest or not.
func simulate(t *testing.T, seed uint64, bubble bool) (o result) {
	w := &world{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 890)), clock: clock.NewManual(time.UnixMilli(1_000_000)),
		log: coordtest.NewLog(0, true), lastID: 100, version: 2, owners: map[string]owner{}, bubble: bubble}
	if w.rand.IntN(4) == 0 {
		w.version = 1
	}
	for i := range simPartitions {
		w.logs = append(w.logs, newSimLog(w, int32(i)))
	}
	for i := range 3 {
		w.sessions++
		w.clients = append(w.clients, &client{w: w, number: i, session: w.sessions, id: fmt.Sprint("id", i%2), version: int16(w.rand.IntN(2) * 2)})
	}
	if w.version == 1 {
		for _, c := range w.clients {
			c.version = 0
		}
	}
	w.serve()
	for range 1000 {
		w.step()
	}
	w.quiesce()
	w.check()
	w.crash() // nothing is lost that was decided
	w.quiesce()
	w.check()
	w.rt.Close()
	for _, x := range w.txns {
		if x.outcome == committed && len(x.acked) > 0 {
			o.commits++
		}
	}
	for _, c := range w.clients {
		o.fences += c.fenced
	}
	o.records, o.sent = w.log.End(), w.nextKey
	return o
}

// TestSimulation: transactions of two ids, by clients of versions 1 and 2 that do not know of each other, on a broker that
// loses messages, syncs and power. Seeds run on all processors, each in a world of its own.
func TestSimulation(t *testing.T) {
	// A world is small and soon garbage: with a heap of a few MB the collector would run all the time.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	outer := t
	var next atomic.Uint64
	var commits, fences atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			t.Run("worker", func(t *testing.T) {
				for n := next.Add(1); n <= *seeds && !outer.Failed(); n = next.Add(1) {
					o := simulate(t, *firstSeed+n-1, false)
					commits.Add(int64(o.commits))
					fences.Add(int64(o.fences))
				}
			})
		})
	}
	workers.Wait()
	if n := int64(*seeds); !t.Failed() && n >= 100 && (commits.Load() < n/2 || fences.Load() < n/10) {
		t.Errorf("%d commits and %d fenced producers in %d seeds: the simulation tests nothing", commits.Load(), fences.Load(), n)
	}
	t.Logf("%d commits, %d fenced producers", commits.Load(), fences.Load())
}

// TestSimulationOnGoroutines: the same comes of a seed when the coordinator starts goroutines as it does in a broker.
func TestSimulationOnGoroutines(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+min(*seeds, 30); seed++ {
		synctest.Test(t, func(t *testing.T) {
			if one, many := simulate(t, seed, false), simulate(t, seed, true); one != many {
				t.Errorf("seed %d: %+v on one goroutine, %+v on many", seed, one, many)
			}
		})
	}
}
