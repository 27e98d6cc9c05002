package group

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/server/meta"
)

// Transcripts are what a real Kafka answered to the scripts of transcripts_test.go, and the records it wrote. To make them again:
//
//	go test ./server/group -run TestTranscripts -record host:port -offsets DIR/__consumer_offsets-0
//
// with a broker of one partition of __consumer_offsets and the settings of scriptSettings.
var (
	recordFrom    = flag.String("record", "", "address of a Kafka to record transcripts from")
	recordOffsets = flag.String("offsets", "", "that Kafka's directory of __consumer_offsets-0")
)

// scriptSettings are group.consumer.session.timeout.ms=2000, group.consumer.heartbeat.interval.ms=500,
// group.consumer.assignment.interval.ms=300, group.consumer.max.size=4, group.max.size=4, group.min.session.timeout.ms=1000,
// group.initial.rebalance.delay.ms=0.
func scriptSettings() config.Groups {
	return config.Groups{MinSessionTimeout: time.Second, MaxSessionTimeout: 30 * time.Minute, MaxSize: 4, Consumer: config.ConsumerGroups{
		MaxSize: 4, Assignors: []string{"uniform", "range"}, MigrationPolicy: policyBidirectional, RegexRefresh: 10 * time.Minute}}
}

// script is where a script plays: a real Kafka, or a Machine.
type script struct {
	t     *testing.T
	group string
	out   []string
	names []string // generated ids in the order of their appearance
	given map[string]bool
	topic map[string]meta.UUID
	theatre
}

// theatre does what a script asks for.
type theatre interface {
	begin(q kmsg.Request) (await func() kmsg.Response)
	create(name string, partitions int32) meta.UUID
	grow(name string, partitions int32)
	drop(name string, id meta.UUID)
	pass(d time.Duration)
	records() []coord.Record // new ones of all groups
}

func (s *script) printf(format string, a ...any) {
	for _, line := range strings.Split(fmt.Sprintf(format, a...), "\n") {
		s.out = append(s.out, s.hide(line))
	}
}

// hide puts names in the place of what differs from run to run.
func (s *script) hide(line string) string {
	for i, id := range s.names {
		line = strings.ReplaceAll(line, id, fmt.Sprintf("#%d", i+1))
	}
	for name, id := range s.topic {
		line = strings.ReplaceAll(line, id.String(), "<"+name+">")
	}
	return line
}

// met notes a generated id.
func (s *script) met(id string) {
	if id != "" && !s.given[id] && !slices.Contains(s.names, id) {
		s.names = append(s.names, id)
	}
}

var (
	hiddenTimes = regexp.MustCompile(`"(assignmentTimestamp|currentStateTimestamp|timestamp|commitTimestamp|version)":\d+`)
	// A group that was converted has here what its members hold, of Kafka what they shall get; and no leader if it is to rebalance.
	hiddenAssignments = regexp.MustCompile(`"leader":(null|"[^"]*")|"assignment":"[A-Za-z0-9+/=]*"`)
)

