package record

// flexible0 is embedded in values whose only version is 0, which is flexible.
type flexible0 struct{}

func (flexible0) versions() (written, highest, flexible int16) { return 0, 0, 0 }

// ConsumerGroupMetadata is the value of a KIP-848 group (ConsumerGroupMetadataValue).
type ConsumerGroupMetadata struct {
	flexible0
	Epoch        int32
	MetadataHash int64 // of the topics subscribed to; 0 unknown (KIP-1101)
}

func (v *ConsumerGroupMetadata) fields(c *coder) {
	c.int32("epoch", &v.Epoch)
	c.tags(tagged{v.MetadataHash != 0, func() { c.int64("metadataHash", &v.MetadataHash) }})
}

// ConsumerGroupPartitionMetadata is the metadata of the topics a group subscribes to, which Kafka 4.0 wrote and the hash of
// ConsumerGroupMetadata replaced (ConsumerGroupPartitionMetadataValue).
type ConsumerGroupPartitionMetadata struct {
	flexible0
	Topics []TopicMetadata
}

// TopicMetadata is one topic of ConsumerGroupPartitionMetadata.
type TopicMetadata struct {
	TopicID           UUID
	TopicName         string
	NumPartitions     int32
	PartitionMetadata []PartitionRacks
}

// PartitionRacks are the racks of a partition's replicas.
type PartitionRacks struct {
	Partition int32
	Racks     []string
}

func (v *ConsumerGroupPartitionMetadata) fields(c *coder) {
	structs(c, "topics", &v.Topics, 23, func(t *TopicMetadata) {
		c.uuid("topicId", &t.TopicID)
		c.string("topicName", &t.TopicName)
		c.int32("numPartitions", &t.NumPartitions)
		structs(c, "partitionMetadata", &t.PartitionMetadata, 6, func(p *PartitionRacks) {
			c.int32("partition", &p.Partition)
			c.strings("racks", &p.Racks)
			c.tags()
		})
		c.tags()
	})
	c.tags()
}

// ConsumerGroupMemberMetadata is what a member of a KIP-848 group told about itself (ConsumerGroupMemberMetadataValue).
type ConsumerGroupMemberMetadata struct {
	flexible0
	InstanceID, RackID    *string
	ClientID, ClientHost  string
	SubscribedTopicNames  []string
	SubscribedTopicRegex  *string
	RebalanceTimeoutMs    int32
	ServerAssignor        *string
	ClassicMemberMetadata *ClassicMemberMetadata // of a member that speaks the classic protocol
}

// ClassicMemberMetadata is what a member that speaks the classic protocol told besides.
type ClassicMemberMetadata struct {
	SessionTimeoutMs   int32
	SupportedProtocols []ClassicProtocol
}

// ClassicProtocol is an assignor of a classic member with the subscription it was given.
type ClassicProtocol struct {
	Name     string
	Metadata []byte
}

func (v *ConsumerGroupMemberMetadata) fields(c *coder) {
	c.nullable("instanceId", &v.InstanceID)
	c.nullable("rackId", &v.RackID)
	c.string("clientId", &v.ClientID)
	c.string("clientHost", &v.ClientHost)
	c.strings("subscribedTopicNames", &v.SubscribedTopicNames)
	c.nullable("subscribedTopicRegex", &v.SubscribedTopicRegex)
	c.int32("rebalanceTimeoutMs", &v.RebalanceTimeoutMs)
	c.nullable("serverAssignor", &v.ServerAssignor)
	// Kafka writes the tag also for null.
	c.tags(tagged{true, func() {
		if !c.presentTagged("classicMemberMetadata", v.ClassicMemberMetadata != nil) {
			return
		}
		if c.mode == reading {
			v.ClassicMemberMetadata = new(ClassicMemberMetadata)
		}
		m := v.ClassicMemberMetadata
		c.open()
		c.int32("sessionTimeoutMs", &m.SessionTimeoutMs)
		structs(c, "supportedProtocols", &m.SupportedProtocols, 3, func(p *ClassicProtocol) {
			c.string("name", &p.Name)
			c.bytes("metadata", &p.Metadata)
			c.tags()
		})
		c.tags()
		c.close()
	}})
}

