package suites

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/raw"
	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	loadGroups  = 1000
	loadMembers = 10
	loadTopic   = "load"
	// What Kafka's own clients and brokers do when nobody sets anything.
	classicPeriod  = 3 * time.Second
	consumerPeriod = 5 * time.Second
	loadWindow     = 20 * time.Second
	crowd          = 100 // members of the group whose rebalance is measured
)

// groupload measures what groups cost: a thousand of ten members that only send heartbeats, and bulk produce beside
// them. It prints figures; only what does not work at all is a failure.
func groupload(s *rig.S) {
	s.With(func(b *rig.Broker) {
		for _, protocol := range []string{"classic", "consumer"} {
			var seats []seat
			if s.Test(protocol+"/groups", 5*time.Minute, func(t *rig.T) { seats = seatAll(t, b, protocol) }) {
				s.Test(protocol+"/steady", 5*time.Minute, func(t *rig.T) { steady(t, b, protocol, seats) })
				s.Test(protocol+"/beside-bulk-produce", 5*time.Minute, func(t *rig.T) { besideBulk(t, b, protocol, seats) })
			}
		}
	}, loadConfig...)
}

// grouprebalance measures the rebalance of one group of a hundred members, without any of the delays that are
// configured: heartbeats and assignments come as fast as they can.
func grouprebalance(s *rig.S) {
	s.With(func(b *rig.Broker) {
		s.Test("classic", 3*time.Minute, func(t *rig.T) { classicRebalance(t, b) })
		s.Test("consumer", 3*time.Minute, func(t *rig.T) { consumerRebalance(t, b) })
	}, loadConfig...)
}

var loadConfig = []string{
	"group.initial.rebalance.delay.ms=300", "group.max.session.timeout.ms=1800000", "group.consumer.max.session.timeout.ms=1800000",
	"group.consumer.session.timeout.ms=600000", "group.consumer.min.heartbeat.interval.ms=10", "group.consumer.assignment.interval.ms=0",
	"log.retention.ms=20000", "log.segment.bytes=104857600", "log.retention.check.interval.ms=5000", "offsets.topic.num.partitions=50",
}

