package retention

import "testing"

func log() []Segment {
	return []Segment{
		{Base: 0, Next: 100, Size: 1000, MaxTimestamp: 1_000},
		{Base: 100, Next: 200, Size: 1000, MaxTimestamp: 2_000},
		{Base: 200, Next: 300, Size: 1000, MaxTimestamp: 3_000},
		{Base: 300, Next: 310, Size: 100, MaxTimestamp: 4_000},
	}
}

func TestDecide(t *testing.T) {
	none := Policy{-1, -1}
	for name, x := range map[string]struct {
		policy           Policy
		start, high, now int64
		change           func([]Segment)
		n                int
		why              Reason
	}{
		"nothing is due":                 {policy: none, high: 310, now: 1 << 40},
		"time takes the old":             {policy: Policy{1_000, -1}, high: 310, now: 3_500, n: 2, why: Time},
		"exactly retention.ms old stays": {policy: Policy{1_500, -1}, high: 310, now: 3_500, n: 1, why: Time},
		"a young segment protects older ones behind it": {policy: Policy{1_000, -1}, high: 310, now: 3_500,
			change: func(s []Segment) { s[0].MaxTimestamp = 9_999 }},
		"time takes the active one with records": {policy: Policy{0, -1}, high: 310, now: 10_000, n: 4, why: Time},
		"an empty active one stays": {policy: Policy{0, -1}, high: 310, now: 10_000, n: 3, why: Time,
			change: func(s []Segment) { s[3].Size = 0; s[3].Next = 300 }},
		"never past the high watermark":      {policy: Policy{0, -1}, high: 250, now: 10_000, n: 2, why: Time},
		"without timestamps the file's age":  {policy: Policy{1_000, -1}, high: 310, now: 3_500, n: 1, why: Time, change: func(s []Segment) { s[0].MaxTimestamp, s[0].Modified = -1, 100; s[1].MaxTimestamp = 3_000 }},
		"size leaves at least the limit":     {policy: Policy{-1, 1_500}, high: 310, now: 1, n: 1, why: Size},
		"size exactly reached":               {policy: Policy{-1, 2_100}, high: 310, now: 1, n: 1, why: Size},
		"size zero takes everything":         {policy: Policy{-1, 0}, high: 310, now: 1, n: 4, why: Size},
		"start offset":                       {policy: none, start: 200, high: 310, now: 1, n: 2, why: StartOffset},
		"start offset inside a segment":      {policy: none, start: 199, high: 310, now: 1, n: 1, why: StartOffset},
		"every reason that counts is named":  {policy: Policy{2_400, 2_000}, start: 100, high: 310, now: 4_500, n: 2, why: StartOffset | Time},
		"all reasons at once":                {policy: Policy{1_000, 1_100}, start: 100, high: 310, now: 4_500, n: 3, why: StartOffset | Size | Time, change: func(s []Segment) { s[1].Size = 900; s[2].Size = 1_000 }},
		"size counts what is left":           {policy: Policy{-1, 1_000}, start: 200, high: 310, now: 1, n: 2, why: StartOffset},
		"the last one does not go for start": {policy: none, start: 310, high: 310, now: 1, n: 3, why: StartOffset},
		"no start beyond the high watermark": {policy: none, start: 300, high: 150, now: 1, n: 1, why: StartOffset},
		"a log smaller than its limit":       {policy: Policy{-1, 3_101}, high: 310, now: 1},
		"a future timestamp keeps":           {policy: Policy{0, -1}, high: 310, now: 10_000, change: func(s []Segment) { s[0].MaxTimestamp = 10_001 }},
		"timestamp zero is old":              {policy: Policy{1_000, -1}, high: 310, now: 1_500, n: 1, why: Time, change: func(s []Segment) { s[0].MaxTimestamp = 0 }},
	} {
		segments := log()
		if x.change != nil {
			x.change(segments)
		}
		if n, why := Decide(segments, x.policy, x.start, x.high, x.now); n != x.n || why != x.why {
			t.Errorf("%s: %d segments (%s), expected %d (%s)", name, n, why, x.n, x.why)
		}
	}
}

func TestDecideNothing(t *testing.T) {
	if n, why := Decide(nil, Policy{0, 0}, 10, 10, 10); n != 0 || why != 0 || why.String() != "none" {
		t.Fatalf("%d, %v", n, why)
	}
	empty := []Segment{{Base: 0, Next: 0, MaxTimestamp: -1}}
	if n, _ := Decide(empty, Policy{0, 0}, 0, 0, 10); n != 0 {
		t.Fatalf("an empty log loses %d segments", n)
	}
	if got := (StartOffset | Time).String(); got != "log start offset breach, retention time breach" {
		t.Fatal(got)
	}
}

// Whatever the numbers are, what goes is a head of the log that lies below the high watermark.
func FuzzDecide(f *testing.F) {
	f.Add(int64(1), int64(1), int64(1), int64(1), int64(1), uint64(0x123456789))
	f.Fuzz(func(t *testing.T, ms, bytes, start, high, now int64, shape uint64) {
		var segments []Segment
		for base := int64(0); shape != 0; shape >>= 8 {
			n := int64(shape & 15)
			segments = append(segments, Segment{Base: base, Next: base + n, Size: n * 100, MaxTimestamp: int64(shape>>4&15) - 1})
			base += n
		}
		n, why := Decide(segments, Policy{ms, bytes}, start, high, now)
		if n < 0 || n > len(segments) || (n == 0) != (why == 0) {
			t.Fatalf("%d of %d, %v", n, len(segments), why)
		}
		if n > 0 && segments[n-1].Next > high {
			t.Fatalf("segment to %d goes, high watermark %d", segments[n-1].Next, high)
		}
	})
}
