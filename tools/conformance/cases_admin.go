package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func electLeaders(b *broker) {
	name, _ := b.create("e", 2)
	for v := int16(0); v <= 2; v++ {
		send := func(label string, kind int8, topics ...kmsg.ElectLeadersRequestTopic) {
			r := kmsg.NewPtrElectLeadersRequest()
			r.SetVersion(v)
			r.ElectionType, r.TimeoutMillis, r.Topics = kind, 10_000, topics
			b.do(label, r)
		}
		topic := func(name string, partitions ...int32) kmsg.ElectLeadersRequestTopic {
			t := kmsg.NewElectLeadersRequestTopic()
			t.Topic, t.Partitions = name, partitions
			return t
		}
		// Of all topics only this run's are compared.
		r := kmsg.NewPtrElectLeadersRequest()
		r.SetVersion(v)
		r.TimeoutMillis = 10_000
		if resp, _ := b.ask(r).(*kmsg.ElectLeadersResponse); resp != nil {
			kept := resp.Topics[:0]
			for _, t := range resp.Topics {
				if t.Topic == name {
					kept = append(kept, t)
				}
			}
			resp.Topics = kept
			b.note("all", v, resp, nil)
		}
		send("none", 0, []kmsg.ElectLeadersRequestTopic{}...)
		empty := kmsg.NewPtrElectLeadersRequest()
		empty.SetVersion(v)
		empty.Topics = []kmsg.ElectLeadersRequestTopic{}
		b.do("an empty list", empty)
		send("preferred", 0, topic(name, 0, 1))
		send("no partitions", 0, topic(name))
		send("unclean", 1, topic(name, 0))
		send("unknown partition", 0, topic(name, 0, 9, -1))
		send("unknown topic", 0, topic(b.prefix+"missing", 0))
		send("unknown topic, unclean", 1, topic(b.prefix+"missing", 0))
		send("bad topic", 0, topic("a b", 0))
		send("a partition twice", 0, topic(name, 0, 0))
		send("unknown type", 2, topic(name, 0))
		send("negative type", -1, topic(name, 0))
	}
}

func reassignments(b *broker) {
	name, _ := b.create("r", 2)
	for v := int16(0); v <= 1; v++ {
		alter := func(label string, topic string, partition int32, replicas []int32, grow bool) {
			r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			r.SetVersion(v)
			r.TimeoutMillis, r.AllowReplicationFactorChange = 10_000, grow
			t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
			t.Topic = topic
			p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
			p.Partition, p.Replicas = partition, replicas
			t.Partitions = append(t.Partitions, p)
			r.Topics = append(r.Topics, t)
			b.do(label, r)
		}
		for _, grow := range []bool{true, false} {
			label := func(s string) string { return fmt.Sprintf("%s, allowed to change the factor %v", s, grow) }
			alter(label("to where it is"), name, 0, []int32{1}, grow)
			alter(label("cancel"), name, 0, nil, grow)
			alter(label("to nowhere"), name, 0, []int32{}, grow)
			alter(label("to another broker"), name, 0, []int32{2}, grow)
			alter(label("to two brokers"), name, 0, []int32{1, 2}, grow)
			alter(label("twice to one"), name, 0, []int32{1, 1}, grow)
			alter(label("to a negative broker"), name, 0, []int32{-1}, grow)
			alter(label("unknown partition"), name, 7, []int32{1}, grow)
			alter(label("unknown partition cancelled"), name, 7, nil, grow)
			alter(label("unknown topic"), b.prefix+"missing", 0, []int32{1}, grow)
			alter(label("unknown topic cancelled"), b.prefix+"missing", 0, nil, grow)
		}
		r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		r.SetVersion(v)
		b.do("nothing", r)
	}
	list := func(label string, topics ...kmsg.ListPartitionReassignmentsRequestTopic) {
		r := kmsg.NewPtrListPartitionReassignmentsRequest()
		r.TimeoutMillis, r.Topics = 10_000, topics
		b.do(label, r)
	}
	topic := func(name string, partitions ...int32) kmsg.ListPartitionReassignmentsRequestTopic {
		t := kmsg.NewListPartitionReassignmentsRequestTopic()
		t.Topic, t.Partitions = name, partitions
		return t
	}
	list("all")
	list("of one topic", topic(name, 0, 1))
	list("of no partition", topic(name))
	list("of an unknown partition", topic(name, 9))
	list("of an unknown topic", topic(b.prefix+"missing", 0))
	empty := kmsg.NewPtrListPartitionReassignmentsRequest()
	empty.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{}
	b.do("of an empty list", empty)
}

