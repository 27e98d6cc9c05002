package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/gregor-broker/gregor/engine/codec"
)

var (
	// ErrAttributes says that a batch of a client has attribute bits that only a broker sets, or that mean
	// nothing.
	ErrAttributes = errors.New("attributes not allowed")
	// ErrProducer says that producer id, epoch and sequence number of a batch do not belong together.
	ErrProducer = errors.New("inconsistent producer id, epoch or sequence")
)

// Rules are what a topic asks of the records of a batch (LogValidator). The zero value asks nothing beyond
// the format.
type Rules struct {
	// RequireKeys refuses records without a key, for compacted topics.
	RequireKeys bool
	// CheckTimestamps refuses timestamps outside MinTimestamp and MaxTimestamp (both in milliseconds, both
	// allowed), except -1, which is no timestamp (message.timestamp.before.max.ms and after.max.ms).
	CheckTimestamps            bool
	MinTimestamp, MaxTimestamp int64
}

// Summary is what walking a batch found.
type Summary struct {
	// MaxTimestamp is the largest timestamp of the records in milliseconds, -1 when there is none.
	MaxTimestamp int64
	// OffsetOfMaxTimestamp is the offset of the first record with it, or the batch's last offset when not
	// all records were walked.
	OffsetOfMaxTimestamp int64
	// Records is the number of records that were walked: fewer than RecordCount only in a large compressed
	// batch.
	Records int
}

// prefixLimit is how much of a compressed batch is decompressed to be validated, in bytes.
const prefixLimit = 64 << 10

// CheckClient checks the header of a batch that a producer sent, which must fill b exactly: ErrLength,
// ErrMagic, ErrAttributes (unknown bits, unknown codec, delete horizon), ErrControl, ErrTimestamp
// (LogAppendTime is the broker's to set), ErrCount (at least one record, and lastOffsetDelta one less than
// their number) and ErrProducer. The checks are those of LogValidator.validateBatch and
// ProduceRequest.validateRecords, and that client bits are known. It reads neither records nor CRC.
func (b Batch) CheckClient() error {
	size, err := Peek(b)
	if err != nil {
		return err
	}
	if size != len(b) {
		return fmt.Errorf("%w: the batch has %d bytes, its header says %d", ErrLength, len(b), size)
	}
	attributes := b.Attributes()
	if unknown := attributes &^ attrKnown; unknown != 0 {
		return fmt.Errorf("%w: bits %#04x at byte %d are unknown", ErrAttributes, uint16(unknown), offAttributes)
	}
	if !b.Codec().Valid() {
		return fmt.Errorf("%w: %v at byte %d, expected 0 to 4", ErrAttributes, b.Codec(), offAttributes)
	}
	if b.IsControl() {
		return fmt.Errorf("%w: producers must not write control batches", ErrControl)
	}
	if b.HasDeleteHorizon() {
		return fmt.Errorf("%w: producers must not set a delete horizon", ErrAttributes)
	}
	if b.IsLogAppendTime() {
		return fmt.Errorf("%w: producers must not set LogAppendTime", ErrTimestamp)
	}
	if count, last := b.RecordCount(), b.LastOffsetDelta(); count < 1 || last != count-1 {
		return fmt.Errorf("%w: count %d and last offset delta %d, expected at least 1 and one less", ErrCount, count, last)
	}
	return b.checkClientProducer()
}

func (b Batch) checkClientProducer() error {
	id, epoch, sequence := b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()
	switch {
	case id < NoProducerID:
		return fmt.Errorf("%w: producer id %d, expected at least -1", ErrProducer, id)
	case id == NoProducerID && b.IsTransactional():
		return fmt.Errorf("%w: transactional batch without a producer id", ErrProducer)
	case id >= 0 && epoch < 0:
		return fmt.Errorf("%w: producer %d has epoch %d, expected at least 0", ErrProducer, id, epoch)
	case id >= 0 && sequence < 0:
		return fmt.Errorf("%w: producer %d has base sequence %d, expected at least 0", ErrProducer, id, sequence)
	}
	return nil
}

