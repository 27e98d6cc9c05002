package server

import (
	"strconv"
	"time"

	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/txn"
)

// Topics of coordinators.
const (
	topicOffsets      = "__consumer_offsets"
	topicTransactions = "__transaction_state"
)

// loadWait is how long a request waits for its coordinator's log to be read
// before it is told to come back.
const loadWait = time.Second

// coordinators runs the group and transaction coordinators: which partitions of
// their topics are served follows the metadata.
type coordinators struct {
	b            *Broker
	groups       *coord.Runtime[*group.Machine]
	transactions *coord.Runtime[*txn.Machine]
	markers      *markers
	producerIDs  *controller.ProducerIDs
	topics       [2]*coordinatorTopic
	images       imageFollower
}

// coordinatorTopic is what is served of an internal topic. Written by start and
// then by the controller's goroutine alone.
type coordinatorTopic struct {
	name    string
	runtime topicRuntime
	id      meta.UUID
	epochs  map[int32]int32 // of the partitions served
}

// topicRuntime is a coord.Runtime of any Machine.
type topicRuntime interface {
	SetPartitions(n int32)
	Serve(index int32, log coord.Log)
	Refuse(index int32, why error)
	Stop(index int32)
}

func (b *Broker) newCoordinators() *coordinators {
	c := &coordinators{b: b, producerIDs: controller.NewProducerIDs(b.controller), markers: &markers{image: b.quorum.Image, partitions: b.partitions}}
	groupOptions := group.Options{
		Settings: b.cfg.Groups, Offsets: b.cfg.Offsets, GroupConfig: c.groupConfig, Image: b.quorum.Image,
		NewID: func() string { return meta.NewUUID().String() }, Logger: b.env.Logger,
	}
	c.groups = coord.NewRuntime(coord.Options[*group.Machine]{
		Topic: topicOffsets, Clock: b.env.Clock, Logger: b.env.Logger, LoadWait: loadWait, Codec: codec.Type(b.cfg.Offsets.TopicCompression),
		New: func(p int32) *group.Machine { return group.New(groupOptions, p) }, OnLoaded: c.images.loaded,
	})
	txnOptions := txn.Options{
		Settings: b.cfg.Transactions, Version: func() int16 { return b.quorum.Image().Features[meta.TransactionVersionFeature] },
		Markers: txn.Gate(c.markers), NextProducerID: c.producerIDs.Next, Logger: b.env.Logger,
		Again: func(p int32, op func(*coord.Context, *txn.Machine)) { _ = c.transactions.DoAt(p, op) }, // one that stops has nothing to go on with
	}
	c.transactions = coord.NewRuntime(coord.Options[*txn.Machine]{
		Topic: topicTransactions, Clock: b.env.Clock, Logger: b.env.Logger, LoadWait: loadWait,
		New: func(p int32) *txn.Machine { return txn.New(txnOptions, p) },
	})
	c.markers.runtimes = map[string]markerRuntime{topicOffsets: c.groups, topicTransactions: c.transactions}
	// Offsets first: a transaction's markers go there too.
	c.topics = [2]*coordinatorTopic{{name: topicOffsets, runtime: c.groups}, {name: topicTransactions, runtime: c.transactions}}
	c.images.groups = c.groups
	return c
}

// start serves what there is; logs are read in the background.
func (c *coordinators) start() {
	im := c.b.quorum.Image()
	c.images.start(im)
	for _, t := range c.topics {
		t.serve(c.b, im)
	}
}

// release stops what the new image takes away, before the logs go.
func (c *coordinators) release(now *meta.Image) {
	for _, t := range c.topics {
		t.release(now)
	}
}

// follow serves what the new image adds, and tells the groups about it.
func (c *coordinators) follow(now *meta.Image) {
	for _, t := range c.topics {
		t.serve(c.b, now)
	}
	c.images.changed(now)
}

// close answers everybody who waits for a coordinator.
func (c *coordinators) close() {
	c.images.close()
	// Groups last: markers end transactions in them.
	c.transactions.Close()
	c.groups.Close()
}