// wrote prints the group's new records in an order that does not depend on hash maps.
func (s *script) wrote() {
	var lines []string
	sorted := 0
	kind := ""
	seen := map[string]bool{}
	for _, r := range s.theatre.records() {
		k, v, err := record.Decode(r.Key, r.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		if k.Group != s.group {
			continue
		}
		if v != nil {
			s.order(v)
			_, r.Value = record.Encode(k, v)
		}
		key, value, err := record.JSON(r.Key, r.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		now := fmt.Sprint(k.Type, v == nil)
		if now != kind {
			slices.Sort(lines[sorted:])
			kind, sorted = now, len(lines)
		}
		if value == "" {
			value = "none"
		}
		value = hiddenTimes.ReplaceAllString(value, `"$1":0`)
		line := fmt.Sprintf("    %s %s %s", k.Type, trimRecord(key), trimRecord(value))
		if seen[line] {
			continue // Kafka writes the target of a static member twice that has taken another one's place
		}
		seen[line] = true
		lines = append(lines, s.hide(line))
	}
	slices.Sort(lines[sorted:])
	for _, line := range lines {
		s.printf("%s", line)
	}
}

func trimRecord(s string) string {
	_, data, ok := strings.Cut(s, `"data":`)
	if !ok {
		return s
	}
	return strings.TrimSuffix(data, "}")
}

// order sorts what Kafka takes from hash maps.
func (s *script) order(v record.Value) {
	switch v := v.(type) {
	case *record.TargetAssignmentMember:
		a := target(v)
		*v = *targetRecord(a)
	case *record.ConsumerGroupCurrentMemberAssignment:
		v.AssignedPartitions = newHoldings(v.AssignedPartitions, v.MemberEpoch)
		v.PartitionsPendingRevocation = newHoldings(v.PartitionsPendingRevocation, v.MemberEpoch)
	case *record.GroupMetadata:
		slices.SortFunc(v.Members, func(a, b record.GroupMember) int { return strings.Compare(s.hide(a.MemberID), s.hide(b.MemberID)) })
	case *record.ConsumerGroupMemberMetadata:
		slices.Sort(v.SubscribedTopicNames)
	}
}

// names prints partitions as topic:[...].
func (s *script) partitions(each func(yield func(topic meta.UUID, partitions []int32))) string {
	var parts []string
	each(func(id meta.UUID, p []int32) {
		parts = append(parts, fmt.Sprintf("%v:%v", id, slices.Sorted(slices.Values(p))))
	})
	for i := range parts {
		parts[i] = s.hide(parts[i])
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// wait lets time pass.
func (s *script) wait(ms int) {
	s.pass(time.Duration(ms) * time.Millisecond)
	s.printf("wait %d", ms)
	s.wrote()
}

func (s *script) newTopic(name string, partitions int32) {
	id := s.create(name, partitions)
	s.topic[name] = id
	s.out = append(s.out, fmt.Sprintf("topic %s %v %d", name, id, partitions))
}

func (s *script) growTopic(name string, partitions int32) {
	s.grow(name, partitions)
	s.printf("grow %s %d", name, partitions)
}

func (s *script) dropTopic(name string) {
	s.drop(name, s.topic[name])
	s.printf("drop %s", name)
}

// owning is partitions of one topic, as a member reports what it owns.
type owning struct {
	topic      string
	partitions []int32
}

// hb is a ConsumerGroupHeartbeat. Fields that are zero are not told, but for a join, which tells all.
type hb struct {
	v0        bool // version 0, else 1
	id        string
	epoch     int32
	instance  string
	topics    []string
	regex     string
	assignor  string
	rack      string
	rebalance int32
	owned     []owning // empty but not nil: nothing
	edit      func(q *kmsg.ConsumerGroupHeartbeatRequest)
}

func (s *script) heartbeat(h hb) *kmsg.ConsumerGroupHeartbeatResponse {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.MemberEpoch = 1, s.group, h.id, h.epoch
	if h.v0 {
		q.Version = 0
	}
	s.given[h.id] = true
	told := func(v string) *string {
		if v == "" {
			return nil
		}
		return &v
	}
	q.InstanceID, q.SubscribedTopicNames, q.SubscribedTopicRegex, q.ServerAssignor, q.RackID = told(h.instance), h.topics, told(h.regex), told(h.assignor), told(h.rack)
	q.RebalanceTimeoutMillis = -1
	if h.rebalance != 0 {
		q.RebalanceTimeoutMillis = h.rebalance
	}
	if h.owned != nil {
		q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	if h.epoch == 0 {
		q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		if h.rebalance == 0 {
			q.RebalanceTimeoutMillis = 1500
		}
		if h.topics == nil && h.regex == "" {
			q.SubscribedTopicNames = []string{}
		}
	}
	for _, o := range h.owned {
		q.Topics = append(q.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: s.topic[o.topic], Partitions: o.partitions})
	}
	if h.edit != nil {
		h.edit(q)
	}
	s.printf("heartbeat v%d member=%q epoch=%d instance=%s topics=%q regex=%s assignor=%s rack=%s rebalance=%d owned=%v", q.Version, q.MemberID, q.MemberEpoch,
		quoted(q.InstanceID), q.SubscribedTopicNames, quoted(q.SubscribedTopicRegex), quoted(q.ServerAssignor), quoted(q.RackID), q.RebalanceTimeoutMillis, h.owned)
	r := s.begin(q)().(*kmsg.ConsumerGroupHeartbeatResponse)
	s.met(text(r.MemberID))
	assigned := "null"
	if r.Assignment != nil {
		assigned = "{" + s.partitions(func(yield func(meta.UUID, []int32)) {
			for _, t := range r.Assignment.Topics {
				yield(t.TopicID, t.Partitions)
			}
		}) + "}"
	}
	s.printf("  code=%d member=%s epoch=%d interval=%d assignment=%s message=%s", r.ErrorCode, quoted(r.MemberID), r.MemberEpoch, r.HeartbeatIntervalMillis, assigned, quoted(r.ErrorMessage))
	s.wrote()
	return r
}

func quoted(p *string) string {
	if p == nil {
		return "null"
	}
	return fmt.Sprintf("%q", *p)
}

// classic is a member of the classic protocol.
type classicActor struct {
	s         *script
	id        string
	instance  *string
	topics    []string
	protocols []string
	owned     []owning
	gen       int32
	session   int32
}

func (s *script) classic(instance string, topics []string, protocols ...string) *classicActor {
	a := &classicActor{s: s, topics: topics, protocols: protocols, session: 4000, gen: -1}
	if instance != "" {
		a.instance = &instance
	}
	return a
}

func (a *classicActor) subscription() []byte {
	m := kmsg.ConsumerMemberMetadata{Version: 3, Topics: a.topics, Generation: a.gen}
	for _, o := range a.owned {
		m.OwnedPartitions = append(m.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: o.topic, Partitions: o.partitions})
	}
	return m.AppendTo(nil)
}

// beginJoin sends a JoinGroup.
func (a *classicActor) beginJoin() (await func() *kmsg.JoinGroupResponse) {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.ProtocolType = 9, a.s.group, a.id, a.instance, consumerProtocol
	q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = a.session, 4000
	for _, p := range a.protocols {
		q.Protocols = append(q.Protocols, kmsg.JoinGroupRequestProtocol{Name: p, Metadata: a.subscription()})
	}
	a.s.printf("join member=%q instance=%s topics=%v protocols=%v owned=%v", a.id, quoted(a.instance), a.topics, a.protocols, a.owned)
	wait := a.s.begin(q)
	return func() *kmsg.JoinGroupResponse {
		r := wait().(*kmsg.JoinGroupResponse)
		a.s.met(r.MemberID)
		leader := "follower"
		if r.LeaderID == r.MemberID {
			leader = "leader"
		}
		a.s.printf("  joined code=%d member=%s generation=%d type=%s protocol=%s %s members=%d", r.ErrorCode, r.MemberID, r.Generation, quoted(r.ProtocolType), quoted(r.Protocol), leader, len(r.Members))
		if r.ErrorCode == codeNone || r.ErrorCode == codeMemberIDRequired {
			a.id = r.MemberID
		}
		if r.ErrorCode == codeNone {
			a.gen = r.Generation
		}
		a.s.wrote()
		return r
	}
}

func (a *classicActor) join() *kmsg.JoinGroupResponse {
	r := a.beginJoin()()
	if r.ErrorCode == codeMemberIDRequired {
		r = a.beginJoin()()
	}
	return r
}

func (a *classicActor) beginSync(plan map[string][]owning) (await func() *kmsg.SyncGroupResponse) {
	q := kmsg.NewPtrSyncGroupRequest()
	protocolType := consumerProtocol
	q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation, q.ProtocolType, q.Protocol = 5, a.s.group, a.id, a.instance, a.gen, &protocolType, &a.protocols[0]
	for _, id := range slices.Sorted(maps.Keys(plan)) {
		m := kmsg.ConsumerMemberAssignment{Version: 3}
		for _, o := range plan[id] {
			m.Topics = append(m.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: o.topic, Partitions: o.partitions})
		}
		q.GroupAssignment = append(q.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: m.AppendTo(nil)})
	}
	a.s.printf("sync member=%s generation=%d plan of %d", a.id, a.gen, len(plan))
	wait := a.s.begin(q)
	return func() *kmsg.SyncGroupResponse {
		r := wait().(*kmsg.SyncGroupResponse)
		assigned := "none"
		if len(r.MemberAssignment) > 0 {
			m := kmsg.ConsumerMemberAssignment{}
			if err := m.ReadFrom(r.MemberAssignment); err != nil {
				a.s.t.Fatal(err)
			}
			var list []string
			for _, t := range m.Topics {
				list = append(list, fmt.Sprintf("%s:%v", t.Topic, slices.Sorted(slices.Values(t.Partitions))))
			}
			slices.Sort(list)
			assigned = fmt.Sprintf("v%d%v", m.Version, list)
		}
		a.s.printf("  synced code=%d type=%s protocol=%s assignment=%s", r.ErrorCode, quoted(r.ProtocolType), quoted(r.Protocol), assigned)
		a.s.wrote()
		return r
	}
}

func (a *classicActor) sync(plan map[string][]owning) *kmsg.SyncGroupResponse {
	return a.beginSync(plan)()
}

func (a *classicActor) heartbeat() int16 {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 4, a.s.group, a.id, a.instance, a.gen
	a.s.printf("classic heartbeat member=%s generation=%d", a.id, a.gen)
	r := a.s.begin(q)().(*kmsg.HeartbeatResponse)
	a.s.printf("  code=%d", r.ErrorCode)
	a.s.wrote()
	return r.ErrorCode
}

func (s *script) leave(members ...kmsg.LeaveGroupRequestMember) {
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Version, q.Group, q.Members = 5, s.group, members
	for _, x := range members {
		s.printf("leave member=%s instance=%s", x.MemberID, quoted(x.InstanceID))
	}
	r := s.begin(q)().(*kmsg.LeaveGroupResponse)
	s.printf("  code=%d", r.ErrorCode)
	for _, x := range r.Members {
		s.printf("  member=%s instance=%s code=%d", x.MemberID, quoted(x.InstanceID), x.ErrorCode)
	}
	s.wrote()
}

func (s *script) describe() {
	q := kmsg.NewPtrConsumerGroupDescribeRequest()
	q.Version, q.Groups = 1, []string{s.group}
	r := s.begin(q)().(*kmsg.ConsumerGroupDescribeResponse).Groups[0]
	s.printf("describe\n  code=%d message=%s state=%q epoch=%d assignment=%d assignor=%q", r.ErrorCode, quoted(r.ErrorMessage), r.State, r.Epoch, r.AssignmentEpoch, r.AssignorName)
	lines := make([]string, len(r.Members))
	for i, x := range r.Members {
		list := func(a kmsg.Assignment) string {
			return s.partitions(func(yield func(meta.UUID, []int32)) {
				for _, t := range a.TopicPartitions {
					yield(t.TopicID, t.Partitions)
				}
			})
		}
		slices.Sort(x.SubscribedTopics)
		lines[i] = fmt.Sprintf("  member=%s instance=%s rack=%s epoch=%d client=%s%s topics=%v regex=%s type=%d has={%s} target={%s}", x.MemberID, quoted(x.InstanceID), quoted(x.RackID), x.MemberEpoch,
			x.ClientID, x.ClientHost, x.SubscribedTopics, quoted(x.SubscribedTopicRegex), x.MemberType, list(x.Assignment), list(x.TargetAssignment))
	}
	for i := range lines {
		lines[i] = s.hide(lines[i])
	}
	slices.Sort(lines)
	for _, line := range lines {
		s.printf("%s", line)
	}
}

func (s *script) list() {
	q := kmsg.NewPtrListGroupsRequest()
	q.Version = 5
	r := s.begin(q)().(*kmsg.ListGroupsResponse)
	s.printf("list")
	for _, g := range r.Groups {
		if g.Group == s.group {
			s.printf("  protocol=%q state=%q type=%q", g.ProtocolType, g.GroupState, g.GroupType)
		}
	}
}

func (s *script) deleteGroup() {
	q := kmsg.NewPtrDeleteGroupsRequest()
	q.Version, q.Groups = 2, []string{s.group}
	s.printf("delete\n  code=%d", s.begin(q)().(*kmsg.DeleteGroupsResponse).Groups[0].ErrorCode)
	s.wrote()
}

func (s *script) commit(version int16, member string, instance string, epoch int32, o owning) {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.MemberID, q.Generation = version, s.group, member, epoch
	if instance != "" {
		q.InstanceID = &instance
	}
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = o.topic, s.topic[o.topic]
	for _, p := range o.partitions {
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = p, 10+int64(p)
		t.Partitions = append(t.Partitions, part)
	}
	q.Topics = append(q.Topics, t)
	s.printf("commit v%d member=%q instance=%q epoch=%d %v", version, member, instance, epoch, o)
	r := s.begin(q)().(*kmsg.OffsetCommitResponse)
	var codes []string
	for _, p := range r.Topics[0].Partitions {
		codes = append(codes, fmt.Sprintf("%d:%d", p.Partition, p.ErrorCode))
	}
	s.printf("  %s", strings.Join(codes, " "))
	s.wrote()
}

func (s *script) fetch(member *string, epoch int32, o owning) {
	q := kmsg.NewPtrOffsetFetchRequest()
	q.Version = 9
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.MemberID, g.MemberEpoch = s.group, member, epoch
	t := kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.Partitions = o.topic, o.partitions
	g.Topics = append(g.Topics, t)
	q.Groups = append(q.Groups, g)
	s.printf("fetch member=%s epoch=%d %v", quoted(member), epoch, o)
	r := s.begin(q)().(*kmsg.OffsetFetchResponse).Groups[0]
	s.printf("  code=%d", r.ErrorCode)
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			s.printf("  %s-%d code=%d offset=%d", t.Topic, p.Partition, p.ErrorCode, p.Offset)
		}
	}
}

