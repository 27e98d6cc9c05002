package suites

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	groupPartitions = 6
	groupPace       = 150              // records a second and topic
	groupPatience   = 75 * time.Second // until a group has found itself again; a killed Kafka is away for 20 of them
)

// groupKind is one way of being in a group: a client with a protocol and an assignor.
type groupKind struct {
	name     string
	protocol string // classic or consumer
	static   bool   // members keep their places over a restart
	calm     bool   // and nobody else notices; a restarted leader of franz-go may ask for another plan on its own
	join     func(g *groupUnderTest, name string) (member, error)
}

// late says that a commit which a rebalance catches waits in the client's queue and is sent in the name of the next generation,
// when the partition may have another owner; every broker takes it.
func (k *groupKind) late() bool { return k.name == "segmentio" }

// groupUnderTest is a group of that kind on a topic of its own.
type groupUnderTest struct {
	kind    groupKind
	broker  *rig.Broker
	addr    string
	group   string
	topic   string
	seen    *consumed
	watched *watched
	members map[string]member
	failed  error
	took    time.Duration

	mu  sync.Mutex
	end []func()
}

// onEnd has f called at the end of the suite.
func (g *groupUnderTest) onEnd(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.end = append(g.end, f)
}

func groupKinds(s *rig.S) []groupKind {
	classic, consumer := "classic", "consumer"
	franz := func(static bool, opts ...kgo.Opt) func(*groupUnderTest, string) (member, error) {
		return func(g *groupUnderTest, name string) (member, error) {
			if static {
				return franzMember(g, name, append(opts, kgo.InstanceID(name))...)
			}
			return franzMember(g, name, opts...)
		}
	}
	host := &javaHost{}
	java := func(settings ...string) func(*groupUnderTest, string) (member, error) {
		return host.join(s, settings...)
	}
	assignor := func(name string) string {
		return "partition.assignment.strategy=org.apache.kafka.clients.consumer." + name
	}
	python := func(args ...string) func(*groupUnderTest, string) (member, error) {
		return program(s, append([]string{filepath.Join(s.Cache, "python", "bin", "python"), filepath.Join(s.Interop, "python", "group_player.py")}, args...)...)
	}
	kinds := []groupKind{
		{"franz-cooperative", classic, false, false, franz(false)},
		{"franz-eager", classic, false, false, franz(false, kgo.Balancers(kgo.RangeBalancer()))},
		{"franz-static", classic, true, false, franz(true)},
		{"franz-consumer", consumer, false, false, franz(false, kgo.ServerSideBalancer())},
		{"sarama", classic, false, false, saramaMember},
		{"segmentio", classic, false, false, segmentioMember},
		{"java-eager", classic, false, false, java("group.protocol=classic", assignor("RangeAssignor"))},
		{"java-cooperative", classic, false, false, java("group.protocol=classic", assignor("CooperativeStickyAssignor"))},
		{"java-static", classic, true, true, java("group.protocol=classic", "group.instance.id=NAME")},
		{"java-uniform", consumer, false, false, java("group.protocol=consumer", "group.remote.assignor=uniform")},
		{"java-range", consumer, false, false, java("group.protocol=consumer", "group.remote.assignor=range")},
		{"java-consumer-static", consumer, true, true, java("group.protocol=consumer", "group.instance.id=NAME")},
		{"java-regex", consumer, false, false, java("group.protocol=consumer", "regex=yes")},
		{"librdkafka-eager", classic, false, false, python("librdkafka", "partition.assignment.strategy=range")},
		{"librdkafka-cooperative", classic, false, false, python("librdkafka", "partition.assignment.strategy=cooperative-sticky")},
		{"librdkafka-consumer", consumer, false, false, python("librdkafka", "group.protocol=consumer")},
		{"kafka-python", classic, false, false, python("kafka-python")},
		{"aiokafka", classic, false, false, python("aiokafka")},
		{"kafkajs", classic, false, false, program(s, "node", filepath.Join(s.Interop, "js", "group_player.cjs"))},
	}
	if only := os.Getenv("INTEROP_GROUPS"); only != "" { // to look at one of them alone: names with spaces between
		kinds = slices.DeleteFunc(kinds, func(k groupKind) bool { return !slices.Contains(strings.Fields(only), k.name) })
	}
	return kinds
}

