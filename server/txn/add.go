package txn

import (
	"cmp"
	"slices"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn/record"
)

// Partition names a partition of any topic.
type Partition struct {
	Topic string
	Index int32
}

// AddRequest adds partitions to a transaction, or asks whether they are in it.
type AddRequest struct {
	TransactionalID string
	ProducerID      int64
	ProducerEpoch   int16
	Partitions      []Partition
	// VerifyOnly only asks.
	VerifyOnly bool
	// ClientVersion is the transaction version the client works by: 2 where partitions are added by the broker it
	// produces to (Produce 12, TxnOffsetCommit 5, AddPartitionsToTxn 4), 0 otherwise.
	ClientVersion int16
	// WaitMs is how long the request may wait for the markers of the transaction before, which every other transaction
	// of a fast producer meets; 0 does not wait.
	WaitMs int64
}

// waiting is a parked AddRequest.
type waiting struct {
	q     AddRequest
	done  coord.Done[[]int16]
	until int64
}

// waitingLimit bounds the parked requests of one transactional id; a client has a few under way.
const waitingLimit = 100

// AddPartitions answers with one code for each partition. Adding is all or nothing, with one code for all; when the answer
// is there the partitions are in the log, durably.
//
// Codes: INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS; asking also has
// TRANSACTION_ABORTABLE for a partition that is not in the transaction.
func (m *Machine) AddPartitions(c *coord.Context, q AddRequest, done coord.Done[[]int16]) {
	t := m.all[q.TransactionalID]
	if t != nil && t.prepared() && q.WaitMs > 0 && len(t.waiting) < waitingLimit && !q.stale(t) {
		t.waiting = append(t.waiting, waiting{q, done, c.Now() + q.WaitMs})
		c.Timer(coord.TimerKey{Kind: timerWaiting, Name: t.id}, t.soonest())
		return
	}
	codes := make([]int16, len(q.Partitions))
	if q.VerifyOnly {
		m.verify(t, &q, codes)
	} else if code := m.add(c, t, &q); code != codeNone {
		fill(codes, code)
	}
	coord.Send(c, done, codes)
}

// AddOffsets is AddPartitions for the partition of __consumer_offsets that holds a group (AddOffsetsToTxn).
func (m *Machine) AddOffsets(c *coord.Context, q AddRequest, done coord.Done[int16]) {
	m.AddPartitions(c, q, func(codes []int16, err error) {
		if err != nil {
			done(codeNone, err)
			return
		}
		done(codes[0], nil)
	})
}

// stale says that waiting cannot help: the epoch will not be right afterwards either.
func (q *AddRequest) stale(t *transaction) bool {
	return q.TransactionalID == "" || q.ProducerID == t.v.ProducerID && t.v.NextProducerID == none && q.ProducerEpoch != t.v.ProducerEpoch
}

func (m *Machine) verify(t *transaction, q *AddRequest, codes []int16) {
	switch {
	case q.TransactionalID == "":
		fill(codes, codeInvalidRequest)
	case t == nil || t.v.ProducerID != q.ProducerID:
		fill(codes, codeInvalidProducerIDMapping)
	case t.v.ProducerEpoch != q.ProducerEpoch:
		fill(codes, codeProducerFenced)
	case t.prepared():
		fill(codes, codeConcurrentTransactions)
	default:
		for i, p := range q.Partitions {
			if !contains(t.v.Topics, p) {
				codes[i] = codeTransactionAbortable
			}
		}
	}
}

func (m *Machine) add(c *coord.Context, t *transaction, q *AddRequest) int16 {
	switch {
	case q.TransactionalID == "":
		return codeInvalidRequest
	case t == nil:
		return codeInvalidProducerIDMapping
	case t.prepared():
		// Before anything else is compared: the producer may have been given the id and the epoch that are in force
		// only when the markers are written.
		return codeConcurrentTransactions
	case t.v.ProducerID != q.ProducerID:
		return codeInvalidProducerIDMapping
	case t.v.ProducerEpoch != q.ProducerEpoch:
		return codeProducerFenced
	}
	open := t.v.State == record.Ongoing
	if !open && t.v.State != record.Empty && t.v.State != record.CompleteCommit && t.v.State != record.CompleteAbort {
		return codeUnknownServerError
	}
	topics, grown := merge(t.v.Topics, q.Partitions)
	if open && !grown {
		return codeNone
	}
	v := t.next(c, record.Ongoing)
	v.Topics, v.ClientVersion = topics, q.ClientVersion
	if !open {
		v.StartedMs = c.Now()
	}
	m.write(c, t.id, v)
	m.watch(c)
	return codeNone
}

