package main

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// part is a part of a quota entity: a type, and a name or the default.
type part struct {
	kind string
	name *string
}

func named(kind, name string) part { return part{kind, &name} }
func other(kind string) part       { return part{kind, nil} }

// quota is one operation of AlterClientQuotas; NaN takes the value away.
type quota struct {
	key   string
	value float64
}

func clientQuotas(b *broker) {
	user, client := b.prefix+"user", b.prefix+"client"
	for v := int16(0); v <= 1; v++ {
		entry := func(entity []part, ops ...quota) kmsg.AlterClientQuotasRequestEntry {
			e := kmsg.NewAlterClientQuotasRequestEntry()
			for _, p := range entity {
				x := kmsg.NewAlterClientQuotasRequestEntryEntity()
				x.Type, x.Name = p.kind, p.name
				e.Entity = append(e.Entity, x)
			}
			for _, q := range ops {
				o := kmsg.NewAlterClientQuotasRequestEntryOp()
				o.Key, o.Value = q.key, q.value
				if math.IsNaN(q.value) {
					o.Value, o.Remove = 0, true
				}
				e.Ops = append(e.Ops, o)
			}
			return e
		}
		send := func(label string, dry bool, entries ...kmsg.AlterClientQuotasRequestEntry) {
			r := kmsg.NewPtrAlterClientQuotasRequest()
			r.SetVersion(v)
			r.ValidateOnly, r.Entries = dry, entries
			b.do(label, r)
		}
		type filter struct {
			kind  string
			match kmsg.QuotasMatchType
			name  *string
		}
		describe := func(label string, strict bool, filters ...filter) {
			b.settleConfigs()
			r := kmsg.NewPtrDescribeClientQuotasRequest()
			r.SetVersion(v)
			r.Strict = strict
			for _, f := range filters {
				c := kmsg.NewDescribeClientQuotasRequestComponent()
				c.EntityType, c.MatchType, c.Match = f.kind, f.match, f.name
				r.Components = append(r.Components, c)
			}
			b.do(label, r)
		}
		gone := math.NaN()
		rate := quota{"producer_byte_rate", 1e9}
		send("nothing", false)
		describe("nothing set", false)
		send("user", false, entry([]part{named("user", user)}, rate, quota{"consumer_byte_rate", 2e9}))
		send("user again", false, entry([]part{named("user", user)}, rate))
		send("client", false, entry([]part{named("client-id", client)}, quota{"request_percentage", 5000.5}))
		send("both", false, entry([]part{named("user", user), named("client-id", client)}, quota{"controller_mutation_rate", 1e6}))
		send("both, the other way round", false, entry([]part{named("client-id", client), named("user", user)}, quota{"controller_mutation_rate", 2e6}))
		send("user and any client", false, entry([]part{named("user", user), other("client-id")}, rate))
		send("default user of this run", true, entry([]part{other("user")}, rate))
		send("address", false, entry([]part{named("ip", "192.0.2.1")}, quota{"connection_creation_rate", 1000}))
		for _, strict := range []bool{false, true} {
			label := func(s string) string { return fmt.Sprintf("%s, strictly %v", s, strict) }
			describe(label("all"), strict)
			describe(label("user"), strict, filter{"user", 0, &user})
			describe(label("default user"), strict, filter{"user", 1, nil})
			describe(label("any user"), strict, filter{"user", 2, nil})
			describe(label("client"), strict, filter{"client-id", 0, &client})
			describe(label("default client"), strict, filter{"client-id", 1, nil})
			describe(label("any client"), strict, filter{"client-id", 2, nil})
			describe(label("both"), strict, filter{"user", 0, &user}, filter{"client-id", 0, &client})
			describe(label("user and any client"), strict, filter{"user", 0, &user}, filter{"client-id", 2, nil})
			describe(label("address"), strict, filter{"ip", 0, ptr("192.0.2.1")})
			describe(label("any address"), strict, filter{"ip", 2, nil})
			describe(label("default address"), strict, filter{"ip", 1, nil})
			describe(label("address and user"), strict, filter{"ip", 2, nil}, filter{"user", 2, nil})
			describe(label("unknown type"), strict, filter{"x", 2, nil})
			describe(label("empty type"), strict, filter{"", 2, nil})
			describe(label("a type twice"), strict, filter{"user", 2, nil}, filter{"user", 0, &user})
			describe(label("null match"), strict, filter{"user", 0, nil})
			describe(label("match for the default"), strict, filter{"user", 1, &user})
			describe(label("match for any"), strict, filter{"user", 2, &user})
			describe(label("unknown match"), strict, filter{"user", 3, &user})
			describe(label("negative match"), strict, filter{"user", -1, &user})
		}
		send("empty entity", false, entry(nil, rate))
		send("empty name", false, entry([]part{named("user", "")}, rate))
		send("unknown type", false, entry([]part{named("x", "y")}, rate))
		send("a type twice", false, entry([]part{named("user", user), named("user", user+"2")}, rate))
		send("address and user", false, entry([]part{named("ip", "192.0.2.1"), named("user", user)}, quota{"connection_creation_rate", 1}))
		send("bad address", false, entry([]part{named("ip", "300.1.1.1")}, quota{"connection_creation_rate", 1}))
		send("address with a user's quota", false, entry([]part{named("ip", "192.0.2.1")}, rate))
		send("user with an address's quota", false, entry([]part{named("user", user)}, quota{"connection_creation_rate", 1}))
		for _, q := range []quota{{"no.such", 1}, {"", 1}, {"producer_byte_rate", 0}, {"producer_byte_rate", -1}, {"producer_byte_rate", 1.5},
			{"producer_byte_rate", 1e19}, {"producer_byte_rate", math.Inf(1)}, {"request_percentage", 0}, {"request_percentage", 0.01},
			{"request_percentage", -5}, {"controller_mutation_rate", 0.5}, {"controller_mutation_rate", 1e300}} {
			send(fmt.Sprintf("%s=%v", q.key, q.value), true, entry([]part{named("user", user)}, q))
		}
		for _, q := range []float64{0, -1, 0.5, 1 << 31, 1<<31 - 1} {
			send(fmt.Sprintf("address %v", q), true, entry([]part{named("ip", "192.0.2.1")}, quota{"connection_creation_rate", q}))
		}
		send("default address", true, entry([]part{other("ip")}, quota{"connection_creation_rate", 10}))
		send("a key twice", true, entry([]part{named("user", user)}, rate, rate))
		send("an entity twice", true, entry([]part{named("user", user)}, rate), entry([]part{named("user", user)}, rate))
		send("remove the unset", false, entry([]part{named("user", user)}, quota{"request_percentage", gone}))
		send("remove the unknown", false, entry([]part{named("user", user)}, quota{"no.such", gone}))
		send("remove of an unknown entity", false, entry([]part{named("user", user+"9")}, quota{"request_percentage", gone}))
		send("one good, one bad", false, entry([]part{named("user", user+"3")}, rate), entry([]part{named("user", "")}, rate))
		send("long name", true, entry([]part{named("user", string(make([]byte, 300)))}, rate))
		send("strange name", true, entry([]part{named("user", "a b/ü%")}, rate))
		send("clean", false,
			entry([]part{named("user", user)}, quota{"producer_byte_rate", gone}, quota{"consumer_byte_rate", gone}),
			entry([]part{named("client-id", client)}, quota{"request_percentage", gone}),
			entry([]part{named("user", user), named("client-id", client)}, quota{"controller_mutation_rate", gone}),
			entry([]part{named("user", user), other("client-id")}, quota{"producer_byte_rate", gone}),
			entry([]part{named("user", user+"2")}, quota{"producer_byte_rate", gone}),
			entry([]part{named("user", user+"3")}, quota{"producer_byte_rate", gone}),
			entry([]part{named("ip", "192.0.2.1")}, quota{"connection_creation_rate", gone}))
		describe("clean leaves", false)
	}
}

