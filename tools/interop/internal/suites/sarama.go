package suites

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/IBM/sarama"
)

const saramaLimit = time.Minute

func saramaConfig(version string) *sarama.Config {
	c := sarama.NewConfig()
	c.Version, _ = sarama.ParseKafkaVersion(version)
	c.ClientID = "gregor-interop"
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Consumer.Return.Errors = true
	return c
}

func saramaSuite(s *rig.S) {
	s.With(func(b *rig.Broker) {
		for _, version := range []string{"2.1.0", "2.4.0", "2.8.0", "3.0.0", "3.6.0", "3.9.0", "4.0.0", "4.3.1"} {
			s.Test("version/"+version, saramaLimit, func(t *rig.T) {
				saramaRoundTrip(t, b, saramaConfig(version), 200)
			})
		}
		for i, codec := range codecs {
			s.Test("codec/"+codec, saramaLimit, func(t *rig.T) {
				c := saramaConfig("3.6.0")
				c.Producer.Compression = sarama.CompressionCodec(i)
				saramaRoundTrip(t, b, c, 500)
			})
		}
		s.Test("idempotent", saramaLimit, func(t *rig.T) {
			c := saramaConfig("3.6.0")
			c.Producer.Idempotent = true
			c.Producer.RequiredAcks = sarama.WaitForAll
			c.Net.MaxOpenRequests = 1
			saramaRoundTrip(t, b, c, 2000)
		})
		s.Test("async", saramaLimit, func(t *rig.T) { saramaAsync(t, b) })
		s.Test("record/1MiB", saramaLimit, func(t *rig.T) { saramaLarge(t, b) })
		s.Test("unknown-partition", saramaLimit, func(t *rig.T) {
			topic := rig.Name("sarama-unknown")
			createTopic(t, b, topic, 1, nil)
			consumer := saramaConsumer(t, b, saramaConfig("3.6.0"))
			if _, err := consumer.ConsumePartition(topic, 5, sarama.OffsetOldest); !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
				t.Fatalf("partition 5 of 1: %v", err)
			}
			if _, err := consumer.ConsumePartition(topic, 0, 999); !errors.Is(err, sarama.ErrOffsetOutOfRange) {
				t.Fatalf("offset 999 of 0: %v", err)
			}
		})
		s.Test("offsets-by-time", saramaLimit, func(t *rig.T) {
			topic := rig.Name("sarama-time")
			start := time.Now().Add(-time.Hour).UnixMilli()
			produceStamped(t, b, topic, start, 1000, 20)
			cl, err := sarama.NewClient([]string{b.Addr}, saramaConfig("3.6.0"))
			t.Must(err, "client")
			t.Cleanup(func() { _ = cl.Close() })
			for at, want := range map[int64]int64{sarama.OffsetOldest: 0, sarama.OffsetNewest: 20, start + 5000: 5, start + 5001: 6, start + 20000: -1} {
				got, err := cl.GetOffset(topic, 0, at)
				t.Must(err, "offset")
				if got != want {
					t.Fatalf("offset for %d: %d, expected %d", at, got, want)
				}
			}
		})
		for _, version := range []string{"2.4.0", "4.0.0"} {
			s.Test("admin/"+version, saramaLimit, func(t *rig.T) { saramaAdmin(t, b, version) })
		}
	})
}

func saramaConsumer(t *rig.T, b *rig.Broker, c *sarama.Config) sarama.Consumer {
	consumer, err := sarama.NewConsumer([]string{b.Addr}, c)
	t.Must(err, "consumer")
	t.Cleanup(func() { _ = consumer.Close() })
	return consumer
}

