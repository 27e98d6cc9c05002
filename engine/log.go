package engine

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/commit"
	"github.com/gregor-broker/gregor/engine/epoch"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
)

// Log is one partition's log.
//
// The append lock (write) orders everything that changes the log: appends,
// rolls, truncation, retention, checkpoints. Readers take no lock: they load
// the segment list, an immutable slice, and pin one segment; what they may see
// is bounded by the mark that a sync published.
type Log struct {
	store *Store
	dir   *directory
	name  string
	path  string
	id    ID

	config atomic.Pointer[LogConfig]
	queue  *commit.Queue
	onHigh atomic.Pointer[func(high, bytes int64)]

	segments  atomic.Pointer[[]*segment.Segment] // ascending base; the last one is active
	startAt   atomic.Int64
	endAt     atomic.Int64
	durable   atomic.Int64
	visible   atomic.Pointer[mark] // the high watermark and where it is
	stableAt  atomic.Int64
	removed   atomic.Bool
	undecided atomic.Bool // a transaction is open, or its marker not yet below the high watermark

	transactions *producer.Verifier // shared with the successor

	write struct {
		sync.Mutex
		closed    bool
		producers *producer.Table
		epochs    *epoch.Cache
		// unflushed counts messages since the last sync of a relaxed log.
		unflushed  int64
		flushDue   int64 // ms; zero when nothing waits for flush.ms
		snapshotAt int64 // offset of the newest snapshot file
		jitter     int64 // this log's share of segment.jitter.ms
		rolled     int64 // ms; when the active segment was made or opened
		lastAppend int64 // LogAppendTime never goes back
		// strays are snapshots that are no segment's; the newest checkpoint's is
		// one. Older ones go when the recovery point has moved on.
		strays []int64
		// untidy says that close has files to put in order.
		untidy bool
		cuts   int // truncations, so that a checkpoint notices one
	}

	// syncing is held during a sync, and by a truncation: what a sync that began
	// before publishes would be more than there is after it.
	syncing sync.Mutex
	// sync is the sync under way, guarded by syncing.
	sync struct {
		end      mark
		segments []*segment.Segment // pinned
		names    bool
		begin    mark   // what the sync before covered
		tail     []byte // unsynced.tail
	}
	// oldest is the base of the first segment for certain: removals of earlier
	// ones are durable.
	oldest atomic.Int64

	// unsynced is what the next sync has to cover: written by appenders after
	// the write lock published their bytes, taken by the sync worker.
	unsynced struct {
		sync.Mutex
		end      mark
		segments []*segment.Segment // oldest first; the active one last
		names    bool               // a file was created: its directory entry must be synced too
		// tail is what was appended since the last sync began, for a journal; too
		// little of it where that was much.
		tail []byte
	}

	// cleaning is held by whoever replaces or takes away segments that nobody
	// appends to: a cleaning for all of its time, truncation, retention, deletion.
	// It is taken before the append lock. See clean.go.
	cleaning    sync.Mutex
	stopping    atomic.Int32 // others that wait for a cleaning to stop
	busy        atomic.Bool  // chosen by a cleaner
	uncleanable atomic.Bool  // a cleaning failed in a way that another would too
	unswapped   *swap        // guarded by cleaning
	// checkpointing is held during a checkpoint; taken before the append lock.
	checkpointing sync.Mutex
	snapshots     sync.Mutex          // held while a producer snapshot is written; taken last
	moving        atomic.Bool         // on its way to another directory: not compacted
	successor     atomic.Pointer[Log] // itself, in another directory; set once, before it closes

	// recovery is what a checkpoint would write for this log.
	recovery      atomic.Int64
	sinceRecovery atomic.Int64 // bytes appended above the recovery point
}

// mark is an offset and the place in the files that ends there.
type mark struct {
	offset   int64
	base     int64 // of the segment
	position int64
	total    int64 // bytes appended since the log was opened, up to here
}

// Name is the directory name, topic-partition.
func (l *Log) Name() string { return l.name }

// Dir is the data directory (one of Options.Dirs) that holds the log.
func (l *Log) Dir() string { return l.dir.path }

// ID is the topic id of partition.metadata, zero if there is none.
func (l *Log) ID() ID { return l.id }

