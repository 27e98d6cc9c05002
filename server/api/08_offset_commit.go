package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// OffsetCommit, versions 2 to 10.
//
//	2 retention time (until 4; accepted and, as in Kafka, kept with the offset)
//	5 no retention time
//	6 leader epochs
//	7 static members
//	8 flexible
//	9 members of KIP-848 groups
//	10 topic ids
//
// Topics and partitions that do not exist are answered here; the rest is the
// group's affair, in one operation and one batch.

func (h *handlers) offsetCommit(req *wire.Request, q *kmsg.OffsetCommitRequest, l *later) {
	refused, valid := h.splitCommit(q)
	if len(valid) == 0 {
		l.complete(refused)
		return
	}
	q.Topics = valid
	failed := func(code int16) *kmsg.OffsetCommitResponse {
		resp := kmsg.NewPtrOffsetCommitResponse()
		for i := range valid {
			for _, p := range valid[i].Partitions {
				commitAnswer(resp, &valid[i], p.Partition, code)
			}
		}
		return resp
	}
	done := func(resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			resp = failed(h.coordinatorCode(err))
		}
		l.complete(mergeCommit(refused, resp))
	}
	err := h.Groups.Do(q.Group, func(c *coord.Context, m *group.Machine) { m.CommitOffsets(c, who(req), q, done) })
	if err != nil {
		done(nil, err)
	}
}

// splitCommit answers what does not exist and fills in names and ids of the rest.
func (h *handlers) splitCommit(q *kmsg.OffsetCommitRequest) (refused *kmsg.OffsetCommitResponse, valid []kmsg.OffsetCommitRequestTopic) {
	refused = kmsg.NewPtrOffsetCommitResponse()
	im := h.Image()
	for i := range q.Topics {
		t := &q.Topics[i]
		var topic *meta.Topic
		code := errUnknownTopicOrPartition
		if q.Version >= 10 {
			topic, code = im.TopicByID(t.TopicID), errUnknownTopicID
		} else {
			topic = im.Topic(t.Topic)
		}
		if topic == nil {
			for _, p := range t.Partitions {
				commitAnswer(refused, t, p.Partition, code)
			}
			continue
		}
		t.Topic, t.TopicID = topic.Name, topic.ID
		known := t.Partitions[:0:0]
		for _, p := range t.Partitions {
			if topic.Partition(p.Partition) == nil {
				commitAnswer(refused, t, p.Partition, errUnknownTopicOrPartition)
				continue
			}
			known = append(known, p)
		}
		if len(known) > 0 {
			kept := *t
			kept.Partitions = known
			valid = append(valid, kept)
		}
	}
	return refused, valid
}

// commitAnswer adds one partition's code, under the topic if it was the last one.
func commitAnswer(resp *kmsg.OffsetCommitResponse, t *kmsg.OffsetCommitRequestTopic, partition int32, code int16) {
	n := len(resp.Topics)
	if n == 0 || resp.Topics[n-1].Topic != t.Topic || resp.Topics[n-1].TopicID != t.TopicID {
		out := kmsg.NewOffsetCommitResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		resp.Topics = append(resp.Topics, out)
		n++
	}
	out := kmsg.NewOffsetCommitResponseTopicPartition()
	out.Partition, out.ErrorCode = partition, code
	resp.Topics[n-1].Partitions = append(resp.Topics[n-1].Partitions, out)
}

// mergeCommit appends the group's answer to what was refused before, topic by
// topic.
func mergeCommit(refused, resp *kmsg.OffsetCommitResponse) *kmsg.OffsetCommitResponse {
	if len(refused.Topics) == 0 {
		return resp
	}
	at := make(map[string]int, len(refused.Topics))
	for i := range refused.Topics {
		if name := refused.Topics[i].Topic; name != "" {
			at[name] = i
		}
	}
	for _, t := range resp.Topics {
		if i, ok := at[t.Topic]; ok {
			refused.Topics[i].Partitions = append(refused.Topics[i].Partitions, t.Partitions...)
		} else {
			refused.Topics = append(refused.Topics, t)
		}
	}
	return refused
}
