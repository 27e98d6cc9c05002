package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
)

func TestJoinRefused(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Settings.MaxSize = 2 })
	ids := r.stable("full", 2)
	r.stable("plain", 1, "range", "sticky")
	r.machine(func(m *Machine) { m.entry("share").other = otherShare })
	long := strings.Repeat("x", 32767)
	for _, c := range []struct {
		name   string
		q      *kmsg.JoinGroupRequest
		change func(*kmsg.JoinGroupRequest)
		code   int16
		member string
	}{
		{"session too short", joinRequest("new", ""), func(q *kmsg.JoinGroupRequest) { q.SessionTimeoutMillis = 5999 }, codeInvalidSessionTimeout, ""},
		{"session too long", joinRequest("new", "m"), func(q *kmsg.JoinGroupRequest) { q.SessionTimeoutMillis = 1_800_001 }, codeInvalidSessionTimeout, "m"},
		{"unknown group", joinRequest("new", "m"), nil, codeUnknownMemberID, "m"},
		{"unknown member", joinRequest("plain", "m"), nil, codeUnknownMemberID, "m"},
		{"unknown instance", joinRequest("plain", "m"), func(q *kmsg.JoinGroupRequest) { q.InstanceID = &long; *q.InstanceID = "i" }, codeUnknownMemberID, "m"},
		{"no protocol type", joinRequest("none", ""), func(q *kmsg.JoinGroupRequest) { q.ProtocolType = "" }, codeInconsistentGroupProtocol, ""},
		{"no protocols", joinRequest("none2", ""), func(q *kmsg.JoinGroupRequest) { q.Protocols = nil }, codeInconsistentGroupProtocol, ""},
		{"another type", joinRequest("plain", ""), func(q *kmsg.JoinGroupRequest) { q.ProtocolType = "connect" }, codeInconsistentGroupProtocol, ""},
		{"no common protocol", joinRequest("plain", "", "roundrobin"), nil, codeInconsistentGroupProtocol, ""},
		{"a common protocol", joinRequest("plain", "", "roundrobin", "sticky"), nil, codeMemberIDRequired, "app-"},
		{"group full", joinRequest("full", ""), nil, codeGroupMaxSizeReached, ""},
		{"group full, member of it", joinRequest("full", ids[1]), nil, codeNone, ids[1]},
		{"share group", joinRequest("share", ""), nil, codeInconsistentGroupProtocol, ""},
		{"long group", joinRequest(strings.Repeat("x", 32767), ""), nil, codeInvalidGroupID, ""},
		{"long protocol", joinRequest("new", "", strings.Repeat("x", 32767)), nil, codeInvalidRequest, ""},
	} {
		if c.change != nil {
			c.change(c.q)
		}
		if v := r.join(c.q).now(); v.ErrorCode != c.code || c.member == "" && v.MemberID != "" || !strings.HasPrefix(v.MemberID, c.member) {
			t.Errorf("%s: %d %q, expected %d %q", c.name, v.ErrorCode, v.MemberID, c.code, c.member)
		}
	}
	// A new group is written down with its first join, whatever comes of it.
	if r.state("new") != "none" || r.state("none") != "Empty" {
		t.Errorf("new: %s, none: %s", r.state("new"), r.state("none"))
	}
}

func TestVersionsOfJoin(t *testing.T) {
	r := newRig(t)
	q := joinRequest("old", "")
	q.Version = 3
	old := r.join(q) // before KIP-394 a member is in at once
	old.parked()
	r.pass(3 * time.Second)
	if v := old.now(); v.ErrorCode != codeNone || v.MemberID != v.LeaderID || len(v.Members) != 1 || *v.Protocol != "range" || *v.ProtocolType != "consumer" {
		t.Fatalf("%+v", v)
	}
	instance := "i1"
	q = joinRequest("static", "")
	q.InstanceID = &instance
	static := r.join(q)
	r.pass(3 * time.Second)
	if v := static.now(); v.ErrorCode != codeNone || !strings.HasPrefix(v.MemberID, "i1-") || *v.Members[0].InstanceID != "i1" {
		t.Fatalf("%+v", v)
	}
}

