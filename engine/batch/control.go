package batch

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/engine/codec"
)

// Types of control records (org.apache.kafka.common.record.ControlRecordType). Others may appear and are
// to be skipped.
const (
	ControlAbort          int16 = 0
	ControlCommit         int16 = 1
	ControlLeaderChange   int16 = 2
	ControlSnapshotHeader int16 = 3
	ControlSnapshotFooter int16 = 4
	ControlKRaftVersion   int16 = 5
	ControlKRaftVoters    int16 = 6
)

// ErrControl says that a control batch is needed or malformed.
var ErrControl = errors.New("malformed control batch")

// controlLimit bounds what is decompressed of a control batch, in bytes.
const controlLimit = 1 << 20

// EndTransactionMarker builds the control batch that ends a transaction of producer pid
// (org.apache.kafka.common.record.EndTransactionMarker): one record, no sequence number, timestamp ts in
// milliseconds. Base offset and leader epoch remain to be stamped.
func EndTransactionMarker(commit bool, coordinatorEpoch int32, pid int64, epoch int16, ts int64) Batch {
	typ := ControlAbort
	if commit {
		typ = ControlCommit
	}
	value := make([]byte, 6)
	binary.BigEndian.PutUint32(value[2:], uint32(coordinatorEpoch))
	return NewBuilder(codec.None).Producer(pid, epoch, NoSequence).Transactional().Control().
		Append(ts, ControlKey(typ), value).Bytes()
}

// ControlKey is the key of a control record of the type: version 0 and the type.
func ControlKey(typ int16) []byte {
	return binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(typ))
}

// ControlType is the type of the first record of a control batch. It fails with ErrControl when b is no
// control batch, has no record, or its key is too short.
func ControlType(b Batch) (typ int16, err error) {
	r, err := firstControl(b)
	if err != nil {
		return 0, err
	}
	return int16(binary.BigEndian.Uint16(r.Key[2:])), nil
}

// EndTransaction reads what an ABORT or COMMIT marker says. Values that are longer than version 0 are
// accepted. It fails with ErrControl on any other batch.
func EndTransaction(b Batch) (commit bool, coordinatorEpoch int32, err error) {
	r, err := firstControl(b)
	if err != nil {
		return false, 0, err
	}
	typ := int16(binary.BigEndian.Uint16(r.Key[2:]))
	if typ != ControlAbort && typ != ControlCommit {
		return false, 0, fmt.Errorf("%w: batch at offset %d has type %d, expected %d or %d",
			ErrControl, b.BaseOffset(), typ, ControlAbort, ControlCommit)
	}
	if len(r.Value) < 6 {
		return false, 0, fmt.Errorf("%w: marker at offset %d has a value of %d bytes, expected at least 6",
			ErrControl, b.BaseOffset(), len(r.Value))
	}
	return typ == ControlCommit, int32(binary.BigEndian.Uint32(r.Value[2:])), nil
}

// firstControl reads the first record of a control batch and checks that its key holds a type.
func firstControl(b Batch) (r Record, err error) {
	if !b.IsControl() {
		return r, fmt.Errorf("%w: batch at offset %d has no control attribute", ErrControl, b.BaseOffset())
	}
	if b.RecordCount() < 1 {
		return r, fmt.Errorf("%w: batch at offset %d has no record", ErrControl, b.BaseOffset())
	}
	p := b.Records()
	if b.Codec() != codec.None {
		if p, err = codec.Decompress(nil, b.Codec(), p, controlLimit); err != nil {
			return r, fmt.Errorf("control batch at offset %d: %w", b.BaseOffset(), err)
		}
	}
	if _, err = readRecord(b, p, 0, &r); err != nil {
		return r, fmt.Errorf("control batch at offset %d: %w", b.BaseOffset(), &RecordError{Index: 0, Reason: err})
	}
	if len(r.Key) < 4 {
		return r, fmt.Errorf("%w: key at offset %d has %d bytes, expected at least 4", ErrControl, r.Offset, len(r.Key))
	}
	return r, nil
}
