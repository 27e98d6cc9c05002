//go:build linux

package procstat

import (
	"fmt"
	"sync"
	"time"
)

// Sampler remembers the most memory a process had resident. Create it with Sample; its methods are safe for
// concurrent use.
type Sampler struct {
	pid  int
	stop chan struct{}
	done chan struct{}

	mu  sync.Mutex
	max Memory
	err error
}

// Sample reads the memory of a process now and then at every interval until Stop.
func Sample(pid int, interval time.Duration) *Sampler {
	s := &Sampler{pid: pid, stop: make(chan struct{}), done: make(chan struct{})}
	s.read()
	go func() {
		defer close(s.done)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				s.read()
			case <-s.stop:
				return
			}
		}
	}()
	return s
}

func (s *Sampler) read() {
	m, err := ReadMemory(s.pid)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = err
		return
	}
	s.max.RSS = max(s.max.RSS, m.RSS)
	s.max.RSSAnon = max(s.max.RSSAnon, m.RSSAnon)
}

// Stop takes a last sample and returns the largest of each figure. It fails if any sample failed: the process died.
// Call it once.
func (s *Sampler) Stop() (Memory, error) {
	close(s.stop)
	<-s.done
	s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.max, fmt.Errorf("sampling memory: %w", s.err)
	}
	return s.max, nil
}
