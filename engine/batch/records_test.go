package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/gregor-broker/gregor/engine/codec"
)

var codecs = []codec.Type{codec.None, codec.Gzip, codec.Snappy, codec.LZ4, codec.Zstd}

// raw builds a batch around records that are given as bytes.
func raw(count int, records ...byte) Batch {
	b := append(NewBuilder(codec.None).Append(10, nil, nil).Bytes()[:HeaderSize:HeaderSize], records...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-Overhead))
	binary.BigEndian.PutUint32(b[23:], uint32(count-1))
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	b.SetCRC()
	return b
}

func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func TestRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	blob := func(most int) []byte {
		if random.IntN(5) == 0 {
			return nil
		}
		p := make([]byte, random.IntN(most))
		for i := range p {
			p[i] = byte(random.IntN(4))
		}
		return p
	}
	for _, c := range codecs {
		for range 25 {
			var want []Record
			build := NewBuilder(c).BaseOffset(500)
			most := []int{2, 100, 3_000}[random.IntN(3)]
			for i := range 1 + random.IntN(300) {
				r := Record{Offset: 500 + int64(i), Timestamp: []int64{-1, 0, random.Int64N(1 << 42), 1<<62 - random.Int64N(9)}[random.IntN(4)], Key: blob(80), Value: blob(most)}
				for range random.IntN(3) * random.IntN(3) {
					r.Headers = append(r.Headers, Header{Key: fmt.Sprint("h", random.IntN(99)), Value: blob(20)})
				}
				want = append(want, r)
				build.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
			}
			if build.Len() != len(want) {
				t.Fatalf("%d records, expected %d", build.Len(), len(want))
			}
			b := build.Bytes()
			if err := b.CheckCRC(); err != nil {
				t.Fatal(err)
			}
			s, err := b.ValidateRecords(Rules{})
			if err != nil {
				t.Fatalf("%v: %v", c, err)
			}
			i, newest := 0, Record{Timestamp: -1, Offset: -1}
			err = b.Each(64<<20, func(r *Record) error {
				w := want[i]
				if r.Offset != w.Offset || r.Timestamp != w.Timestamp || !same(r.Key, w.Key) || !same(r.Value, w.Value) || len(r.Headers) != len(w.Headers) {
					return fmt.Errorf("record %d is %v, expected %v", i, r, w)
				}
				for j, h := range r.Headers {
					if h.Key != w.Headers[j].Key || !same(h.Value, w.Headers[j].Value) {
						return fmt.Errorf("record %d has header %v, expected %v", i, h, w.Headers[j])
					}
				}
				if r.Timestamp > newest.Timestamp {
					newest = Record{Timestamp: r.Timestamp, Offset: r.Offset}
				}
				i++
				return nil
			})
			if err != nil || i != len(want) {
				t.Fatalf("%v: %d of %d records: %v", c, i, len(want), err)
			}
			if s.Records > len(want) || c == codec.None && s.Records != len(want) {
				t.Fatalf("%d of %d records were walked", s.Records, len(want))
			}
			if s.MaxTimestamp != b.MaxTimestamp() || s.Records == len(want) && b.LastOffset() != s.OffsetOfMaxTimestamp && s.OffsetOfMaxTimestamp != newest.Offset {
				t.Fatalf("%v: %+v, expected timestamp %d at %d", c, s, b.MaxTimestamp(), newest.Offset)
			}
		}
	}
}

