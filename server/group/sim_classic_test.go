package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/wire/prim"
)

// classicClient is a consumer of the classic protocol: it joins, assigns when it leads, sends heartbeats, commits; and it leaves, dies,
// is restarted, is slow and changes its mind.
type classicClient struct {
	name      string
	group     string
	instance  *string
	session   int32 // ms
	rebalance int32 // ms
	protocols []string
	note      int // changes its metadata

	member     string
	generation int32 // -1 outside of a generation
	protocol   string
	stage      stage
	assigned   []int32
	busy       int       // the incarnation of the coordinator that an answer is awaited from
	asked      int       // counts requests: answers to earlier ones are not listened to
	until      time.Time // until when an answer is waited for, or nothing is done
	beat       time.Time
	quiet      bool                    // no unasked changes any more
	old        string                  // the id before the last restart
	late       *kmsg.JoinGroupResponse // its assignment is asked for later than it should
}

type stage uint8

const (
	out    stage = iota // must join
	stable              // has an assignment
)

const simHeartbeat = 3 * time.Second

func addClassicClients(w *world) {
	for g := range 1 + w.rng.IntN(2) {
		for i := range 1 + w.rng.IntN(4) {
			c := &classicClient{name: fmt.Sprintf("c%d.%d", g, i), group: fmt.Sprintf("g%d", g), session: int32(w.between(6*time.Second, 30*time.Second).Milliseconds()),
				rebalance: int32(w.between(5*time.Second, time.Minute).Milliseconds()), protocols: []string{"range", "sticky"}, generation: -1}
			if w.chance(0.5) {
				c.protocols = []string{"sticky", "range", "roundrobin"}
			}
			if w.chance(0.4) {
				c.instance = &c.name
			}
			c.until = w.now().Add(w.between(0, 10*time.Second))
			w.clients = append(w.clients, c)
		}
	}
}

func (c *classicClient) behave(w *world) {
	c.quiet, c.late = true, nil
	c.until = w.now()
}

func (c *classicClient) unsettled(w *world) string {
	if c.stage != stable {
		return fmt.Sprintf("%s is not in its group %s", c.name, c.group)
	}
	why := ""
	w.peek(func(m *Machine) {
		g := m.find(c.group)
		switch {
		case g == nil || g.classic == nil:
			why = fmt.Sprintf("group %s does not exist", c.group)
		case g.classic.state != classicStable:
			why = fmt.Sprintf("group %s is %v", c.group, g.classic.state)
		case g.classic.generation != c.generation || g.classic.member(c.member) == nil:
			why = fmt.Sprintf("%s is in generation %d of group %s, which is in %d", c.name, c.generation, c.group, g.classic.generation)
		}
	})
	if why != "" {
		return why
	}
	owned, members := map[int32]string{}, 0
	for _, x := range w.clients {
		if y, ok := x.(*classicClient); ok && y.group == c.group {
			members++
			for _, p := range y.assigned {
				owned[p] = y.name
			}
		}
	}
	w.peek(func(m *Machine) {
		if n := len(m.find(c.group).classic.members); n != members {
			why = fmt.Sprintf("group %s has %d members, expected %d", c.group, n, members)
		}
	})
	if why == "" && len(owned) != simPartitions {
		return fmt.Sprintf("group %s: %d partitions are owned, expected %d", c.group, len(owned), simPartitions)
	}
	return why
}

// restart is a process that dies without a word and comes back.
func (c *classicClient) restart(w *world, after time.Duration) {
	w.logf("%s is restarted, away for %v", c.name, after)
	c.old, c.late = c.member, nil
	c.asked++
	c.member, c.generation, c.stage, c.assigned, c.busy = "", -1, out, nil, 0
	c.until = w.now().Add(after)
}

