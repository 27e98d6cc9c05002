package compact

import (
	"math"
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	th := NewThrottle(1 << 20)
	var moved, waited int64
	for moved < 20<<20 {
		at = at.Add(time.Millisecond) // what moving takes
		wait := th.Pause(64<<10, at)
		moved += 64 << 10
		if wait != 0 && wait < throttleStep {
			t.Fatalf("a pause of %v", wait)
		}
		waited += int64(wait)
		at = at.Add(wait)
	}
	if took := at.Sub(time.UnixMilli(1_700_000_000_000)); took < 19900*time.Millisecond || took > 20*time.Second+300*time.Millisecond {
		t.Errorf("20 MiB took %v", took)
	}
	// Time that was not used is not saved up.
	at = at.Add(time.Hour)
	if wait := th.Pause(1<<20, at); wait != time.Second {
		t.Errorf("%v for a second's worth", wait)
	}
	// Two at a time share it.
	if wait := th.Pause(1<<20, at); wait != 2*time.Second {
		t.Errorf("%v for the second one", wait)
	}
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1), math.MaxFloat64} {
		th.SetRate(rate)
		if wait := th.Pause(1<<40, at); wait != 0 {
			t.Errorf("rate %v: %v", rate, wait)
		}
	}
	th.SetRate(1e-300)
	if wait := th.Pause(1, at); wait < time.Hour {
		t.Error(wait)
	}
}
