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
func (l *Log) recover(snapshots []int64, start, recovery int64) (end int64, err error) {
	list := *l.segments.Load()
	first := len(list) - 1
	for first > 0 && list[first].Base() > recovery {
		first--
	}
	r := &recoveryRun{log: l, snapshots: snapshots, start: start, point: recovery, now: l.store.opt.Clock.Now().UnixMilli()}
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
			name := segment.FileName(l.path, at, segment.SnapshotSuffix)
			if err := l.store.opt.FS.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return 0, fmt.Errorf("log %s: %w", l.name, err)
			}
		}
	}
	if r.end > recovery {
		for _, s := range (*l.segments.Load())[first:] {
			if err := s.Sync(); err != nil {
				return 0, fmt.Errorf("%w: log %s: %w", ErrStorage, l.name, err)
			}
		}
		if err := l.store.opt.FS.SyncDir(l.path); err != nil {
			return 0, fmt.Errorf("%w: log %s: %w", ErrStorage, l.name, err)
		}
	}
	return r.end, nil
}

type recoveryRun struct {
	log       *Log
	snapshots []int64
	start     int64
	point     int64 // recovery point
	now       int64
	end       int64
	state     int64 // producer state covers everything below
	epochs    bool  // the epoch cache changed
}

// segment recovers list[i]; done says that the log ends here.
func (r *recoveryRun) segment(list []*segment.Segment, i int, first bool) (done bool, err error) {
	l, s := r.log, list[i]
	foreign := !s.HasIndex()
	position, from := int64(0), s.Base()
	if first {
		if position, from, err = r.begin(s); err != nil {
			return false, err
		}
	} else if _, err := s.TrustedPosition(0); err != nil {
		return false, l.storage(err)
	}
	if err := s.KeepAbortedBelow(from); err != nil {
		return false, l.storage(err)
	}
	floor := s.Base()
	if !first {
		floor = max(floor, r.end)
	}
	out, err := s.Recover(position, floor, foreign, r.visit)
	if err != nil {
		return false, l.storage(err)
	}
	r.end = out.End
	if out.Damage == nil {
		return false, nil
	}
	if out.End < r.point {
		return true, &CorruptError{Log: l.name, Damage: out.Damage, RecoveryPoint: r.point, Offset: out.End}
	}
	return true, r.cut(list, i, out)
}

// begin finds where the first segment's check starts and loads the producer
// state that belongs there.
func (r *recoveryRun) begin(s *segment.Segment) (position, from int64, err error) {
	l := r.log
	if position, err = s.TrustedPosition(r.point); err != nil {
		return 0, 0, l.storage(err)
	}
	from = s.Base()
	if position > 0 {
		h, err := s.HeaderAt(position)
		if err != nil {
			return 0, 0, l.storage(err)
		}
		from = h.BaseOffset
	}
	r.state = l.producersAt(r.snapshots, r.start, max(r.point, s.Base()))
	if r.state < from {
		if err := l.replayProducers(r.state, from); err != nil {
			return 0, 0, err
		}
		r.state = from
	}
	return position, from, nil
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
	return nil
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
