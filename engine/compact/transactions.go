package compact

import (
	"errors"
	"slices"

	"github.com/gregor-broker/gregor/engine/batch"
)

// Aborted is an aborted transaction of the log's transaction index.
type Aborted struct {
	ProducerID       int64
	FirstOffset      int64 // of the transaction
	LastOffset       int64 // of its marker
	LastStableOffset int64 // of the log when the marker was appended
}

// Transactions follows the transactions of a log while it is walked in order, to know which batches belong to aborted
// ones and which markers nobody needs any more (CleanedTransactionMetadata). The zero value is ready.
type Transactions struct {
	// Keep, if set, is told each aborted transaction that still had batches: it belongs into the transaction index
	// of what is written.
	Keep func(Aborted) error

	waiting   []Aborted // by first offset, those before the walk's place taken off
	aborted   map[int64]*abortedTxn
	committed map[int64]bool // producers with batches of a transaction that is not aborted
}

type abortedTxn struct {
	txn  Aborted
	seen bool // one of its batches went by
}

// Add makes aborted transactions known: all that overlap the part of the log that is walked next. Those known already
// do no harm.
func (t *Transactions) Add(list []Aborted) {
	t.waiting = append(t.waiting, list...)
	slices.SortStableFunc(t.waiting, func(a, b Aborted) int {
		switch {
		case a.FirstOffset < b.FirstOffset:
			return -1
		case a.FirstOffset > b.FirstOffset:
			return 1
		}
		return 0
	})
}

// begin takes up the aborted transactions that began at or below offset.
func (t *Transactions) begin(offset int64) {
	n := 0
	for ; n < len(t.waiting) && t.waiting[n].FirstOffset <= offset; n++ {
		txn := t.waiting[n]
		if t.aborted == nil {
			t.aborted = map[int64]*abortedTxn{}
		}
		if t.aborted[txn.ProducerID] == nil {
			t.aborted[txn.ProducerID] = &abortedTxn{txn: txn}
		}
	}
	t.waiting = t.waiting[n:]
}

// Next takes the next batch of the log and says whether its records may go as far as transactions are concerned:
// those of an aborted transaction, and markers none of whose transaction's batches went by. Other control batches
// stay. An error is a control batch that cannot be read.
func (t *Transactions) Next(b batch.Batch) (discard bool, err error) {
	t.begin(b.LastOffset())
	if b.IsControl() {
		return t.marker(b)
	}
	if !b.IsTransactional() {
		return false, nil
	}
	if a := t.aborted[b.ProducerID()]; a != nil {
		a.seen = true
		return true, nil
	}
	if t.committed == nil {
		t.committed = map[int64]bool{}
	}
	t.committed[b.ProducerID()] = true
	return false, nil
}

func (t *Transactions) marker(b batch.Batch) (discard bool, err error) {
	if b.RecordCount() == 0 {
		return true, nil // emptied by an earlier cleaning
	}
	typ, err := batch.ControlType(b)
	if err != nil {
		return false, err
	}
	id := b.ProducerID()
	switch typ {
	case batch.ControlAbort:
		a := t.aborted[id]
		delete(t.aborted, id)
		if a == nil || !a.seen {
			return true, nil
		}
		if t.Keep != nil {
			err = t.Keep(a.txn)
		}
		return false, err
	case batch.ControlCommit:
		had := t.committed[id]
		delete(t.committed, id)
		return !had, nil
	}
	return false, nil
}

// ErrOldFormat says that a log holds messages of format 0 or 1, which cannot be compacted.
var ErrOldFormat = errors.New("message format 0 or 1 cannot be compacted")
