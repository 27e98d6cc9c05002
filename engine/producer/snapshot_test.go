package producer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
)

// The files were written by Kafka 4.3.1, whose order is by producer id here.
func TestKafkaSnapshots(t *testing.T) {
	for name, producers := range map[string]int{"empty": 0, "plain": 1, "txn-0-50": 2, "txn-0-165": 6, "txn-1-165": 6} {
		want, err := os.ReadFile(filepath.Join("testdata", name+".snapshot"))
		if err != nil {
			t.Fatal(err)
		}
		table := New(hour)
		if err := table.Decode(want, 5); err != nil || table.Len() != producers {
			t.Fatalf("%s: %d producers, %v", name, table.Len(), err)
		}
		if got := table.Encode([]byte("kept")); string(got[:4]) != "kept" || !bytes.Equal(got[4:], want) {
			t.Errorf("%s:\n%x, expected\n%x", name, got[4:], want)
		}
		first, open := table.FirstUndecidedOffset()
		if wantOpen := name == "txn-0-50"; open != wantOpen || open && first != 0 {
			t.Errorf("%s: an open transaction at %d, %v", name, first, open)
		}
	}
}

func TestSnapshotKeepsWhatMatters(t *testing.T) {
	table := New(24 * hour)
	table.Apply(data(1, 0, 0, 0, 3), 0)
	table.Apply(data(1, 0, 3, 3, 3), 0)
	table.Apply(tx(2, 4, 0, 6, 3), 0)
	table.Apply(tx(5, 1, 0, 9, 1), 0)
	table.Apply(marker(false, 5, 2, 7, 10), 0)
	back := New(24 * hour)
	back.Apply(data(77, 0, 0, 0, 1), 0)
	if err := back.Decode(table.Encode(nil), 100*hour); err != nil {
		t.Fatal(err)
	}
	if back.Len() != 3 {
		t.Fatalf("%d producers", back.Len())
	}
	for name, x := range map[string]struct {
		b    batch.Batch
		want string
	}{
		"next":                     {data(1, 0, 6, 11, 1), "accepted"},
		"last batch":               {data(1, 0, 3, 11, 3), "duplicate"},
		"only the last is kept":    {data(1, 0, 0, 11, 3), "out of order"},
		"transaction is open":      {data(2, 4, 3, 11, 1), "transaction state"},
		"transaction goes on":      {tx(2, 4, 3, 11, 1), "accepted"},
		"fenced by the marker":     {tx(5, 1, 1, 11, 1), "fenced"},
		"new epoch begins at zero": {tx(5, 2, 0, 11, 1), "accepted"},
	} {
		if got := outcome(back.Check(x.b, Client, 100*hour)); got != x.want {
			t.Errorf("%s: %s, expected %s", name, got, x.want)
		}
	}
	if first, ok := back.FirstUndecidedOffset(); !ok || first != 6 {
		t.Fatal(first, ok)
	}
	if n := back.RemoveExpired(123 * hour); n != 0 {
		t.Fatal("producers count as idle from Decode on")
	}
	if n := back.RemoveExpired(124 * hour); n != 2 {
		t.Fatalf("%d producers expire, expected all but the open transaction's", n)
	}
}

// entryAt gives the bytes of a snapshot whose one entry was changed, with a right checksum.
func changed(change func(entry []byte)) []byte {
	table := New(0)
	table.Apply(data(1, 2, 3, 10, 4), 0)
	p := table.Encode(nil)
	change(p[snapshotHeader:])
	return resealed(p)
}

func resealed(p []byte) []byte {
	binary.BigEndian.PutUint32(p[2:], batch.Checksum(p[crcEnd:]))
	return p
}

