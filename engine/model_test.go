package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/segment"
)

// modelBatch is a batch that a log took in, with its final bytes.
type modelBatch struct {
	base, last int64
	bytes      batch.Batch
}

// modelLog is what a log must hold whatever happens to it: the batches below
// must for certain, those above perhaps, nothing else.
type modelLog struct {
	name    string
	config  LogConfig
	batches []modelBatch // in order, deleted ones too: they count for producers
	end     int64
	must    int64 // what lies below was acknowledged
	kept    int64 // what lies below was written before a process was killed

	start, startMax int64 // the start that was acknowledged, and how far one may have been tried

	exists  bool // creation was acknowledged
	maybe   bool // creation was tried
	leaving bool // deletion was tried
	forgot  bool // producers of batches that are gone may be unknown

	epoch   int32
	next    map[int64]int32 // idempotent producers' next sequence number
	open    map[int64]bool  // transactional producers with an open transaction
	pending []modelBatch    // of the append under way
}

func (m *modelLog) relaxed() bool { return m.config.relaxed() }

// cut takes away what is at or above end.
func (m *modelLog) cut(end int64) {
	n := len(m.batches)
	for n > 0 && m.batches[n-1].last >= end {
		n--
	}
	m.batches = m.batches[:n]
	m.end, m.must = end, end
	m.replay()
}

func (m *modelLog) clone() *modelLog {
	c := *m
	c.batches = slices.Clone(m.batches)
	c.replay()
	return &c
}

// replay finds the producers' state from the batches.
func (m *modelLog) replay() {
	m.next, m.open = map[int64]int32{}, map[int64]bool{}
	for _, b := range m.batches {
		m.note(b.bytes)
	}
}

func (m *modelLog) note(b batch.Batch) {
	switch {
	case !b.HasProducerID():
	case b.IsControl():
		m.open[b.ProducerID()] = false
	default:
		m.next[b.ProducerID()] = b.LastSequence() + 1
		if b.IsTransactional() {
			m.open[b.ProducerID()] = true
		}
	}
}

// aborted and stable say what read_committed readers must be told.
func (m *modelLog) aborted() (txns []AbortedTxn, stable int64) {
	first := map[int64]int64{}
	for _, b := range m.batches {
		switch id := b.bytes.ProducerID(); {
		case !b.bytes.IsTransactional():
		case b.bytes.IsControl():
			commit, _, err := batch.EndTransaction(b.bytes)
			if at, ok := first[id]; ok && err == nil && !commit {
				txns = append(txns, AbortedTxn{ProducerID: id, FirstOffset: at, LastOffset: b.base})
			}
			delete(first, id)
		default:
			if _, ok := first[id]; !ok {
				first[id] = b.base
			}
		}
	}
	stable = m.end
	for _, at := range first {
		stable = min(stable, at)
	}
	return txns, stable
}

// verify compares an open log with the model; what the log is found to hold
// becomes the model's truth. Nothing may be in flight.
func (m *modelLog) verify(l *Log) error {
	start, end := l.Start(), l.End()
	fail := func(format string, args ...any) error {
		return fmt.Errorf("log %s [%d, %d), expected [%d..%d, %d..%d): %w", m.name, start, end, m.start, m.startMax, m.must, m.end, fmt.Errorf(format, args...))
	}
	if start < m.start || start > m.startMax {
		return fail("the start is wrong")
	}
	if end < start || end < max(m.must, m.kept) {
		return fail("acknowledged records are lost")
	}
	if end > m.end {
		return fail("records out of nothing")
	}
	if m.relaxed() && end == start && max(m.must, m.kept) < end {
		// A log whose synced part ended below its start begins anew.
		m.batches, m.forgot = nil, true
	}
	m.cut(end)
	if len(m.batches) > 0 && m.batches[len(m.batches)-1].last+1 != end {
		return fail("the end is inside of a batch")
	}
	m.start = start
	if err := m.verifyReads(l); err != nil {
		return fail("%w", err)
	}
	if err := m.verifyState(l); err != nil {
		return fail("%w", err)
	}
	return nil
}

// live are the batches with an offset at or above the start.
func (m *modelLog) live() []modelBatch {
	i := 0
	for i < len(m.batches) && m.batches[i].last < m.start {
		i++
	}
	return m.batches[i:]
}

func (m *modelLog) verifyReads(l *Log) error {
	live := m.live()
	for _, b := range live {
		for at := max(b.base, m.start); at <= b.last; at++ {
			got, err := readAt(l, at, 1)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, b.bytes) {
				return fmt.Errorf("read at %d: %d bytes that are not the %d of the batch [%d, %d]", at, len(got), len(b.bytes), b.base, b.last)
			}
		}
	}
	if len(live) == 0 {
		return nil
	}
	var want []byte
	for _, b := range live {
		want = append(want, b.bytes...)
	}
	var got []byte
	for at := m.start; at < m.end; {
		p, err := readAt(l, at, 1500)
		if err != nil {
			return err
		}
		b := batch.Batch(nil)
		for rest := p; len(rest) > 0; {
			if b, rest, err = batch.Next(rest); err != nil {
				return fmt.Errorf("read at %d: %w", at, err)
			}
		}
		if b == nil {
			return fmt.Errorf("read at %d: nothing", at)
		}
		got, at = append(got, p...), b.NextOffset()
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes in all, expected %d", len(got), len(want))
	}
	return nil
}

