package fsck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/gregor-broker/gregor/engine/batch"
)

// pieceBytes is how much of a log is checked in one go; a longer batch is a
// piece of its own.
const pieceBytes = 1 << 20

// magicAt is the position of the magic byte in a batch of every format, and
// oldHeader the size of the shortest header of the formats before batches.
const (
	magicAt   = 16
	oldHeader = 18
)

// span is one batch of a piece.
type span struct {
	from, to int64
	fault    *fault // what is wrong with it; nil for an intact one
}

// fault says why a batch is not intact.
type fault struct {
	kind Kind
	err  error
	diag diagnosis
}

// piece is a run of a log: batches whose headers lead to each other, or a hole
// where no header does.
type piece struct {
	from, to int64
	spans    []span
	hole     *fault
	err      error // the bytes cannot be read
	done     chan struct{}
}

// cutter walks the headers of a log and cuts it into pieces.
type cutter struct {
	w       *window
	p       []byte
	at      int64
	fetched int64
	ahead   int64 // size of the batch at aheadAt, where a plausible header was seen
	aheadAt int64
}

// fetch brings in what lies before end, at least 1 MiB at a time.
func (c *cutter) fetch(end int64) error {
	if end = min(end, c.w.size); end <= c.fetched {
		return nil
	}
	end = min(max(end, c.fetched+pieceBytes), c.w.size)
	err := c.w.ready(c.fetched, end-c.fetched)
	c.fetched = end
	return err
}

// next cuts the next piece off; nil at the end.
func (c *cutter) next() *piece {
	if c.at >= c.w.size {
		return nil
	}
	p := &piece{from: c.at, done: make(chan struct{})}
	var err error
	if fault := c.w.guard(func() { err = c.cut(p) }); fault != nil {
		err = fault
	}
	if err != nil {
		p.err = err
		c.at = c.w.size
	}
	p.to = c.at
	return p
}

func (c *cutter) cut(p *piece) error {
	for c.at < c.w.size && c.at-p.from < pieceBytes {
		size, err := c.look(c.at)
		if err != nil {
			return err
		}
		if size > 0 {
			p.spans = append(p.spans, span{from: c.at, to: c.at + size})
			c.at += size
			continue
		}
		if len(p.spans) > 0 {
			return nil // the hole is the next piece
		}
		from := c.at
		if c.at, err = c.resync(from); err != nil {
			return err
		}
		p.hole = &fault{kind: KindBatch, err: describeHole(c.p[from:c.at]), diag: diagnoseHole(c.p, from, c.at)}
		return nil
	}
	return nil
}

// look is the size of the batch at position, 0 when there is none that can be
// believed: its header leads to another one or to the end of the file, or its
// checksum is right.
func (c *cutter) look(position int64) (size int64, err error) {
	if err := c.fetch(position + batch.HeaderSize); err != nil {
		return 0, err
	}
	if size = c.ahead; size == 0 || position != c.aheadAt {
		size = headerSize(c.p[position:])
	}
	if size == 0 {
		return 0, nil
	}
	end := position + size
	if end == c.w.size {
		return size, c.fetch(end)
	}
	if err := c.fetch(end + batch.HeaderSize); err != nil {
		return 0, err
	}
	if c.ahead, c.aheadAt = plausibleSize(c.p[end:]), end; c.ahead > 0 || intact(c.p[position:end]) {
		return size, nil
	}
	return 0, nil
}

// headerSize is the size of the batch whose header is at p[0], 0 when that is
// no header or the batch is longer than p.
func headerSize(p []byte) int64 {
	if len(p) < oldHeader {
		return 0
	}
	size, err := batch.Peek(p)
	if err != nil && !errors.Is(err, batch.ErrOldMagic) || size > len(p) {
		return 0
	}
	return int64(size)
}

// plausible says whether p begins with what could be a batch of a log.
func plausible(p []byte) bool { return plausibleSize(p) > 0 }

// plausibleSize is the size of what p begins with if that could be a batch of a
// log, and else 0.
func plausibleSize(p []byte) int64 {
	size := headerSize(p)
	if size == 0 {
		return 0
	}
	if p[magicAt] != batch.Magic {
		if !intact(p[:size]) {
			return 0
		}
		return size
	}
	b := batch.Batch(p)
	const unknown = ^(batch.AttrCodecMask | batch.AttrLogAppendTime | batch.AttrTransactional | batch.AttrControl | batch.AttrDeleteHorizon)
	if b.BaseOffset() < 0 || b.LastOffsetDelta() < 0 || b.RecordCount() < 0 || int64(b.RecordCount()) > int64(b.LastOffsetDelta())+1 || b.Attributes()&unknown != 0 {
		return 0
	}
	return size
}

// intact says whether the bytes, which are one whole batch by its header, have
// the checksum that the header says.
func intact(p []byte) bool { return checkSum(p) == nil }

func checkSum(p []byte) error {
	if p[magicAt] == batch.Magic {
		return batch.Batch(p).CheckCRC()
	}
	want, got := binary.BigEndian.Uint32(p[12:]), crc32.ChecksumIEEE(p[magicAt:])
	if want != got {
		return fmt.Errorf("%w: message of format %d says %08x, its bytes have %08x", batch.ErrCRC, p[magicAt], want, got)
	}
	return nil
}

// resync finds the next intact batch behind position, or the end of the file.
// One that is followed by another header or the end is taken before one that is
// not, which may be a batch inside a record.
func (c *cutter) resync(position int64) (int64, error) {
	lax := c.w.size
	for at := position + 1; at+batch.HeaderSize <= c.w.size; {
		block := min(at+pieceBytes, c.w.size)
		if err := c.fetch(block); err != nil {
			return 0, err
		}
		i := bytes.IndexByte(c.p[at+magicAt:block], batch.Magic)
		if i < 0 {
			at = max(at+1, block-magicAt)
			continue
		}
		at += int64(i)
		if !plausible(c.p[at:]) || c.p[at+magicAt] != batch.Magic {
			at++
			continue
		}
		end := at + headerSize(c.p[at:])
		if err := c.fetch(end + batch.HeaderSize); err != nil {
			return 0, err
		}
		if intact(c.p[at:end]) {
			if end == c.w.size || plausible(c.p[end:]) {
				return at, nil
			}
			lax = min(lax, at)
		}
		at++
	}
	return lax, nil
}

// describeHole says what is at the start of bytes that are no batch.
func describeHole(p []byte) error {
	if i := bytes.IndexFunc(p, func(r rune) bool { return r != 0 }); i < 0 {
		return fmt.Errorf("%d bytes of zeros", len(p))
	}
	size, err := batch.Peek(p)
	switch {
	case len(p) < batch.HeaderSize:
		return fmt.Errorf("%d bytes, fewer than a header has", len(p))
	case err != nil && !errors.Is(err, batch.ErrOldMagic):
		return err
	case size > len(p):
		return fmt.Errorf("a header that says %d bytes where %d are left", size, len(p))
	}
	if err := checkSum(p[:size]); err != nil {
		return err
	}
	return fmt.Errorf("%d bytes that do not lead to a batch", len(p))
}
