package index

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// TimeWidth is the size of one .timeindex entry: an int64 timestamp and an
// int32 relative offset.
const TimeWidth = 12

// Times is the .timeindex of one segment: entries of (largest timestamp so
// far in milliseconds, last offset of the batch that holds it). One goroutine
// may append while others look up.
type Times struct {
	table
	base int64
	last int64 // timestamp of the last entry, MinInt64 when unknown or none
}

// OpenTimes opens the .timeindex file name, which may be missing.
func OpenTimes(f vfs.FS, name string, base, maxBytes int64) (*Times, error) {
	x := &Times{base: base, last: math.MinInt64}
	if err := x.open(f, name, TimeWidth, maxBytes); err != nil {
		return nil, err
	}
	return x, nil
}

// MaybeAppend adds an entry if timestamp is larger than the last entry's, as
// TimeIndex.maybeAppend does. Timestamps below zero (no timestamp) are left out.
func (x *Times) MaybeAppend(timestamp, lastOffset int64) error {
	if timestamp < 0 {
		return nil
	}
	if x.last == math.MinInt64 && x.Len() > 0 {
		ts, _, _, err := x.Last()
		if err != nil {
			return err
		}
		x.last = ts
	}
	if timestamp <= x.last {
		return nil
	}
	relative := lastOffset - x.base
	if relative < 0 || relative > math.MaxInt32 {
		return fmt.Errorf("index %s: offset %d does not fit an entry of base %d", x.name, lastOffset, x.base)
	}
	var e [TimeWidth]byte
	binary.BigEndian.PutUint64(e[0:], uint64(timestamp))
	binary.BigEndian.PutUint32(e[8:], uint32(relative))
	if err := x.append(e[:]); err != nil {
		return err
	}
	x.last = timestamp
	return nil
}

func (x *Times) decode(e []byte) (timestamp, offset int64) {
	return int64(binary.BigEndian.Uint64(e)), x.base + int64(int32(binary.BigEndian.Uint32(e[8:])))
}

// Lookup returns the greatest entry whose timestamp is below target, or
// (-1, base) when there is none: every record before its offset is older than
// target, so a scan for target may start there.
func (x *Times) Lookup(target int64) (timestamp, offset int64, err error) {
	timestamp, offset = -1, x.base
	_, err = x.search(
		func(e []byte) bool { ts, _ := x.decode(e); return ts < target },
		func(e []byte) { timestamp, offset = x.decode(e) })
	return timestamp, offset, err
}

// Last returns the last entry; ok is false when there is none.
func (x *Times) Last() (timestamp, offset int64, ok bool, err error) {
	timestamp, offset = -1, x.base
	ok, err = x.final(func(e []byte) { timestamp, offset = x.decode(e) })
	return timestamp, offset, ok, err
}

// KeepBelow cuts every entry whose offset is at or above offset.
func (x *Times) KeepBelow(offset int64) error {
	n, err := x.search(func(e []byte) bool { _, o := x.decode(e); return o < offset }, func([]byte) {})
	if err != nil {
		return err
	}
	return x.Truncate(n)
}

// Each calls f for every entry until it returns false; f must not use the index.
func (x *Times) Each(f func(timestamp, offset int64) bool) error {
	return x.each(func(_ int, e []byte) bool { return f(x.decode(e)) })
}

// Check returns how many leading entries have strictly rising timestamps and
// never falling offsets.
func (x *Times) Check() (valid int, err error) {
	lastTime, lastOffset := int64(math.MinInt64), int64(math.MinInt64)
	err = x.each(func(i int, e []byte) bool {
		ts, o := x.decode(e)
		if ts <= lastTime || o < lastOffset || o < x.base {
			return false
		}
		lastTime, lastOffset, valid = ts, o, i+1
		return true
	})
	return valid, err
}

// Truncate keeps the first n entries.
func (x *Times) Truncate(n int) error {
	x.last = math.MinInt64
	return x.table.Truncate(n)
}
