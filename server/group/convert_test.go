package group

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
)

// classicGroupOf makes a stable classic group of one consumer, "range" with that metadata, assigned those bytes.
func classicGroupOf(r *rig, metadata, assignment []byte, protocolType string) (member string) {
	q := joinRequest("g", "", "range="+string(metadata))
	q.Version, q.ProtocolType = 3, protocolType
	waiting := r.join(q)
	r.pass(r.opt.Settings.InitialRebalanceDelay)
	member = waiting.now().MemberID
	r.sync("g", member, 1, member+"="+string(assignment)).now()
	return member
}

// TestUpgradeRefused: which classic groups are not converted, and that nothing is written then.
func TestUpgradeRefused(t *testing.T) {
	m := kmsg.ConsumerMemberMetadata{Version: 3, Topics: []string{"t"}}
	good := m.AppendTo(nil)
	a := kmsg.ConsumerMemberAssignment{Version: 3, Topics: []kmsg.ConsumerMemberAssignmentTopic{{Topic: "t", Partitions: []int32{0}}}}
	custom := kmsg.ConsumerMemberAssignment{Version: 3, UserData: []byte("own")}
	for _, c := range []struct {
		name                 string
		change               func(*Options)
		metadata, assignment []byte
		protocolType, want   string
	}{
		{"disabled", func(o *Options) { o.Settings.Consumer.MigrationPolicy = "disabled" }, good, a.AppendTo(nil), "consumer", "online upgrade is disabled"},
		{"downgrade only", func(o *Options) { o.Settings.Consumer.MigrationPolicy = "downgrade" }, good, a.AppendTo(nil), "consumer", "online upgrade is disabled"},
		{"other protocol", nil, good, a.AppendTo(nil), "connect", "does not use the consumer embedded protocol"},
		{"malformed subscription", nil, good[:7], a.AppendTo(nil), "consumer", "malformed"},
		{"malformed assignment", nil, good, []byte{0}, "consumer", "malformed"},
		{"custom assignor", nil, good, custom.AppendTo(nil), "consumer", "custom assignor"},
		{"full", func(o *Options) { o.Settings.Consumer.MaxSize = 1 }, good, a.AppendTo(nil), "consumer", "maximum capacity of 1"},
	} {
		change := c.change
		if change == nil {
			change = func(*Options) {}
		}
		r := newRig(t, change)
		classicGroupOf(r, c.metadata, c.assignment, c.protocolType)
		end := r.log.End()
		got := r.beat(beatOf("g", "a", 0, "t"))
		if got.ErrorCode == codeNone || got.ErrorMessage == nil || !strings.Contains(*got.ErrorMessage, c.want) {
			t.Errorf("%s: %d %s", c.name, got.ErrorCode, text(got.ErrorMessage))
		}
		if r.log.End() != end {
			t.Errorf("%s: records were written", c.name)
		}
		r.expect("g", "Stable", 1, 1)
	}
}

// TestUpgradeUnsettled: a group that is converted in the middle of a rebalance gets a new target although the new member subscribes to
// nothing, and a cooperative member without an assignment keeps what it said it owns.
func TestUpgradeUnsettled(t *testing.T) {
	r := newRig(t)
	m := kmsg.ConsumerMemberMetadata{Version: 3, Topics: []string{"t"}, OwnedPartitions: []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "t", Partitions: []int32{2, 4}}}}
	q := joinRequest("g", "", "cooperative-sticky="+string(m.AppendTo(nil)))
	q.Version = 3
	waiting := r.join(q)
	r.pass(r.opt.Settings.InitialRebalanceDelay)
	member := waiting.now().MemberID // and it has not synced
	if got := r.beat(beatOf("g", "a", 0)); got.ErrorCode != codeNone {
		t.Fatal(got.ErrorCode, text(got.ErrorMessage))
	}
	r.machine(func(x *Machine) {
		g := x.groups["g"].consumer
		if g.epoch != 2 || g.assignmentEpoch != 2 || g.targets[member].Len() != simPartitions {
			t.Errorf("epoch %d, target of epoch %d: %v", g.epoch, g.assignmentEpoch, g.targets)
		}
		if c := g.member(member); !c.assigned.has([16]byte(r.topicID("t")), 2) || !c.assigned.has([16]byte(r.topicID("t")), 4) {
			t.Errorf("it has %v", c.assigned)
		}
	})
}

// TestDowngradePolicy: without leave to become a classic group, a group goes on with classic members alone.
func TestDowngradePolicy(t *testing.T) {
	for policy, want := range map[string]string{"upgrade": "consumer", "bidirectional": "classic", "downgrade": "classic"} {
		r := newRig(t, func(o *Options) { o.Settings.Consumer.MigrationPolicy = policy })
		r.beat(beatOf("g", "a", 0, "t"))
		m := kmsg.ConsumerMemberMetadata{Version: 3, Topics: []string{"t"}}
		q := joinRequest("g", "", "range="+string(m.AppendTo(nil)))
		q.Version = 3
		if got := r.join(q).now(); got.ErrorCode != codeNone {
			t.Fatal(policy, got.ErrorCode)
		}
		r.beat(beatOf("g", "a", left))
		got := ask(r, func(c *coord.Context, x *Machine, done coord.Done[[]kmsg.ListGroupsResponseGroup]) {
			x.List(c, nil, nil, done)
		}).now()
		if got[0].GroupType != want {
			t.Errorf("%s: a %s group", policy, got[0].GroupType)
		}
	}
	r := newRig(t, func(o *Options) { o.Settings.Consumer.MigrationPolicy = "disabled" })
	r.beat(beatOf("g", "a", 0, "t"))
	m := kmsg.ConsumerMemberMetadata{Version: 3, Topics: []string{"t"}}
	if got := r.join(joinRequest("g", "", "range="+string(m.AppendTo(nil)))).now(); got.ErrorCode != codeInconsistentGroupProtocol {
		t.Error(got.ErrorCode)
	}
}

// TestDowngradeUnsettled: a coordinator that loads a group converted in the middle of a rebalance rebalances it.
func TestDowngradeUnsettled(t *testing.T) {
	r := newRig(t)
	r.beat(beatOf("g", "a", 0, "t"))
	m := kmsg.ConsumerMemberMetadata{Version: 3, Topics: []string{"t"}}
	q := joinRequest("g", "", "range="+string(m.AppendTo(nil)))
	q.Version = 3
	r.join(q).now()
	r.beat(beatOf("g", "a", left))
	r.expect("g", "PreparingRebalance", 3, 1)
	r.restart()
	r.expect("g", "PreparingRebalance", 3, 1)
}
