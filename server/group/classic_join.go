package group

import (
	"encoding/base64"
	"encoding/hex"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
)

func joinError(member string, code int16) *kmsg.JoinGroupResponse {
	r := kmsg.NewPtrJoinGroupResponse()
	r.MemberID, r.ErrorCode = member, code
	return r
}

// joinResponse is the answer to a member of the group's generation.
func (g *classicGroup) joinResponse(x *classicMember) *kmsg.JoinGroupResponse {
	r := kmsg.NewPtrJoinGroupResponse()
	r.MemberID, r.Generation, r.LeaderID, r.Protocol = x.id, g.generation, g.leader, g.protocol
	if g.protocolType != "" {
		protocolType := g.protocolType
		r.ProtocolType = &protocolType
	}
	return r
}

// forLeader adds what the leader needs to assign.
func (g *classicGroup) forLeader(r *kmsg.JoinGroupResponse) {
	r.Members = make([]kmsg.JoinGroupResponseMember, len(g.members))
	for i, x := range g.members {
		r.Members[i].MemberID, r.Members[i].InstanceID, r.Members[i].ProtocolMetadata = x.id, x.instance, x.metadata(g.protocol)
	}
}

// Join lets a member join a group (JoinGroup). The answer comes when all members have joined, or their time is up.
func (m *Machine) Join(c *coord.Context, who Client, q *kmsg.JoinGroupRequest, done coord.Done[*kmsg.JoinGroupResponse]) {
	if code := m.checkJoin(who, q); code != codeNone {
		coord.Send(c, done, joinError(q.MemberID, code))
		return
	}
	g := m.find(q.Group)
	switch {
	case g != nil && g.consumer != nil && !g.consumer.isEmpty():
		m.joinConsumer(c, who, g, q, done)
		return
	case g != nil && g.other != otherNone:
		coord.Send(c, done, joinError("", codeInconsistentGroupProtocol))
		return
	case g == nil || g.classic == nil:
		if q.MemberID != "" {
			coord.Send(c, done, joinError(q.MemberID, codeUnknownMemberID))
			return
		}
		if g != nil {
			m.removeGroup(c, g) // an empty consumer group makes room
		}
		g = m.entry(q.Group)
		g.classic = newClassicGroup()
		g.classic.since = c.Now()
		m.write(c, classicKey(g.id), g.classic.value())
	}
	m.joinClassic(c, who, g, q, done)
}

// checkJoin says what is wrong with a request whatever the group.
func (m *Machine) checkJoin(who Client, q *kmsg.JoinGroupRequest) int16 {
	timeout := int64(q.SessionTimeoutMillis)
	if timeout < m.opt.Settings.MinSessionTimeout.Milliseconds() || timeout > m.opt.Settings.MaxSessionTimeout.Milliseconds() {
		return codeInvalidSessionTimeout
	}
	long := len(who.ID) > nameLimit || len(q.ProtocolType) > nameLimit || q.InstanceID != nil && len(*q.InstanceID) > nameLimit
	for i := range q.Protocols {
		long = long || len(q.Protocols[i].Name) > nameLimit
	}
	switch {
	case len(q.Group) > nameLimit:
		return codeInvalidGroupID
	case long:
		return codeInvalidRequest
	}
	return codeNone
}

// joining is a join on its way through the rules.
type joining struct {
	who       Client
	q         *kmsg.JoinGroupRequest
	protocols []protocol
	done      coord.Done[*kmsg.JoinGroupResponse]
}

// joinClassic is a join to a group that is a classic one (GroupMetadataManager.classicGroupJoinToClassicGroup).
func (m *Machine) joinClassic(c *coord.Context, who Client, g *group, q *kmsg.JoinGroupRequest, done coord.Done[*kmsg.JoinGroupResponse]) {
	cg, j := g.classic, &joining{who: who, q: q, protocols: protocolsOf(q), done: done}
	_, pending := cg.pending[q.MemberID]
	x := cg.member(q.MemberID)
	bytes := cg.metadataBytes + protocolBytes(j.protocols)
	if x != nil {
		bytes -= x.size()
	}
	switch {
	case !m.accepts(cg, x) || bytes > metadataLimit:
		if x != nil {
			m.dismiss(c, g, x)
		}
		cg.settled(q.MemberID)
		coord.Send(c, done, joinError("", codeGroupMaxSizeReached))
	case !cg.supports(q.ProtocolType, j.protocols):
		coord.Send(c, done, joinError(q.MemberID, codeInconsistentGroupProtocol))
	case q.MemberID == "":
		m.joinNew(c, g, j)
	case pending && q.InstanceID == nil:
		m.addMember(c, g, j, q.MemberID)
	default:
		m.rejoin(c, g, j)
	}
}

