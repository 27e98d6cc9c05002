package commit

import (
	"sync/atomic"
	"time"
)

// Journal makes many lightly written logs durable with the sync of one file. It
// is called by one round at a time.
type Journal interface {
	// Ready says whether there is a journal, and Want asks for one, which may take
	// some asking and some time.
	Ready() bool
	Want()
	// Begin begins a record, and Take adds to it what a log that has begun its sync
	// has to sync; false if it has too much of it, or names.
	Begin()
	Take(l Log) bool
	// Commit makes the record durable: false if there is no room for it now. What
	// it holds comes back after a crash.
	Commit() (bool, error)
}

// together is the choice between syncing logs one by one and all at once. One
// sync per lightly written log is one flush of the drive each. A journal is one
// flush and one write for all of them. Where there is none, or it is full,
// syncfs(2) is one flush, but waits for everybody else's dirty data on the volume too:
// it is used for several logs, and only while it is measured to be cheaper.
type together struct {
	sync    func() error
	journal Journal
	least   int // logs that are worth a round together
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
	if t == nil || n < t.least {
		return false
	}
	if t.journal != nil && t.journal.Ready() {
		return true
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
	journal := p.together.ready()
	if len(logs) < minTogether && journal == nil {
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
		if err = p.syncAll(logs, journal); err != nil {
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

// ready returns the journal if there is one, and otherwise asks for it.
func (t *together) ready() Journal {
	if t.journal == nil {
		return nil
	}
	if !t.journal.Ready() {
		if t.journal.Want(); !t.journal.Ready() {
			return nil
		}
	}
	return t.journal
}

// syncAll is the sync of all logs: by the journal, and what it does not take by
// itself, or everything on the volume.
func (p *Pool) syncAll(logs []*Queue, journal Journal) error {
	rest := logs
	if journal != nil {
		var err error
		if rest, err = p.journalAll(logs, journal); err != nil {
			return err
		}
	}
	if len(rest) >= minTogether {
		return p.syncVolume(rest)
	}
	for _, q := range rest {
		if err := q.log.SyncData(); err != nil {
			return err
		}
		if err := q.log.SyncNames(); err != nil {
			return err
		}
	}
	return nil
}

// journalAll returns the logs that are not durable by the journal.
func (p *Pool) journalAll(logs []*Queue, journal Journal) ([]*Queue, error) {
	p.left = p.left[:0]
	journal.Begin()
	for _, q := range logs {
		if !journal.Take(q.log) {
			p.left = append(p.left, q)
		}
	}
	if len(p.left) >= minTogether {
		return logs, nil // the volume's sync covers all
	}
	if done, err := journal.Commit(); err != nil || !done {
		return logs, err
	}
	return p.left, nil
}

// syncVolume syncs everything, data and names, to the drive, and one log by
// itself as the flush.
func (p *Pool) syncVolume(logs []*Queue) error {
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
	many := len(logs) >= minTogether
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
	if p.lane--; many {
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
