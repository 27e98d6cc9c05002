//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
	"github.com/gregor-broker/gregor/benchmarks/histogram"
	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

// mostOfKafkaCPU is the bar of processor time per record against a Kafka that does not sync.
const mostOfKafkaCPU = 0.8

var bulkColumns = []string{"records_per_s", "mb_per_s", "server_cpu_us_per_record", "p50_us", "p99_us", "p999_us", "flushes_per_s", "max_rss_mib", "max_rss_anon_mib", "client_cpu_us_per_record", "other_cpu_percent", "steal_percent", "warm_left_mib"}

func bulkBars() []bar {
	return []bar{
		{metric: "records_per_s", reference: contestant.Kafka, atLeast: leastOfKafkaRate},
		{metric: "server_cpu_us_per_record", reference: contestant.Kafka, atMost: mostOfKafkaCPU},
		leastMemory(),
	}
}

// bulkLoad is what one client sends as fast as it can.
type bulkLoad struct {
	size int
	text bool
	lz4  bool
}

// values is how many different values are sent in turn.
const values = 512

// payloads are random bytes, or lines of words that compress to about a third.
func (l bulkLoad) payloads() [][]byte {
	random := rand.NewChaCha8([32]byte{byte(l.size)})
	numbers := rand.New(random)
	out := make([][]byte, values)
	for i := range out {
		out[i] = make([]byte, 0, l.size+16)
		for l.text && len(out[i]) < l.size {
			out[i] = fmt.Appendf(out[i], "%s=%d ", words[numbers.IntN(len(words))], numbers.IntN(1000))
		}
		out[i] = out[i][:l.size]
		if !l.text {
			_, _ = random.Read(out[i]) // never fails
		}
	}
	return out
}

var words = []string{"order", "customer", "status", "created", "amount", "currency", "shipped", "warehouse", "quantity", "region",
	"correlation", "trace", "latency", "retries", "partition", "offset", "payment", "refund", "account", "balance"}

func (l bulkLoad) run(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	return b.measured(ctx, s, int64(b.settings.WarmGB*1e9)+ballastMinimum, func() (metrics, error) { return b.measureBulk(ctx, s, l) })
}

func (b *bench) measureBulk(ctx context.Context, s *contestant.Server, l bulkLoad) (metrics, error) {
	codec := kgo.NoCompression()
	if l.lz4 {
		codec = kgo.Lz4Compression()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Address), kgo.DefaultProduceTopic(topicName), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(2*time.Millisecond), kgo.ProducerBatchCompression(codec), kgo.MaxBufferedRecords(max(100, 32<<20/l.size)))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var phase atomic.Int32
	var latency histogram.Histogram // promises are kept one at a time, in order
	var counted int64
	var sending sync.WaitGroup
	payloads := l.payloads()
	sending.Go(func() {
		for i := 0; phase.Load() != ending && ctx.Err() == nil; i++ {
			began := time.Now()
			client.Produce(ctx, kgo.SliceRecord(payloads[i%values]), func(_ *kgo.Record, err error) {
				switch {
				case err != nil && phase.Load() != ending:
					cancel(err)
				case phase.Load() == counting:
					counted++
					latency.Record(time.Since(began))
				}
			})
		}
	})
	sampler := procstat.Sample(s.PID(), 20*time.Millisecond)
	sleep(ctx, b.settings.WarmUp)
	began, err := takeUsage(s)
	phase.Store(counting)
	sleep(ctx, b.settings.Duration)
	phase.Store(ending)
	ended, endErr := takeUsage(s)
	sending.Wait()
	flushErr := client.Flush(ctx)
	peak, sampleErr := sampler.Stop()
	if err := errors.Join(context.Cause(ctx), err, endErr, flushErr, sampleErr); err != nil {
		return nil, err
	}
	seconds := ended.when.Sub(began.when).Seconds()
	m := ended.since(began, float64(counted), "record")
	m["records_per_s"] = float64(counted) / seconds
	m["mb_per_s"] = float64(counted) * float64(l.size) / 1e6 / seconds
	m.latencies("", &latency)
	m["max_rss_mib"], m["max_rss_anon_mib"] = mib(peak.RSS), mib(peak.RSSAnon)
	return m, nil
}

// latencies adds the quantiles of a histogram.
func (m metrics) latencies(prefix string, h *histogram.Histogram) {
	m[prefix+"p50_us"] = micros(h.Quantile(0.5))
	m[prefix+"p99_us"] = micros(h.Quantile(0.99))
	m[prefix+"p999_us"] = micros(h.Quantile(0.999))
}
