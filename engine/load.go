package engine

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/epoch"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// CreateLog makes a new, empty log in dir: directory, partition.metadata with
// id, and an empty segment at offset 0, all durable when it returns. Should
// the process die in between, what is left is an empty log or a directory
// without partition.metadata, which OpenLog accepts as empty.
func (st *Store) CreateLog(dir, name string, id ID, cfg LogConfig) (*Log, error) {
	d, err := st.directory(dir)
	if err != nil {
		return nil, err
	}
	if err := d.failed(); err != nil {
		return nil, err
	}
	if !isLogName(name) {
		return nil, fmt.Errorf("log %q: expected a name like topic-0", name)
	}
	if err := d.begin(); err != nil {
		return nil, err
	}
	path := filepath.Join(d.path, name)
	if _, err := st.opt.FS.Stat(path); err == nil {
		return nil, fmt.Errorf("log %s: %w at %s", name, ErrExists, path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("log %s: %w", name, err)
	}
	// Offsets of an earlier log of that name must not be taken for this one's.
	if err := d.forget(name); err != nil {
		return nil, fmt.Errorf("%w: log %s: %w", ErrStorage, name, err)
	}
	if err := d.settleJournal(name); err != nil {
		return nil, fmt.Errorf("%w: log %s: %w", ErrStorage, name, err)
	}
	l := st.newLog(d, name, path, cfg)
	l.id = id
	if err := l.make(); err != nil {
		// Nothing of it was promised; what is left would be in the way of the
		// next attempt.
		for _, s := range l.loaded() {
			s.Retire(nil)
		}
		return nil, errors.Join(err, st.opt.FS.RemoveAll(path))
	}
	l.startFrom(0, 0)
	if err := st.add(l); err != nil {
		return nil, err
	}
	st.jobs.start()
	if cfg.Compact {
		st.jobs.cleanSoon()
	}
	return l, nil
}

// make puts the directory of a new log on the disk.
func (l *Log) make() error {
	disk := l.store.opt.FS
	if err := disk.MkdirAll(l.path, 0o755); err != nil {
		return fmt.Errorf("log %s: %w", l.name, err)
	}
	if l.id != (ID{}) {
		if err := writeID(disk, l.path, l.id, vfs.ReplaceFile); err != nil {
			return fmt.Errorf("log %s: %w", l.name, err)
		}
	}
	if err := l.addSegment(0); err != nil {
		return err
	}
	if err := errors.Join(disk.SyncDir(l.path), disk.SyncDir(l.dir.path)); err != nil {
		l.dir.pool.Poison(err)
		return fmt.Errorf("%w: log %s: %w", ErrStorage, l.name, err)
	}
	l.unsynced.names = false
	l.write.untidy = false
	return nil
}

func (l *Log) loaded() []*segment.Segment {
	if list := l.segments.Load(); list != nil {
		return *list
	}
	return nil
}

func (st *Store) newLog(d *directory, name, path string, cfg LogConfig) *Log {
	l := &Log{store: st, dir: d, name: name, path: path}
	cfg = cfg.withDefaults()
	l.config.Store(&cfg)
	l.queue = d.pool.NewQueue(l)
	l.write.producers = producer.New(cfg.ProducerIDExpirationMs)
	l.transactions = new(producer.Verifier)
	l.write.epochs = new(epoch.Cache)
	l.write.snapshotAt = -1
	l.write.rolled = st.opt.Clock.Now().UnixMilli()
	return l
}

// Adopt gives a log that has no id, one that was made elsewhere, the id its
// owner knows it by; durable when it returns.
func (l *Log) Adopt(id ID) error {
	if l.id != (ID{}) || id == (ID{}) {
		return nil
	}
	if err := writeID(l.store.opt.FS, l.path, id, vfs.WriteFileAtomic); err != nil {
		return fmt.Errorf("%w: log %s: %w", ErrStorage, l.name, err)
	}
	l.id = id
	return nil
}

// startFrom publishes start and end of a loaded log: everything in it is
// durable and visible.
func (l *Log) startFrom(start, end int64) {
	active := l.active()
	m := mark{end, active.Base(), active.Size(), 0}
	l.startAt.Store(start)
	l.endAt.Store(end)
	l.durable.Store(end)
	l.visible.Store(&m)
	l.unsynced.end, l.sync.begin = m, m
	l.queue.Reset(end)
	l.recovery.Store(end)
	l.oldest.Store((*l.segments.Load())[0].Base())
	l.write.producers.OnHighWatermark(end)
	l.transactions.Reset(l.write.producers)
	l.publishStable()
}

// writeID writes partition.metadata as Kafka does, without a newline at its end.
func writeID(f vfs.FS, path string, id ID, write func(vfs.FS, string, []byte) error) error {
	text := "version: 0\ntopic_id: " + base64.RawURLEncoding.EncodeToString(id[:])
	return write(f, filepath.Join(path, idFile), []byte(text))
}

// readID reads partition.metadata; a missing file is the zero ID. Padded
// base64 is accepted.
func readID(f vfs.FS, path string) (ID, error) {
	name := filepath.Join(path, idFile)
	data, err := vfs.ReadFile(f, name)
	if errors.Is(err, fs.ErrNotExist) {
		return ID{}, nil
	}
	if err != nil {
		return ID{}, err
	}
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(key) != "topic_id" {
			continue
		}
		text := strings.TrimRight(strings.TrimSpace(value), "=")
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(raw) != len(ID{}) {
			return ID{}, fmt.Errorf("%s: topic_id %q: expected 22 characters of url-safe base64", name, text)
		}
		return ID(raw), nil
	}
	return ID{}, fmt.Errorf("%s: expected a line \"topic_id: ...\", found %q", name, data)
}

