package batch

import (
	"encoding/binary"
	"fmt"

	"github.com/gregor-broker/gregor/engine/codec"
)

// RawRecord is a record that lies in a batch, taken apart only as far as compaction needs. Its slices alias the
// batch, or the buffer it was decompressed into.
type RawRecord struct {
	Offset    int64
	Timestamp int64  // milliseconds
	Key       []byte // nil when null
	Null      bool   // the value is null: a tombstone
	// body is the record behind its length: attributes, the timestamp delta up to rest, and what follows it.
	body []byte
	rest int
}

// RawRecords appends the records of b to dst. A compressed batch is decompressed into buf, which is grown when
// need be and comes back for the next call; more than limit bytes are codec.ErrTooLarge. Records must chain exactly
// to the batch's end, as many as it says; what is in their headers is not looked at. Errors are those of Each.
func (b Batch) RawRecords(dst []RawRecord, buf []byte, limit int) ([]RawRecord, []byte, error) {
	p := b.Records()
	if b.Codec() != codec.None {
		out, err := codec.Decompress(buf[:0], b.Codec(), p, limit)
		if cap(out) > 0 {
			buf = out[:0]
		}
		if err != nil {
			return dst, buf, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
		}
		p = out
	}
	count := int(b.RecordCount())
	if count < 0 {
		return dst, buf, fmt.Errorf("batch at offset %d: %w: count %d, expected at least 0", b.BaseOffset(), ErrCount, count)
	}
	i := 0
	for n := range count {
		r, next, err := rawRecord(b, p, i)
		if err != nil {
			return dst, buf, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), &RecordError{Index: n, Reason: err})
		}
		dst, i = append(dst, r), next
	}
	if i != len(p) {
		return dst, buf, fmt.Errorf("batch at offset %d: %w: %d bytes after the last of %d", b.BaseOffset(), ErrCount, len(p)-i, count)
	}
	return dst, buf, nil
}

func rawRecord(b Batch, p []byte, i int) (r RawRecord, end int, err error) {
	if i == len(p) {
		return r, 0, fmt.Errorf("%w: no record at byte %d", ErrCount, i)
	}
	size, at := varint(p, i)
	if at < 0 || size < 1 || size > int64(len(p)-at) {
		return r, 0, fmt.Errorf("%w: length at byte %d is not within the %d bytes of the batch", ErrStructure, i, len(p))
	}
	end = at + int(size)
	q := p[at:end:end]
	delta, rest := varlong(q, 1)
	if rest < 0 {
		return r, 0, malformed("timestamp", at+1, end)
	}
	offset, next := varint(q, rest)
	if next < 0 {
		return r, 0, malformed("offset", at+rest, end)
	}
	key, next := readBytes(q, next)
	if next < 0 {
		return r, 0, malformed("key", at, end)
	}
	value, after := varint(q, next)
	if after < 0 || value > int64(len(q)-after) {
		return r, 0, malformed("value", at+next, end)
	}
	r = RawRecord{Offset: b.BaseOffset() + offset, Timestamp: b.BaseTimestamp() + delta, Key: key, Null: value < 0, body: q, rest: rest}
	if b.IsLogAppendTime() {
		r.Timestamp = b.MaxTimestamp()
	}
	return r, end, nil
}

// AppendRetained appends to dst the batch that is left of b when only kept of its records stay, at least one
// (MemoryRecords.buildRetainedRecordsInto): offsets, producer, epoch, codec and all attributes are b's, its last
// offset too, whether or not that record stays. The largest timestamp is found again, except that of
// LogAppendTime. A horizon of at least 0, in milliseconds, is stored as the delete horizon (KIP-534) in place of
// the base timestamp; without one, and with b having none, the base is the first record's timestamp. buf is memory
// for the records of a compressed batch, handed back for the next call.
func AppendRetained(dst []byte, b Batch, kept []RawRecord, horizon int64, buf []byte) (out, reuse []byte, err error) {
	attributes := b.Attributes() &^ AttrDeleteHorizon
	base, largest := kept[0].Timestamp, NoTimestamp
	if horizon >= 0 {
		attributes |= AttrDeleteHorizon
		base = horizon
	}
	start := len(dst)
	dst = append(dst, b[:HeaderSize]...)
	records := dst
	if b.Codec() != codec.None {
		records = buf[:0]
	}
	for i := range kept {
		r := &kept[i]
		largest = max(largest, r.Timestamp)
		delta := r.Timestamp - base
		rest := r.body[r.rest:]
		records = appendVarint(records, int64(1+varintSize(delta)+len(rest)))
		records = append(records, r.body[0])
		records = appendVarint(records, delta)
		records = append(records, rest...)
	}
	if b.Codec() != codec.None {
		buf = records
		if dst, err = codec.Compress(dst, b.Codec(), codec.DefaultLevel, records); err != nil {
			return dst[:start], buf, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
		}
	} else {
		dst = records
	}
	if b.IsLogAppendTime() {
		largest = b.MaxTimestamp()
	}
	if size := len(dst) - start; size > MaxSize {
		return dst[:start], buf, fmt.Errorf("batch at offset %d: %w: %d bytes without the records that go", b.BaseOffset(), ErrLength, size)
	}
	n := Batch(dst[start:])
	n.restamp(attributes, base, largest, int32(len(kept)))
	return dst, buf, nil
}

// AppendEmpty appends to dst the batch that is left of b when all its records go and its last offset and sequence
// number are to stay (DefaultRecordBatch.writeEmptyHeader): uncompressed, without base timestamp or delete horizon.
func AppendEmpty(dst []byte, b Batch) []byte {
	start := len(dst)
	dst = append(dst, b[:HeaderSize]...)
	n := Batch(dst[start:])
	n.restamp(b.Attributes()&^(AttrCodecMask|AttrDeleteHorizon), NoTimestamp, b.MaxTimestamp(), 0)
	return dst
}

// restamp writes what compaction changes in the header of a batch that fills b.
func (b Batch) restamp(attributes int16, base, largest int64, count int32) {
	binary.BigEndian.PutUint32(b[offLength:], uint32(len(b)-Overhead))
	binary.BigEndian.PutUint16(b[offAttributes:], uint16(attributes))
	binary.BigEndian.PutUint64(b[offBaseTimestamp:], uint64(base))
	binary.BigEndian.PutUint64(b[offMaxTimestamp:], uint64(largest))
	binary.BigEndian.PutUint32(b[offRecordCount:], uint32(count))
	b.SetCRC()
}
