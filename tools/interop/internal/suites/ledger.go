package suites

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	producers        = 3
	sharedTopic      = "shared"
	sharedPartitions = 3
	producerPace     = 20_000 // records a second, each
)

func soloTopic(i int) string { return fmt.Sprintf("solo-%d", i) }

// place is one partition under test.
type place struct {
	topic     string
	partition int32
}

// account is what one producer has sent to one partition. Its records are numbered from 0.
type account struct {
	sent    int64
	acked   []int64 // offset by number; -1 while not acknowledged
	seen    []int64 // offset by number, as found in the log
	settled int     // below this number, acked and seen are known to be the same
}

// ledger knows of every record who sent it, where it was acknowledged, and where it was found. Safe for concurrent use.
type ledger struct {
	stop atomic.Bool // producers send no more

	mu       sync.Mutex
	accounts map[place]*[producers]account
	verified map[place]int64 // everything below this offset has been found in order
	count    int64           // acknowledgements
}

func newLedger() *ledger {
	l := &ledger{accounts: map[place]*[producers]account{}, verified: map[place]int64{}}
	for i := range producers {
		l.accounts[place{soloTopic(i), 0}] = &[producers]account{}
	}
	for p := range int32(sharedPartitions) {
		l.accounts[place{sharedTopic, p}] = &[producers]account{}
	}
	return l
}

// produce sends until stop, to the producer's own partition and to all shared ones, and waits for what is out.
// Retries have no end: only ctx, or a broker that lost or refused a record, makes it fail.
func (l *ledger) produce(ctx context.Context, addr string, who int) error {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.StopProducerOnDataLossDetected(),
		kgo.MaxBufferedRecords(2000), kgo.ProducerLinger(time.Millisecond), kgo.MetadataMinAge(20*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.RequestRetries(1<<30),
		kgo.UnknownTopicRetries(-1), kgo.RetryTimeout(time.Hour),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	places := []place{{soloTopic(who), 0}}
	for p := range int32(sharedPartitions) {
		places = append(places, place{sharedTopic, p})
	}
	began := time.Now()
	for i := 0; !l.stop.Load() && failed.Load() == nil && ctx.Err() == nil; i++ {
		if i%100 == 0 {
			// Not faster than the pace, so that a hundred rounds stay within memory and disk.
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / producerPace)))
		}
		at := places[i%len(places)]
		n := l.next(at, who)
		cl.Produce(ctx, &kgo.Record{Topic: at.topic, Partition: at.partition, Value: payload(who, n)}, func(r *kgo.Record, err error) {
			if err != nil {
				err = fmt.Errorf("producer %d, record %d of %s-%d: %w", who, n, at.topic, at.partition, err)
				failed.CompareAndSwap(nil, &err)
				return
			}
			l.ack(at, who, n, r.Offset)
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// payload is producer, number, and up to 400 bytes made of both.
func payload(who int, n int64) []byte {
	x := mix(uint64(who)<<56 ^ uint64(n))
	out := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(who)), uint64(n))
	for range x % 50 {
		x = mix(x)
		out = binary.BigEndian.AppendUint64(out, x)
	}
	return out
}

func (l *ledger) next(at place, who int) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &l.accounts[at][who]
	a.acked = append(a.acked, -1)
	a.sent++
	return a.sent - 1
}

func (l *ledger) ack(at place, who int, n, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accounts[at][who].acked[n] = offset
	l.count++
}