func scramCredentials(b *broker) {
	user := b.prefix + "u"
	type upsert struct {
		name       string
		mechanism  int8
		iterations int32
	}
	type deletion struct {
		name      string
		mechanism int8
	}
	alter := func(label string, deletions []deletion, upserts ...upsert) {
		r := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		for _, d := range deletions {
			x := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
			x.Name, x.Mechanism = d.name, d.mechanism
			r.Deletions = append(r.Deletions, x)
		}
		for _, u := range upserts {
			x := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
			x.Name, x.Mechanism, x.Iterations = u.name, u.mechanism, u.iterations
			x.Salt, x.SaltedPassword = []byte("salt"), []byte("salted password")
			r.Upsertions = append(r.Upsertions, x)
		}
		b.do(label, r)
	}
	describe := func(label string, users ...string) {
		b.settleConfigs()
		r := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		for _, u := range users {
			x := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
			x.Name = u
			r.Users = append(r.Users, x)
		}
		b.do(label, r)
	}
	alter("nothing", nil)
	describe("nobody")
	describe("unknown", user)
	alter("create", nil, upsert{user, 1, 8192})
	describe("one mechanism", user)
	alter("the other mechanism", nil, upsert{user, 2, 4096})
	describe("two mechanisms", user)
	alter("change", nil, upsert{user, 1, 4097})
	describe("changed", user)
	describe("twice", user, user)
	describe("known and unknown", user, user+"x")
	describe("empty", "")
	empty := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	empty.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{}
	b.do("empty list", empty)
	for _, u := range []upsert{{user, 1, 4095}, {user, 1, 16384}, {user, 1, 16385}, {user, 2, 4095}, {user, 0, 8192}, {user, 3, 8192}, {user, -1, 8192},
		{"", 1, 8192}, {user, 1, 0}, {user, 1, -1}} {
		alter(fmt.Sprintf("upsert %q mechanism %d, %d iterations", b.short(u.name), u.mechanism, u.iterations), nil, u)
	}
	for _, d := range []deletion{{user, 0}, {user, 3}, {"", 1}, {user + "x", 1}} {
		alter(fmt.Sprintf("delete %q mechanism %d", b.short(d.name), d.mechanism), []deletion{d})
	}
	alter("upsert twice", nil, upsert{user, 1, 8192}, upsert{user, 1, 8192})
	alter("upsert two mechanisms", nil, upsert{user, 1, 8192}, upsert{user, 2, 8192})
	alter("delete twice", []deletion{{user, 1}, {user, 1}})
	alter("delete and upsert", []deletion{{user, 1}}, upsert{user, 2, 8192})
	alter("one good, one bad", []deletion{{user + "x", 1}}, upsert{user + "2", 1, 8192})
	describe("what is left", user, user+"2")
	alter("delete", []deletion{{user, 1}, {user + "2", 1}})
	alter("delete the other", []deletion{{user, 2}})
	describe("nothing is left", user, user+"2")
}

