package group

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/server/meta"
)

// Who may commit: ClassicGroup.validateOffsetCommit and OffsetMetadataManager.validateOffsetCommit.
func TestWhoMayCommit(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Settings.InitialRebalanceDelay = 0 })
	ids := r.stable("stable", 1)
	instance, stranger := "i1", "i9"
	q := joinRequest("static", "")
	q.InstanceID = &instance
	j := r.join(q)
	r.pass(0)
	static := j.now().MemberID
	r.sync("static", static, 1, static+"=").now()
	waiting := r.stable("preparing", 2)
	r.join(joinRequest("preparing", waiting[0]))
	completing := r.stable("completing", 1)
	r.join(joinRequest("completing", completing[0])).now()
	left := r.stable("empty", 1)
	r.leave("empty", left[0])
	r.machine(func(m *Machine) { m.entry("share").other = otherShare })

	type request struct {
		group, member string
		instance      *string
		generation    int32
	}
	for _, c := range []struct {
		name                 string
		q                    request
		plain, inTransaction int16
	}{
		{"a simple consumer", request{"new", "", nil, -1}, codeNone, codeNone},
		{"no group", request{"none", "m", nil, 1}, codeGroupIDNotFound, codeIllegalGeneration},
		{"a simple consumer again", request{"new", "", nil, -1}, codeNone, codeNone},
		{"a member", request{"stable", ids[0], nil, 1}, codeNone, codeNone},
		{"a member of the past", request{"stable", ids[0], nil, 0}, codeIllegalGeneration, codeIllegalGeneration},
		{"a member without generation", request{"stable", ids[0], nil, -1}, codeIllegalGeneration, codeIllegalGeneration},
		{"a stranger", request{"stable", "m", nil, 1}, codeUnknownMemberID, codeUnknownMemberID},
		{"an administrator, group in use", request{"stable", "", nil, -1}, codeUnknownMemberID, codeNone},
		{"a static member", request{"static", static, &instance, 1}, codeNone, codeNone},
		{"a fenced static member", request{"static", "m", &instance, 1}, codeFencedInstanceID, codeFencedInstanceID},
		{"an unknown instance", request{"static", static, &stranger, 1}, codeFencedInstanceID, codeFencedInstanceID},
		{"a member, rebalancing", request{"preparing", waiting[1], nil, 1}, codeNone, codeNone},
		{"a member, not assigned yet", request{"completing", completing[0], nil, 2}, codeRebalanceInProgress, codeNone},
		{"an administrator, group empty", request{"empty", "", nil, -1}, codeNone, codeNone},
		{"a former member", request{"empty", left[0], nil, 1}, codeUnknownMemberID, codeUnknownMemberID},
		{"a share group", request{"share", "", nil, -1}, codeGroupIDNotFound, codeGroupIDNotFound},
		{"a long name", request{strings.Repeat("x", 32767), "", nil, -1}, codeInvalidGroupID, codeInvalidGroupID},
	} {
		if c.name == "an unknown instance" {
			c.plain, c.inTransaction = codeUnknownMemberID, codeUnknownMemberID
		}
		if code := r.commit(c.q.group, c.q.member, c.q.generation, "t", 0, 1, func(q *kmsg.OffsetCommitRequest) { q.InstanceID = c.q.instance }); code != c.plain {
			t.Errorf("%s: %d, expected %d", c.name, code, c.plain)
		}
		q := kmsg.NewPtrTxnOffsetCommitRequest()
		q.Version, q.Group, q.MemberID, q.Generation, q.InstanceID, q.ProducerID = 5, c.q.group, c.q.member, c.q.generation, c.q.instance, 9
		q.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Offset: 2}}}}
		v := ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.TxnOffsetCommitResponse]) {
			m.CommitTransactionalOffsets(c, Client{}, q, done)
		}).now()
		if code := v.Topics[0].Partitions[0].ErrorCode; code != c.inTransaction {
			t.Errorf("%s, in a transaction: %d, expected %d", c.name, code, c.inTransaction)
		}
	}
	if code := r.commit("none", "m", 1, "t", 0, 1, func(q *kmsg.OffsetCommitRequest) { q.Version = 8 }); code != codeIllegalGeneration {
		t.Errorf("before version 9: %d", code)
	}
}

