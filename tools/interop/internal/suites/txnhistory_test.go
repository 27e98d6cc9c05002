package suites

import (
	"slices"
	"strings"
	"testing"
)

// written is a history of four transactions of one writer on two partitions: one committed, one aborted, one that may be
// either, one left open; and what read_committed and read_uncommitted readers see when the third was committed.
func written() (*history, view, view) {
	h := newHistory()
	committed, uncommitted := view{}, view{}
	next := map[place]int64{}
	for n, o := range []outcome{txnCommitted, txnAborted, txnUnknown, txnOpen} {
		k := txnKey{"w", int64(n)}
		h.begin(k, 4)
		for i := range 4 {
			at := place{txnData, int32(i % 2)}
			e := entry{next[at], txnValue(k, i, 4)}
			next[at]++
			h.ack(k, i, at, e.offset)
			uncommitted[at] = append(uncommitted[at], e)
			if o == txnCommitted || o == txnUnknown {
				committed[at] = append(committed[at], e)
			}
		}
		next[place{txnData, 0}]++ // a marker
		next[place{txnData, 1}]++
		switch o {
		case txnCommitted:
			h.trying(k)
			h.ended(k, o)
		case txnAborted:
			h.ended(k, o)
		case txnUnknown:
			h.trying(k)
		}
	}
	return h, committed, uncommitted
}

// without takes the records of one transaction out of a partition, or only record i when i is not negative.
func without(v view, at place, n int64, i int) {
	v[at] = slices.DeleteFunc(slices.Clone(v[at]), func(e entry) bool {
		k, number, _, _ := parseTxnValue(e.value)
		return k.n == n && (i < 0 || number == i)
	})
}

// A judge that finds nothing wrong with a broken log is no judge.
func TestHistoryFindsWhatIsWrong(t *testing.T) {
	p0, p1 := place{txnData, 0}, place{txnData, 1}
	cases := []struct {
		name string
		do   func(h *history, committed, uncommitted view)
		want string
	}{
		{"in order", func(*history, view, view) {}, ""},
		{"the unknown one aborted", func(_ *history, c, _ view) { without(c, p0, 2, -1); without(c, p1, 2, -1) }, ""},
		{"lost", func(_ *history, c, _ view) { without(c, p0, 0, -1); without(c, p1, 0, -1) }, "lost"},
		{"torn: one partition", func(_ *history, c, _ view) { without(c, p1, 0, -1) }, "torn: 2"},
		{"torn: one record", func(_ *history, c, _ view) { without(c, p1, 0, 3) }, "torn: 3"},
		{"the unknown one torn", func(_ *history, c, _ view) { without(c, p0, 2, -1) }, "torn: 2"},
		{"aborted and visible", func(_ *history, c, u view) { c[p0], c[p1] = u[p0], u[p1] }, "visible to read_committed"},
		{"left open and visible", func(_ *history, c, u view) {
			c[p0], c[p1] = slices.Clone(u[p0]), slices.Clone(u[p1])
			without(c, p0, 1, -1)
			without(c, p1, 1, -1)
		}, "(4 records, open): 4 of its records are visible"},
		{"twice", func(_ *history, c, u view) {
			again := entry{99, u[p0][0].value}
			c[p0], u[p0] = append(c[p0], again), append(u[p0], again)
		}, "there twice"},
		{"acknowledged and gone", func(_ *history, c, u view) {
			for _, v := range []view{c, u} {
				without(v, p0, 2, -1)
				without(v, p1, 2, -1)
			}
		}, "was acknowledged at txn-data-"},
		{"acknowledged elsewhere", func(_ *history, c, u view) {
			for _, v := range []view{c, u} {
				for i := range v[p0] {
					if k, number, _, _ := parseTxnValue(v[p0][i].value); k.n == 2 && number == 2 {
						v[p0][i].offset++
					}
				}
			}
		}, "and is at txn-data-0"},
		{"out of order", func(_ *history, c, u view) {
			for _, v := range []view{c, u} {
				v[p0][0].value, v[p0][1].value = v[p0][1].value, v[p0][0].value
			}
		}, "comes after record"},
		{"foreign", func(_ *history, c, _ view) { c[p0][0].value += "x" }, "a value nobody sent"},
		{"of nobody", func(h *history, _, _ view) { delete(h.txns, txnKey{"w", 1}) }, "which nobody began"},
		{"only committed", func(_ *history, _, u view) { without(u, p0, 0, -1) }, "and not with read_uncommitted"},
		{"committed unasked", func(h *history, _, _ view) { h.ended(txnKey{"w", 3}, txnCommitted) }, "without having been asked"},
		{"begun twice", func(h *history, _, _ view) { h.begin(txnKey{"w", 3}, 1) }, "begins twice"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h, committed, uncommitted := written()
			c.do(h, committed, uncommitted)
			expectError(t, h.verify(committed, uncommitted), c.want)
		})
	}
}

