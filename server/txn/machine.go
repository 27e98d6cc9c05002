package txn

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn/record"
)

// Options of a Machine; all are needed except Logger.
type Options struct {
	Settings config.Transactions
	// Version is the finalized level of the feature transaction.version.
	Version func() int16
	Markers Markers
	// Again runs op as an operation of the partition's present Machine, if there is one. It is called with no lock held
	// and may block.
	Again func(partition int32, op func(c *coord.Context, m *Machine))
	// NextProducerID gives a producer id that was never given before. It is called with no lock held and may block.
	NextProducerID func() (int64, error)
	Logger         *slog.Logger
}

// Machine is the state of one partition of __transaction_state, a coord.Machine.
type Machine struct {
	opt       *Options
	partition int32
	number    int64 // of all Machines of the process
	all       map[string]*transaction
	ongoing   map[*transaction]struct{}
	watching  bool // the timer for timed-out transactions is set
	key, val  []byte
}

// transaction is what is known of one transactional id.
type transaction struct {
	id string
	v  record.Value // as in the log; its Topics are sorted and never changed in place

	// last is the epoch the producer had before its present one, when it was the producer itself that asked for the new
	// one: a request with that epoch is a retry. It is not in the log.
	last    int16
	sending *sending  // the markers under way
	waiting []waiting // requests that wait for them
}

// Timers of a Machine; the name is a transactional id where there is one.
const (
	timerAbort   uint8 = iota // looks for transactions that took too long
	timerExpire               // looks for ids nobody used for long
	timerMarkers              // tries to write markers again
	timerWaiting              // answers requests that have waited long enough
)

// batchLimit bounds how many transactions one search ends: their records are one batch.
const batchLimit = 1000

var machines atomic.Int64

// New makes the empty Machine of a partition.
func New(o Options, partition int32) *Machine {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Machine{opt: &o, partition: partition, number: machines.Add(1), all: map[string]*transaction{}, ongoing: map[*transaction]struct{}{}}
}

// Apply takes a record in. Records of versions that Kafka 4.3 does not know are skipped, as Kafka skips them.
func (m *Machine) Apply(r coord.Record, _ coord.Origin) error {
	id, err := record.DecodeKey(r.Key)
	if errors.Is(err, record.ErrUnknown) {
		m.opt.Logger.Warn("a record of __transaction_state is skipped", "partition", m.partition, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	t := m.all[id]
	if r.Value == nil {
		if t != nil {
			delete(m.ongoing, t)
			delete(m.all, id)
		}
		return nil
	}
	v, _, err := record.DecodeValue(r.Value)
	if errors.Is(err, record.ErrUnknown) {
		m.opt.Logger.Warn("a record of __transaction_state is skipped", "partition", m.partition, "transactionalId", id, "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("transactional id %q: %w", id, err)
	}
	if t == nil {
		t = &transaction{id: id, last: record.None}
		m.all[id] = t
	}
	t.v = *v
	t.v.Topics = sorted(v.Topics)
	if v.State == record.Ongoing {
		m.ongoing[t] = struct{}{}
	} else {
		delete(m.ongoing, t)
	}
	return nil
}

// EndTransaction does nothing: the records of this topic are in no transaction.
func (m *Machine) EndTransaction(int64, int16, bool, coord.Origin) error { return nil }

// Loaded goes on with what was under way: markers are sent again, transactions and ids time out.
func (m *Machine) Loaded(c *coord.Context) {
	var ended []*transaction
	for _, t := range m.all {
		if t.v.State == record.PrepareCommit || t.v.State == record.PrepareAbort {
			ended = append(ended, t)
		}
	}
	sortByID(ended)
	for _, t := range ended {
		m.send(c, t)
	}
	m.watch(c)
	c.Timer(coord.TimerKey{Kind: timerExpire}, c.Now()+ms(m.opt.Settings.ExpireCheck))
}

// Fire is called when a timer is due.
func (m *Machine) Fire(c *coord.Context, k coord.TimerKey) {
	switch k.Kind {
	case timerAbort:
		m.watching = false
		m.abortTimedOut(c)
	case timerExpire:
		m.expire(c)
	case timerMarkers:
		if t := m.all[k.Name]; t != nil && t.sending != nil {
			m.deliver(c, t)
		}
	case timerWaiting:
		if t := m.all[k.Name]; t != nil {
			m.giveUp(c, t)
		}
	}
}

// Unloaded answers the requests that wait for markers.
func (m *Machine) Unloaded(err error) {
	for _, t := range m.all {
		for _, w := range t.waiting {
			w.done(nil, err)
		}
		t.waiting = nil
	}
}

// watch sets the timer that looks for transactions that took too long, while there is one that may.
func (m *Machine) watch(c *coord.Context) {
	if !m.watching && len(m.ongoing) > 0 {
		m.watching = true
		c.Timer(coord.TimerKey{Kind: timerAbort}, c.Now()+ms(m.opt.Settings.AbortCheck))
	}
}

// write makes v the state of a transactional id. Version 0 of a record cannot hold all of it; what it loses is kept in
// memory, as in Kafka.
func (m *Machine) write(c *coord.Context, id string, v record.Value) *transaction {
	var version int16
	if m.opt.Version() >= 1 {
		version = 1
	}
	m.key = record.AppendKey(m.key[:0], id)
	m.val = record.AppendValue(m.val[:0], &v, version)
	c.Write(coord.Record{Key: m.key, Value: m.val})
	t := m.all[id]
	t.v = v
	return t
}

// next is the present value on its way to another state. Kafka's records name the producer id before the change.
func (t *transaction) next(c *coord.Context, s record.State) record.Value {
	v := t.v
	v.PreviousProducerID = t.v.ProducerID
	v.State = s
	v.UpdatedMs = c.Now()
	return v
}

// prepared says whether the end of the transaction is decided and its markers are under way.
func (t *transaction) prepared() bool {
	return t.v.State == record.PrepareCommit || t.v.State == record.PrepareAbort
}

func ms(d time.Duration) int64 { return d.Milliseconds() }

func sortByID(list []*transaction) {
	slices.SortFunc(list, func(a, b *transaction) int { return cmp.Compare(a.id, b.id) })
}
