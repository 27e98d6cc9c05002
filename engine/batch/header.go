package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/klauspost/crc32"
)

const (
	// HeaderSize is the number of bytes of a batch before its records.
	HeaderSize = 61
	// Overhead is the number of bytes that batchLength does not count: baseOffset and batchLength itself.
	Overhead = 12
	// Magic is the only message format version that this package reads and writes.
	Magic = 2
	// MinLength is the smallest batchLength: that of a batch whose records section is empty.
	MinLength = HeaderSize - Overhead
	// MaxSize is the largest size of a batch in bytes, overhead included.
	MaxSize = math.MaxInt32
)

// Values that a batch without an idempotent producer holds (RecordBatch in Kafka).
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoTimestamp     int64 = -1
	NoLeaderEpoch   int32 = -1
)

const (
	offBaseOffset      = 0
	offLength          = 8
	offLeaderEpoch     = 12
	offMagic           = 16
	offCRC             = 17
	offAttributes      = 21
	offLastOffsetDelta = 23
	offBaseTimestamp   = 27
	offMaxTimestamp    = 35
	offProducerID      = 43
	offProducerEpoch   = 51
	offBaseSequence    = 53
	offRecordCount     = 57
)

// Bits of a batch's attributes.
const (
	AttrCodecMask     int16 = 0x07 // the compression codec
	AttrLogAppendTime int16 = 0x08 // the timestamps are the broker's
	AttrTransactional int16 = 0x10 // the batch is part of a transaction
	AttrControl       int16 = 0x20 // the records are the broker's own
	AttrDeleteHorizon int16 = 0x40 // the base timestamp is a delete horizon
	attrKnown               = AttrCodecMask | AttrLogAppendTime | AttrTransactional | AttrControl | AttrDeleteHorizon
)

var (
	// ErrShort says that the bytes end before the batch does.
	ErrShort = errors.New("batch is cut short")
	// ErrMagic says that a batch has a message format that does not exist.
	ErrMagic = errors.New("unknown batch magic")
	// ErrOldMagic says that a batch has message format 0 or 1, which Kafka 4 no longer writes.
	ErrOldMagic = errors.New("batch has an old message format")
	// ErrLength says that batchLength cannot be that of a batch.
	ErrLength = errors.New("impossible batch length")
	// ErrCRC says that the CRC-32C of a batch does not match its bytes.
	ErrCRC = errors.New("batch checksum does not match")
)

// Batch is one whole record batch of magic 2: HeaderSize bytes and the records. The accessors read the
// header and do not allocate; they panic on fewer than HeaderSize bytes, so a Batch comes from Next, from
// a Builder, or from bytes whose size was checked. A Batch may be read by many goroutines while none
// calls a Set method.
type Batch []byte

// Checksum is the CRC-32C (Castagnoli) of p, the one checksum of batches and producer snapshots.
func Checksum(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

// BaseOffset is the offset of the first record that the batch was written with.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[offBaseOffset:])) }

// LastOffset is the offset of the last record that the batch was written with, also when compaction has
// removed that record.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset that follows the batch.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// Size is the number of bytes that the header says the batch takes, overhead included.
func (b Batch) Size() int { return int(int32(binary.BigEndian.Uint32(b[offLength:]))) + Overhead }

// LastOffsetDelta is the last offset relative to the base offset.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[offLastOffsetDelta:]))
}

// LeaderEpoch is the epoch of the leader that appended the batch, -1 when none was set.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[offLeaderEpoch:])) }

// Magic is the message format version, 2.
func (b Batch) Magic() int8 { return int8(b[offMagic]) }

// Attributes are the attribute bits, see the Attr constants.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[offAttributes:])) }

// Codec is the codec that the records are compressed with. It may be a number that is no codec.
func (b Batch) Codec() codec.Type { return codec.Type(b[offAttributes+1] & byte(AttrCodecMask)) }

// IsLogAppendTime reports whether the timestamps of the records are the broker's (MaxTimestamp).
func (b Batch) IsLogAppendTime() bool { return b[offAttributes+1]&byte(AttrLogAppendTime) != 0 }

// IsTransactional reports whether the batch is part of a transaction.
func (b Batch) IsTransactional() bool { return b[offAttributes+1]&byte(AttrTransactional) != 0 }

// IsControl reports whether the records are control records, which consumers never see.
func (b Batch) IsControl() bool { return b[offAttributes+1]&byte(AttrControl) != 0 }

// HasDeleteHorizon reports whether the base timestamp is a delete horizon set by compaction (KIP-534).
func (b Batch) HasDeleteHorizon() bool { return b[offAttributes+1]&byte(AttrDeleteHorizon) != 0 }

// BaseTimestamp is what the records' timestamp deltas are relative to, in milliseconds.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[offBaseTimestamp:])) }

// MaxTimestamp is the largest timestamp in the batch in milliseconds, as its header says.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[offMaxTimestamp:])) }

// ProducerID is the producer's id, -1 for a producer that is not idempotent.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[offProducerID:])) }

// ProducerEpoch is the producer's epoch, -1 when it has none.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[offProducerEpoch:])) }

