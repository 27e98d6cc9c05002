package group

import (
	"encoding/hex"
	"maps"
	"slices"
	"strconv"

	"github.com/gregor-broker/gregor/server/group/assign"
)

// The functions here append parts of a state as text: what it is compared by and, when it differs, told by.

func dumpString(b []byte, s string) []byte { return append(append(append(b, ' ', '"'), s...), '"') }

func dumpBytes(b, p []byte) []byte { return hex.AppendEncode(append(b, ' '), p) }

func dumpNumbers(b []byte, list ...int64) []byte {
	for _, n := range list {
		b = strconv.AppendInt(append(b, ' '), n, 10)
	}
	return b
}

func dumpBool(b []byte, v bool) []byte { return strconv.AppendBool(append(b, ' '), v) }

func dumpStrings(b []byte, list ...string) []byte {
	b = append(b, " ["...)
	for _, s := range list {
		b = dumpString(b, s)
	}
	return append(b, ']')
}

func dumpMap[V any](b []byte, m map[string]V, value func(b []byte, v V) []byte) []byte {
	b = append(b, " {"...)
	if len(m) > 0 {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			b = value(append(dumpString(b, k), ':'), m[k])
		}
	}
	return append(b, '}')
}

func dumpCount(b []byte, n int32) []byte { return dumpNumbers(b, int64(n)) }

func dumpPartitions(b []byte, topic assign.TopicID, lists ...[]int32) []byte {
	b = dumpBytes(b, topic[:])
	for _, list := range lists {
		b = append(b, " ["...)
		for _, n := range list {
			b = dumpCount(b, n)
		}
		b = append(b, ']')
	}
	return b
}

func dumpHoldings(b []byte, h holdings) []byte {
	b = append(b, " ("...)
	for i := range h {
		b = dumpPartitions(b, h[i].TopicID, h[i].Partitions, h[i].AssignmentEpochs)
	}
	return append(b, ')')
}

func dumpOffset(b []byte, o *offset) []byte {
	b = dumpNumbers(b, int64(o.partition), int64(o.leaderEpoch), o.value, o.committed, o.expires, o.at)
	return dumpString(dumpPartitions(b, assign.TopicID(o.topicID)), o.metadata)
}

// dump appends the hard state of a machine as text. Classic groups that rebalance in live are left out: what is written of them is their past.
func dump(b []byte, m, live *Machine) []byte {
	for _, id := range m.names() {
		g := m.groups[id]
		b = append(dumpNumbers(append(b, id...), int64(g.other)), '\n')
		for i := range g.offsets {
			for j := range g.offsets[i].partitions {
				b = append(dumpOffset(dumpString(append(b, "  offset"...), g.offsets[i].topic), &g.offsets[i].partitions[j]), '\n')
			}
		}
		if other := live.groups[id]; g.classic != nil && (other == nil || other.classic == nil || other.classic.state == classicStable || other.classic.state == classicEmpty) {
			b = dumpClassic(b, g.classic)
		}
		if g.consumer != nil {
			b = dumpConsumer(b, g.consumer)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.transactions)) {
		if len(m.transactions[id]) == 0 {
			continue
		}
		var open []string
		for k, o := range m.transactions[id] {
			open = append(open, string(dumpOffset(dumpCount(dumpString(dumpString(nil, k.group), k.topic), k.partition), &o)))
		}
		slices.Sort(open)
		b = append(dumpStrings(dumpNumbers(append(b, "open"...), id), open...), '\n')
	}
	return b
}

func dumpClassic(b []byte, g *classicGroup) []byte {
	v := g.value()
	b = append(append(b, "  classic "...), g.state.String()...)
	b = dumpString(dumpString(dumpString(b, v.ProtocolType), text(v.Protocol)), text(v.Leader))
	b = dumpNumbers(append(b, " generation"...), int64(v.Generation))
	b = dumpStrings(dumpBool(append(b, " topics"...), g.known), g.topics...)
	b = append(dumpNumbers(append(b, " since"...), v.CurrentStateTimestamp), '\n')
	for i := range v.Members {
		x := &v.Members[i]
		b = dumpStrings(append(b, "   "...), x.MemberID, text(x.GroupInstanceID), x.ClientID, x.ClientHost)
		b = dumpBytes(dumpBytes(b, x.Subscription), x.Assignment)
		b = append(dumpNumbers(b, int64(x.RebalanceTimeout), int64(x.SessionTimeout)), '\n')
	}
	return b
}

// dumpConsumer appends the hard state of a KIP-848 group as text.
func dumpConsumer(b []byte, g *consumerGroup) []byte {
	b = dumpNumbers(append(b, "  consumer epoch, hash, assignment, at, classic"...), int64(g.epoch), g.hash, int64(g.assignmentEpoch), g.assignedAt, int64(g.classicMembers))
	b = dumpBool(append(b, " old"...), g.oldMetadata)
	b = dumpMap(append(b, " static"...), g.static, dumpString)
	b = dumpMap(append(b, " topics"...), g.topics, func(b []byte, s subscribers) []byte { return dumpCount(dumpCount(b, s.names), s.patterns) })
	b = dumpMap(append(b, " regexes"...), g.regexes, dumpCount)
	b = dumpMap(append(b, " assignors"...), g.assignors, dumpCount)
	b = dumpMap(append(b, " protocols"...), g.classicProtocols, dumpCount)
	b = dumpMap(append(b, " matched"...), g.matched, func(b []byte, p *resolvedPattern) []byte {
		return dumpStrings(dumpNumbers(b, p.version, p.atTime), p.topics...)
	})
	b = append(b, '\n')
	for _, x := range g.members {
		b = dumpString(append(b, "   "...), x.id)
		b = dumpNumbers(append(b, " epochs, state, rebalance"...), int64(x.epoch), int64(x.previous), int64(x.state), int64(x.rebalance))
		b = dumpStrings(b, text(x.instance), text(x.rack), text(x.assignor), x.clientID, x.clientHost, x.regex)
		b = dumpStrings(append(b, " topics"...), x.topics...)
		b = dumpBool(append(b, " classic"...), x.classic != nil)
		b = dumpHoldings(append(b, " assigned"...), x.assigned)
		b = append(dumpHoldings(append(b, " revoking"...), x.revoking), '\n')
	}
	b = dumpMap(append(b, "    targets"...), g.targets, func(b []byte, a assign.Assignment) []byte {
		for i := range a {
			b = dumpPartitions(b, a[i].Topic, a[i].Partitions)
		}
		return b
	})
	return append(b, '\n')
}
