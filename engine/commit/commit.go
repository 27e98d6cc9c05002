package commit

import (
	"fmt"
	"sync"
)

// Waiter is told once that what it waits for is durable (nil) or never will be
// (the error). Synced is called with no lock of the engine held and must only
// store and wake: it delays the next sync.
type Waiter interface {
	Synced(err error)
}

// Log is what a queue needs of a log. One sync at a time is Begin, SyncData and
// SyncNames, Finish; nothing is called concurrently for one log.
type Log interface {
	// Begin notes what was appended before the call: that is what this sync
	// covers.
	Begin()
	// SyncData makes the bytes durable that Begin noted, and SyncNames the names
	// of files made since the last sync.
	SyncData() error
	SyncNames() error
	// Finish ends the sync. If it went well (err is nil) it returns the offset
	// below which everything is durable now.
	Finish(err error) (durable int64)
	// Committed is the durable notice, called after a successful sync and
	// before its waiters; no lock is held.
	Committed(durable int64)
}

// Pool runs the sync workers of one data directory. Create it with NewPool.
type Pool struct {
	limit    int
	onPoison func(error)
	together *together // nil: every log is synced by itself

	mu      sync.Mutex
	ready   []*Queue // logs with something to sync, each at most once
	spare   []*Queue // the slice of the last shared sync, reused
	left    []*Queue // of the shared sync under way: what the journal does not take
	idle    []chan struct{}
	workers int
	err     error // the poison, set once
	closed  bool
	shared  bool // a round of several logs is under way: it is the batching window of all others
	lane    int  // rounds for which logs go on being synced in one round at a time
	done    sync.WaitGroup
}

// NewPool returns a pool that runs at most workers syncs at a time; goroutines
// start when there is work. onPoison, if not nil, is called once, from the
// worker whose sync failed first.
func NewPool(workers int, onPoison func(error)) *Pool {
	return &Pool{limit: max(workers, 1), onPoison: onPoison}
}

// Poisoned returns the first sync error of the directory, or nil.
func (p *Pool) Poisoned() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Poison marks the directory as failed, as a failed sync does. Later calls
// keep the first error.
func (p *Pool) Poison(err error) {
	p.mu.Lock()
	first := p.err == nil
	if first {
		p.err = fmt.Errorf("the directory is read-only until it is checked and restarted: %w", err)
	}
	p.mu.Unlock()
	if first && p.onPoison != nil {
		p.onPoison(err)
	}
}

// Close waits for the syncs under way and for queued ones, then stops the
// workers. Enqueue must not be called any more.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for _, w := range p.idle {
		close(w)
	}
	p.idle = nil
	p.mu.Unlock()
	p.done.Wait()
}

// SyncTogether lets the pool sync many logs at once: all writes back everything
// that was changed on the volume, names included, and the SyncData of one log
// behind it makes that durable. It must be called before the first queue is made.
func (p *Pool) SyncTogether(all func() error) { p.together = &together{sync: all, least: minTogether} }

// JournalTogether lets the pool use a journal before it syncs everything, for
// rounds of at least so many logs, zero for the usual number. SyncTogether comes before it.
func (p *Pool) JournalTogether(j Journal, least int) {
	p.together.journal = j
	if least > 0 {
		p.together.least = least
	}
}

// NewQueue returns the queue of one log.
func (p *Pool) NewQueue(l Log) *Queue { return &Queue{pool: p, log: l} }

// Queue holds the waiters of one log. Safe for concurrent use.
type Queue struct {
	pool *Pool
	log  Log

	mu        sync.Mutex
	durable   int64
	resets    int // so that a sync under way at a Reset does not undo it
	waiters   []waiting
	spare     []waiting // the slice of the previous round, reused
	scheduled bool      // in the pool's ready list or being synced

	// Of the round under way; only its worker touches them.
	taken       []waiting
	resetsTaken int
	reached     int64
}

type waiting struct {
	upTo int64
	w    Waiter
}

// Reset sets the durable offset of a freshly loaded or truncated log. Nobody
// may be waiting.
func (q *Queue) Reset(durable int64) {
	q.mu.Lock()
	q.durable = durable
	q.resets++
	q.mu.Unlock()
}

