package producer

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/gregor-broker/gregor/engine/batch"
)

// Origin says who appends a batch, and so what is checked (AppendOrigin in Kafka).
type Origin uint8

const (
	// Client is a producer: epoch, sequence and transaction are checked.
	Client Origin = iota
	// Coordinator is a group or transaction coordinator of this cluster: nothing is checked by Check; see
	// CheckCoordinator.
	Coordinator
	// Replication is a copy of what a leader accepted: nothing is checked.
	Replication
	// Raft is the leader of the metadata log: nothing is checked.
	Raft
)

const (
	// Retained is the number of batches of each producer that a retry is recognised among.
	Retained = 5
	// DefaultMaxProducers is the number of producers a Table keeps, see SetMaxProducers.
	DefaultMaxProducers = 1_000_000
	// none stands for an offset that there is not.
	none int64 = -1
)

// Meta is what is kept of an appended batch.
type Meta struct {
	LastSequence int32
	OffsetDelta  int32 // last offset less first offset
	LastOffset   int64
	Timestamp    int64 // largest of the batch, milliseconds
}

// BaseOffset is the offset of the batch's first record.
func (m *Meta) BaseOffset() int64 { return m.LastOffset - int64(m.OffsetDelta) }

// BaseSequence is the sequence number of the batch's first record.
func (m *Meta) BaseSequence() int32 {
	return int32((int64(m.LastSequence) - int64(m.OffsetDelta)) & math.MaxInt32)
}

// CompletedTxn is a transaction that a marker ended.
type CompletedTxn struct {
	ProducerID  int64
	FirstOffset int64 // of the first batch of the transaction
	LastOffset  int64 // of the marker
	Aborted     bool
}

// Producer is one producer as Each, Lookup and DescribeProducers show it.
type Producer struct {
	ID               int64
	Epoch            int16
	CoordinatorEpoch int32 // of the last marker, -1 when there was none
	LastSequence     int32 // of the last batch, -1 when none is kept
	LastOffset       int64 // of the last batch, -1 when none is kept
	OffsetDelta      int32 // of the last batch
	Timestamp        int64 // of the last batch or marker, milliseconds
	TxnFirstOffset   int64 // of the open transaction, -1 when none is open
}

// entry is one producer. Its last batches sit in a ring that ends before next. Producers without an open
// transaction are linked from the longest idle to the last seen.
type entry struct {
	id               int64
	timestamp        int64
	seen             int64 // when it last wrote or was loaded, by the broker's clock
	txnFirst         int64
	older, newer     *entry
	batches          [Retained]Meta
	coordinatorEpoch int32
	epoch            int16
	kept, next       uint8
}

// txn is a transaction that is open (last is none) or ended above the high watermark.
type txn struct{ first, last int64 }

// Table is what a log knows of its producers. It is not safe for concurrent use: the log's lock guards it.
type Table struct {
	producers    map[int64]*entry
	idle         entry // the ring of producers without a transaction: idle.newer is the longest idle
	txns         []txn // by first offset; those before head are done with
	compactAt    int   // the length of txns at which those done with in its middle are dropped
	head         int   // the first that is not both ended and below the high watermark
	undecided    int   // the first open one, at or after head
	high         int64
	expirationMs int64
	max          int
}

// New makes an empty Table whose producers are forgotten when they were idle for expirationMs
// (producer.id.expiration.ms); 0 or less means never.
func New(expirationMs int64) *Table {
	t := &Table{expirationMs: expirationMs, max: DefaultMaxProducers}
	t.Reset()
	return t
}

// SetExpiration changes the idle time in milliseconds after which producers are forgotten.
func (t *Table) SetExpiration(ms int64) { t.expirationMs = ms }

// SetMaxProducers changes how many producers are kept, at least 1. One more makes the Table forget the
// longest idle one without an open transaction; when every one has an open transaction, none goes.
func (t *Table) SetMaxProducers(n int) {
	t.max = max(n, 1)
	t.evict(0)
}

// Len is the number of producers.
func (t *Table) Len() int { return len(t.producers) }

// Reset forgets every producer, transaction and the high watermark, as before a truncated log is read
// again (ProducerStateManager.truncateFullyAndStartAt). The settings stay.
func (t *Table) Reset() {
	t.producers = make(map[int64]*entry)
	t.idle.older, t.idle.newer = &t.idle, &t.idle
	t.txns, t.compactAt, t.head, t.undecided, t.high = nil, minCompact, 0, 0, 0
}

