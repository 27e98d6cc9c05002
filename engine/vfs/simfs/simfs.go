package simfs

import (
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// Sizes of the simulated disk.
const (
	BlockSize  = 4096 // bytes the page cache writes back together: kept or lost as one
	SectorSize = 512  // bytes the disk writes atomically: a torn block is torn between these
)

// ErrPowerOff is what every call returns once PowerOffAfter's changes are used up.
var ErrPowerOff = errors.New("the simulated machine has no power")

// defaultLogLimit keeps the log of a long simulation from growing without end.
const defaultLogLimit = 10_000

// Options sets up a disk. The zero value is an unlimited disk of seed 0.
type Options struct {
	// Seed decides every random choice of Crash.
	Seed uint64
	// Now dates files; nil dates them by the count of changes, one millisecond each, from 2020-01-01 UTC.
	Now func() time.Time
	// Capacity in bytes makes writes and allocations fail with ENOSPC beyond it; 0 is no limit.
	Capacity int64
	// MaxMappings makes Map fail with vfs.ErrTooManyMappings beyond it; 0 is no limit.
	MaxMappings int
	// LogLimit is how many of the latest changes Log remembers at least; 0 is 10,000.
	LogLimit int
}

// Stats counts what was asked of a disk since it was made or cloned.
type Stats struct {
	Syncs        int   // File.Sync calls, failed and lied ones included
	DirSyncs     int   // SyncDir calls
	VolumeSyncs  int   // Volume.Sync calls
	Changes      int   // calls that change the disk, the syncs included
	Writes       int   // WriteAt calls
	BytesWritten int64 // by them
	OpenFiles    int   // now
	Mappings     int   // now
}

// FS is the disk. Make it with New; it is safe for concurrent use.
type FS struct {
	mu      sync.Mutex
	options Options
	random  uint64 // state of the generator
	root    *node
	pending []dirChange // directory changes not yet synced, in order
	locks   map[*node]bool
	used    int64 // bytes of blocks held by files

	// written counts the pending changes of files that a Volume.Sync wrote to the drive's cache.
	written map[*node]int
	// writtenDirs is what it wrote of directories.
	writtenDirs map[*node][]entry

	failSync, failSyncDir, failSyncAll int // calls until the failing one, 1 being the next; 0 is never
	lying                              bool
	powerLimited                       bool
	powerLeft                          int // changes until the power goes

	onChange func(vfs.Event)
	log      []vfs.Event
	stats    Stats
}

var _ vfs.FS = (*FS)(nil)

// New makes an empty disk with only a root directory; the names "/a", "a" and "./a" are the same file.
func New(o Options) *FS {
	if o.LogLimit == 0 {
		o.LogLimit = defaultLogLimit
	}
	return &FS{options: o, random: o.Seed, root: &node{mode: fs.ModeDir | 0o755}, locks: map[*node]bool{}}
}

// FailSync makes the nth File.Sync from now (1 is the next) return EIO once and lose the file's unsynced writes as
// Linux does (fsyncgate): they stay readable, count as clean, later syncs succeed, and no crash will find them on the
// disk. 0 cancels.
func (d *FS) FailSync(nth int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failSync = nth
}

// FailSyncDir makes the nth SyncDir from now return EIO once; its changes stay volatile. 0 cancels.
func (d *FS) FailSyncDir(nth int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failSyncDir = nth
}

// FailSyncAll makes the nth Volume.Sync from now return EIO once and lose every unsynced write of the disk, as FailSync does for
// one file. The next sync of each file that lost something fails too, once: Linux keeps the error for both (errseq_t). 0 cancels.
func (d *FS) FailSyncAll(nth int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failSyncAll = nth
}

// SetLying makes Sync and SyncDir succeed without making anything durable, as a drive that ignores flushes.
func (d *FS) SetLying(lying bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lying = lying
}

// PowerOffAfter lets n more changes happen; then every call fails with ErrPowerOff and changes nothing, until the
// power comes back with Crash. Bytes of live mappings stay readable; Close and Unmap still work. With n = 0, 1, 2 ...
// a test stops a script before each of its changes.
func (d *FS) PowerOffAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.powerLimited, d.powerLeft = true, n
}

// OnChange sets a function to be called after every change, failed ones included, on the goroutine that made it and
// with no lock held, so that it may take a Crash there. Clones do not inherit it. nil calls none.
func (d *FS) OnChange(f func(vfs.Event)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onChange = f
}

// Stats returns the counts.
func (d *FS) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Log returns the latest changes, oldest first: what to print when a seed fails. A clone starts with an empty log.
func (d *FS) Log() []vfs.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]vfs.Event(nil), d.log...)
}

// change runs one changing call under the lock, writes it down and tells OnChange. do may complete the event.
func (d *FS) change(e vfs.Event, do func(e *vfs.Event) error) error {
	d.mu.Lock()
	e.Err = d.power()
	if e.Err == nil {
		if d.powerLimited {
			d.powerLeft--
		}
		d.stats.Changes++
		e.Err = do(&e)
		if e.Op != "" {
			d.record(e)
		}
	}
	notify := d.onChange
	d.mu.Unlock()
	if notify != nil && e.Op != "" && !errors.Is(e.Err, ErrPowerOff) {
		notify(e)
	}
	return e.Err
}

func (d *FS) power() error {
	if d.powerLimited && d.powerLeft <= 0 {
		return ErrPowerOff
	}
	return nil
}

func (d *FS) record(e vfs.Event) {
	if limit := d.options.LogLimit; len(d.log) >= 2*limit {
		d.log = append(d.log[:0], d.log[len(d.log)-limit:]...)
	}
	d.log = append(d.log, e)
}

func (d *FS) now() time.Time {
	if d.options.Now != nil {
		return d.options.Now()
	}
	return time.Unix(1_577_836_800, int64(d.stats.Changes)*int64(time.Millisecond)).UTC()
}

// due counts a countdown down and says whether this call is the failing one.
func due(countdown *int) bool {
	if *countdown == 0 {
		return false
	}
	*countdown--
	return *countdown == 0
}

// next is splitmix64: small, and the same in every Go release, which a recorded seed needs.
func next(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