// Enqueue asks for a sync that covers everything below upTo and tells w when
// it is durable; w may be nil. If it is durable already, or the directory is
// poisoned, w is told before Enqueue returns. The caller must have finished
// writing: a sync may start at once.
func (q *Queue) Enqueue(upTo int64, w Waiter) {
	q.mu.Lock()
	if upTo <= q.durable {
		q.mu.Unlock()
		if w != nil {
			w.Synced(nil)
		}
		return
	}
	q.waiters = append(q.waiters, waiting{upTo, w})
	wake := !q.scheduled
	q.scheduled = true
	q.mu.Unlock()
	if wake {
		q.pool.schedule(q)
	}
}

func (p *Pool) schedule(q *Queue) {
	p.mu.Lock()
	if p.closed {
		// Too late for a worker, as when a poisoned directory is closed under
		// an appender; its waiters still have to be told.
		p.mu.Unlock()
		q.round()
		return
	}
	p.ready = append(p.ready, q)
	if p.shared {
		p.mu.Unlock()
		return // the one who syncs together takes it next
	}
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		w <- struct{}{} // capacity one, and only idle workers are in the list
		return
	}
	start := p.workers < p.limit
	if start {
		p.workers++
		p.done.Add(1)
	}
	p.mu.Unlock()
	if start {
		go p.work()
	}
}

func (p *Pool) work() {
	defer p.done.Done()
	inbox := make(chan struct{}, 1)
	for {
		p.mu.Lock()
		switch n := len(p.ready); {
		case n > 0 && !p.shared && (p.lane > 0 && n < minTogether || p.together.pays(n)):
			all := p.ready
			p.ready = p.spare[:0]
			p.spare = nil
			p.shared = true
			p.mu.Unlock()
			p.roundTogether(all)
		case n > 0 && (!p.shared || p.closed):
			q := p.ready[0]
			p.ready[0] = nil
			p.ready = p.ready[1:]
			p.mu.Unlock()
			q.round()
		case p.closed:
			p.mu.Unlock()
			return
		default:
			p.idle = append(p.idle, inbox)
			p.mu.Unlock()
			<-inbox
		}
	}
}

// round does one sync for the queue. The order is what makes it right: first
// the waiters are taken, then (inside Log.Sync) the end of the log. An
// appender publishes its end before it enqueues, so every waiter taken here is
// covered by the end read afterwards; taken the other way round, a waiter could
// slip in between and be answered by a sync that did not see its bytes.
func (q *Queue) round() {
	q.take()
	err := q.pool.Poisoned()
	if err == nil {
		began := now()
		q.log.Begin()
		if err = q.log.SyncData(); err == nil {
			q.pool.together.alone(since(began))
			err = q.log.SyncNames()
		}
		if err != nil {
			q.pool.Poison(err)
			err = q.pool.Poisoned()
		}
		q.finish(err)
	}
	q.answer(err)
	if q.again() {
		q.pool.requeue(q)
	}
}

// take takes the waiters of the sync that begins.
func (q *Queue) take() {
	q.mu.Lock()
	q.taken, q.resetsTaken = q.waiters, q.resets
	q.waiters = q.spare[:0]
	q.spare = nil
	q.mu.Unlock()
}

// finish ends the log's part of a sync.
func (q *Queue) finish(err error) {
	q.reached = q.log.Finish(err)
	if err != nil {
		return
	}
	q.mu.Lock()
	if q.resets == q.resetsTaken {
		q.durable = max(q.durable, q.reached)
	}
	q.mu.Unlock()
	q.log.Committed(q.reached)
}

// answer tells the waiters.
func (q *Queue) answer(err error) {
	for i := range q.taken {
		w := q.taken[i]
		q.taken[i] = waiting{}
		if w.w == nil {
			continue
		}
		if err == nil && w.upTo > q.reached {
			// A log truncated below what somebody waits for: the records are gone.
			w.w.Synced(fmt.Errorf("offset %d was truncated away before it was durable (end %d)", w.upTo, q.reached))
			continue
		}
		w.w.Synced(err)
	}
}

// again ends a round and says whether there is another to do.
func (q *Queue) again() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if cap(q.taken) <= 4096 {
		q.spare = q.taken[:0]
	}
	q.taken = nil
	q.scheduled = len(q.waiters) > 0
	return q.scheduled
}

// requeue puts a log that got new waiters during its sync behind the others.
func (p *Pool) requeue(q *Queue) {
	p.mu.Lock()
	p.ready = append(p.ready, q)
	p.mu.Unlock()
}
