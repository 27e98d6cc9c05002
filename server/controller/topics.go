package controller

import (
	"math"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/quorum"
)

// MaxPartitionsPerRequest is how many partitions one CreateTopics or CreatePartitions may make
// (ReplicationControlManager.MAX_PARTITIONS_PER_BATCH).
const MaxPartitionsPerRequest = 10_000

// NewTopic is a topic of a CreateTopics request.
type NewTopic struct {
	Name              string
	NumPartitions     int32 // -1: num.partitions, or given by Assignments
	ReplicationFactor int16 // -1: default.replication.factor, or given by Assignments
	Assignments       []Assignment
	Configs           []TopicConfig
	// ID is the topic's id where it is known before; zero: a random one.
	ID meta.UUID
}

// Assignment names the replicas of one partition.
type Assignment struct {
	Partition int32
	BrokerIDs []int32
}

// TopicConfig is a config of a NewTopic.
type TopicConfig struct {
	Name  string
	Value *string // null is refused
}

// CreatedTopic is the answer for one NewTopic.
type CreatedTopic struct {
	Name              string
	Err               *Error // nil: created, and what follows is set
	ID                meta.UUID
	NumPartitions     int32
	ReplicationFactor int16
	Configs           []EffectiveConfig
}

// Quota says whether partitions may be created or deleted, counting them (controller_mutation_rate, KIP-599). It is asked on the
// controller's goroutine for what is otherwise in order, also when it is only to be validated.
type Quota interface {
	Allow(partitions int) bool
}

// beyond is THROTTLING_QUOTA_EXCEEDED for partitions that a quota does not allow; a nil quota allows everything.
func beyond(q Quota, partitions int) *Error {
	if q == nil || q.Allow(partitions) {
		return nil
	}
	return &Error{Code: CodeThrottlingQuotaExceeded}
}

// CreateTopics creates topics, or with validateOnly says whether it could, and answers each, duplicates once. Topics that can be
// created are, together, although others of the request cannot. An error, an *Error, is about the whole request.
func (k *Controller) CreateTopics(topics []NewTopic, validateOnly bool) ([]CreatedTopic, error) {
	return k.CreateTopicsWithin(nil, topics, validateOnly)
}

