package engine

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/segment"
)

// TestHotReads re-reads history: the second time with other bounds puts a block
// into the cache, and cutting the log makes sure that it is never found again.
func TestHotReads(t *testing.T) {
	r := newRig(t)
	r.store.Abandon()
	store, err := Open(Options{FS: r.disk, Clock: r.clock, Dirs: []string{"/data"}, Manual: true, CacheBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	r.store = store
	disk := false // whether reads come from the disk
	store.cache.warm = func(*segment.Segment, int64, int64) bool { return !disk }
	c := small
	c.SegmentBytes = 1 << 20
	l := r.create("t-0", c)
	fill := func(tag string, segments int) {
		for len(*l.segments.Load()) < segments {
			mustAppend(t, l, records(4, tag+strings.Repeat("x", 5000)))
		}
	}
	fill("first", 3)
	cached := func() bool {
		store.cache.open()
		store.cache.cache.Wait()
		_, ok := store.cache.cache.Get(uint64((*l.segments.Load())[0].Generation())<<32 | 1)
		return ok
	}
	read := func(at int64) []byte {
		p, err := readAt(l, at, 150_000)
		if err != nil {
			t.Fatal(err)
		}
		for rest := p; len(rest) > 0; {
			b, next, err := batch.Next(rest)
			if err == nil {
				err = b.CheckCRC()
			}
			if err != nil {
				t.Fatalf("read at %d: %v", at, err)
			}
			rest = next
		}
		return p
	}
	want := read(4)
	for range 5 {
		read(4)
	}
	if store.cache.filled.Load() {
		t.Fatal("reads that the page cache served filled the cache")
	}
	disk = true
	read(4)
	if cached() {
		t.Fatal("a block entered at its first miss")
	}
	for range 3 {
		if got := read(4); !bytes.Equal(got, want) {
			t.Fatal("other bytes the second time")
		}
		store.cache.cache.Wait()
	}
	if !cached() {
		t.Fatal("a block did not enter at its second miss")
	}
	if got := read(4); !bytes.Equal(got, want) {
		t.Fatal("other bytes from the cache")
	}
	if err := l.Truncate(8); err != nil {
		t.Fatal(err)
	}
	fill("other", 3)
	for i := range 4 {
		got := read(4)
		if bytes.Equal(got, want) || !bytes.Contains(got, []byte("other")) {
			t.Fatalf("read %d after a cut: the old bytes", i)
		}
		store.cache.cache.Wait()
	}
}
