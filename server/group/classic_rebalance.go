package group

import (
	"github.com/gregor-broker/gregor/server/coord"
)

// retryDelay is the shortest time after which a rebalance that nobody joined is looked at again, in ms: timeouts come from clients.
const retryDelay = 1000

// rebalanceOrComplete begins a rebalance, or goes on with the one under way.
func (m *Machine) rebalanceOrComplete(c *coord.Context, g *group, reason string) {
	if g.classic.state == classicPreparing {
		m.maybeComplete(c, g)
		return
	}
	m.prepareRebalance(c, g, reason)
}

// prepareRebalance asks the members to join again (GroupMetadataManager.prepareRebalance). An empty group waits for others to come first.
func (m *Machine) prepareRebalance(c *coord.Context, g *group, reason string) {
	cg := g.classic
	if cg.state == classicCompleting {
		for _, x := range cg.members {
			x.assignment = nil
			if cg.answerSync(c, x, syncError(codeRebalanceInProgress)) {
				m.session(c, g, x, int64(x.session))
			}
		}
	}
	for _, x := range cg.members {
		x.unsynced = false
	}
	cg.unsynced = 0
	c.Cancel(coord.TimerKey{Kind: timerSync, Name: g.id})

	m.log.Info("group rebalances", "group", g.id, "generation", cg.generation, "state", cg.state.String(), "members", len(cg.members), "reason", reason)
	cg.initial = cg.state == classicEmpty
	cg.enter(classicPreparing, c.Now())
	if cg.initial {
		cg.added = false
		cg.delay = m.opt.Settings.InitialRebalanceDelay.Milliseconds()
		cg.remaining = max(cg.rebalanceTimeout()-cg.delay, 0)
		m.joinTimer(c, g, cg.delay)
		return
	}
	if cg.complete() {
		m.completeJoin(c, g)
		return
	}
	m.joinTimer(c, g, cg.rebalanceTimeout())
}

func (m *Machine) joinTimer(c *coord.Context, g *group, ms int64) {
	c.Timer(coord.TimerKey{Kind: timerJoin, Name: g.id}, c.Now()+ms)
}

// maybeComplete ends the joining when everybody is there, but never an initial delay (GroupMetadataManager.maybeCompleteJoinPhase).
func (m *Machine) maybeComplete(c *coord.Context, g *group) {
	if cg := g.classic; cg.state == classicPreparing && cg.previous != classicEmpty && cg.complete() {
		m.completeJoin(c, g)
	}
}

// joinTimeUp is the join timer: the initial delay, prolonged while members keep coming, or the rebalance timeout.
func (m *Machine) joinTimeUp(c *coord.Context, id string) {
	g := m.groups[id]
	if g == nil || g.classic == nil || g.classic.state != classicPreparing {
		return
	}
	cg := g.classic
	if !cg.initial || !cg.added || cg.remaining == 0 {
		m.completeJoin(c, g)
		return
	}
	cg.added = false
	delay := min(m.opt.Settings.InitialRebalanceDelay.Milliseconds(), cg.remaining)
	cg.remaining = max(cg.remaining-cg.delay, 0)
	cg.delay = delay
	m.joinTimer(c, g, delay)
}

// completeJoin begins the next generation with those who have joined. Static members stay although they have not
// (GroupMetadataManager.completeClassicGroupJoin).
func (m *Machine) completeJoin(c *coord.Context, g *group) {
	cg := g.classic
	c.Cancel(coord.TimerKey{Kind: timerJoin, Name: g.id})
	m.dismissAbsent(c, g)
	if !cg.elect() && len(cg.members) > 0 {
		// Nobody is there but static members that do not answer: their sessions decide.
		cg.initial = false
		m.joinTimer(c, g, max(cg.rebalanceTimeout(), retryDelay))
		return
	}
	cg.generation++
	if len(cg.members) == 0 {
		cg.protocol = nil
		cg.enter(classicEmpty, c.Now())
		cg.readSubscriptions(m)
		m.log.Info("group is empty", "group", g.id, "generation", cg.generation)
		m.write(c, classicKey(g.id), cg.value())
		return
	}
	name := cg.selectProtocol()
	cg.protocol = &name
	cg.enter(classicCompleting, c.Now())
	cg.readSubscriptions(m)
	m.log.Info("group has a new generation", "group", g.id, "generation", cg.generation, "members", len(cg.members), "protocol", name)
	for _, x := range cg.members {
		r := cg.joinResponse(x)
		if x.id == cg.leader {
			cg.forLeader(r)
		}
		cg.answerJoin(c, x, r)
		m.session(c, g, x, int64(x.session))
		x.fresh, x.unsynced = false, true
	}
	cg.unsynced = len(cg.members)
	c.Timer(coord.TimerKey{Kind: timerSync, Name: g.id}, c.Now()+cg.rebalanceTimeout())
}

// dismissAbsent drops the dynamic members that have not joined.
func (m *Machine) dismissAbsent(c *coord.Context, g *group) {
	absent := 0
	for i := 0; i < len(g.classic.members); {
		x := g.classic.members[i]
		if x.join != nil || x.instance != nil {
			i++
			continue
		}
		m.dismiss(c, g, x)
		absent++
	}
	if absent > 0 {
		m.log.Info("members did not join in time", "group", g.id, "members", absent)
	}
}

// elect makes sure that the leader is somebody who has joined; it reports whether there is one (ClassicGroup.maybeElectNewJoinedLeader).
func (g *classicGroup) elect() bool {
	if x := g.member(g.leader); x != nil && x.join != nil {
		return true
	}
	for _, x := range g.members {
		if x.join != nil {
			g.leader = x.id
			return true
		}
	}
	return false
}

// sessionEnded is the end of a session, or of the time a pending member has to join.
func (m *Machine) sessionEnded(c *coord.Context, id, member string) {
	g := m.groups[id]
	if g == nil || g.classic == nil {
		return
	}
	cg := g.classic
	x := cg.member(member)
	_, pending := cg.pending[member]
	switch {
	case pending:
		cg.settled(member)
	case x == nil || !x.fresh && (x.join != nil || x.sync != nil):
		return // a parked request is a sign of life
	default:
		m.log.Info("member's session has ended", "group", id, "member", member)
		m.dismiss(c, g, x)
		if cg.state != classicPreparing {
			m.prepareRebalance(c, g, "a member's session has ended")
			return
		}
	}
	if cg.state == classicPreparing && cg.complete() {
		m.completeJoin(c, g)
	}
}

// syncTimeUp drops the members that have not asked for their assignment in time (GroupMetadataManager.expirePendingSync).
func (m *Machine) syncTimeUp(c *coord.Context, id string) {
	g := m.groups[id]
	if g == nil || g.classic == nil || g.classic.unsynced == 0 {
		return
	}
	cg := g.classic
	for i := 0; i < len(cg.members); {
		if x := cg.members[i]; x.unsynced {
			m.dismiss(c, g, x)
			continue
		}
		i++
	}
	m.prepareRebalance(c, g, "members did not ask for their assignment in time")
}
