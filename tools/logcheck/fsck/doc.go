// Package fsck checks, shows, explains and repairs the data directories of
// Apache Kafka and Gregor: a log.dirs entry, one partition directory, or one
// file.
//
// It owns the judgement of what on disk is intact, and words for what is not:
// Scan lists a target, Verify checks it, Dump prints it, Explain says what
// stands at one position, Repair mends it. Only Repair writes, and only Repair
// takes the lock of a data directory, which it refuses to do where a broker has
// it. The package never touches a socket or a running broker.
//
// # What proves what
//
// A batch's CRC-32C covers bytes 21 to its end. The other header bytes are
// proven by their neighbours: the length by the next header and by the CRC of
// the bytes it leads to, the base offset by the chain of offsets, the leader
// epoch by leader-epoch-checkpoint, the magic by the CRC. Indexes, producer
// snapshots, transaction indexes, epochs and checkpoints are compared with the
// batches; partition.metadata, meta.properties, quorum-state and the clean
// marker with the metadata log. A partition is judged as a broker would find it
// at its next start: the output of an interrupted cleaning stands in the place of
// what it replaces, and segments below the log's start are passed over.
//
// What has no second copy cannot be proven: most bits of the cluster id and the
// base offset of a batch inside a gap that compaction left. Such a change is found only
// when it breaks the form of the value.
//
// # The commit journal
//
// What Gregor's commit journal (engine/journal) has for the logs of a directory is
// tried out on a disk to which nothing is written, with the code that the next
// start of Gregor runs. What a log lacks is rebuildable: Gregor puts it back, Kafka
// does not. A repair puts it back before anything else, whatever the policy, and
// then takes the journal away, so that no later start applies it to logs that have
// moved on. A repair of a part of the directory leaves the logs alone that the
// journal has entries of.
//
// # How a repair works
//
// It checks, plans what follows from the findings, writes the future files
// beside the old ones (under names that end with .repaired, which brokers pass
// over), and checks again what the directory will be, through an overlay, until
// nothing is left that it could do. Damage can hide other damage, so one step is
// planned at a time: the commit journal, proven bytes, then torn tails, then damage
// by the policy, then what is made from logs, then small files. Nothing was replaced so
// far. Then the evidence is made durable, and the new files take their names,
// logs before what is made from them. Every file is at any moment the old one or
// the new one, and each of these states is one from which a repair, run again,
// comes to the same end; a repair has no journal of its own that could be applied
// to a directory that has moved on.
//
// A flipped bit under a checksum is located by the linearity of CRCs, in one pass,
// and believed when the records are well-formed with it; one outside by what is
// around it; one in a text file by flipping every bit and asking the checks again.
// Where a bit in either of two files would explain a contradiction, the log is
// believed, and of two starts of a log the one that loses nothing.
//
// # How much it holds
//
// Logs are read through read-only mappings, 1 MiB at a time and a few of these
// under way for each partition; what is kept of a log is a few numbers. Batches
// are decompressed into at most Options.DecodeLimit bytes. A repair holds one
// rebuilt index at a time, and the small files of a partition. Of a commit
// journal it holds what the logs lack, at most the size of the journal's files.
package fsck
