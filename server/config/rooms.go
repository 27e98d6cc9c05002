package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Network are the limits of connections and requests.
type Network struct {
	// RequestMaxBytes bounds one request's frame (socket.request.max.bytes).
	RequestMaxBytes int32
	// SendBufferBytes and ReceiveBufferBytes size socket buffers; -1 leaves them to the operating system.
	SendBufferBytes, ReceiveBufferBytes int32
	ListenBacklog                       int32
	// MaxConnections bounds all connections of the broker, MaxConnectionsPerIP those from one address unless
	// PerIPOverrides names the address; MaxConnectionCreationRate is per second. MaxInt32 is no limit.
	MaxConnections, MaxConnectionsPerIP, MaxConnectionCreationRate int32
	PerIPOverrides                                                 map[string]int32
	// MaxIdle closes connections without requests; zero or less never does.
	MaxIdle time.Duration
	// QueuedMaxRequestBytes bounds the bytes of requests inside the broker; 0 is no limit.
	QueuedMaxRequestBytes int64
	QueuedMaxRequests     int32
	// FailedAuthenticationDelay holds a connection that failed to authenticate.
	FailedAuthenticationDelay time.Duration
	// FetchMaxBytes caps one fetch response, FetchSessionSlots the number of incremental fetch sessions.
	FetchMaxBytes, FetchSessionSlots int32
	// MaxRequestPartitions caps one page of DescribeTopicPartitions.
	MaxRequestPartitions int32
	RequestTimeout       time.Duration
	TelemetryMaxBytes    int32
}

// Log are the settings of storage that do not belong to a single topic.
type Log struct {
	RetentionCheck, InitialTaskDelay, DirFailureTimeout time.Duration
	// OffsetCheckpoint and StartOffsetCheckpoint are the intervals of recovery-point and log-start-offset checkpoints.
	OffsetCheckpoint, StartOffsetCheckpoint, HighWatermarkCheckpoint time.Duration
	// FlushScheduler is how often logs with relaxed flushing are looked at; the longest duration means never.
	FlushScheduler                                      time.Duration
	RecoveryThreadsPerDir                               int32
	ProducerIDExpiration, ProducerIDExpirationCheck     time.Duration
	CleanerEnable                                       bool
	CleanerThreads, CleanerIOBufferBytes                int32
	CleanerDedupeBufferBytes                            int64
	CleanerDedupeLoadFactor, CleanerIOMaxBytesPerSecond float64
	CleanerBackoff                                      time.Duration
}

// Quorum are the settings of the metadata log and its quorum.
type Quorum struct {
	// Voters is controller.quorum.voters: at most this node itself. Empty with a dynamic quorum.
	Voters []Voter
	// BootstrapServers is controller.quorum.bootstrap.servers: at most one address, this node's own.
	BootstrapServers []Endpoint

	ElectionTimeout, ElectionBackoffMax, FetchTimeout, RequestTimeout, RetryBackoff, AppendLinger time.Duration
	FetchMaxBytes, FetchSnapshotMaxBytes                                                          int32

	// SegmentBytes and SegmentAge roll the metadata log; RetentionBytes and Retention delete from it.
	SegmentBytes   int64
	SegmentAge     time.Duration
	RetentionBytes int64
	Retention      time.Duration
	// SnapshotBytes and SnapshotInterval say when a snapshot is due; an interval of 0 never.
	SnapshotBytes    int64
	SnapshotInterval time.Duration
	// MaxIdle is the time after which an idle controller writes a no-op record; 0 never.
	MaxIdle       time.Duration
	MaxBatchBytes int32

	HeartbeatInterval, SessionTimeout, RegistrationTimeout time.Duration
	// QuotaWindows samples of QuotaWindow each measure the controller mutation quota.
	QuotaWindows int32
	QuotaWindow  time.Duration
}

// Voter is one entry of controller.quorum.voters.
type Voter struct {
	ID   int32
	Host string
	Port int32
}

// Groups are the settings of the group coordinator.
type Groups struct {
	// Protocols are the group protocols served: classic, consumer, streams, share.
	Protocols []string
	// AppendLinger gathers coordinator writes; negative adapts to the load.
	AppendLinger time.Duration

	MinSessionTimeout, MaxSessionTimeout, InitialRebalanceDelay time.Duration
	MaxSize                                                     int32

	Consumer ConsumerGroups
	Share    ShareGroups
	Streams  StreamsGroups

	// QuotaWindows samples of QuotaWindow each measure client quotas.
	QuotaWindows int32
	QuotaWindow  time.Duration
}

