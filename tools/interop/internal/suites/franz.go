package suites

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

const franzLimit = time.Minute

// franzCodecs are the codecs in the order of the attribute bits, without a fallback that would hide a refusal.
var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func franz(s *rig.S) {
	s.With(func(b *rig.Broker) {
		franzVersions(s, b)
		franzProduce(s, b)
		franzFetch(s, b)
		franzLimits(s, b)
		franzAdmin(s, b)
	})
}

// franzVersions plays clients of every release since 2.1, the oldest whose protocol Kafka 4 serves (KIP-896).
func franzVersions(s *rig.S, b *rig.Broker) {
	versions := []struct {
		name string
		v    *kversion.Versions
	}{
		{"2.1", kversion.V2_1_0()}, {"2.2", kversion.V2_2_0()}, {"2.3", kversion.V2_3_0()}, {"2.4", kversion.V2_4_0()},
		{"2.5", kversion.V2_5_0()}, {"2.6", kversion.V2_6_0()}, {"2.7", kversion.V2_7_0()}, {"2.8", kversion.V2_8_0()},
		{"3.0", kversion.V3_0_0()}, {"3.1", kversion.V3_1_0()}, {"3.2", kversion.V3_2_0()}, {"3.3", kversion.V3_3_0()},
		{"3.4", kversion.V3_4_0()}, {"3.5", kversion.V3_5_0()}, {"3.6", kversion.V3_6_0()}, {"3.7", kversion.V3_7_0()},
		{"3.8", kversion.V3_8_0()}, {"3.9", kversion.V3_9_0()}, {"4.0", kversion.V4_0_0()}, {"4.1", kversion.V4_1_0()},
		{"4.2", kversion.V4_2_0()}, {"4.3", kversion.V4_3_0()}, {"4.4", kversion.V4_4_0()},
	}
	for _, v := range versions {
		s.Test("version/"+v.name, franzLimit, func(t *rig.T) {
			max := kgo.MaxVersions(v.v)
			topic := rig.Name("franz-" + v.name)
			adm := newAdmin(t, b, max)
			_, err := adm.CreateTopic(t.Context(), 2, 1, nil, topic)
			t.Must(err, "create")
			cl := newClient(t, b, max)
			for i := range 20 {
				t.Must(cl.ProduceSync(t.Context(), record(topic, int32(i%2), i)).FirstErr(), "produce")
			}
			for p := range int32(2) {
				records, err := readAll(t.Context(), b.Addr, topic, p, 0, 10, max)
				t.Must(err, "fetch")
				for i, r := range records {
					checkRecord(t, r, int64(i), i*2+int(p))
				}
			}
			ends, err := adm.ListEndOffsets(t.Context(), topic)
			t.Must(err, "end offsets")
			t.Must(ends.Error(), "end offsets")
			if o, _ := ends.Lookup(topic, 1); o.Offset != 10 {
				t.Fatalf("end offset %d, expected 10", o.Offset)
			}
			_, err = adm.DeleteTopic(t.Context(), topic)
			t.Must(err, "delete")
		})
	}
}

func record(topic string, partition int32, i int) *kgo.Record {
	return &kgo.Record{
		Topic: topic, Partition: partition,
		Key: fmt.Appendf(nil, "key %d", i), Value: fmt.Appendf(nil, "value %d", i),
		Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}, {Key: "null"}},
	}
}

func checkRecord(t *rig.T, r *kgo.Record, offset int64, i int) {
	want := record(r.Topic, r.Partition, i)
	same := r.Offset == offset && bytes.Equal(r.Key, want.Key) && bytes.Equal(r.Value, want.Value) && len(r.Headers) == 2 &&
		r.Headers[0].Key == "n" && bytes.Equal(r.Headers[0].Value, want.Headers[0].Value) && r.Headers[1].Key == "null" && r.Headers[1].Value == nil
	if !same {
		t.Fatalf("%s-%d offset %d: key %q value %q headers %q, expected record %d at offset %d", r.Topic, r.Partition, r.Offset, r.Key, r.Value, r.Headers, i, offset)
	}
}

