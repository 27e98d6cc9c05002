package config

import (
	"fmt"
	"strings"
)

// verdict says what a key of the static layer is.
type verdict uint8

const (
	keyKnown   verdict = iota // a broker configuration, Kafka's or Gregor's
	keyTopic                  // topic.<name>.partitions or .id
	keyPlugin                 // meant for a plugin of Kafka; has no effect
	keyRemoved                // existed before Kafka 4
	keyMistake                // nothing we know
)

// alsoKnown are configurations that Kafka's own classes read although no ConfigDef lists them.
var alsoKnown = [...]string{"super.users", "allow.everyone.if.no.acl.found"}

// pluginPrefixes start configurations that Kafka hands to plugins as they are.
var pluginPrefixes = [...]string{
	"rsm.config.", "rlmm.config.", "config.providers.", "client.quota.callback.", "metrics.context.", "metrics.jmx.",
	"remote.log.metadata.", "principal.builder.", "authorizer.", "ssl.", "sasl.",
}

// removedIn lists configurations that no longer exist, with the release that removed them.
var removedIn = [...][2]string{
	{"advertised.host.name", "3.0"}, {"advertised.port", "3.0"}, {"host.name", "3.0"}, {"port", "3.0"},
	{"quota.producer.default", "3.0"}, {"quota.consumer.default", "3.0"},
	{"auto.include.jmx.reporter", "4.0"}, {"broker.id.generation.enable", "4.0"}, {"control.plane.listener.name", "4.0"},
	{"controlled.shutdown.max.retries", "4.0"}, {"controlled.shutdown.retry.backoff.ms", "4.0"},
	{"delegation.token.master.key", "4.0"}, {"inter.broker.protocol.version", "4.0"},
	{"leader.imbalance.per.broker.percentage", "4.0"}, {"log.message.downconversion.enable", "4.0"},
	{"log.message.format.version", "4.0"}, {"log.message.timestamp.difference.max.ms", "4.0"},
	{"offsets.commit.required.acks", "4.0"}, {"reserved.broker.max.id", "4.0"},
}

// removedPrefixes are whole families of configurations that Kafka 4.0 removed.
var removedPrefixes = [...]string{"zookeeper.", "password.encoder."}

func pluginPrefix(name string) bool {
	for _, p := range pluginPrefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// classify tells what a key is. The hint completes "<place>: <key>: " for keys that are refused.
func classify(name string) (v verdict, hint string) {
	if BrokerDef(name) != nil {
		if d := brokerTable.find(name); d != nil && d.DynamicOnly {
			return keyMistake, "can only be set while the broker runs"
		}
		return keyKnown, ""
	}
	for _, known := range alsoKnown {
		if name == known {
			return keyKnown, ""
		}
	}
	if strings.HasPrefix(name, topicPrefix) {
		return keyTopic, ""
	}
	for _, r := range removedIn {
		if name == r[0] {
			return keyRemoved, "removed in Kafka " + r[1] + "; delete it"
		}
	}
	for _, p := range removedPrefixes {
		if strings.HasPrefix(name, p) {
			return keyRemoved, "removed in Kafka 4.0 with ZooKeeper; delete it"
		}
	}
	if strings.HasPrefix(name, listenerPrefix) {
		return keyPlugin, ""
	}
	if d := TopicDef(name); d != nil && len(d.Synonyms) > 0 {
		return keyMistake, fmt.Sprintf("unknown configuration; topics have this name, the broker's is %s", d.Synonyms[0].Name)
	}
	near, distance := nearest(name)
	hint = fmt.Sprintf("unknown configuration; the nearest known name is %s", near)
	if distance <= 2 {
		return keyMistake, hint
	}
	if pluginPrefix(name) || foreign(name) {
		return keyPlugin, ""
	}
	return keyMistake, hint
}

// nearby tells whether a name is a slip of the finger away from a known one.
func nearby(name string) bool { _, d := nearest(name); return d <= 2 }

// foreign tells whether a dotted name starts with a word no configuration of Kafka or Gregor starts with, as those of
// plugins do (confluent., cruise.control.).
func foreign(name string) bool {
	first, _, dotted := strings.Cut(name, ".")
	if !dotted || first == "" {
		return false
	}
	starts := func(defs []Def) bool {
		for i := range defs {
			if strings.HasPrefix(defs[i].Name, first+".") {
				return true
			}
		}
		return false
	}
	return !starts(BrokerDefs()) && !starts(GregorDefs()) && !starts(TopicDefs()) && first != "zookeeper"
}

// nearest finds the known name with the fewest insertions, deletions, replacements and swaps of neighbours.
func nearest(name string) (near string, distance int) {
	distance = int(^uint(0) >> 1)
	try := func(known string) {
		if len(name) >= 4 && strings.HasPrefix(known, name) && distance > 3 {
			near, distance = known, 3 // cut short, not mistyped
		}
		if d := len(known) - len(name); d >= distance || -d >= distance {
			return
		}
		if d := editDistance(name, known); d < distance {
			near, distance = known, d
		}
	}
	for _, defs := range [...][]Def{BrokerDefs(), GregorDefs()} {
		for i := range defs {
			if !defs[i].Internal && !defs[i].DynamicOnly {
				try(defs[i].Name)
			}
		}
	}
	for _, known := range alsoKnown {
		try(known)
	}
	return near, distance
}

// longestName bounds the work of editDistance; no known name is near a longer one.
const longestName = 256

func editDistance(a, b string) int {
	if len(a) > longestName {
		return len(a)
	}
	var rows [3][longestName + 1]int
	before, last, row := rows[0][:len(b)+1], rows[1][:len(b)+1], rows[2][:len(b)+1]
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// checkNames refuses unknown and removed keys of the static layer and parses every value of the known ones.
func (c *Config) checkNames() error {
	for _, name := range c.static.names() {
		v, hint := classify(name)
		switch v {
		case keyRemoved, keyMistake:
			return c.static.errorf(name, "%s", hint)
		case keyPlugin:
			if !strings.HasPrefix(name, listenerPrefix) && !pluginPrefix(name) {
				c.Warnings = append(c.Warnings, c.static.errorf(name, "not a configuration of Kafka or Gregor, ignored").Error())
			}
		case keyKnown:
			d := BrokerDef(name)
			if d == nil {
				continue
			}
			if _, err := d.Parse(c.static[name].value); err != nil {
				return c.static.valueErrorf(name, "expected %s", d.Expects())
			}
		}
	}
	return nil
}
