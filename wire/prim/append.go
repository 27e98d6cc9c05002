package prim

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unicode/utf8"
)

// AppendInt8 appends one byte.
func AppendInt8(dst []byte, v int8) []byte { return append(dst, byte(v)) }

// AppendBool appends 1 or 0.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendInt16 appends two bytes, big endian.
func AppendInt16(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) }

// AppendUint16 appends two bytes, big endian.
func AppendUint16(dst []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(dst, v) }

// AppendInt32 appends four bytes, big endian.
func AppendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }

// AppendUint32 appends four bytes, big endian.
func AppendUint32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

// AppendInt64 appends eight bytes, big endian.
func AppendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

// AppendFloat64 appends an IEEE 754 double, big endian.
func AppendFloat64(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
}

// AppendUUID appends sixteen bytes.
func AppendUUID(dst []byte, id [16]byte) []byte { return append(dst, id[:]...) }

// AppendUvarint appends an unsigned varint of one to five bytes.
func AppendUvarint(dst []byte, v uint32) []byte { return binary.AppendUvarint(dst, uint64(v)) }

// AppendVarint appends a zigzag varint of one to five bytes.
func AppendVarint(dst []byte, v int32) []byte {
	return binary.AppendUvarint(dst, uint64(uint32(v)<<1^uint32(v>>31)))
}

// AppendVarlong appends a zigzag varint of one to ten bytes.
func AppendVarlong(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

// UvarintSize returns how many bytes AppendUvarint appends for v.
func UvarintSize(v uint32) int { return (bits.Len32(v|1) + 6) / 7 }

// cut bounds a string to what the protocol can carry, at a character boundary: a longer one can only be a message meant for
// a human, and half of it is better than a broken frame.
func cut(s string) string {
	if len(s) <= MaxStringBytes {
		return s
	}
	n := MaxStringBytes
	for n > MaxStringBytes-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// AppendString appends a string with a 16-bit length; past MaxStringBytes it is cut.
func AppendString(dst []byte, s string) []byte {
	s = cut(s)
	return append(AppendInt16(dst, int16(len(s))), s...)
}

// AppendNullableString appends a string with a 16-bit length, nil as null; past MaxStringBytes it is cut.
func AppendNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return AppendInt16(dst, -1)
	}
	return AppendString(dst, *s)
}

// AppendStringBytes appends bytes as a string with a 16-bit length, nil as null; past MaxStringBytes it is cut.
func AppendStringBytes(dst []byte, s []byte) []byte {
	if s == nil {
		return AppendInt16(dst, -1)
	}
	s = s[:min(len(s), MaxStringBytes)]
	return append(AppendInt16(dst, int16(len(s))), s...)
}

// AppendCompactString appends a compact string; past MaxStringBytes it is cut.
func AppendCompactString(dst []byte, s string) []byte {
	s = cut(s)
	return append(AppendUvarint(dst, uint32(len(s))+1), s...)
}

// AppendCompactNullableString appends a compact string, nil as null; past MaxStringBytes it is cut.
func AppendCompactNullableString(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, 0)
	}
	return AppendCompactString(dst, *s)
}

// AppendCompactStringBytes appends bytes as a compact string, nil as null; past MaxStringBytes it is cut.
func AppendCompactStringBytes(dst []byte, s []byte) []byte {
	if s == nil {
		return append(dst, 0)
	}
	s = s[:min(len(s), MaxStringBytes)]
	return append(AppendUvarint(dst, uint32(len(s))+1), s...)
}

// AppendBytes appends a byte field with a 32-bit length, nil as null.
func AppendBytes(dst, p []byte) []byte {
	if p == nil {
		return AppendInt32(dst, -1)
	}
	return append(AppendInt32(dst, int32(len(p))), p...)
}

// AppendCompactBytes appends a compact byte field, nil as null.
func AppendCompactBytes(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 0)
	}
	return append(AppendUvarint(dst, uint32(len(p))+1), p...)
}

// AppendArrayLen appends the count of an array; -1 is null.
func AppendArrayLen(dst []byte, n int) []byte { return AppendInt32(dst, int32(n)) }

// AppendCompactArrayLen appends the count of a compact array; -1 is null.
func AppendCompactArrayLen(dst []byte, n int) []byte { return AppendUvarint(dst, uint32(n+1)) }

// AppendTags0 appends an empty section of tagged fields.
func AppendTags0(dst []byte) []byte { return append(dst, 0) }

// AppendTag appends the head of one tagged field, whose size bytes the caller appends next; the section's count comes first.
func AppendTag(dst []byte, tag uint32, size int) []byte {
	return AppendUvarint(AppendUvarint(dst, tag), uint32(size))
}
