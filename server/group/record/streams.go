package record

// StreamsGroupMetadata is the value of a streams group (StreamsGroupMetadataValue).
type StreamsGroupMetadata struct {
	flexible0
	Epoch                  int32
	MetadataHash           int64
	ValidatedTopologyEpoch int32 // -1 none
	LastAssignmentConfigs  []KeyValue
}

// KeyValue is a pair of strings.
type KeyValue struct{ Key, Value string }

func (v *KeyValue) fields(c *coder) {
	c.string("key", &v.Key)
	c.string("value", &v.Value)
	c.tags()
}

func (v *StreamsGroupMetadata) fields(c *coder) {
	c.int32("epoch", &v.Epoch)
	c.int64("metadataHash", &v.MetadataHash)
	c.tags(
		tagged{v.ValidatedTopologyEpoch != -1, func() { c.int32("validatedTopologyEpoch", &v.ValidatedTopologyEpoch) }},
		tagged{v.LastAssignmentConfigs == nil || len(v.LastAssignmentConfigs) > 0, func() {
			if c.orNull("lastAssignmentConfigs", v.LastAssignmentConfigs == nil) {
				v.LastAssignmentConfigs = nil
				return
			}
			structs(c, "lastAssignmentConfigs", &v.LastAssignmentConfigs, 3, func(kv *KeyValue) { kv.fields(c) })
		}},
	)
}

// StreamsGroupMemberMetadata is what a member of a streams group told about itself (StreamsGroupMemberMetadataValue).
type StreamsGroupMemberMetadata struct {
	flexible0
	InstanceID, RackID                *string
	ClientID, ClientHost              string
	RebalanceTimeoutMs, TopologyEpoch int32
	ProcessID                         string
	UserEndpoint                      *Endpoint
	ClientTags                        []KeyValue
}

// Endpoint is where a streams application answers queries.
type Endpoint struct {
	Host string
	Port uint16
}

func (v *StreamsGroupMemberMetadata) fields(c *coder) {
	c.nullable("instanceId", &v.InstanceID)
	c.nullable("rackId", &v.RackID)
	c.string("clientId", &v.ClientID)
	c.string("clientHost", &v.ClientHost)
	c.int32("rebalanceTimeoutMs", &v.RebalanceTimeoutMs)
	c.int32("topologyEpoch", &v.TopologyEpoch)
	c.string("processId", &v.ProcessID)
	if c.present("userEndpoint", v.UserEndpoint != nil) {
		if c.mode == reading {
			v.UserEndpoint = new(Endpoint)
		}
		c.open()
		c.string("host", &v.UserEndpoint.Host)
		c.uint16("port", &v.UserEndpoint.Port)
		c.tags()
		c.close()
	}
	structs(c, "clientTags", &v.ClientTags, 3, func(kv *KeyValue) { kv.fields(c) })
	c.tags()
}

// TaskIDs are tasks of a subtopology. AssignmentEpochs is as in TopicPartitions.
type TaskIDs struct {
	SubtopologyID    string
	Partitions       []int32
	AssignmentEpochs []int32
}

func (t *TaskIDs) fields(c *coder) {
	c.string("subtopologyId", &t.SubtopologyID)
	c.int32s("partitions", &t.Partitions)
	c.tags()
}

func (t *TaskIDs) fieldsWithEpochs(c *coder) {
	c.string("subtopologyId", &t.SubtopologyID)
	c.int32s("partitions", &t.Partitions)
	c.assignmentEpochs(&t.AssignmentEpochs)
}

// StreamsGroupTargetAssignmentMember is the target assignment of a member (StreamsGroupTargetAssignmentMemberValue).
type StreamsGroupTargetAssignmentMember struct {
	flexible0
	ActiveTasks, StandbyTasks, WarmupTasks []TaskIDs
}

func (v *StreamsGroupTargetAssignmentMember) fields(c *coder) {
	tasks := func(t *TaskIDs) { t.fields(c) }
	structs(c, "activeTasks", &v.ActiveTasks, 3, tasks)
	structs(c, "standbyTasks", &v.StandbyTasks, 3, tasks)
	structs(c, "warmupTasks", &v.WarmupTasks, 3, tasks)
	c.tags()
}

