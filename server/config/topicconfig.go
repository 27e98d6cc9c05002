package config

import (
	"math"
	"strconv"
	"strings"
)

// TopicConfig is what a topic's configurations mean to its partitions, with every layer applied.
type TopicConfig struct {
	// SegmentBytes, SegmentMs and SegmentJitterMs say when a new segment begins.
	SegmentBytes, SegmentMs, SegmentJitterMs int64
	// IndexIntervalBytes and SegmentIndexBytes shape the indexes.
	IndexIntervalBytes, SegmentIndexBytes int64
	Preallocate                           bool

	// FlushMessages and FlushMs are 0 when nobody set them in any layer. Both 0 is the durable mode: every acknowledged
	// write is synced first. Setting either asks for Kafka's relaxed flushing.
	FlushMessages, FlushMs int64

	// Delete and Compact are the parts of cleanup.policy; both false keeps everything.
	Delete, Compact bool
	// RetentionMs and RetentionBytes are -1 without a limit. The local ones are resolved: -2 has become the former.
	RetentionMs, RetentionBytes           int64
	LocalRetentionMs, LocalRetentionBytes int64
	FileDeleteDelayMs                     int64
	// DeleteRetentionMs keeps tombstones; the lags bound when a record may and must be compacted.
	DeleteRetentionMs, MinCompactionLagMs, MaxCompactionLagMs int64
	MinCleanableDirtyRatio                                    float64

	// MaxMessageBytes bounds one record batch as stored.
	MaxMessageBytes int64
	// LogAppendTime is message.timestamp.type.
	LogAppendTime bool
	// TimestampBeforeMaxMs and TimestampAfterMaxMs bound producers' timestamps around the broker's clock when
	// LogAppendTime is false; MaxInt64 is no limit.
	TimestampBeforeMaxMs, TimestampAfterMaxMs int64
	// CompressionType is producer, uncompressed or a codec's name; CompressionLevel is that codec's.
	CompressionType  string
	CompressionLevel int

	MinInsyncReplicas     int32
	UncleanLeaderElection bool
	// LeaderThrottled and FollowerThrottled are * or partition:broker pairs; nil without any.
	LeaderThrottled, FollowerThrottled []string

	// RemoteStorage is always false on a broker without remote storage.
	RemoteStorage, RemoteCopyDisable, RemoteDeleteOnDisable bool
}

