package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// fetchRequest is a fetch of one partition outside any session.
func fetchRequest(version int16, topic string, id [16]byte, partition int32, offset int64) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(version)
	r.ReplicaID = -1
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = 0, 1, 1<<20
	r.SessionID, r.SessionEpoch = 0, -1
	r.Topics = []kmsg.FetchRequestTopic{fetchTopic(topic, id, fetchPartition(partition, offset))}
	return r
}

func fetchTopic(topic string, id [16]byte, partitions ...kmsg.FetchRequestTopicPartition) kmsg.FetchRequestTopic {
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID, t.Partitions = topic, id, partitions
	return t
}

func fetchPartition(partition int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = partition, offset, 1<<20, -1, -1
	return p
}

func fetchCases(b *broker) {
	topic, id := b.create("f", 3)
	empty, emptyID := b.create("e", 1)
	for range 5 {
		b.append(topic, 0, records(10))
	}
	b.append(topic, 1, records(2))
	cut, cutID := b.create("cut", 1)
	b.append(cut, 0, records(5), records(5))
	d := kmsg.NewPtrDeleteRecordsRequest()
	d.SetVersion(1)
	d.TimeoutMillis = 10_000
	dt := kmsg.NewDeleteRecordsRequestTopic()
	dp := kmsg.NewDeleteRecordsRequestTopicPartition()
	dp.Offset = 7
	dt.Topic, dt.Partitions = cut, append(dt.Partitions, dp)
	d.Topics = append(d.Topics, dt)
	b.ask(d)
	for v := int16(4); v <= 18; v++ {
		one := func(label string, offset int64, f func(*kmsg.FetchRequest)) {
			r := fetchRequest(v, topic, id, 0, offset)
			if f != nil {
				f(r)
			}
			b.do(label, r)
		}
		for _, o := range []int64{0, 5, 10, 49, 50, 51, 1000, -1, -2, 1<<63 - 1} {
			one(fmt.Sprintf("offset %d", o), o, nil)
			one(fmt.Sprintf("offset %d committed", o), o, func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 })
		}
		b.do("empty", fetchRequest(v, empty, emptyID, 0, 0))
		b.do("empty, offset 1", fetchRequest(v, empty, emptyID, 0, 1))
		for _, o := range []int64{0, 4, 6, 7, 9, 10} {
			b.do(fmt.Sprintf("cut, offset %d", o), fetchRequest(v, cut, cutID, 0, o))
		}
		b.do("unknown partition", fetchRequest(v, topic, id, 7, 0))
		b.do("negative partition", fetchRequest(v, topic, id, -1, 0))
		b.do("unknown topic", fetchRequest(v, b.prefix+"missing", [16]byte{1, 2}, 0, 0))
		b.do("zero id", fetchRequest(v, b.prefix+"missing", [16]byte{}, 0, 0))
		b.do("bad name", fetchRequest(v, "a b", [16]byte{1, 2}, 0, 0))
		for _, e := range []int32{-1, 0, 1, 5, -2} {
			one(fmt.Sprintf("leader epoch %d", e), 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = e })
			one(fmt.Sprintf("last fetched epoch %d", e), 10, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].LastFetchedEpoch = e })
			one(fmt.Sprintf("last fetched epoch %d at the end", e), 50, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].LastFetchedEpoch = e })
		}
		for _, n := range []int32{0, 1, 61, 500, -1} {
			one(fmt.Sprintf("max bytes %d", n), 0, func(r *kmsg.FetchRequest) { r.MaxBytes = n })
			one(fmt.Sprintf("partition max bytes %d", n), 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = n })
		}
		one("min bytes 0", 50, func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxWaitMillis = 0, 2000 })
		one("min bytes negative", 50, func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxWaitMillis = -1, 2000 })
		one("wait negative", 50, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = -1 })
		one("isolation level 2", 0, func(r *kmsg.FetchRequest) { r.IsolationLevel = 2 })
		one("rack", 0, func(r *kmsg.FetchRequest) { r.Rack = "somewhere" })
		one("no topics", 0, func(r *kmsg.FetchRequest) { r.Topics = nil })
		one("no topics, waiting", 0, func(r *kmsg.FetchRequest) { r.Topics, r.MaxWaitMillis = nil, 100 })
		one("no partitions", 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions = nil })
		one("three partitions", 0, func(r *kmsg.FetchRequest) {
			r.Topics[0].Partitions = []kmsg.FetchRequestTopicPartition{fetchPartition(2, 0), fetchPartition(0, 40), fetchPartition(1, 0), fetchPartition(9, 0)}
		})
		one("three partitions, small", 0, func(r *kmsg.FetchRequest) {
			r.MaxBytes = 100
			r.Topics[0].Partitions = []kmsg.FetchRequestTopicPartition{fetchPartition(2, 0), fetchPartition(0, 0), fetchPartition(1, 0)}
		})
		one("one partition twice", 0, func(r *kmsg.FetchRequest) {
			r.Topics[0].Partitions = []kmsg.FetchRequestTopicPartition{fetchPartition(0, 0), fetchPartition(0, 40)}
		})
		one("one topic twice", 0, func(r *kmsg.FetchRequest) {
			r.Topics = []kmsg.FetchRequestTopic{fetchTopic(topic, id, fetchPartition(0, 40)), fetchTopic(topic, id, fetchPartition(1, 0))}
		})
		one("two topics", 0, func(r *kmsg.FetchRequest) {
			r.Topics = append(r.Topics, fetchTopic(empty, emptyID, fetchPartition(0, 0)), fetchTopic(b.prefix+"missing", [16]byte{8}, fetchPartition(0, 0)))
		})
		// How long it waits is part of the answer.
		took := func(label string, wait int32, min int32, offset int64, f func(*kmsg.FetchRequest)) {
			r := fetchRequest(v, topic, id, 0, offset)
			r.MaxWaitMillis, r.MinBytes = wait, min
			if f != nil {
				f(r)
			}
			from := time.Now()
			b.ask(r)
			b.said(label, v, fmt.Sprintf("waited: %v", time.Since(from) > time.Duration(wait)*time.Millisecond*9/10))
		}
		took("waits at the end", 60, 1, 50, nil)
		took("does not wait for data", 500, 1, 0, nil)
		took("waits for more", 60, 1<<19, 0, nil)
		took("does not wait out of range", 500, 1, 99, nil)
		took("does not wait for an unknown partition", 500, 1, 50, func(r *kmsg.FetchRequest) {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, fetchPartition(9, 0))
		})
		took("does not wait with min bytes 0", 500, 0, 50, nil)
		took("min bytes beyond max bytes", 60, 1<<30, 0, func(r *kmsg.FetchRequest) { r.MaxBytes = 100 })
	}
}

