package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/index"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

const base = 100

func options(t testing.TB, o simfs.Options) Options {
	t.Helper()
	d := simfs.New(o)
	if err := d.MkdirAll("/d", 0o755); err != nil {
		t.Fatal(err)
	}
	return Options{FS: d, MapBytes: 1 << 20, IndexBytes: 1 << 16, IndexIntervalBytes: 300}
}

func one(offset int64, records int, ts int64, size int) batch.Batch {
	b := batch.NewBuilder(codec.None).BaseOffset(offset).LeaderEpoch(1)
	for range records {
		b.Append(ts, nil, make([]byte, size))
	}
	return b.Bytes()
}

// filled is a segment with batches of one to three records; every fifth offset
// range is missing, as after compaction.
func filled(t testing.TB, o Options) (*Segment, []batch.Batch) {
	t.Helper()
	s, err := Create("/d", base, o)
	if err != nil {
		t.Fatal(err)
	}
	var all []batch.Batch
	at := int64(base)
	for i := range 60 {
		if i%5 == 4 {
			at += 7
		}
		b := one(at, 1+i%3, int64(1000+10*(i^1)), 20+i)
		if err := s.Append(b, b.LastOffset(), b.MaxTimestamp()); err != nil {
			t.Fatal(err)
		}
		all, at = append(all, b), b.NextOffset()
	}
	return s, all
}

func TestLocateAndSpan(t *testing.T) {
	for name, o := range map[string]simfs.Options{"mapped": {}, "no mappings": {MaxMappings: 1}} {
		t.Run(name, func(t *testing.T) {
			opt := options(t, o)
			if o.MaxMappings > 0 {
				f, err := opt.FS.OpenFile("/d/taken", os.O_RDWR|os.O_CREATE, 0o644)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Map(1); err != nil {
					t.Fatal(err)
				}
			}
			s, all := filled(t, opt)
			for reopened := range 2 {
				if reopened == 1 {
					size := s.Size()
					if err := errors.Join(s.Seal(), s.SyncIndexes()); err != nil {
						t.Fatal(err)
					}
					s.Retire(nil)
					var err error
					if s, err = Open("/d", base, size, opt); err != nil {
						t.Fatal(err)
					}
				}
				position, next := int64(0), 0
				last := all[len(all)-1].LastOffset()
				for offset := int64(base - 3); offset <= last; offset++ {
					for all[next].LastOffset() < offset {
						position += int64(len(all[next]))
						next++
					}
					h, err := s.Locate(offset)
					if err != nil || h.Position != position || h.BaseOffset != all[next].BaseOffset() || h.Size != int64(len(all[next])) {
						t.Fatalf("locate %d: %+v, %v, expected %d at %d", offset, h, err, all[next].BaseOffset(), position)
					}
					// The end of a read falls on a batch boundary, at most its limit.
					for _, want := range []int64{1, 90, 400, 1000, 1 << 30} {
						end, err := s.EndWithin(h, h.Position+want, s.Size())
						if err != nil || end <= h.Position || end > h.Position+max(want, h.Size) {
							t.Fatalf("%d bytes from %d: end %d, %v", want, h.Position, end, err)
						}
						p, err := s.Span(h.Position, end)
						if err != nil {
							t.Fatal(err)
						}
						i := next
						for ; len(p) > 0; i++ {
							if !bytes.HasPrefix(p, all[i]) {
								t.Fatalf("%d bytes from %d end inside of batch %d", want, h.Position, i)
							}
							p = p[len(all[i]):]
						}
						if i < len(all) && end+2*opt.IndexIntervalBytes+int64(len(all[i])) < h.Position+want {
							t.Fatalf("%d bytes from %d: only %d", want, h.Position, end-h.Position)
						}
					}
				}
				if _, err := s.Locate(last + 1); !errors.Is(err, ErrNotHere) {
					t.Fatal(err)
				}
				for ts := int64(0); ts < 1700; ts += 3 {
					h, err := s.LookupTime(ts)
					i := 0
					for i < len(all) && all[i].MaxTimestamp() < ts {
						i++
					}
					if i == len(all) != errors.Is(err, ErrNotHere) || i < len(all) && h.BaseOffset != all[i].BaseOffset() {
						t.Fatalf("time %d: %+v, %v", ts, h, err)
					}
				}
				if ts, at, err := s.MaxTimestamp(); err != nil || ts != 1590 || at != all[58].LastOffset() {
					t.Fatal(ts, at, err)
				}
				if end, err := s.End(); err != nil || end != last+1 {
					t.Fatal(end, err)
				}
			}
			s.Retire(nil)
		})
	}
}