func TestCommitRenewsTheSession(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 1)
	for range 3 {
		r.pass(9 * time.Second)
		if code := r.commit("g", ids[0], 1, "t", 0, 1); code != codeNone {
			t.Fatal(code)
		}
	}
}

func TestCommitMetadata(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Offsets.MetadataMaxBytes = 4 })
	for s, code := range map[string]int16{"": codeNone, "abcd": codeNone, "abcde": codeOffsetMetadataTooLarge, "äöüß": codeNone, "😀😀": codeNone, "😀😀x": codeOffsetMetadataTooLarge} {
		if got := r.commit("g", "", -1, "t", 0, 1, func(q *kmsg.OffsetCommitRequest) { q.Topics[0].Partitions[0].Metadata = &s }); got != code {
			t.Errorf("%q: %d, expected %d", s, got, code)
		}
	}
	// A good partition beside a bad one is committed.
	long := "abcde"
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group = 9, "h"
	q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0, Offset: 3, Metadata: &long}, {Partition: 1, Offset: 4}}}}
	v := ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.OffsetCommitResponse]) {
		m.CommitOffsets(c, Client{}, q, done)
	}).now()
	if p := v.Topics[0].Partitions; p[0].ErrorCode != codeOffsetMetadataTooLarge || p[1].ErrorCode != codeNone || p[1].Partition != 1 {
		t.Errorf("%+v", v)
	}
	if s := r.fetch("h", false); s != "t-1=4" {
		t.Error(s)
	}
}

func TestCommitTooLarge(t *testing.T) {
	r := newRig(t)
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group = 9, strings.Repeat("g", 30_000)
	q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t"}}
	for i := range 300 {
		q.Topics[0].Partitions = append(q.Topics[0].Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: int32(i)})
	}
	v := ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.OffsetCommitResponse]) {
		m.CommitOffsets(c, Client{}, q, done)
	}).now()
	if p := v.Topics[0].Partitions; len(p) != 300 || p[7].ErrorCode != codeUnknownServerError || r.log.End() != 0 {
		t.Errorf("%+v", v)
	}
}

func TestFetch(t *testing.T) {
	r := newRig(t)
	note := "note"
	r.commit("g", "", -1, "u", 3, 30)
	r.commit("g", "", -1, "t", 1, 11, func(q *kmsg.OffsetCommitRequest) { q.Topics[0].Partitions[0].Metadata = &note })
	r.commit("g", "", -1, "t", 0, 10)
	if s := r.fetch("g", false); s != "t-0=10 t-1=11[note] u-3=30" {
		t.Error(s)
	}
	if s := r.fetch("none", true); s != "" {
		t.Error(s)
	}
	q := kmsg.NewOffsetFetchRequestGroup()
	q.Group = "g"
	q.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{1, 5}}, {Topic: "zz", Partitions: []int32{0}}}
	if s := show(r.fetchGroup(q, 9, true)); s != "t-1=11[note] t-5=-1 zz-0=-1" {
		t.Error(s)
	}
	q.Group = "none"
	if s := show(r.fetchGroup(q, 9, true)); s != "t-1=-1 t-5=-1 zz-0=-1" {
		t.Error(s)
	}
	// An offset of a deleted topic of the same name is none (KIP-848's topic ids in OffsetCommitValue 4).
	q.Group, q.Topics = "g", []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: [16]byte{9}, Partitions: []int32{1}}}
	if s := show(r.fetchGroup(q, 10, true)); s != "t-1=-1" {
		t.Error(s)
	}
	q.Topics[0].TopicID = r.topicID("t")
	if v := r.fetchGroup(q, 10, true); show(v) != "t-1=11[note]" || v.Topics[0].TopicID != r.topicID("t") || v.Topics[0].Partitions[0].LeaderEpoch != 5 {
		t.Errorf("%+v", v)
	}
	// In version 10 a topic that has no id any more cannot be named.
	r.image = simImage("t")
	q.Topics = nil
	if s := show(r.fetchGroup(q, 10, false)); s != "t-0=10 t-1=11[note]" {
		t.Error(s)
	}
	r.restart()
	if s := show(r.fetchGroup(q, 9, false)); s != "t-0=10 t-1=11[note] u-3=30" {
		t.Error(s)
	}
}

