package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// DamagedError says that bytes of a log are not what they must be.
type DamagedError struct {
	File     string
	Position int64
	Expected string
	Found    string
}

// Error names the file, the position and what was expected there.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged at position %d: expected %s, found %s", e.File, e.Position, e.Expected, e.Found)
}

// Header is what a walk knows of a batch without reading its records.
type Header struct {
	Position     int64
	Size         int64
	BaseOffset   int64
	LastOffset   int64
	MaxTimestamp int64
	LeaderEpoch  int32
	Magic        int8
	Control      bool
}

const (
	oldHeaderSize = 8 + 4 + 4 + 1 + 1 // offset, size, crc, magic, attributes: all of a v0 entry before the key
	magicAt       = 16
	firstLook     = 64 << 10
	longLook      = 1 << 20
	warmTail      = 4 << 20
)

// look gives f the bytes [position, position+n) of the .log, which must lie
// below the published size. They are valid during the call only.
func (s *Segment) look(position int64, n int, f func([]byte) error) error {
	m, mapping, err := s.mapped(position + int64(n))
	if err != nil {
		return err
	}
	if m == nil {
		file, err := s.handle()
		if err != nil {
			return err
		}
		buf := make([]byte, n)
		if k, err := file.ReadAt(buf, position); k < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("segment %s: read %d bytes at %d: %w", s.Name(), n, position, err)
		}
		return f(buf)
	}
	// What was appended a moment ago is in memory; older pages are brought in
	// by the kernel, in a system call, because a page fault taken in Go code
	// stops the processor it happens on.
	if s.size.Load()-position > warmTail || s.cold(position) {
		if p := s.cached(position, n); len(p) == n {
			return f(p)
		}
		if s.opt.Bring != nil && n <= firstLook {
			s.opt.Bring(s.Generation(), position, n, mapping)
		}
		if err := mapping.Populate(int(position), n); err != nil {
			return fmt.Errorf("segment %s: read %d bytes at %d: %w", s.Name(), n, position, err)
		}
	}
	var inner error
	if fault := vfs.Guard(func() { inner = f(m[position : position+int64(n)]) }); fault != nil {
		return fmt.Errorf("segment %s: read %d bytes at %d: %w", s.Name(), n, position, fault)
	}
	return inner
}

// cold says whether position may not be in memory although it is near the end:
// true for segments this process did not write.
func (s *Segment) cold(position int64) bool { return position < s.opened }

// cached returns up to n bytes at position from memory of the engine's own, or nil.
func (s *Segment) cached(position int64, n int) []byte {
	if s.opt.Cached == nil {
		return nil
	}
	return s.opt.Cached(s.Generation(), position, n)
}

// walk calls f for the header of every batch in [from, to), which must be
// batch boundaries below the published size, until f returns false.
func (s *Segment) walk(from, to int64, f func(Header) bool) error {
	position, window := from, int64(firstLook)
	for position < to {
		n := min(window, to-position)
		window = longLook
		if m := len(s.cached(position, int(n))); m >= batch.HeaderSize {
			n = int64(m) // a few headers are often all that is wanted
		}
		done, before := false, position
		err := s.look(position, int(n), func(p []byte) error {
			rest := p
			for {
				h, ok, err := parseHeader(rest)
				if err != nil {
					return s.damaged(position, err)
				}
				if !ok {
					return nil
				}
				h.Position = position
				if !f(h) {
					done = true
					return nil
				}
				position += h.Size
				if h.Size >= int64(len(rest)) {
					return nil
				}
				rest = rest[h.Size:]
			}
		})
		if err != nil || done {
			return err
		}
		if short := to - position; short > 0 && position == before {
			return &DamagedError{s.Name(), position, "a batch header", fmt.Sprintf("%d bytes before the end", short)}
		}
	}
	if position > to {
		return &DamagedError{s.Name(), to, "the end of a batch", fmt.Sprintf("a batch that ends at %d", position)}
	}
	return nil
}

func (s *Segment) damaged(position int64, err error) error {
	return &DamagedError{s.Name(), position, "a record batch", err.Error()}
}

