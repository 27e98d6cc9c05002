package txn

import "math"

// Kafka's error codes (org.apache.kafka.common.protocol.Errors) that a Machine answers with. The API layer replaces
// those that a version of a request does not know.
const (
	codeNone                      int16 = 0
	codeUnknownServerError        int16 = -1
	codeInvalidRequest            int16 = 42
	codeInvalidTxnState           int16 = 48
	codeInvalidProducerIDMapping  int16 = 49
	codeInvalidTransactionTimeout int16 = 50
	codeConcurrentTransactions    int16 = 51
	codeProducerFenced            int16 = 90
	codeTransactionalIDNotFound   int16 = 105
	codeTransactionAbortable      int16 = 120
)

// none is the producer id and the epoch that there is not.
const none = -1

// exhausted says that a producer id has no epoch left for a client: the last one is kept so that a producer can always be
// fenced (TransactionMetadata.isEpochExhausted).
func exhausted(epoch int16) bool { return epoch >= math.MaxInt16-1 }
