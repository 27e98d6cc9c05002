package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The codecs have a topic of their own: not every client reads all of them.
const (
	auditTopic  = "scenario.audit"
	codecsTopic = "scenario.codecs"
)

// needed are the APIs that clients of a plain application call, with the version they call at least.
var needed = []struct {
	key  kmsg.Key
	from int16
}{
	{kmsg.Produce, 8}, {kmsg.Fetch, 11}, {kmsg.ListOffsets, 5}, {kmsg.Metadata, 9}, {kmsg.OffsetCommit, 7}, {kmsg.OffsetFetch, 5},
	{kmsg.FindCoordinator, 2}, {kmsg.JoinGroup, 5}, {kmsg.Heartbeat, 3}, {kmsg.LeaveGroup, 3}, {kmsg.SyncGroup, 3},
	{kmsg.DescribeGroups, 4}, {kmsg.ListGroups, 3}, {kmsg.ApiVersions, 3}, {kmsg.CreateTopics, 4}, {kmsg.DeleteTopics, 4},
	{kmsg.InitProducerID, 2}, {kmsg.DescribeConfigs, 2},
}

// runAudit asks the broker what it is, and compares that with what it does.
func runAudit(ctx context.Context, s *stage) error {
	if err := s.topic(ctx, auditTopic, 3); err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	for _, part := range []func(context.Context, *stage, *kgo.Client) error{auditProtocol, auditCluster, auditTopics, auditCodecs, auditErrors} {
		if err := part(ctx, s, c); err != nil {
			return err
		}
	}
	return nil
}

func auditProtocol(ctx context.Context, s *stage, c *kgo.Client) error {
	r, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, c)
	if err != nil {
		return fmt.Errorf("ApiVersions: %w", err)
	}
	served := map[int16][2]int16{}
	for _, k := range r.ApiKeys {
		served[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
		s.say("protocol", "%-28s %d to %d", kmsg.NameForKey(k.ApiKey), k.MinVersion, k.MaxVersion)
	}
	var missing []string
	for _, n := range needed {
		if versions, found := served[n.key.Int16()]; !found || versions[0] > n.from || versions[1] < n.from {
			missing = append(missing, n.key.Name())
		}
	}
	s.check(len(missing) == 0, "the %d APIs that applications need are served (missing: %v)", len(needed), missing)
	for _, f := range r.FinalizedFeatures {
		s.say("protocol", "feature %s is at level %d", f.Name, f.MaxVersionLevel)
	}
	return nil
}

func auditCluster(ctx context.Context, s *stage, c *kgo.Client) error {
	m, err := kadm.NewClient(c).BrokerMetadata(ctx)
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	s.check(m.Cluster != "", "the cluster has an id: %s", m.Cluster)
	known := false
	for _, b := range m.Brokers {
		s.say("cluster", "broker %d at %s:%d", b.NodeID, b.Host, b.Port)
		known = known || b.NodeID == m.Controller
	}
	s.check(known, "the controller, %d, is one of its %d brokers", m.Controller, len(m.Brokers))
	return nil
}

func auditTopics(ctx context.Context, s *stage, c *kgo.Client) error {
	admin := kadm.NewClient(c)
	topics, err := admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return fmt.Errorf("topics: %w", err)
	}
	leaderless, partitions := 0, 0
	for _, t := range topics.Sorted() {
		s.say("topics", "%-28s %s %d partitions", t.Topic, t.ID, len(t.Partitions))
		for _, p := range t.Partitions {
			partitions++
			if p.Leader < 0 || p.Err != nil || !slices.Contains(p.ISR, p.Leader) {
				leaderless++
			}
		}
	}
	s.check(leaderless == 0, "each of %d partitions of %d topics has a leader in its in-sync set", partitions, len(topics))
	configs, err := admin.DescribeTopicConfigs(ctx, auditTopic)
	if err != nil {
		return fmt.Errorf("configs: %w", err)
	}
	of, err := configs.On(auditTopic, nil)
	if err != nil {
		return fmt.Errorf("configs of %s: %w", auditTopic, err)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(of.Configs, func(c kadm.Config) bool { return c.Key == name && c.Value != nil })
	}
	s.check(has("cleanup.policy") && has("retention.ms") && has("segment.bytes"), "a topic says how it is configured (%d settings)", len(of.Configs))
	return nil
}

