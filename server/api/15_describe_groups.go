package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/wire"
)

// DescribeGroups, versions 0 to 6.
//
//	3 authorized operations
//	4 static members
//	5 flexible
//	6 GROUP_ID_NOT_FOUND with a message, where a group that is not there was
//	  "Dead" before

func (h *handlers) describeGroups(_ *wire.Request, q *kmsg.DescribeGroupsRequest, l *later) {
	ids := distinct(q.Groups)
	failed := func(i int, code int16) kmsg.DescribeGroupsResponseGroup {
		out := kmsg.NewDescribeGroupsResponseGroup()
		out.Group, out.ErrorCode = ids[i], code
		return out
	}
	op := func(i int, c *coord.Context, m *group.Machine, done coord.Done[kmsg.DescribeGroupsResponseGroup]) {
		m.Describe(c, q.Version, ids[i], done)
	}
	eachGroup(h, ids, failed, op, func(answers []kmsg.DescribeGroupsResponseGroup) {
		for i := range answers {
			answers[i].AuthorizedOperations = authorizedOperations(q.IncludeAuthorizedOperations, answers[i].ErrorCode)
		}
		resp := kmsg.NewPtrDescribeGroupsResponse()
		resp.Groups = answers
		l.complete(resp)
	})
}
