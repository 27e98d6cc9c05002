package record

// ShareGroupMemberMetadata is what a member of a share group told about itself (ShareGroupMemberMetadataValue).
type ShareGroupMemberMetadata struct {
	flexible0
	RackID               *string
	ClientID, ClientHost string
	SubscribedTopicNames []string
}

func (v *ShareGroupMemberMetadata) fields(c *coder) {
	c.nullable("rackId", &v.RackID)
	c.string("clientId", &v.ClientID)
	c.string("clientHost", &v.ClientHost)
	c.strings("subscribedTopicNames", &v.SubscribedTopicNames)
	c.tags()
}

// ShareGroupMetadata is the value of a share group (ShareGroupMetadataValue).
type ShareGroupMetadata struct {
	flexible0
	Epoch        int32
	MetadataHash int64
}

func (v *ShareGroupMetadata) fields(c *coder) {
	c.int32("epoch", &v.Epoch)
	c.int64("metadataHash", &v.MetadataHash)
	c.tags()
}

// ShareGroupCurrentMemberAssignment is what a member of a share group reads (ShareGroupCurrentMemberAssignmentValue).
type ShareGroupCurrentMemberAssignment struct {
	flexible0
	MemberEpoch, PreviousMemberEpoch int32
	State                            int8
	AssignedPartitions               []TopicPartitions
}

func (v *ShareGroupCurrentMemberAssignment) fields(c *coder) {
	c.int32("memberEpoch", &v.MemberEpoch)
	c.int32("previousMemberEpoch", &v.PreviousMemberEpoch)
	c.int8("state", &v.State)
	structs(c, "assignedPartitions", &v.AssignedPartitions, 18, func(t *TopicPartitions) { t.fields(c) })
	c.tags()
}

// ShareGroupStatePartitionMetadata says which partitions of a share group have a state (ShareGroupStatePartitionMetadataValue).
type ShareGroupStatePartitionMetadata struct {
	flexible0
	InitializingTopics, InitializedTopics []NamedTopicPartitions
	DeletingTopics                        []NamedTopic
}

// NamedTopicPartitions are partitions of a topic.
type NamedTopicPartitions struct {
	TopicID    UUID
	TopicName  string
	Partitions []int32
}

// NamedTopic is a topic.
type NamedTopic struct {
	TopicID   UUID
	TopicName string
}

func (v *ShareGroupStatePartitionMetadata) fields(c *coder) {
	partitions := func(t *NamedTopicPartitions) {
		c.uuid("topicId", &t.TopicID)
		c.string("topicName", &t.TopicName)
		c.int32s("partitions", &t.Partitions)
		c.tags()
	}
	structs(c, "initializingTopics", &v.InitializingTopics, 19, partitions)
	structs(c, "initializedTopics", &v.InitializedTopics, 19, partitions)
	structs(c, "deletingTopics", &v.DeletingTopics, 18, func(t *NamedTopic) {
		c.uuid("topicId", &t.TopicID)
		c.string("topicName", &t.TopicName)
		c.tags()
	})
	c.tags()
}
