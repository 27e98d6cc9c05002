package batch

import "math/bits"

// zigzag maps signed numbers to unsigned ones as Protocol Buffers do: 0, -1, 1, -2, 2, ...
func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// unzigzag undoes zigzag.
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// varintSize is the number of bytes of v as a varint or varlong.
func varintSize(v int64) int { return (bits.Len64(zigzag(v)|1) + 6) / 7 }

// appendVarint appends v as a varint or varlong; the two differ only in their range.
func appendVarint(dst []byte, v int64) []byte {
	u := zigzag(v)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

// varint reads a varint (at most 5 bytes, 32 bits) at p[i]. The returned position is -1 when p ends
// first or the number does not fit.
func varint(p []byte, i int) (int64, int) {
	if uint(i) < uint(len(p)) && p[i] < 0x80 {
		return unzigzag(uint64(p[i])), i + 1
	}
	u, next := uvar(p, i, 5)
	if u > 1<<32-1 {
		return 0, -1
	}
	return unzigzag(u), next
}

// varlong reads a varlong (at most 10 bytes, 64 bits) at p[i], as varint does.
func varlong(p []byte, i int) (int64, int) {
	u, next := uvar(p, i, 10)
	return unzigzag(u), next
}

// uvar reads an unsigned variable-length number of at most most bytes.
func uvar(p []byte, i, most int) (uint64, int) {
	if i < 0 {
		return 0, -1
	}
	var u uint64
	for n := 0; n < most; n++ {
		if i >= len(p) {
			return 0, -1
		}
		c := p[i]
		i++
		if n == 9 && c > 1 {
			return 0, -1
		}
		u |= uint64(c&0x7f) << (7 * n)
		if c < 0x80 {
			return u, i
		}
	}
	return 0, -1
}
