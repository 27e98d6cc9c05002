package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math"

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
	// Adopted says that batches were taken by their headers alone: see Recover.
	Adopted bool
}

// Trust is how far recovery believes a segment's indexes. The zero value is
// not at all.
type Trust struct {
	// Position is that of the batch at which the scan has to begin.
	Position int64
	// Times says that the time index stays as it is, although there is no entry of the offset index to begin at: its entries lie below
	// the recovery point and are what the batches say. So most segments are that hold little.
	Times   bool
	entries int   // of the offset index that stay
	point   int64 // the recovery point: time index entries below it stay
}

// Trusted says where a recovery scan must begin so that everything from
// recoveryPoint on is checked: at the batch of the last index entry below it,
// if the index can be believed, or at the start of the file. It changes
// nothing.
//
// Entries below the recovery point were synced before it was written, so they
// are believed when they rise strictly, lie inside the file, and the last one
// points at an intact batch of just that offset.
func (s *Segment) Trusted(recoveryPoint int64) (Trust, error) {
	if recoveryPoint <= s.base {
		return Trust{}, nil
	}
	n, err := s.offsets.Check(s.size.Load())
	if err != nil {
		return Trust{}, err
	}
	place, offset, position, err := s.offsets.Below(n, recoveryPoint)
	if err != nil {
		return Trust{}, err
	}
	if place < 0 {
		if s.offsets.Len() > 0 {
			return Trust{}, nil
		}
		agree, err := s.timesAgree(recoveryPoint)
		return Trust{Times: agree}, err
	}
	intact := false
	err = s.scan(position, checkBatch, func(b batch.Batch, h Header) error {
		intact = h.LastOffset == offset
		return errStop
	}, nil)
	if err != nil && !errors.Is(err, errStop) || !intact {
		return Trust{}, ignore(err, errStop)
	}
	return Trust{Position: position, entries: place + 1, point: recoveryPoint}, nil
}

// timesAgree says whether each entry of the time index is of an offset below recoveryPoint and has the largest timestamp up to there.
func (s *Segment) timesAgree(recoveryPoint int64) (bool, error) {
	type entry struct{ timestamp, offset int64 }
	var entries []entry
	const most = 16 // the offset index would have entries beside so many
	err := s.times.Each(func(timestamp, offset int64) bool {
		entries = append(entries, entry{timestamp, offset})
		return offset < recoveryPoint && len(entries) <= most
	})
	if err != nil || len(entries) == 0 {
		return err == nil, err
	}
	if len(entries) < s.times.Len() || len(entries) > most || entries[len(entries)-1].offset >= recoveryPoint {
		return false, nil
	}
	largest := entry{-1, -1}
	err = s.walk(0, s.size.Load(), func(h Header) bool {
		if h.MaxTimestamp > largest.timestamp {
			largest = entry{h.MaxTimestamp, h.LastOffset}
		}
		if largest == entries[0] {
			entries = entries[1:]
		}
		return len(entries) > 0
	})
	var damage *DamagedError
	if errors.As(err, &damage) {
		return false, nil // Verify will say so
	}
	return err == nil && len(entries) == 0, err
}

// Rewind cuts the index entries that a scan from t makes again. Those below
// the recovery point stay: a recovery after the next crash relies on them.
func (s *Segment) Rewind(t Trust) error {
	if t.Position == 0 {
		keep := 0
		if t.Times {
			keep = s.times.Len() // what is behind the last whole entry goes
		}
		return errors.Join(s.offsets.Truncate(0), s.times.Truncate(keep))
	}
	n, err := s.times.Check()
	if err != nil {
		return err
	}
	return errors.Join(s.times.Truncate(n), s.times.KeepBelow(t.point), s.offsets.Truncate(t.entries))
}

// Verify checks the batches from t on until one reaches the offset until, and
// returns where the intact ones end. It changes nothing.
func (s *Segment) Verify(t Trust, until int64) (end int64, damage *DamagedError, err error) {
	out := Recovered{End: s.base}
	order := ordering{end: s.base}
	err = s.scan(t.Position, checkBatch, func(b batch.Batch, h Header) error {
		if damage := order.follow(s, h); damage != nil {
			out.End = order.end
			return damage
		}
		// One batch further than asked: only the next one shows that an offset
		// is not too high to be true.
		reached := out.End >= until
		out.End = order.end
		if reached {
			return errStop
		}
		return nil
	}, &out)
	errors.As(err, &out.Damage)
	if out.Damage != nil {
		err = nil
	}
	if out.End >= until {
		// What is wrong behind it is a torn write, or for Recover to say.
		out.Damage = nil
	}
	return out.End, out.Damage, ignore(err, errStop)
}

