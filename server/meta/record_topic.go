package meta

import "github.com/gregor-broker/gregor/wire/prim"

// Values of the Leader and LeaderRecoveryState fields (PartitionRegistration, LeaderRecoveryState).
const (
	NoLeader       int32 = -1 // the partition has no leader
	NoLeaderChange int32 = -2 // PartitionChangeRecord: the leader stays, and with it the leader epoch

	RecoveryStateUnchanged  int8 = -1 // PartitionChangeRecord only
	RecoveryStateRecovered  int8 = 0
	RecoveryStateRecovering int8 = 1 // the leader was elected uncleanly and has not finished recovering
)

// TopicRecord creates a topic without partitions.
type TopicRecord struct {
	Name    string
	TopicID UUID
}

// Key returns KeyTopic.
func (t *TopicRecord) Key() int16          { return KeyTopic }
func (t *TopicRecord) version(int16) int16 { return 0 }
func (t *TopicRecord) appendBody(dst []byte, _ int16) []byte {
	dst = prim.AppendCompactString(dst, t.Name)
	dst = prim.AppendUUID(dst, t.TopicID)
	return prim.AppendTags0(dst)
}
func (t *TopicRecord) readBody(r *prim.Reader, _ int16) {
	t.Name = r.CompactString()
	t.TopicID = readUUID(r)
	r.SkipTags()
}

// RemoveTopicRecord removes a topic, its partitions and its configs.
type RemoveTopicRecord struct{ TopicID UUID }

// Key returns KeyRemoveTopic.
func (t *RemoveTopicRecord) Key() int16          { return KeyRemoveTopic }
func (t *RemoveTopicRecord) version(int16) int16 { return 0 }
func (t *RemoveTopicRecord) appendBody(dst []byte, _ int16) []byte {
	return prim.AppendTags0(prim.AppendUUID(dst, t.TopicID))
}
func (t *RemoveTopicRecord) readBody(r *prim.Reader, _ int16) {
	t.TopicID = readUUID(r)
	r.SkipTags()
}

// PartitionRecord creates a partition or replaces it as a whole.
type PartitionRecord struct {
	PartitionID            int32
	TopicID                UUID
	Replicas               []int32
	ISR                    []int32
	RemovingReplicas       []int32
	AddingReplicas         []int32
	Leader                 int32
	LeaderRecoveryState    int8
	LeaderEpoch            int32
	PartitionEpoch         int32
	Directories            []UUID  // v1+: parallel to Replicas
	EligibleLeaderReplicas []int32 // v2+: nil is null
	LastKnownELR           []int32 // v2+: nil is null
}

// Key returns KeyPartition.
func (p *PartitionRecord) Key() int16             { return KeyPartition }
func (p *PartitionRecord) version(mv int16) int16 { return partitionVersion(mv) }

// partitionVersion is MetadataVersion.partitionRecordVersion and partitionChangeRecordVersion, which agree.
func partitionVersion(mv int16) int16 {
	switch {
	case mv >= eligibleLeaderReplicasVersion:
		return 2
	case mv >= directoryAssignmentVersion:
		return 1
	}
	return 0
}

func (p *PartitionRecord) appendBody(dst []byte, version int16) []byte {
	dst = prim.AppendInt32(dst, p.PartitionID)
	dst = prim.AppendUUID(dst, p.TopicID)
	dst = appendInts(dst, p.Replicas)
	dst = appendInts(dst, p.ISR)
	dst = appendInts(dst, p.RemovingReplicas)
	dst = appendInts(dst, p.AddingReplicas)
	dst = prim.AppendInt32(dst, p.Leader)
	dst = prim.AppendInt32(dst, p.LeaderEpoch)
	dst = prim.AppendInt32(dst, p.PartitionEpoch)
	if version >= 1 {
		dst = appendUUIDs(dst, p.Directories)
	}
	var tags tagSection
	if p.LeaderRecoveryState != RecoveryStateRecovered {
		tags.int8(0, p.LeaderRecoveryState)
	}
	if version >= 2 && p.EligibleLeaderReplicas != nil {
		tags.ints(1, p.EligibleLeaderReplicas)
	}
	if version >= 2 && p.LastKnownELR != nil {
		tags.ints(2, p.LastKnownELR)
	}
	return tags.appendTo(dst)
}

