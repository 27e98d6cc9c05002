package suites

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// outcome is how a transaction ended as far as its writer can know.
type outcome int

const (
	txnOpen      outcome = iota // a commit was never asked for: nothing of it may be visible
	txnUnknown                  // a commit was asked for and not answered: all of it or nothing
	txnCommitted                // the commit was answered
	txnAborted                  // the abort was answered
)

func (o outcome) String() string { return [...]string{"open", "unknown", "committed", "aborted"}[o] }

// txnKey names a transaction: its writer's name and its number.
type txnKey struct {
	writer string
	n      int64
}

func (k txnKey) String() string { return fmt.Sprintf("transaction %d of %s", k.n, k.writer) }

// spot is where a record was acknowledged.
type spot struct {
	at     place
	offset int64
}

// txn is one transaction as its writer saw it: count records were to be sent, numbered from 0.
type txn struct {
	count   int
	outcome outcome
	acked   map[int]spot
}

// history is what all writers did and were told. Safe for concurrent use.
type history struct {
	mu        sync.Mutex
	txns      map[txnKey]*txn
	committed int64
	broken    error // the first event that makes no sense
}

func newHistory() *history { return &history{txns: map[txnKey]*txn{}} }

func (h *history) change(k txnKey, f func(*txn) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x, ok := h.txns[k]
	err := fmt.Errorf("never begun")
	if ok {
		err = f(x)
	}
	if err != nil && h.broken == nil {
		h.broken = fmt.Errorf("%s: %w", k, err)
	}
}

// begin enters a transaction of count records before the first of them is sent.
func (h *history) begin(k txnKey, count int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.txns[k] != nil && h.broken == nil {
		h.broken = fmt.Errorf("%s begins twice", k)
	}
	h.txns[k] = &txn{count: count, acked: map[int]spot{}}
}

// ack enters where record i was acknowledged.
func (h *history) ack(k txnKey, i int, at place, offset int64) {
	h.change(k, func(x *txn) error {
		if i < 0 || i >= x.count {
			return fmt.Errorf("record %d of %d acknowledged", i, x.count)
		}
		x.acked[i] = spot{at, offset}
		return nil
	})
}

// trying enters that a commit is about to be asked for.
func (h *history) trying(k txnKey) {
	h.change(k, func(x *txn) error { x.outcome = txnUnknown; return nil })
}

// ended enters the answer to a commit or an abort.
func (h *history) ended(k txnKey, o outcome) {
	h.change(k, func(x *txn) error {
		if x.outcome > txnUnknown {
			return fmt.Errorf("ends as %s after it was %s", o, x.outcome)
		}
		if o == txnCommitted {
			if x.outcome != txnUnknown {
				return fmt.Errorf("committed without having been asked")
			}
			h.committed++
		}
		x.outcome = o
		return nil
	})
}

// commits is how many commits were answered so far.
func (h *history) commits() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.committed
}

// commitsOf is how many transactions each writer ended, by outcome.
func (h *history) outcomes() map[string][4]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string][4]int{}
	for k, x := range h.txns {
		counts := out[k.writer]
		counts[x.outcome]++
		out[k.writer] = counts
	}
	return out
}

// txnValue is the value of record i of a transaction of count records. Programs in other languages make the same.
func txnValue(k txnKey, i, count int) string {
	return fmt.Sprintf("%s %d %d %d %s", k.writer, k.n, i, count, strings.Repeat("x", int((k.n*7+int64(i)*13)%300)))
}

func parseTxnValue(value string) (k txnKey, i, count int, err error) {
	fields := strings.SplitN(value, " ", 5)
	if len(fields) == 5 {
		k.writer = fields[0]
		var errs [3]error
		k.n, errs[0] = strconv.ParseInt(fields[1], 10, 64)
		i, errs[1] = strconv.Atoi(fields[2])
		count, errs[2] = strconv.Atoi(fields[3])
		if errs == [3]error{} && value == txnValue(k, i, count) {
			return k, i, count, nil
		}
	}
	return k, 0, 0, fmt.Errorf("a value nobody sent: %.60q", value)
}

