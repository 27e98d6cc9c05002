package engine

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
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
	if err := d.begin(); err != nil {
		return nil, err
	}
	path := filepath.Join(d.path, name)
	if _, err := st.opt.FS.Stat(path); err == nil {
		return nil, fmt.Errorf("log %s: %w at %s", name, ErrExists, path)
	}
	if err := st.opt.FS.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("log %s: %w", name, err)
	}
	l := st.newLog(d, name, path, cfg)
	l.id = id
	if id != (ID{}) {
		if err := writeID(st.opt.FS, path, id); err != nil {
			return nil, fmt.Errorf("log %s: %w", name, err)
		}
	}
	if err := l.addSegment(0); err != nil {
		return nil, err
	}
	if err := errors.Join(st.opt.FS.SyncDir(path), st.opt.FS.SyncDir(d.path)); err != nil {
		d.pool.Poison(err)
		return nil, fmt.Errorf("%w: log %s: %w", ErrStorage, name, err)
	}
	l.unsynced.names = false
	l.startFrom(0, 0)
	if err := st.add(l); err != nil {
		return nil, err
	}
	st.jobs.start()
	return l, nil
}

func (st *Store) newLog(d *directory, name, path string, cfg LogConfig) *Log {
	l := &Log{store: st, dir: d, name: name, path: path}
	cfg = cfg.withDefaults()
	l.config.Store(&cfg)
	l.queue = d.pool.NewQueue(l)
	l.write.producers = producer.New(cfg.ProducerIDExpirationMs)
	l.write.epochs = new(epoch.Cache)
	l.write.snapshotAt = -1
	return l
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
	l.unsynced.end = m
	l.queue.Reset(end)
	l.recovery.Store(end)
	l.write.producers.OnHighWatermark(end)
	l.publishStable()
}

// writeID writes partition.metadata as Kafka does, without a newline at its end.
func writeID(f vfs.FS, path string, id ID) error {
	text := "version: 0\ntopic_id: " + base64.RawURLEncoding.EncodeToString(id[:])
	return vfs.WriteFileAtomic(f, filepath.Join(path, idFile), []byte(text))
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
	path := filepath.Join(d.path, name)
	l := st.newLog(d, name, path, cfg)
	if l.id, err = readID(st.opt.FS, path); err != nil {
		return nil, fmt.Errorf("log %s: %w", name, err)
	}
	if err := l.load(); err != nil {
		return nil, err
	}
	if err := st.add(l); err != nil {
		return nil, err
	}
	st.jobs.start()
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
	recovery := l.dir.recoveryPoints[l.name]
	var list []*segment.Segment
	for _, f := range files.logs {
		s, err := segment.Open(l.path, f.base, f.size, l.segmentOptions())
		if err != nil {
			return fmt.Errorf("log %s: %w", l.name, err)
		}
		list = append(list, s)
	}
	start := l.dir.starts[l.name]
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
		if end, known, err = l.cleanEnd(list); err != nil {
			return err
		}
	}
	if known {
		err = l.loadProducers(files.snapshots, start, end)
	} else {
		end, err = l.recover(files.snapshots, start, recovery)
	}
	if err != nil {
		return err
	}
	list = *l.segments.Load()
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
	if l.write.epochs.TruncateFromEnd(end + 1) {
		if err := l.storeEpochs(); err != nil {
			return err
		}
	}
	l.startFrom(start, end)
	return nil
}

// inventory is what a partition directory holds, leftovers of interrupted
// work already dealt with.
type inventory struct {
	logs      []foundLog // ascending
	snapshots []int64    // ascending
}

type foundLog struct{ base, size int64 }

func (l *Log) inventory() (inventory, error) {
	var inv inventory
	disk := l.store.opt.FS
	if err := l.finishSwaps(); err != nil {
		return inv, err
	}
	entries, err := disk.ReadDir(l.path)
	if err != nil {
		return inv, err
	}
	logs := map[int64]bool{}
	var indexes []string
	for _, e := range entries {
		base, suffix, ok := segment.ParseName(e.Name())
		if !ok || e.IsDir() {
			continue
		}
		full := filepath.Join(l.path, e.Name())
		switch {
		case strings.HasSuffix(suffix, segment.DeletedSuffix):
			// Taken out of the log by its owner; only the unlinking was left.
			if err := disk.Remove(full); err != nil {
				return inv, err
			}
		case suffix == segment.LogSuffix:
			info, err := e.Info()
			if err != nil {
				return inv, err
			}
			logs[base] = true
			inv.logs = append(inv.logs, foundLog{base, info.Size()})
		case suffix == segment.SnapshotSuffix:
			inv.snapshots = append(inv.snapshots, base)
		case suffix == segment.IndexSuffix, suffix == segment.TimeIndexSuffix, suffix == segment.TxnIndexSuffix:
			indexes = append(indexes, e.Name())
		}
	}
	for _, name := range indexes {
		if base, _, _ := segment.ParseName(name); !logs[base] {
			if err := disk.Remove(filepath.Join(l.path, name)); err != nil {
				return inv, err
			}
		}
	}
	sort.Slice(inv.logs, func(i, j int) bool { return inv.logs[i].base < inv.logs[j].base })
	sort.Slice(inv.snapshots, func(i, j int) bool { return inv.snapshots[i] < inv.snapshots[j] })
	return inv, nil
}

