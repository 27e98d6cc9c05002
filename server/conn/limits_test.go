package conn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/gregor-broker/gregor/wire"
)

func TestGarbageClosesWithOneLine(t *testing.T) {
	length := func(n uint32, rest string) []byte { return append(binary.BigEndian.AppendUint32(nil, n), rest...) }
	for name, c := range map[string]struct {
		input []byte
		says  string
	}{
		"negative length":            {length(0xffffffff, ""), "request of -1 bytes"},
		"zero length":                {length(0, ""), "request of 0 bytes"},
		"above the limit":            {length(1_000_001, "more"), "expected 1 to 1000000 (socket.request.max.bytes)"},
		"tls":                        {[]byte{0x16, 3, 1, 2, 0, 1, 0}, "TLS"},
		"http":                       {[]byte("GET / HTTP/1.1\r\n\r\n"), "HTTP"},
		"http 2":                     {[]byte("PRI * HTTP/2.0\r\n\r\n"), "HTTP"},
		"unknown key":                {frameOf(4, 0, 1, nil), "unknown api key 4"},
		"negative key":               {frameOf(-7, 0, 1, nil), "unknown api key -7"},
		"old version":                {frameOf(0, 2, 1, nil), "unsupported api version: Produce version 2, expected 3 to 13"},
		"new version":                {frameOf(0, 14, 1, nil), "unsupported api version: Produce version 14"},
		"header cut":                 {length(5, "\x00\x00\x00\x09\x00"), "malformed"},
		"client id past the end":     {length(10, "\x00\x00\x00\x09\x00\x00\x00\x01\x7f\xff"), "malformed"},
		"large with an unknown key":  {length(900_000, "\x00\x63\x00\x00"), "unknown api key 99"},
		"large with an old version":  {length(900_000, "\x00\x00\x00\x01"), "unsupported api version"},
		"twenty million header tags": {frameOf(0, 9, 1, nil)[:4+10+6], "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "twenty") {
				c.input = append(c.input, 0x80, 0xda, 0xc4, 0x09)
				binary.BigEndian.PutUint32(c.input, uint32(len(c.input)-4))
			}
			h := serve(t, Options{MaxRequestBytes: 1_000_000}, slog.LevelInfo, echo)
			cl := h.dial()
			cl.send(c.input)
			cl.expectClosed()
			eventually(t, "the line", func() bool { return len(h.log.lines("level=WARN", c.says)) == 1 })
			if lines := h.log.lines(); len(lines) != 1 {
				t.Fatalf("%d lines: %q", len(lines), lines)
			}
			if h.framesUsed() != 0 || h.budgetUsed() != 0 {
				t.Fatal("memory was taken for garbage")
			}
		})
	}
}

// TestGarbageLetsEarlierAnswersLeave has a good request in front of a bad one.
func TestGarbageLetsEarlierAnswersLeave(t *testing.T) {
	var p promise
	h := serve(t, Options{}, slog.LevelInfo, func(*wire.Request) wire.Reply { return &p })
	c := h.dial()
	c.send(append(request(1, nil), 0xff, 0xff, 0xff, 0xff))
	eventually(t, "the line", func() bool { return len(h.log.lines("level=WARN")) == 1 })
	p.keep()
	c.expect(1, nil)
	c.expectClosed()
}

// TestAnnouncedBytesCostNothing opens frames of the largest size without sending them.
func TestAnnouncedBytesCostNothing(t *testing.T) {
	h := serve(t, Options{RequestMemoryBytes: 1 << 40}, slog.LevelInfo, echo)
	for range 20 {
		c := h.dial()
		frame := request(1, make([]byte, 100))
		binary.BigEndian.PutUint32(frame, 100<<20)
		c.send(frame)
	}
	eventually(t, "twenty frames", func() bool { return h.budgetUsed() == 20*100<<20 })
	eventually(t, "buffers", func() bool { return h.framesUsed() == 20*frameStepBytes })
}