func sessions(b *broker) {
	for v := int16(7); v <= 18; v++ {
		topic, id := b.create(fmt.Sprint("s", v), 4)
		other, otherID := b.create(fmt.Sprint("o", v), 1)
		b.append(topic, 0, records(3))
		in := func(session, epoch int32, topics ...kmsg.FetchRequestTopic) *kmsg.FetchRequest {
			r := fetchRequest(v, topic, id, 0, 0)
			r.SessionID, r.SessionEpoch, r.Topics = session, epoch, topics
			return r
		}
		session := func(label string, r *kmsg.FetchRequest) int32 {
			if resp, ok := b.do(label, r).(*kmsg.FetchResponse); ok {
				return resp.SessionID
			}
			return 0
		}
		of := func(p int32, offset int64) kmsg.FetchRequestTopic {
			return fetchTopic(topic, id, fetchPartition(p, offset))
		}
		s := session("full", in(0, 0, fetchTopic(topic, id, fetchPartition(0, 0), fetchPartition(1, 0), fetchPartition(2, 0)), fetchTopic(other, otherID, fetchPartition(0, 0))))
		session("incremental, data is there", in(s, 1))
		session("moved on", in(s, 2, of(0, 3)))
		session("nothing new", in(s, 3))
		b.append(topic, 1, records(2))
		session("new data elsewhere", in(s, 4))
		session("data again", in(s, 5))
		session("moved on there", in(s, 6, of(1, 2)))
		session("another partition", in(s, 7, of(3, 0)))
		session("nothing new again", in(s, 8))
		session("out of range", in(s, 9, of(2, 99)))
		session("still out of range", in(s, 10))
		session("in range again", in(s, 11, of(2, 0)))
		session("in range again, nothing new", in(s, 12))
		session("unknown partition", in(s, 13, of(8, 0)))
		session("unknown partition still", in(s, 14))
		forget := in(s, 15)
		ft := kmsg.NewFetchRequestForgottenTopic()
		ft.Topic, ft.TopicID, ft.Partitions = topic, id, []int32{8, 3}
		forget.ForgottenTopics = append(forget.ForgottenTopics, ft)
		session("forgotten", forget)
		unknown := in(s, 16)
		ft.Topic, ft.TopicID, ft.Partitions = b.prefix+"missing", [16]byte{4}, []int32{0}
		unknown.ForgottenTopics = append(unknown.ForgottenTopics, ft)
		session("forgotten and unknown", unknown)
		session("unknown topic", in(s, 17, fetchTopic(b.prefix+"missing", [16]byte{5}, fetchPartition(0, 0))))
		session("unknown topic still", in(s, 18))
		session("epoch too high", in(s, 25))
		session("epoch too low", in(s, 3))
		session("after wrong epochs", in(s, 19))
		session("unknown session", in(s+1, 1))
		session("session 0, epoch 1", in(0, 1))
		session("session -1, epoch 1", in(-1, 1))
		session("negative epoch", in(s, -2))
		session("after strange ones", in(s, 20))
		// Ids and names do not mix.
		mixed := in(s, 21)
		if v >= 13 {
			mixed.SetVersion(12)
		} else {
			mixed.SetVersion(13)
		}
		resp, err := func() (kmsg.Response, error) {
			if err := b.send(mixed); err != nil {
				return nil, err
			}
			return b.receive(mixed)
		}()
		b.note("ids and names", v, resp, err)
		session("after mixing", in(s, 21))
		session("after mixing, next", in(s, 22))
		again := session("full within the session", in(s, 0, of(0, 0)))
		session("the old session", in(s, 23))
		session("the new session", in(again, 1))
		session("closed", in(again, -1, of(0, 0)))
		session("after the close", in(again, 2))
		session("full and empty", in(0, 0))
		session("final and empty", in(0, -1))
		final := session("final", in(0, -1, of(0, 0)))
		b.said("final session", v, fmt.Sprint(final))
		e := session("full with an error", in(0, 0, of(9, 0)))
		session("error again", in(e, 1))
		all := in(e, 2)
		ft.Topic, ft.TopicID, ft.Partitions = topic, id, []int32{9}
		all.ForgottenTopics = append(all.ForgottenTopics, ft)
		b.said("all forgotten", v, fmt.Sprint(session("all forgotten", all) == 0))
		session("after all forgotten", in(e, 3))
		// A topic deleted and made again under a session.
		if v == 12 || v == 13 {
			x := session("of a topic to be deleted", in(0, 0, fetchTopic(other, otherID, fetchPartition(0, 0))))
			del := kmsg.NewPtrDeleteTopicsRequest()
			del.SetVersion(5)
			del.TimeoutMillis = 10_000
			del.TopicNames = []string{other}
			b.ask(del)
			b.await(other, 0)
			session("deleted", in(x, 1))
			b.create(fmt.Sprint("o", v), 1)
			session("made again", in(x, 2))
		}
	}
}

