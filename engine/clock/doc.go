// Package clock is the engine's only source of time: the real clock, and one wound by hand for tests.
//
// It owns Now and timers. It starts no goroutine of its own and knows nothing of what the time is used for; code
// above it never calls the time package for the present time or for timers.
package clock