func TestValidateRecordsFindsMistakes(t *testing.T) {
	for name, x := range map[string]struct {
		b     Batch
		rules Rules
		index int
		want  error
	}{
		"good":                         {b: raw(1, 12, 0, 0, 0, 1, 1, 0)},
		"good with header":             {b: raw(1, 18, 0, 0, 0, 1, 1, 2, 2, 'h', 1)},
		"numbers wider than they must": {b: raw(1, 22, 0, 0x80, 0, 0x80, 0, 0x81, 0, 0x81, 0, 0x80, 0)},
		"more records than the count":  {b: raw(1, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0), index: 1, want: ErrCount},
		"fewer than the count":         {b: raw(3, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0), index: 2, want: ErrCount},
		"nothing":                      {b: raw(1), want: ErrCount},
		"offset again":                 {b: raw(2, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0), index: 1, want: ErrStructure},
		"offset with a gap":            {b: raw(2, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0), index: 1, want: ErrStructure},
		"first offset 1":               {b: raw(1, 12, 0, 0, 2, 1, 1, 0), want: ErrStructure},
		"negative offset":              {b: raw(1, 12, 0, 0, 1, 1, 1, 0), want: ErrStructure},
		"length 0":                     {b: raw(1, 0), want: ErrStructure},
		"length negative":              {b: raw(1, 1), want: ErrStructure},
		"length cut":                   {b: raw(1, 0x80), want: ErrStructure},
		"length of six bytes":          {b: raw(1, 0x8c, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 1, 0), want: ErrStructure},
		"length above 32 bits":         {b: raw(1, 0x80, 0x80, 0x80, 0x80, 0x7f, 0, 0, 0, 1, 1, 0), want: ErrStructure},
		"length too long":              {b: raw(1, 14, 0, 0, 0, 1, 1, 0), want: ErrStructure},
		"length too short":             {b: raw(1, 10, 0, 0, 0, 1, 1, 0), want: ErrStructure},
		"byte left in record":          {b: raw(1, 14, 0, 0, 0, 1, 1, 0, 0), want: ErrStructure},
		"timestamp of eleven bytes":    {b: raw(1, 34, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 1, 1, 0, 0), want: ErrStructure},
		"key behind the record":        {b: raw(1, 12, 0, 0, 0, 40, 1, 0), want: ErrStructure},
		"key length -2":                {b: raw(1, 12, 0, 0, 0, 3, 1, 0), want: ErrStructure},
		"value behind the record":      {b: raw(1, 12, 0, 0, 0, 1, 40, 0), want: ErrStructure},
		"value length -2":              {b: raw(1, 12, 0, 0, 0, 1, 3, 0), want: ErrStructure},
		"header count -1 is none":      {b: raw(1, 12, 0, 0, 0, 1, 1, 1)},
		"header count -2":              {b: raw(1, 12, 0, 0, 0, 1, 1, 3), want: ErrStructure},
		"header count too large":       {b: raw(1, 20, 0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 1), want: ErrStructure},
		"header with null key":         {b: raw(1, 16, 0, 0, 0, 1, 1, 2, 1, 1), want: ErrStructure},
		"header value cut":             {b: raw(1, 16, 0, 0, 0, 1, 1, 2, 0, 8), want: ErrStructure},
		"key there":                    {b: raw(1, 12, 0, 0, 0, 0, 1, 0), rules: Rules{RequireKeys: true}},
		"key missing":                  {b: raw(2, 12, 0, 0, 0, 0, 1, 0, 12, 0, 0, 2, 1, 1, 0), rules: Rules{RequireKeys: true}, index: 1, want: ErrNoKey},
		"timestamp early":              {b: raw(1, 12, 0, 0, 0, 1, 1, 0), rules: Rules{CheckTimestamps: true, MinTimestamp: 11, MaxTimestamp: 20}, want: ErrTimestamp},
		"timestamp late":               {b: raw(2, 12, 0, 0, 0, 1, 1, 0, 12, 0, 2, 2, 1, 1, 0), rules: Rules{CheckTimestamps: true, MinTimestamp: 0, MaxTimestamp: 10}, index: 1, want: ErrTimestamp},
		"timestamp at the bounds":      {b: raw(2, 12, 0, 0, 0, 1, 1, 0, 12, 0, 2, 2, 1, 1, 0), rules: Rules{CheckTimestamps: true, MinTimestamp: 10, MaxTimestamp: 11}},
		"no timestamp":                 {b: raw(1, 12, 0, 21, 0, 1, 1, 0), rules: Rules{CheckTimestamps: true, MinTimestamp: 10, MaxTimestamp: 11}},
	} {
		// Bytes behind the record let the straight code read ahead; a second, good batch must not matter.
		for _, compressed := range []codec.Type{codec.None, codec.Zstd, codec.Snappy} {
			b := x.b
			if compressed != codec.None {
				p, err := codec.Compress(append([]byte{}, b[:HeaderSize]...), compressed, codec.DefaultLevel, b.Records())
				if err != nil {
					t.Fatal(err)
				}
				b = p
				b[22] |= byte(compressed)
			}
			_, err := b.ValidateRecords(x.rules)
			var where *RecordError
			if x.want == nil && err != nil || !errors.Is(err, x.want) || err != nil && (!errors.As(err, &where) || where.Index != x.index) {
				t.Errorf("%s (%v): %v, expected %v at record %d", name, compressed, err, x.want, x.index)
			}
		}
	}
}

