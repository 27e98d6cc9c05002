package quota

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/server/meta"
)

// set is one quota: an entity's parts in pairs, "" for the default's name.
func set(key string, value float64, parts ...string) *meta.ClientQuotaRecord {
	r := &meta.ClientQuotaRecord{QuotaKey: key, Value: value}
	for i := 0; i < len(parts); i += 2 {
		e := meta.QuotaEntity{Type: parts[i]}
		if parts[i+1] != "" {
			e.Name = &parts[i+1]
		}
		r.Entity = append(r.Entity, e)
	}
	return r
}

func image(t *testing.T, records ...*meta.ClientQuotaRecord) *meta.Image {
	t.Helper()
	d := meta.NewDelta(nil)
	for _, r := range records {
		if err := d.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	return d.Image(0, 0)
}

func manager(t *testing.T, records ...*meta.ClientQuotaRecord) *Manager {
	t.Helper()
	w := Windows{11, time.Second}
	m := New(w, w)
	m.Update(image(t, records...))
	return m
}

var alice = Client{User: "alice", ID: "app"}

// The order of KIP-55, from the least to the most specific; each is stronger than all before it.
func TestMostSpecificQuotaWins(t *testing.T) {
	order := [][]string{
		{"client-id", ""},
		{"client-id", "app"},
		{"user", ""},
		{"user", "", "client-id", ""},
		{"user", "", "client-id", "app"},
		{"user", "alice"},
		{"user", "alice", "client-id", ""},
		{"user", "alice", "client-id", "app"},
	}
	meters := [][2]string{{"", "app"}, {"", "app"}, {"alice", ""}, {"alice", "app"}, {"alice", "app"}, {"alice", ""}, {"alice", "app"}, {"alice", "app"}}
	var records []*meta.ClientQuotaRecord
	for i, parts := range order {
		records = append(records, set("producer_byte_rate", float64(1000+i), parts...))
		for _, alone := range []bool{false, true} {
			list := records
			if alone {
				list = records[i:]
			}
			l := newLimits(image(t, list...))
			user, client, limit := l.find(Produce, "alice", "app")
			if limit != float64(1000+i) || [2]string{user, client} != meters[i] {
				t.Errorf("%v, alone %v: limit %v on the meter of %q %q", parts, alone, limit, user, client)
			}
		}
	}
	l := newLimits(image(t, records...))
	for _, c := range []struct {
		user, client string
		want         float64
	}{{"bob", "app", 1004}, {"bob", "x", 1003}, {"alice", "x", 1006}, {"alice", "", 1006}} {
		if _, _, limit := l.find(Produce, c.user, c.client); limit != c.want {
			t.Errorf("%+v: %v", c, limit)
		}
	}
	if l.clients[Fetch].shapes != 0 {
		t.Error("a quota of another kind")
	}
}

func TestNoQuotaCostsNothing(t *testing.T) {
	m := manager(t)
	if m.Enabled(Produce) || m.Use(Produce, alice, 1e12, 0) != 0 || m.Most(Fetch, alice, 7) != 7 || m.NewChange(alice, true, nil) != nil {
		t.Error("a manager without quotas limits somebody")
	}
	if n := testing.AllocsPerRun(100, func() {
		m.Use(Produce, alice, 1, 0)
		m.Connect(netip.Addr{}, 0)
		m.NewChange(alice, true, nil).Allow(1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What Kafka's ClientQuotaManagerTest expects: with a quota of 500 bytes a second over 10 windows plus the present one, 400 bytes a
// second are fine, and 2300 bytes in one go give 2.1 seconds.
func TestRateMatchesKafka(t *testing.T) {
	m := manager(t, set("consumer_byte_rate", 500, "user", "alice"))
	now := int64(1000)
	for range 10 {
		if p := m.Use(Fetch, alice, 400, now); p != 0 {
			t.Fatalf("at %d: paused for %d", now, p)
		}
		now += 1000
	}
	// 10 s at 400 a second, then 2300 half a second later: (600 - 500)/500 * 10.5 s = 2.1 s.
	now += 500
	if p := m.Use(Fetch, alice, 2300, now); p != 2100 {
		t.Errorf("paused for %d", p)
	}
	for range 20 {
		if p := m.Use(Fetch, alice, 400, now); p == 0 {
			t.Fatalf("at %d: not paused", now)
		}
		now += 100
	}
	now += 20_000
	if p := m.Use(Fetch, alice, 0, now); p != 0 {
		t.Errorf("paused for %d after all windows have passed", p)
	}
}

func TestRateOfNewMeter(t *testing.T) {
	w := windows{11, 1000}
	var r rate
	r.record(w, 1000, 50)
	if perSecond, over := r.measure(w, 50); perSecond != 100 || over != 10_000 {
		t.Errorf("%v a second over %d ms", perSecond, over)
	}
	if p := r.excess(w, 50, 50); p != 10_000 {
		t.Errorf("pause %d", p)
	}
	// Eleven windows later nothing is left, however many were passed in one step.
	if perSecond, _ := r.measure(w, 50+11_000); perSecond != 0 || !r.silent(w, 50+11_000) {
		t.Errorf("%v a second", perSecond)
	}
}

// Against a plain sum over everything ever recorded.
func TestRateAgainstModel(t *testing.T) {
	w := windows{5, 100}
	var r rate
	now, seed := int64(1), uint32(7)
	total := 0.0
	for range 10_000 {
		seed = seed*1664525 + 1013904223
		now += int64(seed >> 26)
		v := float64(seed >> 20 & 15)
		r.record(w, v, now)
		total += v
		perSecond, over := r.measure(w, now)
		if perSecond < 0 || perSecond*float64(over)/1000 > total+1e-6 || over < 400 || len(r.samples) > 6 {
			t.Fatalf("at %d: %v a second over %d, %d samples", now, perSecond, over, len(r.samples))
		}
	}
}

func TestRequestPauseIsBounded(t *testing.T) {
	m := manager(t, set("request_percentage", 1, "client-id", ""))
	if p := m.Use(Request, alice, 1e6, 5); p != 1000 {
		t.Errorf("paused for %d", p)
	}
}

func TestHugePause(t *testing.T) {
	m := manager(t, set("producer_byte_rate", 1, "user", ""))
	if p := m.Use(Produce, alice, math.MaxInt64, 5); p != maxPauseMs {
		t.Errorf("paused for %d", p)
	}
}

func TestTakeBackAndMost(t *testing.T) {
	m := manager(t, set("consumer_byte_rate", 100, "user", ""))
	if n := m.Most(Fetch, alice, 5000); n != 1000 {
		t.Errorf("at most %d", n)
	}
	if p := m.Use(Fetch, alice, 2000, 5); p == 0 {
		t.Error("not paused")
	}
	m.TakeBack(Fetch, alice, 2000, 5)
	if p := m.Use(Fetch, alice, 1, 6); p != 0 {
		t.Errorf("paused for %d for what was not read", p)
	}
}

func TestMutations(t *testing.T) {
	m := manager(t, set("controller_mutation_rate", 10, "user", ""))
	now := int64(100)
	clock := func() int64 { return now }
	// A full bucket holds 110; strict quotas let one request take it below zero.
	if c := m.NewChange(alice, true, clock); !c.Allow(100) || !c.Allow(20) || c.Pause() != 0 {
		t.Error("a full bucket was refused")
	}
	c := m.NewChange(alice, true, clock)
	if c.Allow(1) || c.Pause() != 1000 {
		t.Errorf("an empty one was not: pause %d", c.Pause())
	}
	now += 400
	if c.Pause() != 600 {
		t.Errorf("pause %d after 400 ms", c.Pause())
	}
	now += 600
	if c := m.NewChange(alice, true, clock); !c.Allow(1) {
		t.Error("refused after the pause")
	}
	lax := m.NewChange(alice, false, clock)
	if !lax.Allow(50) || lax.Pause() != 5100 {
		t.Errorf("pause %d", lax.Pause())
	}
	if m.NewChange(Client{User: "bob"}, true, clock).Allow(1) != true {
		t.Error("bob pays for alice")
	}
	// After a long silence the bucket is full, not more.
	now += 1e6
	if c := m.NewChange(alice, true, clock); !c.Allow(111) || c.Allow(1) {
		t.Error("the bucket has another size")
	}
}

func TestConnections(t *testing.T) {
	m := manager(t, set("connection_creation_rate", 2, "ip", "192.0.2.1"), set("connection_creation_rate", 5, "ip", ""))
	a, other := netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("192.0.2.9")
	let := func(address netip.Addr) (n int) {
		for range 100 {
			if m.Connect(address, 10) == 0 {
				n++
			}
		}
		return n
	}
	// Ten windows' worth for a meter that is new.
	if n := let(a); n != 20 {
		t.Errorf("%d connections of an address of its own", n)
	}
	if n := let(other); n != 50 {
		t.Errorf("%d connections of another one", n)
	}
	if p := m.Connect(a, 10); p <= 0 || p > 1000 {
		t.Errorf("a refused connection waits for %d", p)
	}
	if p := m.Connect(a, 20_000); p != 0 {
		t.Errorf("still refused for %d", p)
	}
}

// TestConnectionRates: the pace of a listener and of the broker, and who is not held up.
func TestConnectionRates(t *testing.T) {
	m := New(Windows{11, time.Second}, Windows{11, time.Second})
	burst := func(listener string, n int, nowMs int64) (last int64) {
		for range n {
			last = m.Accept(listener, nowMs)
		}
		return last
	}
	if wait := burst("A", 10_000, 0); wait != 0 {
		t.Fatalf("waits %d ms without a bound", wait)
	}
	m.SetConnectionRates(ConnectionRates{Broker: math.MaxInt32, Listeners: map[string]int32{"A": 5}})
	// Ten windows have passed, as if nobody had come in them: fifty connections, and then one every 200 ms.
	if wait := burst("A", 50, 0); wait != 0 {
		t.Fatalf("waits %d ms at the bound", wait)
	}
	if wait := burst("A", 1, 0); wait != 200 {
		t.Fatalf("waits %d ms beyond it, expected 200", wait)
	}
	if wait := burst("A", 1000, 0); wait != 1000 {
		t.Fatalf("waits %d ms, expected one window", wait)
	}
	if wait := burst("B", 1000, 0); wait != 0 {
		t.Fatalf("another listener waits %d ms", wait)
	}
	if wait := burst("A", 1, 30_000); wait != 0 {
		t.Fatalf("waits %d ms when all is forgotten", wait)
	}
	m.SetConnectionRates(ConnectionRates{Broker: 10, Listeners: map[string]int32{"A": 1000}, Protected: "P"})
	now := int64(100_000)
	if a, b := burst("A", 50, now), burst("B", 50, now); a != 0 || b != 0 {
		t.Fatalf("A waits %d ms, B %d, at the broker's bound", a, b)
	}
	if a, b, p := burst("A", 1, now), burst("B", 1, now), burst("P", 1000, now); a != 100 || b != 200 || p != 0 {
		t.Fatalf("A waits %d ms, B %d, the protected listener %d", a, b, p)
	}
	m.SetConnectionRates(ConnectionRates{Broker: 0, Protected: "P"})
	if a, p := burst("A", 1, now), burst("P", 1, now); a != 1000 || p != 0 {
		t.Fatalf("with no connection allowed A waits %d ms and P %d", a, p)
	}
}

func TestMetersAreBounded(t *testing.T) {
	m := manager(t, set("producer_byte_rate", 1e6, "client-id", ""))
	for i := range 5 * MaxMeters {
		m.Use(Produce, Client{ID: fmt.Sprint(i)}, 1, 1)
	}
	if n := m.Len(Produce); n > MaxMeters {
		t.Errorf("%d meters", n)
	}
	// All of them fall silent; the next sweep finds out.
	for i := range MaxMeters {
		m.Use(Produce, Client{ID: fmt.Sprint("x", i%10)}, 1, 1e6)
	}
	m.Use(Produce, Client{ID: strings.Repeat("long", 10_000)}, 1, 1e6)
	for i := range MaxMeters {
		m.Use(Produce, Client{ID: fmt.Sprint("y", i)}, 1, 1e6+20_000*int64(i))
	}
	if n := m.Len(Produce); n > 2*firstSweep {
		t.Errorf("%d meters although all but a few are silent", n)
	}
	for k := range m.clients[Produce].by {
		if len(k.client) > maxName {
			t.Errorf("a name of %d bytes is kept", len(k.client))
		}
	}
}

func TestUpdateKeepsUse(t *testing.T) {
	m := manager(t, set("producer_byte_rate", 1e9, "user", ""))
	m.Use(Produce, alice, 50_000, 5)
	m.Update(image(t, set("producer_byte_rate", 1000, "user", "")))
	if p := m.Use(Produce, alice, 0, 6); p == 0 {
		t.Error("a lower quota does not know what was used")
	}
	m.Update(image(t))
	if p := m.Use(Produce, alice, 1e9, 7); p != 0 || m.Enabled(Produce) {
		t.Error("a removed quota still counts")
	}
}

func TestConcurrentUse(t *testing.T) {
	m := manager(t, set("producer_byte_rate", 1000, "user", "", "client-id", ""), set("connection_creation_rate", 5, "ip", ""))
	empty, full := image(t), image(t, set("producer_byte_rate", 5, "user", ""))
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 500 {
				m.Use(Produce, Client{User: "u", ID: fmt.Sprint(i % 7)}, 10, int64(i))
				m.Connect(netip.AddrFrom4([4]byte{10, 0, byte(g), byte(i)}), int64(i))
				if i%100 == 0 {
					m.Update(empty)
					m.Update(full)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkNoQuota(b *testing.B) {
	m := New(Windows{11, time.Second}, Windows{11, time.Second})
	b.ReportAllocs()
	for b.Loop() {
		m.Use(Produce, alice, 1, 0)
	}
}

func BenchmarkUse(b *testing.B) {
	m := New(Windows{11, time.Second}, Windows{11, time.Second})
	d := meta.NewDelta(nil)
	_ = d.Apply(set("producer_byte_rate", 1000, "user", ""))
	m.Update(d.Image(0, 0))
	b.ReportAllocs()
	now := int64(0)
	for b.Loop() {
		now++
		m.Use(Produce, alice, 1, now)
	}
}
