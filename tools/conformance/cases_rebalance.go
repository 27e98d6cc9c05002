package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// on runs f with requests going through another connection.
func (b *broker) on(c *client, f func()) {
	own := b.client
	b.client = c
	f()
	b.client = own
}

// rebalances is groups of two members, each with a connection of its own: what
// waits for the other, and what both are told.
func rebalances(b *broker) {
	b.coordinate(0)
	for v := int16(0); v <= 9; v++ {
		b.rebalance(v)
	}
}

func (b *broker) rebalance(v int16) {
	second := newClient(b.addr)
	defer second.close()
	g := b.group(fmt.Sprint("g", v))
	sv, hv, lv := min(v, 5), min(v, 4), min(v, 5)
	first, generation := b.join(v, g)
	s := syncRequest(sv, g, first, generation)
	s.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: first, MemberAssignment: []byte("all")}}
	b.do("sync of the first", s)

	// The second joins and waits for the first.
	id := ""
	join := joinRequest(v, g, "")
	if v >= 4 {
		b.on(second, func() {
			if resp, _ := b.do("second asks for an id", join).(*kmsg.JoinGroupResponse); resp != nil {
				id = resp.MemberID
			}
		})
		join = joinRequest(v, g, id)
	}
	join.Protocols = append(join.Protocols, kmsg.JoinGroupRequestProtocol{Name: "other", Metadata: []byte("x")})
	var sent error
	b.on(second, func() { sent = b.send(join) })
	b.until(g, "PreparingRebalance")
	b.do("heartbeat of the first", heartbeatRequest(hv, g, first, generation))
	b.do("sync of the first meanwhile", syncRequest(sv, g, first, generation))
	b.describeOnce("describe the rebalance", g)
	again, _ := b.do("first joins again", joinRequest(v, g, first)).(*kmsg.JoinGroupResponse)
	var joined *kmsg.JoinGroupResponse
	b.on(second, func() { joined, _ = b.record("second has joined", join, sent).(*kmsg.JoinGroupResponse) })
	if again == nil || joined == nil {
		return
	}
	id, generation = joined.MemberID, joined.Generation
	join.MemberID = id

	// The second waits for the assignment of the first.
	follow := syncRequest(sv, g, id, generation)
	b.on(second, func() { sent = b.send(follow) })
	b.do("heartbeat before the sync", heartbeatRequest(hv, g, first, generation))
	b.describeOnce("describe before the sync", g)
	s = syncRequest(sv, g, first, generation)
	s.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: first, MemberAssignment: []byte("one")}, {MemberID: id, MemberAssignment: []byte("two")}, {MemberID: "nobody", MemberAssignment: []byte("x")}}
	b.do("leader syncs", s)
	b.on(second, func() { b.record("second is in sync", follow, sent) })
	b.describeOnce("describe the group", g)
	b.on(second, func() {
		b.do("second joins again without need", join)
		b.do("heartbeat of the second", heartbeatRequest(hv, g, id, generation))
	})
	b.do("leader leaves", leaveRequest(lv, g, first))
	b.on(second, func() {
		b.do("heartbeat without the leader", heartbeatRequest(hv, g, id, generation))
		b.do("second joins alone", joinRequest(v, g, id))
	})
	b.describeOnce("describe the rest", g)
	b.on(second, func() { b.do("second leaves", leaveRequest(lv, g, id)) })
	b.describeOnce("describe the empty group", g)
}

// describeOnce describes a group in the newest version.
func (b *broker) describeOnce(label, group string) {
	r := kmsg.NewPtrDescribeGroupsRequest()
	r.SetVersion(6)
	r.Groups = []string{group}
	b.do(label, r)
}

// until waits until a group is in a state.
func (b *broker) until(group, state string) {
	for range 1000 {
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.SetVersion(5)
		r.Groups = []string{group}
		resp, _ := b.ask(r).(*kmsg.DescribeGroupsResponse)
		if resp == nil || resp.Groups[0].State == state {
			return
		}
	}
}
