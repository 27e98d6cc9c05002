package quota

import (
	"crypto/sha256"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/server/meta"
)

// MaxMeters bounds how many clients of one kind of quota, or addresses, are measured at a time.
const MaxMeters = 10_000

// maxName is the longest name that is kept as it is.
const maxName = 128

// Windows are a number of samples and the length of each.
type Windows struct {
	Samples int
	Size    time.Duration
}

// Client is who asks.
type Client struct {
	User string // name of the principal
	ID   string // client.id; "" for none
}

// Manager measures every client that has a quota. Safe for concurrent use.
type Manager struct {
	limits  atomic.Pointer[limits] // nil: nobody has one
	windows [kinds]windows
	clients [kinds]meters[name]
	byIP    meters[netip.Addr]
	accepts accepts
}

// name is whose meter it is.
type name struct{ user, client string }

// meter is what one of them has used: a bucket for mutations, a rate for
// everything else.
type meter struct {
	rate   rate
	bucket bucket
}

// over reports whether a meter says no more than a new one.
func (x *meter) over(w windows, nowMs int64) bool {
	if x.bucket.used {
		return nowMs-x.bucket.last >= w.span() && x.bucket.tokens >= 0
	}
	return x.rate.silent(w, nowMs)
}

// New returns a Manager without quotas. Mutations have windows of their own (controller.quota.window.num).
func New(clients, mutations Windows) *Manager {
	m := &Manager{accepts: accepts{limits: ConnectionRates{Broker: math.MaxInt32}, listeners: map[string]*rate{}}}
	for k := range m.windows {
		m.windows[k] = windows{max(clients.Samples, 1), max(clients.Size.Milliseconds(), 1)}
	}
	m.windows[Mutation] = windows{max(mutations.Samples, 1), max(mutations.Size.Milliseconds(), 1)}
	return m
}

// Update takes the quotas of an image. What clients have used stays known.
func (m *Manager) Update(im *meta.Image) { m.limits.Store(newLimits(im)) }

// Active reports whether anybody has a quota of any kind. It costs one atomic load.
func (m *Manager) Active() bool { return m.limits.Load() != nil }

// Enabled reports whether anybody has a quota of that kind. It costs one atomic load where nobody has any.
func (m *Manager) Enabled(kind Kind) bool {
	l := m.limits.Load()
	return l != nil && l.clients[kind].shapes != 0
}

// Use counts an amount for a client and returns for how long it must pause, in milliseconds, 0 for not at all. Request pauses
// are at most one window. nowMs is any clock that does not go back.
func (m *Manager) Use(kind Kind, c Client, amount float64, nowMs int64) int64 {
	var pause int64
	m.with(kind, c, nowMs, func(x *meter, w windows, limit float64) {
		x.rate.record(w, amount, nowMs)
		pause = x.rate.excess(w, limit, nowMs)
		if kind == Request {
			pause = min(pause, w.ms)
		}
	})
	return pause
}

// TakeBack undoes a Use of what was not done after all.
func (m *Manager) TakeBack(kind Kind, c Client, amount float64, nowMs int64) {
	m.with(kind, c, nowMs, func(x *meter, w windows, _ float64) { x.rate.record(w, -amount, nowMs) })
}

// Most is the largest amount that a client which has used nothing could use at once without having to pause; otherwise is
// returned where it has no quota.
func (m *Manager) Most(kind Kind, c Client, otherwise int64) int64 {
	l := m.limits.Load()
	if l == nil {
		return otherwise
	}
	_, _, limit := l.find(kind, c.User, c.ID)
	if limit == 0 {
		return otherwise
	}
	w := m.windows[kind]
	most := limit * float64(w.samples-1) * float64(w.ms) / 1000
	if most >= float64(otherwise) {
		return otherwise
	}
	return int64(most)
}

// with runs f on a client's meter under its lock, if it has a quota.
func (m *Manager) with(kind Kind, c Client, nowMs int64, f func(x *meter, w windows, limit float64)) {
	l := m.limits.Load()
	if l == nil {
		return
	}
	user, client, limit := l.find(kind, c.User, c.ID)
	if limit == 0 {
		return
	}
	t, w := &m.clients[kind], m.windows[kind]
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t.get(name{short(user), short(client)}, w, nowMs), w, limit)
}

// short keeps names of any length in bounded memory.
func short(s string) string {
	if len(s) <= maxName {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return string(sum[:])
}

// meters are those of one kind, by whose they are.
type meters[K comparable] struct {
	mu    sync.Mutex
	by    map[K]*meter
	sweep int // how many there may be before the next look for those that are over
}

const firstSweep = 64

// get returns a meter, which is new if there is none, after making room for it;
// mu is held.
func (t *meters[K]) get(key K, w windows, nowMs int64) *meter {
	if x := t.by[key]; x != nil {
		return x
	}
	if t.by == nil {
		t.by, t.sweep = map[K]*meter{}, firstSweep
	}
	if len(t.by) >= t.sweep {
		for k, x := range t.by {
			if x.over(w, nowMs) {
				delete(t.by, k)
			}
		}
		if len(t.by) >= MaxMeters {
			t.drop()
		}
		t.sweep = min(max(firstSweep, 2*len(t.by)), MaxMeters)
	}
	x := &meter{}
	t.by[key] = x
	return x
}

// drop forgets an eighth of all meters, whichever they are.
func (t *meters[K]) drop() {
	for k := range t.by {
		if len(t.by) <= MaxMeters-MaxMeters/8 {
			return
		}
		delete(t.by, k)
	}
}

// Len is how many clients of a kind are measured.
func (m *Manager) Len(kind Kind) int {
	t := &m.clients[kind]
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.by)
}

// Change is the controller mutation quota of one request (KIP-599). The zero value and nil are without a quota.
type Change struct {
	m      *Manager
	client Client
	strict bool
	now    func() int64
	pause  int64 // ms, as of at
	at     int64
}

// NewChange returns the quota of one request; nil when nobody has one. Strict refuses what is beyond the quota, otherwise
// everything is allowed and the client has to pause after it. now is a clock in milliseconds.
func (m *Manager) NewChange(c Client, strict bool, now func() int64) *Change {
	if !m.Enabled(Mutation) {
		return nil
	}
	return &Change{m: m, client: c, strict: strict, now: now}
}

// Allow counts partitions that are to be created or deleted and reports whether that may be done.
func (c *Change) Allow(partitions int) bool {
	if c == nil || c.m == nil {
		return true
	}
	allowed := true
	nowMs := c.now()
	c.m.with(Mutation, c.client, nowMs, func(x *meter, w windows, limit float64) {
		if c.strict {
			if debt := x.bucket.debt(w, limit, nowMs); debt > 0 {
				c.pause, c.at, allowed = debt, nowMs, false
				return
			}
			x.bucket.take(w, limit, float64(partitions), nowMs)
			return
		}
		x.bucket.take(w, limit, float64(partitions), nowMs)
		if debt := x.bucket.debt(w, limit, nowMs); debt > 0 {
			c.pause, c.at = debt, nowMs
		}
	})
	return allowed
}

// Pause is for how many milliseconds the client must pause after the request.
func (c *Change) Pause() int64 {
	if c == nil || c.pause == 0 {
		return 0
	}
	return max(c.pause-(c.now()-c.at), 0)
}
