package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/record"
)

// offsetOverhead is what a committed offset takes in a batch at most, besides names and metadata.
const offsetOverhead = 96

// commitCheck says whether one partition's offset may be committed: codeNone, or an error of the whole request.
type commitCheck func(topic [16]byte, partition int32) int16

// checkCommit says whether a request may commit offsets: a code for all of it, or a check for every partition, which is nil where all pass.
func (m *Machine) checkCommit(g *group, member string, instance *string, generation int32, transactional bool, version int16) (int16, commitCheck) {
	switch {
	case g == nil && generation < 0:
		// An admin client, or a consumer that assigns its partitions itself: the group comes with its first offset.
		return codeNone, nil
	case g == nil && !transactional && version >= 9:
		return codeGroupIDNotFound, nil
	case g == nil:
		return codeIllegalGeneration, nil
	case g.classic != nil:
		return g.classic.checkCommit(member, instance, generation, transactional), nil
	case g.consumer != nil:
		return g.consumer.checkCommit(member, instance, generation, transactional, version)
	}
	return codeGroupIDNotFound, nil
}

// CommitOffsets commits offsets (OffsetCommit). The topics must exist; names and ids must both be filled where the image knows them.
func (m *Machine) CommitOffsets(c *coord.Context, _ Client, q *kmsg.OffsetCommitRequest, done coord.Done[*kmsg.OffsetCommitResponse]) {
	r := kmsg.NewPtrOffsetCommitResponse()
	r.Topics = make([]kmsg.OffsetCommitResponseTopic, len(q.Topics))
	code := m.commit(c, q, r)
	for i := range q.Topics {
		in, out := &q.Topics[i], &r.Topics[i]
		out.Topic, out.TopicID = in.Topic, in.TopicID
		if code == codeNone {
			continue
		}
		out.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(in.Partitions))
		for j := range in.Partitions {
			out.Partitions[j].Partition, out.Partitions[j].ErrorCode = in.Partitions[j].Partition, code
		}
	}
	coord.Send(c, done, r)
}

// commit fills in the partitions of r, or returns a code for all of them.
func (m *Machine) commit(c *coord.Context, q *kmsg.OffsetCommitRequest, r *kmsg.OffsetCommitResponse) int16 {
	if len(q.Group) > nameLimit {
		return codeInvalidGroupID
	}
	g := m.find(q.Group)
	code, check := m.checkCommit(g, q.MemberID, q.InstanceID, q.Generation, false, q.Version)
	if code != codeNone {
		return code
	}
	if g != nil && g.classic != nil {
		m.committedBy(c, g, q.MemberID)
	}
	size := 0
	for i := range q.Topics {
		t := &q.Topics[i]
		r.Topics[i].Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			in, out := &t.Partitions[j], &r.Topics[i].Partitions[j]
			out.Partition = in.Partition
			if m.metadataTooLong(in.Metadata) {
				out.ErrorCode = codeOffsetMetadataTooLarge
				continue
			}
			if check != nil {
				if code := check(t.TopicID, in.Partition); code != codeNone {
					return code
				}
			}
			size += len(q.Group) + len(t.Topic) + len(text(in.Metadata)) + offsetOverhead
		}
	}
	if size > batchLimit {
		return codeUnknownServerError
	}
	expires := int64(-1)
	if q.RetentionTimeMillis != -1 {
		expires = c.Now() + q.RetentionTimeMillis
	}
	for i := range q.Topics {
		t := &q.Topics[i]
		for j := range t.Partitions {
			if p := &t.Partitions[j]; r.Topics[i].Partitions[j].ErrorCode == codeNone {
				m.write(c, record.Key{Type: record.TypeOffsetCommit, Group: q.Group, Topic: t.Topic, Partition: p.Partition}, &record.OffsetCommit{Offset: p.Offset,
					LeaderEpoch: max(p.LeaderEpoch, -1), Metadata: text(p.Metadata), CommitTimestamp: c.Now(), ExpireTimestamp: expires, TopicID: t.TopicID})
			}
		}
	}
	return codeNone
}