func TestTransactionalOffsets(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprint("crash=", crash), func(t *testing.T) {
			r := newRig(t)
			check := func(stable, unstable string) {
				t.Helper()
				if crash {
					r.restart()
				}
				if s := r.fetch("g", true); s != stable {
					t.Fatalf("%q, expected %q", s, stable)
				}
				if s := r.fetch("g", false); s != unstable {
					t.Fatalf("%q, expected %q", s, unstable)
				}
			}
			r.commit("g", "", -1, "t", 0, 1)
			r.commitInTransaction(7, "g", "", -1, "t", 0, 2)
			r.commitInTransaction(7, "g", "", -1, "t", 1, 3)
			check("t-0=-1(88)", "t-0=1")
			r.mark(7, false)
			check("t-0=1", "t-0=1")
			r.commitInTransaction(7, "g", "", -1, "t", 0, 4)
			r.commitInTransaction(7, "g", "", -1, "t", 0, 5) // the last of a transaction counts
			r.mark(7, true)
			check("t-0=5", "t-0=5")
			// The later record counts, not the later decision.
			r.commitInTransaction(7, "g", "", -1, "t", 0, 6)
			r.commit("g", "", -1, "t", 0, 7)
			r.mark(7, true)
			check("t-0=7", "t-0=7")
			// Two producers: undecided until both are.
			r.commitInTransaction(7, "g", "", -1, "t", 0, 8)
			r.commitInTransaction(8, "g", "", -1, "t", 0, 9)
			r.mark(7, true)
			check("t-0=-1(88)", "t-0=8")
			r.mark(8, true)
			check("t-0=9", "t-0=9")
			// A tombstone takes what is undecided with it.
			r.commitInTransaction(8, "g", "", -1, "t", 0, 10)
			if s := r.deleteOffsets("g", "t", 0, 1); s != "0 [0 0]" {
				t.Fatal(s)
			}
			check("", "")
			r.mark(8, true)
			check("", "")
			// An aborted transaction may leave an empty group behind, which goes with the next check.
			r.commitInTransaction(8, "h", "", -1, "t", 0, 10)
			r.pass(10 * time.Minute)
			if r.state("h") != "Empty" {
				t.Fatal("a group with an open transaction was removed")
			}
			r.mark(8, false)
			r.pass(10 * time.Minute)
			if r.state("h") != "none" {
				t.Fatal("an empty group stays")
			}
			r.mark(99, true) // of nobody
		})
	}
}

func (r *rig) deleteOffsets(group, topic string, partitions ...int32) string {
	r.t.Helper()
	q := kmsg.NewPtrOffsetDeleteRequest()
	q.Group, q.Topics = group, []kmsg.OffsetDeleteRequestTopic{{Topic: topic}}
	for _, p := range partitions {
		q.Topics[0].Partitions = append(q.Topics[0].Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
	}
	v := ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.OffsetDeleteResponse]) {
		m.DeleteOffsets(c, q, done)
	}).now()
	codes := []int16{}
	for _, t := range v.Topics {
		for _, p := range t.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	return fmt.Sprint(v.ErrorCode, codes)
}

func TestDeleteOffsets(t *testing.T) {
	r := newRig(t)
	if s := r.deleteOffsets("none", "t", 0); s != "69 []" {
		t.Error(s)
	}
	ids := r.stable("g", 1)
	r.commit("g", ids[0], 1, "t", 0, 1)
	r.commit("g", ids[0], 1, "u", 0, 2)
	if s := r.deleteOffsets("g", "t", 0); s != "0 [86]" {
		t.Error(s)
	}
	before := r.log.End()
	if s := r.deleteOffsets("g", "u", 0, 0, 1); s != "0 [0 0 0]" || r.log.End() != before+1 {
		t.Error(s, r.records(before))
	}
	if s := r.fetch("g", true); s != "t-0=1" {
		t.Error(s)
	}
	// A group of another protocol type must be empty.
	q := joinRequest("connect", "")
	q.ProtocolType, q.Version = "connect", 3
	r.join(q)
	if s := r.deleteOffsets("connect", "t", 0); s != "68 []" {
		t.Error(s)
	}
	r.commit("simple", "", -1, "t", 0, 1)
	if s := r.deleteOffsets("simple", "t", 0); s != "0 [0]" {
		t.Error(s)
	}
}

