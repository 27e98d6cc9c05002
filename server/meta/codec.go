package meta

import (
	"errors"

	"github.com/gregor-broker/gregor/wire/prim"
)

var errNull = errors.New("expected an array, found null")

// readList reads a compact array; null is nil, empty is not nil. minElem is the fewest bytes of one element.
func readList[T any](r *prim.Reader, minElem int, read func(*prim.Reader) T) []T {
	n := r.CompactArrayLen(minElem)
	if n < 0 || r.Err() != nil {
		return nil
	}
	list := make([]T, 0, n)
	for range n {
		list = append(list, read(r))
		if r.Err() != nil {
			return nil
		}
	}
	return list
}

// required reports the null of an array that may not be null.
func required[T any](r *prim.Reader, list []T) []T {
	if list == nil {
		r.Fail(errNull)
	}
	return list
}

func readUUID(r *prim.Reader) UUID     { return UUID(r.UUID()) }
func readString(r *prim.Reader) string { return r.CompactString() }
func readInt32(r *prim.Reader) int32   { return r.Int32() }
func readInts(r *prim.Reader) []int32  { return readList(r, 4, readInt32) }
func readUUIDs(r *prim.Reader) []UUID  { return readList(r, 16, readUUID) }
func readBytes(r *prim.Reader) []byte {
	p := r.CompactBytes()
	if p == nil {
		r.Fail(errors.New("expected bytes, found null"))
	}
	return append([]byte{}, p...)
}

func appendInts(dst []byte, list []int32) []byte {
	dst = prim.AppendCompactArrayLen(dst, len(list))
	for _, v := range list {
		dst = prim.AppendInt32(dst, v)
	}
	return dst
}

func appendUUIDs(dst []byte, list []UUID) []byte {
	dst = prim.AppendCompactArrayLen(dst, len(list))
	for _, id := range list {
		dst = prim.AppendUUID(dst, id)
	}
	return dst
}

// tagSection collects the tagged fields of one struct: count first, so the fields go to a buffer that is appended at the end.
// Fields must be added in ascending order of their tags.
type tagSection struct {
	count int
	body  []byte
}

func (t *tagSection) int8(tag uint32, v int8) {
	t.count++
	t.body = prim.AppendInt8(prim.AppendTag(t.body, tag, 1), v)
}

func (t *tagSection) int32(tag uint32, v int32) {
	t.count++
	t.body = prim.AppendInt32(prim.AppendTag(t.body, tag, 4), v)
}

func (t *tagSection) string(tag uint32, s string) {
	t.count++
	s = s[:min(len(s), prim.MaxStringBytes)]
	t.body = prim.AppendTag(t.body, tag, prim.UvarintSize(uint32(len(s)+1))+len(s))
	t.body = append(prim.AppendUvarint(t.body, uint32(len(s)+1)), s...)
}

func (t *tagSection) ints(tag uint32, list []int32) {
	t.count++
	t.body = prim.AppendTag(t.body, tag, prim.UvarintSize(uint32(len(list)+1))+4*len(list))
	t.body = appendInts(t.body, list)
}

func (t *tagSection) uuids(tag uint32, list []UUID) {
	t.count++
	t.body = prim.AppendTag(t.body, tag, prim.UvarintSize(uint32(len(list)+1))+16*len(list))
	t.body = appendUUIDs(t.body, list)
}

func (t *tagSection) appendTo(dst []byte) []byte {
	return append(prim.AppendUvarint(dst, uint32(t.count)), t.body...)
}
