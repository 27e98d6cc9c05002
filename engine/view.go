package engine

import (
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
)

// ReadOptions bound a read.
type ReadOptions struct {
	// MaxBytes is the most bytes to return; the end falls on a batch boundary.
	MaxBytes int
	// UpTo is an exclusive offset bound on top of the high watermark (the last
	// stable offset for read_committed); zero means none.
	UpTo int64
	// AtLeastOne returns the first batch even if it is longer than MaxBytes.
	AtLeastOne bool
}

// View is a run of whole batches: Spans in order are their bytes, slices of a
// mapping or of the hot-read cache. They are valid until Release, never
// longer, and must not be written. A span of a mapping may fault when touched
// by Go code on a damaged disk; give it to a system call or use vfs.Guard.
type View struct {
	Spans [][]byte
	// Size is the sum of the spans, zero when nothing is there to read.
	Size int
	// More says that the view ends with its segment and the next one has more.
	More bool
	// High and Start are of the moment of the read.
	High, Start int64

	few    [8][]byte
	pinned *segment.Segment
}

var views = sync.Pool{New: func() any { return new(View) }}

// Release gives the pinned bytes back. Exactly once.
func (v *View) Release() {
	v.unpin()
	views.Put(v)
}

func (v *View) unpin() {
	if v.pinned != nil {
		v.pinned.Release()
	}
	clear(v.few[:])
	*v = View{few: v.few}
}

// Read returns batches from the one that holds offset from on, below the high
// watermark. An offset at the end gives an empty view; outside of [start, end]
// it is a RangeError.
func (l *Log) Read(from int64, o ReadOptions) (*View, error) {
	v := views.Get().(*View)
	for {
		if n := l.successor.Load(); n != nil {
			v.Release()
			return n.Read(from, o)
		}
		// The segments before the high watermark: what replaced others lies below it.
		list := l.segments.Load()
		high := l.visible.Load()
		v.Start, v.High = l.startAt.Load(), high.offset
		if from < v.Start || from > l.endAt.Load() {
			v.Release()
			return nil, &RangeError{from, l.Start(), l.End()}
		}
		bound := high.offset
		if o.UpTo > 0 && o.UpTo < bound {
			bound = o.UpTo
		}
		if from >= bound || l.removed.Load() {
			return v, nil
		}
		err := l.readInto(v, *list, from, bound, high, o)
		if err == nil {
			return v, nil
		}
		if gone := segment.IsGone(err); gone && (l.segments.Load() != list || l.successor.Load() != nil) {
			// Replaced by the cleaner, deleted, or moved.
			v.unpin()
			continue
		} else if gone {
			err = &RangeError{from, l.Start(), l.End()}
		} else {
			err = fmt.Errorf("%w: log %s: %w", ErrStorage, l.name, err)
		}
		v.Release()
		return nil, err
	}
}

func (l *Log) readInto(v *View, list []*segment.Segment, from, bound int64, high *mark, o ReadOptions) error {
	i := sort.Search(len(list), func(i int) bool { return list[i].Base() > from }) - 1
	for i = max(i, 0); i < len(list); i++ {
		seg := list[i]
		if seg.Base() >= bound {
			return nil
		}
		if !seg.Acquire() {
			return segment.ErrRetired
		}
		first, err := seg.Locate(from)
		if errors.Is(err, segment.ErrNotHere) {
			// The offsets up to the next segment were compacted away.
			seg.Release()
			continue
		}
		if err != nil {
			seg.Release()
			return err
		}
		v.pinned = seg
		return l.fill(v, seg, first, bound, high, o)
	}
	return nil
}

// fill lays the spans of one segment from batch first on.
func (l *Log) fill(v *View, seg *segment.Segment, first segment.Header, bound int64, high *mark, o ReadOptions) error {
	limit := seg.Size()
	active := seg.Base() == high.base && !seg.Cleaned()
	if active {
		limit = min(limit, high.position)
	}
	if bound < high.offset || seg.Base() == high.base && !active {
		// Only whole batches below the bound: it is the start of a batch.
		h, err := seg.Locate(bound)
		if err != nil && !errors.Is(err, segment.ErrNotHere) {
			return err
		}
		if err == nil {
			limit = min(limit, h.Position)
		}
	}
	if first.Position >= limit {
		return nil
	}
	end, err := seg.EndWithin(first, first.Position+int64(o.MaxBytes), limit)
	if err != nil {
		return err
	}
	if !o.AtLeastOne && end-first.Position > int64(o.MaxBytes) {
		return nil
	}
	v.Spans = v.few[:0]
	if c := l.store.cache; c != nil && !(active && limit-first.Position < tailBytes) {
		err = c.spans(v, seg, first.Position, end)
	} else {
		var p []byte
		if p, err = seg.Span(first.Position, end); err == nil {
			v.Spans = append(v.Spans, p)
		}
	}
	v.Size = int(end - first.Position)
	v.More = !active && end == limit && bound == high.offset
	return err
}

// tailBytes is how near the end of the log reads are served straight from the
// memory just written: no cache beats the page cache there.
const tailBytes = 8 << 20

// AbortedTxn is an aborted transaction of a read range.
type AbortedTxn = producer.AbortedTxn

