package suites

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	groupSession   = 6 * time.Second
	groupHeartbeat = 500 * time.Millisecond
)

// member is one consumer in a group under test.
type member interface {
	// leave closes it in good order; a static member stays in the group until its session is over.
	leave(ctx context.Context) error
	// crash takes it away without a word to the broker.
	crash()
}

// severed is a dialer whose connections can all be cut at once and for good: what a client behind it then does no
// longer concerns the broker.
type severed struct {
	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

var errSevered = errors.New("cut off")

func (s *severed) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		_ = c.Close()
		return nil, errSevered
	}
	s.conns = append(s.conns, c)
	return c, nil
}

// Dial is for sarama's proxy setting.
func (s *severed) Dial(network, addr string) (net.Conn, error) {
	return s.dial(context.Background(), network, addr)
}

func (s *severed) sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// goMember is a member in this process: stop ends its loop, which closes the client, and done is closed behind it.
type goMember struct {
	dialer *severed
	stop   context.CancelFunc
	done   chan struct{}
}

func (m *goMember) leave(ctx context.Context) error {
	m.stop()
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("does not leave: %w", ctx.Err())
	}
}

func (m *goMember) crash() {
	m.dialer.sever()
	m.stop()
}

func newGoMember() (*goMember, context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	return &goMember{dialer: &severed{}, stop: cancel, done: make(chan struct{})}, ctx
}

// franzMember joins with franz-go. Records are committed before a rebalance can take their partition away.
func franzMember(g *groupUnderTest, name string, opts ...kgo.Opt) (member, error) {
	m, ctx := newGoMember()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(g.addr), kgo.Dialer(m.dialer.dial), kgo.ConsumerGroup(g.group), kgo.ConsumeTopics(g.topic), kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(groupSession),
		kgo.HeartbeatInterval(groupHeartbeat), kgo.RebalanceTimeout(10 * time.Second), kgo.FetchMaxWait(250 * time.Millisecond),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.ClientID(name),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			polling, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			fetches := cl.PollRecords(polling, 500)
			cancel()
			fetches.EachRecord(func(r *kgo.Record) { g.seen.got(r.Partition, r.Offset, r.Offset) })
			if fetches.NumRecords() > 0 {
				committing, cancel := context.WithTimeout(ctx, 5*time.Second)
				_ = cl.CommitUncommittedOffsets(committing) // what is not committed is delivered again
				cancel()
			}
			cl.AllowRebalance()
		}
		cl.CloseAllowingRebalance()
	}()
	return m, nil
}

// saramaMember joins with sarama.
func saramaMember(g *groupUnderTest, name string) (member, error) {
	m, ctx := newGoMember()
	c := sarama.NewConfig()
	c.ClientID, c.Version = name, sarama.V3_6_0_0
	c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, m.dialer
	c.Consumer.Group.Session.Timeout, c.Consumer.Group.Heartbeat.Interval = groupSession, groupHeartbeat
	c.Consumer.Group.Rebalance.Timeout = 10 * time.Second
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	c.Consumer.Offsets.Initial, c.Consumer.Offsets.AutoCommit.Enable = sarama.OffsetOldest, false
	c.Consumer.MaxWaitTime, c.Metadata.Retry.Backoff = 250*time.Millisecond, 100*time.Millisecond
	opened := make(chan error, 1)
	go func() {
		defer close(m.done)
		first := true
		for ctx.Err() == nil {
			group, err := sarama.NewConsumerGroup([]string{g.addr}, g.group, c)
			if first {
				opened <- err
				first = false
			}
			if err != nil {
				time.Sleep(100 * time.Millisecond) // the broker is away
				continue
			}
			for ctx.Err() == nil {
				if err := group.Consume(ctx, []string{g.topic}, &saramaHandler{g}); err != nil {
					break
				}
			}
			_ = group.Close()
		}
	}()
	return m, <-opened
}

type saramaHandler struct{ g *groupUnderTest }

func (h *saramaHandler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (h *saramaHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *saramaHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	unsaved := 0
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				session.Commit()
				return nil
			}
			h.g.seen.got(m.Partition, m.Offset, m.Offset)
			session.MarkMessage(m, "")
			if unsaved++; unsaved >= 20 {
				session.Commit()
				unsaved = 0
			}
		case <-time.After(100 * time.Millisecond):
			if unsaved > 0 {
				session.Commit()
				unsaved = 0
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

// segmentioMember joins with segmentio/kafka-go's Reader.
func segmentioMember(g *groupUnderTest, name string) (member, error) {
	m, ctx := newGoMember()
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{g.addr}, GroupID: g.group, Topic: g.topic, MaxWait: 250 * time.Millisecond, MinBytes: 1, MaxBytes: 1 << 20,
		SessionTimeout: groupSession, HeartbeatInterval: groupHeartbeat, RebalanceTimeout: 10 * time.Second, JoinGroupBackoff: 200 * time.Millisecond,
		StartOffset: kafka.FirstOffset, Dialer: &kafka.Dialer{ClientID: name, DialFunc: m.dialer.dial, Timeout: 5 * time.Second},
		ReadBackoffMin: 20 * time.Millisecond, ReadBackoffMax: 200 * time.Millisecond,
		// No CommitInterval: with commits in the background the Reader may begin again below what it has just committed. Even so
		// what waits in its queue outlives a generation (see late).
	})
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			msg, err := r.FetchMessage(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				continue
			}
			g.seen.got(int32(msg.Partition), msg.Offset, msg.Offset)
			_ = r.CommitMessages(ctx, msg)
		}
		_ = r.Close()
	}()
	return m, nil
}
