package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// keyedRetention is the delete.retention.ms of the model's log.
const keyedRetention = 5000

// keyedWorld is a store with one compacted log on a fake disk, and all that was ever appended to it.
type keyedWorld struct {
	rng    *rand.Rand
	disk   *simfs.FS
	wrap   func(vfs.FS) vfs.FS // puts something between store and disk
	clock  *clock.Manual
	store  *Store
	log    *Log
	config LogConfig
	opt    CleanerOptions

	batches []modelBatch            // in order; what compaction took away among them
	records map[int64][]keyedRecord // of each, by base offset
	end     int64
	must    int64 // what lies below was acknowledged
	kept    int64 // what lies below was written before a process was killed

	start, startMax int64
	cleaned         int64           // the highest checkpoint that was seen
	horizons        map[int64]int64 // of tombstones that were seen with one, by offset
	next            map[int64]int32
	open            map[int64]bool
	cuts            int
	cutting         bool  // the power is about to go
	sealed          int64 // what lies below may have been cleaned
	settled         int64 // the highest high watermark a cleaning may have seen

	script []string
}

func newKeyedWorld(seed uint64) *keyedWorld {
	w := &keyedWorld{rng: rand.New(rand.NewPCG(seed, 2)), clock: clock.NewManual(epochStart), horizons: map[int64]int64{}, records: map[int64][]keyedRecord{}}
	w.disk = simfs.New(simfs.Options{Seed: seed, LogLimit: 1000})
	w.config = LogConfig{SegmentBytes: 1024 << w.rng.IntN(3), SegmentIndexBytes: 1 << 12, IndexIntervalBytes: 128 << w.rng.IntN(3), Compact: true,
		RetentionMs: -1, RetentionBytes: -1, FileDeleteDelayMs: 1000, SegmentMs: 1 << 40, DeleteRetentionMs: keyedRetention, MinCleanableDirtyRatio: 0.1}
	w.opt = CleanerOptions{Backoff: time.Second, IOBufferBytes: 8192}
	if w.rng.IntN(3) == 0 {
		w.opt.DedupeBufferBytes = 24 * 8 // 7 keys: several passes
	}
	w.replay()
	if err := errors.Join(w.disk.MkdirAll("/data", 0o755), w.disk.SyncDir("/"), w.reopen()); err != nil {
		panic(err)
	}
	return w
}

func (w *keyedWorld) abandon() {
	if w.store != nil {
		w.store.Abandon()
	}
}

func (w *keyedWorld) say(format string, args ...any) {
	w.script = append(w.script, fmt.Sprintf(format, args...))
}

// reopen opens the store and its log, which may not exist yet.
func (w *keyedWorld) reopen() (err error) {
	w.log = nil
	disk := vfs.FS(w.disk)
	if w.wrap != nil {
		disk = w.wrap(disk)
	}
	w.store, err = Open(Options{FS: disk, Clock: w.clock, Dirs: []string{"/data"}, Manual: true, SyncWorkers: 1, Cleaner: w.opt})
	if err != nil {
		return err
	}
	w.store.random = func(n int64) int64 { return w.rng.Int64N(n + 1) }
	if _, err = w.disk.Stat("/data/k-0"); err != nil {
		if len(w.batches) > 0 && !errors.Is(err, simfs.ErrPowerOff) {
			return fmt.Errorf("the log is gone: %w", errModel)
		}
		w.log, err = w.store.CreateLog("/data", "k-0", ID{3}, w.config)
		return err
	}
	w.log, err = w.store.OpenLog("/data", "k-0", w.config)
	if err != nil && !errors.Is(err, simfs.ErrPowerOff) {
		err = fmt.Errorf("%w: %w", errModel, err)
	}
	return err
}

// replay finds the state of producers.
func (w *keyedWorld) replay() {
	w.next, w.open = map[int64]int32{}, map[int64]bool{}
	for _, b := range w.batches {
		w.note(b.bytes)
	}
}

