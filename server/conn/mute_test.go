package conn

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gregor-broker/gregor/wire"
)

// mutePerRequest answers at once and mutes for as many seconds as the first byte of the body says.
func mutePerRequest(r *wire.Request) wire.Reply {
	if len(r.Body) > 0 && r.Body[0] > 0 {
		r.Conn.Mute(time.Now().Add(time.Duration(r.Body[0]) * time.Second))
	}
	return echo(r)
}

func TestMutedConnectionIsAnsweredButNotRead(t *testing.T) {
	inBubble(t, Options{IdleTimeout: 2 * time.Second, FrameTimeout: time.Second}, mutePerRequest, func(t *testing.T, h *harness, l *pipeListener) {
		c := &client{Conn: l.dial(), t: t}
		begin := time.Now()
		// Longer than a connection may be idle, and with half a frame waiting longer than one may take.
		go func() {
			c.send(request(1, []byte{10}))
			c.send(request(2, []byte{0}))
			c.send(request(3, make([]byte, 10_000)))
		}()
		c.expect(1, []byte{10})
		if d := time.Since(begin); d != 0 {
			t.Errorf("the answer took %v", d)
		}
		c.expect(2, []byte{0})
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("the next request was read after %v", d)
		}
		c.expect(3, make([]byte, 10_000))
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("muted for %v in all", d)
		}
	})
}

func TestLatestMuteCounts(t *testing.T) {
	var conn atomic.Pointer[wire.Conn]
	handle := func(r *wire.Request) wire.Reply {
		conn.Store(r.Conn)
		return mutePerRequest(r)
	}
	inBubble(t, Options{}, handle, func(t *testing.T, h *harness, l *pipeListener) {
		c := &client{Conn: l.dial(), t: t}
		c.send(request(1, []byte{5}))
		c.expect(1, []byte{5})
		begin := time.Now()
		// From elsewhere, as the writer does for a reply that had to wait.
		conn.Load().Mute(begin.Add(2 * time.Second))
		time.Sleep(3 * time.Second)
		conn.Load().Mute(begin.Add(9 * time.Second))
		go c.send(request(2, nil))
		c.expect(2, nil)
		if d := time.Since(begin); d != 9*time.Second {
			t.Errorf("muted for %v", d)
		}
	})
}

func TestMutedConnectionStopsAtOnce(t *testing.T) {
	inBubble(t, Options{}, mutePerRequest, func(t *testing.T, h *harness, l *pipeListener) {
		c := &client{Conn: l.dial(), t: t}
		c.send(request(1, []byte{200}))
		c.expect(1, []byte{200})
		begin := time.Now()
		if err := h.Shutdown(t.Context()); err != nil || time.Since(begin) > time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestRefusedConnectionsAreClosedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refuse atomic.Bool
		h := newHarness(t, Options{Refuse: func(address netip.Addr) time.Duration {
			if address != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("address %s", address)
			}
			if refuse.Load() {
				return 700 * time.Millisecond
			}
			return 0
		}}, slog.LevelDebug, echo)
		l := newPipeListener()
		h.run(addressed{l})
		c := &client{Conn: l.dial(), t: t}
		c.send(request(1, nil))
		c.expect(1, nil)
		refuse.Store(true)
		refused := l.dial()
		begin := time.Now()
		if _, err := io.Copy(io.Discard, refused); err != nil || time.Since(begin) != 700*time.Millisecond {
			t.Errorf("closed with %v after %v", err, time.Since(begin))
		}
		synctest.Wait()
		if n := h.metrics.RefusedConnections.Load(); n != 1 || len(h.refused) != 0 {
			t.Errorf("%d refused, %d of them wait", n, len(h.refused))
		}
		// Those that still wait go with the server.
		waiting := l.dial()
		begin = time.Now()
		synctest.Wait()
		_ = h.Close()
		if _, err := io.Copy(io.Discard, waiting); err != nil || time.Since(begin) != 0 {
			t.Errorf("closed with %v after %v", err, time.Since(begin))
		}
		refuse.Store(false)
	})
}

// addressed gives in-memory connections the address of the loopback.
type addressed struct{ *pipeListener }

func (a addressed) Accept() (net.Conn, error) {
	c, err := a.pipeListener.Accept()
	if err != nil {
		return nil, err
	}
	return loopbackConn{c}, nil
}

type loopbackConn struct{ net.Conn }

func (loopbackConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4} }
