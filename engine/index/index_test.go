package index

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"sort"
	"testing"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

const base = 1000

func disk(t testing.TB, o simfs.Options) *simfs.FS {
	t.Helper()
	d := simfs.New(o)
	if err := d.MkdirAll("/d", 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOffsets(t *testing.T) {
	for name, o := range map[string]simfs.Options{"mapped": {}, "no mappings left": {MaxMappings: -1}} {
		t.Run(name, func(t *testing.T) {
			if o.MaxMappings < 0 {
				o.MaxMappings = 1
			}
			d := disk(t, o)
			if o.MaxMappings == 1 {
				f, err := d.OpenFile("/d/taken", os.O_RDWR|os.O_CREATE, 0o644)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Map(1); err != nil {
					t.Fatal(err)
				}
			}
			x, err := OpenOffsets(d, "/d/i", base, 1<<16)
			if err != nil || x.Exists() {
				t.Fatal(x.Exists(), err)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			type entry struct{ offset, position int64 }
			var want []entry
			at := entry{base, 0}
			check := func() {
				t.Helper()
				if x.Len() != len(want) {
					t.Fatalf("%d entries, expected %d", x.Len(), len(want))
				}
				for range 50 {
					target := base + rng.Int64N(at.offset-base+20) - 5
					i := sort.Search(len(want), func(i int) bool { return want[i].offset > target }) - 1
					expected := entry{base, 0}
					if i >= 0 {
						expected = want[i]
					}
					o, p, err := x.Lookup(target)
					if err != nil || (entry{o, p}) != expected {
						t.Fatalf("lookup %d: %d %d %v, expected %+v", target, o, p, err, expected)
					}
					limit := rng.Int64N(at.position + 20)
					i = sort.Search(len(want), func(i int) bool { return want[i].position > limit }) - 1
					expected = entry{base, 0}
					if i >= 0 {
						expected = want[i]
					}
					if o, p, err := x.FloorPosition(limit); err != nil || (entry{o, p}) != expected {
						t.Fatalf("floor %d: %d %d %v, expected %+v", limit, o, p, err, expected)
					}
				}
			}
			for i := range 3000 {
				at.offset += 1 + rng.Int64N(9)
				at.position += 61 + rng.Int64N(5000)
				if err := x.Append(at.offset, at.position); err != nil {
					t.Fatal(err)
				}
				want = append(want, at)
				switch rng.IntN(200) {
				case 0:
					if err := x.Sync(); err != nil {
						t.Fatal(err)
					}
				case 1:
					if err := x.Flush(); err != nil {
						t.Fatal(err)
					}
					if x, err = OpenOffsets(d, "/d/i", base, 1<<16); err != nil {
						t.Fatal(err)
					}
				case 2:
					below := want[rng.IntN(len(want))].offset
					if err := x.KeepBelow(below); err != nil {
						t.Fatal(err)
					}
					want = want[:sort.Search(len(want), func(i int) bool { return want[i].offset >= below })]
				case 3:
					if err := x.Release(); err != nil {
						t.Fatal(err)
					}
				}
				if i%100 == 0 {
					check()
				}
			}
			check()
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			p, err := vfs.ReadFile(d, "/d/i")
			if err != nil || len(p) != len(want)*OffsetWidth {
				t.Fatalf("%d bytes, %v", len(p), err)
			}
			for i, e := range want {
				if int64(binary.BigEndian.Uint32(p[8*i:]))+base != e.offset || int64(binary.BigEndian.Uint32(p[8*i+4:])) != e.position {
					t.Fatalf("entry %d in the file is % x", i, p[8*i:8*i+8])
				}
			}
		})
	}
}

func TestOffsetsThatDoNotFit(t *testing.T) {
	x, err := OpenOffsets(disk(t, simfs.Options{}), "/d/i", base, 80)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][2]int64{{base - 1, 0}, {base + 1<<31, 0}, {base, 1 << 31}} {
		if x.Append(bad[0], bad[1]) == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	for i := range int64(9) {
		if x.Full() {
			t.Fatalf("full after %d of 10 entries", i)
		}
		if err := x.Append(base+i, i*100); err != nil {
			t.Fatal(err)
		}
	}
	if !x.Full() {
		t.Fatal("not full with one entry left for the closing one")
	}
}

func TestCheck(t *testing.T) {
	d := disk(t, simfs.Options{})
	entry := func(o, p uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, o), p)
	}
	for name, c := range map[string]struct {
		tail []byte
		want int
	}{
		"good":           {nil, 2},
		"zero tail":      {make([]byte, 800), 2},
		"partial":        {[]byte{0, 0, 1}, 2},
		"same offset":    {entry(20, 900), 2},
		"lower position": {entry(30, 100), 2},
		"behind the log": {entry(30, 5000), 2},
		"negative":       {entry(1<<31, 950), 2},
		"three":          {entry(30, 950), 3},
	} {
		data := append(append(entry(10, 100), entry(20, 800)...), c.tail...)
		if err := vfs.WriteFileAtomic(d, "/d/i", data); err != nil {
			t.Fatal(err)
		}
		x, err := OpenOffsets(d, "/d/i", base, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := x.Check(1000); n != c.want || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func TestTimes(t *testing.T) {
	d := disk(t, simfs.Options{})
	x, err := OpenTimes(d, "/d/t", base, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if ts, o, ok, err := x.Last(); ts != -1 || o != base || ok || err != nil {
		t.Fatal(ts, o, ok, err)
	}
	for i := range int64(200) {
		ts := 10 * (i / 2) // every second one is no larger and left out
		if err := x.MaybeAppend(ts, base+3*i); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.MaybeAppend(-1, base+900); err != nil || x.Len() != 100 {
		t.Fatal(x.Len(), err)
	}
	for i, reopen := range []bool{false, true} {
		if reopen {
			if err := x.Sync(); err != nil {
				t.Fatal(err)
			}
			if x, err = OpenTimes(d, "/d/t", base, 1<<16); err != nil {
				t.Fatal(err)
			}
		}
		for target, want := range map[int64][2]int64{0: {-1, base}, 1: {0, base}, 10: {0, base}, 11: {10, base + 6}, 1 << 40: {990, base + 594}} {
			if ts, o, err := x.Lookup(target); err != nil || ts != want[0] || o != want[1] {
				t.Errorf("%d: lookup %d: %d %d %v, expected %v", i, target, ts, o, err, want)
			}
		}
	}
	if err := x.MaybeAppend(990, base+1000); err != nil || x.Len() != 100 {
		t.Fatal("the last timestamp was forgotten", x.Len(), err)
	}
	if n, err := x.Check(); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	if err := x.KeepBelow(base + 60); err != nil || x.Len() != 10 {
		t.Fatal(x.Len(), err)
	}
	if err := x.MaybeAppend(95, base+61); err != nil || x.Len() != 11 {
		t.Fatal("after a cut", x.Len(), err)
	}
}

// TestHeldEntries keeps entries in memory, and lets them go to the file later.
func TestHeldEntries(t *testing.T) {
	d := disk(t, simfs.Options{})
	x, err := OpenOffsets(d, "/d/i", base, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	x.Hold(true)
	for i := range int64(500) {
		if err := x.Append(base+i, 100*i); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Sync(); err != nil || x.Exists() {
		t.Fatal("a held index has a file", err)
	}
	if o, p, err := x.Lookup(base + 250); o != base+250 || p != 25000 || err != nil {
		t.Fatal(o, p, err)
	}
	x.Hold(false)
	if err := x.Sync(); err != nil {
		t.Fatal(err)
	}
	if info, err := d.Stat("/d/i"); err != nil || info.Size() != 500*OffsetWidth {
		t.Fatal(info, err)
	}
}

// TestFullDisk lets entries wait until there is room.
func TestFullDisk(t *testing.T) {
	d := disk(t, simfs.Options{Capacity: simfs.BlockSize})
	x, err := OpenOffsets(d, "/d/i", base, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(d, "/d/big", make([]byte, simfs.BlockSize)); err != nil {
		t.Fatal(err)
	}
	for i := range int64(500) {
		if err := x.Append(base+i, 100*i); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Sync(); err == nil {
		t.Fatal("synced to a full disk")
	}
	if err := errors.Join(d.Remove("/d/big"), x.Sync()); err != nil {
		t.Fatal(err)
	}
	if o, p, err := x.Lookup(base + 499); o != base+499 || p != 49900 || err != nil {
		t.Fatal(o, p, err)
	}
}

// FuzzFiles reads arbitrary bytes as both kinds of index.
func FuzzFiles(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0, 99}, int64(1003))
	f.Add(make([]byte, 100), int64(1000))
	f.Fuzz(func(t *testing.T, data []byte, target int64) {
		d := disk(t, simfs.Options{})
		for _, name := range []string{"/d/i", "/d/t"} {
			if err := vfs.WriteFileAtomic(d, name, data); err != nil {
				t.Fatal(err)
			}
		}
		x, err := OpenOffsets(d, "/d/i", base, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		n, err := x.Check(1 << 20)
		if err != nil || n > x.Len() {
			t.Fatal(n, err)
		}
		if _, _, err := x.Lookup(target); err != nil {
			t.Fatal(err)
		}
		if place, o, _, err := x.Below(n, target); err != nil || place >= n || place >= 0 && o >= target {
			t.Fatal(place, o, err)
		}
		if err := errors.Join(x.Truncate(n), x.KeepBelow(target)); err != nil {
			t.Fatal(err)
		}
		if left, err := x.Check(1 << 20); err != nil || left != x.Len() {
			t.Fatalf("%d of %d entries are good after a cut, %v", left, x.Len(), err)
		}
		y, err := OpenTimes(d, "/d/t", base, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		n, err = y.Check()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := y.Lookup(target); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(y.Truncate(n), y.MaybeAppend(1<<50, base+1<<30), y.Sync(), y.Close()); err != nil {
			t.Fatal(err)
		}
	})
}
