package batch

import (
	"encoding/binary"
	"fmt"

	"github.com/gregor-broker/gregor/engine/codec"
)

// Header is one header of a record. Value is nil for a null value; Key is never null.
type Header struct {
	Key   string
	Value []byte
}

// Builder builds one batch, record by record. Its methods return the Builder, so that calls chain. It is
// not safe for concurrent use.
type Builder struct {
	codec         codec.Type
	level         int
	baseOffset    int64
	leaderEpoch   int32
	producerID    int64
	producerEpoch int16
	baseSequence  int32
	attributes    int16
	count         int32
	baseTimestamp int64
	maxTimestamp  int64
	buf           []byte // HeaderSize bytes left free, then the uncompressed records
}

// NewBuilder starts a batch whose records are compressed with t at its default level. It panics when t is
// not one of Kafka's codecs. Base offset and leader epoch are 0 and -1 until set.
func NewBuilder(t codec.Type) *Builder {
	if !t.Valid() {
		panic(fmt.Sprintf("batch: %v is not a codec of Kafka", t))
	}
	return &Builder{
		codec: t, level: codec.DefaultLevel, leaderEpoch: NoLeaderEpoch, producerID: NoProducerID,
		producerEpoch: NoProducerEpoch, baseSequence: NoSequence, maxTimestamp: NoTimestamp,
		baseTimestamp: NoTimestamp, buf: make([]byte, HeaderSize, 256),
	}
}

// Level sets the codec's compression level; codec.DefaultLevel is the codec's own default.
func (b *Builder) Level(level int) *Builder { b.level = level; return b }

// BaseOffset sets the offset of the first record.
func (b *Builder) BaseOffset(offset int64) *Builder { b.baseOffset = offset; return b }

// LeaderEpoch sets the leader's epoch.
func (b *Builder) LeaderEpoch(epoch int32) *Builder { b.leaderEpoch = epoch; return b }

// Producer makes the batch one of an idempotent producer, whose first record has number baseSequence.
func (b *Builder) Producer(id int64, epoch int16, baseSequence int32) *Builder {
	b.producerID, b.producerEpoch, b.baseSequence = id, epoch, baseSequence
	return b
}

// Transactional sets the transactional attribute.
func (b *Builder) Transactional() *Builder { b.attributes |= AttrTransactional; return b }

// Control sets the control attribute.
func (b *Builder) Control() *Builder { b.attributes |= AttrControl; return b }

// Append adds a record with the next offset. timestamp is in milliseconds; nil key or value is null. The
// arguments are copied.
func (b *Builder) Append(timestamp int64, key, value []byte, headers ...Header) *Builder {
	if b.count == 0 {
		b.baseTimestamp = timestamp
	}
	if timestamp > b.maxTimestamp {
		b.maxTimestamp = timestamp
	}
	delta := timestamp - b.baseTimestamp
	size := 1 + varintSize(delta) + varintSize(int64(b.count)) + bytesSize(key) + bytesSize(value) +
		varintSize(int64(len(headers)))
	for _, h := range headers {
		size += varintSize(int64(len(h.Key))) + len(h.Key) + bytesSize(h.Value)
	}
	p := appendVarint(b.buf, int64(size))
	p = append(p, 0)
	p = appendVarint(p, delta)
	p = appendVarint(p, int64(b.count))
	p = appendBytes(p, key)
	p = appendBytes(p, value)
	p = appendVarint(p, int64(len(headers)))
	for _, h := range headers {
		p = appendVarint(p, int64(len(h.Key)))
		p = append(p, h.Key...)
		p = appendBytes(p, h.Value)
	}
	b.buf = p
	b.count++
	return b
}

// Len is the number of records appended so far.
func (b *Builder) Len() int { return int(b.count) }

// Size is the number of bytes that the batch takes so far, before compression.
func (b *Builder) Size() int { return len(b.buf) }

// Bytes is the finished batch, with its CRC, or nil when no record was appended. An uncompressed batch
// aliases the Builder's memory, so the Builder must not be used again before a Reset.
func (b *Builder) Bytes() Batch {
	if b.count == 0 {
		return nil
	}
	p := b.buf
	if b.codec != codec.None {
		out, err := codec.Compress(make([]byte, HeaderSize, HeaderSize+64+len(p)/2), b.codec, b.level, p[HeaderSize:])
		if err != nil { // nothing but an unknown codec fails, and NewBuilder refused that
			panic(fmt.Sprintf("batch: compressing %d bytes with %v: %v", len(p), b.codec, err))
		}
		p = out
	}
	return b.finish(p)
}

// Reset forgets the records and keeps everything else. Batches that Bytes returned stay valid.
func (b *Builder) Reset() *Builder {
	b.buf = make([]byte, HeaderSize, 256)
	b.count, b.baseTimestamp, b.maxTimestamp = 0, NoTimestamp, NoTimestamp
	return b
}

func (b *Builder) finish(p []byte) Batch {
	binary.BigEndian.PutUint64(p[offBaseOffset:], uint64(b.baseOffset))
	binary.BigEndian.PutUint32(p[offLength:], uint32(len(p)-Overhead))
	binary.BigEndian.PutUint32(p[offLeaderEpoch:], uint32(b.leaderEpoch))
	p[offMagic] = Magic
	binary.BigEndian.PutUint16(p[offAttributes:], uint16(b.attributes|int16(b.codec)))
	binary.BigEndian.PutUint32(p[offLastOffsetDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(p[offBaseTimestamp:], uint64(b.baseTimestamp))
	binary.BigEndian.PutUint64(p[offMaxTimestamp:], uint64(b.maxTimestamp))
	binary.BigEndian.PutUint64(p[offProducerID:], uint64(b.producerID))
	binary.BigEndian.PutUint16(p[offProducerEpoch:], uint16(b.producerEpoch))
	binary.BigEndian.PutUint32(p[offBaseSequence:], uint32(b.baseSequence))
	binary.BigEndian.PutUint32(p[offRecordCount:], uint32(b.count))
	batch := Batch(p)
	batch.SetCRC()
	return batch
}

// bytesSize is the size of p with its length before it.
func bytesSize(p []byte) int {
	if p == nil {
		return 1
	}
	return varintSize(int64(len(p))) + len(p)
}

// appendBytes appends p with its length before it, -1 for nil.
func appendBytes(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 1)
	}
	return append(appendVarint(dst, int64(len(p))), p...)
}
