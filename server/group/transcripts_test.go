package group

import "github.com/twmb/franz-go/pkg/kmsg"

// scripts are the sequences of requests whose answers and records were recorded.
var scripts = []struct {
	name string
	play func(s *script)
}{
	{"alone", func(s *script) {
		s.newTopic("alone-t", 3)
		s.heartbeat(hb{id: "a", topics: []string{"alone-t"}})
		s.heartbeat(hb{id: "a", epoch: 2})
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{{"alone-t", []int32{0, 1, 2}}}})
		s.heartbeat(hb{id: "a", epoch: 2, rebalance: 1500, topics: []string{"alone-t"}, owned: []owning{{"alone-t", []int32{0, 1, 2}}}})
		s.heartbeat(hb{id: "a", epoch: 2, rack: "r1"})
		s.heartbeat(hb{id: "a", epoch: 3})
		s.heartbeat(hb{id: "a", epoch: 1})
		s.heartbeat(hb{id: "b", epoch: 2})
		s.describe()
		s.list()
		s.deleteGroup()
		s.heartbeat(hb{id: "a", epoch: 0, topics: []string{"alone-t"}})
		s.heartbeat(hb{id: "a", epoch: -1})
		s.heartbeat(hb{id: "a", epoch: -1})
		s.heartbeat(hb{id: "a", epoch: 2})
		s.describe()
		s.list()
		s.heartbeat(hb{id: "a", topics: []string{"alone-t", "nowhere"}})
		s.heartbeat(hb{id: "a", epoch: -1})
		s.deleteGroup()
		s.describe()
		s.heartbeat(hb{id: "a", epoch: 2})
		s.heartbeat(hb{id: "a", epoch: -1})
		s.deleteGroup()
	}},
	{"version0", func(s *script) {
		s.newTopic("version0-t", 1)
		r := s.heartbeat(hb{v0: true, topics: []string{"version0-t"}})
		id := text(r.MemberID)
		s.heartbeat(hb{v0: true, id: id, epoch: r.MemberEpoch})
		s.heartbeat(hb{v0: true, id: id, epoch: -1})
	}},
	{"rebalance", func(s *script) {
		s.newTopic("rebalance-t", 6)
		topics := []string{"rebalance-t"}
		s.heartbeat(hb{id: "a", topics: topics})
		s.wait(400)
		s.heartbeat(hb{id: "b", topics: topics})
		s.describe()
		s.heartbeat(hb{id: "a", epoch: 2})
		s.heartbeat(hb{id: "b", epoch: 3})
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{{"rebalance-t", []int32{0, 1, 2, 3, 4, 5}}}})
		s.describe()
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{{"rebalance-t", []int32{0, 1, 2}}}})
		s.heartbeat(hb{id: "b", epoch: 3})
		s.heartbeat(hb{id: "b", epoch: 3, owned: []owning{{"rebalance-t", []int32{3, 4, 5}}}})
		s.describe()
		// Too soon for a new target.
		s.heartbeat(hb{id: "c", topics: topics})
		s.wait(400)
		s.heartbeat(hb{id: "d", topics: topics})
		s.heartbeat(hb{id: "c", epoch: 3})
		s.describe()
		s.wait(400)
		s.heartbeat(hb{id: "c", epoch: 3})
		s.heartbeat(hb{id: "e", topics: topics})
		s.heartbeat(hb{id: "a", epoch: -1})
		s.wait(400)
		s.heartbeat(hb{id: "b", epoch: 3})
		s.heartbeat(hb{id: "b", epoch: -1})
		s.heartbeat(hb{id: "c", epoch: -1})
		s.heartbeat(hb{id: "d", epoch: -1})
	}},
	{"lost-answer", func(s *script) {
		s.newTopic("lost-answer-t", 4)
		topics := []string{"lost-answer-t"}
		s.heartbeat(hb{id: "a", topics: topics})
		s.wait(400)
		s.heartbeat(hb{id: "b", topics: topics})
		s.heartbeat(hb{id: "a", epoch: 2})
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{{"lost-answer-t", []int32{0, 1}}}})
		// a is in epoch 3 but did not hear of it.
		s.heartbeat(hb{id: "a", epoch: 2})
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{{"lost-answer-t", []int32{0, 1, 2}}}})
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{{"lost-answer-t", []int32{0}}}})
		s.heartbeat(hb{id: "a", epoch: 2, rebalance: 1500, topics: topics, owned: []owning{{"lost-answer-t", []int32{0, 1}}}})
		s.heartbeat(hb{id: "a", epoch: 3})
		// A member that joins again with its id keeps its place.
		s.heartbeat(hb{id: "a", topics: topics})
		s.heartbeat(hb{id: "b", epoch: 3})
	}},
	{"static", func(s *script) {
		s.newTopic("static-t", 4)
		topics := []string{"static-t"}
		s.heartbeat(hb{id: "a", instance: "i1", topics: topics})
		s.wait(400)
		s.heartbeat(hb{id: "b", instance: "i2", topics: topics})
		s.heartbeat(hb{id: "a", instance: "i1", epoch: 2, owned: []owning{{"static-t", []int32{0, 1, 2, 3}}}})
		s.heartbeat(hb{id: "a", instance: "i1", epoch: 2, owned: []owning{{"static-t", []int32{0, 1}}}})
		s.heartbeat(hb{id: "b", instance: "i2", epoch: 3})
		s.heartbeat(hb{id: "c", instance: "i1", topics: topics})
		s.heartbeat(hb{id: "c", instance: "i1", epoch: 3})
		s.heartbeat(hb{id: "a", instance: "i3", epoch: 3})
		s.heartbeat(hb{id: "a", epoch: 3})
		s.heartbeat(hb{id: "c", instance: "i1", epoch: -2})
		s.heartbeat(hb{id: "a", instance: "i1", epoch: -2})
		s.describe()
		s.heartbeat(hb{id: "a", instance: "i1", epoch: 3})
		s.heartbeat(hb{id: "a2", instance: "i1", topics: topics})
		s.describe()
		s.heartbeat(hb{id: "a", instance: "i1", epoch: 3})
		s.heartbeat(hb{id: "a2", instance: "i1", epoch: 3, owned: []owning{{"static-t", []int32{0, 1}}}})
		// Again, with another subscription.
		s.heartbeat(hb{id: "a2", instance: "i1", epoch: -2})
		s.wait(400)
		s.heartbeat(hb{id: "a3", instance: "i1", topics: []string{"static-t", "static-u"}})
		s.heartbeat(hb{id: "a3", instance: "i1", epoch: -1})
		s.heartbeat(hb{id: "a3", instance: "i1", epoch: -1})
		s.heartbeat(hb{id: "b", instance: "i2", epoch: -2})
		s.wait(2500)
		s.describe()
	}},
	{"timeouts", func(s *script) {
		s.newTopic("timeouts-t", 2)
		topics := []string{"timeouts-t"}
		s.heartbeat(hb{id: "a", topics: topics, rebalance: 1200})
		s.wait(400)
		s.heartbeat(hb{id: "b", topics: topics})
		s.heartbeat(hb{id: "a", epoch: 2})
		s.wait(800)
		s.heartbeat(hb{id: "a", epoch: 2})
		s.heartbeat(hb{id: "b", epoch: 3})
		s.wait(600)
		s.heartbeat(hb{id: "a", epoch: 2})
		s.heartbeat(hb{id: "b", epoch: 3})
		s.wait(1000)
		s.heartbeat(hb{id: "b", epoch: 4})
		s.wait(1500)
		s.heartbeat(hb{id: "b", epoch: 4})
		s.wait(2500)
		s.heartbeat(hb{id: "b", epoch: 4})
		s.describe()
	}},
	{"subscription", func(s *script) {
		s.newTopic("subscription-t", 2)
		s.newTopic("subscription-u", 2)
		s.heartbeat(hb{id: "a", topics: []string{"subscription-t"}})
		s.heartbeat(hb{id: "a", epoch: 2, topics: []string{"subscription-u"}})
		s.wait(400)
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{{"subscription-t", []int32{0, 1}}}})
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{}})
		s.heartbeat(hb{id: "a", epoch: 3, topics: []string{"subscription-t", "subscription-u"}})
		s.wait(400)
		s.heartbeat(hb{id: "a", epoch: 3})
		s.heartbeat(hb{id: "a", epoch: 4, topics: []string{"subscription-t"}, owned: []owning{{"subscription-t", []int32{0, 1}}}})
		s.wait(400)
		s.heartbeat(hb{id: "a", epoch: 4, topics: []string{"subscription-t", "subscription-t"}})
		s.heartbeat(hb{id: "a", epoch: 5})
		s.wait(400)
		s.heartbeat(hb{id: "a", epoch: 5, edit: func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = []string{} }})
		s.heartbeat(hb{id: "a", epoch: 5, owned: []owning{}})
		s.wait(400)
		s.heartbeat(hb{id: "a", epoch: 6})
		s.heartbeat(hb{id: "a", epoch: 6})
		s.describe()
	}},
	{"topics", func(s *script) {
		topics := []string{"topics-t", "topics-u"}
		s.newTopic("topics-t", 1)
		s.heartbeat(hb{id: "a", topics: topics})
		s.growTopic("topics-t", 3)
		s.wait(400)
		s.heartbeat(hb{id: "a", epoch: 2})
		s.newTopic("topics-u", 1)
		s.wait(400)
		s.heartbeat(hb{id: "a", epoch: 3})
		s.newTopic("topics-other", 1)
		s.wait(400)
		s.heartbeat(hb{id: "a", epoch: 4})
		s.dropTopic("topics-t")
		s.wait(400)
		s.heartbeat(hb{id: "a", epoch: 4})
		s.heartbeat(hb{id: "a", epoch: 4, owned: []owning{{"topics-u", []int32{0}}}})
		s.describe()
	}},
	{"assignors", func(s *script) {
		s.newTopic("assignors-t", 4)
		s.newTopic("assignors-u", 4)
		topics := []string{"assignors-t", "assignors-u"}
		s.heartbeat(hb{id: "a", topics: topics, assignor: "sticky"})
		s.heartbeat(hb{id: "a", topics: topics, assignor: "range"})
		s.wait(400)
		s.heartbeat(hb{id: "b", topics: topics, assignor: "range"})
		s.describe()
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{{"assignors-t", []int32{0, 1}}, {"assignors-u", []int32{0, 1}}}})
		s.heartbeat(hb{id: "b", epoch: 3})
		s.heartbeat(hb{id: "b", epoch: 3, assignor: "uniform"})
		s.wait(400)
		s.heartbeat(hb{id: "c", instance: "first", topics: topics[:1]})
		s.describe()
	}},
	{"invalid", func(s *script) {
		s.newTopic("invalid-t", 1)
		topics := []string{"invalid-t"}
		s.heartbeat(hb{id: "", topics: topics})
		s.heartbeat(hb{id: "  ", topics: topics})
		s.heartbeat(hb{v0: true, id: "", epoch: 1})
		s.heartbeat(hb{v0: true, id: "", epoch: -1})
		s.heartbeat(hb{id: "a", instance: " ", topics: topics})
		s.heartbeat(hb{id: "a", rack: " ", topics: topics})
		s.heartbeat(hb{id: "a", rebalance: -1, topics: topics})
		s.heartbeat(hb{id: "a", topics: topics, owned: []owning{{"invalid-t", []int32{0}}}})
		s.heartbeat(hb{id: "a", edit: func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Topics = nil }})
		s.heartbeat(hb{id: "a", edit: func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = nil }})
		s.heartbeat(hb{id: "a", epoch: -2})
		s.heartbeat(hb{id: "a", epoch: -3})
		s.heartbeat(hb{id: "a", epoch: 5})
		s.heartbeat(hb{id: "a", regex: "a[b"})
		s.heartbeat(hb{id: "a", regex: "(?=a)"})
		s.heartbeat(hb{id: "a", regex: "*"})
		s.describe()
	}},
	{"full", func(s *script) {
		s.newTopic("full-t", 4)
		topics := []string{"full-t"}
		for _, id := range []string{"a", "b", "c"} {
			s.heartbeat(hb{id: id, topics: topics})
		}
		s.heartbeat(hb{id: "d", instance: "i", topics: topics})
		s.heartbeat(hb{id: "e", topics: topics})
		s.heartbeat(hb{id: "e", instance: "j", topics: topics})
		s.heartbeat(hb{id: "d", instance: "i", epoch: -2})
		s.heartbeat(hb{id: "a", topics: topics})
	}},
	{"regex", func(s *script) {
		s.newTopic("regex-t1", 2)
		s.newTopic("regex-u", 1)
		epochs := map[string]int32{}
		beat := func(id string, owned ...owning) {
			h := hb{id: id, epoch: epochs[id]}
			if len(owned) > 0 {
				h.owned = owned
			}
			epochs[id] = s.heartbeat(h).MemberEpoch
		}
		join := func(h hb) { epochs[h.id] = s.heartbeat(h).MemberEpoch }
		join(hb{id: "a", regex: "regex-t.*"})
		s.wait(400)
		beat("a")
		s.describe()
		// Another member with the same regular expression.
		s.wait(400)
		join(hb{id: "b", regex: "regex-t.*"})
		beat("a", owning{"regex-t1", []int32{0, 1}})
		beat("a", owning{"regex-t1", []int32{0}})
		beat("b")
		s.describe()
		// One with names, and one that has left with a regular expression of its own.
		s.wait(400)
		join(hb{id: "c", topics: []string{"regex-u"}})
		join(hb{id: "d", regex: "regex-[u]"})
		s.heartbeat(hb{id: "d", epoch: -1})
		beat("a", owning{"regex-t1", []int32{0}})
		beat("b", owning{"regex-t1", []int32{1}})
		beat("c")
		// A topic that is new counts at the next resolution, which is 10 s after the last one.
		s.newTopic("regex-t2", 2)
		for range 7 {
			for _, id := range []string{"a", "b", "c"} {
				beat(id)
			}
			s.wait(1300)
		}
		for range 3 {
			for _, id := range []string{"a", "b", "c"} {
				beat(id)
			}
			s.wait(300)
		}
		s.describe()
		// From a regular expression to nothing, and to names.
		epochs["b"] = s.heartbeat(hb{id: "b", epoch: epochs["b"], edit: func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicRegex = kmsg.StringPtr("") }}).MemberEpoch
		s.wait(400)
		epochs["a"] = s.heartbeat(hb{id: "a", epoch: epochs["a"], topics: []string{"regex-t2"}, edit: func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicRegex = kmsg.StringPtr("") }}).MemberEpoch
		s.describe()
		for _, id := range []string{"a", "b", "c"} {
			s.heartbeat(hb{id: id, epoch: -1})
		}
		s.deleteGroup()
	}},
	{"offsets", func(s *script) {
		s.newTopic("offsets-t", 4)
		topics := []string{"offsets-t"}
		all := owning{"offsets-t", []int32{0, 1, 2, 3}}
		some := owning{"offsets-t", []int32{0}}
		s.heartbeat(hb{id: "a", topics: topics})
		s.commit(9, "a", "", 2, some)
		s.commit(8, "a", "", 2, some)
		s.commit(9, "a", "", 1, some)
		s.commit(9, "a", "", 3, some)
		s.commit(9, "b", "", 2, some)
		s.commit(9, "", "", -1, some)
		s.wait(400)
		s.heartbeat(hb{id: "b", topics: topics})
		s.heartbeat(hb{id: "a", epoch: 2})
		s.commit(9, "a", "", 2, all)
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{{"offsets-t", []int32{0, 1}}}})
		// Epoch 2 will do for what a has held since then.
		s.commit(9, "a", "", 2, all)
		s.commit(9, "a", "", 1, all)
		s.heartbeat(hb{id: "b", epoch: 3})
		s.commit(9, "b", "", 2, all)
		s.commit(9, "b", "", 3, all)
		a := "a"
		s.fetch(nil, -1, some)
		s.fetch(&a, 3, some)
		s.fetch(&a, 2, some)
		s.fetch(kmsg.StringPtr("x"), 2, some)
		s.heartbeat(hb{id: "a", epoch: -1})
		s.heartbeat(hb{id: "b", epoch: -1})
		s.commit(9, "", "", -1, some)
		s.commit(9, "a", "", 3, some)
		s.deleteGroup()
	}},
	{"upgrade", func(s *script) {
		s.newTopic("upgrade-t", 3)
		topics := []string{"upgrade-t"}
		x := s.classic("", topics, "range")
		y := s.classic("", topics, "range")
		x.join()
		x.sync(map[string][]owning{x.id: {{"upgrade-t", []int32{0, 1, 2}}}})
		y.beginJoin()()
		wait := y.beginJoin()
		x.heartbeat()
		x.join()
		wait()
		plan := map[string][]owning{x.id: {{"upgrade-t", []int32{0, 1}}}, y.id: {{"upgrade-t", []int32{2}}}}
		x.sync(plan)
		y.sync(nil)
		x.heartbeat()
		// A member of the other protocol joins.
		s.heartbeat(hb{id: "a", topics: topics})
		s.describe()
		s.list()
		x.heartbeat()
		y.heartbeat()
		s.wait(400)
		s.heartbeat(hb{id: "a", epoch: x.gen + 1})
		y.heartbeat()
		y.sync(nil)
		y.owned = []owning{{"upgrade-t", []int32{2}}}
		y.join()
		y.sync(nil)
		y.heartbeat()
		x.owned = []owning{{"upgrade-t", []int32{0, 1}}}
		x.join()
		x.sync(nil)
		x.heartbeat()
		s.describe()
		s.commit(9, x.id, "", x.gen, owning{"upgrade-t", []int32{0}})
		s.commit(8, x.id, "", x.gen, owning{"upgrade-t", []int32{0}})
		s.commit(8, x.id, "", x.gen+1, owning{"upgrade-t", []int32{0}})
	}},
	{"downgrade", func(s *script) {
		s.newTopic("downgrade-t", 2)
		topics := []string{"downgrade-t"}
		s.heartbeat(hb{id: "a", topics: topics})
		s.wait(400)
		x := s.classic("", topics, "range", "roundrobin")
		x.join()
		x.sync(nil)
		s.heartbeat(hb{id: "a", epoch: 2, owned: []owning{{"downgrade-t", []int32{0}}}})
		x.heartbeat()
		x.join()
		x.sync(nil)
		x.heartbeat()
		s.describe()
		y := s.classic("", topics, "cooperative-sticky")
		y.join()
		z := s.classic("", nil)
		z.protocols, z.topics = []string{"range"}, []string{"downgrade-t"}
		z.id = "nobody"
		z.heartbeat()
		s.heartbeat(hb{id: "a", epoch: -1})
		s.list()
		x.heartbeat()
		x.owned = []owning{{"downgrade-t", []int32{1}}}
		x.join()
		x.sync(map[string][]owning{x.id: {{"downgrade-t", []int32{0, 1}}}})
		x.heartbeat()
		s.leave(kmsg.LeaveGroupRequestMember{MemberID: x.id})
		s.list()
	}},
	{"static-downgrade", func(s *script) {
		s.newTopic("static-downgrade-t", 2)
		topics := []string{"static-downgrade-t"}
		s.heartbeat(hb{id: "a", instance: "i", topics: topics})
		s.wait(400)
		// The instance comes back with the classic protocol.
		x := s.classic("i", topics, "range")
		x.join()
		s.list()
		x.sync(nil)
		x.heartbeat()
		// And with the other one again.
		s.heartbeat(hb{id: "b", instance: "i", topics: topics})
		s.describe()
		x.heartbeat()
		s.heartbeat(hb{id: "b", instance: "i", epoch: -1})
	}},
	{"classic-members", func(s *script) {
		s.newTopic("classic-members-t", 2)
		topics := []string{"classic-members-t"}
		s.heartbeat(hb{id: "a", topics: topics})
		x := s.classic("i", topics, "range")
		x.join()
		x.sync(nil)
		other := s.classic("i", topics, "range")
		other.id, other.gen = "other", x.gen
		other.heartbeat()
		other.beginJoin()()
		wrong := *x
		wrong.gen--
		wrong.heartbeat()
		wrong.sync(nil)
		wrong = *x
		wrong.protocols = []string{"roundrobin"}
		wrong.sync(nil)
		s.leave(kmsg.LeaveGroupRequestMember{MemberID: "nobody"}, kmsg.LeaveGroupRequestMember{MemberID: "other", InstanceID: kmsg.StringPtr("i")},
			kmsg.LeaveGroupRequestMember{InstanceID: kmsg.StringPtr("j")})
		s.leave(kmsg.LeaveGroupRequestMember{InstanceID: kmsg.StringPtr("i")})
		y := s.classic("", topics, "range")
		y.session = 1200
		y.join()
		s.wait(1700)
		s.heartbeat(hb{id: "a", epoch: 2})
		s.wait(700)
		s.describe()
		s.leave(kmsg.LeaveGroupRequestMember{MemberID: "a"})
	}},
	{"empty-groups", func(s *script) {
		s.newTopic("empty-groups-t", 1)
		topics := []string{"empty-groups-t"}
		x := s.classic("", topics, "range")
		x.join()
		x.sync(map[string][]owning{x.id: {{"empty-groups-t", []int32{0}}}})
		s.leave(kmsg.LeaveGroupRequestMember{MemberID: x.id})
		s.commit(9, "", "", -1, owning{"empty-groups-t", []int32{0}})
		s.heartbeat(hb{id: "a", topics: topics})
		s.list()
		s.heartbeat(hb{id: "a", epoch: -1})
		y := s.classic("", topics, "range")
		y.join()
		s.list()
		y.sync(map[string][]owning{y.id: {{"empty-groups-t", []int32{0}}}})
		s.leave(kmsg.LeaveGroupRequestMember{MemberID: y.id})
		s.fetch(nil, -1, owning{"empty-groups-t", []int32{0}})
	}},
}
