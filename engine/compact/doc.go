// Package compact owns the decisions of log compaction: which part of a log is to be cleaned and when, which
// record of a key is its last, what stays of a batch and what of a transaction, which segments become one, and how
// fast all that may go.
//
// The rules are those of Kafka's LogCleanerManager, Cleaner, CleanedTransactionMetadata, MemoryRecords.filterTo
// and Throttler; KIP-58 and KIP-354 say more about choosing logs, KIP-534 about how long tombstones and
// transaction markers stay.
//
// One pass over a log is: Decide on the numbers of its segments; Mapper.Add every batch of the dirty part, until the
// OffsetMap is full; Group the segments in front of where the map ends; and Filter.Batch for every batch of each
// group, which gives the bytes that stay.
//
// It is pure: bytes and numbers in, bytes and numbers out. It never touches files, clocks or logs.
package compact