func updateFeatures(b *broker) {
	// features records what ApiVersions says afterwards.
	features := func(label string, v int16) {
		b.settleConfigs()
		r := kmsg.NewPtrApiVersionsRequest()
		r.SetVersion(4)
		r.ClientSoftwareName, r.ClientSoftwareVersion = "conformance", "1.0"
		if resp, _ := b.ask(r).(*kmsg.ApiVersionsResponse); resp != nil {
			var found []string
			for _, f := range resp.FinalizedFeatures {
				found = append(found, fmt.Sprintf("%s %d-%d", f.Name, f.MinVersionLevel, f.MaxVersionLevel))
			}
			slices.Sort(found)
			b.said(label+" leaves", v, strings.Join(found, ", "))
		}
	}
	type change struct {
		name  string
		level int16
		kind  int8
	}
	for v := int16(0); v <= 2; v++ {
		send := func(label string, dry bool, changes ...change) {
			r := kmsg.NewPtrUpdateFeaturesRequest()
			r.SetVersion(v)
			r.TimeoutMillis, r.ValidateOnly = 10_000, dry
			for _, c := range changes {
				f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
				f.Feature, f.MaxVersionLevel, f.UpgradeType, f.AllowDowngrade = c.name, c.level, c.kind, c.kind > 1
				r.FeatureUpdates = append(r.FeatureUpdates, f)
			}
			b.do(label, r)
		}
		send("nothing", false)
		for _, name := range []string{"metadata.version", "kraft.version", "transaction.version", "group.version",
			"share.version", "streams.version", "eligible.leader.replicas.version", "no.such.version", ""} {
			for _, level := range []int16{-1, 0, 1, 2, 3, 6, 7, 21, 22, 23, 24, 29, 30, 31} {
				for kind := int8(0); kind <= 4; kind++ {
					send(fmt.Sprintf("dry run of %q to %d by %d", name, level, kind), true, change{name, level, kind})
					if v == 0 {
						break // has no dry run: everything is done
					}
				}
				if v == 0 {
					features(fmt.Sprintf("%q to %d", name, level), v)
				}
			}
		}
		if v == 0 {
			continue
		}
		send("downgrade", false, change{"transaction.version", 0, 2})
		features("downgrade", v)
		send("upgrade", false, change{"transaction.version", 2, 1})
		features("upgrade", v)
		send("unsafe downgrade", false, change{"group.version", 0, 3})
		features("unsafe downgrade", v)
		send("upgrade again", false, change{"group.version", 1, 1})
		features("upgrade again", v)
		send("two", false, change{"group.version", 0, 2}, change{"streams.version", 0, 2})
		features("two", v)
		send("two up", false, change{"group.version", 1, 1}, change{"streams.version", 1, 1})
		features("two up", v)
		send("one good, one bad", false, change{"group.version", 0, 2}, change{"no.such", 1, 1})
		features("one good, one bad", v)
		send("elr down", false, change{"eligible.leader.replicas.version", 0, 2})
		features("elr down", v)
		send("elr up", false, change{"eligible.leader.replicas.version", 1, 1})
		features("elr up", v)
		b.describe("elr up leaves the cluster", brokerResource, "", "min.insync.replicas")
		send("metadata down", false, change{"metadata.version", 29, 2})
		features("metadata down", v)
		send("metadata further down", false, change{"metadata.version", 22, 2})
		features("metadata further down", v)
		send("metadata up", false, change{"metadata.version", 30, 1})
		features("metadata up", v)
	}
}

func describeQuorum(b *broker) {
	ask := func(label string, v int16, topics ...kmsg.DescribeQuorumRequestTopic) {
		r := kmsg.NewPtrDescribeQuorumRequest()
		r.SetVersion(v)
		r.Topics = topics
		if err := b.send(r); err != nil {
			b.note(label, v, nil, err)
			return
		}
		resp, err := b.receive(r)
		if d, ok := resp.(*kmsg.DescribeQuorumResponse); ok {
			now := time.Now().UnixMilli()
			for i := range d.Topics {
				for j := range d.Topics[i].Partitions {
					p := &d.Topics[i].Partitions[j]
					p.LeaderEpoch = min(p.LeaderEpoch, 1)
					p.HighWatermark = min(p.HighWatermark, 1)
					for _, list := range [][]kmsg.DescribeQuorumResponseTopicPartitionReplicaState{p.CurrentVoters, p.Observers} {
						for k := range list {
							list[k].LogEndOffset = min(list[k].LogEndOffset, 1)
							recent := func(at *int64) {
								if *at > now-60_000 {
									*at = 1
								}
							}
							recent(&list[k].LastFetchTimestamp)
							recent(&list[k].LastCaughtUpTimestamp)
						}
					}
				}
			}
		}
		b.note(label, v, resp, err)
	}
	topic := func(name string, partitions ...int32) kmsg.DescribeQuorumRequestTopic {
		t := kmsg.NewDescribeQuorumRequestTopic()
		t.Topic = name
		for _, i := range partitions {
			p := kmsg.NewDescribeQuorumRequestTopicPartition()
			p.Partition = i
			t.Partitions = append(t.Partitions, p)
		}
		return t
	}
	for v := int16(0); v <= 2; v++ {
		ask("metadata", v, topic("__cluster_metadata", 0))
		ask("nothing", v)
		ask("no partition", v, topic("__cluster_metadata"))
		ask("another partition", v, topic("__cluster_metadata", 1))
		ask("two partitions", v, topic("__cluster_metadata", 0, 1))
		ask("the partition twice", v, topic("__cluster_metadata", 0, 0))
		ask("another topic", v, topic("x", 0))
		ask("two topics", v, topic("__cluster_metadata", 0), topic("x", 0))
	}
}

