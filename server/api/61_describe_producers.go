package api

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// DescribeProducers, version 0: the producers that a partition knows, and
// their open transactions (KIP-664).

func (h *handlers) describeProducers(_ *wire.Request, q *kmsg.DescribeProducersRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeProducersResponse()
	im := h.Image()
	told := map[meta.UUID]map[int32]bool{}
	for _, t := range q.Topics {
		out := kmsg.NewDescribeProducersResponseTopic()
		out.Topic = t.Topic
		var refused error
		topic := im.Topic(t.Topic)
		switch {
		case !validTopicName(t.Topic):
			refused = &apiError{errInvalidTopic, "the topic name is invalid"}
		case topic == nil:
			refused = errNoTopic
		}
		for _, index := range t.Partitions {
			r := kmsg.NewDescribeProducersResponseTopicPartition()
			r.Partition = index
			err := refused
			if err == nil && told[topic.ID][index] {
				// One that is named again is told once: a few bytes would ask for megabytes.
				continue
			}
			if err == nil {
				if told[topic.ID] == nil {
					told[topic.ID] = map[int32]bool{}
				}
				told[topic.ID][index] = true
				r.ActiveProducers, err = h.activeProducers(topic.ID, index)
			}
			if r.ErrorCode = code(err); err != nil && err != errNoTopic {
				r.ErrorMessage = message(err)
			}
			out.Partitions = append(out.Partitions, r)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (h *handlers) activeProducers(id meta.UUID, index int32) ([]kmsg.DescribeProducersResponseTopicPartitionActiveProducer, error) {
	part := h.Partitions.Get(id, index)
	if part == nil {
		return nil, errNoTopic
	}
	if err := part.CheckEpoch(-1); err != nil {
		return nil, err
	}
	log, err := part.Log()
	if err != nil {
		return nil, err
	}
	var list []kmsg.DescribeProducersResponseTopicPartitionActiveProducer
	for _, p := range log.Producers() {
		a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp = p.ID, int32(p.Epoch), p.LastSequence, p.Timestamp
		a.CoordinatorEpoch, a.CurrentTxnStartOffset = p.CoordinatorEpoch, p.TxnFirstOffset
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b kmsg.DescribeProducersResponseTopicPartitionActiveProducer) int {
		return cmp.Compare(a.ProducerID, b.ProducerID)
	})
	return list, nil
}
