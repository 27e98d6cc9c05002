package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// CreateTopics, versions 2 to 7.
//
//	4 -1 stands for the broker's default of partitions and replication factor
//	5 flexible; the topic's size and configs are answered (KIP-525)
//	6 THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599)
//	7 topic id (KIP-516)

func (h *handlers) createTopics(req *wire.Request, q *kmsg.CreateTopicsRequest) kmsg.Response {
	resp := kmsg.NewPtrCreateTopicsResponse()
	topics := make([]controller.NewTopic, 0, len(q.Topics))
	for i := range q.Topics {
		topics = append(topics, newTopic(&q.Topics[i]))
	}
	change := h.changeQuota(req, 6)
	results, err := h.Controller.CreateTopicsWithin(change, topics, q.ValidateOnly)
	resp.ThrottleMillis = mute(req.Conn, change.Pause())
	if err != nil {
		for i := range q.Topics {
			out := kmsg.NewCreateTopicsResponseTopic()
			out.Topic, out.ErrorCode, out.ErrorMessage = q.Topics[i].Topic, code(err), message(err)
			out.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	}
	for _, r := range results {
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic, out.TopicID = r.Name, r.ID
		out.NumPartitions, out.ReplicationFactor = -1, -1
		out.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		if r.Err != nil {
			out.ErrorCode, out.ErrorMessage = r.Err.Code, text(r.Err)
			resp.Topics = append(resp.Topics, out)
			continue
		}
		out.NumPartitions, out.ReplicationFactor = r.NumPartitions, r.ReplicationFactor
		for _, c := range r.Configs {
			one := kmsg.NewCreateTopicsResponseTopicConfig()
			one.Name, one.Value, one.ReadOnly, one.Source, one.IsSensitive = c.Name, c.Value, c.ReadOnly, c.Source, c.Sensitive
			out.Configs = append(out.Configs, one)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func newTopic(t *kmsg.CreateTopicsRequestTopic) controller.NewTopic {
	out := controller.NewTopic{Name: t.Topic, NumPartitions: t.NumPartitions, ReplicationFactor: t.ReplicationFactor}
	for _, a := range t.ReplicaAssignment {
		out.Assignments = append(out.Assignments, controller.Assignment{Partition: a.Partition, BrokerIDs: a.Replicas})
	}
	for _, c := range t.Configs {
		out.Configs = append(out.Configs, controller.TopicConfig{Name: c.Name, Value: c.Value})
	}
	return out
}

// text is a controller error's message, nil for none.
func text(e *controller.Error) *string {
	if e == nil || e.Message == "" {
		return nil
	}
	return &e.Message
}

// autoCreate makes the topics that a Metadata request named and nobody has, all
// in one change. The answer does not depend on the outcome: it says
// UNKNOWN_TOPIC_OR_PARTITION, and the client asks again.
func (h *handlers) autoCreate(names []string) {
	topics := make([]controller.NewTopic, 0, len(names))
	for _, name := range names {
		topics = append(topics, controller.NewTopic{Name: name, NumPartitions: -1, ReplicationFactor: -1})
	}
	results, err := h.Controller.CreateTopics(topics, false)
	if err != nil {
		h.Logger.Error("cannot create topics automatically", "topics", len(names), "first", names[0], "error", err)
		return
	}
	for _, r := range results {
		if r.Err != nil && r.Err.Code != errTopicAlreadyExists {
			h.Logger.Warn("cannot create a topic automatically", "topic", r.Name, "error", r.Err)
		}
	}
}

// DeleteTopics, versions 1 to 6.
//
//	4 flexible
//	5 error message (KIP-599)
//	6 by topic id (KIP-516)

func (h *handlers) deleteTopics(req *wire.Request, q *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	var refs []controller.TopicRef
	if req.Version < 6 {
		for i := range q.TopicNames {
			refs = append(refs, controller.TopicRef{Name: &q.TopicNames[i]})
		}
	} else {
		for i := range q.Topics {
			refs = append(refs, controller.TopicRef{Name: q.Topics[i].Topic, ID: meta.UUID(q.Topics[i].TopicID)})
		}
	}
	change := h.changeQuota(req, 5)
	results, err := h.Controller.DeleteTopicsWithin(change, refs)
	resp.ThrottleMillis = mute(req.Conn, change.Pause())
	if err != nil {
		for _, r := range refs {
			out := kmsg.NewDeleteTopicsResponseTopic()
			out.Topic, out.TopicID, out.ErrorCode, out.ErrorMessage = r.Name, r.ID, code(err), message(err)
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	}
	for _, r := range results {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.TopicID = r.Name, r.ID
		if r.Err != nil {
			out.ErrorCode, out.ErrorMessage = r.Err.Code, text(r.Err)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// CreatePartitions, versions 0 to 3.
//
//	2 flexible
//	3 THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599)

func (h *handlers) createPartitions(req *wire.Request, q *kmsg.CreatePartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	var topics []controller.NewPartitions
	for i := range q.Topics {
		t := &q.Topics[i]
		n := controller.NewPartitions{Topic: t.Topic, Count: t.Count}
		for _, a := range t.Assignment {
			n.Assignments = append(n.Assignments, a.Replicas)
		}
		topics = append(topics, n)
	}
	change := h.changeQuota(req, 3)
	results, err := h.Controller.CreatePartitionsWithin(change, topics, q.ValidateOnly)
	resp.ThrottleMillis = mute(req.Conn, change.Pause())
	if err != nil {
		for _, t := range topics {
			out := kmsg.NewCreatePartitionsResponseTopic()
			out.Topic, out.ErrorCode, out.ErrorMessage = t.Topic, code(err), message(err)
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	}
	for _, r := range results {
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = r.Topic
		if r.Err != nil {
			out.ErrorCode, out.ErrorMessage = r.Err.Code, text(r.Err)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}
