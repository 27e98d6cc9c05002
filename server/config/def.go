package config

import (
	"slices"
	"strings"
	"sync"
)

// Type is the kind of a configuration's value, with the numbers of the DescribeConfigs response.
type Type int8

// The types of configuration values; zero is a name nobody defined.
const (
	TypeUnknown Type = iota
	TypeBoolean
	TypeString
	TypeInt
	TypeShort
	TypeLong
	TypeDouble
	TypeList
	TypeClass
	TypePassword
)

// Update says whether a broker configuration may change while the broker runs (DynamicBrokerConfig).
type Update uint8

const (
	// ReadOnly configurations come from server.properties only.
	ReadOnly Update = iota
	// PerBroker configurations may be set for one broker, but not for all of them at once.
	PerBroker
	// ClusterWide configurations may be set for one broker and as default for the cluster.
	ClusterWide
)

// String names the mode as Kafka's documentation does.
func (u Update) String() string {
	switch u {
	case PerBroker:
		return "per-broker"
	case ClusterWide:
		return "cluster-wide"
	}
	return "read-only"
}

// Synonym is a broker configuration from which a topic configuration inherits.
type Synonym struct {
	Name string
	// Factor turns the broker's unit into the topic's: 1, 60000 for minutes, 3600000 for hours.
	Factor int64
}

// Def describes one configuration. Definitions are shared and must not be changed.
type Def struct {
	Name string
	Type Type
	// Default is the value when nobody sets one, as Kafka prints it; "" when NoDefault.
	Default string
	// NoDefault marks a configuration whose value is null until somebody sets it.
	NoDefault bool
	// Update is the dynamic mode of a broker configuration; topic configurations are always dynamic and leave it zero.
	Update Update
	// Internal configurations can be set but are not listed.
	Internal bool
	// DynamicOnly broker configurations do not exist in server.properties and are listed only while set.
	DynamicOnly bool
	// Synonyms are the broker configurations behind a topic configuration, first one first.
	Synonyms []Synonym
	// Doc explains the configuration in a sentence or two.
	Doc string

	check check
}

// Sensitive tells whether the value must never be shown.
func (d *Def) Sensitive() bool { return d.Type == TypePassword || d.Type == TypeUnknown }

// table is a list of definitions in the order of their names.
type table struct {
	once sync.Once
	defs []Def
	src  func() [][]Def
}

var (
	topicTable  = table{src: func() [][]Def { return [][]Def{topicDefs[:]} }}
	brokerTable = table{src: func() [][]Def {
		return [][]Def{logDefs[:], networkDefs[:], quorumDefs[:], replicaDefs[:], groupDefs[:], transactionDefs[:], securityDefs[:], remoteDefs[:]}
	}}
	gregorTable = table{src: func() [][]Def { return [][]Def{gregorDefs[:]} }}
)

func (t *table) all() []Def {
	t.once.Do(func() {
		n := 0
		for _, part := range t.src() {
			n += len(part)
		}
		t.defs = make([]Def, 0, n)
		for _, part := range t.src() {
			t.defs = append(t.defs, part...)
		}
		slices.SortFunc(t.defs, func(a, b Def) int { return strings.Compare(a.Name, b.Name) })
	})
	return t.defs
}

func (t *table) find(name string) *Def {
	defs := t.all()
	low, high := 0, len(defs)
	for low < high {
		if mid := (low + high) / 2; defs[mid].Name < name {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == len(defs) || defs[low].Name != name {
		return nil
	}
	return &defs[low]
}

// TopicDefs returns every topic configuration of Kafka 4.3 sorted by name, internal ones included.
// The slice is shared: read it only.
func TopicDefs() []Def { return topicTable.all() }

// BrokerDefs returns every broker configuration of Kafka 4.3 sorted by name, internal and dynamic-only ones included,
// without Gregor's own. The slice is shared: read it only.
func BrokerDefs() []Def { return brokerTable.all() }

// GregorDefs returns the broker configurations that only Gregor has, sorted by name. The slice is shared: read it only.
func GregorDefs() []Def { return gregorTable.all() }

// TopicDef finds a topic configuration; nil when there is none of that name.
func TopicDef(name string) *Def { return topicTable.find(name) }

// BrokerDef finds a broker configuration, Gregor's own included. A name with a listener prefix (listener.name.x.) finds
// the configuration behind the prefix. It is nil when there is none.
func BrokerDef(name string) *Def {
	if d := brokerTable.find(name); d != nil {
		return d
	}
	if strings.HasPrefix(name, "gregor.") {
		return gregorTable.find(name)
	}
	if base := listenerBase(name); base != "" {
		return brokerTable.find(base)
	}
	return nil
}

const listenerPrefix = "listener.name."

// mechanismConfigs may carry a SASL mechanism between the listener prefix and their own name.
var mechanismConfigs = [...]string{
	"sasl.jaas.config", "sasl.login.callback.handler.class", "sasl.login.class", "sasl.server.callback.handler.class",
}

// listenerBase strips "listener.name.<listener>." and, in front of a mechanism's configuration, "<mechanism>.".
// It is "" for a name without the prefix.
func listenerBase(name string) string {
	rest, ok := strings.CutPrefix(name, listenerPrefix)
	if !ok {
		return ""
	}
	_, base, ok := strings.Cut(rest, ".")
	if !ok {
		return ""
	}
	for _, m := range mechanismConfigs {
		if strings.HasSuffix(base, "."+m) {
			return m
		}
	}
	return base
}

// timeChains are the broker configurations that stand in for one another, finest unit first (ServerLogConfigs).
var timeChains = [...][]Synonym{
	{{"log.retention.ms", 1}, {"log.retention.minutes", 60_000}, {"log.retention.hours", 3_600_000}},
	{{"log.roll.ms", 1}, {"log.roll.hours", 3_600_000}},
	{{"log.roll.jitter.ms", 1}, {"log.roll.jitter.hours", 3_600_000}},
}

// flushChain is one-sided: log.flush.interval.ms falls back to the scheduler's interval, but not the other way.
var flushChain = []Synonym{{"log.flush.interval.ms", 1}, {"log.flush.scheduler.interval.ms", 1}}

// brokerSynonyms lists the names under which a broker configuration may be given, most important first
// (DynamicBrokerConfig.brokerConfigSynonyms).
func brokerSynonyms(name string) []Synonym {
	for _, chain := range timeChains {
		for _, s := range chain {
			if s.Name == name {
				return chain
			}
		}
	}
	if name == flushChain[0].Name {
		return flushChain
	}
	if base := listenerBase(name); base != "" {
		return []Synonym{{name, 1}, {base, 1}}
	}
	return []Synonym{{name, 1}}
}
