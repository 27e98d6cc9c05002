package conn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/gregor-broker/gregor/wire"
)

// readBufferBytes is what every connection owns for reading: enough for a length prefix and a request of ordinary size in one
// read(2).
const readBufferBytes = 4 << 10

// frameStepBytes is how much memory a frame gets before anything of it has arrived, unless the pool has a whole buffer.
const frameStepBytes = 64 << 10

// prefixBytes is the size of the length before each frame.
const prefixBytes = 4

// peekBytes is how much of a large frame must be there before memory is taken for it: length, key and version.
const peekBytes = prefixBytes + 4

var (
	errStopped = errors.New("broker is shutting down")
	background = context.Background()
)

// protocolError is a frame or header that breaks the protocol; it is worth a line in the log.
type protocolError struct{ err error }

func (e *protocolError) Error() string { return e.err.Error() }
func (e *protocolError) Unwrap() error { return e.err }

func violation(format string, args ...any) error {
	return &protocolError{err: fmt.Errorf(format, args...)}
}

// frame is the bytes of one request; pooled is its buffer if it is not the connection's own.
type frame struct {
	bytes  []byte
	pooled []byte
	budget int64
}

// read is the reader goroutine: one request after the other until the connection ends.
func (c *connection) read() {
	defer c.leave()
	err := c.readAll()
	var broken *protocolError
	switch {
	case err == nil || errors.Is(err, errStopped) || errors.Is(err, io.EOF):
	case errors.As(err, &broken):
		c.s.log.Warn("connection closed: protocol violation", "connection", c.facts.ID, "address", c.facts.RemoteAddr,
			"listener", c.facts.Listener, "error", err)
	default:
		// The socket is broken or closed: nothing can be written either.
		c.kill(err)
	}
	c.mu.Lock()
	c.ended = true
	if c.cause == nil && err != nil && !errors.Is(err, io.EOF) {
		c.cause = err
	}
	c.mu.Unlock()
	c.idleSince.Store(0)
	c.frameSince.Store(0)
	c.drainSince.Store(c.s.coarse.Load())
	c.buf = nil
	c.signal()
}

func (c *connection) readAll() (err error) {
	defer c.protect()
	c.buf = make([]byte, readBufferBytes)
	for {
		if err := c.awaitSpace(); err != nil {
			return err
		}
		if err := c.awaitUnmuted(); err != nil {
			return err
		}
		f, err := c.readFrame()
		if err != nil {
			return err
		}
		if err := c.serve(f); err != nil {
			return err
		}
	}
}

// awaitSpace waits while too many requests of this connection are unanswered.
func (c *connection) awaitSpace() error {
	o := &c.s.opts
	full := func() bool {
		return int(c.pending.Load()) >= o.MaxInFlight || c.pendingBytes.Load() >= o.MaxInFlightBytes
	}
	if full() {
		c.mu.Lock()
		for full() && !c.stopped {
			c.space.Wait()
		}
		c.mu.Unlock()
	}
	if c.isStopped() {
		return errStopped
	}
	return nil
}

// awaitUnmuted waits until a muted connection may be read again. Replies leave meanwhile.
func (c *connection) awaitUnmuted() error {
	for {
		until, muted := c.facts.MutedUntil()
		if !muted {
			return nil
		}
		wait := until.Sub(c.s.opts.Clock.Now())
		if wait <= 0 {
			return nil
		}
		over := make(chan struct{})
		cancel := c.s.opts.Clock.AfterFunc(wait, func() { close(over) })
		select {
		case <-over:
		case <-c.stop:
			cancel()
			return errStopped
		}
	}
}

// readFrame returns the next whole frame: a piece of the connection's buffer where it fits, else a pooled buffer for which
// memory was taken from the budget first.
func (c *connection) readFrame() (frame, error) {
	if c.r == c.w {
		c.r, c.w = 0, 0
		c.idleSince.Store(c.s.coarse.Load())
	}
	for {
		have := c.w - c.r
		if have >= prefixBytes {
			n, err := c.length()
			if err != nil {
				return frame{}, err
			}
			if have >= prefixBytes+n {
				f := frame{bytes: c.buf[c.r+prefixBytes : c.r+prefixBytes+n]}
				c.r += prefixBytes + n
				c.whole()
				return f, nil
			}
			if prefixBytes+n > len(c.buf) && have >= peekBytes {
				return c.readLarge(n)
			}
		}
		if have > 0 {
			c.partial(have)
			if c.r > 0 {
				c.w = copy(c.buf, c.buf[c.r:c.w])
				c.r = 0
			}
		}
		n, err := c.nc.Read(c.buf[c.w:])
		c.w += n
		if n == 0 && err != nil {
			return frame{}, c.readError(err)
		}
	}
}

