package group

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/assign"
)

// modernClient is a consumer of a KIP-848 group, by the new protocol or by the classic one: it joins, takes its time to give up
// partitions, forgets to send heartbeats, leaves, dies, changes its subscription, and comes back with the other protocol.
type modernClient struct {
	name      string
	group     string
	instance  *string
	classic   bool
	rebalance int32 // ms
	topics    []string
	regex     string
	assignor  *string

	id      string
	epoch   int32 // or generation; 0 outside of the group
	before  int32 // the epoch before
	past    int32 // and the one before that
	owned   map[owned]bool
	target  map[owned]bool          // what it was told to own, nil when it does
	settles time.Time               // when it will
	full    bool                    // the next heartbeat tells all
	tell    bool                    // the next heartbeat tells what is owned
	joined  *kmsg.JoinGroupResponse // not synced yet, on purpose
	synced  bool

	busy    int // as in classicClient
	asked   int
	until   time.Time
	beat    time.Time
	quiet   bool
	earlier string // the id before the last restart
}

const modernTopic = "u" // comes, grows and goes

// addConsumerClients adds members of KIP-848 groups, changes of topics, and a referee.
func addConsumerClients(w *world) {
	for g := range w.rng.IntN(3) {
		for i := range 1 + w.rng.IntN(4) {
			c := &modernClient{name: fmt.Sprintf("k%d.%d", g, i), group: fmt.Sprintf("k%d", g), rebalance: int32(w.between(5*time.Second, time.Minute).Milliseconds()),
				topics: []string{simTopic}, classic: w.chance(0.3), owned: map[owned]bool{}}
			if w.chance(0.3) {
				c.instance = &c.name
			}
			c.until = w.now().Add(w.between(0, 10*time.Second))
			w.clients = append(w.clients, c)
		}
	}
	w.clients = append(w.clients, &topicMaker{}, &referee{})
}

func (c *modernClient) behave(w *world) {
	c.quiet, c.until = true, w.now()
}

func (c *modernClient) wants(topic string) bool {
	return slices.Contains(c.topics, topic) || c.regex != ""
}

func (c *modernClient) unsettled(w *world) (why string) {
	if c.epoch == 0 || c.target != nil {
		return fmt.Sprintf("%s is not in its group %s, or has yet to take what it was given", c.name, c.group)
	}
	want, members, wanted, classic := map[owned]string{}, 0, map[string]bool{}, false
	for _, x := range w.clients {
		if x, ok := x.(*modernClient); ok && x.group == c.group {
			members++
			for o := range x.owned {
				if want[o] != "" {
					return fmt.Sprintf("partition %d is owned by %s and %s", o.partition, want[o], x.name)
				}
				want[o] = x.name
			}
			for _, t := range [...]string{simTopic, modernTopic} {
				wanted[t] = wanted[t] || x.wants(t)
			}
		}
	}
	w.peek(func(m *Machine) {
		switch g := m.find(c.group); {
		case g == nil:
			why = fmt.Sprintf("group %s does not exist", c.group)
		case g.classic != nil:
			classic = true
			if g.classic.state != classicStable || g.classic.member(c.id) == nil || g.classic.generation != c.epoch || len(g.classic.members) != members {
				why = fmt.Sprintf("group %s is %v with %d classic members", c.group, g.classic.state, len(g.classic.members))
			}
		default:
			x := g.consumer.member(c.id)
			if g.consumer.state() != "Stable" || x == nil || x.epoch != c.epoch || len(g.consumer.members) != members {
				why = fmt.Sprintf("group %s is %s with %d members", c.group, g.consumer.state(), len(g.consumer.members))
			}
		}
	})
	if why != "" {
		return why
	}
	delete(wanted, map[bool]string{true: modernTopic}[classic]) // these consumers do not look for new partitions
	for t := range wanted {
		for _, o := range w.partitionsOf(t) {
			if wanted[t] && want[o] == "" {
				return fmt.Sprintf("partition %d of %s is owned by nobody in group %s", o.partition, t, c.group)
			}
		}
	}
	return ""
}

