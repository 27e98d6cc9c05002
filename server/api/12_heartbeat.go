package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/wire"
)

// Heartbeat, versions 0 to 4.
//
//	3 static members
//	4 flexible

func (h *handlers) heartbeat(req *wire.Request, q *kmsg.HeartbeatRequest, l *later) {
	failed := func(code int16) *kmsg.HeartbeatResponse {
		resp := kmsg.NewPtrHeartbeatResponse()
		if code != errCoordinatorLoadInProgress { // the group is being read: nothing is wrong with its member
			resp.ErrorCode = code
		}
		return resp
	}
	if q.Group == "" {
		l.complete(failed(errInvalidGroupID))
		return
	}
	onGroup(h, l, q.Group, failed, func(c *coord.Context, m *group.Machine, done coord.Done[*kmsg.HeartbeatResponse]) {
		m.Heartbeat(c, who(req), q, done)
	})
}
