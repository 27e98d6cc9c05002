package codec

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/s2"
)

// decompressSnappy reads Xerial's framing, and one raw block when its magic is missing: several clients
// write that.
func decompressSnappy(dst, src []byte, limit int) ([]byte, bool, error) {
	if len(src) < len(xerialHeader) || string(src[:len(xerialMagic)]) != xerialMagic {
		return snappyBlock(dst, src, limit)
	}
	if v := binary.BigEndian.Uint32(src[len(xerialMagic)+4:]); v > 1 {
		return dst, false, fmt.Errorf("%w: framing needs version %d, expected 1", ErrCorrupt, v)
	}
	start := len(dst)
	for at := len(xerialHeader); at < len(src); {
		if len(src)-at < 4 {
			return dst, false, fmt.Errorf("%w: %d bytes at byte %d, expected a block length", ErrCorrupt, len(src)-at, at)
		}
		n := binary.BigEndian.Uint32(src[at:])
		at += 4
		if uint64(n) > uint64(len(src)-at) {
			return dst, false, fmt.Errorf("%w: block of %d bytes at byte %d, only %d follow", ErrCorrupt, n, at-4, len(src)-at)
		}
		out, complete, err := snappyBlock(dst, src[at:at+int(n)], limit-(len(dst)-start))
		if err != nil {
			return dst, false, fmt.Errorf("block at byte %d: %w", at, err)
		}
		dst = out
		if !complete {
			return dst, false, nil
		}
		at += int(n)
	}
	return dst, true, nil
}

// snappyBlock decodes one block, at most limit bytes of it.
func snappyBlock(dst, src []byte, limit int) ([]byte, bool, error) {
	size, n := binary.Uvarint(src)
	if n <= 0 || size > 1<<32-1 {
		return dst, false, fmt.Errorf("%w: snappy block of %d bytes without a size", ErrCorrupt, len(src))
	}
	// Three bytes of input make at most 64 of output, so a size above that is a lie.
	if size > uint64(len(src)-n)*64/3+64 {
		return dst, false, fmt.Errorf("%w: snappy block of %d bytes claims %d", ErrCorrupt, len(src), size)
	}
	if size > uint64(limit) {
		out, err := snappyPrefix(dst, src[n:], limit)
		return out, false, err
	}
	dst = slices.Grow(dst, int(size))
	out, err := s2.Decode(dst[len(dst):len(dst)+int(size)], src)
	if err != nil {
		return dst, false, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return dst[:len(dst)+len(out)], true, nil
}

// snappyPrefix appends exactly limit bytes of the elements p of a block.
func snappyPrefix(dst, p []byte, limit int) ([]byte, error) {
	start, end := len(dst), len(dst)+limit
	dst = slices.Grow(dst, limit)
	for len(dst) < end {
		if len(p) == 0 {
			return dst, fmt.Errorf("%w: snappy block ends after %d bytes of output", ErrCorrupt, len(dst)-start)
		}
		tag := p[0]
		n, width := int(tag>>2)+1, 0
		if tag&3 == 0 { // a literal; lengths above 60 follow in 1 to 4 bytes
			if n > 60 {
				width = n - 60
			}
			if len(p) < 1+width {
				return dst, fmt.Errorf("%w: snappy literal is cut short", ErrCorrupt)
			}
			if width > 0 {
				var le [4]byte
				copy(le[:], p[1:1+width])
				n = int(binary.LittleEndian.Uint32(le[:])) + 1
			}
			p = p[1+width:]
			n = min(n, end-len(dst))
			if len(p) < n {
				return dst, fmt.Errorf("%w: snappy literal is cut short", ErrCorrupt)
			}
			dst, p = append(dst, p[:n]...), p[n:]
			continue
		}
		var offset int
		switch tag & 3 {
		case 1:
			width, n = 1, 4+int(tag>>2&7)
		case 2:
			width = 2
		case 3:
			width = 4
		}
		if len(p) < 1+width {
			return dst, fmt.Errorf("%w: snappy copy is cut short", ErrCorrupt)
		}
		switch width {
		case 1:
			offset = int(tag&0xe0)<<3 | int(p[1])
		case 2:
			offset = int(binary.LittleEndian.Uint16(p[1:]))
		case 4:
			offset = int(binary.LittleEndian.Uint32(p[1:]))
		}
		p = p[1+width:]
		if offset == 0 || offset > len(dst)-start {
			return dst, fmt.Errorf("%w: snappy copy reaches back %d of %d bytes", ErrCorrupt, offset, len(dst)-start)
		}
		for n = min(n, end-len(dst)); n > 0; {
			from := dst[len(dst)-offset:]
			from = from[:min(n, len(from))]
			dst = append(dst, from...)
			n -= len(from)
		}
	}
	return dst, nil
}