func readAt(l *Log, at int64, most int) ([]byte, error) {
	v, err := l.Read(at, ReadOptions{MaxBytes: most, AtLeastOne: true})
	if err != nil {
		return nil, fmt.Errorf("read at %d: %w", at, err)
	}
	defer v.Release()
	return bytes.Join(v.Spans, nil), nil
}

func (m *modelLog) verifyState(l *Log) error {
	live := m.live()
	// Timestamps: every batch has one of its own, its maximum.
	for i := 0; i < len(live); i += 1 + len(live)/4 {
		ts := live[i].bytes.MaxTimestamp()
		var want *modelBatch
		for j := range live {
			if live[j].bytes.MaxTimestamp() >= ts {
				want = &live[j]
				break
			}
		}
		found, ok, err := l.OffsetForTimestamp(ts)
		if err != nil {
			return fmt.Errorf("timestamp %d: %w", ts, err)
		}
		if !ok || found.Offset < want.base || found.Offset > want.last {
			return fmt.Errorf("timestamp %d: %+v, %v, expected one of [%d, %d]", ts, found, ok, want.base, want.last)
		}
	}
	for _, b := range live {
		if got := l.EpochForOffset(max(b.base, m.start)); got != b.bytes.LeaderEpoch() {
			return fmt.Errorf("epoch of %d: %d, expected %d; %v", b.base, got, b.bytes.LeaderEpoch(), l.write.epochs.Entries())
		}
	}
	txns, stable := m.aborted()
	if got := l.Stable(); !m.forgot && got != stable {
		return fmt.Errorf("last stable offset %d, expected %d", got, stable)
	}
	txns = slices.DeleteFunc(txns, func(t AbortedTxn) bool { return t.LastOffset < m.start })
	got, err := l.AbortedTransactions(m.start, m.end)
	if err != nil {
		return err
	}
	for i := range got {
		got[i].LastStableOffset = 0
	}
	slices.SortFunc(txns, func(a, b AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	if !m.forgot && !slices.Equal(got, txns) {
		return fmt.Errorf("aborted transactions %v, expected %v", got, txns)
	}
	if m.forgot {
		return nil
	}
	last := map[int64]modelBatch{}
	for _, b := range m.batches {
		if b.bytes.HasProducerID() && !b.bytes.IsControl() {
			last[b.bytes.ProducerID()] = b
		}
	}
	for id, b := range last {
		p, ok := l.write.producers.Lookup(id)
		if !ok || p.LastSequence != b.bytes.LastSequence() || p.LastOffset != b.last {
			return fmt.Errorf("producer %d: %+v, %v, expected sequence %d at offset %d", id, p, ok, b.bytes.LastSequence(), b.last)
		}
	}
	return nil
}

// verifyFiles looks for files that should not be there after a recovery.
func (m *modelLog) verifyFiles(l *Log) error {
	entries, err := l.store.opt.FS.ReadDir(l.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		at, suffix, ok := segment.ParseName(e.Name())
		if ok && suffix == segment.SnapshotSuffix && at > m.end {
			return fmt.Errorf("log %s: %s stands beyond the end %d", m.name, e.Name(), m.end)
		}
		if strings.HasSuffix(e.Name(), segment.SwapSuffix) {
			return fmt.Errorf("log %s: %s is left", m.name, e.Name())
		}
	}
	return nil
}

// modelBatches makes the bytes of one append: several batches of plain,
// idempotent or transactional producers.
func (m *modelLog) modelBatches(rng *rand.Rand, now int64) []byte {
	var p []byte
	m.pending = m.pending[:0]
	n := 1
	if rng.IntN(3) == 0 {
		n = 1 + rng.IntN(4)
	}
	end := m.end
	next, open := map[int64]int32{}, map[int64]bool{}
	for range n {
		b := batch.NewBuilder(codec.None)
		records := 1 + rng.IntN(3)
		kind := rng.IntN(4)
		id := int64(1 + rng.IntN(2))
		switch kind {
		case 1:
			id += 10
		case 2:
			id += 20
			b.Transactional()
		}
		if kind == 1 || kind == 2 {
			seq, ok := next[id]
			if !ok {
				seq = m.next[id]
			}
			b.Producer(id, 0, seq)
			next[id] = seq + int32(records)
		}
		value := make([]byte, rng.IntN(200))
		if rng.IntN(8) == 0 {
			value = make([]byte, rng.IntN(500))
		}
		for i := range value {
			value[i] = byte(rng.Uint32())
		}
		for i := range records {
			b.Append(now+int64(i), nil, value[:len(value)/(i+1)])
		}
		one := b.Bytes()
		if kind == 3 {
			id += 20
			if isOpen, ok := open[id]; isOpen || !ok && m.open[id] {
				one = batch.EndTransactionMarker(rng.IntN(2) == 0, 0, id, 0, now)
				open[id] = false
			}
		}
		if kind == 2 {
			open[id] = true
		}
		one.SetBaseOffset(end)
		one.SetLeaderEpoch(m.epoch)
		m.pending = append(m.pending, modelBatch{end, one.LastOffset(), one})
		end = one.NextOffset()
		p = append(p, one...)
	}
	return p
}