// readLarge reads a frame of n bytes, whose beginning is in the connection's buffer, into a pooled one. Without a kept buffer
// of that size it grows with what arrives, so a client that only announces bytes costs little.
func (c *connection) readLarge(n int) (frame, error) {
	key, version := wire.PeekHeader(c.buf[c.r+prefixBytes:])
	if _, err := c.table.Check(key, version); err != nil {
		return frame{}, &protocolError{err: err}
	}
	// Waiting for memory is not the client's fault: its clock stands meanwhile.
	begun, waiting := c.frameSince.Swap(0), c.s.coarse.Load()
	c.idleSince.Store(0)
	if !c.s.budget.acquire(int64(n), c.stop) {
		return frame{}, errStopped
	}
	if begun != 0 {
		c.frameSince.Store(begun + c.s.coarse.Load() - waiting)
	}
	b := c.s.frames.take(n)
	if b == nil {
		b = c.s.frames.make(min(n, frameStepBytes))
	}
	f := frame{pooled: b, budget: int64(n)}
	got := copy(b[:min(n, len(b))], c.buf[c.r+prefixBytes:c.w])
	c.r, c.w = 0, 0
	c.partial(got)
	for got < n {
		if got == len(b) {
			larger := c.s.frames.take(n)
			if larger == nil {
				larger = c.s.frames.make(min(n, 2*len(b)))
			}
			copy(larger, b)
			c.s.frames.put(b)
			b, f.pooled = larger, larger
		}
		m, err := c.nc.Read(b[got:min(n, len(b))])
		got += m
		c.frameBytes.Store(int64(got))
		if m == 0 && err != nil {
			c.discard(f)
			return frame{}, c.readError(err)
		}
	}
	c.whole()
	f.bytes = b[:n]
	return f, nil
}

// discard gives a frame's memory back.
func (c *connection) discard(f frame) {
	if f.pooled != nil {
		c.s.frames.put(f.pooled)
		c.s.budget.release(f.budget)
	}
}

// partial stamps that a frame has begun, of which have bytes are there.
func (c *connection) partial(have int) {
	c.frameBytes.Store(int64(have))
	if c.frameSince.Load() == 0 {
		c.frameSince.Store(c.s.coarse.Load())
	}
}

// whole stamps that a request has arrived.
func (c *connection) whole() {
	c.idleSince.Store(0)
	if c.frameSince.Load() != 0 {
		c.frameSince.Store(0)
	}
}

// length checks the length prefix in the buffer.
func (c *connection) length() (int, error) {
	p := c.buf[c.r : c.r+prefixBytes]
	n := int(int32(binary.BigEndian.Uint32(p)))
	if !c.seen {
		if p[0] == 0x16 && p[1] == 3 {
			return 0, violation("client speaks TLS on a plaintext listener")
		}
		switch string(p) {
		case "GET ", "POST", "HEAD", "PUT ", "OPTI", "PRI ":
			return 0, violation("client speaks HTTP (%q), expected the Kafka protocol", p)
		}
	}
	if n <= 0 || n > c.s.opts.MaxRequestBytes {
		return 0, violation("request of %d bytes, expected 1 to %d (socket.request.max.bytes)", n, c.s.opts.MaxRequestBytes)
	}
	return n, nil
}

func (c *connection) readError(err error) error {
	if c.isStopped() && errors.Is(err, os.ErrDeadlineExceeded) {
		return errStopped
	}
	if errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closed: %w", err)
	}
	return err
}

// serve runs the handler on a frame and gets its reply on its way.
func (c *connection) serve(f frame) error {
	e := c.spare
	if e == nil {
		e = &exchange{c: c}
		c.spare = e
	}
	size := len(f.bytes)
	c.s.metrics.Requests.Add(1)
	c.s.metrics.BytesIn.Add(int64(size) + prefixBytes)
	if err := c.handle(e, f); err != nil {
		return &protocolError{err: err}
	}
	c.seen = true
	ready := e.reply.Wait(e)
	if ready && c.pending.Load() == 0 && !c.another() {
		// Nobody is before it and nothing else is at hand: the shortest way out.
		_, err := c.respond([]*exchange{e})
		c.recycle(e)
		if err != nil {
			c.kill(err)
			return err
		}
		return nil
	}
	if ready {
		e.ready.Store(true)
	}
	c.push(e)
	return nil
}

// handle parses the header and calls the handler; the frame is free when it returns, also by a panic.
func (c *connection) handle(e *exchange, f frame) error {
	defer c.discard(f)
	r := &e.request
	r.ClientID = c.clientID
	if err := wire.ParseHeader(c.table, f.bytes, r); err != nil {
		return err
	}
	c.clientID = r.ClientID
	r.Received = c.s.opts.Clock.Now()
	r.Conn = &c.facts
	e.reply = r.Spec.Handle(r)
	r.Body = nil
	if e.reply == nil {
		panic(fmt.Sprintf("handler of %s version %d returned no reply", r.Spec.Name, r.Version))
	}
	return nil
}

// another reports whether a further whole request is in the buffer.
func (c *connection) another() bool {
	have := c.w - c.r
	return have > prefixBytes && have >= prefixBytes+int(binary.BigEndian.Uint32(c.buf[c.r:]))
}

// push puts an exchange at the end of the queue and starts the writer if there is none yet.
func (c *connection) push(e *exchange) {
	c.pendingBytes.Add(int64(e.request.Size))
	c.mu.Lock()
	if c.n == len(c.queue) {
		c.growQueue()
	}
	c.queue[(c.first+c.n)%len(c.queue)] = e
	c.n++
	c.pending.Store(int32(c.n))
	if c.n == 1 {
		c.head.Store(e)
	}
	c.spare = nil
	if k := len(c.free); k > 0 {
		c.spare, c.free = c.free[k-1], c.free[:k-1]
	}
	start := !c.writerUp
	if start {
		c.writerUp = true
		c.goroutines++
	}
	c.mu.Unlock()
	if start {
		go c.write()
		return
	}
	if e.ready.Load() && c.head.Load() == e {
		c.signal()
	}
}

// growQueue doubles the ring; mu is held.
func (c *connection) growQueue() {
	larger := make([]*exchange, max(4, 2*len(c.queue)))
	for i := range c.n {
		larger[i] = c.queue[(c.first+i)%len(c.queue)]
	}
	c.queue, c.first = larger, 0
}
