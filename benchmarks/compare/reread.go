//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
	"github.com/gregor-broker/gregor/benchmarks/loadgen"
	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

// spareDisk is what must stay free beside the history.
const spareDisk = 5e9

var rereadColumns = []string{"second_mb_per_s", "first_mb_per_s", "fill_mb_per_s", "first_max_rss_anon_mib", "second_max_rss_anon_mib", "fill_max_rss_anon_mib", "second_max_rss_mib", "first_server_cpu_us_per_mb", "second_server_cpu_us_per_mb", "history_mb"}

// runReread fills a history and consumes all of it twice, each time with a new client from the first offset.
func runReread(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(s.Dir, &disk); err != nil {
		return nil, fmt.Errorf("free space of %s: %w", s.Dir, err)
	}
	want := b.settings.HistoryGB * 1e9
	if free := float64(disk.Bavail) * float64(disk.Bsize); free < want*1.05+spareDisk {
		return nil, fmt.Errorf("%s has %.1f GB free, a history of %.1f GB needs %.1f", s.Dir, free/1e9, want/1e9, (want*1.05+spareDisk)/1e9)
	}
	m := metrics{}
	err := running(ctx, s, func(topicID [16]byte) error {
		if err := b.fill(ctx, s, topicID, want, m); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
		end, err := endOffset(ctx, s.Address)
		if err != nil {
			return err
		}
		for _, pass := range []string{"first", "second"} {
			if err := consumeAll(ctx, s, end, pass, m); err != nil {
				return fmt.Errorf("%s pass: %w", pass, err)
			}
		}
		return nil
	})
	return m, err
}

func (b *bench) fill(ctx context.Context, s *contestant.Server, topicID [16]byte, bytes float64, m metrics) error {
	request, err := b.prepare(topicID, loadgen.RecordsThatFit(b.settings.RecordBytes, largeBatch))
	if err != nil {
		return err
	}
	r, err := loadgen.Run(ctx, loadgen.Options{Address: s.Address, PID: s.PID(), Requests: []*loadgen.Prepared{request}, Connections: 1,
		InFlight: largeInFlight, Frames: int64(bytes/float64(len(request.Frame))) + 1})
	if err != nil {
		return err
	}
	m["fill_mb_per_s"] = float64(r.Bytes) / 1e6 / r.Elapsed.Seconds()
	m["fill_max_rss_mib"], m["fill_max_rss_anon_mib"] = mib(r.PeakMemory.RSS), mib(r.PeakMemory.RSSAnon)
	return nil
}

func endOffset(ctx context.Context, address string) (int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	offsets, err := kadm.NewClient(client).ListEndOffsets(ctx, topicName)
	if err != nil {
		return 0, fmt.Errorf("end offset: %w", err)
	}
	end, found := offsets.Lookup(topicName, 0)
	if !found || end.Err != nil {
		return 0, fmt.Errorf("end offset of %s-0: found %v, %w", topicName, found, end.Err)
	}
	return end.Offset, nil
}

// consumeAll reads every record up to the end offset and checks that none is missing or twice.
func consumeAll(ctx context.Context, s *contestant.Server, end int64, pass string, m metrics) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Address),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topicName: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer client.Close()
	began, err := takeUsage(s)
	if err != nil {
		return err
	}
	sampler := procstat.Sample(s.PID(), 20*time.Millisecond)
	bytes, err := consume(ctx, client, end)
	peak, sampleErr := sampler.Stop()
	if err := errors.Join(err, sampleErr); err != nil {
		return err
	}
	ended, err := takeUsage(s)
	if err != nil {
		return err
	}
	mb := float64(bytes) / 1e6
	for name, value := range ended.since(began, mb, "mb") {
		m[pass+"_"+name] = value
	}
	m[pass+"_mb_per_s"] = mb / ended.when.Sub(began.when).Seconds()
	m[pass+"_max_rss_mib"], m[pass+"_max_rss_anon_mib"] = mib(peak.RSS), mib(peak.RSSAnon)
	m["history_mb"] = mb
	return nil
}

// consume returns the bytes of all values up to the end offset.
func consume(ctx context.Context, client *kgo.Client, end int64) (bytes int64, err error) {
	for next := int64(0); next < end; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return bytes, err
		}
		for records := fetches.RecordIter(); !records.Done(); {
			record := records.Next()
			if record.Offset != next {
				return bytes, fmt.Errorf("record at offset %d, expected %d", record.Offset, next)
			}
			next++
			bytes += int64(len(record.Value))
		}
	}
	return bytes, nil
}
