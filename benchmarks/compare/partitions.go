//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
	"github.com/gregor-broker/gregor/benchmarks/loadgen"
	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

// spread is over how many partitions the same requests go; the last step is a directory of many partitions.
var spreads = []int32{1, 100, 1000}

// manyPartitions is how many partitions a broker has to come back with, in topics that Kafka creates in one request each.
const (
	manyPartitions = 10_000
	manyTopics     = 2
)

func manyName(i int) string { return fmt.Sprintf("many-%d", i) }

// The bars of many partitions.
const (
	leastOfOnePartition = 0.8
	mostReadyMs         = 1000
	mostManyAnonMiB     = 150
)

var partitionColumns = []string{"frames_per_s_1", "frames_per_s_100", "frames_per_s_1000", "of_one_100", "of_one_1000", "server_cpu_us_per_frame_1", "server_cpu_us_per_frame_1000", "flushes_per_s_1", "flushes_per_s_1000", "p99_us_1", "p99_us_1000", "max_rss_anon_mib", "other_cpu_percent", "steal_percent"}

func partitionBars() []bar {
	return []bar{{metric: "of_one_1000", atLeast: leastOfOnePartition}, leastMemory()}
}

// runPartitions sends the small requests of frames-1k over more and more partitions of one server: each of the 64
// connections writes to a partition of its choice in turn.
func runPartitions(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	m := metrics{}
	err := running(ctx, s, func([16]byte) error {
		for _, n := range spreads {
			topic := fmt.Sprintf("spread-%d", n)
			c, err := loadgen.Dial(ctx, s.Address)
			if err != nil {
				return err
			}
			id, err := c.CreateTopic(ctx, topic, n, nil)
			if err == nil {
				err = b.settle(ctx, c, topic, id, n)
			}
			if err := errors.Join(err, c.Close()); err != nil {
				return err
			}
			if _, err := b.warmed(ballastMinimum, func() error { return b.spread(ctx, s, topic, id, n, m) }); err != nil {
				return err
			}
		}
		return nil
	})
	for _, n := range spreads[1:] {
		m[fmt.Sprintf("of_one_%d", n)] = ratio(m[fmt.Sprintf("frames_per_s_%d", n)], m["frames_per_s_1"])
	}
	return m, err
}

// settle waits until every partition of a new topic has taken a record: Kafka's metadata names leaders before the broker
// has heard of them.
func (b *bench) settle(ctx context.Context, c *loadgen.Client, topic string, id [16]byte, partitions int32) error {
	batch := loadgen.Batch(1, 100, time.Now())
	for i := int32(0); i < partitions; {
		request, err := loadgen.Prepare(int16(b.settings.Version), loadgen.Target{Topic: topic, TopicID: id, Partition: i}, batch, 1)
		if err != nil {
			return err
		}
		switch err := c.Produce(request); {
		case err == nil:
			i++
		case !kerr.IsRetriable(err):
			return err
		default:
			sleep(ctx, time.Millisecond)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (b *bench) spread(ctx context.Context, s *contestant.Server, topic string, id [16]byte, partitions int32, m metrics) error {
	var requests []*loadgen.Prepared
	for i := range partitions {
		batch := loadgen.Batch(1, b.settings.RecordBytes, time.Now())
		p, err := loadgen.Prepare(int16(b.settings.Version), loadgen.Target{Topic: topic, TopicID: id, Partition: i}, batch, 1)
		if err != nil {
			return err
		}
		requests = append(requests, p)
	}
	before, flushErr := procstat.Flushes(s.Dir)
	began := time.Now()
	r, err := loadgen.Run(ctx, loadgen.Options{Address: s.Address, PID: s.PID(), Requests: requests, Rotate: true, Connections: smallConns,
		InFlight: 1, Warmup: b.settings.WarmUp, Duration: b.settings.Duration})
	if err != nil {
		return err
	}
	after, _ := procstat.Flushes(s.Dir)
	add := func(name string, v float64) { m[fmt.Sprintf("%s_%d", name, partitions)] = v }
	add("frames_per_s", r.FramesPerSecond())
	add("server_cpu_us_per_frame", micros(r.ServerCPU.Total())/float64(r.Frames))
	add("p99_us", micros(r.Latency.Quantile(0.99)))
	if flushErr == nil {
		add("flushes_per_s", float64(after-before)/time.Since(began).Seconds())
	}
	m["max_rss_anon_mib"] = max(m["max_rss_anon_mib"], mib(r.PeakMemory.RSSAnon))
	m["other_cpu_percent"] = max(m["other_cpu_percent"], 100*r.OtherCPU.Seconds()/r.Elapsed.Seconds())
	m["steal_percent"] = max(m["steal_percent"], 100*r.Steal.Seconds()/r.Elapsed.Seconds())
	return nil
}

var manyColumns = []string{"ready_ms", "killed_ready_ms", "create_ms", "idle_rss_anon_mib", "idle_rss_mib"}

func manyBars() []bar {
	return []bar{{metric: "ready_ms", atMost: mostReadyMs}, {metric: "idle_rss_anon_mib", atMost: mostManyAnonMiB}}
}

// runMany makes a topic of very many partitions, each with a record, and measures the next start, after a clean stop and
// after a kill: exec until a record is acknowledged.
func runMany(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	m := metrics{}
	err := running(ctx, s, func([16]byte) error {
		c, err := loadgen.Dial(ctx, s.Address)
		if err != nil {
			return err
		}
		ids := make([][16]byte, manyTopics)
		began := time.Now()
		for i := range ids {
			if ids[i], err = c.CreateTopic(ctx, manyName(i), manyPartitions/manyTopics, nil); err != nil {
				return errors.Join(err, c.Close())
			}
		}
		m["create_ms"] = millis(time.Since(began))
		for i, id := range ids {
			err = errors.Join(err, b.settle(ctx, c, manyName(i), id, manyPartitions/manyTopics))
		}
		return errors.Join(err, c.Close())
	})
	if err != nil {
		return nil, err
	}
	last, err := loadgen.Prepare(min(int16(b.settings.Version), 12), loadgen.Target{Topic: manyName(manyTopics - 1), Partition: manyPartitions/manyTopics - 1}, loadgen.Batch(1, 100, time.Now()), 1)
	if err != nil {
		return nil, err
	}
	for _, step := range []struct {
		metric string
		end    func() error
	}{{"ready_ms", s.Kill}, {"killed_ready_ms", s.Stop}} {
		took, err := b.ackOf(ctx, s, last, false)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", step.metric, err), s.Kill())
		}
		m[step.metric] = millis(took)
		if step.metric == "ready_ms" {
			sleep(ctx, b.settings.Idle)
			memory, err := procstat.ReadMemory(s.PID())
			if err != nil {
				return nil, errors.Join(err, s.Kill())
			}
			m["idle_rss_mib"], m["idle_rss_anon_mib"] = mib(memory.RSS), mib(memory.RSSAnon)
		}
		if err := step.end(); err != nil {
			return nil, err
		}
	}
	return m, nil
}
