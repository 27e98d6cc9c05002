package api

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/partition"
	"github.com/gregor-broker/gregor/wire"
	"github.com/gregor-broker/gregor/wire/produce"
)

// Produce, versions 3 to 13, advertised from 0 (KAFKA-18659: librdkafka reads
// its compression support off the minimum).
//
//	3  records in message format 2, transactional id
//	5  log start offset in the response
//	7  zstd
//	8  errors per record (KIP-467)
//	9  flexible
//	10 current leader and its endpoint with NOT_LEADER_OR_FOLLOWER (KIP-951)
//	11 TRANSACTION_ABORTABLE may be answered (KIP-890)
//	12 partitions join a transaction implicitly (KIP-890)
//	13 topic ids instead of names
//
// The order of one request: parse, take every partition's batch in, hand the
// frame back, and answer when the last sync is done. A bad partition does not
// touch its neighbours.

// produceReply waits for the syncs of one request.
type produceReply struct {
	version  int16
	response produce.Response
	parts    []producePart
	waker    wire.Waker

	// pending counts syncs under way and the call of Wait; users counts syncs
	// and the connection: the last one gives the reply back to the pool, as a
	// connection may die before its syncs are done.
	pending, users atomic.Int32
}

// producePart is one partition's place; it is told by the sync worker.
type producePart struct {
	reply     *produceReply
	topic, at int
	err       error // of the sync; read when all syncs have answered
}

var produceReplies = sync.Pool{New: func() any { return new(produceReply) }}
var produceRequests = sync.Pool{New: func() any { return new(produce.Request) }}

// Synced is called once per partition that was appended.
func (p *producePart) Synced(err error) {
	r := p.reply
	p.err = err
	if r.pending.Add(-1) == 0 {
		r.waker.Wake()
	}
	r.drop()
}

// Wait is ready when no sync is under way.
func (r *produceReply) Wait(w wire.Waker) bool {
	r.waker = w
	return r.pending.Add(-1) == 0
}

// Encode appends the response.
func (r *produceReply) Encode(p *wire.Payload) error {
	for i := range r.parts {
		if err := r.parts[i].err; err != nil {
			out := &r.response.Topics[r.parts[i].topic].Partitions[r.parts[i].at]
			*out = produce.PartitionResponse{Index: out.Index, ErrorCode: errKafkaStorage, BaseOffset: -1,
				LogAppendTime: -1, LogStartOffset: -1, ErrorMessage: message(err)}
		}
	}
	p.SetBuffer(produce.AppendResponse(p.Buffer(), r.version, &r.response))
	return nil
}

// Release gives up the connection's hold.
func (r *produceReply) Release() { r.drop() }

func (r *produceReply) drop() {
	if r.users.Add(-1) != 0 {
		return
	}
	for i := range r.response.Topics {
		t := &r.response.Topics[i]
		clear(t.Partitions)
		t.Partitions = t.Partitions[:0]
		t.Name = t.Name[:0]
	}
	r.response.Topics = r.response.Topics[:0]
	r.response.NodeEndpoints = nil
	r.waker = nil
	clear(r.parts)
	r.parts = r.parts[:0]
	produceReplies.Put(r)
}

// noWaiter is for acks=0: nobody waits.
type noWaiter struct{}

// Synced does nothing.
func (noWaiter) Synced(error) {}

func (h *handlers) produce(req *wire.Request) wire.Reply {
	q := produceRequests.Get().(*produce.Request)
	defer func() {
		q.Reset()
		produceRequests.Put(q)
	}()
	if err := produce.Parse(req.Body, req.Version, q); err != nil {
		return wire.CloseConnection(err)
	}
	r := produceReplies.Get().(*produceReply)
	r.version = req.Version
	partitions := 0
	for i := range q.Topics {
		partitions += len(q.Topics[i].Partitions)
	}
	// The parts are pointed to by syncs: their memory must not move.
	if cap(r.parts) < partitions {
		r.parts = make([]producePart, 0, partitions)
	}
	r.pending.Store(1)
	r.users.Store(1)
	var failed error
	var join joined
	if q.TransactionalID != nil {
		join = h.joinTransaction(q, req.Version)
	}
	n := 0
	// All places exist before the first append: a sync may answer at once.
	r.lay(q)
	for i := range q.Topics {
		t := &q.Topics[i]
		id, name, refused := h.resolveProduce(t, req.Version)
		for j := range t.Partitions {
			if err := h.produceOne(r, q, t, i, j, id, name, refused, req, join, n); err != nil {
				failed = err
			}
			n++
		}
	}
	r.response.ThrottleMs = h.throttleProduce(req, q.Acks)
	if q.Acks != 0 {
		return r
	}
	// Nothing is answered; a failure is told by closing, as Kafka does.
	r.Release()
	if failed != nil {
		return wire.CloseConnection(failed)
	}
	return wire.NoResponse
}

