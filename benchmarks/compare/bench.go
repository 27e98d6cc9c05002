//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
	"github.com/gregor-broker/gregor/benchmarks/loadgen"
	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

const topicName = "compare"

// metrics are the figures of one run, by a name that ends in the unit.
type metrics map[string]float64

// bar is what a scenario asks of the subject: its median divided by that of the reference.
type bar struct {
	metric    string
	reference string  // empty: the subject's own median is judged
	atLeast   float64 // 0 = no lower bound
	atMost    float64 // 0 = no upper bound
}

// scenario is one kind of run.
type scenario struct {
	name        string
	description string
	brokersOnly bool // the floor cannot take part
	once        bool // one round is enough
	columns     []string
	bars        []bar
	run         func(ctx context.Context, b *bench, s *contestant.Server) (metrics, error)
}

// bench is a whole comparison.
type bench struct {
	settings settings
	env      *contestant.Environment
	work     string
	keep     bool // the directories of the runs
	progress io.Writer
	runs     int
}

// runScenario lets every contestant run once per round. The order turns from round to round, so that none always
// follows the same other.
func (b *bench) runScenario(ctx context.Context, sc scenario) (*scenarioReport, error) {
	var names []string
	for _, name := range b.settings.Contestants {
		if contestant.Broker(name) || !sc.brokersOnly {
			names = append(names, name)
		}
	}
	rounds := b.settings.Rounds
	if sc.once {
		rounds = 1
	}
	report := &scenarioReport{Name: sc.name, Description: sc.description, columns: sc.columns, order: names}
	for round := range rounds {
		for i := range names {
			name := names[(i+round)%len(names)]
			m, err := b.runOnce(ctx, sc, name)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", name, round+1, err)
			}
			report.Runs = append(report.Runs, runReport{Contestant: name, Round: round + 1, Metrics: m})
			first := sc.columns[0]
			fmt.Fprintf(b.progress, "%s round %d/%d %s: %s %s\n", sc.name, round+1, rounds, name, first, figure(m[first]))
		}
	}
	report.judge(sc.bars, b.settings.Subject)
	return report, nil
}

// runOnce gives a contestant a fresh directory and takes it away afterwards, unless it is to be kept.
func (b *bench) runOnce(ctx context.Context, sc scenario, name string) (m metrics, err error) {
	b.runs++
	dir := filepath.Join(b.work, fmt.Sprintf("%03d-%s-%s", b.runs, sc.name, name))
	s, err := b.env.Prepare(ctx, name, dir)
	if err != nil {
		return nil, err
	}
	unix.Sync() // nobody's unwritten data is left for the contestant's syncs to wait for
	m, err = sc.run(ctx, b, s)
	if err != nil {
		if output, readErr := os.ReadFile(filepath.Join(dir, "output.log")); readErr == nil && len(output) > 0 {
			err = fmt.Errorf("%w\nlast output of %s:\n%s", err, name, output[max(len(output)-2000, 0):])
		}
		return nil, err
	}
	if b.keep {
		return m, nil
	}
	return m, os.RemoveAll(dir)
}

// running starts a server, waits until it listens, creates the topic where there are topics, calls f, and stops it.
func running(ctx context.Context, s *contestant.Server, f func(topicID [16]byte) error) (err error) {
	if _, err := s.Start(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Kill())
			return
		}
		err = s.Stop()
	}()
	if err := s.AwaitListening(ctx); err != nil {
		return err
	}
	var id [16]byte
	if contestant.Broker(s.Name) {
		if id, err = createTopic(ctx, s); err != nil {
			return err
		}
	}
	return f(id)
}

func createTopic(ctx context.Context, s *contestant.Server) ([16]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := loadgen.Dial(ctx, s.Address)
	if err != nil {
		return [16]byte{}, err
	}
	id, err := c.CreateTopic(ctx, topicName, 1, nil)
	return id, errors.Join(err, c.Close())
}

// warmed calls f while the machine has size bytes of touched memory ready, see procstat.Ballast. It returns how much
// of it was not needed: with nothing left the end of the run was on cold memory.
func (b *bench) warmed(size int64, f func() error) (left int64, err error) {
	if !b.settings.WarmMemory {
		return 0, f()
	}
	ballast, err := procstat.NewBallast(size)
	if err != nil {
		return 0, err
	}
	ballast.Start()
	err = f()
	return ballast.Release(), err
}

// measured runs the server, and measure while size bytes of warm memory are ready; it adds how much of that was left.
func (b *bench) measured(ctx context.Context, s *contestant.Server, size int64, measure func() (metrics, error)) (m metrics, err error) {
	err = running(ctx, s, func([16]byte) error {
		left, err := b.warmed(size, func() (err error) {
			m, err = measure()
			return err
		})
		if err == nil {
			m["warm_left_mib"] = mib(left)
		}
		return err
	})
	return m, err
}

// prepare builds the request that a load sends.
func (b *bench) prepare(topicID [16]byte, records int) (*loadgen.Prepared, error) {
	batch := loadgen.Batch(records, b.settings.RecordBytes, time.Now())
	return loadgen.Prepare(int16(b.settings.Version), loadgen.Target{Topic: topicName, TopicID: topicID}, batch, records)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
