package prim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is what every error of a Reader wraps: the bytes are not what the schema says.
var ErrMalformed = errors.New("malformed message")

// MaxStringBytes is the longest string the protocol can carry in either form; Kafka refuses longer compact strings as well
// (the generated message classes: "string field had invalid length").
const MaxStringBytes = math.MaxInt16

// MaxTaggedFields is how many tagged fields one section may hold. Kafka defines fewer than ten in any section; the bound
// keeps a message made of empty tags from costing more than a look.
const MaxTaggedFields = 1024

// Reader reads protocol primitives from a byte slice. The first error sticks: later reads return zero values and move
// nothing, so a caller may parse a whole message and look at Err once. Slices it returns alias the input and have no spare
// capacity. It is not safe for concurrent use; copying it copies the position.
type Reader struct {
	b     []byte
	off   int
	err   error
	spent int64
	allow int64
}

// NewReader returns a Reader at the start of b, which must not change while it is in use.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Reset makes r read b from its start and forgets the error, so that a Reader held by value needs no allocation.
func (r *Reader) Reset(b []byte) { *r = Reader{b: b} }

// Err returns the first error, nil while all reads have succeeded; it wraps ErrMalformed and names the position.
func (r *Reader) Err() error { return r.err }

// Remaining returns how many bytes have not been read; inside Tags, of the field at hand.
func (r *Reader) Remaining() int { return len(r.b) - r.off }

// Offset returns the position from the start of the message in bytes.
func (r *Reader) Offset() int { return r.off }

// Rest returns the bytes not yet read, without reading them; nil after an error.
func (r *Reader) Rest() []byte {
	if r.err != nil {
		return nil
	}
	return r.b[r.off:len(r.b):len(r.b)]
}

// Fail makes err, if it is the first, the error of r: for a parser's own rules.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Allow sets how many bytes Charge may account for; the default is none.
func (r *Reader) Allow(bytes int) { r.allow, r.spent = int64(bytes), 0 }

// Charge accounts for count values of size bytes of memory, which the caller is about to allocate; more than Allow is an
// error. It bounds what a message of many tiny elements may cost, which the count against the remaining bytes does not.
func (r *Reader) Charge(count, size int) bool {
	if r.err != nil {
		return false
	}
	if count > 0 {
		r.spent += int64(count) * int64(size)
	}
	if r.spent > r.allow {
		r.malformed("memory for array elements", r.allow, r.spent)
	}
	return r.err == nil
}

// Finish makes unread bytes at the end of the message an error and returns Err.
func (r *Reader) Finish() error {
	if r.err == nil && r.off != len(r.b) {
		r.malformed("bytes after the end", 0, int64(len(r.b)-r.off))
	}
	return r.err
}

func (r *Reader) malformed(what string, expected, found int64) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s at byte %d: expected at most %d, found %d", ErrMalformed, what, r.off, expected, found)
	}
}

// take returns the next n bytes or nil and an error set.
func (r *Reader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.b)-r.off {
		r.short(n, what)
		return nil
	}
	p := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return p
}

func (r *Reader) short(n int, what string) {
	r.err = fmt.Errorf("%w: %s at byte %d: expected %d bytes, %d remain", ErrMalformed, what, r.off, n, len(r.b)-r.off)
}

// Int8 reads one byte.
func (r *Reader) Int8() int8 {
	if p := r.take(1, "int8"); p != nil {
		return int8(p[0])
	}
	return 0
}

// Bool reads one byte; any value but zero is true, as in Kafka's ByteBufferAccessor.
func (r *Reader) Bool() bool { return r.Int8() != 0 }

// Int16 reads two bytes, big endian.
func (r *Reader) Int16() int16 { return int16(r.Uint16()) }

