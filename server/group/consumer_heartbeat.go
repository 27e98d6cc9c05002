package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/record"
)

// refusal is why a request is refused: an error code and its words.
type refusal struct {
	code int16
	why  string
}

func refuse(code int16, format string, a ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, a...)}
}

// ConsumerHeartbeat is a member's join, heartbeat or leave (ConsumerGroupHeartbeat).
func (m *Machine) ConsumerHeartbeat(c *coord.Context, who Client, q *kmsg.ConsumerGroupHeartbeatRequest, done coord.Done[*kmsg.ConsumerGroupHeartbeatResponse]) {
	r := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	no := m.checkHeartbeat(q)
	switch {
	case no != nil:
	case q.MemberEpoch == left || q.MemberEpoch == leftStatic:
		no = m.consumerLeave(c, q, r)
	default:
		no = m.consumerHeartbeat(c, who, q, r)
	}
	if no != nil {
		r.ErrorCode, r.ErrorMessage = no.code, &no.why
	}
	coord.Send(c, done, r)
}

// checkHeartbeat is what a request must be by itself (GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid).
func (m *Machine) checkHeartbeat(q *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	blank := func(s *string) bool { return s != nil && blank(*s) }
	switch {
	case (q.Version >= 1 || q.MemberEpoch > 0 || q.MemberEpoch == left) && blank(&q.MemberID):
		return refuse(codeInvalidRequest, "MemberId can't be empty.")
	case blank(&q.Group):
		return refuse(codeInvalidRequest, "GroupId can't be empty.")
	case blank(q.InstanceID):
		return refuse(codeInvalidRequest, "InstanceId can't be empty.")
	case blank(q.RackID):
		return refuse(codeInvalidRequest, "RackId can't be empty.")
	case q.MemberEpoch == 0 && q.RebalanceTimeoutMillis == -1:
		return refuse(codeInvalidRequest, "RebalanceTimeoutMs must be provided in first request.")
	case q.MemberEpoch == 0 && (q.Topics == nil || len(q.Topics) > 0):
		return refuse(codeInvalidRequest, "TopicPartitions must be empty when (re-)joining.")
	case q.MemberEpoch == 0 && q.SubscribedTopicNames == nil && q.SubscribedTopicRegex == nil:
		return refuse(codeInvalidRequest, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case q.MemberEpoch == leftStatic && q.InstanceID == nil:
		return refuse(codeInvalidRequest, "InstanceId can't be null.")
	case q.MemberEpoch < leftStatic:
		return refuse(codeInvalidRequest, "MemberEpoch is invalid.")
	case q.ServerAssignor != nil && m.assignor(*q.ServerAssignor) == nil:
		return refuse(codeUnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.", *q.ServerAssignor, strings.Join(m.assignorNames(), ", "))
	case slices.ContainsFunc([]*string{&q.Group, &q.MemberID, q.InstanceID, q.RackID, q.SubscribedTopicRegex}, tooLong), tooLongNames(q.SubscribedTopicNames):
		return refuse(codeInvalidRequest, "A name is longer than %d bytes.", nameLimit)
	}
	return nil
}

// blank reports whether Java's String.trim would leave nothing.
func blank(s string) bool { return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }) == "" }

func tooLong(s *string) bool { return s != nil && len(*s) > nameLimit }

func tooLongNames(list []string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return len(s) > nameLimit })
}

