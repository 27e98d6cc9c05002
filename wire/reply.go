package wire

import "fmt"

// Waker is told that a waiting Reply has become ready. Wake never blocks and may be called from any goroutine.
type Waker interface{ Wake() }

// Reply is a promise of a response. Replies of one connection leave in the order of their requests, each when it is ready.
type Reply interface {
	// Wait is called once, after the handler has returned. True means ready; false means that w.Wake will be called exactly
	// once when it is, possibly before Wait returns. It never blocks.
	Wait(w Waker) bool
	// Encode is called at most once, when the reply is ready and first in line; it appends the response body, the header is
	// there already. An error closes the connection after all earlier replies have left.
	Encode(p *Payload) error
	// Release is called once, after the response is written or when the connection dies, then possibly before the reply is
	// ready and concurrently with the call of Wake. It must not block.
	Release()
}

type noResponse struct{}

func (noResponse) Wait(Waker) bool       { return true }
func (noResponse) Encode(*Payload) error { return nil }
func (noResponse) Release()              {}

// NoResponse takes its place in the order and writes nothing, not even a header: Produce with acks=0.
var NoResponse Reply = noResponse{}

type bytesReply []byte

func (bytesReply) Wait(Waker) bool { return true }
func (b bytesReply) Encode(p *Payload) error {
	p.SetBuffer(append(p.Buffer(), b...))
	return nil
}
func (bytesReply) Release() {}

// Bytes returns a ready Reply with an already encoded body, which must not change afterwards.
func Bytes(body []byte) Reply { return bytesReply(body) }

// CloseError is the error by which a reply of CloseConnection ends its connection.
type CloseError struct{ Reason error }

// Error says why the connection was closed.
func (e *CloseError) Error() string {
	return fmt.Sprintf("connection closed by the broker: %v", e.Reason)
}

// Unwrap returns the reason.
func (e *CloseError) Unwrap() error { return e.Reason }

type closeReply struct{ err *CloseError }

func (*closeReply) Wait(Waker) bool         { return true }
func (c *closeReply) Encode(*Payload) error { return c.err }
func (*closeReply) Release()                {}

// CloseConnection returns a Reply that closes the connection after earlier replies have left, Kafka's answer to what has no
// answer (a failed Produce with acks=0, an API that is not allowed before authentication).
func CloseConnection(reason error) Reply { return &closeReply{err: &CloseError{Reason: reason}} }
