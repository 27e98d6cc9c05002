package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// group is a group's name with the prefix of the run.
func (b *broker) group(name string) string { return b.prefix + name }

// coordinate waits until the coordinators of groups are there: Kafka makes their
// topic after it has said that there is none.
func (b *broker) coordinate(kind int8) {
	for range 200 {
		r := kmsg.NewPtrFindCoordinatorRequest()
		r.SetVersion(4)
		r.CoordinatorType, r.CoordinatorKeys = kind, []string{"any"}
		resp, _ := b.ask(r).(*kmsg.FindCoordinatorResponse)
		if resp == nil {
			return
		}
		if resp.Coordinators[0].ErrorCode == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for range 200 {
		r := kmsg.NewPtrListGroupsRequest()
		r.SetVersion(0)
		if resp, _ := b.ask(r).(*kmsg.ListGroupsResponse); resp == nil || resp.ErrorCode == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func coordinators(b *broker) {
	for _, kind := range []int8{0, 1} {
		b.coordinate(kind)
		for v := int16(0); v <= 6; v++ {
			for _, keys := range [][]string{{"a"}, {"a", "b"}, {"a", "a"}, {""}, {}} {
				r := kmsg.NewPtrFindCoordinatorRequest()
				r.SetVersion(v)
				r.CoordinatorKeys, r.CoordinatorType = keys, kind
				if len(keys) > 0 {
					r.CoordinatorKey = keys[0]
				}
				if (v == 0 && kind != 0) || v < 4 && len(keys) != 1 {
					continue
				}
				b.do(fmt.Sprintf("type %d keys %q", kind, keys), r)
			}
		}
	}
	name := "__consumer_offsets"
	m := kmsg.NewPtrMetadataRequest()
	m.SetVersion(12)
	m.Topics = []kmsg.MetadataRequestTopic{metadataTopic(&name, [16]byte{})}
	if resp, _ := b.ask(m).(*kmsg.MetadataResponse); resp != nil {
		b.said("internal", 12, fmt.Sprint(resp.Topics[0].IsInternal, len(resp.Topics[0].Partitions), len(resp.Topics[0].Partitions[0].Replicas)))
	}
	for _, name := range []string{"__consumer_offsets", "__transaction_state"} {
		c := kmsg.NewPtrDescribeConfigsRequest()
		c.SetVersion(4)
		c.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: 2, ResourceName: name,
			ConfigNames: []string{"cleanup.policy", "compression.type", "min.insync.replicas", "segment.bytes", "unclean.leader.election.enable"}}}
		b.do("configs of "+name, c)
		b.do("produce to "+name, produceRequest(9, -1, name, [16]byte{}, 0, records(1)))
	}
}

// commitRequest commits one offset of each partition.
func commitRequest(v int16, group, topic string, id [16]byte, partitions ...int32) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.SetVersion(v)
	r.Group, r.Generation, r.RetentionTimeMillis = group, -1, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = topic, id
	for _, p := range partitions {
		x := kmsg.NewOffsetCommitRequestTopicPartition()
		x.Partition, x.Offset, x.LeaderEpoch, x.Metadata = p, int64(10+p), -1, ptr("m")
		t.Partitions = append(t.Partitions, x)
	}
	r.Topics = append(r.Topics, t)
	return r
}

// offsetsRequest asks for offsets, of everything when there are no partitions.
func offsetsRequest(v int16, group, topic string, id [16]byte, partitions ...int32) *kmsg.OffsetFetchRequest {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.SetVersion(v)
	r.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	if len(partitions) > 0 {
		r.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: partitions}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, TopicID: id, Partitions: partitions}}
	}
	r.Groups = append(r.Groups, g)
	return r
}

