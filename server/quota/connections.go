package quota

import (
	"math"
	"net/netip"
	"sync"
)

// Connect counts a new connection and returns for how long it must wait before it is closed, in milliseconds; 0 lets it in.
// A connection that is not let in does not count.
func (m *Manager) Connect(address netip.Addr, nowMs int64) int64 {
	l := m.limits.Load()
	if l == nil || !l.hasAddresses {
		return 0
	}
	address = address.Unmap().WithZone("")
	limit := l.address(address)
	if limit == 0 {
		return 0
	}
	w := m.windows[Request]
	m.byIP.mu.Lock()
	defer m.byIP.mu.Unlock()
	r := &m.byIP.get(address, w, nowMs).rate
	r.record(w, 1, nowMs)
	pause := min(r.excess(w, limit, nowMs), w.ms)
	if pause > 0 {
		r.record(w, -1, nowMs)
	}
	return pause
}

// ConnectionRates bound how many connections are taken in per second, by the configuration of the broker (KIP-612,
// SocketServer.ConnectionQuotas). math.MaxInt32 is no bound.
type ConnectionRates struct {
	// Broker is for all listeners together, but without Protected (max.connection.creation.rate).
	Broker int32
	// Listeners is for each listener, by name (listener.name.<name>.max.connection.creation.rate).
	Listeners map[string]int32
	// Protected names the listener that Broker does not hold up, "" for none.
	Protected string
}

// accepts measures them.
type accepts struct {
	mu        sync.Mutex
	limits    ConnectionRates
	broker    rate
	listeners map[string]*rate
}

// SetConnectionRates puts rates in force; until then there are none. What was counted under earlier ones stays known.
func (m *Manager) SetConnectionRates(r ConnectionRates) {
	a := &m.accepts
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits = r
}

// Accept counts a new connection of a listener and returns for how long it, and the listener with it, must wait, in
// milliseconds: at most one window (quota.window.size.seconds).
func (m *Manager) Accept(listener string, nowMs int64) int64 {
	a, w := &m.accepts, m.windows[Request]
	a.mu.Lock()
	defer a.mu.Unlock()
	var wait int64
	count := func(r *rate, limit int32) {
		if limit != math.MaxInt32 {
			r.record(w, 1, nowMs)
			wait = max(wait, min(r.excess(w, float64(limit), nowMs), w.ms))
		}
	}
	if limit, ok := a.limits.Listeners[listener]; ok {
		r := a.listeners[listener]
		if r == nil {
			r = &rate{}
			a.listeners[listener] = r
		}
		count(r, limit)
	}
	if a.limits.Protected != listener {
		count(&a.broker, a.limits.Broker)
	}
	return wait
}
