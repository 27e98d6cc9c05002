package config

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestTopicConfig(t *testing.T) {
	c := fromText(t, "")
	base := c.TopicConfig(nil, nil, nil)
	want := TopicConfig{
		SegmentBytes: 1 << 30, SegmentMs: 604_800_000, IndexIntervalBytes: 4096, SegmentIndexBytes: 10 << 20, Delete: true,
		RetentionMs: 604_800_000, RetentionBytes: -1, LocalRetentionMs: 604_800_000, LocalRetentionBytes: -1, FileDeleteDelayMs: 60_000,
		DeleteRetentionMs: 86_400_000, MaxCompactionLagMs: math.MaxInt64, MinCleanableDirtyRatio: 0.5, MaxMessageBytes: 1_048_588,
		TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: 3_600_000, CompressionType: "producer", MinInsyncReplicas: 1,
	}
	if !reflect.DeepEqual(base, want) {
		t.Errorf("defaults\n got %+v\nwant %+v", base, want)
	}
	for _, tc := range []struct {
		name                   string
		file                   string
		topic, broker, cluster map[string]string
		check                  func(TopicConfig) bool
	}{
		{"hours", "log.retention.hours=2\nlog.roll.hours=3\nlog.roll.jitter.hours=1", nil, nil, nil,
			func(c TopicConfig) bool {
				return c.RetentionMs == 7_200_000 && c.SegmentMs == 10_800_000 && c.SegmentJitterMs == 3_600_000
			}},
		{"minutes before hours", "log.retention.hours=2\nlog.retention.minutes=3", nil, nil, nil, func(c TopicConfig) bool { return c.RetentionMs == 180_000 }},
		{"milliseconds before minutes", "log.retention.ms=5\nlog.retention.minutes=3", nil, nil, nil, func(c TopicConfig) bool { return c.RetentionMs == 5 }},
		{"no limit", "log.retention.hours=-1", nil, nil, nil, func(c TopicConfig) bool { return c.RetentionMs == -1 }},
		{"cluster before file", "log.retention.hours=2", nil, nil, map[string]string{"log.retention.ms": "9"}, func(c TopicConfig) bool { return c.RetentionMs == 9 }},
		{"broker before cluster", "", nil, map[string]string{"log.segment.bytes": "2097152"}, map[string]string{"log.segment.bytes": "3145728"},
			func(c TopicConfig) bool { return c.SegmentBytes == 2<<20 }},
		{"topic first", "", map[string]string{"segment.bytes": "4194304"}, map[string]string{"log.segment.bytes": "2097152"}, nil,
			func(c TopicConfig) bool { return c.SegmentBytes == 4<<20 }},
		{"bad override", "", map[string]string{"segment.bytes": "few"}, nil, map[string]string{"log.segment.bytes": "3145728"},
			func(c TopicConfig) bool { return c.SegmentBytes == 3<<20 }},
		{"unknown override", "", map[string]string{"message.format.version": "2.8"}, nil, nil, func(c TopicConfig) bool { return reflect.DeepEqual(c, base) }},
		{"relaxed by file", "log.flush.interval.messages=9223372036854775807", nil, nil, nil,
			func(c TopicConfig) bool { return c.FlushMessages == math.MaxInt64 && c.FlushMs == 0 }},
		{"relaxed by scheduler", "log.flush.scheduler.interval.ms=5000", nil, nil, nil, func(c TopicConfig) bool { return c.FlushMs == 5000 && c.FlushMessages == 0 }},
		{"relaxed by topic", "", map[string]string{"flush.ms": "7"}, nil, nil, func(c TopicConfig) bool { return c.FlushMs == 7 }},
		{"both policies", "", map[string]string{"cleanup.policy": "compact, delete"}, nil, nil, func(c TopicConfig) bool { return c.Compact && c.Delete }},
		{"no policy", "", map[string]string{"cleanup.policy": ""}, nil, nil, func(c TopicConfig) bool { return !c.Compact && !c.Delete }},
		{"codec", "compression.zstd.level=7", map[string]string{"compression.type": "zstd"}, nil, nil, func(c TopicConfig) bool { return c.CompressionType == "zstd" && c.CompressionLevel == 7 }},
		{"stamps", "", map[string]string{"message.timestamp.type": "LogAppendTime"}, nil, nil, func(c TopicConfig) bool { return c.LogAppendTime }},
		{"local retention", "", map[string]string{"retention.ms": "50", "local.retention.bytes": "7"}, nil, nil,
			func(c TopicConfig) bool { return c.LocalRetentionMs == 50 && c.LocalRetentionBytes == 7 }},
		{"small segments", "", map[string]string{"internal.segment.bytes": "100"}, nil, nil, func(c TopicConfig) bool { return c.SegmentBytes == 100 }},
		{"throttle", "", map[string]string{"leader.replication.throttled.replicas": "0:1, 1:2"}, nil, nil,
			func(c TopicConfig) bool { return slices.Equal(c.LeaderThrottled, []string{"0:1", "1:2"}) }},
	} {
		if got := fromText(t, tc.file).TopicConfig(tc.topic, tc.broker, tc.cluster); !tc.check(got) {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}

func TestWithDynamic(t *testing.T) {
	c := fromText(t, "max.connections=10\nlog.dirs=/a,/b\nproducer.id.expiration.ms=1000\n")
	n, err := c.WithDynamic(map[string]string{"max.connections": "20", "cordoned.log.dirs": "/b", "listener.name.plaintext.max.connections": "3"},
		map[string]string{"max.connections": "30", "producer.id.expiration.ms": "2000", "log.retention.ms": "nonsense", "max.connections.per.ip.overrides": "h:1"})
	if err != nil {
		t.Fatal(err)
	}
	if n.Network.MaxConnections != 20 || n.Log.ProducerIDExpiration != Millis(2000) || !slices.Equal(n.CordonedLogDirs, []string{"/b"}) ||
		n.Listeners[0].MaxConnections != 3 || n.Network.PerIPOverrides["h"] != 1 || n.Int("log.retention.hours") != 168 {
		t.Errorf("%+v %+v", n.Network, n.Listeners)
	}
	if c.Network.MaxConnections != 10 || c.Log.ProducerIDExpiration != Millis(1000) || len(c.CordonedLogDirs) != 0 || c.Listeners[0].MaxConnections != 10 {
		t.Errorf("the receiver changed: %+v %+v", c.Network, c.Listeners)
	}
	all, err := c.WithDynamic(map[string]string{"cordoned.log.dirs": "*"}, nil)
	if err != nil || !slices.Equal(all.CordonedLogDirs, c.LogDirs) {
		t.Errorf("cordoned %v, %v", all, err)
	}
	if _, err := c.WithDynamic(map[string]string{"max.connections.per.ip.overrides": "h"}, nil); err == nil ||
		!strings.HasPrefix(err.Error(), "Error parsing configuration property 'max.connections.per.ip.overrides': ") {
		t.Errorf("error %v", err)
	}
}

func TestValidateDynamic(t *testing.T) {
	c := fromText(t, "listeners=PLAINTEXT://:9092")
	for _, tc := range []struct {
		name, value string
		perBroker   bool
		want        string
	}{
		{"gregor.log.level", "debug", true, "Cannot update these configs dynamically: [gregor.log.level]"},
		{"topic.a.partitions", "1", true, "Cannot update these configs dynamically: [topic.a.partitions]"},
		{"listeners", "PLAINTEXT://:9999", true, "listeners cannot change while this broker runs; change server.properties and restart it"},
		{"listeners", " PLAINTEXT://:9092", true, ""},
		{"metric.reporters", "x.Y", false, "metric.reporters cannot change while this broker runs; change server.properties and restart it"},
		{"log.retention.mss", "1", false, "Unknown broker config name log.retention.mss: unknown configuration; the nearest known name is log.retention.ms"},
		{"zookeeper.connect", "x", true, "Unknown broker config name zookeeper.connect: removed in Kafka 4.0 with ZooKeeper; delete it"},
		{"my.plugin.key", "x", true, ""},
		{"log.cleaner.threads", "0", true, "requirement failed: log.cleaner.threads must be at least 1"},
		{"leader.replication.throttled.rate", "100", false, ""},
		{"min.insync.replicas", "2", false, ""},
	} {
		if got := text(c.ValidateDynamic(tc.perBroker, map[string]string{tc.name: tc.value}, nil)); got != tc.want {
			t.Errorf("%s=%s: %q, want %q", tc.name, tc.value, got, tc.want)
		}
	}
	if err := c.ValidateDynamic(true, map[string]string{"node.id": "1", "num.partitions": "2", "max.connections": "x"}, nil); text(err) != "Cannot update these configs dynamically: [node.id, num.partitions]" {
		t.Error(err)
	}
	// The other layer counts: the cluster's threads make the broker's buffer too small.
	if err := c.ValidateDynamic(true, map[string]string{"log.cleaner.dedupe.buffer.size": "4194304"}, map[string]string{"log.cleaner.threads": "8"}); err == nil {
		t.Error("accepted a buffer too small for the threads of the cluster's defaults")
	}
}

func TestOwnEntries(t *testing.T) {
	c := fromText(t, "topic.a.partitions=2\nsuper.users=User:x\nsasl.jaas.config=secret\ngregor.log.level=warn\n")
	entries := map[string]Entry{}
	names := []string{}
	for _, e := range c.BrokerEntries(map[string]string{"leader.replication.throttled.rate": "5"}, nil) {
		entries[e.Name] = e
		names = append(names, e.Name)
	}
	if !slices.IsSorted(names) || len(entries) != len(names) {
		t.Error("entries are not sorted or not unique")
	}
	for name, want := range map[string]string{
		"topic.a.partitions":                `topic.a.partitions="2" source 4 type 3 readonly true sensitive false [topic.a.partitions "2" 4]`,
		"super.users":                       `super.users=null source 4 type 0 readonly true sensitive true [super.users null 4]`,
		"sasl.jaas.config":                  `sasl.jaas.config=null source 4 type 9 readonly false sensitive true [sasl.jaas.config null 4]`,
		"gregor.log.level":                  `gregor.log.level="warn" source 4 type 2 readonly true sensitive false [gregor.log.level "warn" 4] [gregor.log.level "info" 5]`,
		"leader.replication.throttled.rate": `leader.replication.throttled.rate="5" source 2 type 5 readonly false sensitive false [leader.replication.throttled.rate "5" 2]`,
	} {
		if got := show(entries[name]); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

func TestGetters(t *testing.T) {
	c := fromText(t, "log.cleaner.io.buffer.load.factor=.75\nlog.flush.scheduler.interval.ms=-9223372036854775808\n")
	if c.Float("log.cleaner.io.buffer.load.factor") != 0.75 || c.Bool("log.preallocate") || c.String("broker.rack") != "" || c.IsSet("broker.rack") ||
		c.Duration("log.flush.scheduler.interval.ms") != math.MinInt64 || !slices.Equal(c.List("ssl.enabled.protocols"), []string{"TLSv1.2", "TLSv1.3"}) {
		t.Error("a getter is wrong")
	}
	defer func() {
		if recover() == nil {
			t.Error("an undefined name did not panic")
		}
	}()
	_ = c.Int("no.such.name")
}

func TestDoubles(t *testing.T) {
	for in, want := range map[string]string{
		"1": "1.0", "1e7": "1.0E7", "9999999": "9999999.0", "0.001": "0.001", "0.00099": "9.9E-4", "1.5d": "1.5", "-0": "-0.0", "1e400": "Infinity",
		"-Infinity": "-Infinity", "1.7976931348623157E308": "1.7976931348623157E308", ".5": "0.5", "5.": "5.0",
	} {
		f, ok := parseDouble(in)
		if got := formatDouble(f); !ok || got != want {
			t.Errorf("%s: %s %v, want %s", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "+", "inf", "0x1p3", "1_0", "e", ".", "d", "1e", "nan", "--1"} {
		if f, ok := parseDouble(in); ok {
			t.Errorf("%q parsed to %v", in, f)
		}
	}
}

// TestShared runs everything a broker does with one Config from several goroutines, for the race detector.
func TestShared(t *testing.T) {
	c := fromText(t, "log.retention.hours=3\ntopic.a.partitions=1\n")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			c.BrokerEntries(nil, nil)
			c.TopicEntries(map[string]string{"retention.ms": "1"}, nil, nil)
			c.TopicConfig(nil, map[string]string{"log.segment.bytes": "1048576"}, nil)
			if _, err := c.WithDynamic(map[string]string{"max.connections": "1"}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
