package producer

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/gregor-broker/gregor/engine/batch"
)

const (
	snapshotVersion   = 1
	snapshotHeader    = 2 + 4 + 4 // version, CRC-32C of all that follows it, number of entries
	snapshotEntrySize = 46
	crcEnd            = 6
)

// Encode appends the Table as the content of a .snapshot file, version 1: entries by ascending producer
// id, each with its last batch only.
func (t *Table) Encode(dst []byte) []byte {
	start := len(dst)
	dst = slices.Grow(dst, snapshotHeader+len(t.producers)*snapshotEntrySize)
	dst = binary.BigEndian.AppendUint16(dst, snapshotVersion)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.producers)))
	for _, e := range t.sorted() {
		p := e.describe()
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.ID))
		dst = binary.BigEndian.AppendUint16(dst, uint16(p.Epoch))
		dst = binary.BigEndian.AppendUint32(dst, uint32(p.LastSequence))
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.LastOffset))
		dst = binary.BigEndian.AppendUint32(dst, uint32(p.OffsetDelta))
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.Timestamp))
		dst = binary.BigEndian.AppendUint32(dst, uint32(p.CoordinatorEpoch))
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.TxnFirstOffset))
	}
	out := dst[start:]
	binary.BigEndian.PutUint32(out[2:], batch.Checksum(out[crcEnd:]))
	return dst
}

// Decode replaces the Table by the content of a .snapshot file, which was seen at nowMs by the broker's
// clock: producers count as idle from then on. Errors are ErrSnapshot with the position, and leave the
// Table as it was. A file with more entries than the Table may hold is cut down to those seen last.
func (t *Table) Decode(p []byte, nowMs int64) error {
	if len(p) < snapshotHeader {
		return fmt.Errorf("%w: %d bytes, expected at least %d", ErrSnapshot, len(p), snapshotHeader)
	}
	if v := binary.BigEndian.Uint16(p); v != snapshotVersion {
		return fmt.Errorf("%w: version %d at byte 0, expected %d", ErrSnapshot, v, snapshotVersion)
	}
	if want, got := binary.BigEndian.Uint32(p[2:]), batch.Checksum(p[crcEnd:]); want != got {
		return fmt.Errorf("%w: checksum %08x at byte 2, expected %08x for the %d bytes after it", ErrSnapshot, want, got, len(p)-crcEnd)
	}
	count := int64(int32(binary.BigEndian.Uint32(p[crcEnd:])))
	if body := int64(len(p) - snapshotHeader); count < 0 || count*snapshotEntrySize != body {
		return fmt.Errorf("%w: count %d at byte %d, expected %d bytes for each, found %d in all", ErrSnapshot, count, crcEnd, snapshotEntrySize, body)
	}
	entries := make([]*entry, 0, count)
	seen := make(map[int64]*entry, count)
	for at := snapshotHeader; at < len(p); at += snapshotEntrySize {
		e, err := decodeEntry(p[at : at+snapshotEntrySize])
		if err != nil {
			return fmt.Errorf("%w: entry at byte %d: %w", ErrSnapshot, at, err)
		}
		if seen[e.id] != nil {
			return fmt.Errorf("%w: entry at byte %d: producer %d is there twice, expected once", ErrSnapshot, at, e.id)
		}
		e.seen = nowMs
		seen[e.id] = e
		entries = append(entries, e)
	}
	high := t.high
	t.Reset()
	t.high = high
	t.producers = seen
	slices.SortStableFunc(entries, func(a, b *entry) int { // the longest idle first
		switch {
		case a.timestamp < b.timestamp:
			return -1
		case a.timestamp > b.timestamp:
			return 1
		}
		return 0
	})
	var firsts []int64
	for _, e := range entries {
		if e.txnFirst == none {
			t.link(e)
		} else {
			firsts = append(firsts, e.txnFirst)
		}
	}
	slices.Sort(firsts)
	for _, first := range firsts {
		t.open(first)
	}
	t.evict(0)
	return nil
}

