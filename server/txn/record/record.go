package record

import (
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/wire/prim"
)

// Version is the newest version of a value. Version 0 has no tagged fields; it is what a cluster writes whose
// finalized transaction.version is 0.
const Version = 1

// None is the producer id, and with its type the producer epoch, that there is not.
const None = -1

// keyType is the type of the only key there is (CoordinatorRecordType.TRANSACTION_LOG).
const keyType = 0

var (
	// ErrUnknown says that a key or a value is of a version this package does not know. Kafka skips such records.
	ErrUnknown = errors.New("unknown version of a transaction record")
	// ErrMalformed says that the bytes are no transaction record.
	ErrMalformed = errors.New("malformed transaction record")
)

// State is the state of a transaction (TransactionState in Kafka).
type State int8

// States of a transaction. Dead and PrepareEpochFence are only ever pending in Kafka and never written by it.
const (
	Empty             State = 0 // the producer was initialized and has not begun a transaction
	Ongoing           State = 1
	PrepareCommit     State = 2 // decided; markers are under way
	PrepareAbort      State = 3 // decided; markers are under way
	CompleteCommit    State = 4
	CompleteAbort     State = 5
	Dead              State = 6 // the id has expired
	PrepareEpochFence State = 7 // an older producer is being fenced
)

var names = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}

// String is the state's name in DescribeTransactions and ListTransactions.
func (s State) String() string {
	if s.Valid() {
		return names[s]
	}
	return fmt.Sprintf("State(%d)", int8(s))
}

// Valid says whether s is one of the states.
func (s State) Valid() bool { return s >= 0 && int(s) < len(names) }

// StateByName finds the state with exactly this name.
func StateByName(name string) (s State, ok bool) {
	for i, n := range names {
		if n == name {
			return State(i), true
		}
	}
	return 0, false
}

// Topic names partitions of one topic.
type Topic struct {
	Name       string
	Partitions []int32
}

// Value is the state of one transactional id (TransactionLogValue). The fields marked with a tag are not in
// version 0; they are None and 0 there.
type Value struct {
	ProducerID         int64
	PreviousProducerID int64 // tag 0: the producer id before ProducerID took its place because of exhausted epochs
	NextProducerID     int64 // tag 1: the producer id that takes ProducerID's place when the markers are written
	ProducerEpoch      int16
	NextProducerEpoch  int16 // tag 3: of NextProducerID; Kafka 4.3 leaves it None
	TimeoutMs          int32 // transaction.timeout.ms of the producer
	State              State
	Topics             []Topic // nil, which is null, where State is Empty
	UpdatedMs          int64   // of the last change, ms since 1970
	StartedMs          int64   // of the transaction, ms since 1970, -1 for none
	ClientVersion      int16   // tag 2: the transaction.version the client worked by
}

// AppendKey appends the key of a transactional id.
func AppendKey(dst []byte, transactionalID string) []byte {
	return prim.AppendString(prim.AppendInt16(dst, keyType), transactionalID)
}

// DecodeKey reads a key. Errors: ErrUnknown for another type of key, ErrMalformed.
func DecodeKey(p []byte) (transactionalID string, err error) {
	r := prim.NewReader(p)
	typ := r.Int16()
	if r.Err() == nil && typ != keyType {
		return "", fmt.Errorf("%w: key of type %d, expected %d", ErrUnknown, typ, keyType)
	}
	transactionalID = r.String()
	if err := r.Err(); err != nil {
		return "", fmt.Errorf("%w: key: %w", ErrMalformed, err)
	}
	return transactionalID, nil
}

// AppendValue appends v in a version, 0 or 1; tagged fields with their default value are left out, as Kafka
// leaves them out. It panics on another version.
func AppendValue(dst []byte, v *Value, version int16) []byte {
	if version < 0 || version > Version {
		panic(fmt.Sprintf("record: version %d of a transaction record, expected 0 to %d", version, Version))
	}
	flexible := version >= 1
	dst = prim.AppendInt16(dst, version)
	dst = prim.AppendInt64(dst, v.ProducerID)
	dst = prim.AppendInt16(dst, v.ProducerEpoch)
	dst = prim.AppendInt32(dst, v.TimeoutMs)
	dst = prim.AppendInt8(dst, int8(v.State))
	n := len(v.Topics)
	if v.Topics == nil {
		n = -1
	}
	dst = appendCount(dst, n, flexible)
	for i := range v.Topics {
		t := &v.Topics[i]
		if flexible {
			dst = prim.AppendCompactString(dst, t.Name)
		} else {
			dst = prim.AppendString(dst, t.Name)
		}
		dst = appendCount(dst, len(t.Partitions), flexible)
		for _, p := range t.Partitions {
			dst = prim.AppendInt32(dst, p)
		}
		if flexible {
			dst = prim.AppendTags0(dst)
		}
	}
	dst = prim.AppendInt64(dst, v.UpdatedMs)
	dst = prim.AppendInt64(dst, v.StartedMs)
	if !flexible {
		return dst
	}
	return appendTags(dst, v)
}