// TestBudget holds the memory with half a frame; others wait unread, in order, and go on.
func TestBudget(t *testing.T) {
	h := serve(t, Options{RequestMemoryBytes: 1 << 20}, slog.LevelInfo, echo)
	used := h.budgetUsed
	a, b, large, small := h.dial(), h.dial(), h.dial(), h.dial()
	body := make([]byte, 700_000)
	frame := request(1, body)
	a.send(frame[:10_000])
	eventually(t, "the first frame's memory", func() bool { return used() == int64(len(frame)-4) })
	go b.send(frame)
	eventually(t, "the second frame waits", func() bool { return h.budget.waiting() == 1 })
	// Larger than the whole budget: it passes when it is alone.
	huge := make([]byte, 3<<20)
	go large.send(request(3, huge))
	eventually(t, "the third frame waits", func() bool { return h.budget.waiting() == 2 })
	// What fits the connection's own buffer needs nothing.
	small.send(request(4, []byte("small")))
	small.expect(4, []byte("small"))
	a.send(frame[10_000:])
	a.expect(1, body)
	b.expect(1, body)
	large.expect(3, huge)
	eventually(t, "the memory is back", func() bool { return used() == 0 })
}

// TestBudgetOfADeadConnection gives up a place in the line.
func TestBudgetOfADeadConnection(t *testing.T) {
	h := serve(t, Options{RequestMemoryBytes: 1 << 20}, slog.LevelInfo, echo)
	a, b := h.dial(), h.dial()
	frame := request(1, make([]byte, 700_000))
	a.send(frame[:10_000])
	eventually(t, "the first frame", func() bool { return h.framesUsed() > 0 })
	b.send(frame[:10_000])
	eventually(t, "the second frame waits", func() bool { return h.budget.waiting() == 1 })
	h.mu.Lock()
	for c := range h.conns {
		if c.facts.RemoteAddr == b.LocalAddr().String() {
			go c.kill(errIdle)
		}
	}
	h.mu.Unlock()
	eventually(t, "the line is empty", func() bool { return h.budget.waiting() == 0 })
	a.send(frame[10_000:])
	a.expect(1, make([]byte, 700_000))
}

func TestBudgetGivenAndDoneTogether(t *testing.T) {
	for range 200 {
		b := budget{limit: 10}
		never, done := make(chan struct{}), make(chan struct{})
		b.acquire(10, never)
		got := make(chan bool)
		go func() { got <- b.acquire(5, done) }()
		eventually(t, "the waiter", func() bool { return b.waiting() == 1 })
		go close(done)
		b.release(10)
		if <-got {
			b.release(5)
		}
		if b.used != 0 || b.waiting() != 0 {
			t.Fatalf("%d used, %d waiting", b.used, b.waiting())
		}
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	h := serve(t, Options{Limits: &Limits{Total: NoLimit, PerIP: 2}}, slog.LevelInfo, echo)
	a, b := h.dial(), h.dial()
	for i, c := range []*client{a, b} {
		c.send(request(int32(i), nil))
		c.expect(int32(i), nil)
	}
	h.dial().expectClosed()
	if len(h.log.lines("too many from one address", "127.0.0.1")) != 1 || h.metrics.RefusedConnections.Load() != 1 {
		t.Fatal("the refusal is not told")
	}
	_ = a.Close()
	eventually(t, "one connection", func() bool { return h.metrics.ActiveConnections.Load() == 1 })
	c := h.dial()
	c.send(request(1, nil))
	c.expect(1, nil)
}

func TestMaxConnections(t *testing.T) {
	h := serve(t, Options{Limits: &Limits{Total: 1, PerIP: NoLimit}}, slog.LevelInfo, echo)
	a, b := h.dial(), h.dial()
	a.send(request(1, nil))
	a.expect(1, nil)
	b.send(request(2, nil))
	eventually(t, "both are accepted", func() bool { return h.metrics.AcceptedConnections.Load() == 2 })
	if n := h.metrics.ActiveConnections.Load(); n != 1 {
		t.Fatalf("%d active connections", n)
	}
	_ = a.Close()
	b.expect(2, nil)
}

func TestCloseIsImmediate(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	waiting := &promise{}
	h := serve(t, Options{}, slog.LevelInfo, func(r *wire.Request) wire.Reply {
		if r.CorrelationID == 1 {
			return waiting
		}
		close(entered)
		<-leave
		return wire.Bytes(nil)
	})
	c, d := h.dial(), h.dial()
	c.send(request(1, nil))
	d.send(request(2, nil))
	<-entered
	eventually(t, "both requests", func() bool { return h.metrics.Requests.Load() == 2 })
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error)
	go func() { over <- h.Shutdown(ctx) }()
	eventually(t, "the shutdown", h.stopped)
	if _, err := net.Dial("tcp", h.address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("a new connection during shutdown: %v", err)
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Fatalf("Shutdown returned %v", err)
	}
	c.expectClosed()
	eventually(t, "the waiting reply is released", func() bool { return waiting.released.Load() == 1 })
	for range 2 {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Wait returned %v although a handler runs", err)
	}
	close(leave)
	if err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Fatalf("Shutdown after Close: %v", err)
	}
}

