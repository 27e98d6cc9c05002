package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/coord"
)

const offsetsTopic = "__consumer_offsets"

// soon are settings with which groups begin at once, on a few partitions.
var soon = []string{"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=4", "transaction.state.log.num.partitions=3"}

// coordinator asks for the coordinator of a group.
func (p *peer) coordinator(group string) kmsg.FindCoordinatorResponseCoordinator {
	p.t.Helper()
	r := kmsg.NewPtrFindCoordinatorRequest()
	r.Version, r.CoordinatorKeys = 4, []string{group}
	return asked[*kmsg.FindCoordinatorResponse](p, r).Coordinators[0]
}

// coordinated expects that there is one.
func (p *peer) coordinated(group string) {
	p.t.Helper()
	c := p.coordinator(group)
	if c.ErrorCode != 0 || c.NodeID != 1 || c.Host != "localhost" || c.Port != 9092 {
		p.t.Fatalf("coordinator of %s: %+v, %s", group, c, *c.ErrorMessage)
	}
}

// joinAs is a JoinGroup of a consumer.
func joinAs(group, member string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID, r.ProtocolType = 9, group, member, "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 10_000, 10_000
	r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}}}
	return r
}

// joined becomes the only member of a group and gets an assignment.
func (p *peer) joined(group string) (member string, generation int32) {
	p.t.Helper()
	first := asked[*kmsg.JoinGroupResponse](p, joinAs(group, ""))
	if first.ErrorCode != 79 || first.MemberID == "" {
		p.t.Fatalf("first join: %+v", first)
	}
	j := asked[*kmsg.JoinGroupResponse](p, joinAs(group, first.MemberID))
	if j.ErrorCode != 0 || j.LeaderID != first.MemberID || len(j.Members) != 1 {
		p.t.Fatalf("join: %+v", j)
	}
	s := kmsg.NewPtrSyncGroupRequest()
	s.Version, s.Group, s.MemberID, s.Generation = 5, group, j.MemberID, j.Generation
	s.ProtocolType, s.Protocol = j.ProtocolType, j.Protocol
	s.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: j.MemberID, MemberAssignment: []byte("all of it")}}
	if r := asked[*kmsg.SyncGroupResponse](p, s); r.ErrorCode != 0 || string(r.MemberAssignment) != "all of it" {
		p.t.Fatalf("sync: %+v", r)
	}
	return j.MemberID, j.Generation
}

// commit commits an offset of a partition and returns its code.
func (p *peer) commit(group, member string, generation int32, topic string, partition int32, offset int64) int16 {
	p.t.Helper()
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version, r.Group, r.MemberID, r.Generation = 8, group, member, generation
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	x := kmsg.NewOffsetCommitRequestTopicPartition()
	x.Partition, x.Offset = partition, offset
	t.Partitions = append(t.Partitions, x)
	r.Topics = append(r.Topics, t)
	return asked[*kmsg.OffsetCommitResponse](p, r).Topics[0].Partitions[0].ErrorCode
}

// committed is what a group has committed for a partition, -1 for nothing.
func (p *peer) committed(group, topic string, partition int32) int64 {
	p.t.Helper()
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Version = 8
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, Partitions: []int32{partition}}}
	r.Groups = append(r.Groups, g)
	out := asked[*kmsg.OffsetFetchResponse](p, r).Groups[0]
	for out.ErrorCode == 14 { // its log is being read
		out = asked[*kmsg.OffsetFetchResponse](p, r).Groups[0]
	}
	if out.ErrorCode != 0 {
		p.t.Fatalf("fetching offsets of %s: code %d", group, out.ErrorCode)
	}
	return out.Topics[0].Partitions[0].Offset
}