func TestPins(t *testing.T) {
	s, all := filled(t, options(t, simfs.Options{}))
	if !s.Acquire() {
		t.Fatal("a live segment cannot be pinned")
	}
	p, err := s.Span(0, int64(len(all[0])))
	if err != nil {
		t.Fatal(err)
	}
	gone := false
	s.Retire(func() { gone = true })
	if gone || !bytes.Equal(p, all[0]) {
		t.Fatal("retired under a reader")
	}
	s.Release()
	if !gone || s.Acquire() {
		t.Fatal("the last release did not retire the segment")
	}
	if bytes.Equal(p, all[0]) {
		t.Fatal("the mapping is still there")
	}
	if _, err := s.handle(); !errors.Is(err, ErrRetired) {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Fatal("one release too many was not noticed")
		}
	}()
	s.Release()
}

func TestTruncate(t *testing.T) {
	opt := options(t, simfs.Options{})
	for keep := range 60 {
		s, all := filled(t, opt)
		size, end, largest := int64(0), int64(base), int64(-1)
		for _, b := range all[:keep] {
			size, end, largest = size+int64(len(b)), b.NextOffset(), max(largest, b.MaxTimestamp())
		}
		generation := s.Generation()
		if err := s.Truncate(size, end); err != nil {
			t.Fatal(err)
		}
		if ts, _, err := s.MaxTimestamp(); err != nil || ts != largest || s.Generation() == generation || s.Size() != size {
			t.Fatalf("%d batches: max timestamp %d, expected %d, %v", keep, ts, largest, err)
		}
		if got, err := s.End(); err != nil || got != end {
			t.Fatalf("%d batches: end %d, expected %d, %v", keep, got, end, err)
		}
		s.Retire(nil)
		if err := errors.Join(opt.FS.RemoveAll("/d"), opt.FS.MkdirAll("/d", 0o755)); err != nil {
			t.Fatal(err)
		}
	}
}

// old makes a message set entry of magic 0 or 1, as releases before 0.11 wrote.
func old(magic int8, offset, ts int64, value string) []byte {
	body := []byte{byte(magic), 0}
	if magic == 1 {
		body = binary.BigEndian.AppendUint64(body, uint64(ts))
	}
	body = binary.BigEndian.AppendUint32(body, 0xFFFFFFFF) // no key
	body = binary.BigEndian.AppendUint32(body, uint32(len(value)))
	body = append(body, value...)
	p := binary.BigEndian.AppendUint64(nil, uint64(offset))
	p = binary.BigEndian.AppendUint32(p, uint32(len(body)+4))
	p = binary.BigEndian.AppendUint32(p, crc32.ChecksumIEEE(body))
	return append(p, body...)
}

