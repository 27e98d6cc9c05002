package fsck

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sort"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// unknown stands for an offset, epoch or size that is not known.
const unknown = -1

// promise is what other files say of a partition.
type promise struct {
	clean     bool  // the log directory has its clean marker
	around    bool  // the partition lies in a log directory whose checkpoints were read
	recovery  int64 // recovery point, unknown without an entry
	high      int64 // high watermark, unknown without an entry
	start     int64 // log start offset, unknown without an entry
	compacted bool  // records may be missing
	policy    bool  // whether it is compacted is known
	cluster   *cluster
}

// head is what is known of a batch without its records.
type head struct {
	from, to     int64
	base, last   int64
	maxTimestamp int64
	epoch        int32
	magic        byte
}

// checker checks one partition, its segments in order.
type checker struct {
	e  *checking
	fs vfs.FS
	p  *Partition
	on promise

	segment int // index into p.Segments
	base    int64
	file    string
	size    int64

	next    int64 // the offset that the next batch begins with
	loose   bool  // damage before explains a gap
	held    *held
	jumped  *held // the batch before came after a gap that compaction may have left
	pending []Finding

	offsets     *offsetCheck
	times       *timeCheck
	aborted     *abortedCheck
	epochs      epochRuns
	producers   *producerCheck
	hollow      int64 // batches without records, though nothing was compacted
	firstHollow Finding

	short  *Finding // the present segment ends too early
	tail   bool     // the last segment does not end with a batch
	failed bool     // a part could not be read
	single bool     // the target is one file: what is around it is not judged
}

// held is a batch whose base offset is not what it should be: the next batch
// says which of the two is wrong.
type held struct {
	head
	want   int64
	file   string
	before int32 // epoch of the batch in front of it
}

// outcome is what the files beside the partitions are compared with.
type outcome struct {
	first, end int64 // base of the first segment; offset behind the last batch
	sure       bool  // nothing is missing or wrong that would make end another
	short      bool  // it ends before what was promised, and that was said
	ran        bool  // a broker has run on it: it has an index
	epochs     epochRuns

	tail, loose, failed bool
}

func (c *checker) report(f Finding) {
	if f.File == "" {
		f.File = c.file
	}
	f.Partition = c.p.Name
	if c.p.Stray && f.Severity > Harmless {
		f.Broker = "the directory is not served; Kafka loads it all the same and does not start when it cannot"
	}
	c.e.report.add(f)
}

// run checks the partition.
func (c *checker) run() (outcome, error) {
	if !c.single {
		c.useSwaps()
		c.dropBelow()
	}
	c.checkFiles()
	ran := false
	for _, s := range c.p.Segments {
		ran = ran || s.Index
	}
	if len(c.p.Segments) > 0 {
		c.next = c.p.Segments[0].Base
	}
	c.producers = newProducerCheck(c)
	for i := range c.p.Segments {
		if err := c.runSegment(i, ran); err != nil {
			return outcome{}, err
		}
		c.e.report.segments.Add(1)
	}
	c.settle(c.promisedEnd())
	c.settleLast(c.promisedEnd())
	c.flush(unknown)
	end := c.next
	if c.hollow > 0 {
		c.firstHollow.Found = count(c.hollow, "empty batch") + ": a repair put them in the place of records that were gone, or the topic was compacted once"
		c.firstHollow.Broker = "both serve them; clients pass over them"
		c.report(c.firstHollow)
	}
	if !c.single {
		c.producers.finish(end)
		c.checkEpochs(end, ran)
	}
	c.e.report.partitions.Add(1)
	out := outcome{end: end, sure: !c.tail && !c.loose && !c.failed, ran: ran, epochs: c.epochs, tail: c.tail, loose: c.loose, failed: c.failed}
	if !c.single {
		out.short = c.checkEnd(end, out.sure)
	}
	if len(c.p.Segments) > 0 {
		out.first = c.p.Segments[0].Base
	}
	return out, nil
}

