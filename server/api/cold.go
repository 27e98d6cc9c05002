package api

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire"
)

// The cold messages are decoded by kmsg, which bounds array counts by the bytes
// that remain, but not by what an element costs in memory: a frame of one-byte
// elements can grow a hundredfold. Cold requests are therefore small by rule,
// and the larger ones decoded one at a time.
const (
	maxColdBytes   = 2 << 20
	smallColdBytes = 64 << 10
)

var largeCold sync.Mutex

// request is a kmsg request type behind its pointer.
type request[Q any] interface {
	*Q
	kmsg.Request
}

// cold makes a handler of a function from a decoded request to a response.
// Null or unparsable input closes the connection, as in Kafka.
func cold[Q any, P request[Q]](do func(*wire.Request, P) kmsg.Response) wire.Handler {
	return func(req *wire.Request) wire.Reply {
		if len(req.Body) > maxColdBytes {
			return wire.CloseConnection(fmt.Errorf("%s request of %d bytes, at most %d", req.Spec.Name, len(req.Body), maxColdBytes))
		}
		if len(req.Body) > smallColdBytes {
			largeCold.Lock()
			defer largeCold.Unlock()
		}
		q := P(new(Q))
		q.SetVersion(req.Version)
		if err := q.ReadFrom(req.Body); err != nil {
			return wire.CloseConnection(fmt.Errorf("malformed %s request: %w", req.Spec.Name, err))
		}
		return encode(req, do(req, q))
	}
}

// encode makes a ready reply of a response.
func encode(req *wire.Request, resp kmsg.Response) wire.Reply {
	resp.SetVersion(req.Version)
	return wire.Bytes(resp.AppendTo(nil))
}
