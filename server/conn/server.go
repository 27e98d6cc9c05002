package conn

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// ErrServerClosed is why connections end at Close.
var ErrServerClosed = errors.New("server closed")

// Server accepts connections and serves their requests from the table of their listener. Its methods are safe for concurrent use.
type Server struct {
	opts     Options
	log      *slog.Logger
	metrics  Metrics
	budget   budget
	frames   framePool
	started  time.Time
	interval time.Duration // between sweeps
	coarse   atomic.Int64  // nanoseconds since started at the last sweep, at least 1
	lastID   atomic.Uint64

	mu        sync.Mutex
	room      sync.Cond // on mu: a connection has gone, or the server stops
	listeners map[net.Listener]struct{}
	conns     map[*connection]struct{}
	limits    Limits
	// Of conns, by address and by listener, and how many are being closed for Limits.Total.
	perIP       map[netip.Addr]int
	perListener map[string]int
	leaving     int
	refused     map[net.Conn]func() bool // to be closed soon, by what stops that
	sweeping    bool
	sweeps      int
	isStopped   bool
	stopping    chan struct{} // closed with isStopped
	drained     chan struct{} // closed when stopped and no connection is left
}

// NewServer returns a Server without listeners. It panics if the options have no table.
func NewServer(opts Options) *Server {
	opts = opts.withDefaults()
	s := &Server{
		opts:        opts,
		log:         opts.Logger,
		budget:      budget{limit: opts.RequestMemoryBytes},
		frames:      framePool{limit: opts.RequestMemoryBytes},
		started:     opts.Clock.Now(),
		interval:    time.Second,
		listeners:   map[net.Listener]struct{}{},
		conns:       map[*connection]struct{}{},
		limits:      *opts.Limits,
		perIP:       map[netip.Addr]int{},
		perListener: map[string]int{},
		refused:     map[net.Conn]func() bool{},
		stopping:    make(chan struct{}),
		drained:     make(chan struct{}),
	}
	for _, d := range []time.Duration{opts.IdleTimeout, opts.FrameTimeout, opts.WriteTimeout, opts.DrainTimeout} {
		s.interval = min(s.interval, max(d/4, time.Millisecond))
	}
	s.room.L = &s.mu
	s.tick()
	return s
}

// Metrics returns the live counters.
func (s *Server) Metrics() *Metrics { return &s.metrics }

// Shutdown stops accepting and reading, lets the requests in flight finish and their responses leave, then closes the
// connections. When ctx ends first, it closes what is left at once and returns the context's error without waiting further.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.stop() {
		c.stopReading()
	}
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
		_ = s.Close()
		return ctx.Err()
	}
}

// Close closes listeners and connections at once, dropping requests in flight; it does not wait for handlers that are
// running, see Wait. It always returns nil and may be called again, also during Shutdown.
func (s *Server) Close() error {
	for _, c := range s.stop() {
		c.kill(ErrServerClosed)
	}
	return nil
}

