package group

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
	"github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire/prim"
)

// rig is one coordinator whose syncs are immediate, for telling stories to.
type rig struct {
	t     *testing.T
	clock *clock.Manual
	log   *coordtest.Log
	opt   Options
	image *meta.Image
	run   *coord.Runtime[*Machine]
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	r := &rig{t: t, clock: clock.NewManual(time.UnixMilli(1_700_000_000_000)), log: coordtest.NewLog(1, false), image: simImage("t", "u")}
	r.opt = simOptions(rand.New(rand.NewPCG(1, 2)))
	r.opt.Settings.InitialRebalanceDelay = 3 * time.Second
	r.opt.Image = func() *meta.Image { return r.image }
	for _, f := range change {
		f(&r.opt)
	}
	r.serve()
	t.Cleanup(func() { r.run.Close() })
	return r
}

func (r *rig) serve() {
	r.run = coord.NewRuntime(coord.Options[*Machine]{Topic: "__consumer_offsets", New: func(p int32) *Machine { return New(r.opt, p) }, Clock: r.clock, Codec: codec.None})
	r.run.SetPartitions(1)
	r.run.Serve(0, r.log)
	r.run.WaitLoaded()
	r.machine(func(*Machine) {})
}

// restart is a crash: soft state is lost.
func (r *rig) restart() {
	r.t.Helper()
	r.run.Close()
	r.log = r.log.Crash(0)
	r.serve()
}

func (r *rig) pass(d time.Duration) {
	r.clock.Advance(d)
	r.run.WaitLoaded()
}

// answer is a reply that may still be parked.
type answer[T any] struct {
	t     *testing.T
	value T
	err   error
	n     int
}

// now is the value, which must be there.
func (a *answer[T]) now() T {
	a.t.Helper()
	if a.n != 1 {
		a.t.Fatalf("answered %d times, expected once", a.n)
	}
	if a.err != nil {
		a.t.Fatal(a.err)
	}
	return a.value
}

func (a *answer[T]) parked() {
	a.t.Helper()
	if a.n != 0 {
		a.t.Fatalf("answered with %+v, %v; expected it to be parked", a.value, a.err)
	}
}

func ask[T any](r *rig, op func(c *coord.Context, m *Machine, done coord.Done[T])) *answer[T] {
	r.t.Helper()
	a := &answer[T]{t: r.t}
	err := r.run.Do("g", func(c *coord.Context, m *Machine) {
		op(c, m, func(v T, err error) { a.value, a.err, a.n = v, err, a.n+1 })
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *rig) machine(f func(m *Machine)) {
	r.t.Helper()
	if err := r.run.Do("g", func(_ *coord.Context, m *Machine) { f(m) }); err != nil {
		r.t.Fatal(err)
	}
}

// state is the group's state, or "none".
func (r *rig) state(id string) (s string) {
	s = "none"
	r.machine(func(m *Machine) {
		if g := m.find(id); g != nil && g.classic != nil {
			s = g.classic.state.String()
		}
	})
	return s
}

func (r *rig) expect(id, state string, generation int32, members int) {
	r.t.Helper()
	r.machine(func(m *Machine) {
		g := m.find(id)
		if g == nil || g.classic == nil {
			r.t.Fatalf("there is no group %s", id)
		}
		if g.classic.state.String() != state || g.classic.generation != generation || len(g.classic.members) != members {
			r.t.Fatalf("group %s: %v generation %d with %d members, expected %s %d %d", id, g.classic.state, g.classic.generation, len(g.classic.members), state, generation, members)
		}
	})
}

// subscription is a consumer's metadata.
func subscription(topics ...string) []byte {
	b := prim.AppendArrayLen(prim.AppendInt16(nil, 1), len(topics))
	for _, s := range topics {
		b = prim.AppendString(b, s)
	}
	return prim.AppendBytes(b, nil)
}

// joinRequest has the protocols "name=metadata", which without "=" subscribe to topic t.
func joinRequest(group, member string, protocols ...string) *kmsg.JoinGroupRequest {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.ProtocolType, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = 9, group, member, "consumer", 10_000, 30_000
	if len(protocols) == 0 {
		protocols = []string{"range"}
	}
	for _, p := range protocols {
		name, metadata, ok := strings.Cut(p, "=")
		x := kmsg.JoinGroupRequestProtocol{Name: name, Metadata: []byte(metadata)}
		if !ok {
			x.Metadata = subscription("t")
		}
		q.Protocols = append(q.Protocols, x)
	}
	return q
}

func (r *rig) join(q *kmsg.JoinGroupRequest) *answer[*kmsg.JoinGroupResponse] {
	r.t.Helper()
	return ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.JoinGroupResponse]) {
		m.Join(c, Client{"app", "/127.0.0.1"}, q, done)
	})
}