// wake runs the requests that waited for the markers.
func (m *Machine) wake(c *coord.Context, t *transaction) {
	list := t.waiting
	t.waiting = nil
	if len(list) > 0 {
		c.Cancel(coord.TimerKey{Kind: timerWaiting, Name: t.id})
	}
	for _, w := range list {
		w.q.WaitMs = 0
		m.AddPartitions(c, w.q, w.done)
	}
}

// giveUp answers the requests that have waited long enough.
func (m *Machine) giveUp(c *coord.Context, t *transaction) {
	list := t.waiting
	t.waiting = nil
	for _, w := range list {
		if w.until > c.Now() {
			t.waiting = append(t.waiting, w)
			continue
		}
		w.q.WaitMs = 0
		m.AddPartitions(c, w.q, w.done)
	}
	if len(t.waiting) > 0 {
		c.Timer(coord.TimerKey{Kind: timerWaiting, Name: t.id}, t.soonest())
	}
}

func (t *transaction) soonest() int64 {
	at := t.waiting[0].until
	for _, w := range t.waiting[1:] {
		at = min(at, w.until)
	}
	return at
}

func fill(codes []int16, code int16) {
	for i := range codes {
		codes[i] = code
	}
}

func byName(t record.Topic, name string) int { return cmp.Compare(t.Name, name) }

// sorted puts topics and partitions in order, as contains and merge need them.
func sorted(topics []record.Topic) []record.Topic {
	inOrder := slices.IsSortedFunc(topics, func(a, b record.Topic) int { return cmp.Compare(a.Name, b.Name) })
	for i := range topics {
		if inOrder && i > 0 && topics[i].Name == topics[i-1].Name {
			inOrder = false // a topic named twice: put together below
		}
		slices.Sort(topics[i].Partitions)
		topics[i].Partitions = slices.Compact(topics[i].Partitions)
	}
	if inOrder {
		return topics
	}
	all, _ := merge([]record.Topic{}, flatten(topics))
	return all
}

func contains(topics []record.Topic, p Partition) bool {
	i, ok := slices.BinarySearchFunc(topics, p.Topic, byName)
	if !ok {
		return false
	}
	_, ok = slices.BinarySearch(topics[i].Partitions, p.Index)
	return ok
}

// merge makes the topics with more partitions; grown is false if all were there. The topics it is given stay as they are;
// the result is never nil.
func merge(topics []record.Topic, more []Partition) (all []record.Topic, grown bool) {
	more = slices.Clone(more)
	slices.SortFunc(more, func(a, b Partition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Index, b.Index))
	})
	all = make([]record.Topic, 0, len(topics)+1)
	for len(topics) > 0 || len(more) > 0 {
		if len(more) == 0 || len(topics) > 0 && topics[0].Name < more[0].Topic {
			all = append(all, topics[0])
			topics = topics[1:]
			continue
		}
		t := record.Topic{Name: more[0].Topic}
		if len(topics) > 0 && topics[0].Name == t.Name {
			t, topics = topics[0], topics[1:]
		}
		have := len(t.Partitions)
		t.Partitions = slices.Clone(t.Partitions)
		for len(more) > 0 && more[0].Topic == t.Name {
			t.Partitions = append(t.Partitions, more[0].Index)
			more = more[1:]
		}
		slices.Sort(t.Partitions)
		t.Partitions = slices.Compact(t.Partitions)
		grown = grown || len(t.Partitions) > have
		all = append(all, t)
	}
	return all, grown
}

func flatten(topics []record.Topic) []Partition {
	var list []Partition
	for _, t := range topics {
		for _, p := range t.Partitions {
			list = append(list, Partition{t.Name, p})
		}
	}
	return list
}
