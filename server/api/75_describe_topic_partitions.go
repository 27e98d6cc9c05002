package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// DescribeTopicPartitions, version 0 (KIP-966).
//
// Topics come sorted by name, at most so many partitions a response; the
// cursor names the first partition of the next one.

func (h *handlers) describeTopicPartitions(req *wire.Request, q *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	im := h.Image()
	all := len(q.Topics) == 0
	var names []string
	if all {
		for _, t := range im.Topics() {
			names = append(names, t.Name)
		}
	} else {
		for _, t := range q.Topics {
			names = append(names, t.Topic)
		}
		slices.Sort(names)
		names = slices.Compact(names)
	}
	from := int32(0)
	if c := q.Cursor; c != nil {
		if c.Partition < 0 || !all && !slices.Contains(names, c.Topic) {
			return refuseTopicPartitions(q)
		}
		i, _ := slices.BinarySearch(names, c.Topic)
		names = names[i:]
		if len(names) > 0 && names[0] == c.Topic {
			from = c.Partition
		}
	}
	left := max(min(int(q.ResponsePartitionLimit), int(h.Config.Network.MaxRequestPartitions)), 1)
	for _, name := range names {
		if left <= 0 {
			resp.NextCursor = cursor(name, 0)
			break
		}
		t := im.Topic(name)
		if t == nil {
			c := errUnknownTopicOrPartition
			if !validTopicName(name) {
				c = errInvalidTopic
			}
			out := kmsg.NewDescribeTopicPartitionsResponseTopic()
			out.Topic, out.ErrorCode, out.AuthorizedOperations = &name, c, topicOperations
			resp.Topics = append(resp.Topics, out)
			from = 0
			continue
		}
		out, next := h.describePartitions(t, from, left)
		from = 0
		left -= len(out.Partitions)
		resp.Topics = append(resp.Topics, out)
		if next >= 0 {
			resp.NextCursor = cursor(name, next)
			break
		}
	}
	return resp
}

// refuseTopicPartitions answers a cursor that is negative or names a topic that
// is not asked for.
func refuseTopicPartitions(q *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	for i := range q.Topics {
		out := kmsg.NewDescribeTopicPartitionsResponseTopic()
		out.Topic, out.ErrorCode, out.AuthorizedOperations = &q.Topics[i].Topic, errInvalidRequest, noOperations
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func cursor(topic string, partition int32) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = topic, partition
	return &c
}

// describePartitions lists up to limit partitions from one on; next is the
// first one left out, or -1.
func (h *handlers) describePartitions(t *meta.Topic, from int32, limit int) (out kmsg.DescribeTopicPartitionsResponseTopic, next int32) {
	out = kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.TopicID, out.IsInternal, out.AuthorizedOperations = &t.Name, t.ID, isInternal(t.Name), topicOperations
	for _, p := range t.Partitions {
		if p.ID < from {
			continue
		}
		if len(out.Partitions) == limit {
			return out, p.ID
		}
		s := h.partitionState(t, p)
		r := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		r.Partition, r.LeaderID, r.LeaderEpoch, r.ErrorCode = p.ID, s.leader, p.LeaderEpoch, s.code
		r.Replicas, r.ISR, r.OfflineReplicas = s.replicas, s.isr, s.offline
		r.EligibleLeaderReplicas, r.LastKnownELR = nonNil(p.ELR), nonNil(p.LastKnownELR)
		out.Partitions = append(out.Partitions, r)
	}
	return out, -1
}

func nonNil(v []int32) []int32 {
	if v == nil {
		return []int32{}
	}
	return v
}
