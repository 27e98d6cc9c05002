package coord

import "sync"

// commits are replies that wait until the log is durable up to their offset.
// Its lock is taken last, and no function is called under it.
type commits struct {
	mu      sync.Mutex
	durable int64
	failed  error
	queue   []pending // ascending by end
	spawn   func(f func())
}

// pending is what an operation left.
type pending struct {
	end     int64
	replies []func(error)
	then    []func()
}

// add queues an operation's replies, or releases them if their time has come.
func (m *commits) add(p pending) {
	if len(p.replies) == 0 && len(p.then) == 0 {
		return
	}
	m.mu.Lock()
	if m.failed == nil && m.durable < p.end {
		m.queue = append(m.queue, p)
		m.mu.Unlock()
		return
	}
	err := m.failed
	m.mu.Unlock()
	m.release(&p, err)
}

func (m *commits) release(p *pending, err error) {
	for _, f := range p.replies {
		f(err)
	}
	if err == nil {
		for _, f := range p.then {
			m.spawn(f)
		}
	}
}

// reached releases what waits for offsets up to end.
func (m *commits) reached(end int64) {
	m.mu.Lock()
	if end <= m.durable || m.failed != nil {
		m.mu.Unlock()
		return
	}
	m.durable = end
	n := 0
	for n < len(m.queue) && m.queue[n].end <= end {
		n++
	}
	due := m.queue[:n:n]
	m.queue = m.queue[n:]
	if len(m.queue) == 0 {
		m.queue = nil
	}
	m.mu.Unlock()
	for i := range due {
		m.release(&due[i], nil)
	}
}

// fail releases everything, present and future, with err.
func (m *commits) fail(err error) {
	m.mu.Lock()
	if m.failed != nil {
		m.mu.Unlock()
		return
	}
	m.failed = err
	due := m.queue
	m.queue = nil
	m.mu.Unlock()
	for i := range due {
		m.release(&due[i], err)
	}
}
