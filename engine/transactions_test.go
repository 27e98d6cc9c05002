package engine

import (
	"errors"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
)

func txnBatch(id int64, epoch int16, sequence int32) batch.Batch {
	return batch.NewBuilder(codec.None).Producer(id, epoch, sequence).Transactional().Append(epochStart.UnixMilli(), nil, []byte("v")).Bytes()
}

// tryAppend appends as a client whose transactions are verified, or, a marker, as a coordinator.
func tryAppend(t *testing.T, l *Log, b batch.Batch, g Guard, version int16) error {
	t.Helper()
	o := AppendOptions{LeaderEpoch: 1, Verified: true, Guard: g}
	if b.IsControl() {
		o = AppendOptions{LeaderEpoch: 1, Origin: producer.Coordinator, TransactionVersion: version}
	}
	done := make(waitChannel, 1)
	if _, err := l.Append(b, o, done); err != nil {
		return err
	}
	return <-done
}

// TestVerifiedAppends: a transaction opens with proof only, and what is open is known after a restart and a truncation.
func TestVerifiedAppends(t *testing.T) {
	r := newRig(t)
	l := r.create("topic-0", small)
	if err := tryAppend(t, l, txnBatch(1, 0, 0), 0, 0); !errors.Is(err, producer.ErrTransactionState) || l.End() != 0 {
		t.Fatalf("without proof: %v, end %d", err, l.End())
	}
	g := l.BeginVerification(1, 0, 0, true)
	for i := range int32(3) {
		if err := tryAppend(t, l, txnBatch(1, 0, i), g, 0); err != nil {
			t.Fatal(err)
		}
		if g = l.BeginVerification(1, 0, i+1, true); g != 0 || !l.InTransaction(1, 0) {
			t.Fatal("an open transaction needs proof")
		}
	}
	if err := tryAppend(t, l, txnBatch(2, 0, 0), l.BeginVerification(2, 0, 0, false), 0); err != nil {
		t.Fatal(err)
	}
	check := func(when string, one, two bool) {
		t.Helper()
		if l.InTransaction(1, 0) != one || l.InTransaction(2, 0) != two {
			t.Fatalf("%s: open are %v and %v", when, l.InTransaction(1, 0), l.InTransaction(2, 0))
		}
		for id, open := range map[int64]bool{1: one, 2: two} {
			if err := l.CheckVerified(id, 0, 0, true); (err == nil) != open {
				t.Fatalf("%s: producer %d: %v", when, id, err)
			}
		}
	}
	check("both", true, true)
	if len(l.Producers()) != 2 {
		t.Fatalf("producers: %+v", l.Producers())
	}
	r.crash()
	l = r.load("topic-0", small)
	check("after a power cut", true, true)
	if err := l.Truncate(3); err != nil {
		t.Fatal(err)
	}
	check("truncated", true, false)
	for name, x := range map[string]struct {
		b       batch.Batch
		version int16
		want    error
	}{
		"the epoch of the data, by version 2": {batch.EndTransactionMarker(true, 5, 1, 0, 1), 2, producer.ErrFencedEpoch},
		"an older epoch":                      {batch.EndTransactionMarker(true, 5, 1, -1, 1), 0, producer.ErrFencedEpoch},
	} {
		if err := tryAppend(t, l, x.b, 0, x.version); !errors.Is(err, x.want) {
			t.Errorf("marker of %s: %v", name, err)
		}
	}
	if err := tryAppend(t, l, batch.EndTransactionMarker(true, 5, 1, 1, 1), 0, 2); err != nil {
		t.Fatal(err)
	}
	check("ended", false, false)
	if err := l.CheckVerified(1, 0, 0, false); !errors.Is(err, producer.ErrFencedEpoch) {
		t.Errorf("the old epoch: %v", err)
	}
	if err := tryAppend(t, l, batch.EndTransactionMarker(true, 4, 1, 1, 1), 0, 2); !errors.Is(err, producer.ErrCoordinatorFenced) {
		t.Errorf("marker of an older coordinator: %v", err)
	}
	if err := tryAppend(t, l, txnBatch(1, 0, 3), 0, 0); !errors.Is(err, producer.ErrFencedEpoch) {
		t.Errorf("late: %v", err)
	}
	g = l.BeginVerification(3, 0, 0, false)
	l.EndVerification(3, g)
	if err := tryAppend(t, l, txnBatch(3, 0, 0), g, 0); !errors.Is(err, producer.ErrTransactionState) {
		t.Errorf("with proof that was given back: %v", err)
	}
}

// TestVerifiedAppendsDoNotAllocate more than others, once their transaction is open.
func TestVerifiedAppendsDoNotAllocate(t *testing.T) {
	r := newRig(t)
	cost := func(name string, make func(sequence int32) batch.Batch, o AppendOptions) float64 {
		l := r.create(name, LogConfig{SegmentBytes: 1 << 20, RetentionMs: -1, RetentionBytes: -1, FlushMessages: 1 << 40})
		sequence := int32(0)
		all := [300]batch.Batch{}
		for i := range all {
			all[i] = make(int32(i))
		}
		o.Guard = l.BeginVerification(1, 0, 0, true)
		return testing.AllocsPerRun(200, func() {
			done := &ignored{}
			l.InTransaction(1, 0)
			if _, err := l.Append(all[sequence], o, done); err != nil {
				t.Fatal(err)
			}
			sequence++
		})
	}
	plain := cost("a-0", func(s int32) batch.Batch {
		return batch.NewBuilder(codec.None).Producer(1, 0, s).Append(1, nil, []byte("v")).Bytes()
	}, AppendOptions{})
	if got := cost("b-0", func(s int32) batch.Batch { return txnBatch(1, 0, s) }, AppendOptions{Verified: true}); got > plain {
		t.Errorf("%v allocations for a transactional batch, %v for another", got, plain)
	}
}

type ignored struct{}

// Synced does nothing.
func (*ignored) Synced(error) {}