// TopicConfig computes the typed configuration of a topic from its overrides, the dynamic values of this broker and of
// the cluster, and the static layer; any map may be nil. A stored value that does not parse yields to the layer below.
func (c *Config) TopicConfig(overrides, brokerDynamic, clusterDynamic map[string]string) TopicConfig {
	value := func(name string) (string, int8) {
		d := TopicDef(name)
		if raw, ok := overrides[name]; ok {
			if parsed, err := d.Parse(raw); err == nil {
				return parsed, SourceTopic
			}
		}
		v, source, _ := c.inheritedFrom(d, brokerDynamic, clusterDynamic)
		return v, source
	}
	text := func(name string) string { v, _ := value(name); return v }
	long := func(name string) int64 { n, _ := strconv.ParseInt(text(name), 10, 64); return n }
	whenSet := func(name string) int64 {
		v, source := value(name)
		if source == SourceDefault {
			return 0
		}
		n, _ := strconv.ParseInt(v, 10, 64)
		return max(0, n)
	}
	t := TopicConfig{
		SegmentBytes: long("segment.bytes"), SegmentMs: long("segment.ms"), SegmentJitterMs: long("segment.jitter.ms"),
		IndexIntervalBytes: long("index.interval.bytes"), SegmentIndexBytes: long("segment.index.bytes"), Preallocate: text("preallocate") == "true",
		FlushMessages: whenSet("flush.messages"), FlushMs: whenSet("flush.ms"),
		RetentionMs: long("retention.ms"), RetentionBytes: long("retention.bytes"),
		LocalRetentionMs: long("local.retention.ms"), LocalRetentionBytes: long("local.retention.bytes"), FileDeleteDelayMs: long("file.delete.delay.ms"),
		DeleteRetentionMs: long("delete.retention.ms"), MinCompactionLagMs: long("min.compaction.lag.ms"), MaxCompactionLagMs: long("max.compaction.lag.ms"),
		MaxMessageBytes: long("max.message.bytes"), LogAppendTime: text("message.timestamp.type") == "LogAppendTime",
		TimestampBeforeMaxMs: long("message.timestamp.before.max.ms"), TimestampAfterMaxMs: long("message.timestamp.after.max.ms"),
		CompressionType: text("compression.type"), MinInsyncReplicas: int32(min(long("min.insync.replicas"), math.MaxInt32)),
		UncleanLeaderElection: text("unclean.leader.election.enable") == "true",
		LeaderThrottled:       splitList(text("leader.replication.throttled.replicas")), FollowerThrottled: splitList(text("follower.replication.throttled.replicas")),
		RemoteStorage:     c.Bool("remote.log.storage.system.enable") && text("remote.storage.enable") == "true",
		RemoteCopyDisable: text("remote.log.copy.disable") == "true", RemoteDeleteOnDisable: text("remote.log.delete.on.disable") == "true",
	}
	if raw, ok := overrides["internal.segment.bytes"]; ok {
		if parsed, err := TopicDef("internal.segment.bytes").Parse(raw); err == nil {
			t.SegmentBytes, _ = strconv.ParseInt(parsed, 10, 64)
		}
	}
	for policy := range strings.SplitSeq(text("cleanup.policy"), ",") {
		t.Delete = t.Delete || policy == "delete"
		t.Compact = t.Compact || policy == "compact"
	}
	t.MinCleanableDirtyRatio, _ = parseDouble(text("min.cleanable.dirty.ratio"))
	if t.LocalRetentionMs == -2 {
		t.LocalRetentionMs = t.RetentionMs
	}
	if t.LocalRetentionBytes == -2 {
		t.LocalRetentionBytes = t.RetentionBytes
	}
	switch t.CompressionType {
	case "gzip", "lz4", "zstd":
		t.CompressionLevel = int(long("compression." + t.CompressionType + ".level"))
	}
	return t
}

// ValidateTopic checks one override of a topic. Errors have Kafka's texts: "Unknown topic config name: X", or
// "Invalid value X for configuration Y: ...". Both are INVALID_CONFIG on the wire.
func ValidateTopic(name, value string) error {
	d := TopicDef(name)
	if d == nil {
		return kafkaText("Unknown topic config name: " + name)
	}
	_, err := d.Parse(value)
	return err
}

// ValidateTopicConfigs checks the complete overrides a topic is to have: every name, every value, and what must hold
// between them given what the topic inherits (LogConfig.validate). The first error in order of names is returned.
func (c *Config) ValidateTopicConfigs(overrides, brokerDynamic, clusterDynamic map[string]string) error {
	names := sortedNames(overrides)
	for _, name := range names {
		if TopicDef(name) == nil {
			return kafkaText("Unknown topic config name: " + name)
		}
	}
	for _, name := range names {
		if err := ValidateTopic(name, overrides[name]); err != nil {
			return err
		}
	}
	t := c.TopicConfig(overrides, brokerDynamic, clusterDynamic)
	if t.MinCompactionLagMs > t.MaxCompactionLagMs {
		return kafkaText("conflict topic config setting min.compaction.lag.ms (" + strconv.FormatInt(t.MinCompactionLagMs, 10) +
			") > max.compaction.lag.ms (" + strconv.FormatInt(t.MaxCompactionLagMs, 10) + ")")
	}
	if strings.EqualFold(javaTrim(overrides["remote.storage.enable"]), "true") && !c.Bool("remote.log.storage.system.enable") {
		return kafkaText("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.")
	}
	return nil
}