func (w *keyedWorld) note(b batch.Batch) {
	switch {
	case !b.HasProducerID():
	case b.IsControl():
		w.open[b.ProducerID()] = false
	default:
		w.next[b.ProducerID()] = b.LastSequence() + 1
		if b.IsTransactional() {
			w.open[b.ProducerID()] = true
		}
	}
}

func (w *keyedWorld) cut(end int64) {
	n := len(w.batches)
	for n > 0 && w.batches[n-1].last >= end {
		n--
	}
	for _, b := range w.batches[n:] {
		delete(w.records, b.base)
	}
	w.batches = w.batches[:n]
	w.end, w.must = end, min(w.must, end)
	w.cleaned, w.sealed = min(w.cleaned, end), min(w.sealed, end)
	w.replay()
}

// make builds the next batch.
func (w *keyedWorld) make() batch.Batch {
	now := w.clock.Now().UnixMilli()
	if w.rng.IntN(5) == 0 {
		for _, id := range slices.Sorted(maps.Keys(w.open)) {
			if w.open[id] && w.rng.IntN(2) == 0 {
				return batch.EndTransactionMarker(w.rng.IntN(2) == 0, 0, id, 0, now)
			}
		}
	}
	packed := codec.None
	if w.rng.IntN(4) == 0 {
		packed = codec.Type(w.rng.IntN(5))
	}
	b := batch.NewBuilder(packed)
	records := 1 + w.rng.IntN(5)
	switch kind := w.rng.IntN(3); kind {
	case 1, 2:
		id := int64(10*kind + 1 + w.rng.IntN(3))
		b.Producer(id, 0, w.next[id])
		if kind == 2 {
			b.Transactional()
		}
	}
	for i := range records {
		key := fmt.Appendf(nil, "key-%d", w.rng.IntN(14))
		var value []byte
		if w.rng.IntN(4) > 0 {
			value = fmt.Appendf(nil, "%d.%d %s", len(w.batches), i, strings.Repeat("x", w.rng.IntN(60)))
		}
		var headers []batch.Header
		if w.rng.IntN(5) == 0 {
			headers = []batch.Header{{Key: "h", Value: key}, {Key: "null"}}
		}
		b.Append(now+int64(w.rng.IntN(5)), key, value, headers...)
	}
	return b.Bytes()
}

func (w *keyedWorld) append() error {
	b := w.make()
	w.say("append [%d, %d] of producer %d, control %v, transactional %v", w.end, w.end+int64(b.LastOffsetDelta()), b.ProducerID(), b.IsControl(), b.IsTransactional())
	b.SetBaseOffset(w.end)
	b.SetLeaderEpoch(1)
	w.batches = append(w.batches, modelBatch{w.end, b.LastOffset(), bytes.Clone(b)})
	records, err := recordsOf(b)
	if err != nil {
		return err
	}
	w.records[w.end] = records
	w.end = b.NextOffset()
	w.note(b)
	done := make(waitChannel, 1)
	_, err = w.log.Append(b, AppendOptions{LeaderEpoch: 1, Origin: producer.Coordinator}, done)
	if err == nil {
		err = <-done
	}
	if err == nil {
		w.must = w.end
	}
	return err
}

