package suites

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	kafkago "github.com/segmentio/kafka-go"
)

const segmentioLimit = time.Minute

// segmentio speaks the oldest request versions of the Go clients.
func segmentio(s *rig.S) {
	s.With(func(b *rig.Broker) {
		s.Test("conn", segmentioLimit, func(t *rig.T) { segmentioConn(t, b) })
		s.Test("conn/admin", segmentioLimit, func(t *rig.T) { segmentioConnAdmin(t, b) })
		s.Test("conn/offsets-by-time", segmentioLimit, func(t *rig.T) {
			topic := rig.Name("segmentio-time")
			start := time.Now().Add(-time.Hour).UnixMilli()
			produceStamped(t, b, topic, start, 1000, 20)
			c := segmentioDial(t, b, topic, 0)
			got, err := c.ReadOffset(time.UnixMilli(start + 5001))
			t.Must(err, "read offset")
			if got != 6 {
				t.Fatalf("offset %d, expected 6", got)
			}
		})
		for i, codec := range codecs {
			s.Test("writer-reader/"+codec, segmentioLimit, func(t *rig.T) { segmentioWriterReader(t, b, kafkago.Compression(i)) })
		}
		s.Test("writer/auto-creation", segmentioLimit, func(t *rig.T) {
			topic := rig.Name("segmentio-auto")
			w := &kafkago.Writer{Addr: kafkago.TCP(b.Addr), Transport: segmentioTransport(t), RequiredAcks: kafkago.RequireAll, Topic: topic, AllowAutoTopicCreation: true, BatchTimeout: time.Millisecond}
			t.Cleanup(func() { _ = w.Close() })
			t.Must(segmentioUntilThere(t, w, kafkago.Message{Value: []byte("v")}), "write")
		})
		s.Test("writer/message-too-large", segmentioLimit, func(t *rig.T) {
			topic := rig.Name("segmentio-large")
			createTopic(t, b, topic, 1, map[string]string{"max.message.bytes": "10000"})
			w := &kafkago.Writer{Addr: kafkago.TCP(b.Addr), Transport: segmentioTransport(t), RequiredAcks: kafkago.RequireAll, Topic: topic, BatchTimeout: time.Millisecond, MaxAttempts: 1}
			t.Cleanup(func() { _ = w.Close() })
			err := w.WriteMessages(t.Context(), kafkago.Message{Value: make([]byte, 50000)})
			var each kafkago.WriteErrors
			if !errors.As(err, &each) || !errors.Is(each[0], kafkago.MessageSizeTooLarge) {
				t.Fatalf("50000 bytes where 10000 are allowed: %v", err)
			}
		})
		s.Test("reader/waits", segmentioLimit, func(t *rig.T) {
			topic := rig.Name("segmentio-wait")
			createTopic(t, b, topic, 1, nil)
			r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: []string{b.Addr}, Topic: topic, MinBytes: 1, MaxBytes: 1e6, MaxWait: 2 * time.Second}) // closing it waits as long
			t.Cleanup(func() { _ = r.Close() })
			got := make(chan error, 1)
			go func() {
				_, err := r.ReadMessage(t.Context())
				got <- err
			}()
			w := &kafkago.Writer{Addr: kafkago.TCP(b.Addr), Transport: segmentioTransport(t), RequiredAcks: kafkago.RequireAll, Topic: topic, BatchTimeout: time.Millisecond}
			t.Cleanup(func() { _ = w.Close() })
			t.Must(w.WriteMessages(t.Context(), kafkago.Message{Value: []byte("v")}), "write")
			t.Must(<-got, "read")
		})
		s.Test("client/admin", segmentioLimit, func(t *rig.T) { segmentioClient(t, b) })
	})
}

// segmentioUntilThere writes until the topic that the first try creates has a leader: the library hands that error on.
func segmentioUntilThere(t *rig.T, w *kafkago.Writer, m ...kafkago.Message) error {
	for {
		err := w.WriteMessages(t.Context(), m...)
		if !errors.Is(err, kafkago.UnknownTopicOrPartition) && !errors.Is(err, kafkago.LeaderNotAvailable) || t.Context().Err() != nil {
			return err
		}
	}
}