// ghost is a heartbeat of the process before the restart, which arrives late.
func (c *classicClient) ghost(w *world) {
	old := c.old
	c.old = ""
	q := kmsg.NewPtrHeartbeatRequest()
	q.Group, q.MemberID, q.InstanceID, q.Generation = c.group, old, c.instance, 0
	call(w, "late heartbeat", 5*time.Second, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.HeartbeatResponse]) {
		m.Heartbeat(x, Client{}, q, done)
	}, func(r *kmsg.HeartbeatResponse, err error) {
		if err == nil && r.ErrorCode != codeFencedInstanceID && r.ErrorCode != codeUnknownMemberID {
			w.fail("%s: a member that was replaced is told %d", c.name, r.ErrorCode)
		}
	}, func(*kmsg.HeartbeatResponse, error) {})
}

// echo is a request of the generation before, which arrives late.
func (c *classicClient) echo(w *world) {
	generation, over := c.generation-1, false
	look := func(m *Machine) {
		g := m.find(c.group)
		over = g != nil && g.classic != nil && g.classic.generation != generation
	}
	judge := func(code int16) {
		if over && !slices.Contains([]int16{codeIllegalGeneration, codeUnknownMemberID, codeFencedInstanceID}, code) {
			w.fail("%s: a request of generation %d, which is over, is answered with %d", c.name, generation, code)
		}
	}
	switch w.rng.IntN(3) {
	case 0:
		q := kmsg.NewPtrHeartbeatRequest()
		q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 4, c.group, c.member, c.instance, generation
		call(w, "late heartbeat of "+c.name, 5*time.Second, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.HeartbeatResponse]) {
			look(m)
			m.Heartbeat(x, c.who(), q, done)
		}, func(r *kmsg.HeartbeatResponse, err error) {
			if err == nil {
				judge(r.ErrorCode)
			}
		}, func(*kmsg.HeartbeatResponse, error) {})
	case 1:
		q := kmsg.NewPtrSyncGroupRequest()
		q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 5, c.group, c.member, c.instance, generation
		call(w, "late sync of "+c.name, simBound, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.SyncGroupResponse]) {
			look(m)
			m.Sync(x, c.who(), q, done)
		}, func(r *kmsg.SyncGroupResponse, err error) {
			if err == nil {
				judge(r.ErrorCode)
			}
		}, func(*kmsg.SyncGroupResponse, error) {})
	default:
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Group, q.MemberID, q.Generation, q.InstanceID = c.group, c.member, generation, c.instance
		w.commit(q, []int32{int32(w.rng.IntN(simPartitions))}, func(int16, error) {})
	}
}

func (c *classicClient) tick(w *world) {
	now := w.now()
	if c.busy == w.incarnation && now.Before(c.until) {
		return
	}
	if c.busy != 0 {
		// The coordinator has gone, or the request timed out.
		c.asked++
		c.busy = 0
		if c.stage == stable {
			c.beat = now
		}
	} else if now.Before(c.until) {
		return
	}
	if !c.quiet && w.chance(0.01) {
		c.restart(w, w.between(0, 40*time.Second))
		return
	}
	if c.instance != nil && c.old != "" && c.stage == stable {
		c.ghost(w)
	}
	switch {
	case c.late != nil:
		joined := c.late
		c.late = nil
		c.sync(w, joined)
	case c.stage == out:
		c.join(w)
	case !now.Before(c.beat):
		c.heartbeat(w)
	case c.quiet:
	case w.chance(0.02):
		c.leave(w)
	case w.chance(0.02):
		c.note++
		w.logf("%s has new metadata", c.name)
		c.join(w)
	case c.generation > 1 && w.chance(0.05):
		c.echo(w)
	case w.chance(0.15) && len(c.assigned) > 0:
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Group, q.MemberID, q.Generation, q.InstanceID = c.group, c.member, c.generation, c.instance
		reply := c.await(w, 5*time.Second)
		w.commit(q, c.assigned[:1+w.rng.IntN(len(c.assigned))], func(code int16, err error) {
			if reply() && err == nil {
				c.judge(w, code)
			}
		})
	}
}

// await notes that an answer is awaited; the function says whether it still is when it comes.
func (c *classicClient) await(w *world, timeout time.Duration) func() bool {
	c.asked++
	asked := c.asked
	c.busy, c.until = w.incarnation, w.now().Add(timeout)
	return func() bool {
		if c.asked != asked {
			return false
		}
		c.busy = 0
		c.until = w.now()
		return true
	}
}