// attempt does one random thing.
func (w *keyedWorld) attempt() error {
	w.clock.Advance(time.Duration(w.rng.IntN(200)) * time.Millisecond)
	switch n := w.rng.IntN(100); {
	case n < 75:
		return w.append()
	case n < 88:
		w.clock.Advance(time.Duration(1000+w.rng.IntN(4000)) * time.Millisecond)
		return w.jobs()
	case n < 90:
		w.say("checkpoint")
		return w.store.dirs[0].checkpointRecovery(true)
	case n < 92:
		high := w.log.High()
		at := w.start + w.rng.Int64N(high-w.start+1)/8
		w.say("delete records below %d", at)
		w.startMax = max(w.startMax, at)
		got, err := w.log.DeleteRecordsBefore(at)
		if err == nil {
			w.start, w.startMax = got, got
		}
		return err
	case n < 95:
		return w.truncate()
	case n < 96:
		w.config.MinCompactionLagMs = int64(w.rng.IntN(2) * 3000)
		w.config.Compact = w.rng.IntN(4) > 0
		w.say("min.compaction.lag.ms %d, compact %v", w.config.MinCompactionLagMs, w.config.Compact)
		w.log.SetConfig(w.config)
		return nil
	case n < 98:
		w.say("kill")
		after := w.disk.KillClone()
		w.abandon()
		w.disk, w.kept = after, w.end
		if w.cutting {
			w.disk.PowerOffAfter(1 + w.rng.IntN(100))
		}
		return w.back()
	}
	w.say("clean stop")
	if err := w.store.Close(4); err != nil {
		return err
	}
	w.must = w.end
	return w.back()
}

func (w *keyedWorld) jobs() error {
	w.run()
	if err := w.store.Failed("/data"); err != nil {
		return err
	}
	if _, err := w.disk.Stat("/data"); err != nil {
		return err // the power went in a read
	}
	if w.log.uncleanable.Load() {
		return fmt.Errorf("the log was called uncleanable: %w", errModel)
	}
	return w.verify()
}

// run does the jobs and notes what they may have touched.
func (w *keyedWorld) run() {
	w.say("jobs at %d", w.clock.Now().UnixMilli())
	w.settled = max(w.settled, w.log.High())
	w.sealed = max(w.sealed, w.log.active().Base())
	w.store.RunJobs()
}

func (w *keyedWorld) truncate() error {
	live := w.batches
	if len(live) < 5 {
		return nil
	}
	at := live[len(live)-1-w.rng.IntN(min(len(live), 30)-1)].base
	if at < max(w.start, w.settled) {
		return nil // nobody truncates what was committed
	}
	w.say("truncate to %d", at)
	w.must = min(w.must, at)
	if err := w.log.Truncate(at); err != nil {
		return err
	}
	if end := w.log.End(); end != at {
		// What lay in front of it was compacted away.
		w.say("the log ends at %d", end)
		at = end
	}
	w.cut(at)
	w.must, w.cleaned = at, min(w.cleaned, at)
	// Old batches that end above it left nothing; new ones take their offsets.
	return nil
}

// back opens what a process left and looks at it.
func (w *keyedWorld) back() error {
	if err := w.reopen(); err != nil {
		return err
	}
	err := w.verify()
	w.kept = 0
	return err
}

// verify compares the open log with all that was appended.
func (w *keyedWorld) verify() error {
	l := w.log
	fail := func(format string, args ...any) error {
		err := fmt.Errorf(format, args...)
		if errors.Is(err, simfs.ErrPowerOff) {
			return err
		}
		return fmt.Errorf("[%d, %d), expected [%d..%d, %d..%d): %w: %w", l.Start(), l.End(), w.start, w.startMax, w.must, w.end, err, errModel)
	}
	if s := l.Start(); s < w.start || s > w.startMax {
		return fail("the start is wrong")
	}
	w.start = l.Start()
	if l.End() < max(w.must, w.kept) || l.End() > w.end {
		return fail("the end is wrong")
	}
	w.cut(l.End())
	if l.High() != w.end {
		return fail("the high watermark is %d", l.High())
	}
	found, err := readBatches(l, w.start)
	if err != nil {
		return fail("%w", err)
	}
	records, err := w.compare(found)
	if err != nil {
		return fail("%w", err)
	}
	if err := w.compareViews(found, records); err != nil {
		return fail("%w", err)
	}
	if err := w.compareProducers(); err != nil {
		return fail("%w", err)
	}
	entries, err := w.disk.ReadDir(l.path)
	if err != nil {
		return fail("%w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), segment.SwapSuffix) || strings.HasSuffix(e.Name(), segment.CleanedSuffix) {
			return fail("%s is left", e.Name())
		}
	}
	w.cleaned = max(w.cleaned, w.store.dirs[0].cleanedTo("k-0"))
	return nil
}

