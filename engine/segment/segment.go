package segment

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/index"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// ErrRetired is returned when a segment is read after its log let go of it.
var ErrRetired = errors.New("segment is retired")

// Options are the sizes a segment is opened with.
type Options struct {
	FS                 vfs.FS
	MapBytes           int64 // segment.bytes: the mapping's length for an active segment
	IndexBytes         int64 // segment.index.bytes
	IndexIntervalBytes int64 // index.interval.bytes
	// Cached may have a copy of the first of n bytes at position of a segment, by
	// its generation: then the disk is not asked for them. It may be nil, and answer nil.
	Cached func(generation uint32, position int64, n int) []byte
	// Bring is told that a lookup of a few headers is about to bring these bytes in,
	// from the disk unless the mapping has them: a reader of the same bytes will find
	// them in memory. It may be nil.
	Bring func(generation uint32, position int64, n int, m vfs.Mapping)
}

var generations atomic.Uint32

// Segment is one run of batches with its indexes.
//
// Who may call what: Append, Seal, Truncate, Recover and Scan belong to one
// writer at a time, the holder of the log's append lock. Reads (Locate, Span,
// Lookup..., under Acquire) may run beside it and see what the writer had
// published before. Sync may run beside both.
type Segment struct {
	dir        string
	base       int64
	cleaned    bool                   // written by compaction, in place of others
	suffix     atomic.Pointer[string] // behind the .log's name, until a cleaned segment has taken its place
	generation atomic.Uint32
	opt        Options

	offsets *index.Offsets
	times   *index.Times

	// size is the number of bytes readers may see; the writer stores it after
	// the bytes are in the file.
	size atomic.Int64
	// maxTimestamp and its offset are of all batches; guarded by stat.
	stat           sync.Mutex
	maxTimestamp   int64
	offsetOfMax    int64
	timesLoaded    bool
	opened         int64  // the size when opened: below it pages may be cold
	sinceIndex     int64  // bytes since the last index entry; writer only
	overhang       bool   // a failed write may have left bytes behind size; writer only
	firstTimestamp int64  // of the first batch: segment.ms counts from it; -1 unknown
	txnSuffix      string // as suffix, of the transaction index
	aborted        []producer.AbortedTxn
	abortedLoaded  bool
	abortedInFile  int
	abortedHeld    bool          // during a recovery: StoreAborted writes
	abortedDamage  *DamagedError // of the file, behind the entries that were loaded

	files  sync.Mutex // guards file, mapping, old, dead
	file   vfs.File
	window atomic.Pointer[window]
	old    []vfs.Mapping // replaced by a longer mapping, still pinned by readers
	dead   bool
	gone   bool // renamed or moved: the names may be another file's

	// refs counts the log's own reference and one per reader. It never rises
	// from zero.
	refs     atomic.Int32
	onUnused func()
}

// idling stands in refs while Idle gives handles back.
const idling = -1 << 30

// window is the current mapping; bytes is nil when the process is out of
// mappings and reads go through ReadAt.
type window struct {
	mapping vfs.Mapping
	bytes   []byte
}

