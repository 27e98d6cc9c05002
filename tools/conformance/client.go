package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxFrame bounds a response; more is garbage.
const maxFrame = 256 << 20

// patience is how long an answer may take before it counts as none.
const patience = 3 * time.Second

var errNoAnswer = errors.New("no answer")

// client is one connection to a broker, which is made anew when it was closed.
type client struct {
	addr        string
	conn        net.Conn
	correlation int32
	format      *kmsg.RequestFormatter
}

func newClient(addr string) *client {
	return &client{addr: addr, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("conformance"))}
}

func (c *client) dial() error {
	if c.conn != nil {
		return nil
	}
	conn, err := net.DialTimeout("tcp", c.addr, patience)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", c.addr, err)
	}
	c.conn = conn
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// send writes a request; its version is that of r.
func (c *client) send(r kmsg.Request) error {
	if err := c.dial(); err != nil {
		return err
	}
	c.correlation++
	_, err := c.conn.Write(c.format.AppendRequest(nil, r, c.correlation))
	return err
}

// sendBody writes a request whose body is given as bytes.
func (c *client) sendBody(r kmsg.Request, body []byte) error {
	if err := c.dial(); err != nil {
		return err
	}
	c.correlation++
	p := make([]byte, 4, 64+len(body))
	p = binary.BigEndian.AppendUint16(p, uint16(r.Key()))
	p = binary.BigEndian.AppendUint16(p, uint16(r.GetVersion()))
	p = binary.BigEndian.AppendUint32(p, uint32(c.correlation))
	p = append(p, 0, 1, 'c')
	if r.IsFlexible() {
		p = append(p, 0)
	}
	p = append(p, body...)
	binary.BigEndian.PutUint32(p, uint32(len(p)-4))
	_, err := c.conn.Write(p)
	return err
}

// receive reads the next response. A broker that closes the connection instead
// gives io.EOF.
func (c *client) receive(r kmsg.Request) (kmsg.Response, error) {
	body, err := c.frame()
	if err != nil {
		c.close()
		return nil, err
	}
	if len(body) < 4 || int32(binary.BigEndian.Uint32(body)) != c.correlation {
		c.close()
		return nil, fmt.Errorf("response header % x does not have correlation id %d", body[:min(len(body), 4)], c.correlation)
	}
	body = body[4:]
	resp := r.ResponseKind()
	resp.SetVersion(r.GetVersion())
	if resp.IsFlexible() && r.Key() != kmsg.ApiVersions.Int16() {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("response header has tags")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("version %d does not parse: %w", r.GetVersion(), err)
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		return nil, fmt.Errorf("version %d has %d bytes, its message %d", r.GetVersion(), len(body), len(again))
	}
	return resp, nil
}

func (c *client) frame() ([]byte, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return nil, errNoAnswer
		}
		return nil, io.EOF
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return nil, fmt.Errorf("response of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.conn, body); err != nil {
		return nil, io.EOF
	}
	return body, nil
}
