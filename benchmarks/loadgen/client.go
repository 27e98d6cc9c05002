//go:build linux

package loadgen

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	createTopicsVersion = 7 // the first that answers with the topic id
	metadataVersion     = 12
	requestTimeout      = 30 * time.Second
	retryPause          = time.Millisecond
)

// Client is one connection that sends a request and waits for its response. It is not safe for concurrent use.
type Client struct {
	conn        net.Conn
	correlation int32
}

// Dial connects once, without retrying.
func Dial(ctx context.Context, address string) (*Client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn}, nil
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Request sends a request in the version it is set to and decodes the response.
func (c *Client) Request(request kmsg.Request) (kmsg.Response, error) {
	c.correlation++
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, request, c.correlation)
	body, err := c.roundTrip(frame)
	if err != nil {
		return nil, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(request.Key()), request.GetVersion(), err)
	}
	if got := int32(binary.BigEndian.Uint32(body)); got != c.correlation {
		return nil, fmt.Errorf("%s v%d: correlation id %d, expected %d", kmsg.NameForKey(request.Key()), request.GetVersion(), got, c.correlation)
	}
	body = body[4:]
	if request.IsFlexible() {
		if len(body) == 0 || body[0] != 0 {
			return nil, fmt.Errorf("%s v%d: response header without an empty tag buffer", kmsg.NameForKey(request.Key()), request.GetVersion())
		}
		body = body[1:]
	}
	response := request.ResponseKind()
	response.SetVersion(request.GetVersion())
	if err := response.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%s v%d: decode response: %w", kmsg.NameForKey(request.Key()), request.GetVersion(), err)
	}
	return response, nil
}

// Produce sends a prepared request and returns the error its response carries, a *kerr.Error, or nil.
func (c *Client) Produce(p *Prepared) error {
	c.correlation++
	p.SetCorrelationID(c.correlation)
	body, err := c.roundTrip(p.Frame)
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	correlation, code, err := errorCode(body, p.Version)
	if err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if correlation != c.correlation {
		return fmt.Errorf("produce: correlation id %d, expected %d", correlation, c.correlation)
	}
	return kerr.ErrorForCode(code)
}

func (c *Client) roundTrip(frame []byte) ([]byte, error) {
	if err := c.conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(frame); err != nil {
		return nil, err
	}
	var prefix [lengthSize]byte
	if _, err := io.ReadFull(c.conn, prefix[:]); err != nil {
		return nil, err
	}
	length := int32(binary.BigEndian.Uint32(prefix[:]))
	if length < 4 || length > maxResponse {
		return nil, fmt.Errorf("response of %d bytes, expected 4 to %d", length, maxResponse)
	}
	body := make([]byte, length)
	_, err := io.ReadFull(c.conn, body)
	return body, err
}

// CreateTopic creates a topic with replication factor 1 and returns its id once every partition has a leader. Errors
// that a starting broker answers with are retried until ctx ends; an existing topic is an error.
func (c *Client) CreateTopic(ctx context.Context, name string, partitions int32, configs map[string]string) ([16]byte, error) {
	for {
		err := c.createTopic(name, partitions, configs)
		if err == nil {
			return c.awaitLeaders(ctx, name, partitions)
		}
		if err = retry(ctx, err); err != nil {
			return [16]byte{}, fmt.Errorf("create topic %s: %w", name, err)
		}
	}
}

func (c *Client) createTopic(name string, partitions int32, configs map[string]string) error {
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Version = createTopicsVersion
	request.TimeoutMillis = int32(requestTimeout / time.Millisecond)
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for key, value := range configs {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = key, &value
		topic.Configs = append(topic.Configs, config)
	}
	request.Topics = append(request.Topics, topic)
	answer, err := c.Request(request)
	if err != nil {
		return err
	}
	topics := answer.(*kmsg.CreateTopicsResponse).Topics
	if len(topics) != 1 {
		return fmt.Errorf("create topics response with %d topics, expected 1", len(topics))
	}
	return kerr.ErrorForCode(topics[0].ErrorCode)
}

func (c *Client) awaitLeaders(ctx context.Context, name string, partitions int32) ([16]byte, error) {
	for {
		id, err := c.leaders(name, partitions)
		if err == nil {
			return id, nil
		}
		if err = retry(ctx, err); err != nil {
			return id, fmt.Errorf("leaders of topic %s: %w", name, err)
		}
	}
}

func (c *Client) leaders(name string, partitions int32) (id [16]byte, err error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Version = metadataVersion
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &name
	request.Topics = append(request.Topics, topic)
	answer, err := c.Request(request)
	if err != nil {
		return id, err
	}
	topics := answer.(*kmsg.MetadataResponse).Topics
	if len(topics) != 1 {
		return id, fmt.Errorf("metadata response with %d topics, expected 1", len(topics))
	}
	if err := kerr.ErrorForCode(topics[0].ErrorCode); err != nil {
		return id, err
	}
	if len(topics[0].Partitions) != int(partitions) {
		return id, kerr.UnknownTopicOrPartition
	}
	for _, p := range topics[0].Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return id, err
		}
		if p.Leader < 0 {
			return id, kerr.LeaderNotAvailable
		}
	}
	return topics[0].TopicID, nil
}

// retry pauses and returns nil if err is one that passes by itself, and else what to give up with.
func retry(ctx context.Context, err error) error {
	if !kerr.IsRetriable(err) {
		return err
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w (last answer: %w)", ctx.Err(), err)
	case <-time.After(retryPause):
		return nil
	}
}
