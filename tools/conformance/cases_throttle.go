package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// throttling looks at pauses: told ones to the second, and whether the
// connection is muted for as long.
func throttling(b *broker) {
	topic, _ := b.create("t", 1)
	id := b.prefix + "slow"
	quota := func(key string, value float64) {
		r := kmsg.NewPtrAlterClientQuotasRequest()
		r.SetVersion(1)
		e := kmsg.NewAlterClientQuotasRequestEntry()
		x := kmsg.NewAlterClientQuotasRequestEntryEntity()
		x.Type, x.Name = "client-id", &id
		e.Entity = append(e.Entity, x)
		o := kmsg.NewAlterClientQuotasRequestEntryOp()
		o.Key, o.Value, o.Remove = key, value, value == 0
		e.Ops = append(e.Ops, o)
		r.Entries = append(r.Entries, e)
		b.ask(r)
		b.settleConfigs()
	}
	// slow asks as the client with the quota, on a connection of its own.
	slow := func(label string, r kmsg.Request) {
		c := newClient(b.addr)
		c.format = kmsg.NewRequestFormatter(kmsg.FormatterClientID(id))
		defer c.close()
		if err := c.send(r); err != nil {
			b.note(label, r.GetVersion(), nil, err)
			return
		}
		resp, err := c.receive(r)
		b.note(label, r.GetVersion(), resp, err)
		if t, ok := resp.(kmsg.ThrottleResponse); ok {
			ms, _ := t.Throttle()
			b.said(label+" pauses", r.GetVersion(), fmt.Sprintf("about %.0f s", math.Round(float64(ms)/1000)))
		}
	}
	create := func(version int16, name string, partitions int32) kmsg.Request {
		r := kmsg.NewPtrCreateTopicsRequest()
		r.SetVersion(version)
		r.TimeoutMillis = 10_000
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = b.prefix+name, partitions, 1
		r.Topics = append(r.Topics, t)
		return r
	}
	quota("controller_mutation_rate", 1)
	slow("more topics than the bucket holds", create(7, "a", 15))
	slow("beyond a strict quota", create(7, "b", 1))
	slow("beyond a lax quota", create(5, "c", 1))
	remove := kmsg.NewPtrDeleteTopicsRequest()
	remove.SetVersion(5)
	remove.TimeoutMillis, remove.TopicNames = 10_000, []string{b.prefix + "a", b.prefix + "missing"}
	slow("delete beyond the quota", remove)
	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.SetVersion(3)
	grow.TimeoutMillis = 10_000
	for _, name := range []string{"a", "missing"} {
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = b.prefix+name, 20
		grow.Topics = append(grow.Topics, t)
	}
	slow("grow beyond the quota", grow)
	dry := create(7, "d", 1).(*kmsg.CreateTopicsRequest)
	dry.ValidateOnly = true
	slow("dry run beyond the quota", dry)
	quota("controller_mutation_rate", 0)

	big := batch.NewBuilder(codec.None)
	big.Append(time.Now().UnixMilli(), nil, []byte(strings.Repeat("x", 20_000)))
	quota("producer_byte_rate", 1000)
	slow("produce within the quota", produceRequest(9, -1, topic, [16]byte{}, 0, singleRecord("small")))
	slow("produce beyond the quota", produceRequest(9, -1, topic, [16]byte{}, 0, big.Bytes()))
	quota("producer_byte_rate", 0)
	fetch := func() kmsg.Request {
		r := kmsg.NewPtrFetchRequest()
		r.SetVersion(11)
		r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.SessionEpoch = 0, 1, 10<<20, -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic = topic
		p := kmsg.NewFetchRequestTopicPartition()
		p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch = 1, 10<<20, -1, -1
		t.Partitions = append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
		return r
	}
	quota("consumer_byte_rate", 1000)
	slow("fetch a batch that is larger than the quota", fetch())
	slow("fetch beyond the quota", fetch())
	quota("consumer_byte_rate", 0)
}

func singleRecord(value string) []byte {
	p := batch.NewBuilder(codec.None)
	p.Append(time.Now().UnixMilli(), nil, []byte(value))
	return p.Bytes()
}
