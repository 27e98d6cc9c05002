package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/gregor-broker/gregor/engine/epoch"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// ErrUndecided says that a move ended at the one point where nobody can say which of the two directories a restart
// finds: the log is closed, and complete in either.
var ErrUndecided = errors.New("the log is offline until the next start")

// Finish copies the rest while appends wait, and puts the copy in the log's place. publish is called with the new Log
// before anything can be appended to it; whoever still has the old one is led to the new one by its methods.
//
// Before Finish is called it must be on record, durably, where the log is to be from now on: after a crash at the wrong
// moment both directories have it, and the one on record is the one that has everything.
//
// An error leaves the log where it was, unless it is an ErrUndecided; those of Copy are possible. Not to be called while the
// store is being closed. The Move is over with success, and must be ended with Cancel after an error.
func (m *Move) Finish(ctx context.Context, publish func(*Log)) (*Log, error) {
	if err := m.prepare(ctx); err != nil {
		return nil, err
	}
	l := m.log
	defer l.pauseCleaning()()
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	l.write.Lock()
	defer l.write.Unlock()
	if err := m.complete(ctx); err != nil {
		return nil, err
	}
	st := l.store
	n := m.takeOver()
	l.successor.Store(n)
	st.mu.Lock()
	if st.logs[l.name] == l {
		st.logs[l.name] = n
	} // else it is being deleted, which goes on with the successor
	st.mu.Unlock()
	publish(n)
	l.onHigh.Store(nil)
	if err := l.leave(deleteSuffix); err != nil {
		st.opt.Logger.Error("a log was moved, but what was left behind cannot be set aside; it is at the next start",
			"log", l.name, "dir", l.dir.path, "error", err)
	}
	st.opt.Logger.Info("log moved", "log", l.name, "from", l.dir.path, "to", m.to.path, "end", n.End(), "bytes", n.Size())
	if n.config.Load().Compact {
		st.jobs.cleanSoon()
	}
	return n, nil
}

// Current is the log itself, or what it has become by moves to other directories. Methods that change or read it lead there by
// themselves; offsets are those of the moment of a move.
func (l *Log) Current() *Log {
	for {
		n := l.successor.Load()
		if n == nil {
			return l
		}
		l = n
	}
}

// prepare does what can be done before appends have to wait.
func (m *Move) prepare(ctx context.Context) error {
	if err := m.round(ctx); err != nil {
		return err
	}
	l := m.log
	if len(m.copies) == 0 {
		return fmt.Errorf("log %s: %w", l.name, ErrMoved)
	}
	last := m.copies[len(m.copies)-1].to
	if err := errors.Join(last.Sync(), last.SyncIndexes()); err != nil {
		return m.failed(err)
	}
	l.write.Lock()
	epochs := l.write.epochs.Clone()
	l.write.Unlock()
	if err := m.storeEpochs(epochs); err != nil {
		return err
	}
	return m.expect(m.end.Load())
}

func (m *Move) storeEpochs(epochs *epoch.Cache) error {
	if epochs.Len() == 0 {
		return nil
	}
	return m.failed(vfs.ReplaceFile(m.log.store.opt.FS, filepath.Join(m.path, epochFile), epochs.Encode()))
}

// expect says in the checkpoints of the target what they have to say of the log when it is there: what lies below recovery
// is durable. The start must be known before the log is, or deleted records would be back.
func (m *Move) expect(recovery int64) error {
	d, name := m.to, m.log.name
	start, cleaned := m.log.startAt.Load(), m.log.dir.cleanedTo(name)
	if m.recovery == recovery && m.start == start && m.cleaned == cleaned {
		return nil
	}
	set := func(in map[string]int64, v int64, ok bool) (changed bool) {
		before, known := in[name]
		if delete(in, name); ok {
			in[name] = v
		}
		return ok != known || ok && before != v
	}
	d.files.Lock()
	set(d.files.recoveryPoints, recovery, true)
	starts := set(d.files.starts, start, start > m.log.oldest.Load())
	cleanings := set(d.files.cleaned, cleaned, cleaned >= 0)
	d.files.Unlock()
	m.recovery, m.start, m.cleaned = recovery, start, cleaned
	err := d.storeRecoveryPoints()
	if starts && err == nil {
		err = d.storeStarts(nil, 0)
	}
	if cleanings && err == nil {
		err = d.storeCleaned()
	}
	return m.failed(err)
}

