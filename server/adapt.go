package server

import (
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/partition"
	"github.com/gregor-broker/gregor/server/quorum"
)

// idle turns Kafka's "never" into conn's.
func idle(d time.Duration) time.Duration {
	if d <= 0 {
		return -1
	}
	return d
}

func (b *Broker) rack() *string {
	if b.cfg.Rack == "" {
		return nil
	}
	return &b.cfg.Rack
}

// port is an advertised port; 0 stands for the one that was picked for the
// listener of that name.
func (b *Broker) port(listener string, port int32) int32 {
	if port != 0 {
		return port
	}
	for _, l := range b.bound {
		if l.name == listener {
			if a, ok := l.Addr().(*net.TCPAddr); ok {
				return int32(a.Port)
			}
		}
	}
	return 0
}

func (b *Broker) quorumConfig() quorum.Config {
	q := b.cfg.Quorum
	c := quorum.Config{
		NodeID: b.cfg.NodeID, Broker: true, Controller: true, LogDirs: b.cfg.LogDirs, MetadataLogDir: b.cfg.MetadataLogDir,
		Rack: b.rack(), MinInSyncReplicas: int32(b.cfg.Int("min.insync.replicas")),
		SnapshotBytes: q.SnapshotBytes, SnapshotInterval: never(q.SnapshotInterval), RetentionBytes: q.RetentionBytes, Retention: q.Retention,
		Clock: b.env.Clock, Logger: b.env.Logger,
	}
	for _, v := range q.Voters {
		c.StaticVoters = append(c.StaticVoters, v.ID)
	}
	for _, e := range b.cfg.ControllerAdvertised {
		c.ControllerListeners = append(c.ControllerListeners, endpoint(e.Name, e.Host, b.port(e.Name, e.Port)))
	}
	for _, e := range b.cfg.Advertised {
		c.EndPoints = append(c.EndPoints, endpoint(e.Name, e.Host, b.port(e.Name, e.Port)))
	}
	return c
}