// entry is one record of a partition as a reader saw it.
type entry struct {
	offset int64
	value  string
}

// view is what one reader saw, per partition in the order in which it was seen.
type view map[place][]entry

// verify holds what read_committed and read_uncommitted readers see of the writers' topics at the end against the
// history: no transaction is lost, torn, there twice or visible although it was aborted; acknowledged offsets are kept;
// a writer's records stand in its order; what is committed is also there uncommitted, at the same place.
func (h *history) verify(committed, uncommitted view) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken != nil {
		return fmt.Errorf("the history itself: %w", h.broken)
	}
	all, err := h.index(uncommitted, "read_uncommitted")
	if err != nil {
		return err
	}
	visible, err := h.index(committed, "read_committed")
	if err != nil {
		return err
	}
	for k, spots := range visible {
		for i, s := range spots {
			if all[k][i] != s {
				return fmt.Errorf("record %d of %s is at %s-%d offset %d with read_committed and not with read_uncommitted", i, k, s.at.topic, s.at.partition, s.offset)
			}
		}
	}
	for k, x := range h.txns {
		if err := x.judge(visible[k], all[k]); err != nil {
			return fmt.Errorf("%s (%d records, %s): %w", k, x.count, x.outcome, err)
		}
	}
	return nil
}

// judge is the verdict on one transaction: visible and all are its records by number for the two kinds of reader.
func (x *txn) judge(visible, all map[int]spot) error {
	switch {
	case len(visible) == 0:
		if x.outcome == txnCommitted && x.count > 0 {
			return fmt.Errorf("lost: none of its records is visible")
		}
	case x.outcome == txnAborted || x.outcome == txnOpen:
		return fmt.Errorf("%d of its records are visible to read_committed", len(visible))
	case len(visible) != x.count:
		return fmt.Errorf("torn: %d of its records are visible", len(visible))
	}
	for i, s := range x.acked {
		got, ok := all[i]
		if !ok {
			return fmt.Errorf("record %d was acknowledged at %s-%d offset %d and is gone", i, s.at.topic, s.at.partition, s.offset)
		}
		if got != s {
			return fmt.Errorf("record %d was acknowledged at %s-%d offset %d and is at %s-%d offset %d", i, s.at.topic, s.at.partition, s.offset, got.at.topic, got.at.partition, got.offset)
		}
	}
	return nil
}

