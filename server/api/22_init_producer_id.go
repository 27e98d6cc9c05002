package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn"
	"github.com/gregor-broker/gregor/wire"
)

// InitProducerId, versions 0 to 5.
//
//	2 flexible
//	3 the producer's present id and epoch (KIP-360)
//	4 PRODUCER_FENCED may be answered
//	5 TRANSACTION_ABORTABLE may be answered (KIP-890)
//
// Ids come from blocks of 1,000 that the metadata log hands out
// (ProducerIds records), so none is ever given twice, restarts included.
// An id for a transactional id is the transaction coordinator's to give.

func (h *handlers) initProducerID(req *wire.Request, q *kmsg.InitProducerIDRequest, l *later) {
	resp, version := kmsg.NewPtrInitProducerIDResponse(), req.Version
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if (q.ProducerID == -1) != (q.ProducerEpoch == -1) {
		// Either both are known or none is.
		resp.ErrorCode = errInvalidRequest
		l.complete(resp)
		return
	}
	id, err := h.ProducerIDs.Next()
	if err != nil {
		resp.ErrorCode = code(err)
		h.Logger.Error("cannot allocate a producer id", "error", err)
		l.complete(resp)
		return
	}
	if q.TransactionalID == nil {
		resp.ProducerID, resp.ProducerEpoch = id, 0
		l.complete(resp)
		return
	}
	done := func(p txn.Producer, err error) {
		if err != nil {
			p = txn.Producer{Code: h.coordinatorCode(err), ID: -1, Epoch: -1}
		}
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = fencedBefore(4, version, p.Code), p.ID, p.Epoch
		l.complete(resp)
	}
	h.withProducerID(*q.TransactionalID, id, done, func(c *coord.Context, m *txn.Machine) bool {
		return m.InitProducerID(c, txn.InitRequest{TransactionalID: *q.TransactionalID, TimeoutMs: q.TransactionTimeoutMillis,
			ProducerID: q.ProducerID, ProducerEpoch: q.ProducerEpoch}, id, done)
	})
}

// withProducerID runs an operation of a transactional id that may use a fresh producer id, and takes the id back if it
// does not.
func (h *handlers) withProducerID(transactionalID string, id int64, done coord.Done[txn.Producer], op func(*coord.Context, *txn.Machine) (used bool)) {
	used := false
	if transactionalID == "" {
		done(txn.Producer{Code: errInvalidRequest, ID: -1, Epoch: -1}, nil)
	} else if err := h.Transactions.Do(transactionalID, func(c *coord.Context, m *txn.Machine) { used = op(c, m) }); err != nil {
		done(txn.Producer{}, err)
	}
	if !used {
		h.ProducerIDs.Return(id)
	}
}

// fencedBefore replaces PRODUCER_FENCED, which came with a version of the request.
func fencedBefore(since, version, code int16) int16 {
	if code == errProducerFenced && version < since {
		return errInvalidProducerEpoch
	}
	return code
}
