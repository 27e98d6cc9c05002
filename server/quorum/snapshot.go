package quorum

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// appended counts what a snapshot will save the next start from reading, and begins one when it is enough. Under rounds.
func (q *Quorum) appended(n int64) {
	q.backlog += n
	if q.backlog >= q.c.SnapshotBytes {
		q.snapshotSoon()
	} else if q.snapshots.timer == nil && q.c.SnapshotInterval > 0 {
		q.snapshots.timer = q.c.Clock.AfterFunc(q.c.SnapshotInterval, func() {
			q.rounds.Lock()
			defer q.rounds.Unlock()
			if !q.closed {
				q.snapshotSoon()
			}
		})
	}
}

// snapshotSoon writes a snapshot in the background. Under rounds.
func (q *Quorum) snapshotSoon() {
	if !q.snapshots.running.CompareAndSwap(false, true) {
		return
	}
	q.backlog = 0
	if q.snapshots.timer != nil {
		q.snapshots.timer.Stop()
		q.snapshots.timer = nil
	}
	q.snapshots.wait.Go(func() {
		defer q.snapshots.running.Store(false)
		if err := q.Snapshot(); err != nil {
			q.c.Logger.Error("writing a snapshot of the metadata failed; it is tried again after as many records", "error", err)
		}
	})
}

// Snapshot writes a snapshot of the current image, as Kafka does after metadata.log.max.record.bytes.between.snapshots, and drops
// snapshots and records beyond metadata.max.retention. Without a change since the newest snapshot it does nothing. An error leaves
// the older snapshots and the whole log in place.
func (q *Quorum) Snapshot() error {
	q.snapshots.mu.Lock()
	defer q.snapshots.mu.Unlock()
	p := q.published.Load()
	id := snapshotID{p.image.Offset + 1, p.image.Epoch}
	if n := len(q.snapshots.list); n == 0 || q.snapshots.list[n-1] != id {
		head := []meta.ControlRecord{&meta.SnapshotHeaderRecord{LastContainedLogTimestamp: p.timestamp}}
		if q.kraft > 0 {
			head = append(head, &meta.KRaftVersionRecord{KRaftVersion: q.kraft}, &meta.VotersRecord{Voters: q.voters})
		}
		name := filepath.Join(q.c.logPath(), id.String())
		now := func() int64 { return q.c.Clock.Now().UnixMilli() }
		size, err := writeSnapshot(q.fs, name+partSuffix, id, now, head, p.image.Records(), p.image.MetadataVersion())
		if err == nil {
			err = q.fs.Rename(name+partSuffix, name+checkpointSuffix)
		}
		if err == nil {
			err = q.fs.SyncDir(q.c.logPath())
		}
		if err != nil {
			return errors.Join(err, ignoreMissing(q.fs.Remove(name+partSuffix)))
		}
		q.snapshots.list = append(q.snapshots.list, id)
		q.c.Logger.Info("wrote a snapshot of the metadata", "file", name+checkpointSuffix, "bytes", size)
	}
	return q.retain()
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// retain drops the oldest snapshots, and the log below the next, while the size or their age is over the limits; never the newest
// (KafkaRaftLog.maybeClean). Under snapshots.mu.
func (q *Quorum) retain() error {
	path := q.c.logPath()
	sizes := make([]int64, len(q.snapshots.list))
	total := q.log.Size()
	for i, id := range q.snapshots.list {
		info, err := q.fs.Stat(filepath.Join(path, id.String()+checkpointSuffix))
		if err != nil {
			return fmt.Errorf("size of a snapshot: %w", err)
		}
		sizes[i] = info.Size()
		total += sizes[i]
	}
	now := q.c.Clock.Now().UnixMilli()
	for len(q.snapshots.list) > 1 {
		oldest, next := q.snapshots.list[0], q.snapshots.list[1]
		name := filepath.Join(path, oldest.String()+checkpointSuffix)
		over := q.c.RetentionBytes >= 0 && total > q.c.RetentionBytes
		if !over && q.c.Retention >= 0 {
			timestamp, err := snapshotTimestamp(q.fs, name)
			if err != nil {
				return err
			}
			over = now-timestamp > q.c.Retention.Milliseconds()
		}
		if !over {
			return nil
		}
		// The log goes first: a snapshot that the log does not reach back to is of no use, but does no harm either.
		before := q.log.Size()
		if err := q.log.DeletePrefix(next.end); err != nil {
			return fmt.Errorf("drop the metadata log below offset %d: %w", next.end, err)
		}
		if err := ignoreMissing(q.fs.Remove(name)); err != nil {
			return fmt.Errorf("drop a snapshot: %w", err)
		}
		total -= sizes[0] + before - q.log.Size()
		sizes = sizes[1:]
		q.snapshots.list = slices.Delete(q.snapshots.list, 0, 1)
		q.c.Logger.Info("dropped an old snapshot of the metadata", "file", name, "log.start", next.end)
	}
	return nil
}

// snapshotTimestamp reads LastContainedLogTimestamp from the head of a snapshot.
func snapshotTimestamp(f vfs.FS, name string) (int64, error) {
	r, err := openBatchFile(f, name)
	if err != nil {
		return 0, err
	}
	defer r.close()
	s := newMetadataState()
	b, err := r.next()
	if err == nil {
		err = s.apply(b, 0, 0)
	}
	if err == nil && s.header == nil {
		err = errSnapshot
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("snapshot %s: %w", name, err)
	}
	if s.header == nil {
		return 0, fmt.Errorf("snapshot %s: %w: it is empty", name, errSnapshot)
	}
	return s.header.LastContainedLogTimestamp, nil
}
