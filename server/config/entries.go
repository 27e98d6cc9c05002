package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// The places a value comes from, with the numbers of the DescribeConfigs response.
const (
	SourceTopic          int8 = 1 // the topic's own override
	SourceBroker         int8 = 2 // dynamic, for this broker
	SourceClusterDefault int8 = 3 // dynamic, for every broker
	SourceStatic         int8 = 4 // server.properties and what goes over it
	SourceDefault        int8 = 5 // nobody set it
)

// Entry is one configuration as DescribeConfigs tells it.
type Entry struct {
	Name string
	// Value is nil when it is null or Sensitive.
	Value     *string
	Source    int8
	Type      Type
	ReadOnly  bool
	Sensitive bool
	Doc       string
	// Synonyms are the places that have a value, the one in force first.
	Synonyms []EntrySynonym
}

// EntrySynonym is one place that has a value for an Entry, as it was written there.
type EntrySynonym struct {
	Name   string
	Value  *string // nil when sensitive
	Source int8
}

// TopicEntries describes a topic with the given overrides, under the dynamic values of this broker and of the cluster;
// any map may be nil. Entries are sorted by name; internal configurations are left out.
//
// It follows ConfigHelper of Kafka to the letter, also where a coarser unit of the broker's file decides: with only
// log.retention.hours set, retention.ms has the right value, yet no synonyms and the default as its source.
func (c *Config) TopicEntries(overrides, brokerDynamic, clusterDynamic map[string]string) []Entry {
	defs := TopicDefs()
	out := make([]Entry, 0, len(defs))
	for i := range defs {
		d := &defs[i]
		override, overridden := overrides[d.Name]
		if d.Internal && !overridden {
			continue
		}
		e := Entry{Name: d.Name, Type: d.Type, Doc: d.Doc, Source: SourceDefault}
		value, ok := c.inherited(d, brokerDynamic, clusterDynamic)
		if len(d.Synonyms) > 0 {
			first := d.Synonyms[0].Name
			e.Synonyms = c.synonyms(first, brokerSynonyms(first), false, brokerDynamic, clusterDynamic)
		}
		if overridden {
			if parsed, err := d.Parse(override); err == nil {
				value, ok = parsed, true
				e.Synonyms = slices.Insert(e.Synonyms, 0, EntrySynonym{Name: d.Name, Value: &parsed, Source: SourceTopic})
			}
		}
		if ok {
			e.Value = &value
		}
		if len(e.Synonyms) > 0 {
			e.Source = e.Synonyms[0].Source
		}
		out = append(out, e)
	}
	return out
}

// inherited is what a topic has without an override, in the topic's unit; false when that is null.
func (c *Config) inherited(d *Def, brokerDynamic, clusterDynamic map[string]string) (string, bool) {
	value, _, ok := c.inheritedFrom(d, brokerDynamic, clusterDynamic)
	return value, ok
}

// inheritedFrom is inherited with the place of the value.
func (c *Config) inheritedFrom(d *Def, brokerDynamic, clusterDynamic map[string]string) (value string, source int8, ok bool) {
	if len(d.Synonyms) > 0 {
		// Only the first synonym, the finest unit, can be dynamic.
		first := d.Synonyms[0]
		if raw, found := brokerDynamic[first.Name]; found {
			if value, ok := convert(d, first, raw); ok {
				return value, SourceBroker, true
			}
		}
		if raw, found := clusterDynamic[first.Name]; found {
			if value, ok := convert(d, first, raw); ok {
				return value, SourceClusterDefault, true
			}
		}
	}
	for _, syn := range d.Synonyms {
		if at, found := c.static[syn.Name]; found {
			if value, ok := convert(d, syn, at.value); ok {
				return value, SourceStatic, true
			}
		}
	}
	return d.Default, SourceDefault, !d.NoDefault
}

// convert turns a broker's value into the topic's unit.
func convert(d *Def, syn Synonym, raw string) (string, bool) {
	parsed, err := BrokerDef(syn.Name).Parse(raw)
	if err != nil {
		return "", false
	}
	if d.Type == TypeLong {
		n, _ := strconv.ParseInt(parsed, 10, 64)
		if n *= syn.Factor; d.Name == "retention.ms" && n < 0 {
			n = -1 // KafkaConfig.logRetentionTimeMillis
		}
		parsed = strconv.FormatInt(n, 10)
	}
	return parsed, true
}

