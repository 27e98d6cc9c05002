package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// owner is a producer with a transactional id, as the broker knows it.
type owner struct {
	id    string
	pid   int64
	epoch int16
}

// owned makes a transactional id and waits until its coordinator takes it.
func (b *broker) owned(name string) owner {
	o := owner{id: b.prefix + name}
	for range 200 {
		if p, _ := b.ask(o.init(4, -1, -1)).(*kmsg.InitProducerIDResponse); p == nil || p.ErrorCode == 0 {
			if p != nil {
				o.pid, o.epoch = p.ProducerID, p.ProducerEpoch
			}
			return o
		}
		time.Sleep(20 * time.Millisecond)
	}
	return o
}

// ended waits until the markers of an id are written.
func (b *broker) ended(o owner) {
	for range 200 {
		r := kmsg.NewPtrDescribeTransactionsRequest()
		r.TransactionalIDs = []string{o.id}
		resp, _ := b.ask(r).(*kmsg.DescribeTransactionsResponse)
		if resp == nil || !strings.HasPrefix(resp.TransactionStates[0].State, "Prepare") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (o owner) init(v int16, pid int64, epoch int16) *kmsg.InitProducerIDRequest {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.SetVersion(v)
	r.TransactionalID, r.TransactionTimeoutMillis, r.ProducerID, r.ProducerEpoch = &o.id, 60_000, pid, epoch
	return r
}

func (o owner) add(v int16, topic string, partitions ...int32) *kmsg.AddPartitionsToTxnRequest {
	r := kmsg.NewPtrAddPartitionsToTxnRequest()
	r.SetVersion(v)
	r.TransactionalID, r.ProducerID, r.ProducerEpoch = o.id, o.pid, o.epoch
	r.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: partitions}}
	t := kmsg.NewAddPartitionsToTxnRequestTransaction()
	t.TransactionalID, t.ProducerID, t.ProducerEpoch = o.id, o.pid, o.epoch
	t.Topics = []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: topic, Partitions: partitions}}
	r.Transactions = append(r.Transactions, t)
	return r
}

func (o owner) end(v int16, commit bool) *kmsg.EndTxnRequest {
	r := kmsg.NewPtrEndTxnRequest()
	r.SetVersion(v)
	r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = o.id, o.pid, o.epoch, commit
	return r
}

func (o owner) describe() *kmsg.DescribeTransactionsRequest {
	r := kmsg.NewPtrDescribeTransactionsRequest()
	r.TransactionalIDs = []string{o.id}
	return r
}

// records makes a batch of one transactional record.
func (o owner) records(sequence int32) batch.Batch {
	return build(batch.NewBuilder(codec.None).Producer(o.pid, o.epoch, sequence).Transactional(), 1)
}

func (o owner) produce(v int16, topic string, id [16]byte, partition int32, records []byte) *kmsg.ProduceRequest {
	r := produceRequest(v, -1, topic, id, partition, records)
	r.TransactionID = &o.id
	return r
}

// with is the same owner with another producer id and epoch.
func (o owner) with(pid int64, epoch int16) owner { return owner{o.id, pid, epoch} }

func transactionInit(b *broker) {
	b.coordinate(1)
	for v := int16(0); v <= 5; v++ {
		o := b.owned(fmt.Sprint("i", v))
		b.do("known", o.init(v, -1, -1))
		r := o.init(v, -1, -1)
		r.TransactionTimeoutMillis = 900_001
		b.do("a timeout that is too long", r)
		r.TransactionTimeoutMillis = 0
		b.do("no timeout", r)
		r.TransactionTimeoutMillis = -1
		b.do("a negative timeout", r)
		empty := o.init(v, -1, -1)
		empty.TransactionalID = ptr("")
		b.do("an empty id", empty)
		if v < 3 {
			continue
		}
		b.do("an older epoch", o.init(v, o.pid, 0))
		b.do("its epoch", o.init(v, o.pid, 1))
		b.do("its epoch again", o.init(v, o.pid, 1))
		b.do("a newer epoch", o.init(v, o.pid, 7))
		b.do("another producer id", o.init(v, o.pid+1_000_000, 2))
		b.do("no epoch", o.init(v, o.pid, -1))
		b.do("no producer id", o.init(v, -1, 2))
		b.do("negative", o.init(v, -2, -2))
		unknown := owner{id: b.prefix + fmt.Sprint("u", v)}
		b.do("an id nobody knows, with a producer", unknown.init(v, o.pid, 5))
		b.do("state", o.describe())
	}
}