// dropBelow leaves out the segments that lie wholly below the start of the log:
// a crash while they were being deleted may have left any of them, and a broker
// takes no more notice of them.
func (c *checker) dropBelow() {
	n := 0
	for !c.on.clean && n+1 < len(c.p.Segments) && c.p.Segments[n+1].Base <= c.on.start {
		n++
	}
	if n == 0 {
		return
	}
	live := *c.p
	live.Segments = c.p.Segments[n:]
	c.report(Finding{Severity: Harmless, Kind: KindLeftover, File: c.p.file(c.p.Segments[0].Base, segment.LogSuffix), Position: -1, Offset: c.p.Segments[0].Base, LastOffset: live.Segments[0].Base - 1,
		Expected: fmt.Sprintf("no segment below offset %d, where the log begins", c.on.start), Found: fmt.Sprintf("%d of them", n)})
	c.p = &live
}

// useSwaps puts what a cleaning made, and a crash kept from its place, where a
// broker puts it when it starts: the segments that it was made from go
// (LogLoader).
func (c *checker) useSwaps() {
	if len(c.p.Swaps) == 0 {
		return
	}
	live := *c.p
	live.inPlace = map[int64]bool{}
	for _, s := range c.p.Swaps {
		end := s.Base
		if w, err := openWindow(c.fs, segment.FileName(c.p.Path, s.Base, segment.LogSuffix+segment.SwapSuffix)); err == nil {
			cut := cutter{w: w, p: w.all()}
			for next := cut.next(); next != nil; next = cut.next() {
				// What cannot be read is found by the check.
				_ = w.guard(func() {
					for _, b := range next.spans {
						end = max(end, headOf(batch.Batch(cut.p[b.from:b.to]), b).last+1)
					}
				})
			}
			w.close()
		}
		live.Segments = slices.DeleteFunc(slices.Clone(live.Segments), func(o Segment) bool { return o.Base == s.Base || o.Base > s.Base && o.Base < end })
		i := sort.Search(len(live.Segments), func(i int) bool { return live.Segments[i].Base > s.Base })
		live.Segments = slices.Insert(live.Segments, i, s)
		live.inPlace[s.Base] = true
	}
	c.p = &live
}

// checkEnd holds the end of the log against the checkpoints: below what they say
// something is gone, unless one of them must be wrong.
func (c *checker) checkEnd(end int64, sure bool) (short bool) {
	n := len(c.p.Segments)
	if n == 0 || c.p.isMetadata() || !sure && c.on.clean {
		return false // the log's own finding says it
	}
	promised, name := c.on.recovery, recoveryName
	if c.on.high > promised {
		promised, name = c.on.high, highName
	}
	if promised <= end || c.on.clean && min(c.on.recovery, c.on.high) == end {
		return false
	}
	f := Finding{Severity: Damage, Kind: KindShort, File: c.p.file(c.p.Segments[n-1].Base, segment.LogSuffix), Position: c.p.Segments[n-1].Size, Offset: end, LastOffset: promised - 1,
		Expected: fmt.Sprintf("batches up to offset %d, as %s says", promised-1, name), Found: fmt.Sprintf("the log ends at offset %d", end), epochs: [2]int32{c.epochs.latest(), unknown}}
	for _, at := range append([]int64{c.on.recovery, c.on.high}, c.p.Snapshots...) {
		if at > end {
			f.witnesses++
		}
	}
	if !c.on.clean && c.on.recovery <= end {
		// Only the high watermark lay beyond: the records were visible, and never synced.
		f.Severity = TornTail
		f.Broker = "both go on from the end of the log: consumers may have seen records that are gone"
	}
	if min(c.on.recovery, c.on.high) > end {
		f.Expected += ", and " + map[string]string{recoveryName: highName, highName: recoveryName}[name]
	}
	c.report(f)
	return true
}

// promisedEnd is where the log must end, when that is known.
func (c *checker) promisedEnd() int64 {
	switch n := len(c.p.Snapshots); {
	case c.on.clean && c.on.recovery >= 0:
		return c.on.recovery
	case c.on.clean && c.p.isMetadata() && n > 0: // it has no entry in the checkpoints
		return c.p.Snapshots[n-1]
	}
	return unknown
}