func (c *modernClient) who() Client { return Client{ID: c.name, Host: "/127.0.0.1"} }

func (c *modernClient) newID(w *world) string {
	var b [16]byte
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// lose forgets what is owned and the place in the group, as after being fenced.
func (c *modernClient) lose() {
	c.epoch, c.before, c.past, c.target, c.joined = 0, 0, 0, nil, nil
	clear(c.owned)
}

func (c *modernClient) restart(w *world, after time.Duration) {
	w.logf("%s is restarted, away for %v", c.name, after)
	c.earlier = c.id
	c.lose()
	c.asked++
	c.id, c.busy, c.until = "", 0, w.now().Add(after)
	if w.chance(0.3) {
		c.classic = !c.classic
	}
	if c.classic && c.regex != "" {
		c.topics, c.regex = []string{simTopic}, ""
	}
}

func (c *modernClient) tick(w *world) {
	now := w.now()
	if c.busy == w.incarnation && now.Before(c.until) {
		return
	}
	if c.busy != 0 { // the coordinator has gone, or the answer was lost
		c.asked++
		c.busy, c.full = 0, true
		if c.classic && !c.synced {
			c.rejoin()
		}
	} else if now.Before(c.until) {
		return
	}
	if !c.quiet && w.chance(0.01) {
		c.restart(w, w.between(0, 50*time.Second))
		return
	}
	if c.target != nil && !now.Before(c.settles) {
		c.owned, c.target, c.tell = c.target, nil, true
		c.beat = now
	}
	switch {
	case c.joined != nil:
		joined := c.joined
		c.joined = nil
		c.sync(w, joined)
	case c.classic && c.epoch == 0:
		c.join(w)
	case c.classic && !now.Before(c.beat):
		c.classicHeartbeat(w)
	case c.classic:
		c.busyness(w)
	case c.epoch == 0 || !now.Before(c.beat):
		c.heartbeat(w)
	default:
		c.busyness(w)
	}
}

// busyness is what clients do on their own.
func (c *modernClient) busyness(w *world) {
	if c.quiet {
		return
	}
	switch {
	case w.chance(0.02):
		c.leave(w)
	case w.chance(0.02):
		c.resubscribe(w)
	case w.chance(0.02):
		w.logf("%s is slow", c.name)
		c.until = w.now().Add(w.between(0, time.Minute))
	case w.chance(0.1):
		c.commit(w)
	case c.past > 0 && !c.classic && w.chance(0.1):
		c.ghost(w)
	}
}

// ghost is a heartbeat of an epoch long past, which arrives late: it must be fenced, whatever it says is owned. Or it is a commit.
func (c *modernClient) ghost(w *world) {
	if w.chance(0.5) {
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Group, q.MemberID, q.Generation, q.InstanceID = c.group, c.id, c.past, c.instance
		w.commit(q, []int32{int32(w.rng.IntN(simPartitions))}, func(int16, error) {})
		return
	}
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.MemberEpoch, q.InstanceID, q.RebalanceTimeoutMillis = 1, c.group, c.id, c.past, c.instance, -1
	q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	past := false
	call(w, "late heartbeat of "+c.name, 5*time.Second, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.ConsumerGroupHeartbeatResponse]) {
		if e := m.find(q.Group); e != nil && e.consumer != nil {
			if y := e.consumer.member(q.MemberID); y != nil {
				past = q.MemberEpoch < y.previous && q.MemberEpoch < y.epoch
			}
		}
		m.ConsumerHeartbeat(x, c.who(), q, done)
	}, func(r *kmsg.ConsumerGroupHeartbeatResponse, err error) {
		if err == nil && past && r.ErrorCode != codeFencedMemberEpoch {
			w.fail("%s: a heartbeat of epoch %d is answered with %d and epoch %d", c.name, q.MemberEpoch, r.ErrorCode, r.MemberEpoch)
		}
	}, func(*kmsg.ConsumerGroupHeartbeatResponse, error) {})
}

