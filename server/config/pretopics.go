package config

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// TopicSpec is a topic that server.properties asks for.
type TopicSpec struct {
	Name       string
	Partitions int32
	// ID is the topic's id; HasID is false when one is to be made up.
	ID    [16]byte
	HasID bool
}

const (
	topicPrefix      = "topic."
	partitionsSuffix = ".partitions"
	idSuffix         = ".id"
	maxTopicName     = 249
)

// ValidateTopicName checks a topic's name by the rule of org.apache.kafka.common.internals.Topic, with its messages.
func ValidateTopicName(name string) error {
	switch {
	case name == "":
		return kafkaText("Topic name is invalid: the empty string is not allowed")
	case name == "." || name == "..":
		return kafkaText("Topic name is invalid: '" + name + "' is not allowed")
	case len(name) > maxTopicName:
		return kafkaText("Topic name is invalid: the length of '" + name + "' is longer than the max allowed length " + strconv.Itoa(maxTopicName))
	}
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '.', c == '_', c == '-':
		default:
			return kafkaText("Topic name is invalid: '" + name + "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
		}
	}
	return nil
}

// parseTopicID reads a topic id as Kafka's Uuid prints it: base64 for URLs, 22 characters, or 24 with padding.
func parseTopicID(s string) (id [16]byte, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimSuffix(s, "=="))
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("expected a topic id of 22 characters in url-safe base64")
	}
	copy(id[:], raw)
	if id == ([16]byte{}) || id == ([16]byte{15: 1}) {
		return id, fmt.Errorf("expected a topic id that is not reserved") // Uuid.ZERO_UUID and METADATA_TOPIC_ID
	}
	return id, nil
}

// buildTopics reads the keys topic.<name>.partitions and topic.<name>.id. Topic names have dots of their own, so the
// last word decides.
func (c *Config) buildTopics() error {
	specs := map[string]*TopicSpec{}
	var ids []string
	for _, key := range c.static.names() {
		rest, ok := strings.CutPrefix(key, topicPrefix)
		if !ok {
			continue
		}
		value := javaTrim(c.static[key].value)
		if name, ok := strings.CutSuffix(rest, partitionsSuffix); ok {
			if err := ValidateTopicName(name); err != nil {
				return c.static.errorf(key, "expected topic.<name>.partitions: %v", err)
			}
			if name == "__cluster_metadata" {
				return c.static.errorf(key, "expected a topic for clients, and this is the metadata log")
			}
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil || n < 1 {
				return c.static.valueErrorf(key, "expected a number of partitions from 1 to %d", math.MaxInt32)
			}
			specs[name] = &TopicSpec{Name: name, Partitions: int32(n)}
			continue
		}
		if strings.HasSuffix(rest, idSuffix) {
			ids = append(ids, key)
			continue
		}
		return c.static.errorf(key, "unknown configuration; topics take topic.<name>.partitions and topic.<name>.id")
	}
	owner := map[[16]byte]string{}
	for _, key := range ids {
		name := strings.TrimSuffix(strings.TrimPrefix(key, topicPrefix), idSuffix)
		spec := specs[name]
		if spec == nil {
			return c.static.errorf(key, "expected topic.%s.partitions beside it", name)
		}
		id, err := parseTopicID(javaTrim(c.static[key].value))
		if err != nil {
			return c.static.valueErrorf(key, "%v", err)
		}
		if other, taken := owner[id]; taken {
			return c.static.valueErrorf(key, "topic %s has this id already", other)
		}
		owner[id] = name
		spec.ID, spec.HasID = id, true
	}
	// Kafka refuses names that differ only in dots and underscores, which its metrics cannot tell apart.
	seen := map[string]string{}
	for _, spec := range specs {
		c.Topics = append(c.Topics, *spec)
	}
	slices.SortFunc(c.Topics, func(a, b TopicSpec) int { return strings.Compare(a.Name, b.Name) })
	for _, spec := range c.Topics {
		flat := strings.ReplaceAll(spec.Name, ".", "_")
		if other, taken := seen[flat]; taken {
			return c.static.errorf(topicPrefix+spec.Name+partitionsSuffix, "the name collides with topic %s, from which it differs only in dots and underscores", other)
		}
		seen[flat] = spec.Name
	}
	return nil
}
