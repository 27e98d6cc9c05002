package coord_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
)

// in sets a timer by name d from now.
func in(c *coord.Context, name string, d time.Duration) {
	c.Timer(coord.TimerKey{Kind: 1, Name: name}, c.Now()+d.Milliseconds())
}

func (b *bench) fired(t *testing.T, want ...string) {
	t.Helper()
	b.do(t, func(_ *coord.Context, j *journal) {
		if !slices.Equal(j.fired, want) {
			t.Fatalf("fired %v, expected %v", j.fired, want)
		}
		j.fired = nil
	})
}

func TestTimers(t *testing.T) {
	b := newBench(t, coordtest.NewLog(0, false))
	b.do(t, func(c *coord.Context, _ *journal) {
		in(c, "c", 30*time.Second)
		in(c, "a", 10*time.Second)
		in(c, "b", 20*time.Second)
		in(c, "gone", 15*time.Second)
		in(c, "now", 0)
		in(c, "past", -time.Hour)
	})
	b.clock.Advance(0)
	b.fired(t, "past", "now")
	b.clock.Advance(9999 * time.Millisecond)
	b.fired(t)
	b.clock.Advance(time.Millisecond)
	b.fired(t, "a")
	b.do(t, func(c *coord.Context, _ *journal) {
		in(c, "c", 5*time.Second)  // earlier
		in(c, "b", 60*time.Second) // put off
		c.Cancel(coord.TimerKey{Kind: 1, Name: "gone"})
		c.Cancel(coord.TimerKey{Kind: 2, Name: "b"}) // another one
	})
	b.clock.Advance(5 * time.Second)
	b.fired(t, "c")
	b.clock.Advance(54 * time.Second)
	b.fired(t)
	b.do(t, func(c *coord.Context, _ *journal) { in(c, "a", 500*time.Millisecond) }) // a timer of that name again
	b.clock.Advance(time.Hour)
	b.fired(t, "a", "b")
	if b.clock.Waiting() != 0 {
		t.Fatal("the clock's timer goes on without need")
	}
}

// TestHeartbeatsWakeNobody: ten thousand timers that are put off all the time
// cost no wake-up each.
func TestHeartbeatsWakeNobody(t *testing.T) {
	b := newBench(t, coordtest.NewLog(0, false))
	const members = 10_000
	names := make([]string, members)
	for i := range names {
		names[i] = fmt.Sprintf("member-%d", i)
	}
	for range 20 {
		b.do(t, func(c *coord.Context, _ *journal) {
			for _, n := range names {
				in(c, n, 45*time.Second)
			}
		})
		b.clock.Advance(3 * time.Second)
	}
	b.fired(t)
	b.clock.Advance(41 * time.Second)
	b.fired(t)
	b.clock.Advance(time.Second)
	b.do(t, func(_ *coord.Context, j *journal) {
		if len(j.fired) != members {
			t.Fatalf("%d of %d sessions expired", len(j.fired), members)
		}
	})
}

// ticking is a Machine whose timer writes.
type ticking struct {
	journal
	every  time.Duration
	panics bool
}

func (k *ticking) Loaded(c *coord.Context) { in(c, "tick", k.every) }

func (k *ticking) Fire(c *coord.Context, _ coord.TimerKey) {
	write(c, k.last()+1)
	if k.panics && k.last() == 3 {
		k.panics = false
		panic("a defect")
	}
	in(c, "tick", k.every)
}

// TestTimersWrite: what a timer does is an operation like any other, and one
// that panics costs the state in memory, not the broker.
func TestTimersWrite(t *testing.T) {
	log := coordtest.NewLog(0, true)
	b := newBench(t, log)
	panics := true
	r := coord.NewRuntime(coord.Options[*ticking]{Topic: "__topic", Clock: b.clock, New: func(int32) *ticking {
		k := &ticking{every: time.Second, panics: panics}
		panics = false
		return k
	}})
	defer r.Close()
	r.Serve(0, log)
	last := func() (n uint64) {
		t.Helper()
		if err := r.DoAt(0, func(_ *coord.Context, k *ticking) { n = k.last() }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	b.clock.Advance(2 * time.Second)
	if n := last(); n != 2 {
		t.Fatalf("%d ticks, expected 2", n)
	}
	b.clock.Advance(time.Second) // panics behind its record
	r.WaitLoaded()
	if n := last(); n != 2 {
		t.Fatalf("%d ticks, expected 2", n)
	}
	b.clock.Advance(2 * time.Second)
	if n := last(); n != 4 {
		t.Fatalf("%d ticks, expected 4", n)
	}
	log.Refuse(errors.New("no space left"))
	b.clock.Advance(time.Second)
	log.Refuse(nil)
	r.WaitLoaded()
	if n := last(); n != 4 {
		t.Fatalf("%d ticks, expected 4", n)
	}
	r.Stop(0)
	b.clock.Advance(time.Hour)
	if log.End() != 4 {
		t.Fatalf("a stopped shard wrote: end %d", log.End())
	}
}
