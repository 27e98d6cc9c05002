package codec

import (
	"bytes"
	"fmt"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A frame header may claim a window and a content size of gigabytes, and the decoder would reserve them.
// So every frame is decoded behind a header of our own: the smallest window that covers the limit, no
// content size. The size that was claimed is compared with the output afterwards.

const (
	zstdBlock     = 128 << 10 // the most that one block yields
	zstdMinHeader = 6         // ours; no frame has a shorter one
	zstdMagic     = "\x28\xb5\x2f\xfd"
)

// zstdReader is a decoder, and the room where the header is exchanged.
type zstdReader struct {
	dec *zstd.Decoder
	max uint64 // the output it is set up for
	src []byte
	in  bytes.Reader
}

var zstdReaders sync.Pool

func getZstdReader(limit uint64) (*zstdReader, error) {
	r, _ := zstdReaders.Get().(*zstdReader)
	var err error
	switch {
	case r == nil:
		r = new(zstdReader)
		r.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(limit), zstd.WithDecoderMaxWindow(max(limit, zstd.MinWindowSize)))
	case r.max != limit:
		err = r.dec.ResetWithOptions(nil, zstd.WithDecoderMaxMemory(limit), zstd.WithDecoderMaxWindow(limit))
	}
	if err != nil {
		return nil, fmt.Errorf("zstd decoder for %d bytes: %w", limit, err)
	}
	r.max = limit
	return r, nil
}

// decompressZstd appends all output, or says that it is more than limit.
func decompressZstd(dst, src []byte, limit int) (out []byte, complete bool, err error) {
	return zstdFrames(dst, src, limit, func(r *zstdReader, dst []byte, limit int) ([]byte, bool, error) {
		before := len(dst)
		dst, err := r.dec.DecodeAll(r.src, dst)
		// What goes on behind the window fails there, in one way or another: then it is too large.
		if len(dst)-before > limit {
			return dst[:before+limit], false, nil
		}
		return dst, true, err
	})
}

// prefixZstd appends at most limit bytes of the output. It decodes block by block, beside a window that is
// only as large as the limit.
func prefixZstd(dst, src []byte, limit int) (out []byte, complete bool, err error) {
	return zstdFrames(dst, src, limit, func(r *zstdReader, dst []byte, limit int) ([]byte, bool, error) {
		r.in.Reset(r.src)
		defer r.in.Reset(nil)
		if err := r.dec.Reset(&r.in); err != nil {
			return dst, false, err
		}
		out, complete, err := readAll(dst, r.dec, limit, min(limit, 2*len(r.src)))
		if err := r.dec.Reset(nil); err != nil {
			return dst, false, err
		}
		return out, complete, err
	})
}

// zstdFrames calls decode for every frame of src, with the frame behind our header in r.src and with what
// is left of the limit.
func zstdFrames(dst, src []byte, limit int, decode func(r *zstdReader, dst []byte, limit int) ([]byte, bool, error)) (out []byte, complete bool, err error) {
	if len(src) == 0 {
		return dst, false, fmt.Errorf("%w: no zstd frame in 0 bytes", ErrCorrupt)
	}
	descriptor, window := zstdWindow(uint64(min(limit, 1<<30)) + 2*zstdBlock)
	r, err := getZstdReader(window)
	if err != nil {
		return dst, false, err
	}
	defer func() {
		if cap(r.src) > 1<<20 {
			r.src = nil
		}
		zstdReaders.Put(r)
	}()
	start := len(dst)
	for at := 0; at < len(src); {
		f, err := zstdFrame(src[at:])
		if err != nil {
			return dst, false, fmt.Errorf("frame at byte %d: %w", at, err)
		}
		frame := src[at : at+f.size]
		at += f.size
		if f.skip {
			continue
		}
		r.src = append(r.src[:0], frame[f.header-zstdMinHeader:]...)
		copy(r.src, zstdMagic)
		r.src[4], r.src[5] = f.flags, descriptor
		before := len(dst)
		dst, complete, err = decode(r, dst, limit-(before-start))
		if err != nil {
			return dst, false, fmt.Errorf("%w: frame at byte %d: %w", ErrCorrupt, at-f.size, err)
		}
		if !complete {
			return dst, false, nil
		}
		if got := uint64(len(dst) - before); f.hasContent && got != f.content {
			return dst, false, fmt.Errorf("%w: frame at byte %d has %d bytes, claims %d", ErrCorrupt, at-f.size, got, f.content)
		}
	}
	return dst, true, nil
}

// zstdWindow is the smallest window of at least n bytes, and the byte that describes it (RFC 8878,
// 3.1.1.1.2): a power of two and eighths of it.
func zstdWindow(n uint64) (descriptor byte, window uint64) {
	exp := max(bits.Len64(n)-1, 10)
	base := uint64(1) << exp
	eighths := (max(n, base) - base + base/8 - 1) / (base / 8)
	if eighths == 8 {
		exp, eighths, base = exp+1, 0, base*2
	}
	return byte((exp-10)<<3) | byte(eighths), base + eighths*(base/8)
}

// zstdInfo is where the parts of a frame are.
type zstdInfo struct {
	size       int // of the whole frame
	header     int // of its header
	flags      byte
	skip       bool
	hasContent bool
	content    uint64
}

// zstdFrame measures the frame at p[0] without decoding its blocks.
func zstdFrame(p []byte) (f zstdInfo, err error) {
	var h zstd.Header
	if err := h.Decode(p); err != nil {
		return f, fmt.Errorf("%w: zstd header: %w", ErrCorrupt, err)
	}
	if h.Skippable {
		size := uint64(h.HeaderSize) + uint64(h.SkippableSize)
		if size > uint64(len(p)) {
			return f, fmt.Errorf("%w: skippable zstd frame of %d bytes, only %d are there", ErrCorrupt, size, len(p))
		}
		return zstdInfo{size: int(size), skip: true}, nil
	}
	if h.DictionaryID != 0 {
		return f, fmt.Errorf("%w: zstd frame needs dictionary %d", ErrCorrupt, h.DictionaryID)
	}
	f = zstdInfo{header: h.HeaderSize, hasContent: h.HasFCS, content: h.FrameContentSize}
	if f.header < zstdMinHeader || f.header > len(p) {
		return f, fmt.Errorf("%w: zstd header of %d bytes", ErrCorrupt, f.header)
	}
	for at := f.header; ; {
		if len(p)-at < 3 {
			return f, fmt.Errorf("%w: zstd frame ends at byte %d, expected a block", ErrCorrupt, at)
		}
		bh := uint32(p[at]) | uint32(p[at+1])<<8 | uint32(p[at+2])<<16
		size := int(bh >> 3)
		if bh>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		at += 3
		if size > len(p)-at {
			return f, fmt.Errorf("%w: zstd block of %d bytes at byte %d, only %d follow", ErrCorrupt, size, at-3, len(p)-at)
		}
		at += size
		if bh&1 == 0 {
			continue
		}
		if h.HasCheckSum {
			f.flags = 1 << 2
			if at += 4; at > len(p) {
				return f, fmt.Errorf("%w: zstd frame ends at byte %d, expected a checksum", ErrCorrupt, len(p))
			}
		}
		f.size = at
		return f, nil
	}
}
