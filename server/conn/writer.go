package conn

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/gregor-broker/gregor/wire"
)

// maxBatch is how many ready replies may share one write.
const maxBatch = 64

// batchBytes ends a batch: what is encoded so far is written before the next reply is encoded.
const batchBytes = 64 << 10

// write is the writer goroutine: it takes ready replies from the head of the queue until the reader has ended and the queue is
// empty.
func (c *connection) write() {
	defer c.leave()
	if err := c.writeAll(); err != nil {
		c.kill(err)
	}
}

func (c *connection) writeAll() (err error) {
	defer c.protect()
	var batch []*exchange
	for {
		var over bool
		batch, over = c.ready(batch[:0])
		switch {
		case over:
			return nil
		case len(batch) == 0:
			<-c.wake
		default:
			n, err := c.respond(batch)
			if err != nil {
				return err
			}
			c.pop(n)
		}
	}
}

// ready collects the replies at the head of the queue that are ready; over means there is nothing left to do.
func (c *connection) ready(batch []*exchange) (_ []*exchange, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isDead || c.n == 0 && c.ended {
		return batch, true
	}
	for i := 0; i < c.n && len(batch) < maxBatch; i++ {
		e := c.queue[(c.first+i)%len(c.queue)]
		if !e.ready.Load() {
			break
		}
		batch = append(batch, e)
	}
	return batch, false
}

// respond writes replies, as many as fit one payload, and releases them. It returns how many that were. A reply that fails to
// encode ends the connection after those before it have been written.
func (c *connection) respond(batch []*exchange) (int, error) {
	n, failed, err := c.transmit(batch)
	debugging := err == nil && c.s.log.Enabled(background, slog.LevelDebug)
	for i, e := range batch[:n] {
		e.release()
		if debugging && (failed == nil || i < n-1) {
			c.logRequest(e)
		}
	}
	if err != nil || failed == nil {
		return n, err
	}
	if closing := (*wire.CloseError)(nil); errors.As(failed, &closing) {
		c.s.log.Info("connection closed by the broker", "connection", c.facts.ID, "address", c.facts.RemoteAddr, "reason", closing.Reason)
	} else {
		c.s.log.Error("response cannot be encoded, closing the connection", "connection", c.facts.ID, "address", c.facts.RemoteAddr,
			"error", failed)
	}
	return n, failed
}

// transmit encodes and writes the first n replies of a batch; failed says that the last of them cannot be encoded, err that
// the write failed.
func (c *connection) transmit(batch []*exchange) (n int, failed, err error) {
	p := wire.GetPayload()
	defer wire.PutPayload(p)
	for n < len(batch) && failed == nil && p.Size() < batchBytes {
		e := batch[n]
		e.written = 0
		if e.reply != wire.NoResponse {
			failed = encode(p, e)
		}
		n++
	}
	if p.Size() > 0 {
		err = c.send(p)
	}
	return n, failed, err
}

func encode(p *wire.Payload, e *exchange) error {
	p.BeginResponse(&e.request)
	err := e.reply.Encode(p)
	if err == nil {
		e.written, err = p.EndResponse()
	}
	if err != nil {
		p.CancelResponse()
		return fmt.Errorf("%s version %d: %w", e.request.Spec.Name, e.request.Version, err)
	}
	return nil
}

// send writes the payload under the eye of the sweep.
func (c *connection) send(p *wire.Payload) error {
	c.writeSince.Store(c.s.coarse.Load())
	p.OnProgress(c)
	n, err := p.WriteTo(c.nc)
	c.writeSince.Store(0)
	c.lastWrite.Store(c.s.coarse.Load())
	c.s.metrics.BytesOut.Add(n)
	if err != nil {
		return fmt.Errorf("write response: %w", err)
	}
	return nil
}

// Progress implements wire.Progress: the client still reads.
func (c *connection) Progress() { c.writeSince.Store(c.s.coarse.Load()) }

// recycle makes an exchange ready for the next request.
func (c *connection) recycle(e *exchange) {
	e.reply = nil
	e.released = false
	e.ready.Store(false)
}

// pop takes n written replies off the queue.
func (c *connection) pop(n int) {
	var bytes int64
	c.mu.Lock()
	for range n {
		e := c.queue[c.first]
		c.queue[c.first] = nil
		c.first = (c.first + 1) % len(c.queue)
		bytes += int64(e.request.Size)
		c.recycle(e)
		c.free = append(c.free, e)
	}
	c.n -= n
	var head *exchange
	if c.n > 0 {
		head = c.queue[c.first]
	}
	c.head.Store(head)
	c.pending.Store(int32(c.n))
	c.pendingBytes.Add(-bytes)
	c.space.Signal()
	c.mu.Unlock()
}

// logRequest writes the debug line of one answered request.
func (c *connection) logRequest(e *exchange) {
	r := &e.request
	c.s.log.LogAttrs(background, slog.LevelDebug, "request",
		slog.String("api", r.Spec.Name),
		slog.Int("version", int(r.Version)),
		slog.Int("correlation", int(r.CorrelationID)),
		slog.String("client", r.ClientID),
		slog.Uint64("connection", r.Conn.ID),
		slog.Int("bytes_in", r.Size),
		slog.Int("bytes_out", e.written),
		slog.Int64("microseconds", c.s.opts.Clock.Now().Sub(r.Received).Microseconds()),
	)
}
