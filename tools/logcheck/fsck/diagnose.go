package fsck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/producer"
)

// diagnosis is what can be proven about a batch that is not intact. The zero
// value proves nothing.
type diagnosis struct {
	text  string
	fixes []Fix
}

const (
	// castagnoli is the reflected polynomial of CRC-32C.
	castagnoli = 0x82f63b78
	// syndromeLimit bounds the size of a batch that a flipped bit is looked for in; the search takes some
	// 15 ms for each MiB.
	syndromeLimit = 16 << 20
	// proofLimit bounds what is decompressed to prove a correction, in bytes.
	proofLimit = 64 << 20
	crcAt      = 17
	coveredAt  = 21 // the checksum covers everything from here on
)

// flippedBit finds the one bit whose flip explains that the bytes of p from
// coveredAt on have another CRC than its bytes from crcAt on say: the position
// of its byte in p and the bit's mask. CRCs are linear, so the difference of the two
// depends on the position of the bit alone; it is taken back bit by bit until
// it is that of a single one.
func flippedBit(p []byte, crcAt, coveredAt int) (position int64, mask byte, ok bool) {
	s := binary.BigEndian.Uint32(p[crcAt:]) ^ batch.Checksum(p[coveredAt:])
	if s == 0 {
		return 0, 0, false
	}
	if bits.OnesCount32(s) == 1 {
		bit := bits.TrailingZeros32(s)
		return int64(crcAt + 3 - bit/8), 1 << (bit % 8), true
	}
	n := (len(p) - coveredAt) * 8
	for m := range n {
		if s&(1<<31) != 0 {
			s = (s^castagnoli)<<1 | 1
		} else {
			s <<= 1
		}
		if s == 1 {
			return int64(len(p) - 1 - m/8), 0x80 >> (m % 8), true
		}
	}
	return 0, 0, false
}

// diagnoseBatch looks into a batch of magic 2 whose checksum is wrong although
// its header chains: p[from:to]. The second proof of a flipped bit is that the
// records are well-formed when it is flipped back.
func diagnoseBatch(p []byte, from, to int64) diagnosis {
	b := p[from:to]
	if len(b) > syndromeLimit || b[magicAt] != batch.Magic {
		return diagnosis{}
	}
	at, mask, ok := flippedBit(b, crcAt, coveredAt)
	if !ok {
		return diagnosis{}
	}
	mended := append(batch.Batch(nil), b...)
	mended[at] ^= mask
	if mended.CheckCRC() != nil || !headerSane(mended) || checkRecords(mended, proofLimit) != nil {
		return diagnosis{text: fmt.Sprintf("byte %d has bit %d flipped by its checksum alone, which the records do not confirm",
			from+at, bits.TrailingZeros8(mask))}
	}
	return diagnosis{
		text:  fmt.Sprintf("byte %d has bit %d flipped: checksum and records agree (%s)", from+at, bits.TrailingZeros8(mask), fieldAt(at)),
		fixes: []Fix{{from + at, b[at], mended[at]}},
	}
}

// Places of a producer snapshot: its version, and its checksum of all that
// follows it.
const (
	snapshotCRC     = 2
	snapshotCovered = 6
)

// diagnoseSnapshot looks for the flipped bit in a producer snapshot that cannot
// be read: with it the checksum is right and all entries are well-formed.
func diagnoseSnapshot(p []byte) diagnosis {
	if len(p) < snapshotCovered || len(p) > syndromeLimit {
		return diagnosis{}
	}
	mended := append([]byte(nil), p...)
	at, mask, ok := flippedBit(p, snapshotCRC, snapshotCovered)
	switch {
	case ok:
		mended[at] ^= mask
	case batch.Checksum(p[snapshotCovered:]) == binary.BigEndian.Uint32(p[snapshotCRC:]):
		mended[0], mended[1] = 0, 1 // only the version lies outside
	default:
		return diagnosis{}
	}
	if producer.New(0).Decode(mended, 0) != nil {
		return diagnosis{}
	}
	d := diagnosis{text: "with these bytes the checksum is right and every entry well-formed"}
	for i := range p {
		if p[i] != mended[i] {
			d.fixes = append(d.fixes, Fix{int64(i), p[i], mended[i]})
		}
	}
	return d
}

