package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/server/txn"
	"github.com/gregor-broker/gregor/wire"
)

// TxnOffsetCommit, versions 0 to 5.
//
//	2 leader epochs
//	3 flexible; member and generation (KIP-447)
//	4 TRANSACTION_ABORTABLE may be answered (KIP-890)
//	5 the group's partition joins the transaction implicitly (KIP-890)
//
// Offsets are data of the transaction in the group's partition of
// __consumer_offsets: as with Produce, the coordinator of the transaction is
// asked before the first of them is written. That the transaction is still open
// there, or that the proof is still good, is looked at once more in the group's
// operation, which is the only way to that log: no marker can come in between.

func (h *handlers) txnOffsetCommit(req *wire.Request, q *kmsg.TxnOffsetCommitRequest, l *later) {
	client, version := who(req), req.Version
	refused, valid := h.splitTxnCommit(q)
	if len(valid) == 0 {
		l.complete(refused)
		return
	}
	q.Topics = valid
	answer := func(resp *kmsg.TxnOffsetCommitResponse) { l.complete(mergeTxnCommit(refused, resp)) }
	fail := func(code int16) {
		if code == errCoordinatorLoadInProgress && version < 2 {
			code = errCoordinatorNotAvailable // clients before 2.0 do not know it
		}
		resp := kmsg.NewPtrTxnOffsetCommitResponse()
		for i := range valid {
			for _, p := range valid[i].Partitions {
				txnCommitAnswer(resp, valid[i].Topic, p.Partition, code)
			}
		}
		answer(resp)
	}
	if q.Group == "" {
		fail(errInvalidGroupID)
		return
	}
	index, log, verify, code := h.offsetsLog(q.Group)
	if code != errNone {
		fail(code)
		return
	}
	guard := engine.Guard(0)
	commit := func() {
		err := h.Groups.DoAt(index, func(c *coord.Context, m *group.Machine) {
			if err := log.CheckVerified(q.ProducerID, q.ProducerEpoch, guard, verify); err != nil {
				fail(commitCode(err))
				return
			}
			m.CommitTransactionalOffsets(c, client, q, func(resp *kmsg.TxnOffsetCommitResponse, err error) {
				if err != nil {
					fail(h.coordinatorCode(err))
					return
				}
				answer(resp)
			})
		})
		if err != nil {
			fail(h.coordinatorCode(err))
		}
	}
	adds := version >= 5
	if adds || verify {
		guard = log.BeginVerification(q.ProducerID, q.ProducerEpoch, -1, adds)
	}
	if guard == 0 {
		commit()
		return
	}
	join := txn.AddRequest{TransactionalID: q.TransactionalID, ProducerID: q.ProducerID, ProducerEpoch: q.ProducerEpoch,
		Partitions: []txn.Partition{{Topic: topicOffsets, Index: index}}}
	h.startJoin(&join, adds, func(codes []int16) {
		if codes[0] == errNone {
			go commit() // not on a sync worker
			return
		}
		if !retriableJoin(codes[0]) {
			log.EndVerification(q.ProducerID, guard)
		}
		fail(txnCommitRefusal(codes[0], version))
	})
}

// offsetsLog is the log that holds a group, and whether its transactions are verified.
func (h *handlers) offsetsLog(groupID string) (index int32, log *engine.Log, verify bool, code int16) {
	index, ok := h.Groups.Partition(groupID)
	topic := h.Image().Topic(topicOffsets)
	if !ok || topic == nil {
		return 0, nil, false, errCoordinatorNotAvailable
	}
	p := h.Partitions.Get(topic.ID, index)
	if p == nil {
		return 0, nil, false, errNotCoordinator
	}
	log, err := p.Log()
	if err != nil {
		return 0, nil, false, errNotCoordinator
	}
	return index, log, p.Config().VerifyTransactions, errNone
}

// txnCommitRefusal is what a client is told when the transaction's coordinator refuses
// (AddPartitionsToTxnManager, CoordinatorOperationExceptionHelper).
func txnCommitRefusal(code, version int16) int16 {
	switch code {
	case errProducerFenced:
		return errInvalidProducerEpoch
	case errTransactionAbortable:
		if version < 4 {
			return errInvalidTxnState
		}
	}
	return code
}

// commitCode is the code of a refusal by the log.
func commitCode(err error) int16 {
	switch c := code(err); c {
	case errKafkaStorage, errNotLeaderOrFollower:
		return errNotCoordinator
	default:
		return c
	}
}

// splitTxnCommit answers for topics and partitions that do not exist.
func (h *handlers) splitTxnCommit(q *kmsg.TxnOffsetCommitRequest) (refused *kmsg.TxnOffsetCommitResponse, valid []kmsg.TxnOffsetCommitRequestTopic) {
	refused = kmsg.NewPtrTxnOffsetCommitResponse()
	im := h.Image()
	for i := range q.Topics {
		t := &q.Topics[i]
		topic := im.Topic(t.Topic)
		known := t.Partitions[:0:0]
		for _, p := range t.Partitions {
			if topic == nil || topic.Partition(p.Partition) == nil {
				txnCommitAnswer(refused, t.Topic, p.Partition, errUnknownTopicOrPartition)
				continue
			}
			known = append(known, p)
		}
		if len(known) > 0 {
			kept := *t
			kept.Partitions, kept.TopicID = known, topic.ID
			valid = append(valid, kept)
		}
	}
	return refused, valid
}

// txnCommitAnswer adds one partition's code, under the topic if it was the last one.
func txnCommitAnswer(resp *kmsg.TxnOffsetCommitResponse, topic string, partition int32, code int16) {
	n := len(resp.Topics)
	if n == 0 || resp.Topics[n-1].Topic != topic {
		out := kmsg.NewTxnOffsetCommitResponseTopic()
		out.Topic = topic
		resp.Topics = append(resp.Topics, out)
		n++
	}
	out := kmsg.NewTxnOffsetCommitResponseTopicPartition()
	out.Partition, out.ErrorCode = partition, code
	resp.Topics[n-1].Partitions = append(resp.Topics[n-1].Partitions, out)
}

// mergeTxnCommit appends the group's answer to what was refused before, topic by topic.
func mergeTxnCommit(refused, resp *kmsg.TxnOffsetCommitResponse) *kmsg.TxnOffsetCommitResponse {
	if len(refused.Topics) == 0 {
		return resp
	}
	at := make(map[string]int, len(refused.Topics))
	for i := range refused.Topics {
		at[refused.Topics[i].Topic] = i
	}
	for _, t := range resp.Topics {
		if i, ok := at[t.Topic]; ok {
			refused.Topics[i].Partitions = append(refused.Topics[i].Partitions, t.Partitions...)
		} else {
			refused.Topics = append(refused.Topics, t)
		}
	}
	return refused
}