// The straight code and the careful code must agree on everything, whatever a batch looks like.
func careful(b Batch, p []byte, r Rules) (Summary, error) {
	s := Summary{MaxTimestamp: -1, OffsetOfMaxTimestamp: -1}
	for i := 0; i < len(p); s.Records++ {
		ts, next, err := b.slowRecord(p, i, int64(s.Records), &r)
		if err != nil {
			return Summary{}, err
		}
		i = next
		if ts > s.MaxTimestamp {
			s.MaxTimestamp, s.OffsetOfMaxTimestamp = ts, b.BaseOffset()+int64(s.Records)
		}
	}
	if s.Records != int(b.RecordCount()) {
		return Summary{}, ErrCount
	}
	return s, nil
}

func agree(t *testing.T, b Batch, r Rules) {
	if b.Codec() != codec.None || b.IsLogAppendTime() {
		return
	}
	fast, err := b.ValidateRecords(r)
	slow, slowErr := careful(b, b.Records(), r)
	if (err == nil) != (slowErr == nil) || fast != slow {
		t.Fatalf("%x: %+v, %v; carefully: %+v, %v", []byte(b), fast, err, slow, slowErr)
	}
	for _, kind := range []error{ErrNoKey, ErrTimestamp, ErrStructure, ErrCount} {
		if errors.Is(err, kind) != errors.Is(slowErr, kind) {
			t.Fatalf("%x: %v; carefully: %v", []byte(b), err, slowErr)
		}
	}
}

func TestStraightCodeAgrees(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 5_000 {
		build := NewBuilder(codec.None)
		for range 1 + random.IntN(6) {
			var heads []Header
			if random.IntN(4) == 0 {
				heads = []Header{{Key: "k", Value: make([]byte, random.IntN(3))}}
			}
			build.Append(random.Int64N(1<<uint(random.IntN(40)+1)), make([]byte, random.IntN(70)), make([]byte, random.IntN(150)), heads...)
		}
		b := build.Bytes()
		for range random.IntN(3) {
			b[HeaderSize+random.IntN(len(b)-HeaderSize)] = byte(random.Uint32())
		}
		agree(t, b, Rules{RequireKeys: random.IntN(2) == 0, CheckTimestamps: random.IntN(2) == 0, MaxTimestamp: random.Int64N(1 << 30)})
	}
	long := NewBuilder(codec.None)
	for i := range 40_000 { // offsets of one to three bytes and more
		long.Append(int64(i)*int64(i%3), nil, nil)
	}
	agree(t, long.Bytes(), Rules{})
	if s, err := long.Bytes().ValidateRecords(Rules{}); err != nil || s.Records != 40_000 {
		t.Fatalf("%+v, %v", s, err)
	}
}