func commits(b *broker) {
	b.coordinate(0)
	topic, id := b.create("t", 3)
	other, otherID := b.create("u", 1)
	for v := int16(2); v <= 10; v++ {
		g := b.group(fmt.Sprint("g", v))
		b.do("plain", commitRequest(v, g, topic, id, 0, 1))
		b.do("a partition that is not there", commitRequest(v, g, topic, id, 0, 7, -1, 2))
		unknown := [16]byte{1, 2, 3}
		b.do("a topic that is not there", commitRequest(v, g, b.prefix+"none", unknown, 0))
		two := commitRequest(v, g, b.prefix+"none", unknown, 1, 0)
		two.Topics = append(two.Topics, commitRequest(v, g, topic, id, 2, 9).Topics...)
		two.Topics = append(two.Topics, commitRequest(v, g, other, otherID, 0).Topics...)
		b.do("topics that are there and not", two)
		b.do("an empty group", commitRequest(v, "", topic, id, 0))
		none := commitRequest(v, g, topic, id)
		b.do("no partitions", none)
		none.Topics = nil
		b.do("no topics", none)
		r := commitRequest(v, g, topic, id, 0)
		r.Topics[0].Partitions[0].Offset = -2
		b.do("a negative offset", r)
		r.Topics[0].Partitions[0].Offset, r.Topics[0].Partitions[0].Metadata = 5, nil
		b.do("no metadata", r)
		b.do("then fetched", offsetsRequest(min(v, 9), g, topic, id, 0))
		r.Topics[0].Partitions[0].Metadata = ptr(strings.Repeat("m", 4096))
		b.do("metadata at the limit", r)
		r.Topics[0].Partitions[0].Metadata = ptr(strings.Repeat("m", 4097))
		b.do("metadata above the limit", r)
		r = commitRequest(v, g, topic, id, 0, 0)
		b.do("a partition twice", r)
		r.Generation = 3
		b.do("a generation nobody has", r)
		r.Generation, r.MemberID = -1, "member"
		b.do("a member nobody knows", r)
		if v >= 7 {
			r.MemberID, r.InstanceID = "", ptr("instance")
			b.do("an instance nobody knows", r)
		}
		r = commitRequest(v, g, topic, id, 0)
		r.Topics[0].Partitions[0].LeaderEpoch = 4
		b.do("a leader epoch", r)
	}
	for v := int16(1); v <= 10; v++ {
		g := b.group("g9")
		b.do("fetch", offsetsRequest(v, g, topic, id, 0, 1, 2, 9))
		if v >= 2 {
			b.do("fetch everything", offsetsRequest(v, g, "", id))
			b.do("fetch everything of nobody", offsetsRequest(v, b.group("nobody"), "", id))
		}
		b.do("fetch a topic that is not there", offsetsRequest(v, g, b.prefix+"none", [16]byte{1, 2, 3}, 0, 1))
		b.do("fetch a group that is not there", offsetsRequest(v, b.group("nobody"), topic, id, 0))
		b.do("fetch the empty group", offsetsRequest(v, "", topic, id, 0))
		if v >= 7 {
			r := offsetsRequest(v, g, topic, id, 0)
			r.RequireStable = true
			b.do("fetch stable", r)
		}
		if v >= 8 {
			r := offsetsRequest(v, g, topic, id, 0)
			r.Groups = append(r.Groups, offsetsRequest(v, b.group("g8"), topic, id, 0, 1).Groups...)
			r.Groups = append(r.Groups, offsetsRequest(v, b.group("g7"), "", id).Groups...)
			b.do("fetch several groups", r)
			r.Groups = nil
			b.do("fetch no group", r)
			r = offsetsRequest(v, g, topic, id, 0)
			r.Groups[0].Topics = []kmsg.OffsetFetchRequestGroupTopic{}
			b.do("fetch no topic", r)
		}
		if v >= 9 {
			r := offsetsRequest(v, g, topic, id, 0)
			r.Groups[0].MemberID, r.Groups[0].MemberEpoch = ptr("member"), 1
			b.do("fetch as a member nobody knows", r)
		}
	}
	deleteOffsets(b, topic, other)
	for v := int16(0); v <= 2; v++ {
		r := kmsg.NewPtrDeleteGroupsRequest()
		r.SetVersion(v)
		r.Groups = []string{b.group(fmt.Sprint("g", v+2)), b.group("nobody")}
		b.do("delete", r)
		b.do("delete again", r)
		r.Groups = nil
		b.do("delete none", r)
	}
}

func deleteOffsets(b *broker, topic, other string) {
	request := func(group string, topics ...string) *kmsg.OffsetDeleteRequest {
		r := kmsg.NewPtrOffsetDeleteRequest()
		r.Group = group
		for _, name := range topics {
			t := kmsg.NewOffsetDeleteRequestTopic()
			t.Topic = name
			t.Partitions = []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 9}}
			r.Topics = append(r.Topics, t)
		}
		return r
	}
	b.do("delete offsets", request(b.group("g10"), topic, other, b.prefix+"none"))
	b.do("delete offsets again", request(b.group("g10"), topic))
	b.do("delete offsets of nobody", request(b.group("nobody"), topic))
	b.do("delete offsets of the empty group", request("", topic))
	b.do("delete offsets of no topic", request(b.group("g10")))
	b.do("delete offsets of no topic of nobody", request(b.group("nobody")))
	b.do("delete offsets of topics that are not there", request(b.group("g10"), b.prefix+"none"))
}

