package conn

import "sync/atomic"

// Metrics counts what a Server has done; every field may be read at any time.
type Metrics struct {
	ActiveConnections   atomic.Int64 // open now
	AcceptedConnections atomic.Int64 // ever accepted, refused ones included
	RefusedConnections  atomic.Int64 // closed by Limits.PerIP or Refuse
	Requests            atomic.Int64 // whole requests received
	BytesIn             atomic.Int64 // of whole requests, length prefixes included
	BytesOut            atomic.Int64 // written, length prefixes included
}
