package server_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
)

// alter sets configs of a topic (kind 2) or broker (kind 4); the value "-"
// takes one away.
func (p *peer) alter(kind kmsg.ConfigResourceType, name string, configs ...string) {
	p.t.Helper()
	if out := p.tryAlter(kind, name, configs...); out.ErrorCode != 0 {
		p.t.Fatalf("altering %s: code %d, %s", name, out.ErrorCode, *out.ErrorMessage)
	}
}

func (p *peer) tryAlter(kind kmsg.ConfigResourceType, name string, configs ...string) kmsg.IncrementalAlterConfigsResponseResource {
	p.t.Helper()
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r.Version = 1
	x := kmsg.NewIncrementalAlterConfigsRequestResource()
	x.ResourceType, x.ResourceName = kind, name
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		if configs[i+1] == "-" {
			c.Op, c.Value = 1, nil
		}
		x.Configs = append(x.Configs, c)
	}
	r.Resources = append(r.Resources, x)
	return asked[*kmsg.IncrementalAlterConfigsResponse](p, r).Resources[0]
}

const topicKind, brokerKind kmsg.ConfigResourceType = 2, 4

// offsetOf asks for a special offset.
func (p *peer) offsetOf(topic string, timestamp int64) int64 {
	p.t.Helper()
	r := kmsg.NewPtrListOffsetsRequest()
	r.Version, r.ReplicaID = 7, -1
	t := kmsg.NewListOffsetsRequestTopic()
	x := kmsg.NewListOffsetsRequestTopicPartition()
	x.Timestamp, x.CurrentLeaderEpoch = timestamp, -1
	t.Topic, t.Partitions = topic, append(t.Partitions, x)
	r.Topics = append(r.Topics, t)
	out := asked[*kmsg.ListOffsetsResponse](p, r).Topics[0].Partitions[0]
	if out.ErrorCode != 0 {
		p.t.Fatalf("offset %d of %s: %+v", timestamp, topic, out)
	}
	return out.Offset
}

// logs are the segments of a partition on the disk.
func (m *memory) logs(t *testing.T, partition string) (out []string) {
	t.Helper()
	entries, err := m.disk.ReadDir(filepath.Join("/data", partition))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".log") {
			out = append(out, e.Name())
		}
	}
	return out
}

