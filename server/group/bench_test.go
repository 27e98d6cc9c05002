package group

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
)

// crowd is many stable groups.
type crowd struct {
	clock *clock.Manual
	run   *coord.Runtime[*Machine]
	beats []*kmsg.HeartbeatRequest
}

func newCrowd(tb testing.TB, groups, members int) *crowd {
	c := &crowd{clock: clock.NewManual(time.UnixMilli(1_700_000_000_000))}
	opt := simOptions(rand.New(rand.NewPCG(1, 1)))
	opt.Settings.InitialRebalanceDelay = 3 * time.Second
	c.run = coord.NewRuntime(coord.Options[*Machine]{Topic: "__consumer_offsets", New: func(p int32) *Machine { return New(opt, p) }, Clock: c.clock, Codec: codec.None})
	c.run.SetPartitions(1)
	c.run.Serve(0, coordtest.NewLog(1, false))
	joined := make([][]*kmsg.JoinGroupResponse, groups)
	for g := range groups {
		for range members {
			q := joinRequest(fmt.Sprintf("group-%05d", g), "")
			q.Version, q.SessionTimeoutMillis = 3, 45_000
			if err := c.run.Do("g", func(x *coord.Context, m *Machine) {
				m.Join(x, Client{"consumer-1", "/127.0.0.1"}, q, func(r *kmsg.JoinGroupResponse, err error) { joined[g] = append(joined[g], r) })
			}); err != nil {
				tb.Fatal(err)
			}
		}
	}
	c.clock.Advance(6 * time.Second)
	for g := range joined {
		name := fmt.Sprintf("group-%05d", g)
		var given []kmsg.SyncGroupRequestGroupAssignment
		for _, r := range joined[g] {
			given = append(given, kmsg.SyncGroupRequestGroupAssignment{MemberID: r.MemberID, MemberAssignment: make([]byte, 60)})
		}
		for _, r := range joined[g] {
			q := kmsg.NewPtrSyncGroupRequest()
			q.Group, q.MemberID, q.Generation = name, r.MemberID, 1
			if r.LeaderID == r.MemberID {
				q.GroupAssignment = given
			}
			if err := c.run.Do("g", func(x *coord.Context, m *Machine) {
				m.Sync(x, Client{}, q, func(r *kmsg.SyncGroupResponse, err error) {
					if err != nil || r.ErrorCode != codeNone {
						tb.Error(err, r)
					}
				})
			}); err != nil {
				tb.Fatal(err)
			}
			beat := kmsg.NewPtrHeartbeatRequest()
			beat.Group, beat.MemberID, beat.Generation = name, r.MemberID, 1
			c.beats = append(c.beats, beat)
		}
	}
	return c
}

func (c *crowd) beat(tb testing.TB, q *kmsg.HeartbeatRequest) {
	ok := false
	if err := c.run.Do("g", func(x *coord.Context, m *Machine) {
		m.Heartbeat(x, Client{}, q, func(r *kmsg.HeartbeatResponse, err error) { ok = err == nil && r.ErrorCode == codeNone })
	}); err != nil || !ok {
		tb.Fatal("heartbeat refused", err)
	}
}

// What 1,000 groups of 10 members keep on the heap, and that an hour of their heartbeats leaves nothing behind.
func TestMemoryOfManyGroups(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := newCrowd(t, 1000, 10)
	for range 20 {
		c.clock.Advance(3 * time.Second)
		for _, q := range c.beats {
			c.beat(t, q)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perMember := int64(after.HeapAlloc-before.HeapAlloc) / int64(len(c.beats))
	t.Logf("%d bytes a member", perMember)
	if perMember > 3000 { // the log in memory and the requests of this test included
		t.Errorf("%d bytes a member", perMember)
	}
	runtime.KeepAlive(c)
}

func BenchmarkHeartbeat(b *testing.B) {
	for _, size := range []int{10, 1000} {
		b.Run(fmt.Sprint("members=", size), func(b *testing.B) {
			c := newCrowd(b, 1000/size, size)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				c.beat(b, c.beats[i%len(c.beats)])
			}
		})
	}
}

func BenchmarkCommit(b *testing.B) {
	c := newCrowd(b, 1, 1)
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.MemberID, q.Generation = 9, c.beats[0].Group, c.beats[0].MemberID, 1
	q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", TopicID: simImage("t").Topic("t").ID}}
	for p := range int32(6) {
		q.Topics[0].Partitions = append(q.Topics[0].Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: p})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if i%10_000 == 0 {
			b.StopTimer()
			c = newCrowd(b, 1, 1) // the log in memory grows
			q.MemberID = c.beats[0].MemberID
			b.StartTimer()
		}
		if err := c.run.Do("g", func(x *coord.Context, m *Machine) {
			m.CommitOffsets(x, Client{}, q, func(r *kmsg.OffsetCommitResponse, err error) {
				if r.Topics[0].Partitions[0].ErrorCode != codeNone {
					b.Error(r)
				}
			})
		}); err != nil {
			b.Fatal(err)
		}
	}
}
