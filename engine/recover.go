package engine

import (
	"errors"
	"fmt"
	"os"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/segment"
)

// recover brings a log back after a crash: every batch above the recovery
// point is checked, indexes, producer state, epochs and the transaction index
// are rebuilt from there, and the first torn write ends the log. What is kept
// is synced before anybody may read it: after a killed process it may be in
// the page cache only.
//
// Before anything is changed, what lies below the recovery point is verified:
// damage there is a CorruptError.
func (l *Log) recover(snapshots []int64, recovery int64) (end int64, err error) {
	list := *l.segments.Load()
	first := len(list) - 1
	// One that ends just at the recovery point may have been rolled after it was written down: its time index was closed
	// later, and that was not synced.
	for first > 0 && list[first].Base() >= recovery {
		first--
	}
	r := &recoveryRun{log: l, snapshots: snapshots, start: list[0].Base(), point: recovery, now: l.store.opt.Clock.Now().UnixMilli()}
	for r.foreign < len(list) && !list[r.foreign].HasIndex() {
		r.foreign++
	}
	if err := r.verify(list, first); err != nil {
		return 0, err
	}
	for i := first; i < len(list); i++ {
		done, err := r.segment(list, i, i == first)
		if err != nil {
			return 0, err
		}
		if done {
			break
		}
	}
	if r.epochs {
		if err := l.storeEpochs(); err != nil {
			return 0, err
		}
	}
	// Snapshots above the end describe records that are gone.
	for _, at := range snapshots {
		if at > r.end {
			r.renamed = true
			name := segment.FileName(l.path, at, segment.SnapshotSuffix)
			if err := l.store.opt.FS.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return 0, fmt.Errorf("log %s: %w", l.name, err)
			}
		}
	}
	if r.end > recovery || r.renamed {
		for _, s := range (*l.segments.Load())[first:] {
			if err := s.Sync(); err != nil {
				l.dir.pool.Poison(err)
				return 0, l.storage(err)
			}
		}
		if err := l.store.opt.FS.SyncDir(l.path); err != nil {
			l.dir.pool.Poison(err)
			return 0, l.storage(err)
		}
	}
	if r.adopted {
		// What was made elsewhere stays as it is; appends go to a segment of ours.
		if err := l.addSegment(r.end); err != nil {
			return 0, err
		}
		if err := l.store.opt.FS.SyncDir(l.path); err != nil {
			return 0, l.storage(err)
		}
	}
	return r.end, nil
}

type recoveryRun struct {
	log       *Log
	snapshots []int64
	start     int64 // of the first segment
	foreign   int   // segments at the head without an index: made elsewhere
	renamed   bool  // files came or went
	adopted   bool  // the last segment was taken although its checksums do not hold
	trust     segment.Trust
	point     int64 // recovery point
	now       int64
	end       int64
	state     int64 // producer state covers everything below
	epochs    bool  // the epoch cache changed
}

// segment recovers list[i]; done says that the log ends here.
func (r *recoveryRun) segment(list []*segment.Segment, i int, first bool) (done bool, err error) {
	l, s := r.log, list[i]
	var trust segment.Trust
	floor := s.Base()
	if first {
		if err := r.begin(s); err != nil {
			return false, err
		}
		trust = r.trust
	} else {
		floor = max(floor, r.end)
		r.state = max(r.state, floor)
	}
	if err := errors.Join(s.Rewind(trust), s.RecoverAborted(r.state)); err != nil {
		return false, l.storage(err)
	}
	out, err := s.Recover(trust.Position, floor, i < r.foreign, r.visit)
	if err != nil {
		return false, l.storage(err)
	}
	err = s.StoreAborted()
	if err == nil && !out.Adopted && !s.HasIndex() {
		// Whole, so it is as good as one of ours from here on: a torn write at
		// its end must never pass for a log made elsewhere.
		err = s.CreateIndexes()
		r.renamed = true
	}
	if err == nil && !out.Adopted && out.Damage == nil && i+1 < len(list) {
		// It was rolled: the entry that closes its time index may not have been on the disk.
		err = s.Seal()
	}
	if err == nil && first && trust.Position == 0 && r.point > s.Base() && !out.Adopted && !(trust.Times && s.Unindexed()) {
		// The recovery point stands above entries that were made again.
		err = s.SyncIndexes()
	}
	if err != nil {
		return false, l.storage(err)
	}
	r.end, r.adopted = out.End, out.Adopted
	if out.Damage == nil {
		return false, nil
	}
	if out.End < r.point {
		return true, &CorruptError{Log: l.name, Damage: out.Damage, RecoveryPoint: r.point, Offset: out.End}
	}
	return true, r.cut(list, i, out)
}

// verify checks the first segment up to the recovery point and changes nothing.
func (r *recoveryRun) verify(list []*segment.Segment, first int) (err error) {
	s := list[first]
	if r.trust, err = s.Trusted(r.point); err != nil {
		return r.log.storage(err)
	}
	if r.point <= s.Base() || first < r.foreign {
		return nil
	}
	end, damage, err := s.Verify(r.trust, r.point)
	if err != nil {
		return r.log.storage(err)
	}
	if damage == nil && end < r.point && first == len(list)-1 {
		// Only the cleaner leaves gaps, and never at the end of a log.
		damage = r.log.tooShort(s, end, r.point)
	}
	if damage != nil {
		return &CorruptError{Log: r.log.name, Damage: damage, RecoveryPoint: r.point, Offset: end}
	}
	return nil
}