// settings tries values of one kind of resource and records what they leave.
func (b *broker) settings(kind kmsg.ConfigResourceType, name string, values []op) {
	send := func(label string, dry bool, ops ...op) {
		r := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r.SetVersion(1)
		r.ValidateOnly = dry
		x := kmsg.NewIncrementalAlterConfigsRequestResource()
		x.ResourceType, x.ResourceName = kind, name
		for _, o := range ops {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Op, c.Value = o.name, o.op, o.value
			x.Configs = append(x.Configs, c)
		}
		r.Resources = append(r.Resources, x)
		b.do(label, r)
	}
	all := func(label string) {
		b.settleConfigs()
		r := kmsg.NewPtrDescribeConfigsRequest()
		r.SetVersion(4)
		r.IncludeSynonyms = true
		x := kmsg.NewDescribeConfigsRequestResource()
		x.ResourceType, x.ResourceName = kind, name
		r.Resources = append(r.Resources, x)
		b.do(label, r)
	}
	all("before")
	for _, o := range values {
		text := "<null>"
		if o.value != nil {
			text = *o.value
		}
		label := fmt.Sprintf("operation %d %s=%s", o.op, o.name, text)
		send(label, true, o)
		send(label, false, o)
		all(label + " leaves")
		send(label+", taken back", false, unset(o.name))
	}
	legacy := func(label string, configs ...string) {
		r := kmsg.NewPtrAlterConfigsRequest()
		r.SetVersion(2)
		x := kmsg.NewAlterConfigsRequestResource()
		x.ResourceType, x.ResourceName = kind, name
		for i := 0; i+1 < len(configs); i += 2 {
			c := kmsg.NewAlterConfigsRequestResourceConfig()
			c.Name, c.Value = configs[i], &configs[i+1]
			x.Configs = append(x.Configs, c)
		}
		r.Resources = append(r.Resources, x)
		b.do(label, r)
	}
	legacy("replace", values[0].name, *values[0].value)
	all("replace leaves")
	legacy("replace the unknown", "no.such", "1")
	legacy("clear")
	all("clear leaves")
}

