package config

// replicaDefs holds the replication, quota and throttling configurations of the broker (ReplicationConfigs, QuotaConfig).
var replicaDefs = [...]Def{
	{
		Name: "add.partitions.to.txn.retry.backoff.max.ms", Type: TypeInt, Default: "100",
		check: check{rule: atLeast},
		Doc:   "Milliseconds up to which the broker repeats adding a partition to a transaction while the transaction's last markers are written.",
	},
	{
		Name: "add.partitions.to.txn.retry.backoff.ms", Type: TypeInt, Default: "20",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two tries of adding a partition to a transaction on the broker.",
	},
	{
		Name: "alter.log.dirs.replication.quota.window.num", Type: TypeInt, Default: "11",
		check: check{rule: atLeast, min: 1},
		Doc:   "Samples kept for the quota on moving replicas between log directories.",
	},
	{
		Name: "alter.log.dirs.replication.quota.window.size.seconds", Type: TypeInt, Default: "1",
		check: check{rule: atLeast, min: 1},
		Doc:   "Seconds one sample of the quota on moving replicas between log directories covers.",
	},
	{
		Name: "client.quota.callback.class", Type: TypeClass, NoDefault: true,
		Doc: "Java class that decides client quotas.",
	},
	{
		Name: "follower.fetch.last.tiered.offset.enable", Type: TypeBoolean, Default: "false", Update: ClusterWide,
		Doc: "Let a new follower of a tiered topic begin at the first offset that is only local.",
	},
	{
		Name: "follower.replication.throttled.rate", Type: TypeLong, Default: "9223372036854775807", Update: ClusterWide, DynamicOnly: true,
		check: check{rule: atLeast},
		Doc:   "Bytes per second of replication traffic into the throttled replicas of this broker. Only settable while the broker runs.",
	},
	{
		Name: "leader.replication.throttled.rate", Type: TypeLong, Default: "9223372036854775807", Update: ClusterWide, DynamicOnly: true,
		check: check{rule: atLeast},
		Doc:   "Bytes per second of replication traffic out of the throttled replicas of this broker. Only settable while the broker runs.",
	},
	{
		Name: "num.replica.alter.log.dirs.threads", Type: TypeInt, NoDefault: true,
		Doc: "Threads that move replicas between log directories.",
	},
	{
		Name: "num.replica.fetchers", Type: TypeInt, Default: "1", Update: ClusterWide,
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads per source broker that fetch for followers.",
	},
	{
		Name: "quota.window.num", Type: TypeInt, Default: "11",
		check: check{rule: atLeast, min: 1},
		Doc:   "Samples kept for client quotas.",
	},
	{
		Name: "quota.window.size.seconds", Type: TypeInt, Default: "1",
		check: check{rule: atLeast, min: 1},
		Doc:   "Seconds one sample of a client quota covers.",
	},
	{
		Name: "replica.alter.log.dirs.io.max.bytes.per.second", Type: TypeLong, Default: "9223372036854775807", Update: ClusterWide, DynamicOnly: true,
		check: check{rule: atLeast},
		Doc:   "Bytes per second for moving replicas between log directories. Only settable while the broker runs.",
	},
	{
		Name: "replica.fetch.backoff.ms", Type: TypeInt, Default: "1000",
		check: check{rule: atLeast},
		Doc:   "Milliseconds a follower waits after a failed fetch.",
	},
	{
		Name: "replica.fetch.max.bytes", Type: TypeInt, Default: "1048576",
		check: check{rule: atLeast},
		Doc:   "Bytes per partition a follower asks for in one fetch.",
	},
	{
		Name: "replica.fetch.min.bytes", Type: TypeInt, Default: "1",
		Doc: "Bytes a follower's fetch waits for.",
	},
	{
		Name: "replica.fetch.response.max.bytes", Type: TypeInt, Default: "10485760",
		check: check{rule: atLeast},
		Doc:   "Bytes a follower asks for in one fetch over all partitions.",
	},
	{
		Name: "replica.fetch.wait.max.ms", Type: TypeInt, Default: "500",
		Doc: "Milliseconds a follower's fetch waits for data.",
	},
	{
		Name: "replica.high.watermark.checkpoint.interval.ms", Type: TypeLong, Default: "5000",
		Doc: "Milliseconds between two writes of the high-watermark checkpoint.",
	},
	{
		Name: "replica.lag.time.max.ms", Type: TypeLong, Default: "30000",
		Doc: "Milliseconds a follower may lag before it leaves the in-sync replicas.",
	},
	{
		Name: "replica.selector.class", Type: TypeString, NoDefault: true,
		Doc: "Java class that picks the replica a consumer should read from.",
	},
	{
		Name: "replica.socket.receive.buffer.bytes", Type: TypeInt, Default: "65536",
		Doc: "Size in bytes of the receive buffer of a follower's connection.",
	},
	{
		Name: "replica.socket.timeout.ms", Type: TypeInt, Default: "30000",
		Doc: "Milliseconds a follower waits on its connection; at least replica.fetch.wait.max.ms.",
	},
	{
		Name: "replication.quota.window.num", Type: TypeInt, Default: "11",
		check: check{rule: atLeast, min: 1},
		Doc:   "Samples kept for the replication quota.",
	},
	{
		Name: "replication.quota.window.size.seconds", Type: TypeInt, Default: "1",
		check: check{rule: atLeast, min: 1},
		Doc:   "Seconds one sample of the replication quota covers.",
	},
}
