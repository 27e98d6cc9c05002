package session

import (
	"fmt"
	"testing"
)

func want(partition int32, offset int64) Partition {
	return Partition{Key: Key{Name: "topic", Partition: partition}, FetchOffset: offset, MaxBytes: 100, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}
}

// run is one request and its response: told by partition, -1 watermark for an
// error. It returns the session id and which partitions were in the response.
func run(t *testing.T, c *Cache, r Request, nowMs int64, told map[int32]Told) (id int32, code int16, shown []int32) {
	t.Helper()
	f, code := c.Begin(r, nowMs)
	if code != ErrNone {
		return 0, code, nil
	}
	var all []Told
	for i, p := range f.Partitions {
		all = append(all, told[p.Partition])
		if f.Changed(i, all[i]) {
			shown = append(shown, p.Partition)
		}
	}
	return f.Finish(all), ErrNone, shown
}

func expect(t *testing.T, step string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, expected %v", step, got, want)
	}
}

// TestIncrementalFetch follows KIP-227: a full fetch, then only what changed.
func TestIncrementalFetch(t *testing.T) {
	c := NewCache(10)
	told := map[int32]Told{0: {HighWatermark: 5}, 1: {HighWatermark: 7}, 2: {HighWatermark: 0}}
	id, _, shown := run(t, c, Request{Wanted: []Partition{want(0, 0), want(1, 0), want(2, 0)}}, 0, told)
	expect(t, "full", shown, []int32{0, 1, 2})
	if id == 0 {
		t.Fatal("no session")
	}
	step := func(name string, r Request, expected ...int32) {
		t.Helper()
		r.SessionID = id
		got, code, shown := run(t, c, r, 0, told)
		if code != ErrNone || got != id {
			t.Fatalf("%s: session %d, code %d", name, got, code)
		}
		if len(shown)+len(expected) > 0 {
			expect(t, name, shown, expected)
		}
	}
	step("nothing new", Request{Epoch: 1})
	told[1] = Told{HighWatermark: 8}
	step("high watermark", Request{Epoch: 2}, 1)
	step("told already", Request{Epoch: 3})
	told[2] = Told{HighWatermark: 0, LogStart: 0, HasRecords: true}
	step("records", Request{Epoch: 4}, 2)
	step("records again", Request{Epoch: 5}, 2)
	told[2] = Told{HighWatermark: 0, LogStart: 3}
	step("log start", Request{Epoch: 6}, 2)
	told[0] = Told{HighWatermark: -1, LogStart: -1, HasError: true}
	step("error", Request{Epoch: 7}, 0)
	step("error again", Request{Epoch: 8}, 0)
	told[0] = Told{HighWatermark: 5}
	step("error gone", Request{Epoch: 9}, 0)
	step("quiet", Request{Epoch: 10})
	told[3] = Told{HighWatermark: 0}
	step("added", Request{Epoch: 11, Wanted: []Partition{want(3, 0)}}, 3)
	told[3] = Told{HighWatermark: 1}
	step("forgotten", Request{Epoch: 12, Forgotten: []Key{{Name: "topic", Partition: 3}, {Name: "other", Partition: 1}}})
	told[0] = Told{HighWatermark: 6}
	step("moved on", Request{Epoch: 13, Wanted: []Partition{want(0, 6)}}, 0)

	f, _ := c.Begin(Request{SessionID: id, Epoch: 14}, 0)
	for _, p := range f.Partitions {
		if p.Partition == 0 && p.FetchOffset != 6 {
			t.Errorf("offset %d, expected the one sent last", p.FetchOffset)
		}
	}
}

// TestRefusals are the codes for what does not fit the session.
func TestRefusals(t *testing.T) {
	c := NewCache(10)
	told := map[int32]Told{0: {HighWatermark: 1}}
	id, _, _ := run(t, c, Request{Wanted: []Partition{want(0, 0)}}, 0, told)
	for _, x := range []struct {
		name string
		r    Request
		code int16
	}{
		{"unknown id", Request{SessionID: id ^ 1, Epoch: 1}, ErrIDNotFound},
		{"no id", Request{Epoch: 1}, ErrIDNotFound},
		{"epoch ahead", Request{SessionID: id, Epoch: 2}, ErrInvalidEpoch},
		{"negative epoch", Request{SessionID: id, Epoch: -2}, ErrInvalidEpoch},
		{"ids in a session of names", Request{SessionID: id, Epoch: 1, UseIDs: true}, ErrTopicIDMismatch},
		{"none of these changed it", Request{SessionID: id, Epoch: 1}, ErrNone},
		{"epoch behind", Request{SessionID: id, Epoch: 1}, ErrInvalidEpoch},
	} {
		if _, code, _ := run(t, c, x.r, 0, told); code != x.code {
			t.Errorf("%s: code %d, expected %d", x.name, code, x.code)
		}
	}
}

