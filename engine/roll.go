package engine

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// rollFor returns the segment b is written to, a new one when Kafka's rules
// (LogSegment.shouldRoll) ask for it: no room for the batch, segment.ms since
// the first batch, a full index, or an offset that does not fit the index.
func (l *Log) rollFor(b batch.Batch, now int64) (*segment.Segment, error) {
	c := l.config.Load()
	seg := l.active()
	if int64(len(b)) > c.SegmentBytes {
		return nil, fmt.Errorf("%w: %d bytes, segment.bytes is %d", ErrSegmentTooSmall, len(b), c.SegmentBytes)
	}
	size := seg.Size()
	due := size > c.SegmentBytes-int64(len(b)) || seg.IndexFull() || b.LastOffset()-seg.Base() > math.MaxInt32
	if !due && size > 0 {
		first, err := seg.FirstTimestamp()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrStorage, err)
		}
		// Records count by their own time; only a segment that begins without
		// timestamps counts from when it was made.
		at := b.MaxTimestamp()
		if first < 0 {
			first, at = l.write.rolled, now
		}
		due = at-first > c.rollMs()-l.write.jitter
	}
	if !due || size == 0 {
		return seg, nil
	}
	if err := l.roll(b.BaseOffset()); err != nil {
		return nil, err
	}
	return l.active(), nil
}

// roll closes the active segment and begins one at base. The old segment is
// synced first, name and all, so that only the last segment of a log can be
// torn and no batch can survive a power cut that took one before it; a
// producer snapshot at base makes restarts short.
func (l *Log) roll(base int64) error {
	old := l.active()
	if err := errors.Join(old.Seal(), old.Sync()); err != nil {
		return l.writeFailed(err)
	}
	if err := l.writeSnapshot(base); err != nil {
		return l.writeFailed(err)
	}
	return l.addSegment(base)
}

// addSegment makes a new active segment. Its name is synced before the first
// acknowledgement of a record in it.
func (l *Log) addSegment(base int64) error {
	seg, err := segment.Create(l.path, base, l.segmentOptions())
	if err != nil {
		return l.writeFailed(err)
	}
	if c := l.config.Load(); c.Preallocate {
		if err := seg.Allocate(c.SegmentBytes); err != nil {
			seg.Retire(nil)
			return l.writeFailed(err)
		}
	}
	before := l.segments.Load()
	var list []*segment.Segment
	if before != nil {
		list = append(list, *before...)
	}
	list = append(list, seg)
	l.segments.Store(&list)
	if jitter := l.config.Load().SegmentJitterMs; jitter > 0 {
		l.write.jitter = l.store.random(jitter)
	}
	l.write.untidy = true
	l.write.rolled = l.store.opt.Clock.Now().UnixMilli()
	l.unsynced.Lock()
	l.unsynced.names = true
	l.unsynced.Unlock()
	return nil
}

// writeSnapshot writes NNN.snapshot, the producer state as of offset, which is
// the log's end, and makes it and all names of the log durable. One that stands
// there already is of the same records: it is kept, or replaced as a whole,
// for it may be all that is left of what retention took from the log.
func (l *Log) writeSnapshot(offset int64) error {
	s := l.snapshot(offset)
	err := l.storeSnapshot(s)
	if err == nil {
		l.noteSnapshot(s)
	}
	return err
}

// snapshot is the producer state at the end of the log, to be stored.
type snapshot struct {
	offset int64
	there  bool // the file is
	state  []byte
}

// snapshot takes the state; the append lock is held.
func (l *Log) snapshot(offset int64) snapshot {
	return snapshot{offset, l.write.snapshotAt == offset, l.write.producers.Encode(nil)}
}

