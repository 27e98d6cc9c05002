package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// ListPartitionReassignments, version 0 (KIP-455). What a directory that was taken over had under way is listed.

func (h *handlers) listPartitionReassignments(_ *wire.Request, q *kmsg.ListPartitionReassignmentsRequest) kmsg.Response {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	im := h.Image()
	if q.Topics == nil {
		for _, t := range im.Topics() {
			addReassignments(resp, t, nil, true)
		}
		return resp
	}
	for _, wanted := range q.Topics {
		if t := im.Topic(wanted.Topic); t != nil {
			addReassignments(resp, t, wanted.Partitions, false)
		}
	}
	return resp
}

// addReassignments adds those of a topic's partitions that are being reassigned, or of the listed ones.
func addReassignments(resp *kmsg.ListPartitionReassignmentsResponse, t *meta.Topic, indexes []int32, all bool) {
	out := kmsg.NewListPartitionReassignmentsResponseTopic()
	out.Topic = t.Name
	add := func(p *meta.Partition) {
		if p == nil || len(p.Adding)+len(p.Removing) == 0 {
			return
		}
		one := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		one.Partition, one.Replicas, one.AddingReplicas, one.RemovingReplicas = p.ID, p.Replicas, p.Adding, p.Removing
		out.Partitions = append(out.Partitions, one)
	}
	if all {
		for _, p := range t.Partitions {
			add(p)
		}
	} else {
		for _, i := range indexes {
			add(t.Partition(i))
		}
	}
	if len(out.Partitions) > 0 {
		resp.Topics = append(resp.Topics, out)
	}
}
