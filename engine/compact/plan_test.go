package compact

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// aLog has four segments of 100 offsets and 1000 bytes, the last one active.
func aLog() State {
	s := State{Start: 0, End: 350, Stable: 350, Cleaned: -1}
	for i := range int64(4) {
		s.Segments = append(s.Segments, Segment{Base: i * 100, Size: 1000, FirstTimestamp: 1000 + i*100, MaxTimestamp: 1099 + i*100})
	}
	return s
}

func TestDecide(t *testing.T) {
	never := Policy{MinDirtyRatio: 0.5, MaxLagMs: math.MaxInt64}
	for name, x := range map[string]struct {
		change func(*State)
		policy Policy
		now    int64
		want   Plan
		due    bool
	}{
		"never cleaned": {want: Plan{0, 300, false, 0, 3000, false}, due: true},
		"half is clean": {change: func(s *State) { s.Cleaned = 200 }, want: Plan{200, 300, false, 2000, 1000, false}},
		"less dirt is enough": {change: func(s *State) { s.Cleaned = 200 }, policy: Policy{MinDirtyRatio: 0.3, MaxLagMs: math.MaxInt64},
			want: Plan{200, 300, false, 2000, 1000, false}, due: true},
		"all is clean":                                    {change: func(s *State) { s.Cleaned = 300 }, want: Plan{300, 300, false, 3000, 0, false}},
		"all is clean, and any will do":                   {change: func(s *State) { s.Cleaned = 300 }, policy: Policy{MaxLagMs: math.MaxInt64}, want: Plan{300, 300, false, 3000, 0, false}},
		"stopped within a segment, which counts for both": {change: func(s *State) { s.Cleaned = 150 }, want: Plan{150, 300, false, 2000, 2000, false}},
		"a cleaning reached the active one":               {change: func(s *State) { s.Cleaned = 320 }, want: Plan{320, 300, false, 4000, 0, false}},
		"a transaction is open":                           {change: func(s *State) { s.Stable = 250 }, want: Plan{0, 200, false, 0, 2000, false}, due: true},
		"a transaction is open in the first segment":      {change: func(s *State) { s.Stable = 50 }, want: Plan{0, 0, false, 0, 0, false}},
		"a transaction began in the middle of the clean part": {change: func(s *State) { s.Stable, s.Cleaned = 50, 200 },
			want: Plan{200, 200, false, 2000, 0, false}},
		"the checkpoint is below the start": {change: func(s *State) { s.Start, s.Cleaned = 120, 10 },
			want: Plan{120, 300, false, 2000, 2000, false}},
		"the checkpoint is above the end": {change: func(s *State) { s.Cleaned = 351 }, want: Plan{0, 300, true, 0, 3000, false}, due: true},
		"the checkpoint is the end":       {change: func(s *State) { s.Cleaned = 350 }, want: Plan{350, 300, false, 4000, 0, false}},
		"no checkpoint, and a start":      {change: func(s *State) { s.Start = 100 }, want: Plan{100, 300, false, 1000, 2000, false}, due: true},
		"one segment":                     {change: func(s *State) { s.Segments = s.Segments[:1] }, want: Plan{0, 0, false, 0, 0, false}},
		"young records":                   {policy: Policy{MinLagMs: 100, MaxLagMs: math.MaxInt64}, now: 1299, want: Plan{0, 200, false, 0, 2000, false}, due: true},
		"only young records":              {policy: Policy{MinLagMs: 1000, MaxLagMs: math.MaxInt64}, now: 1299, want: Plan{0, 0, false, 0, 0, false}},
		"just old enough":                 {policy: Policy{MinLagMs: 100, MaxLagMs: math.MaxInt64}, now: 1399, want: Plan{0, 300, false, 0, 3000, false}, due: true},
		"young in the clean part": {change: func(s *State) { s.Segments[0].MaxTimestamp, s.Cleaned = 9999, 100 }, policy: Policy{MinLagMs: 100, MaxLagMs: math.MaxInt64}, now: 1399,
			want: Plan{100, 300, false, 1000, 2000, false}, due: true},
		"overdue": {change: func(s *State) { s.Cleaned = 200 }, policy: Policy{MinDirtyRatio: 0.9, MaxLagMs: 50}, now: 1251,
			want: Plan{200, 300, false, 2000, 1000, true}, due: true},
		"not quite overdue": {change: func(s *State) { s.Cleaned = 200 }, policy: Policy{MinDirtyRatio: 0.9, MaxLagMs: 50}, now: 1250,
			want: Plan{200, 300, false, 2000, 1000, false}},
		"overdue, but not to be cleaned": {change: func(s *State) { s.Cleaned, s.Stable = 200, 210 }, policy: Policy{MinDirtyRatio: 0.9, MaxLagMs: 50}, now: 9999,
			want: Plan{200, 200, false, 2000, 0, true}},
		"the active segment is never overdue": {change: func(s *State) { s.Cleaned = 300 }, policy: Policy{MinDirtyRatio: 0.9, MaxLagMs: 50}, now: 9999,
			want: Plan{300, 300, false, 3000, 0, false}},
		"without timestamps nothing is overdue": {change: func(s *State) {
			for i := range s.Segments {
				s.Segments[i].FirstTimestamp = -1
			}
		}, policy: Policy{MinDirtyRatio: 0.9, MaxLagMs: 50}, now: 9999, want: Plan{0, 300, false, 0, 3000, false}, due: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := aLog()
			if x.change != nil {
				x.change(&s)
			}
			p := x.policy
			if p == (Policy{}) {
				p = never
			}
			got := Decide(s, p, x.now)
			if got != x.want || got.Due(p) != x.due {
				t.Errorf("%+v, due %v, expected %+v, %v", got, got.Due(p), x.want, x.due)
			}
		})
	}
	if first, largest := never.NeedsTimes(); first || largest {
		t.Error("times nobody needs")
	}
	if first, largest := (Policy{MinLagMs: 1}).NeedsTimes(); !first || !largest {
		t.Error("times that are needed")
	}
}