// transactions1 is the protocol of clients of transaction version 1.
func transactions1(b *broker) {
	b.coordinate(1)
	topic, _ := b.create("t", 3)
	for v := int16(0); v <= 4; v++ {
		o := b.owned(fmt.Sprint("a", v))
		add := min(v, 3)
		b.do("end of nothing", o.end(v, true))
		b.do("abort of nothing", o.end(v, false))
		b.do("an id nobody knows", owner{b.prefix + "nobody", o.pid, 0}.add(add, topic, 0))
		b.do("another producer id", o.with(o.pid+1_000_000, 0).add(add, topic, 0))
		b.do("another epoch", o.with(o.pid, 3).add(add, topic, 0))
		b.do("an empty id", owner{"", o.pid, 0}.add(add, topic, 0))
		b.do("a partition that is not there", o.add(add, topic, 0, 9))
		b.do("a topic that is not there", o.add(add, b.prefix+"none", 0))
		b.do("an internal topic", o.add(add, "__consumer_offsets", 0))
		b.do("state", o.describe())
		b.do("no partitions", o.add(add, topic))
		b.do("one", o.add(add, topic, 1))
		b.do("one more", o.add(add, topic, 0, 1))
		b.do("state", o.describe())
		b.do("end by another producer", o.with(o.pid+1_000_000, 0).end(v, true))
		b.do("end by another epoch", o.with(o.pid, 3).end(v, true))
		b.do("end of an id nobody knows", owner{b.prefix + "nobody", o.pid, 0}.end(v, true))
		b.do("end of an empty id", owner{"", o.pid, 0}.end(v, true))
		b.do("commit", o.end(v, true))
		b.ended(o)
		b.do("state", o.describe())
		b.do("commit again", o.end(v, true))
		b.do("abort after a commit", o.end(v, false))
		b.do("the next", o.add(add, topic, 2))
		b.do("abort", o.end(v, false))
		b.ended(o)
		b.do("abort again", o.end(v, false))
		b.do("commit after an abort", o.end(v, true))
		b.do("another producer takes an open one over", o.add(add, topic, 2))
		b.do("first", o.init(min(v, 4), -1, -1))
		b.ended(o)
		b.do("state", o.describe())
		b.do("then", o.init(min(v, 4), -1, -1))
		b.do("the old one adds", o.add(add, topic, 2))
		b.do("the old one ends", o.end(v, true))
		offsets := kmsg.NewPtrAddOffsetsToTxnRequest()
		offsets.SetVersion(v)
		offsets.TransactionalID, offsets.ProducerID, offsets.ProducerEpoch, offsets.Group = o.id, o.pid, o.epoch, b.group("g")
		b.do("the old one adds offsets", offsets)
		offsets.ProducerEpoch = 2
		b.do("offsets", offsets)
		b.do("state", o.describe())
		offsets.TransactionalID = ""
		b.do("offsets of an empty id", offsets)
		b.do("abort", o.with(o.pid, 2).end(v, false))
		b.ended(o)
	}
}

