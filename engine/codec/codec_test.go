package codec

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

var all = []Type{None, Gzip, Snappy, LZ4, Zstd}

func read(t testing.TB, name string) []byte {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// plain is the text that the files in testdata hold.
func plain(t testing.TB) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(read(t, "plain.txt.gz")))
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func samples(t testing.TB) [][]byte {
	text := plain(t)
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	return [][]byte{{}, {7}, []byte("short"), text[:32<<10], text[:32<<10+1], text, noise, make([]byte, 1<<20), append(append([]byte{}, noise...), text...)}
}

func TestRoundTrip(t *testing.T) {
	inputs := samples(t)
	for _, c := range all {
		for _, level := range []int{DefaultLevel, -7, -1, 1, 5, 9, 17, 22} {
			some := inputs
			if level != DefaultLevel {
				some = inputs[3:4]
			}
			for _, p := range some {
				packed, err := Compress([]byte("before"), c, level, p)
				if err != nil || !bytes.HasPrefix(packed, []byte("before")) {
					t.Fatalf("%v: %v", c, err)
				}
				out, err := Decompress([]byte("kept"), c, packed[6:], len(p))
				if err != nil || string(out[:4]) != "kept" || !bytes.Equal(out[4:], p) {
					t.Fatalf("%v level %d, %d bytes: %v", c, level, len(p), err)
				}
				if len(p) == 0 {
					continue
				}
				if out, err = Decompress([]byte("kept"), c, packed[6:], len(p)-1); !errors.Is(err, ErrTooLarge) || string(out) != "kept" {
					t.Fatalf("%v, %d bytes beyond the limit: %d bytes, %v", c, len(p), len(out), err)
				}
			}
		}
	}
}

