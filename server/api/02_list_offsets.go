package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/wire"
)

// ListOffsets, versions 1 to 11.
//
//	2  isolation level
//	4  current leader epoch (KIP-320)
//	6  flexible
//	7  timestamp -3: the record with the largest timestamp (KIP-734)
//	8  timestamp -4: the earliest local offset (KIP-405)
//	9  timestamp -5: the latest tiered offset (KIP-1005)
//	10 timeout for remote look-ups (KIP-1075)
//	11 timestamp -6: the earliest offset pending upload (KIP-1023)

// Timestamps with a meaning of their own (org.apache.kafka.common.requests.ListOffsetsRequest).
const (
	offsetLatest          = -1
	offsetEarliest        = -2
	offsetMaxTimestamp    = -3
	offsetEarliestLocal   = -4
	offsetLatestTiered    = -5
	offsetEarliestPending = -6
)

func (h *handlers) listOffsets(req *wire.Request, q *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := kmsg.NewPtrListOffsetsResponse()
	im := h.Image()
	type place struct {
		topic     string
		partition int32
	}
	asked := map[place]int{}
	for _, t := range q.Topics {
		for _, p := range t.Partitions {
			asked[place{t.Topic, p.Partition}]++
		}
	}
	at := map[string]int{}
	for _, t := range q.Topics {
		// A topic or partition that is named again is answered once.
		i, again := at[t.Topic]
		if !again {
			i = len(resp.Topics)
			at[t.Topic] = i
			out := kmsg.NewListOffsetsResponseTopic()
			out.Topic = t.Topic
			resp.Topics = append(resp.Topics, out)
		}
		out := &resp.Topics[i]
		topic := im.Topic(t.Topic)
		for _, p := range t.Partitions {
			n := asked[place{t.Topic, p.Partition}]
			if n == 0 {
				continue
			}
			r := kmsg.NewListOffsetsResponseTopicPartition()
			r.Partition, r.Timestamp, r.Offset, r.LeaderEpoch = p.Partition, -1, -1, -1
			var err error
			switch {
			case n > 1:
				asked[place{t.Topic, p.Partition}] = 0
				err = errTwice
			case !knownTimestamp(p.Timestamp, req.Version):
				err = errOffsetQuery
			case topic == nil:
				err = errNoTopic
			default:
				err = h.listOffset(topic.ID, &p, q, req.Version, &r)
			}
			r.ErrorCode = code(err)
			out.Partitions = append(out.Partitions, r)
		}
	}
	return resp
}

// knownTimestamp says whether a version knows a timestamp with a meaning of its
// own.
func knownTimestamp(timestamp int64, version int16) bool {
	switch timestamp {
	case offsetMaxTimestamp:
		return version >= 7
	case offsetEarliestLocal:
		return version >= 8
	case offsetLatestTiered:
		return version >= 9
	case offsetEarliestPending:
		return version >= 11
	}
	return timestamp > offsetEarliestPending
}

var (
	errTwice       = &apiError{errInvalidRequest, "the partition is named more than once"}
	errOffsetQuery = &apiError{errUnsupportedVersion, "this timestamp needs a newer version of ListOffsets"}
)

func (h *handlers) listOffset(id [16]byte, p *kmsg.ListOffsetsRequestTopicPartition, q *kmsg.ListOffsetsRequest, version int16, r *kmsg.ListOffsetsResponseTopicPartition) error {
	part := h.Partitions.Get(id, p.Partition)
	if part == nil {
		return errNoTopic
	}
	epoch := int32(-1)
	if version >= 4 {
		epoch = p.CurrentLeaderEpoch
	}
	if err := checkEpoch(part, epoch); err != nil {
		return err
	}
	log, err := part.Log()
	if err != nil {
		return err
	}
	bound := log.High()
	if q.IsolationLevel != 0 {
		bound = log.Stable()
	}
	at := func(offset int64) {
		r.Offset, r.LeaderEpoch = offset, log.EpochForOffset(offset)
	}
	switch p.Timestamp {
	case offsetLatest:
		at(bound)
	case offsetEarliest, offsetEarliestLocal:
		at(log.Start())
	case offsetLatestTiered, offsetEarliestPending:
		// Nothing is tiered: no such offset, which is no error.
	case offsetMaxTimestamp:
		found, ok, err := log.MaxTimestamp()
		return answer(r, found, ok && found.Offset < bound, err)
	default:
		found, ok, err := log.OffsetForTimestamp(p.Timestamp)
		return answer(r, found, ok && found.Offset < bound, err)
	}
	return nil
}

func answer(r *kmsg.ListOffsetsResponseTopicPartition, found engine.TimedOffset, ok bool, err error) error {
	if err != nil || !ok {
		return err
	}
	r.Offset, r.Timestamp, r.LeaderEpoch = found.Offset, found.Timestamp, found.LeaderEpoch
	return nil
}