func (c *classicClient) who() Client { return Client{ID: c.name, Host: "/127.0.0.1"} }

// metadata is a subscription, as consumers send it.
func (c *classicClient) metadata() []byte {
	b := prim.AppendInt16(nil, 1)
	b = prim.AppendArrayLen(b, 1)
	b = prim.AppendString(b, simTopic)
	return prim.AppendBytes(b, fmt.Append(nil, c.note))
}

// bound is how long a parked request may take: until a rebalance that had just begun when it came is over.
const simBound = 70 * time.Second

func (c *classicClient) join(w *world) {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID = 9, c.group, c.member, c.instance
	q.SessionTimeoutMillis, q.RebalanceTimeoutMillis, q.ProtocolType = c.session, c.rebalance, "consumer"
	for _, p := range c.protocols {
		q.Protocols = append(q.Protocols, kmsg.JoinGroupRequestProtocol{Name: p, Metadata: c.metadata()})
	}
	c.stage, c.assigned = out, nil
	// Patience may be shorter than the rebalance: then the request is sent again.
	reply := c.await(w, w.between(5*time.Second, 90*time.Second))
	call(w, "join of "+c.name, simBound, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.JoinGroupResponse]) {
		m.Join(x, c.who(), q, done)
	}, func(r *kmsg.JoinGroupResponse, err error) {
		if err == nil && r.ErrorCode == codeNone && r.Generation < w.synced[c.group] {
			w.fail("%s joined generation %d of group %s, where generation %d was known", c.name, r.Generation, c.group, w.synced[c.group])
		}
	}, func(r *kmsg.JoinGroupResponse, err error) {
		if !reply() {
			return
		}
		if err != nil {
			c.wait(w)
			return
		}
		w.logf("%s joins %s as %q: code %d generation %d leader %q members %d", c.name, c.group, q.MemberID, r.ErrorCode, r.Generation, r.LeaderID, len(r.Members))
		switch r.ErrorCode {
		case codeNone:
			c.member, c.generation, c.protocol = r.MemberID, r.Generation, text(r.Protocol)
			if !c.slow(w) {
				c.sync(w, r)
			} else if w.chance(0.5) {
				c.late = r
			}
		case codeMemberIDRequired:
			c.member = r.MemberID
			c.slow(w)
		default:
			c.judge(w, r.ErrorCode)
		}
	})
}

// slow may do nothing for longer than is good.
func (c *classicClient) slow(w *world) bool {
	if c.quiet || !w.chance(0.05) {
		return false
	}
	c.until = w.now().Add(w.between(0, time.Minute))
	return true
}

// wait tries again a little later.
func (c *classicClient) wait(w *world) {
	c.until = w.now().Add(w.between(50*time.Millisecond, time.Second))
}

// judge reacts to an error as consumers do.
func (c *classicClient) judge(w *world, code int16) {
	switch code {
	case codeNone:
		return
	case codeUnknownMemberID:
		c.member, c.generation = "", -1
	case codeFencedInstanceID:
		w.logf("%s is fenced", c.name)
		c.member, c.generation = "", -1
	case codeRebalanceInProgress, codeIllegalGeneration, codeCoordinatorNotAvailable:
	case codeInconsistentGroupProtocol: // a sync of a generation that was lost, whose number came again with another protocol
	default:
		w.fail("%s: unexpected error %d", c.name, code)
	}
	c.stage, c.assigned = out, nil
	c.wait(w)
}