func TestDecodeRefuses(t *testing.T) {
	good := changed(func([]byte) {})
	two := resealed(append(append([]byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 2}, good[10:]...), good[10:]...))
	count := func(n uint32) []byte {
		p := append([]byte{}, good...)
		binary.BigEndian.PutUint32(p[6:], n)
		return resealed(p)
	}
	flipped := append([]byte{}, good...)
	flipped[20] ^= 1
	for name, x := range map[string]struct {
		p    []byte
		says string
	}{
		"nothing":            {nil, "0 bytes"},
		"part of a header":   {good[:9], "9 bytes"},
		"version 2":          {append([]byte{0, 2}, good[2:]...), "version 2 at byte 0"},
		"a flipped bit":      {flipped, "checksum"},
		"cut":                {good[:len(good)-1], "checksum"},
		"count too large":    {count(2), "count 2"},
		"count negative":     {count(1<<32 - 1), "count -1"},
		"count that wraps":   {count(1 << 31), "count -2147483648"},
		"bytes left":         {resealed(append(append([]byte{}, good...), 0)), "47 in all"},
		"twice":              {two, "byte 56: producer 1 is there twice"},
		"negative producer":  {changed(func(e []byte) { e[0] = 0x80 }), "entry at byte 10: producer id"},
		"negative delta":     {changed(func(e []byte) { e[22] = 0x80 }), "offset delta"},
		"delta above offset": {changed(func(e []byte) { e[25] = 14 }), "offset delta 14, expected 0 to 13"},
		"sequence below -1":  {changed(func(e []byte) { e[10] = 0x80 }), "last sequence"},
	} {
		table := New(0)
		table.Apply(tx(9, 0, 0, 0, 1), 0)
		if err := table.Decode(x.p, 0); !errors.Is(err, ErrSnapshot) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v, expected %q", name, err, x.says)
		}
		if _, open := table.FirstUndecidedOffset(); table.Len() != 1 || !open {
			t.Errorf("%s: the table changed", name)
		}
	}
	// What Kafka writes for a producer of which only a marker is known.
	table := New(0)
	table.Apply(marker(true, 3, 1, 2, 8), 0)
	p := table.Encode(nil)
	if err := table.Decode(p, 0); err != nil || !bytes.Equal(table.Encode(nil), p) {
		t.Fatal(err)
	}
	if e := p[snapshotHeader:]; binary.BigEndian.Uint32(e[10:]) != 1<<32-1 || binary.BigEndian.Uint64(e[14:]) != 1<<64-1 || binary.BigEndian.Uint32(e[22:]) != 0 {
		t.Fatalf("%x", e)
	}
}

func TestDecodeKeepsWithinBounds(t *testing.T) {
	table := New(0)
	for id := range int64(10) {
		table.Apply(data(id, 0, 0, 100-id, 1), 0) // the higher the id, the older
	}
	back := New(0)
	back.SetMaxProducers(4)
	if err := back.Decode(table.Encode(nil), 0); err != nil || back.Len() != 4 {
		t.Fatal(back.Len(), err)
	}
	for id := range int64(4) {
		if _, known := back.Lookup(id); !known {
			t.Errorf("producer %d, seen last, is forgotten", id)
		}
	}
}

func TestAborted(t *testing.T) {
	p, err := os.ReadFile("testdata/txn-1-5.txnindex")
	if err != nil {
		t.Fatal(err)
	}
	var again []byte
	previous := int64(-1)
	for rest := p; len(rest) > 0; rest = rest[AbortedSize:] {
		a, err := DecodeAborted(rest)
		if err != nil || a.LastOffset <= previous {
			t.Fatalf("%+v, %v", a, err)
		}
		previous = a.LastOffset
		again = AppendAborted(again, a)
	}
	if !bytes.Equal(again, p) {
		t.Fatalf("%x, expected %x", again, p)
	}
	for name, bad := range map[string][]byte{
		"short":        p[:AbortedSize-1],
		"version":      append([]byte{0, 1}, p[2:]...),
		"out of order": AppendAborted(nil, AbortedTxn{1, 10, 9, 0}),
		"negative":     AppendAborted(nil, AbortedTxn{-1, 1, 2, 3}),
	} {
		if _, err := DecodeAborted(bad); !errors.Is(err, ErrTxnIndex) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSnapshot(f *testing.F) {
	files, err := filepath.Glob("testdata/*.snapshot")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, name := range files {
		p, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > crcEnd {
			p = resealed(append([]byte{}, p...)) // so that more than checksums is tried
		}
		table := New(hour)
		if table.Decode(p, 0) != nil {
			return
		}
		first := table.Encode(nil)
		back := New(hour)
		if err := back.Decode(first, 0); err != nil || !bytes.Equal(back.Encode(nil), first) {
			t.Fatalf("%x becomes %x, %v", p, first, err)
		}
		table.OnHighWatermark(1 << 40)
		table.FirstUnstableOffset()
		table.RemoveExpired(2 * hour)
	})
}

func FuzzAborted(f *testing.F) {
	f.Add(AppendAborted(nil, AbortedTxn{1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if a, err := DecodeAborted(p); err == nil && !bytes.Equal(AppendAborted(nil, a), p[:AbortedSize]) {
			t.Fatalf("%x is %+v", p, a)
		}
	})
}
