package config

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The places a value of other resources comes from, with the numbers of the DescribeConfigs response.
const (
	SourceLogger        int8 = 6 // the broker's loggers
	SourceClientMetrics int8 = 7 // the subscription's own
	SourceGroup         int8 = 8 // the group's own override
)

// RequestError is a configuration that is refused as INVALID_REQUEST where others are INVALID_CONFIG.
type RequestError string

func (e RequestError) Error() string { return string(e) }

// GroupDefs returns every configuration of groups of Kafka 4.3 sorted by name. The slice is shared: read it only.
func GroupDefs() []Def { return groupOwnDefs[:] }

// ClientMetricsDefs returns every configuration of client metrics subscriptions sorted by name. The slice is shared: read it only.
func ClientMetricsDefs() []Def { return clientMetricsDefs[:] }

func findDef(defs []Def, name string) *Def {
	for i := range defs {
		if defs[i].Name == name {
			return &defs[i]
		}
	}
	return nil
}

// GroupConfig is what a group's configurations mean to its coordinator, with every layer applied.
type GroupConfig struct {
	Consumer ConsumerGroupConfig
	Share    ShareGroupConfig
	Streams  StreamsGroupConfig
}

// ConsumerGroupConfig are the values of a KIP-848 group.
type ConsumerGroupConfig struct {
	SessionTimeout, HeartbeatInterval, AssignmentInterval time.Duration
}

// ShareGroupConfig are the values of a KIP-932 group.
type ShareGroupConfig struct {
	SessionTimeout, HeartbeatInterval, AssignmentInterval, RecordLockDuration time.Duration
	DeliveryCountLimit, PartitionMaxRecordLocks                               int32
	AutoOffsetReset                                                           string // earliest, latest or by_duration:<ISO 8601 duration>
	ReadCommitted, RenewAcknowledge                                           bool
}

// StreamsGroupConfig are the values of a KIP-1071 group.
type StreamsGroupConfig struct {
	SessionTimeout, HeartbeatInterval, AssignmentInterval, InitialRebalanceDelay time.Duration
	NumStandbyReplicas                                                           int32
}

// GroupConfig computes the typed configuration of a group from its overrides, which may be nil, over the broker's values in force
// (see WithDynamic). A stored value that does not parse yields to the broker's; one that has fallen out of the broker's bounds,
// because those were changed, counts as the nearest bound (GroupConfig.evaluate).
func (c *Config) GroupConfig(overrides map[string]string) GroupConfig {
	number := func(name string) int64 { return c.groupValue(name, overrides) }
	duration := func(name string) time.Duration { return Millis(number(name)) }
	text := func(name string) string {
		d := findDef(groupOwnDefs[:], name)
		if raw, ok := overrides[name]; ok {
			if parsed, err := d.Parse(raw); err == nil {
				return parsed
			}
		}
		return d.Default
	}
	return GroupConfig{
		Consumer: ConsumerGroupConfig{
			SessionTimeout: duration("consumer.session.timeout.ms"), HeartbeatInterval: duration("consumer.heartbeat.interval.ms"),
			AssignmentInterval: duration("consumer.assignment.interval.ms"),
		},
		Share: ShareGroupConfig{
			SessionTimeout: duration("share.session.timeout.ms"), HeartbeatInterval: duration("share.heartbeat.interval.ms"),
			AssignmentInterval: duration("share.assignment.interval.ms"), RecordLockDuration: duration("share.record.lock.duration.ms"),
			DeliveryCountLimit: int32(number("share.delivery.count.limit")), PartitionMaxRecordLocks: int32(number("share.partition.max.record.locks")),
			AutoOffsetReset: text("share.auto.offset.reset"), ReadCommitted: text("share.isolation.level") == "read_committed",
			RenewAcknowledge: text("share.renew.acknowledge.enable") == "true",
		},
		Streams: StreamsGroupConfig{
			SessionTimeout: duration("streams.session.timeout.ms"), HeartbeatInterval: duration("streams.heartbeat.interval.ms"),
			AssignmentInterval: duration("streams.assignment.interval.ms"), InitialRebalanceDelay: duration("streams.initial.rebalance.delay.ms"),
			NumStandbyReplicas: int32(number("streams.num.standby.replicas")),
		},
	}
}