// Start is the first offset offered.
func (l *Log) Start() int64 { return l.startAt.Load() }

// End is the offset behind the last appended batch (log end offset).
func (l *Log) End() int64 { return l.endAt.Load() }

// Durable is the offset below which everything is synced.
func (l *Log) Durable() int64 { return l.durable.Load() }

// High is the high watermark: no reader sees an offset at or above it.
func (l *Log) High() int64 { return l.visible.Load().offset }

// Stable is the last stable offset: High, or less while a transaction below
// it is open.
func (l *Log) Stable() int64 {
	// In this order: a transaction that opens in between and becomes visible
	// must not be taken for stable.
	high := l.High()
	return min(high, l.stableAt.Load())
}

// Size is the number of bytes of all segments.
func (l *Log) Size() int64 {
	var n int64
	for _, s := range *l.segments.Load() {
		n += s.Size()
	}
	return n
}

// OnHigh sets the function that is told whenever the high watermark rises: the
// new value and how many bytes have become visible since the log was opened.
// It runs on a sync worker or an appender with no lock held, must only store
// and wake, and may see values out of order.
func (l *Log) OnHigh(f func(high, bytes int64)) { l.onHigh.Store(&f) }

// VisibleBytes is how many bytes have become visible since the log was opened.
func (l *Log) VisibleBytes() int64 { return l.visible.Load().total }

// Config returns the log's configuration with defaults filled in.
func (l *Log) Config() LogConfig { return *l.config.Load() }

// SetConfig changes the configuration from the next append on.
func (l *Log) SetConfig(c LogConfig) {
	c = c.withDefaults()
	l.config.Store(&c)
	l.write.Lock()
	defer l.write.Unlock()
	if n := l.successor.Load(); n != nil {
		n.SetConfig(c)
		return
	}
	l.write.producers.SetExpiration(c.ProducerIDExpirationMs)
	if !c.relaxed() && l.write.unflushed > 0 {
		l.queue.Enqueue(l.endAt.Load(), nil)
	}
	if c.Compact {
		l.store.jobs.cleanSoon()
	}
}

func (l *Log) active() *segment.Segment {
	s := *l.segments.Load()
	return s[len(s)-1]
}

func (l *Log) segmentOptions() segment.Options {
	c := l.config.Load()
	o := segment.Options{FS: l.store.opt.FS, MapBytes: c.SegmentBytes,
		IndexBytes: c.SegmentIndexBytes, IndexIntervalBytes: c.IndexIntervalBytes}
	if cache := l.store.cache; cache != nil {
		o.Cached, o.Bring = cache.peek, cache.bring
	}
	return o
}

// Waiter is told once when what it waits for is durable, or why it never will be.
type Waiter = commit.Waiter

// AppendOptions say how a batch is taken in.
type AppendOptions struct {
	// LeaderEpoch is stamped into the batches.
	LeaderEpoch int32
	// LogAppendTime makes the broker's clock the record time
	// (message.timestamp.type=LogAppendTime).
	LogAppendTime bool
	// Origin decides which producer checks apply.
	Origin producer.Origin
	// MaxBatchBytes refuses larger batches with ErrBatchTooLarge; zero: no limit.
	MaxBatchBytes int
	// Rules are the record rules of the topic; nil skips looking at records.
	Rules *batch.Rules
	// Checked says that the caller has verified the checksums just now.
	Checked bool
	// Verified refuses a batch that would open a transaction without the Guard of
	// its verification (BeginVerification). A coordinator's marker has its
	// TransactionVersion instead (KIP-890).
	Verified           bool
	Guard              Guard
	TransactionVersion int16
	// WaitWritten tells the waiter as soon as the batch is written, without
	// waiting for its sync: for a waiter that does not care.
	WaitWritten bool
}

// Appended is what became of a batch.
type Appended struct {
	BaseOffset, LastOffset int64
	LogAppendTime          int64 // ms, -1 when the records keep their own
	LogStart               int64
	Duplicate              bool // the producer had sent it before; the offsets are those of the first time
}

