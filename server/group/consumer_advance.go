package group

import (
	"bytes"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/assign"
	"github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/server/group/topichash"
)

// wish is what a request tells about its member.
type wish struct {
	clientID, clientHost     string
	instance, rack, assignor *string // nil: as before
	rebalance                int32   // -1: as before
	topics                   []string
	topicsToo                bool // topics are told, not as before
	regex                    *string
	classic                  *record.ClassicMemberMetadata
	reported                 bool // it says which partitions it owns
	owned                    []kmsg.ConsumerGroupHeartbeatRequestTopic
}

func heartbeatWish(who Client, q *kmsg.ConsumerGroupHeartbeatRequest) *wish {
	return &wish{clientID: who.ID, clientHost: who.Host, instance: q.InstanceID, rack: q.RackID, assignor: q.ServerAssignor,
		rebalance: q.RebalanceTimeoutMillis, topics: q.SubscribedTopicNames, topicsToo: q.SubscribedTopicNames != nil,
		regex: q.SubscribedTopicRegex, reported: q.Topics != nil, owned: q.Topics}
}

// apply is the member's description with what the wish changes.
func (w *wish) apply(x consumerMember) consumerMember {
	x.clientID, x.clientHost, x.classic = w.clientID, w.clientHost, w.classic
	for _, f := range [...]struct{ to, from **string }{{&x.instance, &w.instance}, {&x.rack, &w.rack}, {&x.assignor, &w.assignor}} {
		if *f.from != nil {
			*f.to = *f.from
		}
	}
	if w.rebalance != -1 {
		x.rebalance = w.rebalance
	}
	if w.topicsToo && !slices.Equal(w.topics, x.topics) {
		x.topics = slices.Clone(w.topics)
		slices.Sort(x.topics)
		x.topics = slices.Compact(x.topics)
	}
	if w.regex != nil {
		x.regex = *w.regex
	}
	return x
}

// sameDescription reports whether two states of a member need the same record.
func sameDescription(a, b *consumerMember) bool {
	same := func(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }
	return same(a.instance, b.instance) && same(a.rack, b.rack) && same(a.assignor, b.assignor) && a.rebalance == b.rebalance &&
		a.clientID == b.clientID && a.clientHost == b.clientHost && a.regex == b.regex && slices.Equal(a.topics, b.topics) && sameClassic(a.classic, b.classic)
}

func sameClassic(a, b *record.ClassicMemberMetadata) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.SessionTimeoutMs == b.SessionTimeoutMs && slices.EqualFunc(a.SupportedProtocols, b.SupportedProtocols, func(x, y record.ClassicProtocol) bool {
		return x.Name == y.Name && bytes.Equal(x.Metadata, y.Metadata)
	})
}

// enroll creates or updates a member: it takes the place of another one that had its instance id, tells about itself, and the group's
// epoch rises if what is subscribed to has changed. resubscribed says whether the member's own subscription has.
func (m *Machine) enroll(c *coord.Context, g *consumerGroup, id string, x, replaced *consumerMember, w *wish) (_ *consumerMember, resubscribed bool) {
	if replaced != nil {
		x = m.supersede(c, g, replaced, id)
	}
	before := consumerMember{id: id, rebalance: -1}
	if x != nil {
		before = *x
	}
	now := w.apply(before)
	if x == nil || !sameDescription(&before, &now) {
		m.write(c, g.key(record.TypeConsumerGroupMemberMetadata, id), now.about())
		x = g.member(id)
	}
	renamed := !slices.Equal(before.topics, now.topics)
	rematched, known := before.regex != now.regex, false
	if rematched {
		m.dropPattern(c, g, before.regex)
		// Topics of a regular expression that is new count when it has been resolved.
		known = now.regex == "" || g.matched[now.regex] != nil || w.classic != nil
	}
	m.refreshPatterns(c, g, rematched && now.regex != "" && g.regexes[now.regex] == 1)
	m.checkTopics(c, g, renamed || rematched && known)
	return x, renamed || rematched
}