func groupConfigs(b *broker) {
	list := []op{set("consumer.session.timeout.ms", "50000"), set("no.such", "1"), unset("no.such"), add("consumer.session.timeout.ms", "1"),
		set("share.auto.offset.reset", "earliest"), set("share.auto.offset.reset", "by_duration:PT1H"), set("share.auto.offset.reset", "by_duration:-PT1H"),
		set("share.auto.offset.reset", "by_duration:x"), set("share.auto.offset.reset", "none"), set("share.auto.offset.reset", ""),
		set("share.auto.offset.reset", "by_duration:P1D"), set("share.auto.offset.reset", "by_duration:"), set("share.auto.offset.reset", "EARLIEST"),
		set("share.isolation.level", "read_committed"), set("share.isolation.level", "READ_COMMITTED"),
		set("share.renew.acknowledge.enable", "false"), set("share.renew.acknowledge.enable", "x"),
		set("consumer.session.timeout.ms", " 50000 ")}
	for _, name := range []string{"consumer.session.timeout.ms", "consumer.heartbeat.interval.ms", "consumer.assignment.interval.ms",
		"share.session.timeout.ms", "share.heartbeat.interval.ms", "share.record.lock.duration.ms", "share.delivery.count.limit",
		"share.partition.max.record.locks", "share.assignment.interval.ms", "streams.session.timeout.ms", "streams.heartbeat.interval.ms",
		"streams.num.standby.replicas", "streams.initial.rebalance.delay.ms", "streams.assignment.interval.ms"} {
		for _, value := range []string{"x", "", "-1", "0", "1", "2", "3", "5", "10", "11", "99", "100", "1000", "4999", "5000", "14999", "15000", "15001", "20000",
			"44999", "45000", "60000", "60001", "2147483647", "2147483648", "1.5"} {
			list = append(list, set(name, value))
		}
	}
	b.settings(groupResource, b.prefix+"g", list)
}

func clientMetrics(b *broker) {
	list := []op{set("interval.ms", "1000"), set("interval.ms", "99"), set("interval.ms", "100"), set("interval.ms", "3600000"), set("interval.ms", "3600001"),
		set("interval.ms", "x"), set("interval.ms", ""), set("interval.ms", "-1"), set("metrics", "a,b"), set("metrics", "*"), set("metrics", ""),
		set("metrics", "a,a"), set("metrics", "a,,b"), add("metrics", "c"), subtract("metrics", "c"), add("interval.ms", "1"),
		set("match", "client_id=a"), set("match", "client_id=a,client_software_name=b.*"), set("match", "client_id"), set("match", "client_id="),
		set("match", "x=y"), set("match", "client_id=["), set("match", "client_id = a b"), set("match", "client_id=a=b"), set("match", ""),
		set("match", "client_instance_id=a,client_software_version=1,client_source_address=1,client_source_port=2"),
		add("match", "client_id=a"), set("match", "client_id=(?<x>a)\\k<x>"), set("no.such", "1"), unset("no.such")}
	b.settings(metricsResource, b.prefix+"m", list)
}
