//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
	"github.com/gregor-broker/gregor/benchmarks/loadgen"
	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

const firstAckTimeout = 2 * time.Minute

var startColumns = []string{"fresh_ms", "existing_ms", "killed_ms", "idle_rss_mib", "idle_rss_anon_mib", "program_mib"}

// runStart measures exec to the first acknowledged record: with a fresh directory (the topic is created on the way),
// with the directory a clean stop left, and with the one SIGKILL left.
func runStart(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	m := metrics{}
	var err error
	if m["program_mib"], err = programSize(b.env, s.Name); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		metric string
		fresh  bool
		end    func() error
	}{
		{"fresh_ms", true, s.Stop},
		{"existing_ms", false, s.Kill},
		{"killed_ms", false, s.Stop},
	} {
		took, err := b.firstAck(ctx, s, step.fresh)
		if err == nil && step.fresh {
			sleep(ctx, b.settings.Idle)
			var memory procstat.Memory
			memory, err = procstat.ReadMemory(s.PID())
			m["idle_rss_mib"], m["idle_rss_anon_mib"] = mib(memory.RSS), mib(memory.RSSAnon)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", step.metric, err), s.Kill())
		}
		if err := step.end(); err != nil {
			return nil, err
		}
		m[step.metric] = millis(took)
	}
	return m, nil
}

// firstAck starts the server and returns the time until a record was acknowledged.
func (b *bench) firstAck(ctx context.Context, s *contestant.Server, fresh bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, firstAckTimeout)
	defer cancel()
	request, err := loadgen.Prepare(min(int16(b.settings.Version), 12), loadgen.Target{Topic: topicName}, loadgen.Batch(1, b.settings.RecordBytes, time.Now()), 1)
	if err != nil {
		return 0, err
	}
	return b.ackOf(ctx, s, request, fresh && contestant.Broker(s.Name))
}

// ackOf starts the server and returns the time until the request was answered without an error.
func (b *bench) ackOf(ctx context.Context, s *contestant.Server, request *loadgen.Prepared, create bool) (time.Duration, error) {
	began, err := s.Start()
	if err != nil {
		return 0, err
	}
	for {
		err := attempt(ctx, s.Address, request, create)
		if err == nil {
			return time.Since(began), nil
		}
		if pauseErr := s.Pause(ctx); pauseErr != nil {
			return 0, fmt.Errorf("%w (last attempt: %w)", pauseErr, err)
		}
	}
}

// attempt connects and produces one record. A starting server may refuse, close, or answer with any error.
func attempt(ctx context.Context, address string, request *loadgen.Prepared, create bool) (err error) {
	c, err := loadgen.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if create {
		if _, err := c.CreateTopic(ctx, topicName, 1, nil); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return err
		}
	}
	return c.Produce(request)
}

// programSize is the binary, or all the jars, in MiB.
func programSize(env *contestant.Environment, name string) (float64, error) {
	var files []string
	switch name {
	case contestant.Kafka, contestant.KafkaFlush:
		jars, err := filepath.Glob(filepath.Join(env.KafkaJars, "*.jar"))
		if err != nil {
			return 0, err
		}
		files = jars
	case contestant.Gregor:
		files = []string{env.GregorBinary}
	default:
		files = []string{env.FloorBinary}
	}
	var total int64
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return mib(total), nil
}