// TargetAssignmentMetadata is the epoch of a group's target assignment (ConsumerGroup-, ShareGroup- and
// StreamsGroupTargetAssignmentMetadataValue).
type TargetAssignmentMetadata struct {
	flexible0
	AssignmentEpoch     int32
	AssignmentTimestamp int64 // ms when it was computed; 0 unknown (KIP-1263)
}

func (v *TargetAssignmentMetadata) fields(c *coder) {
	c.int32("assignmentEpoch", &v.AssignmentEpoch)
	c.tags(tagged{v.AssignmentTimestamp != 0, func() { c.int64("assignmentTimestamp", &v.AssignmentTimestamp) }})
}

// TargetAssignmentMember is the target assignment of one member (ConsumerGroup- and ShareGroupTargetAssignmentMemberValue).
type TargetAssignmentMember struct {
	flexible0
	TopicPartitions []TopicPartitions
}

// TopicPartitions are partitions of a topic. AssignmentEpochs, of a current assignment only, has a member epoch for every
// partition: the one it was assigned in; it is empty in records of Kafka before 4.3.
type TopicPartitions struct {
	TopicID          UUID
	Partitions       []int32
	AssignmentEpochs []int32
}

func (v *TargetAssignmentMember) fields(c *coder) {
	structs(c, "topicPartitions", &v.TopicPartitions, 18, func(t *TopicPartitions) { t.fields(c) })
	c.tags()
}

func (t *TopicPartitions) fields(c *coder) {
	c.uuid("topicId", &t.TopicID)
	c.int32s("partitions", &t.Partitions)
	c.tags()
}

func (t *TopicPartitions) fieldsWithEpochs(c *coder) {
	c.uuid("topicId", &t.TopicID)
	c.int32s("partitions", &t.Partitions)
	c.assignmentEpochs(&t.AssignmentEpochs)
}

// assignmentEpochs ends a struct that has them.
func (c *coder) assignmentEpochs(list *[]int32) {
	if c.mode == reading {
		*list = []int32{}
	}
	c.tags(tagged{*list == nil || len(*list) > 0, func() {
		if c.orNull("assignmentEpochs", *list == nil) {
			*list = nil
			return
		}
		c.int32s("assignmentEpochs", list)
	}})
}

// ConsumerGroupCurrentMemberAssignment is what a member owns and must give up (ConsumerGroupCurrentMemberAssignmentValue).
type ConsumerGroupCurrentMemberAssignment struct {
	flexible0
	MemberEpoch, PreviousMemberEpoch int32
	State                            int8 // 0 stable, 1 unrevoked, 2 unreleased, 127 unknown (MemberState)
	AssignedPartitions               []TopicPartitions
	PartitionsPendingRevocation      []TopicPartitions
}

func (v *ConsumerGroupCurrentMemberAssignment) fields(c *coder) {
	c.int32("memberEpoch", &v.MemberEpoch)
	c.int32("previousMemberEpoch", &v.PreviousMemberEpoch)
	c.int8("state", &v.State)
	structs(c, "assignedPartitions", &v.AssignedPartitions, 18, func(t *TopicPartitions) { t.fieldsWithEpochs(c) })
	structs(c, "partitionsPendingRevocation", &v.PartitionsPendingRevocation, 18, func(t *TopicPartitions) { t.fieldsWithEpochs(c) })
	c.tags()
}

// ConsumerGroupRegularExpression is what a regular expression that members subscribe to was resolved to
// (ConsumerGroupRegularExpressionValue).
type ConsumerGroupRegularExpression struct {
	flexible0
	Topics    []string
	Version   int64 // of the metadata it was resolved with
	Timestamp int64 // ms
}

func (v *ConsumerGroupRegularExpression) fields(c *coder) {
	c.strings("topics", &v.Topics)
	c.int64("version", &v.Version)
	c.int64("timestamp", &v.Timestamp)
	c.tags()
}
