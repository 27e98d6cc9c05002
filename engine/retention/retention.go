package retention

import "strings"

// Segment is what matters of one segment. Times are in milliseconds.
type Segment struct {
	Base         int64 // offset of the segment
	Next         int64 // base of the following segment, or the log's end for the last one
	Size         int64 // bytes of records
	MaxTimestamp int64 // largest timestamp of its records, negative when it has none
	Modified     int64 // last modification of its file; matters only without a timestamp
}

// Policy is how much of a log to keep. Negative means without limit.
type Policy struct {
	RetentionMs    int64 // retention.ms
	RetentionBytes int64 // retention.bytes
}

// Reason is a set of reasons.
type Reason uint8

const (
	// StartOffset says that segments lie before the log's start.
	StartOffset Reason = 1 << iota
	// Size says that the log would keep RetentionBytes without them.
	Size
	// Time says that all their records are older than RetentionMs.
	Time
)

// String names the reasons in the words of Kafka's log messages.
func (r Reason) String() string {
	var names []string
	if r&StartOffset != 0 {
		names = append(names, "log start offset breach")
	}
	if r&Size != 0 {
		names = append(names, "retention size breach")
	}
	if r&Time != 0 {
		names = append(names, "retention time breach")
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Decide says how many segments at the head of a log may be deleted at nowMs, and all reasons that
// counted. segments are all of the log's, in order. First go those that end at or before logStart, then
// those that RetentionBytes can do without, then those older than RetentionMs; each stops at the first
// segment it has to keep. A segment that reaches beyond the high watermark stays, and so does an empty
// last one. The last segment may be among those to delete, but never for the log's start; then a new one
// is to be rolled first.
func Decide(segments []Segment, p Policy, logStart, highWatermark, nowMs int64) (n int, why Reason) {
	deletable := func(i int) bool {
		return segments[i].Next <= highWatermark && (i+1 < len(segments) || segments[i].Size > 0)
	}
	for n+1 < len(segments) && segments[n+1].Base <= logStart && deletable(n) {
		n++
		why |= StartOffset
	}
	if p.RetentionBytes >= 0 {
		var excess int64
		for _, s := range segments[n:] {
			excess += s.Size
		}
		excess -= p.RetentionBytes
		for n < len(segments) && excess >= 0 && excess-segments[n].Size >= 0 && deletable(n) {
			excess -= segments[n].Size
			n++
			why |= Size
		}
	}
	if p.RetentionMs >= 0 {
		for n < len(segments) && nowMs-newest(segments[n]) > p.RetentionMs && deletable(n) {
			n++
			why |= Time
		}
	}
	return n, why
}

// newest is the time that the age of a segment counts from.
func newest(s Segment) int64 {
	if s.MaxTimestamp >= 0 {
		return s.MaxTimestamp
	}
	return s.Modified
}
