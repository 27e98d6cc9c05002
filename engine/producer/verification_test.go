package producer

import (
	"errors"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
)

// verified is a log of one partition, without the log.
type verified struct {
	t *testing.T
	v Verifier
	*Table
}

func (l *verified) append(b batch.Batch, g Guard, want error) {
	l.t.Helper()
	dup, err := l.v.Check(l.Table, b, g, 0)
	if !errors.Is(err, want) || dup != nil {
		l.t.Fatalf("%v, duplicate %v; expected %v", err, dup, want)
	}
	if err == nil {
		l.apply(b)
	}
}

func (l *verified) apply(b batch.Batch) {
	l.Apply(b, 0)
	l.v.Applied(b)
}

func (l *verified) begin(id int64, epoch int16, sequence int32, bumps bool) Guard {
	l.t.Helper()
	g := l.v.Begin(id, epoch, sequence, bumps)
	if g == 0 {
		l.t.Fatalf("producer %d needs no proof at epoch %d", id, epoch)
	}
	return g
}

func TestVerification(t *testing.T) {
	l := &verified{t: t, Table: New(hour)}
	l.append(tx(1, 0, 0, 0, 1), 0, ErrTransactionState)
	l.append(tx(1, 0, 0, 0, 1), 5, ErrTransactionState)
	l.append(data(2, 0, 0, 0, 1), 0, nil)
	g := l.begin(1, 0, 0, false)
	if again := l.begin(1, 0, 0, false); again != g {
		t.Fatal("two guards of one producer")
	}
	l.append(tx(1, 0, 0, 1, 1), g+1, ErrTransactionState)
	l.append(tx(1, 0, 0, 1, 1), g, nil)
	if !l.v.InTransaction(1, 0) || l.v.InTransaction(1, 1) || l.v.InTransaction(2, 0) || l.v.Begin(1, 0, 1, false) != 0 {
		t.Fatal("what is open")
	}
	l.append(tx(1, 0, 1, 2, 1), 0, nil)
	// A transaction of a newer epoch is another one, even where the old one is open.
	l.append(tx(1, 1, 0, 3, 1), 0, ErrTransactionState)
	l.apply(marker(true, 1, 0, 0, 3))
	if l.v.InTransaction(1, 0) {
		t.Fatal("open behind its marker")
	}
	l.append(tx(1, 0, 2, 4, 1), 0, ErrTransactionState)
	l.append(tx(1, 0, 2, 4, 1), g, ErrTransactionState)
	// The epoch comes before the proof, and a duplicate before both.
	l.apply(marker(true, 1, 1, 0, 4))
	l.append(tx(1, 0, 2, 5, 1), 0, ErrFencedEpoch)
	g = l.begin(1, 1, 0, false)
	l.append(tx(1, 1, 0, 5, 1), g, nil)
	l.apply(marker(true, 1, 1, 0, 6))
	if dup, err := l.v.Check(l.Table, tx(1, 1, 0, 7, 1), 0, 0); dup == nil || err != nil {
		t.Fatalf("a retry of what is there: %v %v", dup, err)
	}
}

// TestVerificationABA: proof from before a marker is none for the transaction behind it.
func TestVerificationABA(t *testing.T) {
	l := &verified{t: t, Table: New(hour)}
	old := l.begin(1, 0, 0, false)
	l.apply(marker(false, 1, 0, 0, 0))
	l.append(tx(1, 0, 0, 1, 1), old, ErrTransactionState)
	next := l.begin(1, 0, 0, false)
	l.append(tx(1, 0, 0, 1, 1), old, ErrTransactionState)
	l.append(tx(1, 0, 0, 1, 1), next, nil)
}

