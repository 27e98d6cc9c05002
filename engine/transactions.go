package engine

import (
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/producer"
)

// Guard is proof that a transaction may open in a log, see producer.Guard.
type Guard = producer.Guard

// InTransaction says whether a producer with that epoch has a transaction open in this log. It takes no lock that an
// append holds while it writes.
func (l *Log) InTransaction(producerID int64, epoch int16) bool {
	return l.transactions.InTransaction(producerID, epoch)
}

// BeginVerification is called before the coordinator is asked whether a transaction of a producer may have batches in
// this log; the Guard goes with the batch to Append. It is zero if the transaction is open here already. sequence is the
// batch's base sequence, -1 if it has none; bumps says that the client works by transaction version 2.
func (l *Log) BeginVerification(producerID int64, epoch int16, sequence int32, bumps bool) Guard {
	return l.transactions.Begin(producerID, epoch, sequence, bumps)
}

// EndVerification forgets a Guard: the coordinator does not know the producer.
func (l *Log) EndVerification(producerID int64, is Guard) { l.transactions.End(producerID, is) }

// CheckVerified says whether records of a transaction that have no sequence numbers may be appended now: for a caller
// that is the only one to append to this log and has to know before it makes the batch. needed says that a Guard is
// needed where no transaction is open. Errors: producer.ErrFencedEpoch, producer.ErrTransactionState.
func (l *Log) CheckVerified(producerID int64, epoch int16, is Guard, needed bool) error {
	l.write.Lock()
	defer l.write.Unlock()
	if n := l.successor.Load(); n != nil {
		return n.CheckVerified(producerID, epoch, is, needed)
	}
	return l.transactions.CheckCoordinator(l.write.producers, producerID, epoch, is, needed)
}

// Producers lists what the log knows of its producers, in no order.
func (l *Log) Producers() []producer.Producer {
	l.write.Lock()
	defer l.write.Unlock()
	if n := l.successor.Load(); n != nil {
		return n.Producers()
	}
	return l.write.producers.All()
}

// checkProducer is all that is to say against a batch of a producer, or dup if it is there already. The write lock is
// held.
func (l *Log) checkProducer(b batch.Batch, o *AppendOptions, nowMs int64) (dup *producer.Meta, err error) {
	switch {
	case o.Origin == producer.Coordinator:
		return nil, l.write.producers.CheckCoordinator(b, o.TransactionVersion)
	case o.Verified:
		return l.transactions.Check(l.write.producers, b, o.Guard, nowMs)
	}
	return l.write.producers.Check(b, o.Origin, nowMs)
}
