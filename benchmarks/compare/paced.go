//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
	"github.com/gregor-broker/gregor/benchmarks/histogram"
	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

// pacedRecord is the size of a value of the paced loads.
const pacedRecord = 256

var pacedColumns = []string{"p99_us", "p50_us", "p999_us", "end_to_end_p50_us", "end_to_end_p99_us", "end_to_end_p999_us", "records_per_s", "server_cpu_us_per_record", "flushes_per_s", "max_rss_mib", "max_rss_anon_mib", "other_cpu_percent", "steal_percent"}

// pacedBars: a durable answer no later than one from Kafka's page cache, and four times as soon as a synced one.
func pacedBars() []bar {
	return []bar{
		{metric: "p99_us", reference: contestant.Kafka, atMost: 1},
		{metric: "p99_us", reference: contestant.KafkaFlush, atMost: 0.25},
		leastMemory(),
	}
}

// paced sends a steady stream, whatever the server does, and a consumer at the tail follows it. Latencies count from
// when a record was due, so that a stall is felt by everything it holds up.
func paced(perSecond int) func(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	return func(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
		return b.measured(ctx, s, ballastMinimum, func() (metrics, error) { return b.measurePaced(ctx, s, perSecond) })
	}
}

// pacedRun is the shared state of one run. Records carry the number of nanoseconds from its begin until they were due.
type pacedRun struct {
	began      time.Time
	phase      atomic.Int32
	cancel     context.CancelCauseFunc
	ack, whole histogram.Histogram // each used by one goroutine
}

func (b *bench) measurePaced(ctx context.Context, s *contestant.Server, perSecond int) (metrics, error) {
	producer, err := kgo.NewClient(kgo.SeedBrokers(s.Address), kgo.DefaultProduceTopic(topicName), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(10*perSecond))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	consumer, err := kgo.NewClient(kgo.SeedBrokers(s.Address), kgo.FetchMinBytes(1),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topicName: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &pacedRun{began: time.Now(), cancel: cancel}
	var both sync.WaitGroup
	var sent, received int64
	both.Go(func() { sent = r.send(ctx, producer, perSecond) })
	following, stop := context.WithCancel(ctx)
	both.Go(func() { received = r.follow(following, consumer) })
	sampler := procstat.Sample(s.PID(), 20*time.Millisecond)
	sleep(ctx, b.settings.WarmUp)
	began, err := takeUsage(s)
	r.phase.Store(counting)
	sleep(ctx, b.settings.Duration)
	r.phase.Store(ending)
	ended, endErr := takeUsage(s)
	flushErr := producer.Flush(ctx)
	sleep(ctx, 200*time.Millisecond) // the consumer takes the rest
	stop()
	both.Wait()
	peak, sampleErr := sampler.Stop()
	if err := errors.Join(context.Cause(ctx), err, endErr, flushErr, sampleErr); err != nil {
		return nil, err
	}
	if received != sent {
		return nil, fmt.Errorf("paced: %d records were sent and %d received", sent, received)
	}
	count := float64(r.ack.Count())
	m := ended.since(began, count, "record")
	m["records_per_s"] = count / ended.when.Sub(began.when).Seconds()
	m.latencies("", &r.ack)
	m.latencies("end_to_end_", &r.whole)
	m["max_rss_mib"], m["max_rss_anon_mib"] = mib(peak.RSS), mib(peak.RSSAnon)
	return m, nil
}

// send produces what is due, looks again a fifth of a millisecond later, and so on until the run ends.
func (r *pacedRun) send(ctx context.Context, client *kgo.Client, perSecond int) (sent int64) {
	ticker := time.NewTicker(200 * time.Microsecond)
	defer ticker.Stop()
	for r.phase.Load() != ending && ctx.Err() == nil {
		<-ticker.C
		for due := int64(time.Since(r.began).Seconds() * float64(perSecond)); sent < due; sent++ {
			at := r.began.Add(time.Duration(float64(sent) / float64(perSecond) * 1e9))
			value := make([]byte, pacedRecord)
			binary.BigEndian.PutUint64(value, uint64(at.Sub(r.began)))
			client.Produce(ctx, kgo.SliceRecord(value), func(_ *kgo.Record, err error) {
				if err != nil {
					r.cancel(err)
				} else if r.phase.Load() == counting {
					r.ack.Record(time.Since(at))
				}
			})
		}
	}
	return sent
}

// follow consumes from the first record on.
func (r *pacedRun) follow(ctx context.Context, client *kgo.Client) (received int64) {
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil && ctx.Err() == nil {
			r.cancel(err)
			return received
		}
		now := time.Since(r.began)
		for records := fetches.RecordIter(); !records.Done(); {
			record := records.Next()
			received++
			if r.phase.Load() == counting {
				r.whole.Record(now - time.Duration(binary.BigEndian.Uint64(record.Value)))
			}
		}
	}
	return received
}
