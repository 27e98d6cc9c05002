package api

import (
	"errors"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/wire"
)

// later is the reply to a request that a coordinator answers when it is ready:
// after a sync, when all members of a group have joined, or never, because the
// connection dies first.
//
// A handler makes one, hands it on and returns it. It is completed from any
// goroutine, also before the handler returns, also after the connection has
// gone; the first response counts.
type later struct {
	version  int16
	done     atomic.Bool
	pending  atomic.Int32 // the response and the call of Wait: whoever is second sees both
	response kmsg.Response
	body     []byte // of a response that was there when the handler returned
	waker    wire.Waker
	throttle int32 // ms the client must pause
}

// newLater makes the reply to a request of that version.
func newLater(version int16) *later {
	l := &later{version: version}
	l.pending.Store(2)
	return l
}

// complete gives the response, which must not change any more.
func (l *later) complete(response kmsg.Response) {
	if !l.done.CompareAndSwap(false, true) {
		return
	}
	l.response = response
	if l.pending.Add(-1) == 0 {
		l.waker.Wake()
	}
}

// settle encodes a response that is there already, when the handler is done: the
// bytes are smaller than what they are made of, and replies may queue up.
func (l *later) settle() {
	if l.pending.Load() != 1 {
		return
	}
	l.response.SetVersion(l.version)
	tellThrottle(l.response, l.throttle)
	l.body, l.response = l.response.AppendTo(nil), nil
}

// Wait is ready when the response is there.
func (l *later) Wait(w wire.Waker) bool {
	l.waker = w
	return l.pending.Add(-1) == 0
}

// Encode appends the response.
func (l *later) Encode(p *wire.Payload) error {
	if l.response == nil {
		p.SetBuffer(append(p.Buffer(), l.body...))
		return nil
	}
	l.response.SetVersion(l.version)
	tellThrottle(l.response, l.throttle)
	p.SetBuffer(l.response.AppendTo(p.Buffer()))
	return nil
}

// Release has nothing to give back: whoever holds the reply may still complete
// it.
func (l *later) Release() {}

// parked makes a handler of a function that completes its reply when it can.
// The decoded request may be kept: it shares no memory with the frame.
func parked[Q any, P request[Q]](do func(*wire.Request, P, *later)) wire.Handler {
	return func(req *wire.Request) wire.Reply {
		if len(req.Body) > smallColdBytes {
			largeCold.Lock()
			defer largeCold.Unlock()
		}
		q, err := decode[Q, P](req, true)
		if err != nil {
			return wire.CloseConnection(err)
		}
		l := newLater(req.Version)
		do(req, q, l)
		if req.Throttle != nil {
			l.throttle = req.Throttle(req)
		}
		l.settle()
		return l
	}
}

// gather collects the answers of several shards. done is called once, by
// whoever brings the last one.
type gather[T any] struct {
	left    atomic.Int32
	answers []T
	done    func(answers []T)
}

// newGather expects n answers; none at all are complete at once.
func newGather[T any](n int, done func(answers []T)) *gather[T] {
	g := &gather[T]{answers: make([]T, n), done: done}
	g.left.Store(int32(n))
	if n == 0 {
		done(g.answers)
	}
	return g
}

// put is answer i. Each is brought exactly once, from any goroutine.
func (g *gather[T]) put(i int, v T) {
	g.answers[i] = v
	if g.left.Add(-1) == 0 {
		g.done(g.answers)
	}
}

// coordinatorCode is Kafka's code for an operation that a runtime did not run,
// or whose records may be lost.
func coordinatorCode(err error) int16 {
	switch {
	case err == nil:
		return errNone
	case errors.Is(err, engine.ErrBatchTooLarge), errors.Is(err, engine.ErrSegmentTooSmall):
		return errUnknownServerError // asking again would not help
	case errors.Is(err, coord.ErrNotAvailable):
		return errCoordinatorNotAvailable
	case errors.Is(err, coord.ErrLoading):
		return errCoordinatorLoadInProgress
	case errors.Is(err, coord.ErrNotCoordinator):
		return errNotCoordinator
	}
	return code(err)
}
