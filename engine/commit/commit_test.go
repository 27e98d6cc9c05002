package commit

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// fakeLog is a log whose end is a counter and whose sync can be held and failed.
type fakeLog struct {
	end       atomic.Int64
	begun     int64
	syncs     atomic.Int64
	committed atomic.Int64
	gate      chan struct{} // when not nil, each sync waits for one token
	entered   chan struct{} // told when a sync has read the end
	fail      atomic.Pointer[error]
}

func (f *fakeLog) Begin() { f.begun = f.end.Load() }

func (f *fakeLog) SyncData() error {
	f.syncs.Add(1)
	if f.gate != nil {
		f.entered <- struct{}{}
		<-f.gate
	}
	if e := f.fail.Load(); e != nil {
		return *e
	}
	return nil
}

func (f *fakeLog) SyncNames() error { return nil }

func (f *fakeLog) Finish(err error) int64 {
	if err != nil {
		return 0
	}
	return f.begun
}

func (f *fakeLog) Committed(d int64) { f.committed.Store(d) }

type result struct {
	done chan error
}

func newResult() *result                { return &result{make(chan error, 1)} }
func (r *result) Synced(err error)      { r.done <- err }
func (r *result) wait() error           { return <-r.done }
func (r *result) pending() bool         { return len(r.done) == 0 }
func (f *fakeLog) append(n int64) int64 { return f.end.Add(n) }

func TestWaitersOfARunningSyncJoinTheNext(t *testing.T) {
	log := &fakeLog{gate: make(chan struct{}), entered: make(chan struct{}, 8)}
	p := NewPool(1, nil)
	q := p.NewQueue(log)
	first := newResult()
	q.Enqueue(log.append(1), first)
	<-log.entered // the sync has read end = 1
	var later []*result
	for range 50 {
		r := newResult()
		q.Enqueue(log.append(1), r)
		later = append(later, r)
	}
	log.gate <- struct{}{}
	if err := first.wait(); err != nil {
		t.Fatal(err)
	}
	<-log.entered
	for i, r := range later {
		if !r.pending() {
			t.Fatalf("waiter %d was answered by a sync that did not cover it", i)
		}
	}
	log.gate <- struct{}{}
	for _, r := range later {
		if err := r.wait(); err != nil {
			t.Fatal(err)
		}
	}
	if n := log.syncs.Load(); n != 2 {
		t.Fatalf("%d syncs for 51 waiters, expected 2", n)
	}
	if c := log.committed.Load(); c != 51 {
		t.Fatalf("durable notice %d, expected 51", c)
	}
	p.Close()
}

func TestFirstFailurePoisonsEveryLogOfTheDirectory(t *testing.T) {
	var told atomic.Int64
	p := NewPool(2, func(error) { told.Add(1) })
	bad, good := &fakeLog{}, &fakeLog{}
	cause := errors.New("input/output error")
	bad.fail.Store(&cause)
	qb, qg := p.NewQueue(bad), p.NewQueue(good)
	r := newResult()
	qb.Enqueue(bad.append(1), r)
	if err := r.wait(); !errors.Is(err, cause) {
		t.Fatalf("got %v", err)
	}
	bad.fail.Store(nil) // the disk claims to be well again
	for _, q := range []*Queue{qb, qg} {
		r := newResult()
		q.Enqueue(5, r)
		if err := r.wait(); !errors.Is(err, cause) {
			t.Fatalf("after the poison: %v", err)
		}
	}
	if good.syncs.Load() != 0 || bad.syncs.Load() != 1 {
		t.Fatalf("a poisoned directory was synced again: %d, %d", good.syncs.Load(), bad.syncs.Load())
	}
	if told.Load() != 1 {
		t.Fatalf("poison told %d times", told.Load())
	}
	p.Close()
}

func TestDurableIsAnsweredAtOnce(t *testing.T) {
	p := NewPool(1, nil)
	q := p.NewQueue(&fakeLog{})
	q.Reset(10)
	r := newResult()
	q.Enqueue(10, r)
	if r.pending() {
		t.Fatal("offset 10 is durable, its waiter was not told before Enqueue returned")
	}
	p.Close()
}

func TestManyLogsManyAppenders(t *testing.T) {
	p := NewPool(3, nil)
	var all sync.WaitGroup
	for range 5 {
		log := &fakeLog{}
		q := p.NewQueue(log)
		for range 4 {
			all.Add(1)
			go func() {
				defer all.Done()
				for range 500 {
					r := newResult()
					end := log.append(1)
					q.Enqueue(end, r)
					if err := r.wait(); err != nil {
						t.Error(err)
					}
					if log.committed.Load() < 1 {
						t.Error("a waiter was told before the durable notice")
					}
				}
			}()
		}
	}
	all.Wait()
	p.Close()
}

func TestCloseFinishesQueuedWork(t *testing.T) {
	log := &fakeLog{}
	p := NewPool(1, nil)
	q := p.NewQueue(log)
	var rs []*result
	for range 20 {
		r := newResult()
		q.Enqueue(log.append(1), r)
		rs = append(rs, r)
	}
	p.Close()
	for _, r := range rs {
		if r.pending() {
			t.Fatal("a waiter was forgotten by Close")
		}
	}
}

// A log is cut while a sync of its old end is under way: what is appended at
// the same offsets afterwards is not durable before a sync of its own.
func TestResetOutlivesARunningSync(t *testing.T) {
	log := &fakeLog{gate: make(chan struct{}), entered: make(chan struct{}, 8)}
	p := NewPool(1, nil)
	q := p.NewQueue(log)
	first := newResult()
	q.Enqueue(log.append(10), first)
	<-log.entered // the sync has read end = 10
	q.Reset(4)
	log.end.Store(4)
	log.gate <- struct{}{}
	if err := first.wait(); err != nil {
		t.Fatal(err)
	}
	second := newResult()
	q.Enqueue(log.append(2), second)
	<-log.entered
	if !second.pending() {
		t.Fatal("answered by the sync of what was cut")
	}
	log.gate <- struct{}{}
	if err := second.wait(); err != nil {
		t.Fatal(err)
	}
	p.Close()
}

// An appender that comes too late for a poisoned pool is told so.
func TestEnqueueAfterClose(t *testing.T) {
	log := &fakeLog{}
	p := NewPool(1, nil)
	q := p.NewQueue(log)
	p.Poison(errors.New("broken"))
	p.Close()
	r := newResult()
	q.Enqueue(log.append(1), r)
	if err := r.wait(); err == nil {
		t.Fatal("durable after the pool was closed")
	}
}
