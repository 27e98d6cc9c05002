package fsck

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// apply makes the edited bytes in memory.
func (list edits) apply(p []byte) (out []byte) {
	at := int64(0)
	for _, e := range list {
		out = append(append(out, p[at:e.from]...), e.bytes...)
		at = min(e.to, int64(len(p)))
	}
	return append(out, p[at:]...)
}

// TestEditsAfterEdits compares one edit after the other with all of them at
// once.
func TestEditsAfterEdits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		old := make([]byte, r.IntN(40))
		for i := range old {
			old[i] = byte('a' + i%26)
		}
		want := slices.Clone(old)
		var list edits
		for range 1 + r.IntN(6) {
			from := r.IntN(len(want) + 1)
			to := from + r.IntN(len(want)-from+1)
			e := edit{int64(from), int64(to), bytes.Repeat([]byte{byte('A' + r.IntN(26))}, r.IntN(5))}
			want = edits{e}.apply(want)
			list = list.then(e)
		}
		if got := list.apply(old); !bytes.Equal(got, want) {
			t.Fatalf("%q becomes %q, expected %q by %+v", old, got, want, list)
		}
		for i, e := range list {
			if i > 0 && e.from <= list[i-1].to || e.from == e.to && len(e.bytes) == 0 {
				t.Fatalf("edits %+v touch, or do nothing", list)
			}
		}
		disk := memory{}
		disk["/f"] = old
		if err := list.write(disk, "/f", disk, "/g"); err != nil || !bytes.Equal(disk["/g"], want) {
			t.Fatalf("%v: wrote %q, expected %q", err, disk["/g"], want)
		}
		if int64(len(want)-len(old)) != list.delta() {
			t.Fatalf("grows by %d, expected %d", list.delta(), len(want)-len(old))
		}
	}
}
