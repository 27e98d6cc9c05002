package producer

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gregor-broker/gregor/engine/batch"
)

// Guard proves that the transaction coordinator was asked for a transaction after the last one of the producer in this
// log had ended: only with it may a batch open a transaction here (KIP-890, VerificationGuard in Kafka). Without it a
// batch that was let through and came behind its transaction's marker would open one that nobody ends. The zero Guard
// proves nothing; a batch of an open transaction needs no proof.
type Guard uint64

// maxGuards bounds the verifications under way in a log; one more makes it forget those of any producer.
const maxGuards = 10_000

// Verifier is what appenders need to know of a log's open transactions without the log's lock, and the verifications
// under way. It is safe for concurrent use.
type Verifier struct {
	mu     sync.RWMutex
	open   map[int64]int16 // epoch, by producer id
	guards map[int64][]guard
	count  int // of all guards
	given  Guard
}

// guard is a verification under way (VerificationStateEntry in Kafka, which has one for all epochs of a producer).
type guard struct {
	is     Guard
	lowest int32 // sequence number of the batches verified; a higher one must not be the first
	epoch  int16
	bumps  bool // the client works by transaction version 2
}

// InTransaction says whether a producer with that epoch has a transaction open.
func (v *Verifier) InTransaction(producerID int64, epoch int16) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.isOpen(producerID, epoch)
}

// Begin is called before the coordinator is asked whether a transaction of a producer may have batches in this log; the
// Guard goes with the batch. It is zero if the transaction is open here already. sequence is the batch's base sequence,
// -1 if it has none; bumps says that the client works by transaction version 2. Guards of one epoch of a producer are
// one until its next batch or marker.
func (v *Verifier) Begin(producerID int64, epoch int16, sequence int32, bumps bool) Guard {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.isOpen(producerID, epoch) {
		return 0
	}
	if g := v.find(producerID, epoch); g != nil {
		g.lowest = min(g.lowest, sequence)
		g.bumps = g.bumps && bumps
		return g.is
	}
	for id, list := range v.guards {
		if v.count < maxGuards {
			break
		}
		v.count -= len(list)
		delete(v.guards, id)
	}
	if v.guards == nil {
		v.guards = map[int64][]guard{}
	}
	v.given++
	v.count++
	v.guards[producerID] = append(v.guards[producerID], guard{is: v.given, lowest: sequence, epoch: epoch, bumps: bumps})
	return v.given
}

// End forgets a Guard: the coordinator does not know the producer.
func (v *Verifier) End(producerID int64, is Guard) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drop(producerID, func(g guard) bool { return g.is == is })
}

// Check says whether a producer may append a batch to the log of t, given the Guard of its verification: it is all that
// Table.Check looks at, and refuses to open a transaction without proof, or not with its first batch
// (UnifiedLog.analyzeAndValidateProducerState, ProducerAppendInfo.checkSequence). The log's lock is held.
func (v *Verifier) Check(t *Table, b batch.Batch, is Guard, nowMs int64) (dup *Meta, err error) {
	dup, err = t.Check(b, Client, nowMs)
	if dup != nil || !b.IsTransactional() || b.IsControl() || errors.Is(err, ErrFencedEpoch) {
		return dup, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	id, first := b.ProducerID(), b.BaseSequence()
	if v.isOpen(id, b.ProducerEpoch()) {
		return nil, err
	}
	g, e := v.proof(id, b.ProducerEpoch(), is)
	if e != nil {
		return nil, e
	}
	if g.bumps && first != 0 {
		if e := t.producers[id]; e == nil || e.kept == 0 {
			return nil, &OutOfOrderError{ProducerID: id, Epoch: b.ProducerEpoch(), Found: first, NewEpoch: true}
		}
	}
	if first > g.lowest {
		return nil, &OutOfOrderError{ProducerID: id, Epoch: b.ProducerEpoch(), Expected: g.lowest, Found: first}
	}
	return nil, err
}

// CheckCoordinator says whether a coordinator may append records of a transaction, which have no sequence numbers, to the
// log of t: ErrFencedEpoch, or ErrTransactionState when proof is needed and missing. The log's lock is held.
func (v *Verifier) CheckCoordinator(t *Table, producerID int64, epoch int16, is Guard, needed bool) error {
	if e := t.producers[producerID]; e != nil {
		if err := e.checkEpoch(epoch); err != nil {
			return err
		}
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if !needed || v.isOpen(producerID, epoch) {
		return nil
	}
	_, err := v.proof(producerID, epoch, is)
	return err
}

func (v *Verifier) isOpen(id int64, epoch int16) bool {
	e, ok := v.open[id]
	return ok && e == epoch
}

func (v *Verifier) find(id int64, epoch int16) *guard {
	list := v.guards[id]
	for i := range list {
		if list[i].epoch == epoch {
			return &list[i]
		}
	}
	return nil
}

func (v *Verifier) drop(id int64, which func(guard) bool) {
	list := v.guards[id]
	if len(list) == 0 {
		return
	}
	kept := slices.DeleteFunc(list, which)
	v.count -= len(list) - len(kept)
	if len(kept) == 0 {
		delete(v.guards, id)
		return
	}
	v.guards[id] = kept
}

func (v *Verifier) proof(id int64, epoch int16, is Guard) (*guard, error) {
	g := v.find(id, epoch)
	if g == nil || g.is != is {
		return nil, fmt.Errorf("%w: producer %d has none open here", ErrTransactionState, id)
	}
	return g, nil
}

// Applied follows a batch that is in the log. A guard has served when its transaction is open, and is worth nothing when a
// marker came. A marker of version 2 has the epoch of the next transaction, whose guard stays: whoever asks by version 2
// with an epoch asks for the transaction behind that marker.
func (v *Verifier) Applied(b batch.Batch) {
	if !b.IsTransactional() {
		return
	}
	id, epoch := b.ProducerID(), b.ProducerEpoch()
	if !b.IsControl() {
		v.mu.RLock()
		known := len(v.guards[id]) == 0 && v.isOpen(id, epoch)
		v.mu.RUnlock()
		if known {
			return
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if b.IsControl() {
		delete(v.open, id)
		v.drop(id, func(g guard) bool { return g.epoch < epoch || g.epoch == epoch && !g.bumps })
		return
	}
	if v.open == nil {
		v.open = map[int64]int16{}
	}
	v.open[id] = epoch
	v.drop(id, func(g guard) bool { return g.epoch <= epoch })
}

// Reset takes the open transactions from t, which was read anew, and forgets every verification.
func (v *Verifier) Reset(t *Table) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open, v.guards, v.count = nil, nil, 0
	for _, e := range t.producers {
		if e.txnFirst != none {
			if v.open == nil {
				v.open = map[int64]int16{}
			}
			v.open[e.id] = e.epoch
		}
	}
}