// Wait returns when, after Shutdown or Close, the last connection's goroutines have ended and all replies are released, or
// with ctx's error.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-s.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop closes the listeners, marks the server as stopped and returns its connections.
func (s *Server) stop() []*connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isStopped {
		s.isStopped = true
		close(s.stopping)
		if len(s.conns) == 0 {
			close(s.drained)
		}
		s.room.Broadcast()
	}
	for l := range s.listeners {
		_ = l.Close()
	}
	for nc, stop := range s.refused {
		stop()
		_ = nc.Close()
	}
	clear(s.refused)
	all := make([]*connection, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

func (s *Server) stopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopped {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	_ = l.Close()
}

// admit starts a connection on nc or closes it. Where there are too many, or they come too fast, it waits, as Kafka's acceptor
// does; only one address that has too many is turned away.
func (s *Server) admit(nc net.Conn, listener string) {
	s.metrics.AcceptedConnections.Add(1)
	ip := addressOf(nc)
	if s.opts.Pace != nil {
		if wait := s.opts.Pace(listener); wait > 0 {
			s.pause(wait)
		}
	}
	if s.opts.Refuse != nil && ip.IsValid() {
		if wait := s.opts.Refuse(ip); wait > 0 {
			s.refuse(nc, ip, listener, wait)
			return
		}
	}
	s.mu.Lock()
	for !s.isStopped && !s.roomLocked(listener) {
		s.room.Wait()
	}
	if s.isStopped {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	if limit := s.perIPLocked(ip); ip.IsValid() && s.perIP[ip] >= limit {
		s.mu.Unlock()
		s.metrics.RefusedConnections.Add(1)
		s.log.Info("connection refused: too many from one address", "address", ip, "listener", listener, "limit", limit)
		_ = nc.Close()
		return
	}
	s.tick()
	c := newConnection(s, nc, listener, ip)
	s.conns[c] = struct{}{}
	s.perIP[ip]++
	s.perListener[listener]++
	victims := s.excessLocked(false)
	s.armSweep()
	s.mu.Unlock()
	active := s.metrics.ActiveConnections.Add(1)
	s.log.Debug("connection opened", "connection", c.facts.ID, "address", c.facts.RemoteAddr, "listener", listener, "active", active)
	go c.read()
	s.evict(victims)
}

// maxRefused bounds the connections that wait to be closed; further ones are closed at once.
const maxRefused = 1024

// refuse closes a connection after a while: a client that is told at once would come back at once.
func (s *Server) refuse(nc net.Conn, ip netip.Addr, listener string, wait time.Duration) {
	s.metrics.RefusedConnections.Add(1)
	s.log.Debug("connection refused: too many new ones from one address", "address", ip, "listener", listener, "wait", wait)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopped || len(s.refused) >= maxRefused {
		_ = nc.Close()
		return
	}
	s.refused[nc] = s.opts.Clock.AfterFunc(wait, func() {
		s.mu.Lock()
		delete(s.refused, nc)
		s.mu.Unlock()
		_ = nc.Close()
	})
}

// remove forgets a connection whose goroutines have ended.
func (s *Server) remove(c *connection) {
	active := s.metrics.ActiveConnections.Add(-1)
	s.mu.Lock()
	delete(s.conns, c)
	if s.perIP[c.ip]--; s.perIP[c.ip] <= 0 {
		delete(s.perIP, c.ip)
	}
	s.perListener[c.facts.Listener]--
	if c.leaving {
		s.leaving--
	}
	if s.isStopped && len(s.conns) == 0 {
		close(s.drained)
	}
	s.room.Broadcast()
	s.mu.Unlock()
	s.log.Debug("connection closed", "connection", c.facts.ID, "address", c.facts.RemoteAddr, "active", active, "reason", c.reason())
}

func addressOf(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// tick moves the coarse time by which connections are stamped, so that a request costs no look at the clock for it.
func (s *Server) tick() int64 {
	now := max(int64(s.opts.Clock.Now().Sub(s.started)), 1)
	s.coarse.Store(now)
	return now
}

// armSweep makes sure that a sweep will come; mu is held.
func (s *Server) armSweep() {
	if !s.sweeping {
		s.sweeping = true
		s.opts.Clock.AfterFunc(s.interval, s.sweep)
	}
}

// trimSweeps is how many sweeps lie between two looks at the frame pool.
const trimSweeps = 5

// returnedAtOnce is how much the pool must have dropped to be worth a collection when it has become empty.
const returnedAtOnce = 1 << 20

// sweep closes connections that have passed a deadline and lets the frame pool shrink. One timer serves them all, so neither
// requests nor connections arm any. It rests when there are no connections and no kept frames.
func (s *Server) sweep() {
	now := s.tick()
	s.mu.Lock()
	all := make([]*connection, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.sweeps++
	trim := s.sweeps%trimSweeps == 0
	victims := s.excessLocked(true)
	s.mu.Unlock()
	s.evict(victims)
	for _, c := range all {
		if err := c.overdue(now); err != nil {
			c.kill(err)
		}
	}
	if trim {
		if dropped, left := s.frames.trim(); dropped >= returnedAtOnce && left == 0 {
			// A burst is over: give its memory back now, not in the collector's good time.
			debug.FreeOSMemory()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweeping = false
	if len(s.conns) > 0 || !s.isStopped && s.frames.holds() {
		s.armSweep()
	}
}