func TestExpiration(t *testing.T) {
	const day = 24 * time.Hour
	r := newRig(t)
	live := func(d time.Duration, beat func()) { // lets time pass in steps that keep sessions alive
		for ; d > 0; d -= 5 * time.Second {
			r.pass(5 * time.Second)
			if beat != nil {
				beat()
			}
		}
	}
	r.commit("simple", "", -1, "t", 0, 1)
	r.commit("explicit", "", -1, "t", 0, 1, func(q *kmsg.OffsetCommitRequest) { q.Version, q.RetentionTimeMillis = 4, 3_600_000 })
	ids := r.stable("empty", 1)
	r.commit("empty", ids[0], 1, "t", 0, 2)
	r.pass(3 * day)
	r.commit("simple", "", -1, "t", 1, 2)
	if r.state("explicit") != "none" {
		t.Error("a retention of one hour is over")
	}
	if s := r.fetch("empty", true); s != "t-0=2" {
		t.Error(s)
	}
	r.pass(4*day + 20*time.Minute)
	// Of a simple group each offset goes by its own age; of one that was used all go when it has been empty for so long.
	if s := r.fetch("simple", true); s != "t-1=2" {
		t.Error(s)
	}
	if r.state("empty") != "none" {
		t.Error("an empty group stays")
	}
	if s := r.fetch("empty", true); s != "" {
		t.Error(s)
	}
	r.pass(3 * day)
	if r.state("simple") != "none" || len(r.run.Serving()) != 1 {
		t.Error("a simple group stays")
	}
	r.machine(func(m *Machine) {
		if len(m.groups) != 0 {
			t.Errorf("%d entries", len(m.groups))
		}
	})

	// What counts for a group that was used is when it became empty, not when it committed.
	r = newRig(t, func(o *Options) { o.Offsets.Retention = time.Hour })
	ids = r.stable("g", 1)
	r.commit("g", ids[0], 1, "t", 0, 1)
	live(50*time.Minute, func() { r.heartbeat("g", ids[0], 1) })
	r.leave("g", ids[0])
	r.pass(50 * time.Minute)
	if s := r.fetch("g", true); s != "t-0=1" {
		t.Error(s)
	}
	r.pass(20 * time.Minute)
	if s := r.fetch("g", true); s != "" {
		t.Error(s)
	}

	// Of a group in use, topics it subscribes to never expire, others do.
	r = newRig(t, func(o *Options) { o.Offsets.Retention = time.Hour })
	ids = r.stable("used", 1)
	other := joinRequest("connect", "", "p=x")
	other.ProtocolType, other.Version = "connect", 3
	j := r.join(other)
	r.pass(3 * time.Second)
	worker := j.now().MemberID
	r.sync("connect", worker, 1, worker+"=x").now()
	r.commit("used", ids[0], 1, "t", 0, 1)
	r.commit("used", ids[0], 1, "u", 0, 2)
	r.commit("connect", worker, 1, "t", 0, 3)
	live(75*time.Minute, func() {
		r.heartbeat("used", ids[0], 1)
		r.heartbeat("connect", worker, 1)
	})
	if s := r.fetch("used", true); s != "t-0=1" {
		t.Error(s)
	}
	if s := r.fetch("connect", true); s != "t-0=3" {
		t.Error(s)
	}
	// An offset that is undecided stays, and so does its group.
	r.leave("used", ids[0])
	r.commitInTransaction(5, "used", "", -1, "t", 0, 9)
	r.pass(2 * time.Hour)
	if s := r.fetch("used", false); s != "t-0=1" {
		t.Error(s)
	}
	r.mark(5, true)
	r.pass(2 * time.Hour)
	if s := r.fetch("used", false); s != "" || r.state("used") != "none" {
		t.Error(s)
	}
}