func TestLifeOfAGroup(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 2, "range", "sticky")
	if string(r.sync("g", ids[1], 1).now().MemberAssignment) != "a1" {
		t.Error("a stable group gives assignments again")
	}
	if code := r.commit("g", ids[0], 1, "t", 0, 7); code != codeNone {
		t.Error(code)
	}
	if s := r.leave("g", ids[0], ids[1]); s != "0 [0 0]" {
		t.Error(s)
	}
	r.expect("g", "Empty", 2, 0)
	member := func(i int) string {
		return fmt.Sprintf(`{"memberId":"%s","groupInstanceId":null,"clientId":"app","clientHost":"/127.0.0.1","rebalanceTimeout":30000,"sessionTimeout":10000,"subscription":"AAEAAAABAAF0/////w==","assignment":"YT%c="}`, ids[i], "AE"[i])
	}
	first, second := 0, 1
	if ids[0] > ids[1] {
		first, second = 1, 0
	}
	key := `{"type":"2","data":{"group":"g"}} {"version":"3","data":{`
	want := []string{
		key + `"protocolType":"","generation":0,"protocol":null,"leader":null,"currentStateTimestamp":1700000000000,"members":[]}}`,
		key + fmt.Sprintf(`"protocolType":"consumer","generation":1,"protocol":"range","leader":"%s","currentStateTimestamp":1700000006000,"members":[%s,%s]}}`, ids[0], member(first), member(second)),
		`{"type":"1","data":{"group":"g","topic":"t","partition":0}} {"version":"4","data":{"offset":7,"leaderEpoch":5,"metadata":"","commitTimestamp":1700000006000,"topicId":"AQEAAAAAAAAAAAAAAAAAAA"}}`,
		key + `"protocolType":"consumer","generation":2,"protocol":null,"leader":null,"currentStateTimestamp":1700000006000,"members":[]}}`,
	}
	for i, got := range r.records(0) {
		if i < len(want) && got != want[i] {
			t.Errorf("record %d:\n%s\nexpected\n%s", i, got, want[i])
		}
	}
	if n := r.log.End(); n != 4 {
		t.Errorf("%d records", n)
	}
}

func TestInitialDelay(t *testing.T) {
	// The first waits 3 s for others; each further one prolongs that by 3 s, up to its rebalance timeout of 10 s in all.
	r := newRig(t)
	var joins []*answer[*kmsg.JoinGroupResponse]
	add := func() {
		q := joinRequest("g", r.newID("g"))
		q.RebalanceTimeoutMillis = 10_000
		joins = append(joins, r.join(q))
	}
	add()
	for range 4 {
		r.pass(2 * time.Second)
		add()
	}
	r.pass(1999 * time.Millisecond)
	joins[0].parked()
	r.pass(2 * time.Millisecond)
	for _, j := range joins {
		if v := j.now(); v.Generation != 1 || v.ErrorCode != codeNone {
			t.Fatalf("%+v", v)
		}
	}
	// Without a delay the group is there at once.
	r = newRig(t, func(o *Options) { o.Settings.InitialRebalanceDelay = 0 })
	j := r.join(joinRequest("g", r.newID("g")))
	r.pass(0)
	j.now()
}

func TestPendingMembers(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 1)
	pending := r.newID("g")
	// A rebalance waits for those who have been given an id.
	leader := r.join(joinRequest("g", ids[0]))
	leader.parked()
	r.pass(9 * time.Second)
	leader.parked()
	r.pass(time.Second) // the pending member's time is up
	if v := leader.now(); v.Generation != 2 || len(v.Members) != 1 {
		t.Fatalf("%+v", v)
	}
	if v := r.join(joinRequest("g", pending)).now(); v.ErrorCode != codeUnknownMemberID {
		t.Fatalf("%+v", v)
	}
	// One that leaves is not waited for either.
	pending = r.newID("g")
	leader = r.join(joinRequest("g", ids[0], "range=changed"))
	leader.parked()
	if s := r.leave("g", pending); s != "0 [0]" {
		t.Fatal(s)
	}
	leader.now()
}

