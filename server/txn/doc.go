// Package txn is the transaction coordinator: which producer owns a transactional id, which partitions are in its
// transaction, and what became of it. The rules are those of Kafka's TransactionCoordinator, TransactionStateManager
// and TransactionMetadata (KIP-98, KIP-360, KIP-890), for clients of transaction versions 0 to 2 beside each other.
//
// A Machine is the state of one partition of __transaction_state. What survives a restart is changed by Apply alone and
// is a function of the log; the epoch before the last, markers under way and requests that wait for them are lost with
// the Machine, as Kafka loses them.
//
// # The order that power cuts test
//
//	the partition is in the transaction's record, durably    before a batch of the transaction is appended to it
//	PrepareCommit or PrepareAbort is durable                  before any marker is appended, and before EndTxn is answered
//	every marker is durable                                   before CompleteCommit or CompleteAbort is written
//
// So whatever a cut leaves, each partition with data of a transaction is named in a record that stands before the data,
// and a transaction whose end was acknowledged has a record that says how it ends. Loaded sends the markers of every
// transaction that stands at Prepare again; a marker that was there already changes nothing, since all markers of one id
// go through one gate (see Markers) and the next transaction begins only behind Complete.
//
// With transaction version 2 each end raises the producer epoch: markers carry the new one, so that a batch of the
// ended transaction which comes late is refused by the partition (KIP-890). With versions 0 and 1 markers carry the epoch
// of the data, and what keeps late batches out is the partition's verification guard.
//
// # Where this differs from Kafka
//
// Kafka answers CONCURRENT_TRANSACTIONS while markers are under way and lets the client, or the broker that asks for it,
// try again every 20 ms; here such a request may wait for the markers, at most as long as it asks to. Kafka refuses
// everything while a record is being replicated; here the next operation sees the record at once and is answered when it
// is durable. A partition that refuses a marker because its producer or coordinator is fenced is left out; Kafka leaves
// the transactional id at Prepare until the coordinator moves.
//
// The package does no I/O, has no clock, and knows no request versions: the API layer picks the error codes that old
// clients understand.
package txn
