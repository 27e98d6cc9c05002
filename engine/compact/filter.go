package compact

import (
	"math"

	"github.com/gregor-broker/gregor/engine/batch"
)

// DecompressLimit is the most a single batch may decompress to, in bytes: a few bytes can stand for a lot. A log with
// a larger one is not compacted.
const DecompressLimit = 256 << 20

// keepBytes is the largest buffer that is kept for the next batch.
const keepBytes = 4 << 20

// scratch is memory that is used again for each batch.
type scratch struct {
	records []batch.RawRecord
	kept    []batch.RawRecord
	plain   []byte
	packed  []byte
}

func (s *scratch) read(b batch.Batch) (err error) {
	s.records, s.plain, err = b.RawRecords(s.records[:0], s.plain, DecompressLimit)
	return err
}

// trim gives back what an unusually large batch took.
func (s *scratch) trim() {
	if cap(s.plain) > keepBytes {
		s.plain = nil
	}
	if cap(s.packed) > keepBytes {
		s.packed = nil
	}
	if cap(s.records) > 1<<16 {
		s.records, s.kept = nil, nil
	}
}

// Mapper fills an OffsetMap with the keys of the dirty part of a log (Cleaner.buildOffsetMap). It is not safe for
// concurrent use.
type Mapper struct {
	Map   *OffsetMap
	Txns  *Transactions
	Start int64 // the first dirty offset: records below it count for nothing

	// Records is the number of records that were looked at.
	Records int64

	scratch
}

// Add takes the next batch, whose checksum was verified. full says that the map had no room for all of its keys: it
// then knows the log up to its Latest. Batches of aborted transactions have no keys.
func (m *Mapper) Add(b batch.Batch) (full bool, err error) {
	discard, err := m.Txns.Next(b)
	if err != nil {
		return false, err
	}
	m.Records += int64(b.RecordCount())
	if !discard && !b.IsControl() {
		if err := m.read(b); err != nil {
			return false, err
		}
		defer m.trim()
		for i := range m.records {
			r := &m.records[i]
			if r.Key != nil && r.Offset >= m.Start && !m.Map.Put(r.Key, r.Offset) {
				return true, nil
			}
		}
	}
	if b.LastOffset() >= m.Start {
		m.Map.Note(b.LastOffset())
	}
	return false, nil
}

// LastRecord is what a log knows of a producer that is still active.
type LastRecord struct {
	// DataOffset is the last offset of its last batch with records, negative when there is none of its epoch.
	DataOffset int64
	Epoch      int16
}

// Stats counts what a Filter has seen and left.
type Stats struct {
	Batches, Records, Bytes             int64
	KeptBatches, KeptRecords, KeptBytes int64
	// Keyless are records without a key, which a compacted log cannot keep.
	Keyless int64
}

// Filter decides what stays of each batch of a log that is walked in order. It is not safe for concurrent use.
type Filter struct {
	Map  *OffsetMap
	Txns *Transactions
	// NowMs is when the cleaning began; DeleteRetentionMs is delete.retention.ms.
	NowMs, DeleteRetentionMs int64
	// UpTo is where the cleaning ends (the first uncleanable offset): the batch in front of it stays, empty if
	// need be, so that no offset is forgotten.
	UpTo int64
	// Active looks an active producer up; ok is false for one that is not known.
	Active func(producerID int64) (last LastRecord, ok bool)

	Stats Stats

	scratch
}

// Batch appends to dst what stays of b, whose checksum was verified: b as it is, a smaller batch with the same
// offsets, an empty one, or nothing. last says that b must leave something whatever becomes of its records: it is
// the end of what is rewritten together.
//
// A record stays when it is the last of its key, or lies behind what the map knows. A null value, a tombstone,
// stays until the batch's delete horizon, which is set when a batch with a tombstone is cleaned for the first
// time. A transaction marker whose transaction has left nothing is given a horizon in the same way and goes with
// it. The last batch of an active producer keeps its sequence number.
func (f *Filter) Batch(dst []byte, b batch.Batch, last bool) ([]byte, error) {
	f.Stats.Batches++
	f.Stats.Records += int64(b.RecordCount())
	f.Stats.Bytes += int64(len(b))
	canDiscard, err := f.Txns.Next(b)
	if err != nil {
		return dst, err
	}
	expired := b.HasDeleteHorizon() && b.BaseTimestamp() <= f.NowMs
	discard := canDiscard && (!b.IsControl() || expired)
	if discard {
		return f.empty(dst, b, last), nil
	}
	if err := f.read(b); err != nil {
		return dst, err
	}
	defer f.trim()
	kept, tombstones := f.records, false
	if !b.IsControl() {
		kept, tombstones = f.pick(expired)
	} else {
		for i := range kept {
			tombstones = tombstones || kept[i].Null
		}
	}
	if len(kept) == 0 {
		return f.empty(dst, b, last), nil
	}
	horizon := int64(-1)
	begin := (tombstones || canDiscard && b.IsControl()) && !b.HasDeleteHorizon()
	switch {
	case begin:
		horizon = f.NowMs + min(max(f.DeleteRetentionMs, 0), math.MaxInt64-f.NowMs)
	case b.HasDeleteHorizon():
		horizon = b.BaseTimestamp()
	}
	before := len(dst)
	if len(kept) == len(f.records) && !begin {
		dst = append(dst, b...)
	} else if dst, f.packed, err = batch.AppendRetained(dst, b, kept, horizon, f.packed); err != nil {
		return dst, err
	}
	f.Stats.KeptBatches++
	f.Stats.KeptRecords += int64(len(kept))
	f.Stats.KeptBytes += int64(len(dst) - before)
	return dst, nil
}

// pick chooses the records of the batch at hand that stay.
func (f *Filter) pick(expired bool) (kept []batch.RawRecord, tombstones bool) {
	f.kept = f.kept[:0]
	for i := range f.records {
		r := &f.records[i]
		if r.Offset <= f.Map.Latest() {
			if r.Key == nil {
				f.Stats.Keyless++
				continue
			}
			if r.Offset < f.Map.Get(r.Key) || r.Null && expired {
				continue
			}
		}
		tombstones = tombstones || r.Null
		f.kept = append(f.kept, *r)
	}
	return f.kept, tombstones
}

// empty is the end of a batch that keeps no record.
func (f *Filter) empty(dst []byte, b batch.Batch, last bool) []byte {
	if !last && b.NextOffset() != f.UpTo && !f.lastOfProducer(b) {
		return dst
	}
	f.Stats.KeptBatches++
	f.Stats.KeptBytes += batch.HeaderSize
	return batch.AppendEmpty(dst, b)
}

// lastOfProducer says whether b is what an active producer is known by: its last batch with records, or without one
// the marker with its epoch.
func (f *Filter) lastOfProducer(b batch.Batch) bool {
	if !b.HasProducerID() || f.Active == nil {
		return false
	}
	last, ok := f.Active(b.ProducerID())
	switch {
	case !ok:
		return false
	case last.DataOffset >= 0:
		return b.LastOffset() == last.DataOffset
	}
	return b.IsControl() && b.ProducerEpoch() == last.Epoch
}
