package group

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/assign"
	"github.com/gregor-broker/gregor/server/meta"
)

// topicMaker creates, grows and deletes a topic.
type topicMaker struct {
	made  int
	quiet bool
}

func (t *topicMaker) behave(*world)           { t.quiet = true }
func (t *topicMaker) unsettled(*world) string { return "" }

func (t *topicMaker) tick(w *world) {
	if t.quiet || !w.chance(0.01) {
		return
	}
	d := meta.NewDelta(w.image)
	apply := func(list ...meta.Record) {
		for _, r := range list {
			if err := d.Apply(r); err != nil {
				w.fail("image: %v", err)
			}
		}
	}
	switch old := w.image.Topic(modernTopic); {
	case old == nil:
		t.made++
		id := meta.UUID{byte(t.made), 2}
		apply(&meta.TopicRecord{Name: modernTopic, TopicID: id})
		apply(partitionRecords(id, 0, 1+w.rng.Int32N(4))...)
	case w.chance(0.5):
		n := int32(len(old.Partitions))
		apply(partitionRecords(old.ID, n, n+1+w.rng.Int32N(3))...)
	default:
		apply(&meta.RemoveTopicRecord{TopicID: old.ID})
	}
	before := w.image
	w.image = d.Image(before.Offset+1, 1)
	w.logf("topic %s has now %d partitions", modernTopic, len(w.partitionsOf(modernTopic)))
	_ = w.run.DoAt(0, func(c *coord.Context, m *Machine) { m.ImageChanged(c, before, w.image) })
	w.settle()
}

// partitionsOf is all partitions of a topic, none if it does not exist.
func (w *world) partitionsOf(topic string) (list []owned) {
	t := w.image.Topic(topic)
	if t == nil {
		return nil
	}
	for _, p := range t.Partitions {
		list = append(list, owned{assign.TopicID(t.ID), p.ID})
	}
	return list
}

// referee sees to it that no partition has two owners, in the coordinator and among those it counts as members.
type referee struct{}

func (referee) behave(*world)           {}
func (referee) unsettled(*world) string { return "" }

func (referee) tick(w *world) {
	w.peek(func(m *Machine) {
		for _, e := range m.groups {
			if e.consumer != nil {
				judgeGroup(w, e.consumer)
			}
		}
		if w.chance(0.02) {
			compacted(w, m)
		}
	})
}

// compacted compares the KIP-848 groups with what is made of a log of which compaction has left the last record of each key, and of tombstones
// perhaps nothing.
func compacted(w *world, m *Machine) {
	w.follow()
	all := slices.SortedFunc(maps.Values(w.follower.last), func(a, b *compactedRecord) int { return cmp.Compare(a.offset, b.offset) })
	fresh, keep := New(w.opt, 0), w.chance(0.5)
	for _, r := range all {
		if r.value == nil && !keep {
			continue
		}
		if err := fresh.Apply(coord.Record{Key: r.key, Value: r.value}, coord.Origin{Offset: r.offset, ProducerID: -1}); err != nil {
			w.fail("compacted log: %v", err)
		}
	}
	for id, e := range m.groups {
		if e.consumer == nil {
			continue
		}
		g := fresh.groups[id]
		if g == nil || g.consumer == nil {
			w.fail("group %s is not in its compacted log", id)
			continue
		}
		w.a, w.b = dumpConsumer(w.a[:0], e.consumer), dumpConsumer(w.b[:0], g.consumer)
		if !bytes.Equal(w.a, w.b) {
			w.fail("a compacted log makes another group\nlive:\n%s\nloaded:\n%s", w.a, w.b)
		}
	}
}

func judgeGroup(w *world, g *consumerGroup) {
	holders, total := w.holders, 0
	clear(holders)
	for _, x := range g.members {
		for _, h := range [...]holdings{x.assigned, x.revoking} {
			h.each(func(topic assign.TopicID, p int32) {
				o := owned{topic, p}
				total++
				if was := holders[o]; was != nil {
					w.fail("group %s: partition %d of %x is held by %s and by %s", g.id, p, topic, was.id, x.id)
				}
				holders[o] = x
				if g.owners[o] != x {
					w.fail("group %s: partition %d of %x has the wrong owner", g.id, p, topic)
				}
			})
		}
		if x.epoch > g.assignmentEpoch || g.assignmentEpoch > g.epoch {
			w.fail("group %s: epochs of member %s: %d, of the assignment %d, of the group %d", g.id, x.id, x.epoch, g.assignmentEpoch, g.epoch)
		}
	}
	if len(g.owners) != total {
		w.fail("group %s: %d partitions are held, %d have owners", g.id, total, len(g.owners))
	}
	for _, c := range w.clients {
		c, ok := c.(*modernClient)
		if !ok || c.group != g.id {
			continue
		}
		x := g.member(c.id)
		if x == nil || c.classic && c.epoch != x.epoch {
			continue // it may not know yet that it was removed, or was left behind in a generation of a classic group
		}
		for o := range c.owned {
			if holders[o] != x && w.image.TopicByID(meta.UUID(o.topic)) != nil {
				w.fail("group %s: %s owns partition %d of %x, which is not its own", g.id, c.name, o.partition, o.topic)
			}
		}
	}
}