// ReadID reads the id of a log directory without opening the log.
func (st *Store) ReadID(dir, name string) (ID, error) {
	return readID(st.opt.FS, filepath.Join(dir, name))
}

// OpenLog loads an existing log. After a clean stop it reads no data beyond
// the last index entry; after a crash it checks what lies above the recovery
// point, cuts a torn tail and syncs what it keeps. Different logs may be
// opened concurrently.
//
// A *CorruptError means damage below the recovery point; nothing was changed.
func (st *Store) OpenLog(dir, name string, cfg LogConfig) (*Log, error) {
	d, err := st.directory(dir)
	if err != nil {
		return nil, err
	}
	if err := d.begin(); err != nil {
		return nil, err
	}
	if st.Log(name) != nil {
		return nil, fmt.Errorf("log %s: %w", name, ErrExists)
	}
	path := filepath.Join(d.path, name)
	l := st.newLog(d, name, path, cfg)
	if l.id, err = readID(st.opt.FS, path); err == nil {
		err = l.load()
	} else {
		err = fmt.Errorf("log %s: %w", name, err)
	}
	if err == nil {
		err = st.add(l)
	}
	if err != nil {
		// A refused log must be checked again, however cleanly the others stop.
		d.refused.Store(true)
		for _, s := range l.loaded() {
			s.Retire(nil)
		}
		return nil, err
	}
	st.jobs.start()
	if cfg.Compact {
		st.jobs.cleanSoon()
	}
	return l, nil
}

// load is Kafka's LogLoader with one difference: nothing that may have been
// acknowledged is dropped.
func (l *Log) load() error {
	files, err := l.inventory()
	if err != nil {
		return fmt.Errorf("log %s: %w", l.name, err)
	}
	if err := l.loadEpochs(); err != nil {
		return err
	}
	recovery, start := l.dir.offsets(l.name)
	list, err := l.openSegments(files.logs)
	if err == nil {
		list, err = l.dropBelow(list, start)
	}
	if err != nil {
		return fmt.Errorf("log %s: %w", l.name, err)
	}
	if len(list) == 0 {
		if err := l.addSegment(start); err != nil {
			return err
		}
		list = *l.segments.Load()
	}
	start = max(start, list[0].Base())
	l.segments.Store(&list)

	end, known := int64(0), false
	if l.dir.clean {
		if end, known, err = l.cleanEnd(list, recovery); err != nil {
			return err
		}
	}
	if known {
		err = l.loadProducers(files.snapshots, end)
	} else {
		l.write.untidy = true
		end, err = l.recover(files.snapshots, recovery)
	}
	if err != nil {
		return err
	}
	if err := l.rebuildEpochs(); err != nil {
		return err
	}
	if end < start {
		// Everything that is left lies below the start the clients were told:
		// the log goes on, empty, at its start.
		if err := l.restartAt(start); err != nil {
			return err
		}
		end = start
	}
	// An epoch that begins just at the end belongs to a leader that has not
	// written yet: it stays.
	behind := l.write.epochs.TruncateFromEnd(end + 1)
	if l.write.epochs.TruncateFromStart(start) || behind {
		if err := l.storeEpochs(); err != nil {
			return err
		}
	}
	l.write.strays = files.snapshots
	l.startFrom(start, end)
	l.dir.trustCleaned(l.name, end)
	if !known {
		// Indexes and snapshots are not synced yet: the next checkpoint does
		// that, and raises the recovery point. Nor need the names be of files
		// that a killed process had just made.
		l.unsynced.names = true
		l.recovery.Store(min(recovery, end))
		l.sinceRecovery.Store(max(l.Size(), 1))
		l.dir.recovered()
	}
	return nil
}