func (p *peer) groups() (names []string) {
	p.t.Helper()
	r := kmsg.NewPtrListGroupsRequest()
	r.Version = 4
	resp := asked[*kmsg.ListGroupsResponse](p, r)
	for resp.ErrorCode == 14 {
		resp = asked[*kmsg.ListGroupsResponse](p, r)
	}
	if resp.ErrorCode != 0 {
		p.t.Fatalf("listing groups: code %d", resp.ErrorCode)
	}
	for _, g := range resp.Groups {
		names = append(names, g.Group)
	}
	return names
}

// TestGroupsSurvive: groups and offsets are there after a stop, a kill and a
// power cut, since nobody was told of what was not durable.
func TestGroupsSurvive(t *testing.T) {
	m := startMemory(t, nil, soon...)
	p := m.dial(t)
	p.createTopic("topic", 3)
	p.coordinated("g0")
	const n = 10
	for i := range int64(n) {
		g := fmt.Sprint("g", i)
		member, generation := p.joined(g)
		if code := p.commit(g, member, generation, "topic", int32(i%3), 100+i); code != 0 {
			t.Fatalf("commit of %s: code %d", g, code)
		}
	}
	check := func(m *memory) {
		t.Helper()
		p := m.dial(t)
		for i := range int64(n) {
			if got := p.committed(fmt.Sprint("g", i), "topic", int32(i%3)); got != 100+i {
				t.Fatalf("offset of g%d is %d", i, got)
			}
		}
		if got := p.groups(); len(got) != n {
			t.Fatalf("groups %v", got)
		}
	}
	check(m)
	check(startOn(t, m.disk.Crash(simfs.CrashOptions{}), nil, soon...))
	check(startOn(t, m.disk.KillClone(), nil, soon...))
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	check(startOn(t, m.disk, nil, soon...))
}

// TestStopWithParkedMembers: a stop answers those who wait for others to join.
func TestStopWithParkedMembers(t *testing.T) {
	m := startMemory(t, nil, "group.initial.rebalance.delay.ms=600000", "offsets.topic.num.partitions=4")
	var all sync.WaitGroup
	for i := range 5 {
		p := m.dial(t)
		group := fmt.Sprint("g", i)
		p.coordinated(group)
		first := asked[*kmsg.JoinGroupResponse](p, joinAs(group, ""))
		r := joinAs(group, first.MemberID)
		p.send(r)
		all.Go(func() {
			if resp := p.receive(r, p.correlation).(*kmsg.JoinGroupResponse); resp.ErrorCode != 16 {
				t.Errorf("a parked join got code %d, expected NOT_COORDINATOR", resp.ErrorCode)
			}
		})
	}
	// The joins are parked when their groups are being rebalanced.
	p := m.dial(t)
	for waiting := 0; waiting < 5; {
		waiting = 0
		for i := range 5 {
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Version, r.Groups = 5, []string{fmt.Sprint("g", i)}
			if asked[*kmsg.DescribeGroupsResponse](p, r).Groups[0].State == "PreparingRebalance" {
				waiting++
			}
		}
	}
	p.conn.Close()
	began := time.Now()
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if took := time.Since(began); took > time.Second {
		t.Fatalf("the stop took %v", took)
	}
}

// TestDeletedTopicsLoseTheirOffsets, in the background.
func TestDeletedTopicsLoseTheirOffsets(t *testing.T) {
	m := startMemory(t, nil, soon...)
	p := m.dial(t)
	p.createTopic("gone", 1)
	p.createTopic("kept", 1)
	p.coordinated("g")
	for _, topic := range []string{"gone", "kept"} {
		if code := p.commit("g", "", -1, topic, 0, 7); code != 0 {
			t.Fatalf("commit: code %d", code)
		}
	}
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.Version, r.TopicNames, r.TimeoutMillis = 5, []string{"gone"}, 1000
	if code := asked[*kmsg.DeleteTopicsResponse](p, r).Topics[0].ErrorCode; code != 0 {
		t.Fatalf("deleting: code %d", code)
	}
	p.createTopic("gone", 1)
	for p.committed("g", "gone", 0) != -1 {
	}
	if got := p.committed("g", "kept", 0); got != 7 {
		t.Fatalf("the other topic's offset is %d", got)
	}
}

