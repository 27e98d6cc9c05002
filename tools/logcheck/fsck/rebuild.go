package fsck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/index"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

const (
	// denseStep is how many bytes of a log may lie between two entries of an index that is made from nothing,
	// index.interval.bytes by default; sparseStep how many before entries are added to what is left of one.
	denseStep  = 4 << 10
	sparseStep = 64 << 10
)

// errNotIntact says that a log is not good enough to make other files from it.
var errNotIntact = errors.New("the log is not intact")

// wanted are the files of a partition that are to be made again from its log.
type wanted struct {
	index, times, aborted, snapshots map[int64]bool // by base offset
}

func (w *wanted) empty() bool {
	return len(w.index)+len(w.times)+len(w.aborted)+len(w.snapshots) == 0
}

// rebuilder makes files from a log; it visits all batches in order.
type rebuilder struct {
	want   wanted
	file   func(base int64, suffix string) string
	put    func(name string, data []byte) error
	read   func(name string) []byte
	table  *producer.Table
	origin int64
	lax    bool    // compaction removed batches: transactions cannot be followed
	at     []int64 // offsets of the snapshots still to write
	base   int64
	size   int64
	index  *offsetMerge
	times  *timeMerge
	old    []byte // .txnindex as it was
	txns   []byte
	err    error
}

// rebuild makes the wanted files of a partition and gives each to put; nil data
// says that the file is not to be.
func rebuild(e *checking, f vfs.FS, r *result, want wanted, put func(name string, data []byte) error) error {
	x := &rebuilder{want: want, file: r.file, put: put, table: producer.New(0), lax: r.on.compacted}
	x.read = func(name string) []byte {
		data, err := vfs.ReadFile(f, name)
		if err != nil {
			return nil
		}
		return data
	}
	if len(r.Segments) == 0 {
		return nil
	}
	x.origin = r.Segments[0].Base
	if data := x.read(r.file(x.origin, segment.SnapshotSuffix)); data != nil && !want.snapshots[x.origin] {
		_ = x.table.Decode(data, 0) // without it the beginning is not known, as for a broker
	}
	for at := range want.snapshots {
		x.at = append(x.at, at)
	}
	slices.Sort(x.at)
	replay := len(want.aborted)+len(want.snapshots) > 0
	for _, s := range r.Segments {
		if !replay && !want.index[s.Base] && !want.times[s.Base] {
			continue
		}
		if err := x.segment(e, f, s); err != nil {
			return err
		}
	}
	return x.snapshots(r.out.end)
}

func (x *rebuilder) segment(e *checking, f vfs.FS, s Segment) error {
	w, err := openWindow(f, x.file(s.Base, segment.LogSuffix))
	if err != nil {
		return err
	}
	defer w.close()
	x.base, x.size, x.index, x.times, x.txns, x.old = s.Base, w.size, nil, nil, nil, nil
	if x.want.index[s.Base] {
		x.index = newOffsetMerge(s.Base, x.read(x.file(s.Base, segment.IndexSuffix)))
	}
	if x.want.times[s.Base] {
		x.times = newTimeMerge(s.Base, x.read(x.file(s.Base, segment.TimeIndexSuffix)))
	}
	if x.want.aborted[s.Base] {
		x.old = x.read(x.file(s.Base, segment.TxnIndexSuffix))
	}
	if err := e.walk(w, x); err != nil {
		return err
	}
	if x.err != nil {
		return fmt.Errorf("%s: %w", w.name, x.err)
	}
	return x.finish(s)
}

// finish gives the files of a segment.
func (x *rebuilder) finish(s Segment) error {
	var errs []error
	if x.index != nil {
		errs = append(errs, x.put(x.file(s.Base, segment.IndexSuffix), notNil(x.index.out)))
	}
	if x.times != nil {
		errs = append(errs, x.put(x.file(s.Base, segment.TimeIndexSuffix), notNil(x.times.finish())))
	}
	if x.want.aborted[s.Base] {
		if x.lax {
			x.txns = keepAborted(x.old, s.Base)
		}
		errs = append(errs, x.put(x.file(s.Base, segment.TxnIndexSuffix), x.txns))
	}
	return errors.Join(errs...)
}

func notNil(p []byte) []byte {
	if p == nil {
		return []byte{}
	}
	return p
}

