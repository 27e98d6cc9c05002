package index

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// OffsetWidth is the size of one .index entry: a relative offset and a
// position, both int32.
const OffsetWidth = 8

// Offsets is the .index of one segment: entries of (last offset of a batch,
// position of that batch in the .log). One goroutine may append while others
// look up.
type Offsets struct {
	table
	base int64
}

// OpenOffsets opens the .index file name of the segment with that base offset.
// The file may be missing; it is created by Create or the first write. maxBytes
// is segment.index.bytes.
func OpenOffsets(f vfs.FS, name string, base, maxBytes int64) (*Offsets, error) {
	x := &Offsets{base: base}
	if err := x.open(f, name, OffsetWidth, maxBytes); err != nil {
		return nil, err
	}
	return x, nil
}

// Append adds an entry for the batch at position whose last offset is given.
// Offsets that do not fit an int32 relative to the base are an error: the
// segment should have been rolled.
func (x *Offsets) Append(lastOffset int64, position int64) error {
	relative := lastOffset - x.base
	if relative < 0 || relative > math.MaxInt32 || position > math.MaxInt32 {
		return fmt.Errorf("index %s: offset %d at position %d does not fit an entry of base %d", x.name, lastOffset, position, x.base)
	}
	var e [OffsetWidth]byte
	binary.BigEndian.PutUint32(e[0:], uint32(relative))
	binary.BigEndian.PutUint32(e[4:], uint32(position))
	return x.append(e[:])
}

func (x *Offsets) decode(e []byte) (offset, position int64) {
	return x.base + int64(int32(binary.BigEndian.Uint32(e))), int64(int32(binary.BigEndian.Uint32(e[4:])))
}

// Lookup returns the greatest entry whose offset is at most target, or the
// segment's base at position zero when there is none.
func (x *Offsets) Lookup(target int64) (offset, position int64, err error) {
	offset, position = x.base, 0
	_, err = x.search(
		func(e []byte) bool { o, _ := x.decode(e); return o <= target },
		func(e []byte) { offset, position = x.decode(e) })
	return offset, position, err
}

// FloorPosition returns the entry with the greatest position that is at most
// limit, or the segment's base at position zero.
func (x *Offsets) FloorPosition(limit int64) (offset, position int64, err error) {
	offset = x.base
	_, err = x.search(
		func(e []byte) bool { _, p := x.decode(e); return p <= limit },
		func(e []byte) { offset, position = x.decode(e) })
	return offset, position, err
}

// Below finds, among the first entries, the greatest one whose offset is below
// offset: its place, or -1 when there is none.
func (x *Offsets) Below(first int, below int64) (place int, offset, position int64, err error) {
	n, err := x.searchFirst(first,
		func(e []byte) bool { o, _ := x.decode(e); return o < below },
		func(e []byte) { offset, position = x.decode(e) })
	return n - 1, offset, position, err
}

// KeepBelow cuts every entry whose offset is at or above offset.
func (x *Offsets) KeepBelow(offset int64) error {
	n, err := x.search(func(e []byte) bool { o, _ := x.decode(e); return o < offset }, func([]byte) {})
	if err != nil {
		return err
	}
	return x.Truncate(n)
}

// Check walks the entries and returns how many leading ones are plausible:
// offsets and positions strictly rising (a first entry at position zero is
// legal) and positions below logSize.
func (x *Offsets) Check(logSize int64) (valid int, err error) {
	lastOffset, lastPosition := int64(math.MinInt64), int64(-1)
	err = x.each(func(i int, e []byte) bool {
		o, p := x.decode(e)
		if o < x.base || o <= lastOffset || p <= lastPosition || p >= logSize {
			return false
		}
		lastOffset, lastPosition, valid = o, p, i+1
		return true
	})
	return valid, err
}
