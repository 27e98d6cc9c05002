package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// Metadata, versions 0 to 13.
//
//	0  an empty list means all topics
//	1  null means all, an empty list none; controller, rack, internal flag
//	2  cluster id
//	4  auto-creation can be declined
//	5  offline replicas
//	7  leader epochs
//	8  authorized operations (KIP-430)
//	9  flexible
//	10 topic ids (KIP-516)
//	11 no cluster authorized operations
//	12 topics may be asked for by id
//	13 error code for the whole response (KIP-1102)
//
// An unknown topic that may be created is created before the answer, but the
// answer still says UNKNOWN_TOPIC_OR_PARTITION, as Kafka's does: clients ask
// again.

// Operations a client may do without an authorizer: all that exist for the
// resource (AclEntry.supportedOperations), as bits.
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	noOperations      = -1 << 31
)

func (h *handlers) metadata(req *wire.Request, q *kmsg.MetadataRequest) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	resp.ClusterID = &h.ClusterID
	resp.ControllerID = h.NodeID
	resp.AuthorizedOperations = noOperations
	if q.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	if e, ok := h.endpoint(req.Conn.Listener); ok {
		resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: h.NodeID, Host: e.Host, Port: e.Port, Rack: h.Rack}}
	}
	im := h.Image()
	if q.Topics == nil || req.Version == 0 && len(q.Topics) == 0 {
		for _, t := range im.Topics() {
			resp.Topics = append(resp.Topics, h.describeTopic(t, q.IncludeTopicAuthorizedOperations))
		}
		return resp
	}
	if req.Version < 12 {
		for i := range q.Topics {
			if q.Topics[i].Topic == nil || q.Topics[i].TopicID != [16]byte{} {
				return refuseMetadata(q)
			}
		}
	} else if ids := topicIDs(q); len(ids) > 0 {
		// With ids in it, a request is about these alone.
		for _, id := range ids {
			if known := im.TopicByID(id); known != nil {
				resp.Topics = append(resp.Topics, h.describeTopic(known, q.IncludeTopicAuthorizedOperations))
			} else {
				resp.Topics = append(resp.Topics, missingTopic(nil, id, errUnknownTopicID))
			}
		}
		return resp
	}
	mayCreate := h.Config.AutoCreateTopics && (req.Version < 4 || q.AllowAutoTopicCreation)
	seen := map[string]bool{}
	var create []string
	for i := range q.Topics {
		t := &q.Topics[i]
		if t.Topic == nil {
			resp.Topics = append(resp.Topics, missingTopic(nil, t.TopicID, errUnknownTopicID))
			continue
		}
		name := *t.Topic
		if seen[name] {
			continue
		}
		seen[name] = true
		known := im.Topic(name)
		if known != nil {
			resp.Topics = append(resp.Topics, h.describeTopic(known, q.IncludeTopicAuthorizedOperations))
			continue
		}
		c := errUnknownTopicOrPartition
		switch {
		case !validTopicName(name):
			c = errInvalidTopic
		case mayCreate && !isInternal(name):
			create = append(create, name)
		}
		resp.Topics = append(resp.Topics, missingTopic(&name, [16]byte{}, c))
	}
	if len(create) > 0 {
		h.autoCreate(create)
	}
	return resp
}

// topicIDs are the ids a request names, each once.
func topicIDs(q *kmsg.MetadataRequest) (ids [][16]byte) {
	seen := map[[16]byte]bool{{}: true}
	for i := range q.Topics {
		if id := q.Topics[i].TopicID; !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// refuseMetadata answers versions 10 and 11, which have topic ids in the
// message but cannot be asked by them.
func refuseMetadata(q *kmsg.MetadataRequest) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	resp.ControllerID, resp.AuthorizedOperations = -1, noOperations
	for i := range q.Topics {
		resp.Topics = append(resp.Topics, missingTopic(q.Topics[i].Topic, q.Topics[i].TopicID, errInvalidRequest))
	}
	return resp
}

func missingTopic(name *string, id [16]byte, code int16) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.ErrorCode, t.AuthorizedOperations = name, id, code, noOperations
	t.IsInternal = name != nil && isInternal(*name)
	return t
}

func (h *handlers) describeTopic(t *meta.Topic, operations bool) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal, out.AuthorizedOperations = &t.Name, t.ID, isInternal(t.Name), noOperations
	if operations {
		out.AuthorizedOperations = topicOperations
	}
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, 0, len(t.Partitions))
	for _, p := range t.Partitions {
		r := kmsg.NewMetadataResponseTopicPartition()
		s := h.partitionState(t, p)
		r.Partition, r.Leader, r.LeaderEpoch = p.ID, s.leader, p.LeaderEpoch
		r.Replicas, r.ISR, r.OfflineReplicas, r.ErrorCode = s.replicas, s.isr, s.offline, s.code
		out.Partitions = append(out.Partitions, r)
	}
	return out
}

// partitionState is a partition as clients are told of it.
type partitionState struct {
	leader                 int32
	replicas, isr, offline []int32
	code                   int16
}

func (h *handlers) partitionState(t *meta.Topic, p *meta.Partition) partitionState {
	s := partitionState{leader: p.Leader, replicas: p.Replicas, isr: p.ISR}
	if len(p.Replicas) == 0 {
		// A directory written without replicas: everything in it is ours.
		s.replicas, s.isr = []int32{h.NodeID}, []int32{h.NodeID}
		if s.leader == meta.NoLeader {
			s.leader = h.NodeID
		}
	}
	hosted := h.Partitions.Get(t.ID, p.ID)
	if hosted != nil {
		if _, err := hosted.Log(); err != nil {
			s.offline = []int32{h.NodeID}
			s.leader = meta.NoLeader
		}
	}
	if s.leader == meta.NoLeader {
		s.code = errLeaderNotAvailable
	}
	return s
}