// TestTopicConfigsTakeEffectAtOnce changes one after the other and looks at
// what the next produce does.
func TestTopicConfigsTakeEffectAtOnce(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	p.createTopic("topic", 1)
	code := func(step string, records []byte, want int16) kmsg.ProduceResponseTopicPartition {
		t.Helper()
		out := p.produce("topic", 0, records)
		if out.ErrorCode != want {
			t.Errorf("%s: code %d, expected %d", step, out.ErrorCode, want)
		}
		return out
	}
	last := func() batch.Batch {
		t.Helper()
		all := batches(t, p.fetched("topic", 0, 0).RecordBatches)
		return all[len(all)-1]
	}
	now := time.Now()
	large := records(now, strings.Repeat("x", 2000))

	p.alter(topicKind, "topic", "max.message.bytes", "1000")
	code("max.message.bytes of the topic", large, 10)
	p.alter(topicKind, "topic", "max.message.bytes", "-")
	code("max.message.bytes gone", large, 0)
	for _, broker := range []string{"", "1"} {
		p.alter(brokerKind, broker, "message.max.bytes", "1000")
		code("message.max.bytes of broker "+broker, large, 10)
		p.alter(topicKind, "topic", "max.message.bytes", "5000")
		code("the topic has the last word", large, 0)
		p.alter(topicKind, "topic", "max.message.bytes", "-")
		p.alter(brokerKind, broker, "message.max.bytes", "-")
		code("message.max.bytes gone", large, 0)
	}

	p.alter(topicKind, "topic", "message.timestamp.type", "LogAppendTime")
	out := code("LogAppendTime", records(now.Add(-time.Hour), "a"), 0)
	if b := last(); !b.IsLogAppendTime() || b.MaxTimestamp() != out.LogAppendTime || b.MaxTimestamp() < now.UnixMilli() {
		t.Errorf("LogAppendTime: batch of %d, answer %d", b.MaxTimestamp(), out.LogAppendTime)
	}
	p.alter(topicKind, "topic", "message.timestamp.type", "-")
	out = code("CreateTime", records(now.Add(-time.Hour), "a"), 0)
	if b := last(); b.IsLogAppendTime() || out.LogAppendTime != -1 {
		t.Errorf("CreateTime: attributes %x, answer %d", b.Attributes(), out.LogAppendTime)
	}

	p.alter(topicKind, "topic", "message.timestamp.before.max.ms", "60000", "message.timestamp.after.max.ms", "60000")
	out = code("timestamps", batch.NewBuilder(codec.None).Append(now.UnixMilli(), nil, nil).Append(now.Add(-time.Hour).UnixMilli(), nil, nil).
		Append(now.Add(time.Hour).UnixMilli(), nil, nil).Bytes(), 32)
	if len(out.ErrorRecords) != 2 || out.ErrorRecords[0].RelativeOffset != 1 || out.ErrorRecords[1].RelativeOffset != 2 {
		t.Errorf("timestamps: %+v", out.ErrorRecords)
	}
	p.alter(topicKind, "topic", "message.timestamp.before.max.ms", "-", "message.timestamp.after.max.ms", "-")

	for i, c := range []codec.Type{codec.None, codec.Gzip, codec.Snappy, codec.LZ4, codec.Zstd} {
		kind := [...]string{"uncompressed", "gzip", "snappy", "lz4", "zstd"}[i]
		p.alter(topicKind, "topic", "compression.type", kind)
		code(kind, records(now, "a", "b"), 0)
		if b := last(); b.Codec() != c || b.RecordCount() != 2 {
			t.Errorf("compression.type=%s: stored with %v", kind, b.Codec())
		}
	}
	p.alter(topicKind, "topic", "compression.type", "-")
	p.alter(brokerKind, "", "compression.type", "gzip")
	code("compression.type of the cluster", records(now, "a"), 0)
	if b := last(); b.Codec() != codec.Gzip {
		t.Errorf("compression.type of the cluster: stored with %v", b.Codec())
	}
	p.alter(brokerKind, "", "compression.type", "-")

	keyless := batch.NewBuilder(codec.None).Append(now.UnixMilli(), []byte("k"), nil).Append(now.UnixMilli(), nil, nil).Append(now.UnixMilli(), nil, nil).Bytes()
	p.alter(topicKind, "topic", "cleanup.policy", "compact")
	out = code("compact", keyless, 87)
	if len(out.ErrorRecords) != 2 || out.ErrorRecords[0].RelativeOffset != 1 || out.ErrorRecords[1].RelativeOffset != 2 {
		t.Errorf("compact: %+v", out.ErrorRecords)
	}
	p.alter(topicKind, "topic", "cleanup.policy", "delete")
	code("delete", keyless, 0)
}

