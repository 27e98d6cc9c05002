package main

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// newTopic is a topic of a CreateTopics request.
func newTopic(name string, partitions int32, factor int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name = configs[i]
		if configs[i+1] != "<null>" {
			c.Value = &configs[i+1]
		}
		t.Configs = append(t.Configs, c)
	}
	return t
}

func assigned(t kmsg.CreateTopicsRequestTopic, replicas ...[]int32) kmsg.CreateTopicsRequestTopic {
	for i, r := range replicas {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), r
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	return t
}

func createTopics(b *broker) {
	taken, _ := b.create("taken", 1)
	dotted, _ := b.create("dot.dot", 1)
	for v := int16(2); v <= 7; v++ {
		n := 0
		send := func(label string, validate bool, topics ...kmsg.CreateTopicsRequestTopic) {
			r := kmsg.NewPtrCreateTopicsRequest()
			r.SetVersion(v)
			r.TimeoutMillis, r.ValidateOnly, r.Topics = 10_000, validate, topics
			b.do(label, r)
			if label == "created" {
				for _, t := range topics {
					b.await(t.Topic, int(t.NumPartitions))
				}
			}
		}
		name := func() string { n++; return fmt.Sprintf("%s%d-%d", b.prefix, v, n) }
		one := func(label string, t kmsg.CreateTopicsRequestTopic) { send(label, true, t) }
		send("nothing", false)
		send("created", false, newTopic(name(), 2, 1))
		send("created", false, newTopic(name(), 1, 1, "retention.ms", "1000", "cleanup.policy", "compact"))
		one("defaults", newTopic(name(), -1, -1))
		for _, bad := range []string{"", ".", "..", "a b", "a/b", "é", strings.Repeat("x", 249), strings.Repeat("x", 250), "__consumer_offsets", "__cluster_metadata"} {
			one(fmt.Sprintf("name %.10q of %d", bad, len(bad)), newTopic(bad, 1, 1))
		}
		one("exists", newTopic(taken, 1, 1))
		one("exists and wrong", newTopic(taken, 0, 5))
		one("collides", newTopic(strings.ReplaceAll(dotted, ".", "_"), 1, 1))
		twice := name()
		send("twice", true, newTopic(twice, 1, 1), newTopic(twice, 2, 1), newTopic(name(), 1, 1))
		for _, p := range []int32{0, -2, -100, 10_001} {
			one(fmt.Sprintf("%d partitions", p), newTopic(name(), p, 1))
		}
		for _, f := range []int16{0, -2, 2, 3, 32767} {
			one(fmt.Sprintf("replication factor %d", f), newTopic(name(), 1, f))
		}
		one("both wrong", newTopic(name(), 0, 0))
		one("assignment", assigned(newTopic(name(), -1, -1), []int32{1}, []int32{1}))
		one("assignment and partitions", assigned(newTopic(name(), 1, -1), []int32{1}))
		one("assignment and factor", assigned(newTopic(name(), -1, 1), []int32{1}))
		one("assignment to nobody", assigned(newTopic(name(), -1, -1), []int32{}))
		one("assignment to another", assigned(newTopic(name(), -1, -1), []int32{2}))
		one("assignment twice to one", assigned(newTopic(name(), -1, -1), []int32{1, 1}))
		one("assignments unlike", assigned(newTopic(name(), -1, -1), []int32{1}, []int32{1, 2}))
		gap := assigned(newTopic(name(), -1, -1), []int32{1}, []int32{1})
		gap.ReplicaAssignment[1].Partition = 5
		one("assignment with a gap", gap)
		same := assigned(newTopic(name(), -1, -1), []int32{1}, []int32{1})
		same.ReplicaAssignment[1].Partition = 0
		one("assignment of one partition twice", same)
		for _, c := range badConfigs {
			one("config "+c[0]+"="+c[1], newTopic(name(), 1, 1, c[0], c[1]))
		}
		one("good configs", newTopic(name(), 1, 1, "segment.bytes", "1048576", "retention.ms", "-1", "compression.type", "zstd",
			"min.insync.replicas", "1", "message.timestamp.type", "LogAppendTime", "cleanup.policy", "compact,delete"))
		one("a config twice", newTopic(name(), 1, 1, "retention.ms", "1000", "retention.ms", "2000"))
		send("good and bad", true, newTopic(name(), 1, 1), newTopic(name(), 1, 9), newTopic("a b", 1, 1))
	}
}

