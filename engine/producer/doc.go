// Package producer owns what a log knows of its idempotent and transactional producers: which batch of a
// producer comes next, which were seen already, which transactions are open, and the files that hold
// this: producer snapshots (.snapshot) and aborted transaction indexes (.txnindex).
//
// The rules are those of org.apache.kafka.storage.internals.log.ProducerStateManager, ProducerAppendInfo,
// ProducerStateEntry and VerificationStateEntry (KIP-98, KIP-360, KIP-890).
//
// It never touches files: it encodes and decodes bytes. It never decides on last stable offsets or
// transaction markers; the log and the transaction coordinator do.
package producer
