package api

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn"
	"github.com/gregor-broker/gregor/wire"
)

// WriteTxnMarkers, versions 1 and 2: what transaction coordinators of other
// brokers send, and kafka-transactions abort.
//
//	1 flexible
//	2 the transaction version of each marker (KIP-1228)

func (h *handlers) writeTxnMarkers(_ *wire.Request, q *kmsg.WriteTxnMarkersRequest, l *later) {
	all := newGather(len(q.Markers), func(list []kmsg.WriteTxnMarkersResponseMarker) {
		resp := kmsg.NewPtrWriteTxnMarkersResponse()
		resp.Markers = list
		l.complete(resp)
	})
	for i, m := range q.Markers {
		marker := txn.Marker{ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, CoordinatorEpoch: m.CoordinatorEpoch, Commit: m.Committed,
			Version: int16(m.TransactionVersion)}
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				marker.Partitions = append(marker.Partitions, txn.Partition{Topic: t.Topic, Index: p})
			}
		}
		h.Markers.Write(marker, func(results []error) {
			out := kmsg.NewWriteTxnMarkersResponseMarker()
			out.ProducerID = m.ProducerID
			n := 0
			for _, t := range m.Topics {
				topic := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
				topic.Topic = t.Topic
				for _, p := range t.Partitions {
					topic.Partitions = append(topic.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{Partition: p, ErrorCode: markerCode(results[n])})
					n++
				}
				out.Topics = append(out.Topics, topic)
			}
			all.put(i, out)
		})
	}
}

// markerCode is the code of a marker's outcome. A coordinator that cannot take one now is a leader that is not ready, to
// whoever sends markers.
func markerCode(err error) int16 {
	switch {
	case errors.Is(err, txn.ErrGone):
		return errUnknownTopicOrPartition
	case errors.Is(err, coord.ErrNotCoordinator), errors.Is(err, coord.ErrLoading), errors.Is(err, coord.ErrNotAvailable):
		return errNotLeaderOrFollower
	}
	return code(err)
}