func franzProduce(s *rig.S, b *rig.Broker) {
	for _, codec := range codecs {
		s.Test("codec/"+codec, franzLimit, func(t *rig.T) {
			topic := rig.Name("franz-" + codec)
			createTopic(t, b, topic, 1, nil)
			franzAsync(t, b, topic, 5000, kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.ProducerLinger(5*time.Millisecond))
		})
	}
	s.Test("async/idempotent-many-in-flight", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-async")
		createTopic(t, b, topic, 1, nil)
		franzAsync(t, b, topic, 20000, kgo.ProducerBatchMaxBytes(4096), kgo.ProducerLinger(0))
	})
	s.Test("async/leader-ack", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-acks1")
		createTopic(t, b, topic, 1, nil)
		franzAsync(t, b, topic, 5000, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()), kgo.MaxProduceRequestsInflightPerBroker(1))
	})
	s.Test("async/no-ack", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-acks0")
		createTopic(t, b, topic, 1, nil)
		cl := newClient(t, b, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.NoAck()), kgo.MaxProduceRequestsInflightPerBroker(1))
		for i := range 1000 {
			cl.Produce(t.Context(), record(topic, 0, i), nil)
		}
		t.Must(cl.Flush(t.Context()), "flush")
		records, err := readAll(t.Context(), b.Addr, topic, 0, 0, 1000)
		t.Must(err, "fetch")
		for i, r := range records {
			checkRecord(t, r, int64(i), i)
		}
	})
	s.Test("two-idempotent-producers-one-partition", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-two")
		createTopic(t, b, topic, 1, nil)
		const each = 3000
		for who := range 2 {
			cl := newClient(t, b, kgo.ProducerBatchMaxBytes(8192))
			t.Cleanup(func() { _ = cl.Flush(t.Context()) })
			for i := range each {
				r := &kgo.Record{Topic: topic, Key: []byte{byte(who)}, Value: fmt.Append(nil, i)}
				cl.Produce(t.Context(), r, nil)
			}
		}
		records, err := readAll(t.Context(), b.Addr, topic, 0, 0, 2*each)
		t.Must(err, "fetch")
		var next [2]int
		for _, r := range records {
			who := r.Key[0]
			if string(r.Value) != fmt.Sprint(next[who]) {
				t.Fatalf("offset %d: producer %d's record %s, expected %d", r.Offset, who, r.Value, next[who])
			}
			next[who]++
		}
	})
	s.Test("record/1MiB", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-1MiB")
		createTopic(t, b, topic, 1, map[string]string{"max.message.bytes": "2097152"})
		cl := newClient(t, b, kgo.ProducerBatchMaxBytes(2<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
		value := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		for range 5 {
			t.Must(cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: value}).FirstErr(), "produce")
		}
		// A fetch far smaller than the batch still gets it (KIP-74).
		records, err := readAll(t.Context(), b.Addr, topic, 0, 0, 5, kgo.FetchMaxPartitionBytes(1000), kgo.FetchMaxBytes(1000))
		t.Must(err, "fetch")
		for _, r := range records {
			if !bytes.Equal(r.Value, value) {
				t.Fatalf("offset %d: %d bytes that are not those sent", r.Offset, len(r.Value))
			}
		}
	})
	s.Test("record/empty-and-null", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-null")
		createTopic(t, b, topic, 1, nil)
		cl := newClient(t, b)
		t.Must(cl.ProduceSync(t.Context(),
			&kgo.Record{Topic: topic}, &kgo.Record{Topic: topic, Key: []byte{}, Value: []byte{}}).FirstErr(), "produce")
		records, err := readAll(t.Context(), b.Addr, topic, 0, 0, 2)
		t.Must(err, "fetch")
		if a, z := records[0], records[1]; a.Key != nil || a.Value != nil || z.Key == nil || z.Value == nil {
			t.Fatalf("null and empty are mixed up: %v %v %v %v", a.Key, a.Value, z.Key, z.Value)
		}
	})
}

// franzAsync sends n records without waiting, checks every promise's offset, and reads them back in order.
func franzAsync(t *rig.T, b *rig.Broker, topic string, n int, opts ...kgo.Opt) {
	cl := newClient(t, b, opts...)
	var wrong atomic.Pointer[string]
	for i := range n {
		cl.Produce(t.Context(), record(topic, 0, i), func(r *kgo.Record, err error) {
			if err != nil || r.Offset != int64(i) {
				text := fmt.Sprintf("record %d acknowledged at offset %d, error %v", i, r.Offset, err)
				wrong.CompareAndSwap(nil, &text)
			}
		})
	}
	t.Must(cl.Flush(t.Context()), "flush")
	if text := wrong.Load(); text != nil {
		t.Fatalf("%s", *text)
	}
	records, err := readAll(t.Context(), b.Addr, topic, 0, 0, n)
	t.Must(err, "fetch")
	for i, r := range records {
		checkRecord(t, r, int64(i), i)
	}
}

