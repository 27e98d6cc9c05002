package suites

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/raw"
	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// answerLimit is the time from exec until every partition answers that Gregor promises after a kill, however much is
// on disk. The median keeps it while producers and readers want the same two cores; on a quiet machine nine of ten do.
const answerLimit = 100 * time.Millisecond

// kill9 kills the broker at random moments under three idempotent producers, and accounts for every record.
func kill9(s *rig.S) {
	var b *rig.Broker
	ok := s.Test("fill", 10*time.Minute, func(t *rig.T) {
		var err error
		b, err = rig.NewBroker(t.Env, "kill9")
		t.Must(err, "directory")
		t.Must(b.Start(t.Kind), "start")
		fillDisk(t, b, int64(t.GiB*(1<<30)))
		for i := range producers {
			createTopic(t, b, soloTopic(i), 1, nil)
		}
		createTopic(t, b, sharedTopic, sharedPartitions, nil)
	})
	if b == nil {
		return
	}
	defer func() { _ = b.Kill() }()
	if !ok {
		return
	}
	l := newLedger()
	s.Test("rounds", 15*time.Minute, func(t *rig.T) { killRounds(t, b, l) })
	s.Test("restarts", 10*time.Minute, func(t *rig.T) { quietRestarts(t, b) })
	s.Test("everything-again", 5*time.Minute, func(t *rig.T) {
		// A clean stop and a start later the same records are at the same offsets.
		t.Must(b.Stop(), "stop")
		t.Must(b.Start(t.Kind), "start")
		t.Must(l.readAgain(t.Context(), b.Addr), "records")
		t.Must(b.Stop(), "stop")
	})
}

// fillDisk puts size bytes that no codec can shrink on ten partitions.
func fillDisk(t *rig.T, b *rig.Broker, size int64) {
	createTopic(t, b, "ballast", 10, map[string]string{"segment.bytes": fmt.Sprint(256 << 20)})
	cl := newClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(500), kgo.ProducerBatchMaxBytes(900_000))
	source := rand.NewChaCha8([32]byte{1})
	value := make([]byte, 64<<10)
	_, _ = source.Read(value)
	var failed error
	for sent, i := int64(0), int32(0); sent < size; i++ {
		cl.Produce(t.Context(), &kgo.Record{Topic: "ballast", Partition: i % 10, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = errors.Join(failed, err) // promises are called one at a time
			}
		})
		sent += int64(len(value))
	}
	t.Must(cl.Flush(t.Context()), "flush")
	t.Must(failed, "fill")
	cl.Close()
}

func killRounds(t *rig.T, b *rig.Broker, l *ledger) {
	random := rand.New(rand.NewPCG(uint64(t.Seed), 0))
	rounds := t.RoundsOr(100, 3)
	t.Note("seed %d, %d rounds over %.1f GiB", t.Seed, rounds, t.GiB)
	ctx, stopProducing := context.WithCancel(t.Context())
	defer stopProducing()
	done := make(chan error, producers)
	for i := range producers {
		go func() { done <- l.produce(ctx, b.Addr, i) }()
	}
	var times []time.Duration
	for round := range rounds {
		if err := l.moreAcknowledged(t.Context(), 100); err != nil {
			t.Fatalf("round %d: the producers do not get on: %w\n%s", round, err, b.LogTail(10))
		}
		select {
		case <-time.After(time.Duration(random.Int64N(int64(600 * time.Millisecond)))): // the random moment itself
		case err := <-done:
			t.Fatalf("round %d: a producer ended: %w", round, err)
		}
		t.Must(b.Kill(), "kill")
		owed := l.acknowledged()
		began := time.Now()
		t.Must(b.Launch(t.Kind), "launch")
		t.Must(answersAll(t.Context(), b), fmt.Sprintf("round %d", round))
		times = append(times, time.Since(began))
		if err := l.check(t.Context(), b.Addr, owed); err != nil {
			t.Fatalf("round %d: %w\n%s", round, err, b.LogTail(10))
		}
	}
	l.stop.Store(true)
	for range producers {
		select {
		case err := <-done:
			t.Must(err, "producer")
		case <-t.Context().Done():
			t.Fatalf("the producers do not come to an end: %w", t.Context().Err())
		}
	}
	t.Must(l.check(t.Context(), b.Addr, l.acknowledged()), "at the end")
	t.Must(l.complete(), "at the end")
	t.Must(l.readAgain(t.Context(), b.Addr), "records read again")

	if n := len(times) / 4; n > 0 {
		// A start must not grow with what was written since the directory was made.
		first, last := slices.Sorted(slices.Values(times[:n])), slices.Sorted(slices.Values(times[len(times)-n:]))
		t.Note("medians of the first and the last quarter of the rounds: %s, %s", first[n/2].Round(100*time.Microsecond), last[n/2].Round(100*time.Microsecond))
	}
	median, most := spread(t, fmt.Sprintf("%d records; under load", l.records()), times)
	if t.Kind == rig.Gregor && median > answerLimit {
		t.Fatalf("half of all restarts take more than %s (nine of ten: %s)", answerLimit, most)
	}
}

