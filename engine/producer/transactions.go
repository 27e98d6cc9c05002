package producer

import "slices"

// A log's transactions begin in the order of their first offsets, so they are kept in a slice: new ones at
// its end, two marks for the questions that are asked, and what is done with cut off now and then.

// FirstUndecidedOffset is the first offset of the earliest open transaction; ok is false when none is open
// (ProducerStateManager.firstUndecidedOffset).
func (t *Table) FirstUndecidedOffset() (offset int64, ok bool) {
	if t.undecided == len(t.txns) {
		return 0, false
	}
	return t.txns[t.undecided].first, true
}

// FirstUnstableOffset is the first offset of the earliest transaction that is open or whose marker is not
// below the high watermark yet (ProducerStateManager.firstUnstableOffset); ok is false when there is none.
// The last stable offset is that offset, or the high watermark.
func (t *Table) FirstUnstableOffset() (offset int64, ok bool) {
	if t.head == len(t.txns) {
		return 0, false
	}
	return t.txns[t.head].first, true
}

// OnHighWatermark tells the Table the high watermark, so that transactions whose marker lies below it
// count as stable (ProducerStateManager.onHighWatermarkUpdated). It never goes back.
func (t *Table) OnHighWatermark(high int64) {
	if high > t.high {
		t.high = high
		t.settle()
	}
}

// OpenTransactions is the number of open transactions.
func (t *Table) OpenTransactions() int {
	n := 0
	for _, x := range t.txns[t.undecided:] {
		if x.last == none {
			n++
		}
	}
	return n
}

// minCompact is the least number of transactions that is worth looking through.
const minCompact = 1024

// compact drops what is done with behind a transaction that stays open for long.
func (t *Table) compact() {
	t.txns = slices.DeleteFunc(t.txns, func(x txn) bool { return x.last != none && x.last < t.high })
	t.head, t.undecided = 0, 0
	t.compactAt = max(minCompact, 2*len(t.txns))
	t.settle()
}

func (t *Table) open(first int64) {
	if len(t.txns) >= t.compactAt {
		t.compact()
	}
	i := len(t.txns)
	if i > 0 && t.txns[i-1].first >= first { // only when a log is read again from an odd place
		i, _ = t.search(first)
	}
	t.txns = slices.Insert(t.txns, i, txn{first: first, last: none})
	t.head, t.undecided = min(t.head, i), min(t.undecided, i)
	t.settle()
}

func (t *Table) close(first, last int64) {
	i, found := t.search(first)
	for found && i < len(t.txns) && t.txns[i].first == first {
		if t.txns[i].last == none {
			t.txns[i].last = last
			break
		}
		i++
	}
	t.settle()
}

func (t *Table) search(first int64) (int, bool) {
	return slices.BinarySearchFunc(t.txns, first, func(x txn, first int64) int {
		switch {
		case x.first < first:
			return -1
		case x.first > first:
			return 1
		}
		return 0
	})
}

// settle moves the two marks on, and drops the front of the slice when it is most of it.
func (t *Table) settle() {
	for t.head < len(t.txns) && t.txns[t.head].last != none && t.txns[t.head].last < t.high {
		t.head++
	}
	t.undecided = max(t.undecided, t.head)
	for t.undecided < len(t.txns) && t.txns[t.undecided].last != none {
		t.undecided++
	}
	if t.head > 64 && t.head > len(t.txns)/2 || t.head == len(t.txns) {
		t.txns = slices.Delete(t.txns, 0, t.head)
		t.undecided -= t.head
		t.head = 0
	}
}
