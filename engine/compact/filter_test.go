package compact

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// now, retention and horizon are of all cleanings here.
const (
	now       = int64(1_000_000)
	retention = int64(5_000)
	horizon   = now + retention
)

// rec is a record: key=value, key for a tombstone, =value without a key.
type rec string

func (r rec) parts() (key, value []byte) {
	k, v, found := strings.Cut(string(r), "=")
	if k != "" {
		key = []byte(k)
	}
	if found {
		value = []byte(v)
	}
	return key, value
}

func build(t codec.Type, base int64, records ...rec) batch.Batch {
	b := batch.NewBuilder(t).BaseOffset(base).LeaderEpoch(7)
	return fill(b, records...)
}

func fill(b *batch.Builder, records ...rec) batch.Batch {
	for i, r := range records {
		key, value := r.parts()
		b.Append(5000+int64(i), key, value, batch.Header{Key: "h", Value: []byte("header")})
	}
	return b.Bytes()
}

// show is what a test expects of a batch.
func show(t *testing.T, b batch.Batch) string {
	t.Helper()
	var s []string
	err := b.Each(1<<20, func(r *batch.Record) error {
		if len(r.Headers) != 1 && !b.IsControl() {
			t.Errorf("headers of %d: %v", r.Offset, r.Headers)
		}
		one := fmt.Sprintf("%d@%d:%s", r.Offset, r.Timestamp, r.Key)
		if b.IsControl() {
			one = fmt.Sprintf("%d:control", r.Offset)
		} else if r.Value != nil {
			one += "=" + string(r.Value)
		}
		s = append(s, one)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := b.CheckCRC(); err != nil {
		t.Error(err)
	}
	if b.HasDeleteHorizon() {
		s = append(s, fmt.Sprintf("until %d", b.BaseTimestamp()))
	}
	return strings.Join(s, " ")
}

// withHorizon is b as an earlier cleaning left it.
func withHorizon(t *testing.T, b batch.Batch, at int64) batch.Batch {
	t.Helper()
	records, _, err := b.RawRecords(nil, nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := batch.AppendRetained(nil, b, records, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFilter(t *testing.T) {
	idempotent := func(base int64, records ...rec) batch.Batch {
		return fill(batch.NewBuilder(codec.None).BaseOffset(base).Producer(4, 2, 10), records...)
	}
	active := func(offset int64, epoch int16) func(int64) (LastRecord, bool) {
		return func(id int64) (LastRecord, bool) {
			if id != 4 {
				return LastRecord{}, false
			}
			return LastRecord{offset, epoch}, true
		}
	}
	appendTime := func() batch.Batch {
		b := build(codec.None, 0, "a=1", "b=2")
		b.SetLogAppendTime(9999)
		return b
	}
	for name, x := range map[string]struct {
		newer   map[string]int64 // what the map holds beyond the batch's own keys
		batch   batch.Batch
		latest  int64 // of the map; 0 is all of the batch
		aborted []Aborted
		before  []batch.Batch // that went by
		active  func(int64) (LastRecord, bool)
		upTo    int64
		last    bool
		want    string // nothing when gone
		check   func(t *testing.T, out batch.Batch)
	}{
		"all keys are the last": {batch: build(codec.None, 0, "a=1", "b=2"), want: "0@5000:a=1 1@5001:b=2",
			check: func(t *testing.T, out batch.Batch) {
				if !bytes.Equal(out, build(codec.None, 0, "a=1", "b=2")) {
					t.Error("an untouched batch is not the same")
				}
			}},
		"a later one of the same batch": {batch: build(codec.None, 0, "a=1", "b=2", "a=3"), want: "1@5001:b=2 2@5002:a=3",
			check: func(t *testing.T, out batch.Batch) {
				if out.BaseOffset() != 0 || out.LastOffset() != 2 || out.RecordCount() != 2 || out.BaseTimestamp() != 5001 || out.MaxTimestamp() != 5002 ||
					out.LeaderEpoch() != 7 || out.Attributes() != 0 {
					t.Errorf("header of %x", []byte(out))
				}
			}},
		"a later batch":                     {newer: map[string]int64{"a": 90}, batch: build(codec.None, 0, "a=1", "b=2"), want: "1@5001:b=2"},
		"the newest timestamp went":         {newer: map[string]int64{"b": 90}, batch: build(codec.None, 0, "a=1", "b=2"), want: "0@5000:a=1", check: maxIs(5000)},
		"nothing stays":                     {newer: map[string]int64{"a": 90}, batch: build(codec.None, 0, "a=1"), want: ""},
		"behind what the map knows":         {newer: map[string]int64{"a": 0}, batch: build(codec.None, 9, "a=1", "x=1", "x=2", "x=3"), latest: 10, want: "10@5001:x=1 11@5002:x=2 12@5003:x=3"},
		"an empty value is no tombstone":    {batch: build(codec.None, 0, "a="), want: "0@5000:a="},
		"an empty key is a key":             {batch: fill(batch.NewBuilder(codec.None), "=x"), want: ""},
		"no key":                            {batch: build(codec.None, 0, "=1", "b=2"), want: "1@5001:b=2"},
		"no key behind what the map knows":  {batch: build(codec.None, 10, "a=1", "=1"), latest: 10, want: "10@5000:a=1 11@5001:=1"},
		"a tombstone gets a horizon":        {batch: build(codec.None, 0, "a=1", "b"), want: fmt.Sprint("0@5000:a=1 1@5001:b until ", horizon)},
		"a tombstone's horizon stays":       {batch: withHorizon(t, build(codec.None, 0, "a=1", "b"), now+1), want: fmt.Sprint("0@5000:a=1 1@5001:b until ", now+1)},
		"a tombstone's horizon is past":     {batch: withHorizon(t, build(codec.None, 0, "a=1", "b"), now), want: fmt.Sprint("0@5000:a=1 until ", now)},
		"a horizon stays with fewer":        {newer: map[string]int64{"a": 70}, batch: withHorizon(t, build(codec.None, 0, "a=1", "b"), now+1), want: fmt.Sprint("1@5001:b until ", now+1)},
		"a late tombstone behind the map":   {batch: withHorizon(t, build(codec.None, 10, "a=1", "b"), now), latest: 10, want: fmt.Sprint("10@5000:a=1 11@5001:b until ", now)},
		"superseded tombstones set nothing": {newer: map[string]int64{"b": 70}, batch: build(codec.None, 0, "a=1", "b"), want: "0@5000:a=1"},
		"LogAppendTime":                     {newer: map[string]int64{"a": 70}, batch: appendTime(), want: "1@9999:b=2", check: maxIs(9999)},
		"aborted":                           {aborted: []Aborted{{ProducerID: 4, FirstOffset: 0, LastOffset: 9}}, batch: data(0, 4, true, "a"), want: ""},
		"aborted, but the last of its producer": {aborted: []Aborted{{ProducerID: 4, FirstOffset: 0, LastOffset: 9}}, batch: data(0, 4, true, "a", "b"),
			active: active(1, 0), want: "empty", check: func(t *testing.T, out batch.Batch) {
				if !out.IsTransactional() || out.LastOffset() != 1 || out.ProducerID() != 4 || out.LastSequence() != 1 || out.BaseTimestamp() != -1 || out.MaxTimestamp() != 1000 {
					t.Errorf("header of %x", []byte(out))
				}
			}},
		"the last batch of a producer":          {newer: map[string]int64{"a": 90}, batch: idempotent(0, "a=1"), active: active(0, 2), want: "empty"},
		"a batch of a producer with newer ones": {newer: map[string]int64{"a": 90}, batch: idempotent(0, "a=1"), active: active(50, 2), want: ""},
		"a producer that is forgotten":          {newer: map[string]int64{"a": 90}, batch: idempotent(0, "a=1"), active: func(int64) (LastRecord, bool) { return LastRecord{}, false }, want: ""},
		"the end of the cleaning":               {newer: map[string]int64{"a": 90}, batch: build(codec.None, 0, "a=1"), upTo: 1, want: "empty"},
		"the end of the group": {newer: map[string]int64{"a": 90}, batch: build(codec.Gzip, 0, "a=1"), last: true, want: "empty", check: func(t *testing.T, out batch.Batch) {
			if out.Codec() != codec.None || len(out) != batch.HeaderSize {
				t.Errorf("%d bytes, %v", len(out), out.Codec())
			}
		}},
		"a marker whose transaction is there": {before: []batch.Batch{data(0, 4, true, "a")}, batch: marker(1, 4, true), want: "1:control"},
		"a marker without a transaction":      {batch: marker(0, 4, true), want: fmt.Sprint("0:control until ", horizon)},
		"its horizon is not yet past":         {batch: withHorizon(t, marker(0, 4, false), now+1), want: fmt.Sprint("0:control until ", now+1)},
		"its horizon is past":                 {batch: withHorizon(t, marker(0, 4, false), now), want: ""},
		"its horizon is past, but a batch of it is there": {aborted: []Aborted{{ProducerID: 4, FirstOffset: 0, LastOffset: 1}}, before: []batch.Batch{data(0, 4, true, "a")},
			batch: withHorizon(t, marker(1, 4, false), now), want: fmt.Sprint("1:control until ", now)},
		"the marker an epoch is known by":         {batch: withHorizon(t, marker(0, 4, false), now), active: active(-1, 0), want: "empty"},
		"a marker of an earlier epoch":            {batch: withHorizon(t, marker(0, 4, false), now), active: active(-1, 1), want: ""},
		"an emptied marker goes":                  {batch: batch.AppendEmpty(nil, marker(0, 4, false)), want: ""},
		"an emptied marker an epoch is known by":  {batch: batch.AppendEmpty(nil, marker(0, 4, false)), active: active(-1, 0), want: "empty"},
		"a leader change":                         {batch: batch.NewBuilder(codec.None).Control().Append(1, batch.ControlKey(batch.ControlLeaderChange), []byte("x")).Bytes(), want: "0:control"},
		"an emptied batch":                        {batch: batch.AppendEmpty(nil, idempotent(0, "a=1")), want: ""},
		"an emptied batch that is the last still": {batch: batch.AppendEmpty(nil, idempotent(0, "a=1")), active: active(0, 2), want: "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			txns := &Transactions{}
			txns.Add(x.aborted)
			keys := NewOffsetMap(1<<20, 0.9)
			m := &Mapper{Map: keys, Txns: &Transactions{}}
			m.Txns.Add(x.aborted)
			for _, b := range append(x.before, x.batch) {
				if full, err := m.Add(b); full || err != nil {
					t.Fatal(full, err)
				}
			}
			for key, offset := range x.newer {
				keys.Put([]byte(key), offset)
			}
			keys.Note(max(100, x.batch.LastOffset()))
			if x.latest > 0 {
				keys = NewOffsetMap(1<<20, 0.9)
				keys.Put([]byte("a"), x.latest)
			}
			f := &Filter{Map: keys, Txns: txns, NowMs: now, DeleteRetentionMs: retention, UpTo: x.upTo, Active: x.active}
			for _, b := range x.before {
				if _, err := f.Batch(nil, b, false); err != nil {
					t.Fatal(err)
				}
			}
			was := bytes.Clone(x.batch)
			f.Stats = Stats{}
			out, err := f.Batch([]byte("prefix"), x.batch, x.last)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(was, x.batch) || !bytes.HasPrefix(out, []byte("prefix")) {
				t.Fatal("the input was changed")
			}
			out = out[len("prefix"):]
			if f.Stats.Bytes != int64(len(was)) || f.Stats.KeptBytes != int64(len(out)) || f.Stats.Batches != 1 {
				t.Errorf("%+v of %d bytes to %d", f.Stats, len(was), len(out))
			}
			if x.want == "" {
				if len(out) != 0 {
					t.Fatalf("left %s", show(t, out))
				}
				return
			}
			b, rest, err := batch.Next(out)
			if err != nil || len(rest) > 0 {
				t.Fatalf("%d bytes: %v", len(out), err)
			}
			got := show(t, b)
			if b.RecordCount() == 0 {
				got = "empty"
			}
			if got != x.want {
				t.Errorf("%s, expected %s", got, x.want)
			}
			in := batch.Batch(was)
			if b.BaseOffset() != in.BaseOffset() || b.LastOffset() != in.LastOffset() || b.LeaderEpoch() != in.LeaderEpoch() || b.ProducerID() != in.ProducerID() ||
				b.ProducerEpoch() != in.ProducerEpoch() || b.LastSequence() != in.LastSequence() || b.IsTransactional() != in.IsTransactional() ||
				b.IsControl() != in.IsControl() || b.IsLogAppendTime() != in.IsLogAppendTime() {
				t.Errorf("header %x, was %x", []byte(b[:batch.HeaderSize]), []byte(in[:batch.HeaderSize]))
			}
			if x.check != nil {
				x.check(t, b)
			}
		})
	}
}

func maxIs(ts int64) func(*testing.T, batch.Batch) {
	return func(t *testing.T, b batch.Batch) {
		if b.MaxTimestamp() != ts {
			t.Errorf("largest timestamp %d, expected %d", b.MaxTimestamp(), ts)
		}
	}
}

// TestFilterKeepsCodec and the records' bytes: timestamps, headers, attributes.
func TestFilterKeepsCodec(t *testing.T) {
	for c := codec.None; c <= codec.Zstd; c++ {
		b := build(c, 40, "a=1", "b", "c=3", "a=4")
		keys := NewOffsetMap(1<<20, 0.9)
		if full, err := (&Mapper{Map: keys, Txns: &Transactions{}}).Add(b); full || err != nil {
			t.Fatal(full, err)
		}
		f := &Filter{Map: keys, Txns: &Transactions{}, NowMs: now, DeleteRetentionMs: retention}
		for pass := range 3 {
			out, err := f.Batch(nil, b, false)
			if err != nil {
				t.Fatal(err)
			}
			b = batch.Batch(out)
			want := fmt.Sprint("41@5001:b 42@5002:c=3 43@5003:a=4 until ", horizon)
			if pass == 2 {
				want = fmt.Sprint("42@5002:c=3 43@5003:a=4 until ", horizon)
			}
			if got := show(t, b); got != want || b.Codec() != c {
				t.Errorf("pass %d: %s with %v, expected %s with %v", pass, got, b.Codec(), want, c)
			}
			if pass == 1 {
				f.NowMs = horizon
			}
		}
	}
}

func TestFilterHorizonIsBounded(t *testing.T) {
	keys := NewOffsetMap(1<<20, 0.9)
	keys.Put([]byte("a"), 0)
	f := &Filter{Map: keys, Txns: &Transactions{}, NowMs: now, DeleteRetentionMs: math.MaxInt64}
	out, err := f.Batch(nil, build(codec.None, 0, "a"), false)
	if err != nil || batch.Batch(out).BaseTimestamp() != math.MaxInt64 {
		t.Fatal(show(t, out), err)
	}
	if got, want := show(t, out), fmt.Sprint("0@5000:a until ", int64(math.MaxInt64)); got != want {
		t.Errorf("%s, expected %s", got, want)
	}
}

func TestMapper(t *testing.T) {
	keys := NewOffsetMap(24*4, 0.75) // 3 keys
	m := &Mapper{Map: keys, Txns: &Transactions{}, Start: 12}
	m.Txns.Add([]Aborted{{ProducerID: 4, FirstOffset: 20, LastOffset: 25}})
	for i, step := range []struct {
		batch  batch.Batch
		full   bool
		latest int64
	}{
		{build(codec.None, 5, "a=1", "b=1"), false, -1},              // below the start
		{build(codec.LZ4, 10, "a=1", "b=1", "c=1", "=1"), false, 13}, // c at the start
		{data(20, 4, true, "x", "y", "z"), false, 22},                // aborted: no keys
		{marker(25, 4, false), false, 25},
		{build(codec.None, 30, "a=1", "b=1", "c=2", "d=1", "a=3"), true, 32},
	} {
		full, err := m.Add(step.batch)
		if err != nil || full != step.full || keys.Latest() != step.latest {
			t.Errorf("%d: full %v, latest %d, %v", i, full, keys.Latest(), err)
		}
	}
	for key, want := range map[string]int64{"a": 30, "b": 31, "c": 32, "d": -1, "x": -1} {
		if got := keys.Get([]byte(key)); got != want {
			t.Errorf("%s: %d, expected %d", key, got, want)
		}
	}
	bad := bytes.Clone(build(codec.None, 50, "a=1"))
	bad[len(bad)-1] ^= 0x80
	broken := batch.Batch(bad)
	broken = broken[:len(broken)-3]
	if _, err := m.Add(shorten(broken)); !errors.Is(err, batch.ErrStructure) && !errors.Is(err, batch.ErrCount) {
		t.Errorf("a record that ends early: %v", err)
	}
}

// shorten makes the header of a batch that was cut agree with its length.
func shorten(b batch.Batch) batch.Batch {
	n := len(b) - batch.Overhead
	b[8], b[9], b[10], b[11] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	b.SetCRC()
	return b
}