// newID gets a member id the way of KIP-394.
func (r *rig) newID(group string, protocols ...string) string {
	r.t.Helper()
	v := r.join(joinRequest(group, "", protocols...)).now()
	if v.ErrorCode != codeMemberIDRequired || !strings.HasPrefix(v.MemberID, "app-") || len(v.MemberID) != 4+36 {
		r.t.Fatalf("first join: %d %q", v.ErrorCode, v.MemberID)
	}
	return v.MemberID
}

func (r *rig) sync(group, member string, generation int32, assignments ...string) *answer[*kmsg.SyncGroupResponse] {
	r.t.Helper()
	q := kmsg.NewPtrSyncGroupRequest()
	q.Version, q.Group, q.MemberID, q.Generation = 5, group, member, generation
	for _, a := range assignments {
		id, what, _ := strings.Cut(a, "=")
		q.GroupAssignment = append(q.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: []byte(what)})
	}
	return ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.SyncGroupResponse]) {
		m.Sync(c, Client{}, q, done)
	})
}

func (r *rig) heartbeat(group, member string, generation int32, instance ...string) int16 {
	r.t.Helper()
	q := kmsg.NewPtrHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.Generation = 4, group, member, generation
	if len(instance) > 0 {
		q.InstanceID = &instance[0]
	}
	return ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.HeartbeatResponse]) {
		m.Heartbeat(c, Client{}, q, done)
	}).now().ErrorCode
}

// leave takes members "id" or "@instance" or "id@instance" out and shows their codes.
func (r *rig) leave(group string, members ...string) string {
	r.t.Helper()
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Version, q.Group = 5, group
	for _, s := range members {
		id, instance, static := strings.Cut(s, "@")
		x := kmsg.LeaveGroupRequestMember{MemberID: id}
		if static {
			x.InstanceID = &instance
		}
		q.Members = append(q.Members, x)
	}
	v := ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.LeaveGroupResponse]) {
		m.Leave(c, Client{}, q, done)
	}).now()
	codes := []int16{}
	for _, x := range v.Members {
		codes = append(codes, x.ErrorCode)
	}
	return fmt.Sprint(v.ErrorCode, codes)
}

// stable makes a group of n members, the first leading, in its first generation.
func (r *rig) stable(group string, n int, protocols ...string) (ids []string) {
	r.t.Helper()
	var joins []*answer[*kmsg.JoinGroupResponse]
	for range n {
		id := r.newID(group, protocols...)
		ids = append(ids, id)
		joins = append(joins, r.join(joinRequest(group, id, protocols...)))
	}
	for i := 0; i < 20 && joins[0].n == 0; i++ {
		r.pass(r.opt.Settings.InitialRebalanceDelay)
	}
	given := []string{}
	for i, id := range ids {
		v := joins[i].now()
		if v.ErrorCode != codeNone || v.Generation != 1 || v.LeaderID != ids[0] {
			r.t.Fatalf("join: %+v", v)
		}
		given = append(given, id+"=a"+fmt.Sprint(i))
	}
	for i := n - 1; i >= 0; i-- {
		var what []string
		if i == 0 {
			what = given
		}
		a := r.sync(group, ids[i], 1, what...)
		if i == 0 && string(a.now().MemberAssignment) != "a0" {
			r.t.Fatalf("sync: %+v", a.now())
		}
	}
	r.expect(group, "Stable", 1, n)
	return ids
}

