package commit

import (
	"sync/atomic"
	"time"
)

// together is the choice between syncing logs one by one and all at once. One
// sync per lightly written log is one flush of the drive each; syncfs(2) is one
// for all of them, but waits for everybody else's dirty data on the volume too.
// So it is used for several logs, and only while it is measured to be cheaper.
type together struct {
	sync func() error
	// Moving averages in nanoseconds: of one log's own sync, and of a shared
	// sync less what it costs per log. Zero: not measured yet.
	own, all atomic.Int64
	skipped  atomic.Int32
}

// Bounds of the choice.
const (
	minTogether = 4  // fewer logs are synced side by side by the workers
	parallel    = 3  // how much faster the workers are together than one after the other, measured
	retryAfter  = 64 // rounds after which a shared sync that was too slow is tried again
	laneRounds  = 16 // rounds of few logs after which the workers go side by side again
)

// pays says whether n logs should be synced at once. nil never does.
func (t *together) pays(n int) bool {
	if t == nil || n < minTogether {
		return false
	}
	own, all := t.own.Load(), t.all.Load()
	if own == 0 || all == 0 || all <= own*int64(n)/parallel {
		return true
	}
	if t.skipped.Add(1) >= retryAfter {
		t.skipped.Store(0)
		return true
	}
	return false
}

// alone notes what the sync of one log took.
func (t *together) alone(d time.Duration) {
	if t != nil {
		average(&t.own, d)
	}
}

func average(a *atomic.Int64, d time.Duration) {
	old := a.Load()
	switch {
	case old == 0:
		old = int64(d)
	case int64(d) < old:
		old -= (old - int64(d)) / 2 // what is slow once, for the sake of others, is forgotten soon
	default:
		old += (int64(d) - old) / 8
	}
	a.Store(old + 1)
}

func now() time.Time                      { return time.Now() }
func since(begin time.Time) time.Duration { return time.Since(begin) }

// roundTogether is a round of many logs with one sync. The order is that of
// Queue.round for each of them.
//
// Rounds follow one another in one lane for a while: side by side with single
// syncs, which take the logs as they come, there would never be many to share one.
func (p *Pool) roundTogether(logs []*Queue) {
	if len(logs) < minTogether {
		for _, q := range logs {
			q.round()
		}
		p.endTogether(logs, false)
		return
	}
	for _, q := range logs {
		q.take()
	}
	err := p.Poisoned()
	if err == nil {
		for _, q := range logs {
			q.log.Begin()
		}
		if err = p.syncAll(logs); err != nil {
			p.Poison(err)
			err = p.Poisoned()
		}
		for _, q := range logs {
			q.finish(err)
		}
	}
	for _, q := range logs {
		q.answer(err)
	}
	p.endTogether(logs, true)
}

// syncAll is the sync: everything, data and names, to the drive, and one log's
// own sync as the flush.
func (p *Pool) syncAll(logs []*Queue) error {
	began := now()
	if err := p.together.sync(); err != nil {
		return err
	}
	if err := logs[0].log.SyncData(); err != nil {
		return err
	}
	average(&p.together.all, since(began))
	return nil
}

// endTogether opens the next window: logs with new waiters are ready again.
func (p *Pool) endTogether(logs []*Queue, shared bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range logs {
		if shared && q.again() {
			p.ready = append(p.ready, q)
		}
	}
	clear(logs)
	if cap(logs) <= 4096 {
		p.spare = logs[:0]
	}
	p.shared = false
	if p.lane--; shared {
		p.lane = laneRounds
	}
	if p.lane > 0 {
		return // this worker goes on
	}
	p.lane = 0
	for range min(len(p.ready)-1, len(p.idle)) {
		w := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		w <- struct{}{}
	}
}
