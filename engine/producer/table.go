package producer

import (
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/gregor-broker/gregor/engine/batch"
)

// Origin says who appends.
type Origin int8

// Client batches are checked; a coordinator's own writes and a leader's
// batches on a follower are taken as they are.
const (
	Client Origin = iota
	Coordinator
	Replication
)

// Errors of Check; test with errors.Is.
var (
	// ErrFenced: a newer epoch of the producer has written (INVALID_PRODUCER_EPOCH).
	ErrFenced = errors.New("producer epoch is older than the log's")
	// ErrOutOfOrder: the sequence leaves a gap (OUT_OF_ORDER_SEQUENCE_NUMBER).
	ErrOutOfOrder = errors.New("sequence number is out of order")
	// ErrTransactionState: a plain batch inside the producer's open transaction
	// (INVALID_TXN_STATE).
	ErrTransactionState = errors.New("batch is not transactional but its producer's transaction is open")
	// ErrCoordinatorFenced: a marker of an older coordinator
	// (TRANSACTION_COORDINATOR_FENCED).
	ErrCoordinatorFenced = errors.New("marker comes from an older transaction coordinator")
)

// OutOfOrderError is an ErrOutOfOrder with its numbers.
type OutOfOrderError struct {
	ProducerID      int64
	Epoch           int16
	Expected, Found int32
}

// Error names both sequence numbers.
func (e *OutOfOrderError) Error() string {
	return fmt.Sprintf("producer %d epoch %d: expected sequence %d, found %d", e.ProducerID, e.Epoch, e.Expected, e.Found)
}

// Unwrap gives ErrOutOfOrder.
func (e *OutOfOrderError) Unwrap() error { return ErrOutOfOrder }

// kept is how many batches of a producer are remembered to recognize
// duplicates: the most an idempotent client has in flight.
const kept = 5

// MaxProducers bounds the table of one log. Beyond it the longest idle
// producers without an open transaction are forgotten, as if they had expired.
const MaxProducers = 1_000_000

// Meta is a remembered batch.
type Meta struct {
	LastOffset   int64
	Timestamp    int64 // ms
	LastSequence int32
	OffsetDelta  int32 // last offset minus first
}

// BaseOffset is the offset of the batch's first record.
func (m Meta) BaseOffset() int64 { return m.LastOffset - int64(m.OffsetDelta) }

// BaseSequence is the sequence of the batch's first record.
func (m Meta) BaseSequence() int32 { return batch.AddSequence(m.LastSequence, -m.OffsetDelta) }

// state is one producer. A fixed array keeps it a single allocation.
type state struct {
	epoch            int16
	count            int8 // batches remembered, the newest last
	coordinatorEpoch int32
	lastTimestamp    int64
	txnFirst         int64 // first offset of the open transaction, -1 for none
	batches          [kept]Meta
}

func (s *state) lastSequence() int32 {
	if s.count == 0 {
		return -1
	}
	return s.batches[s.count-1].LastSequence
}

func (s *state) setEpoch(e int16) {
	if s.epoch != e {
		s.epoch, s.count = e, 0
	}
}

func (s *state) add(m Meta) {
	if s.count == kept {
		copy(s.batches[:], s.batches[1:])
		s.count--
	}
	s.batches[s.count] = m
	s.count++
}

// txn is a completed transaction whose marker is not yet below the high
// watermark.
type txn struct{ first, last int64 }

// Table is the producer state of one log. Not safe for concurrent use.
type Table struct {
	producers  map[int64]*state
	open       map[int64]int64 // producer id to first offset of its open transaction
	completed  []txn           // in marker order
	expiration int64
	limit      int
}

// New returns an empty table that forgets producers idle for expirationMs.
func New(expirationMs int64) *Table {
	return &Table{expiration: expirationMs, limit: MaxProducers}
}

// Len is the number of producers known.
func (t *Table) Len() int { return len(t.producers) }

// SetExpiration changes producer.id.expiration.ms.
func (t *Table) SetExpiration(ms int64) { t.expiration = ms }

// Check says what a batch is to this log before it is appended: nil, nil to
// append it, the remembered batch if the producer had sent it before, or why
// it is refused. A producer the log does not know may begin with any sequence:
// its state may have expired.
func (t *Table) Check(b batch.Batch, origin Origin, nowMs int64) (*Meta, error) {
	s := t.producers[b.ProducerID()]
	if s == nil || origin == Replication {
		return nil, nil
	}
	if b.IsControl() {
		return nil, s.checkMarker(b)
	}
	if origin != Client {
		return nil, nil
	}
	if d := s.duplicate(b); d != nil {
		return d, nil
	}
	epoch, first := b.ProducerEpoch(), b.BaseSequence()
	if epoch < s.epoch {
		return nil, fmt.Errorf("producer %d: %w: epoch %d, the log has %d", b.ProducerID(), ErrFenced, epoch, s.epoch)
	}
	expected := int32(0)
	if epoch == s.epoch {
		expected = batch.AddSequence(s.lastSequence(), 1)
	}
	if first != expected {
		return nil, &OutOfOrderError{b.ProducerID(), epoch, expected, first}
	}
	if s.txnFirst >= 0 && !b.IsTransactional() {
		return nil, fmt.Errorf("producer %d: %w", b.ProducerID(), ErrTransactionState)
	}
	return nil, nil
}

