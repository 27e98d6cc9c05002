package config

// groupDefs holds the group coordinator configurations: offsets, classic, consumer, share and streams groups (GroupCoordinatorConfig, ShareGroupConfig).
var groupDefs = [...]Def{
	{
		Name: "group.consumer.assignment.interval.ms", Type: TypeInt, Default: "1000", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Milliseconds between two assignments of a consumer group, at least.",
	},
	{
		Name: "group.consumer.assignors", Type: TypeList, Default: "uniform,range",
		check: check{rule: someWords},
		Doc:   "Server-side assignors for consumer groups, the first being the default.",
	},
	{
		Name: "group.consumer.heartbeat.interval.ms", Type: TypeInt, Default: "5000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two heartbeats asked of members of a consumer group.",
	},
	{
		Name: "group.consumer.max.assignment.interval.ms", Type: TypeInt, Default: "15000",
		check: check{rule: atLeast},
		Doc:   "Upper limit of consumer.assignment.interval.ms.",
	},
	{
		Name: "group.consumer.max.heartbeat.interval.ms", Type: TypeInt, Default: "15000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Upper limit of consumer.heartbeat.interval.ms.",
	},
	{
		Name: "group.consumer.max.session.timeout.ms", Type: TypeInt, Default: "60000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Upper limit of consumer.session.timeout.ms.",
	},
	{
		Name: "group.consumer.max.size", Type: TypeInt, Default: "2147483647",
		check: check{rule: atLeast, min: 1},
		Doc:   "Members one consumer group may have.",
	},
	{
		Name: "group.consumer.migration.policy", Type: TypeString, Default: "bidirectional",
		check: check{rule: oneOfFold, words: "DISABLED, DOWNGRADE, UPGRADE, BIDIRECTIONAL"},
		Doc:   "Whether a group may change between the classic and the consumer protocol while it has members.",
	},
	{
		Name: "group.consumer.min.assignment.interval.ms", Type: TypeInt, Default: "0",
		check: check{rule: atLeast},
		Doc:   "Lower limit of consumer.assignment.interval.ms.",
	},
	{
		Name: "group.consumer.min.heartbeat.interval.ms", Type: TypeInt, Default: "5000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Lower limit of consumer.heartbeat.interval.ms.",
	},
	{
		Name: "group.consumer.min.session.timeout.ms", Type: TypeInt, Default: "45000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Lower limit of consumer.session.timeout.ms.",
	},
	{
		Name: "group.consumer.regex.refresh.interval.ms", Type: TypeInt, Default: "600000", Internal: true,
		check: check{rule: atLeast, min: 10000},
		Doc:   "Milliseconds between two evaluations of the pattern subscriptions of a group.",
	},
	{
		Name: "group.consumer.session.timeout.ms", Type: TypeInt, Default: "45000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds without a heartbeat after which a member leaves a consumer group.",
	},
	{
		Name: "group.coordinator.append.linger.ms", Type: TypeInt, Default: "-1",
		check: check{rule: atLeast, min: -1},
		Doc:   "Milliseconds the coordinator gathers writes before they go to the log; -1 adapts to the load.",
	},
	{
		Name: "group.coordinator.background.threads", Type: TypeInt, Default: "2",
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads for the coordinator's background work.",
	},
	{
		Name: "group.coordinator.cached.buffer.max.bytes", Type: TypeInt, Default: "1048588", Update: ClusterWide,
		check: check{rule: atLeast, min: 524288},
		Doc:   "Largest write buffer in bytes the coordinator keeps for reuse.",
	},
	{
		Name: "group.coordinator.rebalance.protocols", Type: TypeList, Default: "classic,consumer,streams",
		check: check{rule: someWords, words: "consumer, classic, share, streams"},
		Doc:   "Group protocols this broker serves.",
	},
	{
		Name: "group.coordinator.threads", Type: TypeInt, Default: "4",
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads that carry out the coordinator's work.",
	},
	{
		Name: "group.initial.rebalance.delay.ms", Type: TypeInt, Default: "3000",
		Doc: "Milliseconds the first rebalance of an empty classic group waits for more members.",
	},
	{
		Name: "group.max.session.timeout.ms", Type: TypeInt, Default: "1800000",
		Doc: "Longest session time-out in milliseconds a member of a classic group may ask for.",
	},
	{
		Name: "group.max.size", Type: TypeInt, Default: "2147483647",
		check: check{rule: atLeast, min: 1},
		Doc:   "Members one classic group may have.",
	},
	{
		Name: "group.min.session.timeout.ms", Type: TypeInt, Default: "6000",
		Doc: "Shortest session time-out in milliseconds a member of a classic group may ask for.",
	},
	{
		Name: "group.share.assignment.interval.ms", Type: TypeInt, Default: "1000", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Milliseconds between two assignments of a share group, at least.",
	},
	{
		Name: "group.share.assignors", Type: TypeList, Default: "simple",
		check: check{rule: someWords},
		Doc:   "Server-side assignors for share groups.",
	},
	{
		Name: "group.share.delivery.count.limit", Type: TypeInt, Default: "5",
		check: check{rule: between, min: 2, max: 10},
		Doc:   "Deliveries of a record in a share group before it is given up.",
	},
	{
		Name: "group.share.heartbeat.interval.ms", Type: TypeInt, Default: "5000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two heartbeats asked of members of a share group.",
	},
	{
		Name: "group.share.initialize.retry.interval.ms", Type: TypeInt, Default: "30000", Internal: true,
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds before the set-up of share-group state is tried again.",
	},
	{
		Name: "group.share.max.assignment.interval.ms", Type: TypeInt, Default: "15000",
		check: check{rule: atLeast},
		Doc:   "Upper limit of share.assignment.interval.ms.",
	},
	{
		Name: "group.share.max.delivery.count.limit", Type: TypeInt, Default: "10",
		check: check{rule: between, min: 5, max: 25},
		Doc:   "Upper limit of share.delivery.count.limit.",
	},
	{
		Name: "group.share.max.heartbeat.interval.ms", Type: TypeInt, Default: "15000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Upper limit of share.heartbeat.interval.ms.",
	},
	{
		Name: "group.share.max.partition.max.record.locks", Type: TypeInt, Default: "4000",
		check: check{rule: between, min: 2000, max: 10000},
		Doc:   "Upper limit of share.partition.max.record.locks.",
	},
	{
		Name: "group.share.max.record.lock.duration.ms", Type: TypeInt, Default: "60000",
		check: check{rule: between, min: 30000, max: 3600000},
		Doc:   "Upper limit of share.record.lock.duration.ms.",
	},
	{
		Name: "group.share.max.session.timeout.ms", Type: TypeInt, Default: "60000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Upper limit of share.session.timeout.ms.",
	},
	{
		Name: "group.share.max.share.sessions", Type: TypeInt, Default: "2000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Share sessions one broker holds.",
	},
	{
		Name: "group.share.max.size", Type: TypeInt, Default: "200",
		check: check{rule: between, min: 1, max: 1000},
		Doc:   "Members one share group may have.",
	},
	{
		Name: "group.share.min.assignment.interval.ms", Type: TypeInt, Default: "0",
		check: check{rule: atLeast},
		Doc:   "Lower limit of share.assignment.interval.ms.",
	},
	{
		Name: "group.share.min.delivery.count.limit", Type: TypeInt, Default: "2",
		check: check{rule: between, min: 2, max: 5},
		Doc:   "Lower limit of share.delivery.count.limit.",
	},
	{
		Name: "group.share.min.heartbeat.interval.ms", Type: TypeInt, Default: "5000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Lower limit of share.heartbeat.interval.ms.",
	},
	{
		Name: "group.share.min.partition.max.record.locks", Type: TypeInt, Default: "100",
		check: check{rule: between, min: 100, max: 2000},
		Doc:   "Lower limit of share.partition.max.record.locks.",
	},
	{
		Name: "group.share.min.record.lock.duration.ms", Type: TypeInt, Default: "15000",
		check: check{rule: between, min: 1000, max: 30000},
		Doc:   "Lower limit of share.record.lock.duration.ms.",
	},
	{
		Name: "group.share.min.session.timeout.ms", Type: TypeInt, Default: "45000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Lower limit of share.session.timeout.ms.",
	},
	{
		Name: "group.share.partition.max.record.locks", Type: TypeInt, Default: "2000",
		check: check{rule: between, min: 100, max: 10000},
		Doc:   "Records of a share partition that may be with consumers at once.",
	},
	{
		Name: "group.share.persister.class.name", Type: TypeString, Default: "org.apache.kafka.server.share.persister.DefaultStatePersister", Internal: true,
		Doc: "Java class that stores the state of share groups.",
	},
	{
		Name: "group.share.record.lock.duration.ms", Type: TypeInt, Default: "30000",
		check: check{rule: between, min: 1000, max: 3600000},
		Doc:   "Milliseconds a consumer of a share group has to acknowledge a record.",
	},
	{
		Name: "group.share.session.timeout.ms", Type: TypeInt, Default: "45000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds without a heartbeat after which a member leaves a share group.",
	},
	{
		Name: "group.streams.assignment.interval.ms", Type: TypeInt, Default: "1000", Update: ClusterWide,
		check: check{rule: atLeast},
		Doc:   "Milliseconds between two assignments of a streams group, at least.",
	},
	{
		Name: "group.streams.heartbeat.interval.ms", Type: TypeInt, Default: "5000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two heartbeats asked of members of a streams group.",
	},
	{
		Name: "group.streams.initial.rebalance.delay.ms", Type: TypeInt, Default: "3000",
		check: check{rule: atLeast},
		Doc:   "Milliseconds the first assignment of a streams group waits for more members.",
	},
	{
		Name: "group.streams.max.assignment.interval.ms", Type: TypeInt, Default: "15000",
		check: check{rule: atLeast},
		Doc:   "Upper limit of streams.assignment.interval.ms.",
	},
	{
		Name: "group.streams.max.heartbeat.interval.ms", Type: TypeInt, Default: "15000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Upper limit of streams.heartbeat.interval.ms.",
	},
	{
		Name: "group.streams.max.session.timeout.ms", Type: TypeInt, Default: "60000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Upper limit of streams.session.timeout.ms.",
	},
	{
		Name: "group.streams.max.size", Type: TypeInt, Default: "2147483647",
		check: check{rule: atLeast, min: 1},
		Doc:   "Members one streams group may have.",
	},
	{
		Name: "group.streams.max.standby.replicas", Type: TypeInt, Default: "2",
		check: check{rule: atLeast},
		Doc:   "Upper limit of streams.num.standby.replicas.",
	},
	{
		Name: "group.streams.min.assignment.interval.ms", Type: TypeInt, Default: "0",
		check: check{rule: atLeast},
		Doc:   "Lower limit of streams.assignment.interval.ms.",
	},
	{
		Name: "group.streams.min.heartbeat.interval.ms", Type: TypeInt, Default: "5000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Lower limit of streams.heartbeat.interval.ms.",
	},
	{
		Name: "group.streams.min.session.timeout.ms", Type: TypeInt, Default: "45000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Lower limit of streams.session.timeout.ms.",
	},
	{
		Name: "group.streams.num.standby.replicas", Type: TypeInt, Default: "0",
		check: check{rule: atLeast},
		Doc:   "Standby copies kept of every stateful task.",
	},
	{
		Name: "group.streams.session.timeout.ms", Type: TypeInt, Default: "45000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds without a heartbeat after which a member leaves a streams group.",
	},
	{
		Name: "offset.metadata.max.bytes", Type: TypeInt, Default: "4096",
		Doc: "Largest metadata text in bytes of a committed offset.",
	},
	{
		Name: "offsets.commit.timeout.ms", Type: TypeInt, Default: "5000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds an offset commit may take to be written.",
	},
	{
		Name: "offsets.load.buffer.size", Type: TypeInt, Default: "5242880",
		check: check{rule: atLeast, min: 1},
		Doc:   "Bytes read at a time while offsets are loaded.",
	},
	{
		Name: "offsets.retention.check.interval.ms", Type: TypeLong, Default: "600000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two searches for expired offsets.",
	},
	{
		Name: "offsets.retention.minutes", Type: TypeInt, Default: "10080",
		check: check{rule: atLeast, min: 1},
		Doc:   "Minutes committed offsets are kept after a group is empty.",
	},
	{
		Name: "offsets.topic.compression.codec", Type: TypeInt, Default: "0",
		Doc: "Number of the codec of __consumer_offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
	},
	{
		Name: "offsets.topic.num.partitions", Type: TypeInt, Default: "50",
		check: check{rule: atLeast, min: 1},
		Doc:   "Partitions of __consumer_offsets when it is created.",
	},
	{
		Name: "offsets.topic.replication.factor", Type: TypeShort, Default: "3",
		check: check{rule: atLeast, min: 1},
		Doc:   "Replicas of __consumer_offsets when it is created.",
	},
	{
		Name: "offsets.topic.segment.bytes", Type: TypeInt, Default: "104857600",
		check: check{rule: atLeast, min: 1},
		Doc:   "Segment size in bytes of __consumer_offsets.",
	},
	{
		Name: "share.coordinator.append.linger.ms", Type: TypeInt, Default: "-1",
		check: check{rule: atLeast, min: -1},
		Doc:   "Milliseconds the share coordinator gathers writes before they go to the log; -1 adapts to the load.",
	},
	{
		Name: "share.coordinator.cached.buffer.max.bytes", Type: TypeInt, Default: "1048588", Update: ClusterWide,
		check: check{rule: atLeast, min: 524288},
		Doc:   "Largest write buffer in bytes the share coordinator keeps for reuse.",
	},
	{
		Name: "share.coordinator.cold.partition.snapshot.interval.ms", Type: TypeInt, Default: "300000", Internal: true,
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds after which an idle share partition gets a snapshot.",
	},
	{
		Name: "share.coordinator.load.buffer.size", Type: TypeInt, Default: "5242880",
		check: check{rule: atLeast, min: 1},
		Doc:   "Bytes read at a time while share-group state is loaded.",
	},
	{
		Name: "share.coordinator.snapshot.update.records.per.snapshot", Type: TypeInt, Default: "500",
		check: check{rule: between, min: 0, max: 500},
		Doc:   "Updates of share-group state between two snapshots.",
	},
	{
		Name: "share.coordinator.state.topic.compression.codec", Type: TypeInt, Default: "0",
		Doc: "Number of the codec of __share_group_state: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
	},
	{
		Name: "share.coordinator.state.topic.min.isr", Type: TypeShort, Default: "2",
		check: check{rule: atLeast, min: 1},
		Doc:   "min.insync.replicas of __share_group_state.",
	},
	{
		Name: "share.coordinator.state.topic.num.partitions", Type: TypeInt, Default: "50",
		check: check{rule: atLeast, min: 1},
		Doc:   "Partitions of __share_group_state when it is created.",
	},
	{
		Name: "share.coordinator.state.topic.prune.interval.ms", Type: TypeInt, Default: "300000", Internal: true,
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two removals of records __share_group_state no longer needs.",
	},
	{
		Name: "share.coordinator.state.topic.replication.factor", Type: TypeShort, Default: "3",
		check: check{rule: atLeast, min: 1},
		Doc:   "Replicas of __share_group_state when it is created.",
	},
	{
		Name: "share.coordinator.state.topic.segment.bytes", Type: TypeInt, Default: "104857600",
		check: check{rule: atLeast, min: 1},
		Doc:   "Segment size in bytes of __share_group_state.",
	},
	{
		Name: "share.coordinator.threads", Type: TypeInt, Default: "1",
		check: check{rule: atLeast, min: 1},
		Doc:   "Threads that carry out the share coordinator's work.",
	},
	{
		Name: "share.coordinator.write.timeout.ms", Type: TypeInt, Default: "5000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds a write to __share_group_state may take.",
	},
}