// synonyms lists the places that have a value under one of the names, layer by layer. What comes before the first place
// under name itself is dropped, so that a coarser unit alone does not appear (ConfigHelper.configSynonyms).
func (c *Config) synonyms(name string, names []Synonym, sensitive bool, brokerDynamic, clusterDynamic map[string]string) []EntrySynonym {
	var out []EntrySynonym
	add := func(n, value string, source int8) {
		s := EntrySynonym{Name: n, Source: source}
		if !sensitive {
			s.Value = &value
		}
		if len(out) > 0 || n == name {
			out = append(out, s)
		}
	}
	for _, layer := range [...]struct {
		values map[string]string
		source int8
	}{{brokerDynamic, SourceBroker}, {clusterDynamic, SourceClusterDefault}} {
		for _, n := range names {
			if v, ok := layer.values[n.Name]; ok {
				add(n.Name, v, layer.source)
			}
		}
	}
	for _, n := range names {
		if at, ok := c.static[n.Name]; ok {
			add(n.Name, at.value, SourceStatic)
		}
	}
	for _, n := range names {
		if d := BrokerDef(n.Name); d != nil && d.Name == n.Name && !d.NoDefault && !d.DynamicOnly {
			add(n.Name, d.Default, SourceDefault)
		}
	}
	return out
}

// BrokerEntries describes this broker under its dynamic values and the cluster's; either map may be nil. Entries are
// sorted by name. Keys of the file or of the maps that nobody defined are included without their values, since nobody
// knows whether they are secrets.
func (c *Config) BrokerEntries(brokerDynamic, clusterDynamic map[string]string) []Entry {
	values := overlay(c.static, clusterDynamic, brokerDynamic)
	out := make([]Entry, 0, len(BrokerDefs())+8)
	for _, defs := range [...][]Def{BrokerDefs(), GregorDefs()} {
		for i := range defs {
			d := &defs[i]
			if _, set := values[d.Name]; set || !d.Internal && !d.DynamicOnly {
				out = append(out, c.brokerEntry(d.Name, values, brokerDynamic, clusterDynamic))
			}
		}
	}
	for name := range values {
		if d := BrokerDef(name); d == nil || d.Name != name {
			out = append(out, c.brokerEntry(name, values, brokerDynamic, clusterDynamic))
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// ClusterEntries describes the cluster-wide dynamic defaults, sorted by name: only what is set, as it was written.
func (c *Config) ClusterEntries(clusterDynamic map[string]string) []Entry {
	out := make([]Entry, 0, len(clusterDynamic))
	for name := range clusterDynamic {
		e := c.brokerEntry(name, clusterDynamic, nil, clusterDynamic)
		e.Synonyms = slices.DeleteFunc(e.Synonyms, func(s EntrySynonym) bool { return s.Source != SourceClusterDefault })
		if value := clusterDynamic[name]; !e.Sensitive {
			e.Value = &value
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (c *Config) brokerEntry(name string, values, brokerDynamic, clusterDynamic map[string]string) Entry {
	d := BrokerDef(name)
	e := Entry{Name: name, ReadOnly: true, Sensitive: true, Source: SourceDefault}
	if d != nil {
		e.Type, e.Doc, e.Sensitive = d.Type, d.Doc, d.Sensitive()
		e.ReadOnly = d.Update == ReadOnly || d.Name != name
	} else if strings.HasPrefix(name, topicPrefix) && c.static.has(name) {
		e.Type, e.Sensitive, e.Doc = TypeString, false, "A topic this broker creates when it starts."
		if strings.HasSuffix(name, partitionsSuffix) {
			e.Type = TypeInt
		}
	}
	e.Synonyms = c.synonyms(name, brokerSynonyms(name), e.Sensitive, brokerDynamic, clusterDynamic)
	if len(e.Synonyms) > 0 {
		e.Source = e.Synonyms[0].Source
	}
	if e.Sensitive {
		return e
	}
	value, ok := values[name]
	if d != nil {
		if parsed, err := d.Parse(value); ok && err == nil {
			value = parsed
		} else if !ok && !d.NoDefault && d.Name == name {
			value, ok = d.Default, true
		}
	}
	if ok {
		e.Value = &value
	}
	return e
}