// ConsumerGroups are the settings of KIP-848 groups: defaults, and the bounds of a group's own values.
type ConsumerGroups struct {
	SessionTimeout, MinSessionTimeout, MaxSessionTimeout             time.Duration
	HeartbeatInterval, MinHeartbeatInterval, MaxHeartbeatInterval    time.Duration
	AssignmentInterval, MinAssignmentInterval, MaxAssignmentInterval time.Duration
	RegexRefresh                                                     time.Duration
	MaxSize                                                          int32
	Assignors                                                        []string
	// MigrationPolicy is disabled, upgrade, downgrade or bidirectional, in lower case.
	MigrationPolicy string
}

// ShareGroups are the settings of KIP-932 groups: defaults, and the bounds of a group's own values.
type ShareGroups struct {
	SessionTimeout, MinSessionTimeout, MaxSessionTimeout                      time.Duration
	HeartbeatInterval, MinHeartbeatInterval, MaxHeartbeatInterval             time.Duration
	AssignmentInterval, MinAssignmentInterval, MaxAssignmentInterval          time.Duration
	RecordLockDuration, MinRecordLockDuration, MaxRecordLockDuration          time.Duration
	DeliveryCountLimit, MinDeliveryCountLimit, MaxDeliveryCountLimit          int32
	PartitionMaxRecordLocks, MinPartitionRecordLocks, MaxPartitionRecordLocks int32
	MaxSize, MaxSessions                                                      int32
	Assignors                                                                 []string
}

// StreamsGroups are the settings of KIP-1071 groups: defaults, and the bounds of a group's own values.
type StreamsGroups struct {
	SessionTimeout, MinSessionTimeout, MaxSessionTimeout             time.Duration
	HeartbeatInterval, MinHeartbeatInterval, MaxHeartbeatInterval    time.Duration
	AssignmentInterval, MinAssignmentInterval, MaxAssignmentInterval time.Duration
	InitialRebalanceDelay                                            time.Duration
	NumStandbyReplicas, MaxStandbyReplicas, MaxSize                  int32
}

// Offsets are the settings of committed offsets and of __consumer_offsets.
type Offsets struct {
	TopicPartitions int32
	// TopicReplicationFactor is what this single node can give: 1.
	TopicReplicationFactor int16
	TopicSegmentBytes      int32
	// TopicCompression is the number of a codec, 0 to 4.
	TopicCompression                         int8
	Retention, RetentionCheck, CommitTimeout time.Duration
	MetadataMaxBytes, LoadBufferBytes        int32
}

// Transactions are the settings of the transaction coordinator and of __transaction_state.
type Transactions struct {
	TopicPartitions int32
	// TopicReplicationFactor and TopicMinISR are what this single node can give: 1.
	TopicReplicationFactor             int16
	TopicMinISR                        int32
	TopicSegmentBytes, LoadBufferBytes int32
	// MaxTimeout bounds a producer's transaction.timeout.ms; IDExpiration forgets idle transactional ids.
	MaxTimeout, IDExpiration time.Duration
	// AbortCheck and ExpireCheck are the intervals of the searches for timed-out transactions and expired ids.
	AbortCheck, ExpireCheck               time.Duration
	PartitionVerification, TwoPhaseCommit bool
}

// Share are the settings of the share coordinator and of __share_group_state.
type Share struct {
	TopicPartitions int32
	// TopicReplicationFactor and TopicMinISR are what this single node can give: 1.
	TopicReplicationFactor             int16
	TopicMinISR                        int16
	TopicSegmentBytes, LoadBufferBytes int32
	TopicCompression                   int8
	UpdatesPerSnapshot                 int32
	// AppendLinger gathers coordinator writes; negative adapts to the load.
	WriteTimeout, AppendLinger, PruneInterval, ColdSnapshotInterval time.Duration
}

