//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/klauspost/crc32"
	"golang.org/x/sys/unix"
)

const (
	maxFrame   = 100 << 20 // Kafka's socket.request.max.bytes
	minFrame   = 8         // api key, version, correlation id
	readBuffer = 4 << 10   // a small request arrives in one read, the bulk of a large one goes straight to its buffer
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// server appends every request to one file.
type server struct {
	file    *os.File
	next    atomic.Int64 // position of the next write
	durable bool
	answers [maxVersion + 1][]byte

	mu      sync.Mutex
	pending []written // waiting for the next fdatasync
	kick    chan struct{}
}

// written is a request in the file whose answer waits for the disk.
type written struct {
	connection  *connection
	correlation uint32
	version     uint16
}

// connection collects answers for its writer.
type connection struct {
	socket net.Conn
	wake   chan struct{}

	mu     sync.Mutex
	out    []byte
	closed bool
}

func newServer(file *os.File, durable bool) (*server, error) {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	s := &server{file: file, durable: durable, answers: buildAnswers(), kick: make(chan struct{}, 1)}
	s.next.Store(size)
	return s, nil
}

// serve accepts until the listener fails or is closed.
func (s *server) serve(listener net.Listener) error {
	if s.durable {
		go s.commit()
	}
	for {
		socket, err := listener.Accept()
		if err != nil {
			return err
		}
		c := &connection{socket: socket, wake: make(chan struct{}, 1)}
		go s.read(c)
		if s.durable {
			go c.write()
		}
	}
}

// read is the goroutine of a connection: frame, checksum, write, and on to the next frame while the disk works.
func (s *server) read(c *connection) {
	defer c.close()
	var frame []byte
	var checksum uint32
	in := bufio.NewReaderSize(c.socket, readBuffer)
	for {
		prefix, err := in.Peek(4)
		if err != nil {
			return
		}
		length := int(binary.BigEndian.Uint32(prefix))
		if length < minFrame || length > maxFrame {
			return
		}
		if cap(frame) < 4+length {
			frame = make([]byte, 4+length)
		}
		frame = frame[:4+length]
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		checksum ^= crc32.Checksum(frame[4:], castagnoli)
		if _, err := s.file.WriteAt(frame[4:], s.next.Add(int64(length))-int64(length)); err != nil {
			die(err)
		}
		w := written{c, binary.BigEndian.Uint32(frame[8:]), binary.BigEndian.Uint16(frame[6:])}
		if int(w.version) >= len(s.answers) || s.answers[w.version] == nil {
			return
		}
		if s.durable {
			s.await(w)
			continue
		}
		c.out = s.appendAnswer(c.out[:0], w)
		if _, err := c.socket.Write(c.out); err != nil {
			return
		}
	}
}

// await hands a written request to the next fdatasync.
func (s *server) await(w written) {
	s.mu.Lock()
	s.pending = append(s.pending, w)
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default: // the committer will look anyway
	}
}

// commit is the one goroutine that syncs; whoever writes meanwhile joins the next round.
func (s *server) commit() {
	var batch []written
	for range s.kick {
		s.mu.Lock()
		batch, s.pending = s.pending, batch[:0]
		s.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		if err := unix.Fdatasync(int(s.file.Fd())); err != nil {
			die(err)
		}
		for _, w := range batch {
			w.connection.mu.Lock()
			w.connection.out = s.appendAnswer(w.connection.out, w)
			w.connection.mu.Unlock()
			w.connection.signal()
		}
	}
}

// close lets the writer go; answers that were still waiting are dropped with the socket.
func (c *connection) close() {
	_ = c.socket.Close()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.signal()
}

func (c *connection) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // the writer will look anyway
	}
}

// write sends what is durable, all of it in one call.
func (c *connection) write() {
	var out []byte
	for range c.wake {
		c.mu.Lock()
		out, c.out = c.out, out[:0]
		closed := c.closed
		c.mu.Unlock()
		if closed {
			return
		}
		if _, err := c.socket.Write(out); err != nil {
			return
		}
	}
}

func (s *server) appendAnswer(dst []byte, w written) []byte {
	at := len(dst)
	dst = append(dst, s.answers[w.version]...)
	binary.BigEndian.PutUint32(dst[at+4:], w.correlation)
	return dst
}

// die ends the process. After a failed write or sync nothing it could answer would be true.
func die(err error) {
	fmt.Fprintln(os.Stderr, "floor:", err)
	os.Exit(1)
}
