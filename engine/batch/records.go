package batch

import (
	"errors"
	"fmt"
	"sync"

	"github.com/gregor-broker/gregor/engine/codec"
)

// Record is one record of a batch. Key, Value and header values are nil when null; they alias the batch
// or a buffer that is used again, so they are valid only as long as their source says.
type Record struct {
	Offset     int64
	Timestamp  int64 // milliseconds
	Attributes int8
	Key        []byte
	Value      []byte
	Headers    []Header
}

// RecordError says which record of a batch is wrong, and why.
type RecordError struct {
	Index  int   // position in the batch, from 0
	Reason error // wraps ErrNoKey, ErrTimestamp, ErrStructure or ErrCount
}

func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Index, e.Reason) }

// Unwrap gives Reason.
func (e *RecordError) Unwrap() error { return e.Reason }

var (
	// ErrNoKey says that a record without a key is in a batch that needs keys (a compacted topic).
	ErrNoKey = errors.New("record has no key")
	// ErrTimestamp says that a timestamp is out of the allowed bounds.
	ErrTimestamp = errors.New("timestamp out of bounds")
	// ErrStructure says that the bytes of a record are no record.
	ErrStructure = errors.New("malformed record")
	// ErrCount says that the number of records is not what the header says.
	ErrCount = errors.New("wrong number of records")
)

// keepBuffer is the largest decompression buffer that is kept for the next use, in bytes.
const keepBuffer = 1 << 20

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// withRecords calls f with the decompressed records of b, at most limit bytes of them.
func (b Batch) withRecords(limit int, f func(p []byte) error) error {
	if b.Codec() == codec.None {
		return f(b.Records())
	}
	buf := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= keepBuffer {
			buffers.Put(buf)
		}
	}()
	p, err := codec.Decompress((*buf)[:0], b.Codec(), b.Records(), limit)
	if cap(p) > 0 {
		*buf = p[:0]
	}
	if err != nil {
		return fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	return f(p)
}

// Each calls f with every record of b in order, until one call fails; that error is returned as it is.
// Compressed records are decompressed into at most limit bytes, more is codec.ErrTooLarge; uncompressed
// ones need no limit. The Record and everything it points to are valid during the call only. Stored
// batches may have gaps in their offsets, no record at all, and negative key, value or header counts,
// which all mean none; a record that is malformed is a *RecordError.
func (b Batch) Each(limit int, f func(*Record) error) error {
	return b.withRecords(limit, func(p []byte) error {
		count := int(b.RecordCount())
		if count < 0 {
			return fmt.Errorf("batch at offset %d: %w: count %d, expected at least 0", b.BaseOffset(), ErrCount, count)
		}
		var r Record
		i := 0
		for n := range count {
			next, err := readRecord(b, p, i, &r)
			if err != nil {
				return fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), &RecordError{Index: n, Reason: err})
			}
			i = next
			if err := f(&r); err != nil {
				return err
			}
		}
		if i != len(p) {
			return fmt.Errorf("batch at offset %d: %w: %d bytes after the last of %d", b.BaseOffset(), ErrCount, len(p)-i, count)
		}
		return nil
	})
}

// readRecord reads the record at p[i] into r, whose Headers it uses again, and returns where it ends.
func readRecord(b Batch, p []byte, i int, r *Record) (int, error) {
	if i == len(p) {
		return 0, fmt.Errorf("%w: no record at byte %d", ErrCount, i)
	}
	size, at := varint(p, i)
	if at < 0 || size < 0 || size > int64(len(p)-at) {
		return 0, fmt.Errorf("%w: length at byte %d is not within the %d bytes of the batch", ErrStructure, i, len(p))
	}
	end := at + int(size)
	q := p[:end]
	if at >= end {
		return 0, malformed("attributes", at, end)
	}
	r.Attributes = int8(q[at])
	delta, next := varlong(q, at+1)
	if next < 0 {
		return 0, malformed("timestamp", at+1, end)
	}
	if b.IsLogAppendTime() {
		r.Timestamp = b.MaxTimestamp()
	} else {
		r.Timestamp = b.BaseTimestamp() + delta
	}
	at = next
	if delta, next = varint(q, at); next < 0 {
		return 0, malformed("offset", at, end)
	}
	r.Offset = b.BaseOffset() + delta
	at = next
	if r.Key, next = readBytes(q, at); next < 0 {
		return 0, malformed("key", at, end)
	}
	at = next
	if r.Value, next = readBytes(q, at); next < 0 {
		return 0, malformed("value", at, end)
	}
	at = next
	count, next := varint(q, at)
	if next < 0 || count > int64(end-next)/2 { // a header takes two bytes at the least
		return 0, malformed("header count", at, end)
	}
	r.Headers = r.Headers[:0]
	for range count {
		at = next
		key, after := readBytes(q, at)
		if after < 0 || key == nil {
			return 0, malformed("header key", at, end)
		}
		value, after2 := readBytes(q, after)
		if after2 < 0 {
			return 0, malformed("header value", after, end)
		}
		next = after2
		r.Headers = append(r.Headers, Header{Key: string(key), Value: value})
	}
	if next != end {
		return 0, fmt.Errorf("%w: record ends at byte %d, its length says %d", ErrStructure, next, end)
	}
	return end, nil
}

func malformed(what string, at, end int) error {
	return fmt.Errorf("%w: %s at byte %d does not fit before the record's end at %d", ErrStructure, what, at, end)
}

// readBytes reads a length and as many bytes at p[i]; a negative length is null. The returned position is
// -1 when they do not fit.
func readBytes(p []byte, i int) ([]byte, int) {
	n, at := varint(p, i)
	if at < 0 || n > int64(len(p)-at) {
		return nil, -1
	}
	if n < 0 {
		return nil, at
	}
	return p[at : at+int(n) : at+int(n)], at + int(n)
}