func appendCount(dst []byte, n int, flexible bool) []byte {
	if flexible {
		return prim.AppendCompactArrayLen(dst, n)
	}
	return prim.AppendArrayLen(dst, n)
}

func appendTags(dst []byte, v *Value) []byte {
	var count uint32
	for _, set := range [...]bool{v.PreviousProducerID != None, v.NextProducerID != None, v.ClientVersion != 0, v.NextProducerEpoch != None} {
		if set {
			count++
		}
	}
	dst = prim.AppendUvarint(dst, count)
	if v.PreviousProducerID != None {
		dst = prim.AppendInt64(prim.AppendTag(dst, 0, 8), v.PreviousProducerID)
	}
	if v.NextProducerID != None {
		dst = prim.AppendInt64(prim.AppendTag(dst, 1, 8), v.NextProducerID)
	}
	if v.ClientVersion != 0 {
		dst = prim.AppendInt16(prim.AppendTag(dst, 2, 2), v.ClientVersion)
	}
	if v.NextProducerEpoch != None {
		dst = prim.AppendInt16(prim.AppendTag(dst, 3, 2), v.NextProducerEpoch)
	}
	return dst
}

// DecodeValue reads a value and says which version it was. Tagged fields it does not know and bytes behind the
// end are skipped, as Kafka skips them. Errors: ErrUnknown for another version, ErrMalformed. The Value shares
// no memory with p.
func DecodeValue(p []byte) (v *Value, version int16, err error) {
	r := prim.NewReader(p)
	version = r.Int16()
	if r.Err() == nil && (version < 0 || version > Version) {
		return nil, version, fmt.Errorf("%w: value of version %d, expected 0 to %d", ErrUnknown, version, Version)
	}
	flexible := version >= 1
	v = &Value{PreviousProducerID: None, NextProducerID: None, NextProducerEpoch: None}
	v.ProducerID = r.Int64()
	v.ProducerEpoch = r.Int16()
	v.TimeoutMs = r.Int32()
	v.State = State(r.Int8())
	if r.Err() == nil && !v.State.Valid() {
		r.Fail(fmt.Errorf("state %d at byte %d, expected 0 to %d", int8(v.State), r.Offset()-1, len(names)-1))
	}
	v.Topics = readTopics(r, flexible)
	v.UpdatedMs = r.Int64()
	v.StartedMs = r.Int64()
	if flexible {
		r.Tags(func(tag uint32, r *prim.Reader) {
			switch tag {
			case 0:
				v.PreviousProducerID = r.Int64()
			case 1:
				v.NextProducerID = r.Int64()
			case 2:
				v.ClientVersion = r.Int16()
			case 3:
				v.NextProducerEpoch = r.Int16()
			}
		})
	}
	if err := r.Err(); err != nil {
		return nil, version, fmt.Errorf("%w: value: %w", ErrMalformed, err)
	}
	return v, version, nil
}

func readTopics(r *prim.Reader, flexible bool) []Topic {
	n := 0
	if flexible {
		n = r.CompactArrayLen(3)
	} else {
		n = r.ArrayLen(6)
	}
	if n < 0 || r.Err() != nil {
		return nil
	}
	topics := make([]Topic, 0, n)
	for range n {
		var t Topic
		parts := 0
		if flexible {
			t.Name = r.CompactString()
			parts = r.CompactArrayLen(4)
		} else {
			t.Name = r.String()
			parts = r.ArrayLen(4)
		}
		if parts < 0 {
			r.Fail(fmt.Errorf("partitions of topic %q are null at byte %d", t.Name, r.Offset()))
		}
		if r.Err() != nil {
			return nil
		}
		t.Partitions = make([]int32, parts)
		for i := range t.Partitions {
			t.Partitions[i] = r.Int32()
		}
		if flexible {
			r.SkipTags()
		}
		topics = append(topics, t)
	}
	return topics
}
