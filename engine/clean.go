package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/compact"
	"github.com/gregor-broker/gregor/engine/segment"
)

// errStopped says that a cleaning ended early because somebody else needs the log, or the process ends.
var errStopped = errors.New("cleaning was stopped")

// pauseCleaning stops a cleaning that is under way, waits for that, and keeps others from beginning until resume is
// called (LogCleanerManager.abortAndPauseCleaning). Called before the append lock is taken.
func (l *Log) pauseCleaning() (resume func()) {
	l.stopping.Add(1)
	l.cleaning.Lock()
	l.stopping.Add(-1)
	return l.cleaning.Unlock
}

// lockSealed is for work on sealed segments that can wait: false means that they are being compacted. With true the
// caller unlocks cleaning.
func (l *Log) lockSealed() bool {
	if l.cleaning.TryLock() {
		return true
	}
	if l.busy.Load() {
		return false
	}
	l.cleaning.Lock()
	return true
}

// stopCleaning says whether a cleaning has to end.
func (l *Log) stopCleaning() error {
	if l.stopping.Load() > 0 || l.removed.Load() || l.moving.Load() || !l.config.Load().Compact || l.store.clean.stopped() {
		return errStopped
	}
	return l.dir.failed()
}

// describe gives the numbers that decisions on cleaning are made by.
func describe(s *segment.Segment) compact.Segment {
	offsets, times := s.IndexSizes()
	return compact.Segment{Base: s.Base(), Size: s.Size(), IndexBytes: offsets, TimeIndexBytes: times, FirstTimestamp: -1, MaxTimestamp: -1}
}

// sealedTimes adds the times; the segment is pinned.
func sealedTimes(d *compact.Segment, s *segment.Segment, first, largest bool) (err error) {
	if first {
		if d.FirstTimestamp, err = s.FirstTimestamp(); err != nil {
			return err
		}
	}
	if largest {
		if d.MaxTimestamp, _, err = s.MaxTimestamp(); err == nil && d.MaxTimestamp < 0 {
			d.MaxTimestamp, err = s.Modified()
		}
	}
	return err
}

// cleaning is one pass of the cleaner over one log.
type cleaning struct {
	log     *Log
	cleaner *cleaner
	config  LogConfig
	plan    compact.Plan
	nowMs   int64
	keys    *compact.OffsetMap
	read    []byte
	write   []byte
	active  producerView
	bytes   int64 // memory taken, at most
}

// clean compacts the log as far as it is due: the keys of its dirty part are read into memory, as many as fit, and
// every segment in front of where that ended is written anew without what they supersede, several small ones as
// one. Returns how much memory that took.
//
// The log's cleaning lock is held all the time. Its append lock is taken for moments: to look up producers, and to
// exchange pointers to segments.
func (l *Log) clean(c *cleaner) (bytes int64, err error) {
	l.cleaning.Lock()
	defer l.cleaning.Unlock()
	if err := errors.Join(l.stopCleaning(), l.finishSwap()); err != nil {
		return 0, err
	}
	plan, policy, err := l.cleaningPlan()
	if err != nil || !plan.Due(policy) {
		return 0, err
	}
	if err := l.secureRecovery(plan.FirstUncleanable); err != nil {
		return 0, err
	}
	o := c.settings()
	began := c.store.opt.Clock.Now()
	run := &cleaning{log: l, cleaner: c, config: *l.config.Load(), plan: plan, nowMs: began.UnixMilli(),
		keys: compact.NewOffsetMap(o.dedupeBytes(), o.LoadFactor),
		read: make([]byte, o.bufferBytes()), write: make([]byte, 0, o.bufferBytes()), active: producerView{log: l}}
	defer func() { bytes = run.bytes }()
	mapped, err := run.mapKeys()
	if err != nil {
		return 0, err
	}
	run.bytes = max(run.bytes, run.keys.Bytes())
	end := run.keys.Latest() + 1
	stats, err := run.rewrite(end)
	if err != nil {
		return 0, err
	}
	if err := l.dir.storeCleanedTo(l, end); err != nil {
		return 0, l.cleaningFailed(err)
	}
	took := c.store.opt.Clock.Now().Sub(began)
	c.store.opt.Logger.Info("log compacted", "log", l.name, "from", plan.FirstDirty, "to", end, "mapped", mapped, "keys", run.keys.Len(),
		"records", stats.Records, "kept", stats.KeptRecords, "bytes", stats.Bytes, "keptBytes", stats.KeptBytes, "took", took)
	if stats.Keyless > 0 {
		c.store.opt.Logger.Warn("records without a key went: a compacted log cannot keep them", "log", l.name, "records", stats.Keyless)
	}
	return 0, nil
}

