package clock

import (
	"container/heap"
	"sync"
	"time"
)

// Manual is a clock that stands still until Advance is called. Make it with NewManual; it is safe for concurrent use.
type Manual struct {
	mu      sync.Mutex
	wall    time.Time     // what Now says
	elapsed time.Duration // how far Advance has come: timers go by this, not by the wall
	made    int64         // timers armed so far, to break ties by age
	waiting timers
}

// NewManual makes a clock that shows start.
func NewManual(start time.Time) *Manual { return &Manual{wall: start} }

// Now is the time the clock shows; inside a timer's function it is the moment the timer was due.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wall
}

// AfterFunc arms a timer; Advance calls f. A timer due at once waits for the next Advance, even of 0.
func (m *Manual) AfterFunc(d time.Duration, f func()) Timer {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &manualTimer{clock: m, call: f, index: -1}
	m.arm(t, d)
	return t
}

// Advance moves the clock forward by d and, on the caller's goroutine, calls the functions of all timers that come
// due on the way: by due time, equal ones in the order they were armed, each seeing its due time as Now. Timers armed
// by those functions fire too if due within d. No lock is held during a call.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	end := m.elapsed + max(d, 0)
	for len(m.waiting) > 0 && m.waiting[0].due <= end {
		t := heap.Pop(&m.waiting).(*manualTimer)
		m.moveTo(t.due)
		m.mu.Unlock()
		t.call()
		m.mu.Lock()
	}
	m.moveTo(end)
	m.mu.Unlock()
}

// SetWall sets the time shown, as an administrator or NTP would. Timers are not affected: they wait for Advance.
func (m *Manual) SetWall(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall = t
}

// Next is how far the clock must advance for the next timer to fire; false means none is waiting.
func (m *Manual) Next() (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) == 0 {
		return 0, false
	}
	return max(m.waiting[0].due-m.elapsed, 0), true
}

// Waiting is the number of armed timers.
func (m *Manual) Waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting)
}

// moveTo goes forward only: a timer's function may itself have advanced the clock further.
func (m *Manual) moveTo(elapsed time.Duration) {
	if step := elapsed - m.elapsed; step > 0 {
		m.elapsed = elapsed
		m.wall = m.wall.Add(step)
	}
}

func (m *Manual) arm(t *manualTimer, d time.Duration) {
	m.made++
	t.due, t.order = m.elapsed+max(d, 0), m.made
	heap.Push(&m.waiting, t)
}

func (m *Manual) disarm(t *manualTimer) bool {
	if t.index < 0 {
		return false
	}
	heap.Remove(&m.waiting, t.index)
	return true
}

type manualTimer struct {
	clock *Manual
	call  func()
	due   time.Duration
	order int64
	index int // in the heap; -1 when not waiting
}

// Stop implements Timer.
func (t *manualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.clock.disarm(t)
}

// Reset implements Timer.
func (t *manualTimer) Reset(d time.Duration) bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	was := t.clock.disarm(t)
	t.clock.arm(t, d)
	return was
}

type timers []*manualTimer

func (h timers) Len() int { return len(h) }

func (h timers) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].order < h[j].order
}

func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timers) Push(x any) {
	t := x.(*manualTimer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	t.index = -1
	*h = old[:len(old)-1]
	return t
}
