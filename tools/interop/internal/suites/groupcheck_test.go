package suites

import (
	"encoding/binary"
	"testing"
)

func TestConsumedFindsWhatIsMissing(t *testing.T) {
	cases := []struct {
		name string
		got  [][3]int64
		want string
	}{
		{"everything, some of it twice", [][3]int64{{0, 0, 4}, {1, 0, 1}, {0, 3, 9}, {1, 1, 2}}, ""},
		{"a hole", [][3]int64{{0, 0, 4}, {0, 6, 9}, {1, 0, 2}}, "partition 0: offset 5 was never delivered"},
		{"not to the end", [][3]int64{{0, 0, 9}, {1, 0, 1}}, "partition 1: 2 of 3 records"},
		{"nothing of one", [][3]int64{{0, 0, 9}}, "partition 1: 0 of 3 records"},
		{"more than there is", [][3]int64{{0, 0, 9}, {1, 0, 3}}, "ends at 3, offset 3 was delivered"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			seen := newConsumed()
			for _, g := range c.got {
				seen.got(int32(g[0]), g[1], g[2])
			}
			expectError(t, seen.missing(map[int32]int64{0: 10, 1: 3}), c.want)
		})
	}
}

func owned(partitions ...int32) map[int32]bool {
	out := map[int32]bool{}
	for _, p := range partitions {
		out[p] = true
	}
	return out
}

func TestRosterFindsTwoOwners(t *testing.T) {
	good := roster{state: "Stable", settled: true, members: map[string]map[int32]bool{"a": owned(0, 2), "b": owned(1)}}
	expectError(t, good.overlap(), "")
	expectError(t, good.complete(2, 3), "")
	expectError(t, good.complete(3, 3), "2 members, expected 3")
	expectError(t, good.complete(2, 4), "3 partitions with an owner, expected 4")
	good.state = "PreparingRebalance"
	expectError(t, good.complete(2, 3), "state PreparingRebalance")
	bad := roster{state: "Reconciling", epoch: 7, members: map[string]map[int32]bool{"a": owned(0, 1), "b": owned(1)}}
	expectError(t, bad.overlap(), "partition 1 belongs to both a and b (state Reconciling, epoch 7)")
}

func TestWatchedRemembersTheEpoch(t *testing.T) {
	w := &watched{states: map[string]int{}}
	for _, r := range []roster{{state: "Empty"}, {state: "Stable", epoch: 3}, {state: "Assigning", epoch: 4}} {
		expectError(t, w.see(r), "")
	}
	if n, epoch := w.restless(); n != 2 || epoch != 4 {
		t.Fatalf("seen restless %d times, epoch %d", n, epoch)
	}
	expectError(t, w.see(roster{state: "Stable", epoch: 3}), "from 4 back to 3")
}

func TestJudgeCountsFindsWhatIsWrong(t *testing.T) {
	count := func(word string, n uint64) string { return word + "=" + string(binary.BigEndian.AppendUint64(nil, n)) }
	at := place{"out", 0}
	cases := []struct {
		name    string
		counts  []string
		exactly string
		atLeast string
	}{
		{"exactly", []string{count("a", 1), count("b", 1), count("a", 2)}, "", ""},
		{"repeated", []string{count("a", 1), count("a", 1), count("b", 1), count("a", 2)}, "a is counted to 1 after 1", ""},
		{"too far", []string{count("a", 1), count("b", 1), count("a", 2), count("a", 3)}, "a is counted to 3, it came 2 times", ""},
		{"left out", []string{count("a", 2), count("b", 1)}, "a is counted to 2 after 0", "a is counted to 2 after 0"},
		{"lost", []string{count("a", 1), count("b", 1)}, "a is counted to 1, it came 2 times", "a is counted to 1, it came 2 times"},
		{"foreign", []string{count("c", 1)}, "offset 0", "offset 0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out := view{}
			for i, value := range c.counts {
				out[at] = append(out[at], entry{int64(i), value})
			}
			want := map[string]int64{"a": 2, "b": 1}
			expectError(t, judgeCounts(out, want, true), c.exactly)
			expectError(t, judgeCounts(out, want, false), c.atLeast)
		})
	}
}
