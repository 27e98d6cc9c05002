package txn

import (
	"math"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn/record"
)

// Producer is an answer that carries a producer id and epoch, both -1 unless Code is 0 (NONE).
type Producer struct {
	Code  int16
	ID    int64
	Epoch int16
}

// InitRequest asks for a producer id and epoch for a transactional id.
type InitRequest struct {
	TransactionalID string
	TimeoutMs       int32
	// ProducerID and ProducerEpoch are what the producer has, both -1 for nothing (KIP-360).
	ProducerID    int64
	ProducerEpoch int16
}

// InitProducerID makes the caller the owner of a transactional id: what other producers with that id do from now on is
// refused. An open transaction is aborted first, and the answer is CONCURRENT_TRANSACTIONS until that is over. fresh is a
// producer id that was never given to anybody; used says that it must not be given again.
//
// Codes: INVALID_REQUEST, INVALID_TRANSACTION_TIMEOUT, CONCURRENT_TRANSACTIONS, PRODUCER_FENCED.
func (m *Machine) InitProducerID(c *coord.Context, q InitRequest, fresh int64, done coord.Done[Producer]) (used bool) {
	answer, used := m.init(c, q, fresh)
	coord.Send(c, done, answer)
	return used
}

func refuse(code int16) Producer { return Producer{Code: code, ID: none, Epoch: none} }

func (m *Machine) init(c *coord.Context, q InitRequest, fresh int64) (answer Producer, used bool) {
	if q.TransactionalID == "" {
		return refuse(codeInvalidRequest), false
	}
	if q.TimeoutMs <= 0 || int64(q.TimeoutMs) > ms(m.opt.Settings.MaxTimeout) {
		return refuse(codeInvalidTransactionTimeout), false
	}
	t := m.all[q.TransactionalID]
	if t == nil {
		v := record.Value{ProducerID: fresh, PreviousProducerID: fresh, NextProducerID: none, NextProducerEpoch: none,
			TimeoutMs: q.TimeoutMs, State: record.Empty, UpdatedMs: c.Now(), StartedMs: none}
		m.write(c, q.TransactionalID, v)
		return Producer{ID: fresh}, true
	}
	if t.prepared() {
		return refuse(codeConcurrentTransactions), false
	}
	known := q.ProducerID != none
	if known && q.ProducerID != t.v.ProducerID && (q.ProducerID != t.v.PreviousProducerID || !exhausted(q.ProducerEpoch)) {
		return refuse(codeProducerFenced), false
	}
	switch t.v.State {
	case record.Ongoing:
		return refuse(codeConcurrentTransactions), m.fence(c, t, fresh)
	case record.Empty, record.CompleteCommit, record.CompleteAbort:
	default: // nothing writes other states
		return refuse(codeUnknownServerError), false
	}
	id, epoch, last := t.v.ProducerID, t.v.ProducerEpoch, t.last
	owner := q.ProducerID == id && q.ProducerEpoch == epoch
	switch {
	case exhausted(epoch) && (!known || owner):
		// A new producer id, whose last epoch is that of the old one so that a retry is known.
		id, epoch, last, used = fresh, 0, none, true
		if known {
			last = t.v.ProducerEpoch
		}
	case !known:
		epoch, last = epoch+1, none
	case owner:
		epoch, last = epoch+1, epoch
	case q.ProducerEpoch == last:
		// A retry of the request that made the present epoch; had another producer come in between, last were none.
	default:
		return refuse(codeProducerFenced), false
	}
	v := t.next(c, record.Empty)
	v.ProducerID, v.ProducerEpoch, v.TimeoutMs = id, epoch, q.TimeoutMs
	v.Topics, v.StartedMs = nil, none
	m.write(c, t.id, v).last = last
	return Producer{ID: id, Epoch: epoch}, used
}

// fence aborts an open transaction with a raised epoch, so that its producer can do no more. It may need a producer id:
// used says that it took fresh.
func (m *Machine) fence(c *coord.Context, t *transaction, fresh int64) (used bool) {
	v := t.next(c, record.PrepareAbort)
	if v.ProducerEpoch < math.MaxInt16 {
		v.ProducerEpoch++
	}
	last := int16(none)
	v.ClientVersion, v.NextProducerID = 0, none
	if m.bumps() {
		last = t.v.ProducerEpoch
		v.ClientVersion = 2
		if exhausted(t.v.ProducerEpoch) {
			v.NextProducerID, used = fresh, true
		}
	}
	m.write(c, t.id, v).last = last
	m.send(c, t)
	return used
}

// bumps says whether the cluster raises the epoch at the end of each transaction (TransactionVersion.supportsEpochBump).
func (m *Machine) bumps() bool { return m.opt.Version() >= 2 }