// parseHeader reads the header at p[0]; ok is false when p is too short to
// hold it, which is no error: the caller looks again from there.
func parseHeader(p []byte) (h Header, ok bool, err error) {
	if len(p) < oldHeaderSize {
		return h, false, nil
	}
	if magic := int8(p[magicAt]); magic == 0 || magic == 1 {
		size := int64(int32(binary.BigEndian.Uint32(p[8:])))
		if size < 14 {
			return h, false, fmt.Errorf("a message of %d bytes", size)
		}
		// For compressed wrappers of magic 1 the offset is that of the last
		// inner message; for all others first and last are the same.
		offset := int64(binary.BigEndian.Uint64(p))
		h = Header{Size: size + batch.Overhead, BaseOffset: offset, LastOffset: offset, MaxTimestamp: -1, LeaderEpoch: -1, Magic: magic}
		if magic == 1 {
			if len(p) < oldHeaderSize+8 {
				return h, false, nil
			}
			h.MaxTimestamp = int64(binary.BigEndian.Uint64(p[oldHeaderSize:]))
		}
		return h, true, nil
	}
	if len(p) < batch.HeaderSize {
		return h, false, nil
	}
	size, err := batch.Peek(p)
	if err != nil {
		return h, false, err
	}
	b := batch.Batch(p[:batch.HeaderSize])
	if b.LastOffsetDelta() < 0 {
		return h, false, fmt.Errorf("a last offset delta of %d", b.LastOffsetDelta())
	}
	return Header{
		Size: int64(size), BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(), MaxTimestamp: b.MaxTimestamp(),
		LeaderEpoch: b.LeaderEpoch(), Magic: 2, Control: b.IsControl(),
	}, true, nil
}

// checkOldBatch verifies the CRC-32 (IEEE) of a magic 0 or 1 entry. Kafka 4
// still reads them; nothing writes them. The standard library's IEEE code is
// the faster one for short inputs.
func checkOldBatch(b batch.Batch) error {
	want := binary.BigEndian.Uint32(b[12:])
	if got := crc32.ChecksumIEEE(b[magicAt:]); got != want {
		return fmt.Errorf("crc %08x, computed %08x", want, got)
	}
	return nil
}

// HeaderAt reads the header of the batch that starts at position.
func (s *Segment) HeaderAt(position int64) (Header, error) {
	var h Header
	found := false
	err := s.walk(position, s.size.Load(), func(x Header) bool { h, found = x, true; return false })
	if err == nil && !found {
		err = &DamagedError{s.Name(), position, "a record batch", "the end of the file"}
	}
	return h, err
}

// ErrNotHere is returned by Locate when every batch of the segment lies below
// the offset: it is at the start of the next segment, if any.
var ErrNotHere = errors.New("offset is above the segment's last batch")

// Locate finds the first batch whose last offset is at or above offset.
func (s *Segment) Locate(offset int64) (Header, error) {
	entry, from, err := s.offsets.Lookup(offset)
	if err != nil {
		return Header{}, err
	}
	var h Header
	found := false
	err = s.walkFrom(entry, from, func(x Header) bool {
		if x.LastOffset >= offset {
			h, found = x, true
		}
		return !found
	})
	if err == nil && !found {
		err = ErrNotHere
	}
	return h, err
}

// walkFrom is walk from an index entry to the end of the segment. The batch at
// the entry's position must have the entry's offset; if it has not, the walk
// begins at the start of the file: an index is never believed over its log.
func (s *Segment) walkFrom(entry, position int64, f func(Header) bool) error {
	size := s.size.Load()
	if position > 0 && position < size {
		proven := false
		err := s.walk(position, size, func(h Header) bool {
			proven = proven || h.LastOffset == entry
			return proven && f(h)
		})
		var damage *DamagedError
		if proven || err != nil && !errors.As(err, &damage) {
			return err
		}
	}
	return s.walk(0, size, f)
}

// EndWithin returns a batch boundary at most limit that lies past first, the
// position of a batch, or first's own end when even that batch is longer. It
// asks the index, and walks headers only below the granularity of the index.
func (s *Segment) EndWithin(first Header, limit, bound int64) (int64, error) {
	if limit >= bound {
		return bound, nil
	}
	end := first.Position + first.Size
	if end >= limit {
		return end, nil
	}
	entry, floor, err := s.offsets.FloorPosition(limit)
	if err != nil {
		return 0, err
	}
	if floor > end && floor < bound {
		h, err := s.HeaderAt(floor)
		if err == nil && h.LastOffset == entry {
			return floor, nil
		}
	}
	err = s.walk(end, bound, func(h Header) bool {
		if h.Position+h.Size > limit {
			return false
		}
		end = h.Position + h.Size
		return true
	})
	return end, err
}