func TestRebalanceTimeout(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 3)
	if code := r.heartbeat("g", ids[1], 1); code != codeNone {
		t.Fatal(code)
	}
	leader := r.join(joinRequest("g", ids[0])) // a leader's join always begins a rebalance
	leader.parked()
	if code := r.heartbeat("g", ids[1], 1); code != codeRebalanceInProgress {
		t.Fatal(code)
	}
	second := r.join(joinRequest("g", ids[1]))
	again := r.join(joinRequest("g", ids[1])) // the client gave up on its first request
	if v := second.now(); v.ErrorCode != codeRebalanceInProgress {
		t.Fatalf("%+v", v)
	}
	for range 4 {
		r.pass(7 * time.Second)
		r.heartbeat("g", ids[2], 1) // alive, but does not join
	}
	leader.parked()
	r.pass(2 * time.Second)
	if v := leader.now(); v.Generation != 2 || len(v.Members) != 2 || v.LeaderID != ids[0] {
		t.Fatalf("%+v", v)
	}
	if v := again.now(); v.Generation != 2 || len(v.Members) != 0 || v.LeaderID != ids[0] {
		t.Fatalf("%+v", v)
	}
	if code := r.heartbeat("g", ids[2], 1); code != codeUnknownMemberID {
		t.Fatal(code)
	}
	// The generation is not yet stable: a commit waits, a lost response is given again, an old generation is refused.
	if code := r.commit("g", ids[0], 2, "t", 0, 1); code != codeRebalanceInProgress {
		t.Fatal(code)
	}
	if v := r.join(joinRequest("g", ids[0])).now(); v.Generation != 2 || len(v.Members) != 2 {
		t.Fatalf("%+v", v)
	}
	if v := r.sync("g", ids[0], 1).now(); v.ErrorCode != codeIllegalGeneration {
		t.Fatalf("%+v", v)
	}
	follower := r.sync("g", ids[1], 2)
	follower.parked()
	repeated := r.sync("g", ids[1], 2)
	if v := follower.now(); v.ErrorCode != codeRebalanceInProgress {
		t.Fatalf("%+v", v)
	}
	r.sync("g", ids[0], 2, ids[0]+"=x", ids[1]+"=y", "stranger=z").now()
	if v := repeated.now(); string(v.MemberAssignment) != "y" || *v.Protocol != "range" || *v.ProtocolType != "consumer" {
		t.Fatalf("%+v", v)
	}
	r.expect("g", "Stable", 2, 2)
	// A follower that has nothing new is told what it knows, without a rebalance.
	if v := r.join(joinRequest("g", ids[1])).now(); v.Generation != 2 || v.ErrorCode != codeNone || len(v.Members) != 0 {
		t.Fatalf("%+v", v)
	}
	r.expect("g", "Stable", 2, 2)
}

func TestLeaderGoes(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 3)
	r.pass(6 * time.Second)
	r.heartbeat("g", ids[1], 1)
	r.heartbeat("g", ids[2], 1)
	r.pass(4 * time.Second) // the leader's session ends
	r.expect("g", "PreparingRebalance", 1, 2)
	a, b := r.join(joinRequest("g", ids[2])), r.join(joinRequest("g", ids[1]))
	va, vb := a.now(), b.now()
	if va.LeaderID != vb.LeaderID || va.LeaderID == ids[0] || len(va.Members)+len(vb.Members) != 2 {
		t.Fatalf("%+v %+v", va, vb)
	}
	// Somebody changes its mind while the others wait for their assignments.
	waiting, other := ids[1], ids[2]
	if va.LeaderID == waiting {
		waiting, other = other, waiting
	}
	parked := r.sync("g", waiting, 2)
	leader := r.join(joinRequest("g", other, "range=changed"))
	if v := parked.now(); v.ErrorCode != codeRebalanceInProgress || v.Protocol != nil {
		t.Fatalf("%+v", v)
	}
	if v := r.sync("g", waiting, 2).now(); v.ErrorCode != codeRebalanceInProgress {
		t.Fatalf("%+v", v)
	}
	follower := r.join(joinRequest("g", waiting))
	if leader.now().Generation != 3 || follower.now().Generation != 3 {
		t.Fatalf("%+v", leader.now())
	}
}

