package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
)

func (r *rig) describe(id string, version int16) kmsg.DescribeGroupsResponseGroup {
	r.t.Helper()
	return ask(r, func(c *coord.Context, m *Machine, done coord.Done[kmsg.DescribeGroupsResponseGroup]) {
		m.Describe(c, version, id, done)
	}).now()
}

func TestDescribe(t *testing.T) {
	r := newRig(t)
	ids := r.stable("g", 1, "range", "sticky")
	r.commit("simple", "", -1, "t", 0, 1)
	v := r.describe("g", 6)
	if x := v.Members[0]; v.ErrorCode != codeNone || v.State != "Stable" || v.ProtocolType != "consumer" || v.Protocol != "range" || x.MemberID != ids[0] || x.ClientID != "app" ||
		x.ClientHost != "/127.0.0.1" || string(x.ProtocolMetadata) != string(subscription("t")) || string(x.MemberAssignment) != "a0" {
		t.Errorf("%+v", v)
	}
	r.join(joinRequest("g", ids[0])).now()
	if v := r.describe("g", 6); v.State != "CompletingRebalance" || v.Protocol != "" || len(v.Members) != 1 || len(v.Members[0].ProtocolMetadata) != 0 {
		t.Errorf("%+v", v)
	}
	if v := r.describe("simple", 5); v.State != "Empty" || v.ProtocolType != "" || len(v.Members) != 0 {
		t.Errorf("%+v", v)
	}
	if v := r.describe("none", 5); v.State != "Dead" || v.ErrorCode != codeNone {
		t.Errorf("%+v", v)
	}
	if v := r.describe("none", 6); v.State != "Dead" || v.ErrorCode != codeGroupIDNotFound || *v.ErrorMessage != "Group none not found." {
		t.Errorf("%+v", v)
	}
	r.machine(func(m *Machine) { m.entry("share").other = otherShare })
	if v := r.describe("share", 6); v.ErrorCode != codeGroupIDNotFound || *v.ErrorMessage != "Group share is not a classic group." {
		t.Errorf("%+v", v)
	}
}

func TestList(t *testing.T) {
	r := newRig(t)
	r.stable("stable", 1)
	r.commit("simple", "", -1, "t", 0, 1)
	q := joinRequest("joining", "")
	q.Version, q.ProtocolType = 3, "connect"
	r.join(q)
	r.machine(func(m *Machine) { m.entry("share").other = otherShare })
	r.pass(time.Second)
	for _, c := range []struct {
		states, types []string
		want          string
	}{
		{nil, nil, "joining:classic:PreparingRebalance:connect simple:classic:Empty: stable:classic:Stable:consumer "},
		{[]string{"stable", "empty"}, nil, "simple:classic:Empty: stable:classic:Stable:consumer "},
		{[]string{"preparingrebalance"}, []string{"classic", "consumer"}, "joining:classic:PreparingRebalance:connect "},
		{nil, []string{"consumer"}, ""},
		{[]string{"dead"}, nil, ""},
	} {
		got := ""
		for _, g := range ask(r, func(x *coord.Context, m *Machine, done coord.Done[[]kmsg.ListGroupsResponseGroup]) {
			m.List(x, c.states, c.types, done)
		}).now() {
			got += fmt.Sprintf("%s:%s:%s:%s ", g.Group, g.GroupType, g.GroupState, g.ProtocolType)
		}
		if got != c.want {
			t.Errorf("%v %v: %q, expected %q", c.states, c.types, got, c.want)
		}
	}
}
