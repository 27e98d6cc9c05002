package producer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/engine/batch"
)

// The .snapshot file (Kafka's ProducerStateManager, version 1):
//
//	version i16 | crc-32c u32 of what follows | count i32 | count entries
//
// and an entry, 46 bytes:
//
//	producer id i64, epoch i16, last sequence i32, last offset i64,
//	offset delta i32, timestamp i64, coordinator epoch i32,
//	first offset of the open transaction i64 (-1: none)
const (
	snapshotVersion = 1
	snapshotHeader  = 2 + 4 + 4
	snapshotEntry   = 46
)

// ErrSnapshot is wrapped by every error of Decode.
var ErrSnapshot = errors.New("malformed producer snapshot")

// Encode appends the table as the content of a .snapshot file, entries by
// producer id. Of each producer only the last batch goes in, as in Kafka.
func (t *Table) Encode(dst []byte) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, snapshotVersion)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.producers)))
	for _, id := range t.ids() {
		s := t.producers[id]
		last := Meta{LastOffset: -1, LastSequence: -1, Timestamp: s.lastTimestamp}
		if s.count > 0 {
			last = s.batches[s.count-1]
		}
		dst = binary.BigEndian.AppendUint64(dst, uint64(id))
		dst = binary.BigEndian.AppendUint16(dst, uint16(s.epoch))
		dst = binary.BigEndian.AppendUint32(dst, uint32(last.LastSequence))
		dst = binary.BigEndian.AppendUint64(dst, uint64(last.LastOffset))
		dst = binary.BigEndian.AppendUint32(dst, uint32(last.OffsetDelta))
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.lastTimestamp))
		dst = binary.BigEndian.AppendUint32(dst, uint32(s.coordinatorEpoch))
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.txnFirst))
	}
	binary.BigEndian.PutUint32(dst[start+2:], batch.Checksum(dst[start+6:]))
	return dst
}

// Decode replaces the table by the content of a .snapshot file, leaving out
// producers that expired before nowMs.
func (t *Table) Decode(p []byte, nowMs int64) error {
	if len(p) < snapshotHeader {
		return fmt.Errorf("%w: expected at least %d bytes, found %d", ErrSnapshot, snapshotHeader, len(p))
	}
	if v := binary.BigEndian.Uint16(p); v != snapshotVersion {
		return fmt.Errorf("%w: position 0: expected version %d, found %d", ErrSnapshot, snapshotVersion, v)
	}
	if want, got := binary.BigEndian.Uint32(p[2:]), batch.Checksum(p[6:]); want != got {
		return fmt.Errorf("%w: position 2: crc %08x, computed %08x", ErrSnapshot, want, got)
	}
	count := int(int32(binary.BigEndian.Uint32(p[6:])))
	if p = p[snapshotHeader:]; count < 0 || len(p) != count*snapshotEntry {
		return fmt.Errorf("%w: position 6: %d entries do not fill the %d bytes that follow", ErrSnapshot, count, len(p))
	}
	t.producers, t.open, t.completed = make(map[int64]*state, count), nil, nil
	for ; len(p) > 0; p = p[snapshotEntry:] {
		id := int64(binary.BigEndian.Uint64(p))
		s := &state{
			epoch:            int16(binary.BigEndian.Uint16(p[8:])),
			lastTimestamp:    int64(binary.BigEndian.Uint64(p[26:])),
			coordinatorEpoch: int32(binary.BigEndian.Uint32(p[34:])),
			txnFirst:         int64(binary.BigEndian.Uint64(p[38:])),
		}
		last := Meta{LastSequence: int32(binary.BigEndian.Uint32(p[10:])), LastOffset: int64(binary.BigEndian.Uint64(p[14:])),
			OffsetDelta: int32(binary.BigEndian.Uint32(p[22:])), Timestamp: s.lastTimestamp}
		if last.LastOffset >= 0 {
			s.add(last)
		}
		if t.expired(s, nowMs) {
			continue
		}
		t.producers[id] = s
		if s.txnFirst >= 0 {
			if t.open == nil {
				t.open = map[int64]int64{}
			}
			t.open[id] = s.txnFirst
		}
	}
	return nil
}

// AbortedTxn is an entry of .txnindex.
type AbortedTxn struct {
	ProducerID       int64
	FirstOffset      int64
	LastOffset       int64 // of the abort marker
	LastStableOffset int64 // when the marker was appended
}

// AbortedSize is the size of an entry: version i16 (0) and four i64.
const AbortedSize = 34

// AppendAborted appends an entry.
func AppendAborted(dst []byte, t AbortedTxn) []byte {
	dst = binary.BigEndian.AppendUint16(dst, 0)
	for _, v := range []int64{t.ProducerID, t.FirstOffset, t.LastOffset, t.LastStableOffset} {
		dst = binary.BigEndian.AppendUint64(dst, uint64(v))
	}
	return dst
}

// DecodeAborted reads one entry.
func DecodeAborted(p []byte) (AbortedTxn, error) {
	if len(p) < AbortedSize {
		return AbortedTxn{}, fmt.Errorf("expected %d bytes, found %d", AbortedSize, len(p))
	}
	if v := binary.BigEndian.Uint16(p); v != 0 {
		return AbortedTxn{}, fmt.Errorf("expected version 0, found %d", v)
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(p[2+8*i:])) }
	return AbortedTxn{at(0), at(1), at(2), at(3)}, nil
}
