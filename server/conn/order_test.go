package conn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gregor-broker/gregor/wire"
)

func TestEcho(t *testing.T) {
	h := serve(t, Options{}, slog.LevelInfo, echo)
	c := h.dial()
	bodies := [][]byte{{}, []byte("small"), make([]byte, readBufferBytes-20), make([]byte, readBufferBytes-19), make([]byte, readBufferBytes),
		make([]byte, 100_000), make([]byte, 3<<20), []byte("small again")}
	for _, b := range bodies {
		for i := range b {
			b[i] = byte(i * 7)
		}
	}
	for round := range 3 {
		for i, b := range bodies {
			c.send(request(int32(100*round+i), b))
			c.expect(int32(100*round+i), b)
		}
	}
	var all []byte
	for i, b := range bodies {
		all = append(all, request(int32(i), b)...)
	}
	go c.send(all)
	for i, b := range bodies {
		c.expect(int32(i), b)
	}
	// Byte by byte: every boundary between reads.
	for _, b := range request(7, []byte("slowly")) {
		c.send([]byte{b})
	}
	c.expect(7, []byte("slowly"))
	m := h.Metrics()
	if got := m.Requests.Load(); got != int64(4*len(bodies)+1) {
		t.Fatalf("%d requests counted", got)
	}
	if m.BytesIn.Load() <= m.BytesOut.Load() || m.AcceptedConnections.Load() != 1 || m.ActiveConnections.Load() != 1 {
		t.Fatalf("bytes in %d, out %d", m.BytesIn.Load(), m.BytesOut.Load())
	}
}