func TestSyncTimeout(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 2)
	leader, follower := r.join(joinRequest("g", ids[0])), r.join(joinRequest("g", ids[1]))
	if leader.now().Generation != 2 || follower.now().Generation != 2 {
		t.Fatal("no generation 2")
	}
	parked := r.sync("g", ids[1], 2)
	for range 4 {
		r.pass(7 * time.Second)
		r.heartbeat("g", ids[0], 2) // the leader lives but does not assign
	}
	parked.parked()
	r.pass(2 * time.Second)
	if v := parked.now(); v.ErrorCode != codeRebalanceInProgress {
		t.Fatalf("%+v", v)
	}
	r.expect("g", "PreparingRebalance", 2, 1)
	// Of a stable group, too, those go who never asked.
	if v := r.join(joinRequest("g", ids[1])).now(); v.Generation != 3 || v.LeaderID != ids[1] {
		t.Fatalf("%+v", v)
	}
	r.sync("g", ids[1], 3, ids[1]+"=x").now()
	third := r.join(joinRequest("g", r.newID("g")))
	r.join(joinRequest("g", ids[1])).now()
	r.sync("g", ids[1], 4).now()
	r.expect("g", "Stable", 4, 2)
	for range 5 {
		r.pass(7 * time.Second)
		r.heartbeat("g", ids[1], 4)
		r.heartbeat("g", third.now().MemberID, 4)
	}
	r.expect("g", "PreparingRebalance", 4, 1)
}

func TestNewMembersTimeOut(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 1)
	q := joinRequest("g", r.newID("g"))
	q.RebalanceTimeoutMillis = 3_600_000
	parked := r.join(q)
	for range 50 {
		r.pass(6 * time.Second)
		r.heartbeat("g", ids[0], 1)
	}
	if v := parked.now(); v.ErrorCode != codeUnknownMemberID {
		t.Fatalf("%+v", v)
	}
}

func TestVotes(t *testing.T) {
	for _, c := range []struct {
		members []string // protocols of each, the first leads
		want    string
	}{
		{[]string{"a b", "b a", "b a"}, "b"},
		{[]string{"a b", "b a"}, "a"}, // of equals, the leader's
		{[]string{"b a", "a b"}, "b"},
		{[]string{"x a b", "b a"}, "a"},
		{[]string{"x a", "y a", "z a"}, "a"},
		{[]string{"a a b", "b", "b a"}, "b"},
	} {
		g := newClassicGroup()
		for i, s := range c.members {
			q := joinRequest("g", "", strings.Fields(s)...)
			g.add(&classicMember{id: fmt.Sprint("m", i), protocols: protocolsOf(q)})
		}
		if got := g.selectProtocol(); got != c.want {
			t.Errorf("%q: %s, expected %s", c.members, got, c.want)
		}
	}
}

func TestUnload(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 2)
	join := r.join(joinRequest("g", ids[0]))
	other := r.stable("h", 2)
	a, b := r.join(joinRequest("h", other[0])), r.join(joinRequest("h", other[1]))
	a.now()
	b.now()
	sync := r.sync("h", other[1], 2)
	r.run.Stop(0)
	if join.n != 1 || join.err == nil || sync.n != 1 || sync.err == nil {
		t.Fatalf("%+v %+v", join, sync)
	}
}

func TestLoadedGroups(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 3, "range", "sticky")
	r.restart()
	r.expect("g", "Stable", 1, 3)
	if string(r.sync("g", ids[2], 1).now().MemberAssignment) != "a2" {
		t.Fatal("the assignment is gone")
	}
	r.pass(9 * time.Second)
	r.heartbeat("g", ids[0], 1)
	r.pass(time.Second) // the sessions began with the load
	r.expect("g", "PreparingRebalance", 1, 1)

	// A group that has become too large rebalances, so that the last to come are turned away.
	r.opt.Settings.MaxSize = 2
	r.restart()
	r.expect("g", "PreparingRebalance", 1, 3)
	x, y := r.join(joinRequest("g", ids[0])), r.join(joinRequest("g", ids[1]))
	if v := r.join(joinRequest("g", ids[2])).now(); v.ErrorCode != codeGroupMaxSizeReached {
		t.Fatalf("%+v", v)
	}
	r.pass(30 * time.Second)
	if x.now().Generation != 2 || y.now().Generation != 2 {
		t.Fatalf("%+v", x.now())
	}
}

