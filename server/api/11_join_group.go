package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/wire"
)

// JoinGroup, versions 0 to 9.
//
//	1 rebalance timeout; it was the session's before
//	4 a new member is given an id first (KIP-394)
//	5 static members (KIP-345)
//	6 flexible
//	7 protocol type in the answer
//	8 reason
//	9 a leader may be told that it need not assign

func (h *handlers) joinGroup(req *wire.Request, q *kmsg.JoinGroupRequest, l *later) {
	failed := func(code int16) *kmsg.JoinGroupResponse {
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.ErrorCode, resp.Generation, resp.MemberID = code, -1, q.MemberID
		return resp
	}
	if q.Group == "" {
		l.complete(failed(errInvalidGroupID))
		return
	}
	if q.Version == 0 {
		q.RebalanceTimeoutMillis = q.SessionTimeoutMillis
	}
	onGroup(h, l, q.Group, failed, func(c *coord.Context, m *group.Machine, done coord.Done[*kmsg.JoinGroupResponse]) {
		m.Join(c, who(req), q, done)
	})
}