// decodeEntry reads one entry. Kafka writes -1 for a batch, a marker or a transaction that there is not.
func decodeEntry(p []byte) (*entry, error) {
	e := &entry{
		id:               int64(binary.BigEndian.Uint64(p)),
		epoch:            int16(binary.BigEndian.Uint16(p[8:])),
		timestamp:        int64(binary.BigEndian.Uint64(p[26:])),
		coordinatorEpoch: int32(binary.BigEndian.Uint32(p[34:])),
		txnFirst:         int64(binary.BigEndian.Uint64(p[38:])),
	}
	m := Meta{
		LastSequence: int32(binary.BigEndian.Uint32(p[10:])),
		LastOffset:   int64(binary.BigEndian.Uint64(p[14:])),
		OffsetDelta:  int32(binary.BigEndian.Uint32(p[22:])),
		Timestamp:    e.timestamp,
	}
	switch {
	case e.id < 0:
		return nil, fmt.Errorf("producer id %d, expected at least 0", e.id)
	case m.LastOffset >= 0 && (m.OffsetDelta < 0 || int64(m.OffsetDelta) > m.LastOffset):
		return nil, fmt.Errorf("offset delta %d, expected 0 to %d", m.OffsetDelta, m.LastOffset)
	case m.LastSequence < batch.NoSequence:
		return nil, fmt.Errorf("last sequence %d, expected at least -1", m.LastSequence)
	}
	if e.txnFirst < 0 {
		e.txnFirst = none
	}
	if m.LastOffset >= 0 {
		e.push(m)
	}
	return e, nil
}

// AbortedTxn is one entry of a segment's aborted transaction index (AbortedTxn in Kafka).
type AbortedTxn struct {
	ProducerID       int64
	FirstOffset      int64 // of the transaction
	LastOffset       int64 // of its marker
	LastStableOffset int64 // of the log when the marker was appended
}

// AbortedSize is the number of bytes of an entry of a .txnindex file.
const AbortedSize = 34

// AppendAborted appends t as an entry of a .txnindex file, version 0.
func AppendAborted(dst []byte, t AbortedTxn) []byte {
	dst = binary.BigEndian.AppendUint16(dst, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.ProducerID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.FirstOffset))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.LastOffset))
	return binary.BigEndian.AppendUint64(dst, uint64(t.LastStableOffset))
}

// DecodeAborted reads the entry of a .txnindex file at the start of p. Errors are ErrTxnIndex: too few
// bytes, a version above 0, a negative offset or one that comes before another it must follow.
func DecodeAborted(p []byte) (AbortedTxn, error) {
	if len(p) < AbortedSize {
		return AbortedTxn{}, fmt.Errorf("%w: %d bytes, expected %d", ErrTxnIndex, len(p), AbortedSize)
	}
	if v := binary.BigEndian.Uint16(p); v != 0 {
		return AbortedTxn{}, fmt.Errorf("%w: version %d at byte 0, expected 0", ErrTxnIndex, v)
	}
	t := AbortedTxn{
		ProducerID:       int64(binary.BigEndian.Uint64(p[2:])),
		FirstOffset:      int64(binary.BigEndian.Uint64(p[10:])),
		LastOffset:       int64(binary.BigEndian.Uint64(p[18:])),
		LastStableOffset: int64(binary.BigEndian.Uint64(p[26:])),
	}
	if t.ProducerID < 0 || t.FirstOffset < 0 || t.LastOffset < t.FirstOffset || t.LastStableOffset < 0 {
		return AbortedTxn{}, fmt.Errorf("%w: producer %d, offsets %d to %d, stable %d, expected none negative and in order",
			ErrTxnIndex, t.ProducerID, t.FirstOffset, t.LastOffset, t.LastStableOffset)
	}
	return t, nil
}