// supersede puts a static member in the place of the one that had its instance id before (GroupMetadataManager.replaceMember).
func (m *Machine) supersede(c *coord.Context, g *consumerGroup, old *consumerMember, id string) *consumerMember {
	about, current, target := old.about(), old.current(), targetRecord(g.targets[old.id])
	m.removeMember(c, g, old)
	m.write(c, g.key(record.TypeConsumerGroupMemberMetadata, id), about)
	m.write(c, g.key(record.TypeConsumerGroupTargetAssignmentMember, id), target)
	current.MemberEpoch, current.PreviousMemberEpoch = 0, 0
	m.write(c, g.key(record.TypeConsumerGroupCurrentMemberAssignment, id), current)
	return g.member(id)
}

// checkTopics raises the group's epoch if asked to, or if a topic subscribed to is not what it was (GroupMetadataManager.updateSubscriptionMetadata).
func (m *Machine) checkTopics(c *coord.Context, g *consumerGroup, rebalance bool) {
	if !rebalance && g.checked {
		return
	}
	if g.unsettled { // Kafka counts on the new member's topics to raise the epoch, but it may have none
		rebalance, g.unsettled = true, false
	}
	hash := m.metadataHash(g)
	if rebalance || hash != g.hash {
		m.write(c, g.key(record.TypeConsumerGroupMetadata, ""), &record.ConsumerGroupMetadata{Epoch: g.epoch + 1, MetadataHash: hash})
	}
	g.checked = true
	if g.oldMetadata {
		m.write(c, g.key(record.TypeConsumerGroupPartitionMetadata, ""), nil)
	}
}

// metadataHash is the hash of the existing topics that the group subscribes to.
func (m *Machine) metadataHash(g *consumerGroup) int64 {
	image := m.opt.Image()
	hashes := make([]int64, 0, len(g.topics))
	for _, name := range slices.Sorted(maps.Keys(g.topics)) {
		t := image.Topic(name)
		if t == nil {
			continue
		}
		hashes = append(hashes, topichash.Topic(t.ID, t.Name, len(t.Partitions), func(i int) (racks []string) {
			if t.Partitions[i].ID != int32(i) {
				return nil
			}
			for _, r := range t.Partitions[i].Replicas {
				if b := image.Brokers[r]; b != nil && b.Rack != nil {
					racks = append(racks, *b.Rack)
				}
			}
			return racks
		}))
	}
	return topichash.Group(hashes)
}

// settle computes a new target assignment if the epoch asks for one, and lets the member take its next step towards the target.
func (m *Machine) settle(c *coord.Context, g *consumerGroup, x *consumerMember, resubscribed bool, w *wish) {
	m.retarget(c, g)
	m.reconcile(c, g, x, resubscribed, w)
}

// reconcile lets a member take its next step (GroupMetadataManager.maybeReconcile).
func (m *Machine) reconcile(c *coord.Context, g *consumerGroup, x *consumerMember, resubscribed bool, w *wish) {
	if !resubscribed && x.reconciled(g.assignmentEpoch) {
		return
	}
	image := m.opt.Image()
	pattern := g.matched[x.regex]
	r := reconciliation{
		epoch: g.assignmentEpoch, target: g.targets[x.id], resubscribed: resubscribed, reported: w.reported, owned: w.owned,
		subscribed: func(topic assign.TopicID) bool {
			t := image.TopicByID(topic)
			return t != nil && x.subscribes(t.Name, pattern)
		},
		taken: func(topic assign.TopicID, p int32) bool {
			holder := g.owners[owned{topic, p}]
			return holder != nil && holder != x
		},
	}
	now, ok := r.next(*x)
	if !ok || now.epoch == x.epoch && now.previous == x.previous && now.state == x.state && now.assigned.equal(x.assigned) && now.revoking.equal(x.revoking) {
		return
	}
	m.write(c, g.key(record.TypeConsumerGroupCurrentMemberAssignment, x.id), now.current())
	if x.classic == nil {
		m.revocation(c, g, x)
	}
}

// subscribes reports whether the member subscribes to the topic, by name or by its regular expression.
func (x *consumerMember) subscribes(topic string, pattern *resolvedPattern) bool {
	if _, ok := slices.BinarySearch(x.topics, topic); ok {
		return true
	}
	if pattern == nil {
		return false
	}
	_, ok := slices.BinarySearch(pattern.topics, topic)
	return ok
}

