package config

import (
	"slices"
	"strings"
)

// listenerOnly are security configurations that may change while the broker runs, but only with a listener prefix
// (DynamicBrokerConfig.DYNAMIC_SECURITY_CONFIGS).
var listenerOnly = [...]string{
	"ssl.key.password", "ssl.keystore.certificate.chain", "ssl.keystore.key", "ssl.keystore.location", "ssl.keystore.password",
	"ssl.keystore.type", "ssl.truststore.certificates", "ssl.truststore.location", "ssl.truststore.password", "ssl.truststore.type",
}

// listenerClusterWide may carry a listener prefix in the cluster-wide defaults too.
var listenerClusterWide = [...]string{"max.connections", "max.connection.creation.rate", "num.network.threads"}

// fixed are configurations Kafka can change while it runs and Gregor cannot: a change is refused instead of being
// stored without an effect.
var fixed = [...]string{"listeners", "listener.security.protocol.map", "principal.builder.class", "config.providers", "metric.reporters"}

// ValidateDynamic checks the complete dynamic values a broker (perBroker) or the cluster-wide default is to have, with
// the rules and messages of DynamicBrokerConfig.validateConfigs; on the wire every error is INVALID_REQUEST. other is
// the other layer: the cluster's values for a broker, nil for the cluster.
func (c *Config) ValidateDynamic(perBroker bool, values, other map[string]string) error {
	names := sortedNames(values)
	fromFile := func(n string) bool {
		d := BrokerDef(n)
		return d != nil && d.Name == n && d.Update == ReadOnly || strings.HasPrefix(n, topicPrefix)
	}
	if bad := pick(names, fromFile); bad != "" {
		return kafkaText("Cannot update these configs dynamically: " + bad)
	}
	if bad := pick(names, func(n string) bool { return slices.Contains(listenerOnly[:], n) }); bad != "" {
		return kafkaText("These security configs can be dynamically updated only per-listener using the listener prefix: " + bad)
	}
	for _, name := range names {
		d := BrokerDef(name)
		if d == nil {
			v, hint := classify(name)
			if v == keyRemoved || v == keyMistake && nearby(name) {
				return kafkaText("Unknown broker config name " + name + ": " + hint)
			}
			continue
		}
		if _, err := d.Parse(values[name]); err != nil {
			return err
		}
	}
	if !perBroker {
		bad := pick(names, func(n string) bool {
			if base := listenerBase(n); base != "" {
				return !slices.Contains(listenerClusterWide[:], base)
			}
			d := brokerTable.find(n)
			return d != nil && d.Update == PerBroker
		})
		if bad != "" {
			return kafkaText("Cannot update these configs at default cluster level, broker id must be specified: " + bad)
		}
	}
	for _, name := range fixed {
		if value, ok := values[name]; ok {
			d := brokerTable.find(name)
			now := d.Default
			if at, set := c.static[name]; set {
				now, _ = d.Parse(at.value)
			}
			if parsed, _ := d.Parse(value); parsed != now {
				return kafkaText(name + " cannot change while this broker runs; change server.properties and restart it")
			}
		}
	}
	broker, cluster := values, other
	if !perBroker {
		broker, cluster = nil, values
	}
	_, err := c.WithDynamic(broker, cluster)
	return err
}

func sortedNames(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// pick lists the names f holds for, as Java prints a set; "" when there are none.
func pick(names []string, f func(string) bool) string {
	var bad []string
	for _, n := range names {
		if f(n) {
			bad = append(bad, n)
		}
	}
	if bad == nil {
		return ""
	}
	return "[" + strings.Join(bad, ", ") + "]"
}