// quietRestarts kills the broker in the middle of appending, lets its clients go, and measures the start alone.
func quietRestarts(t *rig.T, b *rig.Broker) {
	const topic = "restart"
	createTopic(t, b, topic, 3, nil)
	rounds := 20
	if t.Kind == rig.Kafka {
		rounds = 2
	}
	var times []time.Duration
	for range rounds {
		cl := newClient(t, b)
		var acknowledged atomic.Int64
		for i := range int32(200_000) {
			if acknowledged.Load() > 20_000 {
				break
			}
			cl.Produce(t.Context(), record(topic, i%3, int(i)), func(_ *kgo.Record, err error) {
				if err == nil {
					acknowledged.Add(1)
				}
			})
		}
		t.Must(b.Kill(), "kill")
		cl.Close()
		began := time.Now()
		t.Must(b.Launch(t.Kind), "launch")
		t.Must(answersAll(t.Context(), b), "answers")
		times = append(times, time.Since(began))
	}
	_, most := spread(t, "alone", times)
	if t.Kind == rig.Gregor && most > answerLimit {
		t.Fatalf("more than one restart in ten takes more than %s", answerLimit)
	}
}

// spread notes a median, what nine of ten keep, and the worst, and returns the first two.
func spread(t *rig.T, what string, times []time.Duration) (median, most time.Duration) {
	slices.Sort(times)
	median, most = times[len(times)/2], times[max(0, len(times)*9/10-1)]
	t.Note("%s: exec to all partitions answering: median %s, nine of ten %s, worst %s", what,
		median.Round(100*time.Microsecond), most.Round(100*time.Microsecond), times[len(times)-1].Round(100*time.Microsecond))
	return median, most
}

// answersAll returns once every partition of every topic has a leader and tells its end offset.
func answersAll(ctx context.Context, b *rig.Broker) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var last error
	for ctx.Err() == nil {
		c, err := raw.DialUntil(ctx, b.Addr, b.Alive)
		if err != nil {
			return err
		}
		for ctx.Err() == nil {
			retry, err := answersOnce(c)
			if err == nil {
				_ = c.Close()
				return nil
			}
			last = err
			if !retry {
				break
			}
		}
		_ = c.Close()
		if err := b.Alive(); err != nil {
			return err
		}
	}
	return fmt.Errorf("not every partition answers: %w\n%s", last, b.LogTail(10))
}

// answersOnce asks about all partitions in two requests; retry says whether the connection can be asked again.
func answersOnce(c *raw.Conn) (retry bool, err error) {
	m, err := c.Metadata(false)
	if err != nil {
		return false, err
	}
	q := kmsg.NewPtrListOffsetsRequest()
	q.SetVersion(5)
	q.ReplicaID = -1
	count := 0
	for _, topic := range m.Topics {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = *topic.Topic
		for _, p := range topic.Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 {
				return true, fmt.Errorf("%s-%d: error code %d, leader %d", *topic.Topic, p.Partition, p.ErrorCode, p.Leader)
			}
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p.Partition, -1, -1
			rt.Partitions = append(rt.Partitions, rp)
			count++
		}
		q.Topics = append(q.Topics, rt)
	}
	if want := 10 + producers + sharedPartitions; count < want {
		return true, fmt.Errorf("%d partitions in the metadata, expected %d", count, want)
	}
	resp, err := raw.Ask[*kmsg.ListOffsetsResponse](c, q)
	if err != nil {
		return false, err
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if p.ErrorCode != 0 {
				return true, fmt.Errorf("%s-%d: error code %d", topic.Topic, p.Partition, p.ErrorCode)
			}
			count--
		}
	}
	if count != 0 {
		return true, fmt.Errorf("%d partitions without an answer", count)
	}
	return true, nil
}
