package group

import (
	"bytes"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
)

// classicState is where a classic group stands (ClassicGroupState). Dead has no value here: a dead group is not in the registry.
type classicState uint8

const (
	classicEmpty      classicState = iota // nobody is in it
	classicPreparing                      // members are asked to join again
	classicCompleting                     // all have joined, the leader assigns
	classicStable                         // everybody has, or can ask for, an assignment
)

func (s classicState) String() string {
	switch s {
	case classicEmpty:
		return "Empty"
	case classicPreparing:
		return "PreparingRebalance"
	case classicCompleting:
		return "CompletingRebalance"
	}
	return "Stable"
}

const (
	// consumerProtocol is the protocol type of consumers, whose subscriptions the broker can read.
	consumerProtocol = "consumer"
	// newMemberTimeout bounds how long a member's first join is parked, in ms: it has no heartbeats yet and its connection may be gone
	// (group.new.member.join.timeout.ms, which is no setting).
	newMemberTimeout = 5 * 60 * 1000
	// pendingLimit bounds the members of one group that were given an id and have not joined with it.
	pendingLimit = 10_000
	// metadataLimit bounds what all members of a group say about all their protocols, in bytes: the leader is told it in one response.
	metadataLimit = 2 * batchLimit
	stateDead     = "Dead"
)

// classicGroup is a group whose members assign partitions, or whatever they share, themselves: any protocol type, any
// protocol (ClassicGroup).
type classicGroup struct {
	state, previous   classicState
	initial           bool // the join timer is the initial delay: latecomers are waited for
	added             bool // since the initial delay began or was last prolonged
	generation        int32
	delay             int64  // ms, of the initial delay now
	remaining         int64  // ms, by which the initial delay may still be prolonged
	since             int64  // ms, when the state was entered; -1 unknown
	protocolType      string // "" until somebody joins
	protocol          *string
	leader            string              // "" if there is none
	leaderless        bool                // its record names no leader: it is to rebalance when it is loaded, see downgrade
	members           []*classicMember    // by id
	joining, unsynced int                 // members whose join is parked; members that have not asked for their assignment
	pending           map[string]struct{} // ids given to members that have not joined yet
	supported         map[string]int32    // members by protocol
	metadataBytes     int                 // of all members and protocols
	// topics are those the members subscribe to, sorted; known is false where that cannot be told.
	topics []string
	known  bool
}

// classicMember is a member of a classic group (ClassicGroupMember).
type classicMember struct {
	id         string
	instance   *string // of a static member
	clientID   string
	clientHost string
	rebalance  int32 // ms
	session    int32 // ms
	protocols  []protocol
	assignment []byte
	join       coord.Done[*kmsg.JoinGroupResponse] // parked, or nil
	sync       coord.Done[*kmsg.SyncGroupResponse] // parked, or nil
	fresh      bool                                // its first join is parked
	unsynced   bool
}

// protocol is one way of sharing that a member supports, and what it has to say about it.
type protocol struct {
	name     string
	metadata []byte
}

// newClassicGroup makes an empty group without a protocol type: a simple group.
func newClassicGroup() *classicGroup { return &classicGroup{since: -1} }

// simple reports whether the group only holds offsets (ClassicGroup.isSimpleGroup).
func (g *classicGroup) simple() bool {
	return g.protocolType == "" && g.state == classicEmpty && len(g.pending) == 0
}

func (g *classicGroup) usesConsumerProtocol() bool { return g.protocolType == consumerProtocol }

func (g *classicGroup) seat(id string) (int, bool) {
	return slices.BinarySearchFunc(g.members, id, func(x *classicMember, id string) int { return strings.Compare(x.id, id) })
}

// member is the member of that id, or nil.
func (g *classicGroup) member(id string) *classicMember {
	if i, ok := g.seat(id); ok {
		return g.members[i]
	}
	return nil
}