func TestPrefix(t *testing.T) {
	for _, c := range all {
		for _, p := range samples(t) {
			packed, err := Compress(nil, c, DefaultLevel, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, limit := range []int{-1, 0, 1, 100, 64 << 10, 128<<10 + 1, len(p) - 1, len(p), len(p) + 1} {
				out, complete, err := DecompressPrefix([]byte("kept"), c, packed, limit)
				want := p[:min(max(limit, 0), len(p))]
				if err != nil || !bytes.Equal(out[4:], want) || complete != (limit >= len(p) || len(p) == 0) {
					t.Fatalf("%v, %d of %d bytes: %d, complete %v, %v", c, limit, len(p), len(out)-4, complete, err)
				}
			}
		}
	}
}

// What other implementations write: block checksums, linked blocks, content sizes, streams without one, a
// window far larger than the content.
func TestOtherEncoders(t *testing.T) {
	text := plain(t)
	for name, c := range map[string]Type{"linked.lz4": LZ4, "independent.lz4": LZ4, "sized.zst": Zstd, "streamed.zst": Zstd, "window27.zst": Zstd, "plain.txt.gz": Gzip} {
		p := read(t, name)
		if out, err := Decompress(nil, c, p, len(text)); err != nil || !bytes.Equal(out, text) {
			t.Errorf("%s: %v", name, err)
		}
		if out, complete, err := DecompressPrefix(nil, c, p, 70_001); err != nil || complete || !bytes.Equal(out, text[:70_001]) {
			t.Errorf("the beginning of %s: %d bytes, %v", name, len(out), err)
		}
		for _, cut := range []int{0, 1, 7, len(p) / 2, len(p) - 1} {
			if out, err := Decompress(nil, c, p[:cut], len(text)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d of %d bytes of %s: %d bytes, %v", cut, len(p), name, len(out), err)
			}
		}
	}
	if out, err := Decompress(nil, Snappy, s2.EncodeSnappy(nil, text), len(text)); err != nil || !bytes.Equal(out, text) {
		t.Errorf("a raw snappy block: %v", err)
	}
	two := append(read(t, "sized.zst"), "\x53\x2a\x4d\x18\x03\x00\x00\x00abc"...)
	two = append(two, read(t, "streamed.zst")...)
	both := append(append([]byte{}, text...), text...)
	if out, err := Decompress(nil, Zstd, two, len(both)); err != nil || !bytes.Equal(out, both) {
		t.Errorf("two zstd frames with a skippable one between: %v", err)
	}
	if out, complete, err := DecompressPrefix(nil, Zstd, two, len(text)+5); err != nil || complete || !bytes.Equal(out, both[:len(text)+5]) {
		t.Errorf("the beginning of two zstd frames: %d bytes, %v", len(out), err)
	}
	members := append(read(t, "plain.txt.gz"), read(t, "plain.txt.gz")...)
	if out, err := Decompress(nil, Gzip, members, len(both)); err != nil || !bytes.Equal(out, both) {
		t.Errorf("two gzip members: %v", err)
	}
}

// What this package writes is what the usual readers of each format take.
func TestOtherDecoders(t *testing.T) {
	text := plain(t)
	pack := func(c Type) []byte {
		p, err := Compress(nil, c, DefaultLevel, text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	z, err := gzip.NewReader(bytes.NewReader(pack(Gzip)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, text) {
		t.Errorf("gzip: %v", err)
	}
	frame := pack(LZ4)
	if got, err := io.ReadAll(lz4.NewReader(bytes.NewReader(frame))); err != nil || !bytes.Equal(got, text) {
		t.Errorf("lz4: %v", err)
	}
	if frame[4] != 0x60 || frame[5] != 0x40 { // version 1, independent blocks, no checksum; blocks of 64 KiB
		t.Errorf("lz4 descriptor %#x %#x, expected 0x60 0x40", frame[4], frame[5])
	}
	d, err := zstd.NewReader(bytes.NewReader(pack(Zstd)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, text) {
		t.Errorf("zstd: %v", err)
	}
	p := pack(Snappy)
	if string(p[:16]) != "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01" {
		t.Fatalf("xerial header %x", p[:16])
	}
	var got []byte
	for p = p[16:]; len(p) > 0; {
		n := binary.BigEndian.Uint32(p)
		block, err := s2.Decode(nil, p[4:4+n])
		if err != nil || len(block) > 32<<10 {
			t.Fatalf("xerial block of %d bytes: %v", len(block), err)
		}
		got, p = append(got, block...), p[4+n:]
	}
	if !bytes.Equal(got, text) {
		t.Error("xerial blocks do not add up")
	}
}

func TestUnknownCodec(t *testing.T) {
	if _, err := Decompress(nil, 5, []byte("x"), 10); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if _, err := Compress(nil, 7, 0, []byte("x")); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if Type(5).Valid() || !Zstd.Valid() {
		t.Error("five codecs are valid")
	}
	if got := fmt.Sprint(all, Type(6)); got != "[none gzip snappy lz4 zstd] codec 6" {
		t.Error(got)
	}
}

// Claims of size that the input does not keep must cost no memory.
func TestClaimsCostNothing(t *testing.T) {
	sized := read(t, "sized.zst")
	raw := []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 'a'}
	blocks := []byte(zstdMagic + "\xa0\x00\x00\x00\x40") // single segment, one GiB
	for range 5000 {
		blocks = append(blocks, 8, 0, 0, 'x') // a raw block of one byte
	}
	blocks = append(blocks, 1, 0, 0)
	for name, x := range map[string]struct {
		c Type
		p []byte
	}{
		"zstd frame of a GiB":      {Zstd, append([]byte(zstdMagic+"\xa0\x00\x00\x00\x40"), sized[6:]...)},
		"zstd window of two TiB":   {Zstd, append([]byte(zstdMagic+"\x00\xff"), 1, 0, 0)},
		"zstd frame of tiny parts": {Zstd, blocks},
		"raw snappy of four GiB":   {Snappy, raw},
		"xerial block of two GiB":  {Snappy, append([]byte(xerialHeader), 0x7f, 0xff, 0xff, 0xff, 1)},
		"xerial block that claims": {Snappy, append([]byte(xerialHeader+"\x00\x00\x00\x07"), raw...)},
		"lz4 content of an EiB":    {LZ4, []byte("\x04\x22\x4d\x18\x68\x40\x00\x00\x00\x00\x00\x00\x00\x10\x00")},
		"gzip that claims":         {Gzip, append(append([]byte{}, read(t, "plain.txt.gz")...), 0xff, 0xff, 0xff, 0xff)},
	} {
		Decompress(nil, x.c, x.p, 1<<30) // fills the pools
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out, err := Decompress(nil, x.c, x.p, 1<<30)
		runtime.ReadMemStats(&after)
		if name != "zstd window of two TiB" && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %d bytes, %v", name, len(out), err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
			t.Errorf("%s costs %d bytes", name, n)
		}
	}
}

// A small input with a large output stops at the limit.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 8<<20)
	for _, c := range all[1:] {
		p, err := Compress(nil, c, DefaultLevel, zeros)
		if err != nil {
			t.Fatal(err)
		}
		Decompress(nil, c, p, 1<<20)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Decompress(nil, c, p, 1<<20); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: %v", c, err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
			t.Errorf("%v: %d bytes of %d cost %d", c, len(p), len(zeros), n)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	text := plain(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				c := all[(i+j)%len(all)]
				part := text[i*1000 : len(text)-j*1000]
				p, err := Compress(nil, c, DefaultLevel, part)
				if err != nil {
					t.Error(err)
					return
				}
				if out, err := Decompress(nil, c, p, len(part)); err != nil || !bytes.Equal(out, part) {
					t.Errorf("%v: %v", c, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestWindow(t *testing.T) {
	for n := uint64(1); n < 1<<31; n = n*5/4 + 1 {
		d, w := zstdWindow(n)
		base := uint64(1) << (10 + d>>3)
		if got := base + base/8*uint64(d&7); got != w || w < n || n > 1<<10 && w > n+n/8+1 {
			t.Fatalf("%d bytes: window %d, described as %d", n, w, got)
		}
	}
}

// The decoder of snappy prefixes agrees with the whole decoder.
func TestSnappyPrefixAgrees(t *testing.T) {
	for _, p := range samples(t) {
		block := s2.EncodeSnappy(nil, p)
		_, n := binary.Uvarint(block)
		out, err := snappyPrefix(nil, block[n:], len(p))
		if err != nil || !bytes.Equal(out, p) {
			t.Fatalf("%d bytes: %v", len(p), err)
		}
	}
	for name, p := range map[string]string{"end": "", "literal": "\x10ab", "long literal": "\xf4\x01", "copy": "\x00a\x02", "copy of nothing": "\x02\x01\x00", "offset 0": "\x00a\x02\x00\x00"} {
		if _, err := snappyPrefix([]byte("before"), []byte(p), 100); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "snappy") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	text := plain(f)[:2000]
	for _, c := range all {
		p, err := Compress(nil, c, DefaultLevel, text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(c), p)
	}
	f.Add(uint8(Snappy), s2.EncodeSnappy(nil, text))
	f.Add(uint8(LZ4), read(f, "linked.lz4")[:3000])
	f.Add(uint8(Zstd), []byte(zstdMagic+"\xa0\x00\x00\x00\x40\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, c uint8, p []byte) {
		const limit = 100_000
		whole, err := Decompress(nil, Type(c), p, limit)
		if err == nil && len(whole) > limit {
			t.Fatalf("%d bytes", len(whole))
		}
		part, complete, partErr := DecompressPrefix(nil, Type(c), p, 1000)
		if len(part) > 1000 {
			t.Fatalf("%d bytes of 1000", len(part))
		}
		if err == nil {
			if partErr != nil || complete != (len(whole) <= 1000) || !bytes.Equal(part, whole[:min(len(whole), 1000)]) {
				t.Fatalf("%v: all %d bytes can be read, the beginning: %d, complete %v, %v", Type(c), len(whole), len(part), complete, partErr)
			}
		} else if partErr == nil && complete {
			t.Fatalf("%v: complete, but %v", Type(c), err)
		}
	})
}

func BenchmarkDecompressPrefix(b *testing.B) {
	text := bytes.Repeat(plain(b), 6)
	for _, c := range all[1:] {
		b.Run(c.String(), func(b *testing.B) {
			p, err := Compress(nil, c, DefaultLevel, text)
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, 0, 64<<10)
			b.SetBytes(64 << 10)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := DecompressPrefix(dst, c, p, 64<<10); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
