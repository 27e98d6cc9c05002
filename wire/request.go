package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/wire/prim"
)

// Errors of ParseHeader and Table.Check besides prim.ErrMalformed. Kafka has no answer for either: the connection closes.
var (
	ErrUnknownKey         = errors.New("unknown api key")
	ErrUnsupportedVersion = errors.New("unsupported api version")
)

// MinHeaderBytes is the size of the smallest request header that is served: version 1 with a null client id.
const MinHeaderBytes = 10

// maxHeaderTags bounds the tagged fields of a request header, which anybody may send before being authenticated; Kafka
// defines none.
const maxHeaderTags = 16

// Conn is what handlers may know of the connection a request came in on. The connection owns it; a handler may set the
// client software fields (KIP-511) while it runs, and only then. It must not be copied.
type Conn struct {
	ID                    uint64 // unique in this process
	RemoteAddr, LocalAddr string // host:port
	Listener              string // listener name, for example "PLAINTEXT"
	ClientSoftwareName    string // from ApiVersions v3 and later
	ClientSoftwareVersion string // from ApiVersions v3 and later

	muted atomic.Int64 // nanoseconds since 1970 until which nothing is read
}

// Mute makes the connection read nothing until then, as Kafka does to a client that is beyond a quota (KIP-219): what it has sent
// is answered, what it sends meanwhile waits in its socket. It may be called from any goroutine, also from a Reply; the
// latest time counts.
func (c *Conn) Mute(until time.Time) {
	for n := until.UnixNano(); ; {
		before := c.muted.Load()
		if n <= before || c.muted.CompareAndSwap(before, n) {
			return
		}
	}
}

// MutedUntil is the latest time given to Mute; false if there was none.
func (c *Conn) MutedUntil() (time.Time, bool) {
	n := c.muted.Load()
	return time.Unix(0, n), n != 0
}

// Request is one parsed request. It is valid until its Reply has been released; its Body only until the handler returns.
type Request struct {
	Spec          *Spec
	Key, Version  int16
	CorrelationID int32
	ClientID      string
	HasClientID   bool // false when the client sent null
	// VersionUnsupported marks an ApiVersions request of a version outside the row's range: Version is as sent, Body is empty,
	// and the handler answers in version 0 with UNSUPPORTED_VERSION (KIP-511).
	VersionUnsupported bool
	Body               []byte    // aliases the connection's frame
	Size               int       // bytes of header and body, without the length prefix
	Received           time.Time // when the whole frame had arrived
	Conn               *Conn
	// Throttle, where it is not nil, says for how many milliseconds the client must pause because of this request. A handler that
	// meters requests sets it for the handlers it calls; they call it once, when the response is known.
	Throttle func(*Request) int32
}

// Flexible reports whether the request's version uses compact encodings and tagged fields.
func (r *Request) Flexible() bool { return !r.VersionUnsupported && r.Spec.Flexible(r.Version) }

// Check looks up an API by key and version. Its error wraps ErrUnknownKey or ErrUnsupportedVersion; ApiVersions in an unknown
// version is no error (KIP-511).
func (t *Table) Check(key, version int16) (*Spec, error) {
	spec := t.Lookup(key)
	if spec == nil {
		return nil, fmt.Errorf("%w %d version %d", ErrUnknownKey, key, version)
	}
	if (version < spec.Min || version > spec.Max) && key != KeyAPIVersions {
		return nil, fmt.Errorf("%w: %s version %d, expected %d to %d", ErrUnsupportedVersion, spec.Name, version, spec.Min, spec.Max)
	}
	return spec, nil
}

// PeekHeader returns the key and the version at the start of a frame of which at least four bytes are there.
func PeekHeader(frame []byte) (key, version int16) {
	return int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
}

// ParseHeader parses the header of a whole frame (without its length prefix) into r: version 1 or 2 by the API's first
// flexible version, the client id with a 16-bit length in both. It sets every field but Received and Conn; r.ClientID is kept
// when the frame holds the same one, so that a connection does not allocate it again. Body and nothing else aliases frame.
func ParseHeader(t *Table, frame []byte, r *Request) error {
	var p prim.Reader
	p.Reset(frame)
	r.Key, r.Version = p.Int16(), p.Int16()
	r.CorrelationID = p.Int32()
	if err := p.Err(); err != nil {
		return fmt.Errorf("request header: %w", err)
	}
	spec, err := t.Check(r.Key, r.Version)
	if err != nil {
		return err
	}
	r.Spec = spec
	r.Size = len(frame)
	r.VersionUnsupported = r.Version < spec.Min || r.Version > spec.Max
	r.Body = nil
	id := p.StringBytes()
	if r.VersionUnsupported && p.Err() != nil {
		// Only the correlation id is needed for the answer, and an unknown version may have an unknown header.
		r.HasClientID, r.ClientID = false, ""
		return nil
	}
	r.HasClientID = id != nil
	if string(id) != r.ClientID {
		r.ClientID = string(id)
	}
	if r.VersionUnsupported {
		return nil
	}
	if spec.Flexible(r.Version) {
		p.SkipTagsAtMost(maxHeaderTags)
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("request header of %s version %d: %w", spec.Name, r.Version, err)
	}
	r.Body = p.Rest()
	return nil
}

// AppendRequestHeader appends a request header as a client sends it; version 2 when flexible. A nil client id is null.
func AppendRequestHeader(dst []byte, key, version int16, correlationID int32, clientID *string, flexible bool) []byte {
	dst = prim.AppendInt16(dst, key)
	dst = prim.AppendInt16(dst, version)
	dst = prim.AppendInt32(dst, correlationID)
	dst = prim.AppendNullableString(dst, clientID)
	if flexible {
		dst = prim.AppendTags0(dst)
	}
	return dst
}

// AppendResponseHeader appends the header that answers r: the correlation id, and an empty tagged section where the API's
// version is flexible (never for ApiVersions).
func AppendResponseHeader(dst []byte, r *Request) []byte {
	dst = prim.AppendInt32(dst, r.CorrelationID)
	if r.Spec.flexibleResponseHeader(r.Version) {
		dst = prim.AppendTags0(dst)
	}
	return dst
}
