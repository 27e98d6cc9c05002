package suites

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cliSettling bounds the wait behind a command.
const cliSettling = 45 * time.Second

// settle waits until the next step may begin.
func (c *cliSide) settle(ctx context.Context, step cliStep) error {
	ctx, cancel := context.WithTimeout(ctx, cliSettling)
	defer cancel()
	var err error
	switch {
	case strings.HasPrefix(step.tool, "**"):
		err = cliUntil(ctx, "moves go on", c.noMoves)
	case strings.HasPrefix(step.tool, "*"):
		err = c.caughtUp(ctx)
	case strings.HasPrefix(step.tool, "&"):
		_, group, _ := strings.Cut(step.words, "--group ")
		group, _, _ = strings.Cut(group, " ")
		err = cliUntil(ctx, "group "+group+" is not stable", func(ctx context.Context) (bool, error) {
			groups, err := kadm.NewClient(c.client).ListGroups(ctx)
			return groups[group].State == "Stable", err
		})
	default:
		return nil
	}
	// What follows a new image inside of the broker: configs, quotas, coordinators.
	time.Sleep(200 * time.Millisecond)
	return err
}

// cliUntil asks until done is true. An error of done counts as a no: coordinators load.
func cliUntil(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	for {
		ok, err := done(ctx)
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s %s: %w", cliSettling, what, errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// caughtUp waits until the image that the broker answers from has all that the quorum had when it was called.
func (c *cliSide) caughtUp(ctx context.Context) error {
	q := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic, topic.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{kmsg.NewDescribeQuorumRequestTopicPartition()}
	q.Topics = append(q.Topics, topic)
	var end int64
	if err := cliUntil(ctx, "the quorum says nothing", func(ctx context.Context) (bool, error) {
		r, err := q.RequestWith(ctx, c.client)
		if err != nil || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
			return false, err
		}
		end = r.Topics[0].Partitions[0].HighWatermark
		return end > 0, nil
	}); err != nil {
		return err
	}
	return cliUntil(ctx, fmt.Sprintf("the broker has not all before offset %d", end), func(ctx context.Context) (bool, error) {
		r, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, c.client)
		return err == nil && r.FinalizedFeaturesEpoch >= end-1, err
	})
}

// noMoves says whether no log is being copied to another directory.
func (c *cliSide) noMoves(ctx context.Context) (bool, error) {
	r, err := kmsg.NewPtrDescribeLogDirsRequest().RequestWith(ctx, c.client)
	if err != nil {
		return false, err
	}
	for _, dir := range r.Dirs {
		for _, topic := range dir.Topics {
			for _, p := range topic.Partitions {
				if p.IsFuture {
					return false, nil
				}
			}
		}
	}
	return true, nil
}

// openTransaction leaves a transaction with one record in the topic txn open; its client is closed with the side.
func (c *cliSide) openTransaction(ctx context.Context, id string) error {
	if _, err := kadm.NewClient(c.client).CreateTopic(ctx, 1, 1, nil, "txn"); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.broker.Addr), kgo.TransactionalID(id), kgo.TransactionTimeout(10*time.Minute))
	if err != nil {
		return err
	}
	c.closing = append(c.closing, cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	return cl.ProduceSync(ctx, &kgo.Record{Topic: "txn", Key: []byte(id), Value: []byte(id)}).FirstErr()
}

// cliBefore are what has to happen before steps and is no tool's work.
var cliBefore = map[string]func(context.Context, *cliSide) error{
	"transactions/open-list": func(ctx context.Context, c *cliSide) error { return c.openTransaction(ctx, "t2") },
	"transactions/hang-find": func(ctx context.Context, c *cliSide) error { return c.openTransaction(ctx, "t3") },
}
