package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// cases lists everything, in the order it runs.
func cases() []testCase {
	return []testCase{
		{"apiversions", apiVersions},
		{"metadata", metadata},
		{"autocreate", autoCreate},
		{"cluster", describeCluster},
		{"topicpartitions", describeTopicPartitions},
		{"coordinator", findCoordinator},
		{"producerid", initProducerID},
		{"produce", produceCases},
		{"idempotence", idempotence},
		{"timestamps", timestamps},
		{"compression", compression},
		{"fetch", fetchCases},
		{"sessions", sessions},
		{"offsets", listOffsets},
		{"epochs", offsetForLeaderEpoch},
		{"createtopics", createTopics},
		{"deletetopics", deleteTopics},
		{"createpartitions", createPartitions},
		{"deleterecords", deleteRecords},
		{"describeconfigs", describeConfigs},
		{"incremental", incrementalAlterConfigs},
		{"alterconfigs", alterConfigs},
		{"logdirs", describeLogDirs},
		{"logmoves", alterReplicaLogDirs},
		{"elections", electLeaders},
		{"reassignments", reassignments},
		{"features", updateFeatures},
		{"quorum", describeQuorum},
		{"voters", raftVoters},
		{"configresources", listConfigResources},
		{"quotas", clientQuotas},
		{"throttling", throttling},
		{"scram", scramCredentials},
		{"groupconfigs", groupConfigs},
		{"clientmetrics", clientMetrics},
		{"coordinators", coordinators},
		{"commits", commits},
		{"classic", classicGroups},
		{"rebalances", rebalances},
		{"consumer", consumerGroups},
		{"transactioninit", transactionInit},
		{"transactions1", transactions1},
		{"transactions2", transactions2},
		{"transactionproduce", transactionProduce},
		{"transactionreads", transactionReads},
		{"transactionoffsets", transactionOffsets},
		{"transactionmarkers", transactionMarkers},
		{"transactionadmin", transactionAdmin},
		{"frames", frames},
	}
}

func apiVersions(b *broker) {
	fresh := func() *kmsg.ApiVersionsRequest {
		r := kmsg.NewPtrApiVersionsRequest()
		r.ClientSoftwareName, r.ClientSoftwareVersion = "conformance", "1.0"
		return r
	}
	for v := int16(0); v <= 4; v++ {
		r := fresh()
		r.SetVersion(v)
		b.do("plain", r)
	}
	for _, v := range []int16{5, 6, 1000, 32767, -1} {
		// Whatever the version, the answer is that of version 0.
		r := fresh()
		r.SetVersion(5)
		body := r.AppendTo(nil)
		r.SetVersion(v)
		if err := b.sendBody(r, body); err != nil {
			b.note("unknown version", v, nil, err)
			continue
		}
		r.SetVersion(0)
		resp, err := b.receive(r)
		b.note("unknown version", v, resp, err)
	}
	for _, name := range []string{"", "-a", "a-", "a b", "a.b-c", "é", "a_b", "a"} {
		for v := int16(3); v <= 4; v++ {
			r := fresh()
			r.SetVersion(v)
			r.ClientSoftwareName = name
			b.do(fmt.Sprintf("software name %q", name), r)
			r.ClientSoftwareName, r.ClientSoftwareVersion = "a", name
			b.do(fmt.Sprintf("software version %q", name), r)
		}
	}
	r := fresh()
	r.SetVersion(3)
	b.doBody("empty body of version 3", r, nil)
	b.doBody("bytes behind the message", r, append(r.AppendTo(nil), 1, 2, 3))
	r.SetVersion(0)
	b.doBody("bytes behind version 0", r, []byte{1, 2, 3})
}

func metadataTopic(name *string, id [16]byte) kmsg.MetadataRequestTopic {
	t := kmsg.NewMetadataRequestTopic()
	t.Topic, t.TopicID = name, id
	return t
}

