package compact

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestOffsetMap(t *testing.T) {
	for _, size := range []int64{0, 24, 48, 24 * 10, 24 * 1000, 1 << 20, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(size), 1))
			m := NewOffsetMap(size, 0.9)
			want := map[string]int64{}
			offset, full := int64(0), 0
			for full < 100 {
				offset += int64(1 + rng.IntN(3))
				key := fmt.Sprint("key-", rng.IntN(4+int(2*size/24)))
				_, known := want[key]
				if m.Put([]byte(key), offset) {
					want[key] = offset
					if m.Latest() != offset {
						t.Fatal(m.Latest(), offset)
					}
					continue
				}
				full++
				if known {
					t.Fatal("no room for a key that is known")
				}
			}
			if m.Len() != len(want) || m.Len() < 1 {
				t.Fatalf("%d keys, expected %d", m.Len(), len(want))
			}
			if least := int(float64(size/24)*0.9) - 2 - int(size/24/20); m.Len() < least {
				t.Errorf("full with %d keys, expected at least %d", m.Len(), least)
			}
			if m.Bytes() > max(size, 2*EntryBytes) {
				t.Errorf("%d bytes, at most %d", m.Bytes(), size)
			}
			for key, offset := range want {
				if got := m.Get([]byte(key)); got != offset {
					t.Fatalf("%s: %d, expected %d", key, got, offset)
				}
			}
			for i := range 100 {
				if got := m.Get(fmt.Appendf(nil, "other-%d", i)); got != -1 {
					t.Fatal(got)
				}
			}
		})
	}
}

func TestOffsetMapIsEmpty(t *testing.T) {
	m := NewOffsetMap(1<<30, 0.9)
	if m.Get(nil) != -1 || m.Latest() != -1 || m.Len() != 0 || m.Bytes() != 0 || m.Utilization() != 0 {
		t.Fatal("a new map is not empty")
	}
	// Empty keys are keys, and offset 0 is one.
	if !m.Put(nil, 0) || m.Get([]byte{}) != 0 || m.Get([]byte{0}) != -1 {
		t.Fatal(m.Get(nil))
	}
	m.Note(17)
	if m.Latest() != 17 || m.Get(nil) != 0 {
		t.Fatal(m.Latest())
	}
	if m.Bytes() > 100*EntryBytes {
		t.Fatalf("%d bytes for one key", m.Bytes())
	}
}

// TestOffsetMapGrows in small steps: what it takes is in proportion to what it holds.
func TestOffsetMapGrows(t *testing.T) {
	m := NewOffsetMap(64<<20, 0.9)
	var key [8]byte
	for i := range int64(500_000) {
		binary.BigEndian.PutUint64(key[:], uint64(i))
		if !m.Put(key[:], i) {
			t.Fatal(i)
		}
		if n := int64(m.Len()); i%1000 == 0 && m.Bytes() > max(3*n*EntryBytes, int64(len(m.shards))*2*smallestShard*EntryBytes) {
			t.Fatalf("%d keys take %d bytes", n, m.Bytes())
		}
	}
}

func BenchmarkOffsetMap(b *testing.B) {
	m := NewOffsetMap(128<<20, 0.9)
	var key [16]byte
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint64(key[:], uint64(i%4_000_000))
		m.Put(key[:], int64(i))
	}
	b.ReportMetric(float64(m.Bytes())/1e6, "MB")
}
