// Package journal is the commit journal of one data directory: one file that is
// synced in the place of many logs that were written a little each. A sync of a
// thousand files costs the drive a thousand small writes; of one file it costs one.
//
// It owns the journal's two files in the data directory, their format, and Redo,
// which puts what they hold into the logs' files after a crash. It decides nothing
// about when to sync and never opens a log; Kafka ignores the files.
//
// # What it promises
//
// An entry is a range of bytes that was written to the active segment of a log. Once
// Commit has returned, the range comes back after a power cut whatever became of the
// segment's own pages. It is a redo log of bytes, not of operations: an entry may be
// redone any number of times.
//
// The files take turns. When one is full the other goes on, and the first is settled:
// everything written to the volume so far is made durable, and only then is the file
// free again. So every acknowledged byte is in a journal file that is live, or settled
// where it belongs.
//
// # What must be so for an entry to be redone
//
// It is the log by topic id, the segment is still the log's last (a sealed segment is
// synced before the next one is made, and may be replaced by compaction), and the file
// reaches up to the range. Batches that stand there already stay; where intact ones
// stand that are not the entry's, somebody else has written to the log since, and the
// rest of the log's entries is left alone. A log that is to be cut needs Settle before.
//
// # Format
//
// Numbers are big-endian. Block 0 is the magic "GREGORJ1", the generation, the size of
// the file, how many records the generation before has (int64 each), and the CRC-32C of
// these; zeros mean that the file is free. Records begin at multiples of 4 KiB, so that
// no acknowledged block is written again:
//
//	length int32, crc uint32 of all that follows, generation int64, sequence int64,
//	then entries: name length int16, name, topic id [16]byte, segment base int64,
//	position int64, length int32, bytes
//
// The first record that is not of the file's generation, or out of sequence, or whose
// checksum is wrong, ends the journal: a record is written only after the one before
// was synced. One of the same generation behind it proves damage, and so does a later
// generation that counts more, or a file that is shorter than it was made.
package journal