// snapshots writes those that are due when everything below offset was seen.
func (x *rebuilder) snapshots(offset int64) error {
	for len(x.at) > 0 && x.at[0] <= offset {
		at := x.at[0]
		x.at = x.at[1:]
		if err := x.put(x.file(at, segment.SnapshotSuffix), x.table.Encode(nil)); err != nil {
			return err
		}
	}
	return nil
}

// intact is a visitor's method.
func (x *rebuilder) intact(p []byte, s span) {
	b := batch.Batch(p[s.from:s.to])
	h := headOf(b, s)
	if x.err == nil {
		x.err = x.snapshots(h.base)
	}
	if x.index != nil {
		x.index.batch(h)
	}
	if x.times != nil {
		x.times.batch(h)
	}
	if h.magic != batch.Magic || !b.HasProducerID() {
		return
	}
	done := x.table.Apply(b, 0)
	if !b.IsControl() || !x.want.aborted[x.base] {
		return
	}
	if commit, _, err := batch.EndTransaction(b); err != nil || commit {
		return
	}
	if done == nil {
		// What it ended began before the log: the old entry, if it is well-formed, knows where.
		if old, ok := findAborted(x.old, b.ProducerID(), h.base); ok && old.FirstOffset < x.origin {
			x.txns = producer.AppendAborted(x.txns, old)
		}
		return
	}
	t := producer.AbortedTxn{ProducerID: b.ProducerID(), FirstOffset: done.FirstOffset, LastOffset: h.base, LastStableOffset: h.base + 1}
	if open, ok := x.table.FirstUndecidedOffset(); ok {
		t.LastStableOffset = open
	}
	x.txns = producer.AppendAborted(x.txns, t)
}

// broken is a visitor's method.
func (x *rebuilder) broken([]byte, span) { x.err = errNotIntact }

// hole is a visitor's method.
func (x *rebuilder) hole([]byte, int64, int64, *fault) { x.err = errNotIntact }

// unreadable is a visitor's method.
func (x *rebuilder) unreadable(_ int64, err error) { x.err = err }

func findAborted(p []byte, id, marker int64) (t producer.AbortedTxn, ok bool) {
	for ; len(p) >= producer.AbortedSize; p = p[producer.AbortedSize:] {
		if t, err := producer.DecodeAborted(p); err == nil && t.ProducerID == id && t.LastOffset == marker {
			return t, true
		}
	}
	return t, false
}

// keepAborted gives the entries that are well-formed and in order.
func keepAborted(p []byte, base int64) (out []byte) {
	last := base
	for ; len(p) >= producer.AbortedSize; p = p[producer.AbortedSize:] {
		if t, err := producer.DecodeAborted(p); err == nil && t.LastOffset >= last {
			out = append(out, p[:producer.AbortedSize]...)
			last = t.LastOffset
		}
	}
	return out
}

// bitApart says whether two numbers differ in one bit.
func bitApart(a, b int64) bool { return bits.OnesCount64(uint64(a^b)) == 1 }

// lookahead is how many old entries that fit nothing may stand before one that
// fits.
const lookahead = 64

// offsetMerge makes an .index: entries of the old one that are right stay,
// those with one right number get the other, and others are added where the log
// has none for long.
type offsetMerge struct {
	base     int64
	old, out []byte
	step     int64
	lastAt   int64 // position of the last entry
	last     int64 // its offset
}

func newOffsetMerge(base int64, old []byte) *offsetMerge {
	m := &offsetMerge{base: base, old: old[:len(old)/index.OffsetWidth*index.OffsetWidth], step: sparseStep, last: base - 1}
	if allZero(old) {
		m.old, m.step = nil, denseStep
	}
	return m
}

func (m *offsetMerge) entry(i int) (offset, position int64) {
	e := m.old[i*index.OffsetWidth:]
	return m.base + int64(int32(binary.BigEndian.Uint32(e))), int64(int32(binary.BigEndian.Uint32(e[4:])))
}