// secureRecovery stores a recovery point, with its producer snapshot, at or above offset. A recovery begins at such a
// snapshot and reads on; from one below, it would see a transaction open in the snapshot whose marker compaction has
// taken away, and keep it open for ever.
func (l *Log) secureRecovery(offset int64) error {
	if stored, _ := l.dir.offsets(l.name); stored >= offset {
		return nil
	}
	if err := l.checkpoint(); err != nil {
		if errors.Is(err, ErrClosed) {
			return errStopped
		}
		return err
	}
	if err := l.dir.storeRecoveryPoints(); err != nil {
		return l.cleaningFailed(err)
	}
	l.dropStrays()
	return nil
}

// before is asked before n bytes are moved.
func (r *cleaning) before(n int64) error {
	if err := r.log.stopCleaning(); err != nil {
		return err
	}
	return r.cleaner.pause(n, r.log.stopCleaning)
}

// mapKeys reads the dirty part of the log into the offset map, as far as it has room (Cleaner.buildOffsetMap), and
// returns how many records it looked at.
func (r *cleaning) mapKeys() (int64, error) {
	l, from, to := r.log, r.plan.FirstDirty, r.plan.FirstUncleanable
	txns := &compact.Transactions{}
	m := &compact.Mapper{Map: r.keys, Txns: txns, Start: from}
	list := *l.segments.Load()
	for i, s := range list[:len(list)-1] {
		next := list[i+1].Base()
		if next <= from || s.Base() >= to {
			continue
		}
		if err := r.addAborted(txns, max(s.Base(), from), next); err != nil {
			return 0, err
		}
		full := false
		err := r.stream(s, from, func(b batch.Batch, _ segment.Header) (more bool, err error) {
			full, err = m.Add(b)
			return !full, err
		})
		if err != nil {
			return 0, err
		}
		if full {
			break
		}
		// Offsets that are missing at the end of a segment have been seen, too.
		r.keys.Note(min(next, to) - 1)
	}
	return m.Records, nil
}

// addAborted tells txns the aborted transactions with records in [from, to).
func (r *cleaning) addAborted(txns *compact.Transactions, from, to int64) error {
	found, err := r.log.AbortedTransactions(from, to)
	if err != nil {
		return err
	}
	aborted := make([]compact.Aborted, len(found))
	for i, t := range found {
		aborted[i] = compact.Aborted(t)
	}
	txns.Add(aborted)
	return nil
}

// stream gives f the batches of a segment from the one that holds offset on.
func (r *cleaning) stream(s *segment.Segment, from int64, f func(b batch.Batch, h segment.Header) (bool, error)) error {
	if !s.Acquire() {
		return errStopped
	}
	position := int64(0)
	var err error
	if from > s.Base() {
		var h segment.Header
		if h, err = s.Locate(from); errors.Is(err, segment.ErrNotHere) {
			s.Release()
			return nil
		}
		position = h.Position
	}
	if err == nil {
		before := len(r.read)
		r.read, err = s.Stream(position, r.read, r.before, func(b batch.Batch, h segment.Header) (bool, error) {
			if h.Magic != batch.Magic {
				return false, fmt.Errorf("%s at position %d: %w", s.Name(), h.Position, compact.ErrOldFormat)
			}
			return f(b, h)
		})
		r.bytes = max(r.bytes, int64(len(r.read)))
		if len(r.read) > before {
			r.read = make([]byte, before) // for a batch larger than all others
		}
	}
	s.Release()
	r.log.idle(s)
	return err
}

