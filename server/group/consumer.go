package group

import (
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/assign"
	"github.com/gregor-broker/gregor/server/group/record"
)

// leftStatic and left are the epochs of a static member that will be back within its session and of one that has left.
const (
	left       int32 = -1
	leftStatic int32 = -2
)

// consumerGroup is a group of KIP-848: the broker computes a target assignment, and each member moves towards it on its own, giving up
// partitions before others get them (ConsumerGroup). Everything but checked, unsettled and resolving
// follows from the log.
type consumerGroup struct {
	id    string
	epoch int32 // rises with every change that asks for a new target assignment
	hash  int64 // of the topics subscribed to, as of epoch
	// assignmentEpoch is the epoch that the target assignment was computed for, assignedAt when (ms, 0 unknown).
	assignmentEpoch int32
	assignedAt      int64

	members []*consumerMember // by id
	targets map[string]assign.Assignment
	static  map[string]string           // member by instance id
	owners  map[owned]*consumerMember   // who holds a partition, or has yet to give it up
	topics  map[string]subscribers      // subscribed to, by name
	regexes map[string]int32            // members by regular expression
	matched map[string]*resolvedPattern // what the regular expressions stand for

	assignors        map[string]int32 // members by the assignor they ask for
	classicMembers   int              // members that speak the classic protocol
	classicProtocols map[string]int32 // those members, by protocol
	oldMetadata      bool             // the log has a ConsumerGroupPartitionMetadata record of Kafka 4.0

	checked   bool        // hash is that of the newest image
	unsettled bool        // it was a classic group in the middle of a rebalance a moment ago
	resolving *resolution // of the regular expressions, under way
}

// owned names a partition.
type owned struct {
	topic     assign.TopicID
	partition int32
}

// subscribers counts how a topic is subscribed to: members by its name, and regular expressions that match it.
type subscribers struct{ names, patterns int32 }

// resolvedPattern is the topics a regular expression matches, as of a time and a version of the metadata.
type resolvedPattern struct {
	topics          []string // sorted
	version, atTime int64
}

// memberState is how far a member is (MemberState).
type memberState int8

const (
	memberStable     memberState = 0 // has what its epoch gives it
	memberUnrevoked  memberState = 1 // must give up partitions before it moves on
	memberUnreleased memberState = 2 // waits for partitions that others have not given up
	memberUnknown    memberState = 127
)

// consumerMember is a member of a KIP-848 group (ConsumerGroupMember). Everything but revoking's deadline follows from the log.
type consumerMember struct {
	id                       string
	epoch, previous          int32
	state                    memberState
	instance, rack, assignor *string
	rebalance                int32 // ms it may take to give up partitions, or to join and sync
	clientID, clientHost     string
	topics                   []string // subscribed to by name; sorted
	regex                    string   // "" none
	classic                  *record.ClassicMemberMetadata
	assigned, revoking       holdings

	revokeEpoch int32 // the epoch in which the timer of its revocation was started
	joinDue     bool  // the timer that gives it time to join again is running
}

// newConsumerGroup is a group without records: it begins in epoch 1, with an empty assignment of that epoch.
func newConsumerGroup(id string) *consumerGroup {
	return &consumerGroup{id: id, epoch: 1, assignmentEpoch: 1}
}

func (g *consumerGroup) seat(id string) (int, bool) {
	return slices.BinarySearchFunc(g.members, id, func(x *consumerMember, id string) int { return strings.Compare(x.id, id) })
}

// member is the member of that id, or nil.
func (g *consumerGroup) member(id string) *consumerMember {
	if i, ok := g.seat(id); ok {
		return g.members[i]
	}
	return nil
}

// staticMember is the member of that instance id, or nil.
func (g *consumerGroup) staticMember(instance *string) *consumerMember {
	if instance == nil {
		return nil
	}
	id, ok := g.static[*instance]
	if !ok {
		return nil
	}
	return g.member(id)
}

// isEmpty reports whether the group has no members.
func (g *consumerGroup) isEmpty() bool { return len(g.members) == 0 }