func (l *Log) loadEpochs() error {
	name := filepath.Join(l.path, epochFile)
	data, err := vfs.ReadFile(l.store.opt.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("log %s: %w", l.name, err)
	}
	cache, err := epoch.Decode(data)
	if err != nil {
		// It can be made again from the batches, so it must not keep a log
		// from opening; the unreadable one is kept for whoever asks why.
		l.store.opt.Logger.Error("leader epochs cannot be read and are rebuilt from the batches", "file", name, "error", err)
		kept, err := l.freeName(name + segment.TornSuffix)
		if err != nil {
			return err
		}
		return l.store.opt.FS.Rename(name, kept)
	}
	l.write.epochs = cache
	return nil
}

// rebuildEpochs finds the leader epochs of a log that has records and no
// leader-epoch-checkpoint, or an unreadable one, from the batch headers.
func (l *Log) rebuildEpochs() error {
	if l.write.epochs.Latest() >= 0 {
		return nil
	}
	changed := false
	for _, s := range *l.segments.Load() {
		err := s.Headers(func(h segment.Header) {
			if h.LeaderEpoch > l.write.epochs.Latest() {
				changed = l.write.epochs.Assign(h.LeaderEpoch, h.BaseOffset) || changed
			}
		})
		if err != nil {
			return l.storage(err)
		}
	}
	if !changed {
		return nil
	}
	return l.storeEpochs()
}

// cleanEnd finds the end of a cleanly closed log from the tail of its last
// segment. known is false when the tail is not as a clean stop leaves it: the
// log is then checked like after a crash.
//
// A log that ends before its recovery point has lost records while nobody
// looked: a CorruptError.
func (l *Log) cleanEnd(list []*segment.Segment, point int64) (end int64, known bool, err error) {
	last := list[len(list)-1]
	if !last.HasIndex() {
		return 0, false, nil
	}
	end, err = last.End()
	var damage *segment.DamagedError
	if errors.As(err, &damage) {
		l.store.opt.Logger.Error("a cleanly closed log does not end with a batch; checking it", "log", l.name, "damage", damage)
		return 0, false, nil
	}
	if err == nil && end < point {
		return 0, false, &CorruptError{Log: l.name, Damage: l.tooShort(last, end, point), RecoveryPoint: point, Offset: end}
	}
	return end, err == nil, err
}

// producersAt loads the newest readable snapshot at or below offset and
// returns where replay has to begin; first is the offset of the first segment.
// Records below the log's start count too, as long as they are there. A
// snapshot that cannot be read is left alone and the next older one taken, but
// none from below where the log was compacted: markers of transactions that
// are open in it may be gone. A compacted log as a whole has the marker of
// every transaction it has a batch of.
func (l *Log) producersAt(snapshots []int64, first, offset int64) int64 {
	now := l.store.opt.Clock.Now().UnixMilli()
	cleaned := l.dir.cleanedTo(l.name)
	for i := len(snapshots) - 1; i >= 0; i-- {
		at := snapshots[i]
		if at > offset {
			continue
		}
		if at < cleaned {
			break
		}
		name := segment.FileName(l.path, at, segment.SnapshotSuffix)
		data, err := vfs.ReadFile(l.store.opt.FS, name)
		if err == nil {
			if err = l.write.producers.Decode(data, now); err == nil {
				l.write.snapshotAt = at
				return max(at, first)
			}
		}
		l.store.opt.Logger.Warn("a producer snapshot cannot be read; an older one is used", "file", name, "error", err)
		l.write.producers = producer.New(l.config.Load().ProducerIDExpirationMs)
	}
	return first
}

