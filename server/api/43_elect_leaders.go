package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/wire"
)

// ElectLeaders, versions 0 to 2 (KIP-183).
//
//	1 election type: preferred (0) or unclean (1), error code for the whole response (KIP-460)
//	2 flexible
//
// Null topics stand for all of them; partitions that need no election are then left out, their topics are not.

func (h *handlers) electLeaders(req *wire.Request, q *kmsg.ElectLeadersRequest) kmsg.Response {
	resp := kmsg.NewPtrElectLeadersResponse()
	kind := q.ElectionType
	if req.Version == 0 {
		kind = controller.ElectPreferred
	}
	var wanted []controller.TopicPartitions
	if q.Topics != nil {
		wanted = []controller.TopicPartitions{}
	}
	for _, t := range q.Topics {
		wanted = append(wanted, controller.TopicPartitions{Topic: t.Topic, Partitions: t.Partitions})
	}
	results, err := h.Controller.ElectLeaders(kind, wanted)
	if err != nil {
		resp.ErrorCode = code(err)
		for _, t := range q.Topics {
			out := kmsg.NewElectLeadersResponseTopic()
			out.Topic = t.Topic
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, electionResult(p, code(err), message(err)))
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	}
	for _, r := range results {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = r.Topic
		for _, p := range r.Partitions {
			if p.Err == nil {
				out.Partitions = append(out.Partitions, electionResult(p.Partition, errNone, nil))
				continue
			}
			out.Partitions = append(out.Partitions, electionResult(p.Partition, p.Err.Code, text(p.Err)))
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func electionResult(partition int32, code int16, text *string) kmsg.ElectLeadersResponseTopicPartition {
	p := kmsg.NewElectLeadersResponseTopicPartition()
	p.Partition, p.ErrorCode, p.ErrorMessage = partition, code, text
	return p
}