// finishSwaps completes or undoes an interrupted cleaning, by the protocol of
// Kafka's LogLoader: output still named .cleaned is incomplete and goes,
// together with .swap files at or above it; the other .swap files are whole,
// so the segments they replace go and they take their names.
func (l *Log) finishSwaps() error {
	disk := l.store.opt.FS
	entries, err := disk.ReadDir(l.path)
	if err != nil {
		return err
	}
	incomplete := int64(-1)
	var cleaned, swaps []string
	for _, e := range entries {
		base, suffix, ok := segment.ParseName(e.Name())
		switch {
		case ok && strings.HasSuffix(suffix, segment.CleanedSuffix):
			cleaned = append(cleaned, e.Name())
			if incomplete < 0 || base < incomplete {
				incomplete = base
			}
		case ok && strings.HasSuffix(suffix, segment.SwapSuffix):
			swaps = append(swaps, e.Name())
		}
	}
	if len(cleaned)+len(swaps) == 0 {
		return nil
	}
	var errs []error
	remove := func(name string) { errs = append(errs, disk.Remove(filepath.Join(l.path, name))) }
	for _, name := range cleaned {
		remove(name)
	}
	var whole []string
	from, to := int64(-1), int64(-1)
	for _, name := range swaps {
		base, suffix, _ := segment.ParseName(name)
		if incomplete >= 0 && base >= incomplete {
			remove(name)
			continue
		}
		whole = append(whole, name)
		if suffix != segment.LogSuffix+segment.SwapSuffix {
			continue
		}
		next, err := l.swapEnd(name, base)
		if err != nil {
			return err
		}
		if from < 0 || base < from {
			from = base
		}
		to = max(to, next)
	}
	for _, e := range entries {
		base, suffix, ok := segment.ParseName(e.Name())
		if !ok || base < from || base >= to || len(whole) == 0 {
			continue
		}
		switch suffix {
		case segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix:
			remove(e.Name())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, name := range whole {
		to := strings.TrimSuffix(name, segment.SwapSuffix)
		if err := disk.Rename(filepath.Join(l.path, name), filepath.Join(l.path, to)); err != nil {
			return err
		}
	}
	return disk.SyncDir(l.path)
}

// swapEnd finds the offset behind the last batch of a .log.swap file.
func (l *Log) swapEnd(name string, base int64) (int64, error) {
	data, err := vfs.ReadFile(l.store.opt.FS, filepath.Join(l.path, name))
	if err != nil {
		return 0, err
	}
	end := base
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", filepath.Join(l.path, name), err)
		}
		end, data = b.NextOffset(), rest
	}
	return end, nil
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
		l.dir.clean = false
		return l.store.opt.FS.Rename(name, name+segment.TornSuffix)
	}
	l.write.epochs = cache
	return nil
}

// cleanEnd finds the end of a cleanly closed log from the tail of its last
// segment. known is false when the tail is not as a clean stop leaves it: the
// log is then checked like after a crash.
func (l *Log) cleanEnd(list []*segment.Segment) (end int64, known bool, err error) {
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
	return end, err == nil, err
}

// producersAt loads the newest readable snapshot at or below offset and
// returns where replay has to begin. A snapshot that cannot be read is left
// alone and the next older one taken.
func (l *Log) producersAt(snapshots []int64, start, offset int64) int64 {
	now := l.store.opt.Clock.Now().UnixMilli()
	for i := len(snapshots) - 1; i >= 0; i-- {
		at := snapshots[i]
		if at > offset {
			continue
		}
		name := segment.FileName(l.path, at, segment.SnapshotSuffix)
		data, err := vfs.ReadFile(l.store.opt.FS, name)
		if err == nil {
			if err = l.write.producers.Decode(data, now); err == nil {
				l.write.snapshotAt = at
				return max(at, start)
			}
		}
		l.store.opt.Logger.Warn("a producer snapshot cannot be read; an older one is used", "file", name, "error", err)
		l.write.producers = producer.New(l.config.Load().ProducerIDExpirationMs)
	}
	return start
}

// loadProducers restores producer state at end from snapshot and batches.
func (l *Log) loadProducers(snapshots []int64, start, end int64) error {
	from := l.producersAt(snapshots, start, end)
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
		err := s.Replay(from, func(b batch.Batch, h segment.Header) error {
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
	return l.loadProducers(snapshots, l.startAt.Load(), end)
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
	if err := l.Flush(); err != nil {
		return fmt.Errorf("log %s: %w", l.name, err)
	}
	l.write.Lock()
	defer l.write.Unlock()
	if l.write.closed {
		return nil
	}
	l.write.closed = true
	var errs []error
	end := l.endAt.Load()
	// A log that was not touched since it was opened is as its last owner left it.
	if l.sinceRecovery.Load() > 0 || l.recovered() {
		seg := l.active()
		errs = append(errs, seg.Seal(), seg.SyncIndexes(), l.syncRolled(end))
		if end > l.startAt.Load() || l.write.snapshotAt >= 0 {
			previous := l.write.snapshotAt
			errs = append(errs, l.writeSnapshot(end, true))
			l.dropSnapshot(previous, end)
		}
	}
	if errors.Join(errs...) == nil {
		l.recovery.Store(end)
	}
	for _, s := range *l.segments.Load() {
		s.Retire(nil)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("log %s: %w", l.name, err)
	}
	return nil
}

// recovered says that opening the log rebuilt files.
func (l *Log) recovered() bool { return !l.dir.clean }