// CreateTopicsWithin is CreateTopics under a quota.
func (k *Controller) CreateTopicsWithin(quota Quota, topics []NewTopic, validateOnly bool) ([]CreatedTopic, error) {
	var results []CreatedTopic
	err := k.Change(func(im *meta.Image) ([]meta.Record, error) {
		var records []meta.Record
		var err error
		results, records, err = k.createTopics(im, quota, topics)
		if validateOnly {
			records = nil
		}
		return records, err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (k *Controller) createTopics(im *meta.Image, quota Quota, topics []NewTopic) (results []CreatedTopic, records []meta.Record, err error) {
	count := map[string]int{}
	total := int64(0)
	for i := range topics {
		count[topics[i].Name]++
	}
	for i := range topics {
		switch t := &topics[i]; {
		case count[t.Name] > 1:
		case len(t.Assignments) > 0:
			total += int64(len(t.Assignments))
		case t.NumPartitions == -1:
			total += int64(k.c.NumPartitions)
		case t.NumPartitions > 0:
			total += int64(t.NumPartitions)
		}
	}
	if total > MaxPartitionsPerRequest {
		return nil, nil, &Error{CodePolicyViolation, "Excessively large number of partitions per request."}
	}
	place := k.placement(im)
	for i := range topics {
		t := &topics[i]
		switch n := count[t.Name]; {
		case n < 0:
			continue
		case n > 1:
			count[t.Name] = -1
			results = append(results, CreatedTopic{Name: t.Name, Err: &Error{CodeInvalidRequest, "Duplicate topic name."}})
			continue
		}
		result, made := k.createTopic(im, quota, place, t)
		results = append(results, result)
		records = append(records, made...)
	}
	return results, records, nil
}

func (k *Controller) createTopic(im *meta.Image, quota Quota, place *quorum.Placement, t *NewTopic) (CreatedTopic, []meta.Record) {
	fail := func(e *Error) (CreatedTopic, []meta.Record) { return CreatedTopic{Name: t.Name, Err: e}, nil }
	if t.Name == "__cluster_metadata" {
		return fail(&Error{CodeInvalidRequest, "Creation of internal topic __cluster_metadata is prohibited."})
	}
	if im.Topic(t.Name) != nil {
		return fail(errorf(CodeTopicAlreadyExists, "Topic '%s' already exists.", t.Name))
	}
	if other := k.names.find(t.Name); other != "" {
		return fail(errorf(CodeInvalidTopic, "Topic '%s' collides with existing topic: %s", t.Name, other))
	}
	if e := ValidateTopicName(t.Name); e != nil {
		return fail(e)
	}
	overrides, configs, e := k.newTopicConfigs(im, t)
	if e != nil {
		return fail(e)
	}
	replicas, e := k.newTopicReplicas(im, t)
	if e != nil {
		return fail(e)
	}
	if e := beyond(quota, len(replicas)); e != nil {
		return fail(e)
	}
	id := t.ID
	if id.IsZero() {
		id = meta.NewUUID()
	} else if other := im.TopicByID(id); other != nil {
		return fail(errorf(CodeTopicAlreadyExists, "Topic '%s' already has id %s.", other.Name, id))
	}
	result := CreatedTopic{Name: t.Name, ID: id, NumPartitions: int32(len(replicas)), ReplicationFactor: int16(len(replicas[0]))}
	if k.c.EffectiveTopicConfigs != nil {
		result.Configs = k.c.EffectiveTopicConfigs(im, overrides)
	}
	records := append([]meta.Record{&meta.TopicRecord{Name: t.Name, TopicID: id}}, configs...)
	return result, append(records, newPartitions(id, 0, replicas, place)...)
}

// newTopicConfigs returns the overrides of a new topic and their records.
func (k *Controller) newTopicConfigs(im *meta.Image, t *NewTopic) (map[string]string, []meta.Record, *Error) {
	var null []string
	overrides := map[string]string{}
	ops := make([]ConfigOp, 0, len(t.Configs))
	for _, config := range t.Configs {
		if config.Value == nil {
			null = append(null, config.Name)
			continue
		}
		if _, ok := overrides[config.Name]; ok {
			ops = slices.DeleteFunc(ops, func(op ConfigOp) bool { return op.Name == config.Name })
		}
		overrides[config.Name] = *config.Value
		ops = append(ops, ConfigOp{Name: config.Name, Op: OpSet, Value: config.Value})
	}
	if len(null) > 0 {
		return nil, nil, &Error{CodeInvalidConfig, "Null value not supported for topic configs: " + strings.Join(null, ",")}
	}
	if len(ops) == 0 {
		return overrides, nil, nil
	}
	records, e := k.alterResource(im, meta.ConfigResource{Type: meta.ResourceTopic, Name: t.Name}, ops, true)
	if e != nil {
		return nil, nil, e
	}
	return overrides, append(records, clearElr(im, records)...), nil
}

// newTopicReplicas returns the replicas of every partition, by ascending id.
func (k *Controller) newTopicReplicas(im *meta.Image, t *NewTopic) ([][]int32, *Error) {
	switch {
	case len(t.Assignments) > 0:
		return k.manualReplicas(im, t)
	case t.ReplicationFactor < -1 || t.ReplicationFactor == 0:
		return nil, &Error{CodeInvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."}
	case t.NumPartitions < -1 || t.NumPartitions == 0:
		return nil, &Error{CodeInvalidPartitions, "Number of partitions was set to an invalid non-positive value."}
	}
	partitions, factor := t.NumPartitions, t.ReplicationFactor
	if partitions == -1 {
		partitions = k.c.NumPartitions
	}
	if factor == -1 {
		factor = k.c.DefaultReplicationFactor
	}
	if reason := k.cannotPlace(im, factor); reason != "" {
		return nil, errorf(CodeInvalidReplicationFactor, "Unable to replicate the partition %d time(s): %s", factor, reason)
	}
	return slices.Repeat([][]int32{{k.c.NodeID}}, int(partitions)), nil
}

// cannotPlace says why replicas cannot be placed (StripedReplicaPlacer), or "".
func (k *Controller) cannotPlace(im *meta.Image, factor int16) string {
	switch {
	case factor <= 0:
		return "Invalid replication factor " + itoa(int64(factor)) + ": the replication factor must be positive."
	case !k.usable(im):
		return "All brokers are currently fenced, or have all their log directories cordoned."
	case factor > 1:
		return "The target replication factor of " + itoa(int64(factor)) + " cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned."
	}
	return ""
}

// usable reports whether this node takes new replicas.
func (k *Controller) usable(im *meta.Image) bool {
	b := im.Brokers[k.c.NodeID]
	return b != nil && !b.Fenced && (len(b.LogDirs) == 0 || len(uncordoned(b)) > 0)
}

func uncordoned(b *meta.Broker) []meta.UUID {
	return slices.DeleteFunc(slices.Clone(b.LogDirs), func(id meta.UUID) bool { return slices.Contains(b.CordonedLogDirs, id) })
}

// placement chooses directories for new replicas; nil where the metadata knows of no directories. Of several that have as many
// partitions the first one in log.dirs is taken, as LogManager.nextLogDirs does: a registration has them in the order of their ids.
func (k *Controller) placement(im *meta.Image) *quorum.Placement {
	b := im.Brokers[k.c.NodeID]
	if b == nil {
		return nil
	}
	open := uncordoned(b)
	dirs := slices.DeleteFunc(k.q.DirectoryIDs(), func(id meta.UUID) bool { return !slices.Contains(open, id) })
	if len(dirs) == 0 {
		return nil
	}
	return quorum.NewPlacement(im, k.c.NodeID, dirs)
}

func (k *Controller) manualReplicas(im *meta.Image, t *NewTopic) ([][]int32, *Error) {
	if t.ReplicationFactor != -1 {
		return nil, &Error{CodeInvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1."}
	}
	if t.NumPartitions != -1 {
		return nil, &Error{CodeInvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1."}
	}
	byID := map[int32][]int32{}
	factor := -1
	for _, a := range t.Assignments {
		if _, ok := byID[a.Partition]; ok {
			return nil, errorf(CodeInvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		if e := k.checkAssignment(im, a.BrokerIDs, factor); e != nil {
			return nil, e
		}
		factor = len(a.BrokerIDs)
		if b := im.Brokers[k.c.NodeID]; b.Fenced || b.InControlledShutdown {
			return nil, errorf(CodeInvalidReplicaAssignment, "All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", a.Partition)
		}
		byID[a.Partition] = a.BrokerIDs
	}
	list := make([][]int32, len(byID))
	for i := range list {
		replicas, ok := byID[int32(i)]
		if !ok {
			return nil, &Error{CodeInvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence"}
		}
		list[i] = replicas
	}
	return list, nil
}

// checkAssignment checks the replicas of one partition; factor -1: any number of them.
func (k *Controller) checkAssignment(im *meta.Image, brokers []int32, factor int) *Error {
	const prefix = "The manual partition assignment includes "
	if len(brokers) == 0 {
		return &Error{CodeInvalidReplicaAssignment, prefix + "an empty replica list."}
	}
	sorted := slices.Sorted(slices.Values(brokers))
	for i, id := range sorted {
		b := im.Brokers[id]
		switch {
		case b == nil:
			return errorf(CodeInvalidReplicaAssignment, prefix+"broker %d, but no such broker is registered.", id)
		case len(b.LogDirs) > 0 && len(uncordoned(b)) == 0:
			return errorf(CodeInvalidReplicaAssignment, prefix+"broker %d, but all its log directories are cordoned.", id)
		case i > 0 && sorted[i-1] == id:
			return errorf(CodeInvalidReplicaAssignment, prefix+"the broker %d more than once.", id)
		}
	}
	if factor >= 0 && len(brokers) != factor {
		return errorf(CodeInvalidReplicaAssignment, prefix+"a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).", len(brokers), factor)
	}
	return nil
}

// newPartitions makes the records of partitions with ids from first, led by their first replica.
func newPartitions(topic meta.UUID, first int32, replicas [][]int32, place *quorum.Placement) []meta.Record {
	records := make([]meta.Record, len(replicas))
	for i, list := range replicas {
		p := &meta.PartitionRecord{
			PartitionID: first + int32(i), TopicID: topic, Replicas: list, ISR: list, Leader: list[0],
			RemovingReplicas: []int32{}, AddingReplicas: []int32{}, Directories: make([]meta.UUID, len(list)),
		}
		if place != nil {
			for j := range list {
				p.Directories[j] = place.Next()
			}
		}
		records[i] = p
	}
	return records
}

// NewPartitions is a topic of a CreatePartitions request.
type NewPartitions struct {
	Topic       string
	Count       int32     // partitions in total afterwards
	Assignments [][]int32 // replicas of each new partition; nil: chosen
}

// PartitionsResult is the answer for one NewPartitions.
type PartitionsResult struct {
	Topic string
	Err   *Error // nil: done
}

// CreatePartitions adds partitions to topics, or with validateOnly says whether it could, and answers each, duplicates once.
func (k *Controller) CreatePartitions(topics []NewPartitions, validateOnly bool) ([]PartitionsResult, error) {
	return k.CreatePartitionsWithin(nil, topics, validateOnly)
}

// CreatePartitionsWithin is CreatePartitions under a quota.
func (k *Controller) CreatePartitionsWithin(quota Quota, topics []NewPartitions, validateOnly bool) ([]PartitionsResult, error) {
	var results []PartitionsResult
	err := k.Change(func(im *meta.Image) (records []meta.Record, err error) {
		results = nil
		count := map[string]int{}
		for _, t := range topics {
			count[t.Topic]++
		}
		place := k.placement(im)
		for _, t := range topics {
			switch n := count[t.Topic]; {
			case n < 0:
			case n > 1:
				count[t.Topic] = -1
				results = append(results, PartitionsResult{t.Topic, &Error{CodeInvalidRequest, "Duplicate topic name."}})
			default:
				made, e := k.createPartitions(im, quota, place, &t, MaxPartitionsPerRequest-len(records))
				results = append(results, PartitionsResult{t.Topic, e})
				records = append(records, made...)
			}
		}
		if validateOnly {
			records = nil
		}
		return records, nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (k *Controller) createPartitions(im *meta.Image, quota Quota, place *quorum.Placement, t *NewPartitions, room int) ([]meta.Record, *Error) {
	topic := im.Topic(t.Topic)
	if topic == nil {
		return nil, &Error{Code: CodeUnknownTopicOrPartition}
	}
	have := len(topic.Partitions)
	switch {
	case int(t.Count) == have:
		return nil, errorf(CodeInvalidPartitions, "Topic already has %d partition(s).", have)
	case int(t.Count) < have:
		return nil, errorf(CodeInvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Topic, have, t.Count)
	}
	additional := int(t.Count) - have
	if t.Assignments != nil && len(t.Assignments) != additional {
		return nil, errorf(CodeInvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", additional, len(t.Assignments))
	}
	if additional > room {
		return nil, &Error{CodePolicyViolation, "Excessively large number of partitions per request."}
	}
	if e := beyond(quota, additional); e != nil {
		return nil, e
	}
	if have == 0 {
		return nil, errorf(CodeUnknownServerError, "Invalid state: topic %s appears to have no partitions.", t.Topic)
	}
	factor := min(len(topic.Partitions[0].Replicas), math.MaxInt16)
	replicas := t.Assignments
	if replicas == nil {
		if reason := k.cannotPlace(im, int16(factor)); reason != "" {
			return nil, &Error{CodeInvalidReplicationFactor, reason}
		}
		replicas = slices.Repeat([][]int32{{k.c.NodeID}}, additional)
	}
	for i, brokers := range t.Assignments {
		if e := k.checkAssignment(im, brokers, factor); e != nil {
			return nil, e
		}
		if b := im.Brokers[k.c.NodeID]; b.Fenced || b.InControlledShutdown {
			return nil, errorf(CodeInvalidReplicaAssignment, "All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", have+i)
		}
	}
	return newPartitions(topic.ID, int32(have), replicas, place), nil
}
