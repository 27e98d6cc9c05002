package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/record"
)

// FetchOffsets answers with one group's committed offsets (OffsetFetch), with all of them where the request names no topics at all. A
// group that does not exist has none, which is no error. With requireStable a partition with an undecided transactional offset is answered
// UNSTABLE_OFFSET_COMMIT (KIP-447).
func (m *Machine) FetchOffsets(c *coord.Context, version int16, requireStable bool, q *kmsg.OffsetFetchRequestGroup, done coord.Done[kmsg.OffsetFetchResponseGroup]) {
	r := kmsg.NewOffsetFetchResponseGroup()
	r.Group = q.Group
	g := m.find(q.Group)
	switch {
	case g == nil:
	case g.consumer != nil:
		r.ErrorCode = g.consumer.checkFetch(q.MemberID, q.MemberEpoch)
	case g.other == otherShare:
		g = nil
	}
	switch {
	case r.ErrorCode != codeNone:
	case q.Topics == nil:
		r.Topics = m.fetchAll(g, version, requireStable)
	default:
		r.Topics = fetchSome(g, requireStable, q.Topics)
	}
	coord.Send(c, done, r)
}

func fetchSome(g *group, requireStable bool, topics []kmsg.OffsetFetchRequestGroupTopic) []kmsg.OffsetFetchResponseGroupTopic {
	out := make([]kmsg.OffsetFetchResponseGroupTopic, len(topics))
	for i := range topics {
		in := &topics[i]
		out[i].Topic, out[i].TopicID = in.Topic, in.TopicID
		out[i].Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(in.Partitions))
		metadata := make([]string, len(in.Partitions))
		var t *topicOffsets
		if g != nil {
			t = g.topic(in.Topic)
		}
		for j, partition := range in.Partitions {
			o := t.offset(partition)
			if o != nil && o.topicID != [16]byte{} && in.TopicID != [16]byte{} && o.topicID != in.TopicID {
				o = nil // of a deleted topic of that name
			}
			fetched(&out[i].Partitions[j], partition, o, requireStable && g != nil && g.undecided(in.Topic, partition), &metadata[j])
		}
	}
	return out
}

func (m *Machine) fetchAll(g *group, version int16, requireStable bool) []kmsg.OffsetFetchResponseGroupTopic {
	if g == nil {
		return []kmsg.OffsetFetchResponseGroupTopic{}
	}
	out := make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(g.offsets))
	for i := range g.offsets {
		in := &g.offsets[i]
		t := kmsg.OffsetFetchResponseGroupTopic{Topic: in.topic, Partitions: make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(in.partitions))}
		if known := m.opt.Image().Topic(in.topic); known != nil {
			t.TopicID = known.ID
		} else if version >= 10 {
			continue // a topic without an id cannot be named (KafkaApis.fetchAllOffsetsForGroup)
		}
		metadata := make([]string, len(in.partitions))
		for j := range in.partitions {
			o := &in.partitions[j]
			fetched(&t.Partitions[j], o.partition, o, requireStable && g.undecided(in.topic, o.partition), &metadata[j])
		}
		out = append(out, t)
	}
	return out
}

// fetched fills in one partition; metadata is where its text goes, since the answer outlives the offset.
func fetched(out *kmsg.OffsetFetchResponseGroupTopicPartition, partition int32, o *offset, undecided bool, metadata *string) {
	out.Partition, out.Offset, out.LeaderEpoch, out.Metadata = partition, -1, -1, metadata
	switch {
	case undecided:
		out.ErrorCode = codeUnstableOffsetCommit
	case o != nil:
		out.Offset, out.LeaderEpoch, *metadata = o.value, o.leaderEpoch, o.metadata
	}
}

// DeleteOffsets removes committed offsets of topics that nobody in the group subscribes to (OffsetDelete).
func (m *Machine) DeleteOffsets(c *coord.Context, q *kmsg.OffsetDeleteRequest, done coord.Done[*kmsg.OffsetDeleteResponse]) {
	r := kmsg.NewPtrOffsetDeleteResponse()
	r.ErrorCode = m.deleteOffsets(c, q, r)
	if r.ErrorCode != codeNone {
		r.Topics = nil
	}
	coord.Send(c, done, r)
}

func (m *Machine) deleteOffsets(c *coord.Context, q *kmsg.OffsetDeleteRequest, r *kmsg.OffsetDeleteResponse) int16 {
	g := m.find(q.Group)
	switch {
	case g == nil || g.other != otherNone:
		return codeGroupIDNotFound
	case g.classic != nil && g.classic.state != classicEmpty && !g.classic.usesConsumerProtocol():
		return codeNonEmptyGroup
	}
	size := 0
	for i := range q.Topics {
		for j := range q.Topics[i].Partitions {
			if t := &q.Topics[i]; g.has(t.Topic, t.Partitions[j].Partition) {
				size += len(q.Group) + len(t.Topic) + offsetOverhead
			}
		}
	}
	if size > batchLimit {
		return codeUnknownServerError
	}
	r.Topics = make([]kmsg.OffsetDeleteResponseTopic, len(q.Topics))
	for i := range q.Topics {
		in, out := &q.Topics[i], &r.Topics[i]
		out.Topic, out.Partitions = in.Topic, make([]kmsg.OffsetDeleteResponseTopicPartition, len(in.Partitions))
		subscribed := g.subscribedTo(in.Topic)
		for j := range in.Partitions {
			p := in.Partitions[j].Partition
			out.Partitions[j].Partition = p
			if subscribed {
				out.Partitions[j].ErrorCode = codeGroupSubscribedToTopic
			} else if g.has(in.Topic, p) {
				m.removeOffset(c, g, in.Topic, p)
			}
		}
	}
	return codeNone
}

// has reports whether there is a committed offset of the partition, or one to be decided.
func (g *group) has(topic string, partition int32) bool {
	return g.topic(topic).offset(partition) != nil || g.undecided(topic, partition)
}

// subscribedTo reports whether the offsets of a topic belong to a living subscription.
func (g *group) subscribedTo(topic string) bool {
	switch {
	case g.classic != nil:
		return g.classic.subscribedTo(topic)
	case g.consumer != nil:
		return g.consumer.subscribedTo(topic)
	}
	return false
}

// removeOffset writes the tombstone of a committed or undecided offset and returns about how much that takes.
func (m *Machine) removeOffset(c *coord.Context, g *group, topic string, partition int32) int {
	m.write(c, record.Key{Type: record.TypeOffsetCommit, Group: g.id, Topic: topic, Partition: partition}, nil)
	return len(g.id) + len(topic) + offsetOverhead
}
