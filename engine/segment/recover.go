package segment

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/engine/batch"
)

// Visitor sees every intact batch of a recovery or replay scan, in order. The
// bytes are valid during the call only.
type Visitor func(b batch.Batch, h Header) error

// Recovered is the outcome of a recovery scan.
type Recovered struct {
	// Size is the position behind the last intact batch and End the offset
	// behind it (the base for none).
	Size int64
	End  int64
	// Damage describes the first bytes that are no intact batch, nil when the
	// file ends with one.
	Damage *DamagedError
	// IntactBehind says that at least one whole batch with a valid checksum
	// stands behind the damage: this may be more than a torn write.
	IntactBehind bool
}

// TrustedPosition returns where a recovery scan must begin so that everything
// from recoveryPoint on is checked: the batch of the last index entry below
// it, if the index can be believed, or the start of the file. Index entries
// from there on are cut and made again by the scan.
//
// Entries below the recovery point were synced before it was written, so they
// are believed when they rise strictly, lie inside the file, and the last one
// points at an intact batch of just that offset. If any of this fails the
// whole index is dropped and the scan rebuilds it.
func (s *Segment) TrustedPosition(recoveryPoint int64) (int64, error) {
	drop := func() (int64, error) {
		return 0, errors.Join(s.offsets.Truncate(0), s.times.Truncate(0))
	}
	if recoveryPoint <= s.base {
		return drop()
	}
	size := s.size.Load()
	n, err := s.offsets.Check(size)
	if err != nil {
		return 0, err
	}
	if n < s.offsets.Len() {
		if err := s.offsets.Truncate(n); err != nil {
			return 0, err
		}
	}
	if err := s.offsets.KeepBelow(recoveryPoint); err != nil {
		return 0, err
	}
	if s.offsets.Len() == 0 {
		return drop()
	}
	offset, position, err := s.offsets.Lookup(recoveryPoint)
	if err != nil {
		return 0, err
	}
	intact := false
	err = s.scan(position, checkBatch, func(b batch.Batch, h Header) error {
		intact = h.LastOffset == offset
		return errStop
	}, nil)
	if err != nil && !errors.Is(err, errStop) {
		return 0, err
	}
	if !intact {
		return drop()
	}
	if n, err = s.times.Check(); err != nil {
		return 0, err
	}
	if err := errors.Join(s.times.Truncate(n), s.times.KeepBelow(offset), s.offsets.KeepBelow(offset)); err != nil {
		return 0, err
	}
	return position, nil
}

var errStop = errors.New("stop")

// scan visits intact batches from position to the end of the file. At the
// first bytes that are none it fills out and returns nil.
func (s *Segment) scan(position int64, check func(batch.Batch) error, visit Visitor, out *Recovered) error {
	size := s.size.Load()
	window := int64(firstLook)
	for position < size {
		n := min(window, size-position)
		window = longLook
		var need int64
		var bad error
		err := s.look(position, int(n), func(p []byte) error {
			for len(p) > 0 {
				h, ok, err := parseHeader(p)
				if err != nil {
					bad = err
					return nil
				}
				if !ok {
					need = batch.HeaderSize
					return nil
				}
				if h.Size > int64(len(p)) {
					need = h.Size
					return nil
				}
				h.Position = position
				b := batch.Batch(p[:h.Size])
				if err := check(b); err != nil {
					bad = err
					return nil
				}
				if err := visit(b, h); err != nil {
					return err
				}
				position += h.Size
				p = p[h.Size:]
			}
			return nil
		})
		if err != nil {
			return err
		}
		if bad == nil && need > 0 {
			if position+need <= size {
				window = max(longLook, need)
				continue
			}
			bad = fmt.Errorf("%d bytes before the end of the file, %d needed", size-position, need)
		}
		if bad != nil {
			if out != nil {
				out.Damage = &DamagedError{s.Name(), position, "an intact record batch", bad.Error()}
			}
			break
		}
	}
	if out != nil {
		out.Size = position
	}
	return nil
}

