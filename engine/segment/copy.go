package segment

import (
	"errors"
	"fmt"
	"math"

	"github.com/gregor-broker/gregor/engine/index"
	"github.com/gregor-broker/gregor/engine/producer"
)

// What moving a log to another directory needs of a segment: one that is filled with the batches of another, and found
// under another name when the directory that holds it is renamed.

// AppendCopied writes whole batches at the end of the segment, with one pwrite and the index entries of each; headers are
// theirs, in order. Unlike AppendBatches it takes batches of any magic.
func (s *Segment) AppendCopied(p []byte, headers []Header) error {
	if len(p) == 0 {
		return nil
	}
	f, err := s.handle()
	if err != nil {
		return err
	}
	position := s.size.Load()
	if _, err := f.WriteAt(p, position); err != nil {
		return fmt.Errorf("segment %s: write %d bytes at %d: %w", s.Name(), len(p), position, err)
	}
	for _, h := range headers {
		if err := s.note(position, h.Size, h.LastOffset, h.MaxTimestamp); err != nil {
			return err
		}
		position += h.Size
	}
	s.size.Store(position)
	return nil
}

// AllAborted lists the aborted transactions of the segment.
func (s *Segment) AllAborted() (list []producer.AbortedTxn, err error) {
	list, _, err = s.Aborted(nil, 0, math.MaxInt64)
	return list, err
}

// SetAborted replaces the aborted transactions, durably.
func (s *Segment) SetAborted(list []producer.AbortedTxn) error {
	s.stat.Lock()
	s.aborted, s.abortedDamage, s.abortedLoaded = list, nil, true
	s.stat.Unlock()
	return s.StoreAborted()
}

// Rebase says that the directory of the segment's files has another name from now on. Nobody else knows the segment yet.
func (s *Segment) Rebase(dir string) {
	s.dir = dir
	s.offsets.Rebase(FileName(dir, s.base, IndexSuffix))
	s.times.Rebase(FileName(dir, s.base, TimeIndexSuffix))
}

// IsGone says that an error comes from reading a segment that was deleted or replaced, or whose log was let go of.
func IsGone(err error) bool { return errors.Is(err, ErrRetired) || errors.Is(err, index.ErrDetached) }