func (c *checker) runSegment(i int, ran bool) error {
	s := c.p.Segments[i]
	c.segment, c.base = i, s.Base
	name := c.p.file(s.Base, segment.LogSuffix)
	c.begin(s, name)
	w, err := openWindow(c.fs, name)
	if err != nil {
		c.failed, c.loose = true, true
		c.report(Finding{Severity: Damage, Kind: KindUnreadable, Position: -1, Offset: s.Base, LastOffset: unknown,
			Expected: "a file that can be read", Found: err.Error()})
		return nil
	}
	defer w.close()
	c.size = w.size
	c.openIndexes(s, ran)
	defer c.closeIndexes()
	if err := c.e.walk(w, c); err != nil {
		return err
	}
	c.finishIndexes()
	return nil
}

// begin passes from one segment to the next.
func (c *checker) begin(s Segment, name string) {
	before := c.file
	c.settle(s.Base)
	if !c.on.compacted && (c.on.policy || c.next > s.Base) {
		c.settleLast(s.Base)
	}
	c.file = name
	c.jumped = nil
	if before == "" {
		return
	}
	switch {
	case s.Base > c.next && !c.on.compacted:
		if !c.loose {
			c.report(c.gap(before, c.size, c.next, s.Base, unknown))
		}
	case s.Base < c.next:
		c.report(Finding{Severity: Damage, Kind: KindOverlap, Position: 0, Offset: s.Base, LastOffset: c.next - 1,
			Expected: fmt.Sprintf("a segment that begins at offset %d or above", c.next), Found: fmt.Sprintf("base offset %d", s.Base)})
	}
	c.flush(s.Base)
	c.next, c.loose = s.Base, false
}

// gap is the finding that the offsets [from, to) are missing.
// epoch is that of the batch behind them, unknown when there is none.
func (c *checker) gap(file string, position, from, to int64, epoch int32) Finding {
	f := Finding{Severity: Damage, Kind: KindGap, File: file, Position: position, Offset: from, LastOffset: to - 1, epochs: [2]int32{c.epochs.latest(), epoch},
		Expected: fmt.Sprintf("a batch at offset %d", from), Found: fmt.Sprintf("the next is at offset %d, %d offsets are missing", to, to-from)}
	if !c.on.policy {
		f.Severity = Harmless
		f.Found += "; compaction may have removed them: whether the topic was compacted is not known here"
	}
	return f
}

// intact is a visitor's method.
func (c *checker) intact(p []byte, s span) {
	b := batch.Batch(p[s.from:s.to])
	c.e.report.batches.Add(1)
	h := headOf(b, s)
	if h.magic == batch.Magic {
		c.e.report.records.Add(int64(b.RecordCount()))
		if s.fault != nil {
			c.report(Finding{Severity: Damage, Kind: KindRecords, Position: s.from, Length: s.to - s.from, Offset: h.base, LastOffset: h.last,
				Expected: "records that fill the batch", Found: s.fault.err.Error()})
		}
	}
	if h.magic == batch.Magic && b.RecordCount() == 0 && c.on.policy && !c.on.compacted {
		if c.hollow++; c.hollow == 1 {
			c.firstHollow = Finding{Severity: Harmless, Kind: KindGap, File: c.file, Position: s.from, Length: s.to - s.from, Offset: h.base, LastOffset: h.last, Expected: "records for every offset"}
		}
	}
	c.place(h)
	c.observe(h)
	c.producers.batch(b, h)
}

// headOf reads a header. Messages of the formats before batches are taken as
// one record each; the offsets within a compressed one are inside it.
func headOf(b batch.Batch, s span) head {
	h := head{from: s.from, to: s.to, base: b.BaseOffset(), magic: b[magicAt], epoch: unknown, maxTimestamp: unknown}
	h.last = h.base
	if h.magic == batch.Magic {
		h.last, h.epoch, h.maxTimestamp = b.LastOffset(), b.LeaderEpoch(), b.MaxTimestamp()
	} else if h.magic == 1 {
		h.maxTimestamp = int64(binary.BigEndian.Uint64(b[oldHeader:]))
	}
	return h
}