// complete makes the copy a log that has everything, up to the rename. The locks of Finish are held.
func (m *Move) complete(ctx context.Context) error {
	l, disk := m.log, m.log.store.opt.FS
	if l.write.closed {
		return fmt.Errorf("log %s: %w", l.name, ErrClosed)
	}
	if l.write.cuts != m.cuts {
		return fmt.Errorf("log %s: %w", l.name, ErrMoved)
	}
	if err := m.finishSwapped(); err != nil {
		return err
	}
	if err := m.catchUp(ctx); err != nil {
		return err
	}
	list := *l.segments.Load()
	if err := m.compare(list); err != nil {
		return err
	}
	last := m.copies[len(m.copies)-1]
	aborted, err := last.from.AllAborted()
	if err != nil {
		return err
	}
	if len(aborted) > 0 {
		if err := last.to.SetAborted(aborted); err != nil {
			return m.failed(err)
		}
	}
	if err := last.to.Sync(); err != nil {
		return m.failed(err)
	}
	end := l.endAt.Load()
	snapshot := segment.FileName(m.path, end, segment.SnapshotSuffix)
	if err := vfs.ReplaceFile(disk, snapshot, l.write.producers.Encode(nil)); err != nil {
		return m.failed(err)
	}
	// The first one may have been before the last batch of a new epoch.
	if err := m.storeEpochs(l.write.epochs); err != nil {
		return err
	}
	if err := disk.SyncDir(m.path); err != nil {
		return m.failed(err)
	}
	if err := m.expect(m.recovery); err != nil {
		return err
	}
	to := filepath.Join(m.to.path, l.name)
	if err := disk.Rename(m.path, to); err != nil {
		return m.failed(err)
	}
	if err := disk.SyncDir(m.to.path); err != nil {
		// It may be found there or not. Nothing may be appended that would be in one place only.
		l.write.closed = true
		l.dir.refused.Store(true)
		return errors.Join(ErrUndecided, m.failed(err))
	}
	return nil
}

// finishSwapped makes sure that no exchange of segments is under way: there was none since the move began.
func (m *Move) finishSwapped() error {
	if m.log.unswapped != nil {
		return fmt.Errorf("log %s: %w", m.log.name, ErrMoved)
	}
	return nil
}

// compare says whether the copies are of all the log has.
func (m *Move) compare(list []*segment.Segment) error {
	if len(list) != len(m.copies) {
		return fmt.Errorf("log %s: %w: %d segments, %d copies", m.log.name, ErrMoved, len(list), len(m.copies))
	}
	for i, s := range list {
		c := m.copies[i]
		if c.from != s || c.to.Size() != s.Size() || !c.whole && i < len(list)-1 {
			return fmt.Errorf("log %s: %w: %d of %d bytes of segment %d", m.log.name, ErrMoved, c.to.Size(), s.Size(), s.Base())
		}
	}
	return nil
}

// takeOver makes the Log of the copy: everything the old one knows is its own from now on.
func (m *Move) takeOver() *Log {
	old, st := m.log, m.log.store
	n := st.newLog(m.to, old.name, filepath.Join(m.to.path, old.name), *old.config.Load())
	n.id, n.transactions = old.id, old.transactions
	n.onHigh.Store(old.onHigh.Load())
	list := make([]*segment.Segment, len(m.copies))
	for i, c := range m.copies {
		c.to.Rebase(n.path)
		list[i] = c.to
	}
	n.segments.Store(&list)
	end, active := old.endAt.Load(), n.active()
	w := &n.write
	w.producers, old.write.producers = old.write.producers, producer.New(math.MaxInt64)
	w.epochs = old.write.epochs.Clone()
	w.snapshotAt, w.strays, w.untidy = end, []int64{end}, true
	w.jitter, w.rolled, w.lastAppend = old.write.jitter, old.write.rolled, old.write.lastAppend
	total := old.unsynced.end.total
	at := mark{end, active.Base(), active.Size(), total}
	n.startAt.Store(old.startAt.Load())
	n.endAt.Store(end)
	n.durable.Store(end)
	n.visible.Store(&at)
	n.unsynced.end = at
	n.queue.Reset(end)
	n.oldest.Store(list[0].Base())
	n.recovery.Store(m.recovery)
	n.sinceRecovery.Store(max(old.sinceRecovery.Load(), 1))
	w.producers.OnHighWatermark(end)
	n.publishStable()
	return n
}