func (c *classicClient) sync(w *world, joined *kmsg.JoinGroupResponse) {
	q := kmsg.NewPtrSyncGroupRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation, q.ProtocolType, q.Protocol = 5, c.group, c.member, c.instance, c.generation, joined.ProtocolType, joined.Protocol
	if joined.LeaderID == c.member && !joined.SkipAssignment {
		if len(joined.Members) == 0 {
			w.fail("%s leads and is told of no members", c.name)
			return
		}
		for _, x := range joined.Members {
			q.GroupAssignment = append(q.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: x.MemberID})
		}
		for p := range simPartitions {
			a := &q.GroupAssignment[p%len(q.GroupAssignment)]
			a.MemberAssignment = append(a.MemberAssignment, byte(p))
		}
	}
	reply := c.await(w, w.between(5*time.Second, 90*time.Second))
	call(w, "sync of "+c.name, simBound, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.SyncGroupResponse]) {
		m.Sync(x, c.who(), q, done)
	}, func(r *kmsg.SyncGroupResponse, err error) {
		if err == nil && r.ErrorCode == codeNone {
			w.assigned(c.group, c.owner(q.MemberID), q.Generation, r.MemberAssignment)
		}
	}, func(r *kmsg.SyncGroupResponse, err error) {
		if !reply() {
			return
		}
		if err != nil {
			c.wait(w)
			return
		}
		w.logf("%s syncs generation %d: code %d %v", c.name, q.Generation, r.ErrorCode, r.MemberAssignment)
		if r.ErrorCode != codeNone {
			c.judge(w, r.ErrorCode)
			return
		}
		c.stage, c.beat, c.assigned = stable, w.now().Add(simHeartbeat), nil
		for _, p := range r.MemberAssignment {
			c.assigned = append(c.assigned, int32(p))
		}
	})
}

// owner is who owns what a member is assigned: a static member keeps it under a new id.
func (c *classicClient) owner(member string) string {
	if c.instance != nil {
		return *c.instance
	}
	return member
}

// assigned checks that nobody else has been told to own the same in this generation.
func (w *world) assigned(group, owner string, generation int32, partitions []byte) {
	w.synced[group] = max(w.synced[group], generation)
	owners := w.owners[group]
	if owners == nil {
		owners = map[ownerKey]string{}
		w.owners[group] = owners
	}
	for _, p := range partitions {
		k := ownerKey{generation, int32(p)}
		if was := owners[k]; was != "" && was != owner {
			w.fail("group %s: partition %d of generation %d is owned by %s and by %s", group, p, generation, was, owner)
		}
		owners[k] = owner
	}
}

func (c *classicClient) heartbeat(w *world) {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 4, c.group, c.member, c.instance, c.generation
	reply := c.await(w, 5*time.Second)
	call(w, "heartbeat of "+c.name, 5*time.Second, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.HeartbeatResponse]) {
		m.Heartbeat(x, c.who(), q, done)
	}, nil, func(r *kmsg.HeartbeatResponse, err error) {
		if !reply() {
			return
		}
		c.beat = w.now().Add(simHeartbeat)
		if err != nil {
			c.beat = w.now().Add(time.Second)
			return
		}
		if r.ErrorCode != codeNone {
			w.logf("%s heartbeat: code %d", c.name, r.ErrorCode)
			c.judge(w, r.ErrorCode)
			c.slow(w)
		}
	})
}

func (c *classicClient) leave(w *world) {
	w.logf("%s leaves", c.name)
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Version, q.Group = 5, c.group
	member := kmsg.LeaveGroupRequestMember{MemberID: c.member, InstanceID: c.instance}
	if c.instance != nil && w.chance(0.5) {
		member.MemberID = "" // as an administrator
	}
	q.Members = []kmsg.LeaveGroupRequestMember{member}
	call(w, "leaving of "+c.name, 5*time.Second, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.LeaveGroupResponse]) {
		m.Leave(x, c.who(), q, done)
	}, func(r *kmsg.LeaveGroupResponse, err error) {
		if err == nil && !slices.Contains([]int16{codeNone, codeUnknownMemberID, codeFencedInstanceID}, r.Members[0].ErrorCode) {
			w.fail("%s leaves: %d", c.name, r.Members[0].ErrorCode)
		}
	}, func(*kmsg.LeaveGroupResponse, error) {})
	c.asked++
	c.member, c.generation, c.stage, c.assigned, c.busy = "", -1, out, nil, 0
	c.until = w.now().Add(w.between(0, 30*time.Second))
}

func (c *classicClient) String() string { return strings.Join([]string{c.group, c.name}, "/") }
