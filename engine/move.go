package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// Move is a log on its way to another data directory of its store while it is in use (KIP-113). Its batches are copied,
// each verified, to a directory <name>.<32 hex>-future, Kafka's name for it, until little is left; then appends wait for
// the rest, and the copy takes the log's place:
//
//	copy           a -future directory is no log: a crash leaves the log as it is
//	rename         <name>.<32 hex>-future becomes <name>, complete and durable: from here on it is the log
//	set aside      the old directory becomes <name>.<32 hex>-delete
//
// A crash behind the second step leaves two directories of that name; what was said before it (see Finish) says which
// one counts. While a log is on its way it is not compacted; retention goes on.
//
// Copy, Finish, Cancel and Close are for one goroutine; the rest may be called by any.
type Move struct {
	log  *Log
	to   *directory
	path string // of the -future directory
	cuts int

	copies   []*segmentCopy // ascending
	recovery int64          // what the target's checkpoint says
	start    int64
	cleaned  int64

	size, end atomic.Int64
	unpaid    int64 // bytes that were copied since the last pause
	read      []byte
	write     []byte
	headers   []segment.Header
}

// segmentCopy is a segment of the log and what was copied of it.
type segmentCopy struct {
	from, to *segment.Segment
	whole    bool // and durable
}

// ErrMoved says that a log was cut or moved itself while it was copied.
var ErrMoved = errors.New("the log changed while it was copied")

// nearEnd is how few bytes may be left when appends begin to wait for them.
const nearEnd = 1 << 20

// copyBytes is how much is read and written at a time.
const copyBytes = 1 << 20

// StartMove makes an empty copy of a log in another data directory. What an earlier process left of such a copy is set
// aside for removal. ErrExists: there is a log of that name, or the log is being moved already; ErrNotFound: it was deleted, or
// has been moved.
func (st *Store) StartMove(l *Log, dir string) (*Move, error) {
	to, err := st.directory(dir)
	if err != nil {
		return nil, err
	}
	name := l.name
	if st.Log(name) != l || name == metadataDirectory {
		return nil, fmt.Errorf("log %s: %w", name, ErrNotFound)
	}
	if l.dir == to {
		return nil, fmt.Errorf("log %s: %w in %s", name, ErrExists, dir)
	}
	if err := errors.Join(l.dir.failed(), to.failed()); err != nil {
		return nil, err
	}
	if _, err := st.opt.FS.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("log %s: %w in %s", name, ErrExists, dir), err)
	}
	if !l.moving.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("log %s: %w: it is being moved", name, ErrExists)
	}
	m := &Move{log: l, to: to, recovery: -1, read: make([]byte, copyBytes)}
	if err := m.begin(); err != nil {
		l.moving.Store(false)
		return nil, err
	}
	return m, nil
}

func (m *Move) begin() error {
	st, l := m.log.store, m.log
	// It may have lived there before.
	if err := errors.Join(m.to.begin(), m.to.settleJournal(l.name)); err != nil {
		return err
	}
	if err := st.dropFutures(l.name); err != nil {
		return err
	}
	// A cleaning that is under way ends; the next one sees that the log is moving.
	resume := l.pauseCleaning()
	err := l.finishSwap()
	resume()
	if err != nil {
		return err
	}
	l.write.Lock()
	m.cuts = l.write.cuts
	closed := l.write.closed
	l.write.Unlock()
	if closed {
		return fmt.Errorf("log %s: %w", l.name, ErrClosed)
	}
	m.end.Store(l.Start())
	m.path = filepath.Join(m.to.path, l.name+st.unique(futureSuffix))
	disk := st.opt.FS
	err = disk.MkdirAll(m.path, 0o755)
	if err == nil && l.id != (ID{}) {
		err = writeID(disk, m.path, l.id, vfs.ReplaceFile)
	}
	if err == nil {
		err = errors.Join(disk.SyncDir(m.path), disk.SyncDir(m.to.path))
	}
	if err != nil {
		return errors.Join(m.failed(err), disk.RemoveAll(m.path))
	}
	return nil
}

// Dir is the data directory the log is moved to.
func (m *Move) Dir() string { return m.to.path }

// Size is how many bytes were copied so far, End the offset behind them.
func (m *Move) Size() int64 { return m.size.Load() }

// End is the offset behind the last batch that was copied.
func (m *Move) End() int64 { return m.end.Load() }

// Copy copies until little is left, or ctx ends. It is slowed down to Store.SetMoveRate.
//
// Errors: ctx's; ErrClosed when log or store are closed; ErrMoved; ErrStorage for what cannot be written, which ends the
// target directory unless it is full; and what is wrong with a batch that is not what was appended.
func (m *Move) Copy(ctx context.Context) error {
	for {
		if err := m.round(ctx); err != nil {
			return err
		}
		if m.left() <= nearEnd {
			return nil
		}
	}
}

// left is how many bytes were not copied yet.
func (m *Move) left() int64 { return m.log.Size() - m.size.Load() }

