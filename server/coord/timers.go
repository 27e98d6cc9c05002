package coord

import (
	"container/heap"
	"time"

	"github.com/gregor-broker/gregor/engine/clock"
)

// timers are the timers of one shard: a heap, and one timer of the clock for
// its top. Putting a timer off, which every heartbeat does, only notes the new
// time; the heap learns of it when the old time comes. Guarded by the shard's
// lock.
type timers struct {
	clock clock.Clock
	wake  func()
	byKey map[TimerKey]*timer
	heap  timerHeap
	armed int64 // time the clock's timer is set to; 0 for none
	alarm clock.Timer
}

type timer struct {
	key  TimerKey
	at   int64 // when it shall fire
	due  int64 // when the heap thinks so, at or before at
	seat int
}

func (t *timers) set(k TimerKey, at int64) {
	x := t.byKey[k]
	if x == nil {
		if t.byKey == nil {
			t.byKey = map[TimerKey]*timer{}
		}
		x = &timer{key: k, at: at, due: at}
		t.byKey[k] = x
		heap.Push(&t.heap, x)
		return
	}
	x.at = at
	if at < x.due {
		x.due = at
		heap.Fix(&t.heap, x.seat)
	}
}

func (t *timers) cancel(k TimerKey) {
	if x := t.byKey[k]; x != nil {
		delete(t.byKey, k)
		heap.Remove(&t.heap, x.seat)
	}
}

// next takes out a timer that is due.
func (t *timers) next(now int64) (k TimerKey, ok bool) {
	for len(t.heap) > 0 {
		x := t.heap[0]
		if x.due > now {
			break
		}
		if x.at > now {
			x.due = x.at
			heap.Fix(&t.heap, 0)
			continue
		}
		heap.Pop(&t.heap)
		delete(t.byKey, x.key)
		return x.key, true
	}
	return TimerKey{}, false
}

// arm sets the clock's timer to the top of the heap.
func (t *timers) arm() {
	if len(t.heap) == 0 {
		return // an alarm that is set finds nothing to do
	}
	due := t.heap[0].due
	if t.armed != 0 && t.armed <= due {
		return
	}
	t.armed = due
	d := time.Duration(due-t.clock.Now().UnixMilli()) * time.Millisecond
	if t.alarm == nil {
		t.alarm = t.clock.AfterFunc(max(d, 0), t.wake)
	} else {
		t.alarm.Reset(max(d, 0))
	}
}

func (t *timers) stop() {
	if t.alarm != nil {
		t.alarm.Stop()
	}
	t.byKey, t.heap, t.armed = nil, nil, 0
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].seat, h[j].seat = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.seat = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}
