package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
)

func syncError(code int16) *kmsg.SyncGroupResponse {
	r := kmsg.NewPtrSyncGroupResponse()
	r.ErrorCode, r.MemberAssignment = code, []byte{}
	return r
}

func (g *classicGroup) syncResponse(x *classicMember) *kmsg.SyncGroupResponse {
	r := syncError(codeNone)
	protocolType := g.protocolType
	r.ProtocolType, r.Protocol = &protocolType, g.protocol
	if x.assignment != nil {
		r.MemberAssignment = x.assignment
	}
	return r
}

// Sync gives a member its assignment (SyncGroup), or takes all of them from the leader. Followers wait for the leader.
func (m *Machine) Sync(c *coord.Context, _ Client, q *kmsg.SyncGroupRequest, done coord.Done[*kmsg.SyncGroupResponse]) {
	g := m.find(q.Group)
	switch {
	case g == nil || g.other != otherNone || g.isEmpty():
		coord.Send(c, done, syncError(codeUnknownMemberID))
	case g.consumer != nil:
		m.syncConsumer(c, g, q, done)
	default:
		m.syncClassic(c, g, q, done)
	}
}

func (m *Machine) syncClassic(c *coord.Context, g *group, q *kmsg.SyncGroupRequest, done coord.Done[*kmsg.SyncGroupResponse]) {
	cg := g.classic
	x, code := cg.identify(q.MemberID, q.InstanceID)
	switch {
	case code != codeNone:
	case q.Generation != cg.generation:
		code = codeIllegalGeneration
	case q.ProtocolType != nil && *q.ProtocolType != cg.protocolType || q.Protocol != nil && cg.protocol != nil && *q.Protocol != *cg.protocol:
		code = codeInconsistentGroupProtocol
	case cg.state == classicPreparing:
		code = codeRebalanceInProgress
	}
	if code != codeNone {
		coord.Send(c, done, syncError(code))
		return
	}
	if x.unsynced {
		x.unsynced = false
		if cg.unsynced--; cg.unsynced == 0 {
			c.Cancel(coord.TimerKey{Kind: timerSync, Name: g.id})
		}
	}
	if cg.state == classicStable {
		coord.Send(c, done, cg.syncResponse(x))
		return
	}
	cg.answerSync(c, x, syncError(codeRebalanceInProgress)) // of a client that has given up on it
	x.sync = done
	if cg.leader == x.id {
		m.assign(c, g, q)
	}
}

// assign takes in the leader's assignments: the group is stable, and so written down.
func (m *Machine) assign(c *coord.Context, g *group, q *kmsg.SyncGroupRequest) {
	cg := g.classic
	given := make(map[string][]byte, len(q.GroupAssignment))
	for i := range q.GroupAssignment {
		given[q.GroupAssignment[i].MemberID] = q.GroupAssignment[i].MemberAssignment
	}
	for _, x := range cg.members {
		x.assignment = append([]byte(nil), given[x.id]...)
	}
	if cg.size() > batchLimit {
		m.log.Warn("assignments are too large to be written", "group", g.id, "members", len(cg.members), "bytes", cg.size())
		for _, x := range cg.members {
			cg.answerSync(c, x, syncError(codeUnknownServerError))
		}
		m.prepareRebalance(c, g, "the assignments are too large")
		return
	}
	m.write(c, classicKey(g.id), cg.value())
	cg.enter(classicStable, c.Now())
	for _, x := range cg.members {
		if cg.answerSync(c, x, cg.syncResponse(x)) {
			m.session(c, g, x, int64(x.session))
		}
	}
}

// Heartbeat renews a member's session (Heartbeat); REBALANCE_IN_PROGRESS asks it to join again.
func (m *Machine) Heartbeat(c *coord.Context, _ Client, q *kmsg.HeartbeatRequest, done coord.Done[*kmsg.HeartbeatResponse]) {
	g := m.find(q.Group)
	if g != nil && g.consumer != nil {
		m.heartbeatConsumer(c, g, q, done)
		return
	}
	r := kmsg.NewPtrHeartbeatResponse()
	r.ErrorCode = codeUnknownMemberID
	if g != nil && g.classic != nil {
		r.ErrorCode = m.heartbeat(c, g, q)
	}
	coord.Send(c, done, r)
}

func (m *Machine) heartbeat(c *coord.Context, g *group, q *kmsg.HeartbeatRequest) int16 {
	cg := g.classic
	x, code := cg.identify(q.MemberID, q.InstanceID)
	if code != codeNone {
		return code
	}
	if q.Generation != cg.generation {
		return codeIllegalGeneration
	}
	m.session(c, g, x, int64(x.session))
	if cg.state == classicPreparing {
		return codeRebalanceInProgress
	}
	return codeNone
}

// Leave takes members out of a group (LeaveGroup): by member id, or a static one by its instance id alone, as administrators do.
func (m *Machine) Leave(c *coord.Context, _ Client, q *kmsg.LeaveGroupRequest, done coord.Done[*kmsg.LeaveGroupResponse]) {
	if q.Version < 3 {
		q.Members = []kmsg.LeaveGroupRequestMember{{MemberID: q.MemberID}}
		answer := done
		done = func(r *kmsg.LeaveGroupResponse, err error) {
			if err == nil && r.ErrorCode == codeNone && len(r.Members) > 0 {
				r.ErrorCode = r.Members[0].ErrorCode
			}
			answer(r, err)
		}
	}
	g := m.find(q.Group)
	if g != nil && g.consumer != nil {
		m.leaveConsumer(c, g, q, done)
		return
	}
	r := kmsg.NewPtrLeaveGroupResponse()
	r.Members = make([]kmsg.LeaveGroupResponseMember, len(q.Members))
	left := 0
	for i := range q.Members {
		in, out := &q.Members[i], &r.Members[i]
		out.MemberID, out.InstanceID, out.ErrorCode = in.MemberID, in.InstanceID, codeUnknownMemberID
		if g != nil && g.classic != nil {
			if out.ErrorCode = m.leave(c, g, in); out.ErrorCode == codeNone {
				left++
			}
		}
	}
	if left > 0 {
		switch g.classic.state {
		case classicStable, classicCompleting:
			m.prepareRebalance(c, g, "a member left")
		case classicPreparing:
			m.maybeComplete(c, g)
		}
	}
	coord.Send(c, done, r)
}

// leave takes one member out.
func (m *Machine) leave(c *coord.Context, g *group, in *kmsg.LeaveGroupRequestMember) int16 {
	cg := g.classic
	if _, pending := cg.pending[in.MemberID]; pending {
		cg.settled(in.MemberID)
		c.Cancel(coord.TimerKey{Kind: timerSession, Name: g.id, Part: in.MemberID})
		return codeNone
	}
	var x *classicMember
	if in.MemberID == "" && in.InstanceID != nil {
		if x = cg.static(*in.InstanceID); x == nil {
			return codeUnknownMemberID
		}
	} else {
		var code int16
		if x, code = cg.identify(in.MemberID, in.InstanceID); code != codeNone {
			return code
		}
	}
	m.dismiss(c, g, x)
	return codeNone
}
