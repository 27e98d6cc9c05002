package fsck

import (
	"fmt"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// producerCheck replays the producers of a log and compares them with its
// snapshots and transaction indexes.
type producerCheck struct {
	c       *checker
	table   *producer.Table
	known   bool // every batch so far was taken in
	origin  int64
	at      int // index into p.Snapshots: the next to compare
	intact  map[int64]bool
	latest  int64 // offset of the newest intact snapshot, unknown without one
	damaged bool  // some snapshot is not intact
}

func newProducerCheck(c *checker) *producerCheck {
	x := &producerCheck{c: c, table: producer.New(0), known: c.e.deep, latest: unknown, intact: map[int64]bool{}}
	var bad []Finding
	for _, offset := range c.p.Snapshots {
		f := x.read(offset, producer.New(0))
		if f == nil {
			x.intact[offset], x.latest = true, offset
			continue
		}
		x.damaged = true
		bad = append(bad, *f)
	}
	for _, f := range bad {
		if f.Kind == KindSnapshot && f.surplus && f.Offset < x.latest {
			f.Severity = Harmless // a crash left it, and a newer one is taken
		}
		f.surplus = false
		c.report(f)
	}
	if len(c.p.Segments) > 0 {
		x.origin = c.p.Segments[0].Base
		if x.known && x.intact[x.origin] {
			x.read(x.origin, x.table)
		}
	}
	return x
}

// read decodes a snapshot into t. The finding that it cannot is nil when it
// can; surplus then says that the file was never written to its end.
func (x *producerCheck) read(offset int64, t *producer.Table) *Finding {
	f := &Finding{Severity: Rebuildable, Kind: KindSnapshot, File: x.c.p.file(offset, segment.SnapshotSuffix), Position: -1, Offset: offset, LastOffset: unknown, Expected: "a producer snapshot"}
	data, err := vfs.ReadFile(x.c.fs, f.File)
	if err != nil {
		f.Kind, f.Found = KindUnreadable, err.Error()
		return f
	}
	if err := t.Decode(data, 0); err != nil {
		d := diagnoseSnapshot(data)
		f.Found, f.Located, f.Fixes = err.Error(), d.text, d.fixes
		f.surplus = allZero(data)
		return f
	}
	return nil
}

// lax says that transactions cannot be compared batch by batch.
func (x *producerCheck) lax() bool { return !x.known || x.c.on.compacted }

// batch takes an intact batch in.
func (x *producerCheck) batch(b batch.Batch, h head) {
	if !x.known || h.magic != batch.Magic {
		return
	}
	x.compare(h.base)
	if !b.HasProducerID() {
		return
	}
	done := x.table.Apply(b, 0)
	if !b.IsControl() {
		return
	}
	commit, _, err := batch.EndTransaction(b)
	if err != nil || commit {
		return
	}
	want := producer.AbortedTxn{ProducerID: b.ProducerID(), LastOffset: h.base}
	if done != nil {
		want.FirstOffset, want.LastStableOffset = done.FirstOffset, h.base+1
		if open, ok := x.table.FirstUndecidedOffset(); ok {
			want.LastStableOffset = open
		}
		x.c.aborted.abort(want, true)
		return
	}
	if x.origin > 0 && !x.intact[x.origin] {
		x.c.aborted.abort(want, false)
	}
}

// compare looks at the snapshots up to offset, below which every batch is in.
func (x *producerCheck) compare(offset int64) {
	list := x.c.p.Snapshots
	for x.at < len(list) && list[x.at] <= offset {
		at := list[x.at]
		x.at++
		if !x.intact[at] || at <= x.origin {
			continue
		}
		snapshot := producer.New(0)
		if x.read(at, snapshot) != nil {
			continue
		}
		snapshot.Each(func(p producer.Producer) bool { return x.compareOne(at, p) })
	}
}

// compareOne compares a producer of the snapshot at offset with what the
// batches say. A producer that is missing from a snapshot may have expired; one
// that is missing from the batches may have written before the log's start.
func (x *producerCheck) compareOne(at int64, p producer.Producer) bool {
	report := func(expected, found string) {
		x.c.report(Finding{Severity: Rebuildable, Kind: KindSnapshot, File: x.c.p.file(at, segment.SnapshotSuffix), Position: -1, Offset: at, LastOffset: unknown,
			Expected: expected, Found: found})
	}
	if p.LastOffset >= at || p.TxnFirstOffset >= at {
		report(fmt.Sprintf("producers as of offset %d", at), fmt.Sprintf("producer %d with offset %d", p.ID, max(p.LastOffset, p.TxnFirstOffset)))
		return false
	}
	if x.c.on.compacted {
		return true
	}
	seen, ok := x.table.Lookup(p.ID)
	if !ok {
		if p.LastOffset >= x.origin && at <= x.c.next {
			report(fmt.Sprintf("a batch of producer %d at offset %d", p.ID, p.LastOffset), "none in the log")
			return false
		}
		return true
	}
	seen.Timestamp = p.Timestamp // that of the newest batch or of its marker, as versions have it
	if p.LastOffset < x.origin && p.LastOffset >= 0 {
		return true
	}
	// A producer that expired and came back is known from there on only.
	if p.CoordinatorEpoch < 0 {
		seen.CoordinatorEpoch = p.CoordinatorEpoch
	}
	if p.LastOffset < 0 {
		seen.LastSequence, seen.LastOffset, seen.OffsetDelta = p.LastSequence, p.LastOffset, p.OffsetDelta
	}
	if p.TxnFirstOffset >= 0 && p.TxnFirstOffset < x.origin {
		seen.TxnFirstOffset = p.TxnFirstOffset
	}
	if seen != p {
		report(describeProducer(seen), describeProducer(p))
		return false
	}
	return true
}

func describeProducer(p producer.Producer) string {
	return fmt.Sprintf("producer %d epoch %d, sequence %d at offset %d, open transaction from %d, coordinator epoch %d",
		p.ID, p.Epoch, p.LastSequence, p.LastOffset, p.TxnFirstOffset, p.CoordinatorEpoch)
}

// finish compares the snapshots at the end of the log.
func (x *producerCheck) finish(end int64) {
	if x.known {
		x.compare(end)
	}
	for _, at := range x.c.p.Snapshots {
		if at <= end || x.c.failed {
			continue
		}
		f := Finding{Severity: Rebuildable, Kind: KindSnapshot, File: x.c.p.file(at, segment.SnapshotSuffix), Position: -1, Offset: at, LastOffset: unknown,
			Expected: fmt.Sprintf("an offset of at most %d, where the log ends", end), Found: fmt.Sprintf("a snapshot as of offset %d", at),
			Broker: "both remove it; a log that ended there has lost its tail"}
		if n := len(x.c.p.Segments); x.c.on.clean && !x.c.tail && n > 0 {
			last := x.c.p.Segments[n-1]
			f.Severity, f.Kind, f.File, f.Position, f.Offset, f.LastOffset = Damage, KindShort, x.c.file, last.Size, end, at-1
			f.witnesses, f.epochs = 1, [2]int32{x.c.epochs.latest(), unknown}
			f.Expected = fmt.Sprintf("batches up to offset %d, as the snapshot of that offset says", at-1)
			f.Found = fmt.Sprintf("the log ends at offset %d", end)
		}
		x.c.report(f)
	}
	if x.c.on.clean && x.known && x.latest == unknown && !x.damaged && x.table.Len() > 0 {
		x.c.report(Finding{Severity: Rebuildable, Kind: KindMissing, File: x.c.p.file(end, segment.SnapshotSuffix), Position: -1, Offset: end, LastOffset: unknown,
			Expected: fmt.Sprintf("a snapshot with %d producers", x.table.Len()), Found: "no snapshot at all",
			Broker: "Kafka writes empty ones after a clean stop: repeated batches are appended twice, open transactions are forgotten; Gregor replays the log"})
	}
}