// joinRequest is a member's first one.
func joinRequest(v int16, group, member string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.SetVersion(v)
	r.Group, r.MemberID, r.ProtocolType = group, member, "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 10_000, 10_000
	r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}}}
	return r
}

func syncRequest(v int16, group, member string, generation int32) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.SetVersion(v)
	r.Group, r.MemberID, r.Generation = group, member, generation
	if v >= 5 {
		r.ProtocolType, r.Protocol = ptr("consumer"), ptr("range")
	}
	return r
}

func heartbeatRequest(v int16, group, member string, generation int32) *kmsg.HeartbeatRequest {
	r := kmsg.NewPtrHeartbeatRequest()
	r.SetVersion(v)
	r.Group, r.MemberID, r.Generation = group, member, generation
	return r
}

func leaveRequest(v int16, group string, members ...string) *kmsg.LeaveGroupRequest {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.SetVersion(v)
	r.Group = group
	for _, m := range members {
		r.MemberID = m
		r.Members = append(r.Members, kmsg.LeaveGroupRequestMember{MemberID: m})
	}
	return r
}

// join makes somebody the only member of a group and returns the member's id.
func (b *broker) join(v int16, group string) (member string, generation int32) {
	resp, _ := b.do("join", joinRequest(v, group, "")).(*kmsg.JoinGroupResponse)
	if resp == nil {
		return "", 0
	}
	if resp.ErrorCode == 79 { // MEMBER_ID_REQUIRED
		resp, _ = b.do("join with the id", joinRequest(v, group, resp.MemberID)).(*kmsg.JoinGroupResponse)
		if resp == nil {
			return "", 0
		}
	}
	return resp.MemberID, resp.Generation
}

func classicGroups(b *broker) {
	b.coordinate(0)
	topic, id := b.create("t", 2)
	for v := int16(0); v <= 9; v++ {
		b.classicLife(v, topic, id)
		b.joinErrors(v)
	}
	b.describeAll(topic)
}

// classicLife is a group with one member, from its first join to its end.
func (b *broker) classicLife(v int16, topic string, id [16]byte) {
	g := b.group(fmt.Sprint("g", v))
	sv, hv, lv := min(v, 5), min(v, 4), min(v, 5)
	member, generation := b.join(v, g)
	b.do("heartbeat before the sync", heartbeatRequest(hv, g, member, generation))
	b.do("commit before the sync", func() kmsg.Request {
		r := commitRequest(max(2, v), g, topic, id, 0)
		r.MemberID, r.Generation = member, generation
		return r
	}())
	s := syncRequest(sv, g, member, generation)
	s.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: []byte("assignment")}}
	b.do("sync", s)
	b.do("sync again", syncRequest(sv, g, member, generation))
	b.do("sync of another generation", syncRequest(sv, g, member, generation+1))
	b.do("sync of nobody", syncRequest(sv, g, "nobody", generation))
	b.do("sync of a group that is not there", syncRequest(sv, b.group("nobody"), member, generation))
	b.do("sync of the empty group", syncRequest(sv, "", member, generation))
	if sv >= 5 {
		r := syncRequest(sv, g, member, generation)
		r.Protocol = ptr("other")
		b.do("sync with another protocol", r)
		r.Protocol, r.ProtocolType = ptr("range"), ptr("other")
		b.do("sync with another type", r)
		r.Protocol = nil
		b.do("sync without a protocol", r)
	}
	b.do("heartbeat", heartbeatRequest(hv, g, member, generation))
	b.do("heartbeat of another generation", heartbeatRequest(hv, g, member, generation+1))
	b.do("heartbeat of nobody", heartbeatRequest(hv, g, "nobody", generation))
	b.do("heartbeat of a group that is not there", heartbeatRequest(hv, b.group("nobody"), member, generation))
	b.do("heartbeat of the empty group", heartbeatRequest(hv, "", member, generation))
	cv := max(2, v)
	c := commitRequest(cv, g, topic, id, 0)
	b.do("commit without a generation", c)
	c.MemberID, c.Generation = member, generation
	b.do("commit", c)
	c.Generation++
	b.do("commit of another generation", c)
	c.MemberID = "nobody"
	b.do("commit of nobody", c)
	b.do("join again", joinRequest(v, g, member))
	other := joinRequest(v, g, "")
	other.Protocols[0].Name = "other"
	b.do("join with another protocol", other)
	other.ProtocolType = "connect"
	b.do("join with another type", other)
	b.do("join of nobody", joinRequest(v, g, "nobody"))
	d := kmsg.NewPtrDeleteGroupsRequest()
	d.SetVersion(min(v, 2))
	d.Groups = []string{g}
	b.do("delete a group that is not empty", d)
	b.do("leave of nobody", leaveRequest(lv, g, "nobody"))
	b.do("leave a group that is not there", leaveRequest(lv, b.group("nobody"), member))
	b.do("leave the empty group", leaveRequest(lv, "", member))
	if lv >= 3 {
		b.do("leave of several", leaveRequest(lv, g, "nobody", member, "nobody", "else"))
		b.do("leave of none", leaveRequest(lv, g))
	} else {
		b.do("leave", leaveRequest(lv, g, member))
	}
	b.do("heartbeat after leaving", heartbeatRequest(hv, g, member, generation))
	b.do("join after leaving", joinRequest(v, g, member))
	b.do("delete", d)
}