// never turns config's 0 for "never" into quorum's negative.
func never(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// endpoint is a plaintext endpoint of a registration (security protocol 0).
func endpoint(name, host string, port int32) meta.Endpoint {
	return meta.Endpoint{Name: name, Host: host, Port: uint16(port)}
}

// dynamic returns the dynamic layers of a broker setting on an image.
func (b *Broker) dynamic(im *meta.Image) (own, cluster map[string]string) {
	return im.Configs(meta.ResourceBroker, strconv.Itoa(int(b.cfg.NodeID))), im.Configs(meta.ResourceBroker, "")
}

// topicConfig is what a partition needs of its topic's configuration.
func (b *Broker) topicConfig(im *meta.Image, topic string) *partition.Config {
	now := b.settingsOn(im)
	t := b.cfg.TopicConfig(im.Configs(meta.ResourceTopic, topic), now.own, now.cluster)
	c := &partition.Config{
		Log: engine.LogConfig{
			SegmentBytes: t.SegmentBytes, SegmentMs: t.SegmentMs, SegmentJitterMs: t.SegmentJitterMs,
			IndexIntervalBytes: t.IndexIntervalBytes, SegmentIndexBytes: t.SegmentIndexBytes,
			Delete: t.Delete, Compact: t.Compact, RetentionMs: t.RetentionMs, RetentionBytes: t.RetentionBytes,
			MinCleanableDirtyRatio: t.MinCleanableDirtyRatio, MinCompactionLagMs: t.MinCompactionLagMs,
			MaxCompactionLagMs: t.MaxCompactionLagMs, DeleteRetentionMs: t.DeleteRetentionMs,
			FileDeleteDelayMs: t.FileDeleteDelayMs, FlushMessages: t.FlushMessages, FlushMs: t.FlushMs,
			ProducerIDExpirationMs: now.Log.ProducerIDExpiration.Milliseconds(), Preallocate: t.Preallocate,
		},
		MaxMessageBytes: int(t.MaxMessageBytes), LogAppendTime: t.LogAppendTime, RequireKeys: t.Compact,
		TimestampBeforeMaxMs: t.TimestampBeforeMaxMs, TimestampAfterMaxMs: t.TimestampAfterMaxMs, Level: t.CompressionLevel,
		VerifyTransactions: now.Transactions.PartitionVerification,
	}
	for name, codec := range map[string]codec.Type{"uncompressed": codec.None, "gzip": codec.Gzip, "snappy": codec.Snappy, "lz4": codec.LZ4, "zstd": codec.Zstd} {
		if t.CompressionType == name {
			c.Compression = &codec
		}
	}
	return c
}

func (b *Broker) controllerConfig() controller.Config {
	return controller.Config{
		NumPartitions: b.cfg.NumPartitions, DefaultReplicationFactor: b.cfg.DefaultReplicationFactor,
		DeleteTopicEnable: b.cfg.DeleteTopics, NodeID: b.cfg.NodeID, Logger: b.env.Logger,
		ValidateConfig: b.validateConfig, IsList: isList, Default: b.defaultConfig, EffectiveTopicConfigs: b.effectiveTopicConfigs,
	}
}

// validateBrokerConfig checks the dynamic configs that this broker, or all brokers, would have, where own and cluster are there now.
func (b *Broker) validateBrokerConfig(perBroker bool, values, own, cluster map[string]string) error {
	broker, all, other := values, cluster, cluster
	if !perBroker {
		broker, all, other = own, values, own
	}
	if err := b.cfg.ValidateDynamic(perBroker, values, other); err != nil {
		return err
	}
	now, err := b.cfg.WithDynamic(own, cluster)
	if err != nil {
		return nil // what is there cannot be compared with
	}
	next, err := b.cfg.WithDynamic(broker, all)
	if err != nil {
		return err
	}
	if err := checkThreads(now, next); err != nil {
		return err
	}
	return checkListeners(now, next)
}

// validateConfig checks all values a resource would have.
func (b *Broker) validateConfig(r meta.ConfigResource, values, _ map[string]string) error {
	own, cluster := b.dynamic(b.quorum.Image())
	switch r.Type {
	case meta.ResourceTopic:
		return b.cfg.ValidateTopicConfigs(values, own, cluster)
	case meta.ResourceBroker:
		if err := b.validateBrokerConfig(r.Name != "", values, own, cluster); err != nil {
			return &controller.Error{Code: controller.CodeInvalidRequest, Message: err.Error()}
		}
		return nil
	case meta.ResourceGroup:
		cfg, err := b.cfg.WithDynamic(own, cluster)
		if err != nil {
			return err
		}
		return cfg.ValidateGroupConfigs(values)
	case meta.ResourceClientMetrics:
		err := config.ValidateClientMetrics(r.Name, values)
		if refused := config.RequestError(""); errors.As(err, &refused) {
			return &controller.Error{Code: controller.CodeInvalidRequest, Message: err.Error()}
		}
		return err
	}
	return nil
}

func isList(kind int8, name string) bool {
	var d *config.Def
	switch kind {
	case meta.ResourceTopic:
		d = config.TopicDef(name)
	case meta.ResourceBroker:
		d = config.BrokerDef(name)
	}
	return d != nil && d.Type == config.TypeList
}

// defaultConfig is where APPEND and SUBTRACT begin without an override.
func (b *Broker) defaultConfig(kind int8, name string) (string, bool) {
	own, cluster := b.dynamic(b.quorum.Image())
	var entries []config.Entry
	switch kind {
	case meta.ResourceTopic:
		entries = b.cfg.TopicEntries(nil, own, cluster)
	case meta.ResourceBroker:
		entries = b.cfg.BrokerEntries(own, cluster)
	}
	for _, e := range entries {
		if e.Name == name && e.Value != nil {
			return *e.Value, true
		}
	}
	return "", false
}

// effectiveTopicConfigs lists a new topic's configs for the answer to its
// creation.
func (b *Broker) effectiveTopicConfigs(im *meta.Image, overrides map[string]string) []controller.EffectiveConfig {
	own, cluster := b.dynamic(im)
	entries := b.cfg.TopicEntries(overrides, own, cluster)
	out := make([]controller.EffectiveConfig, 0, len(entries))
	for _, e := range entries {
		out = append(out, controller.EffectiveConfig{Name: e.Name, Value: e.Value, ReadOnly: e.ReadOnly, Source: e.Source, Sensitive: e.Sensitive})
	}
	return out
}
