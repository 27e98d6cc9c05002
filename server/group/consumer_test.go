package group

import (
	"archive/tar"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
	"github.com/gregor-broker/gregor/server/group/assign"
	"github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/server/meta"
)

// imageOf has topics of that many partitions each.
func imageOf(tb testing.TB, partitions int32, names ...string) *meta.Image {
	d := meta.NewDelta(&meta.Image{})
	for i, name := range names {
		id := meta.UUID{1, byte(i >> 8), byte(i)}
		for _, r := range append([]meta.Record{&meta.TopicRecord{Name: name, TopicID: id}}, partitionRecords(id, 0, partitions)...) {
			if err := d.Apply(r); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return d.Image(1, 1)
}

// beat sends a heartbeat of a KIP-848 member.
func (r *rig) beat(q *kmsg.ConsumerGroupHeartbeatRequest) (got *kmsg.ConsumerGroupHeartbeatResponse) {
	r.t.Helper()
	if err := r.run.DoAt(0, func(c *coord.Context, m *Machine) {
		m.ConsumerHeartbeat(c, Client{"client", "/127.0.0.1"}, q, func(a *kmsg.ConsumerGroupHeartbeatResponse, err error) {
			if err != nil {
				r.t.Fatal(err)
			}
			got = a
		})
	}); err != nil {
		r.t.Fatal(err)
	}
	return got
}

func beatOf(group, member string, epoch int32, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.MemberEpoch = 1, group, member, epoch
	if epoch == 0 {
		q.RebalanceTimeoutMillis, q.SubscribedTopicNames, q.Topics = 60_000, append([]string{}, topics...), []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return q
}

// apply puts records into a log, as a Kafka that had it before.
func apply(t *testing.T, l *coordtest.Log, records ...coord.Record) {
	b := batch.NewBuilder(codec.None)
	for _, r := range records {
		b.Append(1, r.Key, r.Value)
	}
	if err := l.Append(b.Bytes(), ignored{}); err != nil {
		t.Fatal(err)
	}
}

type ignored struct{}

func (ignored) Synced(error) {}

func encoded(k record.Key, v record.Value) coord.Record {
	key, value := record.Encode(k, v)
	return coord.Record{Key: key, Value: value}
}

// TestOldRecords: what Kafka 4.0 wrote has no assignment epochs, no hash and a record too many.
func TestOldRecords(t *testing.T) {
	r := newRig(t)
	id := record.UUID(r.image.Topic("t").ID)
	apply(t, r.log,
		encoded(record.Key{Type: record.TypeConsumerGroupCurrentMemberAssignment, Group: "g", Member: "a"}, &record.ConsumerGroupCurrentMemberAssignment{MemberEpoch: 5, PreviousMemberEpoch: 4,
			AssignedPartitions: []record.TopicPartitions{{TopicID: id, Partitions: []int32{3, 1, 0, 2, 5, 4}, AssignmentEpochs: []int32{}}}}),
		encoded(record.Key{Type: record.TypeConsumerGroupPartitionMetadata, Group: "g"}, &record.ConsumerGroupPartitionMetadata{}),
		encoded(record.Key{Type: record.TypeConsumerGroupMemberMetadata, Group: "g", Member: "a"}, &record.ConsumerGroupMemberMetadata{ClientID: "client", ClientHost: "/127.0.0.1", SubscribedTopicNames: []string{"t"}, RebalanceTimeoutMs: 1000}),
		encoded(record.Key{Type: record.TypeConsumerGroupMetadata, Group: "g"}, &record.ConsumerGroupMetadata{Epoch: 5}),
		encoded(record.Key{Type: record.TypeConsumerGroupTargetAssignmentMember, Group: "g", Member: "a"}, &record.TargetAssignmentMember{
			TopicPartitions: []record.TopicPartitions{{TopicID: id, Partitions: []int32{0, 1, 2, 3, 4, 5}}}}),
		encoded(record.Key{Type: record.TypeConsumerGroupTargetAssignmentMetadata, Group: "g"}, &record.TargetAssignmentMetadata{AssignmentEpoch: 5}),
	)
	r.restart()
	// The hash was not known: the epoch rises once, and nothing moves.
	if a := r.beat(beatOf("g", "a", 5)); a.ErrorCode != codeNone || a.MemberEpoch != 6 || a.Assignment != nil {
		t.Fatalf("%+v", a)
	}
	if a := r.beat(beatOf("g", "a", 6)); a.ErrorCode != codeNone || a.MemberEpoch != 6 {
		t.Fatalf("%+v", a)
	}
	r.peek(func(m *Machine) {
		g := m.groups["g"].consumer
		if g.oldMetadata {
			t.Error("the record of Kafka 4.0 was not removed")
		}
		if since, ok := g.member("a").assigned.epoch(assign.TopicID(id), 3); !ok || since != 5 {
			t.Errorf("partition 3 was assigned in epoch %d", since)
		}
	})
}

func (r *rig) peek(f func(m *Machine)) {
	if err := r.run.DoAt(0, func(_ *coord.Context, m *Machine) { f(m) }); err != nil {
		r.t.Fatal(err)
	}
}

// TestUnknownState: a member in a state of a later release gives up everything and starts again.
func TestUnknownState(t *testing.T) {
	r := newRig(t)
	r.beat(beatOf("g", "a", 0, "t"))
	id := record.UUID(r.image.Topic("t").ID)
	apply(t, r.log, encoded(record.Key{Type: record.TypeConsumerGroupCurrentMemberAssignment, Group: "g", Member: "a"}, &record.ConsumerGroupCurrentMemberAssignment{MemberEpoch: 2, State: 77,
		AssignedPartitions: []record.TopicPartitions{{TopicID: id, Partitions: []int32{0}, AssignmentEpochs: []int32{2}}}}))
	r.restart()
	if a := r.beat(beatOf("g", "a", 2)); a.ErrorCode != codeFencedMemberEpoch {
		t.Fatalf("%+v", a)
	}
	if a := r.beat(beatOf("g", "a", 0, "t")); a.ErrorCode != codeNone || a.Assignment == nil || len(a.Assignment.Topics[0].Partitions) != simPartitions {
		t.Fatalf("%+v", a)
	}
}

// TestStaticJoinAgain: a static member whose join was not answered asks again under its id, as often as it takes, over a restart of the broker
// too; another member id finds the place taken.
func TestStaticJoinAgain(t *testing.T) {
	r := newRig(t)
	instance := "i"
	join := func(id string) *kmsg.ConsumerGroupHeartbeatResponse {
		q := beatOf("g", id, 0, "t")
		q.InstanceID = &instance
		return r.beat(q)
	}
	whole := func(a *kmsg.ConsumerGroupHeartbeatResponse) bool {
		return a.ErrorCode == codeNone && a.MemberEpoch == 2 && a.Assignment != nil && len(a.Assignment.Topics[0].Partitions) == simPartitions
	}
	join("a")
	for range 2 {
		if a := join("a"); !whole(a) {
			t.Fatalf("%+v", a)
		}
		if a := join("b"); a.ErrorCode != codeUnreleasedInstanceID {
			t.Fatalf("%+v", a)
		}
		r.restart()
	}
	q := beatOf("g", "a", 2)
	q.InstanceID = &instance
	if a := r.beat(q); a.ErrorCode != codeNone {
		t.Fatalf("%+v", a)
	}
}

// TestAssignors: names and class names of group.consumer.assignors, and what is not known here.
func TestAssignors(t *testing.T) {
	for _, c := range []struct {
		configured []string
		want       string
	}{
		{[]string{"uniform", "range"}, "uniform range"},
		{[]string{"org.apache.kafka.coordinator.group.assignor.RangeAssignor", "com.example.Own"}, "range"},
		{nil, "uniform"},
	} {
		r := newRig(t, func(o *Options) { o.Settings.Consumer.Assignors = c.configured })
		r.peek(func(m *Machine) {
			if got := strings.Join(m.assignorNames(), " "); got != c.want {
				t.Errorf("%v: %s, want %s", c.configured, got, c.want)
			}
		})
	}
}

// TestPatternLimits: what a regular expression may cost.
func TestPatternLimits(t *testing.T) {
	for _, regex := range []string{"(" + strings.Repeat("a", 200) + "){500}", strings.Repeat("a", patternLimit+1), "((a{30}){30}){30}", "a[", "x{1001}", "(?=a)"} {
		if _, _, err := compile(regex); err == nil {
			t.Errorf("%.40s is taken", regex)
		}
	}
	for regex, names := range map[string][2]string{
		"a|b":      {"b", "ab"},
		"orders.*": {"orders-1", "my-orders"},
		`\Qa.b\E`:  {"a.b", "axb"},
		"(?i)ABC":  {"abc", "abcd"},
		"":         {"", "a"},
		"^a$":      {"a", "aa"},
		`[\w.-]+`:  {"a.b-c_d", "a b"},
	} {
		re, _, err := compile(regex)
		if err != nil || !re.MatchString(names[0]) || re.MatchString(names[1]) {
			t.Errorf("%s: %v", regex, err)
		}
	}
}

// TestPatternPortions: many topics and a costly regular expression are matched in many operations, and in between others have their turn.
func TestPatternPortions(t *testing.T) {
	names := make([]string, 3000)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%04d", strings.Repeat("long", 10), i)
	}
	image := imageOf(t, 1, names...)
	r := newRig(t, func(o *Options) { o.Settings.Consumer.RegexRefresh = 10 * time.Minute })
	r.image = image
	q := beatOf("g", "a", 0)
	regex := "(" + strings.Repeat("long", 10) + "-0){1}(0|1|2|3|4|5|6|7|8|9|" + strings.Repeat("x", 3000) + ")*"
	q.SubscribedTopicRegex = &regex
	if a := r.beat(q); a.ErrorCode != codeNone {
		t.Fatalf("%+v", a)
	}
	portions := 0
	for working := true; working && portions < 10_000; portions++ {
		r.clock.Advance(time.Millisecond)
		r.peek(func(m *Machine) { working = m.groups["g"].consumer.resolving != nil })
	}
	if portions < 100 {
		t.Errorf("done in %d portions", portions)
	}
	r.peek(func(m *Machine) {
		if n := len(m.groups["g"].consumer.matched[regex].topics); n != 1000 {
			t.Errorf("%d topics match", n)
		}
	})
}

// TestGolden loads what brokers of Kafka 4.0.0 and 4.3.1 left behind.
func TestGolden(t *testing.T) {
	archives, err := filepath.Glob("../../tools/interop/testdata/golden/*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatal("no golden directories", err)
	}
	for _, name := range archives {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]int{}
		for files := tar.NewReader(z); ; {
			h, err := files.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(h.Name, "__consumer_offsets-") || !strings.HasSuffix(h.Name, ".log") {
				continue
			}
			b, err := io.ReadAll(files)
			if err != nil {
				t.Fatal(err)
			}
			r := newRig(t)
			for len(b) >= batch.HeaderSize {
				size := 12 + int(binary.BigEndian.Uint32(b[8:]))
				if size > len(b) {
					break
				}
				if err := r.log.Append(batch.Batch(b[:size]), ignored{}); err != nil {
					t.Fatal(err)
				}
				b = b[size:]
			}
			r.restart()
			r.peek(func(m *Machine) {
				for _, g := range m.groups {
					switch {
					case g.consumer != nil:
						kinds["consumer "+g.consumer.state()]++
						for _, x := range g.consumer.members {
							if x.assigned == nil || g.consumer.targets[x.id] == nil {
								kinds["without partitions"]++
							}
						}
					case g.classic != nil:
						kinds["classic"]++
					}
				}
			})
		}
		_ = f.Close()
		t.Logf("%s: %v", filepath.Base(name), kinds)
		if kinds["classic"] == 0 || kinds["consumer Empty"]+kinds["consumer Stable"]+kinds["consumer Assigning"] == 0 {
			t.Errorf("%s: %v", name, kinds)
		}
	}
}

// FuzzConsumerProtocol: what consumers of the classic protocol say of themselves breaks nothing, and an assignment is read as it was
// written.
func FuzzConsumerProtocol(f *testing.F) {
	m := kmsg.ConsumerMemberMetadata{Version: 3, Topics: []string{"t"}, OwnedPartitions: []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "t", Partitions: []int32{1}}}}
	f.Add(m.AppendTo(nil))
	a := kmsg.ConsumerMemberAssignment{Version: 1, Topics: []kmsg.ConsumerMemberAssignmentTopic{{Topic: "t", Partitions: []int32{1, 2}}}}
	f.Add(a.AppendTo(nil))
	f.Add([]byte{0, 1, 0x7f, 0xff, 0xff, 0xff})
	image := simImage(simTopic)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := readSubscription(b)
		list, _, readable := readAssignment(b)
		if ok {
			byID(image, s.owned)
		}
		if !readable {
			return
		}
		want := byID(image, list)
		written := writeAssignment(1, image, func(yield func(assign.TopicID, []int32)) {
			for _, p := range want {
				yield(p.Topic, p.Partitions)
			}
		})
		again, custom, ok := readAssignment(written)
		if !ok || custom || !byID(image, again).Equal(want) {
			t.Fatalf("%v is read as %v", want, again)
		}
	})
}

