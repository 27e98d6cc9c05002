package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/wire"
)

// ConsumerGroupHeartbeat, versions 0 and 1 (KIP-848).
//
//	1 subscription by a regular expression, member ids made by the client

func (h *handlers) consumerGroupHeartbeat(req *wire.Request, q *kmsg.ConsumerGroupHeartbeatRequest, l *later) {
	failed := func(code int16) *kmsg.ConsumerGroupHeartbeatResponse {
		resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		resp.ErrorCode = code
		return resp
	}
	if !h.consumerProtocol() {
		l.complete(failed(errUnsupportedVersion))
		return
	}
	onGroup(h, l, q.Group, failed, func(c *coord.Context, m *group.Machine, done coord.Done[*kmsg.ConsumerGroupHeartbeatResponse]) {
		m.ConsumerHeartbeat(c, who(req), q, done)
	})
}
