package commit

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ready makes logs that all ask for a sync while the only worker is held in the
// sync of another.
func ready(t *testing.T, p *Pool, n int) (held *fakeLog, logs []*fakeLog, results []*result) {
	t.Helper()
	held = &fakeLog{gate: make(chan struct{}), entered: make(chan struct{}, 1)}
	p.NewQueue(held).Enqueue(held.append(1), nil)
	<-held.entered
	for range n {
		log, r := &fakeLog{}, newResult()
		p.NewQueue(log).Enqueue(log.append(3), r)
		logs, results = append(logs, log), append(results, r)
	}
	return held, logs, results
}

func TestManyReadyLogsShareOneSync(t *testing.T) {
	p := NewPool(1, nil)
	shared := 0
	p.SyncTogether(func() error { shared++; return nil })
	held, logs, results := ready(t, p, 40)
	held.gate <- struct{}{}
	own := int64(0)
	for i, r := range results {
		if err := r.wait(); err != nil {
			t.Fatal(err)
		}
		own += logs[i].syncs.Load()
		if logs[i].committed.Load() != 3 {
			t.Fatalf("log %d: durable notice %d", i, logs[i].committed.Load())
		}
	}
	p.Close()
	if shared != 1 || own != 1 {
		t.Fatalf("%d shared syncs and %d of single logs for 40 logs, expected one of all and one behind it", shared, own)
	}
}

func TestFewLogsAreSyncedByThemselves(t *testing.T) {
	p := NewPool(1, nil)
	p.SyncTogether(func() error { t.Error("a shared sync for three logs"); return nil })
	held, logs, results := ready(t, p, 3)
	held.gate <- struct{}{}
	for i, r := range results {
		if err := r.wait(); err != nil || logs[i].syncs.Load() != 1 {
			t.Fatal(err, logs[i].syncs.Load())
		}
	}
	p.Close()
}

func TestAFailedSharedSyncPoisons(t *testing.T) {
	cause := errors.New("input/output error")
	for _, behind := range []bool{false, true} {
		p := NewPool(1, nil)
		p.SyncTogether(func() error {
			if behind {
				return nil
			}
			return cause
		})
		held, logs, results := ready(t, p, 5)
		if behind {
			logs[0].fail.Store(&cause) // the flush behind it
		}
		held.gate <- struct{}{}
		for i, r := range results {
			if err := r.wait(); !errors.Is(err, cause) {
				t.Fatalf("log %d: %v", i, err)
			}
			if logs[i].committed.Load() != 0 {
				t.Fatalf("log %d got a durable notice", i)
			}
		}
		late := newResult()
		p.NewQueue(logs[1]).Enqueue(9, late)
		if err := late.wait(); !errors.Is(err, cause) {
			t.Fatal(err)
		}
		p.Close()
	}
}

// TestSharedSyncsUnderLoad: nobody is answered by a sync that did not cover it,
// and nobody is forgotten, whatever the mix of single and shared syncs.
func TestSharedSyncsUnderLoad(t *testing.T) {
	p := NewPool(4, nil)
	var shared atomic.Int64
	p.SyncTogether(func() error { shared.Add(1); return nil })
	for shared.Load() == 0 { // how logs meet is up to the scheduler
		var all sync.WaitGroup
		for range 60 {
			log := &fakeLog{}
			q := p.NewQueue(log)
			var last atomic.Int64
			for range 2 {
				all.Add(1)
				go func() {
					defer all.Done()
					for range 300 {
						r := newResult()
						end := log.append(1)
						q.Enqueue(end, r)
						if err := r.wait(); err != nil {
							t.Error(err)
						}
						if log.committed.Load() < 1 {
							t.Error("told before the durable notice")
						}
						last.Store(end)
					}
				}()
			}
		}
		all.Wait()
	}
	p.Close()
}

func TestADearSharedSyncIsAvoidedAndTriedAgain(t *testing.T) {
	x := &together{}
	if !x.pays(minTogether) {
		t.Fatal("the first must be tried")
	}
	x.alone(time.Millisecond)
	x.all.Store(int64(time.Second))
	if x.pays(100) {
		t.Fatal("a second for what takes 33 ms")
	}
	if !x.pays(10_000) {
		t.Fatal("ten seconds of single syncs are dearer than one")
	}
	tried := 0
	for range 10 * retryAfter {
		if x.pays(100) {
			tried++
		}
	}
	if tried != 10 {
		t.Fatalf("tried again %d times in %d rounds", tried, 10*retryAfter)
	}
	if (*together)(nil).pays(1000) {
		t.Fatal("without a volume nothing is shared")
	}
}
