package segment

import (
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
	data, err := vfs.ReadFile(s.opt.FS, FileName(s.dir, s.base, TxnIndexSuffix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("transaction index: %w", err)
	}
	s.aborted = s.aborted[:0]
	for len(data) >= producer.AbortedSize {
		t, err := producer.DecodeAborted(data[:producer.AbortedSize])
		if err != nil {
			return &DamagedError{FileName(s.dir, s.base, TxnIndexSuffix), int64(len(s.aborted) * producer.AbortedSize), "an aborted transaction", err.Error()}
		}
		s.aborted = append(s.aborted, t)
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
	return s.writeAborted(s.abortedInFile, false)
}

// writeAborted writes the entries from index on; the caller holds stat.
func (s *Segment) writeAborted(from int, sync bool) error {
	name := FileName(s.dir, s.base, TxnIndexSuffix)
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
		return f.Sync()
	}
	return nil
}

func (s *Segment) syncAborted() error {
	s.stat.Lock()
	defer s.stat.Unlock()
	if !s.abortedLoaded || len(s.aborted) == 0 {
		return nil
	}
	return s.writeAborted(s.abortedInFile, true)
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
	if n == len(s.aborted) {
		return nil
	}
	s.aborted = s.aborted[:n]
	return s.writeAborted(n, true)
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
