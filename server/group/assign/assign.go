package assign

import (
	"bytes"
	"slices"
	"strings"
)

// TopicID is the id of a topic.
type TopicID = [16]byte

// TopicPartitions are partitions of one topic, ascending and never empty within an Assignment.
type TopicPartitions struct {
	Topic      TopicID
	Partitions []int32
}

// Assignment is partitions of topics, the topics ascending by id. It is never changed once made; results share parts with what was given in.
type Assignment []TopicPartitions

// Of returns the partitions of one topic.
func (a Assignment) Of(topic TopicID) []int32 {
	if i, ok := slices.BinarySearchFunc(a, topic, compareTopic); ok {
		return a[i].Partitions
	}
	return nil
}

// Has reports whether a partition is among them.
func (a Assignment) Has(topic TopicID, partition int32) bool {
	_, ok := slices.BinarySearch(a.Of(topic), partition)
	return ok
}

// Len is the number of partitions.
func (a Assignment) Len() (n int) {
	for _, t := range a {
		n += len(t.Partitions)
	}
	return n
}

// Equal reports whether both are the same partitions.
func (a Assignment) Equal(b Assignment) bool {
	return slices.EqualFunc(a, b, func(x, y TopicPartitions) bool { return x.Topic == y.Topic && slices.Equal(x.Partitions, y.Partitions) })
}

// New puts topics and partitions in order, without empty ones and duplicates; the lists given are not kept.
func New(list []TopicPartitions) Assignment {
	a := make(Assignment, 0, len(list))
	for _, t := range list {
		if len(t.Partitions) > 0 {
			a = append(a, t)
		}
	}
	slices.SortStableFunc(a, func(x, y TopicPartitions) int { return compareTopic(x, y.Topic) })
	out := a[:0]
	for _, t := range a {
		if n := len(out); n > 0 && out[n-1].Topic == t.Topic {
			out[n-1].Partitions = append(out[n-1].Partitions, t.Partitions...)
			continue
		}
		out = append(out, TopicPartitions{t.Topic, slices.Clone(t.Partitions)})
	}
	for i := range out {
		slices.Sort(out[i].Partitions)
		out[i].Partitions = slices.Compact(out[i].Partitions)
	}
	return out
}

func compareTopic(t TopicPartitions, id TopicID) int { return bytes.Compare(t.Topic[:], id[:]) }

func compareID(a, b TopicID) int { return bytes.Compare(a[:], b[:]) }

// Member is a member of the group that is to be assigned.
type Member struct {
	ID         string
	InstanceID string     // "" of a dynamic member
	Topics     []TopicID  // subscribed to; all exist
	Target     Assignment // previous target assignment
}

// Group is what an assignor is given. It is not changed.
type Group struct {
	Members []Member
	// Homogeneous says that all members subscribe to the same topics; then only the first one's are looked at.
	Homogeneous bool
	// Partitions is the number of partitions of a topic.
	Partitions func(TopicID) int32
}

// Assignor returns a target assignment for every member, in the order of Group.Members. Every partition of a topic that somebody
// subscribes to is in exactly one of them.
type Assignor func(g Group) []Assignment

// Named returns the assignor of that name, nil if there is none.
func Named(name string) Assignor {
	switch name {
	case "uniform":
		return Uniform
	case "range":
		return Range
	}
	return nil
}

// Uniform balances partitions over members and moves as few as it can. Among members with the same subscription nobody gets more than one
// partition more than another.
func Uniform(g Group) []Assignment {
	if len(g.Members) == 0 {
		return nil
	}
	s := layOut(g)
	if g.Homogeneous {
		s.even()
	} else {
		s.uneven()
	}
	return s.result()
}

// Range gives every member a range of each topic: topics with as many partitions as each other are assigned alike, so that members own the same
// partitions of all of them. Static members come first, by instance id, then the others by member id.
func Range(g Group) []Assignment {
	order := make([]int, len(g.Members))
	subscribers := map[TopicID]int32{}
	for i := range g.Members {
		order[i] = i
		for _, t := range topicsOf(g, i) {
			subscribers[t]++
		}
	}
	slices.SortFunc(order, func(x, y int) int {
		a, b := &g.Members[x], &g.Members[y]
		switch {
		case a.InstanceID != "" && b.InstanceID != "":
			return strings.Compare(a.InstanceID, b.InstanceID)
		case a.InstanceID != "":
			return -1
		case b.InstanceID != "":
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
	type dealt struct{ partitions, each, extra, next int32 }
	topics := make(map[TopicID]*dealt, len(subscribers))
	for t, n := range subscribers {
		p := g.Partitions(t)
		topics[t] = &dealt{partitions: p, each: p / n, extra: p % n}
	}
	out := make([]Assignment, len(g.Members))
	for _, i := range order {
		list := topicsOf(g, i)
		a := make(Assignment, 0, len(list))
		for _, t := range list {
			d := topics[t]
			n := d.each
			if d.extra > 0 {
				d.extra--
				n++
			}
			if n == 0 {
				continue
			}
			r := make([]int32, n)
			for k := range r {
				r[k] = d.next
				d.next++
			}
			a = append(a, TopicPartitions{t, r})
		}
		slices.SortFunc(a, func(x, y TopicPartitions) int { return compareTopic(x, y.Topic) })
		out[i] = a
	}
	return out
}

func topicsOf(g Group, i int) []TopicID {
	if g.Homogeneous {
		i = 0
	}
	return g.Members[i].Topics
}