// tooShort is the damage of a log that ends before its recovery point.
func (l *Log) tooShort(s *segment.Segment, end, point int64) *segment.DamagedError {
	return &segment.DamagedError{File: s.Name(), Position: s.Size(), Expected: fmt.Sprintf("records up to offset %d", point),
		Found: fmt.Sprintf("the end of the log at offset %d", end)}
}

// begin loads the producer state that belongs to the start of the first
// segment's check.
func (r *recoveryRun) begin(s *segment.Segment) error {
	l := r.log
	known := max(r.point, s.Base())
	intact, err := s.AbortedIntact()
	if err != nil {
		return l.storage(err)
	}
	if !intact {
		// It is made again from the markers of the whole segment.
		r.trust, known = segment.Trust{}, s.Base()
	}
	from := s.Base()
	if r.trust.Position > 0 {
		h, err := s.HeaderAt(r.trust.Position)
		if err != nil {
			return l.storage(err)
		}
		from = h.BaseOffset
	}
	r.state = l.producersAt(r.snapshots, r.start, known)
	if r.state < from {
		if err := l.replayProducers(r.state, from); err != nil {
			return err
		}
		r.state = from
	}
	return nil
}

// visit takes one intact batch into the rebuilt state.
func (r *recoveryRun) visit(b batch.Batch, h segment.Header) error {
	if h.Magic != 2 {
		return nil
	}
	l := r.log
	if h.LeaderEpoch > l.write.epochs.Latest() && l.write.epochs.Assign(h.LeaderEpoch, h.BaseOffset) {
		r.epochs = true
	}
	if !b.HasProducerID() || h.LastOffset < r.state {
		return nil
	}
	if done := l.write.producers.Apply(b, r.now); done != nil && done.Aborted {
		list := *l.segments.Load()
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].Base() <= h.BaseOffset {
				stable := h.LastOffset + 1
				if open, ok := l.write.producers.FirstUndecidedOffset(); ok {
					stable = open
				}
				return list[i].AppendAborted(AbortedTxn{ProducerID: done.ProducerID, FirstOffset: done.FirstOffset,
					LastOffset: done.LastOffset, LastStableOffset: stable})
			}
		}
	}
	return nil
}

// cut ends the log in front of the damage in list[i]. Bytes that hold intact
// batches behind it are kept in .torn files: a torn write leaves none, unless
// several were under way at a power cut.
func (r *recoveryRun) cut(list []*segment.Segment, i int, out segment.Recovered) error {
	l, s := r.log, list[i]
	dropped := s.Size() - out.Size
	var evidence []string
	if out.IntactBehind {
		name, err := l.keepEvidence(s, out.Size)
		if err != nil {
			return l.storage(err)
		}
		evidence = append(evidence, name)
	}
	for _, later := range list[i+1:] {
		name := later.Name()
		if later.Size() > 0 {
			kept, err := l.freeName(name + segment.TornSuffix)
			if err == nil {
				err = l.store.opt.FS.Rename(name, kept)
			}
			if err != nil {
				return l.storage(err)
			}
			evidence = append(evidence, kept)
		}
		dropped += later.Size()
		if err := errors.Join(later.Rename(segment.DeletedSuffix)); err != nil {
			return l.storage(err)
		}
		base := later.Base()
		later.Retire(func() { l.store.removeDeleted(l.path, base) })
	}
	rest := append([]*segment.Segment(nil), list[:i+1]...)
	l.segments.Store(&rest)
	if err := s.Truncate(out.Size, out.End); err != nil {
		return l.storage(err)
	}
	if err := l.store.opt.FS.SyncDir(l.path); err != nil {
		return l.storage(err)
	}
	l.store.opt.Logger.Warn("cut a torn write that was never acknowledged", "log", l.name, "end", out.End,
		"bytes", dropped, "damage", out.Damage, "kept", evidence)
	// The scan may have taken a batch in that only its successor proved wrong.
	return l.reloadProducers(out.End)
}

// keepEvidence copies the bytes from position on to a .torn file beside the
// segment and syncs it.
func (l *Log) keepEvidence(s *segment.Segment, position int64) (string, error) {
	name, err := l.freeName(s.Name() + segment.TornSuffix)
	if err != nil {
		return "", err
	}
	f, err := l.store.opt.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	buf := make([]byte, min(1<<20, s.Size()-position))
	for at := position; at < s.Size() && err == nil; at += int64(len(buf)) {
		if left := s.Size() - at; left < int64(len(buf)) {
			buf = buf[:left]
		}
		if buf, err = s.Copy(buf, at); err == nil {
			_, err = f.WriteAt(buf, at-position)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return name, errors.Join(err, f.Close())
}

// freeName finds a name like wanted that is not taken.
func (l *Log) freeName(wanted string) (string, error) {
	name := wanted
	for i := 1; ; i++ {
		_, err := l.store.opt.FS.Stat(name)
		if errors.Is(err, os.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
		name = fmt.Sprintf("%s.%d", wanted, i)
	}
}

func (l *Log) storage(err error) error {
	return fmt.Errorf("%w: log %s: %w", ErrStorage, l.name, err)
}
