package batch

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gregor-broker/gregor/engine/codec"
)

// fill builds a batch of about size bytes out of records with values of value bytes, a millisecond apart.
func fill(t codec.Type, size, value int, key []byte, headers ...Header) Batch {
	b := NewBuilder(t).Producer(7, 0, 0)
	v := bytes.Repeat([]byte("0123456789abcdef"), value/16+1)[:value]
	for b.Size() < size {
		b.Append(1_700_000_000_000+int64(b.Len()), key, v, headers...)
	}
	return b.Bytes()
}

func BenchmarkValidateRecords(b *testing.B) {
	header := Header{Key: "trace", Value: []byte("0123456789abcdef")}
	for _, x := range []struct {
		name  string
		codec codec.Type
		size  int
		key   []byte
		heads []Header
	}{
		{"100B", codec.None, 100, nil, nil},
		{"100B-keys", codec.None, 100, []byte("key-0001"), nil},
		{"100B-headers", codec.None, 100, []byte("key-0001"), []Header{header}},
		{"1KiB", codec.None, 1024, nil, nil},
		{"100B-gzip", codec.Gzip, 100, nil, nil},
		{"100B-snappy", codec.Snappy, 100, nil, nil},
		{"100B-lz4", codec.LZ4, 100, nil, nil},
		{"100B-zstd", codec.Zstd, 100, nil, nil},
	} {
		b.Run(x.name, func(b *testing.B) {
			p := fill(x.codec, 1<<20, x.size, x.key, x.heads...)
			rules := Rules{CheckTimestamps: true, MinTimestamp: 0, MaxTimestamp: 1 << 60}
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			records := 0
			for b.Loop() {
				s, err := p.ValidateRecords(rules)
				if err != nil {
					b.Fatal(err)
				}
				records += s.Records
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
		})
	}
}

func BenchmarkCheckCRC(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			p := fill(codec.None, size, 100, nil)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if err := p.CheckCRC(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheckClient(b *testing.B) {
	p := fill(codec.None, 1<<10, 100, nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.CheckClient(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEach(b *testing.B) {
	p := fill(codec.None, 1<<20, 100, []byte("key-0001"))
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Each(0, func(*Record) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
