package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// recordFrames writes requests whose answers are the same on every broker, and the
// answers of one, as lines of key, version, request body and response body in
// hexadecimal. Tests compare them byte by byte.
func recordFrames(addr, path string) error {
	var out bytes.Buffer
	b := newBroker(addr, "")
	defer b.close()
	for _, r := range steady() {
		first := int16(0)
		switch r.Key() {
		case 0:
			first = 3
		case 1:
			first = 4
		case 2, 20, 32, 35:
			first = 1
		case 19, 23:
			first = 2
		}
		for v := first; v <= min(r.MaxVersion(), mostVersion(r.Key())); v++ {
			r.SetVersion(v)
			if err := b.send(r); err != nil {
				return err
			}
			body, err := b.frame()
			if err != nil {
				return fmt.Errorf("%T version %d: %w", r, v, err)
			}
			body = body[4:]
			if r.IsFlexible() && r.Key() != kmsg.ApiVersions.Int16() {
				body = body[1:]
			}
			fmt.Fprintf(&out, "%d %d %s %s\n", r.Key(), v, hex.EncodeToString(r.AppendTo(nil)), hex.EncodeToString(body))
		}
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// mostVersion is the highest version Kafka 4.3 serves where kmsg knows more.
func mostVersion(key int16) int16 {
	if key == kmsg.ApiVersions.Int16() {
		return 4
	}
	return 100
}

// steady are requests about what no broker has.
func steady() []kmsg.Request {
	const name = "no-such-topic"
	id := [16]byte{0xaa, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	produce := produceRequest(3, 1, name, id, 0, records(1))
	fetch := fetchRequest(4, name, id, 3, 7)
	offsets := kmsg.NewPtrListOffsetsRequest()
	ot := kmsg.NewListOffsetsRequestTopic()
	op := kmsg.NewListOffsetsRequestTopicPartition()
	op.Timestamp, op.CurrentLeaderEpoch = -1, -1
	ot.Topic, ot.Partitions = name, append(ot.Partitions, op)
	offsets.ReplicaID, offsets.Topics = -1, append(offsets.Topics, ot)
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.ClientSoftwareName = "-"
	remove := kmsg.NewPtrDeleteTopicsRequest()
	dt := kmsg.NewDeleteTopicsRequestTopic()
	dt.Topic = ptr(name)
	remove.TopicNames, remove.Topics = []string{name}, append(remove.Topics, dt)
	cut := kmsg.NewPtrDeleteRecordsRequest()
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic, rt.Partitions = name, append(rt.Partitions, kmsg.NewDeleteRecordsRequestTopicPartition())
	cut.Topics = append(cut.Topics, rt)
	producer := kmsg.NewPtrInitProducerIDRequest()
	producer.TransactionalID, producer.ProducerID, producer.ProducerEpoch = ptr(""), -1, -1
	epochs := kmsg.NewPtrOffsetForLeaderEpochRequest()
	et := kmsg.NewOffsetForLeaderEpochRequestTopic()
	ep := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	ep.CurrentLeaderEpoch = -1
	et.Topic, et.Partitions = name, append(et.Partitions, ep)
	epochs.ReplicaID, epochs.Topics = -1, append(epochs.Topics, et)
	partitions := kmsg.NewPtrDescribeTopicPartitionsRequest()
	pt := kmsg.NewDescribeTopicPartitionsRequestTopic()
	pt.Topic = name
	partitions.ResponsePartitionLimit, partitions.Topics = 10, append(partitions.Topics, pt)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Topics = []kmsg.CreateTopicsRequestTopic{newTopic("a b", 1, 1), newTopic("x", 0, 1), newTopic("y", 1, 0), newTopic("z", 1, 2)}
	create.ValidateOnly = true
	configs := kmsg.NewPtrDescribeConfigsRequest()
	cr := kmsg.NewDescribeConfigsRequestResource()
	cr.ResourceType, cr.ConfigNames = brokerResource, []string{name}
	configs.Resources = append(configs.Resources, cr)
	return []kmsg.Request{produce, fetch, offsets, create, remove, cut, producer, epochs, configs,
		kmsg.NewPtrAlterConfigsRequest(), kmsg.NewPtrCreatePartitionsRequest(), kmsg.NewPtrIncrementalAlterConfigsRequest(), partitions}
}