func (c *Config) groupValue(name string, overrides map[string]string) int64 {
	if raw, ok := overrides[name]; ok {
		if parsed, err := findDef(groupOwnDefs[:], name).Parse(raw); err == nil {
			n, _ := strconv.ParseInt(parsed, 10, 64)
			low, high := groupBounds(name)
			if high != "" {
				n = min(n, c.Int(high))
			}
			if low != "" {
				n = max(n, c.Int(low))
			}
			return n
		}
	}
	return c.Int("group." + name)
}

// groupBounds are the broker's configurations that bound a group's; "" for none.
func groupBounds(name string) (low, high string) {
	kind, rest, _ := strings.Cut(name, ".")
	switch name {
	case "streams.initial.rebalance.delay.ms":
		return "", ""
	case "streams.num.standby.replicas":
		return "", "group.streams.max.standby.replicas"
	}
	return "group." + kind + ".min." + rest, "group." + kind + ".max." + rest
}

// groupChecked are the bounded configurations in the order Kafka looks at them.
var groupChecked = [...]string{
	"consumer.heartbeat.interval.ms", "consumer.session.timeout.ms", "consumer.assignment.interval.ms",
	"share.heartbeat.interval.ms", "share.session.timeout.ms", "share.record.lock.duration.ms", "share.delivery.count.limit",
	"share.partition.max.record.locks", "share.assignment.interval.ms",
	"streams.heartbeat.interval.ms", "streams.session.timeout.ms", "streams.num.standby.replicas", "streams.assignment.interval.ms",
}

// ValidateGroupConfigs checks the complete overrides a group is to have, with the rules and messages of GroupConfig.validate,
// against the broker's values in force (see WithDynamic). Every error is INVALID_CONFIG on the wire.
func (c *Config) ValidateGroupConfigs(overrides map[string]string) error {
	names := sortedNames(overrides)
	for _, name := range names {
		if findDef(groupOwnDefs[:], name) == nil {
			return kafkaText("Unknown group config name: " + name)
		}
	}
	values := map[string]int64{}
	for i := range groupOwnDefs {
		d := &groupOwnDefs[i]
		raw, overridden := overrides[d.Name]
		switch {
		case overridden:
			parsed, err := d.Parse(raw)
			if err != nil {
				return err
			}
			values[d.Name], _ = strconv.ParseInt(parsed, 10, 64)
		case d.Type == TypeInt:
			values[d.Name] = c.Int("group." + d.Name)
		}
	}
	for _, name := range groupChecked {
		low, high := groupBounds(name)
		if low != "" && values[name] < c.Int(low) {
			return kafkaText(name + " must be greater than or equal to " + low)
		}
		if values[name] > c.Int(high) {
			return kafkaText(name + " must be less than or equal to " + high)
		}
	}
	for _, kind := range [...]string{"consumer", "share", "streams"} {
		session, beat := kind+".session.timeout.ms", kind+".heartbeat.interval.ms"
		if values[session] <= values[beat] {
			return kafkaText(session + " must be greater than " + beat)
		}
	}
	return nil
}

// GroupEntries describes a group with the given overrides, under the dynamic values of this broker and of the cluster; any map may
// be nil. Entries are sorted by name.
func (c *Config) GroupEntries(overrides, brokerDynamic, clusterDynamic map[string]string) []Entry {
	out := make([]Entry, 0, len(groupOwnDefs))
	for i := range groupOwnDefs {
		d := &groupOwnDefs[i]
		e := Entry{Name: d.Name, Type: d.Type, Doc: d.Doc, Source: SourceDefault}
		value := d.Default
		if len(d.Synonyms) > 0 {
			first := d.Synonyms[0].Name
			value, _, _ = c.inheritedFrom(d, brokerDynamic, clusterDynamic)
			if value == "" {
				value = BrokerDef(first).Default
			}
			e.Synonyms = c.synonyms(first, brokerSynonyms(first), false, brokerDynamic, clusterDynamic)
		} else {
			e.Synonyms = []EntrySynonym{{Name: d.Name, Value: &d.Default, Source: SourceDefault}}
		}
		out = append(out, overrideEntry(e, d, value, overrides, SourceGroup))
	}
	return out
}

// ClientMetricsEntries describes a client metrics subscription with the given values, which may be nil; sorted by name.
func ClientMetricsEntries(values map[string]string) []Entry {
	out := make([]Entry, 0, len(clientMetricsDefs))
	for i := range clientMetricsDefs {
		d := &clientMetricsDefs[i]
		e := Entry{Name: d.Name, Type: d.Type, Doc: d.Doc, Source: SourceDefault}
		out = append(out, overrideEntry(e, d, d.Default, values, SourceClientMetrics))
	}
	return out
}

