package producer

import (
	"errors"
	"fmt"
)

var (
	// ErrFencedEpoch says that a batch has a lower producer epoch than one seen before
	// (INVALID_PRODUCER_EPOCH in Kafka).
	ErrFencedEpoch = errors.New("producer epoch is fenced")
	// ErrOutOfOrder says that a batch is not the next of its producer (OUT_OF_ORDER_SEQUENCE_NUMBER).
	ErrOutOfOrder = errors.New("out of order sequence number")
	// ErrTransactionState says that a producer wrote outside its open transaction (INVALID_TXN_STATE).
	ErrTransactionState = errors.New("not part of the producer's open transaction")
	// ErrCoordinatorFenced says that a marker comes from a transaction coordinator that was replaced
	// (TRANSACTION_COORDINATOR_FENCED).
	ErrCoordinatorFenced = errors.New("transaction coordinator epoch is fenced")
	// ErrSnapshot says that bytes are not a producer snapshot.
	ErrSnapshot = errors.New("malformed producer snapshot")
	// ErrTxnIndex says that bytes are not an entry of an aborted transaction index.
	ErrTxnIndex = errors.New("malformed aborted transaction entry")
)

// OutOfOrderError is the ErrOutOfOrder of one batch.
type OutOfOrderError struct {
	ProducerID int64
	Epoch      int16 // of the batch
	Expected   int32 // the base sequence that would be accepted
	Found      int32
	NewEpoch   bool // the batch is the first of its epoch
}

func (e *OutOfOrderError) Error() string {
	what := "producer"
	if e.NewEpoch {
		what = "new epoch of producer"
	}
	return fmt.Sprintf("%v: %s %d at epoch %d sent %d, expected %d", ErrOutOfOrder, what, e.ProducerID, e.Epoch, e.Found, e.Expected)
}

// Is makes the error an ErrOutOfOrder.
func (e *OutOfOrderError) Is(target error) bool { return target == ErrOutOfOrder }