// readBatches reads a whole log from offset on.
func readBatches(l *Log, at int64) ([]batch.Batch, error) {
	var out []batch.Batch
	for at < l.High() {
		p, err := readAt(l, at, 700)
		if err != nil {
			return nil, err
		}
		if len(p) == 0 {
			break // nothing behind it is left
		}
		for len(p) > 0 {
			b, rest, err := batch.Next(p)
			if err != nil {
				return nil, fmt.Errorf("read at %d: %w", at, err)
			}
			if err := b.CheckCRC(); err != nil {
				return nil, fmt.Errorf("read at %d: %w", at, err)
			}
			if b.LastOffset() < at {
				return nil, fmt.Errorf("read at %d: batch [%d, %d]", at, b.BaseOffset(), b.LastOffset())
			}
			out, p, at = append(out, bytes.Clone(b)), rest, b.NextOffset()
		}
	}
	return out, nil
}

type keyedRecord struct {
	offset, timestamp int64
	key, value        string
	null              bool
	headers           string
}

func recordsOf(b batch.Batch) ([]keyedRecord, error) {
	var out []keyedRecord
	err := b.Each(1<<20, func(r *batch.Record) error {
		one := keyedRecord{offset: r.Offset, timestamp: r.Timestamp, key: string(r.Key), value: string(r.Value), null: r.Value == nil}
		for _, h := range r.Headers {
			one.headers += h.Key + "=" + string(h.Value) + ";"
		}
		out = append(out, one)
		return nil
	})
	return out, err
}

// compare finds every batch among those that were appended, and every record in it.
func (w *keyedWorld) compare(found []batch.Batch) (map[int64]keyedRecord, error) {
	byBase := map[int64]batch.Batch{}
	for _, b := range w.batches {
		byBase[b.base] = b.bytes
	}
	records := map[int64]keyedRecord{}
	for _, b := range found {
		was := byBase[b.BaseOffset()]
		if was == nil || was.LastOffset() != b.LastOffset() || was.ProducerID() != b.ProducerID() || was.BaseSequence() != b.BaseSequence() ||
			was.ProducerEpoch() != b.ProducerEpoch() || was.LeaderEpoch() != b.LeaderEpoch() || was.IsControl() != b.IsControl() || was.IsTransactional() != b.IsTransactional() {
			return nil, fmt.Errorf("batch %s, appended was %s", describeBatch(b), describeBatch(was))
		}
		if b.RecordCount() > 0 && was.Codec() != b.Codec() {
			return nil, fmt.Errorf("codec of batch %s, appended was %s", describeBatch(b), describeBatch(was))
		}
		mine, err := recordsOf(b)
		if err != nil {
			return nil, err
		}
		theirs := w.records[b.BaseOffset()]
		largest := int64(-1)
		for _, r := range mine {
			if !slices.Contains(theirs, r) {
				return nil, fmt.Errorf("record %+v of batch %s, appended was %s", r, describeBatch(b), describeBatch(was))
			}
			if !b.IsControl() {
				records[r.offset] = r
			}
			largest = max(largest, r.timestamp)
			if r.null && b.HasDeleteHorizon() {
				w.horizons[r.offset] = b.BaseTimestamp()
			}
		}
		if len(mine) > 0 && largest != b.MaxTimestamp() {
			return nil, fmt.Errorf("the largest timestamp of %s is %d", describeBatch(b), largest)
		}
	}
	return records, nil
}

