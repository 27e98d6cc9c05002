package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire"
)

// DeleteRecords, versions 0 to 2 (KIP-107).
//
//	2 flexible
//
// Offset -1 stands for the high watermark. Topics that are only compacted refuse
// with POLICY_VIOLATION.

var errNotDeletable = &apiError{errPolicyViolation, "the topic's cleanup.policy does not contain delete"}

func (h *handlers) deleteRecords(_ *wire.Request, q *kmsg.DeleteRecordsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteRecordsResponse()
	im := h.Image()
	type place struct {
		topic     string
		partition int32
	}
	// Of a partition that is named again, the last offset counts.
	asked := map[place]int64{}
	for _, t := range q.Topics {
		for _, p := range t.Partitions {
			asked[place{t.Topic, p.Partition}] = p.Offset
		}
	}
	for _, t := range q.Topics {
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = t.Topic
		topic := im.Topic(t.Topic)
		for _, p := range t.Partitions {
			offset, ok := asked[place{t.Topic, p.Partition}]
			if !ok {
				continue
			}
			delete(asked, place{t.Topic, p.Partition})
			r := kmsg.NewDeleteRecordsResponseTopicPartition()
			r.Partition, r.LowWatermark = p.Partition, -1
			err := error(errNoTopic)
			if isInternal(t.Topic) {
				err = errTopicInternal
			} else if topic != nil {
				r.LowWatermark, err = h.deleteBefore(topic.ID, p.Partition, offset)
			}
			r.ErrorCode = code(err)
			out.Partitions = append(out.Partitions, r)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (h *handlers) deleteBefore(id [16]byte, index int32, offset int64) (int64, error) {
	part := h.Partitions.Get(id, index)
	if part == nil {
		return -1, errNoTopic
	}
	if err := part.CheckEpoch(-1); err != nil {
		return -1, err
	}
	log, err := part.Log()
	if err != nil {
		return -1, err
	}
	if c := log.Config(); c.Compact && !c.Delete {
		return -1, errNotDeletable
	}
	if offset == -1 {
		offset = log.High()
	}
	low, err := log.DeleteRecordsBefore(offset)
	if err != nil {
		return -1, err
	}
	return low, nil
}
