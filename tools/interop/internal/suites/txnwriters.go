package suites

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	txnData       = "txn-data"
	txnIn         = "txn-in"
	txnPartitions = 3
	txnPace       = 15 * time.Millisecond // between the beginnings of two transactions of a writer
	txnTimeout    = 8 * time.Second       // transaction.timeout.ms of all writers
	txnPatience   = 2 * time.Minute       // for one call of a client, however often the broker dies meanwhile
)

// outOf is the topic a consume-transform-produce loop of that name writes to.
func outOf(loop string) string { return "txn-out-" + loop }

// franzWriter writes transactions with franz-go: one in eight is aborted, one in sixteen is left open by a client that
// goes away, some of those under an id that nobody ever uses again.
type franzWriter struct {
	name  string
	topic string
	old   bool // speaks the protocol from before KIP-890's second part
	h     *history
	stop  atomic.Bool
}

func (w *franzWriter) open(addr, id string) (*kgo.Client, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(addr), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.TransactionalID(id), kgo.TransactionTimeout(txnTimeout), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(time.Millisecond), kgo.MetadataMinAge(20 * time.Millisecond), kgo.UnknownTopicRetries(-1),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.RequestRetries(1 << 30), kgo.RetryTimeout(time.Hour),
	}
	if w.old {
		opts = append(opts, kgo.MaxVersions(kversion.V3_7_0()))
	}
	return kgo.NewClient(opts...)
}

// run writes until stop. An error is one that no kill of the broker explains.
func (w *franzWriter) run(ctx context.Context, addr string) error {
	var cl *kgo.Client
	defer func() {
		if cl != nil {
			cl.Close()
		}
	}()
	id, lives := w.name, 0
	for n := int64(0); !w.stop.Load() && ctx.Err() == nil; n++ {
		began := time.Now()
		if cl == nil {
			var err error
			if cl, err = w.open(addr, id); err != nil {
				return err
			}
			lives++
		}
		keep, err := w.one(ctx, cl, n)
		if err != nil {
			return fmt.Errorf("%s, transaction %d: %w", w.name, n, err)
		}
		if !keep {
			cl.Close()
			cl = nil
			if rand.IntN(60) == 0 {
				id = fmt.Sprintf("%s-%d", w.name, lives) // what is left open under the old one has to time out
			}
		}
		select {
		case <-time.After(time.Until(began.Add(txnPace))):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// one writes transaction n. It reports whether the client may be used for the next.
func (w *franzWriter) one(ctx context.Context, cl *kgo.Client, n int64) (keep bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, txnPatience)
	defer cancel()
	k, count := txnKey{w.name, n}, 1+rand.IntN(12)
	w.h.begin(k, count)
	if err := cl.BeginTransaction(); err != nil {
		return false, nil // the client has failed for good; another takes over
	}
	var failed atomic.Bool
	for i := range count {
		r := &kgo.Record{Topic: w.topic, Partition: rand.Int32N(txnPartitions), Value: []byte(txnValue(k, i, count))}
		cl.Produce(ctx, r, func(r *kgo.Record, err error) {
			if err != nil {
				failed.Store(true)
				return
			}
			w.h.ack(k, i, place{r.Topic, r.Partition}, r.Offset)
		})
	}
	end := rand.IntN(16)
	if end == 0 {
		if n%2 == 0 {
			_ = cl.Flush(ctx)
		}
		return false, nil // left open
	}
	if err := cl.Flush(ctx); err != nil {
		return false, fmt.Errorf("flush: %w", err)
	}
	if end > 2 && !failed.Load() {
		w.h.trying(k)
		err := cl.EndTransaction(ctx, kgo.TryCommit)
		if err == nil {
			w.h.ended(k, txnCommitted)
			return true, nil
		}
		if ctx.Err() != nil {
			return false, fmt.Errorf("commit: %w", err)
		}
		if !errors.Is(err, kerr.OperationNotAttempted) && !errors.Is(err, kerr.TransactionAbortable) {
			return false, nil // unknown
		}
	}
	if err := cl.EndTransaction(ctx, kgo.TryAbort); err != nil {
		if ctx.Err() != nil {
			return false, fmt.Errorf("abort: %w", err)
		}
		return false, nil
	}
	w.h.ended(k, txnAborted)
	return true, nil
}

// franzLoop consumes txn-in, transforms, and produces with the offsets in one transaction. Now and then it goes away
// in the middle of one and another takes its place.
type franzLoop struct {
	group, id, out string
	consumer       bool // the consumer protocol (KIP-848) instead of the classic one
	stop           atomic.Bool
	restarts       atomic.Int64
}

func (l *franzLoop) open(addr string) (*kgo.GroupTransactSession, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(addr), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.TransactionalID(l.id), kgo.TransactionTimeout(txnTimeout), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumerGroup(l.group), kgo.ConsumeTopics(txnIn), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6 * time.Second), kgo.RebalanceTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.FetchMaxWait(250 * time.Millisecond), kgo.MetadataMinAge(20 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.RequestRetries(1 << 30), kgo.RetryTimeout(time.Hour),
	}
	if l.consumer {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	return kgo.NewGroupTransactSession(opts...)
}

func (l *franzLoop) run(ctx context.Context, addr string) error {
	for !l.stop.Load() && ctx.Err() == nil {
		if err := l.life(ctx, addr); err != nil {
			return fmt.Errorf("loop %s: %w", l.id, err)
		}
		l.restarts.Add(1)
	}
	return ctx.Err()
}

// life is one client's life, until it fails, leaves, or is told to stop.
func (l *franzLoop) life(ctx context.Context, addr string) error {
	sess, err := l.open(addr)
	if err != nil {
		return err
	}
	defer sess.Close()
	for !l.stop.Load() && ctx.Err() == nil {
		polling, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		fetches := sess.PollRecords(polling, 200)
		cancel()
		// Errors are of a broker that is being killed. Lost data is among them where there is none: franz-go does not
		// take over the leader epoch of a marker that it passes, and asks about the one before.
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := sess.Begin(); err != nil {
			return nil
		}
		var failed atomic.Bool
		fetches.EachRecord(func(r *kgo.Record) {
			out := &kgo.Record{Topic: l.out, Partition: r.Partition, Value: []byte(transformed(r.Partition, r.Offset, string(r.Value)))}
			sess.Produce(ctx, out, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(true)
				}
			})
		})
		if rand.IntN(60) == 0 {
			return nil // in the middle
		}
		ending, cancel := context.WithTimeout(ctx, txnPatience)
		_, err := sess.End(ending, kgo.TransactionEndTry(!failed.Load()))
		over := ending.Err()
		cancel()
		if over != nil {
			return fmt.Errorf("end of a transaction: %w (%w)", over, err)
		}
		if err != nil {
			return nil // fenced, or the answer is unknown: another client finds out
		}
	}
	return nil
}
