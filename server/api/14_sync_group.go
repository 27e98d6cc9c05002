package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/wire"
)

// SyncGroup, versions 0 to 5.
//
//	3 static members
//	4 flexible
//	5 protocol type and name, which are required then

func (h *handlers) syncGroup(req *wire.Request, q *kmsg.SyncGroupRequest, l *later) {
	failed := func(code int16) *kmsg.SyncGroupResponse {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.ErrorCode = code
		return resp
	}
	switch {
	case q.Version >= 5 && (q.ProtocolType == nil || q.Protocol == nil):
		l.complete(failed(errInconsistentGroupProtocol))
		return
	case q.Group == "":
		l.complete(failed(errInvalidGroupID))
		return
	}
	onGroup(h, l, q.Group, failed, func(c *coord.Context, m *group.Machine, done coord.Done[*kmsg.SyncGroupResponse]) {
		m.Sync(c, who(req), q, done)
	})
}
