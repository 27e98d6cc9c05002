package api

import (
	"cmp"
	"errors"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn"
	"github.com/gregor-broker/gregor/server/txn/record"
	"github.com/gregor-broker/gregor/wire"
)

// ListTransactions, versions 0 to 2.
//
//	1 only those open for longer than a duration (KIP-994)
//	2 only those whose id matches a pattern (KIP-1152)

// maxPatternBytes bounds a pattern: what it compiles to may be a thousand times larger.
const maxPatternBytes = 1 << 10

func (h *handlers) listTransactions(_ *wire.Request, q *kmsg.ListTransactionsRequest, l *later) {
	resp := kmsg.NewPtrListTransactionsResponse()
	f := txn.Filter{DurationMs: q.DurationFilterMillis}
	if len(q.ProducerIDFilters) > 0 {
		f.ProducerIDs = map[int64]bool{}
		for _, id := range q.ProducerIDFilters {
			f.ProducerIDs[id] = true
		}
	}
	if len(q.StateFilters) > 0 {
		// Where none exists nothing is listed.
		f.States = map[record.State]bool{}
	}
	unknown := map[string]bool{}
	for _, name := range q.StateFilters {
		if s, ok := record.StateByName(name); ok {
			f.States[s] = true
		} else if !unknown[name] {
			unknown[name] = true
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, name)
		}
	}
	if p := q.TransactionalIDPattern; p != nil && *p != "" {
		var err error
		if len(*p) > maxPatternBytes {
			err = errors.New("too long")
		} else {
			if _, err = regexp.Compile(*p); err == nil { // it must be one by itself
				f.Pattern, err = regexp.Compile(`\A(?:` + *p + `)\z`)
			}
		}
		if err != nil {
			resp.ErrorCode = errInvalidRegularExpression
			resp.UnknownStateFilters = nil
			l.complete(resp)
			return
		}
	}
	serving := h.Transactions.Serving()
	all := newGather(len(serving), func(answers []listedTransactions) {
		// Whoever brings the last answer may hold a shard's lock.
		go func() {
			layTransactions(resp, answers)
			l.complete(resp)
		}()
	})
	for i, index := range serving {
		err := h.Transactions.TryAt(index, func(c *coord.Context, m *txn.Machine) {
			m.List(c, f, func(list []txn.Listed, err error) { all.put(i, listedTransactions{list, err}) })
		})
		if err != nil {
			all.put(i, listedTransactions{err: err})
		}
	}
}

// listedTransactions is the answer of one shard.
type listedTransactions struct {
	list []txn.Listed
	err  error
}

// layTransactions puts the answers together; one that is being loaded spoils all.
func layTransactions(resp *kmsg.ListTransactionsResponse, answers []listedTransactions) {
	for _, a := range answers {
		if code := coordinatorCode(a.err); code != errNone && code != errNotCoordinator {
			resp.ErrorCode, resp.TransactionStates, resp.UnknownStateFilters = code, nil, nil
			return
		}
		for _, t := range a.list {
			s := kmsg.NewListTransactionsResponseTransactionState()
			s.TransactionalID, s.ProducerID, s.TransactionState = t.TransactionalID, t.ProducerID, t.State.String()
			resp.TransactionStates = append(resp.TransactionStates, s)
		}
	}
	slices.SortFunc(resp.TransactionStates, func(a, b kmsg.ListTransactionsResponseTransactionState) int {
		return cmp.Compare(a.TransactionalID, b.TransactionalID)
	})
}