// groups has groups of every kind of client go through the same fates at the same time: members come, leave and crash,
// and the broker is killed, once while all is well and once in the middle of a rebalance.
func groups(s *rig.S) {
	var (
		b   *rig.Broker
		all []*groupUnderTest
	)
	if !s.Test("broker", 3*time.Minute, func(t *rig.T) {
		var err error
		b, err = rig.NewBroker(t.Env, "groups", coordinators...)
		t.Must(err, "directory")
		t.Must(b.Start(t.Kind), "start")
		for _, kind := range groupKinds(s) {
			g := &groupUnderTest{
				kind: kind, broker: b, addr: b.Addr, group: "group-" + kind.name, topic: rig.Name("groups-" + kind.name), seen: newConsumed(),
				watched: &watched{states: map[string]int{}}, members: map[string]member{},
			}
			createTopic(t, b, g.topic, groupPartitions, nil)
			all = append(all, g)
		}
	}) {
		if b != nil {
			_ = b.Kill()
		}
		return
	}
	defer func() { _ = b.Kill() }()
	defer func() {
		for _, g := range all {
			for _, f := range g.end {
				f()
			}
		}
	}()
	s.Test("phases", 12*time.Minute, func(t *rig.T) { groupPhases(t, b, all) })
	for _, g := range all {
		s.Test(g.kind.name, time.Second, func(t *rig.T) {
			t.Must(g.failed, fmt.Sprintf("group %s, after %s", g.group, g.took.Round(10*time.Millisecond)))
		})
	}
	s.Test("broker-stops", 2*time.Minute, func(t *rig.T) { t.Must(b.Stop(), "stop") })
}

func groupPhases(t *rig.T, b *rig.Broker, all []*groupUnderTest) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watching, over := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	for _, g := range all {
		watchers.Go(func() { g.watched.watch(watching, b.Addr, g) })
	}
	producing, stopProducing := context.WithCancel(ctx)
	sent := make(chan error, 1)
	go func() { sent <- produceToGroups(producing, b.Addr, all) }()

	began := time.Now()
	phase := func(name string, limit time.Duration, f func(ctx context.Context, g *groupUnderTest) error) {
		at := time.Now()
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		var wg sync.WaitGroup
		var failed atomic.Int64
		for _, g := range all {
			wg.Go(func() {
				if g.failed == nil {
					err := f(ctx, g)
					if w := g.watched.err(); w != nil {
						err = w
					}
					if err != nil {
						g.failed, g.took = fmt.Errorf("%s: %w", name, err), time.Since(began)
						failed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		t.Note("%s: %.1f s, %d failures", name, time.Since(at).Seconds(), failed.Load())
	}
	kill := func() {
		t.Must(b.Kill(), "kill")
		t.Must(b.Start(t.Kind), "start")
	}

	phase("two members join", groupPatience, func(ctx context.Context, g *groupUnderTest) error {
		if err := errors.Join(g.joins("a"), g.joins("b")); err != nil {
			return err
		}
		return g.settles(ctx, 2)
	})
	phase("a third one joins", groupPatience, func(ctx context.Context, g *groupUnderTest) error {
		if err := g.joins("c"); err != nil {
			return err
		}
		return g.settles(ctx, 3)
	})
	phase("the third one crashes", groupPatience, func(ctx context.Context, g *groupUnderTest) error {
		g.members["c"].crash()
		delete(g.members, "c")
		return g.settles(ctx, 2)
	})
	kill()
	phase("the broker was killed", groupPatience, func(ctx context.Context, g *groupUnderTest) error {
		if err := g.settles(ctx, 2); err != nil {
			return err
		}
		return g.goesOn(ctx)
	})
	phase("static members are restarted", groupPatience, func(ctx context.Context, g *groupUnderTest) error {
		if !g.kind.static {
			return nil
		}
		return g.restarts(ctx, "b")
	})
	phase("one leaves, another one joins", groupPatience, func(ctx context.Context, g *groupUnderTest) error {
		before, err := describe(ctx, g.addr, g.group, g.kind.protocol, g.topic)
		if err != nil {
			return err
		}
		if err := g.leaves(ctx, "b"); err != nil {
			return err
		}
		if err := g.joins("d"); err != nil {
			return err
		}
		return g.replaces(ctx, before)
	})
	phase("one joins just before a kill", groupPatience, func(_ context.Context, g *groupUnderTest) error { return g.joins("e") })
	kill()
	phase("the broker was killed in a rebalance", groupPatience, func(ctx context.Context, g *groupUnderTest) error {
		if err := g.settles(ctx, 3); err != nil {
			return err
		}
		return g.goesOn(ctx)
	})
	stopProducing()
	t.Must(<-sent, "producer")
	phase("everything is consumed", groupPatience, func(ctx context.Context, g *groupUnderTest) error { return g.finishes(ctx) })
	phase("all leave", groupPatience, func(ctx context.Context, g *groupUnderTest) error {
		for name := range g.members {
			if err := g.leaves(ctx, name); err != nil {
				return err
			}
		}
		return g.empties(ctx)
	})
	over()
	watchers.Wait()
	records := int64(0)
	for _, g := range all {
		records += g.seen.n
	}
	t.Note("%d groups, %d deliveries within %s", len(all), records, time.Since(began).Round(100*time.Millisecond))
}

// produceToGroups writes to all topics at a steady pace until ctx ends, and waits until everything is acknowledged.
func produceToGroups(ctx context.Context, addr string, all []*groupUnderTest) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequestRetries(1<<30),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // not every client knows snappy
		kgo.RetryTimeout(time.Hour), kgo.UnknownTopicRetries(-1), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	began := time.Now()
	for i := int64(0); ctx.Err() == nil; i++ {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / groupPace)))
		for _, g := range all {
			r := &kgo.Record{Topic: g.topic, Partition: int32(i % groupPartitions), Value: fmt.Appendf(nil, "record %d", i)}
			cl.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			})
		}
	}
	flushing, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := cl.Flush(flushing); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (g *groupUnderTest) joins(name string) error {
	m, err := g.kind.join(g, g.kind.name+"-"+name)
	if err != nil {
		return fmt.Errorf("member %s: %w", name, err)
	}
	g.members[name] = m
	return nil
}