func expectError(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Fatalf("got %v, expected %q", err, want)
	}
}

func TestSameViewFindsWhatWasTakenBack(t *testing.T) {
	at := place{txnData, 0}
	final := func() []entry { return []entry{{0, "a"}, {1, "b"}, {4, "c"}, {5, "d"}} }
	cases := []struct {
		name string
		live []entry
		want string
	}{
		{"the same", final(), ""},
		{"from the middle", final()[2:], ""},
		{"not all", final()[:3], "never got the last 1 records, from offset 5"},
		{"taken back at the end", append(final(), entry{6, "e"}), "is not there at the end"},
		{"taken back in the middle", []entry{{0, "a"}, {1, "b"}, {2, "x"}, {4, "c"}, {5, "d"}}, "delivered and taken back"},
		{"passed over", []entry{{0, "a"}, {4, "c"}, {5, "d"}}, "offset 1 is there at the end and was passed over"},
		{"other bytes", []entry{{0, "a"}, {1, "b"}, {4, "C"}, {5, "d"}}, `was "C" and is "c"`},
		{"again", []entry{{0, "a"}, {1, "b"}, {1, "b"}, {4, "c"}}, "delivered after offset 1"},
		{"nothing", nil, "nothing of the 4 records"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			expectError(t, sameView("it", view{at: c.live}, view{at: final()}), c.want)
		})
	}
}

func TestExactlyOnceFindsWhatIsWrong(t *testing.T) {
	in := []entry{{0, "a"}, {3, "b"}, {4, "c"}}
	out := func() []entry {
		var out []entry
		for i, e := range in {
			out = append(out, entry{int64(i), transformed(1, e.offset, e.value)})
		}
		return out
	}
	cases := []struct {
		name string
		do   func([]entry) []entry
		want string
	}{
		{"once each", func(o []entry) []entry { return o }, ""},
		{"lost", func(o []entry) []entry { return slices.Delete(o, 1, 2) }, "which is lost"},
		{"lost at the end", func(o []entry) []entry { return o[:2] }, "the first lost one is at offset 4"},
		{"doubled", func(o []entry) []entry { return slices.Insert(o, 1, o[0]) }, "expected"},
		{"doubled at the end", func(o []entry) []entry { return append(o, o[2]) }, "once too often"},
		{"reordered", func(o []entry) []entry { o[0], o[1] = o[1], o[0]; return o }, "which is at"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { expectError(t, exactlyOnce("o", in, c.do(out()), 1), c.want) })
	}
}

func TestTideGoesOneWay(t *testing.T) {
	at, w := place{txnData, 0}, newTide("it")
	for _, n := range []int64{0, 5, 5, 7} {
		if err := w.see(at, n); err != nil {
			t.Fatal(err)
		}
	}
	expectError(t, w.see(at, 6), "went from 7 back to 6")
}

func TestTellUnderstandsPrograms(t *testing.T) {
	h := newHistory()
	for _, line := range []string{"begin 3 2", "acked 3 1 txn-data 2 77", "note anything", "trying 3", "committed 3"} {
		if err := h.tell("j", line); err != nil {
			t.Fatal(err)
		}
	}
	x := h.txns[txnKey{"j", 3}]
	if h.broken != nil || x.outcome != txnCommitted || x.acked[1] != (spot{place{txnData, 2}, 77}) || h.commits() != 1 {
		t.Fatalf("%v %+v", h.broken, x)
	}
	for _, line := range []string{"begin x 1", "acked 3 1 txn-data", "committed"} {
		if h.tell("j", line) == nil {
			t.Errorf("%q is taken", line)
		}
	}
}
