package api

import (
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire"
)

// Cold requests are small by rule, their shape is walked before kmsg decodes
// them (see shape), and the larger ones are decoded one at a time.
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
		if err := checkCold(req); err != nil {
			return wire.CloseConnection(fmt.Errorf("malformed %s request: %w", req.Spec.Name, err))
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

// checkCold walks a request's shape; what has none must be small.
func checkCold(req *wire.Request) error {
	s, ok := shapes[req.Key]
	if !ok {
		if len(req.Body) > smallColdBytes {
			return fmt.Errorf("request of %d bytes, at most %d", len(req.Body), smallColdBytes)
		}
		return nil
	}
	return s.check(req.Body, req.Version, req.Flexible())
}

// encode makes a ready reply of a response.
func encode(req *wire.Request, resp kmsg.Response) wire.Reply {
	resp.SetVersion(req.Version)
	return wire.Bytes(resp.AppendTo(nil))
}
