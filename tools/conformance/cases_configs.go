package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Resource types of configurations.
const (
	unknownResource kmsg.ConfigResourceType = 0
	topicResource   kmsg.ConfigResourceType = 2
	brokerResource  kmsg.ConfigResourceType = 4
	loggerResource  kmsg.ConfigResourceType = 8
	metricsResource kmsg.ConfigResourceType = 16
	groupResource   kmsg.ConfigResourceType = 32
)

// own are broker configs whose values differ between two brokers.
var own = map[string]bool{
	"advertised.listeners": true, "listeners": true, "log.dirs": true, "log.dir": true, "controller.quorum.bootstrap.servers": true,
	"controller.quorum.voters": true,
}

func describeConfigs(b *broker) {
	topic, _ := b.create("t", 1, "retention.ms", "1000", "cleanup.policy", "compact,delete", "compression.type", "zstd", "segment.bytes", "2097152")
	plain, _ := b.create("plain", 1)
	for v := int16(1); v <= 4; v++ {
		send := func(label string, kind kmsg.ConfigResourceType, name string, synonyms, docs bool, keys []string) {
			r := kmsg.NewPtrDescribeConfigsRequest()
			r.SetVersion(v)
			r.IncludeSynonyms, r.IncludeDocumentation = synonyms, docs
			x := kmsg.NewDescribeConfigsRequestResource()
			x.ResourceType, x.ResourceName, x.ConfigNames = kind, name, keys
			r.Resources = append(r.Resources, x)
			if err := b.send(r); err != nil {
				b.note(label, v, nil, err)
				return
			}
			resp, err := b.receive(r)
			if d, ok := resp.(*kmsg.DescribeConfigsResponse); ok {
				for i := range d.Resources {
					kept := d.Resources[i].Configs[:0]
					for _, c := range d.Resources[i].Configs {
						if !own[c.Name] {
							kept = append(kept, c)
						}
					}
					d.Resources[i].Configs = kept
				}
			}
			b.note(label, v, resp, err)
		}
		send("topic", topicResource, topic, false, false, nil)
		send("topic with synonyms and docs", topicResource, topic, true, true, nil)
		send("plain topic with synonyms", topicResource, plain, true, false, nil)
		send("topic, no keys", topicResource, topic, false, false, []string{})
		send("topic, some keys", topicResource, topic, true, false, []string{"retention.ms", "no.such", "retention.ms"})
		send("unknown topic", topicResource, b.prefix+"missing", false, false, nil)
		send("bad topic", topicResource, "a b", false, false, nil)
		send("empty topic", topicResource, "", false, false, nil)
		send("broker", brokerResource, "1", false, false, nil)
		send("broker with synonyms and docs", brokerResource, "1", true, true, nil)
		send("broker, some keys", brokerResource, "1", true, false, []string{"log.retention.ms", "log.retention.hours", "node.id", "broker.id", "no.such"})
		send("another broker", brokerResource, "2", false, false, nil)
		send("no broker", brokerResource, "x", false, false, nil)
		send("negative broker", brokerResource, "-1", false, false, nil)
		send("broker 01", brokerResource, "01", false, false, []string{"node.id"})
		send("cluster", brokerResource, "", true, false, nil)
		send("cluster, keys", brokerResource, "", true, false, []string{"log.retention.ms"})
		send("another broker's loggers", loggerResource, "2", false, false, nil)
		send("nobody's loggers", loggerResource, "", false, false, nil)
		send("bad loggers", loggerResource, "x", false, false, nil)
		send("no client metrics", metricsResource, "sub", true, false, nil)
		send("empty client metrics", metricsResource, "", true, false, nil)
		send("group", groupResource, "g", true, true, nil)
		send("empty group", groupResource, "", true, false, nil)
		for _, kind := range []kmsg.ConfigResourceType{unknownResource, 1, 3, 64, -1} {
			send(fmt.Sprintf("kind %d", kind), kind, "x", false, false, nil)
		}
		r := kmsg.NewPtrDescribeConfigsRequest()
		r.SetVersion(v)
		b.do("nothing", r)
		for range 2 {
			x := kmsg.NewDescribeConfigsRequestResource()
			x.ResourceType, x.ResourceName, x.ConfigNames = topicResource, plain, []string{"retention.ms"}
			r.Resources = append(r.Resources, x)
		}
		b.do("a resource twice", r)
	}
	// What a logger is called is each broker's own affair; how it is told is not.
	r := kmsg.NewPtrDescribeConfigsRequest()
	r.SetVersion(4)
	x := kmsg.NewDescribeConfigsRequestResource()
	x.ResourceType, x.ResourceName = loggerResource, "1"
	r.Resources = append(r.Resources, x)
	if resp, _ := b.ask(r).(*kmsg.DescribeConfigsResponse); resp != nil {
		d := resp.Resources[0]
		b.said("loggers", 4, fmt.Sprintf("code %d, some: %v", d.ErrorCode, len(d.Configs) > 0))
	}
}