func (c *modernClient) commit(w *world) {
	var list []int32
	for _, o := range w.partitionsOf(simTopic) {
		if c.owned[o] {
			list = append(list, o.partition)
		}
	}
	if len(list) == 0 {
		return
	}
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Group, q.MemberID, q.Generation, q.InstanceID = c.group, c.id, c.epoch, c.instance
	reply := c.await(w, 5*time.Second)
	w.commit(q, list, func(code int16, err error) {
		if !reply() || err != nil {
			return
		}
		switch code {
		case codeNone, codeStaleMemberEpoch, codeUnknownMemberID, codeIllegalGeneration, codeGroupIDNotFound, codeRebalanceInProgress, codeFencedInstanceID:
		default:
			w.fail("%s commits: %d", c.name, code)
		}
	})
}

func (c *modernClient) resubscribe(w *world) {
	c.topics, c.regex = []string{simTopic}, ""
	switch n := w.rng.IntN(4); {
	case n == 0:
		c.topics = []string{simTopic, modernTopic}
	case n == 1 && !c.classic:
		c.topics, c.regex = []string{}, "[tu]"
	case n == 2:
		c.topics = []string{modernTopic}
	}
	if w.chance(0.2) {
		c.assignor = &[]string{"uniform", "range"}[w.rng.IntN(2)]
	}
	w.logf("%s subscribes to %v %q", c.name, c.topics, c.regex)
	c.full, c.beat = true, w.now()
	if c.classic {
		c.rejoin()
	}
}

// await is as in classicClient.
func (c *modernClient) await(w *world, timeout time.Duration) func() bool {
	c.asked++
	asked := c.asked
	c.busy, c.until = w.incarnation, w.now().Add(timeout)
	return func() bool {
		if c.asked != asked {
			return false
		}
		c.busy, c.until = 0, w.now()
		return true
	}
}

func (c *modernClient) heartbeat(w *world) {
	if c.id == "" {
		c.id = c.newID(w)
	}
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.MemberEpoch, q.InstanceID, q.RebalanceTimeoutMillis = 1, c.group, c.id, c.epoch, c.instance, -1
	if c.epoch == 0 || c.full {
		q.RebalanceTimeoutMillis, q.SubscribedTopicNames, q.ServerAssignor = c.rebalance, c.topics, c.assignor
		regex := c.regex
		q.SubscribedTopicRegex = &regex
	}
	if c.epoch == 0 || c.full || c.tell {
		q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		byTopic := map[assign.TopicID][]int32{}
		for o := range c.owned {
			byTopic[o.topic] = append(byTopic[o.topic], o.partition)
		}
		for _, t := range slices.SortedFunc(maps.Keys(byTopic), func(a, b assign.TopicID) int { return strings.Compare(string(a[:]), string(b[:])) }) {
			q.Topics = append(q.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t, Partitions: byTopic[t]})
		}
	}
	told, all := c.tell, c.full
	c.tell, c.full = false, false
	reply := c.await(w, 5*time.Second)
	call(w, "heartbeat of "+c.name, 5*time.Second, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.ConsumerGroupHeartbeatResponse]) {
		m.ConsumerHeartbeat(x, c.who(), q, done)
	}, nil, func(r *kmsg.ConsumerGroupHeartbeatResponse, err error) {
		if !reply() {
			return
		}
		c.beat = w.now().Add(simHeartbeat)
		if err != nil {
			c.full, c.beat = true, w.now().Add(w.between(50*time.Millisecond, time.Second))
			return
		}
		c.heard(w, q, r)
		if r.ErrorCode != codeNone {
			c.tell, c.full = told, all
		}
	})
}

