//go:build linux

package loadgen

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twmb/franz-go/pkg/kerr"
)

const receiveBuffer = 4 << 10

// connection is one socket of the loop. Requests leave whole and in order; answers come in the same order.
type connection struct {
	fd      int
	turn    []*Prepared // the requests it sends, over and over
	request *Prepared   // the one it is sending
	sent    int         // bytes of the current request handed to the kernel; 0 = none begun
	next    int32       // correlation id of the next request to begin
	answer  int32       // correlation id the next response must carry
	began   []time.Time // when the requests in flight began, by correlation id modulo their number
	in      []byte
	filled  int
}

func connect(address string, requests []*Prepared, inFlight int) (*connection, error) {
	tcp, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, fmt.Errorf("load: resolve %s: %w", address, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("load: socket: %w", err)
	}
	to := &unix.SockaddrInet4{Port: tcp.Port}
	copy(to.Addr[:], tcp.IP.To4())
	if err := unix.Connect(fd, to); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("load: connect to %s: %w", address, err)
	}
	if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("load: set up socket: %w", err)
	}
	turn := make([]*Prepared, len(requests))
	for i, r := range requests {
		turn[i] = r.Clone()
	}
	return &connection{fd: fd, turn: turn, request: turn[0], began: make([]time.Time, inFlight), in: make([]byte, receiveBuffer)}, nil
}

// send writes until the socket is full, or all that may be in flight is; with last set it only finishes what it began.
func (c *connection) send(last bool) error {
	for c.sent > 0 || !last && int(c.next-c.answer) < len(c.began) {
		if c.sent == 0 {
			c.request.SetCorrelationID(c.next)
			c.began[int(c.next)%len(c.began)] = time.Now()
		}
		n, err := unix.Write(c.fd, c.request.Frame[c.sent:])
		if err != nil {
			if err == unix.EAGAIN {
				return nil
			}
			if err == unix.EINTR {
				continue
			}
			return fmt.Errorf("load: write: %w", err)
		}
		if c.sent += n; c.sent == len(c.request.Frame) {
			c.sent = 0
			c.next++
			c.request = c.turn[int(c.next)%len(c.turn)]
		}
	}
	return nil
}

// receive reads until the socket is empty and calls answered for every response.
func (c *connection) receive(answered func(latency time.Duration)) error {
	for {
		n, err := unix.Read(c.fd, c.in[c.filled:])
		if err != nil {
			if err == unix.EAGAIN {
				return nil
			}
			if err == unix.EINTR {
				continue
			}
			return fmt.Errorf("load: read: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("load: the server closed the connection with %d requests unanswered", c.next-c.answer)
		}
		space := len(c.in) - c.filled
		c.filled += n
		if err := c.parse(answered); err != nil {
			return err
		}
		if n < space {
			return nil // a short read of a stream socket has emptied it, see epoll(7)
		}
	}
}

func (c *connection) parse(answered func(latency time.Duration)) error {
	rest := c.in[:c.filled]
	for len(rest) >= lengthSize {
		length := int(int32(binary.BigEndian.Uint32(rest)))
		if length < 0 || length > maxResponse {
			return fmt.Errorf("load: response of %d bytes, expected at most %d", length, maxResponse)
		}
		if whole := lengthSize + length; len(rest) < whole {
			if whole > len(c.in) {
				c.in = append(make([]byte, 0, whole), rest...)[:whole]
				rest = c.in[:len(rest)]
			}
			break
		}
		correlation, code, err := errorCode(rest[lengthSize:lengthSize+length], c.request.Version)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		if correlation != c.answer {
			return fmt.Errorf("load: response with correlation id %d, expected %d", correlation, c.answer)
		}
		if code != 0 {
			return fmt.Errorf("load: request %d was answered with %w", correlation, kerr.ErrorForCode(code))
		}
		answered(time.Since(c.began[int(correlation)%len(c.began)]))
		c.answer++
		rest = rest[lengthSize+length:]
	}
	c.filled = copy(c.in, rest)
	return nil
}
