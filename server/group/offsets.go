package group

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/server/meta"
)

// offset is one committed offset (OffsetAndMetadata).
type offset struct {
	partition   int32
	leaderEpoch int32 // -1 unknown
	value       int64
	committed   int64 // ms
	expires     int64 // ms; -1 where the retention of the broker counts
	at          int64 // offset of its record
	topicID     meta.UUID
	metadata    string
}

// topicOffsets are a group's offsets of one topic, by partition.
type topicOffsets struct {
	topic      string
	partitions []offset
}

type partitionKey struct {
	topic     string
	partition int32
}

type offsetKey struct {
	group     string
	topic     string
	partition int32
}

func (g *group) topicAt(topic string) (int, bool) {
	return slices.BinarySearchFunc(g.offsets, topic, func(t topicOffsets, topic string) int { return strings.Compare(t.topic, topic) })
}

// topic is the group's offsets of a topic, nil if there are none.
func (g *group) topic(topic string) *topicOffsets {
	if i, ok := g.topicAt(topic); ok {
		return &g.offsets[i]
	}
	return nil
}

func (t *topicOffsets) at(partition int32) (int, bool) {
	return slices.BinarySearchFunc(t.partitions, partition, func(o offset, partition int32) int { return cmp.Compare(o.partition, partition) })
}

// offset is the committed offset of a partition, nil if there is none. It is valid until the next change.
func (t *topicOffsets) offset(partition int32) *offset {
	if t == nil {
		return nil
	}
	if i, ok := t.at(partition); ok {
		return &t.partitions[i]
	}
	return nil
}

// put stores a committed offset.
func (g *group) put(topic string, o offset) {
	i, ok := g.topicAt(topic)
	if !ok {
		g.offsets = slices.Insert(g.offsets, i, topicOffsets{topic: topic})
	}
	t := &g.offsets[i]
	j, ok := t.at(o.partition)
	if ok {
		t.partitions[j] = o
		return
	}
	t.partitions = slices.Insert(t.partitions, j, o)
}

// remove forgets a committed offset.
func (g *group) remove(topic string, partition int32) {
	i, ok := g.topicAt(topic)
	if !ok {
		return
	}
	t := &g.offsets[i]
	j, ok := t.at(partition)
	if !ok {
		return
	}
	t.partitions = slices.Delete(t.partitions, j, j+1)
	if len(t.partitions) == 0 {
		g.offsets = slices.Delete(g.offsets, i, i+1)
	}
	if len(g.offsets) == 0 {
		g.offsets = nil
	}
}

// undecided reports whether a transactional offset of the partition waits for its marker.
func (g *group) undecided(topic string, partition int32) bool {
	return len(g.open) != 0 && g.open[partitionKey{topic, partition}] != 0
}

// topicName is the name as the image has it, so that all groups share its bytes.
func (m *Machine) topicName(name string) string {
	if t := m.opt.Image().Topic(name); t != nil {
		return t.Name
	}
	return name
}

// applyOffset takes in a committed offset or its tombstone (OffsetMetadataManager.replay).
func (m *Machine) applyOffset(k record.Key, v *record.OffsetCommit, o coord.Origin) {
	if v == nil {
		g := m.groups[k.Group]
		if g == nil {
			return
		}
		g.remove(k.Topic, k.Partition)
		m.forgetUndecided(g, k.Topic, k.Partition)
		m.tidy(g)
		return
	}
	g := m.entry(k.Group)
	if m.find(k.Group) == nil {
		// Somebody who is in no group, or whose group's record comes later: a simple group, which no record stands for.
		g.classic = newClassicGroup()
	}
	committed := offset{partition: k.Partition, leaderEpoch: v.LeaderEpoch, value: v.Offset, committed: v.CommitTimestamp, expires: v.ExpireTimestamp,
		at: o.Offset, topicID: meta.UUID(v.TopicID), metadata: v.Metadata}
	if o.ProducerID == -1 {
		topic := k.Topic
		if t := g.topic(topic); t == nil {
			topic = m.topicName(topic)
		}
		g.put(topic, committed)
		return
	}
	waiting := m.transactions[o.ProducerID]
	if waiting == nil {
		waiting = map[offsetKey]offset{}
		m.transactions[o.ProducerID] = waiting
	}
	key := offsetKey{g.id, m.topicName(k.Topic), k.Partition}
	if _, ok := waiting[key]; !ok {
		if g.open == nil {
			g.open = map[partitionKey]int32{}
		}
		g.open[partitionKey{key.topic, key.partition}]++
	}
	waiting[key] = committed
}

// forgetUndecided drops the transactional offsets of a partition.
func (m *Machine) forgetUndecided(g *group, topic string, partition int32) {
	if !g.undecided(topic, partition) {
		return
	}
	key := offsetKey{g.id, topic, partition}
	for id, waiting := range m.transactions {
		delete(waiting, key)
		if len(waiting) == 0 {
			delete(m.transactions, id)
		}
	}
	delete(g.open, partitionKey{topic, partition})
}

// endTransaction decides what a producer has committed (OffsetMetadataManager.replayEndTransactionMarker). Of
// a plain and a transactional commit the later record counts, wherever the marker stands: compaction may remove either.
func (m *Machine) endTransaction(producerID int64, commit bool) {
	waiting := m.transactions[producerID]
	delete(m.transactions, producerID)
	for k, o := range waiting {
		g := m.groups[k.group]
		if g == nil {
			continue
		}
		p := partitionKey{k.topic, k.partition}
		if g.open[p]--; g.open[p] <= 0 {
			delete(g.open, p)
		}
		if len(g.open) == 0 {
			g.open = nil
		}
		if commit {
			if was := g.topic(k.topic).offset(k.partition); was == nil || was.at < o.at {
				g.put(k.topic, o)
			}
		}
		m.tidy(g)
	}
}
