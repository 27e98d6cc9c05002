package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
)

// Describe shows a classic group (DescribeGroups). A group that is none is "Dead", which is an error from version 6 on.
func (m *Machine) Describe(c *coord.Context, version int16, id string, done coord.Done[kmsg.DescribeGroupsResponseGroup]) {
	r := kmsg.NewDescribeGroupsResponseGroup()
	r.Group, r.State = id, stateDead
	g := m.find(id)
	switch {
	case g != nil && g.classic != nil:
		g.classic.describe(&r)
	case version >= 6:
		why := fmt.Sprintf("Group %s not found.", id)
		if g != nil {
			why = fmt.Sprintf("Group %s is not a classic group.", id)
		}
		r.ErrorCode, r.ErrorMessage = codeGroupIDNotFound, &why
	}
	coord.Send(c, done, r)
}

func (g *classicGroup) describe(r *kmsg.DescribeGroupsResponseGroup) {
	r.State, r.ProtocolType = g.state.String(), g.protocolType
	stable := g.state == classicStable
	if stable && g.protocol != nil {
		r.Protocol = *g.protocol
	}
	r.Members = make([]kmsg.DescribeGroupsResponseGroupMember, len(g.members))
	for i, x := range g.members {
		out := kmsg.DescribeGroupsResponseGroupMember{MemberID: x.id, InstanceID: x.instance, ClientID: x.clientID, ClientHost: x.clientHost,
			MemberAssignment: x.assignment}
		if stable {
			out.ProtocolMetadata = x.metadata(g.protocol)
		}
		r.Members[i] = out
	}
}

// List names the groups, filtered by state and type in lower case; an empty filter takes all.
func (m *Machine) List(c *coord.Context, states, types []string, done coord.Done[[]kmsg.ListGroupsResponseGroup]) {
	list := []kmsg.ListGroupsResponseGroup{}
	for id, g := range m.groups {
		out := kmsg.ListGroupsResponseGroup{Group: id}
		switch {
		case g.classic != nil:
			out.GroupType, out.GroupState, out.ProtocolType = "classic", g.classic.state.String(), g.classic.protocolType
		case g.consumer != nil:
			out.GroupType, out.GroupState, out.ProtocolType = "consumer", g.consumer.state(), consumerProtocol
		default:
			continue
		}
		if (len(states) == 0 || slices.Contains(states, strings.ToLower(out.GroupState))) && (len(types) == 0 || slices.Contains(types, out.GroupType)) {
			list = append(list, out)
		}
	}
	slices.SortFunc(list, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
	coord.Send(c, done, list)
}
