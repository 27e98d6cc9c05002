package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server"
	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/meta"
)

// The directories that protocol exercises write: no registrations, no indexes,
// no snapshots, a metadata log that begins at offset 1, padded ids, header
// counts of -1, producer 0 everywhere.

var (
	fooID = meta.UUID{0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x13}
	barID = meta.UUID{0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x48}
)

// minimalBatch builds a batch as such exercises do: every record's header
// count is -1. Values are appended by value.
func minimalBatch(base int64, producer int64, values ...[]byte) batch.Batch {
	b := batch.NewBuilder(codec.None).BaseOffset(base).LeaderEpoch(1)
	if producer >= 0 {
		b.Producer(producer, 0, 0)
	}
	for _, v := range values {
		b.Append(1_726_045_973_899, nil, v)
	}
	p := b.Bytes()
	// The header count is the last byte of every record.
	at := batch.HeaderSize
	for range values {
		size, n := binary.Varint(p[at:])
		at += n + int(size)
		p[at-1] = 1 // zig-zag of -1
	}
	p.SetCRC()
	return p
}

func writeMinimal(t *testing.T, dir string, logs map[string][]byte, ids map[string]meta.UUID) string {
	t.Helper()
	write := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("meta.properties", []byte("#\n#Mon Jan 01 00:00:00 UTC 2024\ncluster.id=IAAAAAAAQACAAAAAAAAAAQ\ndirectory.id=QAAAAAAAQACAAAAAAAAAAQ\nnode.id=1\nversion=1\n"))
	const version = 20
	feature := meta.Append(nil, &meta.FeatureLevelRecord{Name: "metadata.version", Level: version}, version)
	log := minimalBatch(1, -1, feature)
	next := int64(2)
	for _, name := range []string{"foo", "bar"} {
		values := [][]byte{meta.Append(nil, &meta.TopicRecord{Name: name, TopicID: ids[name]}, version)}
		for p := range map[string]int{"foo": 1, "bar": 2}[name] {
			values = append(values, meta.Append(nil, &meta.PartitionRecord{PartitionID: int32(p), TopicID: ids[name],
				Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []meta.UUID{{0x10, 15: 1}}}, version))
		}
		b := minimalBatch(next, -1, values...)
		next = b.NextOffset()
		log = append(log, b...)
	}
	write("__cluster_metadata-0/00000000000000000000.log", log)
	for name, data := range logs {
		write(name+"/00000000000000000000.log", data)
		topic := name[:strings.LastIndexByte(name, '-')]
		id := ids[topic]
		write(name+"/partition.metadata", []byte("version: 0\ntopic_id: "+base64.URLEncoding.EncodeToString(id[:])+"\n"))
	}
	properties := filepath.Join(dir, "..", "server.properties")
	text := "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:9093\n" +
		"listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0\nadvertised.listeners=PLAINTEXT://localhost:0\n" +
		"controller.listener.names=CONTROLLER\nlog.dirs=" + dir + "\n"
	if err := os.WriteFile(properties, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return properties
}

func startBroker(t *testing.T, properties string) *server.Broker {
	t.Helper()
	cfg, err := config.Load(properties, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := server.Open(cfg, server.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func stopBroker(t *testing.T, b *server.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// ask sends one request over a new connection and decodes its response.
func ask(t *testing.T, address string, version int16, req kmsg.Request) kmsg.Response {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	req.SetVersion(version)
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test"))
	if _, err := c.Write(formatter.AppendRequest(nil, req, 7)); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := readFull(c, size[:]); err != nil {
		t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := readFull(c, body); err != nil {
		t.Fatal(err)
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	body = body[4:]
	if req.IsFlexible() && req.Key() != 18 {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	return resp
}

func readFull(c net.Conn, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k, err := c.Read(p[n:])
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func fetchAll(t *testing.T, address string, id meta.UUID, partition int32) []byte {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MaxBytes, req.SessionEpoch = 100, 50<<20, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.TopicID = id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, 10<<20, -1
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp := ask(t, address, 16, req).(*kmsg.FetchResponse)
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("fetch: %+v", resp)
	}
	return resp.Topics[0].Partitions[0].RecordBatches
}

func TestMinimalDirectory(t *testing.T) {
	for name, damage := range map[string]func(p []byte){
		"as written":              func([]byte) {},
		"with checksums of zeros": func(p []byte) { copy(p[17:21], make([]byte, 4)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "kraft-combined-logs")
			first, second := minimalBatch(0, 0, []byte("Hello World!")), minimalBatch(1, 0, []byte("Hello again"))
			damage(first)
			damage(second)
			stored := append(append([]byte{}, first...), second...)
			ids := map[string]meta.UUID{"foo": fooID, "bar": barID}
			properties := writeMinimal(t, dir, map[string][]byte{"foo-0": stored, "bar-0": nil, "bar-1": first}, ids)
			b := startBroker(t, properties)
			address := b.Summary().Addresses[0]

			describe := kmsg.NewPtrDescribeTopicPartitionsRequest()
			describe.ResponsePartitionLimit = 100
			for _, n := range []string{"bar", "foo", "unknown"} {
				describe.Topics = append(describe.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: n})
			}
			topics := ask(t, address, 0, describe).(*kmsg.DescribeTopicPartitionsResponse).Topics
			if len(topics) != 3 || topics[0].TopicID != barID || len(topics[0].Partitions) != 2 || topics[1].TopicID != fooID ||
				topics[2].ErrorCode != 3 || topics[2].TopicID != [16]byte{} {
				t.Fatalf("%+v", topics)
			}
			if got := fetchAll(t, address, fooID, 0); !bytes.Equal(got, stored) {
				t.Fatalf("fetched %x\nexpected %x", got, stored)
			}
			if got := fetchAll(t, address, barID, 0); len(got) != 0 {
				t.Fatalf("fetched %d bytes of an empty log", len(got))
			}

			// Two producers that both call themselves 0, to an empty partition
			// and behind what is stored.
			produced := minimalBatch(0, 0, []byte("new"), []byte("records"))
			for partition, id := range map[int32]meta.UUID{0: barID} {
				req := kmsg.NewPtrProduceRequest()
				req.Acks, req.TimeoutMillis = -1, 1000
				topic := kmsg.NewProduceRequestTopic()
				topic.Topic = "bar"
				p := kmsg.NewProduceRequestTopicPartition()
				p.Partition, p.Records = partition, bytes.Clone(produced)
				topic.Partitions = append(topic.Partitions, p)
				req.Topics = append(req.Topics, topic)
				out := ask(t, address, 11, req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
				if out.ErrorCode != 0 || out.BaseOffset != 0 || out.LogStartOffset != 0 || out.LogAppendTime != -1 {
					t.Fatalf("%+v", out)
				}
				_ = id
			}
			onDisk, err := os.ReadFile(filepath.Join(dir, "bar-0", "00000000000000000000.log"))
			if err != nil {
				t.Fatal(err)
			}
			want := batch.Batch(bytes.Clone(produced))
			want.SetBaseOffset(0)
			want.SetLeaderEpoch(batch.Batch(onDisk).LeaderEpoch())
			if !bytes.Equal(onDisk, want) {
				t.Fatalf("on disk %x\nexpected %x", onDisk, want)
			}
			stopBroker(t, b)

			b = startBroker(t, properties)
			defer stopBroker(t, b)
			address = b.Summary().Addresses[0]
			if got := fetchAll(t, address, fooID, 0); !bytes.Equal(got, stored) {
				t.Fatalf("after a restart: fetched %x\nexpected %x", got, stored)
			}
			if got := fetchAll(t, address, barID, 0); !bytes.Equal(got, want) {
				t.Fatalf("after a restart: fetched %x\nexpected %x", got, want)
			}
		})
	}
}
