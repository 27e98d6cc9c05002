package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/wire"
)

// DeleteGroups, versions 0 to 2.
//
//	2 flexible

func (h *handlers) deleteGroups(_ *wire.Request, q *kmsg.DeleteGroupsRequest, l *later) {
	ids := distinct(q.Groups)
	failed := func(_ int, code int16) int16 { return code }
	op := func(i int, c *coord.Context, m *group.Machine, done coord.Done[int16]) { m.Delete(c, ids[i], done) }
	eachGroup(h, ids, failed, op, func(codes []int16) {
		resp := kmsg.NewPtrDeleteGroupsResponse()
		for i, code := range codes {
			out := kmsg.NewDeleteGroupsResponseGroup()
			out.Group, out.ErrorCode = ids[i], code
			resp.Groups = append(resp.Groups, out)
		}
		l.complete(resp)
	})
}