// TestCoordinatorTopicIsMadeAnew: when the topic is deleted everything in it is
// gone, and the next one who asks makes it again.
func TestCoordinatorTopicIsMadeAnew(t *testing.T) {
	m := startMemory(t, nil, soon...)
	p := m.dial(t)
	p.createTopic("topic", 1)
	if code := p.commit("g", "", -1, "topic", 0, 7); code != 16 {
		t.Fatalf("commit without a topic for it: code %d, expected NOT_COORDINATOR", code)
	}
	if got := p.groups(); len(got) != 0 {
		t.Fatalf("groups %v", got)
	}
	for range 3 {
		p.coordinated("g")
		if got := p.committed("g", "topic", 0); got != -1 {
			t.Fatalf("offset %d before the first commit", got)
		}
		if code := p.commit("g", "", -1, "topic", 0, 7); code != 0 {
			t.Fatalf("commit: code %d", code)
		}
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.Version, r.TopicNames, r.TimeoutMillis = 5, []string{offsetsTopic}, 1000
		if code := asked[*kmsg.DeleteTopicsResponse](p, r).Topics[0].ErrorCode; code != 0 {
			t.Fatalf("deleting: code %d", code)
		}
		if code := p.commit("g", "", -1, "topic", 0, 7); code != 16 {
			t.Fatalf("commit after the topic is deleted: code %d", code)
		}
	}
}

// TestInternalTopics are flagged, and nobody produces to them.
func TestInternalTopics(t *testing.T) {
	m := startMemory(t, nil, soon...)
	p := m.dial(t)
	p.coordinated("g")
	x := kmsg.NewPtrFindCoordinatorRequest()
	x.Version, x.CoordinatorType, x.CoordinatorKeys = 4, 1, []string{"t"}
	if c := asked[*kmsg.FindCoordinatorResponse](p, x).Coordinators[0]; c.ErrorCode != 0 {
		t.Fatalf("transaction coordinator: %+v", c)
	}
	for topic, partitions := range map[string]int{offsetsTopic: 4, "__transaction_state": 3} {
		r := kmsg.NewPtrMetadataRequest()
		r.Version = 12
		r.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
		got := asked[*kmsg.MetadataResponse](p, r).Topics[0]
		if !got.IsInternal || len(got.Partitions) != partitions {
			t.Errorf("%s: internal %v, %d partitions", topic, got.IsInternal, len(got.Partitions))
		}
		if out := p.produce(topic, 0, records(time.Now(), "x")); out.ErrorCode != 17 {
			t.Errorf("producing to %s: code %d, expected INVALID_TOPIC_EXCEPTION", topic, out.ErrorCode)
		}
	}
}

// TestDamagedCoordinator: a partition of the topic that cannot be read, or holds
// what no coordinator can read, is not served and says why; the others are.
func TestDamagedCoordinator(t *testing.T) {
	log := fmt.Sprintf("/data/%s-2/00000000000000000000.log", offsetsTopic)
	for name, damage := range map[string]struct {
		file string
		at   int
	}{
		"its id":        {fmt.Sprintf("/data/%s-2/partition.metadata", offsetsTopic), 21}, // the partition is offline
		"a record":      {log, 70},                                                        // the shard cannot load
		"a base offset": {log, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := startMemory(t, nil, soon...)
			p := m.dial(t)
			p.createTopic("topic", 1)
			p.coordinated("g")
			groups := map[int32]string{} // one of each partition
			for i := 0; len(groups) < 4; i++ {
				g := fmt.Sprint("g", i)
				for offset := range int64(3) {
					if code := p.commit(g, "", -1, "topic", 0, offset+5); code != 0 {
						t.Fatalf("commit: code %d", code)
					}
				}
				groups[coord.PartitionFor(g, 4)] = g
			}
			if err := m.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			flip(t, m.disk, damage.file, damage.at)
			again := startOn(t, m.disk, nil, soon...)
			p = again.dial(t)
			for partition, g := range groups {
				if partition != 2 {
					p.coordinated(g)
					if got := p.committed(g, "topic", 0); got != 7 {
						t.Errorf("offset of %s is %d", g, got)
					}
					continue
				}
				if code := p.commit(g, "", -1, "topic", 0, 8); code != 16 {
					t.Errorf("commit to the damaged partition: code %d, expected NOT_COORDINATOR", code)
				}
				if c := p.coordinator(g); c.ErrorCode != 15 || !strings.Contains(*c.ErrorMessage, offsetsTopic+"-2") {
					t.Errorf("coordinator: code %d, %s", c.ErrorCode, *c.ErrorMessage)
				}
			}
		})
	}
}