// ValidateRecords walks the records of a batch that a producer sent: their lengths chain exactly to the
// end, their offset deltas are 0 to n-1, their number is RecordCount, and they keep the rules. It does not
// allocate. Of a compressed batch the first 64 KiB are decompressed and what is there is walked - all of
// it when there is no more. Errors are *RecordError, except those of decompression. The timestamps that
// are compared are those that a consumer would see (see IsLogAppendTime).
func (b Batch) ValidateRecords(r Rules) (Summary, error) {
	if b.Codec() == codec.None {
		return b.walk(b.Records(), true, &r)
	}
	buf := buffers.Get().(*[]byte)
	p, complete, err := codec.DecompressPrefix((*buf)[:0], b.Codec(), b.Records(), prefixLimit)
	var s Summary
	if err != nil {
		err = fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	} else {
		s, err = b.walk(p, complete, &r)
		if cap(p) > 0 && cap(p) <= keepBuffer {
			*buf = p[:0]
		}
	}
	buffers.Put(buf)
	return s, err
}

// walk checks the records in p, which is all of them or (not complete) only their beginning.
//
// It is the inner loop of every produce request. The common record - lengths of one or two bytes, no
// number wider than it must be - takes only straight code here; everything else, and the end of p, goes
// through slowRecord, which also finds the words for an error.
func (b Batch) walk(p []byte, complete bool, rules *Rules) (Summary, error) {
	count := int64(b.RecordCount())
	base := b.BaseTimestamp()
	appendTime := b.IsLogAppendTime()
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	if rules.CheckTimestamps {
		lo, hi = rules.MinTimestamp, rules.MaxTimestamp
	}
	maxTime, maxIndex := int64(NoTimestamp), int64(-1)
	var n int64
	i := 0
	for ; i < len(p); n++ {
		start := i
		var size, key, value, delta, off, w uint64
		var j, end, after int
		var head *[16]byte
		var c byte

		if len(p)-i < len(head) {
			goto slow
		}
		head = (*[16]byte)(p[i:])
		size = uint64(head[0])
		if size < 0x80 {
			w, j = binary.LittleEndian.Uint64(head[1:9]), 3
		} else {
			c = head[1]
			if c >= 0x80 {
				goto slow
			}
			size = size&0x7f | uint64(c)<<7
			w, j = binary.LittleEndian.Uint64(head[2:10]), 4
		}
		end = i + j - 2 + int(size>>1)
		if size&1 != 0 || end > len(p) {
			goto slow
		}
		// w holds the attributes, which mean nothing yet, the timestamp and the offset; j is where the key
		// begins
		w >>= 8
		delta = w & 0x7f
		if w&0x80 != 0 {
			w >>= 8
			j++
			delta |= w & 0x7f << 7
			if w&0x80 != 0 {
				w >>= 8
				j++
				delta |= w & 0x7f << 14
				if w&0x80 != 0 {
					goto slow
				}
			}
		}
		w >>= 8
		j++
		off = w & 0x7f
		if w&0x80 != 0 {
			w >>= 8
			j++
			off |= w & 0x7f << 7
			if w&0x80 != 0 {
				w >>= 8
				j++
				off |= w & 0x7f << 14
				if w&0x80 != 0 {
					goto slow
				}
			}
		}
		if off != uint64(n)<<1 {
			goto slow
		}
		key = uint64(head[j&15])
		i += j + 1
		if key&1 == 0 && key < 0x80 {
			i += int(key >> 1)
		} else if key != 1 || rules.RequireKeys {
			goto slow
		}
		// the value
		if uint(i)+1 >= uint(len(p)) {
			goto slow
		}
		value = uint64(p[i])
		if value >= 0x80 {
			c = p[i+1]
			if c >= 0x80 {
				goto slow
			}
			value = value&0x7f | uint64(c)<<7
			i++
		}
		i++
		if value&1 == 0 {
			i += int(value >> 1)
		} else if value != 1 {
			goto slow
		}
		// the headers
		if i >= end {
			goto slow
		}
		after = i + 1
		if p[i] != 0 {
			after = skipHeaders(p[:end], i)
		}
		if after != end {
			goto slow
		}
		i = end
		if t := base + unzigzag(delta); t > maxTime || t < lo || t > hi {
			if appendTime || t < lo || t > hi {
				goto slow
			}
			maxTime, maxIndex = t, n
		}
		continue

	slow:
		t, next, err := b.slowRecord(p, start, n, rules)
		if err != nil {
			if !complete && next < 0 {
				break // the record goes on behind the prefix
			}
			return Summary{}, &RecordError{Index: int(n), Reason: err}
		}
		i = next
		if t > maxTime {
			maxTime, maxIndex = t, n
		}
	}
	if n > count || complete && n != count {
		return Summary{}, &RecordError{Index: int(min(n, max(count, 0))),
			Reason: fmt.Errorf("%w: the header says %d, the batch has %d", ErrCount, count, n)}
	}
	if appendTime && n > 0 {
		maxTime, maxIndex = b.MaxTimestamp(), 0
	}
	s := Summary{MaxTimestamp: maxTime, OffsetOfMaxTimestamp: NoTimestamp, Records: int(n)}
	switch {
	case !complete:
		s.MaxTimestamp = max(maxTime, b.MaxTimestamp())
		s.OffsetOfMaxTimestamp = b.LastOffset()
	case maxIndex >= 0:
		s.OffsetOfMaxTimestamp = b.BaseOffset() + maxIndex
	}
	return s, nil
}

