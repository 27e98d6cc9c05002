package config

// groupOwnDefs holds the configurations of groups, in the terms of org.apache.kafka.coordinator.group.GroupConfig. Most inherit the
// broker's group.<name>.
var groupOwnDefs = [...]Def{
	groupInt("consumer.assignment.interval.ms", 0, "Milliseconds between two assignments of this consumer group, at least."),
	groupInt("consumer.heartbeat.interval.ms", 1, "Milliseconds between two heartbeats asked of this consumer group's members."),
	groupInt("consumer.session.timeout.ms", 1, "Milliseconds without a heartbeat after which a member leaves this consumer group."),
	groupInt("share.assignment.interval.ms", 0, "Milliseconds between two assignments of this share group, at least."),
	{
		Name: "share.auto.offset.reset", Type: TypeString, Default: "latest",
		check: check{rule: offsetReset},
		Doc:   "Where a share group begins to read a partition: earliest, latest, or by_duration:PnDTnHnMn.nS for records not older than that.",
	},
	groupInt("share.delivery.count.limit", 2, "Deliveries of a record in this share group before it is given up."),
	groupInt("share.heartbeat.interval.ms", 1, "Milliseconds between two heartbeats asked of this share group's members."),
	{
		Name: "share.isolation.level", Type: TypeString, Default: "read_uncommitted",
		check: check{rule: oneOf, words: "read_committed, read_uncommitted"},
		Doc:   "Whether this share group sees records of aborted transactions (read_uncommitted) or not (read_committed).",
	},
	groupInt("share.partition.max.record.locks", 100, "Records of a share partition that may be with this group's consumers at once."),
	groupInt("share.record.lock.duration.ms", 1000, "Milliseconds a consumer of this share group has to acknowledge a record."),
	{
		Name: "share.renew.acknowledge.enable", Type: TypeBoolean, Default: "true",
		Doc: "Whether consumers of this share group may ask for more time for a record.",
	},
	groupInt("share.session.timeout.ms", 1, "Milliseconds without a heartbeat after which a member leaves this share group."),
	groupInt("streams.assignment.interval.ms", 0, "Milliseconds between two assignments of this streams group, at least."),
	groupInt("streams.heartbeat.interval.ms", 1, "Milliseconds between two heartbeats asked of this streams group's members."),
	groupInt("streams.initial.rebalance.delay.ms", 0, "Milliseconds the first assignment of this streams group waits for more members."),
	groupInt("streams.num.standby.replicas", 0, "Standby copies kept of every stateful task of this group."),
	groupInt("streams.session.timeout.ms", 1, "Milliseconds without a heartbeat after which a member leaves this streams group."),
}

func groupInt(name string, least float64, doc string) Def {
	return Def{Name: name, Type: TypeInt, check: check{rule: atLeast, min: least}, Synonyms: []Synonym{{"group." + name, 1}}, Doc: doc}
}

// clientMetricsDefs holds the configurations of client metrics subscriptions (KIP-714, ClientMetricsConfigs).
var clientMetricsDefs = [...]Def{
	{
		Name: "interval.ms", Type: TypeInt, Default: "300000",
		Doc: "Milliseconds between two pushes of metrics asked of clients that match.",
	},
	{
		Name: "match", Type: TypeList,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "Which clients the subscription is for: name=pattern pairs of " + matchNames + "; all of them when it is empty.",
	},
	{
		Name: "metrics", Type: TypeList,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "Prefixes of the names of the metrics wanted; * for all.",
	},
}
