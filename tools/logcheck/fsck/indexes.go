package fsck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/gregor-broker/gregor/engine/index"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// uncovered is how many bytes of a log behind the last entry of its index are
// worth a word: Kafka and Gregor write an entry each index.interval.bytes, 4096
// unless configured.
const uncovered = 256 << 10

// entries is an index file, read entry by entry beside the log.
type entries struct {
	c       *checker
	kind    Kind
	name    string
	file    vfs.File
	size    int64
	width   int64
	n, i    int64 // entries, and the next one
	bad     int64
	first   Finding // the first bad entry
	reading bool
	// buffer holds bytes from bufferAt on.
	buffer   []byte
	bufferAt int64
}

// indexBytes is how much of an index is read at a time.
const indexBytes = 64 << 10

func (c *checker) openEntries(kind Kind, suffix string, width int64) entries {
	x := entries{c: c, kind: kind, name: c.p.file(c.base, suffix), width: width}
	var err error
	if x.file, err = c.fs.OpenFile(x.name, os.O_RDONLY, 0); err == nil {
		x.size, err = x.file.Size()
	}
	if err != nil {
		x.unreadable(err)
		return x
	}
	x.reading = true
	x.n = x.size / width
	if rest := x.size % width; rest != 0 {
		x.report(x.n*width, c.base, fmt.Sprintf("entries of %d bytes", width), fmt.Sprintf("%d bytes at the end of %d", rest, x.size))
	}
	if all := x.n; x.cutZeros() && !c.rebuilt() {
		x.report(x.n*width, c.base, "a file that ends with its last entry", fmt.Sprintf("zeros in the %d entries from there on", all-x.n))
	}
	return x
}

// cutZeros ends the entries at the first that is all zeros: the unused rest of
// a file that was made at its full size. Such a file has holes, so it is not
// read to its end. A first entry of zeros before others is one: timestamp 0 of
// the first record.
func (x *entries) cutZeros() (found bool) {
	for i := range x.n {
		found = allZero(x.at(i))
		if !found || i == 0 && x.kind == KindTimeIndex && x.leadingZero() {
			found = false
			continue
		}
		x.n = i
		return true
	}
	return false
}

// leadingZero says whether the first entry, all zeros, can be one.
func (x *entries) leadingZero() (ok bool) {
	return x.n == 1 || !allZero(x.at(1))
}

// at is entry i, all zeros when the file cannot be read. It is valid until the
// next call.
func (x *entries) at(i int64) []byte {
	from := i * x.width
	if from < x.bufferAt || from+x.width > x.bufferAt+int64(len(x.buffer)) {
		n := min(indexBytes/x.width*x.width, x.size-from)
		x.buffer = slices.Grow(x.buffer[:0], int(n))[:n]
		x.bufferAt = from
		if got, err := x.file.ReadAt(x.buffer, from); err != nil && !(errors.Is(err, io.EOF) && got == int(n)) {
			clear(x.buffer)
			x.unreadable(err)
		}
	}
	return x.buffer[from-x.bufferAt:][:x.width]
}