func TestServeAfterClose(t *testing.T) {
	h := newHarness(t, Options{}, slog.LevelInfo, echo)
	_ = h.Close()
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Serve(l, "LATE"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("the listener is not closed: %v", err)
	}
}

// failingListener fails with one error, then with another.
type failingListener struct {
	net.Listener
	errs []error
}

func (l *failingListener) Accept() (net.Conn, error) {
	err := l.errs[0]
	if len(l.errs) > 1 {
		l.errs = l.errs[1:]
	}
	return nil, err
}

func TestAcceptErrors(t *testing.T) {
	h := newHarness(t, Options{}, slog.LevelInfo, echo)
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fatal := errors.New("the listener is broken")
	err = h.Serve(&failingListener{l, []error{syscall.EMFILE, syscall.EMFILE, syscall.ECONNABORTED, fatal}}, "TEST")
	if !errors.Is(err, fatal) {
		t.Fatalf("Serve returned %v", err)
	}
	if len(h.log.lines("cannot accept connections")) != 1 {
		t.Fatal("the shortage is not told once")
	}
}

func TestListen(t *testing.T) {
	for _, address := range []string{"nowhere", "127.0.0.1:99999", ""} {
		if l, err := Listen(t.Context(), address); err == nil {
			_ = l.Close()
			t.Errorf("listens on %q", address)
		}
	}
	h := newHarness(t, Options{}, slog.LevelInfo, echo)
	l, err := Listen(t.Context(), ":0")
	if err != nil {
		t.Fatal(err)
	}
	h.run(l)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	hosts := []string{"127.0.0.1"}
	if six, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		_ = six.Close()
		hosts = append(hosts, "::1")
	}
	for _, host := range hosts {
		h.address = net.JoinHostPort(host, port)
		c := h.dial()
		c.send(request(1, nil))
		c.expect(1, nil)
	}
}