func franzFetch(s *rig.S, b *rig.Broker) {
	s.Test("fetch/from-offset", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-from")
		createTopic(t, b, topic, 1, nil)
		franzAsync(t, b, topic, 1000)
		for _, from := range []int64{0, 1, 499, 998, 999} {
			records, err := readAll(t.Context(), b.Addr, topic, 0, from, int(1000-from))
			t.Must(err, "fetch")
			if records[0].Offset != from || len(records) != int(1000-from) {
				t.Fatalf("from %d: the first of %d records is at %d", from, len(records), records[0].Offset)
			}
		}
	})
	s.Test("fetch/out-of-range", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-range")
		createTopic(t, b, topic, 1, nil)
		franzAsync(t, b, topic, 10)
		_, err := readAll(t.Context(), b.Addr, topic, 0, 5000, 1, kgo.ConsumeResetOffset(kgo.NoResetOffset()))
		if !errors.Is(err, kerr.OffsetOutOfRange) {
			t.Fatalf("offset 5000 of 10: %v", err)
		}
	})
	s.Test("fetch/waits-for-data", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-wait")
		createTopic(t, b, topic, 1, nil)
		reader := newClient(t, b, kgo.FetchMaxWait(30*time.Second),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
		got := make(chan error, 1)
		began := time.Now()
		go func() { got <- reader.PollFetches(t.Context()).Err() }()
		cl := newClient(t, b)
		t.Must(cl.ProduceSync(t.Context(), record(topic, 0, 0)).FirstErr(), "produce")
		t.Must(<-got, "poll")
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("a waiting fetch took %s to see the record", took)
		}
	})
	s.Test("fetch/min-bytes-and-max-wait", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-minbytes")
		createTopic(t, b, topic, 1, nil)
		franzAsync(t, b, topic, 10)
		began := time.Now()
		_, err := readAll(t.Context(), b.Addr, topic, 0, 0, 10, kgo.FetchMinBytes(1<<20), kgo.FetchMaxWait(2*time.Second))
		t.Must(err, "fetch")
		if took := time.Since(began); took < 1500*time.Millisecond || took > 10*time.Second {
			t.Fatalf("a fetch that cannot reach its minimum bytes took %s, expected its 2 s", took)
		}
	})
	s.Test("fetch/by-time", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-time")
		start := time.Now().Add(-time.Hour).UnixMilli()
		produceStamped(t, b, topic, start, 1000, 50)
		adm := newAdmin(t, b)
		for _, c := range []struct{ at, want int64 }{{start - 5, 0}, {start, 0}, {start + 1, 1}, {start + 30000, 30}, {start + 48001, 49}, {start + 49001, 50}} {
			o, err := adm.ListOffsetsAfterMilli(t.Context(), c.at, topic)
			t.Must(err, "offsets for time")
			t.Must(o.Error(), "offsets for time")
			// kadm answers the end offset where no record is that young.
			if got, _ := o.Lookup(topic, 0); got.Offset != c.want {
				t.Fatalf("start%+d ms: offset %d, expected %d", c.at-start, got.Offset, c.want)
			}
		}
		cl := newClient(t, b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AfterMilli(start + 40000)}}))
		if f := cl.PollFetches(t.Context()); f.Err() != nil || f.Records()[0].Offset != 40 {
			t.Fatalf("after 40 s: %v, %d records", f.Err(), f.NumRecords())
		}
		m, err := adm.ListMaxTimestampOffsets(t.Context(), topic)
		t.Must(err, "max timestamp")
		if o, _ := m.Lookup(topic, 0); o.Offset != 49 || o.Timestamp != start+49000 {
			t.Fatalf("max timestamp: offset %d timestamp %d, expected 49 and %d", o.Offset, o.Timestamp, start+49000)
		}
	})
	s.Test("fetch/log-append-time", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-appendtime")
		createTopic(t, b, topic, 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
		before := time.Now().Add(-time.Second)
		cl := newClient(t, b)
		r := &kgo.Record{Topic: topic, Value: []byte("v"), Timestamp: time.UnixMilli(1600000000000)}
		t.Must(cl.ProduceSync(t.Context(), r).FirstErr(), "produce")
		records, err := readAll(t.Context(), b.Addr, topic, 0, 0, 1)
		t.Must(err, "fetch")
		if got := records[0]; got.Attrs.TimestampType() != 1 || got.Timestamp.Before(before) || got.Timestamp.After(time.Now().Add(time.Second)) {
			t.Fatalf("timestamp %s of type %d", got.Timestamp, got.Attrs.TimestampType())
		}
	})
	s.Test("fetch/create-time", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-createtime")
		createTopic(t, b, topic, 1, nil)
		at := time.UnixMilli(time.Now().UnixMilli() - 12345)
		cl := newClient(t, b)
		t.Must(cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("v"), Timestamp: at}).FirstErr(), "produce")
		records, err := readAll(t.Context(), b.Addr, topic, 0, 0, 1)
		t.Must(err, "fetch")
		if got := records[0]; got.Attrs.TimestampType() != 0 || !got.Timestamp.Equal(at) {
			t.Fatalf("timestamp %s of type %d, expected %s", got.Timestamp, got.Attrs.TimestampType(), at)
		}
	})
	s.Test("fetch/many-topics-and-partitions", franzLimit, func(t *rig.T) {
		const topics, partitions = 20, 10
		adm := newAdmin(t, b)
		var names []string
		all := map[string]map[int32]kgo.Offset{}
		for i := range topics {
			names = append(names, rig.Name(fmt.Sprintf("franz-many-%d", i)))
		}
		created, err := adm.CreateTopics(t.Context(), partitions, 1, nil, names...)
		t.Must(err, "create")
		t.Must(created.Error(), "create")
		cl := newClient(t, b)
		var records []*kgo.Record
		for i, name := range names {
			all[name] = map[int32]kgo.Offset{}
			for p := range int32(partitions) {
				all[name][p] = kgo.NewOffset().AtStart()
				records = append(records, record(name, p, i))
			}
		}
		t.Must(cl.ProduceSync(t.Context(), records...).FirstErr(), "produce")
		reader := newClient(t, b, kgo.ConsumePartitions(all))
		seen := map[string]bool{}
		for len(seen) < topics*partitions {
			f := reader.PollFetches(t.Context())
			t.Must(f.Err(), "poll")
			for _, r := range f.Records() {
				checkRecord(t, r, 0, slices.Index(names, r.Topic))
				seen[fmt.Sprint(r.Topic, r.Partition)] = true
			}
		}
	})
}