// Append takes one or more whole batches in, stamps offsets and leader epoch
// into p, writes it and returns; w.Synced is called exactly once when they are
// durable (possibly before Append returns), unless Append returns an error, in
// which case it is never called. Batches in front of the one that failed stay
// appended; clients send one at a time. p may be reused after the return. Safe for concurrent use; batches of one caller keep their
// order.
//
// Errors: batch sentinels and *batch.RecordError for malformed input,
// producer errors, ErrBatchTooLarge, ErrSegmentTooSmall, ErrStorage, ErrClosed.
func (l *Log) Append(p []byte, o AppendOptions, w Waiter) (Appended, error) {
	// What needs only the bytes is done before the lock.
	for rest := p; len(rest) > 0; {
		b, next, err := batch.Next(rest)
		if err != nil {
			return Appended{}, err
		}
		if o.MaxBatchBytes > 0 && len(b) > o.MaxBatchBytes {
			return Appended{}, fmt.Errorf("%w: %d bytes, at most %d", ErrBatchTooLarge, len(b), o.MaxBatchBytes)
		}
		if !o.Checked {
			if err := b.CheckCRC(); err != nil {
				return Appended{}, err
			}
		}
		if o.Rules != nil {
			sum, err := b.ValidateRecords(*o.Rules)
			if err != nil {
				return Appended{}, err
			}
			// A wrong maximum would mislead the time index for ever; the
			// broker corrects it as Kafka's LogValidator does.
			if !o.LogAppendTime && sum.MaxTimestamp != b.MaxTimestamp() && sum.Records == int(b.RecordCount()) {
				b.SetMaxTimestamp(sum.MaxTimestamp)
			}
			if r := o.Rules; r.CheckTimestamps && b.MaxTimestamp() > r.MaxTimestamp {
				return Appended{}, fmt.Errorf("%w: maximum %d, at most %d", batch.ErrTimestamp, b.MaxTimestamp(), r.MaxTimestamp)
			}
		}
		rest = next
	}
	l.write.Lock()
	out, upTo, err := l.appendLocked(p, o)
	relaxed := l.config.Load().relaxed()
	var sync bool
	if err == nil && relaxed {
		sync = l.relaxedFlushDueLocked()
	}
	l.write.Unlock()
	if err != nil {
		if n := l.successor.Load(); n != nil && errors.Is(err, ErrClosed) {
			return n.Append(p, o, w)
		}
		return out, err
	}
	switch {
	case relaxed:
		l.publishHigh()
		if sync {
			l.queue.Enqueue(upTo, nil)
		}
		w.Synced(l.dir.failed())
	case o.WaitWritten:
		l.queue.Enqueue(upTo, nil)
		w.Synced(l.dir.failed())
	default:
		l.queue.Enqueue(upTo, w)
	}
	return out, nil
}

// appendLocked returns the offset that must be durable before the answer.
func (l *Log) appendLocked(p []byte, o AppendOptions) (Appended, int64, error) {
	if l.write.closed {
		return Appended{}, 0, fmt.Errorf("log %s: %w", l.name, ErrClosed)
	}
	if err := l.dir.failed(); err != nil {
		return Appended{}, 0, err
	}
	now := l.store.opt.Clock.Now().UnixMilli()
	out := Appended{BaseOffset: -1, LogAppendTime: -1, LogStart: l.startAt.Load()}
	if o.LogAppendTime {
		now = max(now, l.write.lastAppend)
		l.write.lastAppend = now
		out.LogAppendTime = now
	}
	for rest := p; len(rest) > 0; {
		b, next, err := batch.Next(rest)
		if err != nil {
			return out, 0, err
		}
		if b.HasProducerID() {
			dup, err := l.checkProducer(b, &o, now)
			if err != nil {
				return out, 0, err
			}
			if dup != nil {
				out.Duplicate = true
				out.BaseOffset, out.LastOffset = dup.BaseOffset(), dup.LastOffset
				if o.LogAppendTime {
					out.LogAppendTime = dup.Timestamp
				}
				return out, out.LastOffset + 1, nil
			}
		}
		base := l.endAt.Load()
		b.SetBaseOffset(base)
		b.SetLeaderEpoch(o.LeaderEpoch)
		if o.LogAppendTime {
			b.SetLogAppendTime(now)
		}
		if err := l.takeIn(b, now); err != nil {
			return out, 0, err
		}
		if out.BaseOffset < 0 {
			out.BaseOffset = base
		}
		out.LastOffset = b.LastOffset()
		rest = next
	}
	return out, l.endAt.Load(), nil
}