// static is the member of that instance id, or nil.
func (g *classicGroup) static(instance string) *classicMember {
	for _, x := range g.members {
		if x.instance != nil && *x.instance == instance {
			return x
		}
	}
	return nil
}

// identify finds the member that a request names, or says what is wrong with it (ClassicGroup.validateMember).
func (g *classicGroup) identify(id string, instance *string) (*classicMember, int16) {
	x := g.member(id)
	if instance != nil && (x == nil || x.instance == nil || *x.instance != *instance) {
		if g.static(*instance) == nil {
			return nil, codeUnknownMemberID
		}
		return nil, codeFencedInstanceID
	}
	if x == nil {
		return nil, codeUnknownMemberID
	}
	return x, codeNone
}

// add takes a member in. Its id is new, and so is its instance id.
func (g *classicGroup) add(x *classicMember) {
	i, _ := g.seat(x.id)
	g.members = slices.Insert(g.members, i, x)
	if g.leader == "" {
		g.leader = x.id
	}
	g.count(x, 1)
	if x.join != nil {
		g.joining++
	}
	g.settled(x.id)
}

// settled takes an id off the list of those that have not joined.
func (g *classicGroup) settled(id string) {
	delete(g.pending, id)
	if len(g.pending) == 0 {
		g.pending = nil
	}
}

// count adds the member's protocols to the vote, or takes them out.
func (g *classicGroup) count(x *classicMember, by int32) {
	if g.supported == nil {
		g.supported = map[string]int32{}
	}
	g.metadataBytes += int(by) * x.size()
	for i := range x.protocols {
		name := x.protocols[i].name
		if g.supported[name] += by; g.supported[name] == 0 {
			delete(g.supported, name)
		}
	}
}