// state is the name of the group's state as Kafka shows it (ConsumerGroup.maybeUpdateGroupState).
func (g *consumerGroup) state() string {
	switch {
	case g.isEmpty():
		return "Empty"
	case g.epoch > g.assignmentEpoch:
		return "Assigning"
	}
	for _, x := range g.members {
		if !x.reconciled(g.assignmentEpoch) {
			return "Reconciling"
		}
	}
	return "Stable"
}

// reconciled reports whether the member has all that the target of that epoch gives it.
func (x *consumerMember) reconciled(epoch int32) bool {
	return x.state == memberStable && x.epoch == epoch
}

// subscribedTo reports whether a member subscribes to the topic, by name or by a regular expression.
func (g *consumerGroup) subscribedTo(topic string) bool {
	_, ok := g.topics[topic]
	return ok
}

// isStatic reports whether the instance id is one of a member.
func (g *consumerGroup) isStatic(instance *string) bool { return g.staticMember(instance) != nil }

// checkCommit says whether a member may commit offsets (ConsumerGroup.validateOffsetCommit). It returns an error code for the whole
// request, or a check for every partition, nil when all may pass.
func (g *consumerGroup) checkCommit(member string, instance *string, epoch int32, transactional bool, version int16) (code int16, each commitCheck) {
	if epoch < 0 && g.isEmpty() {
		return codeNone, nil // an administrator, or a consumer that assigns its partitions itself
	}
	if transactional && epoch == -1 && member == "" && instance == nil {
		return codeNone, nil
	}
	x := g.member(member)
	switch {
	case x == nil:
		return codeUnknownMemberID, nil
	case !transactional && x.classic == nil && version < 9:
		return codeUnsupportedVersion, nil
	case epoch == x.epoch:
		return codeNone, nil
	case epoch > x.epoch:
		return x.staleEpoch(), nil
	}
	// An older epoch will do for partitions that the member has held since then (KIP-1251).
	return codeNone, func(topic [16]byte, partition int32) int16 {
		since, ok := x.assigned.epoch(topic, partition)
		if !ok {
			since, ok = x.revoking.epoch(topic, partition)
		}
		if !ok || epoch < since {
			return x.staleEpoch()
		}
		return codeNone
	}
}

// checkFetch says whether a member may fetch offsets (ConsumerGroup.validateOffsetFetch); the member is nil in requests before
// version 9.
func (g *consumerGroup) checkFetch(member *string, epoch int32) int16 {
	if member == nil && epoch < 0 {
		return codeNone
	}
	var x *consumerMember
	if member != nil {
		x = g.member(*member)
	}
	switch {
	case x == nil:
		return codeUnknownMemberID
	case epoch != x.epoch:
		return x.staleEpoch()
	}
	return codeNone
}

// staleEpoch is the code for a wrong epoch in the words of the member's protocol.
func (x *consumerMember) staleEpoch() int16 {
	if x.classic != nil {
		return codeIllegalGeneration
	}
	return codeStaleMemberEpoch
}

// tombstones are the records that delete the group, without its offsets, in Kafka's order: what refers to a member goes before the member.
func (g *consumerGroup) tombstones() []coord.Record {
	var list []coord.Record
	add := func(k record.Key) {
		k.Group = g.id
		list = append(list, coord.Record{Key: k.Append(nil)})
	}
	for _, x := range g.members {
		add(record.Key{Type: record.TypeConsumerGroupCurrentMemberAssignment, Member: x.id})
	}
	for _, id := range g.assignees() {
		add(record.Key{Type: record.TypeConsumerGroupTargetAssignmentMember, Member: id})
	}
	add(record.Key{Type: record.TypeConsumerGroupTargetAssignmentMetadata})
	for _, x := range g.members {
		add(record.Key{Type: record.TypeConsumerGroupMemberMetadata, Member: x.id})
	}
	for _, regex := range g.patterns() {
		add(record.Key{Type: record.TypeConsumerGroupRegularExpression, Regex: regex})
	}
	add(record.Key{Type: record.TypeConsumerGroupPartitionMetadata})
	add(record.Key{Type: record.TypeConsumerGroupMetadata})
	return list
}