func (c *Config) buildRooms() error {
	overrides, err := c.perIPOverrides()
	if err != nil {
		return err
	}
	c.Network = Network{
		RequestMaxBytes: c.int32("socket.request.max.bytes"), SendBufferBytes: c.int32("socket.send.buffer.bytes"),
		ReceiveBufferBytes: c.int32("socket.receive.buffer.bytes"), ListenBacklog: c.int32("socket.listen.backlog.size"),
		MaxConnections: c.int32("max.connections"), MaxConnectionsPerIP: c.int32("max.connections.per.ip"),
		MaxConnectionCreationRate: c.int32("max.connection.creation.rate"), PerIPOverrides: overrides,
		MaxIdle: c.Duration("connections.max.idle.ms"), QueuedMaxRequestBytes: max(0, c.Int("queued.max.request.bytes")),
		QueuedMaxRequests: c.int32("queued.max.requests"), FailedAuthenticationDelay: c.Duration("connection.failed.authentication.delay.ms"),
		FetchMaxBytes: c.int32("fetch.max.bytes"), FetchSessionSlots: c.int32("max.incremental.fetch.session.cache.slots"),
		MaxRequestPartitions: c.int32("max.request.partition.size.limit"), RequestTimeout: c.Duration("request.timeout.ms"),
		TelemetryMaxBytes: c.int32("telemetry.max.bytes"),
	}
	c.Log = Log{
		RetentionCheck: c.Duration("log.retention.check.interval.ms"), InitialTaskDelay: c.Duration("log.initial.task.delay.ms"),
		DirFailureTimeout: c.Duration("log.dir.failure.timeout.ms"), OffsetCheckpoint: c.Duration("log.flush.offset.checkpoint.interval.ms"),
		StartOffsetCheckpoint:   c.Duration("log.flush.start.offset.checkpoint.interval.ms"),
		HighWatermarkCheckpoint: c.Duration("replica.high.watermark.checkpoint.interval.ms"),
		FlushScheduler:          c.Duration("log.flush.scheduler.interval.ms"), RecoveryThreadsPerDir: c.int32("num.recovery.threads.per.data.dir"),
		ProducerIDExpiration: c.Duration("producer.id.expiration.ms"), ProducerIDExpirationCheck: c.Duration("producer.id.expiration.check.interval.ms"),
		CleanerEnable: c.Bool("log.cleaner.enable"), CleanerThreads: c.int32("log.cleaner.threads"),
		CleanerIOBufferBytes: c.int32("log.cleaner.io.buffer.size"), CleanerDedupeBufferBytes: c.Int("log.cleaner.dedupe.buffer.size"),
		CleanerDedupeLoadFactor: c.Float("log.cleaner.io.buffer.load.factor"), CleanerIOMaxBytesPerSecond: c.Float("log.cleaner.io.max.bytes.per.second"),
		CleanerBackoff: c.Duration("log.cleaner.backoff.ms"),
	}
	c.Offsets = Offsets{
		TopicPartitions: c.int32("offsets.topic.num.partitions"), TopicReplicationFactor: 1, TopicSegmentBytes: c.int32("offsets.topic.segment.bytes"),
		TopicCompression: int8(c.Int("offsets.topic.compression.codec")), Retention: Millis(c.Int("offsets.retention.minutes") * 60_000),
		RetentionCheck: c.Duration("offsets.retention.check.interval.ms"), CommitTimeout: c.Duration("offsets.commit.timeout.ms"),
		MetadataMaxBytes: c.int32("offset.metadata.max.bytes"), LoadBufferBytes: c.int32("offsets.load.buffer.size"),
	}
	c.Transactions = Transactions{
		TopicPartitions: c.int32("transaction.state.log.num.partitions"), TopicReplicationFactor: 1, TopicMinISR: 1,
		TopicSegmentBytes: c.int32("transaction.state.log.segment.bytes"), LoadBufferBytes: c.int32("transaction.state.log.load.buffer.size"),
		MaxTimeout: c.Duration("transaction.max.timeout.ms"), IDExpiration: c.Duration("transactional.id.expiration.ms"),
		AbortCheck:            c.Duration("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
		ExpireCheck:           c.Duration("transaction.remove.expired.transaction.cleanup.interval.ms"),
		PartitionVerification: c.Bool("transaction.partition.verification.enable"), TwoPhaseCommit: c.Bool("transaction.two.phase.commit.enable"),
	}
	c.Share = Share{
		TopicPartitions: c.int32("share.coordinator.state.topic.num.partitions"), TopicReplicationFactor: 1, TopicMinISR: 1,
		TopicSegmentBytes: c.int32("share.coordinator.state.topic.segment.bytes"), LoadBufferBytes: c.int32("share.coordinator.load.buffer.size"),
		TopicCompression: int8(c.Int("share.coordinator.state.topic.compression.codec")), UpdatesPerSnapshot: c.int32("share.coordinator.snapshot.update.records.per.snapshot"),
		WriteTimeout: c.Duration("share.coordinator.write.timeout.ms"), AppendLinger: c.Duration("share.coordinator.append.linger.ms"),
		PruneInterval: c.Duration("share.coordinator.state.topic.prune.interval.ms"), ColdSnapshotInterval: c.Duration("share.coordinator.cold.partition.snapshot.interval.ms"),
	}
	c.buildGroups()
	return nil
}

func (c *Config) buildGroups() {
	c.Groups = Groups{
		Protocols: c.List("group.coordinator.rebalance.protocols"), AppendLinger: c.Duration("group.coordinator.append.linger.ms"),
		MinSessionTimeout: c.Duration("group.min.session.timeout.ms"), MaxSessionTimeout: c.Duration("group.max.session.timeout.ms"),
		InitialRebalanceDelay: c.Duration("group.initial.rebalance.delay.ms"), MaxSize: c.int32("group.max.size"),
		QuotaWindows: c.int32("quota.window.num"), QuotaWindow: Millis(c.Int("quota.window.size.seconds") * 1000),
	}
	g := &c.Groups.Consumer
	bounds(c, "consumer.session.timeout.ms", &g.SessionTimeout, &g.MinSessionTimeout, &g.MaxSessionTimeout)
	bounds(c, "consumer.heartbeat.interval.ms", &g.HeartbeatInterval, &g.MinHeartbeatInterval, &g.MaxHeartbeatInterval)
	bounds(c, "consumer.assignment.interval.ms", &g.AssignmentInterval, &g.MinAssignmentInterval, &g.MaxAssignmentInterval)
	g.RegexRefresh, g.MaxSize = c.Duration("group.consumer.regex.refresh.interval.ms"), c.int32("group.consumer.max.size")
	g.Assignors, g.MigrationPolicy = c.List("group.consumer.assignors"), strings.ToLower(c.String("group.consumer.migration.policy"))

	s := &c.Groups.Share
	bounds(c, "share.session.timeout.ms", &s.SessionTimeout, &s.MinSessionTimeout, &s.MaxSessionTimeout)
	bounds(c, "share.heartbeat.interval.ms", &s.HeartbeatInterval, &s.MinHeartbeatInterval, &s.MaxHeartbeatInterval)
	bounds(c, "share.assignment.interval.ms", &s.AssignmentInterval, &s.MinAssignmentInterval, &s.MaxAssignmentInterval)
	bounds(c, "share.record.lock.duration.ms", &s.RecordLockDuration, &s.MinRecordLockDuration, &s.MaxRecordLockDuration)
	s.DeliveryCountLimit, s.MinDeliveryCountLimit = c.int32("group.share.delivery.count.limit"), c.int32("group.share.min.delivery.count.limit")
	s.MaxDeliveryCountLimit, s.PartitionMaxRecordLocks = c.int32("group.share.max.delivery.count.limit"), c.int32("group.share.partition.max.record.locks")
	s.MinPartitionRecordLocks, s.MaxPartitionRecordLocks = c.int32("group.share.min.partition.max.record.locks"), c.int32("group.share.max.partition.max.record.locks")
	s.MaxSize, s.MaxSessions, s.Assignors = c.int32("group.share.max.size"), c.int32("group.share.max.share.sessions"), c.List("group.share.assignors")

	t := &c.Groups.Streams
	bounds(c, "streams.session.timeout.ms", &t.SessionTimeout, &t.MinSessionTimeout, &t.MaxSessionTimeout)
	bounds(c, "streams.heartbeat.interval.ms", &t.HeartbeatInterval, &t.MinHeartbeatInterval, &t.MaxHeartbeatInterval)
	bounds(c, "streams.assignment.interval.ms", &t.AssignmentInterval, &t.MinAssignmentInterval, &t.MaxAssignmentInterval)
	t.InitialRebalanceDelay, t.MaxSize = c.Duration("group.streams.initial.rebalance.delay.ms"), c.int32("group.streams.max.size")
	t.NumStandbyReplicas, t.MaxStandbyReplicas = c.int32("group.streams.num.standby.replicas"), c.int32("group.streams.max.standby.replicas")
}

// bounds reads group.<kind>.<rest>, and its limits group.<kind>.min.<rest> and group.<kind>.max.<rest>.
func bounds(c *Config, name string, value, low, high *time.Duration) {
	kind, rest, _ := strings.Cut(name, ".")
	*value = c.Duration("group." + name)
	*low = c.Duration("group." + kind + ".min." + rest)
	*high = c.Duration("group." + kind + ".max." + rest)
}

const perIPName = "max.connections.per.ip.overrides"

// perIPOverrides reads max.connections.per.ip.overrides: address:count pairs, where an IPv6 address has colons too.
func (c *Config) perIPOverrides() (map[string]int32, error) {
	out := map[string]int32{}
	for _, item := range splitList(c.String(perIPName)) {
		i := strings.LastIndexByte(item, ':')
		if i <= 0 {
			return nil, fmt.Errorf("expected address:count pairs separated by commas, found %q", item)
		}
		n, err := strconv.ParseInt(javaTrim(item[i+1:]), 10, 32)
		if err != nil || n < 0 || n > math.MaxInt32 {
			return nil, fmt.Errorf("expected a count of connections after the last colon of %q", item)
		}
		out[strings.Trim(javaTrim(item[:i]), "[]")] = int32(n)
	}
	return out, nil
}

// conflict finds the first pair of values that cannot both be in force, with the words of KafkaConfig.validateValues.
func (c *Config) conflict() (name, reason string) {
	switch {
	case c.chain("log.roll.ms") < 1:
		return "log.roll.ms", "log.roll.ms must be greater than or equal to 1"
	case c.chain("log.roll.jitter.ms") < 0:
		return "log.roll.jitter.ms", "log.roll.jitter.ms must be greater than or equal to 0"
	case c.chain("log.retention.ms") == 0:
		return "log.retention.ms", "log.retention.ms must be unlimited (-1) or, greater than or equal to 1"
	case c.Log.CleanerThreads < 1:
		return "log.cleaner.threads", "log.cleaner.threads must be at least 1"
	case c.Log.CleanerDedupeBufferBytes/int64(c.Log.CleanerThreads) <= 1<<20:
		return "log.cleaner.dedupe.buffer.size", "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."
	case c.Network.QueuedMaxRequestBytes > 0 && c.Network.QueuedMaxRequestBytes < int64(c.Network.RequestMaxBytes):
		return "queued.max.request.bytes", "queued.max.request.bytes must be larger or equal to socket.request.max.bytes"
	case c.Network.MaxConnectionsPerIP == 0 && len(c.Network.PerIPOverrides) == 0:
		return "max.connections.per.ip", "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."
	}
	for _, codec := range [...]string{"offsets.topic.compression.codec", "share.coordinator.state.topic.compression.codec"} {
		if n := c.Int(codec); n < 0 || n > 4 {
			return codec, codec + " must be the number of a codec, 0 to 4"
		}
	}
	for _, p := range [...]string{
		"consumer.session.timeout.ms", "consumer.heartbeat.interval.ms", "consumer.assignment.interval.ms",
		"share.session.timeout.ms", "share.heartbeat.interval.ms", "share.assignment.interval.ms", "share.record.lock.duration.ms",
		"share.delivery.count.limit", "share.partition.max.record.locks",
		"streams.session.timeout.ms", "streams.heartbeat.interval.ms", "streams.assignment.interval.ms",
	} {
		kind, rest, _ := strings.Cut(p, ".")
		value, low, high := "group."+p, "group."+kind+".min."+rest, "group."+kind+".max."+rest
		switch v := c.Int(value); {
		case c.Int(high) < c.Int(low):
			return high, high + " must be greater than or equal to " + low
		case v < c.Int(low):
			return value, value + " must be greater than or equal to " + low
		case v > c.Int(high):
			return value, value + " must be less than or equal to " + high
		}
	}
	for _, kind := range [...]string{"consumer", "share", "streams"} {
		beat, session := "group."+kind+".heartbeat.interval.ms", "group."+kind+".session.timeout.ms"
		if c.Int(beat) >= c.Int(session) {
			return beat, beat + " must be less than " + session
		}
	}
	if c.Groups.Streams.NumStandbyReplicas > c.Groups.Streams.MaxStandbyReplicas {
		return "group.streams.num.standby.replicas", "group.streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas"
	}
	return "", ""
}

// chain reads a configuration with coarser units behind it, in milliseconds.
func (c *Config) chain(name string) int64 {
	for _, s := range brokerSynonyms(name) {
		d := BrokerDef(s.Name)
		if v, ok := c.raw(s.Name); ok {
			if parsed, err := d.Parse(v); err == nil {
				n, _ := strconv.ParseInt(parsed, 10, 64)
				return n * s.Factor
			}
		}
	}
	for _, s := range brokerSynonyms(name) {
		if d := BrokerDef(s.Name); !d.NoDefault {
			n, _ := strconv.ParseInt(d.Default, 10, 64)
			return n * s.Factor
		}
	}
	return 0
}
