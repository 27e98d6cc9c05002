//go:build linux

package main

import (
	"context"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
	"github.com/gregor-broker/gregor/benchmarks/loadgen"
)

const (
	largeBatch     = 1 << 20
	largeInFlight  = 5 // what an idempotent producer may have, KAFKA-5494
	smallConns     = 64
	diskOverhead   = 1.15    // page cache of a run over its request bytes: journal, indexes, the program itself
	ballastMinimum = 1 << 30 // a Java heap is touched during a run too
)

// The bars of a broker over the floor.
const (
	leastOfFloorRate = 0.8
	mostOfFloorCPU   = 1.5
)

func overFloor() []bar {
	return []bar{
		{metric: "frames_per_s", reference: contestant.Floor, atLeast: leastOfFloorRate},
		{metric: "server_cpu_us_per_frame", reference: contestant.Floor, atMost: mostOfFloorCPU},
	}
}

var frameColumns = []string{"frames_per_s", "mb_per_s", "server_cpu_us_per_frame", "server_system_percent", "p50_us", "p99_us", "p999_us", "max_rss_mib", "max_rss_anon_mib", "client_cpu_us_per_frame", "other_cpu_percent", "steal_percent", "warm_left_mib"}

func runLarge(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	records := loadgen.RecordsThatFit(b.settings.RecordBytes, largeBatch)
	options := loadgen.Options{Connections: 1, InFlight: largeInFlight, WarmupFrames: b.settings.WarmLarge, Frames: b.settings.FramesLarge}
	return b.frames(ctx, s, records, options)
}

func runSmall(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	options := loadgen.Options{Connections: smallConns, InFlight: 1, WarmupFrames: b.settings.WarmSmall, Frames: b.settings.FramesSmall}
	return b.frames(ctx, s, 1, options)
}

func (b *bench) frames(ctx context.Context, s *contestant.Server, records int, options loadgen.Options) (m metrics, err error) {
	err = running(ctx, s, func(topicID [16]byte) error {
		request, err := b.prepare(topicID, records)
		if err != nil {
			return err
		}
		options.Address, options.PID = s.Address, s.PID()
		options.Requests = []*loadgen.Prepared{request}
		bytes := float64(int64(len(request.Frame))*(options.Frames+options.WarmupFrames)) * diskOverhead
		left, err := b.warmed(int64(bytes)+ballastMinimum, func() error {
			r, err := loadgen.Run(ctx, options)
			if err != nil {
				return err
			}
			m = frameMetrics(r)
			return nil
		})
		if err == nil {
			m["warm_left_mib"] = mib(left)
		}
		return err
	})
	return m, err
}

func frameMetrics(r *loadgen.Result) metrics {
	seconds := r.Elapsed.Seconds()
	return metrics{
		"frames_per_s":            r.FramesPerSecond(),
		"mb_per_s":                float64(r.Bytes) / 1e6 / seconds,
		"server_cpu_us_per_frame": micros(r.ServerCPU.Total()) / float64(r.Frames),
		"server_system_percent":   100 * ratio(r.ServerCPU.System.Seconds(), r.ServerCPU.Total().Seconds()),
		"client_cpu_us_per_frame": micros(r.ClientCPU) / float64(r.Frames),
		"p50_us":                  micros(r.Latency.Quantile(0.5)),
		"p99_us":                  micros(r.Latency.Quantile(0.99)),
		"p999_us":                 micros(r.Latency.Quantile(0.999)),
		"max_rss_mib":             mib(r.PeakMemory.RSS),
		"max_rss_anon_mib":        mib(r.PeakMemory.RSSAnon),
		"other_cpu_percent":       100 * r.OtherCPU.Seconds() / seconds,
		"steal_percent":           100 * r.Steal.Seconds() / seconds,
	}
}