// round is catchUp while the log is in use.
func (m *Move) round(ctx context.Context) error {
	err := m.catchUp(ctx)
	l := m.log
	l.write.Lock()
	defer l.write.Unlock()
	if l.write.cuts != m.cuts {
		// What was copied is not what is there, nor need it have been a log.
		return fmt.Errorf("log %s: %w", l.name, ErrMoved)
	}
	return err
}

// catchUp copies what the log has now.
func (m *Move) catchUp(ctx context.Context) error {
	list := *m.log.segments.Load()
	if err := m.forget(list); err != nil {
		return err
	}
	for i, s := range list {
		err := m.bring(ctx, s, i < len(list)-1)
		if err != nil && (m.log.removed.Load() || !slices.Contains(*m.log.segments.Load(), s)) {
			// Deleted by retention meanwhile, and its copy goes in the next round; or with the log.
			err = m.stopped(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stopped says why a move cannot go on.
func (m *Move) stopped(ctx context.Context) error {
	l := m.log
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.removed.Load() || l.store.clean.stopped() {
		return fmt.Errorf("log %s: %w", l.name, ErrClosed)
	}
	return errors.Join(l.dir.failed(), m.to.failed())
}

// bring brings the copy of a segment up to date; sealed says that the segment does not grow any more.
func (m *Move) bring(ctx context.Context, s *segment.Segment, sealed bool) error {
	at := slices.IndexFunc(m.copies, func(c *segmentCopy) bool { return c.from == s })
	if at < 0 {
		to, err := segment.Create(m.path, s.Base(), m.log.segmentOptions())
		if err != nil {
			return m.failed(err)
		}
		m.copies = append(m.copies, &segmentCopy{from: s, to: to})
		if err := m.copySnapshot(s.Base()); err != nil {
			return err
		}
		at = len(m.copies) - 1
	}
	c := m.copies[at]
	if c.whole {
		return nil
	}
	if !s.Acquire() {
		return segment.ErrRetired
	}
	err := m.fill(ctx, c)
	s.Release()
	if err != nil || !sealed {
		return err
	}
	return m.seal(c)
}

// copySnapshot copies the producer snapshot that a segment begins with, if there is one.
func (m *Move) copySnapshot(base int64) error {
	disk := m.log.store.opt.FS
	p, err := vfs.ReadFile(disk, segment.FileName(m.log.path, base, segment.SnapshotSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return m.failed(vfs.ReplaceFile(disk, segment.FileName(m.path, base, segment.SnapshotSuffix), p))
}

// fill copies the batches that the copy of a segment lacks.
func (m *Move) fill(ctx context.Context, c *segmentCopy) error {
	unsynced := int64(0)
	put := func() error {
		if err := c.to.AppendCopied(m.write, m.headers); err != nil {
			return m.failed(err)
		}
		if len(m.headers) > 0 {
			m.end.Store(m.headers[len(m.headers)-1].LastOffset + 1)
		}
		m.size.Add(int64(len(m.write)))
		unsynced += int64(len(m.write))
		m.unpaid += int64(len(m.write))
		m.write, m.headers = m.write[:0], m.headers[:0]
		if unsynced < syncEvery {
			return nil
		}
		unsynced = 0
		return m.failed(c.to.Sync())
	}
	before := func(int64) error {
		if err := put(); err != nil {
			return err
		}
		return m.pause(ctx)
	}
	var err error
	m.write, m.headers = m.write[:0], m.headers[:0]
	m.read, err = c.from.Stream(c.to.Size(), m.read, before, func(b batch.Batch, h segment.Header) (bool, error) {
		m.write, m.headers = append(m.write, b...), append(m.headers, h)
		return true, nil
	})
	if err == nil {
		err = put()
	}
	if cap(m.read) > 4*copyBytes {
		m.read, m.write = make([]byte, copyBytes), nil
	}
	return err
}

// seal makes the copy of a segment that does not grow any more durable, with all that belongs to it.
func (m *Move) seal(c *segmentCopy) error {
	aborted, err := c.from.AllAborted()
	if err != nil {
		return err
	}
	modified, err := c.from.ModTime()
	if err != nil {
		return err
	}
	if len(aborted) > 0 {
		err = c.to.SetAborted(aborted)
	}
	if err == nil {
		err = c.to.Complete(modified)
	}
	if err != nil {
		return m.failed(err)
	}
	c.whole = true
	m.log.idle(c.from)
	m.log.idle(c.to)
	return nil
}

// forget drops the copies of segments that are not in the list any more.
func (m *Move) forget(list []*segment.Segment) error {
	kept := m.copies[:0]
	var errs []error
	for _, c := range m.copies {
		if slices.Contains(list, c.from) {
			kept = append(kept, c)
			continue
		}
		m.size.Add(-c.to.Size())
		c.to.Retire(nil)
		for _, kind := range []string{segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix, segment.SnapshotSuffix} {
			err := m.log.store.opt.FS.Remove(segment.FileName(m.path, c.to.Base(), kind))
			if !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	clear(m.copies[len(kept):])
	m.copies = kept
	return m.failed(errors.Join(errs...))
}

// rateStep is how long a move that waits may take to notice another rate.
const rateStep = 500 * time.Millisecond

// pause is called before more is read, and waits as long as what was copied is worth: however low the rate, something moves.
func (m *Move) pause(ctx context.Context) error {
	if err := m.stopped(ctx); err != nil {
		return err
	}
	st := m.log.store
	rate := st.moveRate.Load()
	wait := st.moves.Pause(m.unpaid, st.opt.Clock.Now())
	m.unpaid = 0
	for wait > 0 && !st.opt.Manual && st.moveRate.Load() == rate {
		over := make(chan struct{})
		timer := st.opt.Clock.AfterFunc(min(wait, rateStep), func() { close(over) })
		select {
		case <-over:
		case <-ctx.Done():
		case <-st.jobs.quit:
		}
		timer.Stop()
		wait -= rateStep
		if err := m.stopped(ctx); err != nil {
			return err
		}
	}
	return nil
}

// SetMoveRate bounds how many bytes all moves together copy a second (replica.alter.log.dirs.io.max.bytes.per.second); 0
// is no limit. It reaches moves under way within half a second.
func (st *Store) SetMoveRate(bytesPerSecond float64) {
	if st.moveRate.Swap(math.Float64bits(bytesPerSecond)) != math.Float64bits(bytesPerSecond) {
		st.moves.SetRate(bytesPerSecond)
	}
}

// failed is what a failed write of the target means: see Log.writeFailed.
func (m *Move) failed(err error) error {
	if err == nil {
		return nil
	}
	if !isNoSpace(err) {
		m.to.pool.Poison(err)
	}
	return fmt.Errorf("%w: moving log %s to %s: %w", ErrStorage, m.log.name, m.to.path, err)
}

// Cancel gives up: the copy is removed, the log stays where it is.
func (m *Move) Cancel() error {
	m.Close()
	disk := m.log.store.opt.FS
	if err := disk.RemoveAll(m.path); err != nil {
		return m.failed(err)
	}
	err := disk.SyncDir(m.to.path)
	if err == nil && m.recovery >= 0 {
		err = m.to.forget(m.log.name)
	}
	return m.failed(err)
}

// Close lets go of the copy and leaves its files for the next process, which begins anew.
func (m *Move) Close() {
	for _, c := range m.copies {
		c.to.Retire(nil)
	}
	m.copies = nil
	m.log.moving.Store(false)
}

// Future is what a process left of a move that did not come to its end.
type Future struct {
	// Dir is the data directory, Name the name of the directory in it, Log that of the log, ID its topic's.
	Dir, Name, Log string
	ID             ID
}

// Futures lists the copies of moves that earlier processes left; StartMove sets those of its log aside. The ID of one
// whose partition.metadata cannot be read is zero.
func (st *Store) Futures() ([]Future, error) {
	var out []Future
	for _, d := range st.dirs {
		entries, err := st.opt.FS.ReadDir(d.path)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			log, ok := futureOf(e.Name())
			if !ok || !e.IsDir() {
				continue
			}
			f := Future{Dir: d.path, Name: e.Name(), Log: log}
			if f.ID, err = readID(st.opt.FS, filepath.Join(d.path, f.Name)); err != nil {
				st.opt.Logger.Warn("cannot read the id of an unfinished copy of a log", "dir", filepath.Join(d.path, f.Name), "error", err)
			}
			out = append(out, f)
		}
	}
	return out, nil
}

// futureOf gives the name of the log that a -future directory is a copy of.
func futureOf(name string) (log string, ok bool) {
	rest, ok := strings.CutSuffix(name, futureSuffix)
	if !ok {
		return "", false
	}
	at := len(rest) - 33
	if at <= 0 || rest[at] != '.' || strings.Trim(rest[at+1:], "0123456789abcdef") != "" || !isLogName(rest[:at]) {
		return "", false
	}
	return rest[:at], true
}

// dropFutures sets the unfinished copies of a log aside and removes them in the background.
func (st *Store) dropFutures(log string) error {
	found, err := st.Futures()
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Log != log {
			continue
		}
		if err := st.DropFuture(f); err != nil {
			return err
		}
	}
	return nil
}

// DropFuture sets an unfinished copy aside; it is removed in the background.
func (st *Store) DropFuture(f Future) error {
	d, err := st.directory(f.Dir)
	if err != nil {
		return err
	}
	if err := d.begin(); err != nil {
		return err
	}
	from := filepath.Join(f.Dir, f.Name)
	if _, err := st.opt.FS.Stat(filepath.Join(f.Dir, f.Log)); errors.Is(err, fs.ErrNotExist) {
		if err := d.forget(f.Log); err != nil {
			return fmt.Errorf("%w: log %s: %w", ErrStorage, f.Log, err)
		}
	}
	to := strings.TrimSuffix(from, futureSuffix) + deleteSuffix
	if err := errors.Join(st.opt.FS.Rename(from, to), st.opt.FS.SyncDir(f.Dir)); err != nil {
		return fmt.Errorf("log %s: %w", f.Log, err)
	}
	st.jobs.after(0, func() { st.removeTree(to) })
	return nil
}
