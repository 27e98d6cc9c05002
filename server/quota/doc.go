// Package quota says for how long a client must pause: how much each one has
// used, what the metadata lets it use, and the difference as a time.
//
// It is pure: amounts and times in milliseconds come in, pauses go out. What a
// pause is good for (a number in an answer, a connection that is not read) is
// the business of the rooms above; package quota never touches a connection,
// a request or a clock.
//
// The meters are Kafka's (Rate over windows for bytes, time and connections,
// TokenBucket for changes of the metadata), and so is the order in which the
// quota of a client is looked for: its user and client id, its user and any
// client, its user; any user and its client id, any user and any client, any
// user; its client id, any client (KIP-55, KIP-124, KIP-599, KIP-612).
//
// Without a quota in the metadata everything costs one atomic load. Connections
// are counted here, too, where the configuration of the broker bounds how many
// are taken in per second.
//
// # Limits
//
// Client ids and addresses come from the network. A meter that has nothing left
// to say is dropped when their number has doubled; beyond MaxMeters of one kind
// some others are, whose clients then begin anew. Names longer than 128 bytes
// are kept as their hash.
package quota