// AbortedTransactions lists the aborted transactions with records in [from,
// to), by first offset, for a read_committed fetch.
func (l *Log) AbortedTransactions(from, to int64) ([]AbortedTxn, error) {
	if n := l.successor.Load(); n != nil {
		return n.AbortedTransactions(from, to)
	}
	var out []AbortedTxn
	err := l.settled(func(list []*segment.Segment) error {
		out = out[:0]
		i := max(sort.Search(len(list), func(i int) bool { return list[i].Base() > from })-1, 0)
		for ; i < len(list); i++ {
			if !list[i].Acquire() {
				return segment.ErrRetired
			}
			more, complete, err := list[i].Aborted(out, from, to)
			list[i].Release()
			if err != nil {
				return err
			}
			out = more
			if complete {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sort.Slice(out, func(i, j int) bool { return out[i].FirstOffset < out[j].FirstOffset })
	return out, nil
}

// settled calls f with the segments, again when some of them were replaced or
// deleted meanwhile, or moved with the log, which f notices by ErrRetired or
// ErrDetached. A log that is gone itself has no segments.
func (l *Log) settled(f func(list []*segment.Segment) error) error {
	for {
		list := l.segments.Load()
		err := f(*list)
		switch {
		case err == nil:
			return nil
		case !segment.IsGone(err):
			return fmt.Errorf("%w: log %s: %w", ErrStorage, l.name, err)
		case l.successor.Load() != nil:
			return l.successor.Load().settled(f)
		case l.segments.Load() == list:
			return f(nil)
		}
	}
}

// TimedOffset is a record found by its timestamp.
type TimedOffset struct {
	Offset      int64
	Timestamp   int64 // ms
	LeaderEpoch int32
}

// recordLimit bounds what decoding one batch for a timestamp may take, and
// decoding lets one caller at a time do it: a few bytes can stand for a lot.
const recordLimit = 16 << 20

var decoding sync.Mutex

// OffsetForTimestamp finds the first record whose timestamp is at or above ts
// and whose offset is at or above the log's start; ok is false when there is
// none below the high watermark (ListOffsets by time).
func (l *Log) OffsetForTimestamp(ts int64) (found TimedOffset, ok bool, err error) {
	if n := l.successor.Load(); n != nil {
		return n.OffsetForTimestamp(ts)
	}
	err = l.settled(func(list []*segment.Segment) (err error) {
		found, ok = TimedOffset{}, false
		high, start := l.High(), l.Start()
		for _, seg := range list {
			if seg.Base() >= high {
				break
			}
			if !seg.Acquire() {
				return segment.ErrRetired
			}
			found, ok, err = l.timeIn(seg, ts, start)
			seg.Release()
			if err != nil {
				return err
			}
			if ok {
				ok = found.Offset < high
				return nil
			}
		}
		found = TimedOffset{}
		return nil
	})
	return found, ok && err == nil, err
}

func (l *Log) timeIn(seg *segment.Segment, ts, start int64) (found TimedOffset, ok bool, err error) {
	largest, _, err := seg.MaxTimestamp()
	if err != nil || largest < ts {
		return found, false, err
	}
	h, err := seg.LookupTime(ts)
	for err == nil && !ok {
		err = seg.BatchAt(h, func(b batch.Batch) error {
			if b.Codec() != codec.None {
				decoding.Lock()
				defer decoding.Unlock()
			}
			return b.Each(recordLimit, func(r *batch.Record) error {
				if !ok && r.Timestamp >= ts && r.Offset >= start {
					found, ok = TimedOffset{r.Offset, r.Timestamp, h.LeaderEpoch}, true
				}
				return nil
			})
		})
		if errors.Is(err, codec.ErrTooLarge) {
			// Not worth the memory: the batch as a whole is the answer.
			found, ok, err = TimedOffset{max(h.BaseOffset, start), h.MaxTimestamp, h.LeaderEpoch}, h.LastOffset >= start, nil
		}
		if err == nil && !ok {
			// The batch's maximum lies below the start, or it was emptied.
			h, err = seg.HeaderAfter(h)
		}
	}
	if errors.Is(err, segment.ErrNotHere) {
		err = nil
	}
	return found, ok, err
}

// MaxTimestamp finds the first record that has the largest timestamp of the
// log (ListOffsets with timestamp -3, KIP-734); ok is false for an empty log.
func (l *Log) MaxTimestamp() (found TimedOffset, ok bool, err error) {
	if n := l.successor.Load(); n != nil {
		return n.MaxTimestamp()
	}
	err = l.settled(func(list []*segment.Segment) error {
		found, ok = TimedOffset{}, false
		largest := int64(-1)
		var in *segment.Segment
		for _, seg := range list {
			if !seg.Acquire() {
				return segment.ErrRetired
			}
			ts, _, err := seg.MaxTimestamp()
			seg.Release()
			if err != nil {
				return err
			}
			if ts > largest {
				largest, in = ts, seg
			}
		}
		if in == nil {
			return nil
		}
		if !in.Acquire() {
			return segment.ErrRetired
		}
		defer in.Release()
		var err error
		found, ok, err = l.timeIn(in, largest, l.Start())
		return err
	})
	return found, ok && err == nil, err
}