// saramaRoundTrip sends n records to two partitions one by one and reads each partition back.
func saramaRoundTrip(t *rig.T, b *rig.Broker, c *sarama.Config, n int) {
	topic := rig.Name("sarama")
	createTopic(t, b, topic, 2, nil)
	producer, err := sarama.NewSyncProducer([]string{b.Addr}, c)
	t.Must(err, "producer")
	t.Cleanup(func() { _ = producer.Close() })
	var batch []*sarama.ProducerMessage
	for i := range n {
		batch = append(batch, saramaMessage(topic, int32(i%2), i))
	}
	t.Must(producer.SendMessages(batch[:n/2]), "send many")
	for _, m := range batch[n/2 : n/2+20] {
		_, _, err := producer.SendMessage(m)
		t.Must(err, "send one")
	}
	t.Must(producer.SendMessages(batch[n/2+20:]), "send the rest")
	consumer := saramaConsumer(t, b, c)
	for p := range int32(2) {
		saramaRead(t, consumer, topic, p, n/2, func(i int, m *sarama.ConsumerMessage) {
			want := i*2 + int(p)
			if string(m.Value) != fmt.Sprintf("value %d", want) || string(m.Key) != fmt.Sprintf("key %d", want) || len(m.Headers) != 1 || string(m.Headers[0].Value) != "x" {
				t.Fatalf("partition %d offset %d: key %q value %q headers %v, expected record %d", p, m.Offset, m.Key, m.Value, m.Headers, want)
			}
		})
	}
}

func saramaMessage(topic string, partition int32, i int) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{
		Topic: topic, Partition: partition,
		Key: sarama.StringEncoder(fmt.Sprintf("key %d", i)), Value: sarama.StringEncoder(fmt.Sprintf("value %d", i)),
		Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("x")}},
	}
}

func saramaRead(t *rig.T, consumer sarama.Consumer, topic string, partition int32, n int, check func(int, *sarama.ConsumerMessage)) {
	pc, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
	t.Must(err, "consume")
	defer func() { _ = pc.Close() }()
	for i := range n {
		select {
		case m := <-pc.Messages():
			if m.Offset != int64(i) {
				t.Fatalf("partition %d: offset %d, expected %d", partition, m.Offset, i)
			}
			check(i, m)
		case err := <-pc.Errors():
			t.Fatalf("after %d of %d records: %w", i, n, err)
		case <-t.Context().Done():
			t.Fatalf("after %d of %d records: %w", i, n, t.Context().Err())
		}
	}
	if got := pc.HighWaterMarkOffset(); got != int64(n) {
		t.Fatalf("high watermark %d, expected %d", got, n)
	}
}

func saramaAsync(t *rig.T, b *rig.Broker) {
	topic := rig.Name("sarama-async")
	createTopic(t, b, topic, 1, nil)
	c := saramaConfig("3.6.0")
	c.Producer.Flush.Messages = 100
	c.Producer.Flush.Frequency = 10 * time.Millisecond
	c.Net.MaxOpenRequests = 1 // the order of a producer that is not idempotent
	producer, err := sarama.NewAsyncProducer([]string{b.Addr}, c)
	t.Must(err, "producer")
	const n = 10000
	go func() {
		for i := range n {
			producer.Input() <- saramaMessage(topic, 0, i)
		}
	}()
	for i := range n {
		select {
		case <-producer.Successes():
		case err := <-producer.Errors():
			t.Fatalf("after %d acknowledgements: %w", i, err)
		case <-t.Context().Done():
			t.Fatalf("after %d acknowledgements: %w", i, t.Context().Err())
		}
	}
	t.Must(producer.Close(), "close")
	saramaRead(t, saramaConsumer(t, b, c), topic, 0, n, func(i int, m *sarama.ConsumerMessage) {
		if string(m.Value) != fmt.Sprintf("value %d", i) {
			t.Fatalf("offset %d: %q", i, m.Value)
		}
	})
}

