package api

import (
	"bytes"
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
		if len(req.Body) > smallColdBytes {
			largeCold.Lock()
			defer largeCold.Unlock()
		}
		q, err := decode[Q, P](req, false)
		if err != nil {
			return wire.CloseConnection(err)
		}
		return encode(req, do(req, q))
	}
}

// decode reads a cold request. kept says that it may be looked at after the
// handler has returned: byte fields are slices of what was read.
func decode[Q any, P request[Q]](req *wire.Request, kept bool) (P, error) {
	if len(req.Body) > maxColdBytes {
		return nil, fmt.Errorf("%s request of %d bytes, at most %d", req.Spec.Name, len(req.Body), maxColdBytes)
	}
	if err := checkCold(req); err != nil {
		return nil, fmt.Errorf("malformed %s request: %w", req.Spec.Name, err)
	}
	body := req.Body
	if kept {
		body = bytes.Clone(body)
	}
	q := P(new(Q))
	q.SetVersion(req.Version)
	if err := q.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("malformed %s request: %w", req.Spec.Name, err)
	}
	return q, nil
}

// checkCold walks a request's shape; what has none is refused.
func checkCold(req *wire.Request) error {
	s, ok := shapes[req.Key]
	if !ok {
		return fmt.Errorf("no shape of key %d to check it by", req.Key)
	}
	return s.check(req.Body, req.Version, req.Flexible())
}

// encode makes a ready reply of a response.
func encode(req *wire.Request, resp kmsg.Response) wire.Reply {
	resp.SetVersion(req.Version)
	if req.Throttle != nil {
		tellThrottle(resp, req.Throttle(req))
	}
	return wire.Bytes(resp.AppendTo(nil))
}
