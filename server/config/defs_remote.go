package config

// remoteDefs holds the remote storage, metrics, policy and plugin configurations (RemoteLogManagerConfig, MetricConfigs, ServerConfigs).
var remoteDefs = [...]Def{
	{
		Name: "alter.config.policy.class.name", Type: TypeClass, NoDefault: true,
		Doc: "Java class that may refuse changes of configurations.",
	},
	{
		Name: "config.providers", Type: TypeList, Update: ClusterWide,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "Names of Java classes that fill in values kept elsewhere.",
	},
	{
		Name: "create.topic.policy.class.name", Type: TypeClass, NoDefault: true,
		Doc: "Java class that may refuse new topics.",
	},
	{
		Name: "kafka.metrics.polling.interval.secs", Type: TypeInt, Default: "10",
		check: check{rule: atLeast, min: 1},
		Doc:   "Seconds between two readings by the reporters of kafka.metrics.reporters.",
	},
	{
		Name: "kafka.metrics.reporters", Type: TypeList,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "Java classes that report the older kind of metrics.",
	},
	{
		Name: "metric.reporters", Type: TypeList, Default: "org.apache.kafka.common.metrics.JmxReporter", Update: ClusterWide,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "Java classes that report metrics.",
	},
	{
		Name: "metrics.num.samples", Type: TypeInt, Default: "2",
		check: check{rule: atLeast, min: 1},
		Doc:   "Samples kept to compute a metric.",
	},
	{
		Name: "metrics.recording.level", Type: TypeString, Default: "INFO",
		Doc: "How detailed metrics are: INFO, DEBUG or TRACE.",
	},
	{
		Name: "metrics.sample.window.ms", Type: TypeLong, Default: "30000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds one sample of a metric covers.",
	},
	{
		Name: "remote.fetch.max.wait.ms", Type: TypeInt, Default: "500", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds a fetch waits for data from remote storage.",
	},
	{
		Name: "remote.list.offsets.request.timeout.ms", Type: TypeLong, Default: "30000", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds a search for an offset in remote storage may take.",
	},
	{
		Name: "remote.log.index.file.cache.total.size.bytes", Type: TypeLong, Default: "1073741824", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Bytes of local disk for indexes fetched from remote storage.",
	},
	{
		Name: "remote.log.index.file.cache.ttl.ms", Type: TypeLong, Default: "900000", Internal: true,
		check: check{rule: atLeast, min: -1},
		Doc:   "Milliseconds an unused index from remote storage is kept; -1 keeps it while there is room.",
	},
	{
		Name: "remote.log.manager.copier.thread.pool.size", Type: TypeInt, Default: "10", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads that copy segments to remote storage.",
	},
	{
		Name: "remote.log.manager.copy.max.bytes.per.second", Type: TypeLong, Default: "9223372036854775807", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Bytes per second copied to remote storage.",
	},
	{
		Name: "remote.log.manager.copy.quota.window.num", Type: TypeInt, Default: "11",
		check: check{rule: atLeast, min: 1},
		Doc:   "Samples kept for the quota on copying to remote storage.",
	},
	{
		Name: "remote.log.manager.copy.quota.window.size.seconds", Type: TypeInt, Default: "1",
		check: check{rule: atLeast, min: 1},
		Doc:   "Seconds one sample of the quota on copying to remote storage covers.",
	},
	{
		Name: "remote.log.manager.expiration.thread.pool.size", Type: TypeInt, Default: "10", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads that remove expired segments from remote storage.",
	},
	{
		Name: "remote.log.manager.fetch.max.bytes.per.second", Type: TypeLong, Default: "9223372036854775807", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Bytes per second fetched from remote storage.",
	},
	{
		Name: "remote.log.manager.fetch.quota.window.num", Type: TypeInt, Default: "11",
		check: check{rule: atLeast, min: 1},
		Doc:   "Samples kept for the quota on fetching from remote storage.",
	},
	{
		Name: "remote.log.manager.fetch.quota.window.size.seconds", Type: TypeInt, Default: "1",
		check: check{rule: atLeast, min: 1},
		Doc:   "Seconds one sample of the quota on fetching from remote storage covers.",
	},
	{
		Name: "remote.log.manager.follower.thread.pool.size", Type: TypeInt, Default: "2", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads that follow the remote log of partitions led elsewhere.",
	},
	{
		Name: "remote.log.manager.task.interval.ms", Type: TypeLong, Default: "30000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two rounds of copying and removing.",
	},
	{
		Name: "remote.log.manager.task.retry.backoff.max.ms", Type: TypeLong, Default: "30000", Internal: true,
		check: check{rule: atLeast, min: 1},
		Doc:   "Upper limit in milliseconds of the growing pause after a failed remote task.",
	},
	{
		Name: "remote.log.manager.task.retry.backoff.ms", Type: TypeLong, Default: "500", Internal: true,
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds before a failed remote task is tried again.",
	},
	{
		Name: "remote.log.manager.task.retry.jitter", Type: TypeDouble, Default: "0.2", Internal: true,
		check: check{rule: between, min: 0, max: 0.5},
		Doc:   "Random share, up to one half, of the pause after a failed remote task.",
	},
	{
		Name: "remote.log.manager.thread.pool.size", Type: TypeInt, Default: "2",
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads that plan remote storage work.",
	},
	{
		Name: "remote.log.metadata.custom.metadata.max.bytes", Type: TypeInt, Default: "128",
		check: check{rule: atLeast},
		Doc:   "Largest metadata in bytes a storage plugin may attach to a segment.",
	},
	{
		Name: "remote.log.metadata.manager.class.name", Type: TypeString, Default: "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager",
		check: check{rule: notEmpty},
		Doc:   "Java class that stores which segments are in remote storage.",
	},
	{
		Name: "remote.log.metadata.manager.class.path", Type: TypeString, NoDefault: true,
		Doc: "Class path of the remote metadata manager.",
	},
	{
		Name: "remote.log.metadata.manager.impl.prefix", Type: TypeString, Default: "rlmm.config.",
		check: check{rule: notEmpty},
		Doc:   "Prefix of the configurations handed to the remote metadata manager.",
	},
	{
		Name: "remote.log.metadata.manager.listener.name", Type: TypeString, NoDefault: true,
		check: check{rule: notEmpty},
		Doc:   "Listener the remote metadata manager connects to.",
	},
	{
		Name: "remote.log.reader.max.pending.tasks", Type: TypeInt, Default: "100",
		check: check{rule: atLeast, min: 1},
		Doc:   "Reads of remote storage that may wait for a thread.",
	},
	{
		Name: "remote.log.reader.threads", Type: TypeInt, Default: "10", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads that read from remote storage.",
	},
	{
		Name: "remote.log.storage.manager.class.name", Type: TypeString, NoDefault: true,
		check: check{rule: notEmpty},
		Doc:   "Java class that talks to remote storage.",
	},
	{
		Name: "remote.log.storage.manager.class.path", Type: TypeString, NoDefault: true,
		Doc: "Class path of the remote storage manager.",
	},
	{
		Name: "remote.log.storage.manager.impl.prefix", Type: TypeString, Default: "rsm.config.",
		check: check{rule: notEmpty},
		Doc:   "Prefix of the configurations handed to the remote storage manager.",
	},
	{
		Name: "remote.log.storage.system.enable", Type: TypeBoolean, Default: "false",
		Doc: "Offer remote storage to topics.",
	},
}
