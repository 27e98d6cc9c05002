package record

import (
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/wire/prim"
)

// Errors of the package; test with errors.Is. Bytes that are cut off or contradict the schema wrap prim.ErrMalformed.
var (
	// ErrUnknownType is a key of a type this release does not know; loading skips such records (UnknownRecordTypeException).
	ErrUnknownType = errors.New("unknown type of record")
	// ErrUnsupportedVersion is a value of a known type in a version this release does not know.
	ErrUnsupportedVersion = errors.New("unsupported version of record")
)

// Type is the first two bytes of a key: what the record is about.
type Type int16

// The types of Kafka 4.3; 9 and 18 were never used.
const (
	TypeLegacyOffsetCommit                    Type = 0
	TypeOffsetCommit                          Type = 1
	TypeGroupMetadata                         Type = 2
	TypeConsumerGroupMetadata                 Type = 3
	TypeConsumerGroupPartitionMetadata        Type = 4
	TypeConsumerGroupMemberMetadata           Type = 5
	TypeConsumerGroupTargetAssignmentMetadata Type = 6
	TypeConsumerGroupTargetAssignmentMember   Type = 7
	TypeConsumerGroupCurrentMemberAssignment  Type = 8
	TypeShareGroupMemberMetadata              Type = 10
	TypeShareGroupMetadata                    Type = 11
	TypeShareGroupTargetAssignmentMetadata    Type = 12
	TypeShareGroupTargetAssignmentMember      Type = 13
	TypeShareGroupCurrentMemberAssignment     Type = 14
	TypeShareGroupStatePartitionMetadata      Type = 15
	TypeConsumerGroupRegularExpression        Type = 16
	TypeStreamsGroupMetadata                  Type = 17
	TypeStreamsGroupMemberMetadata            Type = 19
	TypeStreamsGroupTargetAssignmentMetadata  Type = 20
	TypeStreamsGroupTargetAssignmentMember    Type = 21
	TypeStreamsGroupCurrentMemberAssignment   Type = 22
	TypeStreamsGroupTopology                  Type = 23
)

// types is what is known of each type: its name, the fields of its key behind the group, and an empty value of it.
var types = [...]struct {
	name  string
	parts parts
	value func() Value
}{
	TypeLegacyOffsetCommit:                    {"LegacyOffsetCommit", topicPartition, newOffsetCommit},
	TypeOffsetCommit:                          {"OffsetCommit", topicPartition, newOffsetCommit},
	TypeGroupMetadata:                         {"GroupMetadata", classic, func() Value { return &GroupMetadata{CurrentStateTimestamp: -1} }},
	TypeConsumerGroupMetadata:                 {"ConsumerGroupMetadata", group, func() Value { return new(ConsumerGroupMetadata) }},
	TypeConsumerGroupPartitionMetadata:        {"ConsumerGroupPartitionMetadata", group, func() Value { return new(ConsumerGroupPartitionMetadata) }},
	TypeConsumerGroupMemberMetadata:           {"ConsumerGroupMemberMetadata", member, func() Value { return new(ConsumerGroupMemberMetadata) }},
	TypeConsumerGroupTargetAssignmentMetadata: {"ConsumerGroupTargetAssignmentMetadata", group, func() Value { return new(TargetAssignmentMetadata) }},
	TypeConsumerGroupTargetAssignmentMember:   {"ConsumerGroupTargetAssignmentMember", member, func() Value { return new(TargetAssignmentMember) }},
	TypeConsumerGroupCurrentMemberAssignment:  {"ConsumerGroupCurrentMemberAssignment", member, func() Value { return new(ConsumerGroupCurrentMemberAssignment) }},
	TypeShareGroupMemberMetadata:              {"ShareGroupMemberMetadata", member, func() Value { return new(ShareGroupMemberMetadata) }},
	TypeShareGroupMetadata:                    {"ShareGroupMetadata", group, func() Value { return new(ShareGroupMetadata) }},
	TypeShareGroupTargetAssignmentMetadata:    {"ShareGroupTargetAssignmentMetadata", group, func() Value { return new(TargetAssignmentMetadata) }},
	TypeShareGroupTargetAssignmentMember:      {"ShareGroupTargetAssignmentMember", member, func() Value { return new(TargetAssignmentMember) }},
	TypeShareGroupCurrentMemberAssignment:     {"ShareGroupCurrentMemberAssignment", member, func() Value { return new(ShareGroupCurrentMemberAssignment) }},
	TypeShareGroupStatePartitionMetadata:      {"ShareGroupStatePartitionMetadata", group, func() Value { return new(ShareGroupStatePartitionMetadata) }},
	TypeConsumerGroupRegularExpression:        {"ConsumerGroupRegularExpression", regex, func() Value { return new(ConsumerGroupRegularExpression) }},
	TypeStreamsGroupMetadata: {"StreamsGroupMetadata", group, func() Value {
		return &StreamsGroupMetadata{ValidatedTopologyEpoch: -1, LastAssignmentConfigs: []KeyValue{}}
	}},
	TypeStreamsGroupMemberMetadata:           {"StreamsGroupMemberMetadata", member, func() Value { return new(StreamsGroupMemberMetadata) }},
	TypeStreamsGroupTargetAssignmentMetadata: {"StreamsGroupTargetAssignmentMetadata", group, func() Value { return new(TargetAssignmentMetadata) }},
	TypeStreamsGroupTargetAssignmentMember:   {"StreamsGroupTargetAssignmentMember", member, func() Value { return new(StreamsGroupTargetAssignmentMember) }},
	TypeStreamsGroupCurrentMemberAssignment:  {"StreamsGroupCurrentMemberAssignment", member, func() Value { return new(StreamsGroupCurrentMemberAssignment) }},
	TypeStreamsGroupTopology:                 {"StreamsGroupTopology", group, func() Value { return new(StreamsGroupTopology) }},
}

