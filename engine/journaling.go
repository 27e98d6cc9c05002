package engine

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/gregor-broker/gregor/engine/commit"
	"github.com/gregor-broker/gregor/engine/journal"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// journaling is the use that a directory makes of a journal: none until many logs
// have waited together a few times, since a directory of one busy log has no need
// of one. It is commit.Journal.
type journaling struct {
	d      *directory
	asked  atomic.Int32 // rounds that wanted one
	ready  atomic.Pointer[journal.Journal]
	making sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

// journalAfter is how many rounds of many logs ask for a journal before it is made.
const journalAfter = 32

// openVolume makes syncs of many logs share one, where the operating system can do that.
func (d *directory) openVolume() error {
	for _, v := range []*vfs.Volume{&d.volume.shared, &d.volume.checkpoints, &d.volume.journal} {
		var err error
		if *v, err = d.store.opt.FS.OpenVolume(d.path); err != nil {
			*v = nil
			if errors.Is(err, errors.ErrUnsupported) {
				err = nil
			}
			return errors.Join(err, d.closeVolume())
		}
	}
	d.pool.SyncTogether(func() error { return writeBack(d.volume.shared) })
	if d.store.opt.JournalBytes > 0 {
		d.journaling.d = d
		least := 0
		if d.store.opt.journalAll {
			least = 1
		}
		d.pool.JournalTogether(&d.journaling, least)
	}
	return nil
}

func writeBack(v vfs.Volume) error {
	if err := v.Sync(); err != nil {
		return &vfs.SyncError{Err: err}
	}
	return nil
}

func (d *directory) closeVolume() error {
	var errs []error
	for _, v := range []vfs.Volume{d.volume.shared, d.volume.checkpoints, d.volume.journal} {
		if v != nil {
			errs = append(errs, v.Close())
		}
	}
	return errors.Join(errs...)
}

// Ready implements commit.Journal.
func (j *journaling) Ready() bool { return j.ready.Load() != nil }

// Want implements commit.Journal.
func (j *journaling) Want() {
	switch asked := j.asked.Add(1); {
	case j.d.store.opt.journalAll:
		if asked == 1 {
			j.make()
		}
	case asked == journalAfter && !j.d.store.opt.Manual:
		j.mu.Lock()
		defer j.mu.Unlock()
		if !j.closed {
			j.making.Go(j.make)
		}
	}
}

// journalRoom is how many times the journal's size must be free, so that it never
// is what fills a disk.
const journalRoom = 8

// make creates the files: 64 MiB of zeros. A directory without room for them goes
// on without.
func (j *journaling) make() {
	d := j.d
	if _, usable, err := d.store.opt.FS.Usage(d.path); err != nil || usable < uint64(journalRoom*2*d.store.opt.JournalBytes) {
		j.asked.Store(0) // it may be otherwise later
		return
	}
	made, err := journal.Create(d.store.opt.FS, d.path, d.store.opt.JournalBytes,
		func() error { return writeBack(d.volume.journal) }, d.pool.Poison)
	var failed *vfs.SyncError
	switch {
	case err == nil:
		j.ready.Store(made)
	case errors.As(err, &failed):
		d.pool.Poison(err)
	default:
		d.store.opt.Logger.Warn("no journal: syncs of many partitions take longer", "dir", d.path, "error", err)
	}
}

// Begin implements commit.Journal.
func (j *journaling) Begin() { j.ready.Load().Begin() }

// Take implements commit.Journal: the bytes of one segment that nobody has synced yet. The metadata log stands
// for itself: other programs read it in a directory that was not opened.
func (j *journaling) Take(log commit.Log) bool {
	l := log.(*Log)
	from, to := l.sync.begin, l.sync.end
	if l.sync.names || from.base != to.base || len(l.sync.segments) != 1 || l.sync.segments[0].Base() != to.base || l.name == metadataDirectory {
		return false
	}
	n := int(to.position - from.position)
	if n <= 0 || n > journal.MaxEntryBytes {
		return false
	}
	ready := j.ready.Load()
	p := ready.Add(l.name, l.id, from.base, from.position, n)
	if p == nil {
		return false
	}
	if len(l.sync.tail) == n {
		copy(p, l.sync.tail)
	} else if err := l.sync.segments[0].ReadWritten(p, from.position); err != nil {
		ready.Undo() // whatever it is, the log's own sync tells
		return false
	}
	return true
}

// Tails of logs that wait for a sync spare the journal a read of each; they are
// bounded, and few where few wait.
const journalTail = 4 << 10

var tails = sync.Pool{New: func() any { return new([journalTail]byte) }}

// keepTail notes what was appended; unsynced is locked.
func (l *Log) keepTail(b []byte) {
	t := l.unsynced.tail
	if len(b) > journalTail-len(t) {
		return // what is kept is short of the whole from now on
	}
	if t == nil {
		t = tails.Get().(*[journalTail]byte)[:0]
	}
	l.unsynced.tail = append(t, b...)
}

// dropTail gives the tail of the sync under way back.
func (l *Log) dropTail() {
	if t := l.sync.tail; t != nil {
		l.sync.tail = nil
		tails.Put((*[journalTail]byte)(t[:journalTail]))
	}
}

// Commit implements commit.Journal.
func (j *journaling) Commit() (bool, error) { return j.ready.Load().Commit() }

// settleJournal lets the journal hold nothing of a log of that name any more: what is done to the log's files from then
// on, no redo undoes. Nothing of it may be on its way into the journal.
func (d *directory) settleJournal(name string) error {
	if j := d.journaling.ready.Load(); j != nil && j.Holds(name) {
		return j.Settle()
	}
	return nil
}

func (d *directory) endJournaling() *journal.Journal {
	j := &d.journaling
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.making.Wait()
	return j.ready.Swap(nil)
}

// closeJournal ends the journal of a directory that is closed cleanly; nothing is appended any more.
func (d *directory) closeJournal() error {
	if j := d.endJournaling(); j != nil {
		return j.Close()
	}
	return nil
}

// abandonJournal leaves the journal as it is.
func (d *directory) abandonJournal() {
	if j := d.endJournaling(); j != nil {
		j.Abandon()
	}
}

// redo puts back what the journal of the directory's last owner holds, before any log is looked at, and removes it.
// What cannot be read, or belongs to logs that somebody else has written to, is kept beside it.
func (d *directory) redo() error {
	disk, log := d.store.opt.FS, d.store.opt.Logger
	var settle func() error
	if d.volume.journal != nil {
		settle = func() error { return writeBack(d.volume.journal) }
	}
	out, err := journal.Redo(disk, d.path, func(path string) ([16]byte, error) {
		id, err := readID(disk, path)
		return id, err
	}, settle)
	var damage *journal.DamagedError
	if err != nil && !errors.As(err, &damage) {
		return fmt.Errorf("data directory %s: its journal cannot be redone: %w", d.path, err)
	}
	keep := damage != nil || len(out.Failed) > 0 || len(out.Foreign) > 0
	if damage != nil {
		log.Error("the journal is damaged: acknowledged records may be missing that were not in their logs yet", "dir", d.path, "error", err)
	}
	for name, err := range out.Failed {
		log.Error("a log cannot be completed from the journal", "dir", d.path, "log", name, "error", err)
	}
	if len(out.Foreign) > 0 {
		log.Warn("logs were written to by another broker since the journal was: what it has of them is not used", "dir", d.path, "logs", out.Foreign)
	}
	if out.Bytes > 0 {
		d.clean = false // what the last owner said of these logs does not hold any more
		log.Info("records put back from the journal", "dir", d.path, "logs", out.Logs, "bytes", out.Bytes)
	}
	if keep {
		return journal.Keep(disk, d.path)
	}
	return journal.Remove(disk, d.path)
}