// slowRecord is walk's step for any record: it checks the one at p[i], which has number n, and returns its
// timestamp and where it ends. That is -1 next to an error that more bytes might mend.
func (b Batch) slowRecord(p []byte, i int, n int64, rules *Rules) (timestamp int64, next int, err error) {
	size, at := varint(p, i)
	if at < 0 {
		if len(p)-i < 5 {
			next = -1
		}
		return 0, next, fmt.Errorf("%w: no length at byte %d", ErrStructure, i)
	}
	if size < 0 || size > int64(len(p)-at) {
		if size > 0 {
			next = -1
		}
		return 0, next, fmt.Errorf("%w: length %d at byte %d, %d bytes follow", ErrStructure, size, i, len(p)-at)
	}
	end := at + int(size)
	q := p[:end]
	if size == 0 {
		return 0, 0, malformed("attributes", at, end)
	}
	delta, next := varlong(q, at+1)
	if next < 0 {
		return 0, 0, malformed("timestamp", at+1, end)
	}
	at = next
	offset, next := varint(q, at)
	if next < 0 {
		return 0, 0, malformed("offset", at, end)
	}
	if offset != n {
		return 0, 0, fmt.Errorf("%w: offset delta %d at byte %d, expected %d", ErrStructure, offset, at, n)
	}
	at = next
	hasKey, next := skipBytes(q, at)
	if next < 0 {
		return 0, 0, malformed("key", at, end)
	}
	if !hasKey && rules.RequireKeys {
		return 0, 0, fmt.Errorf("%w: null at byte %d", ErrNoKey, at)
	}
	at = next
	if _, next = skipBytes(q, at); next < 0 {
		return 0, 0, malformed("value", at, end)
	}
	at = next
	if next = skipHeaders(q, at); next < 0 {
		return 0, 0, malformed("headers", at, end)
	}
	if next != end {
		return 0, 0, fmt.Errorf("%w: record ends at byte %d, its length says %d", ErrStructure, next, end)
	}
	timestamp = b.BaseTimestamp() + delta
	if b.IsLogAppendTime() {
		timestamp = b.MaxTimestamp()
	}
	if rules.CheckTimestamps && timestamp != NoTimestamp &&
		(timestamp < rules.MinTimestamp || timestamp > rules.MaxTimestamp) {
		return 0, 0, fmt.Errorf("%w: %d, expected %d to %d", ErrTimestamp, timestamp, rules.MinTimestamp, rules.MaxTimestamp)
	}
	return timestamp, end, nil
}

// skipBytes passes over a length and as many bytes, or -1 for null.
func skipBytes(p []byte, i int) (present bool, next int) {
	n, at := varint(p, i)
	if at < 0 || n < -1 || n > int64(len(p)-at) {
		return false, -1
	}
	if n < 0 {
		return false, at
	}
	return true, at + int(n)
}

// skipHeaders passes over the number of headers and the headers. A count of -1 is no headers: Java's clients
// refuse it, but others have written it as they write a null array, and what they wrote is taken as it is.
func skipHeaders(p []byte, i int) int {
	count, at := varint(p, i)
	if at >= 0 && count == -1 {
		return at
	}
	if at < 0 || count < 0 || count > int64(len(p)-at)/2 {
		return -1
	}
	for range count {
		present, next := skipBytes(p, at)
		if !present {
			return -1
		}
		if _, at = skipBytes(p, next); at < 0 {
			return -1
		}
	}
	return at
}