// drop takes a member out; whatever it had parked is answered as unknown.
func (g *classicGroup) drop(c *coord.Context, x *classicMember) {
	g.answerJoin(c, x, joinError("", codeUnknownMemberID))
	g.answerSync(c, x, syncError(codeUnknownMemberID))
	if i, ok := g.seat(x.id); ok {
		g.members = slices.Delete(g.members, i, i+1)
	}
	g.count(x, -1)
	if x.unsynced {
		g.unsynced--
	}
	if g.leader == x.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

// park keeps a join until the group is complete. One that was parked before comes from a client that has given up on it.
func (g *classicGroup) park(c *coord.Context, x *classicMember, done coord.Done[*kmsg.JoinGroupResponse]) {
	g.answerJoin(c, x, joinError(x.id, codeRebalanceInProgress))
	x.join = done
	g.joining++
}

func (g *classicGroup) answerJoin(c *coord.Context, x *classicMember, r *kmsg.JoinGroupResponse) {
	if x.join != nil {
		coord.Send(c, x.join, r)
		x.join = nil
		g.joining--
	}
}

func (g *classicGroup) answerSync(c *coord.Context, x *classicMember, r *kmsg.SyncGroupResponse) bool {
	if x.sync == nil {
		return false
	}
	coord.Send(c, x.sync, r)
	x.sync = nil
	return true
}

// answerAll tells everybody parked the same error.
func (g *classicGroup) answerAll(c *coord.Context, code int16) {
	for _, x := range g.members {
		g.answerJoin(c, x, joinError(x.id, code))
		g.answerSync(c, x, syncError(code))
	}
}

// unload tells everybody parked that the coordinator has gone.
func (g *classicGroup) unload(err error) {
	for _, x := range g.members {
		if x.join != nil {
			x.join(nil, err)
		}
		if x.sync != nil {
			x.sync(nil, err)
		}
		x.join, x.sync = nil, nil
	}
}

// complete reports whether everybody who is known has joined.
func (g *classicGroup) complete() bool { return len(g.members) == g.joining && len(g.pending) == 0 }

// rebalanceTimeout is the longest of the members', in ms.
func (g *classicGroup) rebalanceTimeout() int64 {
	longest := int32(0)
	for _, x := range g.members {
		longest = max(longest, x.rebalance)
	}
	return int64(longest)
}

// enter changes the state.
func (g *classicGroup) enter(state classicState, now int64) {
	g.previous, g.state = g.state, state
	if state != classicStable {
		g.since = now // that of a stable group is when its members had joined: what its record says
	}
}

// supports reports whether a member with these protocols could be in the group (ClassicGroup.supportsProtocols).
func (g *classicGroup) supports(protocolType string, protocols []protocol) bool {
	if g.state == classicEmpty {
		return protocolType != "" && len(protocols) > 0
	}
	if g.protocolType != protocolType {
		return false
	}
	for i := range protocols {
		if g.supported[protocols[i].name] == int32(len(g.members)) {
			return true
		}
	}
	return false
}

// selectProtocol is the protocol with the most votes among those that all members support; each votes for its first. Of
// equals the leader's favourite wins, where Kafka takes any.
func (g *classicGroup) selectProtocol() string {
	votes := map[string]int{}
	for _, x := range g.members {
		if name, ok := g.vote(x); ok {
			votes[name]++
		}
	}
	best, most := "", 0
	consider := func(x *classicMember) {
		for i := range x.protocols {
			if n := votes[x.protocols[i].name]; n > most {
				best, most = x.protocols[i].name, n
			}
		}
	}
	if leader := g.member(g.leader); leader != nil {
		consider(leader) // a candidate is supported by all, so by the leader
	}
	return best
}

func (g *classicGroup) vote(x *classicMember) (string, bool) {
	for i := range x.protocols {
		if name := x.protocols[i].name; g.supported[name] == int32(len(g.members)) {
			return name, true
		}
	}
	return "", false
}

// size is what the member says about all its protocols, in bytes.
func (x *classicMember) size() int { return protocolBytes(x.protocols) }

func protocolBytes(list []protocol) (n int) {
	for i := range list {
		n += len(list[i].name) + len(list[i].metadata)
	}
	return n
}

// metadata is what the member says about a protocol.
func (x *classicMember) metadata(name *string) []byte {
	if name != nil {
		for i := range x.protocols {
			if x.protocols[i].name == *name {
				return x.protocols[i].metadata
			}
		}
	}
	return []byte{}
}

// matches reports whether the member has joined with just these protocols before.
func (x *classicMember) matches(protocols []protocol) bool {
	return slices.EqualFunc(x.protocols, protocols, func(a, b protocol) bool { return a.name == b.name && bytes.Equal(a.metadata, b.metadata) })
}

// checkCommit says whether a member, or a client that is in no group, may commit offsets (ClassicGroup.validateOffsetCommit).
func (g *classicGroup) checkCommit(member string, instance *string, generation int32, transactional bool) int16 {
	if generation < 0 && g.state == classicEmpty {
		return codeNone
	}
	if generation >= 0 || member != "" || instance != nil {
		if _, code := g.identify(member, instance); code != codeNone {
			return code
		}
		if generation != g.generation {
			return codeIllegalGeneration
		}
	} else if !transactional && g.state != classicEmpty {
		return codeUnknownMemberID
	}
	if !transactional && g.state == classicCompleting {
		return codeRebalanceInProgress
	}
	return codeNone
}

// subscribedTo reports whether a member subscribes to the topic; where that cannot be told, consumers do and others do not
// (ClassicGroup.isSubscribedToTopic).
func (g *classicGroup) subscribedTo(topic string) bool {
	if !g.known {
		return g.usesConsumerProtocol()
	}
	_, ok := slices.BinarySearch(g.topics, topic)
	return ok
}

// expiration is group.expiration (ClassicGroup.offsetExpirationCondition).
func (g *classicGroup) expiration() (since int64, may bool) {
	switch {
	case g.protocolType == "":
		return -1, true
	case g.state == classicEmpty:
		return g.since, true
	case g.usesConsumerProtocol() && g.known && g.state == classicStable:
		return -1, true
	}
	return 0, false
}