func TestOldMessages(t *testing.T) {
	opt := options(t, simfs.Options{})
	var data []byte
	for i := range int64(30) {
		switch {
		case i < 10:
			data = append(data, old(0, base+i, 0, "zero")...)
		case i < 20:
			data = append(data, old(1, base+i, 5000+i, "one")...)
		default:
			data = append(data, one(base+i, 1, 5000+i, 50)...)
		}
	}
	if err := vfs.WriteFileAtomic(opt.FS, "/d/00000000000000000100.log", data); err != nil {
		t.Fatal(err)
	}
	s, err := Open("/d", base, int64(len(data)), opt)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	out, err := s.Recover(0, base, false, func(batch.Batch, Header) error { seen++; return nil })
	if err != nil || out.Damage != nil || out.End != base+30 || seen != 30 {
		t.Fatalf("%+v, %d seen, %v", out, seen, err)
	}
	for i := range int64(30) {
		h, err := s.Locate(base + i)
		if err != nil || h.BaseOffset != base+i || int(h.Magic) != min(int(i/10), 2) {
			t.Fatalf("%d: %+v, %v", i, h, err)
		}
	}
	if ts, at, err := s.MaxTimestamp(); err != nil || ts != 5029 || at != base+29 {
		t.Fatal(ts, at, err)
	}
	if h, err := s.LookupTime(5015); err != nil || h.BaseOffset != base+15 {
		t.Fatal(h, err)
	}
	data[40] ^= 1
	if err := vfs.WriteFileAtomic(opt.FS, "/d/00000000000000000100.log", data); err != nil {
		t.Fatal(err)
	}
	if s, err = Open("/d", base, int64(len(data)), opt); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Recover(0, base, false, nil); err != nil || out.Damage == nil || out.End != base+1 {
		t.Fatalf("a damaged old message: %+v, %v", out, err)
	}
}

// TestFailedWrite leaves nothing of itself, however short what follows.
func TestFailedWrite(t *testing.T) {
	faults := vfs.NewFaults()
	opt := options(t, simfs.Options{})
	opt.FS = vfs.WithFaults(opt.FS, faults)
	s, all := filled(t, opt)
	size := s.Size()
	faults.Add(vfs.Fault{Op: vfs.OpWrite, Name: "*.log", Short: 150})
	end := all[len(all)-1].NextOffset()
	if err := s.Append(one(end, 1, 1, 4000), end, 1); err == nil || s.Size() != size {
		t.Fatal(err)
	}
	faults.Clear()
	b := one(end, 1, 1, 10)
	if err := s.Append(b, end, 1); err != nil {
		t.Fatal(err)
	}
	p, err := vfs.ReadFile(opt.FS, s.Name())
	if err != nil || int64(len(p)) != size+int64(len(b)) || !bytes.HasSuffix(p, b) {
		t.Fatalf("%d bytes, expected %d, %v", len(p), size+int64(len(b)), err)
	}
	faults.Add(vfs.Fault{Op: vfs.OpWrite, Name: "*.log", Short: 150})
	if err := s.Append(one(end+1, 1, 1, 4000), end+1, 1); err == nil {
		t.Fatal("no error")
	}
	faults.Clear()
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	if info, err := opt.FS.Stat(s.Name()); err != nil || info.Size() != s.Size() {
		t.Fatal("a sealed segment has a torn tail", info.Size(), s.Size(), err)
	}
}

