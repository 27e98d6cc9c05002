package api

import (
	"fmt"
	"math"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire/prim"
)

// A shape is what a cold request looks like on the wire. It is walked before
// kmsg decodes the request, because kmsg takes memory for an array from its
// count alone: a frame of two megabytes that announces two million elements of
// a hundred bytes, three arrays deep, would take most of a gigabyte; and twenty
// bytes that announce four billion tagged fields keep it busy for seconds. The
// walk allocates nothing and passes only requests whose elements are there and
// cost no more than coldFactor times their bytes.
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
	someBytes      = always(func(r *prim.Reader, _ int16, flexible bool) { readBytes(r, flexible) })
)

// maxNames bounds lists of names each of which gets an answer of its own, larger
// by far than a short name.
const maxNames = 100_000

// names is a list of them.
var names = func() field {
	strings := list[string](aString)
	return always(func(r *prim.Reader, version int16, flexible bool) {
		count := *r
		n := 0
		if flexible {
			n = count.CompactArrayLen(1)
		} else {
			n = count.ArrayLen(1)
		}
		if n > maxNames {
			r.Fail(fmt.Errorf("%d names in a list, at most %d", n, maxNames))
			return
		}
		strings.read(r, version, flexible)
	})
}()

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

// readBytes reads bytes that may not be null; they cost nothing, as kmsg keeps slices of the frame.
func readBytes(r *prim.Reader, flexible bool) {
	var p []byte
	if flexible {
		p = r.CompactBytes()
	} else {
		p = r.Bytes()
	}
	if p == nil && r.Err() == nil {
		r.Fail(errNull)
	}
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

// shapes are those of all cold requests, by key.
var shapes = map[int16]shape{
	2: {b32, since(2, b8), list[kmsg.ListOffsetsRequestTopic](aString,
		list[kmsg.ListOffsetsRequestTopicPartition](b32, since(4, b32), b64)), since(10, b32)},
	3: {nullableList[kmsg.MetadataRequestTopic](since(10, b128), until(9, aString), since(10, nullableString)),
		since(4, b8), since(8, until(10, b8)), since(8, b8)},
	8: {aString, b32, aString, since(7, nullableString), until(4, b64),
		list[kmsg.OffsetCommitRequestTopic](until(9, aString), since(10, b128),
			list[kmsg.OffsetCommitRequestTopicPartition](b32, b64, since(6, b32), nullableString))},
	9: {until(7, aString), until(1, list[kmsg.OffsetFetchRequestTopic](aString, list[int32](b32))),
		since(2, until(7, nullableList[kmsg.OffsetFetchRequestTopic](aString, list[int32](b32)))),
		since(8, list[kmsg.OffsetFetchRequestGroup](aString, since(9, nullableString), since(9, b32),
			nullableList[kmsg.OffsetFetchRequestGroupTopic](until(9, aString), since(10, b128), list[int32](b32)))), since(7, b8)},
	10: {until(3, aString), since(1, b8), since(4, names)},
	11: {aString, b32, since(1, b32), aString, since(5, nullableString), aString,
		list[kmsg.JoinGroupRequestProtocol](aString, someBytes), since(8, nullableString)},
	12: {aString, b32, aString, since(3, nullableString)},
	13: {aString, until(2, aString), since(3, list[kmsg.LeaveGroupRequestMember](aString, nullableString, since(5, nullableString)))},
	14: {aString, b32, aString, since(3, nullableString), since(5, nullableString), since(5, nullableString),
		list[kmsg.SyncGroupRequestGroupAssignment](aString, someBytes)},
	15: {names, since(3, b8)},
	16: {since(4, list[string](aString)), since(5, list[string](aString))},
	18: {since(3, aString), since(3, aString)},
	19: {list[kmsg.CreateTopicsRequestTopic](aString, b32, b16,
		list[kmsg.CreateTopicsRequestTopicReplicaAssignment](b32, list[int32](b32)),
		list[kmsg.CreateTopicsRequestTopicConfig](aString, nullableString)), b32, b8},
	20: {until(5, list[string](aString)), since(6, list[kmsg.DeleteTopicsRequestTopic](nullableString, b128)), b32},
	21: {list[kmsg.DeleteRecordsRequestTopic](aString, list[kmsg.DeleteRecordsRequestTopicPartition](b32, b64)), b32},
	22: {nullableString, b32, since(3, b64), since(3, b16)},
	23: {since(3, b32), list[kmsg.OffsetForLeaderEpochRequestTopic](aString,
		list[kmsg.OffsetForLeaderEpochRequestTopicPartition](b32, b32, b32))},
	24: {until(3, aString), until(3, b64), until(3, b16),
		until(3, list[kmsg.AddPartitionsToTxnRequestTopic](aString, list[int32](b32))),
		since(4, list[kmsg.AddPartitionsToTxnRequestTransaction](aString, b64, b16, b8,
			list[kmsg.AddPartitionsToTxnRequestTransactionTopic](aString, list[int32](b32))))},
	25: {aString, b64, b16, aString},
	26: {aString, b64, b16, b8},
	27: {list[kmsg.WriteTxnMarkersRequestMarker](b64, b16, b8, list[kmsg.WriteTxnMarkersRequestMarkerTopic](aString, list[int32](b32)),
		b32, since(2, b8))},
	28: {aString, aString, b64, b16, since(3, b32), since(3, aString), since(3, nullableString),
		list[kmsg.TxnOffsetCommitRequestTopic](aString,
			list[kmsg.TxnOffsetCommitRequestTopicPartition](b32, b64, since(2, b32), nullableString))},
	29: {b8, nullableString, b8, nullableString, nullableString, b8, b8},
	30: {list[kmsg.CreateACLsRequestCreation](b8, aString, b8, aString, aString, b8, b8)},
	31: {list[kmsg.DeleteACLsRequestFilter](b8, nullableString, b8, nullableString, nullableString, b8, b8)},
	32: {list[kmsg.DescribeConfigsRequestResource](b8, aString, nullableList[string](aString)), b8, since(3, b8)},
	33: {list[kmsg.AlterConfigsRequestResource](b8, aString, list[kmsg.AlterConfigsRequestResourceConfig](aString, nullableString)), b8},
	34: {list[kmsg.AlterReplicaLogDirsRequestDir](aString, list[kmsg.AlterReplicaLogDirsRequestDirTopic](aString, list[int32](b32)))},
	35: {nullableList[kmsg.DescribeLogDirsRequestTopic](aString, list[int32](b32))},
	37: {list[kmsg.CreatePartitionsRequestTopic](aString, b32,
		nullableList[kmsg.CreatePartitionsRequestTopicAssignment](list[int32](b32))), b32, b8},
	43: {since(1, b8), nullableList[kmsg.ElectLeadersRequestTopic](aString, list[int32](b32)), b32},
	42: {names},
	44: {list[kmsg.IncrementalAlterConfigsRequestResource](b8, aString,
		list[kmsg.IncrementalAlterConfigsRequestResourceConfig](aString, b8, nullableString)), b8},
	45: {b32, since(1, b8), list[kmsg.AlterPartitionAssignmentsRequestTopic](aString,
		list[kmsg.AlterPartitionAssignmentsRequestTopicPartition](b32, nullableList[int32](b32)))},
	46: {b32, nullableList[kmsg.ListPartitionReassignmentsRequestTopic](aString, list[int32](b32))},
	48: {list[kmsg.DescribeClientQuotasRequestComponent](aString, b8, nullableString), b8},
	49: {list[kmsg.AlterClientQuotasRequestEntry](list[kmsg.AlterClientQuotasRequestEntryEntity](aString, nullableString),
		list[kmsg.AlterClientQuotasRequestEntryOp](aString, b64, b8)), b8},
	50: {nullableList[kmsg.DescribeUserSCRAMCredentialsRequestUser](aString)},
	51: {list[kmsg.AlterUserSCRAMCredentialsRequestDeletion](aString, b8),
		list[kmsg.AlterUserSCRAMCredentialsRequestUpsertion](aString, b8, b32, someBytes, someBytes)},
	55: {list[kmsg.DescribeQuorumRequestTopic](aString, list[kmsg.DescribeQuorumRequestTopicPartition](b32))},
	57: {b32, list[kmsg.UpdateFeaturesRequestFeatureUpdate](aString, b16, until(0, b8), since(1, b8)), since(1, b8)},
	47: {aString, list[kmsg.OffsetDeleteRequestTopic](aString, list[kmsg.OffsetDeleteRequestTopicPartition](b32))},
	60: {b8, since(1, b8), since(2, b8)},
	68: {aString, aString, b32, nullableString, nullableString, b32, nullableList[string](aString), since(1, nullableString), nullableString,
		nullableList[kmsg.ConsumerGroupHeartbeatRequestTopic](b128, list[int32](b32))},
	69: {names, b8},
	61: {list[kmsg.DescribeProducersRequestTopic](aString, list[int32](b32))},
	64: {b32},
	65: {list[string](aString)},
	66: {list[string](aString), list[int64](b64), since(1, b64), since(2, nullableString)},
	74: {since(1, list[int8](b8))},
	75: {list[kmsg.DescribeTopicPartitionsRequestTopic](aString), b32, optional(aString, b32)},
	80: {nullableString, b32, b32, b128, list[kmsg.AddRaftVoterRequestListener](aString, aString, b16), since(1, b8)},
	81: {nullableString, b32, b128},
}