func (x *entries) unreadable(err error) {
	x.reading, x.n = false, 0
	x.c.report(Finding{Severity: Rebuildable, Kind: KindUnreadable, File: x.name, Position: -1, Offset: x.c.base, LastOffset: unknown,
		Expected: "a file that can be read", Found: err.Error()})
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

func (x *entries) report(position, offset int64, expected, found string) {
	x.c.report(Finding{Severity: Rebuildable, Kind: x.kind, File: x.name, Position: position, Length: x.width, Offset: offset, LastOffset: unknown,
		Expected: expected, Found: found})
}

// wrong takes note of a bad entry; one finding stands for all of a file.
func (x *entries) wrong(i int64, severity Severity, expected, found string) {
	if x.bad++; x.bad == 1 || severity > x.first.Severity {
		x.first = Finding{Severity: severity, Kind: x.kind, File: x.name, Position: i * x.width, Length: x.width, Offset: x.c.next, LastOffset: unknown,
			Expected: expected, Found: found}
	}
}

// close reports what was found.
func (x *entries) close() {
	if x.bad > 1 {
		x.first.Found += fmt.Sprintf(" (and %d more entries)", x.bad-1)
	}
	if x.bad > 0 {
		x.c.report(x.first)
	}
	x.shut()
}

// shut closes the file.
func (x *entries) shut() {
	if x.file != nil {
		x.file.Close() // read only: nothing is lost with the error
		x.file = nil
	}
}

// offsetCheck compares an .index with the batches.
type offsetCheck struct {
	entries
	lastFrom int64 // position of the last batch
	lastAt   int64 // position of the last entry
	// Before 4.3 the entry of an append of several batches has the position of
	// the first and the offset of the last of them.
	open     int64 // the offset such an entry waits for, unknown when none does
	openAt   int64
	previous int64
}

func (x *offsetCheck) entry(i int64) (offset, position int64) {
	e := x.at(i)
	return x.c.base + int64(int32(binary.BigEndian.Uint32(e))), int64(int32(binary.BigEndian.Uint32(e[4:])))
}

func (x *offsetCheck) batch(h head) {
	x.lastFrom = h.from
	if x.open == h.last && x.open != unknown {
		x.wrong(x.openAt, Harmless, "the last offset of the batch at its position", "that of a later batch of one append, as Kafka wrote it before 4.3")
		x.open = unknown
	}
	for x.i < x.n {
		offset, position := x.entry(x.i)
		if position > h.from {
			return
		}
		x.settle()
		switch {
		case position < h.from:
			x.wrong(x.i, Rebuildable, "the position of a batch", fmt.Sprintf("position %d for offset %d", position, offset))
		case offset <= x.previous && x.i > 0 && offset == h.last:
			x.wrong(x.i-1, Rebuildable, fmt.Sprintf("an offset below %d, that of the entry behind", offset), fmt.Sprintf("offset %d", x.previous))
		case offset <= x.previous && x.i > 0:
			x.wrong(x.i, Rebuildable, fmt.Sprintf("an offset above %d, that of the entry before", x.previous), fmt.Sprintf("offset %d", offset))
		case offset > h.last:
			x.open, x.openAt = offset, x.i
		case offset < h.last && x.c.held == nil:
			x.wrong(x.i, Rebuildable, fmt.Sprintf("offset %d of the batch at position %d", h.last, position), fmt.Sprintf("offset %d", offset))
		}
		x.previous, x.lastAt = offset, position
		x.i++
	}
}

// settle ends the wait for the last batch of an append.
func (x *offsetCheck) settle() {
	if x.open != unknown && x.c.held == nil {
		x.wrong(x.openAt, Rebuildable, "the offset of a batch from its position on", fmt.Sprintf("offset %d", x.open))
	}
	x.open = unknown
}

// skip passes over entries for bytes that are damaged.
func (x *offsetCheck) skip(to int64) {
	x.open = unknown
	for x.i < x.n {
		offset, position := x.entry(x.i)
		if position >= to {
			return
		}
		x.previous, x.lastAt = offset, position
		x.i++
	}
}

func (x *offsetCheck) finish() {
	x.settle()
	for ; x.i < x.n; x.i++ {
		offset, position := x.entry(x.i)
		if offset >= x.c.next && position >= x.c.size {
			x.c.cutShort(offset, x.name)
		}
		x.wrong(x.i, Rebuildable, fmt.Sprintf("a position below %d, where %s ends", x.c.size, filepath.Base(x.c.file)), fmt.Sprintf("position %d for offset %d", position, offset))
	}
	if x.reading && !x.c.rebuilt() && x.lastFrom-x.lastAt > uncovered {
		x.wrong(x.n, Harmless, "an entry every few KiB of the log", fmt.Sprintf("none for the %d bytes behind position %d", x.c.size-x.lastAt, x.lastAt))
	}
	x.close()
}

// timeCheck compares a .timeindex with the batches.
type timeCheck struct {
	entries
	sure         bool  // no batch of the segment is damaged
	maxTimestamp int64 // of the batches so far
	previous     int64 // timestamp of the last entry
}

func (x *timeCheck) entry(i int64) (timestamp, offset int64) {
	e := x.at(i)
	return int64(binary.BigEndian.Uint64(e)), x.c.base + int64(int32(binary.BigEndian.Uint32(e[8:])))
}

func (x *timeCheck) batch(h head) {
	before := x.maxTimestamp
	x.maxTimestamp = max(before, h.maxTimestamp)
	for x.i < x.n {
		timestamp, offset := x.entry(x.i)
		if offset > h.last {
			return
		}
		switch {
		case !x.sure && offset < h.base: // of a batch that is damaged
		case offset < h.base:
			x.wrong(x.i, Rebuildable, "the offset of a batch", fmt.Sprintf("offset %d for timestamp %d", offset, timestamp))
		case timestamp <= x.previous || timestamp < before:
			x.wrong(x.i, Rebuildable, fmt.Sprintf("a timestamp above %d", max(x.previous, before-1)), fmt.Sprintf("timestamp %d", timestamp))
		case timestamp != h.maxTimestamp:
			x.wrong(x.i, Rebuildable, fmt.Sprintf("timestamp %d of the batch with offset %d", h.maxTimestamp, offset), fmt.Sprintf("timestamp %d", timestamp))
		case timestamp == before:
			x.wrong(x.i, Harmless, fmt.Sprintf("the offset of the first batch with timestamp %d", timestamp), fmt.Sprintf("offset %d of a later one", offset))
		case offset < h.last:
			x.wrong(x.i, Harmless, fmt.Sprintf("offset %d, the last of the batch", h.last), fmt.Sprintf("offset %d", offset))
		}
		x.previous = timestamp
		x.i++
	}
}

func (x *timeCheck) finish() {
	for ; x.i < x.n && x.sure; x.i++ {
		timestamp, offset := x.entry(x.i)
		if offset >= x.c.next && timestamp > x.maxTimestamp {
			x.c.cutShort(offset, x.name)
		}
		x.wrong(x.i, Rebuildable, fmt.Sprintf("an offset below %d, where %s ends", x.c.next, filepath.Base(x.c.file)), fmt.Sprintf("offset %d for timestamp %d", offset, timestamp))
		x.previous = timestamp
	}
	if x.reading && x.sure && !x.c.rebuilt() && x.maxTimestamp >= 0 && x.previous < x.maxTimestamp {
		x.wrong(x.n, Rebuildable, fmt.Sprintf("a last entry for timestamp %d, the largest of the segment", x.maxTimestamp),
			fmt.Sprintf("%d entries, the last for timestamp %d", x.n, x.previous))
	}
	x.close()
}

// abortedCheck compares a .txnindex with the transactions that the batches
// show.
type abortedCheck struct {
	entries
	origin   int64 // base of the first segment: what began before it is not known
	lax      bool  // batches may be missing: only the form is checked
	previous int64
}

func (x *abortedCheck) entry(i int64) (t producer.AbortedTxn, err error) {
	return producer.DecodeAborted(x.at(i))
}

// form checks one entry by itself.
func (x *abortedCheck) form(i int64) (t producer.AbortedTxn, ok bool) {
	t, err := x.entry(i)
	switch {
	case err != nil:
		x.wrong(i, Rebuildable, "an aborted transaction", err.Error())
	case t.LastOffset < x.previous || t.LastOffset < x.c.base:
		x.wrong(i, Rebuildable, fmt.Sprintf("a marker at offset %d or above", max(x.previous, x.c.base)), fmt.Sprintf("offset %d", t.LastOffset))
	default:
		x.previous = t.LastOffset
		return t, true
	}
	return t, false
}

// abort compares the transaction that a marker of the present segment aborted
// with the next entry. known is false when its beginning lies before the log.
func (x *abortedCheck) abort(want producer.AbortedTxn, known bool) {
	if x.lax {
		return
	}
	for x.i < x.n {
		t, ok := x.form(x.i)
		if ok && t.LastOffset > want.LastOffset {
			break
		}
		x.i++
		if !ok {
			return // said already; it stands for this one
		}
		if t == want || !known && t.ProducerID == want.ProducerID && t.LastOffset == want.LastOffset && t.FirstOffset < x.origin {
			return
		}
		x.wrong(x.i-1, Rebuildable, describeAborted(want), describeAborted(t))
		if t.LastOffset == want.LastOffset {
			return
		}
	}
	if known {
		x.wrong(x.i, Rebuildable, describeAborted(want), "no entry")
	}
}

func describeAborted(t producer.AbortedTxn) string {
	return fmt.Sprintf("producer %d, offsets %d to %d, stable offset %d", t.ProducerID, t.FirstOffset, t.LastOffset, t.LastStableOffset)
}

func (x *abortedCheck) finish() {
	for ; x.i < x.n; x.i++ {
		if t, ok := x.form(x.i); ok && !x.lax {
			x.wrong(x.i, Rebuildable, "a transaction that a marker of the segment aborted", describeAborted(t))
		} else if ok && t.LastOffset >= x.c.next {
			x.wrong(x.i, Rebuildable, fmt.Sprintf("a marker below offset %d, where the segment ends", x.c.next), describeAborted(t))
		}
	}
	x.close()
}

// cutShort takes note of an index entry, both numbers of which lie behind the
// end of the segment: something was there. Elsewhere than in a compacted log
// the offsets say so.
func (c *checker) cutShort(offset int64, name string) {
	if !c.on.compacted || c.rebuilt() || c.loose || c.tail {
		return
	}
	if c.short == nil {
		c.short = &Finding{Severity: Damage, Kind: KindShort, File: c.file, Position: c.size, Offset: c.next, LastOffset: offset, inner: true,
			Found: fmt.Sprintf("the segment ends at offset %d", c.next), epochs: [2]int32{c.epochs.latest(), unknown}}
	}
	c.short.LastOffset = max(c.short.LastOffset, offset)
	c.short.Expected = fmt.Sprintf("batches up to offset %d, as %s says", c.short.LastOffset, filepath.Base(name))
}

// openIndexes opens the files beside a .log.
func (c *checker) openIndexes(s Segment, ran bool) {
	c.offsets = &offsetCheck{entries: entries{c: c}, open: unknown, previous: unknown}
	c.times = &timeCheck{entries: entries{c: c}, sure: true, maxTimestamp: unknown, previous: unknown}
	c.aborted = &abortedCheck{entries: entries{c: c, kind: KindTxnIndex, name: c.p.file(s.Base, segment.TxnIndexSuffix), width: producer.AbortedSize}, previous: unknown}
	if s.Index {
		c.offsets.entries = c.openEntries(KindOffsetIndex, segment.IndexSuffix, index.OffsetWidth)
	}
	if s.Times {
		c.times.entries = c.openEntries(KindTimeIndex, segment.TimeIndexSuffix, index.TimeWidth)
	}
	if s.Aborted {
		c.aborted.entries = c.openEntries(KindTxnIndex, segment.TxnIndexSuffix, producer.AbortedSize)
	}
	c.aborted.origin, c.aborted.lax = c.p.Segments[0].Base, c.producers.lax()
	for _, lost := range [...]struct {
		there        bool
		suffix, does string
	}{
		{s.Index, segment.IndexSuffix, "both scan the segment and make it again"},
		{s.Times, segment.TimeIndexSuffix, "Kafka makes an empty one: lookups by time are wrong and retention.ms goes by the file's age; Gregor makes it again when it recovers the segment"},
	} {
		if lost.there {
			continue
		}
		f := Finding{Severity: Rebuildable, Kind: KindMissing, File: c.p.file(s.Base, lost.suffix), Position: -1, Offset: s.Base, LastOffset: unknown,
			Expected: "an index beside the log", Found: "no file", Broker: lost.does}
		if !ran || s.Size == 0 || slices.Contains(c.p.Leftovers, filepath.Base(f.File)+segment.SwapSuffix) {
			f.Severity = Harmless // or it waits to take its place
		}
		c.report(f)
	}
}

func (c *checker) finishIndexes() {
	c.offsets.finish()
	c.times.finish()
	if c.short != nil {
		c.report(*c.short)
		c.short = nil
	}
	c.aborted.lax = c.aborted.lax || c.producers.lax()
	c.aborted.finish()
}

// closeIndexes closes what finishIndexes did not come to.
func (c *checker) closeIndexes() {
	c.offsets.shut()
	c.times.shut()
	c.aborted.shut()
}
