package coord_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
)

var seeds = flag.Uint64("seeds", 300, "how many seeds TestRandom tries")

// history is what the clients of one log know over its restarts. Numbers count
// up over the whole life, one operation writes a run of them.
type history struct {
	t       *testing.T
	seed    uint64
	rand    *rand.Rand
	next    uint64
	runs    map[uint64]uint64 // the first number of an operation to its last
	asked   []*asked
	durable uint64 // the newest number that somebody was told of
	log     *coordtest.Log
	bench   *bench
}

// asked is one operation whose reply is awaited.
type asked struct {
	answer
	wrote uint64 // its last number, 0 for a read
	ran   bool
}

func (h *history) fatalf(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("seed %d: %s", h.seed, fmt.Sprintf(format, args...))
}

// do runs an operation, which counts as asked when it ran.
func (h *history) do(op func(c *coord.Context, j *journal, a *asked)) *asked {
	a := new(asked)
	defer func() {
		_ = recover() // a defect of an operation; its connection would end
		if a.ran {
			h.asked = append(h.asked, a)
		}
	}()
	_ = h.bench.DoAt(0, func(c *coord.Context, j *journal) {
		a.ran = true
		op(c, j, a)
	})
	return a
}

// put writes one to three numbers.
func (h *history) put(panics bool) {
	h.do(func(c *coord.Context, j *journal, a *asked) {
		first := h.next + 1
		for range 1 + h.rand.IntN(3) {
			h.next++
			write(c, h.next)
		}
		h.runs[first], a.wrote = h.next, h.next
		if panics {
			// Told by the runtime before the panic goes on.
			coord.Send(c, a.done, h.next)
			panic("a defect")
		}
		woken := j.parked
		j.parked = nil
		for _, p := range woken {
			coord.Send(c, p.done, h.next)
		}
		coord.Send(c, a.done, h.next)
	})
}

func (h *history) step() {
	switch h.rand.IntN(16) {
	case 0, 1, 2, 3:
		h.put(false)
	case 4, 5:
		h.do(func(c *coord.Context, j *journal, a *asked) { coord.Send(c, a.done, j.last()) })
	case 6:
		h.do(func(_ *coord.Context, j *journal, a *asked) { j.parked = append(j.parked, parked{0, a.done}) })
	case 7, 8, 9:
		h.log.Sync(nil)
	case 10:
		h.put(true)
	case 11:
		h.log.Refuse(errors.New("no space left"))
		h.put(false)
		h.put(false)
		h.log.Refuse(nil)
	case 12:
		h.bench.clock.Advance(time.Duration(h.rand.IntN(6000)) * time.Millisecond)
	case 13:
		done := new(asked)
		if h.bench.Marker(0, 77, 1, 1, 2, true, func(err error) { done.done(0, err) }) == nil {
			h.asked = append(h.asked, done)
		}
	case 14:
		if h.rand.IntN(4) == 0 {
			h.log.Sync(errors.New("input/output error"))
		}
	case 15:
		if h.rand.IntN(3) == 0 {
			h.restart()
		}
	}
	h.check(false)
}

// check looks at the answers; with closed everybody must have been told.
func (h *history) check(closed bool) {
	h.t.Helper()
	for _, a := range h.asked {
		n := a.times.Load()
		if n > 1 || closed && n == 0 {
			h.fatalf("an operation was answered %d times (wrote %d)", n, a.wrote)
		}
		if n == 1 && a.err == nil {
			h.durable = max(h.durable, a.value)
		}
	}
}

// restart ends the broker, by stopping it or by a power cut, and begins the next
// with what is on the disk.
func (h *history) restart() {
	if h.rand.IntN(2) == 0 {
		// A stop: nobody is left without an answer once the last sync is done.
		h.bench.Close()
		h.log.Sync(nil)
		h.check(true)
	}
	h.check(false)
	h.asked = nil
	crashed := h.log.Crash(h.rand.IntN(4))
	h.bench.Close()
	h.log = crashed
	h.bench = newBench(h.t, h.log)
	h.consistent()
}

