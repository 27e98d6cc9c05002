package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/wire"
)

// AlterPartitionReassignments, versions 0 and 1 (KIP-455).
//
//	1 the number of replicas may be kept as it is (KIP-860)

func (h *handlers) alterPartitionReassignments(req *wire.Request, q *kmsg.AlterPartitionAssignmentsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	grow := req.Version < 1 || q.AllowReplicationFactorChange
	resp.AllowReplicationFactorChange = grow
	if len(q.Topics) == 0 {
		empty := ""
		resp.ErrorMessage = &empty
	}
	var list []controller.Reassignment
	for _, t := range q.Topics {
		for _, p := range t.Partitions {
			list = append(list, controller.Reassignment{Topic: t.Topic, Partition: p.Partition, Replicas: p.Replicas, SameFactor: !grow})
		}
	}
	answers := h.Controller.AlterPartitionReassignments(list)
	for _, t := range q.Topics {
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			one := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			one.Partition = p.Partition
			if e := answers[0]; e != nil {
				one.ErrorCode, one.ErrorMessage = e.Code, text(e)
			}
			answers = answers[1:]
			out.Partitions = append(out.Partitions, one)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}