func metadata(b *broker) {
	name, id := b.create("m", 3)
	other, _ := b.create("n", 1)
	for v := int16(0); v <= 13; v++ {
		fresh := func() *kmsg.MetadataRequest {
			r := kmsg.NewPtrMetadataRequest()
			r.SetVersion(v)
			r.Topics = []kmsg.MetadataRequestTopic{}
			return r
		}
		r := fresh()
		if v > 0 {
			b.do("none", r)
		}
		all := fresh()
		if v > 0 {
			all.Topics = nil
		}
		if resp, _ := b.ask(all).(*kmsg.MetadataResponse); resp != nil {
			found := 0
			for _, t := range resp.Topics {
				if t.Topic != nil && (*t.Topic == name || *t.Topic == other) {
					found++
				}
			}
			b.said("all topics", v, fmt.Sprint(found))
		}
		r = fresh()
		r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(&other, [16]byte{}), metadataTopic(&name, [16]byte{})}
		b.do("two topics", r)
		r = fresh()
		r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(&name, [16]byte{}), metadataTopic(&name, [16]byte{})}
		b.do("a topic twice", r)
		r.IncludeClusterAuthorizedOperations, r.IncludeTopicAuthorizedOperations = true, true
		b.do("authorized operations", r)
		r = fresh()
		for i, bad := range []string{"", ".", "..", "a b", "é", string(make([]byte, 250)), b.prefix + "missing", "__consumer_offsets"} {
			r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(&bad, [16]byte{}), metadataTopic(&name, [16]byte{})}
			if v < 4 && i >= 6 {
				continue // would be created
			}
			b.do(fmt.Sprintf("no such topic %d", i), r)
		}
		if v >= 10 {
			r = fresh()
			r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(nil, id)}
			b.do("by id", r)
			r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(nil, [16]byte{1, 2, 3})}
			b.do("by unknown id", r)
			r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(nil, [16]byte{})}
			b.do("by zero id", r)
			r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(&name, id)}
			b.do("by name and id", r)
			r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(&name, [16]byte{1, 2, 3})}
			b.do("by name and another id", r)
			r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(&name, [16]byte{}), metadataTopic(nil, id)}
			b.do("mixed", r)
			r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(nil, id), metadataTopic(nil, id)}
			b.do("an id twice", r)
		}
	}
}

func autoCreate(b *broker) {
	for v := int16(0); v <= 13; v++ {
		name := fmt.Sprintf("%sauto-%d", b.prefix, v)
		bad := "not a name"
		r := kmsg.NewPtrMetadataRequest()
		r.SetVersion(v)
		r.AllowAutoTopicCreation = true
		r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(&name, [16]byte{}), metadataTopic(&bad, [16]byte{})}
		b.do("first", r)
		b.await(name, 1)
		b.do("second", r)
		if v >= 4 {
			no := name + "-no"
			r.AllowAutoTopicCreation = false
			r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(&no, [16]byte{})}
			b.do("declined", r)
			b.do("declined again", r)
		}
	}
	// '.' and '_' collide.
	for _, name := range []string{b.prefix + "with.dot", b.prefix + "with_dot"} {
		r := kmsg.NewPtrMetadataRequest()
		r.SetVersion(9)
		r.AllowAutoTopicCreation = true
		r.Topics = []kmsg.MetadataRequestTopic{metadataTopic(&name, [16]byte{})}
		b.do("collision", r)
		if name[len(name)-4] == '.' {
			b.await(name, 1)
		}
	}
}

func describeCluster(b *broker) {
	for v := int16(0); v <= 2; v++ {
		r := kmsg.NewPtrDescribeClusterRequest()
		r.SetVersion(v)
		b.do("plain", r)
		r.IncludeClusterAuthorizedOperations = true
		b.do("authorized operations", r)
		for _, kind := range []int8{0, 1, 2, 3, -1} {
			r.EndpointType = kind
			if v >= 1 {
				b.do(fmt.Sprintf("endpoint type %d", kind), r)
			}
		}
		r.EndpointType = 1
		r.IncludeFencedBrokers = true
		b.do("fenced", r)
	}
}

