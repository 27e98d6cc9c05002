// Package epoch owns the history of a log's leader epochs: at which offset each began, and the text file
// leader-epoch-checkpoint that keeps it.
//
// The rules are those of org.apache.kafka.storage.internals.epoch.LeaderEpochFileCache (KIP-101, KIP-279).
//
// It never touches files: it encodes and decodes bytes.
package epoch
