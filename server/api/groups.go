package api

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// noAuthorizedOperations is what an answer holds whose request did not ask for
// the operations that its sender may do.
const noAuthorizedOperations = -1 << 31

// groupOperations are the operations there are on a group, as a bit field: READ,
// DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS (AclEntry.supportedOperations).
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

// authorizedOperations is the field of a described group.
func authorizedOperations(asked bool, code int16) int32 {
	if !asked || code != errNone {
		return noAuthorizedOperations
	}
	return groupOperations
}

// who is the sender of a request as a coordinator keeps it.
func who(req *wire.Request) group.Client {
	return group.Client{ID: req.ClientID, Host: javaHost(req.Conn.RemoteAddr)}
}

// javaHost prints the address of host:port as Java's InetAddress.toString does
// without a name: a slash, and IPv6 in eight groups without "::".
func javaHost(address string) string {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return "/" + address
	}
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return "/" + ip.String()
	}
	b := ip.As16()
	var s strings.Builder
	for i := 0; i < 16; i += 2 {
		s.WriteByte("/:"[min(i, 1)])
		fmt.Fprintf(&s, "%x", int(b[i])<<8|int(b[i+1]))
	}
	if zone := ip.Zone(); zone != "" {
		s.WriteString("%" + zone)
	}
	return s.String()
}

// onGroup runs an operation on the coordinator of a group and completes the
// reply with its answer, or with that of a failure.
func onGroup[R kmsg.Response](h *handlers, l *later, id string, failed func(code int16) R, op func(c *coord.Context, m *group.Machine, done coord.Done[R])) {
	done := func(r R, err error) {
		if err != nil {
			r = failed(h.coordinatorCode(err))
		}
		l.complete(r)
	}
	var none R
	if err := h.Groups.Do(id, func(c *coord.Context, m *group.Machine) { op(c, m, done) }); err != nil {
		done(none, err)
	}
}

// eachGroup runs an operation for each of several groups, which may lie on
// different coordinators, and hands the answers on in their order. A group that
// is named twice is answered once: a few bytes must not ask for the same
// megabytes again and again.
func eachGroup[V any](h *handlers, ids []string, failed func(i int, code int16) V, op func(i int, c *coord.Context, m *group.Machine, done coord.Done[V]), all func([]V)) {
	g := newGather(len(ids), all)
	for i, id := range ids {
		done := func(v V, err error) {
			if err != nil {
				v = failed(i, h.coordinatorCode(err))
			}
			g.put(i, v)
		}
		var none V
		if err := h.Groups.Do(id, func(c *coord.Context, m *group.Machine) { op(i, c, m, done) }); err != nil {
			done(none, err)
		}
	}
}

// distinct removes repetitions, keeping the order.
func distinct(names []string) []string {
	seen := make(map[string]bool, len(names))
	out := names[:0:0]
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

// coordinatorCode is Kafka's code for a failed operation; what has none is
// logged.
func (h *handlers) coordinatorCode(err error) int16 {
	c := coordinatorCode(err)
	if c == errUnknownServerError {
		h.Logger.Error("a coordinator failed", "error", err)
	}
	return c
}

// consumerProtocol says whether KIP-848 groups are served: it can be switched
// off by group.coordinator.rebalance.protocols or the feature group.version.
func (h *handlers) consumerProtocol() bool {
	if h.Image().Features[meta.GroupVersionFeature] < 1 {
		return false
	}
	for _, p := range h.Config.Groups.Protocols {
		if p == "consumer" {
			return true
		}
	}
	return false
}