// Create makes the empty files of a new segment; their names are durable after
// the caller's SyncDir. A file of that name that holds bytes is an error:
// nothing is ever overwritten.
func Create(dir string, base int64, opt Options) (*Segment, error) {
	name := FileName(dir, base, LogSuffix)
	f, err := opt.FS.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("segment %s: create: %w", name, err)
	}
	size, err := f.Size()
	if err == nil && size != 0 {
		err = fmt.Errorf("expected no such file, found %d bytes", size)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("segment %s: create: %w", name, err)
	}
	s, err := open(dir, base, 0, "", opt)
	if err != nil {
		f.Close()
		return nil, err
	}
	s.file = f
	s.timesLoaded, s.abortedLoaded = true, true
	// An index left by an earlier life of this base offset describes nothing.
	if err := errors.Join(s.offsets.Create(), s.times.Create(), s.offsets.Truncate(0), s.times.Truncate(0)); err != nil {
		// An empty file in the way of a log that goes on without it; the loading
		// of the log removes it too, should this fail.
		_ = opt.FS.Remove(name)
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// Open opens an existing segment of size bytes (the length of its .log as the
// caller's directory listing saw it) without reading anything.
func Open(dir string, base, size int64, opt Options) (*Segment, error) {
	return open(dir, base, size, "", opt)
}

func open(dir string, base, size int64, suffix string, opt Options) (*Segment, error) {
	s := &Segment{dir: dir, base: base, opt: opt,
		maxTimestamp: -1, offsetOfMax: -1, firstTimestamp: -1}
	s.suffix.Store(&suffix)
	s.txnSuffix = suffix
	var err error
	if s.offsets, err = index.OpenOffsets(opt.FS, FileName(dir, base, IndexSuffix)+suffix, base, opt.IndexBytes); err != nil {
		return nil, err
	}
	if s.times, err = index.OpenTimes(opt.FS, FileName(dir, base, TimeIndexSuffix)+suffix, base, opt.IndexBytes); err != nil {
		return nil, err
	}
	s.generation.Store(generations.Add(1))
	s.size.Store(size)
	s.opened = size
	s.refs.Store(1)
	return s, nil
}

// Base is the segment's base offset, the one in its name.
func (s *Segment) Base() int64 { return s.base }

// Generation is unique among the segments of this process; cache keys hold it
// so that a cache never needs invalidation.
func (s *Segment) Generation() uint32 { return s.generation.Load() }

// Size is the number of bytes published to readers.
func (s *Segment) Size() int64 { return s.size.Load() }

// Name is the path of the .log file.
func (s *Segment) Name() string { return FileName(s.dir, s.base, LogSuffix) + *s.suffix.Load() }

// txnName is the path of the transaction index; the caller holds stat.
func (s *Segment) txnName() string { return FileName(s.dir, s.base, TxnIndexSuffix) + s.txnSuffix }

// Cleaned says that the segment was written by compaction in this process: positions noted in its predecessors are not
// its own.
func (s *Segment) Cleaned() bool { return s.cleaned }

// IndexFull says that an index has no room for another entry and its closing
// one: the segment must be rolled.
func (s *Segment) IndexFull() bool { return s.offsets.Full() || s.times.Full() }

// CreateIndexes makes the index files; their names are durable after the
// caller's SyncDir.
func (s *Segment) CreateIndexes() error { return errors.Join(s.offsets.Create(), s.times.Create()) }

// HasIndex says whether the .index file stands on disk. Kafka and Gregor make
// it with the segment; a .log without it was written by something else.
func (s *Segment) HasIndex() bool { return s.offsets.Exists() }

// Acquire pins the segment for a reader; false means it is retired.
func (s *Segment) Acquire() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if n == idling {
			// Handles are being given back: a matter of microseconds.
			s.settle()
			continue
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// settle waits until nobody opens, maps or gives back handles.
func (s *Segment) settle() {
	s.files.Lock()
	defer s.files.Unlock()
}

// Release gives a pin back. The last one unmaps and closes the files.
func (s *Segment) Release() {
	if n := s.refs.Add(-1); n == 0 {
		s.teardown()
	} else if n < 0 {
		panic("segment " + s.Name() + ": released more often than acquired")
	}
}

// Retire drops the log's own reference; then is called, at once or when the
// last reader has gone, after files and mappings were given back.
func (s *Segment) Retire(then func()) {
	s.files.Lock()
	s.onUnused = then
	s.files.Unlock()
	s.Release()
}

func (s *Segment) teardown() {
	s.files.Lock()
	s.dead = true
	// A failure to unmap or close leaks until the process ends; there is no
	// data in it to lose and nobody left to tell.
	_ = s.releaseLocked()
	s.offsets.Detach()
	s.times.Detach()
	_ = s.offsets.Release()
	_ = s.times.Release()
	then := s.onUnused
	s.files.Unlock()
	if then != nil {
		then()
	}
}

func (s *Segment) releaseLocked() error {
	var err error
	if w := s.window.Swap(nil); w != nil && w.mapping != nil {
		err = w.mapping.Unmap()
	}
	for _, m := range s.old {
		err = errors.Join(err, m.Unmap())
	}
	s.old = nil
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
		s.file = nil
	}
	return err
}

// Idle gives back descriptor and mappings of a segment that nobody reads; they
// come back with the next use. It does nothing while a reader holds a pin.
func (s *Segment) Idle() error {
	s.files.Lock()
	defer s.files.Unlock()
	// The log's reference is the only one: readers that come now wait for the
	// lock held here.
	if !s.refs.CompareAndSwap(1, idling) {
		return nil
	}
	defer s.refs.Store(1)
	return errors.Join(s.releaseLocked(), s.offsets.Release(), s.times.Release())
}

// handle returns the open .log file, opening it if need be.
func (s *Segment) handle() (vfs.File, error) {
	s.files.Lock()
	defer s.files.Unlock()
	return s.handleLocked()
}

func (s *Segment) handleLocked() (vfs.File, error) {
	if s.file != nil {
		return s.file, nil
	}
	if s.dead || s.gone {
		return nil, fmt.Errorf("segment %s: %w", s.Name(), ErrRetired)
	}
	f, err := s.opt.FS.OpenFile(s.Name(), os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	s.file = f
	return f, nil
}

// mapped returns the mapping covering at least size bytes, or a nil slice when
// the process has no mappings left. The caller has the segment pinned.
func (s *Segment) mapped(size int64) ([]byte, vfs.Mapping, error) {
	if w := s.window.Load(); w != nil && (w.bytes == nil || int64(len(w.bytes)) >= size) {
		return w.bytes, w.mapping, nil
	}
	s.files.Lock()
	defer s.files.Unlock()
	if w := s.window.Load(); w != nil {
		if w.bytes == nil || int64(len(w.bytes)) >= size {
			return w.bytes, w.mapping, nil
		}
	}
	f, err := s.handleLocked()
	if err != nil {
		return nil, nil, err
	}
	m, err := f.Map(int(max(s.opt.MapBytes, size+size/2)))
	switch {
	case errors.Is(err, vfs.ErrTooManyMappings):
		return nil, nil, nil
	case err != nil:
		return nil, nil, fmt.Errorf("segment %s: map: %w", s.Name(), err)
	}
	w := &window{mapping: m, bytes: m.Bytes()}
	if before := s.window.Swap(w); before != nil && before.mapping != nil {
		s.old = append(s.old, before.mapping)
	}
	return w.bytes, w.mapping, nil
}

// Append writes whole batches, already stamped, at the end of the segment with
// one pwrite and publishes them. lastOffset and maxTimestamp are of those
// batches. On an error nothing is published and the next Append writes over
// the same place.
func (s *Segment) Append(p []byte, lastOffset, maxTimestamp int64) error {
	if err := s.trim(); err != nil {
		return err
	}
	f, err := s.handle()
	if err != nil {
		return err
	}
	position := s.size.Load()
	if _, err := f.WriteAt(p, position); err != nil {
		s.overhang = true
		return fmt.Errorf("segment %s: write %d bytes at %d: %w", s.Name(), len(p), position, err)
	}
	if err := s.note(position, int64(len(p)), lastOffset, maxTimestamp); err != nil {
		return err
	}
	s.size.Store(position + int64(len(p)))
	return nil
}

// trim cuts what a failed write may have left behind the published bytes. A
// shorter batch written over it would leave its end standing in the middle of
// the log, so the cut is durable before anything else is written.
func (s *Segment) trim() error {
	if !s.overhang {
		return nil
	}
	f, err := s.handle()
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(s.size.Load()), vfs.Sync(f)); err != nil {
		return fmt.Errorf("segment %s: cut a failed write at %d: %w", s.Name(), s.size.Load(), err)
	}
	s.overhang = false
	return nil
}

// note does the bookkeeping for one batch: time statistics and, when more than
// index.interval.bytes came since the last one, an entry in both indexes, put
// before the batch as Kafka's LogSegment.append does.
func (s *Segment) note(position, n, lastOffset, maxTimestamp int64) error {
	s.stat.Lock()
	if maxTimestamp > s.maxTimestamp {
		s.maxTimestamp, s.offsetOfMax = maxTimestamp, lastOffset
	}
	ts, at := s.maxTimestamp, s.offsetOfMax
	s.stat.Unlock()
	if position == 0 {
		s.firstTimestamp = maxTimestamp
	}
	if s.sinceIndex > s.opt.IndexIntervalBytes {
		if err := s.offsets.Append(lastOffset, position); err != nil {
			return err
		}
		if err := s.times.MaybeAppend(ts, at); err != nil {
			return err
		}
		s.sinceIndex = 0
	}
	s.sinceIndex += n
	return nil
}

// Sync makes the published bytes durable (fdatasync). The indexes are not
// synced here: they can be rebuilt.
func (s *Segment) Sync() error {
	f, err := s.handle()
	if err != nil {
		return err
	}
	if err := vfs.Sync(f); err != nil {
		return fmt.Errorf("segment %s: %w", s.Name(), err)
	}
	return nil
}

// Unindexed reports whether the offset index has no entry, not even one that waits to be written.
func (s *Segment) Unindexed() bool { return s.offsets.Len() == 0 }

// SyncIndexes makes the index entries so far durable, so that recovery may
// trust those below the recovery point.
func (s *Segment) SyncIndexes() error {
	// The entries of the offset index are what makes recovery believe the others.
	if err := errors.Join(s.times.Sync(), s.syncAborted()); err != nil {
		return err
	}
	return s.offsets.Sync()
}

// WriteIndexes gives the index entries so far to the operating system; whoever
// syncs the volume makes them durable.
func (s *Segment) WriteIndexes() error {
	s.stat.Lock()
	var err error
	if s.abortedLoaded && len(s.aborted) > 0 && !s.Detached() {
		err = s.writeAborted(s.abortedInFile, false)
	}
	s.stat.Unlock()
	return errors.Join(err, s.times.Flush(), s.offsets.Flush())
}

// Seal is called when the segment stops growing, at a roll or a clean close:
// the closing time index entry is written and the index files stand at their
// true length. Syncing is the caller's.
func (s *Segment) Seal() error {
	if err := s.trim(); err != nil {
		return err
	}
	ts, at, err := s.MaxTimestamp()
	if err != nil {
		return err
	}
	return errors.Join(s.times.MaybeAppend(ts, at), s.offsets.Flush(), s.times.Flush())
}

// FirstTimestamp is the max timestamp of the first batch, or -1 for an empty
// segment: segment.ms is counted from it (LogSegment.rollingBasedTimestamp).
func (s *Segment) FirstTimestamp() (int64, error) {
	if s.firstTimestamp >= 0 || s.size.Load() == 0 {
		return s.firstTimestamp, nil
	}
	b, err := s.HeaderAt(0)
	if err != nil {
		return -1, err
	}
	s.firstTimestamp = b.MaxTimestamp
	return b.MaxTimestamp, nil
}

// MaxTimestamp returns the largest timestamp of the segment and the last
// offset of the batch that holds it, (-1, -1) when it has none.
func (s *Segment) MaxTimestamp() (timestamp, offset int64, err error) {
	s.stat.Lock()
	defer s.stat.Unlock()
	if s.timesLoaded {
		return s.maxTimestamp, s.offsetOfMax, nil
	}
	ts, at, err := s.findMax()
	if err != nil {
		return -1, -1, err
	}
	if ts > s.maxTimestamp {
		s.maxTimestamp, s.offsetOfMax = ts, at
	}
	s.timesLoaded = true
	return s.maxTimestamp, s.offsetOfMax, nil
}

// findMax takes the last time index entry, which is a sealed segment's
// maximum, if the log has just that batch, and looks behind the last entry of
// the offset index. Without a believable entry every header is walked once:
// retention deletes by this, so an index is not taken at its word.
func (s *Segment) findMax() (timestamp, offset int64, err error) {
	timestamp, offset = -1, -1
	var entry, from int64
	ts, at, ok, err := s.times.Last()
	if err == nil && ok {
		if ok, err = s.proves(ts, at); ok {
			timestamp, offset = ts, at
			entry, from, err = s.offsets.Lookup(1<<63 - 1)
		}
	}
	if err != nil {
		return -1, -1, err
	}
	seen := false
	err = s.walkFrom(entry, from, func(h Header) bool {
		if h.MaxTimestamp > timestamp || !seen && h.MaxTimestamp == timestamp && h.LastOffset < offset {
			timestamp, offset = h.MaxTimestamp, h.LastOffset
		}
		seen = true
		return true
	})
	return timestamp, offset, err
}

// proves says whether the batch that holds offset has just this maximum
// timestamp, as a true time index entry says.
func (s *Segment) proves(timestamp, offset int64) (bool, error) {
	h, err := s.Locate(offset)
	if errors.Is(err, ErrNotHere) {
		return false, nil
	}
	return err == nil && h.BaseOffset <= offset && h.MaxTimestamp == timestamp, err
}

// Modified is the modification time of the .log in milliseconds: the age of a
// segment without timestamps.
func (s *Segment) Modified() (int64, error) {
	t, err := s.ModTime()
	return t.UnixMilli(), err
}

// ModTime is when the .log was written to last.
func (s *Segment) ModTime() (time.Time, error) {
	info, err := s.opt.FS.Stat(s.Name())
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// Truncate cuts the segment to size bytes, which must be a batch boundary
// whose next offset is end, with both indexes and the aborted transactions.
// Durable when it returns.
func (s *Segment) Truncate(size, end int64) error {
	f, err := s.handle()
	if err != nil {
		return err
	}
	s.size.Store(size)
	// Cached blocks of the old bytes must never be found again.
	s.generation.Store(generations.Add(1))
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("segment %s: cut at %d: %w", s.Name(), size, err)
	}
	// A reader may have copied old bytes under the new generation in between.
	s.generation.Store(generations.Add(1))
	s.overhang = false
	if err := vfs.Sync(f); err != nil {
		return fmt.Errorf("segment %s: after cutting at %d: %w", s.Name(), size, err)
	}
	if err := errors.Join(s.offsets.KeepBelow(end), s.times.KeepBelow(end), s.KeepAbortedBelow(end)); err != nil {
		return err
	}
	s.stat.Lock()
	s.maxTimestamp, s.offsetOfMax, s.timesLoaded = -1, -1, false
	s.stat.Unlock()
	if size == 0 {
		s.firstTimestamp = -1
	}
	return s.reloadTimes()
}

// reloadTimes recomputes the maximum after a cut: the last entry kept, then
// the batches behind it.
func (s *Segment) reloadTimes() error {
	ts, at, ok, err := s.times.Last()
	if err != nil {
		return err
	}
	var entry, from int64
	if ok {
		if entry, from, err = s.offsets.Lookup(at); err != nil {
			return err
		}
	} else {
		ts, at = -1, -1
	}
	err = s.walkFrom(entry, from, func(h Header) bool {
		if h.MaxTimestamp > ts {
			ts, at = h.MaxTimestamp, h.LastOffset
		}
		return true
	})
	s.stat.Lock()
	s.maxTimestamp, s.offsetOfMax, s.timesLoaded = ts, at, true
	s.stat.Unlock()
	return err
}

// Detach says that the files are about to be renamed or moved: what is open
// stays usable, nothing is opened by name any more.
func (s *Segment) Detach() {
	// The transaction index is opened for each use, under stat.
	s.stat.Lock()
	defer s.stat.Unlock()
	s.files.Lock()
	s.gone = true
	s.files.Unlock()
	s.offsets.Detach()
	s.times.Detach()
}

// Detached says whether the names may be another segment's.
func (s *Segment) Detached() bool {
	s.files.Lock()
	defer s.files.Unlock()
	return s.gone
}

// Rename gives every file of the segment another suffix behind its own, as
// Kafka does with .deleted. Names are durable after the caller's SyncDir.
func (s *Segment) Rename(suffix string) error {
	s.Detach()
	s.stat.Lock()
	aborted := s.txnName()
	s.stat.Unlock()
	to := func(kind string) string { return FileName(s.dir, s.base, kind) + suffix }
	rename := func(name, kind string) error {
		if err := s.opt.FS.Rename(name, to(kind)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	return errors.Join(rename(s.Name(), LogSuffix), s.offsets.Move(to(IndexSuffix)), s.times.Move(to(TimeIndexSuffix)),
		rename(aborted, TxnIndexSuffix))
}

// checkBatch verifies a whole batch of any magic found in a log.
func checkBatch(b batch.Batch) error {
	if b.Magic() < 2 {
		return checkOldBatch(b)
	}
	return b.CheckCRC()
}

// Allocate reserves disk space for the whole segment (preallocate=true).
func (s *Segment) Allocate(n int64) error {
	f, err := s.handle()
	if err != nil {
		return err
	}
	return f.Allocate(0, n)
}