// index finds every record of a view by its transaction and number, and refuses what is foreign, doubled or reordered.
func (h *history) index(v view, isolation string) (map[txnKey]map[int]spot, error) {
	out := map[txnKey]map[int]spot{}
	for at, entries := range v {
		last := map[string][2]int64{} // number of transaction and record last seen of each writer
		before := int64(-1)
		for _, e := range entries {
			where := fmt.Sprintf("%s: %s-%d offset %d", isolation, at.topic, at.partition, e.offset)
			if e.offset <= before {
				return nil, fmt.Errorf("%s comes after offset %d", where, before)
			}
			before = e.offset
			k, i, count, err := parseTxnValue(e.value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
			x := h.txns[k]
			if x == nil || x.count != count {
				return nil, fmt.Errorf("%s: record %d of %s, which nobody began", where, i, k)
			}
			if out[k] == nil {
				out[k] = map[int]spot{}
			}
			if first, twice := out[k][i]; twice {
				return nil, fmt.Errorf("%s: record %d of %s is there twice, first at %s-%d offset %d", where, i, k, first.at.topic, first.at.partition, first.offset)
			}
			out[k][i] = spot{at, e.offset}
			now := [2]int64{k.n, int64(i)}
			if was, ok := last[k.writer]; ok && slices.Compare(now[:], was[:]) <= 0 {
				return nil, fmt.Errorf("%s: record %d of %s comes after record %d of its transaction %d", where, i, k, was[1], was[0])
			}
			last[k.writer] = now
		}
	}
	return out, nil
}

// sameView compares what a reader saw as it happened with what is there at the end: each partition's records from the
// first it saw are the same, at the same offsets, without a gap; nothing was taken back, nothing came late.
func sameView(who string, live, final view) error {
	for at, seen := range live {
		there := final[at]
		if len(seen) == 0 {
			continue
		}
		from, _ := slices.BinarySearchFunc(there, seen[0].offset, func(e entry, o int64) int { return int(e.offset - o) })
		for i, e := range seen {
			where := fmt.Sprintf("%s: %s-%d", who, at.topic, at.partition)
			if i > 0 && e.offset <= seen[i-1].offset {
				return fmt.Errorf("%s: offset %d was delivered after offset %d", where, e.offset, seen[i-1].offset)
			}
			if from+i >= len(there) {
				return fmt.Errorf("%s: offset %d was delivered and is not there at the end", where, e.offset)
			}
			now := there[from+i]
			if now.offset < e.offset {
				return fmt.Errorf("%s: offset %d is there at the end and was passed over before offset %d", where, now.offset, e.offset)
			}
			if now.offset > e.offset {
				return fmt.Errorf("%s: offset %d was delivered and taken back", where, e.offset)
			}
			if now.value != e.value {
				return fmt.Errorf("%s: offset %d was %.60q and is %.60q", where, e.offset, e.value, now.value)
			}
		}
		if missing := len(there) - from - len(seen); missing > 0 {
			return fmt.Errorf("%s-%d: %s never got the last %d records, from offset %d", at.topic, at.partition, who, missing, there[from+len(seen)].offset)
		}
	}
	for at, there := range final {
		if len(there) > 0 && len(live[at]) == 0 {
			return fmt.Errorf("%s: nothing of the %d records of %s-%d was delivered", who, len(there), at.topic, at.partition)
		}
	}
	return nil
}

// transformed is the value that a consume-transform-produce loop makes of a record.
func transformed(partition int32, offset int64, value string) string {
	return fmt.Sprintf("%d %d %s", partition, offset, value)
}

// exactlyOnce checks the output of a consume-transform-produce loop: partition by partition, every record of the input
// once, in its order.
func exactlyOnce(topic string, in, out []entry, partition int32) error {
	for i, e := range out {
		if i >= len(in) {
			return fmt.Errorf("%s-%d offset %d: %.60q, after the last of the input or once too often", topic, partition, e.offset, e.value)
		}
		if want := transformed(partition, in[i].offset, in[i].value); e.value != want {
			fate := "is lost"
			if j := slices.IndexFunc(out, func(e entry) bool { return e.value == want }); j >= 0 {
				fate = fmt.Sprintf("is at %d", out[j].offset)
			}
			return fmt.Errorf("%s-%d offset %d: %.60q, expected %.60q, which %s", topic, partition, e.offset, e.value, want, fate)
		}
	}
	if len(out) < len(in) {
		return fmt.Errorf("%s-%d: %d of %d records of the input came out; the first lost one is at offset %d", topic, partition, len(out), len(in), in[len(out)].offset)
	}
	return nil
}

// tide is a number per partition that must never go back: a high watermark, a last stable offset, a committed offset.
type tide struct {
	name string
	mu   sync.Mutex
	mark map[place]int64
}

func newTide(name string) *tide { return &tide{name: name, mark: map[place]int64{}} }

// see enters a value; lower than one before is an error. Values that were asked for at the same time must not be mixed.
func (t *tide) see(at place, value int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if was, ok := t.mark[at]; ok && value < was {
		return fmt.Errorf("%s of %s-%d went from %d back to %d", t.name, at.topic, at.partition, was, value)
	}
	t.mark[at] = value
	return nil
}

// at is the highest value seen.
func (t *tide) at(p place) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mark[p]
}