// transactions2 is the protocol of clients of transaction version 2.
func transactions2(b *broker) {
	b.coordinate(1)
	topic, _ := b.create("t", 3)
	o := b.owned("x")
	both := func(label string, x owner) {
		b.do(label+": commit", x.end(5, true))
		b.ended(o)
		b.do(label+": abort", x.end(5, false))
		b.ended(o)
	}
	b.do("commit of nothing", o.end(5, true))
	b.do("commit with another epoch", o.with(o.pid, 5).end(5, true))
	b.do("abort with another epoch", o.with(o.pid, 5).end(5, false))
	b.do("another producer", o.with(o.pid+1_000_000, 0).end(5, false))
	b.do("an id nobody knows", owner{b.prefix + "nobody", 1, 0}.end(5, false))
	b.do("an empty id", owner{"", 1, 0}.end(5, false))
	b.do("abort of nothing", o.end(5, false)) // epoch 1
	b.ended(o)
	b.do("abort of nothing again", o.end(5, false))
	b.do("commit instead", o.end(5, true))
	b.do("state", o.describe())
	both("an epoch that is too new", o.with(o.pid, 2))
	for v := int16(4); v <= 5; v++ {
		b.do("added by a broker", o.with(o.pid, 1).add(v, topic, 0, 2))
		ask := o.with(o.pid, 1).add(v, topic, 0, 1)
		ask.Transactions[0].VerifyOnly = true
		b.do("asked by a broker", ask)
		ask.Transactions = append(ask.Transactions, owner{b.prefix + "nobody", 1, 0}.add(v, topic, 0).Transactions...)
		ask.Transactions = append(ask.Transactions, o.with(o.pid, 9).add(v, b.prefix+"none", 0).Transactions...)
		ask.Transactions[2].TransactionalID = b.prefix + "other"
		b.do("several", ask)
	}
	both("the epoch before, open", o.with(o.pid, 0))
	b.do("commit", o.with(o.pid, 1).end(5, true)) // epoch 2
	b.ended(o)
	both("the epoch before, committed", o.with(o.pid, 1))
	b.do("commit now, committed", o.with(o.pid, 2).end(5, true))
	b.do("abort now, committed", o.with(o.pid, 2).end(5, false)) // epoch 3
	b.ended(o)
	both("the epoch before, aborted", o.with(o.pid, 2))
	b.do("commit now, aborted", o.with(o.pid, 3).end(5, true))
	b.do("abort now, aborted", o.with(o.pid, 3).end(5, false)) // epoch 4
	b.ended(o)
	b.do("added", o.with(o.pid, 4).add(4, topic, 0))
	b.do("taken over", o.init(5, -1, -1)) // epoch 5
	b.ended(o)
	b.do("state", o.describe())
	both("the epoch before, taken over", o.with(o.pid, 4))
	b.do("its epoch", o.init(5, o.pid, 4))
	b.do("taken over again", o.init(5, -1, -1))
	b.do("state", o.describe())
}

// transactionProduce is where transactional records may be written.
func transactionProduce(b *broker) {
	b.coordinate(1)
	for v := int16(3); v <= 13; v++ {
		topic, id := b.create(fmt.Sprint("t", v), 6)
		o := b.owned(fmt.Sprint("p", v))
		name := topic
		if v >= 13 {
			name = ""
		}
		write := func(label string, o owner, partition int32, sequence int32) {
			b.unnumbered = true
			b.do(label, o.produce(v, name, id, partition, o.records(sequence)))
		}
		none := o.produce(v, name, id, 0, o.records(0))
		none.TransactionID = nil
		b.do("without the transactional id", none)
		write("an epoch that is too new", o.with(o.pid, 7), 0, 0)
		write("another producer", o.with(o.pid+1_000_000, 0), 0, 0)
		b.do("an id nobody knows", owner{b.prefix + "nobody", o.pid, 0}.produce(v, name, id, 0, o.records(0)))
		b.do("an empty id", owner{"", o.pid, 0}.produce(v, name, id, 0, o.records(0)))
		if v < 12 {
			write("not added", o, 0, 0)
			b.ask(o.add(3, topic, 0, 1))
		}
		write("the first", o, 0, 0)
		write("the first again", o, 0, 0)
		write("the second", o, 0, 1)
		write("one left out", o, 0, 3)
		write("another partition, not its first", o, 1, 5)
		if v < 12 {
			write("another partition", o, 2, 0)
		}
		b.do("records of no transaction", o.produce(v, name, id, 3, records(1)))
		plain := build(batch.NewBuilder(codec.None).Producer(o.pid, o.epoch, 2), 1)
		b.do("records outside of the open one", o.produce(v, name, id, 0, plain))
		other := o.with(o.pid+2_000_000, 0)
		two := o.produce(v, name, id, 4, o.records(0))
		two.Topics = append(two.Topics[:1:1], two.Topics[0])
		two.Topics[0].Partitions = append(two.Topics[0].Partitions, other.produce(v, name, id, 5, other.records(0)).Topics[0].Partitions...)
		two.Topics = two.Topics[:1]
		b.do("two producers in one request", two)
		b.do("producers", producersRequest(topic, 0))
		end := int16(4)
		if v >= 12 {
			end = 5
		}
		b.do("state", o.describe())
		b.do("end", o.end(end, v%2 == 0))
		b.ended(o)
		write("late", o, 0, 2)
		write("late, in another partition", o, 4, 0)
		b.do("producers afterwards", producersRequest(topic, 0))
	}
}