// Recover checks every batch from position (a boundary, of TrustedPosition)
// to the end of the file, rebuilds the index entries on the way and reports
// where intact batches end. next is the offset the batch at position must not
// be below; offsets must rise. It changes no byte of the .log.
//
// foreign accepts batches whose checksum does not match as long as their
// headers chain exactly to the end of the file: a log that no Kafka or Gregor
// made (it has no index) is served as it was found.
func (s *Segment) Recover(position, next int64, foreign bool, visit Visitor) (Recovered, error) {
	out := Recovered{End: max(next, s.base)}
	s.resetForScan(position)
	step := func(b batch.Batch, h Header) error {
		if h.Magic == 2 && h.BaseOffset < out.End {
			return &DamagedError{s.Name(), h.Position, fmt.Sprintf("a batch at offset %d or above", out.End),
				fmt.Sprintf("offsets %d to %d", h.BaseOffset, h.LastOffset)}
		}
		if visit != nil {
			if err := visit(b, h); err != nil {
				return err
			}
		}
		out.End = h.LastOffset + 1
		return s.note(h.Position, h.Size, h.LastOffset, h.MaxTimestamp)
	}
	err := s.scan(position, checkBatch, step, &out)
	var disorder *DamagedError
	if errors.As(err, &disorder) {
		out.Damage, out.Size, err = disorder, disorder.Position, nil
	}
	if err != nil {
		return out, err
	}
	if out.Damage != nil && foreign {
		if ok, err := s.chains(out.Size); err != nil {
			return out, err
		} else if ok {
			return s.adopt(out, visit)
		}
	}
	if out.Damage != nil {
		if out.IntactBehind, err = s.intactBehind(out.Size, out.End); err != nil {
			return out, err
		}
	}
	s.stat.Lock()
	s.timesLoaded = true
	s.stat.Unlock()
	return out, nil
}

func (s *Segment) resetForScan(position int64) {
	s.sinceIndex = 0
	if position > 0 {
		// The batch at a trusted position has just lost its index entry; make
		// it again at once.
		s.sinceIndex = s.opt.IndexIntervalBytes + 1
	}
	s.stat.Lock()
	defer s.stat.Unlock()
	s.maxTimestamp, s.offsetOfMax = -1, -1
	if ts, at, ok, err := s.times.Last(); err == nil && ok {
		s.maxTimestamp, s.offsetOfMax = ts, at
	}
}

// chains says whether plausible headers lead from position to exactly the end.
func (s *Segment) chains(position int64) (bool, error) {
	err := s.walk(position, s.size.Load(), func(Header) bool { return true })
	var damage *DamagedError
	if errors.As(err, &damage) {
		return false, nil
	}
	return err == nil, err
}

// adopt takes the rest of a foreign segment by its headers alone.
func (s *Segment) adopt(out Recovered, visit Visitor) (Recovered, error) {
	err := s.walk(out.Size, s.size.Load(), func(h Header) bool {
		out.End = h.LastOffset + 1
		return s.note(h.Position, h.Size, h.LastOffset, h.MaxTimestamp) == nil
	})
	out.Size, out.Damage = s.size.Load(), nil
	return out, err
}

// searchLimit bounds how far behind a damage intact batches are looked for.
const searchLimit = 64 << 20

// intactBehind looks for a whole batch with a valid checksum behind the
// damage, at any byte position: first where the damaged header points, then
// wherever the magic byte of a version 2 batch could be. Its offset must be one
// that could have followed end, which keeps chance finds away.
func (s *Segment) intactBehind(position, end int64) (bool, error) {
	size := min(s.size.Load(), position+searchLimit)
	if size-position <= batch.HeaderSize {
		return false, nil
	}
	found := false
	err := s.look(position, int(size-position), func(p []byte) error {
		if h, ok, err := parseHeader(p); err == nil && ok && h.Size < int64(len(p)) {
			if next, _, err := batch.Next(p[h.Size:]); err == nil && couldFollow(next, end) && next.CheckCRC() == nil {
				found = true
				return nil
			}
		}
		for at := 1; at+batch.HeaderSize <= len(p); {
			i := bytes.IndexByte(p[at+magicAt:], 2)
			if i < 0 {
				return nil
			}
			at += i
			if at+batch.HeaderSize > len(p) {
				return nil
			}
			if b, _, err := batch.Next(p[at:]); err == nil && couldFollow(b, end) && b.CheckCRC() == nil {
				found = true
				return nil
			}
			at++
		}
		return nil
	})
	return found, err
}

func couldFollow(b batch.Batch, end int64) bool {
	return b.BaseOffset() >= end && b.BaseOffset()-end < 1<<32
}

// Replay visits every batch from the one that holds offset to the end of the
// segment without checking checksums: to rebuild state from bytes that were
// checked before. Bytes that are no batch are an error.
func (s *Segment) Replay(offset int64, visit Visitor) error {
	h, err := s.Locate(offset)
	if errors.Is(err, ErrNotHere) {
		return nil
	}
	if err != nil {
		return err
	}
	var out Recovered
	if err := s.scan(h.Position, func(batch.Batch) error { return nil }, visit, &out); err != nil {
		return err
	}
	if out.Damage != nil {
		return out.Damage
	}
	return nil
}