// segmentioTransport forgets metadata at once: the library's own answers for seconds out of what it knew before.
func segmentioTransport(t *rig.T) *kafkago.Transport {
	transport := &kafkago.Transport{MetadataTTL: 50 * time.Millisecond}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func segmentioDial(t *rig.T, b *rig.Broker, topic string, partition int) *kafkago.Conn {
	c, err := kafkago.DialLeader(t.Context(), "tcp", b.Addr, topic, partition)
	t.Must(err, "dial")
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

func segmentioConn(t *rig.T, b *rig.Broker) {
	topic := rig.Name("segmentio-conn")
	createTopic(t, b, topic, 1, nil)
	c := segmentioDial(t, b, topic, 0)
	for i := range 10 {
		_, err := c.WriteMessages(kafkago.Message{Key: fmt.Appendf(nil, "key %d", i), Value: fmt.Appendf(nil, "value %d", i)})
		t.Must(err, "write")
	}
	for i := range 5 {
		_, err := c.WriteCompressedMessages(kafkago.Compression(i).Codec(), kafkago.Message{Value: fmt.Appendf(nil, "value %d", 10+i)})
		if i == 0 {
			_, err = c.WriteMessages(kafkago.Message{Value: []byte("value 10")})
		}
		t.Must(err, "write compressed")
	}
	first, last, err := c.ReadOffsets()
	t.Must(err, "offsets")
	if first != 0 || last < 15 {
		t.Fatalf("offsets %d to %d", first, last)
	}
	_, err = c.Seek(0, kafkago.SeekAbsolute)
	t.Must(err, "seek")
	batch := c.ReadBatch(1, 1e6)
	for i := range 10 {
		m, err := batch.ReadMessage()
		t.Must(err, "read")
		if m.Offset != int64(i) || string(m.Value) != fmt.Sprintf("value %d", i) || string(m.Key) != fmt.Sprintf("key %d", i) {
			t.Fatalf("offset %d: key %q value %q, expected record %d", m.Offset, m.Key, m.Value, i)
		}
	}
	_ = batch.Close()
	_, err = c.Seek(2, kafkago.SeekEnd)
	t.Must(err, "seek from the end")
	m, err := c.ReadMessage(1e6)
	t.Must(err, "read near the end")
	if m.Offset != last-2 {
		t.Fatalf("offset %d, expected %d", m.Offset, last-2)
	}
	_, err = c.Seek(99999, kafkago.SeekAbsolute)
	if !errors.Is(err, kafkago.OffsetOutOfRange) {
		t.Fatalf("seek to 99999: %v", err)
	}
}

func segmentioConnAdmin(t *rig.T, b *rig.Broker) {
	c, err := kafkago.DialContext(t.Context(), "tcp", b.Addr)
	t.Must(err, "dial")
	t.Cleanup(func() { _ = c.Close() })
	controller, err := c.Controller()
	t.Must(err, "controller")
	if net.JoinHostPort(controller.Host, fmt.Sprint(controller.Port)) != b.Addr || controller.ID != 1 {
		t.Fatalf("controller %+v", controller)
	}
	versions, err := c.ApiVersions()
	t.Must(err, "api versions")
	if len(versions) < 10 {
		t.Fatalf("%d api versions", len(versions))
	}
	topic := rig.Name("segmentio-admin")
	t.Must(c.CreateTopics(kafkago.TopicConfig{Topic: topic, NumPartitions: 3, ReplicationFactor: 1}), "create")
	eventually(t, func() error {
		parts, err := c.ReadPartitions(topic)
		if err == nil && (len(parts) != 3 || parts[2].Leader.ID != 1) {
			err = fmt.Errorf("partitions %+v", parts)
		}
		return err
	})
	t.Must(c.DeleteTopics(topic), "delete")
}

func segmentioWriterReader(t *rig.T, b *rig.Broker, codec kafkago.Compression) {
	topic := rig.Name("segmentio-writer")
	createTopic(t, b, topic, 1, nil)
	w := &kafkago.Writer{Addr: kafkago.TCP(b.Addr), Transport: segmentioTransport(t), RequiredAcks: kafkago.RequireAll, Topic: topic, Compression: codec, BatchTimeout: time.Millisecond}
	t.Cleanup(func() { _ = w.Close() })
	const n = 2000
	var messages []kafkago.Message
	for i := range n {
		messages = append(messages, kafkago.Message{
			Key: fmt.Appendf(nil, "key %d", i), Value: bytes.Repeat(fmt.Appendf(nil, "%d ", i), 20),
			Headers: []kafkago.Header{{Key: "h", Value: []byte("x")}},
		})
	}
	t.Must(segmentioUntilThere(t, w, messages...), "write")
	r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: []string{b.Addr}, Topic: topic, MinBytes: 1, MaxBytes: 1e6, MaxWait: 500 * time.Millisecond})
	t.Cleanup(func() { _ = r.Close() })
	for i := range n {
		m, err := r.ReadMessage(t.Context())
		t.Must(err, "read")
		if m.Offset != int64(i) || !bytes.Equal(m.Value, messages[i].Value) || !bytes.Equal(m.Key, messages[i].Key) || len(m.Headers) != 1 {
			t.Fatalf("offset %d: key %q value %q, expected record %d", m.Offset, m.Key, m.Value, i)
		}
	}
	lag, err := r.ReadLag(context.WithoutCancel(t.Context()))
	t.Must(err, "lag")
	if lag != 0 {
		t.Fatalf("lag %d at the end", lag)
	}
}

