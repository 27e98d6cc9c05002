package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire"
)

// OffsetForLeaderEpoch, versions 2 to 4.
//
//	3 replica id: consumers may ask (KIP-320)
//	4 flexible

func (h *handlers) offsetForLeaderEpoch(_ *wire.Request, q *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	im := h.Image()
	for _, t := range q.Topics {
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = t.Topic
		topic := im.Topic(t.Topic)
		for _, p := range t.Partitions {
			r := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			r.Partition, r.LeaderEpoch, r.EndOffset = p.Partition, -1, -1
			err := error(errNoTopic)
			if topic != nil {
				err = h.epochEnd(topic.ID, p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch, &r)
			}
			r.ErrorCode = code(err)
			out.Partitions = append(out.Partitions, r)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (h *handlers) epochEnd(id [16]byte, index, current, epoch int32, r *kmsg.OffsetForLeaderEpochResponseTopicPartition) error {
	part := h.Partitions.Get(id, index)
	if part == nil {
		return errNoTopic
	}
	if err := checkEpoch(part, current); err != nil {
		return err
	}
	log, err := part.Log()
	if err != nil {
		return err
	}
	r.LeaderEpoch, r.EndOffset = log.EndOffsetForEpoch(epoch)
	return nil
}
