// Package fsck checks, shows and explains the data directories of Apache Kafka
// and Gregor: a log.dirs entry, one partition directory, or one file.
//
// It owns the judgement of what on disk is intact, and words for what is not:
// Scan lists a target, Verify checks it, Dump prints it, Explain says what
// stands at one position. It only reads; it never takes the lock of a data
// directory, and never touches a socket or a running broker.
//
// # What proves what
//
// A batch's CRC-32C covers bytes 21 to its end. The other header bytes are
// proven by their neighbours: the length by the next header and by the CRC of
// the bytes it leads to, the base offset by the chain of offsets, the leader
// epoch by leader-epoch-checkpoint, the magic by the CRC. Indexes, producer
// snapshots, transaction indexes, epochs and checkpoints are compared with the
// batches; partition.metadata, meta.properties, quorum-state and the clean
// marker with the metadata log.
//
// What has no second copy cannot be proven: most bits of the cluster id and the
// base offset of a batch inside a gap that compaction left. Such a change is found only
// when it breaks the form of the value.
//
// # How much it holds
//
// Logs are read through read-only mappings, 1 MiB at a time and a few of these
// under way for each partition; what is kept of a log is a few numbers. Batches
// are decompressed into at most Options.DecodeLimit bytes.
package fsck