// badConfigs are topic configs at the edges of what is allowed.
var badConfigs = [][2]string{
	{"no.such.config", "1"}, {"", "1"}, {"retention.ms", "<null>"}, {"retention.ms", ""}, {"retention.ms", "abc"}, {"retention.ms", "-2"},
	{"retention.ms", "99999999999999999999"}, {"retention.ms", " 1000 "}, {"retention.bytes", "-2"}, {"segment.bytes", "13"}, {"segment.bytes", "1048575"},
	{"segment.bytes", "2147483648"}, {"segment.ms", "0"}, {"cleanup.policy", "none"}, {"cleanup.policy", ""}, {"cleanup.policy", "compact,"},
	{"cleanup.policy", "delete,delete"}, {"cleanup.policy", "Delete"}, {"compression.type", "brotli"}, {"compression.type", "GZIP"},
	{"compression.gzip.level", "10"}, {"compression.gzip.level", "0"}, {"compression.lz4.level", "18"}, {"compression.zstd.level", "99"},
	{"max.message.bytes", "-1"}, {"message.timestamp.type", "Other"}, {"message.timestamp.after.max.ms", "-1"}, {"min.cleanable.dirty.ratio", "1.5"},
	{"min.cleanable.dirty.ratio", "x"}, {"min.insync.replicas", "0"}, {"preallocate", "yes"}, {"preallocate", "TRUE"}, {"unclean.leader.election.enable", "1"},
	{"index.interval.bytes", "-1"}, {"segment.index.bytes", "3"}, {"flush.messages", "0"}, {"flush.ms", "-1"}, {"file.delete.delay.ms", "-1"},
	{"delete.retention.ms", "-1"}, {"min.compaction.lag.ms", "-1"}, {"max.compaction.lag.ms", "0"}, {"remote.storage.enable", "true"},
	{"local.retention.ms", "-3"}, {"local.retention.ms", "99999999999"}, {"leader.replication.throttled.replicas", "1:1"}, {"leader.replication.throttled.replicas", "x"},
	{"message.format.version", "3.0"}, {"message.downconversion.enable", "true"},
}

func deleteTopics(b *broker) {
	for v := int16(1); v <= 6; v++ {
		first, id := b.create(fmt.Sprintf("a%d", v), 1)
		second, _ := b.create(fmt.Sprintf("b%d", v), 1)
		third, idThird := b.create(fmt.Sprintf("c%d", v), 1)
		send := func(label string, topics ...any) {
			r := kmsg.NewPtrDeleteTopicsRequest()
			r.SetVersion(v)
			r.TimeoutMillis = 10_000
			for _, t := range topics {
				d := kmsg.NewDeleteTopicsRequestTopic()
				switch x := t.(type) {
				case string:
					r.TopicNames = append(r.TopicNames, x)
					d.Topic = &x
				case [16]byte:
					d.TopicID = x
				case kmsg.DeleteTopicsRequestTopic:
					d = x
				}
				r.Topics = append(r.Topics, d)
			}
			b.do(label, r)
		}
		send("nothing")
		send("unknown", b.prefix+"missing")
		send("bad name", "a b")
		send("empty name", "")
		send("twice", first, first, b.prefix+"missing")
		if v >= 6 {
			send("unknown id", [16]byte{1, 2, 3})
			send("zero id", [16]byte{})
			send("name and id", kmsg.DeleteTopicsRequestTopic{Topic: &first, TopicID: id})
			send("id twice", id, id)
			send("name and id apart", first, id)
			send("by id", idThird)
		} else {
			send("third", third)
		}
		send("one known, one not", second, b.prefix+"missing")
		b.await(second, 0)
		send("gone", second)
		_, _ = b.create(fmt.Sprintf("b%d", v), 1)
	}
}