// heard takes in the answer to a heartbeat.
func (c *modernClient) heard(w *world, q *kmsg.ConsumerGroupHeartbeatRequest, r *kmsg.ConsumerGroupHeartbeatResponse) {
	switch r.ErrorCode {
	case codeNone:
		if q.MemberEpoch > 0 && r.MemberEpoch < q.MemberEpoch {
			w.fail("%s was in epoch %d and is told %d", c.name, q.MemberEpoch, r.MemberEpoch)
		}
		if c.epoch != r.MemberEpoch {
			c.past, c.before, c.epoch = c.before, c.epoch, r.MemberEpoch
		}
		if r.Assignment == nil {
			return
		}
		c.target = map[owned]bool{}
		gives := false
		for _, t := range r.Assignment.Topics {
			for _, p := range t.Partitions {
				c.target[owned{t.TopicID, p}] = true
			}
		}
		for o := range c.owned {
			gives = gives || !c.target[o]
		}
		c.settles = w.now()
		if gives && !c.quiet {
			c.settles = w.now().Add(w.between(0, time.Duration(c.rebalance)*time.Millisecond/4))
			if w.chance(0.05) {
				c.settles = w.now().Add(2 * time.Duration(c.rebalance) * time.Millisecond)
			}
		}
		w.logf("%s is in epoch %d of %s and gets %d partitions", c.name, c.epoch, c.group, len(c.target))
		c.beat = w.now()
	case codeFencedMemberEpoch, codeUnknownMemberID, codeGroupIDNotFound:
		w.logf("%s is out of its group: %d %s", c.name, r.ErrorCode, text(r.ErrorMessage))
		c.lose()
		c.wait(w)
	case codeUnreleasedInstanceID:
		if strings.HasSuffix(*r.ErrorMessage, " by "+c.id+" member.") {
			w.fail("%s is told that it holds its own instance id", c.name)
		}
		c.wait(w)
	case codeFencedInstanceID:
		c.lose()
		c.id = ""
		c.wait(w)
	default:
		w.fail("%s heartbeat: %d %s", c.name, r.ErrorCode, text(r.ErrorMessage))
	}
}

func (c *modernClient) wait(w *world) {
	c.until = w.now().Add(w.between(50*time.Millisecond, time.Second))
}

// leave says good-bye, for ever or for a while.
func (c *modernClient) leave(w *world) {
	w.logf("%s leaves", c.name)
	if c.classic {
		q := kmsg.NewPtrLeaveGroupRequest()
		q.Version, q.Group, q.Members = 5, c.group, []kmsg.LeaveGroupRequestMember{{MemberID: c.id, InstanceID: c.instance}}
		call(w, "leaving of "+c.name, 5*time.Second, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.LeaveGroupResponse]) {
			m.Leave(x, c.who(), q, done)
		}, nil, func(*kmsg.LeaveGroupResponse, error) {})
	} else {
		q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		q.Version, q.Group, q.MemberID, q.MemberEpoch, q.InstanceID, q.RebalanceTimeoutMillis = 1, c.group, c.id, left, c.instance, -1
		if c.instance != nil && w.chance(0.7) {
			q.MemberEpoch = leftStatic
		}
		call(w, "leaving of "+c.name, 5*time.Second, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.ConsumerGroupHeartbeatResponse]) {
			m.ConsumerHeartbeat(x, c.who(), q, done)
		}, nil, func(*kmsg.ConsumerGroupHeartbeatResponse, error) {})
	}
	c.restart(w, w.between(0, 30*time.Second))
}

// rejoin gives everything up and asks again, as an eager consumer of the classic protocol does.
func (c *modernClient) rejoin() {
	c.epoch, c.target, c.joined = 0, nil, nil
	clear(c.owned)
}

