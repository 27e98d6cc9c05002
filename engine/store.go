package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/gregor-broker/gregor/engine/checkpoint"
	"github.com/gregor-broker/gregor/engine/commit"
	"github.com/gregor-broker/gregor/engine/compact"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// Names of the files of a data directory (Kafka's LogManager).
const (
	lockFile          = ".lock"
	cleanFile         = ".kafka_cleanshutdown"
	recoveryFile      = "recovery-point-offset-checkpoint"
	startFile         = "log-start-offset-checkpoint"
	highFile          = "replication-offset-checkpoint"
	cleanerFile       = "cleaner-offset-checkpoint"
	epochFile         = "leader-epoch-checkpoint"
	idFile            = "partition.metadata"
	deleteSuffix      = "-delete"
	straySuffix       = "-stray"
	futureSuffix      = "-future"
	metadataDirectory = "__cluster_metadata-0"
)

// Store is a set of data directories with their logs. Safe for concurrent use.
type Store struct {
	opt   Options
	dirs  []*directory
	cache *hotReads
	jobs  *jobs
	clean *cleaner
	moves *compact.Throttle

	moveRate atomic.Uint64 // bits of the rate that moves has

	random func(n int64) int64 // in [0, n]

	mu     sync.RWMutex
	logs   map[string]*Log
	closed bool
}

// directory is one of Options.Dirs.
type directory struct {
	store *Store
	path  string
	lock  io.Closer
	pool  *commit.Pool
	// The volume is open from before the first write, so that no failed write of
	// the file system can be reported to somebody else, and once for each who syncs
	// it: an error is reported once to each. nil where there is none.
	volume struct{ shared, checkpoints, journal vfs.Volume }

	journaling journaling

	clean         bool
	previousEpoch int64
	begun         sync.Once
	beginErr      error
	refused       atomic.Bool // a log could not be opened

	settling      sync.Once    // a checkpoint after recovery is on its way
	appendedBytes atomic.Int64 // since the last checkpoint of recovery points
	checkpointAt  atomic.Int64 // how many there may be before the next
	checkpointing sync.Mutex   // one checkpoint at a time; taken before a log's append lock

	// files guards the checkpoint files, one writer at a time, and what they
	// said when the directory was opened: that stays true of every log that is
	// not open. Taken after a log's append lock.
	files struct {
		sync.Mutex
		recoveryPoints map[string]int64
		starts         map[string]int64
		cleaned        map[string]int64 // what the cleaner has been through
	}
}

// DirInfo describes a data directory as Open found it.
type DirInfo struct {
	Path string
	// Clean says that the last owner closed it; PreviousBrokerEpoch is the
	// broker epoch it left, -1 if unknown.
	Clean               bool
	PreviousBrokerEpoch int64
	// Logs are the names of partition directories, sorted; those being deleted
	// or set aside as stray are not among them.
	Logs []string
}

// Open takes the lock of every directory and reads what its last owner left.
// It writes nothing but the lock files: logs are opened one by one with
// OpenLog, and only that begins to change a directory.
//
// A locked directory is an error that satisfies errors.Is(err, vfs.ErrLocked).
func Open(opt Options) (*Store, error) {
	opt = opt.withDefaults()
	st := &Store{opt: opt, logs: map[string]*Log{}, cache: newHotReads(opt.CacheBytes, opt.Clock.Now),
		random: func(n int64) int64 { return rand.Int64N(n + 1) }}
	st.jobs = newJobs(st)
	st.clean = newCleaner(st)
	st.moves = compact.NewThrottle(0)
	for _, path := range opt.Dirs {
		d, err := st.openDirectory(path)
		if err != nil {
			st.unlock()
			return nil, err
		}
		st.dirs = append(st.dirs, d)
	}
	return st, nil
}

