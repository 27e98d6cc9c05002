package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/assign"
	"github.com/gregor-broker/gregor/server/group/record"
)

// joinConsumer is a member of the classic protocol joining a KIP-848 group: its epoch is its generation, and it is never the leader
// (GroupMetadataManager.classicGroupJoinToConsumerGroup).
func (m *Machine) joinConsumer(c *coord.Context, who Client, e *group, q *kmsg.JoinGroupRequest, done coord.Done[*kmsg.JoinGroupResponse]) {
	g := e.consumer
	id := q.MemberID
	if id == "" {
		id = m.opt.NewID()
	}
	protocols := protocolsOf(q)
	switch {
	case m.opt.Settings.Consumer.MigrationPolicy == policyDisabled, !g.supportsClassic(q.ProtocolType, protocols):
		coord.Send(c, done, joinError("", codeInconsistentGroupProtocol))
		return
	case m.checkSize(len(g.members), g.member(id) != nil || g.isStatic(q.InstanceID)) != nil:
		coord.Send(c, done, joinError("", codeGroupMaxSizeReached))
		return
	case q.MemberID == "" && q.InstanceID == nil && q.Version >= 4:
		coord.Send(c, done, joinError(id, codeMemberIDRequired))
		return
	}
	var x, replaced *consumerMember
	switch {
	case q.InstanceID == nil:
		x = g.member(id)
	case q.MemberID == "":
		replaced = g.staticMember(q.InstanceID)
	default:
		var no *refusal
		if x, no = g.checkStatic(g.staticMember(q.InstanceID), *q.InstanceID, id); no != nil {
			coord.Send(c, done, joinError("", no.code))
			return
		}
	}
	s, ok := readSubscription(protocols[0].metadata)
	if !ok {
		coord.Send(c, done, joinError("", codeInconsistentGroupProtocol))
		return
	}
	downgrade := false
	if static := g.staticMember(q.InstanceID); static != nil && static.classic == nil {
		downgrade = g.classicMembers == len(g.members)-1 && m.downgrades(g, len(g.members))
	}

	none := ""
	w := &wish{clientID: who.ID, clientHost: who.Host, instance: q.InstanceID, rebalance: q.RebalanceTimeoutMillis, topics: s.topics, topicsToo: true,
		regex: &none, classic: classicMetadata(q.SessionTimeoutMillis, protocols), reported: true, owned: requested(byID(m.opt.Image(), s.owned))}
	if s.rack != "" {
		w.rack = &s.rack
	}
	x, resubscribed := m.enroll(c, g, id, x, replaced, w)
	r := kmsg.NewPtrJoinGroupResponse()
	protocolType, protocolName := consumerProtocol, protocols[0].name
	r.MemberID, r.ProtocolType, r.Protocol = x.id, &protocolType, &protocolName
	if downgrade {
		if g.assignmentEpoch >= g.epoch {
			m.reconcile(c, g, x, resubscribed, w)
		}
		r.Generation = x.epoch
		m.downgrade(c, e, nil, x)
		coord.Send(c, done, r)
		return
	}
	m.settle(c, g, x, resubscribed, w)
	r.Generation = x.epoch
	x.joinDue = false
	c.Cancel(coord.TimerKey{Kind: timerClassicJoin, Name: g.id, Part: x.id})
	m.consumerSession(c, g, x, int64(q.SessionTimeoutMillis))
	c.Timer(coord.TimerKey{Kind: timerClassicSync, Name: g.id, Part: x.id}, c.Now()+int64(max(q.RebalanceTimeoutMillis, 0)))
	coord.Send(c, done, r)
}

// supportsClassic reports whether a member with these protocols may join: consumers that have one in common with all others of their kind
// (ConsumerGroup.supportsClassicProtocols).
func (g *consumerGroup) supportsClassic(protocolType string, protocols []protocol) bool {
	if protocolType != consumerProtocol {
		return false
	}
	for i := range protocols {
		if int(g.classicProtocols[protocols[i].name]) == g.classicMembers {
			return true
		}
	}
	return false
}

// classicMemberOf finds the member of the classic protocol that a request is from (GroupMetadataManager.validateConsumerGroupMember).
func (g *consumerGroup) classicMemberOf(id string, instance *string, generation int32) (*consumerMember, int16) {
	x := g.member(id)
	if instance != nil {
		var no *refusal
		if x, no = g.checkStatic(g.staticMember(instance), *instance, id); no != nil {
			return nil, no.code
		}
	}
	switch {
	case x == nil || x.classic == nil:
		return nil, codeUnknownMemberID
	case x.epoch != generation:
		return nil, codeIllegalGeneration
	}
	return x, codeNone
}

// syncConsumer tells a member of the classic protocol what it has (GroupMetadataManager.classicGroupSyncToConsumerGroup).
func (m *Machine) syncConsumer(c *coord.Context, e *group, q *kmsg.SyncGroupRequest, done coord.Done[*kmsg.SyncGroupResponse]) {
	g := e.consumer
	x, code := g.classicMemberOf(q.MemberID, q.InstanceID, q.Generation)
	switch {
	case code != codeNone:
	case q.ProtocolType != nil && *q.ProtocolType != consumerProtocol,
		q.Protocol != nil && (len(x.classic.SupportedProtocols) == 0 || *q.Protocol != x.classic.SupportedProtocols[0].Name):
		code = codeInconsistentGroupProtocol
	case g.assignmentEpoch > x.epoch && x.state != memberUnrevoked:
		// One that gives up partitions has joined already and will be asked to again when it is done.
		m.joinTimeout(c, g, x)
		code = codeRebalanceInProgress
	}
	r := syncError(code)
	if code == codeNone {
		c.Cancel(coord.TimerKey{Kind: timerClassicSync, Name: g.id, Part: x.id})
		m.consumerSession(c, g, x, int64(x.classic.SessionTimeoutMs))
		r.ProtocolType, r.Protocol = q.ProtocolType, q.Protocol
		version := int16(0)
		if len(x.classic.SupportedProtocols) > 0 {
			s, _ := readSubscription(x.classic.SupportedProtocols[0].Metadata)
			version = s.version
		}
		r.MemberAssignment = writeAssignment(version, m.opt.Image(), x.assigned.yield)
	}
	coord.Send(c, done, r)
}

