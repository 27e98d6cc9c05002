package conn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/gregor-broker/gregor/wire"
)

// chunks is a connection whose reads return as much as its script says.
type chunks struct {
	net.Conn
	data   []byte
	script []byte
	at     int
}

func (c *chunks) RemoteAddr() net.Addr { return &net.TCPAddr{} }
func (c *chunks) LocalAddr() net.Addr  { return &net.TCPAddr{} }

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := len(p)
	if len(c.script) > 0 {
		n = 1 + int(c.script[c.at%len(c.script)])*37
		c.at++
	}
	n = copy(p, c.data[:min(n, len(p), len(c.data))])
	c.data = c.data[n:]
	return n, nil
}

// FuzzFrames cuts any stream into frames, in whatever pieces it arrives, and compares with cutting it as a whole.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 3, 255}, append(request(1, []byte("first")), request(2, make([]byte, 5000))...))
	f.Add([]byte{}, append(request(1, make([]byte, 6000)), 0, 0, 0, 9, 1))
	f.Add([]byte{1}, []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{200}, []byte{0, 0, 0, 0})
	const most = 1 << 20
	f.Fuzz(func(t *testing.T, script, data []byte) {
		table := wire.NewTable([]wire.Spec{{Key: 0, Name: "Produce", Max: 13, FlexibleFrom: 9, Handle: echo}})
		s := NewServer(Options{Table: table, MaxRequestBytes: most, Logger: slog.New(slog.DiscardHandler)})
		c := newConnection(s, &chunks{data: data, script: script}, "FUZZ", netip.Addr{})
		c.buf = make([]byte, readBufferBytes)
		rest := data
		for {
			got, err := c.readFrame()
			if err == nil {
				n := int(binary.BigEndian.Uint32(rest))
				if !bytes.Equal(got.bytes, rest[4:4+n]) {
					t.Fatalf("frame of %d bytes differs from the stream's", len(got.bytes))
				}
				rest = rest[4+n:]
				c.discard(got)
				c.seen = true
				continue
			}
			var broken *protocolError
			switch whole := len(rest) >= 4 && int64(len(rest)-4) >= int64(binary.BigEndian.Uint32(rest)); {
			case errors.As(err, &broken):
				if n := int64(len(rest)); whole && n >= 8 && binary.BigEndian.Uint32(rest) > 0 && c.seen &&
					binary.BigEndian.Uint32(rest) < readBufferBytes-4 {
					t.Fatalf("a good frame was refused: %v", err)
				}
			case errors.Is(err, io.EOF):
				if whole {
					t.Fatal("a whole frame was not seen")
				}
			default:
				t.Fatalf("unexpected error %v", err)
			}
			break
		}
		if s.budget.used != 0 || s.frames.used != 0 {
			t.Fatalf("budget %d and frames %d are still in use", s.budget.used, s.frames.used)
		}
	})
}