// TestManyGroupsAreReadInSteps: a log larger than one read, with a snapshot's
// worth of history.
func TestManyGroupsAreReadInSteps(t *testing.T) {
	settings := append([]string{"offsets.topic.num.partitions=1"}, soon[:1]...)
	m := startMemory(t, nil, settings...)
	p := m.dial(t)
	p.createTopic("topic", 50)
	p.coordinated("g")
	const groups, rounds = 40, 8
	for round := range int64(rounds) {
		for i := range groups {
			r := kmsg.NewPtrOffsetCommitRequest()
			r.Version, r.Group, r.Generation = 8, fmt.Sprint("g", i), -1
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic = "topic"
			for partition := range int32(50) {
				x := kmsg.NewOffsetCommitRequestTopicPartition()
				metadata := strings.Repeat("m", 100)
				x.Partition, x.Offset, x.Metadata = partition, round, &metadata
				topic.Partitions = append(topic.Partitions, x)
			}
			r.Topics = append(r.Topics, topic)
			for _, x := range asked[*kmsg.OffsetCommitResponse](p, r).Topics[0].Partitions {
				if x.ErrorCode != 0 {
					t.Fatalf("commit: code %d", x.ErrorCode)
				}
			}
		}
	}
	again := startOn(t, m.disk.KillClone(), nil, settings...)
	p = again.dial(t)
	for i := range groups {
		for partition := range int32(50) {
			if got := p.committed(fmt.Sprint("g", i), "topic", partition); got != rounds-1 {
				t.Fatalf("offset %d of g%d-%d", got, i, partition)
			}
		}
	}
}

// TestSessionsExpire on the broker's clock.
func TestSessionsExpire(t *testing.T) {
	now := clock.NewManual(time.UnixMilli(1_700_000_000_000))
	m := startMemory(t, now, soon...)
	p := m.dial(t)
	p.coordinated("g")
	first := asked[*kmsg.JoinGroupResponse](p, joinAs("g", ""))
	r := joinAs("g", first.MemberID)
	p.send(r)
	state := func() string {
		d := kmsg.NewPtrDescribeGroupsRequest()
		d.Version, d.Groups = 5, []string{"g"}
		return asked[*kmsg.DescribeGroupsResponse](m.dial(t), d).Groups[0].State
	}
	for state() != "CompletingRebalance" {
		now.Advance(0)
	}
	if j := p.receive(r, p.correlation).(*kmsg.JoinGroupResponse); j.ErrorCode != 0 {
		t.Fatalf("join: %+v", j)
	}
	now.Advance(9 * time.Second)
	if got := state(); got != "CompletingRebalance" {
		t.Fatalf("state %s within the session", got)
	}
	now.Advance(2 * time.Second)
	if got := state(); got != "Empty" {
		t.Fatalf("state %s after the session", got)
	}
}

// flip changes a byte of a file.
func flip(t *testing.T, disk vfs.FS, name string, at int) {
	t.Helper()
	data, err := vfs.ReadFile(disk, name)
	if err != nil {
		t.Fatal(err)
	}
	if data[at] == '!' {
		data[at] = 0
	} else {
		data[at] = '!'
	}
	f, err := disk.OpenFile(name, 2, 0) // read and write
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
