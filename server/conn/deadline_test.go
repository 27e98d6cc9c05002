package conn

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gregor-broker/gregor/wire"
)

// pipeListener hands out in-memory connections, so that a test can live in a bubble of synthetic time.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l *pipeListener) dial() net.Conn {
	mine, theirs := net.Pipe()
	l.conns <- theirs
	return mine
}

// inBubble runs f with a server in synthetic time.
func inBubble(t *testing.T, o Options, handle wire.Handler, f func(t *testing.T, h *harness, l *pipeListener)) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, o, slog.LevelDebug, handle)
		l := newPipeListener()
		h.run(l)
		f(t, h, l)
	})
}

// closedWithin reads until the end of the connection, which must come between the two times.
func closedWithin(t *testing.T, h *harness, c net.Conn, reason string, least, most time.Duration) {
	t.Helper()
	begin := time.Now()
	_, _ = io.Copy(io.Discard, c)
	if d := time.Since(begin); d < least || d > most {
		t.Fatalf("closed after %v, expected %v to %v", d, least, most)
	}
	synctest.Wait()
	if len(h.log.lines("connection closed", reason)) != 1 {
		t.Fatalf("no line says %q", reason)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	inBubble(t, Options{IdleTimeout: time.Minute}, echo, func(t *testing.T, h *harness, l *pipeListener) {
		c := l.dial()
		closedWithin(t, h, c, errIdle.Error(), time.Minute, time.Minute+3*time.Second)
	})
}

func TestRequestsKeepAConnectionAlive(t *testing.T) {
	inBubble(t, Options{IdleTimeout: time.Minute}, echo, func(t *testing.T, h *harness, l *pipeListener) {
		c := &client{Conn: l.dial(), t: t}
		for i := range 10 {
			time.Sleep(50 * time.Second)
			go c.send(request(int32(i), nil))
			c.expect(int32(i), nil)
		}
		closedWithin(t, h, c, errIdle.Error(), time.Minute, time.Minute+3*time.Second)
	})
}

// TestWaitingRequestsAreNotIdle has a request wait for longer than the idle timeout; the time starts with its response.
func TestWaitingRequestsAreNotIdle(t *testing.T) {
	p := &promise{}
	inBubble(t, Options{IdleTimeout: time.Minute}, func(*wire.Request) wire.Reply { return p }, func(t *testing.T, h *harness, l *pipeListener) {
		c := &client{Conn: l.dial(), t: t}
		c.send(request(1, nil))
		time.Sleep(5 * time.Minute)
		go p.keep()
		c.expect(1, nil)
		closedWithin(t, h, c, errIdle.Error(), time.Minute-time.Second, time.Minute+3*time.Second)
	})
}

func TestNeverIsNever(t *testing.T) {
	inBubble(t, Options{IdleTimeout: -1, FrameTimeout: -1, WriteTimeout: -1, DrainTimeout: -1}, echo, func(t *testing.T, h *harness, l *pipeListener) {
		c := &client{Conn: l.dial(), t: t}
		frame := request(1, make([]byte, 10_000))
		c.send(frame[:7000])
		time.Sleep(10 * time.Hour)
		go c.send(frame[7000:])
		c.expect(1, make([]byte, 10_000))
	})
}

func TestSlowFramesAreClosed(t *testing.T) {
	for name, half := range map[string]struct {
		announced, sent int
		extra           time.Duration // earned by what has arrived
	}{
		"two bytes of the length": {100, 2, 0},
		"length only":             {100, 4, 0},
		"small":                   {100, 50, 0},
		"large, no key":           {1 << 20, 6, 0},
		"large":                   {1 << 20, 5000, 0},
		"larger than its start":   {8 << 20, 640 << 10, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{FrameTimeout: 5 * time.Second}, echo, func(t *testing.T, h *harness, l *pipeListener) {
				c := &client{Conn: l.dial(), t: t}
				frame := request(1, make([]byte, half.announced))
				c.send(frame[:half.sent])
				synctest.Wait()
				if used := h.framesUsed(); used > int64(max(2*half.sent, frameStepBytes)) {
					t.Fatalf("%d bytes of memory for %d received", used, half.sent)
				}
				closedWithin(t, h, c, errSlowFrame.Error(), 5*time.Second+half.extra, 8*time.Second+half.extra)
				if h.framesUsed() != 0 || h.budgetUsed() != 0 {
					t.Fatalf("%d bytes of frames and %d of budget are still in use", h.framesUsed(), h.budgetUsed())
				}
			})
		})
	}
}

// TestTricklingIsNotEnough sends a byte a second, which never looks stuck.
func TestTricklingIsNotEnough(t *testing.T) {
	inBubble(t, Options{FrameTimeout: 5 * time.Second}, echo, func(t *testing.T, h *harness, l *pipeListener) {
		c := l.dial()
		frame := request(1, make([]byte, 1<<20))
		begin := time.Now()
		for _, b := range frame {
			if _, err := c.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Fatalf("a trickle lived for %v", d)
		}
	})
}

// TestSteadySlowFramesPass sends at 128 KiB/s for much longer than the deadline.
func TestSteadySlowFramesPass(t *testing.T) {
	inBubble(t, Options{FrameTimeout: 5 * time.Second}, echo, func(t *testing.T, h *harness, l *pipeListener) {
		c := &client{Conn: l.dial(), t: t}
		body := make([]byte, 4<<20)
		frame := request(1, body)
		var sender sync.WaitGroup
		sender.Go(func() {
			for len(frame) > 0 {
				time.Sleep(time.Second / 4)
				n := min(len(frame), 32<<10)
				c.send(frame[:n])
				frame = frame[n:]
			}
		})
		c.expect(1, body)
		sender.Wait()
	})
}