// consistent: what the log holds are whole operations, in order, up to at least
// what somebody was told.
func (h *history) consistent() {
	h.t.Helper()
	var numbers []uint64
	if err := h.bench.DoAt(0, func(_ *coord.Context, j *journal) { numbers = slices.Clone(j.numbers) }); err != nil {
		h.fatalf("after a restart: %v", err)
	}
	for i := 0; i < len(numbers); {
		last, ok := h.runs[numbers[i]]
		if !ok {
			h.fatalf("number %d is not the first of an operation: %v", numbers[i], numbers)
		}
		for n := numbers[i]; n <= last; n, i = n+1, i+1 {
			if i == len(numbers) || numbers[i] != n {
				h.fatalf("an operation up to %d is there in part: %v", last, numbers)
			}
		}
	}
	if !slices.IsSorted(numbers) {
		h.fatalf("numbers out of order: %v", numbers)
	}
	var newest uint64
	if len(numbers) > 0 {
		newest = numbers[len(numbers)-1]
	}
	if newest < h.durable {
		h.fatalf("somebody was told of %d, the log ends with %d", h.durable, newest)
	}
	// What was lost is not seen again.
	h.durable = newest
}

// TestRandom runs operations, syncs, refusals, defects, failed syncs, stops and
// power cuts in an order by seed: every operation is answered at most once and,
// at a stop, exactly once; nobody is told what a power cut takes back; no
// operation survives in part.
func TestRandom(t *testing.T) {
	for seed := range *seeds {
		h := &history{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 1)), runs: map[uint64]uint64{}, log: coordtest.NewLog(0, true)}
		h.bench = newBench(t, h.log)
		for range 200 {
			h.step()
		}
		h.restart()
		h.bench.Close()
	}
}

// TestConcurrentUse is for the race detector: clients, syncs, timers, refusals,
// stops and loads at once; every operation that ran is answered once.
func TestConcurrentUse(t *testing.T) {
	const shards, clients, each = 4, 8, 300
	r := coord.NewRuntime(coord.Options[*journal]{Topic: "__topic", Clock: clock.Real, LoadWait: time.Second,
		New: func(p int32) *journal { return &journal{partition: p} }})
	logs := make([]*coordtest.Log, shards)
	for i := range logs {
		logs[i] = coordtest.NewLog(0, true)
		r.Serve(int32(i), logs[i])
	}
	var ran, answered atomic.Int64
	var all, others sync.WaitGroup
	ended := make(chan struct{})
	for i := range clients {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 2))
			for n := range each {
				told := new(atomic.Int32)
				done := func(_ uint64, _ error) {
					if told.Add(1) > 1 {
						t.Error("answered twice")
					}
					answered.Add(1)
				}
				_ = r.DoAt(int32(rnd.IntN(shards)), func(c *coord.Context, j *journal) {
					ran.Add(1)
					if rnd.IntN(4) == 0 {
						j.parked = append(j.parked, parked{0, done})
						in(c, fmt.Sprint(i, n), time.Duration(rnd.IntN(3))*time.Millisecond)
						return
					}
					write(c, uint64(i)<<32|uint64(n))
					c.Then(func() {})
					coord.Send(c, done, 0)
				})
			}
		})
	}
	others.Go(func() {
		rnd := rand.New(rand.NewPCG(9, 9))
		for {
			select {
			case <-ended:
				return
			default:
			}
			log := logs[rnd.IntN(shards)]
			switch rnd.IntN(20) {
			case 0:
				log.Refuse(errors.New("no space left"))
			case 1, 2, 3:
				log.Refuse(nil)
			case 4:
				r.Stop(0)
				r.Serve(0, logs[0])
			case 5:
				r.Each(func(c *coord.Context, j *journal) { _ = j.last() })
			default:
				log.Sync(nil)
			}
		}
	})
	all.Wait()
	close(ended)
	others.Wait()
	r.Close()
	for _, log := range logs {
		log.Sync(nil)
	}
	if ran.Load() != answered.Load() {
		t.Fatalf("%d operations ran, %d were answered", ran.Load(), answered.Load())
	}
}
