package compact

import "math"

// Segment is what matters of one segment.
type Segment struct {
	Base                       int64 // offset of the segment
	Size                       int64 // bytes of records
	IndexBytes, TimeIndexBytes int64 // of its indexes
	// FirstTimestamp is of its first batch, negative without one; it matters only with a MaxLagMs.
	FirstTimestamp int64
	// MaxTimestamp is the largest of its records, or when its file was changed last without one; it matters only with
	// a MinLagMs.
	MaxTimestamp int64
}

// State is what matters of one log.
type State struct {
	Segments []Segment // in order; the last one is active
	Start    int64     // first offset offered
	End      int64     // behind the last record
	Stable   int64     // last stable offset
	Cleaned  int64     // the offset of cleaner-offset-checkpoint, negative for none
}

// Policy is what a topic wants.
type Policy struct {
	MinDirtyRatio float64 // min.cleanable.dirty.ratio
	MinLagMs      int64   // min.compaction.lag.ms; 0 or less is none
	MaxLagMs      int64   // max.compaction.lag.ms; MaxInt64 is none
}

// NeedsTimes says which times of the segments Decide asks for.
func (p Policy) NeedsTimes() (first, largest bool) { return p.MaxLagMs < math.MaxInt64, p.MinLagMs > 0 }

// Plan is what could be cleaned of a log.
type Plan struct {
	// FirstDirty and FirstUncleanable bound the dirty part that can be cleaned; FirstUncleanable is a segment's base,
	// unless it is below FirstDirty and there is nothing to do.
	FirstDirty, FirstUncleanable int64
	// Reset says that the checkpoint lies behind the end of the log and is to be FirstDirty, the log's start. One that lies below the start stays,
	// other than in Kafka: raised, it would say of what is there below the start that it was cleaned.
	Reset bool
	// CleanBytes are those of the segments in front of FirstDirty, DirtyBytes those from there on; the segment with
	// FirstDirty in it is of both.
	CleanBytes, DirtyBytes int64
	// Overdue says that a dirty segment is older than MaxLagMs.
	Overdue bool
}

// Ratio is how dirty the log is: from 0 to 1.
func (p Plan) Ratio() float64 {
	if p.CleanBytes+p.DirtyBytes == 0 {
		return 0
	}
	return float64(p.DirtyBytes) / float64(p.CleanBytes+p.DirtyBytes)
}

// Due says that the log should be cleaned.
func (p Plan) Due(policy Policy) bool {
	if p.CleanBytes+p.DirtyBytes == 0 {
		return false
	}
	return p.Overdue && p.DirtyBytes > 0 || p.Ratio() > policy.MinDirtyRatio
}

// Decide finds what can be cleaned of a log at nowMs (LogCleanerManager.cleanableOffsets and maxCompactionDelay,
// and LogToClean). Never cleaned are the active segment, what is at or above the last stable offset, and segments
// from the first one with a record younger than MinLagMs on.
func Decide(s State, policy Policy, nowMs int64) Plan {
	var p Plan
	p.FirstDirty = s.Cleaned
	if s.Cleaned < s.Start || s.Cleaned > s.End {
		p.FirstDirty, p.Reset = s.Start, s.Cleaned > s.End
	}
	active := len(s.Segments) - 1
	dirty := s.from(p.FirstDirty)
	uncleanable := min(s.Stable, s.Segments[active].Base)
	if policy.MinLagMs > 0 {
		for i := dirty; i < active; i++ {
			if s.Segments[i].MaxTimestamp > nowMs-policy.MinLagMs {
				uncleanable = min(uncleanable, s.Segments[i].Base)
				break
			}
		}
	}
	if policy.MaxLagMs < math.MaxInt64 {
		until := nowMs - max(policy.MaxLagMs, 0)
		for i := dirty; i < active; i++ {
			if t := s.Segments[i].FirstTimestamp; t > 0 && t < until {
				p.Overdue = true
			}
		}
	}
	end := s.from(max(p.FirstDirty, uncleanable))
	p.FirstUncleanable = s.Segments[end].Base
	for i := range end {
		if s.Segments[i].Base < p.FirstDirty {
			p.CleanBytes += s.Segments[i].Size
		}
		if i >= dirty {
			p.DirtyBytes += s.Segments[i].Size
		}
	}
	if end == dirty && s.Segments[dirty].Base < p.FirstDirty {
		p.CleanBytes += s.Segments[dirty].Size
	}
	return p
}

// from is the segment that holds offset, or would, or the first one.
func (s *State) from(offset int64) int {
	i := len(s.Segments) - 1
	for i > 0 && s.Segments[i].Base > offset {
		i--
	}
	return i
}

// Group says which of the segments, all of which are in front of end, become one each: group i ends in front of
// the index it gives. Together they keep within maxBytes and, for each index, maxIndexBytes, as their originals
// count, and within the 2³¹ offsets that an index entry can tell apart (Cleaner.groupSegmentsBySize).
func Group(segments []Segment, maxBytes, maxIndexBytes, end int64) []int {
	var ends []int
	for i := 0; i < len(segments); {
		sum := segments[i]
		j := i + 1
		for ; j < len(segments); j++ {
			s := segments[j]
			last := end - 1
			if j+1 < len(segments) {
				last = segments[j+1].Base - 1
			}
			if sum.Size+s.Size > maxBytes || sum.IndexBytes+s.IndexBytes > maxIndexBytes ||
				sum.TimeIndexBytes+s.TimeIndexBytes > maxIndexBytes || s.Size > 0 && last-sum.Base > math.MaxInt32 {
				break
			}
			sum.Size += s.Size
			sum.IndexBytes += s.IndexBytes
			sum.TimeIndexBytes += s.TimeIndexBytes
		}
		ends = append(ends, j)
		i = j
	}
	return ends
}