func TestLargeSweep(t *testing.T) {
	// More tombstones than one operation writes: groups of long names.
	r := newRig(t)
	const groups, partitions = 6, 60
	name := func(i int) string { return fmt.Sprintf("%05d%s", i, strings.Repeat("g", 30_000)) }
	fill := func() {
		for i := range groups {
			q := kmsg.NewPtrOffsetCommitRequest()
			q.Version, q.Group = 9, name(i)
			q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", TopicID: r.topicID("t")}}
			for p := range partitions {
				q.Topics[0].Partitions = append(q.Topics[0].Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: int32(p)})
			}
			ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.OffsetCommitResponse]) {
				m.CommitOffsets(c, Client{}, q, done)
			}).now()
		}
	}
	empty := func() {
		t.Helper()
		r.machine(func(m *Machine) {
			if len(m.groups) != 0 {
				t.Errorf("%d entries are left", len(m.groups))
			}
		})
	}
	fill()
	r.pass(8 * 24 * time.Hour)
	empty()
	fill()
	before := r.image
	d := meta.NewDelta(before)
	if err := d.Apply(&meta.RemoveTopicRecord{TopicID: r.topicID("t")}); err != nil {
		t.Fatal(err)
	}
	r.image = d.Image(2, 1)
	ask(r, func(c *coord.Context, m *Machine, done coord.Done[int]) {
		m.ImageChanged(c, before, r.image)
		coord.Send(c, done, 0)
	}).now()
	r.pass(0)
	r.pass(10 * time.Minute)
	empty()
	_ = r.log.Load(func(b batch.Batch) error {
		if len(b) > batchLimit+64<<10 {
			t.Errorf("a batch of %d bytes", len(b))
		}
		return nil
	})
}

func TestDeleteGroup(t *testing.T) {
	r := newRig(t)
	del := func(id string) *answer[int16] {
		return ask(r, func(c *coord.Context, m *Machine, done coord.Done[int16]) { m.Delete(c, id, done) })
	}
	if code := del("none").now(); code != codeGroupIDNotFound {
		t.Error(code)
	}
	ids := r.stable("g", 1)
	r.commit("g", ids[0], 1, "t", 0, 1)
	if code := del("g").now(); code != codeNonEmptyGroup {
		t.Error(code)
	}
	r.leave("g", ids[0])
	r.commitInTransaction(3, "g", "", -1, "t", 1, 1)
	before := r.log.End()
	if code := del("g").now(); code != codeNone {
		t.Error(code)
	}
	want := []string{
		`{"type":"1","data":{"group":"g","topic":"t","partition":0}} `,
		`{"type":"1","data":{"group":"g","topic":"t","partition":1}} `,
		`{"type":"2","data":{"group":"g"}} `,
	}
	if got := r.records(before); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q", got)
	}
	r.restart()
	if r.state("g") != "none" || r.fetch("g", true) != "" {
		t.Error("the group is still there")
	}
	r.machine(func(m *Machine) { m.entry("share").other = otherShare })
	if code := del("share").now(); code != codeGroupIDNotFound {
		t.Error(code)
	}

	// A group so large that its deletion takes several operations.
	long := strings.Repeat("g", 30_000)
	for i := range 2 {
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Version, q.Group = 9, long
		q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t"}}
		for p := range 200 {
			q.Topics[0].Partitions = append(q.Topics[0].Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: int32(200*i + p)})
		}
		ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.OffsetCommitResponse]) {
			m.CommitOffsets(c, Client{}, q, done)
		}).now()
	}
	first, second := del(long), del(long)
	first.parked()
	r.pass(0)
	if first.now() != codeNone || second.now() != codeNone || r.state(long) != "none" {
		t.Error("not deleted")
	}
	// Who joins in between keeps the group.
	r.commit("x", "", -1, "t", 0, 1)
	r.machine(func(m *Machine) { m.groups["x"].deleting = append(m.groups["x"].deleting, func(int16, error) {}) })
	last := del("x")
	last.parked()
	q := joinRequest("x", "")
	q.Version = 3
	r.join(q)
	if err := r.run.Do("x", func(c *coord.Context, m *Machine) { m.continueDelete(c, "x") }); err != nil {
		t.Fatal(err)
	}
	if last.now() != codeNonEmptyGroup {
		t.Error(last.value)
	}
}

