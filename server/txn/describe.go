package txn

import (
	"regexp"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn/record"
)

// Description is the state of one transactional id. Only Code is set unless it is 0 (NONE).
type Description struct {
	Code          int16
	State         record.State
	TimeoutMs     int32
	StartedMs     int64
	ProducerID    int64
	ProducerEpoch int16
	Topics        []record.Topic // shared; not to be changed
}

// Describe tells the state of a transactional id. Codes: INVALID_REQUEST, TRANSACTIONAL_ID_NOT_FOUND.
func (m *Machine) Describe(c *coord.Context, transactionalID string, done coord.Done[Description]) {
	t := m.all[transactionalID]
	var d Description
	switch {
	case transactionalID == "":
		d.Code = codeInvalidRequest
	case t == nil || t.v.State == record.Dead:
		d.Code = codeTransactionalIDNotFound
	default:
		d = Description{State: t.v.State, TimeoutMs: t.v.TimeoutMs, StartedMs: t.v.StartedMs, ProducerID: t.v.ProducerID,
			ProducerEpoch: t.v.ProducerEpoch, Topics: t.v.Topics}
	}
	coord.Send(c, done, d)
}

// Filter says which transactional ids List lists: those that pass all of it.
type Filter struct {
	ProducerIDs map[int64]bool        // nil: all
	States      map[record.State]bool // nil: all
	DurationMs  int64                 // open for longer than that; negative: all
	Pattern     *regexp.Regexp        // matches the whole id; nil: all
}

// Listed is one transactional id.
type Listed struct {
	TransactionalID string
	ProducerID      int64
	State           record.State
}

// List lists transactional ids, in no order.
func (m *Machine) List(c *coord.Context, f Filter, done coord.Done[[]Listed]) {
	var list []Listed
	for id, t := range m.all {
		switch {
		case t.v.State == record.Dead,
			f.ProducerIDs != nil && !f.ProducerIDs[t.v.ProducerID],
			f.States != nil && !f.States[t.v.State],
			f.DurationMs >= 0 && c.Now()-t.v.StartedMs <= f.DurationMs,
			f.Pattern != nil && !f.Pattern.MatchString(id):
			continue
		}
		list = append(list, Listed{id, t.v.ProducerID, t.v.State})
	}
	coord.Send(c, done, list)
}
