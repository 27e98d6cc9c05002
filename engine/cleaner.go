package engine

import (
	"errors"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gregor-broker/gregor/engine/compact"
)

// cleaner compacts logs: whenever the jobs say so it looks for the dirtiest one that is due, cleans it, and goes on
// until there is none; then it lets go of its memory. It is Kafka's LogCleaner with LogCleanerManager, except that
// there is no thread while there is nothing to do.
type cleaner struct {
	store    *Store
	throttle *compact.Throttle

	mu      sync.Mutex // guards the choice and the options
	options CleanerOptions
}

func newCleaner(st *Store) *cleaner {
	return &cleaner{store: st, options: st.opt.Cleaner, throttle: compact.NewThrottle(st.opt.Cleaner.MaxBytesPerSecond)}
}

// SetCleaner changes the settings of the cleaner from the next log on, the throttle at once. A cleaner that is
// disabled from now on does not stop in the middle of a log. Safe for concurrent use.
func (st *Store) SetCleaner(o CleanerOptions) {
	o = o.withDefaults()
	st.clean.mu.Lock()
	same := o == st.clean.options
	st.clean.options = o
	st.clean.mu.Unlock()
	if same {
		return
	}
	st.clean.throttle.SetRate(o.MaxBytesPerSecond)
	st.jobs.cleanSoon()
}

func (c *cleaner) settings() CleanerOptions {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.options
}

// cleanSoon asks for a look at the logs after log.cleaner.backoff.ms, unless one comes earlier: a log that is to be
// compacted is there, or was until then not.
func (j *jobs) cleanSoon() {
	o := j.store.clean.settings()
	if o.Disabled {
		return
	}
	at := j.store.opt.Clock.Now().Add(o.Backoff)
	j.mu.Lock()
	set := !j.stopped && (j.clean.IsZero() || at.Before(j.clean))
	if set {
		j.clean = at
	}
	j.mu.Unlock()
	if set {
		j.signal()
	}
}

// start begins a round of cleaning; with Options.Manual it is over when start returns. Called by the jobs alone.
func (c *cleaner) start(now time.Time) {
	if c.store.opt.Manual {
		c.round(now, 1)
		return
	}
	c.store.jobs.done.Add(1)
	go func() {
		defer c.store.jobs.done.Done()
		c.round(now, c.settings().Threads)
	}()
}

// round cleans whatever is due, several logs at a time, looks after retention of compacted logs, and arranges for
// the next round while there is any such log.
func (c *cleaner) round(now time.Time, threads int) {
	r := &cleanRound{cleaner: c, failed: map[*Log]bool{}, began: now}
	if !c.settings().Disabled {
		var all sync.WaitGroup
		for range threads - 1 {
			all.Go(r.work)
		}
		r.work()
		all.Wait()
	}
	if r.bytes > freeBytes {
		// The operating system gets it now, not when the collector sees fit: a broker is idle most of the time.
		debug.FreeOSMemory()
	}
	if c.retain(now) {
		c.store.jobs.cleanSoon()
	}
}

// freeBytes is how much a round must have taken for its memory to be given back at once.
const freeBytes = 1 << 20

// retain is for the logs that retention leaves to the cleaner, as it may have been at work on them
// (LogCleanerManager.deletableLogs). It says whether there are any.
func (c *cleaner) retain(now time.Time) (compacted bool) {
	for _, l := range c.store.Logs() {
		cfg := l.config.Load()
		if !cfg.Compact {
			continue
		}
		compacted = true
		list := *l.segments.Load()
		if c.stopped() || !cfg.Delete && (len(list) < 2 || list[1].Base() > l.startAt.Load()) {
			continue
		}
		if err := l.retain(now.UnixMilli()); err != nil && !errors.Is(err, ErrClosed) && l.dir.failed() == nil {
			c.store.opt.Logger.Error("retention failed", "log", l.name, "error", err)
		}
	}
	return compacted
}

func (c *cleaner) stopped() bool {
	select {
	case <-c.store.jobs.quit:
		return true
	default:
		return false
	}
}

// cleanRound is one round of one or more workers.
type cleanRound struct {
	cleaner *cleaner
	began   time.Time

	mu     sync.Mutex
	failed map[*Log]bool // not again in this round
	bytes  int64         // memory that was taken
}

func (r *cleanRound) work() {
	for !r.cleaner.stopped() {
		l := r.choose()
		if l == nil {
			return
		}
		bytes, err := l.clean(r.cleaner)
		l.busy.Store(false)
		r.mu.Lock()
		r.bytes += bytes
		r.failed[l] = r.failed[l] || err != nil
		r.mu.Unlock()
		r.cleaner.report(l, err)
	}
}

