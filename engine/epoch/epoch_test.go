package epoch

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func cache(entries ...Entry) *Cache { return &Cache{entries: entries} }

func TestAssign(t *testing.T) {
	c := &Cache{}
	for _, step := range []struct {
		epoch   int32
		start   int64
		changed bool
		want    []Entry
	}{
		{0, 0, true, []Entry{{0, 0}}},
		{0, 50, false, []Entry{{0, 0}}},
		{2, 100, true, []Entry{{0, 0}, {2, 100}}},
		{3, 100, true, []Entry{{0, 0}, {3, 100}}}, // epoch 2 never wrote anything
		{5, 200, true, []Entry{{0, 0}, {3, 100}, {5, 200}}},
		{-1, 300, false, []Entry{{0, 0}, {3, 100}, {5, 200}}},
		{4, 150, true, []Entry{{0, 0}, {3, 100}, {4, 150}}}, // a follower that diverged
	} {
		if got := c.Assign(step.epoch, step.start); got != step.changed || !reflect.DeepEqual(c.entries, step.want) {
			t.Fatalf("Assign(%d, %d) = %v, %v; expected %v, %v", step.epoch, step.start, got, c.entries, step.changed, step.want)
		}
	}
}

func TestEndOffsetFor(t *testing.T) {
	c := cache(Entry{1, 10}, Entry{3, 100}, Entry{4, 150})
	for _, x := range []struct {
		ask, found int32
		end        int64
	}{{4, 4, 999}, {5, -1, -1}, {3, 3, 150}, {2, 1, 100}, {1, 1, 100}, {0, 0, 10}, {-1, -1, -1}} {
		if f, e := c.EndOffsetFor(x.ask, 999); f != x.found || e != x.end {
			t.Errorf("epoch %d: got (%d, %d), expected (%d, %d)", x.ask, f, e, x.found, x.end)
		}
	}
	if f, e := (&Cache{}).EndOffsetFor(0, 5); f != -1 || e != -1 {
		t.Errorf("empty: (%d, %d)", f, e)
	}
}

func TestTruncate(t *testing.T) {
	c := cache(Entry{1, 10}, Entry{3, 100}, Entry{4, 150})
	if c.TruncateFromEnd(150) {
		t.Fatal("an epoch that begins at the end has no data yet and stays")
	}
	if !c.TruncateFromEnd(149) || c.Latest() != 3 {
		t.Fatalf("%v", c.entries)
	}
	if !c.TruncateFromStart(120) || !reflect.DeepEqual(c.entries, []Entry{{3, 120}}) {
		t.Fatalf("%v", c.entries)
	}
	if c.TruncateFromStart(110) {
		t.Fatal("a lower start changes nothing")
	}
	if e := c.EpochForOffset(121); e != 3 {
		t.Fatalf("epoch %d", e)
	}
	if e := c.EpochForOffset(5); e != -1 {
		t.Fatalf("epoch %d", e)
	}
}

func TestFile(t *testing.T) {
	c := cache(Entry{0, 0}, Entry{7, 1000})
	const text = "0\n2\n0 0\n7 1000\n"
	if got := string(c.Encode()); got != text {
		t.Fatalf("%q", got)
	}
	back, err := Decode([]byte(text))
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Fatalf("%v, %v", back, err)
	}
	for bad, line := range map[string]string{"2\n0\n": "line 1", "0\n3\n0 0\n": "line 2", "0\n1\n0\n": "line 3",
		"0\n2\n3 5\n3 6\n": "line 4", "0\n2\n3 5\n4 5\n": "line 4", "0": "line 2"} {
		if _, err := Decode([]byte(bad)); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), line) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("0\n2\n0 0\n7 1000\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Decode(data)
		if err != nil {
			return
		}
		if _, err := Decode(c.Encode()); err != nil {
			t.Fatalf("%q does not survive: %v", data, err)
		}
	})
}