// TestOrder mixes replies that are ready at once with replies that become ready in any order, on several connections.
func TestOrder(t *testing.T) {
	var mu sync.Mutex
	var open []*promise
	more := make(chan struct{}, 1)
	h := serve(t, Options{}, slog.LevelInfo, func(r *wire.Request) wire.Reply {
		body := append([]byte(nil), r.Body...)
		switch body[0] % 4 {
		case 0:
			return wire.Bytes(body)
		case 1:
			return wire.NoResponse
		case 2: // ready before anybody waits
			p := &promise{body: body}
			p.keep()
			return p
		}
		p := &promise{body: body}
		mu.Lock()
		open = append(open, p)
		mu.Unlock()
		select {
		case more <- struct{}{}:
		default:
		}
		return p
	})
	stop := make(chan struct{})
	var keepers sync.WaitGroup
	keepers.Go(func() {
		random := rand.New(rand.NewPCG(1, 2))
		for {
			mu.Lock()
			if n := len(open); n > 0 {
				i := random.IntN(n)
				p := open[i]
				open[i] = open[n-1]
				open = open[:n-1]
				mu.Unlock()
				p.keep()
				continue
			}
			mu.Unlock()
			select {
			case <-more:
			case <-stop:
				return
			}
		}
	})
	var clients sync.WaitGroup
	for id := range 4 {
		clients.Go(func() {
			c := h.dial()
			random := rand.New(rand.NewPCG(uint64(id), 3))
			const n = 3000
			kinds := make([]byte, n)
			for i := range kinds {
				kinds[i] = byte(random.IntN(4))
			}
			go func() {
				var pending []byte
				for i, kind := range kinds {
					body := make([]byte, 1+random.IntN(200))
					if random.IntN(100) == 0 {
						body = make([]byte, 20_000)
					}
					body[0] = kind
					pending = append(pending, request(int32(i), body)...)
					if random.IntN(8) == 0 || i == n-1 {
						if _, err := c.Write(pending); err != nil {
							t.Errorf("send: %v", err)
							return
						}
						pending = pending[:0]
					}
				}
			}()
			for i, kind := range kinds {
				if kind == 1 {
					continue
				}
				got, body, err := c.receive()
				if err != nil || got != int32(i) || body[1] != kind {
					t.Errorf("client %d: response %d (%v), expected %d", id, got, err, i)
					return
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	keepers.Wait()
}

func TestRequestStaysValidUntilRelease(t *testing.T) {
	var first *wire.Request
	var p promise
	h := serve(t, Options{}, slog.LevelInfo, func(r *wire.Request) wire.Reply {
		if first == nil {
			first = r
			return &p
		}
		return wire.Bytes(nil)
	})
	c := h.dial()
	c.send(request(1, []byte("one")))
	for i := range 10 {
		c.send(request(int32(2+i), []byte("more")))
	}
	eventually(t, "eleven requests", func() bool { return h.metrics.Requests.Load() == 11 })
	if first.CorrelationID != 1 || first.ClientID != "tester" || first.Body != nil || first.Conn.Listener != "TEST" ||
		first.Conn.RemoteAddr != c.LocalAddr().String() || first.Received.IsZero() {
		t.Fatalf("the waiting request has become %+v", first)
	}
	p.keep()
	c.expect(1, nil)
	for i := range 10 {
		c.expect(int32(2+i), nil)
	}
	eventually(t, "release", func() bool { return p.released.Load() == 1 })
	if p.waited != 1 || p.encoded != 1 {
		t.Fatalf("waited %d times, encoded %d times", p.waited, p.encoded)
	}
}

func TestCloseConnectionLetsEarlierRepliesLeave(t *testing.T) {
	var p promise
	h := serve(t, Options{}, slog.LevelInfo, func(r *wire.Request) wire.Reply {
		switch string(r.Body) {
		case "wait":
			return &p
		case "close":
			return wire.CloseConnection(errors.New("not to be answered"))
		}
		return wire.Bytes([]byte("ok"))
	})
	c := h.dial()
	c.send(append(append(request(1, []byte("wait")), request(2, nil)...), request(3, []byte("close"))...))
	eventually(t, "three requests", func() bool { return h.metrics.Requests.Load() == 3 })
	p.keep()
	c.expect(1, nil)
	c.expect(2, []byte("ok"))
	c.expectClosed()
	if lines := h.log.lines("not to be answered"); len(lines) != 1 {
		t.Fatalf("log %q", lines)
	}
	// And alone, on the short way.
	c = h.dial()
	c.send(request(1, []byte("close")))
	c.expectClosed()
}

func TestEncodeErrorClosesAfterEarlierReplies(t *testing.T) {
	bad := &promise{body: []byte("half"), fail: errors.New("page is gone"), done: true}
	held := &promise{}
	h := serve(t, Options{}, slog.LevelInfo, func(r *wire.Request) wire.Reply {
		switch r.CorrelationID {
		case 1:
			return held
		case 3:
			return bad
		}
		return wire.Bytes([]byte("ok"))
	})
	c := h.dial()
	c.send(append(append(request(1, nil), request(2, nil)...), append(request(3, nil), request(4, nil)...)...))
	eventually(t, "four requests", func() bool { return h.metrics.Requests.Load() == 4 })
	held.keep()
	c.expect(1, nil)
	c.expect(2, []byte("ok"))
	c.expectClosed()
	eventually(t, "release", func() bool { return bad.released.Load() == 1 && held.released.Load() == 1 })
	if len(h.log.lines("level=ERROR", "page is gone", "Produce version 9")) != 1 {
		t.Fatal("the error is not logged once")
	}
}

// TestInFlightBounds counts how far the reader goes while nothing is answered.
func TestInFlightBounds(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		most int64
	}{
		"requests": {Options{MaxInFlight: 5}, 5},
		"bytes":    {Options{MaxInFlightBytes: 2500}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			promises := make(chan *promise, 100)
			h := serve(t, c.o, slog.LevelInfo, func(r *wire.Request) wire.Reply {
				p := &promise{}
				promises <- p
				return p
			})
			cl := h.dial()
			for i := range 20 {
				cl.send(request(int32(i), make([]byte, 1000)))
			}
			eventually(t, "the bound", func() bool { return h.metrics.Requests.Load() == c.most })
			for i := range int64(20) {
				(<-promises).keep()
				cl.expect(int32(i), nil)
				eventually(t, "one more", func() bool { return h.metrics.Requests.Load() == min(20, c.most+i+1) })
			}
		})
	}
}

// TestHalfClosedClientGetsItsAnswers closes the sending side behind the requests.
func TestHalfClosedClientGetsItsAnswers(t *testing.T) {
	var p promise
	h := serve(t, Options{}, slog.LevelInfo, func(r *wire.Request) wire.Reply {
		if r.CorrelationID == 1 {
			return &p
		}
		return wire.Bytes([]byte("two"))
	})
	c := h.dial()
	c.send(append(request(1, nil), request(2, nil)...))
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two requests", func() bool { return h.metrics.Requests.Load() == 2 })
	p.keep()
	c.expect(1, nil)
	c.expect(2, []byte("two"))
	c.expectClosed()
}

// TestPanics lets foreign code panic at every place; the connection dies, the broker does not, every reply is released once.
func TestPanics(t *testing.T) {
	for _, place := range []string{"handler", "nil", "wait", "encode", "release"} {
		for _, queued := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s queued=%v", place, queued), func(t *testing.T) {
				first := &promise{}
				bad := &panicky{place: place}
				h := serve(t, Options{}, slog.LevelInfo, func(r *wire.Request) wire.Reply {
					switch {
					case r.CorrelationID == 0:
						return first
					case r.CorrelationID == 9:
						return wire.Bytes([]byte("fine"))
					case place == "handler":
						panic("in handler")
					case place == "nil":
						return nil
					}
					return bad
				})
				c := h.dial()
				if queued {
					c.send(append(request(0, nil), request(1, make([]byte, 10_000))...))
					eventually(t, "two requests", func() bool { return h.metrics.Requests.Load() == 2 })
					first.keep()
				} else {
					c.send(request(1, make([]byte, 10_000)))
				}
				_, _ = io.Copy(io.Discard, c)
				eventually(t, "one log line", func() bool { return len(h.log.lines("level=ERROR", "panic", "stack")) == 1 })
				eventually(t, "the end of the connection", func() bool { return h.metrics.ActiveConnections.Load() == 0 })
				if n := bad.released.Load(); n != 1 && place != "handler" && place != "nil" {
					t.Fatalf("released %d times", n)
				}
				if queued && first.released.Load() != 1 {
					t.Fatalf("the reply before was released %d times", first.released.Load())
				}
				other := h.dial()
				other.send(request(9, nil))
				other.expect(9, []byte("fine"))
			})
		}
	}
}