// compareViews checks what readers see: the last value of every key, of all records and of those that were
// committed, and tombstones for as long as they are promised.
func (w *keyedWorld) compareViews(found []batch.Batch, records map[int64]keyedRecord) error {
	aborted, stable := w.outcome()
	if got := w.log.Stable(); got != stable {
		return fmt.Errorf("last stable offset %d, expected %d", got, stable)
	}
	want := map[string]keyedRecord{}
	for _, b := range w.batches {
		for _, r := range w.records[b.base] {
			if b.bytes.IsControl() || aborted[b.base] || r.offset < w.start {
				continue
			}
			// A power cut may have come between a cleaning and its checkpoint.
			if _, left := records[r.offset]; !left && r.offset >= max(w.cleaned, w.cleanedNow()) && (!w.cutting || r.offset >= w.sealed) {
				return fmt.Errorf("record %+v is gone although nothing was cleaned there", r)
			}
			if r.offset < stable {
				want[r.key] = r
			}
		}
	}
	list, err := w.log.AbortedTransactions(w.start, max(stable, w.start))
	if err != nil {
		return err
	}
	view := map[string]keyedRecord{}
	out := map[int64]bool{} // producers in an aborted transaction, as a client knows them
	for _, b := range found {
		if b.BaseOffset() >= stable {
			break
		}
		for len(list) > 0 && list[0].FirstOffset <= b.LastOffset() {
			out[list[0].ProducerID] = true
			list = list[1:]
		}
		if b.IsControl() {
			if commit, _, err := batch.EndTransaction(b); err == nil && !commit {
				delete(out, b.ProducerID())
			}
			continue
		}
		if b.IsTransactional() && out[b.ProducerID()] {
			continue
		}
		mine, err := recordsOf(b)
		if err != nil {
			return err
		}
		for _, r := range mine {
			if r.offset >= w.start {
				view[r.key] = r
			}
		}
	}
	for key, r := range want {
		got, ok := view[key]
		switch {
		case ok && got == r:
		case !ok && r.null && w.horizons[r.offset] > 0 && w.horizons[r.offset] <= w.clock.Now().UnixMilli():
			// A tombstone that has done its work, and nothing older came back.
		default:
			return fmt.Errorf("key %s is %+v, %v, expected %+v with horizon %d", key, got, ok, r, w.horizons[r.offset])
		}
	}
	for key, r := range view {
		if _, ok := want[key]; !ok {
			return fmt.Errorf("key %s is %+v, expected none", key, r)
		}
	}
	return nil
}

func (w *keyedWorld) cleanedNow() int64 { return w.store.dirs[0].cleanedTo("k-0") }

// outcome says which batches were aborted, by base offset, and what the last stable offset is.
func (w *keyedWorld) outcome() (aborted map[int64]bool, stable int64) {
	aborted = map[int64]bool{}
	open := map[int64][]int64{}
	for _, b := range w.batches {
		switch id := b.bytes.ProducerID(); {
		case b.bytes.IsControl():
			if commit, _, err := batch.EndTransaction(b.bytes); err == nil && !commit {
				for _, base := range open[id] {
					aborted[base] = true
				}
			}
			delete(open, id)
		case b.bytes.IsTransactional():
			open[id] = append(open[id], b.base)
		}
	}
	stable = w.end
	for _, list := range open {
		stable = min(stable, list[0])
	}
	return aborted, stable
}

// compareProducers checks that the last batch of every producer is known still.
func (w *keyedWorld) compareProducers() error {
	last := map[int64]modelBatch{}
	for _, b := range w.batches {
		if b.bytes.HasProducerID() && !b.bytes.IsControl() {
			last[b.bytes.ProducerID()] = b
		}
	}
	for id, b := range last {
		p, ok := w.log.write.producers.Lookup(id)
		if !ok && b.last < w.start {
			continue
		}
		if !ok || p.LastSequence != b.bytes.LastSequence() || p.LastOffset != b.last {
			return fmt.Errorf("producer %d: %+v, %v, expected sequence %d at offset %d", id, p, ok, b.bytes.LastSequence(), b.last)
		}
	}
	return nil
}