// Uint16 reads two bytes, big endian.
func (r *Reader) Uint16() uint16 {
	if p := r.take(2, "int16"); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// Int32 reads four bytes, big endian.
func (r *Reader) Int32() int32 { return int32(r.Uint32()) }

// Uint32 reads four bytes, big endian.
func (r *Reader) Uint32() uint32 {
	if p := r.take(4, "int32"); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

// Int64 reads eight bytes, big endian.
func (r *Reader) Int64() int64 {
	if p := r.take(8, "int64"); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

// Float64 reads an IEEE 754 double, big endian.
func (r *Reader) Float64() float64 { return math.Float64frombits(uint64(r.Int64())) }

// UUID reads sixteen bytes.
func (r *Reader) UUID() (id [16]byte) {
	copy(id[:], r.take(16, "uuid"))
	return id
}

// Uvarint reads an unsigned varint of at most five bytes and 32 bits.
func (r *Reader) Uvarint() uint32 {
	if r.err != nil {
		return 0
	}
	if r.off < len(r.b) && r.b[r.off] < 0x80 {
		r.off++
		return uint32(r.b[r.off-1])
	}
	return uint32(r.uvarint(5, math.MaxUint32, "unsigned varint"))
}

// Varint reads a zigzag varint of at most 32 bits.
func (r *Reader) Varint() int32 {
	u := r.Uvarint()
	return int32(u>>1) ^ -int32(u&1)
}

// Varlong reads a zigzag varint of at most ten bytes and 64 bits.
func (r *Reader) Varlong() int64 {
	u := r.uvarint(10, math.MaxUint64, "varlong")
	return int64(u>>1) ^ -int64(u&1)
}

func (r *Reader) uvarint(maxBytes int, limit uint64, what string) uint64 {
	if r.err != nil {
		return 0
	}
	var v uint64
	for i := range maxBytes {
		if r.off+i >= len(r.b) {
			r.short(i+1, what)
			return 0
		}
		c := r.b[r.off+i]
		low := uint64(c & 0x7f)
		if low > limit>>(7*i) {
			break
		}
		v |= low << (7 * i)
		if c < 0x80 {
			r.off += i + 1
			return v
		}
	}
	r.err = fmt.Errorf("%w: %s at byte %d: expected at most %d bytes and a value up to %d", ErrMalformed, what, r.off, maxBytes, limit)
	return 0
}

// compactLen reads a length plus one; -1 stands for null.
func (r *Reader) compactLen() int64 { return int64(r.Uvarint()) - 1 }

// sized takes n bytes; null (-1) is nil without an error.
func (r *Reader) sized(n, limit int64, what string) []byte {
	if r.err != nil || n == -1 {
		return nil
	}
	if n < 0 || n > limit {
		r.malformed(what, limit, n)
		return nil
	}
	if n > int64(len(r.b)-r.off) {
		r.malformed(what, int64(len(r.b)-r.off), n)
		return nil
	}
	return r.take(int(n), what)
}

// nonNull reports the null of a field that may not be null.
func (r *Reader) nonNull(p []byte, what string) []byte {
	if p == nil && r.err == nil {
		r.err = fmt.Errorf("%w: %s before byte %d: expected a value, found null", ErrMalformed, what, r.off)
	}
	return p
}

// StringBytes reads a string with a 16-bit length as bytes that alias the input; nil is null.
func (r *Reader) StringBytes() []byte {
	return r.sized(int64(r.Int16()), MaxStringBytes, "string length")
}

// CompactStringBytes reads a compact string as bytes that alias the input; nil is null.
func (r *Reader) CompactStringBytes() []byte {
	return r.sized(r.compactLen(), MaxStringBytes, "compact string length")
}

// String reads a string with a 16-bit length; null is an error.
func (r *Reader) String() string { return string(r.nonNull(r.StringBytes(), "string")) }

// CompactString reads a compact string; null is an error.
func (r *Reader) CompactString() string {
	return string(r.nonNull(r.CompactStringBytes(), "compact string"))
}

// NullableString reads a string with a 16-bit length; nil is null (or an error).
func (r *Reader) NullableString() *string { return stringPointer(r.StringBytes()) }

// CompactNullableString reads a compact string; nil is null (or an error).
func (r *Reader) CompactNullableString() *string { return stringPointer(r.CompactStringBytes()) }

func stringPointer(p []byte) *string {
	if p == nil {
		return nil
	}
	s := string(p)
	return &s
}

// Bytes reads a byte field with a 32-bit length; it aliases the input, nil is null.
func (r *Reader) Bytes() []byte { return r.sized(int64(r.Int32()), math.MaxInt32, "bytes length") }

// CompactBytes reads a compact byte field; it aliases the input, nil is null.
func (r *Reader) CompactBytes() []byte {
	return r.sized(r.compactLen(), math.MaxInt32, "compact bytes length")
}

// Raw reads n bytes that alias the input; nil after an error.
func (r *Reader) Raw(n int) []byte { return r.take(n, "raw bytes") }

// ArrayLen reads a 32-bit array count; -1 is null, 0 after an error. The count times minElem, the fewest bytes an element can
// take (at least 1), must fit in what remains.
func (r *Reader) ArrayLen(minElem int) int { return r.count(int64(r.Int32()), minElem, "array count") }

// CompactArrayLen reads a compact array count; -1 is null, 0 after an error. The count times minElem, the fewest bytes an
// element can take (at least 1), must fit in what remains.
func (r *Reader) CompactArrayLen(minElem int) int {
	return r.count(r.compactLen(), minElem, "compact array count")
}

func (r *Reader) count(n int64, minElem int, what string) int {
	if r.err != nil {
		return 0
	}
	if most := int64(len(r.b)-r.off) / int64(max(minElem, 1)); n < -1 || n > most {
		r.malformed(what, most, n)
		return 0
	}
	return int(n)
}

// SkipTags reads over a section of tagged fields without allocating.
func (r *Reader) SkipTags() { r.SkipTagsAtMost(MaxTaggedFields) }

// SkipTagsAtMost is SkipTags where more than limit fields are an error: for what a client may send before it is known.
func (r *Reader) SkipTagsAtMost(limit int) {
	if r.err == nil && r.off < len(r.b) && r.b[r.off] == 0 {
		r.off++
		return
	}
	for n := r.tagCount(limit); n > 0 && r.err == nil; n-- {
		r.Uvarint()
		r.sized(int64(r.Uvarint()), math.MaxInt32, "tagged field size")
	}
}

// Tags reads a section of tagged fields and calls f for each with a Reader bounded to that field: r itself, narrowed, so f
// may ignore a tag or read part of it. An error inside f sticks to r.
func (r *Reader) Tags(f func(tag uint32, r *Reader)) {
	for n := r.tagCount(MaxTaggedFields); n > 0 && r.err == nil; n-- {
		tag := r.Uvarint()
		size := int64(r.Uvarint())
		if r.err != nil {
			return
		}
		if size > int64(len(r.b)-r.off) {
			r.malformed("tagged field size", int64(len(r.b)-r.off), size)
			return
		}
		whole := r.b
		end := r.off + int(size)
		r.b = whole[:end:end]
		f(tag, r)
		r.b = whole
		if r.err == nil {
			r.off = end
		}
	}
}

func (r *Reader) tagCount(limit int) int {
	n := int64(r.Uvarint())
	if r.err == nil && n > int64(limit) {
		r.malformed("tagged field count", int64(limit), n)
	}
	return r.count(n, 2, "tagged field count")
}