// rewrite replaces the segments in front of end, group by group. Older groups come first: a tombstone must not go
// before what it deletes.
func (r *cleaning) rewrite(end int64) (compact.Stats, error) {
	l := r.log
	list := *l.segments.Load()
	n := 0
	for n < len(list)-1 && list[n].Base() < end {
		n++
	}
	list = list[:n]
	numbers := make([]compact.Segment, n)
	for i, s := range list {
		numbers[i] = describe(s)
	}
	txns := &compact.Transactions{}
	f := &compact.Filter{Map: r.keys, Txns: txns, NowMs: r.nowMs, DeleteRetentionMs: r.config.DeleteRetentionMs,
		UpTo: r.plan.FirstUncleanable, Active: r.active.lookup}
	begin := 0
	for _, ended := range compact.Group(numbers, r.config.SegmentBytes, r.config.SegmentIndexBytes, r.plan.FirstUncleanable) {
		if err := r.group(f, txns, list[begin:ended]); err != nil {
			return f.Stats, err
		}
		begin = ended
	}
	return f.Stats, nil
}

// group writes what stays of a few segments into one and puts it in their place.
func (r *cleaning) group(f *compact.Filter, txns *compact.Transactions, old []*segment.Segment) error {
	l := r.log
	out, err := segment.CreateCleaned(l.path, old[0].Base(), l.segmentOptions())
	if err != nil {
		return l.cleaningFailed(err)
	}
	txns.Keep = func(t compact.Aborted) error { return out.AppendAborted(AbortedTxn(t)) }
	modified := time.Time{}
	if err = r.fill(f, txns, old, out); err == nil {
		if modified, err = old[len(old)-1].ModTime(); err == nil {
			if err = out.Complete(modified); err != nil {
				err = l.cleaningFailed(err)
			}
		}
	}
	if err == nil {
		err = l.stopCleaning()
	}
	if err == nil {
		return l.replace(out, old)
	}
	out.Retire(nil)
	return errors.Join(err, segment.RemoveCleaned(l.path, old[0].Base(), l.store.opt.FS))
}

// syncEvery is how much of a segment is written before it is synced: one large sync at its end would hold up those
// that producers wait for.
const syncEvery = 8 << 20

// fill writes what stays of the old segments to out.
func (r *cleaning) fill(f *compact.Filter, txns *compact.Transactions, old []*segment.Segment, out *segment.Segment) error {
	l, unsynced := r.log, 0
	flush := func(enough int) error {
		if len(r.write) == 0 || len(r.write) < enough {
			return nil
		}
		if err := r.before(int64(len(r.write))); err != nil {
			return err
		}
		if err := out.AppendBatches(r.write); err != nil {
			return l.cleaningFailed(err)
		}
		if unsynced += len(r.write); unsynced >= syncEvery {
			unsynced = 0
			if err := out.Sync(); err != nil {
				return l.cleaningFailed(err)
			}
		}
		r.bytes = max(r.bytes, int64(cap(r.write))+r.keys.Bytes())
		r.write = r.write[:0]
		return nil
	}
	// The last batch of a group stays, empty if need be, so that after a crash in the middle of the exchange the new
	// segment says by itself which offsets, and so which old segments, it stands for.
	final := len(old) - 1
	for final > 0 && old[final].Size() == 0 {
		final--
	}
	list := *l.segments.Load()
	for i, s := range old {
		next := nextBase(list, s)
		if err := r.addAborted(txns, s.Base(), next); err != nil {
			return err
		}
		size := s.Size()
		err := r.stream(s, s.Base(), func(b batch.Batch, h segment.Header) (bool, error) {
			var err error
			if r.write, err = f.Batch(r.write, b, i == final && h.Position+h.Size == size); err != nil {
				return false, fmt.Errorf("%s at position %d: %w", s.Name(), h.Position, err)
			}
			return true, flush(cap(r.read))
		})
		if err != nil {
			r.write = r.write[:0]
			return err
		}
	}
	err := flush(0)
	if cap(r.write) > 2*cap(r.read) {
		r.write = make([]byte, 0, cap(r.read))
	}
	return err
}

// nextBase is where the segment behind s begins.
func nextBase(list []*segment.Segment, s *segment.Segment) int64 {
	for i := range list {
		if list[i].Base() > s.Base() {
			return list[i].Base()
		}
	}
	return s.Base()
}

// producerView looks producers up for the filter, each under the append lock.
type producerView struct{ log *Log }

func (v producerView) lookup(id int64) (compact.LastRecord, bool) {
	v.log.write.Lock()
	p, ok := v.log.write.producers.Lookup(id)
	v.log.write.Unlock()
	return compact.LastRecord{DataOffset: p.LastOffset, Epoch: p.Epoch}, ok
}
