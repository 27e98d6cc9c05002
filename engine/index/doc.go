// Package index owns the two sparse indexes that stand beside every segment:
// .index (offset to position) and .timeindex (timestamp to offset), in the
// byte format of Kafka's OffsetIndex and TimeIndex classes.
//
// An index is never a source of truth: every entry can be derived from the
// .log file, so entries are buffered, written with pwrite at the file's true
// length and synced only at a recovery checkpoint. There is never a zero tail,
// which Kafka would read as entries.
//
// The package reads through a read-only mapping and falls back to ReadAt. It
// never touches batches or segments.
package index