// heartbeatConsumer asks a member of the classic protocol to join again whenever it has a step to take
// (GroupMetadataManager.classicGroupHeartbeatToConsumerGroup).
func (m *Machine) heartbeatConsumer(c *coord.Context, e *group, q *kmsg.HeartbeatRequest, done coord.Done[*kmsg.HeartbeatResponse]) {
	g := e.consumer
	r := kmsg.NewPtrHeartbeatResponse()
	x, code := g.classicMemberOf(q.MemberID, q.InstanceID, q.Generation)
	if code == codeNone {
		m.consumerSession(c, g, x, int64(x.classic.SessionTimeoutMs))
		if x.epoch < g.assignmentEpoch || x.state == memberUnrevoked || x.state == memberUnreleased && !g.waits(x) {
			m.joinTimeout(c, g, x)
			code = codeRebalanceInProgress
		}
	}
	r.ErrorCode = code
	coord.Send(c, done, r)
}

// waits reports whether another member has yet to give up a partition of the member's target (ConsumerGroup.waitingOnUnreleasedPartition).
func (g *consumerGroup) waits(x *consumerMember) bool {
	for _, t := range g.targets[x.id] {
		for _, p := range t.Partitions {
			if g.owners[owned{t.Topic, p}] != nil && !x.assigned.has(t.Topic, p) {
				return true
			}
		}
	}
	return false
}

// leaveConsumer takes members out, whatever protocol they speak (GroupMetadataManager.classicGroupLeaveToConsumerGroup).
func (m *Machine) leaveConsumer(c *coord.Context, e *group, q *kmsg.LeaveGroupRequest, done coord.Done[*kmsg.LeaveGroupResponse]) {
	g := e.consumer
	r := kmsg.NewPtrLeaveGroupResponse()
	r.Members = make([]kmsg.LeaveGroupResponseMember, len(q.Members))
	var leaving []*consumerMember
	listed := map[*consumerMember]bool{}
	for i := range q.Members {
		in, out := &q.Members[i], &r.Members[i]
		out.MemberID, out.InstanceID = in.MemberID, in.InstanceID
		x := g.member(in.MemberID)
		if in.InstanceID != nil {
			x = g.staticMember(in.InstanceID)
			if x != nil && in.MemberID != "" && in.MemberID != x.id { // an administrator names the instance only
				out.ErrorCode = codeFencedInstanceID
				continue
			}
		}
		if x == nil {
			out.ErrorCode = codeUnknownMemberID
			continue
		}
		if !listed[x] {
			listed[x] = true
			leaving = append(leaving, x)
		}
	}
	m.fence(c, e, leaving...)
	coord.Send(c, done, r)
}

// DescribeConsumer shows a KIP-848 group (ConsumerGroupDescribe).
func (m *Machine) DescribeConsumer(c *coord.Context, id string, done coord.Done[kmsg.ConsumerGroupDescribeResponseGroup]) {
	r := kmsg.NewConsumerGroupDescribeResponseGroup()
	r.Group = id
	e := m.find(id)
	if e == nil || e.consumer == nil {
		no := refuse(codeGroupIDNotFound, "Group %s not found.", id)
		if e != nil {
			no = refuse(codeGroupIDNotFound, "Group %s is not a consumer group.", id)
		}
		r.ErrorCode, r.ErrorMessage = no.code, &no.why
		coord.Send(c, done, r)
		return
	}
	g, image := e.consumer, m.opt.Image()
	r.State, r.Epoch, r.AssignmentEpoch, r.AssignorName = g.state(), g.epoch, g.assignmentEpoch, m.preferredAssignor(g)
	r.Members = make([]kmsg.ConsumerGroupDescribeResponseGroupMember, len(g.members))
	named := func(out *kmsg.Assignment, list []record.TopicPartitions) {
		for _, p := range list {
			if t := image.TopicByID(assign.TopicID(p.TopicID)); t != nil {
				out.TopicPartitions = append(out.TopicPartitions, kmsg.AssignmentTopicPartition{TopicID: p.TopicID, Topic: t.Name, Partitions: p.Partitions})
			}
		}
	}
	for i, x := range g.members {
		out := &r.Members[i]
		out.Default()
		regex := x.regex
		out.MemberID, out.InstanceID, out.RackID, out.MemberEpoch, out.ClientID, out.ClientHost = x.id, x.instance, x.rack, x.epoch, x.clientID, x.clientHost
		out.SubscribedTopics, out.SubscribedTopicRegex = x.topics, &regex
		out.MemberType = 1
		if x.classic != nil {
			out.MemberType = 0
		}
		// Until it has given them up, a member still has the partitions it must give up.
		named(&out.Assignment, x.assigned.plus(x.revoking))
		named(&out.TargetAssignment, targetRecord(g.targets[x.id]).TopicPartitions)
	}
	coord.Send(c, done, r)
}
