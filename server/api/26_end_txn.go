package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn"
	"github.com/gregor-broker/gregor/wire"
)

// EndTxn, versions 0 to 5.
//
//	2 PRODUCER_FENCED may be answered
//	3 flexible
//	4 TRANSACTION_ABORTABLE may be answered (KIP-890)
//	5 transaction version 2: the answer is the producer id and epoch of the next transaction
//
// The answer leaves when the decision is durable; markers follow.

func (h *handlers) endTxn(req *wire.Request, q *kmsg.EndTxnRequest, l *later) {
	resp, version := kmsg.NewPtrEndTxnResponse(), req.Version
	done := func(p txn.Producer, err error) {
		if err != nil {
			p = txn.Producer{Code: h.coordinatorCode(err), ID: -1, Epoch: -1}
		}
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = fencedBefore(2, version, p.Code), p.ID, p.Epoch
		l.complete(resp)
	}
	id, err := h.ProducerIDs.Next()
	if err != nil {
		h.Logger.Error("cannot allocate a producer id", "error", err)
		done(txn.Producer{Code: code(err), ID: -1, Epoch: -1}, nil)
		return
	}
	end := txn.EndRequest{TransactionalID: q.TransactionalID, ProducerID: q.ProducerID, ProducerEpoch: q.ProducerEpoch, Commit: q.Commit}
	if req.Version >= 5 {
		end.ClientVersion = 2
	}
	h.withProducerID(q.TransactionalID, id, done, func(c *coord.Context, m *txn.Machine) bool { return m.End(c, end, id, done) })
}
