// Package session owns incremental fetch sessions (KIP-227): what a client has
// said it wants, what it was last told, and which partitions of a response can
// therefore be left out.
//
// It is bounded (max.incremental.fetch.session.cache.slots) and pure: it takes
// time as a value and knows partitions only by key.
package session
