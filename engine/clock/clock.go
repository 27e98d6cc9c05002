package clock

import "time"

// Clock tells the time and calls functions later. All methods may be called concurrently.
type Clock interface {
	// Now is the present time. The wall part may jump when an administrator or NTP sets it; differences of two
	// results of the real clock are monotonic.
	Now() time.Time
	// AfterFunc calls f once after d: on a goroutine of its own with the real clock, on the goroutine of Advance
	// with a Manual one. A d of 0 or less is due at once.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a call that waits for its time.
type Timer interface {
	// Stop prevents the call; false means it has begun or was stopped before.
	Stop() bool
	// Reset makes the call due d from now, whether or not it was made before; true means it was still waiting.
	Reset(d time.Duration) bool
}

// Real is the operating system's clock.
var Real Clock = realClock{}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }
