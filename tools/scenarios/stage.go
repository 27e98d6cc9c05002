package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// stage is what a scenario plays on: clients of the broker, lines for the reader, and the checks that decide how it went.
// Methods may be called concurrently.
type stage struct {
	name    string
	run     string // of this performance: part of every correlation id and group
	brokers []string

	mu       sync.Mutex
	began    time.Time
	clients  []*kgo.Client
	checks   int
	failures int
}

func newStage(name string, brokers []string) *stage {
	return &stage{name: name, run: newID()[:8], brokers: brokers, began: time.Now()}
}

func (s *stage) close() {
	for _, c := range s.clients {
		c.Close()
	}
}

// client connects. It compresses with gzip, which every client of the topics can read without a plug-in.
func (s *stage) client(opts ...kgo.Opt) (*kgo.Client, error) {
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.brokers...), kgo.ClientID("scenario-" + s.name), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.ProducerBatchCompression(kgo.GzipCompression())}, opts...)...)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(s.clients, c)
	return c, nil
}

// say prints a line of who does what.
func (s *stage) say(who, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Printf("  %s %s %s\n", dim(fmt.Sprintf("%6.2fs", time.Since(s.began).Seconds())), cyan(fmt.Sprintf("%-10s", who)), fmt.Sprintf(format, args...))
}

// check notes an outcome; one that does not hold fails the scenario.
func (s *stage) check(holds bool, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks++
	mark := green("ok")
	if !holds {
		s.failures++
		mark = red("not so")
	}
	fmt.Printf("  %s %s\n", mark, fmt.Sprintf(format, args...))
}

// topic makes sure of a topic, and waits until it can be used.
func (s *stage) topic(ctx context.Context, name string, partitions int32) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	admin := kadm.NewClient(c)
	if _, err := admin.CreateTopic(ctx, partitions, 1, nil, name); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("topic %s: %w", name, err)
	}
	for {
		topics, err := admin.ListTopics(ctx, name)
		if err != nil {
			return fmt.Errorf("topic %s: %w", name, err)
		}
		if t := topics[name]; t.Err == nil && len(t.Partitions) > 0 && led(t) {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("topic %s has no leaders: %w", name, err)
		}
	}
}

func led(t kadm.TopicDetail) bool {
	for _, p := range t.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return true
}

// ends are the present ends of a topic's partitions.
func (s *stage) ends(ctx context.Context, topic string) (map[int32]int64, error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	listed, err := kadm.NewClient(c).ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ends of %s: %w", topic, err)
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}

// tail is a consumer of all partitions of a topic from their present end on.
func (s *stage) tail(ctx context.Context, topic string) (*kgo.Client, error) {
	ends, err := s.ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	from := map[int32]kgo.Offset{}
	for p, at := range ends {
		from[p] = kgo.NewOffset().At(at)
	}
	return s.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
}

// group is the name of a service's consumer group in this run.
func (s *stage) group(service string) string {
	return "scenario-" + s.name + "-" + service + "-" + s.run
}

// member is the consumer of a service, in a group of its own that begins at the present end of its topics.
func (s *stage) member(ctx context.Context, service string, topics ...string) (*kgo.Client, error) {
	group := s.group(service)
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	var offsets kadm.Offsets
	for _, topic := range topics {
		ends, err := s.ends(ctx, topic)
		if err != nil {
			return nil, err
		}
		for p, at := range ends {
			offsets.AddOffset(topic, p, at, -1)
		}
	}
	if err := kadm.NewClient(c).CommitAllOffsets(ctx, group, offsets); err != nil {
		return nil, fmt.Errorf("first offsets of group %s: %w", group, err)
	}
	return s.client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...), kgo.DisableAutoCommit())
}

// send produces records and waits until all are acknowledged.
func send(ctx context.Context, c *kgo.Client, records ...*kgo.Record) error {
	return c.ProduceSync(ctx, records...).FirstErr()
}

// each polls and calls f with every record until f says that it is enough. Errors of f end it.
func each(ctx context.Context, c *kgo.Client, f func(*kgo.Record) (enough bool, err error)) error {
	for {
		fetches := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			if !kerr.IsRetriable(e.Err) {
				return fmt.Errorf("%s-%d: %w", e.Topic, e.Partition, e.Err)
			}
		}
		for records := fetches.RecordIter(); !records.Done(); {
			enough, err := f(records.Next())
			if err != nil || enough {
				return err
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Colours are for terminals.
var colours = func() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}()

func paint(code, s string) string {
	if !colours {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func bold(s string) string  { return paint("1", s) }
func dim(s string) string   { return paint("2", s) }
func red(s string) string   { return paint("31", s) }
func green(s string) string { return paint("32", s) }
func cyan(s string) string  { return paint("36", s) }
