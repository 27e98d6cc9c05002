package assign

import (
	"cmp"
	"slices"
)

// rounds bounds how often all topics are balanced again: with overlapping subscriptions each round about halves what is left.
const rounds = 16

// uneven is for members with different subscriptions (UniformHeterogeneousAssignmentBuilder): members keep what they still subscribe to, free
// partitions go to the least loaded subscriber, topic by topic, and then partitions move from the most to the least loaded
// subscribers of each topic until nothing can be gained.
func (s *state) uneven() {
	subscribers := make([][]int32, len(s.topics))
	for place := range s.order {
		for _, t := range s.member(place).Topics {
			subscribers[s.index[t]] = append(subscribers[s.index[t]], int32(place))
		}
	}
	load := make([]int32, len(s.order))
	for place := range s.order {
		s.held(place, func(topic, row int32) {
			if _, ok := slices.BinarySearch(subscribers[topic], int32(place)); !ok {
				s.changed[place] = true
				return
			}
			s.owner[row] = int32(place)
			load[place]++
		})
	}
	give := func(row, to int32) {
		if from := s.owner[row]; from != nobody {
			load[from]--
			s.changed[from] = true
		}
		s.owner[row] = to
		load[to]++
		s.changed[to] = true
	}

	topics := make([]int, len(s.topics))
	for i := range topics {
		topics[i] = i
	}
	// Topics with many partitions for each subscriber, and few subscribers, are the hardest to balance and come first.
	slices.SortFunc(topics, func(x, y int) int {
		nx, ny := len(subscribers[x]), len(subscribers[y])
		return cmp.Or(
			cmp.Compare(float64(s.base[y+1]-s.base[y])/float64(ny), float64(s.base[x+1]-s.base[x])/float64(nx)),
			cmp.Compare(nx, ny),
			cmp.Compare(x, y),
		)
	})

	l := &levels{load: load}
	for _, t := range topics {
		l.begin(subscribers[t])
		for row := s.base[t]; row < s.base[t+1]; row++ {
			if s.owner[row] == nobody {
				give(row, l.lowest())
			}
		}
	}

	topics = slices.DeleteFunc(topics, func(t int) bool { return len(subscribers[t]) < 2 })
	last := nobody // topic that was balanced last
	holdings := make([][]int32, len(s.order))
	for range rounds {
		for i, t := range topics {
			if i == last {
				return
			}
			if s.balance(t, subscribers[t], l, holdings, give) || last == nobody {
				last = i
			}
		}
	}
}

// balance moves partitions of one topic between its subscribers and reports whether any moved. holdings is room for a list per member.
func (s *state) balance(t int, subscribers []int32, l *levels, holdings [][]int32, give func(row, to int32)) (moved bool) {
	if l.begin(subscribers) <= 1 {
		return false
	}
	for _, m := range subscribers {
		holdings[m] = holdings[m][:0]
	}
	for row := s.base[t]; row < s.base[t+1]; row++ {
		holdings[s.owner[row]] = append(holdings[s.owner[row]], row)
	}
	for !l.balanced() {
		from := l.highest()
		for from != nobody && len(holdings[from]) == 0 {
			l.exclude()
			from = l.highest()
		}
		if from == nobody {
			return moved
		}
		n := len(holdings[from]) - 1
		row := holdings[from][n]
		holdings[from] = holdings[from][:n]
		to := l.lowest()
		if l.balanced() {
			return moved
		}
		give(row, to)
		moved = true
	}
	return moved
}

// levels picks the least and the most loaded of some members, over and over, while the load of those picked rises and falls by one. Members are
// in a row by load. At the low end a range of members is filled like water: each of them gets one, then the level is one higher and takes in the
// members that it has reached; at the high end it is the other way round.
type levels struct {
	load []int32 // of every member
	row  []int32

	lowEnd, lowNext, lowLevel               int // range [0, lowEnd)
	highStart, highEnd, highNext, highLevel int // range [highStart, highEnd); members behind it have nothing to give
}

// begin starts with other members and returns the difference between the largest and the smallest load.
func (l *levels) begin(members []int32) int {
	l.row = append(l.row[:0], members...)
	slices.SortFunc(l.row, func(a, b int32) int { return cmp.Or(cmp.Compare(l.load[a], l.load[b]), cmp.Compare(a, b)) })
	n := len(l.row)
	low, high := l.at(0), l.at(n-1)
	l.lowEnd, l.lowNext, l.lowLevel = 0, 0, low-1
	l.highStart, l.highEnd, l.highNext, l.highLevel = n, n, n-1, high+1
	return high - low
}

func (l *levels) at(i int) int { return int(l.load[l.row[i]]) }

// balanced reports whether moving a partition between the ranges would gain nothing.
func (l *levels) balanced() bool { return l.highLevel-l.lowLevel <= 1 }

// lowest is the member that gets the next partition.
func (l *levels) lowest() int32 {
	if l.lowNext >= l.lowEnd {
		l.lowLevel++
		for l.lowEnd < len(l.row) && l.at(l.lowEnd) == l.lowLevel {
			l.lowEnd++
		}
		l.lowNext = 0
	}
	l.lowNext++
	return l.row[l.lowNext-1]
}

// highest is the member that gives the next partition, nobody if none is left.
func (l *levels) highest() int32 {
	if l.highNext < l.highStart {
		if l.highEnd <= l.highStart && l.highStart > 0 {
			l.highLevel = l.at(l.highStart - 1) // the range is empty: go down to the next members at once
		} else {
			l.highLevel--
		}
		for l.highStart > 0 && l.at(l.highStart-1) == l.highLevel {
			l.highStart--
		}
		l.highNext = l.highEnd - 1
	}
	if l.highNext < 0 {
		return nobody
	}
	l.highNext--
	return l.row[l.highNext+1]
}

// exclude takes the member that highest returned last out of the range.
func (l *levels) exclude() {
	l.highEnd--
	l.row[l.highNext+1], l.row[l.highEnd] = l.row[l.highEnd], l.row[l.highNext+1]
}
