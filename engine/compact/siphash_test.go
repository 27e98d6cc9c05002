package compact

import (
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// TestSipHash compares with the vectors of the reference implementation (vectors_sip128): the key is 00..0f, the
// input the first bytes of 00, 01, 02, ...
func TestSipHash(t *testing.T) {
	key := make([]byte, 16)
	for i := range key {
		key[i] = byte(i)
	}
	k0, k1 := binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[8:])
	for n, want := range []string{
		"a3817f04ba25a8e66df67214c7550293", "da87c1d86b99af44347659119b22fc45", "8177228da4a45dc7fca38bdef60affe4",
	} {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i)
		}
		h := sipHash(k0, k1, data)
		got := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, h.lo), h.hi)
		if hex.EncodeToString(got) != want {
			t.Errorf("%d bytes: %x, expected %s", n, got, want)
		}
	}
	// Every byte and the length count, whatever the length.
	seen := map[hash128]int{}
	for n := range 100 {
		data := make([]byte, n)
		for i := range n + 1 {
			if i > 0 {
				data[i-1] ^= 1
			}
			h := sipHash(k0, k1, data)
			if before, ok := seen[h]; ok {
				t.Fatalf("%d bytes, change %d: the hash of case %d", n, i, before)
			}
			seen[h] = len(seen)
			if i > 0 {
				data[i-1] ^= 1
			}
		}
	}
}
