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
		"never past the high watermark":       {policy: Policy{0, -1}, high: 250, now: 10_000, n: 2, why: Time},
		"without timestamps the file's age":   {policy: Policy{1_000, -1}, high: 310, now: 3_500, n: 1, why: Time, change: func(s []Segment) { s[0].MaxTimestamp, s[0].Modified = -1, 100; s[1].MaxTimestamp = 3_000 }},
		"size leaves at least the limit":      {policy: Policy{-1, 1_500}, high: 310, now: 1, n: 1, why: Size},
		"size exactly reached":                {policy: Policy{-1, 2_100}, high: 310, now: 1, n: 1, why: Size},
		"size zero takes everything":          {policy: Policy{-1, 0}, high: 310, now: 1, n: 4, why: Size},
		"start offset":                        {policy: none, start: 200, high: 310, now: 1, n: 2, why: StartOffset},
		"start offset inside a segment":       {policy: none, start: 199, high: 310, now: 1, n: 1, why: StartOffset},
		"the reason that takes most is named": {policy: Policy{2_400, 0}, start: 100, high: 310, now: 3_500, n: 4, why: Size},
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