// TestSessionsEnd by a final epoch, by a new full fetch, and when nothing is
// left in them.
func TestSessionsEnd(t *testing.T) {
	c := NewCache(10)
	told := map[int32]Told{0: {HighWatermark: 1}}
	full := Request{Wanted: []Partition{want(0, 0)}}
	id, _, _ := run(t, c, full, 0, told)
	if got, code, shown := run(t, c, Request{SessionID: id, Epoch: -1, Wanted: full.Wanted}, 0, told); got != 0 || code != 0 || len(shown) != 1 {
		t.Errorf("final epoch: session %d, code %d, %d partitions", got, code, len(shown))
	}
	expect(t, "sessions after the final epoch", c.Len(), 0)

	first, _, _ := run(t, c, full, 0, told)
	again := full
	again.SessionID = first
	second, _, _ := run(t, c, again, 0, told)
	if second == 0 || second == first {
		t.Errorf("session %d after %d, expected another one", second, first)
	}
	expect(t, "sessions after a full fetch in one", c.Len(), 1)

	got, code, _ := run(t, c, Request{SessionID: second, Epoch: 1, Forgotten: []Key{{Name: "topic"}}}, 0, told)
	expect(t, "all forgotten", fmt.Sprint(got, code), "0 0")
	expect(t, "sessions after all was forgotten", c.Len(), 0)
}

// TestCacheIsBounded: a full cache gives no session, until one was idle for two
// minutes.
func TestCacheIsBounded(t *testing.T) {
	c := NewCache(2)
	told := map[int32]Told{0: {HighWatermark: 1}}
	full := Request{Wanted: []Partition{want(0, 0)}}
	first, _, _ := run(t, c, full, 0, told)
	second, _, _ := run(t, c, full, 1000, told)
	if third, _, _ := run(t, c, full, 119_999, told); first == 0 || second == 0 || third != 0 {
		t.Fatalf("sessions %d, %d, %d, expected only two", first, second, third)
	}
	if third, _, _ := run(t, c, full, 120_000, told); third == 0 {
		t.Fatal("no session although one was idle for two minutes")
	}
	if _, code, _ := run(t, c, Request{SessionID: first, Epoch: 1}, 120_000, told); code != ErrIDNotFound {
		t.Errorf("the idle session: code %d", code)
	}
	if _, code, _ := run(t, c, Request{SessionID: second, Epoch: 1}, 120_000, told); code != ErrNone {
		t.Errorf("the other session: code %d", code)
	}
}

// TestServedPartitionsGoToTheEnd: under a small byte limit every partition gets
// its turn.
func TestServedPartitionsGoToTheEnd(t *testing.T) {
	c := NewCache(2)
	told := map[int32]Told{}
	id, _, _ := run(t, c, Request{Wanted: []Partition{want(0, 0), want(1, 0), want(2, 0)}}, 0, told)
	var first []int32
	for epoch := int32(1); epoch <= 6; epoch++ {
		f, code := c.Begin(Request{SessionID: id, Epoch: epoch}, 0)
		if code != ErrNone {
			t.Fatal(code)
		}
		first = append(first, f.Partitions[0].Partition)
		all := make([]Told, 3)
		all[0].HasRecords = true // only the first one fits
		f.Finish(all)
	}
	expect(t, "first partitions", first, []int32{0, 1, 2, 0, 1, 2})
}

// TestEpochWraps from the largest number to 1: 0 would be a full fetch.
func TestEpochWraps(t *testing.T) {
	expect(t, "epochs", []int32{nextEpoch(1), nextEpoch(1<<31 - 2), nextEpoch(1<<31 - 1)}, []int32{2, 1<<31 - 1, 1})
}