// commit commits one offset and returns the code.
func (r *rig) commit(group, member string, generation int32, topic string, partition int32, value int64, change ...func(*kmsg.OffsetCommitRequest)) int16 {
	r.t.Helper()
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.MemberID, q.Generation = 9, group, member, generation
	q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, TopicID: r.topicID(topic), Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: partition, Offset: value, LeaderEpoch: 5}}}}
	for _, f := range change {
		f(q)
	}
	return ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.OffsetCommitResponse]) {
		m.CommitOffsets(c, Client{}, q, done)
	}).now().Topics[0].Partitions[0].ErrorCode
}

func (r *rig) topicID(topic string) meta.UUID {
	if t := r.image.Topic(topic); t != nil {
		return t.ID
	}
	return meta.UUID{}
}

// commitInTransaction commits one offset for a producer.
func (r *rig) commitInTransaction(producer int64, group, member string, generation int32, topic string, partition int32, value int64) int16 {
	r.t.Helper()
	q := kmsg.NewPtrTxnOffsetCommitRequest()
	q.Version, q.Group, q.MemberID, q.Generation, q.ProducerID = 5, group, member, generation, producer
	q.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: partition, Offset: value, LeaderEpoch: -1}}}}
	return ask(r, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.TxnOffsetCommitResponse]) {
		m.CommitTransactionalOffsets(c, Client{}, q, done)
	}).now().Topics[0].Partitions[0].ErrorCode
}

func (r *rig) mark(producer int64, commit bool) {
	r.t.Helper()
	if err := r.run.Marker(0, producer, 0, 1, 2, commit, func(error) {}); err != nil {
		r.t.Fatal(err)
	}
}

// fetch shows all offsets of a group: "t-0=5 t-1=7(88)".
func (r *rig) fetch(group string, requireStable bool) string {
	r.t.Helper()
	q := kmsg.NewOffsetFetchRequestGroup()
	q.Group = group
	return show(r.fetchGroup(q, 9, requireStable))
}

func (r *rig) fetchGroup(q kmsg.OffsetFetchRequestGroup, version int16, requireStable bool) kmsg.OffsetFetchResponseGroup {
	r.t.Helper()
	return ask(r, func(c *coord.Context, m *Machine, done coord.Done[kmsg.OffsetFetchResponseGroup]) {
		m.FetchOffsets(c, version, requireStable, &q, done)
	}).now()
}

func show(g kmsg.OffsetFetchResponseGroup) string {
	var list []string
	if g.ErrorCode != codeNone {
		list = append(list, fmt.Sprint("error ", g.ErrorCode))
	}
	for _, t := range g.Topics {
		for _, p := range t.Partitions {
			s := fmt.Sprintf("%s-%d=%d", t.Topic, p.Partition, p.Offset)
			if p.ErrorCode != codeNone {
				s += fmt.Sprintf("(%d)", p.ErrorCode)
			}
			if *p.Metadata != "" {
				s += fmt.Sprintf("[%s]", *p.Metadata)
			}
			list = append(list, s)
		}
	}
	return strings.Join(list, " ")
}

// records are the records in the log from an offset on, as Kafka's tools show them.
func (r *rig) records(from int64) (list []string) {
	r.t.Helper()
	_ = r.log.Load(func(b batch.Batch) error {
		if b.IsControl() {
			return nil
		}
		return b.Each(1<<20, func(x *batch.Record) error {
			if x.Offset < from {
				return nil
			}
			k, v, err := record.JSON(x.Key, x.Value)
			if err != nil {
				r.t.Fatal(err)
			}
			list = append(list, k+" "+v)
			return nil
		})
	})
	return list
}
