package api

import (
	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn"
	"github.com/gregor-broker/gregor/wire/produce"
)

// The first batch of a transaction in a partition must not be appended before
// the transaction's record names the partition, durably: the coordinator, which
// is in this process, is asked once for all such partitions of a request. Up to
// version 11 it only says whether the client has added them
// (AddPartitionsToTxn); from 12 on it adds them itself (KIP-890). The reader
// waits for the answer, so that batches of one connection keep their order.
//
// Where the transaction is open already, which is every batch but the first,
// this costs one look into a map.

// joined is what became of the partitions of one request that had to be asked
// for: one entry for each partition of the request, or none at all.
type joined []joining

type joining struct {
	log   *engine.Log
	guard engine.Guard
	err   error
}

// at is the entry of a partition.
func (j joined) at(i int) (engine.Guard, error) {
	if j == nil {
		return 0, nil
	}
	return j[i].guard, j[i].err
}

var (
	errManyProducers    = &apiError{errInvalidProducerIDMapping, "transactional records of more than one producer"}
	errNotInTransaction = &apiError{errInvalidTxnState, "the partition was not added to the transaction"}
)

// joinTransaction asks the coordinator for the partitions of a transactional
// request whose transaction is not open there.
func (h *handlers) joinTransaction(q *produce.Request, version int16) joined {
	var j joined
	var producer batch.Batch // the first transactional batch
	var ask []txn.Partition
	n := -1
	for i := range q.Topics {
		t := &q.Topics[i]
		id, name, refused := h.resolveProduce(t, version)
		for k := range t.Partitions {
			n++
			b, ok := transactionalBatch(t.Partitions[k].Records)
			if !ok || refused != nil {
				continue
			}
			if producer == nil {
				producer = b
			} else if producer.ProducerID() != b.ProducerID() || producer.ProducerEpoch() != b.ProducerEpoch() {
				return allJoining(q, errManyProducers)
			}
			p := h.Partitions.Get(id, t.Partitions[k].Index)
			if p == nil || version < 12 && !p.Config().VerifyTransactions {
				continue
			}
			log, err := p.Log()
			if err != nil || log.InTransaction(b.ProducerID(), b.ProducerEpoch()) {
				continue
			}
			guard := log.BeginVerification(b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), version >= 12)
			if guard == 0 {
				continue
			}
			if j == nil {
				j = allJoining(q, nil)
			}
			j[n] = joining{log: log, guard: guard}
			ask = append(ask, txn.Partition{Topic: name, Index: p.Index})
		}
	}
	if j == nil {
		return nil
	}
	add := txn.AddRequest{TransactionalID: string(q.TransactionalID), ProducerID: producer.ProducerID(), ProducerEpoch: producer.ProducerEpoch(),
		Partitions: ask}
	next := 0
	codes := h.askCoordinator(&add, version >= 12)
	for i := range j {
		if j[i].guard == 0 {
			continue
		}
		if code := codes[next]; code != errNone {
			j[i].err = joinError(code, version >= 11, version >= 12)
			if !retriableJoin(code) {
				j[i].log.EndVerification(add.ProducerID, j[i].guard)
			}
		}
		next++
	}
	return j
}

func allJoining(q *produce.Request, err error) joined {
	var j joined
	for i := range q.Topics {
		for range q.Topics[i].Partitions {
			j = append(j, joining{err: err})
		}
	}
	return j
}

// transactionalBatch recognizes the records that a transaction is for.
func transactionalBatch(records []byte) (batch.Batch, bool) {
	if len(records) < batch.HeaderSize {
		return nil, false
	}
	b := batch.Batch(records)
	return b, b.Magic() == batch.Magic && b.IsTransactional() && b.HasProducerID()
}

// askCoordinator adds partitions to a transaction, or asks whether they are in
// it, and waits for the answer: one code for each.
func (h *handlers) askCoordinator(q *txn.AddRequest, add bool) []int16 {
	answer := make(chan []int16, 1)
	h.startJoin(q, add, func(codes []int16) { answer <- codes })
	return <-answer
}

// startJoin is askCoordinator without the wait: done is called once, from any
// goroutine, and must only store and wake.
func (h *handlers) startJoin(q *txn.AddRequest, add bool, done func(codes []int16)) {
	codes := make([]int16, len(q.Partitions))
	if q.VerifyOnly = !add; add {
		q.ClientVersion, q.WaitMs = 2, h.addWaitMs()
	}
	if q.TransactionalID == "" {
		done(filled(codes, errInvalidRequest))
		return
	}
	err := h.Transactions.Do(q.TransactionalID, func(c *coord.Context, m *txn.Machine) {
		m.AddPartitions(c, *q, func(got []int16, err error) {
			if err != nil {
				got = filled(codes, h.coordinatorCode(err))
			}
			done(got)
		})
	})
	if err != nil {
		done(filled(codes, h.coordinatorCode(err)))
	}
}

// joinError is what a producer is told when the coordinator refuses, in the
// codes that its version of Produce or TxnOffsetCommit knows
// (AddPartitionsToTxnManager, ReplicaManager.handleProduceAppend). abortable says
// that it knows TRANSACTION_ABORTABLE, adds that it has the broker add
// partitions.
func joinError(code int16, abortable, adds bool) error {
	switch code {
	case errProducerFenced:
		code = errInvalidProducerEpoch
	case errTransactionAbortable:
		if abortable {
			return errTxnAbortable
		}
		return errNotInTransaction
	case errInvalidTxnState:
		return errNotInTransaction
	case errCoordinatorLoadInProgress, errCoordinatorNotAvailable, errNotCoordinator:
		code = errNotEnoughReplicas
	case errConcurrentTransactions:
		// A client of version 2 meets it at the start of its next transaction and knows it; others try again on what
		// does not make them ask for metadata.
		if !adds {
			code = errNotEnoughReplicas
		}
	}
	return &apiError{code, "the transaction coordinator did not let the partition join the transaction"}
}

// retriableJoin says that the coordinator may answer otherwise the next time.
func retriableJoin(code int16) bool {
	switch code {
	case errCoordinatorLoadInProgress, errCoordinatorNotAvailable, errNotCoordinator, errConcurrentTransactions:
		return true
	}
	return false
}
