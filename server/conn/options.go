package conn

import (
	"log/slog"
	"math"
	"net/netip"
	"time"

	"github.com/gregor-broker/gregor/wire"
)

// Defaults of Options.
const (
	DefaultMaxRequestBytes    = 100 << 20        // socket.request.max.bytes
	DefaultIdleTimeout        = 10 * time.Minute // connections.max.idle.ms
	DefaultFrameTimeout       = 10 * time.Second
	DefaultWriteTimeout       = 30 * time.Second
	DefaultDrainTimeout       = 10 * time.Second
	DefaultRequestMemoryBytes = 32 << 20
	DefaultMaxInFlight        = 64
	DefaultMaxInFlightBytes   = 16 << 20
)

// Clock is the time a Server lives in; nil functions stand for package time.
type Clock struct {
	Now       func() time.Time
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
}

// Options configures a Server; zero values stand for the defaults.
type Options struct {
	Table  *wire.Table            // the APIs; required
	Tables map[string]*wire.Table // the APIs of listeners that have others, by name
	Logger *slog.Logger           // nil for slog.Default
	// MaxRequestBytes is the largest frame, without its length prefix.
	MaxRequestBytes int
	// Limits bound the number of connections until SetLimits; nil is no bound.
	Limits *Limits
	// Pace counts a new connection of a listener and says for how long it, and with it the listener, waits before it is taken in; nil
	// is no wait (max.connection.creation.rate). It is called by the listeners and must not block.
	Pace func(listener string) time.Duration
	// Refuse says, of each new connection's address, for how long it is kept without being served before it is closed; 0 serves
	// it. It is called by the listeners and must not block; nil refuses nobody.
	Refuse func(address netip.Addr) time.Duration
	// IdleTimeout closes a connection without a request in flight; negative is never.
	IdleTimeout time.Duration
	// FrameTimeout closes a connection that has begun a frame and then falls behind 64 KiB/s for this long; negative is never.
	FrameTimeout time.Duration
	// WriteTimeout closes a connection that takes longer than this for a mebibyte of responses; negative is never.
	WriteTimeout time.Duration
	// DrainTimeout bounds how long requests in flight are finished for a client that has closed its sending side.
	DrainTimeout time.Duration
	// RequestMemoryBytes is the memory for frames above 4 KiB of all connections together; a frame larger than that passes
	// alone. Further frames wait unread.
	RequestMemoryBytes int64
	// MaxInFlight and MaxInFlightBytes bound the requests of one connection that are not answered yet; beyond, its reader
	// waits. The byte bound may be passed by one request.
	MaxInFlight      int
	MaxInFlightBytes int64
	Clock            Clock
}

func (o Options) withDefaults() Options {
	if o.Table == nil {
		panic("conn: options have no table")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxRequestBytes <= 0 {
		o.MaxRequestBytes = DefaultMaxRequestBytes
	}
	o.MaxRequestBytes = min(o.MaxRequestBytes, math.MaxInt32)
	if o.Limits == nil {
		o.Limits = &Limits{Total: NoLimit, PerIP: NoLimit}
	}
	o.IdleTimeout = timeout(o.IdleTimeout, DefaultIdleTimeout)
	o.FrameTimeout = timeout(o.FrameTimeout, DefaultFrameTimeout)
	o.WriteTimeout = timeout(o.WriteTimeout, DefaultWriteTimeout)
	o.DrainTimeout = timeout(o.DrainTimeout, DefaultDrainTimeout)
	if o.RequestMemoryBytes <= 0 {
		o.RequestMemoryBytes = DefaultRequestMemoryBytes
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = DefaultMaxInFlight
	}
	if o.MaxInFlightBytes <= 0 {
		o.MaxInFlightBytes = DefaultMaxInFlightBytes
	}
	if o.Clock.Now == nil {
		o.Clock.Now = time.Now
	}
	if o.Clock.AfterFunc == nil {
		o.Clock.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	return o
}

// timeout makes never a very long time, so that comparisons need no second case.
func timeout(d, otherwise time.Duration) time.Duration {
	switch {
	case d == 0:
		return otherwise
	case d < 0:
		return math.MaxInt64 / 2
	default:
		return d
	}
}