func (m *offsetMerge) batch(h head) {
	found := false
	for i := range min(lookahead, len(m.old)/index.OffsetWidth) {
		if offset, position := m.entry(i); offset == h.last && position == h.from && h.last > m.last {
			m.old, found = m.old[(i+1)*index.OffsetWidth:], true
			break
		}
	}
	for !found && len(m.old) > 0 {
		offset, position := m.entry(0)
		// With one right number it may be that of this batch or of another one, the one that takes a single bit.
		if h.last > m.last && (offset == h.last && (position < h.from || bitApart(position, h.from)) ||
			position == h.from && h.from > 0 && (offset < h.last || bitApart(offset-m.base, h.last-m.base))) {
			m.old, found = m.old[index.OffsetWidth:], true
			break
		}
		if position > h.from || offset > h.last {
			break // that of a later batch, perhaps
		}
		m.old = m.old[index.OffsetWidth:]
	}
	if relative := h.last - m.base; relative < 0 || relative > 1<<31-1 || h.from > 1<<31-1 || h.last <= m.last {
		return
	}
	if !found && h.from-m.lastAt <= m.step {
		return
	}
	if h.last == m.base && h.from == 0 {
		return // all zeros, which ends an index
	}
	m.out = binary.BigEndian.AppendUint32(m.out, uint32(h.last-m.base))
	m.out = binary.BigEndian.AppendUint32(m.out, uint32(h.from))
	m.last, m.lastAt = h.last, h.from
}

// timeMerge makes a .timeindex in the same way.
type timeMerge struct {
	base     int64
	old, out []byte
	step     int64
	lastAt   int64 // position of the batch of the last entry
	last     int64 // its timestamp
	top      int64 // the largest timestamp so far
	topAt    int64 // the last offset of its batch
}

func newTimeMerge(base int64, old []byte) *timeMerge {
	m := &timeMerge{base: base, old: old[:len(old)/index.TimeWidth*index.TimeWidth], step: sparseStep, last: unknown, top: unknown}
	if allZero(old) {
		m.old, m.step = nil, denseStep
	}
	return m
}

func (m *timeMerge) entry(i int) (timestamp, offset int64) {
	e := m.old[i*index.TimeWidth:]
	return int64(binary.BigEndian.Uint64(e)), m.base + int64(int32(binary.BigEndian.Uint32(e[8:])))
}

func (m *timeMerge) batch(h head) {
	rises := h.maxTimestamp > m.top
	if rises {
		m.top, m.topAt = h.maxTimestamp, h.last
	}
	found := false
	for i := range min(lookahead, len(m.old)/index.TimeWidth) {
		if timestamp, offset := m.entry(i); offset == h.last && timestamp == h.maxTimestamp && rises {
			m.old, found = m.old[(i+1)*index.TimeWidth:], true
			break
		}
	}
	for !found && len(m.old) > 0 {
		timestamp, offset := m.entry(0)
		if rises && (offset == h.last && (timestamp <= m.top || bitApart(timestamp, h.maxTimestamp)) ||
			timestamp == h.maxTimestamp && (offset < h.last || bitApart(offset-m.base, h.last-m.base))) {
			m.old, found = m.old[index.TimeWidth:], true
			break
		}
		if offset > h.last || timestamp > m.top {
			break
		}
		m.old = m.old[index.TimeWidth:]
	}
	if found || m.top > m.last && h.from-m.lastAt > m.step {
		m.add(h.from)
	}
}

func (m *timeMerge) add(from int64) {
	if m.top <= m.last || m.top < 0 {
		return
	}
	if relative := m.topAt - m.base; relative < 0 || relative > 1<<31-1 {
		return
	}
	m.out = binary.BigEndian.AppendUint64(m.out, uint64(m.top))
	m.out = binary.BigEndian.AppendUint32(m.out, uint32(m.topAt-m.base))
	m.last, m.lastAt = m.top, from
}

// finish adds the entry for the largest timestamp that closes a segment.
func (m *timeMerge) finish() []byte {
	m.add(0)
	return m.out
}

