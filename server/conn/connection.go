package conn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/wire"
)

// Reasons why the broker ends a connection by itself.
var (
	errIdle       = errors.New("idle for too long")
	errSlowFrame  = errors.New("request arrives too slowly")
	errSlowReader = errors.New("client does not read its responses")
	errDrain      = errors.New("client has gone and its requests do not finish")
)

// slowestFrameRate is what a client must keep up, in bytes per second, within a frame once FrameTimeout has passed.
const slowestFrameRate = 64 << 10

// exchange is one request on its way to its response; it is the Waker of its reply.
type exchange struct {
	c        *connection
	request  wire.Request
	reply    wire.Reply
	ready    atomic.Bool
	released bool
	written  int // bytes of the response
}

// Wake implements wire.Waker. Only the reply that everything behind it waits for is worth waking the writer.
func (e *exchange) Wake() {
	e.ready.Store(true)
	if e.c.head.Load() == e {
		e.c.signal()
	}
}

// release releases the reply once.
func (e *exchange) release() {
	if e.reply != nil && !e.released {
		e.released = true
		e.reply.Release()
	}
}

// connection is one client. The reader goroutine owns the fields of the first group, mu the queue.
type connection struct {
	s     *Server
	nc    net.Conn
	table *wire.Table // of its listener
	facts wire.Conn
	ip    netip.Addr
	// leaving says that it is being closed for Limits.Total; guarded by the server's mu.
	leaving bool

	buf      []byte // readBufferBytes: length prefixes and small frames; buf[r:w] is unread
	r, w     int
	seen     bool      // a whole request has been received
	clientID string    // of the last request
	spare    *exchange // for the next request

	head atomic.Pointer[exchange] // of the queue
	// pending counts the queue. The writer takes a reply off only after it is written, so when the reader, who alone adds,
	// finds zero, nobody is writing.
	pending      atomic.Int32
	pendingBytes atomic.Int64
	wake         chan struct{} // tells the writer to look at the queue
	stop         chan struct{} // closed when reading is to end

	mu         sync.Mutex
	space      sync.Cond // on mu: the queue has shrunk, or reading is to end
	queue      []*exchange
	first, n   int // queue is a ring
	free       []*exchange
	writerUp   bool
	goroutines int
	ended      bool  // the reader will add nothing more
	isDead     bool  // close now, write nothing more
	stopped    bool  // stop is closed
	cause      error // why it ends

	// Stamps in the server's coarse time for the sweep; 0 is "not now".
	idleSince  atomic.Int64 // the reader waits for a request
	frameSince atomic.Int64 // the reader waits for the rest of one
	frameBytes atomic.Int64 // of which this much is there
	writeSince atomic.Int64 // a write has begun or made progress
	lastWrite  atomic.Int64
	drainSince atomic.Int64 // the reader has ended
}

func newConnection(s *Server, nc net.Conn, listener string, ip netip.Addr) *connection {
	c := &connection{
		s: s, nc: nc, ip: ip, table: s.opts.Table,
		facts: wire.Conn{
			ID:         s.lastID.Add(1),
			RemoteAddr: nc.RemoteAddr().String(),
			LocalAddr:  nc.LocalAddr().String(),
			Listener:   listener,
		},
		wake:       make(chan struct{}, 1),
		stop:       make(chan struct{}),
		goroutines: 1,
	}
	if t := s.opts.Tables[listener]; t != nil {
		c.table = t
	}
	c.space.L = &c.mu
	c.idleSince.Store(s.coarse.Load())
	return c
}

// signal wakes the writer, or makes it look again.
func (c *connection) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// overdue returns why the connection must be closed at the coarse time now, nil while all is well. Stamps may be one sweep
// older than what they stand for, so nobody is closed early.
func (c *connection) overdue(now int64) error {
	late := func(since int64, limit time.Duration) bool {
		return since != 0 && time.Duration(now-since) > limit+c.s.interval
	}
	o := &c.s.opts
	if late(c.writeSince.Load(), o.WriteTimeout) {
		return errSlowReader
	}
	if late(c.drainSince.Load(), o.DrainTimeout) && !c.s.stopped() {
		return errDrain
	}
	earned := time.Duration(c.frameBytes.Load()) * time.Second / slowestFrameRate
	if late(c.frameSince.Load(), o.FrameTimeout+earned) {
		return errSlowFrame
	}
	if idle := c.idleSince.Load(); idle != 0 && c.pending.Load() == 0 && late(max(idle, c.lastWrite.Load()), o.IdleTimeout) {
		return errIdle
	}
	return nil
}

// kill ends the connection now: nothing more is read or written.
func (c *connection) kill(cause error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = cause
	}
	c.isDead = true
	c.endReading()
	c.mu.Unlock()
	_ = c.nc.Close()
	c.signal()
}

// endReading closes stop; mu is held.
func (c *connection) endReading() {
	if !c.stopped {
		c.stopped = true
		close(c.stop)
	}
	c.space.Broadcast()
}

// stopReading makes the reader end after the request at hand; queued replies still leave.
func (c *connection) stopReading() {
	c.mu.Lock()
	c.endReading()
	c.mu.Unlock()
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

func (c *connection) isStopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

func (c *connection) reason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		return "closed by the client"
	}
	return c.cause.Error()
}

// protect is deferred by both goroutines around what runs foreign code: a panic costs this connection, not the broker.
func (c *connection) protect() {
	if v := recover(); v != nil {
		c.s.log.Error("panic while serving a connection", "connection", c.facts.ID, "address", c.facts.RemoteAddr,
			"panic", v, "stack", string(debug.Stack()))
		c.kill(fmt.Errorf("panic: %v", v))
	}
}

// leave ends one goroutine; the last one to leave tidies up.
func (c *connection) leave() {
	c.mu.Lock()
	c.goroutines--
	last := c.goroutines == 0
	c.mu.Unlock()
	if !last {
		return
	}
	_ = c.nc.Close()
	c.releaseAll()
	c.s.remove(c)
}

// releaseAll releases the replies that have not been written.
func (c *connection) releaseAll() {
	c.head.Store(nil)
	for c.n > 0 {
		e := c.queue[c.first]
		c.first = (c.first + 1) % len(c.queue)
		c.n--
		func() {
			defer c.protect()
			e.release()
		}()
	}
	if c.spare != nil {
		func() {
			defer c.protect()
			c.spare.release()
		}()
	}
	c.pending.Store(0)
}
