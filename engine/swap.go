package engine

import (
	"errors"
	"os"
	"slices"

	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// swap is an exchange of segments whose files have not all got their names yet.
type swap struct {
	cleaned *segment.Segment
	old     []*segment.Segment
	done    int // steps
}

// replace puts a cleaned segment, which is complete, in the place of those it was made from
// (LocalLog.replaceSegments). Every step is durable before the next one begins, so that after a crash finishSwaps
// finds either the old segments whole or the new one:
//
//	the names of the .cleaned files             a .cleaned file is no part of the log: it is removed
//	.cleaned becomes .swap, the .log last       as long as one .cleaned is left, so are the .swap files
//	the log's list of segments has the new one
//	the old files get .deleted                  .log.swap is whole; the old segments in its range are removed
//	.log.swap becomes .log                      as before
//	the indexes lose their .swap                they do at the start
//
// Readers find the new segment from the third step on, whatever its files are called; those who have pinned an old
// one keep it until they let go.
func (l *Log) replace(cleaned *segment.Segment, old []*segment.Segment) error {
	sync := func() error { return l.store.opt.FS.SyncDir(l.path) }
	err := sync()
	if err == nil {
		err = cleaned.MoveIndexes(segment.SwapSuffix)
	}
	if err == nil {
		err = cleaned.MoveLog(segment.SwapSuffix)
	}
	if err != nil {
		// As long as the .log.cleaned is there all of it counts for nothing.
		cleaned.Retire(nil)
		err = l.cleaningFailed(err)
		if l.dir.failed() != nil {
			return err
		}
		return errors.Join(err, segment.RemoveCleaned(l.path, cleaned.Base(), l.store.opt.FS))
	}
	if err := sync(); err != nil {
		return l.cleaningFailed(&vfs.SyncError{Err: err})
	}
	l.write.Lock()
	list := *l.segments.Load()
	at := slices.Index(list, old[0])
	list = slices.Concat(list[:at], []*segment.Segment{cleaned}, list[at+len(old):])
	l.segments.Store(&list)
	l.write.Unlock()
	l.unswapped = &swap{cleaned: cleaned, old: old}
	return l.finishSwap()
}

// finishSwap gives the files of exchanged segments their final names. When the disk is full it goes on from
// where it was the next time. The cleaning lock is held.
func (l *Log) finishSwap() error {
	w := l.unswapped
	if w == nil {
		return nil
	}
	steps := []func() error{
		func() error {
			var errs []error
			for _, s := range w.old {
				errs = append(errs, s.Rename(segment.DeletedSuffix))
			}
			return errors.Join(errs...)
		},
		func() error { return w.cleaned.MoveLog("") },
		func() error { return w.cleaned.MoveIndexes("") },
	}
	for ; w.done < len(steps); w.done++ {
		if err := steps[w.done](); err != nil {
			return l.cleaningFailed(err)
		}
		if err := l.store.opt.FS.SyncDir(l.path); err != nil {
			return l.cleaningFailed(&vfs.SyncError{Err: err})
		}
	}
	l.unswapped = nil
	for i, s := range w.old {
		base, path := s.Base(), l.path
		if i > 0 {
			l.dropMerged(base)
		}
		l.store.opt.Logger.Debug("segment replaced", "log", l.name, "base", base, "bytes", s.Size(), "by", w.cleaned.Base())
		s.Retire(func() {
			l.store.jobs.after(l.config.Load().FileDeleteDelayMs, func() { l.store.removeDeleted(path, base) })
		})
	}
	l.idle(w.cleaned)
	return nil
}

// forgetSwap lets go of what an unfinished exchange holds, when the log itself is let go of.
func (l *Log) forgetSwap() {
	if w := l.unswapped; w != nil {
		l.unswapped = nil
		for _, s := range w.old {
			s.Detach()
			s.Retire(nil)
		}
	}
}

// cleaningFailed is an error of replacing segments: as writeFailed, without the append lock.
func (l *Log) cleaningFailed(err error) error {
	if !isNoSpace(err) {
		l.dir.pool.Poison(err)
	}
	return l.storage(err)
}

// idle gives back the handles of a segment that nobody reads.
func (l *Log) idle(s *segment.Segment) {
	if err := s.Idle(); err != nil {
		l.store.opt.Logger.Warn("cannot give back a segment's handles", "segment", s.Name(), "error", err)
	}
}

// dropMerged removes the producer snapshot of a segment that is no more, unless a recovery could still begin at it.
func (l *Log) dropMerged(base int64) {
	stored, _ := l.dir.offsets(l.name)
	l.write.Lock()
	defer l.write.Unlock()
	if base >= stored || base == l.write.snapshotAt {
		return // it goes with the next checkpoint
	}
	name := segment.FileName(l.path, base, segment.SnapshotSuffix)
	if err := l.store.opt.FS.Rename(name, name+segment.DeletedSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		l.store.opt.Logger.Warn("cannot remove an old producer snapshot", "file", name, "error", err)
	}
}

// storeCleaned writes cleaner-offset-checkpoint.
func (d *directory) storeCleaned() error {
	d.files.Lock()
	defer d.files.Unlock()
	return d.storeCleanedLocked()
}

func (d *directory) storeCleanedLocked() error {
	return d.storeOffsets(cleanerFile, d.files.cleaned, func(l *Log) (int64, bool) {
		offset, ok := d.files.cleaned[l.name]
		return offset, ok
	})
}

// storeCleanedTo notes, durably, that the log is clean below offset.
func (d *directory) storeCleanedTo(l *Log, offset int64) error {
	d.files.Lock()
	defer d.files.Unlock()
	before, known := d.files.cleaned[l.name]
	if known && before == offset {
		return nil
	}
	d.files.cleaned[l.name] = offset
	err := d.storeCleanedLocked()
	if err != nil {
		if d.files.cleaned[l.name] = before; !known {
			delete(d.files.cleaned, l.name)
		}
	}
	return err
}

// lowerCleaned notes, durably, that nothing at or above offset is clean any more.
func (d *directory) lowerCleaned(l *Log, offset int64) error {
	if d.cleanedTo(l.name) <= offset {
		return nil
	}
	return d.storeCleanedTo(l, offset)
}

// cleanedTo is the offset below which a log is clean, -1 for unknown.
func (d *directory) cleanedTo(name string) int64 {
	d.files.Lock()
	defer d.files.Unlock()
	if offset, ok := d.files.cleaned[name]; ok {
		return offset
	}
	return -1
}

// trustCleaned drops what is known of a log that ends below it: what will be written there is not clean.
func (d *directory) trustCleaned(name string, end int64) {
	d.files.Lock()
	defer d.files.Unlock()
	if offset, ok := d.files.cleaned[name]; ok && offset > end {
		delete(d.files.cleaned, name)
	}
}