// accepts reports whether the group has room (GroupMetadataManager.acceptJoiningMember). x is the member that asks, nil for a new one.
func (m *Machine) accepts(g *classicGroup, x *classicMember) bool {
	limit := int64(m.opt.Settings.MaxSize)
	switch g.state {
	case classicEmpty:
		return true
	case classicPreparing:
		// Those who wait count, not the members: the last to come back are turned away when the limit was lowered.
		return x != nil && x.join != nil || int64(g.joining) < limit
	}
	return x != nil || int64(len(g.members)) < limit
}

// protocolsOf copies the protocols of a request. Of a name that comes twice the first counts.
func protocolsOf(q *kmsg.JoinGroupRequest) []protocol {
	list := make([]protocol, 0, len(q.Protocols))
	var seen map[string]bool
	if len(q.Protocols) > 1 {
		seen = make(map[string]bool, len(q.Protocols))
	}
	for i := range q.Protocols {
		p := &q.Protocols[i]
		if seen[p.Name] {
			continue
		}
		if seen != nil {
			seen[p.Name] = true
		}
		list = append(list, protocol{commonName(p.Name), append([]byte{}, p.Metadata...)})
	}
	return list
}

// memberID makes the id of a new member: what it calls itself, and a random UUID in Java's form.
func (m *Machine) memberID(name string) string {
	id := m.opt.NewID()
	if b, err := base64.RawURLEncoding.DecodeString(id); err == nil && len(b) == 16 {
		x := hex.EncodeToString(b)
		id = x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
	}
	return name + "-" + id
}

// joinNew is a join without a member id.
func (m *Machine) joinNew(c *coord.Context, g *group, j *joining) {
	cg := g.classic
	if j.q.InstanceID != nil {
		id := m.memberID(*j.q.InstanceID)
		if old := cg.static(*j.q.InstanceID); old != nil {
			m.replaceStatic(c, g, j, old, id)
			return
		}
		m.addMember(c, g, j, id)
		return
	}
	id := m.memberID(j.who.ID)
	if j.q.Version < 4 {
		m.addMember(c, g, j, id)
		return
	}
	// The client must show that it has got its id before it may hold up a rebalance (KIP-394).
	if len(cg.pending) >= pendingLimit {
		coord.Send(c, j.done, joinError("", codeCoordinatorNotAvailable))
		return
	}
	if cg.pending == nil {
		cg.pending = map[string]struct{}{}
	}
	cg.pending[id] = struct{}{}
	c.Timer(coord.TimerKey{Kind: timerSession, Name: g.id, Part: id}, c.Now()+int64(j.q.SessionTimeoutMillis))
	coord.Send(c, j.done, joinError(id, codeMemberIDRequired))
}

// addMember takes a new member in, parks its join and begins a rebalance.
func (m *Machine) addMember(c *coord.Context, g *group, j *joining, id string) {
	cg, q := g.classic, j.q
	x := &classicMember{id: id, instance: q.InstanceID, clientID: j.who.ID, clientHost: j.who.Host, rebalance: max(q.RebalanceTimeoutMillis, 0),
		session: q.SessionTimeoutMillis, protocols: j.protocols, join: j.done, fresh: true}
	if cg.state == classicPreparing && cg.previous == classicEmpty {
		cg.added = true
	}
	if len(cg.members) == 0 {
		cg.protocolType = commonName(q.ProtocolType)
	}
	cg.add(x)
	m.session(c, g, x, newMemberTimeout)
	m.rebalanceOrComplete(c, g, "a member joined")
}