// overrideEntry puts a resource's own value, where it has one, over what it inherits.
func overrideEntry(e Entry, d *Def, value string, overrides map[string]string, source int8) Entry {
	if raw, ok := overrides[d.Name]; ok {
		if parsed, err := d.Parse(raw); err == nil {
			value = parsed
			e.Synonyms = append([]EntrySynonym{{Name: d.Name, Value: &parsed, Source: source}}, e.Synonyms...)
		}
	}
	e.Value = &value
	if len(e.Synonyms) > 0 {
		e.Source = e.Synonyms[0].Source
	}
	return e
}

// Bounds of a subscription's interval.ms, and what its match may name (ClientMetricsConfigs).
const (
	minPushIntervalMs = 100
	maxPushIntervalMs = 3600000
	matchNames        = "client_id, client_instance_id, client_software_name, client_software_version, client_source_address, client_source_port"
)

// ValidateClientMetrics checks the complete values a client metrics subscription is to have, with the rules and messages of
// ClientMetricsConfigs. A RequestError is INVALID_REQUEST on the wire, any other INVALID_CONFIG.
//
// Patterns are Java's regular expressions there and those of RE2 here: back-references and look-arounds are refused.
func ValidateClientMetrics(name string, values map[string]string) error {
	if name == "" {
		return RequestError("Subscription name can't be empty")
	}
	names := sortedNames(values)
	for _, n := range names {
		if findDef(clientMetricsDefs[:], n) == nil {
			return RequestError("Unknown client metrics configuration: " + n)
		}
	}
	parsed := map[string]string{}
	for _, n := range names {
		var err error
		if parsed[n], err = findDef(clientMetricsDefs[:], n).Parse(values[n]); err != nil {
			return err
		}
	}
	if text, ok := parsed["interval.ms"]; ok {
		if n, _ := strconv.ParseInt(text, 10, 64); n < minPushIntervalMs || n > maxPushIntervalMs {
			return RequestError("Invalid value " + text + " for interval.ms, interval must be between 100 and 3600000 (1 hour)")
		}
	}
	for _, pattern := range splitList(parsed["match"]) {
		parts := strings.Split(strings.TrimRight(pattern, "="), "=")
		illegal := len(parts) != 2 || !hasWord(matchNames, javaTrim(parts[0]))
		if !illegal {
			_, err := regexp.Compile(javaTrim(parts[1]))
			illegal = err != nil
		}
		if illegal {
			return kafkaText("Illegal client matching pattern: " + pattern)
		}
	}
	return nil
}

// isoDuration is what java.time.Duration.parse reads: days, hours, minutes and seconds, each with a sign of its own.
var isoDuration = regexp.MustCompile(`(?i)^([-+]?)P(?:([-+]?[0-9]+)D)?(T(?:([-+]?[0-9]+)H)?(?:([-+]?[0-9]+)M)?(?:([-+]?[0-9]+)(?:[.,]([0-9]{0,9}))?S)?)?$`)

// validOffsetReset says whether a text is a ShareGroupAutoOffsetResetStrategy.
func validOffsetReset(s string) bool {
	if s == "earliest" || s == "latest" {
		return true
	}
	text, ok := strings.CutPrefix(s, "by_duration:")
	if !ok {
		return false
	}
	m := isoDuration.FindStringSubmatch(text)
	if m == nil || m[2] == "" && m[4] == "" && m[5] == "" && m[6] == "" || strings.EqualFold(m[3], "T") {
		return false
	}
	total := 0.0
	for i, seconds := range map[int]float64{2: 86400, 4: 3600, 5: 60, 6: 1} {
		if m[i] == "" {
			continue
		}
		n, err := strconv.ParseInt(m[i], 10, 64)
		if err != nil {
			return false
		}
		total += float64(n) * seconds
	}
	if fraction, err := strconv.ParseFloat("0."+m[7]+"0", 64); err == nil {
		if strings.HasPrefix(m[6], "-") {
			fraction = -fraction
		}
		total += fraction
	}
	if m[1] == "-" {
		total = -total
	}
	return total >= 0 && total < 1<<63
}