func producersRequest(topic string, partitions ...int32) *kmsg.DescribeProducersRequest {
	r := kmsg.NewPtrDescribeProducersRequest()
	r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: partitions}}
	return r
}

// transactionReads is what consumers of both isolation levels see.
func transactionReads(b *broker) {
	b.coordinate(1)
	topic, id := b.create("t", 1)
	read := func(label string) {
		for _, isolation := range []int8{0, 1} {
			for _, v := range []int16{4, 11, 13, 17} {
				r := kmsg.NewPtrFetchRequest()
				r.SetVersion(v)
				r.MaxWaitMillis, r.MaxBytes, r.IsolationLevel, r.SessionEpoch = 0, 1<<20, isolation, -1
				t := kmsg.NewFetchRequestTopic()
				t.Topic, t.TopicID = topic, id
				p := kmsg.NewFetchRequestTopicPartition()
				p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = 1<<20, -1, -1
				t.Partitions = append(t.Partitions, p)
				r.Topics = append(r.Topics, t)
				b.do(fmt.Sprintf("%s: isolation %d", label, isolation), r)
			}
			l := kmsg.NewPtrListOffsetsRequest()
			l.SetVersion(7)
			l.ReplicaID, l.IsolationLevel = -1, isolation
			for _, at := range []int64{-1, -2, now} {
				t := kmsg.NewListOffsetsRequestTopic()
				t.Topic = topic
				t.Partitions = []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: at, CurrentLeaderEpoch: -1}}
				l.Topics = []kmsg.ListOffsetsRequestTopic{t}
				b.do(fmt.Sprintf("%s: offset of %d, isolation %d", label, min(at, 0), isolation), l)
			}
		}
	}
	first, second := b.owned("r1"), b.owned("r2")
	b.ask(first.produce(12, topic, id, 0, first.records(0)))
	b.ask(second.produce(12, topic, id, 0, second.records(0)))
	b.append(topic, 0, records(2))
	read("both open")
	b.ask(second.end(5, false))
	b.ended(second)
	read("the second aborted")
	second.epoch++
	b.ask(second.produce(12, topic, id, 0, second.records(0)))
	b.ask(first.end(5, true))
	b.ended(first)
	read("the first committed, the second open again")
	b.ask(second.end(5, false))
	b.ended(second)
	read("all ended")
}

// transactionOffsets commits offsets in transactions.
func transactionOffsets(b *broker) {
	b.coordinate(0)
	b.coordinate(1)
	topic, _ := b.create("t", 2)
	for v := int16(0); v <= 5; v++ {
		o := b.owned(fmt.Sprint("o", v))
		group := b.group(fmt.Sprint("g", v))
		commit := func(o owner, group string, partitions ...int32) *kmsg.TxnOffsetCommitRequest {
			r := kmsg.NewPtrTxnOffsetCommitRequest()
			r.SetVersion(v)
			r.TransactionalID, r.Group, r.ProducerID, r.ProducerEpoch, r.Generation = o.id, group, o.pid, o.epoch, -1
			t := kmsg.NewTxnOffsetCommitRequestTopic()
			t.Topic = topic
			for _, p := range partitions {
				x := kmsg.NewTxnOffsetCommitRequestTopicPartition()
				x.Partition, x.Offset, x.LeaderEpoch, x.Metadata = p, int64(5+p), -1, ptr("m")
				t.Partitions = append(t.Partitions, x)
			}
			r.Topics = append(r.Topics, t)
			return r
		}
		b.do("an id nobody knows", commit(owner{b.prefix + "nobody", o.pid, 0}, group, 0))
		b.do("an empty id", commit(owner{"", o.pid, 0}, group, 0))
		b.do("another epoch", commit(o.with(o.pid, 7), group, 0))
		b.do("another producer", commit(o.with(o.pid+1_000_000, 0), group, 0))
		b.do("an empty group", commit(o, "", 0))
		if v < 5 {
			b.do("not added", commit(o, group, 0))
			add := kmsg.NewPtrAddOffsetsToTxnRequest()
			add.SetVersion(3)
			add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = o.id, o.pid, o.epoch, group
			b.ask(add)
		}
		b.do("a partition that is not there", commit(o, group, 0, 7))
		member := commit(o, group, 1)
		member.MemberID, member.Generation = "nobody", 3
		b.do("a member nobody knows", member)
		b.do("state", o.describe())
		for _, stable := range []bool{false, true} {
			r := offsetsRequest(7, group, topic, [16]byte{}, 0, 1)
			r.RequireStable = stable
			b.do(fmt.Sprintf("pending, stable %v", stable), r)
		}
		end := int16(4)
		if v == 5 {
			end = 5
		}
		b.do("end", o.end(end, v%2 == 0))
		b.ended(o)
		b.do("ended", offsetsRequest(7, group, topic, [16]byte{}, 0, 1))
		b.do("late", commit(o, group, 0))
	}
}