func (c *modernClient) join(w *world) {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.ProtocolType = 9, c.group, c.id, c.instance, consumerProtocol
	q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = 20_000, c.rebalance
	metadata := kmsg.ConsumerMemberMetadata{Version: 1, Topics: c.topics}
	q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata.AppendTo(nil)}}
	reply := c.await(w, w.between(5*time.Second, 90*time.Second))
	call(w, "join of "+c.name, simBound, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.JoinGroupResponse]) {
		m.Join(x, c.who(), q, done)
	}, nil, func(r *kmsg.JoinGroupResponse, err error) {
		if !reply() {
			return
		}
		if err != nil {
			c.wait(w)
			return
		}
		w.logf("%s joins %s: code %d generation %d members %d", c.name, c.group, r.ErrorCode, r.Generation, len(r.Members))
		switch r.ErrorCode {
		case codeNone:
			c.id, c.epoch, c.synced = r.MemberID, r.Generation, false
			if !c.quiet && w.chance(0.1) {
				c.joined, c.until = r, w.now().Add(w.between(0, time.Minute))
				return
			}
			c.sync(w, r)
		case codeMemberIDRequired:
			c.id = r.MemberID
		default:
			c.judge(w, r.ErrorCode)
		}
	})
}

func (c *modernClient) judge(w *world, code int16) {
	switch code {
	case codeRebalanceInProgress, codeIllegalGeneration, codeCoordinatorNotAvailable:
	case codeUnknownMemberID, codeFencedInstanceID:
		c.id = ""
	default:
		w.fail("%s: unexpected error %d", c.name, code)
	}
	c.rejoin()
	c.wait(w)
}

func (c *modernClient) sync(w *world, joined *kmsg.JoinGroupResponse) {
	q := kmsg.NewPtrSyncGroupRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation, q.ProtocolType, q.Protocol = 5, c.group, c.id, c.instance, joined.Generation, joined.ProtocolType, joined.Protocol
	q.GroupAssignment = w.plan(joined)
	reply := c.await(w, w.between(5*time.Second, 90*time.Second))
	call(w, "sync of "+c.name, simBound, func(x *coord.Context, m *Machine, done coord.Done[*kmsg.SyncGroupResponse]) {
		m.Sync(x, c.who(), q, done)
	}, nil, func(r *kmsg.SyncGroupResponse, err error) {
		if !reply() {
			return
		}
		if err != nil {
			c.rejoin()
			c.wait(w)
			return
		}
		if r.ErrorCode != codeNone {
			c.judge(w, r.ErrorCode)
			return
		}
		list, custom, ok := readAssignment(r.MemberAssignment)
		if !ok || custom {
			w.fail("%s is assigned %x", c.name, r.MemberAssignment)
		}
		c.synced, c.beat = true, w.now().Add(simHeartbeat)
		for _, t := range byID(w.image, list) {
			for _, p := range t.Partitions {
				c.owned[owned{t.Topic, p}] = true
			}
		}
		w.logf("%s syncs generation %d and gets %d partitions", c.name, c.epoch, len(c.owned))
	})
}

// plan is the assignment a leader of a classic group makes.
func (w *world) plan(joined *kmsg.JoinGroupResponse) (out []kmsg.SyncGroupRequestGroupAssignment) {
	if joined.LeaderID != joined.MemberID || joined.SkipAssignment {
		return nil
	}
	g := assign.Group{Partitions: func(id assign.TopicID) int32 { return int32(len(w.image.TopicByID(id).Partitions)) }}
	for _, x := range joined.Members {
		s, _ := readSubscription(x.ProtocolMetadata)
		m := assign.Member{ID: x.MemberID}
		for _, t := range s.topics {
			if t := w.image.Topic(t); t != nil {
				m.Topics = append(m.Topics, assign.TopicID(t.ID))
			}
		}
		g.Members = append(g.Members, m)
	}
	for i, a := range assign.Range(g) {
		b := writeAssignment(1, w.image, func(yield func(assign.TopicID, []int32)) {
			for _, t := range a {
				yield(t.Topic, t.Partitions)
			}
		})
		out = append(out, kmsg.SyncGroupRequestGroupAssignment{MemberID: g.Members[i].ID, MemberAssignment: b})
	}
	return out
}

func (c *modernClient) classicHeartbeat(w *world) {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 4, c.group, c.id, c.instance, c.epoch
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
		} else if r.ErrorCode != codeNone {
			w.logf("%s heartbeat: code %d", c.name, r.ErrorCode)
			c.judge(w, r.ErrorCode)
		}
	})
}