func describeTopicPartitions(b *broker) {
	first, _ := b.create("a", 3)
	second, _ := b.create("b", 4)
	topic := func(name string) kmsg.DescribeTopicPartitionsRequestTopic {
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = name
		return t
	}
	ask := func(label string, limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, names ...string) {
		r := kmsg.NewPtrDescribeTopicPartitionsRequest()
		r.ResponsePartitionLimit = limit
		r.Cursor = cursor
		for _, n := range names {
			r.Topics = append(r.Topics, topic(n))
		}
		b.do(label, r)
	}
	at := func(topic string, partition int32) *kmsg.DescribeTopicPartitionsRequestCursor {
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic, c.Partition = topic, partition
		return &c
	}
	ask("both", 100, nil, second, first)
	ask("twice", 100, nil, first, first)
	ask("missing", 100, nil, b.prefix+"missing", first, "not a name", "")
	for _, limit := range []int32{-1, 0, 1, 2, 3, 4, 6, 7, 100_000} {
		ask(fmt.Sprintf("limit %d", limit), limit, nil, first, second)
		ask(fmt.Sprintf("limit %d with missing ones", limit), limit, nil, first, b.prefix+"aa", second, b.prefix+"c")
	}
	for _, p := range []int32{-1, 0, 1, 3, 4, 100} {
		ask(fmt.Sprintf("cursor %d first", p), 3, at(first, p), first, second)
		ask(fmt.Sprintf("cursor %d second", p), 3, at(second, p), first, second)
		ask(fmt.Sprintf("cursor %d between", p), 3, at(first+"x", p), first, second)
		ask(fmt.Sprintf("cursor %d behind", p), 3, at(second+"x", p), first, second)
	}
}

func findCoordinator(b *broker) {
	// Only what is refused before a coordinator is looked for.
	for v := int16(0); v <= 6; v++ {
		for _, kind := range []int8{-1, 2, 3, 7} {
			r := kmsg.NewPtrFindCoordinatorRequest()
			r.SetVersion(v)
			r.CoordinatorKey, r.CoordinatorKeys, r.CoordinatorType = "group", []string{"group", "other"}, kind
			if v > 0 {
				b.do(fmt.Sprintf("type %d", kind), r)
			}
		}
		if v >= 4 {
			r := kmsg.NewPtrFindCoordinatorRequest()
			r.SetVersion(v)
			b.do("no keys", r)
		}
	}
}

func initProducerID(b *broker) {
	for v := int16(0); v <= 5; v++ {
		r := kmsg.NewPtrInitProducerIDRequest()
		r.SetVersion(v)
		r.TransactionTimeoutMillis = 1000
		r.ProducerID, r.ProducerEpoch = -1, -1
		b.do("plain", r)
		r.TransactionTimeoutMillis = -1
		b.do("timeout -1", r)
		r.TransactionalID = ptr("")
		b.do("empty transactional id", r)
		r.TransactionalID = nil
		if v >= 3 {
			r.ProducerID, r.ProducerEpoch = 5, 1
			b.do("id and epoch", r)
			r.ProducerID, r.ProducerEpoch = -1, 1
			b.do("epoch only", r)
			r.ProducerID, r.ProducerEpoch = 5, -1
			b.do("id only", r)
			r.ProducerID, r.ProducerEpoch = 0, 0
			b.do("zeros", r)
		}
	}
}

// frames sends what no client should: the broker closes, or says why not.
func frames(b *broker) {
	try := func(label string, key, version int16, body []byte) {
		r := kmsg.RequestForKey(key)
		r.SetVersion(version)
		b.doBody(label, r, body)
	}
	try("produce version 0", 0, 0, []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	try("produce version 2", 0, 2, []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	try("produce version 14", 0, 14, []byte{0})
	try("fetch version 3", 1, 3, make([]byte, 30))
	try("fetch version 19", 1, 19, make([]byte, 30))
	try("metadata version 14", 3, 14, make([]byte, 30))
	try("metadata version -1", 3, -1, make([]byte, 30))
	try("create topics version 1", 19, 1, make([]byte, 30))
	try("leader and isr", 4, 0, make([]byte, 30))
	for _, key := range []int16{2, 3, 19, 20, 21, 22, 23, 32, 33, 34, 35, 37, 44, 60, 75} {
		r := kmsg.RequestForKey(key)
		r.SetVersion(r.MaxVersion())
		if key == 22 {
			r.SetVersion(5)
		}
		whole := r.AppendTo(nil)
		b.doBody(fmt.Sprintf("key %d without its last byte", key), r, whole[:max(len(whole)-1, 0)])
		b.doBody(fmt.Sprintf("key %d empty", key), r, nil)
		b.doBody(fmt.Sprintf("key %d with bytes behind", key), r, append(whole, 0, 0, 0))
	}
}