// StreamsGroupCurrentMemberAssignment is what a member runs and must give up (StreamsGroupCurrentMemberAssignmentValue).
type StreamsGroupCurrentMemberAssignment struct {
	flexible0
	MemberEpoch, PreviousMemberEpoch       int32
	State                                  int8
	ActiveTasks, StandbyTasks, WarmupTasks []TaskIDs
	ActiveTasksPendingRevocation           []TaskIDs
	StandbyTasksPendingRevocation          []TaskIDs
	WarmupTasksPendingRevocation           []TaskIDs
}

func (v *StreamsGroupCurrentMemberAssignment) fields(c *coder) {
	c.int32("memberEpoch", &v.MemberEpoch)
	c.int32("previousMemberEpoch", &v.PreviousMemberEpoch)
	c.int8("state", &v.State)
	tasks := func(t *TaskIDs) { t.fieldsWithEpochs(c) }
	structs(c, "activeTasks", &v.ActiveTasks, 3, tasks)
	structs(c, "standbyTasks", &v.StandbyTasks, 3, tasks)
	structs(c, "warmupTasks", &v.WarmupTasks, 3, tasks)
	structs(c, "activeTasksPendingRevocation", &v.ActiveTasksPendingRevocation, 3, tasks)
	structs(c, "standbyTasksPendingRevocation", &v.StandbyTasksPendingRevocation, 3, tasks)
	structs(c, "warmupTasksPendingRevocation", &v.WarmupTasksPendingRevocation, 3, tasks)
	c.tags()
}

// StreamsGroupTopology is the topology of a streams application (StreamsGroupTopologyValue).
type StreamsGroupTopology struct {
	flexible0
	Epoch         int32
	Subtopologies []Subtopology
}

// Subtopology is a part of a topology that is one task for every partition.
type Subtopology struct {
	SubtopologyID                  string
	SourceTopics, SourceTopicRegex []string
	StateChangelogTopics           []StreamsTopic
	RepartitionSinkTopics          []string
	RepartitionSourceTopics        []StreamsTopic
	CopartitionGroups              []CopartitionGroup
}

// StreamsTopic is a topic that a streams application keeps for itself.
type StreamsTopic struct {
	Name              string
	Partitions        int32
	ReplicationFactor int16
	TopicConfigs      []KeyValue
}

// CopartitionGroup is topics, by their place in the lists of a Subtopology, that must have as many partitions as each other.
type CopartitionGroup struct {
	SourceTopics, SourceTopicRegex, RepartitionSourceTopics []int16
}

func (v *StreamsGroupTopology) fields(c *coder) {
	topic := func(t *StreamsTopic) {
		c.string("name", &t.Name)
		c.int32("partitions", &t.Partitions)
		c.int16("replicationFactor", &t.ReplicationFactor)
		structs(c, "topicConfigs", &t.TopicConfigs, 3, func(kv *KeyValue) { kv.fields(c) })
		c.tags()
	}
	c.int32("epoch", &v.Epoch)
	structs(c, "subtopologies", &v.Subtopologies, 8, func(s *Subtopology) {
		c.string("subtopologyId", &s.SubtopologyID)
		c.strings("sourceTopics", &s.SourceTopics)
		c.strings("sourceTopicRegex", &s.SourceTopicRegex)
		structs(c, "stateChangelogTopics", &s.StateChangelogTopics, 9, topic)
		c.strings("repartitionSinkTopics", &s.RepartitionSinkTopics)
		structs(c, "repartitionSourceTopics", &s.RepartitionSourceTopics, 9, topic)
		structs(c, "copartitionGroups", &s.CopartitionGroups, 4, func(g *CopartitionGroup) {
			c.int16s("sourceTopics", &g.SourceTopics)
			c.int16s("sourceTopicRegex", &g.SourceTopicRegex)
			c.int16s("repartitionSourceTopics", &g.RepartitionSourceTopics)
			c.tags()
		})
		c.tags()
	})
	c.tags()
}