// choose takes the dirtiest log that is due (grabFilthiestCompactedLog).
func (r *cleanRound) choose() *Log {
	c := r.cleaner
	r.mu.Lock()
	defer r.mu.Unlock()
	var filthiest *Log
	dirtiest := -1.0
	for _, l := range c.store.Logs() {
		if !l.config.Load().Compact || l.uncleanable.Load() || l.busy.Load() || l.moving.Load() || r.failed[l] || l.dir.failed() != nil {
			continue
		}
		plan, policy, err := l.cleaningPlan()
		if err != nil {
			if !errors.Is(err, errStopped) {
				r.failed[l] = true
				c.report(l, err)
			}
			continue
		}
		if plan.Reset {
			c.store.opt.Logger.Warn("the cleaner's checkpoint lies behind the end of the log; cleaning begins at its start", "log", l.name, "start", plan.FirstDirty)
			if err := l.dir.storeCleanedTo(l, plan.FirstDirty); err != nil {
				r.failed[l] = true
				c.report(l, l.cleaningFailed(err))
				continue
			}
		}
		if ratio := plan.Ratio(); plan.Due(policy) && ratio > dirtiest {
			filthiest, dirtiest = l, ratio
		}
	}
	if filthiest != nil {
		filthiest.busy.Store(true)
	}
	return filthiest
}

// report logs what went wrong with one log. What would go wrong again ends the cleaning of that log until the process
// ends (markPartitionUncleanable); a full disk is tried again in the next round.
func (c *cleaner) report(l *Log, err error) {
	switch {
	case err == nil, errors.Is(err, errStopped), errors.Is(err, ErrClosed):
	case l.dir.failed() != nil:
		// Told already, and nothing is cleaned there any more.
	case isNoSpace(err):
		c.store.opt.Logger.Error("cannot compact a log now", "log", l.name, "error", err)
	default:
		l.uncleanable.Store(true)
		c.store.opt.Logger.Error("a log cannot be compacted and is left as it is until the next start", "log", l.name, "error", err)
	}
}

// cleaningPlan finds what can be cleaned of a log.
func (l *Log) cleaningPlan() (compact.Plan, compact.Policy, error) {
	c := l.config.Load()
	policy := compact.Policy{MinDirtyRatio: c.MinCleanableDirtyRatio, MinLagMs: c.MinCompactionLagMs, MaxLagMs: c.MaxCompactionLagMs}
	list := *l.segments.Load()
	state := compact.State{Segments: make([]compact.Segment, len(list)), Start: l.startAt.Load(), Stable: l.Stable(),
		Cleaned: l.dir.cleanedTo(l.name)}
	state.End = l.endAt.Load()
	first, largest := policy.NeedsTimes()
	for i, s := range list {
		state.Segments[i] = describe(s)
		if i == len(list)-1 || !first && !largest {
			continue
		}
		if !s.Acquire() {
			return compact.Plan{}, policy, errStopped // something else is going on; the next round sees
		}
		err := sealedTimes(&state.Segments[i], s, first, largest)
		s.Release()
		l.idle(s)
		if err != nil {
			return compact.Plan{}, policy, err
		}
	}
	return compact.Decide(state, policy, l.store.opt.Clock.Now().UnixMilli()), policy, nil
}

// pause waits as long as the throttle wants, or until stop says so.
func (c *cleaner) pause(n int64, stop func() error) error {
	clock := c.store.opt.Clock
	wait := c.throttle.Pause(n, clock.Now())
	if c.store.opt.Manual {
		wait = 0 // its owner's clock does not move meanwhile
	}
	for wait > 0 {
		step := min(wait, pauseStep)
		over := make(chan struct{})
		timer := clock.AfterFunc(step, func() { close(over) })
		select {
		case <-over:
		case <-c.store.jobs.quit:
			timer.Stop()
		}
		wait -= step
		if err := stop(); err != nil {
			return err
		}
	}
	return nil
}

// pauseStep is how long somebody who wants a cleaning stopped may have to wait for the throttle.
const pauseStep = 50 * time.Millisecond

// dedupeBytes is one worker's share of the dedupe buffer; Kafka's limit of 2 GiB is kept.
func (o CleanerOptions) dedupeBytes() int64 {
	return min(o.DedupeBufferBytes/int64(o.Threads), math.MaxInt32)
}

// bufferBytes is the size of a worker's read buffer, and of its write buffer.
func (o CleanerOptions) bufferBytes() int {
	return max(o.IOBufferBytes/o.Threads/2, 4096)
}