// moreAcknowledged waits for n more acknowledgements.
func (l *ledger) moreAcknowledged(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	begin := l.records()
	for l.records() < begin+n {
		if ctx.Err() != nil {
			return fmt.Errorf("%d acknowledgements in a minute", l.records()-begin)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (l *ledger) records() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// acknowledged is, per partition and producer, how many records from the first on are acknowledged without a gap.
func (l *ledger) acknowledged() map[place][producers]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[place][producers]int64{}
	for at, accounts := range l.accounts {
		var n [producers]int64
		for who := range accounts {
			a := &accounts[who]
			// Everything seen in an earlier check was acknowledged or will be; begin there.
			n[who] = int64(len(a.seen))
			for n[who] < a.sent && a.acked[n[who]] >= 0 {
				n[who]++
			}
		}
		out[at] = n
	}
	return out
}

// check reads what is new since the last check and holds it against the ledger: each producer's records in each
// partition are the next ones, once, in order; all that are owed are there, at the offsets that were promised.
func (l *ledger) check(ctx context.Context, addr string, owed map[place][producers]int64) error {
	for at := range l.accounts {
		end, err := endOffset(ctx, addr, at)
		if err != nil {
			return err
		}
		from := l.verified[at]
		if end < from {
			return fmt.Errorf("%s-%d ends at %d, records up to %d were read before", at.topic, at.partition, end, from)
		}
		err = eachRecord(ctx, addr, at, from, end, func(r *kgo.Record) error { return l.found(at, r) })
		if err != nil {
			return err
		}
		l.verified[at] = end
		if err := l.settled(at, owed[at]); err != nil {
			return err
		}
	}
	return nil
}

// found enters one record of the log.
func (l *ledger) found(at place, r *kgo.Record) error {
	who, n, err := parsePayload(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &l.accounts[at][who]
	if next := int64(len(a.seen)); n != next {
		kind := "lost or out of order"
		if n < next {
			kind = fmt.Sprintf("there twice, or out of order (first at %d)", a.seen[n])
		}
		return fmt.Errorf("%s-%d offset %d: record %d of producer %d is %s: record %d is next", at.topic, at.partition, r.Offset, n, who, kind, next)
	}
	a.seen = append(a.seen, r.Offset)
	return nil
}

// parsePayload takes a record's producer and number out of its value and checks the rest of it.
func parsePayload(r *kgo.Record) (who int, n int64, err error) {
	if len(r.Value) >= 16 {
		who, n = int(binary.BigEndian.Uint64(r.Value)), int64(binary.BigEndian.Uint64(r.Value[8:]))
		if who >= 0 && who < producers && string(r.Value) == string(payload(who, n)) {
			return who, n, nil
		}
	}
	return 0, 0, fmt.Errorf("%s-%d offset %d: a value nobody sent: %.40x", r.Topic, r.Partition, r.Offset, r.Value)
}

func (l *ledger) settled(at place, owed [producers]int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for who := range producers {
		a := &l.accounts[at][who]
		if int64(len(a.seen)) < owed[who] {
			return fmt.Errorf("%s-%d: records %d to %d of producer %d were acknowledged and are gone", at.topic, at.partition, len(a.seen), owed[who]-1, who)
		}
		for n := a.settled; n < len(a.seen) && a.acked[n] >= 0; n++ {
			if a.acked[n] != a.seen[n] {
				return fmt.Errorf("%s-%d: record %d of producer %d was acknowledged at %d and is at %d", at.topic, at.partition, n, who, a.acked[n], a.seen[n])
			}
			a.settled = n + 1
		}
	}
	return nil
}

// complete says whether everything that was sent is acknowledged and in the log.
func (l *ledger) complete() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, accounts := range l.accounts {
		for who := range accounts {
			a := &accounts[who]
			if int64(len(a.seen)) != a.sent {
				return fmt.Errorf("%s-%d: producer %d sent %d records, %d are there", at.topic, at.partition, who, a.sent, len(a.seen))
			}
			if int64(a.settled) != a.sent {
				return fmt.Errorf("%s-%d: record %d of producer %d was never acknowledged", at.topic, at.partition, a.settled, who)
			}
		}
	}
	return nil
}

// readAgain reads every partition from its beginning and finds each record where it was found first.
func (l *ledger) readAgain(ctx context.Context, addr string) error {
	for at, accounts := range l.accounts {
		end, err := endOffset(ctx, addr, at)
		if err != nil {
			return err
		}
		if end != l.verified[at] {
			return fmt.Errorf("%s-%d ends at %d, ended at %d", at.topic, at.partition, end, l.verified[at])
		}
		count := 0
		err = eachRecord(ctx, addr, at, 0, end, func(r *kgo.Record) error {
			who, n, err := parsePayload(r)
			if err != nil {
				return err
			}
			if a := &accounts[who]; n >= int64(len(a.seen)) || a.seen[n] != r.Offset {
				return fmt.Errorf("%s-%d offset %d: record %d of producer %d was elsewhere before", at.topic, at.partition, r.Offset, n, who)
			}
			count++
			return nil
		})
		if err != nil {
			return err
		}
		if int64(count) != end {
			return fmt.Errorf("%s-%d: %d records below %d", at.topic, at.partition, count, end)
		}
	}
	return nil
}

func endOffset(ctx context.Context, addr string, at place) (int64, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ends, err := listEnds(ctx, cl, at)
	if err != nil {
		return 0, fmt.Errorf("end offset of %s-%d: %w", at.topic, at.partition, err)
	}
	return ends, nil
}

// eachRecord calls f with the records from from to end, which must have no gap.
func eachRecord(ctx context.Context, addr string, at place, from, end int64, f func(*kgo.Record) error) error {
	if from == end {
		return nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchMaxWait(250*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{at.topic: {at.partition: kgo.NewOffset().At(from)}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	for next := from; next < end; {
		fetched := cl.PollFetches(ctx)
		if err := fetched.Err0(); err != nil {
			return fmt.Errorf("%s-%d at %d of %d: %w", at.topic, at.partition, next, end, err)
		}
		for _, e := range fetched.Errors() {
			return fmt.Errorf("%s-%d at %d of %d: %w", at.topic, at.partition, next, end, e.Err)
		}
		for _, r := range fetched.Records() {
			if next == end {
				break
			}
			if r.Offset != next {
				return fmt.Errorf("%s-%d: offset %d where %d was expected", at.topic, at.partition, r.Offset, next)
			}
			if err := f(r); err != nil {
				return err
			}
			next++
		}
	}
	return nil
}