func TestAborted(t *testing.T) {
	opt := options(t, simfs.Options{})
	s, _ := filled(t, opt)
	var want []producer.AbortedTxn
	for i := range int64(10) {
		a := producer.AbortedTxn{ProducerID: i, FirstOffset: base + 10*i, LastOffset: base + 10*i + 15, LastStableOffset: base + 10*i}
		if err := s.AppendAborted(a); err != nil {
			t.Fatal(err)
		}
		want = append(want, a)
	}
	got, complete, err := s.Aborted(nil, base+40, base+50)
	if err != nil || !complete || len(got) != 2 || got[0] != want[3] {
		t.Fatalf("%+v %v %v", got, complete, err)
	}
	name := FileName("/d", base, TxnIndexSuffix)
	p, err := vfs.ReadFile(opt.FS, name)
	if err != nil || len(p) != 10*producer.AbortedSize {
		t.Fatal(len(p), err)
	}
	for kind, tail := range map[string][]byte{"zeros": make([]byte, 68), "partial": p[:20], "again": p[:34]} {
		if err := vfs.WriteFileAtomic(opt.FS, name, append(bytes.Clone(p), tail...)); err != nil {
			t.Fatal(err)
		}
		s, err := Open("/d", base, s.Size(), opt)
		if err != nil {
			t.Fatal(err)
		}
		if intact, err := s.AbortedIntact(); intact || err != nil {
			t.Fatalf("%s: intact, %v", kind, err)
		}
		var damage *DamagedError
		if _, _, err := s.Aborted(nil, base, base+500); !errors.As(err, &damage) || damage.Position != 340 {
			t.Fatalf("%s: %v", kind, err)
		}
		if err := s.RecoverAborted(base + 35); err != nil {
			t.Fatal(err)
		}
		if now, err := vfs.ReadFile(opt.FS, name); err != nil || len(now) <= 340 {
			t.Fatalf("%s: changed before the recovery was through, %v", kind, err)
		}
		if err := errors.Join(s.AppendAborted(want[2]), s.StoreAborted()); err != nil {
			t.Fatal(err)
		}
		if now, err := vfs.ReadFile(opt.FS, name); err != nil || !bytes.Equal(now, p[:3*34]) {
			t.Fatalf("%s: %d bytes, %v", kind, len(now), err)
		}
	}
}

func TestParseName(t *testing.T) {
	for name, ok := range map[string]bool{
		"00000000000000000100.log": true, "00000000000000000100.index.deleted": true, "9223372036854775807.log": false,
		"09223372036854775807.log": true, "99999999999999999999.log": false, "00000000000000000100": false,
		"-0000000000000000100.log": false, "partition.metadata": false, "+0000000000000000001.log": false,
	} {
		if _, _, got := ParseName(name); got != ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestSmallTimeIndex: of a segment without offset index entries the time index stays as it is if the batches agree, and nothing is written;
// otherwise it is made again.
func TestSmallTimeIndex(t *testing.T) {
	entry := func(timestamp uint64, offset uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, timestamp), offset)
	}
	const end = base + 4 // offsets 100 to 103 with the timestamps 1000, 1030, 1020, 1030
	for name, c := range map[string]struct {
		times, offsets []byte
		point          int64
		stays          bool
	}{
		"closed":               {times: entry(1030, 1), point: end, stays: true},
		"closed early":         {times: entry(1000, 0), point: end, stays: true},
		"closed twice":         {times: append(entry(1000, 0), entry(1030, 1)...), point: end, stays: true},
		"empty":                {point: end, stays: true},
		"below the point":      {times: entry(1000, 0), point: base + 1, stays: true},
		"at the point":         {times: entry(1030, 1), point: base + 1},
		"another time":         {times: entry(1031, 1), point: end},
		"another offset":       {times: entry(1030, 3), point: end},
		"not the largest":      {times: entry(1020, 2), point: end},
		"falling":              {times: append(entry(1030, 1), entry(1000, 0)...), point: end},
		"one of two is wrong":  {times: append(entry(1000, 0), entry(1030, 2)...), point: end},
		"nothing is certain":   {times: entry(1030, 1), point: base},
		"half an offset entry": {times: entry(1030, 1), offsets: []byte{0, 0, 0}, point: end, stays: true},
		"one and a half":       {times: append(entry(1030, 1), 0, 0, 0), point: end, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, simfs.Options{})
			var all []byte
			for i, timestamp := range []int64{1000, 1030, 1020, 1030} {
				all = append(all, one(base+int64(i), 1, timestamp, 5)...)
			}
			o.IndexIntervalBytes = len64(all)
			for suffix, data := range map[string][]byte{LogSuffix: all, TimeIndexSuffix: c.times, IndexSuffix: c.offsets} {
				if err := vfs.WriteFileAtomic(o.FS, FileName("/d", base, suffix), data); err != nil {
					t.Fatal(err)
				}
			}
			var trace vfs.Trace
			o.FS = vfs.WithTrace(o.FS, &trace)
			s, err := Open("/d", base, len64(all), o)
			if err != nil {
				t.Fatal(err)
			}
			trust, err := s.Trusted(c.point)
			if err != nil || trust.Times != c.stays || trust.Position != 0 {
				t.Fatalf("%+v, %v", trust, err)
			}
			if err := s.Rewind(trust); err != nil {
				t.Fatal(err)
			}
			if out, err := s.Recover(0, base, false, nil); err != nil || out.Damage != nil || out.End != end {
				t.Fatal(out, err)
			}
			if ts, at, err := s.MaxTimestamp(); err != nil || ts != 1030 || at != base+1 {
				t.Fatal(ts, at, err)
			}
			left, err := vfs.ReadFile(o.FS, FileName("/d", base, TimeIndexSuffix))
			whole := c.times[:len(c.times)-len(c.times)%index.TimeWidth]
			if err != nil || c.stays && !bytes.Equal(left, whole) || !c.stays && len(left) > 0 {
				t.Fatalf("%x, %v", left, err)
			}
			if offsets, err := vfs.ReadFile(o.FS, FileName("/d", base, IndexSuffix)); err != nil || len(offsets) > 0 {
				t.Fatalf("%x, %v", offsets, err)
			}
			if lines := trace.Lines(); c.stays && c.offsets == nil && len(whole) == len(c.times) && len(lines) > 0 {
				t.Fatal("written: ", lines)
			}
			if !s.Unindexed() {
				t.Fatal("an entry came from nowhere")
			}
		})
	}
}