// Check says whether a batch may be appended. Only a Client's batches with a producer id are checked: a
// batch among the last Retained of its producer, with the same epoch and sequence numbers, is a duplicate,
// and dup says where it is; else a lower epoch is ErrFencedEpoch, a sequence number that is not the next
// is an *OutOfOrderError, and a batch outside the producer's open transaction ErrTransactionState. A
// producer that is unknown, or was idle for too long at nowMs, may begin with any sequence number; a new
// epoch of a known one begins with 0 (ProducerAppendInfo.checkSequence). dup is valid until the next call.
func (t *Table) Check(b batch.Batch, origin Origin, nowMs int64) (dup *Meta, err error) {
	if origin != Client || !b.HasProducerID() || b.IsControl() {
		return nil, nil
	}
	e := t.producers[b.ProducerID()]
	if e == nil || t.expired(e, nowMs) {
		return nil, nil
	}
	epoch, first := b.ProducerEpoch(), b.BaseSequence()
	if epoch == e.epoch {
		if dup := e.find(first, b.LastSequence()); dup != nil {
			return dup, nil
		}
	}
	if err := e.checkEpoch(epoch); err != nil {
		return nil, err
	}
	if epoch != e.epoch {
		if first != 0 {
			return nil, &OutOfOrderError{ProducerID: e.id, Epoch: epoch, Found: first, NewEpoch: true}
		}
	} else if want := e.nextSequence(); first != want {
		return nil, &OutOfOrderError{ProducerID: e.id, Epoch: epoch, Expected: want, Found: first}
	}
	if e.txnFirst != none && !b.IsTransactional() {
		return nil, fmt.Errorf("%w: producer %d opened one at offset %d", ErrTransactionState, e.id, e.txnFirst)
	}
	return nil, nil
}

// CheckCoordinator says whether a coordinator may append a batch of one of its producers: ErrFencedEpoch
// on a lower producer epoch, and for markers ErrCoordinatorFenced on a lower coordinator epoch
// (ProducerAppendInfo.checkProducerEpoch, checkCoordinatorEpoch). Sequence numbers do not matter.
//
// With transaction version 2 (KIP-890) a marker must raise the epoch of the open transaction it ends, so
// that one which comes late cannot end the next; where none is open, the same epoch is a marker written again.
func (t *Table) CheckCoordinator(b batch.Batch, transactionVersion int16) error {
	e := t.producers[b.ProducerID()]
	if e == nil {
		return nil
	}
	epoch := b.ProducerEpoch()
	if err := e.checkEpoch(epoch); err != nil {
		return err
	}
	if !b.IsControl() {
		return nil
	}
	if transactionVersion >= 2 && epoch == e.epoch && e.txnFirst != none && epoch != math.MaxInt16 {
		return fmt.Errorf("%w: marker for producer %d has %d, which its open transaction has too", ErrFencedEpoch, e.id, epoch)
	}
	_, coordinator, err := batch.EndTransaction(b)
	if err != nil {
		return err
	}
	if coordinator < e.coordinatorEpoch {
		return fmt.Errorf("%w: marker for producer %d has %d, seen %d", ErrCoordinatorFenced, e.id, coordinator, e.coordinatorEpoch)
	}
	return nil
}

// Apply records a batch that is in the log with its final offsets; nowMs is the broker's clock. The first
// transactional batch opens its producer's transaction, a marker ends it: then done says what ended, nil
// for a marker without data before it, as a retried one. Batches are taken as they are, with no check, so
// that any log can be read again; batches without producer id and unknown control batches change nothing
// (ProducerAppendInfo.append).
func (t *Table) Apply(b batch.Batch, nowMs int64) (done *CompletedTxn) {
	if !b.HasProducerID() {
		return nil
	}
	if b.IsControl() {
		return t.applyMarker(b, nowMs)
	}
	e := t.touch(b.ProducerID(), nowMs)
	e.setEpoch(b.ProducerEpoch())
	e.timestamp = b.MaxTimestamp()
	e.push(Meta{LastSequence: b.LastSequence(), OffsetDelta: b.LastOffsetDelta(), LastOffset: b.LastOffset(), Timestamp: b.MaxTimestamp()})
	if b.IsTransactional() && e.txnFirst == none {
		e.txnFirst = b.BaseOffset()
		e.unlink()
		t.open(e.txnFirst)
	}
	return nil
}

func (t *Table) applyMarker(b batch.Batch, nowMs int64) (done *CompletedTxn) {
	commit, coordinatorEpoch, err := batch.EndTransaction(b)
	if err != nil {
		return nil // emptied by compaction, or a type that is not ours
	}
	e := t.touch(b.ProducerID(), nowMs)
	if e.txnFirst != none {
		done = &CompletedTxn{ProducerID: e.id, FirstOffset: e.txnFirst, LastOffset: b.BaseOffset(), Aborted: !commit}
		t.close(e.txnFirst, b.BaseOffset())
		e.txnFirst = none
		t.link(e)
	}
	e.setEpoch(b.ProducerEpoch())
	e.coordinatorEpoch = coordinatorEpoch
	e.timestamp = b.MaxTimestamp()
	return done
}

