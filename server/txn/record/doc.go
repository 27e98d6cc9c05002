// Package record encodes and decodes the records of __transaction_state: one key, the transactional id, whose
// value is the whole state of its transaction (TransactionLogKey, TransactionLogValue; TransactionLog in Kafka).
//
// It owns the bytes and the names of the states. It never decides which state follows which, and never sees a
// log: package txn does.
package record