// takeIn writes one stamped batch and publishes the new end. The order is
// Kafka's UnifiedLog.append: epoch, roll, bytes, producer state.
func (l *Log) takeIn(b batch.Batch, now int64) error {
	if err := l.noteEpoch(b.LeaderEpoch(), b.BaseOffset()); err != nil {
		return err
	}
	seg, err := l.rollFor(b, now)
	if err != nil {
		return err
	}
	if err := seg.Append(b, b.LastOffset(), b.MaxTimestamp()); err != nil {
		return l.writeFailed(err)
	}
	end := b.NextOffset()
	l.endAt.Store(end)
	// Before the new end is published: a sync under way must not raise the
	// high watermark over a transaction that does not count as open yet, nor
	// over an abort that is not in the index.
	var unindexed error
	if b.HasProducerID() {
		done := l.write.producers.Apply(b, now)
		l.transactions.Applied(b)
		l.publishStable()
		if done != nil {
			unindexed = l.completed(seg, done)
		}
	}
	l.unsynced.Lock()
	l.unsynced.end = mark{end, seg.Base(), seg.Size(), l.unsynced.end.total + int64(len(b))}
	if n := len(l.unsynced.segments); n == 0 || l.unsynced.segments[n-1] != seg {
		l.unsynced.segments = append(l.unsynced.segments, seg)
	}
	if l.dir.journaling.Ready() {
		l.keepTail(b)
	}
	l.unsynced.Unlock()
	l.write.unflushed += int64(b.LastOffsetDelta()) + 1
	l.sinceRecovery.Add(int64(len(b)))
	l.write.untidy = true // a recovery point in between does not close the time index
	l.dir.appended(int64(len(b)))
	// The marker is in the log. That its index entry has to wait for space is
	// no failure of the append; the next one or a checkpoint writes it.
	if unindexed != nil && !isNoSpace(unindexed) {
		return l.writeFailed(unindexed)
	}
	return nil
}

// completed records a finished transaction: aborted ones go to the index.
func (l *Log) completed(seg *segment.Segment, done *producer.CompletedTxn) error {
	if !done.Aborted {
		return nil
	}
	stable := l.endAt.Load()
	if first, open := l.write.producers.FirstUndecidedOffset(); open {
		stable = first
	}
	return seg.AppendAborted(producer.AbortedTxn{ProducerID: done.ProducerID, FirstOffset: done.FirstOffset,
		LastOffset: done.LastOffset, LastStableOffset: stable})
}

// writeFailed turns a failed write into ErrStorage. A full disk is passed on
// without more: the bytes are not published, the next append writes over
// them, and all is well when space returns. Anything else ends the directory,
// as a failed sync does.
func (l *Log) writeFailed(err error) error {
	l.write.untidy = true
	if !isNoSpace(err) {
		l.dir.pool.Poison(err)
	}
	return fmt.Errorf("%w: %w", ErrStorage, err)
}

// noteEpoch records the first batch of a leader epoch.
func (l *Log) noteEpoch(e int32, start int64) error {
	if e < 0 || e == l.write.epochs.Latest() {
		return nil
	}
	// Known only once it is stored: the next attempt must store it again.
	before := l.write.epochs.Clone()
	if !l.write.epochs.Assign(e, start) {
		return nil
	}
	if err := l.storeEpochs(); err != nil {
		l.write.epochs = before
		return err
	}
	return nil
}

// relaxedFlushDueLocked says whether flush.messages asks for a sync now, and
// notes when flush.ms will.
func (l *Log) relaxedFlushDueLocked() bool {
	c := l.config.Load()
	if c.FlushMs > 0 && l.write.flushDue == 0 {
		l.write.flushDue = l.store.opt.Clock.Now().UnixMilli() + c.FlushMs
		l.store.jobs.wake(l.write.flushDue)
	}
	if c.FlushMessages > 0 && l.write.unflushed >= c.FlushMessages {
		l.write.unflushed = 0
		return true
	}
	return false
}

