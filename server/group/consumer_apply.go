package group

import (
	"maps"
	"slices"

	"github.com/gregor-broker/gregor/server/group/assign"
	"github.com/gregor-broker/gregor/server/group/record"
)

// applyConsumer takes in a record of a KIP-848 group (the replay methods of GroupMetadataManager). Compaction may have left any of a
// group's records in front of any other, so each makes the group and the member it speaks of; a tombstone of something unknown says nothing.
func (m *Machine) applyConsumer(k record.Key, v record.Value) error {
	e := m.groups[k.Group]
	if v != nil && (e == nil || e.consumer == nil) {
		e = m.entry(k.Group)
		e.classic, e.consumer = nil, newConsumerGroup(k.Group)
	}
	if e == nil || e.consumer == nil {
		return nil
	}
	g := e.consumer
	switch v := v.(type) {
	case nil:
		switch k.Type {
		case record.TypeConsumerGroupMetadata:
			e.consumer = nil
			m.tidy(e)
		case record.TypeConsumerGroupPartitionMetadata:
			g.oldMetadata = false
		case record.TypeConsumerGroupMemberMetadata:
			g.remove(k.Member)
		case record.TypeConsumerGroupTargetAssignmentMetadata:
			g.assignmentEpoch, g.assignedAt = -1, 0
		case record.TypeConsumerGroupTargetAssignmentMember:
			delete(g.targets, k.Member)
		case record.TypeConsumerGroupCurrentMemberAssignment:
			if x := g.member(k.Member); x != nil {
				g.hold(x, nil, nil)
				x.epoch, x.previous = left, left
			}
		case record.TypeConsumerGroupRegularExpression:
			g.match(k.Regex, nil)
		}
	case *record.ConsumerGroupMetadata:
		g.epoch, g.hash = v.Epoch, v.MetadataHash
	case *record.ConsumerGroupPartitionMetadata:
		g.oldMetadata = true
	case *record.ConsumerGroupMemberMetadata:
		g.describe(m, g.memberAt(k.Member), v)
	case *record.TargetAssignmentMetadata:
		g.assignmentEpoch, g.assignedAt = v.AssignmentEpoch, v.AssignmentTimestamp
	case *record.TargetAssignmentMember:
		put(&g.targets, k.Member, target(v))
	case *record.ConsumerGroupCurrentMemberAssignment:
		x := g.memberAt(k.Member)
		x.epoch, x.previous = v.MemberEpoch, v.PreviousMemberEpoch
		x.state = memberState(v.State)
		if x.state != memberStable && x.state != memberUnrevoked && x.state != memberUnreleased {
			x.state = memberUnknown
		}
		g.hold(x, newHoldings(v.AssignedPartitions, v.MemberEpoch), newHoldings(v.PartitionsPendingRevocation, v.MemberEpoch))
	case *record.ConsumerGroupRegularExpression:
		topics := make([]string, len(v.Topics))
		for i, t := range v.Topics {
			topics[i] = m.topicName(t)
		}
		slices.Sort(topics)
		g.match(k.Regex, &resolvedPattern{slices.Compact(topics), v.Version, v.Timestamp})
	}
	return nil
}

// put is m[k] = v, and makes the map first.
func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// count is m[k] += by, and removes what becomes zero.
func count[K comparable](m *map[K]int32, k K, by int32) {
	if n := (*m)[k] + by; n > 0 {
		put(m, k, n)
	} else {
		delete(*m, k)
	}
}

// memberAt is the member of that id, made if need be: a new one has epoch 0.
func (g *consumerGroup) memberAt(id string) *consumerMember {
	i, ok := g.seat(id)
	if !ok {
		g.members = slices.Insert(g.members, i, &consumerMember{id: id, previous: -1, rebalance: -1})
	}
	return g.members[i]
}