// CommitTransactionalOffsets commits offsets as part of a producer's transaction (TxnOffsetCommit), whose epoch and state have been checked.
func (m *Machine) CommitTransactionalOffsets(c *coord.Context, _ Client, q *kmsg.TxnOffsetCommitRequest, done coord.Done[*kmsg.TxnOffsetCommitResponse]) {
	r := kmsg.NewPtrTxnOffsetCommitResponse()
	r.Topics = make([]kmsg.TxnOffsetCommitResponseTopic, len(q.Topics))
	code := m.commitTransactional(c, q, r)
	for i := range q.Topics {
		in, out := &q.Topics[i], &r.Topics[i]
		out.Topic, out.TopicID = in.Topic, in.TopicID
		if code == codeNone {
			continue
		}
		out.Partitions = make([]kmsg.TxnOffsetCommitResponseTopicPartition, len(in.Partitions))
		for j := range in.Partitions {
			out.Partitions[j].Partition, out.Partitions[j].ErrorCode = in.Partitions[j].Partition, code
		}
	}
	coord.Send(c, done, r)
}

func (m *Machine) commitTransactional(c *coord.Context, q *kmsg.TxnOffsetCommitRequest, r *kmsg.TxnOffsetCommitResponse) int16 {
	if len(q.Group) > nameLimit {
		return codeInvalidGroupID
	}
	code, check := m.checkCommit(m.find(q.Group), q.MemberID, q.InstanceID, q.Generation, true, q.Version)
	if code == codeStaleMemberEpoch {
		code = codeIllegalGeneration // the only one that old producers know
	}
	if code != codeNone {
		return code
	}
	size, any := 0, false
	for i := range q.Topics {
		t := &q.Topics[i]
		id := t.TopicID
		if known := m.opt.Image().Topic(t.Topic); known != nil {
			id = known.ID
		}
		if check != nil && id == [16]byte{} {
			return codeIllegalGeneration
		}
		r.Topics[i].Partitions = make([]kmsg.TxnOffsetCommitResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			in, out := &t.Partitions[j], &r.Topics[i].Partitions[j]
			out.Partition = in.Partition
			if m.metadataTooLong(in.Metadata) {
				out.ErrorCode = codeOffsetMetadataTooLarge
				continue
			}
			if check != nil {
				if code := check(id, in.Partition); code == codeStaleMemberEpoch {
					return codeIllegalGeneration
				} else if code != codeNone {
					return code
				}
			}
			size, any = size+len(q.Group)+len(t.Topic)+len(text(in.Metadata))+offsetOverhead, true
		}
	}
	if size > batchLimit {
		return codeUnknownServerError
	}
	if any {
		c.Transaction(q.ProducerID, q.ProducerEpoch)
	}
	for i := range q.Topics {
		t := &q.Topics[i]
		for j := range t.Partitions {
			if p := &t.Partitions[j]; r.Topics[i].Partitions[j].ErrorCode == codeNone {
				m.write(c, record.Key{Type: record.TypeOffsetCommit, Group: q.Group, Topic: t.Topic, Partition: p.Partition}, &record.OffsetCommit{Offset: p.Offset,
					LeaderEpoch: max(p.LeaderEpoch, -1), Metadata: text(p.Metadata), CommitTimestamp: c.Now(), ExpireTimestamp: -1})
			}
		}
	}
	return codeNone
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// metadataTooLong compares with offset.metadata.max.bytes, which in Kafka counts UTF-16 units.
func (m *Machine) metadataTooLong(s *string) bool {
	limit := int(m.opt.Offsets.MetadataMaxBytes)
	if s == nil || len(*s) <= limit {
		return len(text(s)) > nameLimit
	}
	units := 0
	for _, r := range *s {
		units++
		if r > 0xffff {
			units++
		}
	}
	return units > limit || len(*s) > nameLimit
}
