package conn

import (
	"cmp"
	"errors"
	"math"
	"net/netip"
	"slices"
)

// NoLimit is Kafka's way to say that a count of connections is not limited.
const NoLimit = math.MaxInt32

// Limits bound how many connections there are at a time (SocketServer.ConnectionQuotas, KIP-402). NoLimit is no bound.
type Limits struct {
	// Total bounds the connections of all listeners: at the bound each listener accepts one more and lets it wait until another
	// closes. When there are more, because Total has become lower or Protected let one in, those that have been silent for the
	// longest are closed; one with a request in flight has until the next sweep (max.connections).
	Total int32
	// Listeners bounds the connections of a listener, by name; they wait as those of Total do, and are not closed when there are
	// more (listener.name.<name>.max.connections).
	Listeners map[string]int32
	// PerIP bounds the connections of one address that Overrides does not name; one more is closed at once
	// (max.connections.per.ip and its overrides).
	PerIP     int32
	Overrides map[netip.Addr]int32
	// Protected names the listener whose connections Total neither holds up nor closes, "" for none: brokers reach each other when
	// clients have taken all there is.
	Protected string
}

var errTooMany = errors.New("max.connections is lower than the connections there are, and this one was silent for the longest")

// SetLimits puts other limits in force. Whoever waits looks again.
func (s *Server) SetLimits(l Limits) {
	s.mu.Lock()
	s.limits = l
	victims := s.excessLocked(false)
	s.room.Broadcast()
	s.mu.Unlock()
	s.evict(victims)
}

// roomLocked says whether a listener may have one more connection.
func (s *Server) roomLocked(listener string) bool {
	l := &s.limits
	if limit, ok := l.Listeners[listener]; ok && s.perListener[listener] >= int(limit) {
		return false
	}
	return listener == l.Protected || len(s.conns) < int(l.Total)
}

// perIPLocked is how many connections an address may have.
func (s *Server) perIPLocked(ip netip.Addr) int {
	if limit, ok := s.limits.Overrides[ip]; ok {
		return int(limit)
	}
	return int(s.limits.PerIP)
}

// excessLocked chooses who has to go for Total to hold, and marks them: those with a request in flight only if busy says so, and
// then last.
func (s *Server) excessLocked(busy bool) []*connection {
	n := len(s.conns) - s.leaving - int(s.limits.Total)
	if n <= 0 {
		return nil
	}
	type candidate struct {
		c    *connection
		last int64
	}
	var list []candidate
	for c := range s.conns {
		last := c.lastActive()
		if !c.leaving && c.facts.Listener != s.limits.Protected && (busy || last != inFlight) {
			list = append(list, candidate{c, last})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(b.c.facts.ID, a.c.facts.ID))
	})
	var victims []*connection
	for _, v := range list[:min(n, len(list))] {
		v.c.leaving = true
		s.leaving++
		victims = append(victims, v.c)
	}
	return victims
}

// evict closes what excessLocked chose; mu is not held.
func (s *Server) evict(victims []*connection) {
	for _, c := range victims {
		s.log.Info("connection closed: more than max.connections", "address", c.facts.RemoteAddr, "listener", c.facts.Listener)
		c.kill(errTooMany)
	}
}

// inFlight is lastActive of a connection with a request that is not answered.
const inFlight = math.MaxInt64

// lastActive is when the connection was last heard of or written to, in coarse time.
func (c *connection) lastActive() int64 {
	idle := c.idleSince.Load()
	if idle == 0 || c.pending.Load() > 0 {
		return inFlight
	}
	return max(idle, c.lastWrite.Load())
}
