package partition

import (
	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/producer"
)

// Marker is the end of a producer's transaction.
type Marker struct {
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Commit           bool
	Version          int16 // transaction version, see engine.AppendOptions
}

// AppendMarker ends a producer's transaction in the partition; w is told when that is durable. Errors: ErrNotLeader, and
// those of engine.Log.Append, of which producer.ErrFencedEpoch and producer.ErrCoordinatorFenced are final.
func (p *Partition) AppendMarker(m Marker, w engine.Waiter) error {
	log, err := p.Log()
	if err != nil {
		return err
	}
	if err := p.CheckEpoch(-1); err != nil {
		return err
	}
	b := batch.EndTransactionMarker(m.Commit, m.CoordinatorEpoch, m.ProducerID, m.ProducerEpoch, p.clock())
	_, err = log.Append(b, engine.AppendOptions{LeaderEpoch: p.epoch.Load(), LogAppendTime: p.config.Load().LogAppendTime,
		Origin: producer.Coordinator, Checked: true, TransactionVersion: m.Version}, w)
	return err
}