func saramaLarge(t *rig.T, b *rig.Broker) {
	c := saramaConfig("3.6.0")
	c.Producer.MaxMessageBytes = 4 << 20
	large, small := rig.Name("sarama-large"), rig.Name("sarama-small")
	createTopic(t, b, large, 1, map[string]string{"max.message.bytes": "2097152"})
	createTopic(t, b, small, 1, nil)
	producer, err := sarama.NewSyncProducer([]string{b.Addr}, c)
	t.Must(err, "producer")
	t.Cleanup(func() { _ = producer.Close() })
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: large, Value: sarama.ByteEncoder(value)})
	t.Must(err, "1 MiB where 2 MiB are allowed")
	_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: small, Value: sarama.ByteEncoder(append(value, value...))})
	if !errors.Is(err, sarama.ErrMessageSizeTooLarge) {
		t.Fatalf("2 MiB where 1 MiB is allowed: %v", err)
	}
	saramaRead(t, saramaConsumer(t, b, c), large, 0, 1, func(_ int, m *sarama.ConsumerMessage) {
		if !bytes.Equal(m.Value, value) {
			t.Fatalf("%d bytes that are not those sent", len(m.Value))
		}
	})
}

func saramaAdmin(t *rig.T, b *rig.Broker, version string) {
	adm, err := sarama.NewClusterAdmin([]string{b.Addr}, saramaConfig(version))
	t.Must(err, "admin")
	t.Cleanup(func() { _ = adm.Close() })
	topic := rig.Name("sarama-admin")
	retention := "123456"
	detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &retention}}
	t.Must(adm.CreateTopic(topic, detail, true), "validate")
	t.Must(adm.CreateTopic(topic, detail, false), "create")
	if err := adm.CreateTopic(topic, detail, false); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		t.Fatalf("created twice: %v", err)
	}
	t.Must(adm.CreatePartitions(topic, 4, nil, false), "create partitions")
	eventually(t, func() error {
		topics, err := adm.ListTopics()
		if d := topics[topic]; err == nil && (d.NumPartitions != 4 || d.ConfigEntries["retention.ms"] == nil || *d.ConfigEntries["retention.ms"] != retention) {
			err = fmt.Errorf("listed as %+v", d)
		}
		return err
	})
	described, err := adm.DescribeTopics([]string{topic})
	t.Must(err, "describe")
	if len(described) != 1 || len(described[0].Partitions) != 4 {
		t.Fatalf("described as %+v", described)
	}
	resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms", "cleanup.policy"}}
	configs, err := adm.DescribeConfigs([]*sarama.ConfigResource{resource}, sarama.DescribeConfigsOptions{IncludeSynonyms: true})
	t.Must(err, "describe configs")
	if len(configs) != 1 || len(configs[0].Configs) != 2 {
		t.Fatalf("asked for two configs, got %+v", configs)
	}
	value := "654321"
	t.Must(adm.IncrementalAlterConfig(sarama.TopicResource, topic,
		map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false), "alter")
	t.Must(adm.AlterConfig(sarama.TopicResource, topic, map[string]*string{"retention.ms": &value}, false), "alter, the old way")
	_, controller, err := adm.DescribeCluster()
	t.Must(err, "describe cluster")
	if controller != 1 {
		t.Fatalf("controller %d", controller)
	}
	dirs, err := adm.DescribeLogDirs([]int32{1})
	t.Must(err, "log dirs")
	if len(dirs[1]) != 1 || dirs[1][0].Path != b.Data {
		t.Fatalf("log dirs %+v", dirs)
	}
	newest := saramaConfig(version)
	producer, err := sarama.NewSyncProducer([]string{b.Addr}, newest)
	t.Must(err, "producer")
	t.Cleanup(func() { _ = producer.Close() })
	for i := range 10 {
		_, _, err := producer.SendMessage(saramaMessage(topic, 0, i))
		t.Must(err, "send")
	}
	t.Must(adm.DeleteRecords(topic, map[int32]int64{0: 4}), "delete records")
	cl, err := sarama.NewClient([]string{b.Addr}, newest)
	t.Must(err, "client")
	t.Cleanup(func() { _ = cl.Close() })
	if first, err := cl.GetOffset(topic, 0, sarama.OffsetOldest); err != nil || first != 4 {
		t.Fatalf("first offset %d: %v", first, err)
	}
	t.Must(adm.DeleteTopic(topic), "delete")
	if err := adm.DeleteTopic(topic); !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		t.Fatalf("deleted twice: %v", err)
	}
}