func TestLeave(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 2)
	if s := r.leave("nope", "m"); s != "0 [25]" {
		t.Error(s)
	}
	if s := r.leave("g", "m"); s != "0 [25]" {
		t.Error(s)
	}
	r.expect("g", "Stable", 1, 2)
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Version, q.Group, q.MemberID = 1, "g", "m"
	old := ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.LeaveGroupResponse]) {
		m.Leave(c, Client{}, q, done)
	}).now()
	if old.ErrorCode != codeUnknownMemberID {
		t.Errorf("%+v", old)
	}
	// A member that leaves with a join parked is answered; the other goes on.
	join := r.join(joinRequest("g", ids[0]))
	other := r.join(joinRequest("g", ids[1]))
	join.now()
	other.now()
	parked := r.sync("g", ids[1], 2)
	if s := r.leave("g", ids[1]); s != "0 [0]" {
		t.Error(s)
	}
	if v := parked.now(); v.ErrorCode != codeUnknownMemberID {
		t.Errorf("%+v", v)
	}
	r.expect("g", "PreparingRebalance", 2, 1)
}

func TestTooLargeToBeWritten(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 1)
	r.join(joinRequest("g", ids[0])).now()
	if v := r.sync("g", ids[0], 2, ids[0]+"="+strings.Repeat("x", batchLimit)).now(); v.ErrorCode != codeUnknownServerError {
		t.Fatal(v.ErrorCode)
	}
	r.expect("g", "PreparingRebalance", 2, 1)
}

func TestMetadataLimit(t *testing.T) {
	r := newRig(t)
	large := "range=" + strings.Repeat("x", metadataLimit/4)
	join := func(member, metadata string) *answer[*kmsg.JoinGroupResponse] {
		q := joinRequest("g", member, metadata)
		if member == "" {
			q.Version = 3
		}
		return r.join(q)
	}
	var joins []*answer[*kmsg.JoinGroupResponse]
	for range 3 {
		joins = append(joins, join("", large))
	}
	if v := join("", large).now(); v.ErrorCode != codeGroupMaxSizeReached {
		t.Fatal(v.ErrorCode)
	}
	joins = append(joins, join("", "range=small"))
	r.pass(6 * time.Second)
	var leader, other string
	for _, j := range joins {
		if v := j.now(); v.LeaderID == v.MemberID {
			leader = v.MemberID
		} else {
			other = v.MemberID
		}
	}
	// Who says the same again, or less, is not refused; what a member takes is given back when it goes.
	join(other, "range=less").parked()
	if s := r.leave("g", leader, other); s != "0 [0 0]" {
		t.Fatal(s)
	}
	join("", "range="+strings.Repeat("x", metadataLimit/8)).parked()
	r.pass(time.Hour)
	r.machine(func(m *Machine) {
		if g := m.groups["g"]; g != nil && g.classic.metadataBytes != 0 {
			t.Errorf("%d bytes are left", g.classic.metadataBytes)
		}
	})
}

func TestPendingLimit(t *testing.T) {
	r := newRig(t)
	for range pendingLimit {
		r.newID("g")
	}
	if v := r.join(joinRequest("g", "")).now(); v.ErrorCode != codeCoordinatorNotAvailable {
		t.Fatal(v.ErrorCode)
	}
	r.pass(10 * time.Second)
	r.newID("g")
}

func TestSyncAndHeartbeatRefused(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 1)
	r.join(joinRequest("h", r.newID("h")))
	r.machine(func(m *Machine) { m.entry("share").other = otherShare })
	for _, c := range []struct {
		group, member string
		generation    int32
		code          int16
	}{
		{"nope", "m", 1, codeUnknownMemberID},
		{"share", "m", 1, codeUnknownMemberID},
		{"g", "m", 1, codeUnknownMemberID},
		{"g", ids[0], 2, codeIllegalGeneration},
		{"g", ids[0], 1, codeNone},
	} {
		if v := r.sync(c.group, c.member, c.generation).now(); v.ErrorCode != c.code {
			t.Errorf("sync %+v: %d", c, v.ErrorCode)
		}
		if code := r.heartbeat(c.group, c.member, c.generation); code != c.code {
			t.Errorf("heartbeat %+v: %d", c, code)
		}
	}
	other := "other"
	q := kmsg.NewPtrSyncGroupRequest()
	q.Group, q.MemberID, q.Generation, q.Protocol = "g", ids[0], 1, &other
	if v := ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.SyncGroupResponse]) {
		m.Sync(c, Client{}, q, done)
	}).now(); v.ErrorCode != codeInconsistentGroupProtocol {
		t.Errorf("%+v", v)
	}
}