// loadProducers restores producer state at end from snapshot and batches.
func (l *Log) loadProducers(snapshots []int64, end int64) error {
	from := l.producersAt(snapshots, (*l.segments.Load())[0].Base(), end)
	if err := l.replayProducers(from, end); err != nil {
		return err
	}
	return nil
}

func (l *Log) replayProducers(from, to int64) error {
	list := *l.segments.Load()
	now := l.store.opt.Clock.Now().UnixMilli()
	for i, s := range list {
		if s.Base() >= to || i+1 < len(list) && list[i+1].Base() <= from {
			continue
		}
		err := s.Replay(from, to, func(b batch.Batch, h segment.Header) error {
			if h.Magic == 2 && h.LastOffset >= from && h.BaseOffset < to && b.HasProducerID() {
				l.write.producers.Apply(b, now)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%w: log %s: %w", ErrStorage, l.name, err)
		}
	}
	return nil
}

// reloadProducers rebuilds producer state after a truncation to end.
func (l *Log) reloadProducers(end int64) error {
	entries, err := l.store.opt.FS.ReadDir(l.path)
	if err != nil {
		return err
	}
	var snapshots []int64
	for _, e := range entries {
		at, suffix, ok := segment.ParseName(e.Name())
		if !ok || suffix != segment.SnapshotSuffix {
			continue
		}
		if at > end {
			if err := l.store.opt.FS.Remove(filepath.Join(l.path, e.Name())); err != nil {
				return err
			}
			continue
		}
		snapshots = append(snapshots, at)
	}
	l.write.producers = producer.New(l.config.Load().ProducerIDExpirationMs)
	l.write.snapshotAt = -1
	return l.loadProducers(snapshots, end)
}

// restartAt sets every segment aside and begins an empty one at start.
func (l *Log) restartAt(start int64) error {
	list := *l.segments.Load()
	var none []*segment.Segment
	l.segments.Store(&none)
	var errs []error
	for _, s := range list {
		errs = append(errs, s.Rename(segment.DeletedSuffix))
		base := s.Base()
		s.Retire(func() {
			l.store.jobs.after(l.config.Load().FileDeleteDelayMs, func() { l.store.removeDeleted(l.path, base) })
		})
	}
	l.write.producers = producer.New(l.config.Load().ProducerIDExpirationMs)
	errs = append(errs, l.addSegment(start), l.store.opt.FS.SyncDir(l.path))
	return errors.Join(errs...)
}

// close makes the log durable and leaves its files as a clean stop does.
func (l *Log) close() error {
	l.write.Lock()
	if l.write.closed {
		l.write.Unlock()
		return nil
	}
	l.write.closed = true
	l.write.Unlock()
	// Nothing is appended any more; what was is synced before files are let go.
	if err := l.Flush(); err != nil {
		return fmt.Errorf("log %s: %w", l.name, err)
	}
	l.write.Lock()
	defer l.write.Unlock()
	errs := []error{l.finishSwap()}
	end := l.endAt.Load()
	// A log that was not touched since it was opened is as its last owner left it.
	if l.sinceRecovery.Load() > 0 || l.write.untidy {
		seg := l.active()
		errs = append(errs, seg.Seal(), seg.SyncIndexes(), l.rolled(end, (*segment.Segment).SyncIndexes))
		if end > l.startAt.Load() || l.write.snapshotAt >= 0 {
			errs = append(errs, l.writeSnapshot(end))
		}
		errs = append(errs, l.store.opt.FS.SyncDir(l.path))
	}
	if errors.Join(errs...) == nil {
		l.recovery.Store(end)
	}
	for _, s := range *l.segments.Load() {
		s.Retire(nil)
	}
	l.forgetSwap()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("log %s: %w", l.name, err)
	}
	return nil
}