// storeSnapshot writes the file. No lock need be held: a checkpoint does it
// while appends go on.
func (l *Log) storeSnapshot(s snapshot) error {
	l.snapshots.Lock()
	defer l.snapshots.Unlock()
	name := segment.FileName(l.path, s.offset, segment.SnapshotSuffix)
	if s.there {
		err := l.store.syncFile(name)
		if err == nil {
			err = l.store.opt.FS.SyncDir(l.path)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return vfs.WriteFileAtomic(l.store.opt.FS, name, s.state)
}

// noteSnapshot remembers a file that was written; the append lock is held.
func (l *Log) noteSnapshot(s snapshot) {
	if !s.there {
		l.write.strays = append(l.write.strays, s.offset)
	}
	l.write.snapshotAt = max(l.write.snapshotAt, s.offset)
}

// storeEpochs writes leader-epoch-checkpoint. It can be rebuilt from the
// batches, but not the entry of an epoch that has none yet, so it is synced.
func (l *Log) storeEpochs() error {
	name := l.path + "/" + epochFile
	if err := vfs.WriteFileAtomic(l.store.opt.FS, name, l.write.epochs.Encode()); err != nil {
		return l.writeFailed(err)
	}
	return nil
}

// AssignEpoch records that leader epoch e begins at the log's end: the owner
// became leader. Older or equal epochs change nothing.
func (l *Log) AssignEpoch(e int32) error {
	l.write.Lock()
	defer l.write.Unlock()
	if n := l.successor.Load(); n != nil {
		return n.AssignEpoch(e)
	}
	if l.write.closed {
		return fmt.Errorf("log %s: %w", l.name, ErrClosed)
	}
	return l.noteEpoch(e, l.endAt.Load())
}

// LatestEpoch is the newest leader epoch the log knows, -1 for none.
func (l *Log) LatestEpoch() int32 {
	l.write.Lock()
	defer l.write.Unlock()
	return l.write.epochs.Latest()
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch: the largest epoch at or
// below e that the log knows and the offset where it ends, (-1, -1) if none.
func (l *Log) EndOffsetForEpoch(e int32) (found int32, end int64) {
	l.write.Lock()
	defer l.write.Unlock()
	return l.write.epochs.EndOffsetFor(e, l.endAt.Load())
}

// EpochForOffset is the leader epoch of the record at offset, -1 if unknown.
func (l *Log) EpochForOffset(offset int64) int32 {
	l.write.Lock()
	defer l.write.Unlock()
	return l.write.epochs.EpochForOffset(offset)
}

// DeleteRecordsBefore raises the start of the log to offset, at most the high
// watermark, and makes that durable before it returns. Whole segments below
// go; the rest waits for retention. Returns the new start.
func (l *Log) DeleteRecordsBefore(offset int64) (int64, error) {
	high := l.High()
	if offset > high || offset < 0 {
		return 0, &RangeError{offset, l.Start(), high}
	}
	// Whole segments go now, or when the cleaner is done with them.
	drop := l.lockSealed()
	if drop {
		defer l.cleaning.Unlock()
		drop = l.finishSwap() == nil
	}
	l.write.Lock()
	defer l.write.Unlock()
	if n := l.successor.Load(); n != nil {
		return n.DeleteRecordsBefore(offset)
	}
	if l.write.closed {
		return 0, fmt.Errorf("log %s: %w", l.name, ErrClosed)
	}
	if offset <= l.startAt.Load() {
		return l.startAt.Load(), nil
	}
	if err := l.dir.failed(); err != nil {
		return 0, err
	}
	if err := l.raiseStart(offset); err != nil {
		return 0, err
	}
	if !drop {
		return offset, nil
	}
	return offset, l.dropHead(func(s *segment.Segment, next int64) bool { return next <= offset }, "log start offset moved")
}

// raiseStart makes a new start durable, publishes it, and only then may a file
// go: after a crash in between, the start is still what clients were told.
func (l *Log) raiseStart(offset int64) error {
	if err := l.dir.storeStarts(l, offset); err != nil {
		return l.writeFailed(err)
	}
	l.startAt.Store(offset)
	return l.trimEpochs(offset)
}

// trimEpochs drops what the epochs say of offsets below the start. A full disk
// may keep it: it is of no harm there.
func (l *Log) trimEpochs(start int64) error {
	if !l.write.epochs.TruncateFromStart(start) {
		return nil
	}
	if err := l.storeEpochs(); err != nil && !isNoSpace(err) {
		return err
	}
	return nil
}

// dropHead retires leading segments for which gone says so; never the active
// one. next is the base of the segment behind.
func (l *Log) dropHead(gone func(s *segment.Segment, next int64) bool, why string) error {
	list := *l.segments.Load()
	n := 0
	for n < len(list)-1 && gone(list[n], list[n+1].Base()) {
		n++
	}
	return l.retireHead(n, why)
}

// retireHead takes the first n segments out of the log: from here on no reader
// finds them; their files are renamed .deleted now and removed after
// file.delete.delay.ms, when the last reader has gone too.
func (l *Log) retireHead(n int, why string) error {
	if n == 0 {
		return nil
	}
	// What stays, a segment and a snapshot that were just made among it, is
	// durable before anything goes.
	if err := l.store.opt.FS.SyncDir(l.path); err != nil {
		return l.writeFailed(err)
	}
	list := *l.segments.Load()
	rest := append([]*segment.Segment(nil), list[n:]...)
	l.segments.Store(&rest)
	var errs []error
	for _, s := range list[:n] {
		l.store.opt.Logger.Info("segment deleted", "log", l.name, "base", s.Base(), "bytes", s.Size(), "why", why)
		errs = append(errs, l.retire(s))
	}
	errs = append(errs, l.store.opt.FS.SyncDir(l.path))
	if err := errors.Join(errs...); err != nil {
		return l.writeFailed(err)
	}
	l.oldest.Store(rest[0].Base())
	return nil
}

func (l *Log) retire(s *segment.Segment) error {
	err := s.Rename(segment.DeletedSuffix)
	snapshot := segment.FileName(l.path, s.Base(), segment.SnapshotSuffix)
	if s.Base() != l.write.snapshotAt {
		if e := l.store.opt.FS.Rename(snapshot, snapshot+segment.DeletedSuffix); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	base, path := s.Base(), l.path
	s.Retire(func() {
		l.store.jobs.after(l.config.Load().FileDeleteDelayMs, func() { l.store.removeDeleted(path, base) })
	})
	return err
}

// removeDeleted unlinks the files a retired segment left.
func (st *Store) removeDeleted(path string, base int64) {
	for _, kind := range []string{segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix, segment.SnapshotSuffix} {
		name := segment.FileName(path, base, kind) + segment.DeletedSuffix
		if err := st.opt.FS.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			st.opt.Logger.Warn("cannot remove a deleted segment's file; it goes at the next start", "file", name, "error", err)
		}
	}
}

// Truncate drops everything at and above offset, for a follower whose log
// went another way than its leader's. Offsets below the start are an error.
// Durable when it returns; waiters above offset are told an error.
func (l *Log) Truncate(offset int64) error {
	defer l.pauseCleaning()()
	if err := l.finishSwap(); err != nil {
		return err
	}
	// Nor may a checkpoint be about to describe what is cut.
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	l.write.Lock()
	defer l.write.Unlock()
	if l.write.closed {
		return fmt.Errorf("log %s: %w", l.name, ErrClosed)
	}
	if offset >= l.endAt.Load() {
		return nil
	}
	if offset < l.startAt.Load() {
		return &RangeError{offset, l.startAt.Load(), l.endAt.Load()}
	}
	if err := l.dir.failed(); err != nil {
		return err
	}
	// What comes in place of the records that go has not been cleaned.
	if err := l.dir.lowerCleaned(l, l.cutOffset(offset)); err != nil {
		return l.writeFailed(err)
	}
	// A recovery point above the end would look like lost records.
	l.write.cuts++
	if point, _ := l.dir.offsets(l.name); offset < max(point, l.recovery.Load()) {
		l.recovery.Store(min(l.recovery.Load(), l.cutOffset(offset)))
		if err := l.dir.storeRecoveryPoints(); err != nil {
			return l.writeFailed(err)
		}
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	// Nor may a journal bring back what is cut.
	if err := l.dir.settleJournal(l.name); err != nil {
		return l.writeFailed(err)
	}
	if err := l.truncateLocked(offset); err != nil {
		return l.writeFailed(err)
	}
	return nil
}

// cutOffset is where the log will end when it is cut at offset: in front of
// the batch that holds it.
func (l *Log) cutOffset(offset int64) int64 {
	list := *l.segments.Load()
	i := len(list) - 1
	for i > 0 && list[i].Base() > offset {
		i--
	}
	if _, end, err := cutIn(list[i], offset); err == nil {
		return end
	}
	return offset
}

// cutIn is the size of a segment that is cut at offset, and the offset behind
// its last batch then: where compaction has left a gap, that is what a restart
// would find.
func cutIn(seg *segment.Segment, offset int64) (size, end int64, err error) {
	h, err := seg.Locate(offset)
	switch {
	case errors.Is(err, segment.ErrNotHere):
		size = seg.Size()
	case err != nil:
		return 0, 0, err
	default:
		size = h.Position
	}
	end, err = seg.EndAt(size)
	return size, min(offset, end), err
}

func (l *Log) truncateLocked(offset int64) error {
	list := *l.segments.Load()
	keep := len(list)
	for keep > 1 && list[keep-1].Base() > offset {
		keep--
	}
	var errs []error
	rest := append([]*segment.Segment(nil), list[:keep]...)
	l.segments.Store(&rest)
	// From the end on, each durably gone before what stands in front of it is
	// touched: a crash in between must leave no hole.
	for i := len(list) - 1; i >= keep; i-- {
		if err := errors.Join(l.retire(list[i]), l.store.opt.FS.SyncDir(l.path)); err != nil {
			return err
		}
	}
	seg := rest[keep-1]
	size, end, err := cutIn(seg, offset)
	if err != nil {
		return err
	}
	m := mark{end, seg.Base(), size, l.VisibleBytes()}
	// Readers see the lower end first; what they pinned above it is not
	// durable on the in-sync set, which is why it may be cut.
	l.visible.Store(&m)
	l.endAt.Store(end)
	l.durable.Store(end)
	l.queue.Reset(end)
	l.unsynced.Lock()
	l.unsynced.end = m
	l.unsynced.tail = l.unsynced.tail[:0] // what was cut must not pass for what comes
	l.unsynced.Unlock()
	l.sync.begin = m
	errs = append(errs, seg.Truncate(size, end))
	l.recovery.Store(min(l.recovery.Load(), end))
	if l.write.epochs.TruncateFromEnd(end) {
		errs = append(errs, l.storeEpochs())
	}
	errs = append(errs, l.reloadProducers(end), l.store.opt.FS.SyncDir(l.path))
	l.write.untidy = true
	l.write.producers.OnHighWatermark(end)
	l.transactions.Reset(l.write.producers)
	l.publishStable()
	return errors.Join(errs...)
}