// TestSegmentsAndRetention: when segments end and when they go.
func TestSegmentsAndRetention(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	m := startMemory(t, now, "log.retention.check.interval.ms=1000")
	p := m.dial(t)
	p.createTopic("topic", 1, "segment.bytes", "1048576")
	value := strings.Repeat("v", 400_000)
	for range 6 {
		p.produced("topic", 0, records(now.Now(), value))
	}
	if got := m.logs(t, "topic-0"); len(got) != 3 {
		t.Fatalf("segment.bytes: %v, expected three segments of two batches", got)
	}
	p.alter(topicKind, "topic", "segment.bytes", "2097152")
	for range 3 {
		p.produced("topic", 0, records(now.Now(), value))
	}
	if got := m.logs(t, "topic-0"); len(got) != 3 {
		t.Fatalf("larger segment.bytes: %v", got)
	}
	p.alter(topicKind, "topic", "segment.ms", "10000")
	now.Advance(11 * time.Second)
	p.produced("topic", 0, records(now.Now(), "late"))
	if got := m.logs(t, "topic-0"); len(got) != 4 {
		t.Fatalf("segment.ms: %v, expected a fourth segment", got)
	}
	// until advances the clock until the log starts at an offset. The jobs run
	// on a goroutine of their own, so it asks again and again.
	until := func(step string, start int64) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for i := 0; p.offsetOf("topic", -2) != start; i++ {
			if time.Now().After(deadline) {
				t.Fatalf("%s: starts at %d, expected %d", step, p.offsetOf("topic", -2), start)
			}
			if i%50 == 0 {
				now.Advance(time.Second)
			}
		}
	}
	// Segments of 0.8, 0.8 and 2.0 MB and a small one. One goes as long as what
	// is left is not below the limit: the first one here, then the second.
	p.alter(topicKind, "topic", "retention.bytes", "2700000")
	until("retention.bytes", 2)
	p.alter(topicKind, "topic", "retention.bytes", "2000000")
	until("less retention.bytes", 4)
	p.alter(topicKind, "topic", "retention.bytes", "-", "retention.ms", "1000")
	until("retention.ms", 10)
	if out := p.produced("topic", 0, records(now.Now(), "again")); out.BaseOffset != 10 || out.LogStartOffset != 10 {
		t.Fatalf("%+v", out)
	}
	if out := p.fetched("topic", 0, 3); out.ErrorCode != 1 {
		t.Fatalf("reading what is gone: code %d", out.ErrorCode)
	}
}

// TestFlushMessagesRelaxesDurability: no sync per produce, and at once again
// when it is taken back.
func TestFlushMessagesRelaxesDurability(t *testing.T) {
	m := startMemory(t, nil)
	p := m.dial(t)
	p.createTopic("topic", 1)
	syncs := func(n int) int {
		before := m.disk.Stats().Syncs
		for range n {
			p.produced("topic", 0, records(time.Now(), "a"))
		}
		return m.disk.Stats().Syncs - before
	}
	if n := syncs(20); n < 20 {
		t.Errorf("durable: %d syncs of 20 produces", n)
	}
	p.alter(topicKind, "topic", "flush.messages", "10000")
	if n := syncs(20); n > 5 {
		t.Errorf("flush.messages=10000: %d syncs of 20 produces", n)
	}
	if out := p.fetched("topic", 0, 0); out.HighWatermark != 40 {
		t.Errorf("high watermark %d, expected 40", out.HighWatermark)
	}
	p.alter(topicKind, "topic", "flush.messages", "10")
	// The sync follows behind, and one may serve several tens.
	produces, done := 0, 0
	for deadline := time.Now().Add(20 * time.Second); done == 0 && time.Now().Before(deadline); produces += 10 {
		done += syncs(10)
	}
	if done == 0 || done > produces/5 {
		t.Errorf("flush.messages=10: %d syncs of %d produces", done, produces)
	}
	p.alter(topicKind, "topic", "flush.messages", "-")
	if n := syncs(20); n < 20 {
		t.Errorf("durable again: %d syncs of 20 produces", n)
	}
}

// TestIndexInterval: one index entry per interval.
func TestIndexInterval(t *testing.T) {
	m := startMemory(t, nil)
	p := m.dial(t)
	entries := map[string]int64{}
	for _, interval := range []string{"100", "100000"} {
		topic := "every-" + interval
		p.createTopic(topic, 1, "index.interval.bytes", interval, "segment.bytes", "1048576")
		for i := range 300 {
			p.produced(topic, 0, records(time.Now(), fmt.Sprintf("%05000d", i)))
		}
		all := m.logs(t, topic+"-0")
		slices.Sort(all)
		if len(all) < 2 {
			t.Fatalf("%s: %v", topic, all)
		}
		info, err := m.disk.Stat(filepath.Join("/data", topic+"-0", strings.TrimSuffix(all[0], ".log")+".index"))
		if err != nil {
			t.Fatal(err)
		}
		entries[interval] = info.Size() / 8
	}
	if entries["100"] < 150 || entries["100000"] > 15 || entries["100000"] < 5 {
		t.Errorf("index entries by interval: %v", entries)
	}
}
