// Package segment owns one segment of a partition's log: its names, its bytes,
// its indexes, its mapping and the scan that recovers it.
//
// On disk a segment is Kafka's, byte for byte. NNNNNNNNNNNNNNNNNNNN is the base
// offset in 20 digits:
//
//	NNNNNNNNNNNNNNNNNNNN.log        record batches, one after the other, nothing between
//	NNNNNNNNNNNNNNNNNNNN.index      (last offset of a batch - base) i32, position of the batch i32
//	NNNNNNNNNNNNNNNNNNNN.timeindex  largest timestamp so far i64, (last offset of its batch - base) i32
//	NNNNNNNNNNNNNNNNNNNN.txnindex   aborted transactions; absent when there is none
//
// Bytes are written with pwrite at a known position and never through a
// mapping: a store into a shared mapping can dirty a whole large folio and
// cannot report a full disk. They are read through a read-only mapping of the
// segment's final size, made once; growth becomes visible in it. What Go code
// must look at (headers, index entries) is looked at under vfs.Guard after the
// pages were brought in by a system call, so that a slow disk holds up one
// goroutine and a damaged file becomes an error.
//
// A reader pins the segment with Acquire and gives it back with Release; files
// and mapping go when the log has let go and the last reader has too. The
// counter refuses to rise from zero, so a reader can never revive a segment
// that is being unmapped.
//
// The package knows batches and offsets. It never decides when to roll, sync
// or delete, and knows no producers.
package segment