// TestTranscripts plays every script on a Machine, which must answer and write what Kafka 4.3.1 did.
func TestTranscripts(t *testing.T) {
	for _, play := range scripts {
		t.Run(play.name, func(t *testing.T) {
			file := filepath.Join("testdata", "transcripts", play.name+".txt")
			s := &script{t: t, given: map[string]bool{"": true}, topic: map[string]meta.UUID{}}
			if *recordFrom != "" {
				s.group = fmt.Sprintf("%s-%d", play.name, clock.Real.Now().UnixNano())
				s.theatre = newKafkaStage(t, play.name)
				s.names = append(s.names, s.group)
				s.given[s.group] = true
				play.play(s)
				if err := os.WriteFile(file, []byte(strings.Join(s.out, "\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s.group = play.name
			s.names = append(s.names, "the group "+s.group) // number 1 is the group
			s.theatre = newMachineStage(t, string(b))
			play.play(s)
			s.compare(strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"))
		})
	}
}

func (s *script) compare(want []string) {
	for i := range max(len(want), len(s.out)) {
		var w, g string
		if i < len(want) {
			w = strings.ReplaceAll(want[i], "#1", s.group)
			w = strings.ReplaceAll(w, s.group+"0", "#10")
		}
		if i < len(s.out) {
			g = s.out[i]
		}
		if hide := func(s string) string { return hiddenAssignments.ReplaceAllString(s, "") }; hide(w) != hide(g) {
			from := max(0, i-6)
			s.t.Fatalf("line %d:\n%s\nwe:    %s\nKafka: %s", i+1, strings.Join(s.out[from:min(i, len(s.out))], "\n"), g, w)
		}
	}
}
