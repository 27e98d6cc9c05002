package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"sync"
)

// keptBufferBytes is how large a pooled Payload's own buffer may be; a larger one is left to the collector.
const keptBufferBytes = 64 << 10

// keptParts bounds the part and vector slices of a pooled Payload.
const keptParts = 1024

// stepBytes is after how much one vectored write takes no further piece, each piece being at most as large, so that progress
// on a slow connection can be seen.
const stepBytes = 1 << 20

// part is a span of somebody else's bytes that follows the payload's own bytes up to cut.
type part struct {
	cut     int
	span    []byte
	release func()
}

// Payload is bytes to be written: small encoded pieces in one buffer interleaved with spans that are not copied (mapped
// segment files). It is not safe for concurrent use.
type Payload struct {
	buf       []byte
	parts     []part
	spanBytes int
	start     int // where BeginResponse left the length prefix in buf, -1 outside a response
	startAll  int // Size at that point
	startPart int
	progress  Progress
	vec       net.Buffers
	vecs      [][]byte
}

var payloads = sync.Pool{New: func() any { return &Payload{start: -1} }}

// GetPayload returns an empty Payload from a pool.
func GetPayload() *Payload { return payloads.Get().(*Payload) }

// PutPayload resets p and returns it to the pool.
func PutPayload(p *Payload) {
	p.Reset()
	p.progress = nil
	if cap(p.buf) > keptBufferBytes {
		p.buf = nil
	}
	if cap(p.parts) > keptParts {
		p.parts, p.vecs = nil, nil
	}
	payloads.Put(p)
}

// Buffer returns the encoded bytes for appending; hand the result to SetBuffer before calling anything else.
func (p *Payload) Buffer() []byte { return p.buf }

// SetBuffer stores what was appended to Buffer.
func (p *Payload) SetBuffer(b []byte) { p.buf = b }

// Span puts b after what has been encoded so far without copying it. release, which may be nil, is called exactly once, by
// Reset or PutPayload; b must stay valid until then. An empty b only carries its release.
func (p *Payload) Span(b []byte, release func()) {
	if len(b) == 0 && release == nil {
		return
	}
	p.parts = append(p.parts, part{cut: len(p.buf), span: b, release: release})
	p.spanBytes += len(b)
}

// Size returns how many bytes WriteTo writes.
func (p *Payload) Size() int { return len(p.buf) + p.spanBytes }

// Bytes returns a copy of everything that WriteTo would write.
func (p *Payload) Bytes() []byte {
	out := make([]byte, 0, p.Size())
	from := 0
	for i := range p.parts {
		out = append(out, p.buf[from:p.parts[i].cut]...)
		out = append(out, p.parts[i].span...)
		from = p.parts[i].cut
	}
	return append(out, p.buf[from:]...)
}

// Reset calls the releases and empties p; its buffer is kept.
func (p *Payload) Reset() {
	p.drop(0)
	p.buf = p.buf[:0]
	p.start = -1
}

// drop releases and removes the parts from index n.
func (p *Payload) drop(n int) {
	for i := n; i < len(p.parts); i++ {
		release := p.parts[i].release
		p.spanBytes -= len(p.parts[i].span)
		p.parts[i] = part{}
		if release != nil {
			release()
		}
	}
	p.parts = p.parts[:n]
}

// BeginResponse appends the length prefix and header of the response to r; EndResponse or CancelResponse must follow.
func (p *Payload) BeginResponse(r *Request) {
	p.start, p.startAll, p.startPart = len(p.buf), p.Size(), len(p.parts)
	p.buf = AppendResponseHeader(append(p.buf, 0, 0, 0, 0), r)
}

// EndResponse fills in the length of the response begun last and returns the bytes of the whole frame, prefix included. A
// response that the protocol cannot carry (above 2 GiB) is an error; CancelResponse must follow.
func (p *Payload) EndResponse() (int, error) {
	n := p.Size() - p.startAll
	if n-4 > math.MaxInt32 {
		return 0, fmt.Errorf("response of %d bytes, expected at most %d", n-4, math.MaxInt32)
	}
	binary.BigEndian.PutUint32(p.buf[p.start:], uint32(n-4))
	p.start = -1
	return n, nil
}

// CancelResponse takes back everything since BeginResponse and calls the releases of its spans.
func (p *Payload) CancelResponse() {
	if p.start < 0 {
		return
	}
	p.drop(p.startPart)
	p.buf = p.buf[:p.start]
	p.start = -1
}

// Progress is told that a long write is not stuck.
type Progress interface{ Progress() }

// OnProgress makes WriteTo call f whenever the kernel has taken about a mebibyte, nil for never; PutPayload forgets it.
func (p *Payload) OnProgress(f Progress) { p.progress = f }

// WriteTo writes everything to c, on a TCP connection with vectored writes straight from the spans. A page of a mapped span
// that cannot be read surfaces as an error (EFAULT), after which c holds part of a response and must be closed. WriteTo calls
// no release. It returns the bytes written.
func (p *Payload) WriteTo(c net.Conn) (int64, error) {
	if len(p.parts) == 0 && len(p.buf) <= stepBytes {
		if len(p.buf) == 0 {
			return 0, nil
		}
		n, err := c.Write(p.buf)
		return int64(n), err
	}
	p.vecs = p.vecs[:0]
	from := 0
	for i := range p.parts {
		p.addVector(p.buf[from:p.parts[i].cut])
		p.addVector(p.parts[i].span)
		from = p.parts[i].cut
	}
	p.addVector(p.buf[from:])
	defer func() {
		clear(p.vecs)
		p.vecs, p.vec = p.vecs[:0], nil
	}()
	var written int64
	for first := 0; first < len(p.vecs); {
		last, size := first, 0
		for last < len(p.vecs) && size < stepBytes {
			size += len(p.vecs[last])
			last++
		}
		p.vec = net.Buffers(p.vecs[first:last])
		n, err := p.vec.WriteTo(c)
		written += n
		if err != nil {
			return written, err
		}
		if p.progress != nil {
			p.progress.Progress()
		}
		first = last
	}
	return written, nil
}

// addVector adds b in pieces that let a step end.
func (p *Payload) addVector(b []byte) {
	for len(b) > stepBytes {
		p.vecs = append(p.vecs, b[:stepBytes])
		b = b[stepBytes:]
	}
	if len(b) > 0 {
		p.vecs = append(p.vecs, b)
	}
}