// BaseSequence is the sequence number of the first record, -1 when it has none.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[offBaseSequence:])) }

// LastSequence is the sequence number of the last record, -1 when the batch has none. Sequence numbers go
// from MaxInt32 to 0 (DefaultRecordBatch.incrementSequence).
func (b Batch) LastSequence() int32 {
	first := b.BaseSequence()
	if first == NoSequence {
		return NoSequence
	}
	return AddSequence(first, b.LastOffsetDelta())
}

// RecordCount is the number of records; compaction may leave none.
func (b Batch) RecordCount() int32 { return int32(binary.BigEndian.Uint32(b[offRecordCount:])) }

// CRC is the checksum that the header holds.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[offCRC:]) }

// Records are the bytes after the header, compressed when Codec says so.
func (b Batch) Records() []byte { return b[HeaderSize:] }

// HasProducerID reports whether an idempotent producer wrote the batch.
func (b Batch) HasProducerID() bool { return b.ProducerID() > NoProducerID }

// SetBaseOffset stamps the offset of the first record. It lies outside the CRC.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[offBaseOffset:], uint64(offset))
}

// SetLeaderEpoch stamps the leader's epoch. It lies outside the CRC.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[offLeaderEpoch:], uint32(epoch))
}

// SetLogAppendTime gives every record of the batch the timestamp ms: it sets MaxTimestamp and the
// LogAppendTime bit, and computes the CRC anew (DefaultRecordBatch.setMaxTimestamp).
func (b Batch) SetLogAppendTime(ms int64) {
	b[offAttributes+1] |= byte(AttrLogAppendTime)
	b.SetMaxTimestamp(ms)
}

// SetMaxTimestamp sets the header's largest timestamp, in milliseconds, and computes the CRC anew.
func (b Batch) SetMaxTimestamp(ms int64) {
	binary.BigEndian.PutUint64(b[offMaxTimestamp:], uint64(ms))
	b.SetCRC()
}

// SetCRC computes the CRC over the attributes and everything after them and stores it.
func (b Batch) SetCRC() { binary.BigEndian.PutUint32(b[offCRC:], Checksum(b[offAttributes:])) }

// CheckCRC compares the header's CRC with that of the bytes; a difference is an ErrCRC.
func (b Batch) CheckCRC() error {
	if want, got := b.CRC(), Checksum(b[offAttributes:]); want != got {
		return fmt.Errorf("%w: batch at offset %d of %d bytes says %08x, its bytes have %08x",
			ErrCRC, b.BaseOffset(), len(b), want, got)
	}
	return nil
}

// AddSequence is the sequence number delta after sequence, wrapping from MaxInt32 to 0
// (DefaultRecordBatch.incrementSequence). Neither may be negative.
func AddSequence(sequence, delta int32) int32 {
	return int32((int64(sequence) + int64(delta)) & math.MaxInt32)
}

// Peek reads the total size of the batch that starts at p[0]. It fails with ErrShort on fewer than
// HeaderSize bytes, ErrLength on a batchLength that no batch of the format can have (above all on zeros),
// ErrMagic on an unknown format, and ErrOldMagic on formats 0 and 1 - then the returned size is that of the
// old message set entry. p need not hold the whole batch.
func Peek(p []byte) (size int, err error) {
	if len(p) > offMagic && (p[offMagic] == 0 || p[offMagic] == 1) {
		return peekOld(p)
	}
	if len(p) < HeaderSize {
		return 0, fmt.Errorf("%w: %d bytes, a header has %d", ErrShort, len(p), HeaderSize)
	}
	n := int32(binary.BigEndian.Uint32(p[offLength:]))
	if p[offMagic] != Magic {
		return 0, fmt.Errorf("%w %d at byte %d, expected %d", ErrMagic, int8(p[offMagic]), offMagic, Magic)
	}
	if n < MinLength || n > MaxSize-Overhead {
		return 0, fmt.Errorf("%w %d at byte %d, expected %d to %d", ErrLength, n, offLength, MinLength, MaxSize-Overhead)
	}
	return int(n) + Overhead, nil
}

// peekOld is Peek for the message formats before batches (LegacyRecord): offset, size, crc, magic,
// attributes, key length and value length at the least.
func peekOld(p []byte) (int, error) {
	const minOld = 14
	n := int32(binary.BigEndian.Uint32(p[offLength:]))
	if n < minOld || n > MaxSize-Overhead {
		return 0, fmt.Errorf("%w %d at byte %d, expected %d to %d", ErrLength, n, offLength, minOld, MaxSize-Overhead)
	}
	return int(n) + Overhead, fmt.Errorf("%w %d at byte %d, expected %d", ErrOldMagic, p[offMagic], offMagic, Magic)
}

// Next splits the first batch off p. Its errors are those of Peek, and ErrShort when p does not hold all
// of the batch. The batch aliases p.
func Next(p []byte) (b Batch, rest []byte, err error) {
	size, err := Peek(p)
	if err != nil {
		return nil, p, err
	}
	if size > len(p) {
		return nil, p, fmt.Errorf("%w: %d bytes, its header says %d", ErrShort, len(p), size)
	}
	return Batch(p[:size:size]), p[size:], nil
}