func (s *state) checkMarker(b batch.Batch) error {
	if b.ProducerEpoch() < s.epoch {
		return fmt.Errorf("producer %d: %w: marker of epoch %d, the log has %d", b.ProducerID(), ErrFenced, b.ProducerEpoch(), s.epoch)
	}
	if _, e, err := batch.EndTransaction(b); err == nil && e < s.coordinatorEpoch {
		return fmt.Errorf("producer %d: %w: coordinator epoch %d, the log has %d", b.ProducerID(), ErrCoordinatorFenced, e, s.coordinatorEpoch)
	}
	return nil
}

func (s *state) duplicate(b batch.Batch) *Meta {
	if b.ProducerEpoch() != s.epoch {
		return nil
	}
	first, last := b.BaseSequence(), b.LastSequence()
	for i := range s.batches[:s.count] {
		if m := &s.batches[i]; m.LastSequence == last && m.BaseSequence() == first {
			found := *m
			return &found
		}
	}
	return nil
}

// CompletedTxn is a transaction that a marker has just ended.
type CompletedTxn struct {
	ProducerID  int64
	FirstOffset int64
	LastOffset  int64 // of the marker
	Aborted     bool
}

// Apply takes a batch that has been appended, or is replayed from the log,
// into the state. It never refuses: what stands in the log is so. nowMs counts
// as the producer's last activity. The result is the transaction that the
// batch ended, if it did.
func (t *Table) Apply(b batch.Batch, nowMs int64) *CompletedTxn {
	id := b.ProducerID()
	if id < 0 {
		return nil
	}
	s := t.producers[id]
	if s == nil {
		if t.producers == nil {
			t.producers = map[int64]*state{}
		}
		if len(t.producers) >= t.limit {
			t.forgetIdle()
		}
		s = &state{epoch: b.ProducerEpoch(), coordinatorEpoch: -1, txnFirst: -1}
		t.producers[id] = s
	}
	s.lastTimestamp = nowMs
	s.setEpoch(b.ProducerEpoch())
	if b.IsControl() {
		return t.end(id, s, b)
	}
	s.add(Meta{LastOffset: b.LastOffset(), Timestamp: nowMs, LastSequence: b.LastSequence(), OffsetDelta: b.LastOffsetDelta()})
	if b.IsTransactional() && s.txnFirst < 0 {
		s.txnFirst = b.BaseOffset()
		if t.open == nil {
			t.open = map[int64]int64{}
		}
		t.open[id] = s.txnFirst
	}
	return nil
}

func (t *Table) end(id int64, s *state, b batch.Batch) *CompletedTxn {
	commit, coordinatorEpoch, err := batch.EndTransaction(b)
	if err != nil {
		return nil
	}
	s.coordinatorEpoch = coordinatorEpoch
	if s.txnFirst < 0 {
		return nil
	}
	done := &CompletedTxn{ProducerID: id, FirstOffset: s.txnFirst, LastOffset: b.LastOffset(), Aborted: !commit}
	s.txnFirst = -1
	delete(t.open, id)
	t.completed = append(t.completed, txn{done.FirstOffset, done.LastOffset})
	return done
}

// FirstUndecidedOffset is the first offset of the earliest open transaction.
func (t *Table) FirstUndecidedOffset() (int64, bool) {
	first := int64(math.MaxInt64)
	for _, o := range t.open {
		first = min(first, o)
	}
	return first, len(t.open) > 0
}

// OnHighWatermark tells the table how far the log is visible: transactions
// whose marker is below are decided for every reader.
func (t *Table) OnHighWatermark(high int64) {
	n := 0
	for n < len(t.completed) && t.completed[n].last < high {
		n++
	}
	t.completed = append(t.completed[:0], t.completed[n:]...)
}

// FirstUnstableOffset is the first offset of the earliest transaction that is
// open, or whose marker is not yet below the high watermark; the last stable
// offset is there.
func (t *Table) FirstUnstableOffset() (int64, bool) {
	first, found := t.FirstUndecidedOffset()
	for _, x := range t.completed {
		first, found = min(first, x.first), true
	}
	return first, found
}

func (t *Table) expired(s *state, nowMs int64) bool {
	return s.txnFirst < 0 && t.expiration > 0 && nowMs-s.lastTimestamp >= t.expiration
}

// RemoveExpired forgets producers that were idle for the expiration time and
// have no open transaction.
func (t *Table) RemoveExpired(nowMs int64) {
	for id, s := range t.producers {
		if t.expired(s, nowMs) {
			delete(t.producers, id)
		}
	}
}

// forgetIdle makes room: the longest idle sixteenth goes.
func (t *Table) forgetIdle() {
	ids := make([]int64, 0, len(t.producers))
	for id, s := range t.producers {
		if s.txnFirst < 0 {
			ids = append(ids, id)
		}
	}
	sort.Slice(ids, func(i, j int) bool { return t.producers[ids[i]].lastTimestamp < t.producers[ids[j]].lastTimestamp })
	for _, id := range ids[:min(len(ids), len(t.producers)/16+1)] {
		delete(t.producers, id)
	}
}

// Active describes one producer, for DescribeProducers.
type Active struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32 // -1 for none
	LastTimestamp    int64 // ms
	CoordinatorEpoch int32 // -1 for none
	TxnFirstOffset   int64 // -1 for none
}

// Each calls f for every producer by id until it returns false.
func (t *Table) Each(f func(Active) bool) {
	for _, id := range t.ids() {
		s := t.producers[id]
		if !f(Active{id, s.epoch, s.lastSequence(), s.lastTimestamp, s.coordinatorEpoch, s.txnFirst}) {
			return
		}
	}
}

func (t *Table) ids() []int64 {
	ids := make([]int64, 0, len(t.producers))
	for id := range t.producers {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	return ids
}