func segmentioClient(t *rig.T, b *rig.Broker) {
	c := &kafkago.Client{Addr: kafkago.TCP(b.Addr), Timeout: 20 * time.Second, Transport: segmentioTransport(t)}
	topic := rig.Name("segmentio-client")
	created, err := c.CreateTopics(t.Context(), &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic: topic, NumPartitions: 2, ReplicationFactor: 1,
		ConfigEntries: []kafkago.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "4242"}},
	}}})
	t.Must(err, "create")
	t.Must(created.Errors[topic], "create")
	grown, err := c.CreatePartitions(t.Context(), &kafkago.CreatePartitionsRequest{Topics: []kafkago.TopicPartitionsConfig{{Name: topic, Count: 3}}})
	t.Must(err, "create partitions")
	t.Must(grown.Errors[topic], "create partitions")
	untilThere(t, newAdmin(t, b), topic, 3)
	eventually(t, func() error {
		meta, err := c.Metadata(t.Context(), &kafkago.MetadataRequest{Topics: []string{topic}})
		if err == nil && (len(meta.Topics) != 1 || len(meta.Topics[0].Partitions) != 3) {
			err = fmt.Errorf("metadata %+v", meta.Topics)
		}
		return err
	})
	described, err := c.DescribeConfigs(t.Context(), &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{{
		ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms"},
	}}})
	t.Must(err, "describe configs")
	if e := described.Resources[0].ConfigEntries; len(e) != 1 || e[0].ConfigValue != "4242" {
		t.Fatalf("configs %+v", e)
	}
	altered, err := c.IncrementalAlterConfigs(t.Context(), &kafkago.IncrementalAlterConfigsRequest{Resources: []kafkago.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic,
		Configs: []kafkago.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "4343", ConfigOperation: kafkago.ConfigOperationSet}},
	}}})
	t.Must(err, "alter configs")
	t.Must(altered.Resources[0].Error, "alter configs")
	offsets, err := c.ListOffsets(t.Context(), &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: {kafkago.FirstOffsetOf(0), kafkago.LastOffsetOf(0)}}})
	t.Must(err, "list offsets")
	if o := offsets.Topics[topic]; len(o) != 1 || o[0].FirstOffset != 0 || o[0].LastOffset != 0 || o[0].Error != nil {
		t.Fatalf("offsets %+v", o)
	}
	deleted, err := c.DeleteTopics(t.Context(), &kafkago.DeleteTopicsRequest{Topics: []string{topic}})
	t.Must(err, "delete")
	t.Must(deleted.Errors[topic], "delete")
}
