// Package prim reads and appends the primitive types of the Kafka protocol: fixed and variable length integers, strings,
// byte fields, array counts, UUIDs and tagged fields, in both the classic and the compact (KIP-482) form.
//
// It owns the bounds: every length and count that a message announces is compared with the bytes that are really there
// before anything is read or allocated, so whoever parses with a Reader cannot be made to panic, to read past the message or
// to allocate more than the message weighs. It knows nothing of requests, versions or connections and never does I/O.
package prim
