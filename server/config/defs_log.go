package config

// logDefs holds the log, retention, cleaner and flush configurations of the broker (ServerLogConfigs, CleanerConfig).
var logDefs = [...]Def{
	{
		Name: "auto.create.topics.enable", Type: TypeBoolean, Default: "true",
		Doc: "Create a topic with the broker's defaults when a client asks for one that does not exist.",
	},
	{
		Name: "compression.gzip.level", Type: TypeInt, Default: "-1", Update: ClusterWide,
		check: check{rule: gzipLevel},
		Doc:   "Default of the topic configuration compression.gzip.level.",
	},
	{
		Name: "compression.lz4.level", Type: TypeInt, Default: "9", Update: ClusterWide,
		check: check{rule: between, min: 1, max: 17},
		Doc:   "Default of the topic configuration compression.lz4.level.",
	},
	{
		Name: "compression.type", Type: TypeString, Default: "producer", Update: ClusterWide,
		check: check{rule: oneOf, words: "uncompressed, zstd, lz4, snappy, gzip, producer"},
		Doc:   "Default of the topic configuration compression.type.",
	},
	{
		Name: "compression.zstd.level", Type: TypeInt, Default: "3", Update: ClusterWide,
		check: check{rule: between, min: -131072, max: 22},
		Doc:   "Default of the topic configuration compression.zstd.level.",
	},
	{
		Name: "cordoned.log.dirs", Type: TypeList, Update: PerBroker,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "Log directories that get no new partitions; * stands for all of them.",
	},
	{
		Name: "default.replication.factor", Type: TypeInt, Default: "1",
		Doc: "Replicas of a topic that is created without saying how many.",
	},
	{
		Name: "delete.topic.enable", Type: TypeBoolean, Default: "true",
		Doc: "Allow topics to be deleted.",
	},
	{
		Name: "log.cleaner.backoff.ms", Type: TypeLong, Default: "15000", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Milliseconds an idle cleaner thread waits before it looks for work again.",
	},
	{
		Name: "log.cleaner.dedupe.buffer.size", Type: TypeLong, Default: "134217728", Update: ClusterWide,
		Doc: "Memory in bytes for the key tables of all cleaner threads together.",
	},
	{
		Name: "log.cleaner.delete.retention.ms", Type: TypeLong, Default: "86400000", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Default of the topic configuration delete.retention.ms.",
	},
	{
		Name: "log.cleaner.enable", Type: TypeBoolean, Default: "true",
		Doc: "Run the log cleaner; compacted topics grow without it.",
	},
	{
		Name: "log.cleaner.io.buffer.load.factor", Type: TypeDouble, Default: "0.9", Update: ClusterWide,
		Doc: "How full, from 0 to 1, a cleaner's key table may become.",
	},
	{
		Name: "log.cleaner.io.buffer.size", Type: TypeInt, Default: "524288", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Memory in bytes for the read and write buffers of all cleaner threads together.",
	},
	{
		Name: "log.cleaner.io.max.bytes.per.second", Type: TypeDouble, Default: "1.7976931348623157E308", Update: ClusterWide,
		Doc: "Bytes per second the cleaner may read and write together.",
	},
	{
		Name: "log.cleaner.max.compaction.lag.ms", Type: TypeLong, Default: "9223372036854775807", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Default of the topic configuration max.compaction.lag.ms.",
	},
	{
		Name: "log.cleaner.min.cleanable.ratio", Type: TypeDouble, Default: "0.5", Update: ClusterWide,
		check: check{rule: between, min: 0, max: 1},
		Doc:   "Default of the topic configuration min.cleanable.dirty.ratio.",
	},
	{
		Name: "log.cleaner.min.compaction.lag.ms", Type: TypeLong, Default: "0", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Default of the topic configuration min.compaction.lag.ms.",
	},
	{
		Name: "log.cleaner.threads", Type: TypeInt, Default: "1", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Threads that compact logs.",
	},
	{
		Name: "log.cleanup.policy", Type: TypeList, Default: "delete", Update: ClusterWide,
		check: check{rule: someWords, words: "compact, delete", allowEmpty: true},
		Doc:   "Default of the topic configuration cleanup.policy.",
	},
	{
		Name: "log.dir", Type: TypeList, Default: "/tmp/kafka-logs",
		check: check{rule: someWords},
		Doc:   "Directories for partition data when log.dirs is not set.",
	},
	{
		Name: "log.dir.failure.timeout.ms", Type: TypeLong, Default: "30000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds the broker keeps running while it cannot tell the controller that a log directory failed.",
	},
	{
		Name: "log.dirs", Type: TypeList, NoDefault: true,
		check: check{rule: someWords},
		Doc:   "Directories for partition data, separated by commas. Takes the place of log.dir.",
	},
	{
		Name: "log.flush.interval.messages", Type: TypeLong, Default: "9223372036854775807", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Default of the topic configuration flush.messages.",
	},
	{
		Name: "log.flush.interval.ms", Type: TypeLong, NoDefault: true, Update: ClusterWide,
		Doc: "Default of the topic configuration flush.ms; log.flush.scheduler.interval.ms when it is not set.",
	},
	{
		Name: "log.flush.offset.checkpoint.interval.ms", Type: TypeInt, Default: "60000",
		check: check{rule: atLeast},
		Doc:   "Milliseconds between two writes of the recovery-point checkpoint.",
	},
	{
		Name: "log.flush.scheduler.interval.ms", Type: TypeLong, Default: "9223372036854775807",
		Doc: "Milliseconds between two checks whether a log is due for flushing.",
	},
	{
		Name: "log.flush.start.offset.checkpoint.interval.ms", Type: TypeInt, Default: "60000",
		check: check{rule: atLeast},
		Doc:   "Milliseconds between two writes of the log-start-offset checkpoint.",
	},
	{
		Name: "log.index.interval.bytes", Type: TypeInt, Default: "4096", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Default of the topic configuration index.interval.bytes.",
	},
	{
		Name: "log.index.size.max.bytes", Type: TypeInt, Default: "10485760", Update: ClusterWide,
		check: check{rule: atLeast, min: 4},
		Doc:   "Default of the topic configuration segment.index.bytes.",
	},
	{
		Name: "log.initial.task.delay.ms", Type: TypeLong, Default: "30000", Internal: true,
		check: check{rule: atLeast},
		Doc:   "Milliseconds after start before retention, flushing and checkpoints begin.",
	},
	{
		Name: "log.local.retention.bytes", Type: TypeLong, Default: "-2", Update: ClusterWide,
		check: check{rule: atLeast, min: -2},
		Doc:   "Default of the topic configuration local.retention.bytes.",
	},
	{
		Name: "log.local.retention.ms", Type: TypeLong, Default: "-2", Update: ClusterWide,
		check: check{rule: atLeast, min: -2},
		Doc:   "Default of the topic configuration local.retention.ms.",
	},
	{
		Name: "log.message.timestamp.after.max.ms", Type: TypeLong, Default: "3600000", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Default of the topic configuration message.timestamp.after.max.ms.",
	},
	{
		Name: "log.message.timestamp.before.max.ms", Type: TypeLong, Default: "9223372036854775807", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Default of the topic configuration message.timestamp.before.max.ms.",
	},
	{
		Name: "log.message.timestamp.type", Type: TypeString, Default: "CreateTime", Update: ClusterWide,
		check: check{rule: oneOf, words: "CreateTime, LogAppendTime"},
		Doc:   "Default of the topic configuration message.timestamp.type.",
	},
	{
		Name: "log.preallocate", Type: TypeBoolean, Default: "false", Update: ClusterWide,
		Doc: "Default of the topic configuration preallocate.",
	},
	{
		Name: "log.retention.bytes", Type: TypeLong, Default: "-1", Update: ClusterWide,
		Doc: "Default of the topic configuration retention.bytes.",
	},
	{
		Name: "log.retention.check.interval.ms", Type: TypeLong, Default: "300000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two searches for segments past their retention.",
	},
	{
		Name: "log.retention.hours", Type: TypeInt, Default: "168",
		Doc: "Hours a segment is kept; read when neither log.retention.ms nor log.retention.minutes is set.",
	},
	{
		Name: "log.retention.minutes", Type: TypeInt, NoDefault: true,
		Doc: "Minutes a segment is kept; read when log.retention.ms is not set.",
	},
	{
		Name: "log.retention.ms", Type: TypeLong, NoDefault: true, Update: ClusterWide,
		Doc: "Default of the topic configuration retention.ms; log.retention.minutes, then log.retention.hours, when it is not set.",
	},
	{
		Name: "log.roll.hours", Type: TypeInt, Default: "168",
		check: check{rule: atLeast, min: 1},
		Doc:   "Hours after which a segment is closed; read when log.roll.ms is not set.",
	},
	{
		Name: "log.roll.jitter.hours", Type: TypeInt, Default: "0",
		check: check{rule: atLeast},
		Doc:   "Random hours taken off log.roll.hours; read when log.roll.jitter.ms is not set.",
	},
	{
		Name: "log.roll.jitter.ms", Type: TypeLong, NoDefault: true, Update: ClusterWide,
		Doc: "Default of the topic configuration segment.jitter.ms; log.roll.jitter.hours when it is not set.",
	},
	{
		Name: "log.roll.ms", Type: TypeLong, NoDefault: true, Update: ClusterWide,
		Doc: "Default of the topic configuration segment.ms; log.roll.hours when it is not set.",
	},
	{
		Name: "log.segment.bytes", Type: TypeInt, Default: "1073741824", Update: ClusterWide,
		check: check{rule: atLeast, min: 1048576},
		Doc:   "Default of the topic configuration segment.bytes.",
	},
	{
		Name: "log.segment.delete.delay.ms", Type: TypeLong, Default: "60000", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Default of the topic configuration file.delete.delay.ms.",
	},
	{
		Name: "max.request.partition.size.limit", Type: TypeInt, Default: "2000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Partitions one DescribeTopicPartitions response may carry.",
	},
	{
		Name: "message.max.bytes", Type: TypeInt, Default: "1048588", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Default of the topic configuration max.message.bytes.",
	},
	{
		Name: "min.insync.replicas", Type: TypeInt, Default: "1", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Default of the topic configuration min.insync.replicas.",
	},
	{
		Name: "num.partitions", Type: TypeInt, Default: "1",
		check: check{rule: atLeast, min: 1},
		Doc:   "Partitions of a topic that is created without saying how many.",
	},
	{
		Name: "num.recovery.threads.per.data.dir", Type: TypeInt, Default: "2", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads per log directory that recover logs at start and flush them at shutdown.",
	},
	{
		Name: "producer.id.expiration.check.interval.ms", Type: TypeInt, Default: "600000", Internal: true,
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two searches for expired producer ids.",
	},
	{
		Name: "producer.id.expiration.ms", Type: TypeInt, Default: "86400000", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds a partition remembers an idle producer id and its sequence numbers.",
	},
	{
		Name: "unclean.leader.election.enable", Type: TypeBoolean, Default: "false", Update: ClusterWide,
		Doc: "Default of the topic configuration unclean.leader.election.enable.",
	},
	{
		Name: "unclean.leader.election.interval.ms", Type: TypeLong, Default: "300000", Internal: true,
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two searches for partitions that need an unclean election.",
	},
}
