package clock

import (
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var epoch = time.UnixMilli(1_700_000_000_000)

func TestManualFiresInOrderAtTheirTime(t *testing.T) {
	m := NewManual(epoch)
	var fired []string
	note := func(name string) func() {
		return func() { fired = append(fired, name+"@"+m.Now().Sub(epoch).String()) }
	}
	m.AfterFunc(3*time.Second, note("c"))
	m.AfterFunc(1*time.Second, note("a"))
	m.AfterFunc(1*time.Second, note("b"))
	m.AfterFunc(2*time.Second, func() {
		note("chain")()
		m.AfterFunc(500*time.Millisecond, note("chained"))
	})
	m.AfterFunc(time.Hour, note("late"))

	m.Advance(999 * time.Millisecond)
	if fired != nil {
		t.Fatalf("fired early: %v", fired)
	}
	m.Advance(9*time.Second + time.Millisecond)
	want := []string{"a@1s", "b@1s", "chain@2s", "chained@2.5s", "c@3s"}
	if !reflect.DeepEqual(fired, want) {
		t.Fatalf("fired %v, want %v", fired, want)
	}
	if got := m.Now().Sub(epoch); got != 10*time.Second {
		t.Fatalf("now is %v after start, want 10s", got)
	}
	if next, ok := m.Next(); !ok || next != time.Hour-10*time.Second {
		t.Fatalf("next timer in %v, %v", next, ok)
	}
	if m.Waiting() != 1 {
		t.Fatalf("%d timers waiting, want 1", m.Waiting())
	}
}

func TestManualStopAndReset(t *testing.T) {
	m := NewManual(epoch)
	fired := 0
	timer := m.AfterFunc(time.Second, func() { fired++ })
	if !timer.Stop() {
		t.Fatal("stop of a waiting timer returned false")
	}
	if timer.Stop() {
		t.Fatal("second stop returned true")
	}
	m.Advance(time.Minute)
	if fired != 0 {
		t.Fatal("a stopped timer fired")
	}
	if timer.Reset(time.Second) {
		t.Fatal("reset of a stopped timer returned true")
	}
	if !timer.Reset(2 * time.Second) {
		t.Fatal("reset of a waiting timer returned false")
	}
	m.Advance(time.Second)
	if fired != 0 {
		t.Fatal("fired at its first due time after reset")
	}
	m.Advance(time.Second)
	if fired != 1 {
		t.Fatalf("fired %d times, want 1", fired)
	}
	if _, ok := m.Next(); ok {
		t.Fatal("a fired timer is still waiting")
	}
}

func TestManualDueAtOnceWaitsForAdvance(t *testing.T) {
	m := NewManual(epoch)
	fired := false
	m.AfterFunc(-time.Second, func() { fired = true })
	if fired {
		t.Fatal("fired on the goroutine of AfterFunc")
	}
	m.Advance(0)
	if !fired || !m.Now().Equal(epoch) {
		t.Fatalf("fired %v at %v", fired, m.Now())
	}
}

func TestManualWallJumpsLeaveTimersAlone(t *testing.T) {
	m := NewManual(epoch)
	fired := false
	m.AfterFunc(time.Minute, func() { fired = true })
	m.SetWall(epoch.Add(24 * time.Hour))
	m.Advance(59 * time.Second)
	if fired {
		t.Fatal("a jump of the wall clock fired a timer")
	}
	m.SetWall(epoch.Add(-24 * time.Hour))
	m.Advance(time.Second)
	if !fired {
		t.Fatal("a jump back delayed a timer")
	}
	if want := epoch.Add(-24*time.Hour + time.Second); !m.Now().Equal(want) {
		t.Fatalf("now %v, want %v", m.Now(), want)
	}
}

func TestManualAdvanceInsideATimer(t *testing.T) {
	m := NewManual(epoch)
	m.AfterFunc(time.Second, func() { m.Advance(time.Minute) })
	m.Advance(2 * time.Second)
	if got := m.Now().Sub(epoch); got != 61*time.Second {
		t.Fatalf("now is %v after start, want 61s: the clock must never go back", got)
	}
}

func TestManualConcurrentUse(t *testing.T) {
	m := NewManual(epoch)
	var fired sync.WaitGroup
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 100 {
				fired.Add(1)
				m.AfterFunc(time.Millisecond, fired.Done)
				m.AfterFunc(time.Millisecond, func() { panic("stopped timer fired") }).Stop()
			}
		})
	}
	workers.Wait()
	for range 4 {
		workers.Go(func() { m.Advance(time.Second) })
	}
	workers.Wait()
	fired.Wait()
	if m.Waiting() != 0 {
		t.Fatalf("%d timers waiting, want 0", m.Waiting())
	}
}

func TestReal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := Real.Now()
		done := make(chan time.Duration)
		timer := Real.AfterFunc(time.Hour, func() { done <- Real.Now().Sub(start) })
		if !timer.Reset(time.Minute) {
			t.Fatal("reset of a waiting timer returned false")
		}
		if got := <-done; got != time.Minute {
			t.Fatalf("fired after %v, want 1m", got)
		}
		if timer.Stop() {
			t.Fatal("stop of a fired timer returned true")
		}
	})
}