func len64(p []byte) int64 { return int64(len(p)) }

// FuzzRecover recovers arbitrary bytes: it must not panic, and what it calls
// intact must be.
func FuzzRecover(f *testing.F) {
	var whole []byte
	for i := range int64(4) {
		whole = append(whole, one(base+i, 1, i, 10)...)
	}
	f.Add(whole, false)
	f.Add(whole[:len(whole)-20], false)
	f.Add(append(bytes.Clone(whole), make([]byte, 100)...), true)
	f.Add(old(1, base, 7, "x"), false)
	f.Fuzz(func(t *testing.T, data []byte, foreign bool) {
		opt := options(t, simfs.Options{})
		opt.MapBytes = 1 << 10
		name := FileName("/d", base, LogSuffix)
		if err := vfs.WriteFileAtomic(opt.FS, name, data); err != nil {
			t.Fatal(err)
		}
		s, err := Open("/d", base, int64(len(data)), opt)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Recover(0, base, foreign, func(b batch.Batch, h Header) error {
			if err := checkBatch(b); err != nil {
				t.Fatalf("visited a damaged batch at %d: %v", h.Position, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if out.Size > int64(len(data)) || out.Damage == nil && out.Size != int64(len(data)) {
			t.Fatalf("%+v of %d bytes", out, len(data))
		}
		if err := s.Truncate(out.Size, out.End); err != nil && !out.Adopted {
			t.Fatal(err)
		}
		end := int64(base)
		err = s.Headers(func(h Header) {
			if h.Magic == 2 && h.BaseOffset < end && !out.Adopted {
				t.Fatalf("offset %d behind %d", h.BaseOffset, end)
			}
			end = h.LastOffset + 1
		})
		if err != nil {
			t.Fatal(err)
		}
		again, err := s.Recover(0, base, foreign, nil)
		if err != nil || again.Damage != nil && !foreign || again.End != out.End {
			t.Fatalf("%+v, again %+v, %v", out, again, err)
		}
		if _, err := s.Locate(out.End); err != nil && !errors.Is(err, ErrNotHere) {
			t.Fatal(err)
		}
		s.Retire(nil)
	})
}