func createPartitions(b *broker) {
	for v := int16(0); v <= 3; v++ {
		name, _ := b.create(fmt.Sprintf("p%d", v), 2)
		send := func(label string, validate bool, counts []int32, names []string, assignments ...[]int32) {
			r := kmsg.NewPtrCreatePartitionsRequest()
			r.SetVersion(v)
			r.TimeoutMillis, r.ValidateOnly = 10_000, validate
			for i, n := range names {
				t := kmsg.NewCreatePartitionsRequestTopic()
				t.Topic, t.Count = n, counts[i]
				for _, a := range assignments {
					x := kmsg.NewCreatePartitionsRequestTopicAssignment()
					x.Replicas = a
					t.Assignment = append(t.Assignment, x)
				}
				r.Topics = append(r.Topics, t)
			}
			b.do(label, r)
		}
		one := func(label string, count int32, assignments ...[]int32) {
			send(label, true, []int32{count}, []string{name}, assignments...)
		}
		send("nothing", false, nil, nil)
		for _, n := range []int32{-1, 0, 1, 2, 3, 10_003} {
			one(fmt.Sprintf("to %d", n), n)
		}
		send("unknown", true, []int32{5}, []string{b.prefix + "missing"})
		send("bad name", true, []int32{5}, []string{"a b"})
		send("empty name", true, []int32{5}, []string{""})
		send("twice", true, []int32{5, 6}, []string{name, name})
		one("assignment", 4, []int32{1}, []int32{1})
		one("assignment too short", 4, []int32{1})
		one("assignment too long", 3, []int32{1}, []int32{1})
		one("assignment to another", 3, []int32{7})
		one("assignment of two", 3, []int32{1, 2})
		one("assignment of one twice", 3, []int32{1, 1})
		one("assignment to nobody", 3, []int32{})
		send("done", false, []int32{4}, []string{name})
		b.await(name, 4)
	}
}

func deleteRecords(b *broker) {
	for v := int16(0); v <= 2; v++ {
		name, _ := b.create(fmt.Sprintf("d%d", v), 2)
		compacted, _ := b.create(fmt.Sprintf("c%d", v), 1, "cleanup.policy", "compact")
		both, _ := b.create(fmt.Sprintf("e%d", v), 1, "cleanup.policy", "compact,delete")
		neither, _ := b.create(fmt.Sprintf("f%d", v), 1, "cleanup.policy", "")
		for _, t := range []string{name, compacted, both, neither} {
			b.append(t, 0, records(10), records(10))
		}
		send := func(label, topic string, partitions []int32, offset int64) {
			r := kmsg.NewPtrDeleteRecordsRequest()
			r.SetVersion(v)
			r.TimeoutMillis = 10_000
			t := kmsg.NewDeleteRecordsRequestTopic()
			t.Topic = topic
			for _, p := range partitions {
				x := kmsg.NewDeleteRecordsRequestTopicPartition()
				x.Partition, x.Offset = p, offset
				t.Partitions = append(t.Partitions, x)
			}
			r.Topics = append(r.Topics, t)
			b.do(label, r)
		}
		empty := kmsg.NewPtrDeleteRecordsRequest()
		empty.SetVersion(v)
		b.do("nothing", empty)
		for _, o := range []int64{0, 5, 3, 5, 21, -2, -100, 20, -1, 0} {
			send(fmt.Sprintf("offset %d", o), name, []int32{0}, o)
			b.do("", fetchRequest(7, name, [16]byte{}, 0, 0))
		}
		send("empty partition", name, []int32{1}, -1)
		send("empty partition, offset 0", name, []int32{1}, 0)
		send("empty partition, offset 1", name, []int32{1}, 1)
		send("partitions known and not", name, []int32{0, 7, -1}, 20)
		send("twice", name, []int32{0, 0}, 20)
		send("unknown topic", b.prefix+"missing", []int32{0}, 0)
		send("bad name", "a b", []int32{0}, 0)
		send("compacted", compacted, []int32{0}, 5)
		send("compacted and deleted", both, []int32{0}, 5)
		send("neither", neither, []int32{0}, 5)
		send("compacted, unknown partition", compacted, []int32{3}, 5)
	}
}