// Span returns the bytes [from, to) of the .log: a slice of the mapping, valid
// while the caller's pin is held, or a copy when the process has no mappings
// left. Touching a mapped span from Go can fault on a damaged disk; hand it to
// a system call, or touch it under vfs.Guard.
func (s *Segment) Span(from, to int64) ([]byte, error) {
	m, _, err := s.mapped(to)
	if err != nil {
		return nil, err
	}
	if m != nil {
		return m[from:to:to], nil
	}
	return s.Copy(make([]byte, to-from), from)
}

// Resident says whether the bytes [from, to) are in memory, as far as that can
// be told: a read that finds them there costs the disk nothing.
func (s *Segment) Resident(from, to int64) bool {
	m, mapping, err := s.mapped(to)
	return err != nil || m == nil || mapping.Resident(int(from), int(to-from))
}

// Copy reads len(dst) bytes from position into dst with a system call.
func (s *Segment) Copy(dst []byte, position int64) ([]byte, error) {
	f, err := s.handle()
	if err != nil {
		return nil, err
	}
	if n, err := f.ReadAt(dst, position); n < len(dst) {
		return nil, fmt.Errorf("segment %s: read %d bytes at %d: got %d: %w", s.Name(), len(dst), position, n, err)
	}
	return dst, nil
}

// ReadWritten fills p with the bytes at position, which were appended shortly ago: with a read of the file, where they
// cost no page fault.
func (s *Segment) ReadWritten(p []byte, position int64) error {
	f, err := s.handle()
	if err != nil {
		return err
	}
	if n, err := f.ReadAt(p, position); n < len(p) {
		return fmt.Errorf("segment %s: read %d bytes at %d: %w", s.Name(), len(p), position, err)
	}
	return nil
}

// BatchAt gives f the whole batch at h, verified; the bytes are valid during
// the call only.
func (s *Segment) BatchAt(h Header, f func(batch.Batch) error) error {
	return s.look(h.Position, int(h.Size), func(p []byte) error {
		if err := checkBatch(p); err != nil {
			return s.damaged(h.Position, err)
		}
		return f(p)
	})
}

// LookupTime returns the first batch whose max timestamp is at or above
// target, or ErrNotHere.
func (s *Segment) LookupTime(target int64) (Header, error) {
	ts, offset, err := s.times.Lookup(target)
	if err != nil {
		return Header{}, err
	}
	var entry, from int64
	if ts >= 0 {
		ok, err := s.proves(ts, offset)
		if ok {
			entry, from, err = s.offsets.Lookup(offset)
		}
		if err != nil {
			return Header{}, err
		}
	}
	var h Header
	found := false
	err = s.walkFrom(entry, from, func(x Header) bool {
		if x.MaxTimestamp >= target {
			h, found = x, true
		}
		return !found
	})
	if err == nil && !found {
		err = ErrNotHere
	}
	return h, err
}

// HeaderAfter reads the header of the batch behind h, or ErrNotHere.
func (s *Segment) HeaderAfter(h Header) (Header, error) {
	position := h.Position + h.Size
	if position >= s.size.Load() {
		return Header{}, ErrNotHere
	}
	return s.HeaderAt(position)
}

// End is the offset behind the last batch, found from the last index entry on,
// which must point at a batch of just its offset.
func (s *Segment) End() (int64, error) {
	offset, from, err := s.offsets.Lookup(1<<63 - 1)
	if err != nil {
		return 0, err
	}
	size, indexed := s.size.Load(), s.offsets.Len() > 0
	if indexed && from >= size {
		return 0, &DamagedError{s.Name(), from, fmt.Sprintf("the batch with offset %d, as its index says", offset), "the end of the file"}
	}
	end := s.base
	matches := !indexed
	err = s.walk(from, size, func(h Header) bool {
		matches = matches || h.Position == from && h.LastOffset == offset
		end = h.LastOffset + 1
		return matches
	})
	if err == nil && !matches {
		err = &DamagedError{s.Name(), from, fmt.Sprintf("the batch with last offset %d, as its index says", offset), "another batch"}
	}
	s.sinceIndex = size - from
	return end, err
}