func franzLimits(s *rig.S, b *rig.Broker) {
	s.Test("limit/message-too-large", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-large")
		createTopic(t, b, topic, 1, map[string]string{"max.message.bytes": "10000"})
		cl := newClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
		err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: make([]byte, 20000)}).FirstErr()
		if !errors.Is(err, kerr.MessageTooLarge) {
			t.Fatalf("20000 bytes where 10000 are allowed: %v", err)
		}
		t.Must(cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: make([]byte, 9000)}).FirstErr(), "a record that fits")
	})
	s.Test("limit/invalid-topic-names", franzLimit, func(t *rig.T) {
		adm := newAdmin(t, b)
		for _, name := range []string{"", ".", "..", "with space", "with/slash", "ünicode", strings.Repeat("x", 250)} {
			_, err := adm.CreateTopic(t.Context(), 1, 1, nil, name)
			if !errors.Is(err, kerr.InvalidTopicException) {
				t.Fatalf("create %.20q: %v", name, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cl := newClient(t, b, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1))
		err := cl.ProduceSync(ctx, &kgo.Record{Topic: "with space", Value: []byte("v")}).FirstErr()
		if !errors.Is(err, kerr.InvalidTopicException) {
			t.Fatalf("produce to %q: %v", "with space", err)
		}
	})
	s.Test("limit/unknown-topic", franzLimit, func(t *rig.T) {
		cl := newClient(t, b, kgo.UnknownTopicRetries(2))
		err := cl.ProduceSync(t.Context(), record(rig.Name("franz-nowhere"), 0, 0)).FirstErr()
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Fatalf("produce to a topic that is not there: %v", err)
		}
	})
	s.Test("limit/auto-creation", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-auto")
		cl := newClient(t, b, kgo.AllowAutoTopicCreation())
		t.Must(cl.ProduceSync(t.Context(), record(topic, 0, 0)).FirstErr(), "produce")
		td, err := newAdmin(t, b).ListTopics(t.Context(), topic)
		t.Must(err, "list")
		if d := td[topic]; d.Err != nil || len(d.Partitions) != 1 || d.ID == (kadm.TopicID{}) {
			t.Fatalf("%+v", d)
		}
	})
	s.Test("limit/compacted-needs-keys", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-compacted")
		createTopic(t, b, topic, 1, map[string]string{"cleanup.policy": "compact"})
		cl := newClient(t, b)
		err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("no key")}).FirstErr()
		if !errors.Is(err, kerr.InvalidRecord) {
			t.Fatalf("a record without a key: %v", err)
		}
		t.Must(cl.ProduceSync(t.Context(), record(topic, 0, 0)).FirstErr(), "a record with a key")
	})
	s.Test("limit/future-timestamp", franzLimit, func(t *rig.T) {
		topic := rig.Name("franz-future")
		createTopic(t, b, topic, 1, nil)
		cl := newClient(t, b)
		err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("v"), Timestamp: time.Now().Add(3 * time.Hour)}).FirstErr()
		if !errors.Is(err, kerr.InvalidTimestamp) {
			t.Fatalf("a record from three hours ahead: %v", err)
		}
	})
}