// Begin is called by the sync worker: everything appended before the call is
// what this sync covers. The sync lock is held until Finish. Not for other
// callers; see Flush.
func (l *Log) Begin() {
	l.syncing.Lock()
	s := &l.sync
	l.unsynced.Lock()
	s.end = l.unsynced.end
	s.names = l.unsynced.names
	l.unsynced.names = false
	s.tail, l.unsynced.tail = l.unsynced.tail, nil
	for _, seg := range l.unsynced.segments {
		// Deleted while waiting: its records are gone on purpose.
		if seg.Acquire() {
			s.segments = append(s.segments, seg)
		}
	}
	l.unsynced.Unlock()
}

// SyncData syncs the segments of the sync under way, oldest first.
func (l *Log) SyncData() error {
	for _, s := range l.sync.segments {
		if err := s.Sync(); err != nil && !errors.Is(err, segment.ErrRetired) && !l.removed.Load() {
			return err
		}
	}
	return nil
}

// SyncNames syncs the directory if files were created.
func (l *Log) SyncNames() error {
	if !l.sync.names {
		return nil
	}
	if err := l.store.opt.FS.SyncDir(l.path); err != nil && !l.removed.Load() {
		return err
	}
	return nil
}

// Finish ends the sync under way: what it covered is durable, unless err says
// that it failed.
func (l *Log) Finish(err error) int64 {
	defer l.syncing.Unlock()
	end := l.sync.end
	l.dropTail()
	for _, s := range l.sync.segments {
		s.Release()
	}
	clear(l.sync.segments)
	l.sync.segments = l.sync.segments[:0]
	if err != nil {
		return 0
	}
	l.sync.begin = end
	l.unsynced.Lock()
	// Everything before the segment that holds end is complete and synced; that
	// one stays if it may grow or has grown.
	kept := l.unsynced.segments[:0]
	for _, s := range l.unsynced.segments {
		if s.Base() > end.base || s.Base() == end.base && l.unsynced.end != end {
			kept = append(kept, s)
		}
	}
	clear(l.unsynced.segments[len(kept):])
	l.unsynced.segments = kept
	l.unsynced.Unlock()

	for {
		d := l.durable.Load()
		if end.offset <= d || l.durable.CompareAndSwap(d, end.offset) {
			break
		}
	}
	l.raise(end)
	return end.offset
}

// raise publishes a high watermark if it is above the present one.
func (l *Log) raise(m mark) bool {
	for {
		now := l.visible.Load()
		if m.offset <= now.offset {
			return false
		}
		if l.visible.CompareAndSwap(now, &m) {
			return true
		}
	}
}

// Committed is the durable notice of the sync worker.
func (l *Log) Committed(int64) { l.tellHigh() }

func (l *Log) tellHigh() {
	now := l.visible.Load()
	if l.undecided.Load() {
		// A transaction counts as decided once its marker is below the high
		// watermark, not before (KIP-98's first unstable offset).
		l.write.Lock()
		l.write.producers.OnHighWatermark(now.offset)
		l.publishStable()
		l.write.Unlock()
	}
	if f := l.onHigh.Load(); f != nil {
		(*f)(now.offset, now.total)
	}
}

// publishHigh makes everything written visible: relaxed durability only.
func (l *Log) publishHigh() {
	l.unsynced.Lock()
	end := l.unsynced.end
	l.unsynced.Unlock()
	if l.raise(end) {
		l.tellHigh()
	}
}

// publishStable recomputes the last stable offset; the write lock is held.
func (l *Log) publishStable() {
	stable := int64(1<<63 - 1)
	first, open := l.write.producers.FirstUnstableOffset()
	if open {
		stable = first
	}
	l.undecided.Store(open)
	l.stableAt.Store(stable)
}

// Flush makes everything appended so far durable and waits for it.
func (l *Log) Flush() error {
	l.unsynced.Lock()
	end := l.unsynced.end.offset
	l.unsynced.Unlock()
	done := make(waitChannel, 1)
	l.queue.Enqueue(end, done)
	return <-done
}

type waitChannel chan error

// Synced hands the outcome to the waiting goroutine.
func (c waitChannel) Synced(err error) { c <- err }