// retarget computes the target assignment of the group's epoch, but not sooner than the group's assignment interval after the last one
// (GroupMetadataManager.maybeUpdateTargetAssignment, TargetAssignmentBuilder; KIP-1263).
func (m *Machine) retarget(c *coord.Context, g *consumerGroup) {
	if g.assignmentEpoch >= g.epoch {
		return
	}
	if _, _, interval := m.opt.GroupConfig(g.id); g.assignedAt != 0 && interval != 0 && c.Now() < g.assignedAt+interval {
		return
	}
	image := m.opt.Image()
	in := assign.Group{Members: make([]assign.Member, len(g.members)), Homogeneous: g.homogeneous(), Partitions: func(id assign.TopicID) int32 {
		if t := image.TopicByID(id); t != nil {
			return int32(len(t.Partitions))
		}
		return 0
	}}
	for i, x := range g.members {
		in.Members[i] = assign.Member{ID: x.id, InstanceID: text(x.instance), Target: g.targets[x.id]}
		if in.Homogeneous && i > 0 {
			in.Members[i].Topics = in.Members[0].Topics
			continue
		}
		for _, name := range g.subscription(x) {
			if t := image.Topic(name); t != nil {
				in.Members[i].Topics = append(in.Members[i].Topics, t.ID)
			}
		}
	}
	name := m.preferredAssignor(g)
	out := m.assignor(name)(in)
	moved := 0
	for i, x := range g.members {
		if before, ok := g.targets[x.id]; !ok || !before.Equal(out[i]) {
			m.write(c, g.key(record.TypeConsumerGroupTargetAssignmentMember, x.id), targetRecord(out[i]))
			moved++
		}
	}
	m.write(c, g.key(record.TypeConsumerGroupTargetAssignmentMetadata, ""), &record.TargetAssignmentMetadata{AssignmentEpoch: g.epoch, AssignmentTimestamp: c.Now()})
	m.log.Debug("new target assignment", "group", g.id, "epoch", g.epoch, "assignor", name, "members", len(g.members), "changed", moved)
}

// subscription is the names of the topics a member subscribes to, in order.
func (g *consumerGroup) subscription(x *consumerMember) []string {
	pattern := g.matched[x.regex]
	switch {
	case pattern == nil || len(pattern.topics) == 0:
		return x.topics
	case len(x.topics) == 0:
		return pattern.topics
	}
	all := slices.Concat(x.topics, pattern.topics)
	slices.Sort(all)
	return slices.Compact(all)
}

// homogeneous reports whether all members subscribe to the same topics (ConsumerGroup.subscriptionType).
func (g *consumerGroup) homogeneous() bool {
	members := int32(len(g.members))
	if len(g.regexes) == 0 {
		for _, s := range g.topics {
			if s.names != members {
				return false
			}
		}
		return true
	}
	for _, n := range g.regexes {
		if n != members {
			return false
		}
	}
	for _, s := range g.topics {
		if s.patterns != 1 || s.names > 0 {
			return false
		}
	}
	return true
}

func targetRecord(a assign.Assignment) *record.TargetAssignmentMember {
	v := &record.TargetAssignmentMember{TopicPartitions: make([]record.TopicPartitions, len(a))}
	for i, t := range a {
		v.TopicPartitions[i] = record.TopicPartitions{TopicID: t.Topic, Partitions: t.Partitions}
	}
	return v
}

// assignorClasses are the class names that group.consumer.assignors may have in place of a name.
var assignorClasses = map[string]string{
	"org.apache.kafka.coordinator.group.assignor.UniformAssignor": "uniform",
	"org.apache.kafka.coordinator.group.assignor.RangeAssignor":   "range",
}

// assignorNames are the assignors of this broker, the default first.
func (m *Machine) assignorNames() []string {
	names := make([]string, 0, 2)
	for _, name := range m.opt.Settings.Consumer.Assignors {
		if short, ok := assignorClasses[name]; ok {
			name = short
		}
		if assign.Named(name) != nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = append(names, "uniform")
	}
	return names
}

// assignor is the assignor of that name, nil where this broker has none.
func (m *Machine) assignor(name string) assign.Assignor {
	if !slices.Contains(m.assignorNames(), name) {
		return nil
	}
	return assign.Named(name)
}

// preferredAssignor is what most members ask for; of equals the one the broker lists first.
func (m *Machine) preferredAssignor(g *consumerGroup) string {
	names := m.assignorNames()
	best := names[0]
	for _, name := range names {
		if g.assignors[name] > g.assignors[best] {
			best = name
		}
	}
	return best
}