// beside plans the files that are made from a partition's log, and the small
// ones of its directory.
func (p *planner) beside(r *result) error {
	if p.file != "" || p.stopped[r.Path] != "" || p.asides[r.Path] {
		return nil
	}
	want := wanted{map[int64]bool{}, map[int64]bool{}, map[int64]bool{}, map[int64]bool{}}
	why := map[string]*Finding{}
	for i := range r.report.findings {
		f := &r.report.findings[i]
		if f.Severity == Harmless || filepath.Dir(f.File) != r.Path || p.tried[f.File] > 1 {
			continue
		}
		if why[f.File] == nil {
			why[f.File] = f
		}
		base, suffix, ok := segment.ParseName(filepath.Base(f.File))
		if !ok {
			continue
		}
		switch strings.TrimSuffix(suffix, segment.SwapSuffix) {
		case segment.IndexSuffix:
			want.index[base] = true
		case segment.TimeIndexSuffix:
			want.times[base] = true
		case segment.TxnIndexSuffix:
			want.aborted[base] = true
		case segment.SnapshotSuffix:
			if base <= r.out.end && len(r.Segments) > 0 && (base > r.Segments[0].Base || base == 0) {
				want.snapshots[base] = true
				continue
			}
			p.tried[f.File]++
			p.removeFile(r, f, f.File, snapshotLoss(r, base))
		}
	}
	for _, at := range r.Snapshots {
		if name := r.file(at, segment.SnapshotSuffix); at > r.out.end && p.lowered[r.Path] && why[name] == nil {
			p.removeFile(r, &Finding{Kind: KindSnapshot, Offset: at, LastOffset: unknown, Expected: fmt.Sprintf("an offset of at most %d, where the log ends now", r.out.end),
				Found: fmt.Sprintf("a snapshot as of offset %d", at)}, name, "")
		}
	}
	if !want.empty() {
		err := rebuild(p.v.e, p.view, r, want, func(name string, data []byte) error {
			return p.remake(r, name, data, why)
		})
		if err != nil && !errors.Is(err, errNotIntact) {
			return err
		}
	}
	return p.small(r, why)
}

// snapshotLoss says what goes with a snapshot that cannot be made again.
func snapshotLoss(r *result, at int64) string {
	if at > r.out.end || at == 0 {
		return "" // it is of a log that was longer
	}
	return fmt.Sprintf("what producers had written before offset %d: a batch of theirs that is sent again is not known", at)
}

// remake takes a file made from the log into the plan.
func (p *planner) remake(r *result, name string, data []byte, why map[string]*Finding) error {
	f := why[name]
	if f == nil {
		return nil // not asked for
	}
	p.tried[name]++
	old, err := vfs.ReadFile(p.view, name)
	if data == nil {
		if err == nil {
			p.removeFile(r, f, name, "")
		}
		return nil
	}
	if err == nil && string(old) == string(data) {
		return nil
	}
	loses := ""
	if strings.HasSuffix(name, segment.SnapshotSuffix) {
		loses = openedAgain(old, data)
	}
	what := fmt.Sprintf("made from the log, %d bytes", len(data))
	if err == nil {
		what += fmt.Sprintf(" instead of %d", len(old))
	}
	p.act(Action{Kind: ActionRebuild, File: name, Partition: r.Name, Position: -1, Offset: f.Offset, LastOffset: f.LastOffset, What: what, Why: because(f), Loses: loses})
	return p.stage(name, func(f vfs.FS, path string) error { return writeFile(f, path, data) })
}

// openedAgain names the transactions that the old snapshot had ended and the
// new one has open: their markers are gone.
func openedAgain(old, data []byte) string {
	before, now := producer.New(0), producer.New(0)
	if before.Decode(old, 0) != nil || now.Decode(data, 0) != nil {
		return ""
	}
	var list []string
	now.Each(func(p producer.Producer) bool {
		if was, ok := before.Lookup(p.ID); ok && p.TxnFirstOffset >= 0 && was.TxnFirstOffset != p.TxnFirstOffset {
			list = append(list, fmt.Sprintf("the end of the transaction of producer %d from offset %d: readers of committed records wait there until kafka-transactions.sh abort ends it", p.ID, p.TxnFirstOffset))
		}
		return len(list) < 10
	})
	return strings.Join(list, "; ")
}

// removeFile takes a file away.
func (p *planner) removeFile(r *result, f *Finding, name, loses string) {
	p.view.remove(name)
	p.act(Action{Kind: ActionRemove, File: name, Partition: r.Name, Position: -1, Offset: f.Offset, LastOffset: f.LastOffset,
		What: "moved to the evidence directory", Why: because(f), Loses: loses})
}
