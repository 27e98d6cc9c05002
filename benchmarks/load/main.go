//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/gregor-broker/gregor/benchmarks/loadgen"
)

type settings struct {
	options    loadgen.Options
	topic      string
	partitions int
	create     bool
	version    int
	records    int
	recordSize int
}

func main() {
	var s settings
	flag.StringVar(&s.options.Address, "address", "127.0.0.1:9092", "`host:port` of the server")
	flag.IntVar(&s.options.PID, "pid", 0, "`process` of the server, to measure its CPU time and memory; 0 measures none")
	flag.IntVar(&s.options.Connections, "connections", 1, "number of connections")
	flag.IntVar(&s.options.InFlight, "in-flight", 5, "unanswered requests per connection")
	flag.DurationVar(&s.options.Warmup, "warm-up", time.Second, "time before counting begins")
	flag.DurationVar(&s.options.Duration, "duration", 5*time.Second, "counted time; 0 = until -frames")
	flag.Int64Var(&s.options.Frames, "frames", 0, "counted frames after which to end; 0 = until -duration")
	flag.StringVar(&s.topic, "topic", "load", "topic")
	flag.IntVar(&s.partitions, "partitions", 1, "partitions; connections are spread over them")
	flag.BoolVar(&s.create, "create", false, "create the topic first (a real broker)")
	flag.IntVar(&s.version, "version", 7, "version of the Produce requests, 3 to 13; 13 needs -create")
	flag.IntVar(&s.records, "records", 0, "records per request; 0 = as many as a batch of 1 MiB holds")
	flag.IntVar(&s.recordSize, "record-bytes", 1024, "bytes of a record's value")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (s *settings) run(ctx context.Context) error {
	if s.records == 0 {
		s.records = loadgen.RecordsThatFit(s.recordSize, 1<<20)
	}
	var id [16]byte
	if s.create {
		c, err := loadgen.Dial(ctx, s.options.Address)
		if err != nil {
			return err
		}
		id, err = c.CreateTopic(ctx, s.topic, int32(s.partitions), nil)
		if err = errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	batch := loadgen.Batch(s.records, s.recordSize, time.Now())
	for partition := range s.partitions {
		to := loadgen.Target{Topic: s.topic, TopicID: id, Partition: int32(partition)}
		request, err := loadgen.Prepare(int16(s.version), to, batch, s.records)
		if err != nil {
			return err
		}
		s.options.Requests = append(s.options.Requests, request)
	}
	r, err := loadgen.Run(ctx, s.options)
	if err != nil {
		return err
	}
	fmt.Printf("%d frames of %d bytes in %v: %.0f frames/s, %.0f records/s, %.1f MB/s\n", r.Frames, len(s.options.Requests[0].Frame), r.Elapsed.Round(time.Millisecond),
		r.FramesPerSecond(), float64(r.Records)/r.Elapsed.Seconds(), float64(r.Bytes)/1e6/r.Elapsed.Seconds())
	fmt.Printf("latency p50 %v, p99 %v, p99.9 %v, max %v\n", r.Latency.Quantile(0.5), r.Latency.Quantile(0.99), r.Latency.Quantile(0.999), r.Latency.Max())
	fmt.Printf("CPU per frame: server %v, client %v; other processes and kernel threads %v in all, steal %v\n", r.ServerCPUPerFrame(), r.ClientCPUPerFrame(), r.OtherCPU, r.Steal)
	fmt.Printf("server memory at its peak: RSS %.1f MiB, RssAnon %.1f MiB\n", float64(r.PeakMemory.RSS)/(1<<20), float64(r.PeakMemory.RSSAnon)/(1<<20))
	return nil
}
