package group

import (
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/meta"
)

// Timers of KIP-848 groups.
const (
	timerConsumerSession uint8 = firstConsumerKind + iota // group, member: no heartbeat for too long
	timerRevocation                                       // group, member: partitions not given up in time
	timerClassicJoin                                      // group, member: a classic member has not joined again in time
	timerClassicSync                                      // group, member: a classic member has not asked for its assignment in time
	timerPatterns                                         // group: regular expressions to resolve
)

// consumerSession puts off the end of a member's session.
func (m *Machine) consumerSession(c *coord.Context, g *consumerGroup, x *consumerMember, ms int64) {
	c.Timer(coord.TimerKey{Kind: timerConsumerSession, Name: g.id, Part: x.id}, c.Now()+ms)
}

// revocation starts the time a member has to give up partitions, or stops it.
func (m *Machine) revocation(c *coord.Context, g *consumerGroup, x *consumerMember) {
	k := coord.TimerKey{Kind: timerRevocation, Name: g.id, Part: x.id}
	if x.state != memberUnrevoked {
		c.Cancel(k)
		return
	}
	x.revokeEpoch = x.epoch
	c.Timer(k, c.Now()+int64(max(x.rebalance, 0)))
}

// joinTimeout starts, if it is not running, the time a classic member has to join again.
func (m *Machine) joinTimeout(c *coord.Context, g *consumerGroup, x *consumerMember) {
	if !x.joinDue {
		x.joinDue = true
		c.Timer(coord.TimerKey{Kind: timerClassicJoin, Name: g.id, Part: x.id}, c.Now()+int64(max(x.rebalance, 0)))
	}
}

func (m *Machine) stopTimers(c *coord.Context, group, member string) {
	for kind := timerConsumerSession; kind < timerPatterns; kind++ {
		c.Cancel(coord.TimerKey{Kind: kind, Name: group, Part: member})
	}
}

// loadedConsumer starts the timers of a group that was loaded.
func (m *Machine) loadedConsumer(c *coord.Context, e *group) {
	g := e.consumer
	session, _, _ := m.opt.GroupConfig(g.id)
	for _, x := range g.members {
		m.consumerSession(c, g, x, session)
		if x.state == memberUnrevoked && x.classic == nil {
			m.revocation(c, g, x)
		}
	}
}

// fireConsumer is a timer that is due. Who is late is taken out of the group.
func (m *Machine) fireConsumer(c *coord.Context, k coord.TimerKey) {
	e := m.groups[k.Name]
	if e == nil || e.consumer == nil {
		return
	}
	g := e.consumer
	if k.Kind == timerPatterns {
		m.resolvePatterns(c, g)
		return
	}
	x := g.member(k.Part)
	if x == nil {
		return
	}
	why := ""
	switch k.Kind {
	case timerConsumerSession:
		why = "its session has ended"
	case timerRevocation:
		if x.epoch != x.revokeEpoch || x.state != memberUnrevoked {
			return
		}
		why = "it has not given up partitions in time"
	case timerClassicJoin:
		x.joinDue = false
		why = "it has not joined again in time"
	case timerClassicSync:
		why = "it has not asked for its assignment in time"
	}
	m.log.Info("member removed from its group", "group", g.id, "member", x.id, "reason", why)
	m.fence(c, e, x)
}

// unloadedConsumer has nobody to answer: no request of a KIP-848 group is parked.
func (m *Machine) unloadedConsumer(error) {}

// imageChangedConsumer notes which groups subscribe to topics that have changed: the next heartbeat of any member looks at them.
func (m *Machine) imageChangedConsumer(_ *coord.Context, before, now *meta.Image) {
	changed := map[string]bool{}
	for t := range now.ChangedTopics(before) {
		if t.Old == nil {
			m.newTopics = now.Offset
		}
		for _, t := range [...]*meta.Topic{t.Old, t.New} {
			if t != nil {
				changed[t.Name] = true
			}
		}
	}
	if len(changed) == 0 {
		return
	}
	for _, e := range m.groups {
		if g := e.consumer; g != nil && g.checked {
			for name := range g.topics {
				if changed[name] {
					g.checked = false
					break
				}
			}
		}
	}
}