// consumerHeartbeat is a join or a heartbeat (GroupMetadataManager.consumerGroupHeartbeat). Everything that can be wrong is found before the
// first record is written.
func (m *Machine) consumerHeartbeat(c *coord.Context, who Client, q *kmsg.ConsumerGroupHeartbeatRequest, r *kmsg.ConsumerGroupHeartbeatResponse) *refusal {
	joining := q.MemberEpoch == 0
	e := m.find(q.Group)
	var g *consumerGroup
	var x, replaced *consumerMember
	switch {
	case e == nil && !joining:
		return refuse(codeGroupIDNotFound, "Consumer group %s not found.", q.Group)
	case e != nil && e.consumer == nil && (!joining || e.classic == nil):
		return refuse(codeGroupIDNotFound, "Group %s is not a consumer group.", q.Group)
	case e != nil && e.consumer != nil:
		g = e.consumer
		if no := m.checkSize(len(g.members), g.member(q.MemberID) != nil || g.isStatic(q.InstanceID)); no != nil {
			return no
		}
		var no *refusal
		if x, replaced, no = g.identify(q); no != nil {
			return no
		}
	case e != nil && e.classic != nil && len(e.classic.members) > 0:
		known := e.classic.member(q.MemberID) != nil || q.InstanceID != nil && e.classic.static(*q.InstanceID) != nil
		if no := m.checkSize(len(e.classic.members), known); no != nil {
			return no
		}
	}
	if no := m.checkRegex(g, x, replaced, q.SubscribedTopicRegex); no != nil {
		return no
	}
	if x != nil && x.state == memberUnknown && replaced == nil && (q.Topics == nil || len(q.Topics) > 0) {
		return refuse(codeFencedMemberEpoch, "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.")
	}

	if g == nil {
		var no *refusal
		if g, no = m.consumerGroupFor(c, q.Group, e); no != nil {
			return no
		}
		x, replaced, _ = g.identify(q)
	}
	id := q.MemberID
	if id == "" {
		id = m.opt.NewID()
	}
	w := heartbeatWish(who, q)
	before := holdings(nil)
	if replaced != nil {
		before = replaced.assigned
	} else if x != nil {
		before = x.assigned
	}
	x, resubscribed := m.enroll(c, g, id, x, replaced, w)
	m.settle(c, g, x, resubscribed, w)
	r.MemberID, r.MemberEpoch = &x.id, x.epoch
	session, interval, _ := m.opt.GroupConfig(g.id)
	m.consumerSession(c, g, x, session)
	r.HeartbeatIntervalMillis = int32(interval)
	full := q.RebalanceTimeoutMillis != -1 && (q.SubscribedTopicNames != nil || q.SubscribedTopicRegex != nil) && q.Topics != nil
	if joining || full || !before.equal(x.assigned) {
		r.Assignment = x.assigned.response()
	}
	return nil
}

