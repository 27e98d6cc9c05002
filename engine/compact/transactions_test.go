package compact

import (
	"errors"
	"slices"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

func data(base int64, producer int64, transactional bool, keys ...string) batch.Batch {
	b := batch.NewBuilder(codec.None).BaseOffset(base)
	if producer >= 0 {
		b.Producer(producer, 0, 0)
	}
	if transactional {
		b.Transactional()
	}
	for _, k := range keys {
		b.Append(1000+base, []byte(k), []byte("v"))
	}
	return b.Bytes()
}

func marker(base, producer int64, commit bool) batch.Batch {
	b := batch.EndTransactionMarker(commit, 0, producer, 0, 1000+base)
	b.SetBaseOffset(base)
	return b
}

func TestTransactions(t *testing.T) {
	var kept []Aborted
	txns := &Transactions{Keep: func(a Aborted) error { kept = append(kept, a); return nil }}
	a := Aborted{ProducerID: 1, FirstOffset: 10, LastOffset: 30, LastStableOffset: 5}
	b := Aborted{ProducerID: 1, FirstOffset: 40, LastOffset: 50, LastStableOffset: 40}
	gone := Aborted{ProducerID: 2, FirstOffset: 12, LastOffset: 33, LastStableOffset: 10}
	txns.Add([]Aborted{b, a, gone})
	leader := batch.NewBuilder(codec.None).BaseOffset(60).Control().Append(1, batch.ControlKey(batch.ControlLeaderChange), nil).Bytes()
	unknown := batch.NewBuilder(codec.None).BaseOffset(61).Control().Append(1, batch.ControlKey(99), []byte("?")).Bytes()
	for i, step := range []struct {
		what    string
		batch   batch.Batch
		discard bool
	}{
		{"no transaction", data(0, -1, false, "k"), false},
		{"the producer before its transaction, which committed", data(5, 1, true, "k"), false},
		{"its marker", marker(6, 1, true), false},
		{"the marker again: nothing was in between", marker(7, 1, true), true},
		{"first batch of an aborted one", data(10, 1, true, "k"), true},
		{"another producer's", data(14, 3, true, "k"), false},
		{"the same producer without a transaction", data(15, 1, false, "k"), false},
		{"second batch", data(16, 1, true, "k", "l"), true},
		{"abort marker: its batches were there", marker(30, 1, false), false},
		{"abort marker of batches that are gone", marker(33, 2, false), true},
		{"the next one of the same producer", data(40, 1, true, "k"), true},
		{"its marker", marker(50, 1, false), false},
		{"a marker nobody knows a transaction of", marker(51, 9, false), true},
		{"emptied marker", batch.AppendEmpty(nil, marker(52, 3, true)), true},
		{"commit of producer 3", marker(53, 3, true), false},
		{"leader change", leader, false},
		{"unknown control record", unknown, false},
	} {
		discard, err := txns.Next(step.batch)
		if err != nil || discard != step.discard {
			t.Errorf("%d, %s: %v, %v", i, step.what, discard, err)
		}
		if i == 7 {
			txns.Add([]Aborted{a, gone}) // known already
		}
	}
	if want := []Aborted{a, b}; !slices.Equal(kept, want) {
		t.Errorf("kept %+v, expected %+v", kept, want)
	}
	if _, err := txns.Next(batch.NewBuilder(codec.None).BaseOffset(70).Control().Append(1, []byte{0}, nil).Bytes()); !errors.Is(err, batch.ErrControl) {
		t.Errorf("a control record without a type: %v", err)
	}
	full := errors.New("full")
	txns.Keep = func(Aborted) error { return full }
	txns.Add([]Aborted{{ProducerID: 4, FirstOffset: 80, LastOffset: 82}})
	if _, err := txns.Next(data(80, 4, true, "k")); err != nil {
		t.Error(err)
	}
	if _, err := txns.Next(marker(82, 4, false)); !errors.Is(err, full) {
		t.Error(err)
	}
}
