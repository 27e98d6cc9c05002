package compact

import (
	"bytes"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// FuzzFilter cleans arbitrary batches. What cannot be read is an error; else what is left must parse, be part of what
// was there, and hold the last record of every key.
func FuzzFilter(f *testing.F) {
	add := func(batches ...batch.Batch) {
		var p []byte
		for _, b := range batches {
			p = append(p, b...)
		}
		f.Add(p, int64(7), uint8(0))
		f.Add(p, int64(0), uint8(3))
	}
	add(build(codec.None, 0, "a=1", "b", "a=2", "=x"), build(codec.Gzip, 4, "b=1", "a"), build(codec.Snappy, 9, "a=3"))
	add(build(codec.Zstd, 0, "a=1", "b"), build(codec.LZ4, 2, "b=1"), data(5, 4, true, "a", "b"), marker(7, 4, true), data(8, 4, true, "a"), marker(9, 4, false))
	add(batch.AppendEmpty(nil, marker(0, 4, false)), build(codec.None, 1, "a", "a", "a"))
	f.Fuzz(func(t *testing.T, p []byte, nowMs int64, last uint8) {
		var in []batch.Batch
		end := int64(0)
		for len(p) > 0 && len(in) < 50 {
			b, rest, err := batch.Next(p)
			if err != nil {
				break
			}
			p = rest
			b = bytes.Clone(b)
			b.SetBaseOffset(end)
			b.SetCRC()
			if b.LastOffsetDelta() < 0 {
				continue // no segment holds one
			}
			end = b.NextOffset()
			in = append(in, b)
		}
		keys := NewOffsetMap(1<<16, 0.9)
		aborted := []Aborted{{ProducerID: 4, FirstOffset: 1, LastOffset: 1 << 40}}
		mapper := &Mapper{Map: keys, Txns: &Transactions{}}
		mapper.Txns.Add(aborted)
		for i, b := range in {
			full, err := mapper.Add(b)
			if err != nil {
				in = in[:i] // the log would be left alone; what was read is a log, too
			}
			if full || err != nil {
				break
			}
		}
		fl := &Filter{Map: keys, Txns: &Transactions{}, NowMs: nowMs, DeleteRetentionMs: int64(last), UpTo: -1,
			Active: func(id int64) (LastRecord, bool) { return LastRecord{DataOffset: id}, id%2 == 0 }}
		fl.Txns.Add(aborted)
		txns := &Transactions{}
		txns.Add(aborted)
		left := map[string]int64{}
		for i, b := range in {
			was := bytes.Clone(b)
			out, err := fl.Batch(nil, b, uint8(i) == last)
			if !bytes.Equal(was, b) {
				t.Fatal("the input was changed")
			}
			discard, errTxn := txns.Next(b)
			if err != nil {
				if errTxn == nil && uint8(i) < last {
					// Only a batch that the mapper did not get to may be unreadable.
					if _, _, err := b.RawRecords(nil, nil, DecompressLimit); err == nil {
						t.Fatal(err)
					}
				}
				return
			}
			theirs, _, err := b.RawRecords(nil, nil, DecompressLimit)
			if err != nil {
				if len(out) > batch.HeaderSize {
					t.Fatalf("%d bytes of an unreadable batch", len(out))
				}
				theirs = nil
			}
			var mine []batch.RawRecord
			if len(out) > 0 {
				n, rest, err := batch.Next(out)
				if err != nil || len(rest) > 0 || n.CheckCRC() != nil {
					t.Fatal(err)
				}
				if n.BaseOffset() != b.BaseOffset() || n.LastOffset() != b.LastOffset() || n.LastSequence() != b.LastSequence() || n.ProducerID() != b.ProducerID() {
					t.Fatalf("header %x of %x", []byte(n[:batch.HeaderSize]), []byte(b[:batch.HeaderSize]))
				}
				if mine, _, err = n.RawRecords(nil, nil, DecompressLimit+1<<20); err != nil {
					t.Fatal(err)
				}
			}
			j := 0
			for _, r := range mine {
				for j < len(theirs) && (theirs[j].Offset != r.Offset || !bytes.Equal(theirs[j].Key, r.Key) || theirs[j].Timestamp != r.Timestamp || theirs[j].Null != r.Null) {
					j++
				}
				if j++; j > len(theirs) {
					t.Fatalf("record %+v out of nothing", r)
				}
			}
			if b.IsControl() || discard {
				continue
			}
			for _, r := range mine {
				if r.Key != nil {
					left[string(r.Key)] = max(left[string(r.Key)], r.Offset+1)
				}
			}
			expired := b.HasDeleteHorizon() && b.BaseTimestamp() <= nowMs
			for _, r := range theirs {
				if r.Key != nil && !(r.Null && expired) && r.Offset >= keys.Get(r.Key) && left[string(r.Key)] <= r.Offset {
					t.Fatalf("the last record of %q, at %d, is gone", r.Key, r.Offset)
				}
			}
		}
	})
}
