package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn"
	"github.com/gregor-broker/gregor/wire"
)

// AddPartitionsToTxn, versions 0 to 5.
//
//	2 PRODUCER_FENCED may be answered
//	3 flexible
//	4 from brokers: many transactions, or only asking (KIP-890)
//	5 TRANSACTION_ABORTABLE may be answered
//
// Clients send up to 3. One topic or partition that does not exist refuses the
// whole transaction.

// addWaitMs bounds how long adding a partition waits for the markers of the
// transaction before (add.partitions.to.txn.retry.backoff.max.ms).
func (h *handlers) addWaitMs() int64 {
	return h.Config.Int("add.partitions.to.txn.retry.backoff.max.ms")
}

func (h *handlers) addPartitionsToTxn(req *wire.Request, q *kmsg.AddPartitionsToTxnRequest, l *later) {
	resp := kmsg.NewPtrAddPartitionsToTxnResponse()
	if req.Version < 4 {
		t := kmsg.NewAddPartitionsToTxnRequestTransaction()
		t.TransactionalID, t.ProducerID, t.ProducerEpoch = q.TransactionalID, q.ProducerID, q.ProducerEpoch
		for _, topic := range q.Topics {
			t.Topics = append(t.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: topic.Topic, Partitions: topic.Partitions})
		}
		h.addToTransaction(req.Version, &t, func(r kmsg.AddPartitionsToTxnResponseTransaction) {
			for _, topic := range r.Topics {
				out := kmsg.NewAddPartitionsToTxnResponseTopic()
				out.Topic = topic.Topic
				for _, p := range topic.Partitions {
					out.Partitions = append(out.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: p.Partition, ErrorCode: p.ErrorCode})
				}
				resp.Topics = append(resp.Topics, out)
			}
			l.complete(resp)
		})
		return
	}
	all := newGather(len(q.Transactions), func(list []kmsg.AddPartitionsToTxnResponseTransaction) {
		resp.Transactions = list
		l.complete(resp)
	})
	for i := range q.Transactions {
		h.addToTransaction(req.Version, &q.Transactions[i], func(r kmsg.AddPartitionsToTxnResponseTransaction) { all.put(i, r) })
	}
}

func (h *handlers) addToTransaction(version int16, t *kmsg.AddPartitionsToTxnRequestTransaction, done func(kmsg.AddPartitionsToTxnResponseTransaction)) {
	partitions, codes := h.partitionsToAdd(version, t)
	answer := func(codes []int16) { done(addedTopics(t, codes, version)) }
	if codes != nil {
		answer(codes)
		return
	}
	codes = make([]int16, len(partitions))
	add := txn.AddRequest{TransactionalID: t.TransactionalID, ProducerID: t.ProducerID, ProducerEpoch: t.ProducerEpoch, Partitions: partitions,
		VerifyOnly: t.VerifyOnly}
	if version >= 4 {
		add.ClientVersion = 2
	}
	if !t.VerifyOnly {
		add.WaitMs = h.addWaitMs()
	}
	if t.TransactionalID == "" {
		answer(filled(codes, errInvalidRequest))
		return
	}
	err := h.Transactions.Do(t.TransactionalID, func(c *coord.Context, m *txn.Machine) {
		m.AddPartitions(c, add, func(got []int16, err error) {
			if err != nil {
				got = filled(codes, h.coordinatorCode(err))
			}
			answer(got)
		})
	})
	if err != nil {
		answer(filled(codes, h.coordinatorCode(err)))
	}
}

// partitionsToAdd lists the partitions of a transaction, or gives their codes if not all may be in one. Clients may not
// name internal topics.
func (h *handlers) partitionsToAdd(version int16, t *kmsg.AddPartitionsToTxnRequestTransaction) (list []txn.Partition, codes []int16) {
	im := h.Image()
	refused := false
	for _, topic := range t.Topics {
		known := im.Topic(topic.Topic)
		for _, p := range topic.Partitions {
			code := errOperationNotAttempted
			switch {
			case version < 4 && isInternal(topic.Topic):
				code = errTopicAuthorizationFailed
			case known == nil || known.Partition(p) == nil:
				code = errUnknownTopicOrPartition
			}
			refused = refused || code != errOperationNotAttempted
			list, codes = append(list, txn.Partition{Topic: topic.Topic, Index: p}), append(codes, code)
		}
	}
	if !refused {
		codes = nil
	}
	return list, codes
}

// addedTopics lays out codes, one for each partition in the order of the request.
func addedTopics(t *kmsg.AddPartitionsToTxnRequestTransaction, codes []int16, version int16) kmsg.AddPartitionsToTxnResponseTransaction {
	r := kmsg.NewAddPartitionsToTxnResponseTransaction()
	r.TransactionalID = t.TransactionalID
	n := 0
	for _, topic := range t.Topics {
		out := kmsg.NewAddPartitionsToTxnResponseTransactionTopic()
		out.Topic = topic.Topic
		for _, p := range topic.Partitions {
			code := fencedBefore(2, version, codes[n])
			out.Partitions = append(out.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: p, ErrorCode: code})
			n++
		}
		r.Topics = append(r.Topics, out)
	}
	return r
}

func filled(codes []int16, code int16) []int16 {
	for i := range codes {
		codes[i] = code
	}
	return codes
}