// transactionMarkers are markers of others than the coordinator.
func transactionMarkers(b *broker) {
	b.coordinate(1)
	for v := int16(1); v <= 2; v++ {
		topic, id := b.create(fmt.Sprint("t", v), 2)
		o := b.owned(fmt.Sprint("m", v))
		mark := func(label string, epoch int16, coordinator int32, version int8, commit bool, topic string, partitions ...int32) {
			r := kmsg.NewPtrWriteTxnMarkersRequest()
			r.SetVersion(v)
			m := kmsg.NewWriteTxnMarkersRequestMarker()
			m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch, m.Committed, m.TransactionVersion = o.pid, epoch, coordinator, commit, version
			t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
			t.Topic, t.Partitions = topic, partitions
			m.Topics = append(m.Topics, t)
			r.Markers = append(r.Markers, m)
			b.do(label, r)
			b.do(label+": producers", producersRequest(fmt.Sprint(b.prefix, "t", v), 0))
		}
		b.ask(o.produce(12, topic, id, 0, o.records(0)))
		mark("a topic that is not there", 0, 0, 0, false, b.prefix+"none", 0)
		mark("a partition that is not there", 0, 0, 0, false, topic, 0, 9)
		b.ask(o.end(5, false))
		b.ended(o)
		o.epoch++
		b.ask(o.produce(12, topic, id, 0, o.records(0)))
		mark("an older epoch", 0, 5, 0, false, topic, 0)
		mark("its epoch, by version 2", 1, 5, 2, false, topic, 0)
		mark("its epoch", 1, 5, 0, false, topic, 0)
		mark("an older coordinator", 1, 4, 0, false, topic, 0)
		mark("again", 1, 5, 2, false, topic, 0)
		mark("a newer epoch", 2, 5, 2, true, topic, 0, 1)
	}
	none := kmsg.NewPtrWriteTxnMarkersRequest()
	none.SetVersion(2)
	b.do("no markers", none)
}

// transactionAdmin lists and describes.
func transactionAdmin(b *broker) {
	b.coordinate(1)
	topic, id := b.create("t", 1)
	open, empty := b.owned("open"), b.owned("empty")
	b.ask(open.produce(12, topic, id, 0, open.records(0)))
	many := open.describe()
	many.TransactionalIDs = append(many.TransactionalIDs, empty.id, b.prefix+"nobody", "")
	b.do("describe", many)
	many.TransactionalIDs = nil
	b.do("describe nothing", many)
	pattern := ".*" + strings.TrimSuffix(b.prefix, "-") + ".*"
	for v := int16(0); v <= 2; v++ {
		list := func(label string, change func(*kmsg.ListTransactionsRequest)) {
			r := kmsg.NewPtrListTransactionsRequest()
			r.SetVersion(v)
			r.ProducerIDFilters, r.DurationFilterMillis = []int64{open.pid, empty.pid}, -1
			change(r)
			b.do(label, r)
		}
		list("ours", func(*kmsg.ListTransactionsRequest) {})
		list("open", func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Ongoing", "Dead"} })
		list("states that do not exist", func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"ongoing", "Empty", "x", "x"} })
		list("only states that do not exist", func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"x"} })
		list("longer than a minute", func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 60_000 })
		list("longer than nothing", func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis, r.StateFilters = 0, []string{"Ongoing"} })
		if v < 2 {
			continue
		}
		for _, p := range []string{pattern, "", "open", ".*open", "(", "a)(b", b.prefix + "(open|empty)"} {
			list("pattern", func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = &p })
		}
	}
	b.do("producers of what is not there", producersRequest(b.prefix+"none", 0, 1))
	b.do("producers of a name that cannot be", producersRequest("no such/topic", 0))
	b.do("producers of partitions that are not there", producersRequest(topic, 0, 7, -1))
	b.ask(open.end(5, false))
	b.ended(open)
}