// auditCodecs sends a record through every codec and reads it back.
func auditCodecs(ctx context.Context, s *stage, c *kgo.Client) error {
	if err := s.topic(ctx, codecsTopic, 1); err != nil {
		return err
	}
	tail, err := s.tail(ctx, codecsTopic)
	if err != nil {
		return err
	}
	sent := map[string]string{}
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		p, err := s.client(kgo.ProducerBatchCompression(codec))
		if err != nil {
			return err
		}
		record, err := newEvent(codecsTopic, s.run+"-"+name, "Probe", s.run+"-"+name, "auditor", map[string]string{"codec": name, "text": strings.Repeat(name+" ", 200)})
		if err != nil {
			return err
		}
		record.Headers = []kgo.RecordHeader{{Key: "codec", Value: []byte(name)}, {Key: "empty"}}
		if err := send(ctx, p, record); err != nil {
			return fmt.Errorf("codec %s: %w", name, err)
		}
		sent[name] = string(record.Value)
	}
	same := 0
	err = each(ctx, tail, func(r *kgo.Record) (bool, error) {
		name, found := strings.CutPrefix(string(r.Key), s.run+"-")
		if !found {
			return false, nil
		}
		if sent[name] == string(r.Value) && len(r.Headers) == 2 && bytes.Equal(r.Headers[0].Value, []byte(name)) && !r.Timestamp.IsZero() {
			same++
		}
		delete(sent, name)
		return len(sent) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("codecs not read back %v: %w", sent, err)
	}
	s.check(same == 5, "a record comes back as it was through %d of 5 codecs, with key, headers and timestamp", same)
	return nil
}

// auditErrors makes mistakes and looks for Kafka's answers to them.
func auditErrors(ctx context.Context, s *stage, c *kgo.Client) error {
	absent := "scenario.absent-" + s.run
	lookup := kmsg.NewPtrListOffsetsRequest()
	lookup.ReplicaID = -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = auditTopic
	partition := kmsg.NewListOffsetsRequestTopicPartition()
	partition.Partition, partition.Timestamp = 1000, -1
	topic.Partitions = append(topic.Partitions, partition)
	lookup.Topics = append(lookup.Topics, topic)
	answer, err := c.SeedBrokers()[0].Request(ctx, lookup)
	if err != nil {
		return fmt.Errorf("ListOffsets: %w", err)
	}
	r := answer.(*kmsg.ListOffsetsResponse)
	s.check(len(r.Topics) == 1 && len(r.Topics[0].Partitions) == 1 && r.Topics[0].Partitions[0].ErrorCode == kerr.UnknownTopicOrPartition.Code,
		"a partition that is not there is UNKNOWN_TOPIC_OR_PARTITION")
	admin := kadm.NewClient(c)
	_, err = admin.CreateTopic(ctx, 1, 1, nil, auditTopic)
	s.check(errors.Is(err, kerr.TopicAlreadyExists), "a topic that is there already is TOPIC_ALREADY_EXISTS")
	_, err = admin.CreateTopic(ctx, 1, 1, nil, "no topic: "+absent)
	s.check(errors.Is(err, kerr.InvalidTopicException), "a name that cannot be is INVALID_TOPIC_EXCEPTION")
	_, err = admin.CreateTopic(ctx, 1, 99, nil, absent)
	s.check(errors.Is(err, kerr.InvalidReplicationFactor), "more replicas than brokers are INVALID_REPLICATION_FACTOR")
	deleted, err := admin.DeleteTopics(ctx, absent)
	if err != nil {
		return fmt.Errorf("DeleteTopics: %w", err)
	}
	s.check(errors.Is(deleted[absent].Err, kerr.UnknownTopicOrPartition), "deleting what is not there is UNKNOWN_TOPIC_OR_PARTITION")
	return nil
}
