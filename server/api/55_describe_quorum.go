package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// DescribeQuorum, versions 0 to 2 (KIP-595).
//
//	1 when replicas fetched last and were caught up last (KIP-836)
//	2 directory ids, nodes with their listeners, error messages (KIP-853)
//
// The quorum of one has one partition to describe; whoever asks for anything beside it is told of nothing, as in Kafka.

const metadataTopic = "__cluster_metadata"

func (h *handlers) describeQuorum(_ *wire.Request, q *kmsg.DescribeQuorumRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	empty := ""
	resp.ErrorMessage = &empty
	known := len(q.Topics) == 1 && q.Topics[0].Topic == metadataTopic && len(q.Topics[0].Partitions) == 1 && q.Topics[0].Partitions[0].Partition == 0
	if !known {
		for _, t := range q.Topics {
			out := kmsg.NewDescribeQuorumResponseTopic()
			out.Topic = t.Topic
			for _, p := range t.Partitions {
				one := kmsg.NewDescribeQuorumResponseTopicPartition()
				text := "This server does not host this topic-partition."
				one.Partition, one.ErrorCode, one.ErrorMessage = p.Partition, errUnknownTopicOrPartition, &text
				out.Partitions = append(out.Partitions, one)
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	}
	state := kmsg.NewDescribeQuorumResponseTopicPartition()
	state.ErrorMessage = &empty
	state.LeaderID, state.LeaderEpoch = h.NodeID, h.Quorum.Epoch()
	state.HighWatermark = h.Image().Offset + 1
	voters, _ := h.Quorum.Voters()
	for _, v := range h.quorumVoters(voters) {
		replica := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		replica.ReplicaID, replica.ReplicaDirectoryID, replica.LogEndOffset = v.ID, v.DirectoryID, state.HighWatermark
		replica.LastFetchTimestamp, replica.LastCaughtUpTimestamp = h.NowMs(), h.NowMs()
		state.CurrentVoters = append(state.CurrentVoters, replica)
		node := kmsg.NewDescribeQuorumResponseNode()
		node.NodeID = v.ID
		for _, e := range v.Endpoints {
			l := kmsg.NewDescribeQuorumResponseNodeListener()
			l.Name, l.Host, l.Port = e.Name, e.Host, e.Port
			node.Listeners = append(node.Listeners, l)
		}
		resp.Nodes = append(resp.Nodes, node)
	}
	topic := kmsg.NewDescribeQuorumResponseTopic()
	topic.Topic = metadataTopic
	topic.Partitions = append(topic.Partitions, state)
	resp.Topics = append(resp.Topics, topic)
	return resp
}

// quorumVoters are the voters of the metadata log, or where they are static the only one there can be.
func (h *handlers) quorumVoters(voters []meta.Voter) []meta.Voter {
	if voters != nil {
		return voters
	}
	only := meta.Voter{ID: h.NodeID}
	for _, v := range h.Config.Quorum.Voters {
		for _, l := range h.Config.ControllerListeners {
			only.Endpoints = append(only.Endpoints, meta.VoterEndpoint{Name: l.Name, Host: v.Host, Port: uint16(v.Port)})
			break
		}
	}
	return []meta.Voter{only}
}
