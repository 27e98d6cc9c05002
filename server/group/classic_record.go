package group

import (
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/wire/prim"
)

func classicKey(group string) record.Key {
	return record.Key{Type: record.TypeGroupMetadata, Group: group}
}

// value is the group as its record says it (GroupCoordinatorRecordHelpers.newGroupMetadataRecord).
func (g *classicGroup) value() *record.GroupMetadata {
	v := &record.GroupMetadata{ProtocolType: g.protocolType, Generation: g.generation, Protocol: g.protocol, CurrentStateTimestamp: g.since,
		Members: make([]record.GroupMember, len(g.members))}
	if g.leader != "" {
		leader := g.leader
		v.Leader = &leader
	}
	for i, x := range g.members {
		v.Members[i] = record.GroupMember{MemberID: x.id, GroupInstanceID: x.instance, ClientID: x.clientID, ClientHost: x.clientHost,
			RebalanceTimeout: x.rebalance, SessionTimeout: x.session, Subscription: x.metadata(g.protocol), Assignment: x.assignment}
	}
	return v
}

// size is about how large the group's record is, in bytes.
func (g *classicGroup) size() int {
	n := 128 + len(g.protocolType)
	for _, x := range g.members {
		n += 128 + len(x.id) + len(x.clientID) + len(x.clientHost) + len(x.metadata(g.protocol)) + len(x.assignment)
		if x.instance != nil {
			n += len(*x.instance)
		}
	}
	return n
}

// applyClassic takes in a classic group's record or its tombstone. The tombstone removes a group of any kind, as in Kafka
// (GroupMetadataManager.replay).
func (m *Machine) applyClassic(id string, v *record.GroupMetadata) {
	if v == nil {
		if g := m.groups[id]; g != nil {
			g.classic, g.consumer = nil, nil
			m.tidy(g)
		}
		return
	}
	g := m.entry(id)
	if m.live && g.classic != nil {
		return // the group says this already, and more
	}
	g.consumer = nil
	g.classic = loadClassic(v)
	g.classic.readSubscriptions(m)
}

// loadClassic makes a group of its record. Each member supports the protocol that was chosen.
func loadClassic(v *record.GroupMetadata) *classicGroup {
	g := newClassicGroup()
	g.generation, g.protocolType, g.protocol, g.since = v.Generation, v.ProtocolType, v.Protocol, v.CurrentStateTimestamp
	if v.Leader != nil {
		g.leader = *v.Leader
	}
	members, instances := map[string]bool{}, map[string]bool{}
	for i := range v.Members {
		in := &v.Members[i]
		if members[in.MemberID] || in.GroupInstanceID != nil && instances[*in.GroupInstanceID] {
			continue // no group has a member twice
		}
		members[in.MemberID] = true
		if in.GroupInstanceID != nil {
			instances[*in.GroupInstanceID] = true
		}
		x := &classicMember{id: in.MemberID, instance: in.GroupInstanceID, clientID: in.ClientID, clientHost: in.ClientHost,
			rebalance: in.RebalanceTimeout, session: in.SessionTimeout, assignment: in.Assignment}
		if x.rebalance == -1 {
			x.rebalance = x.session
		}
		if v.Protocol != nil {
			x.protocols = []protocol{{name: commonName(*v.Protocol), metadata: in.Subscription}}
		}
		g.members = append(g.members, x)
		g.count(x, 1)
	}
	slices.SortFunc(g.members, func(a, b *classicMember) int { return strings.Compare(a.id, b.id) })
	switch {
	case len(g.members) == 0:
		g.leader = ""
	case g.member(g.leader) == nil:
		g.leader, g.leaderless = g.members[0].id, v.Leader == nil
	}
	if len(g.members) > 0 {
		g.state = classicStable
	}
	return g
}

// topicsLimit bounds the topics of which it is remembered that a classic group subscribes to them.
const topicsLimit = 10_000

// readSubscriptions finds out what the members subscribe to (ClassicGroup.computeSubscribedTopics).
func (g *classicGroup) readSubscriptions(m *Machine) {
	g.topics, g.known = nil, false
	if !g.usesConsumerProtocol() {
		return
	}
	if len(g.members) > 0 && g.protocol == nil {
		return
	}
	var topics []string
	for _, x := range g.members {
		list, ok := subscribedTopics(x.metadata(g.protocol), m.topicName)
		if !ok {
			return
		}
		topics = append(topics, list...)
		if len(topics) > 2*topicsLimit {
			slices.Sort(topics)
			topics = slices.Compact(topics)
		}
		if len(topics) > topicsLimit {
			return
		}
	}
	slices.Sort(topics)
	g.topics, g.known = slices.Clip(slices.Compact(topics)), true
}

// subscribedTopics reads the part that all versions of a consumer's subscription begin with: version, topics, user data
// (ConsumerProtocolSubscription, version 0).
func subscribedTopics(metadata []byte, name func(string) string) (topics []string, ok bool) {
	r := prim.NewReader(metadata)
	version := r.Int16()
	n := r.ArrayLen(2)
	for i := 0; i < n && r.Err() == nil; i++ {
		topics = append(topics, name(r.String()))
	}
	r.Bytes()
	return topics, r.Err() == nil && n >= 0 && version >= 0
}

// commonName is a name of which there would otherwise be a copy in every member.
func commonName(s string) string {
	for _, common := range [...]string{"range", "roundrobin", "cooperative-sticky", "sticky", "consumer", "RoundRobinAssigner", "sessioned", "compatible", "default", "stream"} {
		if s == common {
			return common
		}
	}
	return s
}

// loadedClassic starts the sessions of a group that was loaded.
func (m *Machine) loadedClassic(c *coord.Context, g *group) {
	for _, x := range g.classic.members {
		m.session(c, g, x, int64(x.session))
	}
	switch {
	case int64(len(g.classic.members)) > int64(m.opt.Settings.MaxSize):
		m.prepareRebalance(c, g, "the group is larger than group.max.size")
	case g.classic.leaderless:
		m.prepareRebalance(c, g, "the group was converted in the middle of a rebalance")
	}
}