// describe takes in what a member told about itself.
func (g *consumerGroup) describe(m *Machine, x *consumerMember, v *record.ConsumerGroupMemberMetadata) {
	g.tally(x, -1)
	x.instance, x.rack, x.assignor = v.InstanceID, v.RackID, v.ServerAssignor
	x.clientID, x.clientHost, x.rebalance, x.classic = v.ClientID, v.ClientHost, v.RebalanceTimeoutMs, v.ClassicMemberMetadata
	x.regex = text(v.SubscribedTopicRegex)
	x.topics = make([]string, len(v.SubscribedTopicNames))
	for i, t := range v.SubscribedTopicNames {
		x.topics[i] = m.topicName(t)
	}
	slices.Sort(x.topics)
	x.topics = slices.Compact(x.topics)
	g.tally(x, 1)
	if x.instance != nil {
		put(&g.static, *x.instance, x.id)
	}
}

// tally adds a member's subscriptions and wishes to the group's counts, or takes them out.
func (g *consumerGroup) tally(x *consumerMember, by int32) {
	for _, t := range x.topics {
		s := g.topics[t]
		s.names += by
		g.setSubscribers(t, s)
	}
	if x.regex != "" {
		count(&g.regexes, x.regex, by)
	}
	if x.assignor != nil {
		count(&g.assignors, *x.assignor, by)
	}
	if x.classic != nil {
		g.classicMembers += int(by)
		for i := range x.classic.SupportedProtocols {
			count(&g.classicProtocols, x.classic.SupportedProtocols[i].Name, by)
		}
	}
}

func (g *consumerGroup) setSubscribers(topic string, s subscribers) {
	if s.names <= 0 && s.patterns <= 0 {
		delete(g.topics, topic)
		return
	}
	put(&g.topics, topic, s)
}

// match notes what a regular expression stands for; nil forgets it.
func (g *consumerGroup) match(regex string, now *resolvedPattern) {
	tally := func(p *resolvedPattern, by int32) {
		for _, t := range p.topics {
			s := g.topics[t]
			s.patterns += by
			g.setSubscribers(t, s)
		}
	}
	if before := g.matched[regex]; before != nil {
		tally(before, -1)
		delete(g.matched, regex)
	}
	if now != nil {
		tally(now, 1)
		put(&g.matched, regex, now)
	}
}

// hold changes what a member holds.
func (g *consumerGroup) hold(x *consumerMember, assigned, revoking holdings) {
	for _, h := range [...]holdings{x.assigned, x.revoking} {
		h.each(func(topic assign.TopicID, p int32) {
			if o := (owned{topic, p}); g.owners[o] == x {
				delete(g.owners, o)
			}
		})
	}
	x.assigned, x.revoking = assigned, revoking
	for _, h := range [...]holdings{assigned, revoking} {
		h.each(func(topic assign.TopicID, p int32) { put(&g.owners, owned{topic, p}, x) })
	}
}

// remove forgets a member.
func (g *consumerGroup) remove(id string) {
	i, ok := g.seat(id)
	if !ok {
		return
	}
	x := g.members[i]
	g.tally(x, -1)
	g.hold(x, nil, nil)
	if x.instance != nil && g.static[*x.instance] == id {
		delete(g.static, *x.instance)
	}
	g.members = slices.Delete(g.members, i, i+1)
}

// assignees are the members that have a target assignment, in order.
func (g *consumerGroup) assignees() []string { return slices.Sorted(maps.Keys(g.targets)) }

// patterns are the regular expressions that were resolved, in order.
func (g *consumerGroup) patterns() []string { return slices.Sorted(maps.Keys(g.matched)) }

// target is a target assignment from its record.
func target(v *record.TargetAssignmentMember) assign.Assignment {
	list := make([]assign.TopicPartitions, len(v.TopicPartitions))
	for i, t := range v.TopicPartitions {
		list[i] = assign.TopicPartitions{Topic: t.TopicID, Partitions: t.Partitions}
	}
	return assign.New(list)
}
