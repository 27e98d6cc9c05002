// Package quorum owns what a single-voter KRaft node keeps on disk beside the partitions: meta.properties, bootstrap.checkpoint
// and, in metadata.log.dir, the directory __cluster_metadata-0 with its log, quorum-state and snapshots. It reads those files as
// Apache Kafka 4.0 to 4.3 leaves them, formats new ones as kafka-storage format --standalone does, takes over as leader of a new
// epoch, appends metadata records and writes snapshots. It never touches the directory of any other partition; which records to
// write is decided by its caller.
//
// # Order of a start
//
// Inspect reads everything and changes nothing; whatever must not be taken over is refused there, by name. Format runs only on
// directories that nobody has formatted. The caller then takes the directory locks and opens the metadata log, and Open begins
// the new epoch. Should the log have moved between Inspect and the lock, Open inspects it again before it writes.
//
// # Crash story
//
// Format writes the files of __cluster_metadata-0 and bootstrap.checkpoint, syncs them and their directories, then meta.properties
// of the other log directories, and meta.properties of metadata.log.dir last. A node is formatted when that last file exists, so
// a crash in the middle leaves directories that are formatted again, with the same cluster id where one was already written.
//
// A new epoch is one append to the log (LeaderChange, bootstrap records if the log has none, registrations, elections) and one
// write of quorum-state, both durable before Open returns. They need no order between them: the next epoch is one above the
// highest that either shows, and a single voter has nobody to have promised anything to. An append cut short leaves a prefix of
// whole batches; every prefix is a log from which the next start goes on: without bootstrap records it writes them, an open
// metadata transaction is aborted, a partition without leader gets one.
//
// Commit appends and syncs before anything becomes visible. A first failed append or sync is final: the metadata can no longer
// be said to be on disk, so every later Commit fails with the same error.
//
// A snapshot is written under the name .checkpoint.part, synced and renamed; leftovers of that name are removed at the next Open.
//
// # Damage
//
// A batch that does not check out ends the log, as Kafka has it, when nothing but its own append can have followed it. When
// batches of a later epoch, or of appends more than a second apart, are intact behind it, it had been synced and later damaged;
// dropping it would drop topics, so Inspect refuses with ErrCorrupt.
package quorum
