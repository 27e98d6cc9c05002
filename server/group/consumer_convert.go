package group

import (
	"fmt"
	"slices"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/assign"
	"github.com/gregor-broker/gregor/server/group/record"
)

// Values of group.consumer.migration.policy (ConsumerGroupMigrationPolicy).
const (
	policyBidirectional = "bidirectional"
	policyUpgrade       = "upgrade"
	policyDowngrade     = "downgrade"
	policyDisabled      = "disabled"
)

// consumerGroupFor is the KIP-848 group of a member that joins: a new one, the place of an empty classic group, or what a classic group of consumers
// is converted to (GroupMetadataManager.getOrMaybeCreateConsumerGroup).
func (m *Machine) consumerGroupFor(c *coord.Context, id string, e *group) (*consumerGroup, *refusal) {
	if e != nil && len(e.classic.members) > 0 {
		return m.upgrade(c, e)
	}
	if e != nil {
		m.write(c, classicKey(id), nil)
	}
	e = m.entry(id)
	e.consumer = newConsumerGroup(id)
	return e.consumer, nil
}

// upgrade converts a classic group of consumers: its members stay, each with what it was assigned last, and speak the classic protocol to
// the KIP-848 group until they join with the other one (GroupMetadataManager.convertToConsumerGroup).
func (m *Machine) upgrade(c *coord.Context, e *group) (*consumerGroup, *refusal) {
	cannot := func(why string) (*consumerGroup, *refusal) {
		m.log.Info("cannot convert a classic group", "group", e.id, "reason", why)
		return nil, refuse(codeGroupIDNotFound, "Cannot upgrade classic group %s to consumer group because %s.", e.id, why)
	}
	cg, settings := e.classic, m.opt.Settings.Consumer
	switch {
	case settings.MigrationPolicy != policyBidirectional && settings.MigrationPolicy != policyUpgrade:
		return cannot("online upgrade is disabled")
	case !cg.usesConsumerProtocol():
		return cannot("the group does not use the consumer embedded protocol")
	case len(cg.members) > int(settings.MaxSize):
		return cannot("the group size exceeds the consumer group maximum size")
	}
	image := m.opt.Image()
	about := make([]*record.ConsumerGroupMemberMetadata, len(cg.members))
	assigned := make([]assign.Assignment, len(cg.members))
	claimed := make([]assign.Assignment, len(cg.members))
	held := map[owned]bool{}
	for i, x := range cg.members {
		metadata := x.metadata(cg.protocol)
		if cg.protocol == nil && len(x.protocols) > 0 {
			metadata = x.protocols[0].metadata
		}
		s, ok := readSubscription(metadata)
		partitions, custom, readable := readAssignment(x.assignment)
		switch {
		case !ok || !readable:
			return cannot("the embedded consumer protocol is malformed")
		case custom:
			return cannot("an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade")
		}
		assigned[i] = byID(image, partitions)
		for _, t := range assigned[i] {
			for _, p := range t.Partitions {
				held[owned{t.Topic, p}] = true
			}
		}
		if len(x.assignment) == 0 {
			claimed[i] = byID(image, s.owned)
		}
		none := ""
		about[i] = &record.ConsumerGroupMemberMetadata{InstanceID: x.instance, ClientID: x.clientID, ClientHost: x.clientHost, SubscribedTopicNames: s.topics,
			SubscribedTopicRegex: &none, RebalanceTimeoutMs: x.rebalance, ClassicMemberMetadata: classicMetadata(x.session, x.protocols)}
		if s.rack != "" {
			about[i].RackID = &s.rack
		}
	}
	// A member in the middle of a rebalance has no assignment, but a cooperative one goes on reading what it said it owns.
	for i := range claimed {
		for _, t := range claimed[i] {
			free := slices.DeleteFunc(slices.Clone(t.Partitions), func(p int32) bool { return held[owned{t.Topic, p}] })
			for _, p := range free {
				held[owned{t.Topic, p}] = true
			}
			assigned[i] = assign.New(append(slices.Clone(assigned[i]), assign.TopicPartitions{Topic: t.Topic, Partitions: free}))
		}
	}

	members, generation, unsettled := cg.members, cg.generation, cg.state != classicStable
	cg.answerAll(c, codeRebalanceInProgress)
	m.stopClassic(c, e)
	m.write(c, classicKey(e.id), nil)
	e = m.entry(e.id)
	g := newConsumerGroup(e.id)
	e.consumer, g.unsettled = g, unsettled
	for i, x := range members {
		m.write(c, g.key(record.TypeConsumerGroupMemberMetadata, x.id), about[i])
	}
	m.write(c, g.key(record.TypeConsumerGroupMetadata, ""), &record.ConsumerGroupMetadata{Epoch: generation, MetadataHash: m.metadataHash(g)})
	for i, x := range members {
		m.write(c, g.key(record.TypeConsumerGroupTargetAssignmentMember, x.id), targetRecord(assigned[i]))
	}
	m.write(c, g.key(record.TypeConsumerGroupTargetAssignmentMetadata, ""), &record.TargetAssignmentMetadata{AssignmentEpoch: generation})
	for i, x := range members {
		current := &record.ConsumerGroupCurrentMemberAssignment{MemberEpoch: generation, PreviousMemberEpoch: generation}
		current.AssignedPartitions = newHoldings(targetRecord(assigned[i]).TopicPartitions, generation)
		m.write(c, g.key(record.TypeConsumerGroupCurrentMemberAssignment, x.id), current)
	}
	for _, x := range g.members {
		m.consumerSession(c, g, x, int64(x.classic.SessionTimeoutMs))
	}
	// Partitions that came since the members assigned them, which Kafka overlooks when the new member is an old one's instance.
	all := 0
	for name := range g.topics {
		if t := image.Topic(name); t != nil {
			all += len(t.Partitions)
		}
	}
	g.unsettled = g.unsettled || all != len(held)
	m.log.Info("classic group converted to a consumer group", "group", e.id, "members", len(members))
	return g, nil
}