// place takes a batch into the chain of offsets.
func (c *checker) place(h head) {
	c.settle(h.base)
	switch {
	case h.base == c.next:
		c.jumped = nil
	case h.base > c.next && (c.loose || c.on.compacted || h.magic != batch.Magic):
		c.jumped = &held{head: h, want: c.next, file: c.file}
	case c.jumped != nil && c.blameJump(h.base):
		c.jumped = nil
	default:
		c.jumped = nil
		c.held = &held{head: h, want: c.next, file: c.file, before: c.epochs.latest()}
	}
	c.flush(h.base)
	c.loose = false
	c.next = h.last + 1
}

// blameJump says whether the batch before, which came after a gap, is the one
// with the wrong offset, given that following came next: then one flipped bit
// explains both.
func (c *checker) blameJump(following int64) bool {
	j := c.jumped
	delta := j.last - j.base
	var fits []int64
	for bit := range 63 {
		if v := j.base ^ 1<<bit; v >= j.want && v+delta < following {
			fits = append(fits, v)
		}
	}
	room := following - j.want
	switch {
	case room == delta+1:
		fits = []int64{j.want}
	case len(fits) == 0 && (room < delta+1 || j.base < following):
		return false
	}
	f := Finding{Severity: Damage, Kind: KindBaseOffset, File: j.file, Position: j.from, Length: 8, size: j.to - j.from, Offset: j.want, LastOffset: following - 1,
		Expected: fmt.Sprintf("an offset from %d to %d", j.want, following-delta-1), Found: fmt.Sprintf("offset %d", j.base)}
	switch {
	case room == delta+1:
		f.Fixes = offsetFixes(j.from, j.base, j.want)
		f.Located = "field baseOffset: the batches before and behind it leave room for just one"
	case len(fits) == 1:
		f.Fixes = offsetFixes(j.from, j.base, fits[0])
		f.Located = fmt.Sprintf("one flipped bit of field baseOffset: %d fits between its neighbours", fits[0])
	}
	c.report(f)
	return true
}

// settleLast judges a last batch that came after a gap by where the log was
// promised to end.
func (c *checker) settleLast(end int64) {
	j := c.jumped
	if j == nil || end < 0 || c.next == end || j.last+1 != c.next {
		return
	}
	want := end - 1 - (j.last - j.base)
	if want < j.want {
		return
	}
	c.report(Finding{Severity: Damage, Kind: KindBaseOffset, File: j.file, Position: j.from, Length: 8, size: j.to - j.from, Offset: want, LastOffset: end - 1,
		Expected: fmt.Sprintf("offset %d, as the next segment or the end of the log is at offset %d", want, end), Found: fmt.Sprintf("offset %d", j.base),
		Located: "field baseOffset: the batch before it and what is behind leave room for another", Fixes: offsetFixes(j.from, j.base, want)})
	c.next = end
}

// settle decides about a held batch when following, the offset of what comes
// next, is known.
func (c *checker) settle(following int64) {
	h := c.held
	if h == nil {
		return
	}
	c.held = nil
	delta := h.last - h.base
	exact := following == h.want+delta+1
	oneBit := bits.OnesCount64(uint64(h.base^h.want)) == 1
	wrong := exact || following == unknown && oneBit ||
		c.on.compacted && h.base < h.want && following > h.want+delta
	switch {
	case wrong:
		f := Finding{Severity: Damage, Kind: KindBaseOffset, File: h.file, Position: h.from, Length: 8, size: h.to - h.from, Offset: h.want, LastOffset: h.want + delta,
			Expected: fmt.Sprintf("offset %d, behind the batch before it", h.want), Found: fmt.Sprintf("offset %d", h.base)}
		if exact {
			f.Fixes = offsetFixes(h.from, h.base, h.want)
			f.Located = "field baseOffset: the batches before and behind it agree on another"
		}
		c.report(f)
		c.next = h.want + delta + 1
	case h.base > h.want:
		f := c.gap(h.file, h.from, h.want, h.base, h.epoch)
		f.epochs[0] = h.before
		c.report(f)
	default:
		c.report(Finding{Severity: Damage, Kind: KindOverlap, File: h.file, Position: h.from, Length: h.to - h.from, Offset: h.base, LastOffset: min(h.last, h.want-1),
			Expected: fmt.Sprintf("a batch at offset %d or above", h.want), Found: fmt.Sprintf("offsets %d to %d", h.base, h.last)})
		c.next = max(c.next, h.want)
	}
}