func TestGroup(t *testing.T) {
	sizes := func(sizes ...int64) (list []Segment) {
		for i, n := range sizes {
			list = append(list, Segment{Base: int64(i) * 100, Size: n})
		}
		return list
	}
	for name, x := range map[string]struct {
		segments []Segment
		change   func([]Segment)
		end      int64
		want     []int
	}{
		"none":              {},
		"one":               {segments: sizes(5000), want: []int{1}},
		"all together":      {segments: sizes(100, 200, 300), want: []int{3}},
		"by size":           {segments: sizes(600, 400, 1, 999, 1, 1000), want: []int{2, 4, 5, 6}},
		"too large already": {segments: sizes(5000, 5000, 10, 10), want: []int{1, 2, 4}},
		"by index":          {segments: sizes(1, 1, 1), change: func(s []Segment) { s[0].IndexBytes, s[1].IndexBytes = 60, 41 }, want: []int{1, 3}},
		"by time index":     {segments: sizes(1, 1, 1), change: func(s []Segment) { s[1].TimeIndexBytes, s[2].TimeIndexBytes = 60, 41 }, want: []int{2, 3}},
		"by offsets":        {segments: sizes(1, 1, 1, 1), change: func(s []Segment) { s[2].Base, s[3].Base = math.MaxInt32, math.MaxInt32+2 }, end: 1<<32 - 1, want: []int{2, 4}},
		"by offsets, at the end": {segments: sizes(1, 1, 1), change: func(s []Segment) { s[2].Base = math.MaxInt32 - 5 },
			end: math.MaxInt32 + 2, want: []int{2, 3}},
		"by offsets, just within": {segments: sizes(1, 1, 1), change: func(s []Segment) { s[2].Base = math.MaxInt32 - 5 },
			end: math.MaxInt32 + 1, want: []int{3}},
		"empty segments go anywhere": {segments: sizes(1, 0, 0), change: func(s []Segment) { s[1].Base, s[2].Base = 1<<35, 1<<36 }, end: 1 << 40, want: []int{3}},
	} {
		t.Run(name, func(t *testing.T) {
			if x.change != nil {
				x.change(x.segments)
			}
			if x.end == 0 {
				x.end = 1000
			}
			if got := Group(x.segments, 1000, 100, x.end); !slices.Equal(got, x.want) {
				t.Errorf("%v, expected %v", got, x.want)
			}
		})
	}
}

func ExamplePlan_Ratio() {
	fmt.Println(Plan{}.Ratio(), Plan{CleanBytes: 300, DirtyBytes: 100}.Ratio())
	// Output: 0 0.25
}
