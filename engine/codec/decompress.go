package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/pierrec/lz4/v4"
)

var (
	// ErrTooLarge says that the output would exceed the limit.
	ErrTooLarge = errors.New("decompressed size exceeds the limit")
	// ErrCorrupt says that the input is not what the codec writes, or is cut short.
	ErrCorrupt = errors.New("corrupt compressed data")
	// ErrUnknown says that a codec's number is none of Kafka's.
	ErrUnknown = errors.New("unknown codec")
)

// Decompress appends the decompressed src to dst. It fails with ErrTooLarge when the output has more than
// limit bytes, with ErrCorrupt on bad input and ErrUnknown on a number that is no codec; dst then comes
// back as it was. Memory grows with the real output, whatever sizes the input claims. It is safe for
// concurrent use.
func Decompress(dst []byte, t Type, src []byte, limit int) ([]byte, error) {
	out, complete, err := decompress(dst, t, src, limit, decompressZstd)
	if err != nil {
		return dst, err
	}
	if !complete {
		return dst, fmt.Errorf("%w of %d bytes: %v, %d bytes", ErrTooLarge, limit, t, len(src))
	}
	return out, nil
}

// DecompressPrefix is Decompress that stops without an error after limit bytes of output; complete says
// whether there was no more.
func DecompressPrefix(dst []byte, t Type, src []byte, limit int) (out []byte, complete bool, err error) {
	return decompress(dst, t, src, limit, prefixZstd)
}

type decoder func(dst, src []byte, limit int) (out []byte, complete bool, err error)

func decompress(dst []byte, t Type, src []byte, limit int, ofZstd decoder) (out []byte, complete bool, err error) {
	limit = max(limit, 0)
	switch t {
	case None:
		n := min(limit, len(src))
		return append(dst, src[:n]...), n == len(src), nil
	case Gzip:
		out, complete, err = decompressGzip(dst, src, limit)
	case Snappy:
		out, complete, err = decompressSnappy(dst, src, limit)
	case LZ4:
		out, complete, err = decompressLZ4(dst, src, limit)
	case Zstd:
		out, complete, err = ofZstd(dst, src, limit)
	default:
		return dst, false, fmt.Errorf("%w %d", ErrUnknown, t)
	}
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return dst, false, fmt.Errorf("%v, %d bytes: %w", t, len(src), err)
	}
	return out, complete, nil
}

// readAll appends what r gives to dst, at most limit bytes.
func readAll(dst []byte, r io.Reader, limit, hint int) (out []byte, complete bool, err error) {
	start := len(dst)
	dst = slices.Grow(dst, min(limit, max(hint, 512)))
	for {
		room := min(cap(dst)-len(dst), limit-(len(dst)-start))
		if room == 0 {
			if len(dst)-start == limit {
				break
			}
			dst = slices.Grow(dst, min(limit-(len(dst)-start), max(512, len(dst)-start)))
			continue
		}
		n, err := r.Read(dst[len(dst) : len(dst)+room])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, true, nil
		}
		if err != nil {
			return dst, false, err
		}
	}
	var one [1]byte
	for range 100 {
		n, err := r.Read(one[:])
		if n > 0 {
			return dst, false, nil
		}
		if err == io.EOF {
			return dst, true, nil
		}
		if err != nil {
			return dst, false, err
		}
	}
	return dst, false, io.ErrNoProgress
}

type gzipReader struct {
	z   gzip.Reader
	src bytes.Reader
}

var gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}

func decompressGzip(dst, src []byte, limit int) ([]byte, bool, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer func() {
		r.src.Reset(nil)
		gzipReaders.Put(r)
	}()
	r.src.Reset(src)
	if err := r.z.Reset(&r.src); err != nil {
		return dst, false, noEOF(err)
	}
	out, complete, err := readAll(dst, &r.z, limit, 2*len(src))
	return out, complete, noEOF(err)
}

type lz4Reader struct {
	z   *lz4.Reader
	src bytes.Reader
}

var lz4Readers = sync.Pool{New: func() any { return &lz4Reader{z: lz4.NewReader(nil)} }}

func decompressLZ4(dst, src []byte, limit int) ([]byte, bool, error) {
	if len(src) == 0 {
		return dst, false, io.ErrUnexpectedEOF
	}
	r := lz4Readers.Get().(*lz4Reader)
	defer func() {
		r.src.Reset(nil)
		r.z.Reset(nil)
		lz4Readers.Put(r)
	}()
	r.src.Reset(src)
	r.z.Reset(&r.src)
	out, complete, err := readAll(dst, r.z, limit, 2*len(src))
	return out, complete, noEOF(err)
}

// noEOF makes an end of input in the wrong place look like one.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
