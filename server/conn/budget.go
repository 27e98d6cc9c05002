package conn

import (
	"slices"
	"sync"
)

// budget bounds the memory of all frames being received or handled. Waiters are served in order, so a large frame is not
// overtaken for ever by small ones.
type budget struct {
	limit int64

	mu      sync.Mutex
	used    int64
	waiters []*grant
}

// grant is a place in the line of a budget.
type grant struct {
	bytes int64
	given chan struct{} // closed under the lock
}

// acquire takes n bytes, waiting until they are free; whatever its size, a frame passes when nothing else is held. It returns
// false, holding nothing, if done closes first.
func (b *budget) acquire(n int64, done <-chan struct{}) bool {
	b.mu.Lock()
	if len(b.waiters) == 0 && b.fits(n) {
		b.used += n
		b.mu.Unlock()
		return true
	}
	g := &grant{bytes: n, given: make(chan struct{})}
	b.waiters = append(b.waiters, g)
	b.mu.Unlock()
	select {
	case <-g.given:
		return true
	case <-done:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiters, g); i >= 0 {
		b.waiters = slices.Delete(b.waiters, i, i+1)
	} else {
		b.used -= n
	}
	b.serve()
	return false
}

// release gives n bytes back.
func (b *budget) release(n int64) {
	b.mu.Lock()
	b.used -= n
	b.serve()
	b.mu.Unlock()
}

func (b *budget) fits(n int64) bool { return b.used == 0 || b.used+n <= b.limit }

// serve grants from the head of the line; mu is held.
func (b *budget) serve() {
	for len(b.waiters) > 0 && b.fits(b.waiters[0].bytes) {
		g := b.waiters[0]
		b.waiters = slices.Delete(b.waiters, 0, 1)
		b.used += g.bytes
		close(g.given)
	}
}

// waiting returns how many frames wait.
func (b *budget) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiters)
}