// offsetFixes are the bytes in which the base offset of the batch at position
// differs from the right one.
func offsetFixes(position, found, correct int64) (list []Fix) {
	var a, b [8]byte
	binary.BigEndian.PutUint64(a[:], uint64(found))
	binary.BigEndian.PutUint64(b[:], uint64(correct))
	for i := range a {
		if a[i] != b[i] {
			list = append(list, Fix{position + int64(i), a[i], b[i]})
		}
	}
	return list
}

// observe compares an intact batch with what else tells of it.
func (c *checker) observe(h head) {
	c.offsets.batch(h)
	c.times.batch(h)
	c.epochs.add(h, c.file)
}

// broken is a visitor's method.
func (c *checker) broken(p []byte, s span) {
	c.damaged(p, s.from, s.to, s.fault)
}

// hole is a visitor's method.
func (c *checker) hole(p []byte, from, to int64, f *fault) {
	c.damaged(p, from, to, f)
}

// damaged takes note of bytes that are no intact batch, [from, to).
func (c *checker) damaged(p []byte, from, to int64, why *fault) {
	c.settle(unknown)
	c.offsets.skip(to)
	ends := to == c.size && c.segment == len(c.p.Segments)-1
	f := Finding{Severity: Damage, Kind: KindBatch, File: c.file, Position: from, Length: to - from, Offset: c.next, LastOffset: unknown, at: c.next,
		Expected: "an intact batch", Found: why.err.Error(), Located: why.diag.text, Fixes: why.diag.fixes}
	if ends && len(why.diag.fixes) == 0 {
		if c.next >= c.protected() {
			f.Severity, f.Kind = TornTail, KindTail
		}
		c.tail = true
	}
	h, known := c.mended(p, from, to, why)
	if known && h.base >= c.next {
		c.flush(h.base)
		f.Offset, f.LastOffset = h.base, h.last
		c.next, c.loose = h.last+1, false
		c.report(f)
		if len(why.diag.fixes) > 0 {
			c.times.batch(h)
			return
		}
	} else {
		c.pending = append(c.pending, f)
		c.loose = true
	}
	c.producers.known = false
	c.times.sure = false
}

// protected is the offset below which everything was promised.
func (c *checker) protected() int64 {
	switch {
	case c.on.recovery >= 0:
		return c.on.recovery
	case c.on.clean && !c.p.isMetadata():
		return math.MaxInt64
	}
	return 0
}

// mended reads the header of a damaged batch, corrected where that is proven;
// known says whether it can be believed.
func (c *checker) mended(p []byte, from, to int64, why *fault) (h head, known bool) {
	if to-from < batch.HeaderSize {
		return h, false
	}
	header := append(batch.Batch(nil), p[from:from+batch.HeaderSize]...)
	for _, fix := range why.diag.fixes {
		if i := fix.Position - from; i < int64(len(header)) {
			header[i] = fix.Correct
		}
	}
	if header[magicAt] != batch.Magic || !headerSane(header) || int64(header.Size()) != to-from {
		return h, false
	}
	return headOf(header, span{from: from, to: to}), len(why.diag.fixes) > 0 || header.BaseOffset() == c.next
}

// flush reports the damage that waited for the next offset.
func (c *checker) flush(following int64) {
	for _, f := range c.pending {
		if following >= 0 {
			f.LastOffset = following - 1
			if following <= f.Offset {
				f.Offset, f.LastOffset = unknown, unknown
			}
		}
		c.report(f)
	}
	c.pending = nil
}

// unreadable is a visitor's method.
func (c *checker) unreadable(from int64, err error) {
	c.failed, c.loose, c.producers.known, c.times.sure = true, true, false, false
	c.offsets.skip(c.size)
	c.report(Finding{Severity: Damage, Kind: KindUnreadable, Position: from, Offset: c.next, LastOffset: unknown,
		Expected: "bytes that can be read", Found: err.Error()})
}

// rebuilt says whether a broker makes the indexes of the present segment again
// at its next start.
func (c *checker) rebuilt() bool {
	if c.on.clean {
		return false
	}
	last := c.segment == len(c.p.Segments)-1
	return last || c.on.around && c.p.Segments[c.segment+1].Base > c.on.recovery
}
