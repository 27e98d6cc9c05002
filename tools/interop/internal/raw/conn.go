package raw

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxFrame bounds a response: more is taken for garbage.
const maxFrame = 256 << 20

// Conn is one connection; for one goroutine at a time.
type Conn struct {
	net.Conn
	correlation int32
	format      *kmsg.RequestFormatter
}

// Dial connects once.
func Dial(ctx context.Context, addr string) (*Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	return &Conn{Conn: c, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("gregor-interop"))}, nil
}

// DialUntil tries to connect every 0.2 ms until it works or ctx ends, or until alive answers an error.
func DialUntil(ctx context.Context, addr string, alive func() error) (*Conn, error) {
	for {
		c, err := Dial(ctx, addr)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no connection to %s: %w", addr, err)
		}
		if err := alive(); err != nil {
			return nil, err
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// Send writes a request at the version set in it.
func (c *Conn) Send(r kmsg.Request) error {
	c.correlation++
	_, err := c.Write(c.format.AppendRequest(nil, r, c.correlation))
	return err
}

// Receive reads the response to r, which must be the oldest unanswered request of the connection sent with Send.
func (c *Conn) Receive(r kmsg.Request, correlation int32) (kmsg.Response, error) {
	frame, err := c.Frame()
	if err != nil {
		return nil, err
	}
	if len(frame) < 4 {
		return nil, fmt.Errorf("a response of %d bytes", len(frame))
	}
	if got := int32(binary.BigEndian.Uint32(frame)); got != correlation {
		return nil, fmt.Errorf("correlation id %d, expected %d", got, correlation)
	}
	body := frame[4:]
	resp := r.ResponseKind()
	resp.SetVersion(r.GetVersion())
	if resp.IsFlexible() && r.Key() != kmsg.ApiVersions.Int16() {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("a response header with unexpected tags")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%T version %d: %w", resp, r.GetVersion(), err)
	}
	return resp, nil
}

// Frame reads one length-prefixed response whole, without its length.
func (c *Conn) Frame() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	n := int32(binary.BigEndian.Uint32(size[:]))
	if n < 0 || n > maxFrame {
		return nil, fmt.Errorf("a response of %d bytes", n)
	}
	frame := make([]byte, n)
	_, err := io.ReadFull(c, frame)
	return frame, err
}

// Ask sends a request and reads its response. R is the response's type: Ask[*kmsg.MetadataResponse].
func Ask[R kmsg.Response](c *Conn, r kmsg.Request) (R, error) {
	var none R
	if err := c.Send(r); err != nil {
		return none, err
	}
	resp, err := c.Receive(r, c.correlation)
	if err != nil {
		return none, err
	}
	typed, ok := resp.(R)
	if !ok {
		return none, fmt.Errorf("a %T", resp)
	}
	return typed, nil
}

// Metadata asks for the named topics, or all when none is named, at version 9; create asks for auto-creation.
func (c *Conn) Metadata(create bool, topics ...string) (*kmsg.MetadataResponse, error) {
	r := kmsg.NewPtrMetadataRequest()
	r.SetVersion(9)
	r.AllowAutoTopicCreation = create
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		r.Topics = append(r.Topics, t)
	}
	if len(topics) == 0 {
		r.Topics = nil
	}
	return Ask[*kmsg.MetadataResponse](c, r)
}

// CreateTopic asks at version 5 and returns the topic's error code.
func (c *Conn) CreateTopic(name string, partitions int32) (int16, error) {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.SetVersion(5)
	r.TimeoutMillis = 30000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	r.Topics = append(r.Topics, t)
	resp, err := Ask[*kmsg.CreateTopicsResponse](c, r)
	if err != nil {
		return 0, err
	}
	if len(resp.Topics) != 1 {
		return 0, fmt.Errorf("an answer about %d topics to a question about one", len(resp.Topics))
	}
	return resp.Topics[0].ErrorCode, nil
}

// Produce appends one batch to one partition at version 9, acks=all, and returns the base offset and error code.
func (c *Conn) Produce(topic string, partition int32, batch []byte) (int64, int16, error) {
	resp, err := Ask[*kmsg.ProduceResponse](c, ProduceRequest(topic, partition, batch))
	if err != nil {
		return 0, 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, 0, errors.New("an answer that is not about one partition")
	}
	p := resp.Topics[0].Partitions[0]
	return p.BaseOffset, p.ErrorCode, nil
}

// ProduceRequest is what Produce sends.
func ProduceRequest(topic string, partition int32, batch []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(9)
	r.Acks = -1
	r.TimeoutMillis = 30000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

// FetchRequest asks for one partition at version 12, outside any session.
func FetchRequest(topic string, partition int32, offset int64, maxBytes int32) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(12)
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = 500, 1, maxBytes
	r.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, maxBytes
	p.CurrentLeaderEpoch = -1
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}