// RemoveExpired forgets the producers that were idle for the expiration time at nowMs and have no open
// transaction, and returns how many. Idle counts by the broker's clock, from the last batch that was
// applied or from Decode - not by the timestamps of records, which may be of any age.
func (t *Table) RemoveExpired(nowMs int64) int {
	n := 0
	for e := t.idle.newer; e != &t.idle && t.expired(e, nowMs); e = t.idle.newer {
		t.forget(e)
		n++
	}
	return n
}

// Lookup is what is known of one producer.
func (t *Table) Lookup(id int64) (Producer, bool) {
	e := t.producers[id]
	if e == nil {
		return Producer{}, false
	}
	return e.describe(), true
}

// All is every producer, in no order.
func (t *Table) All() []Producer {
	all := make([]Producer, 0, len(t.producers))
	for _, e := range t.producers {
		all = append(all, e.describe())
	}
	return all
}

// Each calls f with every producer by ascending id, until f says false.
func (t *Table) Each(f func(Producer) bool) {
	for _, e := range t.sorted() {
		if !f(e.describe()) {
			return
		}
	}
}

func (t *Table) sorted() []*entry {
	all := make([]*entry, 0, len(t.producers))
	for _, e := range t.producers {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	return all
}

func (t *Table) expired(e *entry, nowMs int64) bool {
	return t.expirationMs > 0 && e.txnFirst == none && nowMs-e.seen >= t.expirationMs
}

// touch finds or makes a producer that was seen now.
func (t *Table) touch(id, nowMs int64) *entry {
	e := t.producers[id]
	if e == nil {
		t.evict(1)
		e = &entry{id: id, epoch: batch.NoProducerEpoch, coordinatorEpoch: -1, txnFirst: none, timestamp: batch.NoTimestamp}
		t.producers[id] = e
		t.link(e)
	} else if e.txnFirst == none && e.newer != &t.idle {
		e.unlink()
		t.link(e)
	}
	e.seen = nowMs
	return e
}

// evict keeps the number of producers within bounds, with room for more.
func (t *Table) evict(more int) {
	for len(t.producers)+more > t.max && t.idle.newer != &t.idle {
		t.forget(t.idle.newer)
	}
}

func (t *Table) forget(e *entry) {
	e.unlink()
	delete(t.producers, e.id)
}

// link puts e behind all others: it was seen last.
func (t *Table) link(e *entry) {
	last := t.idle.older
	e.older, e.newer = last, &t.idle
	last.newer, t.idle.older = e, e
}

func (e *entry) unlink() {
	e.older.newer, e.newer.older = e.newer, e.older
	e.older, e.newer = nil, nil
}

func (e *entry) checkEpoch(epoch int16) error {
	if epoch < e.epoch {
		return fmt.Errorf("%w: producer %d sent %d, seen %d", ErrFencedEpoch, e.id, epoch, e.epoch)
	}
	return nil
}

// setEpoch forgets the batches of another epoch.
func (e *entry) setEpoch(epoch int16) {
	if e.epoch != epoch {
		e.epoch, e.kept, e.next = epoch, 0, 0
	}
}

func (e *entry) push(m Meta) {
	e.batches[e.next] = m
	e.next = (e.next + 1) % Retained
	e.kept = min(e.kept+1, Retained)
}

// last is the newest batch, nil when none is kept.
func (e *entry) last() *Meta {
	if e.kept == 0 {
		return nil
	}
	return &e.batches[(e.next+Retained-1)%Retained]
}

// find looks for the batch with exactly these sequence numbers.
func (e *entry) find(first, last int32) *Meta {
	for i := uint8(1); i <= e.kept; i++ {
		m := &e.batches[(e.next+Retained-i)%Retained]
		if m.LastSequence == last && m.BaseSequence() == first {
			return m
		}
	}
	return nil
}

// nextSequence is the sequence number that the next batch of the epoch must begin with.
func (e *entry) nextSequence() int32 {
	last := e.last()
	if last == nil {
		return 0
	}
	return (last.LastSequence + 1) & math.MaxInt32
}

func (e *entry) describe() Producer {
	p := Producer{ID: e.id, Epoch: e.epoch, CoordinatorEpoch: e.coordinatorEpoch, LastSequence: batch.NoSequence,
		LastOffset: none, Timestamp: e.timestamp, TxnFirstOffset: e.txnFirst}
	if m := e.last(); m != nil {
		p.LastSequence, p.LastOffset, p.OffsetDelta = m.LastSequence, m.LastOffset, m.OffsetDelta
	}
	return p
}