// op is one operation of IncrementalAlterConfigs.
type op struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

func set(name, value string) op      { return op{name, 0, &value} }
func unset(name string) op           { return op{name, 1, nil} }
func add(name, value string) op      { return op{name, 2, &value} }
func subtract(name, value string) op { return op{name, 3, &value} }

func incrementalAlterConfigs(b *broker) {
	for v := int16(0); v <= 1; v++ {
		topic, _ := b.create(fmt.Sprintf("t%d", v), 1)
		incremental := func(label string, validate bool, kind kmsg.ConfigResourceType, name string, ops ...op) {
			r := kmsg.NewPtrIncrementalAlterConfigsRequest()
			r.SetVersion(v)
			r.ValidateOnly = validate
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
		on := func(label string, ops ...op) {
			incremental(label, true, topicResource, topic, ops...)
			incremental(label, false, topicResource, topic, ops...)
			b.describe(label+" leaves", topicResource, topic)
		}
		empty := kmsg.NewPtrIncrementalAlterConfigsRequest()
		empty.SetVersion(v)
		b.do("nothing", empty)
		on("no operations")
		on("set", set("retention.ms", "5000"))
		on("set again", set("retention.ms", "5000"))
		on("set two", set("retention.ms", "6000"), set("segment.bytes", "3000000"))
		on("delete", unset("retention.ms"))
		on("delete what is not set", unset("retention.ms"))
		on("delete the unknown", unset("no.such"))
		on("append", add("cleanup.policy", "compact"))
		on("append again", add("cleanup.policy", "compact"))
		on("append two", add("cleanup.policy", "compact,delete"))
		on("append bad", add("cleanup.policy", "x"))
		on("subtract", subtract("cleanup.policy", "compact"))
		on("subtract again", subtract("cleanup.policy", "compact"))
		on("subtract the last", subtract("cleanup.policy", "delete"))
		on("append to nothing", add("cleanup.policy", "delete"))
		on("delete policy", unset("cleanup.policy"))
		on("append to no list", add("retention.ms", "1"))
		on("subtract from no list", subtract("retention.ms", "1"))
		on("append to unknown", add("no.such", "1"))
		on("set null", op{"retention.ms", 0, nil})
		on("append null", op{"cleanup.policy", 2, nil})
		on("unknown operation", op{"retention.ms", 4, ptr("1")})
		on("negative operation", op{"retention.ms", -1, ptr("1")})
		on("delete with a value", op{"segment.bytes", 1, ptr("1")})
		on("one config twice", set("retention.ms", "1"), set("retention.ms", "2"))
		on("one good, one bad", set("retention.ms", "7000"), set("segment.bytes", "x"))
		on("throttled", add("leader.replication.throttled.replicas", "0:1,1:1"))
		on("throttled less", subtract("leader.replication.throttled.replicas", "0:1"))
		for _, c := range badConfigs {
			if c[1] == "<null>" {
				continue
			}
			incremental("config "+c[0]+"="+c[1], true, topicResource, topic, set(c[0], c[1]))
		}
		missing := b.prefix + "missing"
		incremental("unknown topic", false, topicResource, missing, set("retention.ms", "1"))
		incremental("unknown topic, bad value", false, topicResource, missing, set("retention.ms", "x"))
		incremental("empty topic", false, topicResource, "", set("retention.ms", "1"))
		incremental("bad topic", false, topicResource, "a b", set("retention.ms", "1"))
		for _, name := range []string{"1", ""} {
			with := func(label string, ops ...op) {
				label = fmt.Sprintf("broker %q %s", name, label)
				incremental(label, true, brokerResource, name, ops...)
				incremental(label, false, brokerResource, name, ops...)
				b.describe(label+" leaves", brokerResource, name, "log.retention.ms", "log.cleaner.threads", "log.cleanup.policy", "min.insync.replicas", "message.max.bytes", "compression.type")
				b.describe(label+" leaves of the topic", topicResource, topic, "retention.ms", "cleanup.policy", "max.message.bytes", "compression.type")
			}
			with("set", set("log.retention.ms", "123456"))
			with("set more", set("message.max.bytes", "2000000"), set("compression.type", "gzip"))
			with("unset more", unset("message.max.bytes"), unset("compression.type"))
			with("append", add("log.cleanup.policy", "compact"))
			with("delete", unset("log.retention.ms"), unset("log.cleanup.policy"))
			with("read-only", set("node.id", "7"))
			with("read-only unset", unset("node.id"))
			with("read-only and more", set("num.partitions", "7"), set("log.retention.ms", "1"))
			with("hours", set("log.retention.hours", "7"))
			with("unknown", set("no.such.config", "7"))
			with("unknown unset", unset("no.such.config"))
			with("bad value", set("log.retention.ms", "x"))
			with("bad range", set("log.cleaner.threads", "-1"))
			with("min isr", set("min.insync.replicas", "1"))
			with("per broker", set("log.cleaner.threads", "2"))
			with("per broker unset", unset("log.cleaner.threads"))
			with("advertised", set("advertised.listeners", "PLAINTEXT://localhost:1"))
			with("advertised unset", unset("advertised.listeners"))
			with("ssl", set("ssl.keystore.location", "/x"))
			with("ssl per listener", set("listener.name.plaintext.max.connections", "100"))
			with("ssl per listener unset", unset("listener.name.plaintext.max.connections"))
			with("throttle", set("leader.replication.throttled.rate", "1000"))
			with("throttle unset", unset("leader.replication.throttled.rate"))
			with("topic name", set("retention.ms", "1"))
		}
		incremental("another broker", false, brokerResource, "2", set("log.retention.ms", "1"))
		incremental("no broker", false, brokerResource, "x", set("log.retention.ms", "1"))
		incremental("negative broker", false, brokerResource, "-1", set("log.retention.ms", "1"))
		for _, o := range []op{set("root", "INFO"), set("root", "TRACE"), set("root", "FATAL"), set("root", "info"), set("root", "OFF"), set("root", "ALL"),
			set("root", ""), set("root", "x"), set("", "INFO"), unset("root"), unset("no.such"), add("root", "INFO"), subtract("root", "INFO"),
			{"root", 4, ptr("INFO")}, {"root", 0, nil}} {
			value := "<null>"
			if o.value != nil {
				value = *o.value
			}
			incremental(fmt.Sprintf("logger %q operation %d %s", o.name, o.op, value), true, loggerResource, "1", o)
		}
		incremental("one logger twice", true, loggerResource, "1", set("root", "INFO"), set("root", "INFO"))
		incremental("one good logger, one bad", true, loggerResource, "1", set("root", "INFO"), set("no.such", "INFO"))
		incremental("bad node's logger", true, loggerResource, "x", set("root", "INFO"))
		incremental("unknown logger", true, loggerResource, "1", set("no.such", "INFO"))
		incremental("another broker's logger", true, loggerResource, "2", set("kafka", "INFO"))
		incremental("no broker's logger", true, loggerResource, "", set("kafka", "INFO"))
		incremental("group", true, groupResource, "g", set("consumer.session.timeout.ms", "50000"))
		incremental("bad group", true, groupResource, "g", set("consumer.session.timeout.ms", "1"))
		incremental("empty group", true, groupResource, "", set("consumer.session.timeout.ms", "50000"))
		incremental("unknown group config", true, groupResource, "g", set("no.such", "1"))
		incremental("client metrics", true, metricsResource, "m", set("interval.ms", "1000"))
		incremental("bad client metrics", true, metricsResource, "m", set("interval.ms", "1"))
		incremental("unknown client metrics config", true, metricsResource, "m", set("no.such", "1"))
		incremental("empty client metrics", true, metricsResource, "", set("interval.ms", "1000"))
		for _, kind := range []kmsg.ConfigResourceType{0, 1, 3, 64, -1} {
			incremental(fmt.Sprintf("kind %d", kind), true, kind, "x", set("a", "b"))
		}
		r := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r.SetVersion(v)
		r.ValidateOnly = true
		for range 2 {
			x := kmsg.NewIncrementalAlterConfigsRequestResource()
			x.ResourceType, x.ResourceName = topicResource, topic
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Value = "retention.ms", ptr("1")
			x.Configs = append(x.Configs, c)
			r.Resources = append(r.Resources, x)
		}
		b.do("a resource twice", r)
	}
}

// describe records what a resource has, in the version that says most.
func (b *broker) describe(label string, kind kmsg.ConfigResourceType, name string, keys ...string) {
	r := kmsg.NewPtrDescribeConfigsRequest()
	r.SetVersion(4)
	r.IncludeSynonyms = true
	x := kmsg.NewDescribeConfigsRequestResource()
	x.ResourceType, x.ResourceName, x.ConfigNames = kind, name, keys
	if len(keys) == 0 {
		x.ConfigNames = []string{"retention.ms", "segment.bytes", "cleanup.policy", "leader.replication.throttled.replicas", "no.such"}
	}
	r.Resources = append(r.Resources, x)
	// A change reaches Kafka's broker a moment after its controller answered.
	b.settleConfigs()
	b.do(label, r)
}

// settleConfigs makes sure that the broker has seen everything its controller
// did so far, by making a topic and waiting for it.
func (b *broker) settleConfigs() {
	b.barriers++
	b.create(fmt.Sprintf("barrier-%d", b.barriers), 1)
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.SetVersion(5)
	r.TimeoutMillis = 10_000
	r.TopicNames = []string{fmt.Sprintf("%sbarrier-%d", b.prefix, b.barriers)}
	b.ask(r)
}

func alterConfigs(b *broker) {
	for v := int16(0); v <= 2; v++ {
		topic, _ := b.create(fmt.Sprintf("t%d", v), 1, "retention.ms", "1000", "segment.bytes", "2000000")
		send := func(label string, validate bool, kind kmsg.ConfigResourceType, name string, configs ...string) {
			r := kmsg.NewPtrAlterConfigsRequest()
			r.SetVersion(v)
			r.ValidateOnly = validate
			x := kmsg.NewAlterConfigsRequestResource()
			x.ResourceType, x.ResourceName = kind, name
			for i := 0; i+1 < len(configs); i += 2 {
				c := kmsg.NewAlterConfigsRequestResourceConfig()
				c.Name = configs[i]
				if configs[i+1] != "<null>" {
					c.Value = &configs[i+1]
				}
				x.Configs = append(x.Configs, c)
			}
			r.Resources = append(r.Resources, x)
			b.do(label, r)
		}
		on := func(label string, configs ...string) {
			send(label, true, topicResource, topic, configs...)
			send(label, false, topicResource, topic, configs...)
			b.describe(label+" leaves", topicResource, topic)
		}
		empty := kmsg.NewPtrAlterConfigsRequest()
		empty.SetVersion(v)
		b.do("nothing", empty)
		on("replace", "retention.ms", "2000")
		on("bad", "retention.ms", "x")
		on("unknown", "no.such", "1")
		on("null", "retention.ms", "<null>")
		on("twice", "retention.ms", "1", "retention.ms", "2")
		on("clear")
		send("unknown topic", false, topicResource, b.prefix+"missing", "retention.ms", "1")
		send("empty topic", false, topicResource, "", "retention.ms", "1")
		send("broker", false, brokerResource, "1", "log.retention.ms", "99999")
		b.describe("broker leaves", brokerResource, "1", "log.retention.ms")
		send("broker clear", false, brokerResource, "1")
		b.describe("broker clear leaves", brokerResource, "1", "log.retention.ms")
		send("broker read-only", false, brokerResource, "1", "node.id", "9")
		send("another broker", false, brokerResource, "2", "log.retention.ms", "1")
		send("cluster", false, brokerResource, "", "log.retention.ms", "99999")
		b.describe("cluster leaves", topicResource, topic)
		send("cluster clear", false, brokerResource, "", "min.insync.replicas", "1")
		send("loggers", true, loggerResource, "1", "kafka", "INFO")
		send("kind 3", true, 3, "1", "kafka", "INFO")
	}
}

func describeLogDirs(b *broker) {
	name, _ := b.create("l", 2)
	b.append(name, 0, records(5))
	for v := int16(1); v <= 5; v++ {
		send := func(label string, topics ...kmsg.DescribeLogDirsRequestTopic) {
			r := kmsg.NewPtrDescribeLogDirsRequest()
			r.SetVersion(v)
			r.Topics = topics
			if r.Topics == nil && label != "all" {
				r.Topics = []kmsg.DescribeLogDirsRequestTopic{}
			}
			if label != "all" {
				b.do(label, r)
				return
			}
			if resp, _ := b.ask(r).(*kmsg.DescribeLogDirsResponse); resp != nil {
				found := 0
				for _, d := range resp.Dirs {
					for _, t := range d.Topics {
						if t.Topic == name {
							found += len(t.Partitions)
						}
					}
				}
				b.said("all", v, fmt.Sprintf("code %d, %d directories, %d partitions", resp.ErrorCode, len(resp.Dirs), found))
			}
		}
		topic := func(name string, partitions ...int32) kmsg.DescribeLogDirsRequestTopic {
			t := kmsg.NewDescribeLogDirsRequestTopic()
			t.Topic, t.Partitions = name, partitions
			return t
		}
		send("all")
		send("none")
		send("one", topic(name, 0))
		send("two", topic(name, 1, 0))
		send("unknown partition", topic(name, 0, 9))
		send("unknown topic", topic(b.prefix+"missing", 0))
		send("no partitions", topic(name))
	}
}
