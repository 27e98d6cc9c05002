package txn

import (
	"errors"
	"sync"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn/record"
)

// Errors of a marker that end the attempts for its partition; any other is tried again.
var (
	// ErrGone: the topic or the partition does not exist any more (UNKNOWN_TOPIC_OR_PARTITION).
	ErrGone = errors.New("the partition does not exist")
	// ErrFenced: the partition knows a newer epoch of the producer, or of the coordinator (INVALID_PRODUCER_EPOCH,
	// TRANSACTION_COORDINATOR_FENCED). The transaction is not this coordinator's to end.
	ErrFenced = errors.New("the marker's producer or coordinator is fenced")
)

// Marker is the end of one transaction on some partitions.
type Marker struct {
	TransactionalID  string // "" when it comes from outside of this coordinator
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Commit           bool
	// Version is the transaction version of the one that ended it: with 2 the marker's epoch must be above that of the
	// data (KIP-890, WriteTxnMarkers 2).
	Version    int16
	Partitions []Partition

	from source
}

// source is the Machine that a marker comes from; later ones of a partition have higher numbers.
type source struct {
	partition int32
	number    int64
}

// Markers writes markers. Write calls done once, from any goroutine but not with a lock of the caller held, when each
// marker is durable or has failed: one error for each partition, nil for one that is durable.
type Markers interface {
	Write(m Marker, done func(results []error))
}

// Gate makes Writes of one transactional id come one after the other, and leaves those of a Machine out that has a
// successor which wrote. A Machine whose log refused an append is thrown away while its markers are under way, and the next
// one sends them again; without the gate one of both could be appended after the transaction is complete, and end the one
// that follows. What is left out is never answered: nobody is there to hear it.
func Gate(m Markers) Markers {
	return &gate{markers: m, spawn: func(f func()) { go f() }, busy: map[string][]func(){}, newest: map[int32]int64{}}
}

type gate struct {
	markers Markers
	spawn   func(f func()) // go
	mu      sync.Mutex
	busy    map[string][]func() // what waits behind the one under way
	newest  map[int32]int64     // the newest Machine of each partition that wrote
}

// Write passes a marker on when none of its transactional id is under way.
func (g *gate) Write(m Marker, done func([]error)) {
	if m.TransactionalID == "" {
		g.markers.Write(m, done)
		return
	}
	write := func() {
		if g.outdated(m.from) {
			g.leave(m.TransactionalID)
			return
		}
		g.markers.Write(m, func(results []error) {
			g.leave(m.TransactionalID)
			done(results)
		})
	}
	g.mu.Lock()
	g.newest[m.from.partition] = max(g.newest[m.from.partition], m.from.number)
	queue, busy := g.busy[m.TransactionalID]
	if busy {
		g.busy[m.TransactionalID] = append(queue, write)
	} else {
		g.busy[m.TransactionalID] = nil
	}
	g.mu.Unlock()
	if !busy {
		write()
	}
}

func (g *gate) outdated(s source) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return s.number < g.newest[s.partition]
}

func (g *gate) leave(id string) {
	g.mu.Lock()
	queue := g.busy[id]
	if len(queue) == 0 {
		delete(g.busy, id)
		g.mu.Unlock()
		return
	}
	next := queue[0]
	g.busy[id] = queue[1:]
	g.mu.Unlock()
	g.spawn(next)
}

// sending is the markers of one transaction on their way.
type sending struct {
	left    []Partition
	attempt int
}

// send writes the markers of a transaction whose end is decided, or completes it if there are none to write.
func (m *Machine) send(c *coord.Context, t *transaction) {
	left := flatten(t.v.Topics)
	if len(left) == 0 {
		m.complete(c, t)
		return
	}
	t.sending = &sending{left: left}
	m.deliver(c, t)
}

// deliver writes what is left of the markers, once what was decided is durable.
func (m *Machine) deliver(c *coord.Context, t *transaction) {
	s, opt, partition, id := t.sending, m.opt, m.partition, t.id
	marker := Marker{TransactionalID: id, ProducerID: t.v.ProducerID, ProducerEpoch: t.v.ProducerEpoch, CoordinatorEpoch: c.Epoch(),
		Commit: t.v.State == record.PrepareCommit, Version: t.v.ClientVersion, Partitions: s.left,
		from: source{partition, m.number}}
	c.Then(func() {
		opt.Markers.Write(marker, func(results []error) {
			opt.Again(partition, func(c *coord.Context, m *Machine) { m.delivered(c, id, s, results) })
		})
	})
}

// Markers that could not be written are tried again after a while, ever longer.
const (
	firstRetryMs = 20
	lastRetryMs  = 2000
)

// delivered takes in what became of markers. s is of an earlier Machine when the log was read again meanwhile; that one's
// successor sent its own.
func (m *Machine) delivered(c *coord.Context, id string, s *sending, results []error) {
	t := m.all[id]
	if t == nil || t.sending != s {
		return
	}
	var left []Partition
	for i, err := range results {
		p := s.left[i]
		switch {
		case err == nil:
		case errors.Is(err, ErrGone):
			m.opt.Logger.Info("a partition of a transaction was deleted; it needs no marker", "transactionalId", id, "topic", p.Topic, "partition", p.Index)
		case errors.Is(err, ErrFenced):
			m.opt.Logger.Warn("a partition refuses the marker of a transaction", "transactionalId", id, "topic", p.Topic, "partition", p.Index, "error", err)
		default:
			if s.attempt == 0 {
				m.opt.Logger.Warn("cannot write the marker of a transaction yet", "transactionalId", id, "topic", p.Topic, "partition", p.Index, "error", err)
			}
			left = append(left, p)
		}
	}
	if len(left) == 0 {
		m.complete(c, t)
		return
	}
	s.left = left
	wait := int64(lastRetryMs)
	if s.attempt < 7 {
		wait = min(wait, firstRetryMs<<s.attempt)
	}
	s.attempt++
	c.Timer(coord.TimerKey{Kind: timerMarkers, Name: id}, c.Now()+wait)
}

// complete is when all markers are durable: the id is free for its next transaction.
func (m *Machine) complete(c *coord.Context, t *transaction) {
	v := t.next(c, record.CompleteAbort)
	if t.v.State == record.PrepareCommit {
		v.State = record.CompleteCommit
	}
	if v.ClientVersion >= 2 && v.NextProducerID != none {
		v.ProducerID, v.ProducerEpoch = v.NextProducerID, 0
	}
	v.NextProducerID, v.Topics = none, []record.Topic{}
	m.write(c, t.id, v)
	t.sending = nil
	m.wake(c, t)
}
