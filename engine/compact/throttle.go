package compact

import (
	"math"
	"sync"
	"time"
)

// Throttle bounds how many bytes are read and written a second, by all cleaners of a broker together (Kafka's
// Throttler). It is safe for concurrent use.
type Throttle struct {
	mu   sync.Mutex
	rate float64   // bytes a second; 0 is no limit
	paid time.Time // until when the bytes that were counted last at this rate
}

// throttleStep is the shortest pause that is worth taking.
const throttleStep = 100 * time.Millisecond

// NewThrottle makes a Throttle of bytesPerSecond; 0 or less, or a number that no disk reaches, is no limit.
func NewThrottle(bytesPerSecond float64) *Throttle {
	t := &Throttle{}
	t.SetRate(bytesPerSecond)
	return t
}

// SetRate changes the limit.
func (t *Throttle) SetRate(bytesPerSecond float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !(bytesPerSecond > 0) || bytesPerSecond > math.MaxInt64 {
		bytesPerSecond = 0
	}
	t.rate, t.paid = bytesPerSecond, time.Time{}
}

// Pause counts n bytes and says how long to wait before more are moved.
func (t *Throttle) Pause(n int64, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rate == 0 {
		return 0
	}
	if t.paid.Before(now) {
		t.paid = now
	}
	t.paid = t.paid.Add(time.Duration(min(float64(n)/t.rate, 1e9) * float64(time.Second)))
	if wait := t.paid.Sub(now); wait >= throttleStep {
		return wait
	}
	return 0
}
