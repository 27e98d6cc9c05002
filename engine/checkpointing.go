package engine

import (
	"errors"
	"os"

	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// A checkpoint of a log makes everything up to its present end recoverable
// without reading it: log and indexes synced, a producer snapshot at the end, and
// only then is the recovery point raised. By itself a log takes about five syncs
// for that. Many logs are written first and synced together, at the price of two.

// checkpointRun is one log's checkpoint under way. The log's checkpointing lock is
// held.
type checkpointRun struct {
	log       *Log
	end       int64
	bytes     int64
	cuts      int
	active    *segment.Segment // pinned
	producers snapshot
}

// fewLogs are checkpointed one by one.
const fewLogs = 4

// manyLogs bounds how many logs are held in one round.
const manyLogs = 256

// checkpointLogs returns the logs whose recovery point could be raised. It is for
// one caller at a time.
func (d *directory) checkpointLogs(logs []*Log) (moved []*Log, err error) {
	var errs []error
	for len(logs) > 0 {
		n := 1
		if d.volume.checkpoints != nil && len(logs) >= fewLogs {
			n = min(len(logs), manyLogs)
		}
		done, err := d.checkpointRound(logs[:n], n > 1)
		moved, logs = append(moved, done...), logs[n:]
		errs = append(errs, err)
	}
	return moved, errors.Join(errs...)
}

func (d *directory) checkpointRound(logs []*Log, together bool) (moved []*Log, err error) {
	var errs []error
	var runs []*checkpointRun
	for _, l := range logs {
		r, err := l.beginCheckpoint()
		if err != nil {
			continue // closed or deleted
		}
		if together {
			err = r.write()
		} else {
			err = r.sync()
		}
		if err != nil {
			r.release()
			errs = append(errs, err)
			continue
		}
		runs = append(runs, r)
	}
	if together && len(runs) > 0 {
		if err := d.syncVolume(runs[0].active); err != nil {
			// What any of them wrote may be lost: no later sync says so.
			d.pool.Poison(err)
			for _, r := range runs {
				r.release()
			}
			return nil, errors.Join(append(errs, err)...)
		}
	}
	for _, r := range runs {
		if r.finish() {
			moved = append(moved, r.log)
		}
		r.release()
	}
	return moved, errors.Join(errs...)
}

// syncVolume makes everything written to the volume durable. Any file's sync is
// the flush behind it.
func (d *directory) syncVolume(any *segment.Segment) error {
	if err := d.volume.checkpoints.Sync(); err != nil {
		return &vfs.SyncError{Err: err}
	}
	return any.Sync()
}

// checkpoint is a checkpoint of one log.
func (l *Log) checkpoint() error {
	r, err := l.beginCheckpoint()
	if err != nil {
		return err
	}
	defer r.release()
	if err := r.sync(); err != nil {
		return err
	}
	if !r.finish() {
		return ErrClosed
	}
	return nil
}

func (l *Log) beginCheckpoint() (*checkpointRun, error) {
	l.checkpointing.Lock()
	l.write.Lock()
	defer l.write.Unlock()
	if l.write.closed || l.removed.Load() {
		l.checkpointing.Unlock()
		return nil, ErrClosed
	}
	r := &checkpointRun{log: l, end: l.endAt.Load(), bytes: l.sinceRecovery.Load(), cuts: l.write.cuts, active: l.active()}
	if !r.active.Acquire() {
		l.checkpointing.Unlock()
		return nil, ErrClosed
	}
	r.producers = l.snapshot(r.end)
	return r, nil
}

func (r *checkpointRun) release() {
	r.active.Release()
	r.log.checkpointing.Unlock()
}

// sync makes everything durable by itself.
func (r *checkpointRun) sync() error {
	l := r.log
	if err := l.storeSnapshot(r.producers); err != nil {
		return err
	}
	r.note()
	if err := l.Flush(); err != nil {
		return err
	}
	// The names too: of the snapshot, and of a new transaction index.
	err := errors.Join(r.indexes((*segment.Segment).SyncIndexes), l.store.opt.FS.SyncDir(l.path))
	if err != nil && !isNoSpace(err) {
		// Aborted transactions among it may be lost: no later sync says so.
		l.dir.pool.Poison(err)
	}
	return err
}

// write leaves the syncing to the caller.
func (r *checkpointRun) write() error {
	l := r.log
	if err := l.writeUnsynced(r.producers); err != nil {
		return err
	}
	r.note()
	return r.indexes((*segment.Segment).WriteIndexes)
}

func (r *checkpointRun) note() {
	r.log.write.Lock()
	defer r.log.write.Unlock()
	r.log.noteSnapshot(r.producers)
}

// indexes calls f with the segments whose indexes may have changed since the
// last recovery point.
func (r *checkpointRun) indexes(f func(*segment.Segment) error) error {
	return errors.Join(f(r.active), r.log.rolled(r.end, f))
}

// rolled calls f with the segments sealed since the last recovery point.
func (l *Log) rolled(end int64, f func(*segment.Segment) error) error {
	list := *l.segments.Load()
	from := l.recovery.Load()
	var errs []error
	for i, s := range list {
		if i+1 < len(list) && list[i+1].Base() >= from && s.Base() < end && s.Acquire() {
			errs = append(errs, f(s))
			s.Release()
		}
	}
	return errors.Join(errs...)
}

// finish raises the recovery point.
func (r *checkpointRun) finish() bool {
	l := r.log
	l.write.Lock()
	defer l.write.Unlock()
	if l.write.cuts != r.cuts {
		// Cut meanwhile: this end is no more, or it is another one.
		return false
	}
	l.recovery.Store(max(l.recovery.Load(), r.end))
	l.sinceRecovery.Add(-r.bytes)
	return true
}

// writeUnsynced is storeSnapshot without a sync. A new file that a power cut
// tears under its final name has a wrong checksum, and the snapshot before it is
// still there; one that stands there already is replaced as a whole.
func (l *Log) writeUnsynced(s snapshot) error {
	if s.there {
		return nil
	}
	l.snapshots.Lock()
	f, err := l.store.opt.FS.OpenFile(segment.FileName(l.path, s.offset, segment.SnapshotSuffix), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		_, err = f.WriteAt(s.state, 0)
		err = errors.Join(err, f.Close())
	}
	l.snapshots.Unlock()
	if errors.Is(err, os.ErrExist) {
		return l.storeSnapshot(s)
	}
	return err
}