// diagnoseChained looks into a batch that chains and whose checksum is wrong.
// With another magic it would have been checked by the rules of another format.
func diagnoseChained(p []byte, from, to int64) diagnosis {
	if p[from+magicAt] != batch.Magic {
		return diagnoseHole(p, from, to)
	}
	return diagnoseBatch(p, from, to)
}

func headerSane(b batch.Batch) bool {
	return b.LastOffsetDelta() >= 0 && b.RecordCount() >= 0 && int64(b.RecordCount()) <= int64(b.LastOffsetDelta())+1
}

// diagnoseHole looks into a hole p[from:to] that ends where the next intact
// batch begins or the file ends. Length and magic lie outside the checksum: if
// the checksum is right for the bytes up to that end, they were changed.
func diagnoseHole(p []byte, from, to int64) diagnosis {
	hole := p[from:to]
	if len(hole) < batch.HeaderSize || len(hole) > syndromeLimit {
		return diagnosis{}
	}
	mended := append(batch.Batch(nil), hole...)
	binary.BigEndian.PutUint32(mended[8:], uint32(len(hole)-batch.Overhead))
	mended[magicAt] = batch.Magic
	if mended.CheckCRC() == nil && headerSane(mended) {
		d := diagnosis{text: "the checksum is right for the bytes up to the next batch, so this is wrong: "}
		comma := ""
		for i := range magicAt + 1 {
			if hole[i] != mended[i] {
				d.fixes = append(d.fixes, Fix{from + int64(i), hole[i], mended[i]})
				d.text += fmt.Sprintf("%sbyte %d is %#02x, was %#02x (%s)", comma, from+int64(i), hole[i], mended[i], fieldAt(int64(i)))
				comma = ", "
			}
		}
		if len(d.fixes) > 0 {
			return d
		}
		return diagnosis{}
	}
	if size := headerSize(hole); size == int64(len(hole)) {
		return diagnoseBatch(p, from, to)
	}
	return diagnosis{}
}

// fields are the parts of a batch header, for words about a position.
var fields = []struct {
	at   int64
	size int
	name string
}{
	{0, 8, "baseOffset"}, {8, 4, "batchLength"}, {12, 4, "partitionLeaderEpoch"}, {16, 1, "magic"}, {17, 4, "crc"},
	{21, 2, "attributes"}, {23, 4, "lastOffsetDelta"}, {27, 8, "baseTimestamp"}, {35, 8, "maxTimestamp"},
	{43, 8, "producerId"}, {51, 2, "producerEpoch"}, {53, 4, "baseSequence"}, {57, 4, "recordCount"},
}

// fieldAt names what byte at of a batch belongs to.
func fieldAt(at int64) string {
	for _, f := range fields {
		if at < f.at+int64(f.size) {
			return "field " + f.name
		}
	}
	return "records"
}

var (
	errRecordOffset = errors.New("record offset does not rise within the batch")
	errCodec        = errors.New("unknown codec")
)

// checkRecords walks every record of a batch, decompressing at most limit bytes.
func checkRecords(b batch.Batch, limit int) error {
	if !b.Codec().Valid() {
		return fmt.Errorf("%w %v", errCodec, b.Codec())
	}
	if b.Codec() == 0 {
		// The common case, without an allocation: a batch that compaction has not touched.
		if _, err := b.ValidateRecords(batch.Rules{}); err == nil {
			return nil
		}
	}
	last := b.BaseOffset() - 1
	return b.Each(limit, func(r *batch.Record) error {
		if r.Offset <= last || r.Offset > b.LastOffset() {
			return fmt.Errorf("%w: %d after %d, the batch ends at %d", errRecordOffset, r.Offset, last, b.LastOffset())
		}
		last = r.Offset
		return nil
	})
}
