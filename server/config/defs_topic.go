package config

// topicDefs holds the topic configurations, in the terms of org.apache.kafka.common.config.TopicConfig and LogConfig.
var topicDefs = [...]Def{
	{
		Name: "cleanup.policy", Type: TypeList, Default: "delete",
		check:    check{rule: someWords, words: "compact, delete", allowEmpty: true},
		Synonyms: []Synonym{{"log.cleanup.policy", 1}},
		Doc:      "What happens to old segments: delete drops them by age and size, compact keeps the newest record of every key, both may be combined, and an empty list keeps everything.",
	},
	{
		Name: "compression.gzip.level", Type: TypeInt, Default: "-1",
		check:    check{rule: gzipLevel},
		Synonyms: []Synonym{{"compression.gzip.level", 1}},
		Doc:      "Effort of the gzip encoder when the broker itself compresses; -1 is the encoder's own default.",
	},
	{
		Name: "compression.lz4.level", Type: TypeInt, Default: "9",
		check:    check{rule: between, min: 1, max: 17},
		Synonyms: []Synonym{{"compression.lz4.level", 1}},
		Doc:      "Effort of the LZ4 encoder when the broker itself compresses, from 1 (fastest) to 17 (smallest).",
	},
	{
		Name: "compression.type", Type: TypeString, Default: "producer",
		check:    check{rule: oneOf, words: "uncompressed, zstd, lz4, snappy, gzip, producer"},
		Synonyms: []Synonym{{"compression.type", 1}},
		Doc:      "Codec of the batches as stored: producer keeps what the client sent, uncompressed removes compression, any other name re-encodes.",
	},
	{
		Name: "compression.zstd.level", Type: TypeInt, Default: "3",
		check:    check{rule: between, min: -131072, max: 22},
		Synonyms: []Synonym{{"compression.zstd.level", 1}},
		Doc:      "Effort of the Zstandard encoder when the broker itself compresses; larger is smaller and slower, negative trades size for speed.",
	},
	{
		Name: "delete.retention.ms", Type: TypeLong, Default: "86400000",
		check:    check{rule: atLeast},
		Synonyms: []Synonym{{"log.cleaner.delete.retention.ms", 1}},
		Doc:      "Milliseconds a tombstone or transaction marker of a compacted topic stays readable after the cleaner first met it.",
	},
	{
		Name: "file.delete.delay.ms", Type: TypeLong, Default: "60000",
		check:    check{rule: atLeast},
		Synonyms: []Synonym{{"log.segment.delete.delay.ms", 1}},
		Doc:      "Milliseconds between taking a segment out of the log and removing its files, so that running reads can finish.",
	},
	{
		Name: "flush.messages", Type: TypeLong, Default: "9223372036854775807",
		check:    check{rule: atLeast, min: 1},
		Synonyms: []Synonym{{"log.flush.interval.messages", 1}},
		Doc:      "Force the log to disk after this many records. When nobody sets it or flush.ms, every acknowledged write is synced first.",
	},
	{
		Name: "flush.ms", Type: TypeLong, Default: "9223372036854775807",
		check:    check{rule: atLeast},
		Synonyms: []Synonym{{"log.flush.interval.ms", 1}, {"log.flush.scheduler.interval.ms", 1}},
		Doc:      "Force the log to disk once a record has waited this many milliseconds. When nobody sets it or flush.messages, every acknowledged write is synced first.",
	},
	{
		Name: "follower.replication.throttled.replicas", Type: TypeList,
		check: check{rule: throttled},
		Doc:   "Replicas whose follower side counts against the replication quota: partition:broker pairs, or * for all of them.",
	},
	{
		Name: "index.interval.bytes", Type: TypeInt, Default: "4096",
		check:    check{rule: atLeast},
		Synonyms: []Synonym{{"log.index.interval.bytes", 1}},
		Doc:      "Bytes of log between two entries of the offset index; smaller finds positions faster and grows the index.",
	},
	{
		Name: "internal.segment.bytes", Type: TypeInt, NoDefault: true, Internal: true,
		Doc: "Segment size for tests, free of the lower limit of segment.bytes.",
	},
	{
		Name: "leader.replication.throttled.replicas", Type: TypeList,
		check: check{rule: throttled},
		Doc:   "Replicas whose leader side counts against the replication quota: partition:broker pairs, or * for all of them.",
	},
	{
		Name: "local.retention.bytes", Type: TypeLong, Default: "-2",
		check:    check{rule: atLeast, min: -2},
		Synonyms: []Synonym{{"log.local.retention.bytes", 1}},
		Doc:      "Bytes kept on local disk once older segments are in remote storage; -2 means retention.bytes.",
	},
	{
		Name: "local.retention.ms", Type: TypeLong, Default: "-2",
		check:    check{rule: atLeast, min: -2},
		Synonyms: []Synonym{{"log.local.retention.ms", 1}},
		Doc:      "Milliseconds segments stay on local disk once they are in remote storage; -2 means retention.ms.",
	},
	{
		Name: "max.compaction.lag.ms", Type: TypeLong, Default: "9223372036854775807",
		check:    check{rule: atLeast, min: 1},
		Synonyms: []Synonym{{"log.cleaner.max.compaction.lag.ms", 1}},
		Doc:      "Longest time in milliseconds a record of a compacted topic may stay out of reach of the cleaner.",
	},
	{
		Name: "max.message.bytes", Type: TypeInt, Default: "1048588",
		check:    check{rule: atLeast},
		Synonyms: []Synonym{{"message.max.bytes", 1}},
		Doc:      "Largest record batch in bytes, measured as stored (after compression, with its header).",
	},
	{
		Name: "message.timestamp.after.max.ms", Type: TypeLong, Default: "3600000",
		check:    check{rule: atLeast},
		Synonyms: []Synonym{{"log.message.timestamp.after.max.ms", 1}},
		Doc:      "How far in milliseconds a producer's timestamp may run ahead of the broker's clock; applies to CreateTime only.",
	},
	{
		Name: "message.timestamp.before.max.ms", Type: TypeLong, Default: "9223372036854775807",
		check:    check{rule: atLeast},
		Synonyms: []Synonym{{"log.message.timestamp.before.max.ms", 1}},
		Doc:      "How far in milliseconds a producer's timestamp may lie behind the broker's clock; applies to CreateTime only.",
	},
	{
		Name: "message.timestamp.type", Type: TypeString, Default: "CreateTime",
		check:    check{rule: oneOf, words: "CreateTime, LogAppendTime"},
		Synonyms: []Synonym{{"log.message.timestamp.type", 1}},
		Doc:      "Whose clock stamps records: CreateTime keeps the producer's timestamp, LogAppendTime replaces it on arrival.",
	},
	{
		Name: "min.cleanable.dirty.ratio", Type: TypeDouble, Default: "0.5",
		check:    check{rule: between, min: 0, max: 1},
		Synonyms: []Synonym{{"log.cleaner.min.cleanable.ratio", 1}},
		Doc:      "Share of a compacted log, between 0 and 1, that must be uncleaned before the cleaner spends time on it.",
	},
	{
		Name: "min.compaction.lag.ms", Type: TypeLong, Default: "0",
		check:    check{rule: atLeast},
		Synonyms: []Synonym{{"log.cleaner.min.compaction.lag.ms", 1}},
		Doc:      "Shortest time in milliseconds a record stays untouched by compaction.",
	},
	{
		Name: "min.insync.replicas", Type: TypeInt, Default: "1",
		check:    check{rule: atLeast, min: 1},
		Synonyms: []Synonym{{"min.insync.replicas", 1}},
		Doc:      "Replicas that must hold a record before a write with acks=all is answered with success.",
	},
	{
		Name: "preallocate", Type: TypeBoolean, Default: "false",
		Synonyms: []Synonym{{"log.preallocate", 1}},
		Doc:      "Reserve a segment's full size on disk when it is created.",
	},
	{
		Name: "remote.log.copy.disable", Type: TypeBoolean, Default: "false",
		Doc: "Stop copying segments to remote storage; what is there stays readable.",
	},
	{
		Name: "remote.log.delete.on.disable", Type: TypeBoolean, Default: "false",
		Doc: "Remove a topic's remote data when remote storage is turned off for it.",
	},
	{
		Name: "remote.storage.enable", Type: TypeBoolean, Default: "false",
		Doc: "Keep older segments of this topic in remote storage. Needs remote.log.storage.system.enable on the broker.",
	},
	{
		Name: "retention.bytes", Type: TypeLong, Default: "-1",
		Synonyms: []Synonym{{"log.retention.bytes", 1}},
		Doc:      "Bytes one partition may hold before its oldest segments go; -1 is no limit.",
	},
	{
		Name: "retention.ms", Type: TypeLong, Default: "604800000",
		check:    check{rule: atLeast, min: -1},
		Synonyms: []Synonym{{"log.retention.ms", 1}, {"log.retention.minutes", 60000}, {"log.retention.hours", 3600000}},
		Doc:      "Milliseconds a segment is kept after its newest record; -1 keeps it for ever.",
	},
	{
		Name: "segment.bytes", Type: TypeInt, Default: "1073741824",
		check:    check{rule: atLeast, min: 1048576},
		Synonyms: []Synonym{{"log.segment.bytes", 1}},
		Doc:      "Bytes after which a new segment file is started.",
	},
	{
		Name: "segment.index.bytes", Type: TypeInt, Default: "10485760",
		check:    check{rule: atLeast, min: 4},
		Synonyms: []Synonym{{"log.index.size.max.bytes", 1}},
		Doc:      "Upper limit in bytes of one index file; a full index starts a new segment.",
	},
	{
		Name: "segment.jitter.ms", Type: TypeLong, Default: "0",
		check:    check{rule: atLeast},
		Synonyms: []Synonym{{"log.roll.jitter.ms", 1}, {"log.roll.jitter.hours", 3600000}},
		Doc:      "Random milliseconds, up to this many, taken off segment.ms so that partitions do not roll together.",
	},
	{
		Name: "segment.ms", Type: TypeLong, Default: "604800000",
		check:    check{rule: atLeast, min: 1},
		Synonyms: []Synonym{{"log.roll.ms", 1}, {"log.roll.hours", 3600000}},
		Doc:      "Milliseconds after which a segment is closed even when it is not full.",
	},
	{
		Name: "unclean.leader.election.enable", Type: TypeBoolean, Default: "false",
		Synonyms: []Synonym{{"unclean.leader.election.enable", 1}},
		Doc:      "Let a replica that missed acknowledged records lead when no other is left; those records are lost.",
	},
}