func (st *Store) openDirectory(path string) (*directory, error) {
	lock, err := st.opt.FS.Lock(filepath.Join(path, lockFile))
	if err != nil {
		if errors.Is(err, vfs.ErrLocked) {
			return nil, fmt.Errorf("data directory %s is in use by another broker (its %s is held): stop that one, or choose another log.dirs: %w", path, lockFile, err)
		}
		return nil, fmt.Errorf("data directory %s cannot be locked: %w", path, err)
	}
	d := &directory{store: st, path: path, lock: lock, previousEpoch: -1}
	d.checkpointAt.Store(st.opt.CheckpointBytes)
	d.pool = commit.NewPool(st.opt.SyncWorkers, func(err error) {
		st.opt.Logger.Error("data directory failed: read-only from now on, nothing more is acknowledged", "dir", path, "error", err)
		if st.opt.OnPoison != nil {
			st.opt.OnPoison(path, err)
		}
	})
	if err := d.readState(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := d.openVolume(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

func (d *directory) readState() error {
	data, err := vfs.ReadFile(d.store.opt.FS, filepath.Join(d.path, cleanFile))
	switch {
	case err == nil:
		d.clean = true
		var marker struct {
			Version     int
			BrokerEpoch int64
		}
		marker.BrokerEpoch = -1
		if len(data) > 0 {
			// Releases before 3.7 left an empty marker; anything unreadable
			// only loses the epoch.
			if json.Unmarshal(data, &marker) == nil {
				d.previousEpoch = marker.BrokerEpoch
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if d.files.recoveryPoints, err = d.readOffsets(recoveryFile); err != nil {
		return err
	}
	if d.files.starts, err = d.readOffsets(startFile); err != nil {
		return err
	}
	clean := d.clean
	d.files.cleaned, err = d.readOffsets(cleanerFile)
	d.clean = clean // without it all is compacted once more, and nothing has to be checked
	return err
}

// offsets is what the checkpoint files last said of a log: zero for nothing.
func (d *directory) offsets(name string) (recovery, start int64) {
	d.files.Lock()
	defer d.files.Unlock()
	return d.files.recoveryPoints[name], d.files.starts[name]
}

// forget takes a log that is no more out of the checkpoint files. What fails
// has to be done again before a log of that name is created.
func (d *directory) forget(name string) error {
	return errors.Join(
		d.forgetIn(&d.files.recoveryPoints, name, d.storeRecoveryPoints),
		d.forgetIn(&d.files.starts, name, func() error { return d.storeStarts(nil, 0) }),
		d.forgetIn(&d.files.cleaned, name, d.storeCleaned))
}

func (d *directory) forgetIn(known *map[string]int64, name string, store func() error) error {
	d.files.Lock()
	offset, ok := (*known)[name]
	delete(*known, name)
	d.files.Unlock()
	if !ok {
		return nil
	}
	err := store()
	if err != nil {
		d.files.Lock()
		(*known)[name] = offset
		d.files.Unlock()
	}
	return err
}

// readOffsets reads an offset checkpoint. One that does not parse is set
// aside, not removed, and counts as empty: a recovery point or a start is then
// found by reading the logs, and nothing is lost but time.
func (d *directory) readOffsets(name string) (map[string]int64, error) {
	path := filepath.Join(d.path, name)
	data, err := vfs.ReadFile(d.store.opt.FS, path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]int64{}, nil
	}
	if err != nil {
		return nil, err
	}
	if name == cleanerFile && len(data) == 0 {
		// Kafka makes it when it starts and writes it when something was cleaned.
		return map[string]int64{}, nil
	}
	entries, err := checkpoint.Decode(data)
	if err != nil {
		d.store.opt.Logger.Error("a checkpoint cannot be read and is ignored; logs are checked instead", "file", path, "error", err)
		d.clean = false
		return map[string]int64{}, nil
	}
	m := make(map[string]int64, len(entries))
	for _, e := range entries {
		m[fmt.Sprintf("%s-%d", e.Topic, e.Partition)] = e.Offset
	}
	return m, nil
}

// begin takes the clean marker away, durably, before the first change: a
// crash from here on must find an unclean directory.
func (d *directory) begin() error {
	d.begun.Do(func() {
		err := d.store.opt.FS.Remove(filepath.Join(d.path, cleanFile))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		// Also where there is no marker: names that a killed process had not
		// synced must not lie under what is acknowledged from now on.
		if d.beginErr = errors.Join(err, d.store.opt.FS.SyncDir(d.path)); d.beginErr == nil {
			d.beginErr = d.redo()
		}
	})
	return d.beginErr
}

// failed returns ErrStorage with the first sync error, or nil.
func (d *directory) failed() error {
	if err := d.pool.Poisoned(); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return nil
}

// settleMs is how long after a recovery its recovery points are stored: a
// process that is killed again and again must not have more to check each
// time, and one that has just started has better things to do.
const settleMs = 100

// recovered asks for a checkpoint shortly after logs were recovered.
func (d *directory) recovered() {
	d.settling.Do(func() {
		d.store.jobs.after(settleMs, func() { d.store.jobs.checkpointSoon(d) })
	})
}

// appended counts bytes towards the next checkpoint of recovery points.
func (d *directory) appended(n int64) {
	if d.appendedBytes.Add(n) >= d.checkpointAt.Load() {
		d.store.jobs.checkpointSoon(d)
	}
}

// Dirs describes the data directories as they were found.
func (st *Store) Dirs() ([]DirInfo, error) {
	var out []DirInfo
	for _, d := range st.dirs {
		info := DirInfo{Path: d.path, Clean: d.clean, PreviousBrokerEpoch: d.previousEpoch}
		entries, err := st.opt.FS.ReadDir(d.path)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() && isLogName(e.Name()) {
				info.Logs = append(info.Logs, e.Name())
			}
		}
		out = append(out, info)
	}
	return out, nil
}

// isLogName recognizes topic-partition, leaving out directories on their way
// out.
func isLogName(name string) bool {
	for _, suffix := range []string{deleteSuffix, straySuffix, futureSuffix} {
		if strings.HasSuffix(name, suffix) {
			return false
		}
	}
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || i == len(name)-1 {
		return false
	}
	for _, c := range name[i+1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func (st *Store) directory(path string) (*directory, error) {
	for _, d := range st.dirs {
		if d.path == path {
			return d, nil
		}
	}
	return nil, fmt.Errorf("%s is not one of the store's data directories", path)
}

// Log returns an open log by name, or nil.
func (st *Store) Log(name string) *Log {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return st.logs[name]
}

// Logs returns the open logs by name.
func (st *Store) Logs() []*Log {
	st.mu.RLock()
	defer st.mu.RUnlock()
	out := make([]*Log, 0, len(st.logs))
	for _, l := range st.logs {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *Log) int { return strings.Compare(a.name, b.name) })
	return out
}

func (st *Store) add(l *Log) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return ErrClosed
	}
	if st.logs[l.name] != nil {
		return fmt.Errorf("log %s: %w", l.name, ErrExists)
	}
	st.logs[l.name] = l
	return nil
}

// Usage reports total and usable bytes of the volume that holds dir.
func (st *Store) Usage(dir string) (total, usable uint64, err error) { return st.opt.FS.Usage(dir) }

// Failed returns the error that poisoned dir, or nil.
func (st *Store) Failed(dir string) error {
	d, err := st.directory(dir)
	if err != nil {
		return err
	}
	return d.failed()
}

// storeOffsets writes one checkpoint file. known is what the file says of logs
// that are not open, and is brought up to date; value says what it is to say of
// an open one, ok being false for nothing. The caller holds d.files.
func (d *directory) storeOffsets(name string, known map[string]int64, value func(*Log) (offset int64, ok bool)) error {
	offsets := make(map[string]int64, len(known))
	maps.Copy(offsets, known)
	for _, l := range d.store.Logs() {
		if l.dir != d || l.name == metadataDirectory {
			continue
		}
		if v, ok := value(l); ok {
			offsets[l.name] = v
		} else {
			delete(offsets, l.name)
		}
	}
	entries := make([]checkpoint.Entry, 0, len(offsets))
	for log, offset := range offsets {
		i := strings.LastIndexByte(log, '-')
		p, err := strconv.ParseInt(log[i+1:], 10, 32)
		if err != nil {
			return fmt.Errorf("log %s: its partition is no number: %w", log, err)
		}
		entries = append(entries, checkpoint.Entry{Topic: log[:i], Partition: int32(p), Offset: offset})
	}
	sort.Slice(entries, func(i, j int) bool {
		if entries[i].Topic != entries[j].Topic {
			return entries[i].Topic < entries[j].Topic
		}
		return entries[i].Partition < entries[j].Partition
	})
	err := vfs.WriteFileAtomic(d.store.opt.FS, filepath.Join(d.path, name), checkpoint.Encode(entries))
	if err == nil && known != nil {
		clear(known)
		maps.Copy(known, offsets)
	}
	return err
}

func (d *directory) storeRecoveryPoints() error {
	d.files.Lock()
	defer d.files.Unlock()
	return d.storeOffsets(recoveryFile, d.files.recoveryPoints, func(l *Log) (int64, bool) { return l.recovery.Load(), true })
}

// storeStarts writes the start offsets that are not the base of a log's first
// segment, as Kafka does; raised, if not nil, is about to get the start raisedTo.
func (d *directory) storeStarts(raised *Log, raisedTo int64) error {
	d.files.Lock()
	defer d.files.Unlock()
	return d.storeOffsets(startFile, d.files.starts, func(l *Log) (int64, bool) {
		start := l.startAt.Load()
		if l == raised {
			start = max(start, raisedTo)
		}
		return start, start > l.oldest.Load()
	})
}

func (d *directory) storeHighs() error {
	d.files.Lock()
	defer d.files.Unlock()
	return d.storeOffsets(highFile, nil, func(l *Log) (int64, bool) { return l.High(), true })
}

// Close stops background work, syncs every log, leaves indexes, snapshots and
// checkpoints as Kafka expects them after a clean stop, and last of all writes
// the clean marker with brokerEpoch (Kafka's CleanShutdownFileHandler). If
// anything fails, the marker of that directory is not written: its next owner
// then checks the logs.
func (st *Store) Close(brokerEpoch int64) error {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return nil
	}
	st.closed = true
	st.mu.Unlock()
	st.jobs.stop()
	var errs []error
	for _, d := range st.dirs {
		errs = append(errs, d.close(brokerEpoch))
	}
	return errors.Join(errs...)
}

// closeLogs closes a few logs at a time: closing is waiting for the disk.
func (d *directory) closeLogs() error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	slots := make(chan struct{}, 2*d.store.opt.SyncWorkers)
	if d.store.opt.Manual {
		slots = make(chan struct{}, 1)
	}
	for _, l := range d.store.Logs() {
		if l.dir != d {
			continue
		}
		slots <- struct{}{}
		all.Add(1)
		go func() {
			defer all.Done()
			err := l.close()
			<-slots
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		}()
	}
	all.Wait()
	return errors.Join(errs...)
}

func (d *directory) close(brokerEpoch int64) error {
	errs := []error{d.closeLogs()}
	d.pool.Close()
	if err := d.failed(); err != nil {
		errs = append(errs, err)
	}
	if errors.Join(errs...) != nil {
		return errors.Join(append(errs, d.release())...)
	}
	errs = append(errs, d.begin(), d.closeJournal())
	if errors.Join(errs...) == nil {
		errs = append(errs, d.storeRecoveryPoints(), d.storeHighs(), d.storeStarts(nil, 0))
	}
	whole, err := d.whole()
	errs = append(errs, err)
	if errors.Join(errs...) == nil && whole {
		marker := fmt.Sprintf(`{"version":0,"brokerEpoch":%d}`, brokerEpoch)
		errs = append(errs, vfs.WriteFileAtomic(d.store.opt.FS, filepath.Join(d.path, cleanFile), []byte(marker)))
	}
	return errors.Join(append(errs, d.release())...)
}

// whole says whether the clean marker may be written: it vouches for every log
// of the directory, and one that was refused, or not opened after a crash, has
// not been checked.
func (d *directory) whole() (bool, error) {
	if d.refused.Load() {
		return false, nil
	}
	if d.clean {
		return true, nil
	}
	entries, err := d.store.opt.FS.ReadDir(d.path)
	for _, e := range entries {
		if e.IsDir() && isLogName(e.Name()) {
			if l := d.store.Log(e.Name()); l == nil || l.dir != d {
				return false, nil
			}
		}
	}
	return true, err
}

// unlock gives the directories back untouched.
func (st *Store) unlock() {
	for _, d := range st.dirs {
		d.release()
	}
}

// Abandon lets go of the directories without writing anything, as a crash
// would; descriptors and mappings are given back. After Close it does nothing. For a start that is refused
// after Open, and for tests.
func (st *Store) Abandon() {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return
	}
	st.closed = true
	st.mu.Unlock()
	st.jobs.stop()
	for _, l := range st.Logs() {
		l.write.Lock()
		if !l.write.closed {
			l.write.closed = true
			for _, s := range *l.segments.Load() {
				s.Retire(nil)
			}
			l.forgetSwap()
		}
		l.write.Unlock()
	}
	for _, d := range st.dirs {
		d.pool.Close()
	}
	st.unlock()
}

// isNoSpace says that a write was refused for want of room, descriptors or
// memory: nothing was published, and the next attempt may go well. A sync that
// failed so is another matter: see vfs.SyncError.
func isNoSpace(err error) bool {
	var failed *vfs.SyncError
	if errors.As(err, &failed) {
		return false
	}
	for _, short := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, short) {
			return true
		}
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// release gives up the directory.
func (d *directory) release() error {
	d.abandonJournal()
	return errors.Join(d.closeVolume(), d.lock.Close())
}
