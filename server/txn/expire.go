package txn

import (
	"math"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn/record"
)

// tooLong says that a transaction is open for longer than its producer allowed. Those of a two-phase commit, whose
// timeout is the largest there is, may stay for ever (KIP-939).
func (t *transaction) tooLong(now int64) bool {
	return t.v.State == record.Ongoing && t.v.TimeoutMs != math.MaxInt32 && t.v.StartedMs+int64(t.v.TimeoutMs) < now
}

// abortTimedOut ends the transactions that are open for too long, with a raised epoch, so that their producers hear of it
// (TransactionCoordinator.abortTimedOutTransactions).
func (m *Machine) abortTimedOut(c *coord.Context) {
	var late []*transaction
	for t := range m.ongoing {
		if t.tooLong(c.Now()) {
			late = append(late, t)
		}
	}
	sortByID(late)
	again := len(late) > batchLimit
	for _, t := range late[:min(len(late), batchLimit)] {
		m.opt.Logger.Info("a transaction is aborted: it took longer than its producer allowed", "transactionalId", t.id,
			"producerId", t.v.ProducerID, "producerEpoch", t.v.ProducerEpoch, "timeoutMs", t.v.TimeoutMs)
		if m.bumps() && exhausted(t.v.ProducerEpoch) {
			m.abortWithNewID(c, t)
			continue
		}
		m.fence(c, t, none)
	}
	if again {
		m.watching = true
		c.Timer(coord.TimerKey{Kind: timerAbort}, c.Now()+1)
	}
	m.watch(c)
}

// abortWithNewID aborts a transaction that is open for too long and whose producer id has no epoch left. Getting a new
// one may take a while; the transaction is looked at anew then.
func (m *Machine) abortWithNewID(c *coord.Context, t *transaction) {
	opt, partition, id := m.opt, m.partition, t.id
	c.Then(func() {
		fresh, err := opt.NextProducerID()
		if err != nil {
			opt.Logger.Warn("cannot get a producer id to abort a transaction with; it is tried again", "transactionalId", id, "error", err)
			return // by the next search
		}
		opt.Again(partition, func(c *coord.Context, m *Machine) {
			if t := m.all[id]; t != nil && t.tooLong(c.Now()) {
				m.fence(c, t, fresh)
			}
		})
	})
}

// expire forgets the ids that nobody used for long (TransactionStateManager.removeExpiredTransactionalIds).
func (m *Machine) expire(c *coord.Context) {
	before := c.Now() - ms(m.opt.Settings.IDExpiration)
	var old []*transaction
	for _, t := range m.all {
		switch t.v.State {
		case record.Empty, record.CompleteCommit, record.CompleteAbort:
			if t.v.UpdatedMs <= before {
				old = append(old, t)
			}
		}
	}
	sortByID(old)
	for _, t := range old[:min(len(old), batchLimit)] {
		c.Write(coord.Record{Key: record.AppendKey(nil, t.id)})
	}
	next := c.Now() + ms(m.opt.Settings.ExpireCheck)
	if len(old) > batchLimit {
		next = c.Now() + 1
	}
	c.Timer(coord.TimerKey{Kind: timerExpire}, next)
}