func (b *broker) joinErrors(v int16) {
	g := b.group(fmt.Sprint("e", v))
	try := func(label string, change func(r *kmsg.JoinGroupRequest)) {
		r := joinRequest(v, g, "")
		change(r)
		b.do(label, r)
	}
	try("the empty group", func(r *kmsg.JoinGroupRequest) { r.Group = "" })
	try("a session too short", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 5999 })
	try("a session too long", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1_800_001 })
	try("no protocols", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil })
	try("no type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" })
	try("a member nobody knows", func(r *kmsg.JoinGroupRequest) { r.MemberID = "nobody" })
	if v >= 5 {
		try("an instance", func(r *kmsg.JoinGroupRequest) { r.InstanceID = ptr("i") })
		try("the instance again", func(r *kmsg.JoinGroupRequest) { r.InstanceID = ptr("i") })
		try("the instance with another id", func(r *kmsg.JoinGroupRequest) { r.InstanceID, r.MemberID = ptr("i"), "nobody" })
		try("an instance without a name", func(r *kmsg.JoinGroupRequest) { r.InstanceID = ptr("") })
		try("an instance with a bad name", func(r *kmsg.JoinGroupRequest) { r.InstanceID = ptr("a b") })
		h := heartbeatRequest(4, g, "nobody", 1)
		h.InstanceID = ptr("i")
		b.do("heartbeat of a fenced instance", h)
		l := leaveRequest(5, g)
		l.Members = []kmsg.LeaveGroupRequestMember{{InstanceID: ptr("i")}, {InstanceID: ptr("j")}}
		b.do("leave of instances", l)
	}
}

func (b *broker) describeAll(topic string) {
	g := b.group("described")
	member, generation := b.join(9, g)
	s := syncRequest(5, g, member, generation)
	s.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: []byte("assignment")}}
	b.do("sync", s)
	b.do("commits", commitRequest(9, b.group("simple"), topic, [16]byte{}, 0))
	for v := int16(0); v <= 6; v++ {
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.SetVersion(v)
		r.Groups = []string{g, b.group("nobody"), b.group("simple"), ""}
		b.do("describe", r)
		r.IncludeAuthorizedOperations = true
		b.do("describe with operations", r)
		r.Groups = nil
		b.do("describe none", r)
	}
	for v := int16(0); v <= 1; v++ {
		r := kmsg.NewPtrConsumerGroupDescribeRequest()
		r.SetVersion(v)
		r.Groups = []string{g, b.group("nobody"), b.group("simple"), ""}
		b.do("describe as consumer groups", r)
		r.IncludeAuthorizedOperations = true
		b.do("describe as consumer groups with operations", r)
	}
	for v := int16(0); v <= 5; v++ {
		for _, states := range [][]string{nil, {"Stable"}, {"stable", " EMPTY "}, {"none"}, {""}} {
			for _, types := range [][]string{nil, {"classic"}, {"Consumer", "CLASSIC"}, {"consumer"}, {"none"}, {"share"}} {
				if v < 4 && states != nil || v < 5 && types != nil {
					continue
				}
				r := kmsg.NewPtrListGroupsRequest()
				r.SetVersion(v)
				r.StatesFilter, r.TypesFilter = states, types
				b.list(fmt.Sprintf("list states %q types %q", states, types), r)
			}
		}
	}
}

// list is do for the groups of this run alone.
func (b *broker) list(label string, r *kmsg.ListGroupsRequest) {
	resp, ok := b.ask(r).(*kmsg.ListGroupsResponse)
	if !ok {
		return
	}
	kept := resp.Groups[:0]
	for _, g := range resp.Groups {
		if g.Group == b.group("described") || g.Group == b.group("simple") {
			kept = append(kept, g)
		}
	}
	resp.Groups = kept
	b.note(label, r.GetVersion(), resp, nil)
}

func consumerHeartbeat(v int16, group, member string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.SetVersion(v)
	r.Group, r.MemberID, r.MemberEpoch, r.RebalanceTimeoutMillis = group, member, epoch, -1
	return r
}

