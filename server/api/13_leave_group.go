package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/wire"
)

// LeaveGroup, versions 0 to 5.
//
//	3 many members, static ones too
//	4 flexible
//	5 reasons
//
// The coordinator knows the form of version 3 alone.

func (h *handlers) leaveGroup(req *wire.Request, q *kmsg.LeaveGroupRequest, l *later) {
	failed := func(code int16) *kmsg.LeaveGroupResponse {
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.ErrorCode = code
		return resp
	}
	if q.Group == "" {
		l.complete(failed(errInvalidGroupID))
		return
	}
	if q.Version < 3 {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = q.MemberID
		q.Members = []kmsg.LeaveGroupRequestMember{member}
	}
	onGroup(h, l, q.Group, failed, func(c *coord.Context, m *group.Machine, done coord.Done[*kmsg.LeaveGroupResponse]) {
		m.Leave(c, who(req), q, func(resp *kmsg.LeaveGroupResponse, err error) {
			if err == nil && q.Version < 3 && resp.ErrorCode == errNone && len(resp.Members) == 1 {
				resp.ErrorCode = resp.Members[0].ErrorCode
			}
			done(resp, err)
		})
	})
}
