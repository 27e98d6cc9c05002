package api

import (
	"math"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire/prim"
)

// A shape is what a cold request looks like on the wire. It is walked before
// kmsg decodes the request, because kmsg takes memory for an array from its
// count alone: a frame of two megabytes that announces two million elements of
// a hundred bytes, three arrays deep, would take most of a gigabyte. The walk
// allocates nothing and passes only requests whose elements are there and cost
// no more than coldFactor times their bytes.
type shape []field

// field reads one field; a version outside of from and to does not have it.
type field struct {
	from, to int16
	read     func(r *prim.Reader, version int16, flexible bool)
}

// The bound: memory for elements per byte of the request, and a slack that
// small requests need. A tagged field, which kmsg keeps in a map, costs tagCost.
const (
	coldFactor = 16
	coldSlack  = 64 << 10
	tagCost    = 128
)

// check walks a request's body. Bytes behind the message are none of its
// business: Kafka ignores them too.
func (s shape) check(body []byte, version int16, flexible bool) error {
	var r prim.Reader
	r.Reset(body)
	r.Allow(coldFactor*len(body) + coldSlack)
	s.walk(&r, version, flexible)
	return r.Err()
}

func (s shape) walk(r *prim.Reader, version int16, flexible bool) {
	for i := range s {
		if r.Err() != nil {
			return
		}
		if f := &s[i]; version >= f.from && version <= f.to {
			f.read(r, version, flexible)
		}
	}
	if flexible {
		r.Tags(func(_ uint32, r *prim.Reader) { r.Charge(1, tagCost+r.Remaining()) })
	}
}

// smallest is the fewest bytes of an element: one for every field, since none is
// shorter, and at least one.
func (s shape) smallest(version int16) int {
	n := 0
	for i := range s {
		if version >= s[i].from && version <= s[i].to {
			n++
		}
	}
	return max(n, 1)
}

func always(read func(r *prim.Reader, version int16, flexible bool)) field {
	return field{0, math.MaxInt16, read}
}

// since is a field of version v and later, until one of v and earlier.
func since(v int16, f field) field { f.from = v; return f }
func until(v int16, f field) field { f.to = v; return f }

// raw is a field of n bytes.
func raw(n int) field {
	return always(func(r *prim.Reader, _ int16, _ bool) { r.Raw(n) })
}

var (
	b8, b16, b32, b64, b128 = raw(1), raw(2), raw(4), raw(8), raw(16)

	aString        = always(func(r *prim.Reader, _ int16, flexible bool) { readString(r, flexible, false) })
	nullableString = always(func(r *prim.Reader, _ int16, flexible bool) { readString(r, flexible, true) })
)

func readString(r *prim.Reader, flexible, nullable bool) {
	var p []byte
	if flexible {
		p = r.CompactStringBytes()
	} else {
		p = r.StringBytes()
	}
	if p == nil && !nullable && r.Err() == nil {
		r.Fail(errNull)
	}
	r.Charge(1, len(p))
}

var errNull = &apiError{errInvalidRequest, "null where a value is needed"}

// list is an array of E, which kmsg keeps as a slice of that size.
func list[E any](element ...field) field { return array[E](false, element) }

// nullableList is a list that may be null.
func nullableList[E any](element ...field) field { return array[E](true, element) }

func array[E any](nullable bool, element shape) field {
	cost := int(reflect.TypeFor[E]().Size())
	plain := reflect.TypeFor[E]().Kind() != reflect.Struct
	return always(func(r *prim.Reader, version int16, flexible bool) {
		var n int
		if flexible {
			n = r.CompactArrayLen(element.smallest(version))
		} else {
			n = r.ArrayLen(element.smallest(version))
		}
		if n < 0 && !nullable && r.Err() == nil {
			r.Fail(errNull)
		}
		if !r.Charge(n, cost) {
			return
		}
		for range n {
			if r.Err() != nil {
				return
			}
			if plain {
				element[0].read(r, version, flexible)
				continue
			}
			element.walk(r, version, flexible)
		}
	})
}

// optional is a struct that may be null.
func optional(element ...field) field {
	return always(func(r *prim.Reader, version int16, flexible bool) {
		if r.Int8() >= 0 {
			shape(element).walk(r, version, flexible)
		}
	})
}

// shapes are those of the cold requests that may be large. A request without
// one is refused beyond smallColdBytes.
var shapes = map[int16]shape{
	2: {b32, since(2, b8), list[kmsg.ListOffsetsRequestTopic](aString,
		list[kmsg.ListOffsetsRequestTopicPartition](b32, since(4, b32), b64)), since(10, b32)},
	3: {nullableList[kmsg.MetadataRequestTopic](since(10, b128), until(9, aString), since(10, nullableString)),
		since(4, b8), since(8, until(10, b8)), since(8, b8)},
	10: {until(3, aString), since(1, b8), since(4, list[string](aString))},
	18: {since(3, aString), since(3, aString)},
	19: {list[kmsg.CreateTopicsRequestTopic](aString, b32, b16,
		list[kmsg.CreateTopicsRequestTopicReplicaAssignment](b32, list[int32](b32)),
		list[kmsg.CreateTopicsRequestTopicConfig](aString, nullableString)), b32, b8},
	20: {until(5, list[string](aString)), since(6, list[kmsg.DeleteTopicsRequestTopic](nullableString, b128)), b32},
	21: {list[kmsg.DeleteRecordsRequestTopic](aString, list[kmsg.DeleteRecordsRequestTopicPartition](b32, b64)), b32},
	22: {nullableString, b32, since(3, b64), since(3, b16)},
	23: {since(3, b32), list[kmsg.OffsetForLeaderEpochRequestTopic](aString,
		list[kmsg.OffsetForLeaderEpochRequestTopicPartition](b32, b32, b32))},
	29: {b8, nullableString, b8, nullableString, nullableString, b8, b8},
	30: {list[kmsg.CreateACLsRequestCreation](b8, aString, b8, aString, aString, b8, b8)},
	31: {list[kmsg.DeleteACLsRequestFilter](b8, nullableString, b8, nullableString, nullableString, b8, b8)},
	32: {list[kmsg.DescribeConfigsRequestResource](b8, aString, nullableList[string](aString)), b8, since(3, b8)},
	33: {list[kmsg.AlterConfigsRequestResource](b8, aString, list[kmsg.AlterConfigsRequestResourceConfig](aString, nullableString)), b8},
	35: {nullableList[kmsg.DescribeLogDirsRequestTopic](aString, list[int32](b32))},
	37: {list[kmsg.CreatePartitionsRequestTopic](aString, b32,
		nullableList[kmsg.CreatePartitionsRequestTopicAssignment](list[int32](b32))), b32, b8},
	44: {list[kmsg.IncrementalAlterConfigsRequestResource](b8, aString,
		list[kmsg.IncrementalAlterConfigsRequestResourceConfig](aString, b8, nullableString)), b8},
	60: {b8, since(1, b8), since(2, b8)},
	75: {list[kmsg.DescribeTopicPartitionsRequestTopic](aString), b32, optional(aString, b32)},
}