// TestVerificationVersion2: the marker has the epoch of the next transaction, which may be asking already.
func TestVerificationVersion2(t *testing.T) {
	l := &verified{t: t, Table: New(hour)}
	l.append(tx(1, 0, 0, 0, 1), l.begin(1, 0, 0, true), nil)
	next := l.begin(1, 1, 0, true)
	l.apply(marker(true, 1, 1, 0, 1))
	l.append(tx(1, 0, 1, 2, 1), 0, ErrFencedEpoch)
	l.append(tx(1, 1, 0, 2, 1), next, nil)
	// A marker of a later epoch ends it all, one of an earlier epoch nothing.
	other, later := l.begin(2, 1, 0, true), l.begin(2, 4, 0, true)
	l.apply(marker(true, 2, 3, 0, 3))
	l.append(tx(2, 1, 0, 4, 1), other, ErrFencedEpoch)
	l.append(tx(2, 3, 0, 4, 1), other, ErrTransactionState)
	l.append(tx(2, 4, 0, 4, 1), later, nil)
	// A client of version 1 with the same epoch: the marker may be that of its own transaction.
	mixed := l.begin(5, 0, 0, true)
	if l.begin(5, 0, 0, false) != mixed {
		t.Fatal("two guards of one epoch")
	}
	l.apply(marker(true, 5, 0, 0, 5))
	l.append(tx(5, 0, 0, 6, 1), mixed, ErrTransactionState)
	// The first batch of a producer that is not known has the sequence number 0.
	g := l.begin(3, 0, 2, true)
	l.append(tx(3, 0, 2, 5, 1), g, ErrOutOfOrder)
	g = l.begin(4, 0, 2, false)
	l.append(tx(4, 0, 2, 5, 1), g, nil)
}

// TestVerificationKeepsOrder: when the first batch has to be sent again, those behind it wait for it.
func TestVerificationKeepsOrder(t *testing.T) {
	l := &verified{t: t, Table: New(hour)}
	first := l.begin(1, 0, 5, false)
	second := l.begin(1, 0, 6, false)
	l.append(tx(1, 0, 6, 0, 1), second, ErrOutOfOrder)
	l.append(tx(1, 0, 5, 0, 1), first, nil)
	l.append(tx(1, 0, 6, 1, 1), 0, nil)
	// A newer epoch begins anew.
	l.begin(2, 0, 1, false)
	l.append(tx(2, 1, 3, 2, 1), l.begin(2, 1, 3, false), nil)
	// An older one that comes late does not count.
	g := l.begin(3, 4, 7, false)
	l.begin(3, 3, 2, false)
	l.append(tx(3, 4, 7, 3, 1), g, nil)
}

func TestVerificationEnds(t *testing.T) {
	l := &verified{t: t, Table: New(hour)}
	g := l.begin(1, 0, 0, false)
	l.v.End(1, g+1)
	l.v.End(2, g)
	l.v.End(1, g)
	l.append(tx(1, 0, 0, 0, 1), g, ErrTransactionState)
	for id := range int64(2 * maxGuards) {
		l.begin(id, 0, 0, false)
		l.begin(id, 1, 0, false)
	}
	n := 0
	for _, list := range l.v.guards {
		n += len(list)
	}
	if n > maxGuards || n != l.v.count {
		t.Errorf("%d verifications under way, %d counted, expected at most %d", n, l.v.count, maxGuards)
	}
}

func TestVerificationReset(t *testing.T) {
	l := &verified{t: t, Table: New(hour)}
	l.append(tx(1, 3, 0, 0, 1), l.begin(1, 3, 0, true), nil)
	g := l.begin(2, 0, 0, true)
	l.v.Reset(l.Table)
	if !l.v.InTransaction(1, 3) {
		t.Error("an open transaction is forgotten")
	}
	l.append(tx(2, 0, 0, 1, 1), g, ErrTransactionState)
	l.v.Reset(New(hour))
	if l.v.InTransaction(1, 3) {
		t.Error("a transaction that is not there is open")
	}
}

func TestVerificationOfCoordinators(t *testing.T) {
	l := &verified{t: t, Table: New(hour)}
	l.apply(marker(true, 1, 2, 0, 0))
	g := l.begin(1, 2, -1, false)
	for name, x := range map[string]struct {
		epoch  int16
		is     Guard
		needed bool
		want   error
	}{
		"an older epoch":    {1, g, true, ErrFencedEpoch},
		"and none needed":   {1, g, false, ErrFencedEpoch},
		"with proof":        {2, g, true, nil},
		"without":           {2, 0, true, ErrTransactionState},
		"where none needed": {2, 0, false, nil},
	} {
		if err := l.v.CheckCoordinator(l.Table, 1, x.epoch, x.is, x.needed); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, expected %v", name, err, x.want)
		}
	}
	l.apply(tx(1, 2, -1, 1, 1))
	if err := l.v.CheckCoordinator(l.Table, 1, 2, 0, true); err != nil {
		t.Errorf("open: %v", err)
	}
}
