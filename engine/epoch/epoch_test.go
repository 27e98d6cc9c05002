package epoch

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
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
	if c.TruncateFromEnd(151) || c.TruncateFromEnd(-1) {
		t.Fatal("nothing begins at or behind the end")
	}
	if !c.TruncateFromEnd(150) || c.Latest() != 3 {
		t.Fatalf("an epoch that begins at the end has no data and goes: %v", c.entries)
	}
	if !c.TruncateFromStart(120) || !reflect.DeepEqual(c.entries, []Entry{{3, 120}}) {
		t.Fatalf("%v", c.entries)
	}
	if c.TruncateFromStart(110) {
		t.Fatal("a lower start changes nothing")
	}
	if c.TruncateFromStart(120) {
		t.Fatal("the same start changes nothing")
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
	for _, good := range []string{"0\n0\n", "0\r\n1\r\n4 5\r\n", "0\n1\n4 5"} {
		if _, err := Decode([]byte(good)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, line := range map[string]string{"": "line 1", "0\n-1\n": "line 2", "0\n1\n-4 5\n": "line 3", "0\n1\n4 +5\n": "line 3",
		"0\n1\n2147483648 5\n": "line 3", "0\n1\n4 5\n\n": "line 2", "2\n0\n": "line 1", "0\n3\n0 0\n": "line 2", "0\n1\n0\n": "line 3",
		"0\n2\n3 5\n3 6\n": "line 4", "0\n2\n3 5\n4 5\n": "line 4", "0": "line 2"} {
		if _, err := Decode([]byte(bad)); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), line) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestEntriesAreACopy(t *testing.T) {
	c := cache(Entry{1, 10})
	c.Entries()[0].Start = 99
	if c.Len() != 1 || c.EpochForOffset(10) != 1 {
		t.Fatalf("%v", c.entries)
	}
	if !c.Clear() || c.Clear() || c.Latest() != Undefined || c.EpochForOffset(10) != Undefined {
		t.Fatalf("%v", c.entries)
	}
}

// Any sequence of changes leaves a history that the file format accepts, and in which the questions agree
// with a walk over all offsets.
func TestRandomHistories(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		c := new(Cache)
		for range 30 {
			switch random.IntN(5) {
			case 0:
				c.TruncateFromEnd(random.Int64N(60))
			case 1:
				c.TruncateFromStart(random.Int64N(30))
			default:
				c.Assign(random.Int32N(20), random.Int64N(60))
			}
			back, err := Decode(c.Encode())
			if err != nil || !slices.Equal(back.entries, c.entries) {
				t.Fatalf("%v: %v, %v", c.entries, back, err)
			}
			for offset := range int64(60) {
				want := int32(Undefined)
				for _, e := range c.entries {
					if e.Start <= offset {
						want = e.Epoch
					}
				}
				if got := c.EpochForOffset(offset); got != want {
					t.Fatalf("%v: offset %d has epoch %d, expected %d", c.entries, offset, got, want)
				}
			}
		}
	}
}

func FuzzEpochCheckpoint(f *testing.F) {
	f.Add([]byte("0\n2\n0 0\n7 1000\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Decode(data)
		if err != nil {
			return
		}
		back, err := Decode(c.Encode())
		if err != nil || !slices.Equal(back.entries, c.entries) {
			t.Fatalf("%q does not survive: %v", data, err)
		}
	})
}
