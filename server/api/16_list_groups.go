package api

import (
	"errors"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/wire"
)

// ListGroups, versions 0 to 5.
//
//	3 flexible
//	4 states, and a filter by them
//	5 types, and a filter by them
//
// Every coordinator is asked. While one is being read the answer would not be
// whole: COORDINATOR_LOAD_IN_PROGRESS.

func (h *handlers) listGroups(_ *wire.Request, q *kmsg.ListGroupsRequest, l *later) {
	states, types := filterWords(q.StatesFilter), filterWords(q.TypesFilter)
	indexes := h.Groups.Serving()
	slices.Sort(indexes)
	type answer struct {
		groups []kmsg.ListGroupsResponseGroup
		code   int16
	}
	g := newGather(len(indexes), func(answers []answer) {
		resp := kmsg.NewPtrListGroupsResponse()
		for _, a := range answers {
			if a.code != errNone {
				resp.ErrorCode, resp.Groups = a.code, nil
				break
			}
			resp.Groups = append(resp.Groups, a.groups...)
		}
		l.complete(resp)
	})
	late := false
	for i, index := range indexes {
		done := func(groups []kmsg.ListGroupsResponseGroup, err error) {
			if errors.Is(err, coord.ErrNotCoordinator) {
				err = nil // not here, so not to be listed here
			}
			g.put(i, answer{groups, h.coordinatorCode(err)})
		}
		do := h.Groups.DoAt
		if late {
			do = h.Groups.TryAt // one wait is enough
		}
		err := do(index, func(c *coord.Context, m *group.Machine) { m.List(c, states, types, done) })
		if err != nil {
			late = late || errors.Is(err, coord.ErrLoading)
			done(nil, err)
		}
	}
}

// filterWords are compared without regard to case and blanks.
func filterWords(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ToLower(strings.TrimSpace(w))
	}
	return out
}
