package group

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
	"github.com/gregor-broker/gregor/server/meta"
)

// kafkaStage is a real Kafka.
type kafkaStage struct {
	t    *testing.T
	conn net.Conn
	at   int64 // read so far of the log
}

func newKafkaStage(t *testing.T, name string) *kafkaStage {
	k := &kafkaStage{t: t}
	k.conn = k.dial()
	q := kmsg.NewPtrMetadataRequest()
	q.Version = 12
	for _, topic := range k.call(k.conn, q).(*kmsg.MetadataResponse).Topics {
		if strings.HasPrefix(*topic.Topic, name+"-") {
			k.drop(*topic.Topic, topic.TopicID) // of a recording before
		}
	}
	k.records()
	return k
}

func (k *kafkaStage) dial() net.Conn {
	c, err := net.Dial("tcp", *recordFrom)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (k *kafkaStage) call(c net.Conn, q kmsg.Request) kmsg.Response {
	b := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client")).AppendRequest(nil, q, 7)
	if _, err := c.Write(b); err != nil {
		k.t.Error(err)
		return nil
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		k.t.Error(err)
		return nil
	}
	b = make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		k.t.Error(err)
		return nil
	}
	r := q.ResponseKind()
	r.SetVersion(q.GetVersion())
	b = b[4:]
	if r.IsFlexible() {
		b = b[1:]
	}
	if err := r.ReadFrom(b); err != nil {
		k.t.Error(err)
	}
	return r
}

func (k *kafkaStage) begin(q kmsg.Request) func() kmsg.Response {
	if _, parks := q.(*kmsg.JoinGroupRequest); !parks {
		if _, parks = q.(*kmsg.SyncGroupRequest); !parks {
			r := k.call(k.conn, q)
			return func() kmsg.Response { return r }
		}
	}
	c, got := k.dial(), make(chan kmsg.Response, 1)
	go func() { got <- k.call(c, q) }()
	k.pass(150 * time.Millisecond)
	return func() kmsg.Response { return <-got }
}

func (k *kafkaStage) pass(d time.Duration) { <-time.After(d) }

func (k *kafkaStage) create(name string, partitions int32) meta.UUID {
	q := kmsg.NewPtrCreateTopicsRequest()
	q.Version = 7
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	q.Topics, q.TimeoutMillis = append(q.Topics, t), 5000
	r := k.call(k.conn, q).(*kmsg.CreateTopicsResponse).Topics[0]
	if r.ErrorCode != 0 {
		k.t.Fatalf("creating %s: %d", name, r.ErrorCode)
	}
	k.pass(time.Second)
	return r.TopicID
}

func (k *kafkaStage) grow(name string, partitions int32) {
	q := kmsg.NewPtrCreatePartitionsRequest()
	q.Version, q.TimeoutMillis = 3, 5000
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = name, partitions
	q.Topics = append(q.Topics, t)
	if r := k.call(k.conn, q).(*kmsg.CreatePartitionsResponse).Topics[0]; r.ErrorCode != 0 {
		k.t.Fatalf("growing %s: %d", name, r.ErrorCode)
	}
	k.pass(time.Second)
}

func (k *kafkaStage) drop(name string, _ meta.UUID) {
	q := kmsg.NewPtrDeleteTopicsRequest()
	q.Version, q.TimeoutMillis = 6, 5000
	q.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
	if r := k.call(k.conn, q).(*kmsg.DeleteTopicsResponse).Topics[0]; r.ErrorCode != 0 {
		k.t.Fatalf("deleting %s: %d", name, r.ErrorCode)
	}
	k.pass(time.Second)
}

func (k *kafkaStage) records() (list []coord.Record) {
	k.pass(60 * time.Millisecond) // regular expressions are resolved on the side
	f, err := os.Open(filepath.Join(*recordOffsets, "00000000000000000000.log"))
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, k.at, 1<<30))
	if err != nil {
		k.t.Fatal(err)
	}
	for len(b) >= batch.HeaderSize {
		size := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if size > len(b) || size == 12 {
			break
		}
		k.at += int64(size)
		list = append(list, recordsOf(k.t, b[:size])...)
		b = b[size:]
	}
	return list
}

