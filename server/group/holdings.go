package group

import (
	"bytes"
	"slices"

	"github.com/gregor-broker/gregor/server/group/assign"
	"github.com/gregor-broker/gregor/server/group/record"
)

// holdings are partitions and, for each, the member epoch in which it was assigned: topics ascending by id, partitions ascending, neither
// topics without partitions nor partitions without an epoch. They are never changed once made.
type holdings []record.TopicPartitions

// newHoldings puts the partitions of a record in order. Records of Kafka before 4.3 have no epochs; the member's own takes their place, but 0 for
// the negative epoch of a static member that will be back (Utils.assignmentFromTopicPartitions).
func newHoldings(list []record.TopicPartitions, epoch int32) holdings {
	var h holdings
	for _, t := range list {
		for i, p := range t.Partitions {
			e := max(epoch, 0)
			if len(t.AssignmentEpochs) == len(t.Partitions) {
				e = t.AssignmentEpochs[i]
			}
			h = h.with(t.TopicID, p, e)
		}
	}
	return h
}

func (h holdings) seat(topic assign.TopicID) (int, bool) {
	return slices.BinarySearchFunc(h, topic, func(t record.TopicPartitions, id assign.TopicID) int { return bytes.Compare(t.TopicID[:], id[:]) })
}

// with adds a partition in place: only for holdings that are being made.
func (h holdings) with(topic assign.TopicID, partition, epoch int32) holdings {
	i, ok := h.seat(topic)
	if !ok {
		h = slices.Insert(h, i, record.TopicPartitions{TopicID: topic})
	}
	t := &h[i]
	j, ok := slices.BinarySearch(t.Partitions, partition)
	if ok {
		t.AssignmentEpochs[j] = epoch
		return h
	}
	t.Partitions = slices.Insert(t.Partitions, j, partition)
	t.AssignmentEpochs = slices.Insert(t.AssignmentEpochs, j, epoch)
	return h
}

// epoch is the epoch in which a partition was assigned.
func (h holdings) epoch(topic assign.TopicID, partition int32) (epoch int32, ok bool) {
	i, ok := h.seat(topic)
	if !ok {
		return 0, false
	}
	j, ok := slices.BinarySearch(h[i].Partitions, partition)
	if !ok {
		return 0, false
	}
	return h[i].AssignmentEpochs[j], true
}

func (h holdings) has(topic assign.TopicID, partition int32) bool {
	_, ok := h.epoch(topic, partition)
	return ok
}

func (h holdings) each(f func(topic assign.TopicID, partition int32)) {
	for i := range h {
		for _, p := range h[i].Partitions {
			f(h[i].TopicID, p)
		}
	}
}

func (h holdings) yield(f func(topic assign.TopicID, partitions []int32)) {
	for i := range h {
		f(h[i].TopicID, h[i].Partitions)
	}
}

func (h holdings) equal(o holdings) bool {
	return slices.EqualFunc(h, o, func(a, b record.TopicPartitions) bool {
		return a.TopicID == b.TopicID && slices.Equal(a.Partitions, b.Partitions) && slices.Equal(a.AssignmentEpochs, b.AssignmentEpochs)
	})
}

// split parts the holdings in those that f takes and the others.
func (h holdings) split(f func(topic assign.TopicID, partition int32) bool) (taken, others holdings) {
	for i := range h {
		t := &h[i]
		var a, b record.TopicPartitions
		a.TopicID, b.TopicID = t.TopicID, t.TopicID
		for j, p := range t.Partitions {
			to := &b
			if f(t.TopicID, p) {
				to = &a
			}
			to.Partitions = append(to.Partitions, p)
			to.AssignmentEpochs = append(to.AssignmentEpochs, t.AssignmentEpochs[j])
		}
		if len(a.Partitions) > 0 {
			taken = append(taken, a)
		}
		if len(b.Partitions) > 0 {
			others = append(others, b)
		}
	}
	return taken, others
}

// plus is both holdings together; where both have a partition, the epoch is that of o.
func (h holdings) plus(o holdings) holdings {
	if len(h) == 0 {
		return o
	}
	var out holdings
	for _, src := range [...]holdings{h, o} {
		for i := range src {
			for j, p := range src[i].Partitions {
				out = out.with(src[i].TopicID, p, src[i].AssignmentEpochs[j])
			}
		}
	}
	return out
}

// at is the same partitions, all assigned in one epoch.
func (h holdings) at(epoch int32) holdings {
	out := slices.Clone(h)
	for i := range out {
		out[i].AssignmentEpochs = slices.Repeat([]int32{epoch}, len(out[i].Partitions))
	}
	return out
}