func TestFrameClasses(t *testing.T) {
	check := func(n int) {
		class, size := frameClass(n)
		if n > 1<<largestFrameBits {
			if class != -1 || size != n {
				t.Fatalf("%d bytes: class %d of %d", n, class, size)
			}
			return
		}
		if class < 0 || class >= frameClasses || size < n || n > 1<<smallestFrameBits && size > n+n/4+1 {
			t.Fatalf("%d bytes: class %d of %d", n, class, size)
		}
		if again, same := frameClass(size); again != class || same != size {
			t.Fatalf("a buffer of %d bytes is of class %d (%d), not %d", size, again, same, class)
		}
	}
	for octave := smallestFrameBits; octave <= largestFrameBits; octave++ {
		for quarter := range 4 {
			size := 1<<octave + quarter<<(octave-2)
			check(size - 1)
			check(size)
			check(size + 1)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		check(1 + random.IntN(1<<largestFrameBits+1000))
	}
}

// TestFramePool takes and puts at random: nothing is handed out twice, and the limit holds.
func TestFramePool(t *testing.T) {
	f := &framePool{limit: 8 << 20}
	random := rand.New(rand.NewPCG(2, 2))
	out := map[*byte][]byte{}
	var held int64
	for range 20_000 {
		switch k := random.IntN(100); {
		case k < 50 && held < 6<<20:
			n := 1 + random.IntN(1<<uint(13+random.IntN(9)))
			b := f.make(n)
			if len(b) < n || out[&b[0]] != nil {
				t.Fatalf("buffer of %d for %d bytes, out already: %v", len(b), n, out[&b[0]] != nil)
			}
			out[&b[0]] = b
			held += int64(len(b))
		case k < 99:
			for p, b := range out {
				delete(out, p)
				held -= int64(len(b))
				f.put(b)
				break
			}
		default:
			f.trim()
		}
		if f.used != held || f.kept < 0 || f.used+f.kept > f.limit {
			t.Fatalf("used %d of %d, kept %d", f.used, held, f.kept)
		}
	}
	for _, b := range out {
		f.put(b)
	}
	f.trim()
	if dropped, left := f.trim(); left != 0 || f.kept != 0 || dropped == 0 {
		t.Fatalf("after two trims %d are left, %d dropped", left, dropped)
	}
	f.put(f.make(40 << 20))
	if f.kept != 0 {
		t.Fatal("a buffer above the largest class is kept")
	}
}

// TestIdleConnectionsAreCheap measures heap and stacks, the client's side included.
func TestIdleConnectionsAreCheap(t *testing.T) {
	h := serve(t, Options{}, slog.LevelInfo, echo)
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := memory()
	const n = 300
	for i := range n {
		c := h.dial()
		c.send(request(int32(i), make([]byte, 3000)))
		c.expect(int32(i), make([]byte, 3000))
	}
	eventually(t, "all connections", func() bool { return h.metrics.ActiveConnections.Load() == n })
	if each := (memory() - before) / n; each > 16<<10 {
		t.Fatalf("%d bytes per idle connection", each)
	} else {
		t.Logf("%d bytes per idle connection", each)
	}
}

// TestRequestsHardlyAllocate counts over whole round trips, client included.
func TestRequestsHardlyAllocate(t *testing.T) {
	body := bytes.Repeat([]byte("x"), 1000)
	answer := wire.Bytes(body)
	promises := make(chan wire.Waker, 1)
	for name, handle := range map[string]wire.Handler{
		"ready":   func(*wire.Request) wire.Reply { return answer },
		"waiting": func(*wire.Request) wire.Reply { return waker(promises) },
	} {
		t.Run(name, func(t *testing.T) {
			h := serve(t, Options{}, slog.LevelInfo, handle)
			c := h.dial()
			for _, size := range []int{1000, 100_000} {
				frame, response := request(1, make([]byte, size)), make([]byte, 2000)
				n := testing.AllocsPerRun(300, func() {
					c.send(frame)
					if name == "waiting" {
						(<-promises).Wake()
					}
					if _, err := c.Read(response); err != nil {
						t.Fatal(err)
					}
				})
				if n > 2 {
					t.Fatalf("%v allocations per request of %d bytes", n, size)
				}
			}
		})
	}
}

// waker is a reply that hands its waker to the test.
type waker chan wire.Waker

func (w waker) Wait(k wire.Waker) bool {
	w <- k
	return false
}
func (waker) Encode(p *wire.Payload) error {
	p.SetBuffer(append(p.Buffer(), "answer"...))
	return nil
}
func (waker) Release() {}