func consumerGroups(b *broker) {
	b.coordinate(0)
	topic, id := b.create("t", 3)
	for v := int16(0); v <= 1; v++ {
		b.consumerErrors(v, topic)
		b.consumerLife(v, topic, id)
	}
}

func (b *broker) consumerErrors(v int16, topic string) {
	g := b.group(fmt.Sprint("e", v))
	try := func(label string, change func(r *kmsg.ConsumerGroupHeartbeatRequest)) {
		r := consumerHeartbeat(v, g, "AAAAAAAAAAAAAAAAAAAAAA", 0)
		r.RebalanceTimeoutMillis, r.SubscribedTopicNames, r.Topics = 10_000, []string{topic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		change(r)
		b.do(label, r)
	}
	try("the empty group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" })
	try("no member id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID, r.MemberEpoch = "", 1 })
	try("an epoch below -2", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 })
	try("no topics", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil })
	try("no subscription", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{} })
	try("no owned partitions", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil })
	try("owned partitions", func(r *kmsg.ConsumerGroupHeartbeatRequest) {
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{Partitions: []int32{1}}}
	})
	try("no rebalance timeout", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 })
	try("an unknown assignor", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = ptr("none") })
	try("an empty assignor", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = ptr("") })
	try("an empty instance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = ptr("") })
	try("an empty rack", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = ptr("") })
	try("leaving without an instance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 })
	try("leaving a group that is not there", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 })
	try("a member nobody knows", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 4 })
	if v >= 1 {
		try("a bad expression", func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.SubscribedTopicNames, r.SubscribedTopicRegex = nil, ptr("[")
		})
		try("an empty member id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" })
	}
}

func (b *broker) consumerLife(v int16, topic string, id [16]byte) {
	g := b.group(fmt.Sprint("g", v))
	first := consumerHeartbeat(v, g, "", 0)
	if v >= 1 {
		first.MemberID = "BBBBBBBBBBBBBBBBBBBBBB"
	}
	first.RebalanceTimeoutMillis, first.SubscribedTopicNames, first.Topics = 10_000, []string{topic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	resp, _ := b.do("join", first).(*kmsg.ConsumerGroupHeartbeatResponse)
	if resp == nil || resp.MemberID == nil {
		return
	}
	member, epoch := *resp.MemberID, resp.MemberEpoch
	b.do("heartbeat", consumerHeartbeat(v, g, member, epoch))
	b.do("heartbeat of an older epoch", consumerHeartbeat(v, g, member, epoch-1))
	b.do("heartbeat of a newer epoch", consumerHeartbeat(v, g, member, epoch+1))
	b.do("heartbeat of nobody", consumerHeartbeat(v, g, "nobody", epoch))
	d := kmsg.NewPtrConsumerGroupDescribeRequest()
	d.SetVersion(v)
	d.Groups = []string{g}
	b.do("describe", d)
	classic := kmsg.NewPtrDescribeGroupsRequest()
	classic.SetVersion(6)
	classic.Groups = []string{g}
	b.do("describe as a classic group", classic)
	c := commitRequest(9+v, g, topic, id, 0, 1)
	b.do("commit without a member", c)
	c.MemberID, c.Generation = member, epoch
	b.do("commit", c)
	c.Generation = epoch + 1
	b.do("commit of a newer epoch", c)
	c.Generation = epoch - 1
	b.do("commit of an older epoch", c)
	c.MemberID = "nobody"
	b.do("commit of nobody", c)
	old := commitRequest(8, g, topic, id, 0)
	old.MemberID, old.Generation = member, epoch
	b.do("commit in version 8", old)
	f := offsetsRequest(9+v, g, topic, id, 0, 1, 2)
	b.do("fetch without a member", f)
	f.Groups[0].MemberID, f.Groups[0].MemberEpoch = &member, epoch
	b.do("fetch", f)
	f.Groups[0].MemberEpoch = epoch + 3
	b.do("fetch of a newer epoch", f)
	delete := kmsg.NewPtrOffsetDeleteRequest()
	delete.Group = g
	delete.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
	b.do("delete offsets of a topic subscribed to", delete)
	groups := kmsg.NewPtrDeleteGroupsRequest()
	groups.SetVersion(2)
	groups.Groups = []string{g}
	b.do("delete a group that is not empty", groups)
	b.do("leave", consumerHeartbeat(v, g, member, -1))
	b.do("heartbeat after leaving", consumerHeartbeat(v, g, member, epoch))
	b.do("describe the empty group", d)
	b.do("delete", groups)
	b.do("describe what is not there", d)
}
