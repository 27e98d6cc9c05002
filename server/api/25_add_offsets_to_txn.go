package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn"
	"github.com/gregor-broker/gregor/wire"
)

// AddOffsetsToTxn, versions 0 to 4: adds the partition of __consumer_offsets
// that holds a group. Clients of transaction version 2 leave it to
// TxnOffsetCommit.
//
//	2 PRODUCER_FENCED may be answered
//	3 flexible
//	4 TRANSACTION_ABORTABLE may be answered (KIP-890)

func (h *handlers) addOffsetsToTxn(req *wire.Request, q *kmsg.AddOffsetsToTxnRequest, l *later) {
	version := req.Version
	answer := func(code int16) {
		resp := kmsg.NewPtrAddOffsetsToTxnResponse()
		resp.ErrorCode = fencedBefore(2, version, code)
		l.complete(resp)
	}
	index, ok := h.Groups.Partition(q.Group)
	switch {
	case q.TransactionalID == "":
		answer(errInvalidRequest)
		return
	case !ok:
		answer(errCoordinatorNotAvailable)
		return
	}
	add := txn.AddRequest{TransactionalID: q.TransactionalID, ProducerID: q.ProducerID, ProducerEpoch: q.ProducerEpoch,
		Partitions: []txn.Partition{{Topic: topicOffsets, Index: index}}, WaitMs: h.addWaitMs()}
	done := func(code int16, err error) {
		if err != nil {
			code = h.coordinatorCode(err)
		}
		answer(code)
	}
	err := h.Transactions.Do(q.TransactionalID, func(c *coord.Context, m *txn.Machine) { m.AddOffsets(c, add, done) })
	if err != nil {
		done(errNone, err)
	}
}