type parts uint8

const (
	group parts = iota
	classic
	topicPartition
	member
	regex
)

// Known reports whether this release can decode records of the type.
func (t Type) Known() bool { return t >= 0 && int(t) < len(types) && types[t].value != nil }

// String is the name of the type's schema in Kafka, without Key and Value.
func (t Type) String() string {
	if !t.Known() {
		return fmt.Sprintf("Type(%d)", int16(t))
	}
	return types[t].name
}

// Key is the key of a record. Which fields count besides Group follows from Type.
type Key struct {
	Type      Type
	Group     string
	Member    string // of the types named Member
	Topic     string // of OffsetCommit
	Partition int32  // of OffsetCommit
	Regex     string // of ConsumerGroupRegularExpression
}

func (k *Key) fields(c *coder) {
	switch types[k.Type].parts {
	case group:
		c.string("groupId", &k.Group)
	case classic:
		c.string("group", &k.Group)
	case topicPartition:
		c.string("group", &k.Group)
		c.string("topic", &k.Topic)
		c.int32("partition", &k.Partition)
	case member:
		c.string("groupId", &k.Group)
		c.string("memberId", &k.Member)
	case regex:
		c.string("groupId", &k.Group)
		c.string("regularExpression", &k.Regex)
	}
}

// Append appends the key's bytes. The type must be known.
func (k Key) Append(dst []byte) []byte {
	c := coder{mode: writing, out: prim.AppendInt16(dst, int16(k.Type))}
	k.fields(&c)
	return c.out
}

// DecodeKey decodes a key. With ErrUnknownType the Type of the result is set.
func DecodeKey(b []byte) (Key, error) {
	c := coder{in: *prim.NewReader(b)}
	k := Key{Type: Type(c.in.Int16())}
	if err := c.in.Err(); err != nil {
		return Key{}, fmt.Errorf("key of a group record: %w", err)
	}
	if !k.Type.Known() {
		return Key{Type: k.Type}, fmt.Errorf("%w %d", ErrUnknownType, int16(k.Type))
	}
	k.fields(&c)
	if err := c.in.Err(); err != nil {
		return Key{}, fmt.Errorf("key of a %v record: %w", k.Type, err)
	}
	return k, nil
}

// Value is a pointer to one of this package's structs; nil is a tombstone.
type Value interface {
	fields(c *coder)
	// written is the version that is written, the others are what can be read and where the flexible ones begin.
	versions() (written, highest, flexible int16)
}

// Append appends a value's bytes in the version Kafka 4.3 writes.
func Append(dst []byte, v Value) []byte {
	version, _, flexible := v.versions()
	return appendVersion(dst, v, version, flexible)
}

func appendVersion(dst []byte, v Value, version, flexible int16) []byte {
	c := coder{mode: writing, out: prim.AppendInt16(dst, version), version: version, flexible: version >= flexible}
	v.fields(&c)
	return c.out
}

// Encode is a key and a value as they stand in the log. A nil v gives a nil value, which deletes the key.
func Encode(k Key, v Value) (key, value []byte) {
	key = k.Append(make([]byte, 0, 16+len(k.Group)+len(k.Member)+len(k.Topic)+len(k.Regex)))
	if v != nil {
		value = Append(make([]byte, 0, 64), v)
	}
	return key, value
}

// Decode decodes a record; a tombstone's Value is nil. Errors: ErrUnknownType, ErrUnsupportedVersion, prim.ErrMalformed; Key is as
// DecodeKey gives it.
func Decode(key, value []byte) (Key, Value, error) {
	k, err := DecodeKey(key)
	if err != nil {
		return k, nil, err
	}
	v, _, err := decodeValue(k.Type, value)
	return k, v, err
}

func decodeValue(t Type, value []byte) (Value, int16, error) {
	if value == nil {
		return nil, 0, nil
	}
	c := coder{in: *prim.NewReader(value)}
	c.version = c.in.Int16()
	v := types[t].value()
	_, highest, flexible := v.versions()
	if err := c.in.Err(); err != nil {
		return nil, 0, fmt.Errorf("value of a %v record: %w", t, err)
	}
	if c.version < 0 || c.version > highest {
		return nil, c.version, fmt.Errorf("%w: value of a %v record has version %d, expected 0 to %d", ErrUnsupportedVersion, t, c.version, highest)
	}
	c.flexible = c.version >= flexible
	v.fields(&c)
	if err := c.in.Err(); err != nil {
		return nil, c.version, fmt.Errorf("value of a %v record, version %d: %w", t, c.version, err)
	}
	return v, c.version, nil
}

// JSON is a record as Kafka's DumpLogSegments prints it with --offsets-decoder; the value of a tombstone is "". Errors are those of
// Decode.
func JSON(key, value []byte) (k, v string, err error) {
	decoded, err := DecodeKey(key)
	if err != nil {
		return "", "", err
	}
	c := coder{mode: printing, out: fmt.Appendf(nil, `{"type":"%d","data":{`, int16(decoded.Type))}
	decoded.fields(&c)
	k = string(append(c.out, "}}"...))
	x, version, err := decodeValue(decoded.Type, value)
	if err != nil || x == nil {
		return k, "", err
	}
	_, _, flexible := x.versions()
	c = coder{mode: printing, version: version, flexible: version >= flexible, out: fmt.Appendf(nil, `{"version":"%d","data":{`, version)}
	x.fields(&c)
	return k, string(append(c.out, "}}"...)), nil
}
