// Package checkpoint owns the text format of the offset checkpoint files of a log directory:
// recovery-point-offset-checkpoint, replication-offset-checkpoint, log-start-offset-checkpoint and
// cleaner-offset-checkpoint (org.apache.kafka.storage.internals.checkpoint.OffsetCheckpointFile).
//
// It never touches files: it encodes and decodes bytes.
package checkpoint
