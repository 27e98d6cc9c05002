// Package produce reads Produce requests and writes Produce responses of all versions that Kafka 4.3 serves (3 to 13).
//
// A parsed Request is a view: names and records are slices of the request's body. The package owns the layout of the two
// messages and the bounds on parsing them; it never looks inside records and never does I/O.
package produce
