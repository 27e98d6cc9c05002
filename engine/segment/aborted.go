package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// The .txnindex is small (34 bytes per aborted transaction) and absent for
// most segments: it is held in memory once it was needed.

func (s *Segment) loadAborted() error {
	if s.abortedLoaded {
		return nil
	}
	if s.Detached() {
		return fmt.Errorf("segment %s: %w", s.Name(), ErrRetired)
	}
	name := s.txnName()
	data, err := vfs.ReadFile(s.opt.FS, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("transaction index: %w", err)
	}
	s.aborted, s.abortedDamage = s.aborted[:0], nil
	// Markers of this segment in their order; a torn entry of zeros is none.
	after := s.base - 1
	for len(data) > 0 {
		t, err := producer.DecodeAborted(data)
		if err == nil && (t.LastOffset <= after || t.LastOffset <= t.FirstOffset) {
			err = fmt.Errorf("a marker at offset %d of a transaction that began at %d", t.LastOffset, t.FirstOffset)
		}
		if err != nil {
			s.abortedDamage = &DamagedError{name, int64(len(s.aborted) * producer.AbortedSize),
				fmt.Sprintf("an aborted transaction with its marker above offset %d", after), err.Error()}
			break
		}
		s.aborted = append(s.aborted, t)
		after = t.LastOffset
		data = data[producer.AbortedSize:]
	}
	s.abortedInFile = len(s.aborted)
	s.abortedLoaded = true
	return nil
}

// AppendAborted adds a completed, aborted transaction to the transaction
// index. The file follows with SyncIndexes or at once; it can be rebuilt from
// the markers above the recovery point.
func (s *Segment) AppendAborted(t producer.AbortedTxn) error {
	s.stat.Lock()
	defer s.stat.Unlock()
	if err := s.loadAborted(); err != nil {
		return err
	}
	s.aborted = append(s.aborted, t)
	if s.abortedHeld {
		return nil
	}
	return s.writeAborted(s.abortedInFile, false)
}

// writeAborted writes the entries from index on; the caller holds stat.
func (s *Segment) writeAborted(from int, sync bool) error {
	name := s.txnName()
	f, err := s.opt.FS.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("transaction index: %w", err)
	}
	defer f.Close()
	var p []byte
	for _, t := range s.aborted[from:] {
		p = producer.AppendAborted(p, t)
	}
	if len(p) > 0 {
		if _, err := f.WriteAt(p, int64(from*producer.AbortedSize)); err != nil {
			return fmt.Errorf("transaction index %s: %w", name, err)
		}
	}
	if err := f.Truncate(int64(len(s.aborted) * producer.AbortedSize)); err != nil {
		return fmt.Errorf("transaction index %s: %w", name, err)
	}
	s.abortedInFile = len(s.aborted)
	if sync {
		return vfs.Sync(f)
	}
	return nil
}

func (s *Segment) syncAborted() error {
	s.stat.Lock()
	defer s.stat.Unlock()
	if !s.abortedLoaded || len(s.aborted) == 0 || s.Detached() {
		return nil
	}
	return s.writeAborted(s.abortedInFile, true)
}

// AbortedIntact says whether the transaction index is what was written; one
// that is not can be made again from the log by a recovery of the whole
// segment.
func (s *Segment) AbortedIntact() (bool, error) {
	s.stat.Lock()
	defer s.stat.Unlock()
	err := s.loadAborted()
	return s.abortedDamage == nil, err
}

// KeepAbortedBelow drops the entries whose marker is at or above offset.
func (s *Segment) KeepAbortedBelow(offset int64) error {
	s.stat.Lock()
	defer s.stat.Unlock()
	if err := s.loadAborted(); err != nil {
		return err
	}
	n := len(s.aborted)
	for n > 0 && s.aborted[n-1].LastOffset >= offset {
		n--
	}
	if n == len(s.aborted) && s.abortedDamage == nil {
		return nil
	}
	s.aborted = s.aborted[:n]
	s.abortedDamage = nil
	if s.abortedHeld {
		return nil
	}
	return s.writeAborted(n, true)
}

// RecoverAborted drops the entries whose marker is at or above offset and
// keeps the file as it is until StoreAborted: a recovery that does not get to
// its end must not have taken away what it cannot find again.
func (s *Segment) RecoverAborted(offset int64) error {
	s.stat.Lock()
	s.abortedHeld = true
	s.stat.Unlock()
	return s.KeepAbortedBelow(offset)
}

// StoreAborted replaces the transaction index by what a recovery found, if
// that is not what it holds. Durable when it returns.
func (s *Segment) StoreAborted() error {
	s.stat.Lock()
	defer s.stat.Unlock()
	s.abortedHeld = false
	if err := s.loadAborted(); err != nil {
		return err
	}
	name := s.txnName()
	there, err := vfs.ReadFile(s.opt.FS, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("transaction index: %w", err)
	}
	var p []byte
	for _, t := range s.aborted {
		p = producer.AppendAborted(p, t)
	}
	if !bytes.Equal(p, there) {
		if err := vfs.WriteFileAtomic(s.opt.FS, name, p); err != nil {
			return fmt.Errorf("transaction index: %w", err)
		}
	}
	s.abortedInFile = len(s.aborted)
	return nil
}

// Aborted appends to dst the aborted transactions that overlap [from, to) and
// says whether a later segment can hold more of them (TransactionIndex
// .collectAbortedTxns).
func (s *Segment) Aborted(dst []producer.AbortedTxn, from, to int64) (_ []producer.AbortedTxn, complete bool, err error) {
	s.stat.Lock()
	defer s.stat.Unlock()
	if err := s.loadAborted(); err != nil {
		return dst, false, err
	}
	if s.abortedDamage != nil {
		return dst, false, s.abortedDamage
	}
	for _, t := range s.aborted {
		if t.LastOffset >= from && t.FirstOffset < to {
			dst = append(dst, t)
		}
		if t.LastStableOffset >= to {
			return dst, true, nil
		}
	}
	return dst, false, nil
}