func (p *PartitionRecord) readBody(r *prim.Reader, version int16) {
	p.PartitionID = r.Int32()
	p.TopicID = readUUID(r)
	p.Replicas = required(r, readInts(r))
	p.ISR = required(r, readInts(r))
	p.RemovingReplicas = required(r, readInts(r))
	p.AddingReplicas = required(r, readInts(r))
	p.Leader = r.Int32()
	p.LeaderEpoch = r.Int32()
	p.PartitionEpoch = r.Int32()
	if version >= 1 {
		p.Directories = required(r, readUUIDs(r))
	}
	r.Tags(func(tag uint32, r *prim.Reader) {
		switch {
		case tag == 0:
			p.LeaderRecoveryState = r.Int8()
		case tag == 1 && version >= 2:
			p.EligibleLeaderReplicas = readInts(r)
		case tag == 2 && version >= 2:
			p.LastKnownELR = readInts(r)
		}
	})
}

// PartitionChangeRecord changes some fields of a partition. The epochs are not in the record: whoever applies it adds one to
// the partition epoch, and one to the leader epoch when Leader is present. Make one with NewPartitionChange: the zero value
// would name broker 0 as leader.
type PartitionChangeRecord struct {
	PartitionID            int32
	TopicID                UUID
	ISR                    []int32 // nil: unchanged, here and below
	Leader                 int32   // NoLeaderChange: unchanged
	Replicas               []int32
	RemovingReplicas       []int32
	AddingReplicas         []int32
	LeaderRecoveryState    int8    // RecoveryStateUnchanged: unchanged
	Directories            []UUID  // v1+
	EligibleLeaderReplicas []int32 // v2+
	LastKnownELR           []int32 // v2+
}

// NewPartitionChange returns a record that changes nothing yet.
func NewPartitionChange(topic UUID, partition int32) *PartitionChangeRecord {
	return &PartitionChangeRecord{PartitionID: partition, TopicID: topic, Leader: NoLeaderChange, LeaderRecoveryState: RecoveryStateUnchanged}
}

// Key returns KeyPartitionChange.
func (p *PartitionChangeRecord) Key() int16             { return KeyPartitionChange }
func (p *PartitionChangeRecord) version(mv int16) int16 { return partitionVersion(mv) }
func (p *PartitionChangeRecord) appendBody(dst []byte, version int16) []byte {
	dst = prim.AppendInt32(dst, p.PartitionID)
	dst = prim.AppendUUID(dst, p.TopicID)
	var tags tagSection
	if p.ISR != nil {
		tags.ints(0, p.ISR)
	}
	if p.Leader != NoLeaderChange {
		tags.int32(1, p.Leader)
	}
	if p.Replicas != nil {
		tags.ints(2, p.Replicas)
	}
	if p.RemovingReplicas != nil {
		tags.ints(3, p.RemovingReplicas)
	}
	if p.AddingReplicas != nil {
		tags.ints(4, p.AddingReplicas)
	}
	if p.LeaderRecoveryState != RecoveryStateUnchanged {
		tags.int8(5, p.LeaderRecoveryState)
	}
	if version >= 2 && p.EligibleLeaderReplicas != nil {
		tags.ints(6, p.EligibleLeaderReplicas)
	}
	if version >= 2 && p.LastKnownELR != nil {
		tags.ints(7, p.LastKnownELR)
	}
	if version >= 1 && p.Directories != nil {
		tags.uuids(8, p.Directories)
	}
	return tags.appendTo(dst)
}

func (p *PartitionChangeRecord) readBody(r *prim.Reader, version int16) {
	p.PartitionID = r.Int32()
	p.TopicID = readUUID(r)
	r.Tags(func(tag uint32, r *prim.Reader) {
		switch {
		case tag == 0:
			p.ISR = readInts(r)
		case tag == 1:
			p.Leader = r.Int32()
		case tag == 2:
			p.Replicas = readInts(r)
		case tag == 3:
			p.RemovingReplicas = readInts(r)
		case tag == 4:
			p.AddingReplicas = readInts(r)
		case tag == 5:
			p.LeaderRecoveryState = r.Int8()
		case tag == 6 && version >= 2:
			p.EligibleLeaderReplicas = readInts(r)
		case tag == 7 && version >= 2:
			p.LastKnownELR = readInts(r)
		case tag == 8 && version >= 1:
			p.Directories = readUUIDs(r)
		}
	})
}

// ClearElrRecord empties the eligible leader replicas and the last known ones of one topic's partitions, or of all.
type ClearElrRecord struct{ TopicName string } // "" is every topic

// Key returns KeyClearElr.
func (c *ClearElrRecord) Key() int16          { return KeyClearElr }
func (c *ClearElrRecord) version(int16) int16 { return 0 }
func (c *ClearElrRecord) appendBody(dst []byte, _ int16) []byte {
	return prim.AppendTags0(prim.AppendCompactString(dst, c.TopicName))
}
func (c *ClearElrRecord) readBody(r *prim.Reader, _ int16) {
	c.TopicName = r.CompactString()
	r.SkipTags()
}
