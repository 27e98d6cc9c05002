package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn"
	"github.com/gregor-broker/gregor/wire"
)

// DescribeTransactions, version 0 (KIP-664).

func (h *handlers) describeTransactions(_ *wire.Request, q *kmsg.DescribeTransactionsRequest, l *later) {
	all := newGather(len(q.TransactionalIDs), func(list []kmsg.DescribeTransactionsResponseTransactionState) {
		resp := kmsg.NewPtrDescribeTransactionsResponse()
		resp.TransactionStates = list
		l.complete(resp)
	})
	for i, id := range q.TransactionalIDs {
		done := func(d txn.Description, err error) {
			if err != nil {
				d = txn.Description{Code: h.coordinatorCode(err)}
			}
			all.put(i, describedTransaction(id, d))
		}
		if id == "" {
			done(txn.Description{Code: errInvalidRequest}, nil)
			continue
		}
		if err := h.Transactions.Do(id, func(c *coord.Context, m *txn.Machine) { m.Describe(c, id, done) }); err != nil {
			done(txn.Description{}, err)
		}
	}
}

func describedTransaction(id string, d txn.Description) kmsg.DescribeTransactionsResponseTransactionState {
	out := kmsg.NewDescribeTransactionsResponseTransactionState()
	out.TransactionalID, out.ErrorCode = id, d.Code
	if d.Code != errNone {
		return out
	}
	out.State, out.TimeoutMillis, out.StartTimestamp = d.State.String(), d.TimeoutMs, d.StartedMs
	out.ProducerID, out.ProducerEpoch = d.ProducerID, d.ProducerEpoch
	for _, t := range d.Topics {
		topic := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
		topic.Topic, topic.Partitions = t.Name, t.Partitions
		out.Topics = append(out.Topics, topic)
	}
	return out
}
