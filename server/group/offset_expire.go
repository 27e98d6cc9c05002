package group

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/meta"
)

// sweepGroups bounds the groups that one operation of a sweep looks at: the shard's other requests wait for it.
const sweepGroups = 5000

// names are the names of all entries, sorted: what is done to all groups is done in this order, so that a run can be repeated.
func (m *Machine) names() []string { return slices.Sorted(maps.Keys(m.groups)) }

// expire removes offsets whose retention has passed, and then groups that have nothing left
// (GroupCoordinatorShard.cleanupGroupMetadata). A large sweep takes several operations.
func (m *Machine) expire(c *coord.Context) {
	if len(m.expiring) == 0 {
		m.expiring = m.names()
	}
	room := batchLimit
	for n := 0; n < sweepGroups && len(m.expiring) > 0 && room > 0; n++ {
		if g := m.groups[m.expiring[0]]; g != nil {
			room -= m.expireGroup(c, g, room)
		}
		if room > 0 {
			m.expiring = m.expiring[1:]
		}
	}
	next := c.Now()
	if len(m.expiring) == 0 {
		m.expiring = nil
		next += m.opt.Offsets.RetentionCheck.Milliseconds()
	}
	c.Timer(coord.TimerKey{Kind: timerExpire}, next)
}

// expireGroup writes about room bytes of tombstones at most and returns how much it wrote.
func (m *Machine) expireGroup(c *coord.Context, g *group, room int) (wrote int) {
	since, may := g.expiration()
	if !may {
		return 0
	}
	retention := m.opt.Offsets.Retention.Milliseconds()
	var due []partitionKey
	kept := len(g.open) != 0
	for i := range g.offsets {
		t := &g.offsets[i]
		if g.subscribedTo(t.topic) {
			kept = true
			continue
		}
		for j := range t.partitions {
			o := &t.partitions[j]
			base := since
			if base == -1 {
				base = o.committed
			}
			expired := c.Now()-base >= retention
			if o.expires != -1 {
				expired = c.Now() >= o.expires
			}
			if !expired || g.undecided(t.topic, o.partition) {
				kept = true
				continue
			}
			due = append(due, partitionKey{t.topic, o.partition})
		}
	}
	for _, p := range due {
		if wrote >= room {
			return wrote
		}
		wrote += m.removeOffset(c, g, p.topic, p.partition)
	}
	if !kept && g.isEmpty() {
		m.log.Debug("group removed", "group", g.id)
		wrote += m.removeGroup(c, g)
	}
	return wrote
}

// expiration says whether offsets of the group may expire now and since when their retention counts, -1 for the time of each commit
// (ClassicGroup.offsetExpirationCondition, ConsumerGroup.offsetExpirationCondition).
func (g *group) expiration() (since int64, may bool) {
	switch {
	case g.other != otherNone:
		return 0, false
	case g.classic != nil:
		return g.classic.expiration()
	}
	return -1, true
}

// isEmpty reports whether the group may be removed when it has no offsets.
func (g *group) isEmpty() bool {
	switch {
	case g.classic != nil:
		return g.classic.state == classicEmpty
	case g.consumer != nil:
		return g.consumer.isEmpty()
	}
	return false
}

// deletedTopic is a topic that is gone. One of its name may be there again.
type deletedTopic struct {
	id   meta.UUID
	name string
}

// ImageChanged tells of new cluster metadata. The offsets of deleted topics are removed; those of a new topic of the same name stay.
func (m *Machine) ImageChanged(c *coord.Context, before, now *meta.Image) {
	if before == nil || now == nil {
		return
	}
	for change := range now.ChangedTopics(before) {
		if change.New == nil {
			m.deleted = append(m.deleted, deletedTopic{change.Old.ID, change.Old.Name})
		}
	}
	slices.SortFunc(m.deleted, func(a, b deletedTopic) int {
		return cmp.Or(strings.Compare(a.name, b.name), slices.Compare(a.id[:], b.id[:]))
	})
	m.sweepDeletedTopics(c)
	m.imageChangedConsumer(c, before, now)
}

