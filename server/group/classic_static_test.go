package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestStaticSubscription: what a static member that comes back subscribes to counts at once, and not from the next load on.
func TestStaticSubscription(t *testing.T) {
	r := newRig(t)
	instance := "i"
	join := func(topic string) *kmsg.JoinGroupResponse {
		q := joinRequest("g", "", "range="+string(subscription(topic)))
		q.InstanceID = &instance
		j := r.join(q)
		r.pass(6 * time.Second)
		return j.now()
	}
	m := join("t").MemberID
	r.sync("g", m, 1, m+"=a").now()
	if v := join("u"); v.ErrorCode != codeNone || v.Generation != 1 {
		t.Fatalf("%+v", v)
	}
	topics := func() (list []string) {
		r.machine(func(m *Machine) { list = m.find("g").classic.topics })
		return list
	}
	live := topics()
	r.restart()
	if loaded := topics(); !slices.Equal(live, []string{"u"}) || !slices.Equal(loaded, live) {
		t.Fatalf("subscribed to %v, after a restart to %v", live, loaded)
	}
}

func TestStaticMembers(t *testing.T) {
	r := newRig(t)
	join := func(instance, member string, version int16, protocols ...string) *answer[*kmsg.JoinGroupResponse] {
		q := joinRequest("g", member, protocols...)
		q.InstanceID, q.Version = &instance, version
		return r.join(q)
	}
	j1, j2 := join("i1", "", 9, "range", "sticky"), join("i2", "", 9, "range", "sticky")
	r.pass(6 * time.Second)
	m1, m2 := j1.now().MemberID, j2.now().MemberID
	follower := r.sync("g", m2, 1)
	r.sync("g", m1, 1, m1+"=a1", m2+"=a2").now()
	follower.now()

	// Restarted followers and leaders keep their place and assignment; that is written down.
	before := r.log.End()
	v := join("i2", "", 9, "range", "sticky").now()
	if v.ErrorCode != codeNone || v.Generation != 1 || v.LeaderID != m1 || v.SkipAssignment || v.MemberID == m2 || len(v.Members) != 0 {
		t.Fatalf("%+v", v)
	}
	if r.log.End() != before+1 || !strings.Contains(r.records(before)[0], v.MemberID) {
		t.Fatalf("%v", r.records(before))
	}
	if code := r.heartbeat("g", m2, 1, "i2"); code != codeFencedInstanceID {
		t.Fatal(code)
	}
	if code := r.heartbeat("g", m2, 1); code != codeUnknownMemberID {
		t.Fatal(code)
	}
	if code := r.heartbeat("g", "nobody", 1, "i9"); code != codeUnknownMemberID {
		t.Fatal(code)
	}
	if v := join("i2", m2, 9, "range").now(); v.ErrorCode != codeFencedInstanceID {
		t.Fatalf("%+v", v)
	}
	m2 = v.MemberID
	if string(r.sync("g", m2, 1).now().MemberAssignment) != "a2" {
		t.Fatal("the assignment is gone")
	}
	v = join("i1", "", 9, "range", "sticky").now()
	if v.LeaderID != v.MemberID || !v.SkipAssignment || len(v.Members) != 2 {
		t.Fatalf("%+v", v)
	}
	v = join("i1", "", 8, "range", "sticky").now()
	if v.LeaderID == v.MemberID || v.SkipAssignment || len(v.Members) != 0 {
		t.Fatalf("%+v", v) // an old client must not assign
	}
	m1 = v.MemberID
	if code := r.commit("g", m1, 1, "t", 0, 1); code != codeNone {
		t.Fatal(code)
	}

	// The group survives a restart of the coordinator with its members.
	r.restart()
	if code := r.heartbeat("g", m1, 1, "i1"); code != codeNone {
		t.Fatal(code)
	}
	// A protocol that changes the vote makes a rebalance; here the other has only "range" left after the restart.
	if v := join("i1", "", 9, "sticky").now(); v.ErrorCode != codeInconsistentGroupProtocol {
		t.Fatalf("%+v", v)
	}

	// A parked join of the old incarnation is fenced by the new one.
	old := join("i1", m1, 9, "range=new")
	old.parked()
	fresh := join("i1", "", 9, "range=new")
	if v := old.now(); v.ErrorCode != codeFencedInstanceID || v.MemberID != m1 || v.Protocol != nil {
		t.Fatalf("%+v", v)
	}
	fresh.parked()
	// A static member that does not join stays until its session ends.
	r.pass(9999 * time.Millisecond)
	fresh.parked()
	r.pass(time.Millisecond)
	if v := fresh.now(); v.Generation != 2 || len(v.Members) != 1 {
		t.Fatalf("%+v", v)
	}
	// An administrator removes by instance id.
	if s := r.leave("g", "@i9", "@i1", "nobody", "nobody@i1"); s != "0 [25 0 25 25]" {
		t.Fatal(s)
	}
	r.expect("g", "Empty", 3, 0)
}

func TestStaticMemberRestartedBeforeItsSync(t *testing.T) {
	r := newRig(t)
	var instances [2]string
	var joins [2]*answer[*kmsg.JoinGroupResponse]
	for i := range joins {
		instances[i] = fmt.Sprint("i", i)
		q := joinRequest("g", "")
		q.InstanceID, q.SessionTimeoutMillis = &instances[i], 120_000
		joins[i] = r.join(q)
	}
	r.pass(6 * time.Second)
	leader, follower := joins[0].now(), joins[1].now()
	if leader.LeaderID != leader.MemberID {
		leader, follower, instances[1] = follower, leader, instances[0]
	}
	r.sync("g", leader.MemberID, 1, leader.MemberID+"=a", follower.MemberID+"=b").now()
	q := joinRequest("g", "")
	q.InstanceID, q.SessionTimeoutMillis = &instances[1], 120_000
	again := r.join(q).now()
	r.pass(time.Minute) // nobody is waited for any more
	r.expect("g", "Stable", 1, 2)
	if string(r.sync("g", again.MemberID, 1).now().MemberAssignment) != "b" {
		t.Fatal("the assignment is gone")
	}
}

func TestStaticMembersThatDoNotReturn(t *testing.T) {
	r := newRig(t)
	instance := "i1"
	q := joinRequest("g", "")
	q.InstanceID, q.RebalanceTimeoutMillis, q.SessionTimeoutMillis = &instance, -5, 20_000
	static := r.join(q)
	q = joinRequest("g", r.newID("g"))
	q.RebalanceTimeoutMillis = 1000
	dynamic := r.join(q)
	r.pass(3 * time.Second)
	leader, other := static.now().MemberID, dynamic.now().MemberID
	r.sync("g", leader, 1, leader+"=a", other+"=b").now()
	r.sync("g", other, 1).now()
	if s := r.leave("g", other); s != "0 [0]" {
		t.Fatal(s)
	}
	// Nobody has joined and somebody is a member: its session decides, and its timeout of nothing makes no busy loop.
	r.pass(19 * time.Second)
	r.expect("g", "PreparingRebalance", 1, 1)
	r.pass(time.Second)
	r.expect("g", "Empty", 2, 0)
}