func TestValidateDoesNotAllocate(t *testing.T) {
	b := fill(codec.None, 64<<10, 100, []byte("key"), Header{Key: "h", Value: []byte("v")})
	if n := testing.AllocsPerRun(20, func() {
		if _, err := b.ValidateRecords(Rules{RequireKeys: true, CheckTimestamps: true, MaxTimestamp: 1 << 60}); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// Of a large compressed batch the beginning is looked at, and a mistake there is found.
func TestLargeCompressedBatches(t *testing.T) {
	for _, c := range codecs[1:] {
		b := fill(c, 1<<20, 100, []byte("key"))
		s, err := b.ValidateRecords(Rules{RequireKeys: true})
		if err != nil || s.Records < 500 || s.Records >= int(b.RecordCount()) || s.MaxTimestamp != b.MaxTimestamp() || s.OffsetOfMaxTimestamp != b.LastOffset() {
			t.Errorf("%v: %+v, %v", c, s, err)
		}
		b = fill(c, 1<<20, 100, nil)
		var where *RecordError
		if _, err := b.ValidateRecords(Rules{RequireKeys: true}); !errors.Is(err, ErrNoKey) || !errors.As(err, &where) || where.Index != 0 {
			t.Errorf("%v without keys: %v", c, err)
		}
		big := NewBuilder(c).Append(1, []byte("k"), make([]byte, 1<<20)).Bytes() // one record, longer than what is looked at
		if s, err := big.ValidateRecords(Rules{}); err != nil || s.Records != 0 || s.MaxTimestamp != 1 {
			t.Errorf("%v, one large record: %+v, %v", c, s, err)
		}
		few := fill(c, 1<<20, 100, nil)
		copy(few[57:], []byte{0, 0, 0, 3})
		if _, err := few.ValidateRecords(Rules{}); !errors.Is(err, ErrCount) {
			t.Errorf("%v with count 3: %v", c, err)
		}
		if err := b.Each(1000, func(*Record) error { return nil }); !errors.Is(err, codec.ErrTooLarge) {
			t.Errorf("%v beyond its limit: %v", c, err)
		}
		b[HeaderSize] ^= 0x55
		b[HeaderSize+1] ^= 0x55
		if _, err := b.ValidateRecords(Rules{}); !errors.Is(err, codec.ErrCorrupt) {
			t.Errorf("%v damaged: %v", c, err)
		}
	}
}

func TestEachIsLenientWithStoredBatches(t *testing.T) {
	stop := errors.New("stop")
	if err := sample().Each(0, func(*Record) error { return stop }); err != stop {
		t.Fatal(err)
	}
	if err := raw(0).Each(0, func(*Record) error { return stop }); err != nil {
		t.Fatalf("a batch that compaction emptied: %v", err)
	}
	n := 0
	if err := raw(2, 12, 0, 0, 6, 1, 3, 1, 12, 0, 0, 40, 1, 1, 0).Each(0, func(r *Record) error {
		n++
		if r.Key != nil || r.Value != nil || len(r.Headers) != 0 {
			t.Errorf("%+v", r)
		}
		return nil
	}); err != nil || n != 2 {
		t.Fatalf("gaps and negative counts: %d records, %v", n, err)
	}
	for name, b := range map[string]Batch{
		"too few": raw(2, 12, 0, 0, 0, 1, 1, 0), "too many": raw(1, 12, 0, 0, 0, 1, 1, 0, 0), "negative": raw(-1),
		"header count too large": raw(1, 20, 0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 1), "null header key": raw(1, 16, 0, 0, 0, 1, 1, 2, 1, 1),
	} {
		if err := b.Each(0, func(*Record) error { return nil }); !errors.Is(err, ErrCount) && !errors.Is(err, ErrStructure) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The files were written by Kafka 4.3.1.
func TestKafkaFiles(t *testing.T) {
	for name, want := range map[string]struct{ batches, records, markers int }{
		"none.log": {2, 38, 0}, "gzip.log": {2, 38, 0}, "snappy.log": {1, 37, 0}, "zstd.log": {1, 37, 0}, "appendtime.log": {2, 38, 0},
		"transactional.log": {2, 5, 0}, "markers.log": {10, 58, 3}, "compacted.log": {5, 22, 0}, "metadata.log": {11, 30, 0},
	} {
		p, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		batches, records, markers := 0, 0, 0
		for len(p) > 0 {
			b, rest, err := Next(p)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			p = rest
			if err := b.CheckCRC(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if name != "compacted.log" {
				if s, err := b.ValidateRecords(Rules{}); err != nil || s.Records != int(b.RecordCount()) || s.MaxTimestamp != b.MaxTimestamp() {
					t.Fatalf("%s: %+v, %v", name, s, err)
				}
				if !b.IsControl() && !b.IsLogAppendTime() {
					if err := b.CheckClient(); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
				}
			}
			previous := b.BaseOffset() - 1
			again := NewBuilder(b.Codec()).BaseOffset(b.BaseOffset()).LeaderEpoch(b.LeaderEpoch()).Producer(b.ProducerID(), b.ProducerEpoch(), b.BaseSequence())
			if b.IsTransactional() {
				again.Transactional()
			}
			if b.IsControl() {
				again.Control()
			}
			if err := b.Each(1<<20, func(r *Record) error {
				if r.Offset <= previous || r.Offset > b.LastOffset() || r.Timestamp > b.MaxTimestamp() {
					return fmt.Errorf("offset %d after %d, timestamp %d", r.Offset, previous, r.Timestamp)
				}
				previous = r.Offset
				again.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
				records++
				return nil
			}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if b.IsTransactional() && b.IsControl() {
				if _, _, err := EndTransaction(b); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				markers++
			}
			if b.Codec() == codec.None && name != "compacted.log" && name != "appendtime.log" && !bytes.Equal(again.Bytes(), b) {
				t.Fatalf("%s: batch at %d is built as\n%x, Kafka has\n%x", name, b.BaseOffset(), again.Bytes(), b)
			}
			batches++
		}
		if batches != want.batches || records != want.records || markers != want.markers {
			t.Errorf("%s: %d batches, %d records, %d markers, expected %+v", name, batches, records, markers, want)
		}
	}
}

func TestBuilder(t *testing.T) {
	if NewBuilder(codec.None).Bytes() != nil {
		t.Fatal("a batch without records")
	}
	b := NewBuilder(codec.None).BaseOffset(5).Append(1, nil, []byte("first"))
	first := append([]byte{}, b.Bytes()...)
	kept := b.Bytes()
	second := b.Reset().Append(1, nil, []byte("other")).Bytes()
	if !bytes.Equal(kept, first) || bytes.Equal(second, first) || second.BaseOffset() != 5 {
		t.Fatal("Reset spoils what was built")
	}
	defer func() {
		if recover() == nil {
			t.Fatal("codec 9 is accepted")
		}
	}()
	NewBuilder(9)
}

func corpus(f *testing.F) {
	files, err := filepath.Glob("testdata/*.log")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, name := range files {
		p, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if b, _, err := Next(p); err == nil {
			f.Add([]byte(b))
		}
	}
	for _, c := range codecs {
		f.Add([]byte(fill(c, 600, 40, []byte("k"), Header{Key: "h"})))
	}
}

func FuzzPeek(f *testing.F) {
	corpus(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		size, err := Peek(p)
		b, rest, nextErr := Next(p)
		if err == nil && (size < HeaderSize || size > MaxSize) || err != nil && nextErr == nil {
			t.Fatalf("size %d, %v, %v", size, err, nextErr)
		}
		if nextErr == nil && (len(b) != size || len(b)+len(rest) != len(p) || b.Size() != size) {
			t.Fatalf("%d and %d of %d bytes, size %d", len(b), len(rest), len(p), size)
		}
	})
}

func FuzzValidateRecords(f *testing.F) {
	corpus(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		b, _, err := Next(p)
		if err != nil {
			return
		}
		b.CheckClient()
		b.CheckCRC()
		rules := Rules{RequireKeys: len(p)&1 == 0, CheckTimestamps: len(p)&2 == 0, MaxTimestamp: b.BaseTimestamp() + 1000}
		agree(t, b, rules)
		s, err := b.ValidateRecords(rules)
		if err == nil && (s.Records < 0 || s.Records > int(b.RecordCount())) {
			t.Fatalf("%+v of %d", s, b.RecordCount())
		}
		if err != nil || s.Records != int(b.RecordCount()) {
			return
		}
		n := 0
		if err := b.Each(prefixLimit, func(*Record) error { n++; return nil }); err != nil || n != s.Records {
			t.Fatalf("valid, but only %d of %d records can be read: %v", n, s.Records, err)
		}
	})
}

func FuzzEach(f *testing.F) {
	corpus(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		b, _, err := Next(p)
		if err != nil {
			return
		}
		n := 0
		b.Each(1<<16, func(r *Record) error {
			n += 1 + len(r.Key) + len(r.Value)
			for _, h := range r.Headers {
				n += len(h.Key) + len(h.Value)
			}
			return nil
		})
		if n > 1<<16+len(p) {
			t.Fatalf("%d bytes of records out of %d", n, len(p))
		}
		ControlType(b)
		EndTransaction(b)
	})
}
