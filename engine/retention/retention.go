package retention

// Segment is what the decision needs of a segment.
type Segment struct {
	Base, Next   int64 // offsets [Base, Next)
	Size         int64 // bytes
	MaxTimestamp int64 // ms, below zero when no record has one
	Modified     int64 // ms; the age of a segment without timestamps
}

// Policy holds the limits; a negative value is no limit.
type Policy struct {
	RetentionMs    int64
	RetentionBytes int64
}

// Reason says why segments go.
type Reason int

// The reasons, in the order in which they are looked at.
const (
	None Reason = iota
	Time
	Size
	StartOffset
)

// String is the reason in words.
func (r Reason) String() string {
	switch r {
	case Time:
		return "retention.ms passed"
	case Size:
		return "retention.bytes exceeded"
	case StartOffset:
		return "log start offset moved past it"
	}
	return "kept"
}

// Decide returns how many segments from the head may go, and the reason that
// takes most of them. None reaches beyond the high watermark: a segment goes
// only if everything in it is below. An active segment (the last one) goes
// only by time and when it holds records; the log then begins a new one. By
// size it goes never, as what remains must still reach the limit.
func Decide(segments []Segment, p Policy, logStart, highWatermark, nowMs int64) (int, Reason) {
	best, why := 0, None
	take := func(n int, r Reason) {
		if n > best {
			best, why = n, r
		}
	}
	within := func(s Segment) bool { return s.Next <= highWatermark }
	last := len(segments) - 1

	if p.RetentionMs >= 0 {
		n := 0
		for i, s := range segments {
			age := s.MaxTimestamp
			if age < 0 {
				age = s.Modified
			}
			if !within(s) || nowMs-age <= p.RetentionMs || i == last && s.Size == 0 {
				break
			}
			n++
		}
		take(n, Time)
	}
	if p.RetentionBytes >= 0 {
		var total int64
		for _, s := range segments {
			total += s.Size
		}
		over, n := total-p.RetentionBytes, 0
		for i, s := range segments {
			if i == last && s.Size == 0 || !within(s) || over < s.Size {
				break
			}
			over -= s.Size
			n++
		}
		take(n, Size)
	}
	n := 0
	for i, s := range segments {
		if i == last || !within(s) || s.Next > logStart {
			break
		}
		n++
	}
	take(n, StartOffset)
	return best, why
}