// stopClassic stops the timers of a classic group that is converted.
func (m *Machine) stopClassic(c *coord.Context, e *group) {
	for _, x := range e.classic.members {
		c.Cancel(coord.TimerKey{Kind: timerSession, Name: e.id, Part: x.id})
	}
	for id := range e.classic.pending {
		c.Cancel(coord.TimerKey{Kind: timerSession, Name: e.id, Part: id})
	}
	c.Cancel(coord.TimerKey{Kind: timerJoin, Name: e.id})
	c.Cancel(coord.TimerKey{Kind: timerSync, Name: e.id})
}

func classicMetadata(session int32, protocols []protocol) *record.ClassicMemberMetadata {
	v := &record.ClassicMemberMetadata{SessionTimeoutMs: session, SupportedProtocols: make([]record.ClassicProtocol, len(protocols))}
	for i, p := range protocols {
		v.SupportedProtocols[i] = record.ClassicProtocol{Name: p.name, Metadata: p.metadata}
	}
	return v
}

// mayDowngrade reports whether the group becomes a classic one when the members leave: only members that speak the classic protocol stay.
func (m *Machine) mayDowngrade(g *consumerGroup, leaving []*consumerMember) bool {
	classic := g.classicMembers
	for _, x := range leaving {
		if x.classic != nil {
			classic--
		}
	}
	rest := len(g.members) - len(leaving)
	return rest > 0 && classic == rest && m.downgrades(g, rest)
}

// downgrades reports whether a group may become a classic one of that size.
func (m *Machine) downgrades(g *consumerGroup, size int) bool {
	switch policy := m.opt.Settings.Consumer.MigrationPolicy; {
	case policy != policyBidirectional && policy != policyDowngrade:
		m.log.Info("cannot convert a consumer group: online downgrade is disabled", "group", g.id)
		return false
	case size > int(m.opt.Settings.MaxSize):
		m.log.Info("cannot convert a consumer group: it is larger than group.max.size", "group", g.id, "members", size)
		return false
	}
	return true
}

// downgrade converts a KIP-848 group, of which only members stay that speak the classic protocol, to a classic group. Each is said to have what it
// really holds: where that is not the target, the group rebalances, and were it converted back before that is over, the target would give
// partitions away that somebody still reads (Kafka writes the target). joining is the static member whose change of protocol brought it about, nil where it was leaving members
// (GroupMetadataManager.convertToClassicGroup).
func (m *Machine) downgrade(c *coord.Context, e *group, leaving []*consumerMember, joining *consumerMember) {
	g, image := e.consumer, m.opt.Image()
	cg := newClassicGroup()
	cg.state, cg.generation, cg.protocolType, cg.since = classicStable, g.epoch, consumerProtocol, c.Now()
	gone := map[string]bool{}
	for _, x := range leaving {
		gone[x.id] = true
	}
	for _, x := range g.members {
		m.stopTimers(c, g.id, x.id)
		if gone[x.id] || x.classic == nil {
			continue
		}
		cx := &classicMember{id: x.id, instance: x.instance, clientID: x.clientID, clientHost: x.clientHost, rebalance: x.rebalance, session: x.classic.SessionTimeoutMs}
		for _, p := range x.classic.SupportedProtocols {
			cx.protocols = append(cx.protocols, protocol{name: p.Name, metadata: p.Metadata})
		}
		cg.add(cx)
	}
	name := cg.selectProtocol()
	cg.protocol = &name
	for _, cx := range cg.members {
		s, _ := readSubscription(cx.metadata(cg.protocol))
		x := g.member(cx.id)
		cx.assignment = writeAssignment(s.version, image, x.assigned.plus(x.revoking).yield)
	}
	cg.readSubscriptions(m)
	// Kafka does not rebalance when the target is up to date; then a member that waits for its partitions would wait for ever.
	rebalance := joining == nil || g.state() != "Stable"
	for _, r := range g.tombstones() {
		c.Write(r)
	}
	e = m.entry(e.id)
	e.classic = cg
	v := cg.value()
	if rebalance {
		// A coordinator that loads this shall rebalance too: to Kafka's the record means a stable group, whose members would keep what they have.
		v.Leader = nil
	}
	m.write(c, classicKey(e.id), v)
	for _, cx := range cg.members {
		m.session(c, e, cx, int64(cx.session))
	}
	m.log.Info("consumer group converted to a classic group", "group", e.id, "members", len(cg.members))
	if rebalance {
		m.prepareRebalance(c, e, fmt.Sprintf("the group was converted at generation %d", cg.generation))
	}
}
