// Package commit owns group commit: who waits for which offset, which log is
// synced next, and what happens when a sync fails.
//
// There is no timer. A worker takes a log's waiters, then its end, and syncs;
// everyone who appends while that sync runs joins the next one. Batching is
// therefore as wide as the disk is slow, and costs nothing when it is fast.
//
// The first failed sync poisons the pool: every waiter, present and future,
// gets that error and no file of the directory is ever synced again. Linux
// may mark the lost pages clean, so that a retried fsync succeeds without the
// data (the PostgreSQL "fsyncgate" of 2018): retrying proves nothing.
//
// The package is given functions; it never touches files, segments or logs.
package commit
