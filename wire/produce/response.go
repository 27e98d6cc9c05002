package produce

import (
	"github.com/gregor-broker/gregor/wire"
	"github.com/gregor-broker/gregor/wire/prim"
)

// Versions at which fields of the response appear.
const (
	firstLogStart     = 5  // LogStartOffset
	firstRecordErrors = 8  // RecordErrors, ErrorMessage (KIP-467)
	firstLeaders      = 10 // CurrentLeader, NodeEndpoints (KIP-951)
)

// Response is what a Produce response says; a field is left out in versions that do not have it.
type Response struct {
	Topics        []TopicResponse
	ThrottleMs    int32
	NodeEndpoints []wire.NodeEndpoint // of the brokers named by CurrentLeader fields
}

// TopicResponse answers one Topic, by name up to version 12 and by id from version 13 on.
type TopicResponse struct {
	Name       []byte
	ID         [16]byte
	Partitions []PartitionResponse
}

// PartitionResponse answers one Partition.
type PartitionResponse struct {
	Index          int32
	ErrorCode      int16
	BaseOffset     int64 // of the first record appended, -1 with an error
	LogAppendTime  int64 // milliseconds, -1 unless the broker sets the time
	LogStartOffset int64 // -1 if unknown
	RecordErrors   []RecordError
	ErrorMessage   *string
	CurrentLeader  wire.Leader // with NOT_LEADER_OR_FOLLOWER
}

// RecordError names a record that caused its batch to be refused (KIP-467).
type RecordError struct {
	BatchIndex int32   // index of the record in its batch
	Message    *string // nil for none
}

// AppendResponse appends the body of the response in the version, which must be one of MinVersion to MaxVersion.
func AppendResponse(dst []byte, version int16, p *Response) []byte {
	if version >= FlexibleFrom {
		return appendFlexible(dst, version, p)
	}
	dst = prim.AppendArrayLen(dst, len(p.Topics))
	for i := range p.Topics {
		t := &p.Topics[i]
		dst = prim.AppendStringBytes(dst, named(t.Name))
		dst = prim.AppendArrayLen(dst, len(t.Partitions))
		for j := range t.Partitions {
			q := &t.Partitions[j]
			dst = appendResult(dst, version, q)
			if version >= firstRecordErrors {
				dst = prim.AppendArrayLen(dst, len(q.RecordErrors))
				for k := range q.RecordErrors {
					dst = prim.AppendInt32(dst, q.RecordErrors[k].BatchIndex)
					dst = prim.AppendNullableString(dst, q.RecordErrors[k].Message)
				}
				dst = prim.AppendNullableString(dst, q.ErrorMessage)
			}
		}
	}
	return prim.AppendInt32(dst, p.ThrottleMs)
}

func appendFlexible(dst []byte, version int16, p *Response) []byte {
	dst = prim.AppendCompactArrayLen(dst, len(p.Topics))
	for i := range p.Topics {
		t := &p.Topics[i]
		if version >= firstTopicIDs {
			dst = prim.AppendUUID(dst, t.ID)
		} else {
			dst = prim.AppendCompactStringBytes(dst, named(t.Name))
		}
		dst = prim.AppendCompactArrayLen(dst, len(t.Partitions))
		for j := range t.Partitions {
			q := &t.Partitions[j]
			dst = appendResult(dst, version, q)
			dst = prim.AppendCompactArrayLen(dst, len(q.RecordErrors))
			for k := range q.RecordErrors {
				dst = prim.AppendInt32(dst, q.RecordErrors[k].BatchIndex)
				dst = prim.AppendCompactNullableString(dst, q.RecordErrors[k].Message)
				dst = prim.AppendTags0(dst)
			}
			dst = prim.AppendCompactNullableString(dst, q.ErrorMessage)
			if version >= firstLeaders && q.CurrentLeader.Set {
				dst = prim.AppendUvarint(dst, 1)
				dst = wire.AppendLeader(dst, 0, q.CurrentLeader)
			} else {
				dst = prim.AppendTags0(dst)
			}
		}
		dst = prim.AppendTags0(dst)
	}
	dst = prim.AppendInt32(dst, p.ThrottleMs)
	if version >= firstLeaders {
		return wire.AppendNodeEndpoints(dst, p.NodeEndpoints)
	}
	return prim.AppendTags0(dst)
}

// appendResult appends the fixed fields that all versions share, up to the record errors.
func appendResult(dst []byte, version int16, q *PartitionResponse) []byte {
	dst = prim.AppendInt32(dst, q.Index)
	dst = prim.AppendInt16(dst, q.ErrorCode)
	dst = prim.AppendInt64(dst, q.BaseOffset)
	dst = prim.AppendInt64(dst, q.LogAppendTime)
	if version >= firstLogStart {
		dst = prim.AppendInt64(dst, q.LogStartOffset)
	}
	return dst
}

// named makes a missing name an empty one: the field cannot be null.
func named(name []byte) []byte {
	if name == nil {
		return []byte{}
	}
	return name
}