func recordsOf(t *testing.T, b batch.Batch) (list []coord.Record) {
	if b.IsControl() {
		return nil
	}
	if err := b.Each(1<<20, func(r *batch.Record) error {
		list = append(list, coord.Record{Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// machineStage is a Machine.
type machineStage struct {
	t     *testing.T
	clock *clock.Manual
	log   *coordtest.Log
	run   *coord.Runtime[*Machine]
	image *meta.Image
	seen  int
	ids   map[string]meta.UUID // of the topics Kafka made
}

func newMachineStage(t *testing.T, transcript string) *machineStage {
	s := &machineStage{t: t, clock: clock.NewManual(time.UnixMilli(1_700_000_000_000)), log: coordtest.NewLog(1, false), image: &meta.Image{}, ids: map[string]meta.UUID{}}
	for _, line := range strings.Split(transcript, "\n") {
		var name, id string
		var n int
		if _, err := fmt.Sscanf(line, "topic %s %s %d", &name, &id, &n); err == nil {
			b, err := base64.RawURLEncoding.DecodeString(id)
			if err != nil {
				t.Fatal(err)
			}
			s.ids[name] = meta.UUID(b)
		}
	}
	serial := 0
	opt := Options{
		Settings: scriptSettings(), Offsets: config.Offsets{Retention: 7 * 24 * time.Hour, RetentionCheck: 10 * time.Minute, MetadataMaxBytes: 4096},
		GroupConfig: func(string) (int64, int64, int64) { return 2000, 500, 300 },
		Image:       func() *meta.Image { return s.image },
		NewID: func() string {
			serial++
			return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "identity%08d", serial))
		},
	}
	s.run = coord.NewRuntime(coord.Options[*Machine]{Topic: "__consumer_offsets", New: func(p int32) *Machine { return New(opt, p) }, Clock: s.clock, Codec: codec.None})
	s.run.SetPartitions(1)
	s.run.Serve(0, s.log)
	s.run.WaitLoaded()
	t.Cleanup(s.run.Close)
	return s
}

func (s *machineStage) do(op func(c *coord.Context, m *Machine)) {
	if err := s.run.DoAt(0, op); err != nil {
		s.t.Fatal(err)
	}
	s.clock.Advance(0)
}

func (s *machineStage) pass(d time.Duration) { s.clock.Advance(d) }

func (s *machineStage) change(records ...meta.Record) {
	d := meta.NewDelta(s.image)
	for _, r := range records {
		if err := d.Apply(r); err != nil {
			s.t.Fatal(err)
		}
	}
	before := s.image
	s.image = d.Image(before.Offset+1, 1)
	s.do(func(c *coord.Context, m *Machine) { m.ImageChanged(c, before, s.image) })
}

func partitionRecords(id meta.UUID, from, to int32) (list []meta.Record) {
	for p := from; p < to; p++ {
		list = append(list, &meta.PartitionRecord{PartitionID: p, TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1})
	}
	return list
}

func (s *machineStage) create(name string, partitions int32) meta.UUID {
	id := s.ids[name]
	s.change(append([]meta.Record{&meta.TopicRecord{Name: name, TopicID: id}}, partitionRecords(id, 0, partitions)...)...)
	s.pass(time.Second)
	return id
}

func (s *machineStage) grow(name string, partitions int32) {
	t := s.image.Topic(name)
	s.change(partitionRecords(t.ID, int32(len(t.Partitions)), partitions)...)
	s.pass(time.Second)
}

func (s *machineStage) drop(_ string, id meta.UUID) {
	s.change(&meta.RemoveTopicRecord{TopicID: id})
	s.pass(time.Second)
}

func (s *machineStage) records() (list []coord.Record) {
	s.pass(60 * time.Millisecond) // as in the recording
	n := 0
	if err := s.log.Load(func(b batch.Batch) error {
		if n++; n > s.seen {
			list = append(list, recordsOf(s.t, b)...)
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	s.seen = n
	return list
}

func (s *machineStage) begin(q kmsg.Request) func() kmsg.Response {
	var got kmsg.Response
	who := Client{ID: "client", Host: "/127.0.0.1"}
	keep := func(r kmsg.Response, err error) {
		if err != nil {
			s.t.Error(err)
		}
		got = r
	}
	s.do(func(c *coord.Context, m *Machine) {
		switch q := q.(type) {
		case *kmsg.ConsumerGroupHeartbeatRequest:
			m.ConsumerHeartbeat(c, who, q, func(r *kmsg.ConsumerGroupHeartbeatResponse, err error) { keep(r, err) })
		case *kmsg.JoinGroupRequest:
			m.Join(c, who, q, func(r *kmsg.JoinGroupResponse, err error) { keep(r, err) })
		case *kmsg.SyncGroupRequest:
			m.Sync(c, who, q, func(r *kmsg.SyncGroupResponse, err error) { keep(r, err) })
		case *kmsg.HeartbeatRequest:
			m.Heartbeat(c, who, q, func(r *kmsg.HeartbeatResponse, err error) { keep(r, err) })
		case *kmsg.LeaveGroupRequest:
			m.Leave(c, who, q, func(r *kmsg.LeaveGroupResponse, err error) { keep(r, err) })
		case *kmsg.ConsumerGroupDescribeRequest:
			m.DescribeConsumer(c, q.Groups[0], func(g kmsg.ConsumerGroupDescribeResponseGroup, err error) {
				keep(&kmsg.ConsumerGroupDescribeResponse{Groups: []kmsg.ConsumerGroupDescribeResponseGroup{g}}, err)
			})
		case *kmsg.ListGroupsRequest:
			m.List(c, nil, nil, func(g []kmsg.ListGroupsResponseGroup, err error) { keep(&kmsg.ListGroupsResponse{Groups: g}, err) })
		case *kmsg.DeleteGroupsRequest:
			m.Delete(c, q.Groups[0], func(code int16, err error) {
				keep(&kmsg.DeleteGroupsResponse{Groups: []kmsg.DeleteGroupsResponseGroup{{ErrorCode: code}}}, err)
			})
		case *kmsg.OffsetCommitRequest:
			m.CommitOffsets(c, who, q, func(r *kmsg.OffsetCommitResponse, err error) { keep(r, err) })
		case *kmsg.OffsetFetchRequest:
			m.FetchOffsets(c, q.Version, q.RequireStable, &q.Groups[0], func(g kmsg.OffsetFetchResponseGroup, err error) {
				keep(&kmsg.OffsetFetchResponse{Groups: []kmsg.OffsetFetchResponseGroup{g}}, err)
			})
		default:
			s.t.Fatalf("no way to play a %T", q)
		}
	})
	switch q.(type) {
	case *kmsg.JoinGroupRequest, *kmsg.SyncGroupRequest:
		s.pass(150 * time.Millisecond)
	}
	return func() kmsg.Response {
		for range 100 {
			if got != nil {
				return got
			}
			s.pass(50 * time.Millisecond)
		}
		s.t.Fatal("no answer")
		return nil
	}
}