// lay copies names and indexes of the request into the response.
func (r *produceReply) lay(q *produce.Request) {
	for i := range q.Topics {
		t := &q.Topics[i]
		if i < cap(r.response.Topics) {
			r.response.Topics = r.response.Topics[:i+1]
		} else {
			r.response.Topics = append(r.response.Topics, produce.TopicResponse{})
		}
		out := &r.response.Topics[i]
		out.Name = append(out.Name[:0], t.Name...)
		out.ID = t.ID
		out.Partitions = out.Partitions[:0]
		for j := range t.Partitions {
			out.Partitions = append(out.Partitions, produce.PartitionResponse{Index: t.Partitions[j].Index,
				BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1})
		}
	}
}

var (
	errTxnID         = &apiError{errTransactionalIDAuthorizationFailed, "transactional records need a transactional id"}
	errTopicInternal = &apiError{errInvalidTopic, "internal topics are written by the broker only"}
	errNoTopic       = &apiError{errUnknownTopicOrPartition, "this server does not host this topic-partition"}
	errNoTopicID     = &apiError{errUnknownTopicID, "this server does not host this topic id"}
	errAcks          = &apiError{errInvalidRequiredAcks, "acks must be -1, 0 or 1"}
	errNoRecords     = &apiError{errInvalidRecord, "expected one record batch, found none"}
	errZstd          = &apiError{errUnsupportedCompressionType, "zstd needs Produce version 7"}
	errTxnAbortable  = &apiError{errTransactionAbortable, "the partition is not part of a transaction of this producer"}
)

// resolveProduce finds the topic's id, or why it is refused.
func (h *handlers) resolveProduce(t *produce.Topic, version int16) (id [16]byte, name string, refused error) {
	im := h.Image()
	if version >= 13 {
		topic := im.TopicByID(t.ID)
		if topic == nil {
			return t.ID, "", errNoTopicID
		}
		return t.ID, topic.Name, internalRefused(topic.Name)
	}
	topic := im.Topic(string(t.Name))
	if topic == nil {
		return id, "", errNoTopic
	}
	return topic.ID, topic.Name, internalRefused(topic.Name)
}

func internalRefused(name string) error {
	if isInternal(name) {
		return errTopicInternal
	}
	return nil
}

// produceOne appends one partition's batch or fills in its error, which it
// also returns.
func (h *handlers) produceOne(r *produceReply, q *produce.Request, t *produce.Topic, i, j int, id [16]byte, name string, refused error, req *wire.Request, join joined, n int) error {
	out := &r.response.Topics[i].Partitions[j]
	records := t.Partitions[j].Records
	err := refused
	var p *partition.Partition
	if err == nil {
		if p = h.Partitions.Get(id, out.Index); p == nil {
			err = errNoTopic
		}
	}
	if err == nil {
		err = checkProduce(q, records, req.Version)
	}
	guard, unjoined := join.at(n)
	if err == nil && unjoined != nil {
		err, p = unjoined, nil // nothing is told of a log that was not asked
	}
	var appended engine.Appended
	if err == nil {
		var w engine.Waiter = noWaiter{}
		if q.Acks != 0 {
			r.parts = append(r.parts, producePart{reply: r, topic: i, at: j})
			w = &r.parts[len(r.parts)-1]
			r.pending.Add(1)
			r.users.Add(1)
		}
		if appended, err = p.AppendVerified(records, guard, w); err != nil && q.Acks != 0 {
			r.parts = r.parts[:len(r.parts)-1]
			r.pending.Add(-1)
			r.users.Add(-1)
		}
	}
	if err != nil {
		h.refuse(out, err, req, name, p, records)
		return err
	}
	out.BaseOffset, out.LogAppendTime, out.LogStartOffset = appended.BaseOffset, appended.LogAppendTime, appended.LogStart
	return nil
}

// checkProduce is what ProduceRequest.validateRecords refuses before looking
// into a batch.
func checkProduce(q *produce.Request, records []byte, version int16) error {
	if q.Acks < -1 || q.Acks > 1 {
		return errAcks
	}
	if len(records) == 0 {
		return errNoRecords
	}
	if len(records) < batch.HeaderSize {
		return nil // refused with its cause by the partition
	}
	b := batch.Batch(records)
	if b.Magic() == batch.Magic {
		if version < 7 && b.Codec() == codec.Zstd {
			return errZstd
		}
		if b.IsTransactional() && q.TransactionalID == nil {
			return errTxnID
		}
	}
	return nil
}

// refuse fills in an error, with the records that caused it (KIP-467).
func (h *handlers) refuse(out *produce.PartitionResponse, err error, req *wire.Request, name string, p *partition.Partition, records []byte) {
	c := code(err)
	*out = produce.PartitionResponse{Index: out.Index, ErrorCode: c, BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1, ErrorMessage: message(err)}
	if err == errNoTopic || err == errNoTopicID {
		out.ErrorMessage = nil // the code says it all, and Kafka no more
	}
	var record *batch.RecordError
	if errors.As(err, &record) {
		out.RecordErrors = recordErrors(record, p, records, h.NowMs())
	}
	if p != nil {
		out.LogStartOffset = startOnError(c, p)
	}
	if c == errUnknownServerError || c == errKafkaStorage {
		h.Logger.Error("produce failed", "topic", name, "partition", out.Index, "client", req.ClientID, "error", err)
	}
}