// ordering checks that offsets rise. Base offsets lie outside the checksum, so
// a batch that goes back may be right and the one in front of it wrong: if it
// fits behind the one before that, and that one left a gap, it is the damage.
type ordering struct {
	end    int64 // behind the last batch
	before int64 // behind the one in front of it
	last   Header
	seen   bool
}

// follow takes the next batch; on disorder end is where intact batches end.
func (o *ordering) follow(s *Segment, h Header) *DamagedError {
	if h.LastOffset-s.base > math.MaxInt32 {
		return s.disorder(h, o.end) // more than a segment can hold
	}
	if h.Magic == 2 && h.BaseOffset < o.end {
		if o.seen && h.BaseOffset >= o.before && o.last.BaseOffset != o.before {
			o.end = o.before
			return s.disorder(o.last, h.BaseOffset)
		}
		return s.disorder(h, o.end)
	}
	o.before, o.end = o.end, h.LastOffset+1
	if !o.seen && h.Position > 0 {
		o.before = h.BaseOffset // its index entry has the same offset: it is right
	}
	o.last, o.seen = h, true
	return nil
}

func (s *Segment) disorder(h Header, end int64) *DamagedError {
	return &DamagedError{s.Name(), h.Position, fmt.Sprintf("a batch that stands in order with offset %d", end),
		fmt.Sprintf("offsets %d to %d", h.BaseOffset, h.LastOffset)}
}

func ignore(err, sentinel error) error {
	if errors.Is(err, sentinel) {
		return nil
	}
	return err
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

// Recover checks every batch from position (a boundary, of Trusted)
// to the end of the file, rebuilds the index entries on the way and reports
// where intact batches end; the entries wait in memory for the next append or
// SyncIndexes. next is the offset the batch at position must not
// be below; offsets must rise. It changes no byte of the .log.
//
// foreign accepts batches whose checksum does not match as long as their
// headers chain exactly to the end of the file: a log that no Kafka or Gregor
// made (it has no index) is served as it was found. Such a segment never gets
// index files, for they would make it one of ours that must be intact; its
// entries stay in memory, and nothing may be appended to it.
func (s *Segment) Recover(position, next int64, foreign bool, visit Visitor) (Recovered, error) {
	out := Recovered{End: max(next, s.base)}
	s.offsets.Hold(true)
	s.times.Hold(true)
	s.resetForScan()
	order := ordering{end: out.End}
	step := func(b batch.Batch, h Header) error {
		if damage := order.follow(s, h); damage != nil {
			out.End = order.end
			return damage
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
			return s.adopt(out)
		}
	}
	s.offsets.Hold(false)
	s.times.Hold(false)
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

func (s *Segment) resetForScan() {
	s.sinceIndex = 0
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
func (s *Segment) adopt(out Recovered) (Recovered, error) {
	err := s.walk(out.Size, s.size.Load(), func(h Header) bool {
		out.End = h.LastOffset + 1
		return s.note(h.Position, h.Size, h.LastOffset, h.MaxTimestamp) == nil
	})
	out.Size, out.Damage, out.Adopted = s.size.Load(), nil, true
	s.stat.Lock()
	s.timesLoaded = true
	s.stat.Unlock()
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

// Headers calls f with the header of every batch, in order.
func (s *Segment) Headers(f func(Header)) error {
	return s.walk(0, s.size.Load(), func(h Header) bool { f(h); return true })
}

// Replay visits every batch from the one that holds from up to the offset to
// without checking checksums: to rebuild state from bytes that were checked
// before. Bytes that are no batch are an error; what lies behind to may be
// torn and is not looked at.
func (s *Segment) Replay(from, to int64, visit Visitor) error {
	h, err := s.Locate(from)
	if errors.Is(err, ErrNotHere) {
		return nil
	}
	if err != nil {
		return err
	}
	var out Recovered
	err = s.scan(h.Position, func(batch.Batch) error { return nil }, func(b batch.Batch, h Header) error {
		if h.BaseOffset < to {
			if err := visit(b, h); err != nil {
				return err
			}
		}
		if h.LastOffset >= to-1 {
			return errStop
		}
		return nil
	}, &out)
	if errors.Is(err, errStop) {
		return nil
	}
	if err != nil {
		return err
	}
	if out.Damage != nil {
		return out.Damage
	}
	return nil
}
