// Package producer owns what a log knows of its producers: the sequence
// numbers that make produce idempotent (KIP-98), open and aborted
// transactions, and the two file formats that hold this, the .snapshot file and
// the entries of .txnindex (Kafka's ProducerStateManager, ProducerAppendInfo
// and TransactionIndex).
//
// A Table is guarded by its log's append lock. The package never touches files
// or segments, and takes time as a value.
package producer