func (g *groupUnderTest) leaves(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	m := g.members[name]
	delete(g.members, name)
	if err := m.leave(ctx); err != nil {
		return fmt.Errorf("member %s: %w", name, err)
	}
	return nil
}

// until asks about the group until f is content.
func (g *groupUnderTest) until(ctx context.Context, f func(roster) error) error {
	last := error(nil)
	for {
		r, err := describe(ctx, g.addr, g.group, g.kind.protocol, g.topic)
		if err == nil {
			if err = r.overlap(); err != nil {
				return err
			}
			err = f(r)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			err = cmp.Or(last, err)
			for name, m := range g.members {
				if p, ok := m.(*processMember); ok && p.obituary() != "" {
					err = fmt.Errorf("%w\nmember %s: %s", err, name, p.obituary())
				}
			}
			return err
		}
		last = err
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// settles waits until the group is Stable with n members.
func (g *groupUnderTest) settles(ctx context.Context, n int) error {
	return g.until(ctx, func(r roster) error { return r.complete(n, groupPartitions) })
}

// replaces waits until the group is Stable with as many members as before, but others: who left is gone, who came is in.
func (g *groupUnderTest) replaces(ctx context.Context, before roster) error {
	return g.until(ctx, func(r roster) error {
		same := 0
		for id := range r.members {
			if _, there := before.members[id]; there {
				same++
			}
		}
		if same == len(r.members) {
			return fmt.Errorf("state %s, the same members still", r.state)
		}
		return r.complete(len(before.members), groupPartitions)
	})
}

// empties waits until nobody is in the group. Static members are there until their sessions are over.
func (g *groupUnderTest) empties(ctx context.Context) error {
	return g.until(ctx, func(r roster) error {
		if r.state != "Empty" || len(r.members) != 0 {
			return fmt.Errorf("state %s with %d members, expected Empty", r.state, len(r.members))
		}
		return nil
	})
}

// goesOn waits until new records are delivered.
func (g *groupUnderTest) goesOn(ctx context.Context) error {
	g.seen.mu.Lock()
	target := g.seen.n + 50
	g.seen.mu.Unlock()
	for {
		g.seen.mu.Lock()
		n := g.seen.n
		g.seen.mu.Unlock()
		if n >= target {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no new records are delivered: %w", ctx.Err())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// restarts closes a static member and starts it again. Where the client leaves it at that, neither state nor epoch moves.
func (g *groupUnderTest) restarts(ctx context.Context, name string) error {
	// Some clients join again, on their own, some time after they lost their broker.
	restless, epoch := g.watched.restless()
	for calm := time.Now(); time.Since(calm) < 3*time.Second && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if n, e := g.watched.restless(); n != restless || e != epoch {
			restless, epoch, calm = n, e, time.Now()
		}
	}
	if err := g.leaves(ctx, name); err != nil {
		return err
	}
	if err := g.joins(name); err != nil {
		return err
	}
	if err := g.goesOn(ctx); err != nil {
		return err
	}
	if err := g.settles(ctx, 2); err != nil {
		return err
	}
	if nowRestless, nowEpoch := g.watched.restless(); g.kind.calm && (g.kind.protocol == "classic" && nowRestless != restless || nowEpoch != epoch) {
		return fmt.Errorf("the restart of a static member made the group rebalance (seen not Stable %d times, epoch %d to %d)", nowRestless-restless, epoch, nowEpoch)
	}
	return nil
}

// finishes waits until the group has committed the end of every partition, and then every record was delivered.
func (g *groupUnderTest) finishes(ctx context.Context) error {
	ends := map[int32]int64{}
	for p := range int32(groupPartitions) {
		end, err := endOffset(ctx, g.addr, place{g.topic, p})
		if err != nil {
			return err
		}
		ends[p] = end
	}
	var last error
	for {
		offsets, err := committedOffsets(ctx, g.addr, g.group, g.topic, groupPartitions)
		for p, end := range ends {
			if err == nil && offsets[p] != end {
				err = fmt.Errorf("partition %d: committed %d, the end is %d", p, offsets[p], end)
			}
		}
		if err == nil {
			err = g.seen.missing(ends) // what a process printed may still be under way
		}
		if err == nil {
			return g.settles(ctx, len(g.members))
		}
		if ctx.Err() != nil {
			return cmp.Or(last, err)
		}
		last = err
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