// rejoin is a join with a member id that is not pending.
func (m *Machine) rejoin(c *coord.Context, g *group, j *joining) {
	cg := g.classic
	x, code := cg.identify(j.q.MemberID, j.q.InstanceID)
	switch {
	case code != codeNone:
		coord.Send(c, j.done, joinError(j.q.MemberID, code))
	case cg.state == classicPreparing:
		m.update(c, x, cg, j)
		m.rebalanceOrComplete(c, g, "")
	case cg.state == classicEmpty:
		coord.Send(c, j.done, joinError(j.q.MemberID, codeUnknownMemberID))
	case !x.matches(j.protocols):
		m.update(c, x, cg, j)
		m.rebalanceOrComplete(c, g, "a member has new metadata")
	case cg.state == classicStable && cg.leader == x.id:
		// The leader sees changes that its own metadata does not show, such as new partitions.
		m.update(c, x, cg, j)
		m.rebalanceOrComplete(c, g, "the leader joined again")
	default:
		// The response was lost, or a follower has nothing new.
		r := cg.joinResponse(x)
		if cg.state == classicCompleting && cg.leader == x.id {
			cg.forLeader(r)
		}
		coord.Send(c, j.done, r)
	}
}

// update takes in what a member says in its new join, which is parked.
func (m *Machine) update(c *coord.Context, x *classicMember, g *classicGroup, j *joining) {
	m.change(x, g, j)
	g.park(c, x, j.done)
}

func (m *Machine) change(x *classicMember, g *classicGroup, j *joining) {
	g.count(x, -1)
	x.protocols, x.rebalance, x.session = j.protocols, max(j.q.RebalanceTimeoutMillis, 0), j.q.SessionTimeoutMillis
	g.count(x, 1)
}

// replaceStatic gives a static member that was restarted a new id, and keeps its place (KIP-345). In a stable group whose protocol stays there is
// no rebalance; the change is written down (GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin).
func (m *Machine) replaceStatic(c *coord.Context, g *group, j *joining, old *classicMember, id string) {
	cg, leader := g.classic, g.classic.leader
	x := m.replace(c, g, old, id)
	m.change(x, cg, j)
	m.session(c, g, x, int64(x.session))
	if cg.state == classicStable && cg.protocol != nil && *cg.protocol == cg.selectProtocol() && cg.size() <= batchLimit {
		cg.readSubscriptions(m) // whoever loads the record knows the new one
		m.write(c, classicKey(g.id), cg.value())
		r := cg.joinResponse(x)
		if j.q.Version < 9 {
			r.LeaderID = leader // a leader that does not know itself does not assign
		} else if cg.leader == x.id {
			cg.forLeader(r)
			r.SkipAssignment = true
		}
		coord.Send(c, j.done, r)
		return
	}
	cg.park(c, x, j.done)
	m.rebalanceOrComplete(c, g, "a static member was restarted")
}

// replace puts a member with a new id in the place of old, whose parked requests are fenced.
func (m *Machine) replace(c *coord.Context, g *group, old *classicMember, id string) *classicMember {
	cg := g.classic
	cg.answerJoin(c, old, joinError(old.id, codeFencedInstanceID))
	cg.answerSync(c, old, syncError(codeFencedInstanceID))
	x := &classicMember{id: id, instance: old.instance, clientID: old.clientID, clientHost: old.clientHost, rebalance: old.rebalance, session: old.session,
		protocols: old.protocols, assignment: old.assignment}
	leads := cg.leader == old.id
	m.dismiss(c, g, old)
	cg.add(x)
	if leads {
		cg.leader = id
	}
	if cg.unsynced == 0 {
		c.Cancel(coord.TimerKey{Kind: timerSync, Name: g.id})
	}
	return x
}

// dismiss drops a member and its session.
func (m *Machine) dismiss(c *coord.Context, g *group, x *classicMember) {
	g.classic.drop(c, x)
	c.Cancel(coord.TimerKey{Kind: timerSession, Name: g.id, Part: x.id})
}

// session makes a member's session end in that many milliseconds.
func (m *Machine) session(c *coord.Context, g *group, x *classicMember, ms int64) {
	c.Timer(coord.TimerKey{Kind: timerSession, Name: g.id, Part: x.id}, c.Now()+ms)
}

// committedBy renews the session of a member that commits offsets.
func (m *Machine) committedBy(c *coord.Context, g *group, member string) {
	if cg := g.classic; cg.state == classicStable || cg.state == classicPreparing {
		if x := cg.member(member); x != nil {
			m.session(c, g, x, int64(x.session))
		}
	}
}
