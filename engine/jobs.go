package engine

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/retention"
	"github.com/gregor-broker/gregor/engine/segment"
)

// jobs is the store's scheduler: one goroutine that sleeps until the next
// thing is due. Each pass does what is due and is safe to run at any time.
type jobs struct {
	store *Store
	poke  chan struct{}
	quit  chan struct{}
	done  sync.WaitGroup

	mu         sync.Mutex
	started    bool
	stopped    bool
	delayed    []delayed
	flushAt    int64 // ms; the earliest flush.ms deadline, 0 none
	checkpoint map[*directory]bool
	retention  time.Time // next run
	periodic   time.Time // next checkpoint by time
	clean      time.Time // next look for logs to compact; zero while there is none, or one is under way
}

type delayed struct {
	at time.Time
	do func()
}

func newJobs(st *Store) *jobs {
	now := st.opt.Clock.Now()
	return &jobs{store: st, poke: make(chan struct{}, 1), quit: make(chan struct{}), checkpoint: map[*directory]bool{},
		retention: now.Add(min(30*time.Second, st.opt.RetentionInterval)), periodic: now.Add(st.opt.CheckpointInterval)}
}

// start runs the scheduler once there is a log to look after.
func (j *jobs) start() {
	if j.store.opt.Manual {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.started || j.stopped {
		return
	}
	j.started = true
	j.done.Add(1)
	go j.run()
}

func (j *jobs) stop() {
	j.mu.Lock()
	if j.stopped {
		j.mu.Unlock()
		return
	}
	j.stopped = true
	close(j.quit)
	j.mu.Unlock()
	j.done.Wait()
}

func (j *jobs) signal() {
	select {
	case j.poke <- struct{}{}:
	default:
	}
}

// after runs do once ms have passed; with ms zero or less at the next pass.
func (j *jobs) after(ms int64, do func()) {
	j.mu.Lock()
	j.delayed = append(j.delayed, delayed{j.store.opt.Clock.Now().Add(time.Duration(ms) * time.Millisecond), do})
	j.mu.Unlock()
	j.signal()
}

// wake asks for a pass at atMs, for flush.ms.
func (j *jobs) wake(atMs int64) {
	j.mu.Lock()
	if j.flushAt == 0 || atMs < j.flushAt {
		j.flushAt = atMs
	}
	j.mu.Unlock()
	j.signal()
}

func (j *jobs) checkpointSoon(d *directory) {
	j.mu.Lock()
	known := j.checkpoint[d]
	j.checkpoint[d] = true
	j.mu.Unlock()
	if !known {
		j.signal()
	}
}

func (j *jobs) run() {
	defer j.done.Done()
	due := make(chan struct{}, 1)
	var timer clock.Timer
	for {
		next := j.pass(j.store.opt.Clock.Now())
		if timer != nil {
			timer.Stop()
		}
		timer = j.store.opt.Clock.AfterFunc(max(next.Sub(j.store.opt.Clock.Now()), time.Millisecond), func() {
			select {
			case due <- struct{}{}:
			default:
			}
		})
		select {
		case <-j.quit:
			timer.Stop()
			return
		case <-j.poke:
		case <-due:
		}
	}
}

// RunJobs does everything that is due now and returns when the next thing
// will be. Only for stores with Options.Manual.
func (st *Store) RunJobs() time.Time { return st.jobs.pass(st.opt.Clock.Now()) }

func (j *jobs) pass(now time.Time) time.Time {
	st := j.store
	j.mu.Lock()
	var run []func()
	kept := j.delayed[:0]
	for _, d := range j.delayed {
		if d.at.After(now) {
			kept = append(kept, d)
		} else {
			run = append(run, d.do)
		}
	}
	clear(j.delayed[len(kept):])
	j.delayed = kept
	var dirs []*directory
	for d := range j.checkpoint {
		dirs = append(dirs, d)
	}
	clear(j.checkpoint)
	flush := j.flushAt != 0 && j.flushAt <= now.UnixMilli()
	if flush {
		j.flushAt = 0
	}
	retain, periodic := !now.Before(j.retention), !now.Before(j.periodic)
	clean := !j.clean.IsZero() && !now.Before(j.clean)
	if clean {
		j.clean = time.Time{}
	}
	if retain {
		j.retention = now.Add(st.opt.RetentionInterval)
	}
	if periodic {
		j.periodic = now.Add(st.opt.CheckpointInterval)
		dirs = st.dirs
	}
	j.mu.Unlock()

	for _, do := range run {
		do()
	}
	if flush {
		for _, l := range st.Logs() {
			l.flushIfDue(now.UnixMilli())
		}
	}
	if retain {
		st.retain(now)
	}
	for _, d := range dirs {
		if err := d.checkpointRecovery(periodic); err != nil && d.failed() == nil {
			st.opt.Logger.Error("cannot bring recovery points up to date; a restart would read more", "dir", d.path, "error", err)
		}
	}

	if clean {
		st.clean.start(now)
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	next := j.retention
	earlier := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	earlier(j.periodic)
	if !j.clean.IsZero() {
		earlier(j.clean)
	}
	for _, d := range j.delayed {
		earlier(d.at)
	}
	if j.flushAt != 0 {
		earlier(time.UnixMilli(j.flushAt))
	}
	if len(j.checkpoint) > 0 {
		earlier(now)
	}
	return next
}

func (l *Log) flushIfDue(nowMs int64) {
	l.write.Lock()
	due := l.write.flushDue
	if due != 0 && due <= nowMs {
		l.write.flushDue, l.write.unflushed = 0, 0
		l.queue.Enqueue(l.endAt.Load(), nil)
	} else if due != 0 {
		l.store.jobs.wake(due)
	}
	l.write.Unlock()
}

// mostLonger bounds by how many times Options.CheckpointBytes a checkpoint of
// many logs may be put off.
const mostLonger = 7

// checkpointRecovery moves recovery points up so that a restart has little to
// read, and writes the checkpoint files. all takes every log that has
// anything; otherwise only those with much.
func (d *directory) checkpointRecovery(all bool) error {
	d.checkpointing.Lock()
	defer d.checkpointing.Unlock()
	d.appendedBytes.Store(0)
	// Logs with a few bytes each are left for the periodic run, as long as all
	// of them together stay small.
	small, left := d.store.opt.CheckpointBytes/manyLogs, int64(0)
	for _, l := range d.store.Logs() {
		if n := l.sinceRecovery.Load(); l.dir == d && n < small {
			left += n
		}
	}
	if left > d.checkpointAt.Load()/2 {
		all = true
	}
	var due []*Log
	for _, l := range d.store.Logs() {
		if l.dir != d || l.sinceRecovery.Load() == 0 {
			continue
		}
		if !all && l.sinceRecovery.Load() < small {
			d.appendedBytes.Add(l.sinceRecovery.Load())
			continue
		}
		due = append(due, l)
	}
	// A log costs a file made and one removed, whatever was written to it: where
	// many are written a little each, they are left alone for longer.
	longer := int64(min(len(due), mostLonger*manyLogs)) * d.store.opt.CheckpointBytes / manyLogs
	d.checkpointAt.Store(d.store.opt.CheckpointBytes + longer)
	moved, err := d.checkpointLogs(due)
	errs := []error{err}
	if len(moved) == 0 {
		return errors.Join(errs...)
	}
	if err := d.storeRecoveryPoints(); err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, l := range moved {
		l.dropStrays()
	}
	return errors.Join(append(errs, d.storeHighs())...)
}

// dropStrays removes the snapshots below the recovery point that are no
// segment's, as Kafka removes "stray" ones. The recovery point is stored: no
// recovery needs them any more.
func (l *Log) dropStrays() {
	l.write.Lock()
	defer l.write.Unlock()
	if l.write.closed {
		return
	}
	point, _ := l.dir.offsets(l.name) // as stored
	bases := map[int64]bool{}
	for _, s := range *l.segments.Load() {
		bases[s.Base()] = true
	}
	kept := l.write.strays[:0]
	for _, at := range l.write.strays {
		if at >= point {
			kept = append(kept, at)
		} else if !bases[at] {
			name := segment.FileName(l.path, at, segment.SnapshotSuffix)
			if err := l.store.opt.FS.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				l.store.opt.Logger.Warn("cannot remove an old producer snapshot", "file", name, "error", err)
			}
		}
	}
	l.write.strays = kept
}

func (st *Store) syncFile(name string) error {
	f, err := st.opt.FS.OpenFile(name, os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// retain applies retention to every log and forgets idle producers.
func (st *Store) retain(now time.Time) {
	for _, l := range st.Logs() {
		if err := l.retain(now.UnixMilli()); err != nil && !errors.Is(err, ErrClosed) && l.dir.failed() == nil {
			st.opt.Logger.Error("retention failed", "log", l.name, "error", err)
		}
	}
}

// Retain applies retention to one log now.
func (l *Log) Retain() error { return l.retain(l.store.opt.Clock.Now().UnixMilli()) }

func (l *Log) retain(nowMs int64) error {
	// A log that is being compacted is looked at when that is done.
	if !l.lockSealed() {
		return nil
	}
	defer l.cleaning.Unlock()
	return l.retainLocked(nowMs)
}

// retainLocked is retain for who has stopped the cleaner.
func (l *Log) retainLocked(nowMs int64) error {
	if err := l.finishSwap(); err != nil {
		return err
	}
	l.warmTimes()
	l.write.Lock()
	defer l.write.Unlock()
	if l.write.closed || l.removed.Load() {
		return ErrClosed
	}
	l.write.producers.RemoveExpired(nowMs)
	if err := l.dir.failed(); err != nil {
		return err
	}
	n, reason, err := l.deletable(nowMs)
	if err != nil || n == 0 {
		return err
	}
	list := *l.segments.Load()
	if n == len(list) {
		// The active segment is old too: a new one takes its place first.
		if err := l.roll(l.endAt.Load()); err != nil {
			return err
		}
		list = *l.segments.Load()
	}
	if next := list[n].Base(); next > l.startAt.Load() {
		if err := l.raiseStart(next); err != nil {
			return err
		}
	}
	return l.retireHead(n, reason)
}

// warmTimes asks the sealed segments for their largest timestamps, which takes
// reading the first time, before the append lock is taken.
func (l *Log) warmTimes() {
	list := *l.segments.Load()
	for _, s := range list[:len(list)-1] {
		if s.Acquire() {
			// An error comes again where it can be told.
			_, _, _ = s.MaxTimestamp()
			s.Release()
		}
	}
}

func (l *Log) deletable(nowMs int64) (n int, reason string, err error) {
	c := l.config.Load()
	list := *l.segments.Load()
	in := make([]retention.Segment, len(list))
	for i, s := range list {
		next := l.endAt.Load()
		if i+1 < len(list) {
			next = list[i+1].Base()
		}
		ts, _, err := s.MaxTimestamp()
		if err != nil {
			return 0, "", err
		}
		in[i] = retention.Segment{Base: s.Base(), Next: next, Size: s.Size(), MaxTimestamp: ts}
		if ts < 0 {
			if in[i].Modified, err = s.Modified(); err != nil {
				return 0, "", err
			}
		}
	}
	// What this looked at, and what readers have left, need not stay open.
	for _, s := range list[:len(list)-1] {
		l.idle(s)
	}
	policy := retention.Policy{RetentionMs: -1, RetentionBytes: -1}
	if c.Delete {
		policy.RetentionMs, policy.RetentionBytes = c.RetentionMs, c.RetentionBytes
	}
	n, why := retention.Decide(in, policy, l.startAt.Load(), l.High(), nowMs)
	return n, why.String(), nil
}