// sweepDeletedTopics removes the offsets of deleted topics (OffsetMetadataManager.onTopicsDeleted), in several operations if there are many.
func (m *Machine) sweepDeletedTopics(c *coord.Context) {
	if len(m.deleted) == 0 {
		return
	}
	room := batchLimit
	for _, id := range m.names() {
		g := m.groups[id]
		for _, topic := range m.deleted {
			for _, p := range m.offsetsOf(g, topic) {
				if room <= 0 {
					c.Timer(coord.TimerKey{Kind: timerTopics}, c.Now())
					return
				}
				room -= m.removeOffset(c, g, topic.name, p)
			}
		}
	}
	m.deleted = nil
}

// offsetsOf lists the partitions of a deleted topic that a group has offsets of, undecided ones included.
func (m *Machine) offsetsOf(g *group, topic deletedTopic) []int32 {
	var list []int32
	match := func(o *offset) bool { return o.topicID == meta.UUID{} || o.topicID == topic.id }
	if t := g.topic(topic.name); t != nil {
		for i := range t.partitions {
			if match(&t.partitions[i]) {
				list = append(list, t.partitions[i].partition)
			}
		}
	}
	for p := range g.open {
		if p.topic != topic.name {
			continue
		}
		for _, waiting := range m.transactions {
			if o, ok := waiting[offsetKey{g.id, p.topic, p.partition}]; ok && match(&o) {
				list = append(list, p.partition)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Delete removes a group without members, with all its offsets (DeleteGroups). The answer is an error code.
func (m *Machine) Delete(c *coord.Context, id string, done coord.Done[int16]) {
	g := m.find(id)
	code := g.checkDelete()
	if code != codeNone {
		coord.Send(c, done, code)
		return
	}
	g.deleting = append(g.deleting, done)
	if len(g.deleting) == 1 {
		m.continueDelete(c, id)
	}
}

// checkDelete says whether a group may be deleted (validateDeleteGroup); g may be nil.
func (g *group) checkDelete() int16 {
	switch {
	case g == nil || g.classic == nil && g.consumer == nil:
		return codeGroupIDNotFound
	case !g.isEmpty():
		return codeNonEmptyGroup
	}
	return codeNone
}

// continueDelete deletes as much of a group as one operation may write. Who joins in between keeps the group.
func (m *Machine) continueDelete(c *coord.Context, id string) {
	g := m.groups[id]
	if g == nil || len(g.deleting) == 0 {
		return
	}
	code := g.checkDelete()
	if code == codeNone {
		var all []partitionKey
		for i := range g.offsets {
			for j := range g.offsets[i].partitions {
				all = append(all, partitionKey{g.offsets[i].topic, g.offsets[i].partitions[j].partition})
			}
		}
		for _, p := range slices.SortedFunc(maps.Keys(g.open), func(a, b partitionKey) int {
			return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
		}) {
			if g.topic(p.topic).offset(p.partition) == nil {
				all = append(all, p)
			}
		}
		room := batchLimit
		for _, p := range all {
			if room <= 0 {
				c.Timer(coord.TimerKey{Kind: timerDeleteGroup, Name: id}, c.Now())
				return
			}
			room -= m.removeOffset(c, g, p.topic, p.partition)
		}
		m.removeGroup(c, g)
		m.log.Info("group deleted", "group", id, "offsets", len(all))
	}
	for _, done := range g.deleting {
		coord.Send(c, done, code)
	}
	g.deleting = nil
	m.tidy(g)
}

// removeGroup writes the tombstones of the group itself and returns about how much that takes.
func (m *Machine) removeGroup(c *coord.Context, g *group) (wrote int) {
	if g.consumer != nil {
		for _, r := range g.consumer.tombstones() {
			c.Write(r)
			wrote += len(r.Key) + offsetOverhead
		}
		return wrote
	}
	m.write(c, classicKey(g.id), nil)
	return len(g.id) + offsetOverhead
}
