package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// DefaultLevel asks Compress for the codec's own default: gzip -1, LZ4 fast, zstd 3.
const DefaultLevel = -1 << 31

// Compress appends the compressed src to dst. level is that of Kafka's compression.gzip.level (1-9, -1),
// compression.lz4.level (1-17) and compression.zstd.level (-131072-22); what lies outside is moved inside,
// and codecs without levels ignore it. Snappy is written in Xerial's framing with blocks of 32 KiB, LZ4
// as a frame of independent blocks of 64 KiB without checksums, as Kafka does. It fails only on an unknown
// codec. It is safe for concurrent use.
func Compress(dst []byte, t Type, level int, src []byte) ([]byte, error) {
	switch t {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return compressGzip(dst, level, src)
	case Snappy:
		return compressSnappy(dst, src), nil
	case LZ4:
		return compressLZ4(dst, level, src)
	case Zstd:
		return compressZstd(dst, level, src)
	}
	return dst, fmt.Errorf("%w %d", ErrUnknown, t)
}

// writer is a compressor that writes to sink and can be used again.
type writer[W any] struct {
	w    W
	sink bytes.Buffer
}

// pools are one pool for each level.
type pools struct {
	mu      sync.Mutex
	byLevel map[int]*sync.Pool
}

func (p *pools) level(level int) *sync.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	pool := p.byLevel[level]
	if pool == nil {
		if p.byLevel == nil {
			p.byLevel = make(map[int]*sync.Pool)
		}
		pool = new(sync.Pool)
		p.byLevel[level] = pool
	}
	return pool
}

var gzipWriters, lz4Writers, zstdWriters pools

func compressGzip(dst []byte, level int, src []byte) ([]byte, error) {
	if level == DefaultLevel || level == -1 {
		level = gzip.DefaultCompression
	} else {
		level = min(max(level, gzip.BestSpeed), gzip.BestCompression)
	}
	pool := gzipWriters.level(level)
	z, _ := pool.Get().(*writer[*gzip.Writer])
	if z == nil {
		z = &writer[*gzip.Writer]{}
		w, err := gzip.NewWriterLevel(nil, level)
		if err != nil {
			return dst, fmt.Errorf("gzip level %d: %w", level, err)
		}
		z.w = w
	}
	z.sink = *bytes.NewBuffer(dst)
	z.w.Reset(&z.sink)
	return finish(dst, pool, z, z.w, src)
}

func compressLZ4(dst []byte, level int, src []byte) ([]byte, error) {
	// The broker's default, 9, means the fast compressor there too.
	var lz4Level lz4.CompressionLevel
	if level == DefaultLevel || level == 9 {
		lz4Level = lz4.Fast
	} else {
		lz4Level = lz4.CompressionLevel(1 << (8 + min(max(level, 1), 9)))
	}
	pool := lz4Writers.level(int(lz4Level))
	z, _ := pool.Get().(*writer[*lz4.Writer])
	if z == nil {
		z = &writer[*lz4.Writer]{w: lz4.NewWriter(nil)}
		if err := z.w.Apply(lz4.CompressionLevelOption(lz4Level), lz4.BlockSizeOption(lz4.Block64Kb),
			lz4.ChecksumOption(false), lz4.ConcurrencyOption(1)); err != nil {
			return dst, fmt.Errorf("lz4 level %d: %w", level, err)
		}
	}
	z.sink = *bytes.NewBuffer(dst)
	z.w.Reset(&z.sink)
	return finish(dst, pool, z, z.w, src)
}

// finish runs src through w, which writes to z's sink, and returns z to its pool.
func finish[W io.WriteCloser](dst []byte, pool *sync.Pool, z *writer[W], w io.WriteCloser, src []byte) ([]byte, error) {
	if _, err := w.Write(src); err != nil {
		return dst, fmt.Errorf("compressing %d bytes: %w", len(src), err)
	}
	if err := w.Close(); err != nil {
		return dst, fmt.Errorf("compressing %d bytes: %w", len(src), err)
	}
	out := z.sink.Bytes()
	z.sink = bytes.Buffer{} // the pool must not keep the caller's memory
	pool.Put(z)
	return out, nil
}

func compressZstd(dst []byte, level int, src []byte) ([]byte, error) {
	speed := zstd.SpeedDefault
	if level != DefaultLevel {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	pool := zstdWriters.level(int(speed))
	enc, _ := pool.Get().(*zstd.Encoder)
	if enc == nil {
		var err error
		enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1),
			zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true))
		if err != nil {
			return dst, fmt.Errorf("zstd level %d: %w", level, err)
		}
	}
	out := enc.EncodeAll(src, dst)
	pool.Put(enc)
	return out, nil
}

// xerialMagic begins what SnappyOutputStream writes; two version numbers of four bytes, both 1, follow.
const (
	xerialMagic  = "\x82SNAPPY\x00"
	xerialHeader = xerialMagic + "\x00\x00\x00\x01\x00\x00\x00\x01"
	xerialBlock  = 32 << 10
)

func compressSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialHeader...)
	for len(src) > 0 {
		block := src[:min(len(src), xerialBlock)]
		src = src[len(block):]
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		need := s2.MaxEncodedLen(len(block))
		if cap(dst)-len(dst) < need {
			grown := make([]byte, len(dst), 2*len(dst)+need)
			copy(grown, dst)
			dst = grown
		}
		out := s2.EncodeSnappy(dst[len(dst):len(dst)+need], block)
		binary.BigEndian.PutUint32(dst[at:], uint32(len(out)))
		dst = dst[:len(dst)+len(out)]
	}
	return dst
}
