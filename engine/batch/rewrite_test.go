package batch

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/gregor-broker/gregor/engine/codec"
)

// mixed has gaps in its keys, values and timestamps of every kind.
func mixed(t codec.Type) Batch {
	b := NewBuilder(t).BaseOffset(1000).LeaderEpoch(3).Producer(5, 6, math.MaxInt32-1)
	b.Append(500, []byte("a"), []byte("one"), Header{Key: "k", Value: []byte("v")}, Header{Key: "n"})
	b.Append(400, nil, []byte("two"))
	b.Append(900, []byte{}, nil)
	b.Append(-1, []byte("d"), []byte{})
	b.Append(math.MaxInt64-1000, []byte("e"), bytes.Repeat([]byte("long "), 200))
	return b.Bytes()
}

func TestRawRecords(t *testing.T) {
	for c := codec.None; c <= codec.Zstd; c++ {
		b := mixed(c)
		raw, buf, err := b.RawRecords(nil, nil, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if c != codec.None && cap(buf) == 0 {
			t.Error("no buffer for the next batch")
		}
		i := 0
		err = b.Each(1<<20, func(r *Record) error {
			got := raw[i]
			if got.Offset != r.Offset || got.Timestamp != r.Timestamp || !bytes.Equal(got.Key, r.Key) || (got.Key == nil) != (r.Key == nil) || got.Null != (r.Value == nil) {
				t.Errorf("%v, %d: %+v, expected %+v", c, i, got, r)
			}
			i++
			return nil
		})
		if err != nil || i != len(raw) {
			t.Fatal(err, i, len(raw))
		}
	}
	b := mixed(codec.None)
	b.SetLogAppendTime(777)
	raw, _, err := b.RawRecords(nil, nil, 0)
	if err != nil || raw[0].Timestamp != 777 || raw[4].Timestamp != 777 {
		t.Fatal(raw, err)
	}
	if _, _, err := mixed(codec.Zstd).RawRecords(nil, nil, 100); !errors.Is(err, codec.ErrTooLarge) {
		t.Error(err)
	}
}

// TestRawRecordsDamaged cuts and flips a batch everywhere: an error or records, never more.
func TestRawRecordsDamaged(t *testing.T) {
	good := mixed(codec.None)
	for i := HeaderSize; i < len(good); i++ {
		cut := bytes.Clone(good[:i])
		if _, _, err := Batch(cut).RawRecords(nil, nil, 0); err == nil {
			t.Fatalf("a batch cut at %d is taken", i)
		}
		for _, flip := range []byte{1, 0x80, 0xff} {
			b := Batch(bytes.Clone(good))
			b[i] ^= flip
			raw, _, err := b.RawRecords(nil, nil, 0)
			if err == nil && len(raw) != 5 {
				t.Fatalf("byte %d: %d records", i, len(raw))
			}
			var bad *RecordError
			if err != nil && !errors.As(err, &bad) && !errors.Is(err, ErrCount) {
				t.Fatal(err)
			}
		}
	}
	b := Batch(bytes.Clone(good))
	b[offRecordCount] = 0x80
	if _, _, err := b.RawRecords(nil, nil, 0); !errors.Is(err, ErrCount) {
		t.Error(err)
	}
}

func TestAppendRetained(t *testing.T) {
	for c := codec.None; c <= codec.Zstd; c++ {
		b := mixed(c)
		for _, keep := range [][]int{{0, 1, 2, 3, 4}, {0}, {1}, {3}, {4}, {1, 2}, {2, 4}, {3, 4}} {
			for _, horizon := range []int64{-1, 0, 1 << 40, math.MaxInt64} {
				raw, _, err := b.RawRecords(nil, nil, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				var kept []RawRecord
				largest := int64(-1)
				for _, i := range keep {
					kept = append(kept, raw[i])
					largest = max(largest, raw[i].Timestamp)
				}
				out, _, err := AppendRetained([]byte("before"), b, kept, horizon, nil)
				if err != nil {
					t.Fatal(err)
				}
				n, rest, err := Next(out[len("before"):])
				if err != nil || len(rest) > 0 || n.CheckCRC() != nil {
					t.Fatal(err, len(rest))
				}
				base := kept[0].Timestamp
				if horizon >= 0 {
					base = horizon
				}
				if n.BaseOffset() != 1000 || n.LastOffset() != 1004 || n.LeaderEpoch() != 3 || n.ProducerID() != 5 || n.ProducerEpoch() != 6 || n.LastSequence() != 2 ||
					n.Codec() != c || n.HasDeleteHorizon() != (horizon >= 0) || n.BaseTimestamp() != base || n.MaxTimestamp() != largest || n.RecordCount() != int32(len(keep)) {
					t.Fatalf("%v, %v, horizon %d: header %x", c, keep, horizon, []byte(n[:HeaderSize]))
				}
				var want, got []Record
				add := func(to *[]Record) func(*Record) error {
					return func(r *Record) error {
						x := *r
						x.Key, x.Value, x.Headers = bytes.Clone(r.Key), bytes.Clone(r.Value), slices.Clone(r.Headers)
						*to = append(*to, x)
						return nil
					}
				}
				if err := errors.Join(b.Each(1<<20, add(&want)), n.Each(1<<20, add(&got))); err != nil {
					t.Fatal(err)
				}
				for j, i := range keep {
					w, g := want[i], got[j]
					if w.Offset != g.Offset || w.Timestamp != g.Timestamp || !bytes.Equal(w.Key, g.Key) || !bytes.Equal(w.Value, g.Value) || (w.Value == nil) != (g.Value == nil) || len(w.Headers) != len(g.Headers) {
						t.Fatalf("%v, %v, horizon %d: %+v, expected %+v", c, keep, horizon, g, w)
					}
				}
			}
		}
	}
}

func TestAppendEmpty(t *testing.T) {
	b := mixed(codec.Gzip)
	raw, _, err := b.RawRecords(nil, nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	marked, _, err := AppendRetained(nil, b, raw, 1<<40, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []Batch{b, marked} {
		n, rest, err := Next(AppendEmpty(nil, b))
		if err != nil || len(rest) > 0 || n.CheckCRC() != nil || len(n) != HeaderSize {
			t.Fatal(err, len(n))
		}
		if n.BaseOffset() != 1000 || n.LastOffset() != 1004 || n.LastSequence() != 2 || n.ProducerID() != 5 || n.ProducerEpoch() != 6 || n.LeaderEpoch() != 3 ||
			n.RecordCount() != 0 || n.BaseTimestamp() != -1 || n.MaxTimestamp() != b.MaxTimestamp() || n.Codec() != codec.None || n.HasDeleteHorizon() {
			t.Errorf("header %x", []byte(n))
		}
		if err := n.Each(0, func(*Record) error { return errors.New("a record") }); err != nil {
			t.Error(err)
		}
	}
}
