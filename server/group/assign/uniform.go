package assign

import (
	"slices"
	"strings"
)

// state is a group laid out flat: members by ascending id, topics by ascending topic id, and all partitions of all topics in one row.
type state struct {
	g       Group
	order   []int // places in g.Members
	topics  []TopicID
	index   map[TopicID]int32
	base    []int32 // first partition of a topic in the row; one more at the end
	owner   []int32 // of a partition in the row: a place in order, or nobody
	changed []bool  // members, by their place in order, whose partitions are not what they were
}

const nobody = -1

func layOut(g Group) *state {
	s := &state{g: g, order: make([]int, len(g.Members)), changed: make([]bool, len(g.Members)), index: map[TopicID]int32{}}
	for i := range s.order {
		s.order[i] = i
	}
	slices.SortFunc(s.order, func(x, y int) int { return strings.Compare(g.Members[x].ID, g.Members[y].ID) })
	for i := range g.Members {
		for _, t := range topicsOf(g, i) {
			if _, ok := s.index[t]; !ok {
				s.index[t] = 0
				s.topics = append(s.topics, t)
			}
		}
		if g.Homogeneous {
			break
		}
	}
	slices.SortFunc(s.topics, compareID)
	s.base = make([]int32, len(s.topics)+1)
	for i, t := range s.topics {
		s.index[t] = int32(i)
		s.base[i+1] = s.base[i] + g.Partitions(t)
	}
	s.owner = slices.Repeat([]int32{nobody}, int(s.base[len(s.topics)]))
	return s
}

func (s *state) member(place int) *Member { return &s.g.Members[s.order[place]] }

// held calls f with the row's partitions that a member had in its previous target, in order. Topics nobody subscribes to, and partitions that
// do not exist or that a member before it has kept, mark the member as changed.
func (s *state) held(place int, f func(topic, row int32)) {
	for _, t := range s.member(place).Target {
		i, ok := s.index[t.Topic]
		if !ok {
			s.changed[place] = true
			continue
		}
		for _, p := range t.Partitions {
			row := s.base[i] + p
			if row >= s.base[i+1] || s.owner[row] != nobody {
				s.changed[place] = true
				continue
			}
			f(i, row)
		}
	}
}

// result collects the row into assignments.
func (s *state) result() []Assignment {
	out := make([]Assignment, len(s.order))
	sizes := make([]int32, len(s.order))
	for i := range s.topics {
		row := s.owner[s.base[i]:s.base[i+1]]
		clear(sizes)
		for _, owner := range row {
			if owner != nobody && s.changed[owner] {
				sizes[owner]++
			}
		}
		for p, owner := range row {
			if owner == nobody || !s.changed[owner] {
				continue
			}
			a := &out[s.order[owner]]
			if n := len(*a); n == 0 || (*a)[n-1].Topic != s.topics[i] {
				*a = append(*a, TopicPartitions{s.topics[i], make([]int32, 0, sizes[owner])})
			}
			last := &(*a)[len(*a)-1]
			last.Partitions = append(last.Partitions, int32(p))
		}
	}
	for place, member := range s.order {
		if !s.changed[place] {
			out[member] = s.g.Members[member].Target
		}
	}
	return out
}

// even is for members with the same subscription (UniformHomogeneousAssignmentBuilder). Everybody gets the quotient of partitions
// and members, and as many members as the remainder says one more: preferably those that hold more already.
func (s *state) even() {
	members, total := len(s.order), len(s.owner)
	least, extra := total/members, total%members
	var free []int32
	taken := make([]bool, total)
	for place := range s.order {
		s.held(place, func(_, row int32) { taken[row] = true })
	}
	for row, t := range taken {
		if !t {
			free = append(free, int32(row))
		}
	}
	type room struct{ place, n int }
	var rooms []room
	for place := range s.order {
		quota := least
		more := extra > 0
		if more {
			quota++
		}
		s.held(place, func(_, row int32) {
			if quota > 0 {
				quota--
				s.owner[row] = int32(place)
				return
			}
			s.changed[place] = true
			free = append(free, row)
		})
		// A member that does not hold the extra partition yet leaves it to a later one, unless all later ones get theirs anyway.
		if quota > 0 && more && members-place > extra {
			quota--
			more = false
		}
		if quota > 0 {
			rooms = append(rooms, room{place, quota})
		}
		if more {
			extra--
		}
	}
	for _, r := range rooms {
		n := min(r.n, len(free))
		for _, row := range free[:n] {
			s.owner[row] = int32(r.place)
		}
		s.changed[r.place] = s.changed[r.place] || n > 0
		free = free[n:]
	}
}
