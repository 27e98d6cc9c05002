package conn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/wire"
)

// patience is how long a test polls for what must happen.
const patience = 20 * time.Second

// eventually polls until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// logLines collects what is logged.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// lines returns the lines that contain all of the parts.
func (l *logLines) lines(parts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.buf.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// promise is a reply that a test makes ready; it checks how it is used.
type promise struct {
	body     []byte
	fail     error
	mu       sync.Mutex
	waker    wire.Waker
	waited   int
	encoded  int
	done     bool
	released atomic.Int32
}

func (p *promise) Wait(w wire.Waker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waited++
	p.waker = w
	return p.done
}

func (p *promise) Encode(out *wire.Payload) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.encoded++
	if !p.done {
		return errors.New("encoded before it was ready")
	}
	out.SetBuffer(append(out.Buffer(), p.body...))
	return p.fail
}

func (p *promise) Release() { p.released.Add(1) }

// keep fulfils the promise.
func (p *promise) keep() {
	p.mu.Lock()
	w := p.waker
	p.done = true
	p.mu.Unlock()
	if w != nil {
		w.Wake()
	}
}

// echo answers with the request's body.
func echo(r *wire.Request) wire.Reply { return wire.Bytes(bytes.Clone(r.Body)) }

// harness is a server under test.
type harness struct {
	*Server
	t       testing.TB
	address string
	log     *logLines
	handle  atomic.Pointer[wire.Handler]
}

// serve starts a server on loopback whose Produce requests go to handle; ApiVersions answers its own name and version.
func serve(t testing.TB, o Options, level slog.Level, handle wire.Handler) *harness {
	t.Helper()
	h := newHarness(t, o, level, handle)
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.address = l.Addr().String()
	h.run(l)
	return h
}

func newHarness(t testing.TB, o Options, level slog.Level, handle wire.Handler) *harness {
	h := &harness{t: t, log: &logLines{}}
	h.handle.Store(&handle)
	o.Table = wire.NewTable([]wire.Spec{
		{Key: 0, Name: "Produce", Min: 3, Max: 13, FlexibleFrom: 9, Handle: func(r *wire.Request) wire.Reply { return (*h.handle.Load())(r) }},
		{Key: wire.KeyAPIVersions, Name: "ApiVersions", Max: 4, FlexibleFrom: 3, Handle: func(r *wire.Request) wire.Reply {
			if r.VersionUnsupported {
				return wire.Bytes([]byte("unsupported " + r.ClientID))
			}
			return wire.Bytes([]byte("versions"))
		}},
	})
	o.Logger = slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: level}))
	h.Server = NewServer(o)
	return h
}

func (h *harness) run(l net.Listener) { h.runNamed(l, "TEST") }

func (h *harness) runNamed(l net.Listener, name string) {
	served := make(chan error, 1)
	go func() { served <- h.Serve(l, name) }()
	h.t.Cleanup(func() {
		if err := h.Close(); err != nil {
			h.t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Wait(ctx); err != nil {
			h.t.Errorf("connections are left: %v", err)
		}
		if err := <-served; err != nil {
			h.t.Errorf("Serve returned %v", err)
		}
		if n := h.metrics.ActiveConnections.Load(); n != 0 {
			h.t.Errorf("%d active connections after Close", n)
		}
		if h.budgetUsed() != 0 || h.framesUsed() != 0 {
			h.t.Errorf("budget %d and frames %d in use after Close", h.budgetUsed(), h.framesUsed())
		}
	})
}

func (h *harness) budgetUsed() int64 {
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	return h.budget.used
}

func (h *harness) framesUsed() int64 {
	h.frames.mu.Lock()
	defer h.frames.mu.Unlock()
	return h.frames.used
}

// client is the other end of one connection.
type client struct {
	net.Conn
	t testing.TB
}

func (h *harness) dial() *client {
	h.t.Helper()
	nc, err := net.Dial("tcp", h.address)
	if err != nil {
		h.t.Fatal(err)
	}
	c := &client{Conn: nc, t: h.t}
	h.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return c
}

// request encodes a Produce v9 request.
func request(correlation int32, body []byte) []byte {
	return frameOf(0, 9, correlation, body)
}

func frameOf(key, version int16, correlation int32, body []byte) []byte {
	name := "tester"
	b := wire.AppendRequestHeader(make([]byte, 4), key, version, correlation, &name, key != 0 && version >= 3 || key == 0 && version >= 9)
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// receive reads one response frame of a flexible request.
func (c *client) receive() (correlation int32, body []byte, err error) {
	var prefix [4]byte
	if _, err := io.ReadFull(c, prefix[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(prefix[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(b)), b[4:], nil
}

// expect reads one response and compares it.
func (c *client) expect(correlation int32, body []byte) {
	c.t.Helper()
	got, b, err := c.receive()
	if err != nil {
		c.t.Fatalf("response %d: %v", correlation, err)
	}
	if got != correlation || len(b) == 0 || b[0] != 0 || !bytes.Equal(b[1:], body) {
		c.t.Fatalf("response %d of %d bytes, expected %d of %d", got, len(b)-1, correlation, len(body))
	}
}

// expectClosed reads until the broker has closed the connection and refuses any response.
func (c *client) expectClosed() {
	c.t.Helper()
	n, err := io.Copy(io.Discard, c.Conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatal("the connection stays open")
	}
	if n != 0 {
		c.t.Fatalf("%d bytes before the end of the connection", n)
	}
}