func TestClientThatNeverReads(t *testing.T) {
	for name, held := range map[string]bool{"on the reader": false, "on the writer": true} {
		t.Run(name, func(t *testing.T) {
			p := &promise{}
			var released chan struct{}
			handle := func(r *wire.Request) wire.Reply {
				if held && r.CorrelationID == 1 {
					return p
				}
				return spanReply{span: make([]byte, 5<<20), released: released}
			}
			inBubble(t, Options{WriteTimeout: 5 * time.Second}, handle, func(t *testing.T, h *harness, l *pipeListener) {
				released = make(chan struct{}) // must belong to the bubble
				c := &client{Conn: l.dial(), t: t}
				c.send(request(1, nil))
				if held {
					c.send(request(2, nil))
					synctest.Wait()
					go p.keep()
				}
				begin := time.Now()
				<-released
				if d := time.Since(begin); d < 5*time.Second || d > 8*time.Second {
					t.Fatalf("the response was given up after %v", d)
				}
				synctest.Wait()
				if len(h.log.lines("connection closed", errSlowReader.Error())) != 1 {
					t.Fatal("no line says why the connection was closed")
				}
			})
		})
	}
}

// spanReply is ready and answers with a span.
type spanReply struct {
	span     []byte
	released chan struct{}
}

func (spanReply) Wait(wire.Waker) bool { return true }
func (s spanReply) Encode(p *wire.Payload) error {
	p.Span(s.span, func() { close(s.released) })
	return nil
}
func (spanReply) Release() {}

// TestSlowButSteadyReader takes a mebibyte every four seconds, five times the deadline in all.
func TestSlowButSteadyReader(t *testing.T) {
	var released chan struct{}
	handle := func(r *wire.Request) wire.Reply { return spanReply{span: make([]byte, 6<<20), released: released} }
	inBubble(t, Options{WriteTimeout: 5 * time.Second}, handle, func(t *testing.T, h *harness, l *pipeListener) {
		released = make(chan struct{}) // must belong to the bubble
		c := &client{Conn: l.dial(), t: t}
		c.send(request(1, nil))
		var prefix [4]byte
		if _, err := io.ReadFull(c, prefix[:]); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, binary.BigEndian.Uint32(prefix[:]))
		for got := 0; got < len(body); got += min(1<<20, len(body)-got) {
			if _, err := io.ReadFull(c, body[got:min(got+1<<20, len(body))]); err != nil {
				t.Fatalf("after %d bytes: %v", got, err)
			}
			time.Sleep(4 * time.Second)
		}
	})
}

// TestGoneClientIsDrainedForAWhile closes the client's side while a request waits for ever.
func TestGoneClientIsDrainedForAWhile(t *testing.T) {
	p := &promise{}
	inBubble(t, Options{DrainTimeout: 5 * time.Second}, func(*wire.Request) wire.Reply { return p }, func(t *testing.T, h *harness, l *pipeListener) {
		c := &client{Conn: l.dial(), t: t}
		c.send(request(1, nil))
		synctest.Wait()
		_ = c.Close()
		begin := time.Now()
		for h.metrics.ActiveConnections.Load() > 0 {
			time.Sleep(time.Second)
		}
		if d := time.Since(begin); d < 4*time.Second || d > 9*time.Second {
			t.Fatalf("drained for %v", d)
		}
		if p.released.Load() != 1 {
			t.Fatal("the waiting reply is not released")
		}
	})
}

// TestShutdownDrains finishes what is in flight, refuses what is new.
func TestShutdownDrains(t *testing.T) {
	p := &promise{body: []byte("at last")}
	handle := func(r *wire.Request) wire.Reply {
		if r.CorrelationID == 1 {
			return p
		}
		return wire.Bytes(nil)
	}
	inBubble(t, Options{}, handle, func(t *testing.T, h *harness, l *pipeListener) {
		busy, idle, half := &client{Conn: l.dial(), t: t}, &client{Conn: l.dial(), t: t}, &client{Conn: l.dial(), t: t}
		busy.send(append(request(1, nil), request(2, nil)...))
		half.send(request(1, make([]byte, 1<<20))[:10_000])
		synctest.Wait()
		over := make(chan error, 1)
		go func() { over <- h.Shutdown(t.Context()) }()
		idle.expectClosed()
		half.expectClosed()
		synctest.Wait()
		select {
		case err := <-over:
			t.Fatalf("Shutdown returned %v with a request in flight", err)
		case <-l.closed:
		}
		go p.keep()
		busy.expect(1, []byte("at last"))
		busy.expect(2, nil)
		busy.expectClosed()
		if err := <-over; err != nil {
			t.Fatal(err)
		}
	})
}

// TestFramePoolRests lets a burst pass: afterwards nothing is kept and no timer is left, or the bubble would not end.
func TestFramePoolRests(t *testing.T) {
	inBubble(t, Options{}, echo, func(t *testing.T, h *harness, l *pipeListener) {
		c := &client{Conn: l.dial(), t: t}
		body := make([]byte, 2<<20)
		go c.send(request(1, body))
		c.expect(1, body)
		if !h.frames.holds() {
			t.Fatal("the pool keeps nothing for the next request")
		}
		_ = c.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if h.frames.holds() {
			t.Fatal("the pool does not shrink")
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.sweeping {
			t.Fatal("the sweep does not rest")
		}
	})
}
