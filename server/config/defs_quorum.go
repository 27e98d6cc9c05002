package config

// quorumDefs holds the roles, controller, KRaft and metadata log configurations (KRaftConfigs, QuorumConfig, MetadataLogConfig).
var quorumDefs = [...]Def{
	{
		Name: "auto.leader.rebalance.enable", Type: TypeBoolean, Default: "true",
		Doc: "Move leadership back to preferred replicas from time to time.",
	},
	{
		Name: "broker.heartbeat.interval.ms", Type: TypeInt, Default: "2000",
		Doc: "Milliseconds between two heartbeats of a broker to the controller.",
	},
	{
		Name: "broker.id", Type: TypeInt, Default: "-1",
		Doc: "Older name of node.id; both must agree when both are set.",
	},
	{
		Name: "broker.rack", Type: TypeString, NoDefault: true,
		Doc: "Rack of this broker, used to spread replicas and to find the nearest one.",
	},
	{
		Name: "broker.session.timeout.ms", Type: TypeInt, Default: "9000",
		Doc: "Milliseconds without a heartbeat after which the controller fences a broker.",
	},
	{
		Name: "controlled.shutdown.enable", Type: TypeBoolean, Default: "true",
		Doc: "Hand over leadership before the broker stops.",
	},
	{
		Name: "controller.listener.names", Type: TypeList, NoDefault: true,
		check: check{rule: someWords},
		Doc:   "Names of the listeners that belong to the controller.",
	},
	{
		Name: "controller.performance.always.log.threshold.ms", Type: TypeLong, Default: "2000", Internal: true,
		check: check{rule: atLeast},
		Doc:   "Milliseconds after which a controller event is always reported as slow.",
	},
	{
		Name: "controller.performance.sample.period.ms", Type: TypeLong, Default: "60000", Internal: true,
		check: check{rule: atLeast, min: 100},
		Doc:   "Milliseconds over which the controller measures its slowest event.",
	},
	{
		Name: "controller.quorum.append.linger.ms", Type: TypeInt, Default: "25",
		check: check{rule: atLeast},
		Doc:   "Milliseconds the quorum's leader gathers records before it writes them.",
	},
	{
		Name: "controller.quorum.auto.join.enable", Type: TypeBoolean, Default: "false",
		Doc: "Let a controller add itself to the voters when it starts.",
	},
	{
		Name: "controller.quorum.bootstrap.servers", Type: TypeList,
		Doc: "Addresses, as host:port, at which the metadata quorum is found.",
	},
	{
		Name: "controller.quorum.election.backoff.max.ms", Type: TypeInt, Default: "1000",
		check: check{rule: atLeast},
		Doc:   "Upper limit in milliseconds of the pause before a candidate tries again.",
	},
	{
		Name: "controller.quorum.election.timeout.ms", Type: TypeInt, Default: "1000",
		check: check{rule: atLeast},
		Doc:   "Milliseconds without a leader after which an election begins.",
	},
	{
		Name: "controller.quorum.fetch.max.bytes", Type: TypeInt, Default: "1048576",
		check: check{rule: atLeast, min: 1},
		Doc:   "Bytes of the metadata log one fetch of a follower may bring.",
	},
	{
		Name: "controller.quorum.fetch.snapshot.max.bytes", Type: TypeInt, Default: "1048576",
		check: check{rule: atLeast, min: 1},
		Doc:   "Bytes of a metadata snapshot one fetch may bring.",
	},
	{
		Name: "controller.quorum.fetch.timeout.ms", Type: TypeInt, Default: "2000",
		check: check{rule: atLeast},
		Doc:   "Milliseconds without a successful fetch after which a follower becomes a candidate, or a leader steps down.",
	},
	{
		Name: "controller.quorum.request.timeout.ms", Type: TypeInt, Default: "2000",
		check: check{rule: atLeast},
		Doc:   "Milliseconds the quorum waits for an answer.",
	},
	{
		Name: "controller.quorum.retry.backoff.ms", Type: TypeInt, Default: "20",
		check: check{rule: atLeast},
		Doc:   "Milliseconds the quorum waits before it repeats a request.",
	},
	{
		Name: "controller.quorum.voters", Type: TypeList,
		Doc: "Voters of a static metadata quorum, as id@host:port.",
	},
	{
		Name: "controller.quota.window.num", Type: TypeInt, Default: "11",
		check: check{rule: atLeast, min: 1},
		Doc:   "Samples kept for the quota on topic and partition changes.",
	},
	{
		Name: "controller.quota.window.size.seconds", Type: TypeInt, Default: "1",
		check: check{rule: atLeast, min: 1},
		Doc:   "Seconds one sample of the quota on topic and partition changes covers.",
	},
	{
		Name: "controller.socket.timeout.ms", Type: TypeInt, Default: "30000",
		Doc: "Milliseconds a broker waits on its connection to the controller.",
	},
	{
		Name: "early.start.listeners", Type: TypeList, NoDefault: true,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "Listeners that may open before the authorizer is ready.",
	},
	{
		Name: "initial.broker.registration.timeout.ms", Type: TypeInt, Default: "60000",
		Doc: "Milliseconds a starting broker tries to register before it gives up.",
	},
	{
		Name: "internal.metadata.delete.delay.millis", Type: TypeLong, Default: "60000", Internal: true,
		Doc: "Milliseconds before files of removed metadata segments are deleted.",
	},
	{
		Name: "internal.metadata.log.segment.bytes", Type: TypeInt, NoDefault: true, Internal: true,
		Doc: "Size of metadata log segments for tests.",
	},
	{
		Name: "internal.metadata.max.batch.size.in.bytes", Type: TypeInt, Default: "8388608", Internal: true,
		Doc: "Largest batch in bytes of the metadata log.",
	},
	{
		Name: "leader.imbalance.check.interval.seconds", Type: TypeLong, Default: "300",
		check: check{rule: atLeast, min: 1},
		Doc:   "Seconds between two checks of how leaders are spread.",
	},
	{
		Name: "metadata.log.dir", Type: TypeString, NoDefault: true,
		Doc: "Directory of the metadata log; the first of log.dirs when it is not set.",
	},
	{
		Name: "metadata.log.max.record.bytes.between.snapshots", Type: TypeLong, Default: "20971520",
		check: check{rule: atLeast, min: 1},
		Doc:   "Bytes of metadata records after which a snapshot is taken.",
	},
	{
		Name: "metadata.log.max.snapshot.interval.ms", Type: TypeLong, Default: "3600000",
		check: check{rule: atLeast},
		Doc:   "Milliseconds after which a snapshot is taken when there are records beyond the last one; 0 turns this off.",
	},
	{
		Name: "metadata.log.segment.bytes", Type: TypeInt, Default: "1073741824",
		check: check{rule: atLeast, min: 8388608},
		Doc:   "Bytes after which the metadata log starts a new segment.",
	},
	{
		Name: "metadata.log.segment.ms", Type: TypeLong, Default: "604800000",
		Doc: "Milliseconds after which the metadata log starts a new segment.",
	},
	{
		Name: "metadata.max.idle.interval.ms", Type: TypeInt, Default: "500",
		check: check{rule: atLeast},
		Doc:   "Milliseconds between two no-op records an idle controller writes; 0 writes none.",
	},
	{
		Name: "metadata.max.retention.bytes", Type: TypeLong, Default: "104857600",
		Doc: "Bytes of metadata log and snapshots kept before the oldest go.",
	},
	{
		Name: "metadata.max.retention.ms", Type: TypeLong, Default: "604800000",
		Doc: "Milliseconds metadata log and snapshots are kept before the oldest go.",
	},
	{
		Name: "node.id", Type: TypeInt, NoDefault: true,
		check: check{rule: atLeast},
		Doc:   "Number of this node in the cluster, unique among brokers and controllers.",
	},
	{
		Name: "process.roles", Type: TypeList, NoDefault: true,
		check: check{rule: someWords, words: "broker, controller"},
		Doc:   "Roles of this node: broker, controller or both.",
	},
	{
		Name: "unstable.api.versions.enable", Type: TypeBoolean, Default: "false", Internal: true,
		Doc: "Offer versions of requests that are not released yet.",
	},
	{
		Name: "unstable.feature.versions.enable", Type: TypeBoolean, Default: "false", Internal: true,
		Doc: "Allow feature levels that are not released yet.",
	},
}