func TestDeletedTopics(t *testing.T) {
	r := newRig(t)
	r.commit("g", "", -1, "t", 0, 1)
	r.commit("g", "", -1, "u", 0, 2)
	r.commitInTransaction(3, "g", "", -1, "t", 1, 5) // without an id
	r.commitInTransaction(3, "h", "", -1, "t", 1, 5)
	r.commitInTransaction(3, "h", "", -1, "u", 1, 6)
	before := r.image
	d := meta.NewDelta(before)
	for _, x := range []meta.Record{&meta.RemoveTopicRecord{TopicID: r.topicID("t")}, &meta.TopicRecord{Name: "t", TopicID: meta.UUID{7}}} {
		if err := d.Apply(x); err != nil {
			t.Fatal(err)
		}
	}
	r.image = d.Image(2, 1)
	r.commit("h", "", -1, "t", 0, 3) // of the new topic
	end := r.log.End()
	ask(r, func(c *coord.Context, m *Machine, done coord.Done[int]) {
		m.ImageChanged(c, before, r.image)
		m.ImageChanged(c, nil, r.image)
		coord.Send(c, done, 0)
	}).now()
	if n := r.log.End() - end; n != 3 {
		t.Errorf("%d records: %q", n, r.records(end))
	}
	r.mark(3, true)
	if s := r.fetch("g", true); s != "u-0=2" {
		t.Error(s)
	}
	if s := r.fetch("h", true); s != "t-0=3 u-1=6" {
		t.Error(s)
	}
}

func TestReplayOrder(t *testing.T) {
	offset := func(group string, value int64) coord.Record {
		k, v := record.Encode(record.Key{Type: record.TypeOffsetCommit, Group: group, Topic: "t"}, &record.OffsetCommit{Offset: value, ExpireTimestamp: -1})
		return coord.Record{Key: k, Value: v}
	}
	tombstone := func(r coord.Record) coord.Record { return coord.Record{Key: r.Key} }
	protocol := "range"
	group := func(id string) coord.Record {
		k, v := record.Encode(record.Key{Type: record.TypeGroupMetadata, Group: id}, &record.GroupMetadata{ProtocolType: "consumer", Generation: 4, Protocol: &protocol,
			Leader: &protocol, Members: []record.GroupMember{{MemberID: "b", SessionTimeout: 9, RebalanceTimeout: -1}, {MemberID: "a"}, {MemberID: "b"}}})
		return coord.Record{Key: k, Value: v}
	}
	apply := func(records ...coord.Record) *Machine {
		m := New(simOptions(rand.New(rand.NewPCG(1, 1))), 0)
		for i, r := range records {
			if err := m.Apply(r, coord.Origin{Offset: int64(i), ProducerID: -1}); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	if m := apply(offset("g", 1), group("g")); len(m.groups["g"].offsets) != 1 || len(m.groups["g"].classic.members) != 2 || m.groups["g"].classic.leader != "a" || m.groups["g"].classic.member("b").rebalance != 9 {
		t.Errorf("%+v", m.groups["g"].classic)
	}
	if m := apply(group("g"), offset("g", 1), tombstone(group("g"))); m.find("g") != nil || len(m.groups["g"].offsets) != 1 {
		t.Error("offsets go with their own tombstones")
	}
	if m := apply(group("g"), offset("g", 1), tombstone(group("g")), offset("g", 2)); m.find("g") == nil || !m.groups["g"].classic.simple() {
		t.Error("an offset makes a simple group")
	}
	if m := apply(group("g"), offset("g", 1), tombstone(group("g")), tombstone(offset("g", 1))); len(m.groups) != 0 {
		t.Error("something is left")
	}
	if m := apply(tombstone(offset("g", 1)), tombstone(group("g"))); len(m.groups) != 0 {
		t.Error("something is left")
	}
	for _, typ := range []record.Type{record.TypeShareGroupMetadata, record.TypeStreamsGroupMetadata} {
		var v record.Value = &record.ShareGroupMetadata{}
		if typ == record.TypeStreamsGroupMetadata {
			v = &record.StreamsGroupMetadata{}
		}
		k, b := record.Encode(record.Key{Type: typ, Group: "g"}, v)
		if m := apply(offset("g", 1), coord.Record{Key: k, Value: b}); m.find("g") == nil || m.groups["g"].classic != nil {
			t.Error("a group of another kind is known by its name")
		}
		if m := apply(coord.Record{Key: k, Value: b}, coord.Record{Key: k}); len(m.groups) != 0 {
			t.Error("something is left")
		}
	}
	if m := apply(coord.Record{Key: []byte{0x7f, 0xff, 1}}); len(m.groups) != 0 {
		t.Error("unknown records are skipped")
	}
	if err := New(simOptions(rand.New(rand.NewPCG(1, 1))), 0).Apply(coord.Record{Key: []byte{0, 1, 0}}, coord.Origin{}); err == nil {
		t.Error("a damaged record is taken")
	}
}
