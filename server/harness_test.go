package server_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server"
	"github.com/gregor-broker/gregor/server/config"
)

// memory is a broker on a disk and a network that are only memory.
type memory struct {
	*server.Broker
	listener *pipeListener
	// controller is the one at port 9093.
	controller *pipeListener
	disk       *simfs.FS
}

// pipeListener hands out the far ends of pipes.
type pipeListener struct {
	dialed chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{dialed: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.dialed:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

type pipeConn struct{ net.Conn }

func (pipeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }
func (pipeConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9092} }

func (l *pipeListener) Addr() net.Addr { return pipeConn{}.LocalAddr() }

func (l *pipeListener) dial(t testing.TB) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	select {
	case l.dialed <- pipeConn{far}:
	case <-l.closed:
		t.Fatal("the listener is closed")
	}
	return near
}

// startMemory starts a broker with overrides of server.properties; it is
// stopped when the test ends.
func startMemory(t testing.TB, now clock.Clock, overrides ...string) *memory {
	t.Helper()
	return startOn(t, simfs.New(simfs.Options{MaxMappings: 16}), now, overrides...)
}

// startOn is startMemory on a disk that is there already.
func startOn(t testing.TB, disk *simfs.FS, now clock.Clock, overrides ...string) *memory {
	t.Helper()
	// Small segments: the disk gives a mapping all its memory at once.
	cfg, err := config.Load("", append([]string{"log.dirs=/data", "listeners=PLAINTEXT://localhost:9092",
		"log.segment.bytes=1048576", "metadata.log.segment.bytes=8388608", "offsets.topic.segment.bytes=1048576",
		"transaction.state.log.segment.bytes=1048576"}, overrides...), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{listener: newPipeListener(), controller: newPipeListener(), disk: disk}
	m.Broker, err = server.Open(cfg, server.Env{FS: m.disk, Clock: now,
		Listen: func(_ context.Context, address string) (net.Listener, error) {
			if strings.HasSuffix(address, ":9093") {
				return m.controller, nil
			}
			return m.listener, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return m
}

// peer is a client of one connection.
type peer struct {
	t           testing.TB
	conn        net.Conn
	correlation int32
	format      *kmsg.RequestFormatter
}

func (m *memory) dial(t testing.TB) *peer { return dialAt(t, m.listener) }

func dialAt(t testing.TB, l *pipeListener) *peer {
	p := &peer{t: t, conn: l.dial(t), format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("test"))}
	t.Cleanup(func() { p.conn.Close() })
	return p
}

// frame encodes a request as the next of the connection.
func (p *peer) frame(r kmsg.Request) []byte {
	p.correlation++
	return p.format.AppendRequest(nil, r, p.correlation)
}

func (p *peer) send(r kmsg.Request) {
	p.t.Helper()
	if _, err := p.conn.Write(p.frame(r)); err != nil {
		p.t.Fatal(err)
	}
}

// next reads one frame; io.EOF when the broker has closed the connection.
func (p *peer) next() (correlation int32, body []byte, err error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	var size [4]byte
	if _, err := io.ReadFull(p.conn, size[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(p.conn, body); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(body)), body[4:], nil
}

// receive reads the response to r, which was sent with the correlation id.
func (p *peer) receive(r kmsg.Request, correlation int32) kmsg.Response {
	p.t.Helper()
	got, body, err := p.next()
	if err != nil {
		p.t.Fatalf("%s v%d: %v", kmsg.NameForKey(r.Key()), r.GetVersion(), err)
	}
	if got != correlation {
		p.t.Fatalf("%s v%d: correlation id %d, expected %d", kmsg.NameForKey(r.Key()), r.GetVersion(), got, correlation)
	}
	resp, err := parseResponse(r, body)
	if err != nil {
		p.t.Fatalf("%s v%d: %v", kmsg.NameForKey(r.Key()), r.GetVersion(), err)
	}
	return resp
}

// parseResponse decodes a response body and checks that nothing is left over.
func parseResponse(r kmsg.Request, body []byte) (kmsg.Response, error) {
	resp := r.ResponseKind()
	resp.SetVersion(r.GetVersion())
	if resp.IsFlexible() && r.Key() != kmsg.ApiVersions.Int16() {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("response header has tags")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, err
	}
	if n := len(resp.AppendTo(nil)); n != len(body) {
		return nil, errors.New("response has bytes behind its message")
	}
	return resp, nil
}

// asked sends a request and returns its response.
func asked[R kmsg.Response](p *peer, r kmsg.Request) R {
	p.t.Helper()
	p.send(r)
	resp, ok := p.receive(r, p.correlation).(R)
	if !ok {
		p.t.Fatalf("response has another type than %T", *new(R))
	}
	return resp
}

// createTopic makes a topic and returns its id; configs are names and values.
func (p *peer) createTopic(name string, partitions int32, configs ...string) [16]byte {
	p.t.Helper()
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Version = 7
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		topic.Configs = append(topic.Configs, c)
	}
	r.Topics = append(r.Topics, topic)
	out := asked[*kmsg.CreateTopicsResponse](p, r).Topics[0]
	if out.ErrorCode != 0 {
		p.t.Fatalf("creating %s: code %d, %v", name, out.ErrorCode, *out.ErrorMessage)
	}
	return out.TopicID
}

// records is an uncompressed batch of values at a time.
func records(at time.Time, values ...string) batch.Batch {
	b := batch.NewBuilder(codec.None)
	for _, v := range values {
		b.Append(at.UnixMilli(), []byte("key"), []byte(v))
	}
	return b.Bytes()
}

// produceTo is a Produce request of version 9 for one partition.
func produceTo(topic string, partition int32, acks int16, records []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks, r.TimeoutMillis = 9, acks, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	x := kmsg.NewProduceRequestTopicPartition()
	x.Partition, x.Records = partition, records
	t.Partitions = append(t.Partitions, x)
	r.Topics = append(r.Topics, t)
	return r
}

// produce appends and returns the partition's answer.
func (p *peer) produce(topic string, partition int32, records []byte) kmsg.ProduceResponseTopicPartition {
	p.t.Helper()
	return asked[*kmsg.ProduceResponse](p, produceTo(topic, partition, -1, records)).Topics[0].Partitions[0]
}

// produced appends and expects no error.
func (p *peer) produced(topic string, partition int32, records []byte) kmsg.ProduceResponseTopicPartition {
	p.t.Helper()
	out := p.produce(topic, partition, records)
	if out.ErrorCode != 0 {
		p.t.Fatalf("producing to %s-%d: %+v", topic, partition, out)
	}
	return out
}

// fetchFrom is a Fetch request of version 11 for one partition, outside of any
// session.
func fetchFrom(topic string, partition int32, offset int64, wait time.Duration) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.Version, r.ReplicaID = 11, -1
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.SessionEpoch = int32(wait.Milliseconds()), 1, 10<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	t.Partitions = append(t.Partitions, fetchPartition(partition, offset))
	r.Topics = append(r.Topics, t)
	return r
}

func fetchPartition(partition int32, offset int64) kmsg.FetchRequestTopicPartition {
	x := kmsg.NewFetchRequestTopicPartition()
	x.Partition, x.FetchOffset, x.PartitionMaxBytes, x.CurrentLeaderEpoch, x.LastFetchedEpoch = partition, offset, 10<<20, -1, -1
	return x
}

// fetched reads one partition from an offset on.
func (p *peer) fetched(topic string, partition int32, offset int64) kmsg.FetchResponseTopicPartition {
	p.t.Helper()
	return asked[*kmsg.FetchResponse](p, fetchFrom(topic, partition, offset, 0)).Topics[0].Partitions[0]
}

// batches splits fetched records.
func batches(t testing.TB, p []byte) (out []batch.Batch) {
	t.Helper()
	for len(p) > 0 {
		b, rest, err := batch.Next(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.CheckCRC(); err != nil {
			t.Fatal(err)
		}
		out, p = append(out, b), rest
	}
	return out
}
