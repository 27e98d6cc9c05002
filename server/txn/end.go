package txn

import (
	"math"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn/record"
)

// EndRequest commits or aborts a transaction.
type EndRequest struct {
	TransactionalID string
	ProducerID      int64
	ProducerEpoch   int16
	Commit          bool
	// ClientVersion is the transaction version the client works by: 2 for EndTxn 5 and later, else 0.
	ClientVersion int16
}

// End decides how a transaction ends. When the answer is there the decision is durable; the markers follow. With client
// version 2 the answer is the producer id and epoch of the next transaction, and a repeated request with the epoch before
// is answered as the first one. fresh is a producer id that was never given to anybody; used says that it must not be
// given again.
//
// Codes: INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, INVALID_TXN_STATE.
func (m *Machine) End(c *coord.Context, q EndRequest, fresh int64, done coord.Done[Producer]) (used bool) {
	var answer Producer
	if q.ClientVersion >= 2 {
		answer, used = m.end2(c, q, fresh)
	} else {
		answer = refuse(m.end1(c, q))
	}
	coord.Send(c, done, answer)
	return used
}

// end1 is the end of versions 0 and 1: the epoch stays, and a repeated request is told by the state
// (TransactionCoordinator.endTransactionWithTV1).
func (m *Machine) end1(c *coord.Context, q EndRequest) int16 {
	t := m.all[q.TransactionalID]
	switch {
	case q.TransactionalID == "":
		return codeInvalidRequest
	case t == nil || t.v.ProducerID != q.ProducerID:
		return codeInvalidProducerIDMapping
	case t.v.ProducerEpoch != q.ProducerEpoch:
		return codeProducerFenced
	case t.prepared():
		return codeConcurrentTransactions
	case t.v.State == record.CompleteCommit && q.Commit, t.v.State == record.CompleteAbort && !q.Commit:
		return codeNone
	case t.v.State != record.Ongoing:
		return codeInvalidTxnState
	}
	v := t.next(c, outcome(q.Commit))
	v.ClientVersion, v.NextProducerID = 0, none
	m.write(c, t.id, v)
	m.send(c, t)
	return codeNone
}

// end2 is the end of version 2 (TransactionCoordinator.endTransaction). "Now" is a request with the present epoch,
// "again" one with the epoch before:
//
//	                 abort now   abort again        commit now         commit again
//	Ongoing          ends        PRODUCER_FENCED    ends               PRODUCER_FENCED
//	Empty            ends        PRODUCER_FENCED    INVALID_TXN_STATE  PRODUCER_FENCED
//	CompleteAbort    ends        answered as then   INVALID_TXN_STATE  INVALID_TXN_STATE
//	CompleteCommit   ends        INVALID_TXN_STATE  INVALID_TXN_STATE  answered as then
//	Prepare...       CONCURRENT_TRANSACTIONS
//
// A client that does not know whether a partition was added may abort a transaction that never began: it ends as an
// empty one, and raises the epoch, so that what is still under way is refused.
//
// Again is only after an end that raised the epoch, which that of version 0 does not: there the epoch before is that of a
// producer which was fenced by the present one, and is to be told so. (Kafka 4.3 answers it as it answers a retry, and gives
// it the epoch of its successor.)
func (m *Machine) end2(c *coord.Context, q EndRequest, fresh int64) (answer Producer, used bool) {
	t := m.all[q.TransactionalID]
	switch {
	case q.TransactionalID == "":
		return refuse(codeInvalidRequest), false
	case t == nil:
		return refuse(codeInvalidProducerIDMapping), false
	case t.prepared():
		return refuse(codeConcurrentTransactions), false
	}
	complete := t.v.State == record.CompleteCommit || t.v.State == record.CompleteAbort
	again := t.v.ClientVersion >= 2 && (q.ProducerID == t.v.ProducerID && t.v.ProducerEpoch > 0 && q.ProducerEpoch == t.v.ProducerEpoch-1 ||
		q.ProducerID == t.v.PreviousProducerID && q.ProducerID != t.v.ProducerID && q.ProducerEpoch == math.MaxInt16-1 && t.v.ProducerEpoch == 0)
	now := q.ProducerID == t.v.ProducerID && q.ProducerEpoch == t.v.ProducerEpoch
	switch {
	case !again && q.ProducerID != t.v.ProducerID:
		return refuse(codeInvalidProducerIDMapping), false
	case !now && !(again && complete):
		return refuse(codeProducerFenced), false
	case again && q.Commit == (t.v.State == record.CompleteCommit):
		return Producer{ID: t.v.ProducerID, Epoch: t.v.ProducerEpoch}, false
	case again, t.v.State != record.Ongoing && (q.Commit || !complete && t.v.State != record.Empty):
		return refuse(codeInvalidTxnState), false
	case t.v.ProducerEpoch == math.MaxInt16 && q.Commit: // no client is ever given that epoch
		return refuse(codeUnknownServerError), false
	}
	v := t.next(c, outcome(q.Commit))
	v.ClientVersion, v.NextProducerID = 2, none
	if t.v.State != record.Ongoing {
		v.StartedMs, v.Topics = c.Now(), []record.Topic{}
	}
	if exhausted(t.v.ProducerEpoch) {
		v.NextProducerID, used = fresh, true
	}
	if v.ProducerEpoch < math.MaxInt16 {
		v.ProducerEpoch++
	}
	answer = Producer{ID: v.ProducerID, Epoch: v.ProducerEpoch}
	if used {
		answer = Producer{ID: fresh}
	}
	last := t.v.ProducerEpoch
	m.write(c, t.id, v).last = last
	m.send(c, t)
	return answer, used
}

func outcome(commit bool) record.State {
	if commit {
		return record.PrepareCommit
	}
	return record.PrepareAbort
}
