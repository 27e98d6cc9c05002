package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/index"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// What compaction needs of a segment: reading all of one without a mapping, and writing one beside the log that takes
// the place of others later.

// CreateCleaned makes the empty files of a segment that is not part of the log yet: NNN.log.cleaned and so on.
// What an earlier attempt left under those names is removed. Fill it with AppendBatches and AppendAborted, end
// with Complete.
func CreateCleaned(dir string, base int64, opt Options) (*Segment, error) {
	if err := RemoveCleaned(dir, base, opt.FS); err != nil {
		return nil, err
	}
	s, err := open(dir, base, 0, CleanedSuffix, opt)
	if err != nil {
		return nil, err
	}
	f, err := opt.FS.OpenFile(s.Name(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("segment %s: create: %w", s.Name(), err)
	}
	s.file, s.cleaned = f, true
	s.timesLoaded, s.abortedLoaded, s.abortedHeld = true, true, true
	if err := s.CreateIndexes(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// RemoveCleaned removes the files of a cleaned segment that has not taken the place of others: those that are called
// .swap already before those that say by their .cleaned that all of it counts for nothing.
func RemoveCleaned(dir string, base int64, disk vfs.FS) error {
	for _, suffix := range []string{SwapSuffix, CleanedSuffix} {
		found := false
		for _, kind := range []string{LogSuffix, IndexSuffix, TimeIndexSuffix, TxnIndexSuffix} {
			err := disk.Remove(FileName(dir, base, kind) + suffix)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			found = found || err == nil
		}
		if found && suffix == SwapSuffix {
			if err := disk.SyncDir(dir); err != nil {
				return &vfs.SyncError{Err: err}
			}
		}
	}
	return nil
}

// OpenSwapped opens a segment of size bytes whose files are still called .swap, to look at it.
func OpenSwapped(dir string, base, size int64, opt Options) (*Segment, error) {
	return open(dir, base, size, SwapSuffix, opt)
}

// EndAt is the offset behind the batch that ends at position, or the base offset at position 0.
func (s *Segment) EndAt(position int64) (int64, error) {
	if position == 0 {
		return s.base, nil
	}
	entry, from, err := s.offsets.FloorPosition(position - 1)
	if err != nil {
		return 0, err
	}
	end := s.base
	err = s.walkFrom(entry, from, func(h Header) bool {
		if h.Position < position {
			end = h.LastOffset + 1
		}
		return h.Position+h.Size < position
	})
	return end, err
}

// AppendBatches writes whole batches at the end, with one pwrite and the index entries of each.
func (s *Segment) AppendBatches(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	position := s.size.Load()
	if _, err := s.file.WriteAt(p, position); err != nil {
		return fmt.Errorf("segment %s: write %d bytes at %d: %w", s.Name(), len(p), position, err)
	}
	for at := position; len(p) > 0; {
		b, rest, err := batch.Next(p)
		if err != nil {
			return fmt.Errorf("segment %s: at %d: %w", s.Name(), at, err)
		}
		if err := s.note(at, int64(len(b)), b.LastOffset(), b.MaxTimestamp()); err != nil {
			return err
		}
		at, p = at+int64(len(b)), rest
		s.size.Store(at)
	}
	return nil
}

// Complete makes a cleaned segment durable, indexes and all, but not the names of its files, and gives it the
// modification time of what it replaces.
func (s *Segment) Complete(modified time.Time) error {
	if err := errors.Join(s.Seal(), s.Sync(), s.SyncIndexes()); err != nil {
		return err
	}
	s.stat.Lock()
	s.abortedHeld = false
	s.stat.Unlock()
	return vfs.SetModified(s.opt.FS, s.Name(), modified)
}

// MoveLog gives the .log of a cleaned segment another suffix behind its own: .swap, then none. Readers may be at
// work: whoever has to open the file finds it. The name is durable after the caller's SyncDir.
func (s *Segment) MoveLog(suffix string) error {
	s.files.Lock()
	defer s.files.Unlock()
	if err := s.opt.FS.Rename(s.Name(), FileName(s.dir, s.base, LogSuffix)+suffix); err != nil {
		return fmt.Errorf("segment %s: %w", s.Name(), err)
	}
	s.suffix.Store(&suffix)
	return nil
}

// MoveIndexes does to the indexes what MoveLog does to the .log.
func (s *Segment) MoveIndexes(suffix string) error {
	s.stat.Lock()
	defer s.stat.Unlock()
	to := FileName(s.dir, s.base, TxnIndexSuffix) + suffix
	if err := s.opt.FS.Rename(s.txnName(), to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("segment %s: %w", s.Name(), err)
	}
	s.txnSuffix = suffix
	return errors.Join(
		s.offsets.Move(FileName(s.dir, s.base, IndexSuffix)+suffix),
		s.times.Move(FileName(s.dir, s.base, TimeIndexSuffix)+suffix))
}

// IndexSizes are the bytes of the offset and the time index.
func (s *Segment) IndexSizes() (offsets, times int64) {
	return int64(s.offsets.Len()) * index.OffsetWidth, int64(s.times.Len()) * index.TimeWidth
}

// Stream gives f every batch from the one at position on, in order, with its header, until f returns false; the
// bytes are valid during the call. They are read with system calls into buf, which is grown for a larger batch and
// comes back for the next use. next is told how many bytes are about to be read and may refuse. The checksum is
// verified before f sees a batch; bytes that are no intact batch are a DamagedError. The caller has the segment
// pinned, and nobody appends to it.
func (s *Segment) Stream(position int64, buf []byte, next func(n int64) error, f func(b batch.Batch, h Header) (bool, error)) ([]byte, error) {
	size := s.size.Load()
	for position < size {
		n := min(int64(len(buf)), size-position)
		if err := next(n); err != nil {
			return buf, err
		}
		p, err := s.Copy(buf[:n], position)
		if err != nil {
			return buf, err
		}
		before := position
		for {
			h, ok, err := parseHeader(p)
			if err != nil {
				return buf, s.damaged(position, err)
			}
			if !ok || h.Size > int64(len(p)) {
				need := max(h.Size, batch.HeaderSize)
				if position+need > size {
					return buf, s.damaged(position, fmt.Errorf("%d bytes before the end of the file, %d needed", size-position, need))
				}
				if position == before {
					buf = make([]byte, need)
				}
				break
			}
			h.Position = position
			b := batch.Batch(p[:h.Size:h.Size])
			if err := checkBatch(b); err != nil {
				return buf, s.damaged(position, err)
			}
			if more, err := f(b, h); err != nil || !more {
				return buf, err
			}
			position += h.Size
			if p = p[h.Size:]; len(p) == 0 {
				break
			}
		}
	}
	return buf, nil
}
