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

// Log is what a queue needs of a log.
type Log interface {
	// Sync makes durable what was appended before the call and returns the
	// offset below which everything now is. Never called concurrently for one
	// log.
	Sync() (durable int64, err error)
	// Committed is the durable notice, called after a successful sync and
	// before its waiters; no lock is held.
	Committed(durable int64)
}

// Pool runs the sync workers of one data directory. Create it with NewPool.
type Pool struct {
	limit    int
	onPoison func(error)

	mu      sync.Mutex
	ready   []*Queue // logs with something to sync, each at most once
	idle    []chan *Queue
	workers int
	err     error // the poison, set once
	closed  bool
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
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		w <- q // capacity one, and only idle workers are in the list
		return
	}
	p.ready = append(p.ready, q)
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
	inbox := make(chan *Queue, 1)
	for {
		p.mu.Lock()
		var q *Queue
		if len(p.ready) > 0 {
			q = p.ready[0]
			p.ready[0] = nil
			p.ready = p.ready[1:]
		} else {
			if p.closed {
				p.mu.Unlock()
				return
			}
			p.idle = append(p.idle, inbox)
		}
		p.mu.Unlock()
		if q == nil {
			var open bool
			if q, open = <-inbox; !open {
				return
			}
		}
		q.round()
	}
}

// round does one sync for the queue. The order is what makes it right: first
// the waiters are taken, then (inside Log.Sync) the end of the log. An
// appender publishes its end before it enqueues, so every waiter taken here is
// covered by the end read afterwards; taken the other way round, a waiter could
// slip in between and be answered by a sync that did not see its bytes.
func (q *Queue) round() {
	q.mu.Lock()
	taken := q.waiters
	resets := q.resets
	q.waiters = q.spare[:0]
	q.spare = nil
	q.mu.Unlock()

	err := q.pool.Poisoned()
	var durable int64
	if err == nil {
		if durable, err = q.log.Sync(); err != nil {
			q.pool.Poison(err)
			err = q.pool.Poisoned()
		}
	}
	if err == nil {
		q.mu.Lock()
		if q.resets == resets {
			q.durable = max(q.durable, durable)
		}
		q.mu.Unlock()
		q.log.Committed(durable)
	}
	for i := range taken {
		w := taken[i]
		taken[i] = waiting{}
		if w.w == nil {
			continue
		}
		if err == nil && w.upTo > durable {
			// A log truncated below what somebody waits for: the records are gone.
			w.w.Synced(fmt.Errorf("offset %d was truncated away before it was durable (end %d)", w.upTo, durable))
			continue
		}
		w.w.Synced(err)
	}

	q.mu.Lock()
	if cap(taken) <= 4096 {
		q.spare = taken[:0]
	}
	again := len(q.waiters) > 0
	q.scheduled = again
	q.mu.Unlock()
	if again {
		q.pool.requeue(q)
	}
}

// requeue puts a log that got new waiters during its sync behind the others.
func (p *Pool) requeue(q *Queue) {
	p.mu.Lock()
	p.ready = append(p.ready, q)
	p.mu.Unlock()
}
