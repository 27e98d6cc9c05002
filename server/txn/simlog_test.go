package txn

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
)

// simLog is a partition: batches in memory, checked by the engine's own rooms.
type simLog struct {
	w        *world
	index    int32
	batches  []batch.Batch
	durable  int
	offline  bool
	waiting  []simWaiter
	table    *producer.Table
	verifier *producer.Verifier
}

type simWaiter struct {
	upTo int
	done func()
}

var errOffline = errors.New("the partition is offline")

func newSimLog(w *world, index int32) *simLog {
	l := &simLog{w: w, index: index}
	l.replay()
	return l
}

func (l *simLog) replay() {
	l.table, l.verifier = producer.New(0), new(producer.Verifier)
	for _, b := range l.batches {
		l.table.Apply(b, 0)
	}
	l.verifier.Reset(l.table)
}

func (l *simLog) crash(keep int) {
	l.batches = l.batches[:l.durable+keep]
	l.durable = len(l.batches)
	l.waiting = nil
	l.replay()
}

func (l *simLog) sync() {
	l.durable = len(l.batches)
	due := l.waiting
	l.waiting = nil
	for _, x := range due {
		x.done()
	}
}

func (l *simLog) put(b batch.Batch, done func()) {
	b.SetBaseOffset(int64(len(l.batches)))
	l.batches = append(l.batches, b)
	l.table.Apply(b, 0)
	l.verifier.Applied(b)
	l.waiting = append(l.waiting, simWaiter{len(l.batches), done})
}

// marker is server's markers.Write.
func (l *simLog) marker(m Marker, done func(error)) {
	if l.offline {
		done(errOffline)
		return
	}
	b := batch.EndTransactionMarker(m.Commit, m.CoordinatorEpoch, m.ProducerID, m.ProducerEpoch, 1)
	if err := l.table.CheckCoordinator(b, m.Version); err != nil {
		// Nobody else ends transactions here.
		l.w.fatalf("marker %+v on partition %d: %v", m, l.index, err)
	}
	l.put(b, func() { done(nil) })
}

// data is Partition.Append of one batch, or a group's commit of offsets. done is called when it is durable.
func (l *simLog) data(c *client, key int64, pid int64, epoch int16, sequence int32, guard producer.Guard, done func(error)) {
	if l.offline {
		done(errOffline)
		return
	}
	if l.offsets() {
		sequence = batch.NoSequence
	}
	b := batch.NewBuilder(codec.None).Producer(pid, epoch, sequence).Transactional().
		Append(1, nil, binary.BigEndian.AppendUint64(nil, uint64(key))).Bytes()
	if l.offsets() {
		if err := l.verifier.CheckCoordinator(l.table, pid, epoch, guard, true); err != nil {
			done(err)
			return
		}
	} else {
		dup, err := l.verifier.Check(l.table, b, guard, 0)
		if err != nil {
			done(err)
			return
		}
		if dup != nil {
			if int(dup.LastOffset) < l.durable {
				done(nil)
			} else {
				l.waiting = append(l.waiting, simWaiter{int(dup.LastOffset) + 1, func() { done(nil) }})
			}
			return
		}
	}
	if owner := l.w.owners[c.id]; owner.pid == pid && owner.epoch > epoch && owner.session != c.session {
		l.w.fatalf("client %d writes with epoch %d although %s has been given to another with epoch %d", c.number, epoch, c.id, owner.epoch)
	}
	l.put(b, func() { done(nil) })
}

// offsets says that a coordinator writes the records.
func (l *simLog) offsets() bool { return l.index == simPartitions-1 }

// visible counts the records that a read_committed consumer sees; with set a record counts once, however often it is there.
func (l *simLog) visible(count map[int64]int, set bool) {
	open := map[int64][]int64{}
	for i, b := range l.batches {
		if !b.IsControl() {
			err := b.Each(1<<10, func(r *batch.Record) error {
				open[b.ProducerID()] = append(open[b.ProducerID()], int64(binary.BigEndian.Uint64(r.Value)))
				return nil
			})
			if err != nil {
				l.w.fatalf("partition %d batch %d: %v", l.index, i, err)
			}
			continue
		}
		commit, _, err := batch.EndTransaction(b)
		if err != nil {
			l.w.fatalf("partition %d batch %d: %v", l.index, i, err)
		}
		if commit {
			for _, key := range open[b.ProducerID()] {
				if count[key]++; set {
					count[key] = 1
				}
			}
		}
		delete(open, b.ProducerID())
	}
	for id, keys := range open {
		l.w.fatalf("partition %d: producer %d left %v open", l.index, id, keys)
	}
}

func (l *simLog) String() string { return fmt.Sprintf("partition %d", l.index) }
