package fsck

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	group "github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/server/meta"
	txn "github.com/gregor-broker/gregor/server/txn/record"
	"github.com/gregor-broker/gregor/wire/prim"
)

// decoded is what Kafka's own records say: in words, and for programs.
type decoded struct {
	words      string
	key, value any // nil where there is nothing but words
}

// decode reads what Kafka itself wrote; the zero value for a user's record.
func (d *dumper) decode(b batch.Batch, r *batch.Record) decoded {
	topic, _, _, _ := parsePartition(d.partition)
	switch {
	case b.IsControl():
		return decodeControl(r)
	case d.partition == metadataName:
		m, err := meta.Decode(r.Value)
		if err != nil {
			return decoded{words: "not decoded: " + err.Error()}
		}
		return decoded{meta.RecordName(m.Key()) + " " + words(m), nil, named{meta.RecordName(m.Key()), m}}
	case topic == "__consumer_offsets":
		return decodeGroup(r)
	case topic == "__transaction_state":
		return decodeTransaction(r)
	case topic == "__share_group_state":
		return decodeShare(r)
	}
	return decoded{}
}

// named is a record with the name of its type.
type named struct {
	Type   string `json:"type"`
	Fields any    `json:"fields"`
}

func decodeControl(r *batch.Record) decoded {
	typ, err := meta.ControlType(r.Key)
	if err != nil {
		return decoded{words: "control record: " + err.Error()}
	}
	if typ == batch.ControlAbort || typ == batch.ControlCommit {
		word := "ABORT"
		if typ == batch.ControlCommit {
			word = "COMMIT"
		}
		if len(r.Value) < 6 {
			return decoded{words: word + " with a value that is too short"}
		}
		epoch := int32(binary.BigEndian.Uint32(r.Value[2:]))
		return decoded{fmt.Sprintf("%s coordinatorEpoch=%d", word, epoch), nil, named{word, map[string]int32{"coordinatorEpoch": epoch}}}
	}
	m, err := meta.DecodeControl(typ, r.Value)
	if errors.Is(err, meta.ErrUnknownControl) {
		return decoded{words: fmt.Sprintf("control record of type %d, not decoded", typ)}
	}
	if err != nil {
		return decoded{words: "control record: " + err.Error()}
	}
	name := strings.TrimPrefix(fmt.Sprintf("%T", m), "*meta.")
	return decoded{name + " " + words(m), nil, named{name, m}}
}

// failed is a record that could not be read.
func failed(kind string, err error, r *batch.Record) decoded {
	return decoded{words: fmt.Sprintf("%s, not decoded: %v; key %x value %x", kind, err, r.Key, r.Value)}
}

func decodeGroup(r *batch.Record) decoded {
	key, value, err := group.Decode(r.Key, r.Value)
	if err != nil {
		return failed("group record", err, r)
	}
	var b strings.Builder
	b.WriteString(key.Type.String())
	for _, f := range [...][2]string{{"group", key.Group}, {"member", key.Member}, {"topic", key.Topic}, {"regex", key.Regex}} {
		if f[1] != "" || f[0] == "group" {
			fmt.Fprintf(&b, " %s=%s", f[0], f[1])
		}
	}
	if key.Topic != "" {
		fmt.Fprintf(&b, " partition=%d", key.Partition)
	}
	out := decoded{key: named{key.Type.String(), key}}
	if value == nil {
		b.WriteString(" tombstone")
	} else {
		b.WriteString(" " + words(value))
		out.value = value
	}
	if k, v, err := group.JSON(r.Key, r.Value); err == nil {
		out.key = json.RawMessage(k)
		if v != "" {
			out.value = json.RawMessage(v)
		}
	}
	out.words = b.String()
	return out
}

func decodeTransaction(r *batch.Record) decoded {
	id, err := txn.DecodeKey(r.Key)
	if err != nil {
		return failed("transaction record", err, r)
	}
	key := map[string]string{"transactionalId": id}
	if r.Value == nil {
		return decoded{fmt.Sprintf("TransactionLog transactionalId=%s tombstone", id), key, nil}
	}
	v, version, err := txn.DecodeValue(r.Value)
	if err != nil {
		return failed("transaction record of "+id, err, r)
	}
	return decoded{fmt.Sprintf("TransactionLog transactionalId=%s version=%d %s", id, version, words(v)), key, v}
}

// shareBatch is a run of offsets of a share partition in one state.
type shareBatch struct {
	FirstOffset, LastOffset int64
	DeliveryState           int8
	DeliveryCount           int16
}

// shareState is a record of __share_group_state (ShareSnapshotValue,
// ShareUpdateValue).
type shareState struct {
	SnapshotEpoch         int32
	StateEpoch            int32 // of a snapshot only
	LeaderEpoch           int32
	StartOffset           int64
	DeliveryCompleteCount int32
	CreateTimestamp       int64 // of a snapshot only
	WriteTimestamp        int64 // of a snapshot only
	StateBatches          []shareBatch
}

func decodeShare(r *batch.Record) decoded {
	k := prim.NewReader(r.Key)
	typ := k.Int16()
	key := struct {
		GroupID   string
		TopicID   meta.UUID
		Partition int32
	}{k.String(), k.UUID(), k.Int32()}
	name := map[int16]string{0: "ShareSnapshot", 1: "ShareUpdate"}[typ]
	switch err := k.Err(); {
	case err != nil:
		return failed("share group record", err, r)
	case name == "":
		return failed("share group record", fmt.Errorf("key of type %d", typ), r)
	}
	head := fmt.Sprintf("%s group=%s topicId=%s partition=%d ", name, key.GroupID, key.TopicID, key.Partition)
	if r.Value == nil {
		return decoded{head + "tombstone", named{name, key}, nil}
	}
	v := shareState{DeliveryCompleteCount: -1, CreateTimestamp: -1, WriteTimestamp: -1, StateEpoch: -1}
	p := prim.NewReader(r.Value)
	if version := p.Int16(); version != 0 && p.Err() == nil {
		return failed(name, fmt.Errorf("value of version %d", version), r)
	}
	v.SnapshotEpoch = p.Int32()
	if typ == 0 {
		v.StateEpoch = p.Int32()
	}
	v.LeaderEpoch, v.StartOffset = p.Int32(), p.Int64()
	if typ == 0 {
		v.CreateTimestamp, v.WriteTimestamp = p.Int64(), p.Int64()
	}
	for range max(p.CompactArrayLen(20), 0) {
		v.StateBatches = append(v.StateBatches, shareBatch{p.Int64(), p.Int64(), p.Int8(), p.Int16()})
		p.SkipTags()
	}
	p.Tags(func(tag uint32, r *prim.Reader) {
		if tag == 0 {
			v.DeliveryCompleteCount = r.Int32()
		}
	})
	if err := p.Err(); err != nil {
		return failed(name, err, r)
	}
	return decoded{head + words(&v), named{name, key}, &v}
}

// stamp gives milliseconds as UTC.
func stamp(ms int64) string {
	if ms < 0 || ms > 253402300799999 {
		return fmt.Sprint(ms)
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
