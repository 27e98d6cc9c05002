// Package fetch reads Fetch requests and writes Fetch responses of all versions that Kafka 4.3 serves (4 to 18).
//
// A parsed Request is a view over the request's body; a response is laid out in a wire.Payload as a few encoded bytes between
// spans of records that are never copied. The package owns the layout of the two messages and the bounds on parsing them; it
// knows nothing of sessions or logs and never does I/O.
package fetch