// release stops the partitions that are gone or have begun a new leader epoch.
func (t *coordinatorTopic) release(now *meta.Image) {
	topic := now.Topic(t.name)
	gone := topic == nil || topic.ID != t.id
	for index, epoch := range t.epochs {
		var p *meta.Partition
		if !gone {
			p = topic.Partition(index)
		}
		if p == nil || p.LeaderEpoch != epoch {
			delete(t.epochs, index)
			t.runtime.Stop(index)
		}
	}
	if gone {
		t.runtime.SetPartitions(0)
		t.id = meta.UUID{}
	}
}

// serve begins to serve the partitions that this broker leads and whose logs are
// open. The number of partitions is that of the topic when it is first seen: if
// it grows, keys stay where they are until the next start, as in Kafka.
func (t *coordinatorTopic) serve(b *Broker, now *meta.Image) {
	topic := now.Topic(t.name)
	if topic == nil {
		return
	}
	first := topic.ID != t.id
	for _, r := range topic.Partitions {
		if _, ok := t.epochs[r.ID]; ok {
			continue
		}
		p := b.partitions.Get(topic.ID, r.ID)
		if p == nil || p.CheckEpoch(-1) != nil {
			continue
		}
		log, err := p.Log()
		if err != nil {
			b.env.Logger.Error("a coordinator is not served: its partition is offline", "topic", t.name, "partition", r.ID, "error", err)
			t.runtime.Refuse(r.ID, err)
		} else {
			t.runtime.Serve(r.ID, &coordLog{Log: log, epoch: r.LeaderEpoch})
		}
		if t.epochs == nil {
			t.epochs = map[int32]int32{}
		}
		t.epochs[r.ID] = r.LeaderEpoch
	}
	if first {
		// When requests may come in, everything is served.
		t.id = topic.ID
		t.runtime.SetPartitions(int32(len(topic.Partitions)))
	}
}

func itoa[N int32 | int16](n N) string { return strconv.Itoa(int(n)) }

// createInternal makes the topic of a kind of coordinators as Kafka does when
// somebody first looks for one (AutoTopicCreationManager), but with one replica:
// Kafka's default is three, which a cluster of one broker cannot place, so that
// there every single-node server.properties has to say 1.
func (c *coordinators) createInternal(name string) error {
	text := func(name, value string) controller.TopicConfig {
		return controller.TopicConfig{Name: name, Value: &value}
	}
	o, x := &c.b.cfg.Offsets, &c.b.cfg.Transactions
	topic := controller.NewTopic{Name: name}
	switch name {
	case topicOffsets: // GroupCoordinatorService.groupMetadataTopicConfigs
		topic.NumPartitions, topic.ReplicationFactor = o.TopicPartitions, o.TopicReplicationFactor
		topic.Configs = []controller.TopicConfig{text("cleanup.policy", "compact"), text("compression.type", "producer"),
			text("segment.bytes", itoa(o.TopicSegmentBytes))}
	case topicTransactions: // TransactionCoordinator.transactionTopicConfigs
		topic.NumPartitions, topic.ReplicationFactor = x.TopicPartitions, x.TopicReplicationFactor
		topic.Configs = []controller.TopicConfig{text("cleanup.policy", "compact"), text("compression.type", "uncompressed"),
			text("min.insync.replicas", itoa(x.TopicMinISR)), text("segment.bytes", itoa(x.TopicSegmentBytes)),
			text("unclean.leader.election.enable", "false")}
	}
	results, err := c.b.controller.CreateTopics([]controller.NewTopic{topic}, false)
	if err != nil {
		return err
	}
	if e := results[0].Err; e != nil && e.Code != controller.CodeTopicAlreadyExists {
		return e
	}
	return nil
}

// groupConfig is group.Options.GroupConfig. It is asked at every heartbeat.
func (c *coordinators) groupConfig(id string) (sessionMs, heartbeatMs, assignmentIntervalMs int64) {
	im := c.b.quorum.Image()
	s := c.b.settingsOn(im)
	v := s.group.Consumer
	if overrides := im.Configs(meta.ResourceGroup, id); len(overrides) > 0 {
		v = s.GroupConfig(overrides).Consumer
	}
	return v.SessionTimeout.Milliseconds(), v.HeartbeatInterval.Milliseconds(), v.AssignmentInterval.Milliseconds()
}
