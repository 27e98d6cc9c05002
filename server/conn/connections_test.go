package conn

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gregor-broker/gregor/wire"
)

// ask sends a request and reads its answer, however long both take.
func ask(c *client) (answer chan error) {
	answer = make(chan error, 1)
	go func() {
		if _, err := c.Write(request(1, nil)); err != nil {
			answer <- err
			return
		}
		_, _, err := c.receive()
		answer <- err
	}()
	return answer
}

// answered says whether an answer is there when nothing moves any more.
func answered(answer chan error) bool {
	synctest.Wait()
	select {
	case err := <-answer:
		return err == nil
	default:
		return false
	}
}

func served(c *client) bool { return answered(ask(c)) }

// listeners runs a server with one in-memory listener per name.
func listeners(t *testing.T, o Options, names ...string) (h *harness, dial func(name string) *client) {
	h = newHarness(t, o, slog.LevelInfo, echo)
	byName := map[string]*pipeListener{}
	for _, name := range names {
		byName[name] = newPipeListener()
		h.runNamed(addressed{byName[name]}, name)
	}
	return h, func(name string) *client { return &client{Conn: byName[name].dial(), t: t} }
}

// TestLimitOfAListener: its connections wait, those of another one do not.
func TestLimitOfAListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dial := listeners(t, Options{Limits: &Limits{Total: NoLimit, PerIP: NoLimit, Listeners: map[string]int32{"A": 1}}}, "A", "B")
		first, second, other := dial("A"), dial("A"), dial("B")
		waits := ask(second)
		if !served(first) || answered(waits) || !served(other) {
			t.Fatal("one of A is served, and all of B")
		}
		_ = first.Close()
		if !answered(waits) {
			t.Fatal("the second is not served when the first has gone")
		}
		waits = ask(dial("A"))
		if answered(waits) {
			t.Fatal("two of A")
		}
		h.SetLimits(Limits{Total: NoLimit, PerIP: NoLimit})
		if !answered(waits) {
			t.Fatal("not served without a limit")
		}
	})
}

// TestLowerTotalClosesTheSilent: who was heard of last stays.
func TestLowerTotalClosesTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dial := listeners(t, Options{}, "A")
		var all []*client
		for range 5 {
			c := dial("A")
			if !served(c) {
				t.Fatal("without a limit")
			}
			all = append(all, c)
			time.Sleep(2 * time.Second)
		}
		if !served(all[0]) { // now it is the last that was heard of
			t.Fatal("the first is not served")
		}
		time.Sleep(2 * time.Second)
		h.SetLimits(Limits{Total: 2, PerIP: NoLimit})
		synctest.Wait()
		for i, c := range all {
			if stays := i == 0 || i == 4; served(c) != stays {
				t.Errorf("connection %d stays: %v", i, !stays)
			}
		}
		if n := len(h.log.lines("more than max.connections")); n != 3 {
			t.Errorf("%d lines", n)
		}
		time.Sleep(2 * time.Second)
		if !served(all[0]) {
			t.Fatal("one of the two")
		}
		h.SetLimits(Limits{Total: 1, PerIP: NoLimit})
		synctest.Wait()
		if served(all[4]) || !served(all[0]) {
			t.Error("one more has to go")
		}
	})
}

// TestBusyConnectionsGoLast: a request in flight is answered, if that takes no longer than a sweep.
func TestBusyConnectionsGoLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dial := listeners(t, Options{}, "A")
		var held [2]promise
		var next atomic.Int32
		old, young, slow := dial("A"), dial("A"), dial("A")
		for _, c := range []*client{old, young} {
			if !served(c) {
				t.Fatal("without a limit")
			}
		}
		handle := wire.Handler(func(*wire.Request) wire.Reply { return &held[next.Add(1)-1] })
		h.handle.Store(&handle)
		answers := []chan error{ask(old), ask(slow)}
		synctest.Wait()
		h.SetLimits(Limits{Total: 1, PerIP: NoLimit})
		if served(young) {
			t.Fatal("the only one without a request stays")
		}
		for i, answer := range answers {
			select {
			case err := <-answer:
				t.Fatalf("connection %d was closed at once: %v", i, err)
			default:
			}
		}
		held[0].keep()
		held[1].keep()
		if !answered(answers[0]) || !answered(answers[1]) {
			t.Fatal("the requests in flight are not answered")
		}
		time.Sleep(2 * time.Second) // a sweep
		if n := h.metrics.ActiveConnections.Load(); n != 1 {
			t.Fatalf("%d connections after the sweep", n)
		}
	})
}

// TestProtectedListener is let in beyond the total, and somebody else goes for it.
func TestProtectedListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dial := listeners(t, Options{Limits: &Limits{Total: 2, PerIP: NoLimit, Protected: "BROKERS"}}, "BROKERS", "CLIENTS")
		old := dial("CLIENTS")
		if !served(old) {
			t.Fatal("the first")
		}
		time.Sleep(2 * time.Second)
		young, waits := dial("CLIENTS"), ask(dial("CLIENTS"))
		if !served(young) || answered(waits) {
			t.Fatal("two clients")
		}
		time.Sleep(2 * time.Second)
		broker := dial("BROKERS")
		if !served(broker) || served(old) || !served(young) {
			t.Fatal("the broker is let in for the client that was silent the longest")
		}
		more := dial("BROKERS")
		if !served(more) || served(young) {
			t.Fatal("the second broker takes the place of the last client")
		}
		if third := dial("BROKERS"); !served(third) || !served(broker) {
			t.Fatal("brokers are not closed for brokers")
		}
		h.SetLimits(Limits{Total: NoLimit, PerIP: NoLimit})
		if !answered(waits) {
			t.Fatal("it still waits")
		}
	})
}

// TestOverridesOfAddresses: an address that is named has its own bound, even where others may not come at all.
func TestOverridesOfAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := netip.MustParseAddr("127.0.0.1")
		h, dial := listeners(t, Options{Limits: &Limits{Total: NoLimit, Overrides: map[netip.Addr]int32{local: 1}}}, "A")
		first, second := dial("A"), dial("A")
		if !served(first) || served(second) {
			t.Fatal("one connection of a named address")
		}
		h.SetLimits(Limits{Total: NoLimit})
		if other := dial("A"); served(other) || !served(first) {
			t.Fatal("none of any other, and those that are there stay")
		}
		if n := len(h.log.lines("too many from one address", "limit=0")); n != 1 {
			t.Error(h.log.lines())
		}
	})
}

// TestPace: a listener that is to wait takes nothing in meanwhile, and another one does.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pace := func(listener string) time.Duration {
			if listener == "SLOW" {
				return time.Second
			}
			return 0
		}
		h, dial := listeners(t, Options{Pace: pace}, "SLOW", "FAST")
		begin := time.Now()
		var took []time.Duration
		over := make(chan struct{})
		a, b := dial("SLOW"), dial("SLOW")
		go func() {
			defer close(over)
			for _, c := range []*client{a, b} {
				c.send(request(1, nil))
				c.expect(1, nil)
				took = append(took, time.Since(begin))
			}
		}()
		if !served(dial("FAST")) {
			t.Error("another listener waits too")
		}
		<-over
		if !slices.Equal(took, []time.Duration{time.Second, 2 * time.Second}) {
			t.Error(took)
		}
		// A server that stops does not wait for it.
		_ = dial("SLOW")
		synctest.Wait()
		begin = time.Now()
		if err := h.Shutdown(t.Context()); err != nil || time.Since(begin) >= time.Second {
			t.Error(err, time.Since(begin))
		}
	})
}
