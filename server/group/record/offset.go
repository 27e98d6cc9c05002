package record

// OffsetCommit is the value of a committed offset (OffsetCommitValue), also of the legacy type.
type OffsetCommit struct {
	Offset          int64
	LeaderEpoch     int32 // -1 unknown
	Metadata        string
	CommitTimestamp int64 // ms
	// ExpireTimestamp, in ms, is kept by version 1 only, which is written when it is positive; otherwise it is -1.
	ExpireTimestamp int64
	TopicID         UUID // zero unknown
}

func newOffsetCommit() Value { return &OffsetCommit{LeaderEpoch: -1, ExpireTimestamp: -1} }

func (v *OffsetCommit) versions() (written, highest, flexible int16) {
	if v.ExpireTimestamp > 0 {
		return 1, 4, 4
	}
	return 4, 4, 4
}

func (v *OffsetCommit) fields(c *coder) {
	c.int64("offset", &v.Offset)
	if c.version >= 3 {
		c.int32("leaderEpoch", &v.LeaderEpoch)
	}
	c.string("metadata", &v.Metadata)
	c.int64("commitTimestamp", &v.CommitTimestamp)
	if c.version == 1 {
		c.int64("expireTimestamp", &v.ExpireTimestamp)
	}
	c.tags(tagged{v.TopicID != UUID{}, func() { c.uuid("topicId", &v.TopicID) }})
}

// GroupMetadata is the value of a classic group (GroupMetadataValue). A group without members has no protocol and no leader.
type GroupMetadata struct {
	ProtocolType          string
	Generation            int32
	Protocol, Leader      *string
	CurrentStateTimestamp int64 // ms; -1 before version 2
	Members               []GroupMember
}

// GroupMember is one member of a classic group (GroupMetadataValue.MemberMetadata).
type GroupMember struct {
	MemberID                 string
	GroupInstanceID          *string
	ClientID, ClientHost     string
	RebalanceTimeout         int32 // ms; -1 in version 0, which means the session timeout
	SessionTimeout           int32 // ms
	Subscription, Assignment []byte
}

func (v *GroupMetadata) versions() (written, highest, flexible int16) { return 3, 4, 4 }

func (v *GroupMetadata) fields(c *coder) {
	c.string("protocolType", &v.ProtocolType)
	c.int32("generation", &v.Generation)
	c.nullable("protocol", &v.Protocol)
	c.nullable("leader", &v.Leader)
	if c.version >= 2 {
		c.int64("currentStateTimestamp", &v.CurrentStateTimestamp)
	}
	structs(c, "members", &v.Members, 10, func(m *GroupMember) {
		c.string("memberId", &m.MemberID)
		if c.version >= 3 {
			c.nullable("groupInstanceId", &m.GroupInstanceID)
		}
		c.string("clientId", &m.ClientID)
		c.string("clientHost", &m.ClientHost)
		if c.version >= 1 {
			c.int32("rebalanceTimeout", &m.RebalanceTimeout)
		} else if c.mode == reading {
			m.RebalanceTimeout = -1
		}
		c.int32("sessionTimeout", &m.SessionTimeout)
		c.bytes("subscription", &m.Subscription)
		c.bytes("assignment", &m.Assignment)
		c.tags()
	})
	c.tags()
}