// modernCrowd is a stable KIP-848 group.
func modernCrowd(tb testing.TB, members, topics int, partitions int32) (run *coord.Runtime[*Machine], now *clock.Manual, beats []*kmsg.ConsumerGroupHeartbeatRequest, names []string) {
	for i := range topics {
		names = append(names, fmt.Sprint("topic-", i))
	}
	image := imageOf(tb, partitions, names...)
	now = clock.NewManual(time.UnixMilli(1_700_000_000_000))
	opt := simOptions(rand.New(rand.NewPCG(1, 1)))
	opt.GroupConfig = func(string) (int64, int64, int64) { return 45_000, 5000, 0 }
	opt.Image = func() *meta.Image { return image }
	run = coord.NewRuntime(coord.Options[*Machine]{Topic: "__consumer_offsets", New: func(p int32) *Machine { return New(opt, p) }, Clock: now, Codec: codec.None})
	run.SetPartitions(1)
	run.Serve(0, coordtest.NewLog(1, false))
	for i := range members {
		beats = append(beats, beatOf("g", fmt.Sprintf("member-%04d", i), 0, names...))
	}
	settleAll(tb, run, beats)
	return run, now, beats, names
}

// settleAll sends heartbeats, as members do that revoke at once, until everybody has what the target says.
func settleAll(tb testing.TB, run *coord.Runtime[*Machine], beats []*kmsg.ConsumerGroupHeartbeatRequest) (heartbeats int) {
	who := Client{"client", "/127.0.0.1"}
	for range 20 {
		stable := false
		for i, q := range beats {
			heartbeats++
			if err := run.DoAt(0, func(c *coord.Context, m *Machine) {
				m.ConsumerHeartbeat(c, who, q, func(r *kmsg.ConsumerGroupHeartbeatResponse, err error) {
					if err != nil || r.ErrorCode != codeNone {
						tb.Fatal(err, r)
					}
					next := beatOf(q.Group, q.MemberID, r.MemberEpoch)
					next.Topics = q.Topics
					if r.Assignment != nil {
						next.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
						for _, t := range r.Assignment.Topics {
							next.Topics = append(next.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
						}
					}
					beats[i] = next
				})
				stable = m.groups["g"].consumer.state() == "Stable"
			}); err != nil {
				tb.Fatal(err)
			}
		}
		if stable {
			return heartbeats
		}
	}
	tb.Fatal("the group does not settle")
	return 0
}

// TestSteadyHeartbeat: a heartbeat that changes nothing allocates no more than its answer and the operation.
func TestSteadyHeartbeat(t *testing.T) {
	run, _, beats, _ := modernCrowd(t, 20, 4, 10)
	q := beats[3]
	q.Topics = nil
	who := Client{"client", "/127.0.0.1"}
	done := coord.Done[*kmsg.ConsumerGroupHeartbeatResponse](func(r *kmsg.ConsumerGroupHeartbeatResponse, err error) {
		if err != nil || r.ErrorCode != codeNone {
			t.Fatal(err, r)
		}
	})
	op := func(c *coord.Context, m *Machine) { m.ConsumerHeartbeat(c, who, q, done) }
	if n := testing.AllocsPerRun(200, func() {
		if err := run.DoAt(0, op); err != nil {
			t.Fatal(err)
		}
	}); n > 8 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkConsumerHeartbeat(b *testing.B) {
	run, _, beats, _ := modernCrowd(b, 100, 10, 100)
	q := beats[50]
	q.Topics = nil
	who := Client{"client", "/127.0.0.1"}
	done := coord.Done[*kmsg.ConsumerGroupHeartbeatResponse](func(*kmsg.ConsumerGroupHeartbeatResponse, error) {})
	op := func(c *coord.Context, m *Machine) { m.ConsumerHeartbeat(c, who, q, done) }
	b.ReportAllocs()
	for b.Loop() {
		if err := run.DoAt(0, op); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConsumerRebalance is one member leaving a group of 100 with 1,000 partitions and coming back, until all are settled.
func BenchmarkConsumerRebalance(b *testing.B) {
	run, _, beats, names := modernCrowd(b, 100, 10, 100)
	who := Client{"client", "/127.0.0.1"}
	b.ReportAllocs()
	total := 0
	for b.Loop() {
		leave := beatOf("g", beats[99].MemberID, left)
		if err := run.DoAt(0, func(c *coord.Context, m *Machine) {
			m.ConsumerHeartbeat(c, who, leave, func(*kmsg.ConsumerGroupHeartbeatResponse, error) {})
		}); err != nil {
			b.Fatal(err)
		}
		total += settleAll(b, run, beats[:99])
		beats[99] = beatOf("g", beats[99].MemberID, 0, names...)
		total += settleAll(b, run, beats)
	}
	b.ReportMetric(float64(total)/float64(b.N), "heartbeats/op")
}
