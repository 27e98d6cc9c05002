// Package engine is a storage engine for Kafka logs: it owns Store, the data
// directories with all their logs, and Log, one partition's log. It can be used
// as a library on its own; it knows offsets, batches and files, and no topic,
// request or Kafka error code.
//
// # Offsets
//
// Every log has these, in this order, and the words stay fixed everywhere:
//
//	start <= stable <= high <= end
//
// end is the offset behind the last appended batch. durable is the offset
// below which everything is fsynced here. high, the high watermark, is durable
// (or end, when the user relaxed durability by flush.messages or flush.ms).
// stable, the last stable offset, is the start of the earliest open
// transaction, or high. start is the first offset offered; retention and
// DeleteRecords move it.
//
// # Durability
//
// Append writes a batch with one pwrite and registers a waiter; a sync worker
// fsyncs and tells the waiter. No reader sees an offset at or above high, so
// nobody sees a record that a power cut could take back. The first failed sync
// poisons the directory for the life of the process: see package commit.
//
// # Recovery
//
// A directory that was closed cleanly is opened without reading data. After a
// crash a log is checked from its recovery point on, which the store keeps
// within Options.CheckpointBytes of the end by syncing indexes, writing a
// producer snapshot and then the recovery-point-offset-checkpoint. The first
// bytes at or above the recovery point that are no intact batch are a torn
// write: they are cut, and kept beside the log in a .torn file when intact
// batches stand behind them. Damage below the recovery point is corruption of
// acknowledged data: nothing is cut, the log refuses to open and says where.
//
// # Compaction
//
// Logs with LogConfig.Compact are cleaned in the background as Kafka cleans
// them: see package compact for what stays and swap.go for how segments are
// exchanged. Options.Cleaner are its settings. Sealed segments may be replaced
// under a reader's hands at any time: what it has pinned stays as it was.
//
// # Concurrency
//
// Store and Log are safe for concurrent use. Lock order inside a Log:
// cleaning lock, checkpoint lock, append lock, then the commit queue, then a
// segment's locks. Callbacks (Waiter.Synced, OnHigh) run on sync workers with
// none of them held.
package engine
