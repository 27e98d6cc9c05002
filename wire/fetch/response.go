package fetch

import (
	"fmt"
	"math"

	"github.com/gregor-broker/gregor/wire"
	"github.com/gregor-broker/gregor/wire/prim"
)

// Response is what a Fetch response says; a field is left out in versions that do not have it.
type Response struct {
	ThrottleMs    int32
	ErrorCode     int16
	SessionID     int32 // 0 for none
	Topics        []TopicResponse
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
	PartitionIndex       int32
	ErrorCode            int16
	HighWatermark        int64
	LastStableOffset     int64                // -1 if unknown
	LogStartOffset       int64                // -1 if unknown
	Aborted              []AbortedTransaction // nil for null: not read committed
	PreferredReadReplica int32                // -1 for none
	Records              [][]byte             // spans that follow each other; none is an empty record set
	Release              func()               // nil, or called once when the spans are no longer needed
	DivergingEpoch       EpochEnd
	CurrentLeader        wire.Leader
	SnapshotID           EpochEnd
}

// AbortedTransaction is a transaction whose records a read-committed consumer drops.
type AbortedTransaction struct {
	ProducerID  int64
	FirstOffset int64
}

// EpochEnd is the end offset of a leader epoch, of a diverging log (KIP-595) or of a snapshot (KIP-630). The zero value is
// not sent.
type EpochEnd struct {
	Set       bool
	Epoch     int32
	EndOffset int64
}

// AppendResponse lays out the body of the response in p, in the version, which must be one of MinVersion to MaxVersion. p
// takes over the records' releases, whatever the outcome. More than 2 GiB of records in one partition is an error.
func AppendResponse(p *wire.Payload, version int16, s *Response) error {
	e := encoder{version: version, flexible: version >= FlexibleFrom, p: p, b: p.Buffer()}
	e.b = prim.AppendInt32(e.b, s.ThrottleMs)
	if version >= firstSessions {
		e.b = prim.AppendInt16(e.b, s.ErrorCode)
		e.b = prim.AppendInt32(e.b, s.SessionID)
	}
	e.array(len(s.Topics))
	for i := range s.Topics {
		t := &s.Topics[i]
		switch {
		case version >= firstTopicIDs:
			e.b = prim.AppendUUID(e.b, t.ID)
		case e.flexible:
			e.b = prim.AppendCompactString(e.b, string(t.Name))
		default:
			e.b = prim.AppendString(e.b, string(t.Name))
		}
		e.array(len(t.Partitions))
		for j := range t.Partitions {
			e.partition(&t.Partitions[j])
		}
		if e.flexible {
			e.b = prim.AppendTags0(e.b)
		}
	}
	switch {
	case version >= firstNodes:
		e.b = wire.AppendNodeEndpoints(e.b, s.NodeEndpoints)
	case e.flexible:
		e.b = prim.AppendTags0(e.b)
	}
	p.SetBuffer(e.b)
	return e.err
}

// encoder holds the payload's buffer while it is being appended to.
type encoder struct {
	version  int16
	flexible bool
	p        *wire.Payload
	b        []byte
	err      error
}

func (e *encoder) array(n int) {
	if e.flexible {
		e.b = prim.AppendCompactArrayLen(e.b, n)
	} else {
		e.b = prim.AppendArrayLen(e.b, n)
	}
}

func (e *encoder) partition(t *PartitionResponse) {
	e.b = prim.AppendInt32(e.b, t.PartitionIndex)
	e.b = prim.AppendInt16(e.b, t.ErrorCode)
	e.b = prim.AppendInt64(e.b, t.HighWatermark)
	e.b = prim.AppendInt64(e.b, t.LastStableOffset)
	if e.version >= firstLogStart {
		e.b = prim.AppendInt64(e.b, t.LogStartOffset)
	}
	if t.Aborted == nil {
		e.array(-1)
	} else {
		e.array(len(t.Aborted))
	}
	for i := range t.Aborted {
		e.b = prim.AppendInt64(e.b, t.Aborted[i].ProducerID)
		e.b = prim.AppendInt64(e.b, t.Aborted[i].FirstOffset)
		if e.flexible {
			e.b = prim.AppendTags0(e.b)
		}
	}
	if e.version >= firstRack {
		e.b = prim.AppendInt32(e.b, t.PreferredReadReplica)
	}
	e.records(t)
	if e.flexible {
		e.tags(t)
	}
}

func (e *encoder) records(t *PartitionResponse) {
	size := 0
	for _, span := range t.Records {
		size += len(span)
	}
	if size >= math.MaxInt32 && e.err == nil {
		e.err = fmt.Errorf("fetch response: partition %d has %d bytes of records, expected less than %d", t.PartitionIndex, size, math.MaxInt32)
	}
	if e.flexible {
		e.b = prim.AppendUvarint(e.b, uint32(size)+1)
	} else {
		e.b = prim.AppendInt32(e.b, int32(size))
	}
	e.p.SetBuffer(e.b)
	for _, span := range t.Records {
		e.p.Span(span, nil)
	}
	// The release comes last: a span before it may belong to the same view.
	e.p.Span(nil, t.Release)
	e.b = e.p.Buffer()
}

func (e *encoder) tags(t *PartitionResponse) {
	n := uint32(0)
	for _, set := range [...]bool{t.DivergingEpoch.Set, t.CurrentLeader.Set, t.SnapshotID.Set} {
		if set {
			n++
		}
	}
	e.b = prim.AppendUvarint(e.b, n)
	if d := t.DivergingEpoch; d.Set {
		e.b = prim.AppendTag(e.b, 0, 13)
		e.b = prim.AppendInt32(e.b, d.Epoch)
		e.b = prim.AppendInt64(e.b, d.EndOffset)
		e.b = prim.AppendTags0(e.b)
	}
	if t.CurrentLeader.Set {
		e.b = wire.AppendLeader(e.b, 1, t.CurrentLeader)
	}
	if d := t.SnapshotID; d.Set {
		e.b = prim.AppendTag(e.b, 2, 13)
		e.b = prim.AppendInt64(e.b, d.EndOffset)
		e.b = prim.AppendInt32(e.b, d.Epoch)
		e.b = prim.AppendTags0(e.b)
	}
}
