//go:build linux

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
	"github.com/gregor-broker/gregor/benchmarks/histogram"
	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

// leastOfKafkaRate is the bar of the durable subject against Kafka that answers from the page cache.
const leastOfKafkaRate = 1.0

var waitingColumns = []string{"records_per_s", "server_cpu_us_per_record", "p50_us", "p99_us", "p999_us", "flushes_per_s", "max_rss_mib", "max_rss_anon_mib", "client_cpu_us_per_record", "other_cpu_percent", "steal_percent", "warm_left_mib"}

// waitingBars: durable, as fast as Kafka that is not, and ten times one that syncs as often.
func waitingBars() []bar {
	return append(sharedBars(), bar{metric: "records_per_s", reference: contestant.KafkaFlush, atLeast: 10})
}

// sharedBars are those of one client. It puts what its callers send at a time into one batch: it is one producer, to a
// broker, and the broker has nothing to group.
func sharedBars() []bar {
	return []bar{{metric: "records_per_s", reference: contestant.Kafka, atLeast: leastOfKafkaRate}, leastMemory()}
}

// leastMemory is the bar of private memory under every load.
func leastMemory() bar { return bar{metric: "max_rss_anon_mib", atMost: 64} }

func runWaitingShared(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	return b.waiting(ctx, s, 1)
}

func runWaitingOne(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	one := *b
	one.settings.Producers = 1
	return one.waiting(ctx, s, 1)
}

func runWaitingSeparate(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	return b.waiting(ctx, s, b.settings.Producers)
}

// The phases of a waiting run.
const (
	warming int32 = iota
	counting
	ending
)

// waiting runs producers that each wait for the answer to one record before they send the next, spread over clients.
func (b *bench) waiting(ctx context.Context, s *contestant.Server, clients int) (metrics, error) {
	return b.measured(ctx, s, ballastMinimum, func() (metrics, error) { return b.measureWaiting(ctx, s, clients) })
}

func (b *bench) measureWaiting(ctx context.Context, s *contestant.Server, clients int) (metrics, error) {
	var producers []*kgo.Client
	defer func() {
		for _, p := range producers {
			p.Close()
		}
	}()
	for range clients {
		client, err := kgo.NewClient(kgo.SeedBrokers(s.Address), kgo.DefaultProduceTopic(topicName), kgo.RequiredAcks(kgo.AllISRAcks()),
			kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
		if err != nil {
			return nil, err
		}
		producers = append(producers, client)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var phase atomic.Int32
	var group sync.WaitGroup
	latencies := make([]histogram.Histogram, b.settings.Producers)
	failures := make([]error, b.settings.Producers)
	for i := range b.settings.Producers {
		group.Go(func() {
			if failures[i] = produceAlone(ctx, producers[i%clients], b.settings.RecordBytes, &phase, &latencies[i]); failures[i] != nil {
				cancel()
			}
		})
	}
	sampler := procstat.Sample(s.PID(), 20*time.Millisecond)
	sleep(ctx, b.settings.WarmUp)
	began, err := takeUsage(s)
	phase.Store(counting)
	sleep(ctx, b.settings.Duration)
	phase.Store(ending)
	ended, endErr := takeUsage(s)
	group.Wait()
	peak, sampleErr := sampler.Stop()
	if err := errors.Join(append(failures, err, endErr, sampleErr)...); err != nil {
		return nil, err
	}
	var all histogram.Histogram
	for i := range latencies {
		all.Merge(&latencies[i])
	}
	m := ended.since(began, float64(all.Count()), "record")
	m["records_per_s"] = float64(all.Count()) / ended.when.Sub(began.when).Seconds()
	m["p50_us"] = micros(all.Quantile(0.5))
	m["p99_us"] = micros(all.Quantile(0.99))
	m["p999_us"] = micros(all.Quantile(0.999))
	m["max_rss_mib"], m["max_rss_anon_mib"] = mib(peak.RSS), mib(peak.RSSAnon)
	return m, nil
}

// produceAlone is one producer.
func produceAlone(ctx context.Context, client *kgo.Client, size int, phase *atomic.Int32, latency *histogram.Histogram) error {
	value := make([]byte, size)
	random := rand.NewChaCha8([32]byte{7})
	_, _ = random.Read(value) // never fails
	for phase.Load() != ending {
		began := time.Now()
		if err := client.ProduceSync(ctx, kgo.SliceRecord(value)).FirstErr(); err != nil {
			return err
		}
		if phase.Load() == counting {
			latency.Record(time.Since(began))
		}
	}
	return nil
}

// usage is what was used up to a moment.
type usage struct {
	when    time.Time
	server  procstat.Times
	own     time.Duration
	machine procstat.MachineTimes
	flushes int64 // of the drive; -1 where they are not counted
}

func takeUsage(s *contestant.Server) (u usage, err error) {
	pid := s.PID()
	if u.server, err = procstat.CPU(pid); err != nil {
		return u, err
	}
	if u.machine, err = procstat.Machine(); err != nil {
		return u, err
	}
	if u.flushes, err = procstat.Flushes(s.Dir); err != nil {
		u.flushes = -1
	}
	u.own, u.when = procstat.OwnCPU(), time.Now()
	return u, nil
}

// since returns the CPU figures between two moments in which count units were done.
func (u usage) since(began usage, count float64, unit string) metrics {
	seconds := u.when.Sub(began.when).Seconds()
	server, own := u.server.Sub(began.server).Total(), u.own-began.own
	other := max(u.machine.Busy-began.machine.Busy-server-own, 0)
	m := metrics{
		"server_cpu_us_per_" + unit: micros(server) / count,
		"client_cpu_us_per_" + unit: micros(own) / count,
		"other_cpu_percent":         100 * other.Seconds() / seconds,
		"steal_percent":             100 * (u.machine.Steal - began.machine.Steal).Seconds() / seconds,
	}
	if u.flushes >= 0 && began.flushes >= 0 {
		m["flushes_per_s"] = float64(u.flushes-began.flushes) / seconds
	}
	return m
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