// seatAll makes the groups and fills them.
func seatAll(t *rig.T, b *rig.Broker, protocol string) []seat {
	topic := loadTopic + "-" + protocol
	createTopic(t, b, topic, loadMembers, nil)
	began := time.Now()
	const workers = 20
	seats := make([][]seat, loadGroups)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			conns := make([]*raw.Conn, loadMembers)
			for i := range conns {
				c, err := raw.Dial(t.Context(), b.Addr)
				if err != nil {
					errs[w] = err
					return
				}
				defer func() { _ = c.Close() }()
				conns[i] = c
			}
			for g := w; g < loadGroups; g += workers {
				group := fmt.Sprintf("load-%s-%04d", protocol, g)
				if err := untilCoordinated(conns[0], group); err != nil {
					errs[w] = err
					return
				}
				if protocol == "classic" {
					seats[g], errs[w] = sit(t.Context(), conns, group, topic, loadMembers)
				} else {
					seats[g], errs[w] = sitConsumer(t.Context(), conns[0], group, topic, loadMembers, loadMembers)
				}
				if protocol == "classic" && errs[w] == nil {
					errs[w] = allAgree(t.Context(), conns, seats[g], topic, loadMembers)
				}
				if errs[w] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	t.Must(errors.Join(errs...), "members")
	all := slices.Concat(seats...)
	t.Note("%s: %d members in %d groups within %s", protocol, len(all), loadGroups, time.Since(began).Round(10*time.Millisecond))
	return all
}

// untilCoordinated asks for the group's coordinator until there is one.
func untilCoordinated(c *raw.Conn, group string) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.SetVersion(2)
		q.CoordinatorKey = group
		resp, err := raw.Ask[*kmsg.FindCoordinatorResponse](c, q)
		if err != nil || resp.ErrorCode == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("coordinator of %s: error code %d", group, resp.ErrorCode)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// consumerMember is a member of a consumer protocol group that does at once what it is told.
type consumerMember struct {
	seat
	owned []kmsg.ConsumerGroupHeartbeatRequestTopic
	parts int
	news  bool // it has to say what it owns
}

// beat sends one heartbeat and takes over what the answer says.
func (m *consumerMember) beat(c *raw.Conn, topic string) error {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.SetVersion(1)
	q.Group, q.MemberID, q.MemberEpoch, q.RebalanceTimeoutMillis = m.group, m.id, m.generation, -1
	if m.generation == 0 {
		q.RebalanceTimeoutMillis, q.SubscribedTopicNames, q.Topics = 60_000, []string{topic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	if m.news {
		q.Topics = append([]kmsg.ConsumerGroupHeartbeatRequestTopic{}, m.owned...)
	}
	resp, err := raw.Ask[*kmsg.ConsumerGroupHeartbeatResponse](c, q)
	if err != nil {
		return err
	}
	switch resp.ErrorCode {
	case 0:
	case 14, 15, 16:
		time.Sleep(5 * time.Millisecond)
		return nil
	default:
		return fmt.Errorf("ConsumerGroupHeartbeat of %s: error code %d", m.group, resp.ErrorCode)
	}
	m.generation, m.news = resp.MemberEpoch, false
	if resp.Assignment != nil {
		m.owned, m.parts, m.news = nil, 0, true
		for _, at := range resp.Assignment.Topics {
			m.owned = append(m.owned, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: at.TopicID, Partitions: at.Partitions})
			m.parts += len(at.Partitions)
		}
	}
	return nil
}

// sitConsumer has n members join over one connection and beat until each has its part of the partitions.
func sitConsumer(ctx context.Context, c *raw.Conn, group, topic string, n, partitions int) ([]seat, error) {
	members := make([]*consumerMember, n)
	for i := range members {
		members[i] = &consumerMember{seat: seat{group: group, id: fmt.Sprintf("%s-member-%03d-xxxxxxxxxx", group, i)}}
	}
	if err := reconcile(ctx, func(*consumerMember) *raw.Conn { return c }, members, topic, partitions); err != nil {
		return nil, err
	}
	var out []seat
	for _, m := range members {
		out = append(out, m.seat)
	}
	return out, nil
}

// reconcile has all members beat in turn until they share the partitions evenly and are in one epoch.
func reconcile(ctx context.Context, conn func(*consumerMember) *raw.Conn, members []*consumerMember, topic string, partitions int) error {
	for ctx.Err() == nil {
		settled, owned := true, 0
		for _, m := range members {
			if err := m.beat(conn(m), topic); err != nil {
				return err
			}
			owned += m.parts
			settled = settled && m.generation == members[0].generation && !m.news && m.parts <= (partitions+len(members)-1)/len(members)
		}
		if settled && owned == partitions {
			return nil
		}
	}
	return ctx.Err()
}

// used is the processor time of a process so far.
func used(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it, in 1/100 s.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var sum int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond, nil
}

// cost is the broker's processor time per second while frames are sent, and how many answers came in a second.
func cost(t *rig.T, b *rig.Broker, frames [][]byte, period, window time.Duration, errorAt int) (cpu, rate float64) {
	var f *fleet
	if frames != nil {
		f = launch(b.Addr, frames, period, errorAt)
		time.Sleep(period / 2) // it has come to its pace
	}
	from, err := used(b.Pid())
	t.Must(err, "processor time")
	answered, began := int64(0), time.Now()
	if f != nil {
		answered = f.answered.Load()
	}
	select {
	case <-time.After(window):
	case <-t.Context().Done():
	}
	to, err := used(b.Pid())
	t.Must(err, "processor time")
	seconds := time.Since(began).Seconds()
	if f != nil {
		rate = float64(f.answered.Load()-answered) / seconds
		t.Must(f.land(), "answers")
	}
	return (to - from).Seconds() / seconds, rate
}

func frames(seats []seat, of func(seat) []byte) [][]byte {
	var out [][]byte
	for _, s := range seats {
		out = append(out, of(s))
	}
	return out
}

// heartbeats are the frames of a protocol, how often each is sent, and where an answer's error code stands.
func heartbeats(protocol string, seats []seat) ([][]byte, time.Duration, int) {
	if protocol == "consumer" {
		return frames(seats, consumerHeartbeatFrame), consumerPeriod, 9
	}
	return frames(seats, heartbeatFrame), classicPeriod, 8
}

// steady measures the broker while all members beat, and what as many cheap questions of the same size cost.
func steady(t *rig.T, b *rig.Broker, protocol string, seats []seat) {
	beats, period, errorAt := heartbeats(protocol, seats)
	cheap := frames(seats, cheapFrame)
	quiet, _ := cost(t, b, nil, 0, loadWindow/2, 0)
	var beating, asking []float64
	var rate float64
	for range 2 {
		var cpu float64
		cpu, rate = cost(t, b, beats, period, loadWindow, errorAt)
		beating = append(beating, cpu)
		cpu, _ = cost(t, b, cheap, period, loadWindow, 8)
		asking = append(asking, cpu)
	}
	resident, err := b.Resident()
	t.Must(err, "memory")
	anonymous, err := b.Anonymous()
	t.Must(err, "memory")
	h, q := slices.Min(beating), slices.Min(asking)
	t.Note("%s: %.0f heartbeats/s cost %.1f %% of a processor (%.1f µs each), as many FindCoordinator of that size %.1f %% (%.1f µs each): %.1f %% beyond; without either %.1f %%",
		protocol, rate, 100*h, 1e6*h/rate, 100*q, 1e6*q/rate, 100*(h-q), 100*quiet)
	t.Note("%s: %.1f MiB resident, %.1f MiB of them anonymous", protocol, float64(resident)/(1<<20), float64(anonymous)/(1<<20))
}

// besideBulk measures bulk produce alone and beside the heartbeats, alternating.
func besideBulk(t *rig.T, b *rig.Broker, protocol string, seats []seat) {
	topic := rig.Name("bulk")
	createTopic(t, b, topic, 1, nil)
	beats, period, errorAt := heartbeats(protocol, seats)
	var alone, beside []float64
	for range 4 {
		alone = append(alone, bulk(t, b, topic, 5*time.Second))
		f := launch(b.Addr, beats, period, errorAt)
		beside = append(beside, bulk(t, b, topic, 5*time.Second))
		t.Must(f.land(), "heartbeats")
	}
	slices.Sort(alone)
	slices.Sort(beside)
	a, w := (alone[1]+alone[2])/2, (beside[1]+beside[2])/2
	t.Note("%s: bulk produce alone %.0f MiB/s, beside the heartbeats %.0f MiB/s: %.2f", protocol, a, w, w/a)
}

// bulk sends requests of 1 MiB, five in flight on one connection, and returns MiB a second.
func bulk(t *rig.T, b *rig.Broker, topic string, window time.Duration) float64 {
	c, err := raw.Dial(t.Context(), b.Addr)
	t.Must(err, "connection")
	defer func() { _ = c.Close() }()
	values := make([][]byte, 1000)
	for i := range values {
		values[i] = make([]byte, 1024)
		for j := range values[i] {
			values[i][j] = byte(mix(uint64(i*1024 + j)))
		}
	}
	q := raw.ProduceRequest(topic, 0, raw.Batch(values...))
	wire := frame(q)
	began, done := time.Now(), 0
	for range 5 {
		_, err := c.Write(wire)
		t.Must(err, "produce")
	}
	for {
		answer, err := c.Frame()
		t.Must(err, "produce")
		resp := kmsg.NewPtrProduceResponse()
		resp.SetVersion(9)
		t.Must(resp.ReadFrom(answer[5:]), "produce")
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
			t.Fatalf("produce: error code %d", code)
		}
		done++
		if spent := time.Since(began); spent >= window {
			return float64(done) * float64(len(wire)) / (1 << 20) / spent.Seconds()
		}
		_, err = c.Write(wire)
		t.Must(err, "produce")
	}
}

// classicRebalance measures a rebalance of a group from the moment at which its members know of it, all at once, until
// the last one has its SyncGroup answered.
func classicRebalance(t *rig.T, b *rig.Broker) {
	topic, group := rig.Name("crowd"), rig.Name("crowd")
	createTopic(t, b, topic, 2*crowd, nil)
	conns := dialAll(t, b, crowd)
	t.Must(untilCoordinated(conns[0], group), "coordinator")
	seats, err := sit(t.Context(), conns, group, topic, 2*crowd)
	t.Must(err, "first generation")
	t.Must(allAgree(t.Context(), conns, seats, topic, 2*crowd), "first generation")
	var times []time.Duration
	for range 10 {
		// The leader joins again, which begins a rebalance. A member that beats is told so; what is measured begins there.
		leader := slices.IndexFunc(seats, func(s seat) bool { return s.leads })
		rejoined := make(chan error, 1)
		go func() {
			var err error
			seats[leader], err = joinAndSync(conns[leader], group, topic, 2*crowd, seats[leader].id)
			rejoined <- err
		}()
		other := (leader + 1) % crowd
		for {
			code, err := beatOnce(conns[other], seats[other])
			t.Must(err, "heartbeat")
			if code == 27 {
				break
			}
			t.Must(t.Context().Err(), "the rebalance does not begin")
		}
		began := time.Now()
		t.Must(rejoinAll(conns, seats, topic, 2*crowd, func(i int) bool { return i != leader }), "rebalance")
		t.Must(<-rejoined, "rebalance")
		times = append(times, time.Since(began))
		t.Must(allAgree(t.Context(), conns, seats, topic, 2*crowd), "rebalance")
	}
	slices.Sort(times)
	t.Note("classic: a rebalance of %d members from when they know of it: median %s, worst %s", crowd, times[len(times)/2].Round(10*time.Microsecond), times[len(times)-1].Round(10*time.Microsecond))
}

// consumerRebalance measures how long it takes until all members of a group are in the new epoch with their new share
// after one has joined or left, with members that beat all the time.
func consumerRebalance(t *rig.T, b *rig.Broker) {
	topic, group := rig.Name("crowd"), rig.Name("crowd")
	const partitions = 2 * crowd
	createTopic(t, b, topic, partitions, nil)
	conns := dialAll(t, b, 1)
	t.Must(untilCoordinated(conns[0], group), "coordinator")
	c := conns[0]
	conn := func(*consumerMember) *raw.Conn { return c }
	var members []*consumerMember
	for i := range crowd {
		members = append(members, &consumerMember{seat: seat{group: group, id: fmt.Sprintf("member-%03d-xxxxxxxxxx", i)}})
	}
	t.Must(reconcile(t.Context(), conn, members, topic, partitions), "first assignment")
	var joins, leaves []time.Duration
	for i := range 10 {
		m := &consumerMember{seat: seat{group: group, id: fmt.Sprintf("guest-%03d-xxxxxxxxxxx", i)}}
		began := time.Now()
		t.Must(reconcile(t.Context(), conn, append([]*consumerMember{m}, members...), topic, partitions), "after a member came")
		joins = append(joins, time.Since(began))
		began = time.Now()
		m.generation = -1
		q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		q.SetVersion(1)
		q.Group, q.MemberID, q.MemberEpoch, q.RebalanceTimeoutMillis = group, m.id, -1, -1
		_, err := raw.Ask[*kmsg.ConsumerGroupHeartbeatResponse](c, q)
		t.Must(err, "leave")
		t.Must(reconcile(t.Context(), conn, members, topic, partitions), "after it left")
		leaves = append(leaves, time.Since(began))
	}
	slices.Sort(joins)
	slices.Sort(leaves)
	t.Note("consumer: %d members, all settled after one came: median %s, worst %s; after it left: median %s, worst %s", crowd,
		joins[5].Round(10*time.Microsecond), joins[9].Round(10*time.Microsecond), leaves[5].Round(10*time.Microsecond), leaves[9].Round(10*time.Microsecond))
}

func dialAll(t *rig.T, b *rig.Broker, n int) []*raw.Conn {
	var out []*raw.Conn
	for range n {
		c, err := raw.Dial(t.Context(), b.Addr)
		t.Must(err, "connection")
		t.Cleanup(func() { _ = c.Close() })
		out = append(out, c)
	}
	return out
}