func listOffsets(b *broker) {
	topic, _ := b.create("l", 3)
	at := func(times ...int64) []byte {
		x := batch.NewBuilder(codec.None)
		for _, t := range times {
			x.Append(now+t, []byte("k"), nil)
		}
		return x.Bytes()
	}
	b.append(topic, 0, at(10, 20, 30), at(25, 90, 40), at(35), at(90, 5))
	b.append(topic, 1, batch.NewBuilder(codec.Gzip).Append(now+1, nil, nil).Append(now+9, nil, nil).Append(now+3, nil, nil).Bytes())
	stamped, _ := b.create("stamped", 1, "message.timestamp.type", "LogAppendTime")
	b.append(stamped, 0, at(1, 2), at(3))
	for v := int16(1); v <= 11; v++ {
		send := func(label, topic string, partition, epoch int32, timestamp int64, isolation int8) {
			r := kmsg.NewPtrListOffsetsRequest()
			r.SetVersion(v)
			r.ReplicaID, r.IsolationLevel, r.TimeoutMillis = -1, isolation, 1000
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = topic
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.Timestamp = partition, epoch, timestamp
			t.Partitions = append(t.Partitions, p)
			r.Topics = append(r.Topics, t)
			b.do(label, r)
		}
		for _, level := range []int8{0, 1, 2} {
			for _, ts := range []int64{-1, -2, -3, -4, -5, -6, -7, -100, -1 << 63} {
				send(fmt.Sprintf("timestamp %d isolation %d", ts, level), topic, 0, -1, ts, level)
				send(fmt.Sprintf("timestamp %d isolation %d, empty", ts, level), topic, 2, -1, ts, level)
			}
			for _, d := range []int64{-1000, 10, 11, 20, 26, 30, 31, 41, 90, 91, 1 << 40} {
				send(fmt.Sprintf("now%+d isolation %d", d, level), topic, 0, -1, now+d, level)
			}
		}
		for _, d := range []int64{0, 1, 2, 5, 9, 10} {
			send(fmt.Sprintf("gzip now%+d", d), topic, 1, -1, now+d, 0)
		}
		send("gzip largest", topic, 1, -1, -3, 0)
		send("gzip latest", topic, 1, -1, -1, 0)
		send("zero", topic, 0, -1, 0, 0)
		send("empty, zero", topic, 2, -1, 0, 0)
		send("stamped, zero", stamped, 0, -1, -1, 0)
		for _, e := range []int32{-1, 0, 1, 7, -2} {
			send(fmt.Sprintf("leader epoch %d", e), topic, 0, e, -1, 0)
		}
		send("unknown partition", topic, 7, -1, -1, 0)
		send("negative partition", topic, -1, -1, -1, 0)
		send("unknown topic", b.prefix+"missing", 0, -1, -1, 0)
		send("unknown topic, bad timestamp", b.prefix+"missing", 0, -1, -99, 0)
		send("bad name", "a b", 0, -1, -1, 0)
		r := kmsg.NewPtrListOffsetsRequest()
		r.SetVersion(v)
		r.ReplicaID = -1
		b.do("nothing", r)
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for _, i := range []int32{0, 1, 0} {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.Timestamp = i, -1, -1
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
		b.do("one partition twice", r)
		r.Topics = []kmsg.ListOffsetsRequestTopic{t, t}
		r.Topics[0].Partitions, r.Topics[1].Partitions = t.Partitions[:1], t.Partitions[1:2]
		b.do("one topic twice", r)
		r.Topics = r.Topics[:1]
		r.ReplicaID = 1
		b.do("as a broker", r)
		r.ReplicaID = -2
		b.do("as a debugger", r)
	}
}

func offsetForLeaderEpoch(b *broker) {
	topic, _ := b.create("e", 2)
	b.append(topic, 0, records(5))
	for v := int16(2); v <= 4; v++ {
		send := func(label, topic string, partition, current, epoch, replica int32) {
			r := kmsg.NewPtrOffsetForLeaderEpochRequest()
			r.SetVersion(v)
			r.ReplicaID = replica
			t := kmsg.NewOffsetForLeaderEpochRequestTopic()
			t.Topic = topic
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = partition, current, epoch
			t.Partitions = append(t.Partitions, p)
			r.Topics = append(r.Topics, t)
			b.do(label, r)
		}
		for _, e := range []int32{-2, -1, 0, 1, 5} {
			send(fmt.Sprintf("epoch %d", e), topic, 0, -1, e, -1)
			send(fmt.Sprintf("epoch %d, empty partition", e), topic, 1, -1, e, -1)
			send(fmt.Sprintf("current epoch %d", e), topic, 0, e, 0, -1)
			send(fmt.Sprintf("both epochs %d", e), topic, 0, e, e, -1)
		}
		send("unknown partition", topic, 5, -1, 0, -1)
		send("unknown topic", b.prefix+"missing", 0, -1, 0, -1)
		send("bad name", "a b", 0, -1, 0, -1)
		send("as a broker", topic, 0, -1, 0, 1)
		send("as a debugger", topic, 0, -1, 0, -2)
		r := kmsg.NewPtrOffsetForLeaderEpochRequest()
		r.SetVersion(v)
		b.do("nothing", r)
	}
}