type panicky struct {
	place    string
	released atomic.Int32
}

func (p *panicky) Wait(wire.Waker) bool {
	if p.place == "wait" {
		panic("in wait")
	}
	return true
}

func (p *panicky) Encode(*wire.Payload) error {
	if p.place == "encode" {
		panic("in encode")
	}
	return nil
}

func (p *panicky) Release() {
	p.released.Add(1)
	if p.place == "release" {
		panic("in release")
	}
}

// TestDeadConnectionReleasesWaitingReplies closes the client while its requests wait, and wakes them afterwards.
func TestDeadConnectionReleasesWaitingReplies(t *testing.T) {
	promises := make(chan *promise, 10)
	h := serve(t, Options{}, slog.LevelInfo, func(r *wire.Request) wire.Reply {
		p := &promise{body: make([]byte, 1<<20)}
		promises <- p
		return p
	})
	c := h.dial()
	for i := range 5 {
		c.send(request(int32(i), nil))
	}
	eventually(t, "five requests", func() bool { return len(promises) == 5 })
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	eventually(t, "the end of the connection", func() bool { return h.metrics.ActiveConnections.Load() == 0 })
	for range 5 {
		p := <-promises
		if p.released.Load() != 1 {
			t.Fatalf("released %d times", p.released.Load())
		}
		p.keep()
		if p.encoded != 0 {
			t.Fatal("encoded for a dead connection")
		}
	}
}

func TestUnknownRequestsOfApiVersions(t *testing.T) {
	h := serve(t, Options{}, slog.LevelInfo, echo)
	c := h.dial()
	for _, version := range []int16{99, 5, -3} {
		c.send(frameOf(wire.KeyAPIVersions, version, 11, []byte{0xff, 0xff, 0xff, 0xff}))
		correlation, body, err := c.receive()
		if err != nil || correlation != 11 || string(body) != "unsupported tester" {
			t.Fatalf("version %d: %d %q %v", version, correlation, body, err)
		}
	}
	for _, version := range []int16{0, 4} {
		c.send(frameOf(wire.KeyAPIVersions, version, 12, nil))
		if correlation, body, err := c.receive(); err != nil || correlation != 12 || string(body) != "versions" {
			t.Fatalf("version %d: %d %q %v", version, correlation, body, err)
		}
	}
}

func TestDebugLog(t *testing.T) {
	var p promise
	h := serve(t, Options{}, slog.LevelDebug, func(r *wire.Request) wire.Reply {
		if r.CorrelationID == 41 {
			return &p
		}
		return wire.Bytes([]byte("answer"))
	})
	c := h.dial()
	c.send(append(request(41, []byte("question")), request(42, []byte("question"))...))
	eventually(t, "two requests", func() bool { return h.metrics.Requests.Load() == 2 })
	if lines := h.log.lines("msg=request"); len(lines) != 0 {
		t.Fatalf("logged before the response: %q", lines)
	}
	p.keep()
	c.expect(41, nil)
	c.expect(42, []byte("answer"))
	size := len(request(0, []byte("question"))) - 4
	for correlation, out := range map[int]int{41: 9, 42: 15} {
		eventually(t, "the line of the request", func() bool {
			return len(h.log.lines("msg=request", "api=Produce", "version=9", fmt.Sprintf("correlation=%d ", correlation), "client=tester",
				fmt.Sprintf("bytes_in=%d ", size), fmt.Sprintf("bytes_out=%d ", out), "microseconds=")) == 1
		})
	}
	_ = c.Close()
	eventually(t, "the line of the end", func() bool {
		return len(h.log.lines("connection closed", c.LocalAddr().String(), "active=0")) == 1
	})
	if len(h.log.lines("connection opened", c.LocalAddr().String(), "active=1")) != 1 {
		t.Fatal("no line for the opened connection")
	}
}

// TestFrameOfPrefix checks the helper: a wrong test client would prove nothing.
func TestFrameOfPrefix(t *testing.T) {
	b := request(1, []byte("x"))
	if int(binary.BigEndian.Uint32(b)) != len(b)-4 {
		t.Fatal("prefix does not cover the frame")
	}
}