// checkSize refuses a new member of a full group (GroupMetadataManager.throwIfConsumerGroupIsFull).
func (m *Machine) checkSize(members int, known bool) *refusal {
	if limit := int(m.opt.Settings.Consumer.MaxSize); members >= limit && !known {
		return refuse(codeGroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", limit)
	}
	return nil
}

// identify finds the member a heartbeat is from: nil for a new one. A static member that joins again under a new id, or after it went away for
// a while, comes with the member it replaces. One that joins again under the id that has its place, because the answer to its first try was
// lost or it was fenced, is that member, as a dynamic one is; Kafka 4.3 tells it that its own instance id is taken, and the Java client ends.
func (g *consumerGroup) identify(q *kmsg.ConsumerGroupHeartbeatRequest) (x, replaced *consumerMember, no *refusal) {
	joining := q.MemberEpoch == 0
	if q.InstanceID == nil {
		x = g.member(q.MemberID)
		if x == nil && !joining {
			return nil, nil, refuse(codeUnknownMemberID, "Member %s is not a member of group %s.", q.MemberID, g.id)
		}
		if x != nil {
			no = x.checkEpoch(q)
		}
		return x, nil, no
	}
	x = g.staticMember(q.InstanceID)
	if joining {
		switch {
		case x == nil:
			return g.member(q.MemberID), nil, nil
		case x.classic == nil && x.epoch != leftStatic && x.id == q.MemberID:
			return x, nil, nil
		case x.classic == nil && x.epoch != leftStatic:
			return nil, nil, refuse(codeUnreleasedInstanceID, "Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.",
				q.MemberID, *q.InstanceID, x.id)
		}
		return nil, x, nil
	}
	if x, no = g.checkStatic(x, *q.InstanceID, q.MemberID); no != nil {
		return nil, nil, no
	}
	return x, nil, x.checkEpoch(q)
}

// checkStatic says whether a request may speak for an instance id, whose member is x.
func (g *consumerGroup) checkStatic(x *consumerMember, instance, id string) (*consumerMember, *refusal) {
	switch {
	case x == nil:
		return nil, refuse(codeUnknownMemberID, "Instance id %s is unknown.", instance)
	case x.id != id:
		return nil, refuse(codeFencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", id, instance, x.id)
	}
	return x, nil
}

// checkEpoch fences a member whose epoch is not the one it was told. The one before will do if what it owns shows that the answer with
// the new one was lost (GroupMetadataManager.throwIfConsumerGroupMemberEpochIsInvalid).
func (x *consumerMember) checkEpoch(q *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	is := "smaller"
	switch {
	case q.MemberEpoch == 0 || q.MemberEpoch == x.epoch:
		return nil
	case q.MemberEpoch > x.epoch:
		is = "greater"
	case q.MemberEpoch == x.previous && q.Topics != nil && x.assigned.covers(q.Topics):
		return nil
	}
	return refuse(codeFencedMemberEpoch, "The consumer group member has a %s member epoch (%d) than the one known by the group coordinator (%d). "+
		"The member must abandon all its partitions and rejoin.", is, q.MemberEpoch, x.epoch)
}

// covers reports whether all of the list is held.
func (h holdings) covers(list []kmsg.ConsumerGroupHeartbeatRequestTopic) bool {
	for i := range list {
		if _, ok := h.seat(list[i].TopicID); !ok {
			return false
		}
		for _, p := range list[i].Partitions {
			if !h.has(list[i].TopicID, p) {
				return false
			}
		}
	}
	return true
}

// response is what a member is told it has.
func (h holdings) response() *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	a := &kmsg.ConsumerGroupHeartbeatResponseAssignment{Topics: make([]kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic, len(h))}
	for i := range h {
		a.Topics[i].TopicID, a.Topics[i].Partitions = h[i].TopicID, h[i].Partitions
	}
	return a
}

// consumerLeave is the end of a membership, or of a static member's presence (GroupMetadataManager.consumerGroupLeave).
func (m *Machine) consumerLeave(c *coord.Context, q *kmsg.ConsumerGroupHeartbeatRequest, r *kmsg.ConsumerGroupHeartbeatResponse) *refusal {
	e := m.find(q.Group)
	if e == nil || e.consumer == nil {
		if e == nil {
			return refuse(codeGroupIDNotFound, "Group %s not found.", q.Group)
		}
		return refuse(codeGroupIDNotFound, "Group %s is not a consumer group.", q.Group)
	}
	g := e.consumer
	x := g.staticMember(q.InstanceID)
	if q.InstanceID != nil {
		var no *refusal
		if x, no = g.checkStatic(x, *q.InstanceID, q.MemberID); no != nil {
			return no
		}
	} else if x = g.member(q.MemberID); x == nil {
		return refuse(codeUnknownMemberID, "Member %s is not a member of group %s.", q.MemberID, g.id)
	}
	r.MemberID, r.MemberEpoch = &q.MemberID, q.MemberEpoch
	if q.MemberEpoch == leftStatic && q.InstanceID != nil {
		// It keeps its partitions until its session ends; whoever takes its place has them from epoch 0 on.
		v := x.current()
		v.MemberEpoch, v.PartitionsPendingRevocation, v.AssignedPartitions = leftStatic, nil, x.assigned.at(0)
		m.write(c, g.key(record.TypeConsumerGroupCurrentMemberAssignment, x.id), v)
		return nil
	}
	m.fence(c, e, x)
	return nil
}

func (g *consumerGroup) key(t record.Type, member string) record.Key {
	return record.Key{Type: t, Group: g.id, Member: member}
}

// current is the record of what the member holds.
func (x *consumerMember) current() *record.ConsumerGroupCurrentMemberAssignment {
	return &record.ConsumerGroupCurrentMemberAssignment{MemberEpoch: x.epoch, PreviousMemberEpoch: x.previous, State: int8(x.state),
		AssignedPartitions: x.assigned, PartitionsPendingRevocation: x.revoking}
}

// about is the record of what the member told about itself.
func (x *consumerMember) about() *record.ConsumerGroupMemberMetadata {
	regex := x.regex
	return &record.ConsumerGroupMemberMetadata{InstanceID: x.instance, RackID: x.rack, ClientID: x.clientID, ClientHost: x.clientHost,
		SubscribedTopicNames: x.topics, SubscribedTopicRegex: &regex, RebalanceTimeoutMs: x.rebalance, ServerAssignor: x.assignor,
		ClassicMemberMetadata: x.classic}
}

// fence takes members out of the group, which asks for a new target assignment; if only members that speak the classic protocol stay, the group
// becomes a classic one (GroupMetadataManager.consumerGroupFenceMembers).
func (m *Machine) fence(c *coord.Context, e *group, list ...*consumerMember) {
	g := e.consumer
	if len(list) == 0 {
		return
	}
	if m.mayDowngrade(g, list) {
		m.downgrade(c, e, list, nil)
		return
	}
	for _, x := range list {
		m.removeMember(c, g, x)
	}
	dropped := map[string]bool{}
	for _, x := range list {
		if !dropped[x.regex] {
			dropped[x.regex] = true
			m.dropPattern(c, g, x.regex)
		}
	}
	m.bump(c, g)
}

// removeMember writes the tombstones of a member and stops its timers.
func (m *Machine) removeMember(c *coord.Context, g *consumerGroup, x *consumerMember) {
	m.write(c, g.key(record.TypeConsumerGroupCurrentMemberAssignment, x.id), nil)
	m.write(c, g.key(record.TypeConsumerGroupTargetAssignmentMember, x.id), nil)
	m.write(c, g.key(record.TypeConsumerGroupMemberMetadata, x.id), nil)
	m.stopTimers(c, g.id, x.id)
}

// bump raises the group's epoch.
func (m *Machine) bump(c *coord.Context, g *consumerGroup) {
	m.write(c, g.key(record.TypeConsumerGroupMetadata, ""), &record.ConsumerGroupMetadata{Epoch: g.epoch + 1, MetadataHash: m.metadataHash(g)})
}
