package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// create makes a topic with the prefix; configs are pairs of name and value. It
// returns the name and the id.
func (b *broker) create(name string, partitions int32, configs ...string) (string, [16]byte) {
	name = b.prefix + name
	r := kmsg.NewPtrCreateTopicsRequest()
	r.SetVersion(7)
	r.TimeoutMillis = 10_000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		t.Configs = append(t.Configs, c)
	}
	r.Topics = append(r.Topics, t)
	resp, _ := b.ask(r).(*kmsg.CreateTopicsResponse)
	if resp == nil {
		return name, [16]byte{}
	}
	id := resp.Topics[0].TopicID
	b.ids[id] = name
	b.await(name, int(partitions))
	return name, id
}

// await waits until a topic has n partitions with leaders, since Kafka's
// metadata reaches its broker after the answer; n 0 waits for its end.
func (b *broker) await(name string, n int) {
	for range 200 {
		r := kmsg.NewPtrMetadataRequest()
		r.SetVersion(12)
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		r.Topics = append(r.Topics, t)
		resp, _ := b.ask(r).(*kmsg.MetadataResponse)
		if resp == nil || len(resp.Topics) != 1 {
			return
		}
		got := resp.Topics[0]
		led := 0
		for _, p := range got.Partitions {
			if p.Leader >= 0 {
				led++
			}
		}
		if n == 0 && got.ErrorCode != 0 || n > 0 && led == n {
			if n > 0 {
				b.ids[got.TopicID] = name
				b.settle(name, n)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// settle waits until the partitions answer ListOffsets: a new leader knows its
// log a moment after the metadata names it.
func (b *broker) settle(name string, n int) {
	for range 200 {
		r := kmsg.NewPtrListOffsetsRequest()
		r.SetVersion(7)
		r.ReplicaID = -1
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		for i := range n {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp, p.CurrentLeaderEpoch = int32(i), -1, -1
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
		resp, _ := b.ask(r).(*kmsg.ListOffsetsResponse)
		if resp == nil {
			return
		}
		ok := true
		for _, p := range resp.Topics[0].Partitions {
			ok = ok && p.ErrorCode == 0
		}
		if ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// append produces batches to partition 0 and 1... of a topic, one each.
func (b *broker) append(topic string, partition int32, batches ...[]byte) {
	for _, p := range batches {
		b.ask(produceRequest(9, -1, topic, [16]byte{}, partition, p))
	}
}

func produceRequest(version, acks int16, topic string, id [16]byte, partition int32, records []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(version)
	r.Acks, r.TimeoutMillis = acks, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

func ptr[T any](v T) *T { return &v }
