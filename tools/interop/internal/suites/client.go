package suites

import (
	"context"
	"fmt"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// newClient is a franz-go client that is closed with the test. Records go to the partition they name.
func newClient(t *rig.T, b *rig.Broker, opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50 * time.Millisecond),
	}, opts...)...)
	t.Must(err, "client")
	t.Cleanup(cl.Close)
	return cl
}

func newAdmin(t *rig.T, b *rig.Broker, opts ...kgo.Opt) *kadm.Client {
	return kadm.NewClient(newClient(t, b, opts...))
}

// createTopic makes a topic with these configs and returns its id.
func createTopic(t *rig.T, b *rig.Broker, name string, partitions int32, configs map[string]string) kadm.TopicID {
	adm := newAdmin(t, b)
	resp, err := adm.CreateTopic(t.Context(), partitions, 1, pointers(configs), name)
	t.Must(err, "create "+name)
	untilThere(t, adm, name, int(partitions))
	return resp.ID
}

// eventually asks f again until it is content, for at most 20 s: what Kafka's controller has taken, the broker beside it
// shows a moment later.
func eventually(t *rig.T, f func() error) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) || t.Context().Err() != nil {
			t.Fatalf("%w", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// untilThere waits until the topic's metadata shows n partitions with leaders: Kafka's controller answers a creation
// before the broker beside it has heard of it.
func untilThere(t *rig.T, adm *kadm.Client, topic string, n int) kadm.TopicDetail {
	for {
		topics, err := adm.ListTopics(t.Context(), topic)
		t.Must(err, "list "+topic)
		d := topics[topic]
		led := 0
		for _, p := range d.Partitions {
			if p.Err == nil && p.Leader >= 0 {
				led++
			}
		}
		if d.Err == nil && led == n {
			return d
		}
		if t.Context().Err() != nil {
			t.Fatalf("%s: %d partitions with a leader, expected %d (%v)", topic, led, n, d.Err)
		}
		time.Sleep(time.Millisecond)
	}
}

func pointers(m map[string]string) map[string]*string {
	out := map[string]*string{}
	for k, v := range m {
		out[k] = &v
	}
	return out
}

// produceStamped auto-creates topic and sends n records to partition 0, the first stamped start, then every step ms.
func produceStamped(t *rig.T, b *rig.Broker, topic string, start, step int64, n int) {
	cl := newClient(t, b, kgo.AllowAutoTopicCreation())
	for i := range n {
		r := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "record %d", i), Timestamp: time.UnixMilli(start + int64(i)*step)}
		t.Must(cl.ProduceSync(t.Context(), r).FirstErr(), "produce")
	}
}

// readAll consumes one partition from offset from until n records have come or ctx ends.
func readAll(ctx context.Context, addr, topic string, partition int32, from int64, n int, opts ...kgo.Opt) ([]*kgo.Record, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}),
		kgo.FetchMaxWait(250 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var out []*kgo.Record
	for len(out) < n {
		f := cl.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			return out, fmt.Errorf("%s-%d after %d of %d records: %w", topic, partition, len(out), n, err)
		}
		for _, e := range f.Errors() {
			return out, fmt.Errorf("%s-%d after %d of %d records: %w", topic, partition, len(out), n, e.Err)
		}
		out = append(out, f.Records()...)
	}
	return out, nil
}

// listEnds is the end offset of one partition.
func listEnds(ctx context.Context, cl *kgo.Client, at place) (int64, error) {
	listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, at.topic)
	if err != nil {
		return 0, err
	}
	o, ok := listed.Lookup(at.topic, at.partition)
	if !ok {
		return 0, fmt.Errorf("no answer about partition %d", at.partition)
	}
	return o.Offset, o.Err
}
