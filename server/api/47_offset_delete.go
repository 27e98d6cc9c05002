package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/wire"
)

// OffsetDelete, version 0 (KIP-496).

func (h *handlers) offsetDelete(_ *wire.Request, q *kmsg.OffsetDeleteRequest, l *later) {
	failed := func(code int16) *kmsg.OffsetDeleteResponse {
		resp := kmsg.NewPtrOffsetDeleteResponse()
		resp.ErrorCode = code
		return resp
	}
	if q.Group == "" {
		l.complete(failed(errInvalidGroupID))
		return
	}
	var unknown []kmsg.OffsetDeleteResponseTopic
	unknown, q.Topics = h.splitOffsetDelete(q.Topics)
	onGroup(h, l, q.Group, failed, func(c *coord.Context, m *group.Machine, done coord.Done[*kmsg.OffsetDeleteResponse]) {
		m.DeleteOffsets(c, q, func(resp *kmsg.OffsetDeleteResponse, err error) {
			if err == nil && resp.ErrorCode == errNone {
				resp.Topics = mergeOffsetDelete(unknown, resp.Topics)
			}
			done(resp, err)
		})
	})
}

// splitOffsetDelete answers what does not exist.
func (h *handlers) splitOffsetDelete(topics []kmsg.OffsetDeleteRequestTopic) (unknown []kmsg.OffsetDeleteResponseTopic, valid []kmsg.OffsetDeleteRequestTopic) {
	im := h.Image()
	for _, t := range topics {
		topic := im.Topic(t.Topic)
		known, refused := t.Partitions[:0:0], kmsg.NewOffsetDeleteResponseTopic()
		refused.Topic = t.Topic
		for _, p := range t.Partitions {
			if topic != nil && topic.Partition(p.Partition) != nil {
				known = append(known, p)
				continue
			}
			x := kmsg.NewOffsetDeleteResponseTopicPartition()
			x.Partition, x.ErrorCode = p.Partition, errUnknownTopicOrPartition
			refused.Partitions = append(refused.Partitions, x)
		}
		if len(refused.Partitions) > 0 {
			unknown = append(unknown, refused)
		}
		if len(known) > 0 {
			t.Partitions = known
			valid = append(valid, t)
		}
	}
	return unknown, valid
}

// mergeOffsetDelete appends the group's answer to what was refused before, topic
// by topic.
func mergeOffsetDelete(unknown, topics []kmsg.OffsetDeleteResponseTopic) []kmsg.OffsetDeleteResponseTopic {
	at := make(map[string]int, len(unknown))
	for i := range unknown {
		at[unknown[i].Topic] = i
	}
	for _, t := range topics {
		if i, ok := at[t.Topic]; ok {
			unknown[i].Partitions = append(unknown[i].Partitions, t.Partitions...)
		} else {
			unknown = append(unknown, t)
		}
	}
	return unknown
}
