// Package coord runs coordinators: state machines that are written in logs.
//
// It owns the shape "decide, log, apply, answer when committed" (Kafka's
// CoordinatorRuntime and CoordinatorShard). A Machine is the state of one
// partition of an internal topic: it has no goroutine, no clock and no files. A
// shard runs one Machine on one Log: under the shard's lock an operation looks
// at the state, writes records, which are applied at once, and leaves replies.
// All records of an operation are one batch, so that a crash keeps all of them
// or none.
//
// Every reply, to a read or a write, leaves when everything the shard had
// written by the moment of its decision is durable. A client therefore never
// sees a state that a power cut could take back, and readers need no second,
// committed copy of the state. If an append fails the shard drops its memory and
// reads the log again; if a sync fails it stops for good, since the directory is
// poisoned.
//
// A log is read in the background, some at a time, with no lock held: a shard
// that loads holds up nobody but those who ask for it, and those for a bounded
// time. An idle shard is a small struct, no goroutine and no timer.
//
// The package never knows what the records mean, which request an operation
// came from, or what files the log lies in.
package coord
