package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/wire"
)

// ConsumerGroupDescribe, versions 0 and 1 (KIP-848).
//
//	1 types of members

func (h *handlers) consumerGroupDescribe(_ *wire.Request, q *kmsg.ConsumerGroupDescribeRequest, l *later) {
	ids := distinct(q.Groups)
	failed := func(i int, code int16) kmsg.ConsumerGroupDescribeResponseGroup {
		out := kmsg.NewConsumerGroupDescribeResponseGroup()
		out.Group, out.ErrorCode = ids[i], code
		return out
	}
	finish := func(answers []kmsg.ConsumerGroupDescribeResponseGroup) {
		for i := range answers {
			answers[i].AuthorizedOperations = authorizedOperations(q.IncludeAuthorizedOperations, answers[i].ErrorCode)
		}
		resp := kmsg.NewPtrConsumerGroupDescribeResponse()
		resp.Groups = answers
		l.complete(resp)
	}
	if !h.consumerProtocol() {
		answers := make([]kmsg.ConsumerGroupDescribeResponseGroup, len(ids))
		for i := range ids {
			answers[i] = failed(i, errUnsupportedVersion)
		}
		finish(answers)
		return
	}
	eachGroup(h, ids, failed, func(i int, c *coord.Context, m *group.Machine, done coord.Done[kmsg.ConsumerGroupDescribeResponseGroup]) {
		if ids[i] == "" {
			done(failed(i, errInvalidGroupID), nil)
			return
		}
		m.DescribeConsumer(c, ids[i], done)
	}, finish)
}