func raftVoters(b *broker) {
	add := func(label string, v int16, cluster *string, id int32, dir [16]byte, listeners ...string) {
		r := kmsg.NewPtrAddRaftVoterRequest()
		r.SetVersion(v)
		r.ClusterID, r.TimeoutMillis, r.VoterID, r.VoterDirectoryID = cluster, 1000, id, dir
		r.AckWhenCommitted = true
		for _, name := range listeners {
			l := kmsg.NewAddRaftVoterRequestListener()
			l.Name, l.Host, l.Port = name, "localhost", 1
			r.Listeners = append(r.Listeners, l)
		}
		b.do(label, r)
	}
	for v := int16(0); v <= 1; v++ {
		add("this node again", v, nil, 1, [16]byte{1}, "CONTROLLER")
		add("without a directory", v, nil, 2, [16]byte{}, "CONTROLLER")
		add("without a listener", v, nil, 2, [16]byte{1})
		add("with another listener", v, nil, 2, [16]byte{1}, "PLAINTEXT")
		add("a listener twice", v, nil, 1, [16]byte{1}, "CONTROLLER", "CONTROLLER")
		add("negative id", v, nil, -1, [16]byte{1}, "CONTROLLER")
		add("of another cluster", v, ptr("another"), 2, [16]byte{1}, "CONTROLLER")
		add("of an empty cluster", v, ptr(""), 2, [16]byte{1}, "CONTROLLER")
		add("nobody there", v, nil, 2, [16]byte{1}, "CONTROLLER")
	}
	remove := func(label string, cluster *string, id int32, dir [16]byte) {
		r := kmsg.NewPtrRemoveRaftVoterRequest()
		r.ClusterID, r.VoterID, r.VoterDirectoryID = cluster, id, dir
		b.do(label, r)
	}
	remove("unknown", nil, 2, [16]byte{1})
	remove("this node by another directory", nil, 1, [16]byte{1})
	remove("without a directory", nil, 1, [16]byte{})
	remove("negative id", nil, -1, [16]byte{1})
	remove("of another cluster", ptr("another"), 2, [16]byte{1})
	b.do("unregister an unknown broker", unregister(2))
	b.do("unregister a negative broker", unregister(-1))
}

func unregister(id int32) *kmsg.UnregisterBrokerRequest {
	r := kmsg.NewPtrUnregisterBrokerRequest()
	r.BrokerID = id
	return r
}

func listConfigResources(b *broker) {
	set1 := func(kind kmsg.ConfigResourceType, name string, o op) {
		r := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r.SetVersion(1)
		x := kmsg.NewIncrementalAlterConfigsRequestResource()
		x.ResourceType, x.ResourceName = kind, name
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op, c.Value = o.name, o.op, o.value
		x.Configs = append(x.Configs, c)
		r.Resources = append(r.Resources, x)
		b.ask(r)
		b.settleConfigs()
	}
	group, sub := b.prefix+"group", b.prefix+"sub"
	topic, _ := b.create("t", 1)
	set1(groupResource, group, set("consumer.session.timeout.ms", "50000"))
	set1(metricsResource, sub, set("interval.ms", "1000"))
	mine := map[string]bool{group: true, sub: true, topic: true, "1": true}
	list := func(label string, v int16, types ...int8) {
		r := kmsg.NewPtrListConfigResourcesRequest()
		r.SetVersion(v)
		r.ResourceTypes = types
		if err := b.send(r); err != nil {
			b.note(label, v, nil, err)
			return
		}
		resp, err := b.receive(r)
		if d, ok := resp.(*kmsg.ListConfigResourcesResponse); ok {
			kept := d.ConfigResources[:0]
			for _, c := range d.ConfigResources {
				if mine[c.Name] {
					kept = append(kept, c)
				}
			}
			d.ConfigResources = kept
		}
		b.note(label, v, resp, err)
	}
	list("version 0", 0)
	list("all", 1)
	for _, kind := range []int8{0, 1, 2, 3, 4, 8, 16, 32, 64, -1} {
		list(fmt.Sprintf("kind %d", kind), 1, kind)
	}
	list("two kinds", 1, 32, 2)
	list("a kind twice", 1, 32, 32)
	list("a good and a bad kind", 1, 2, 1)
	set1(groupResource, group, unset("consumer.session.timeout.ms"))
	set1(metricsResource, sub, unset("interval.ms"))
	list("all again", 1)
}
