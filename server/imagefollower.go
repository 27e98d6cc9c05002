package server

import (
	"errors"
	"sync"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/server/meta"
)

// imageFollower tells the group coordinators of changed topics, in the
// background: whoever changes a topic does not wait for fifty of them. Its
// goroutine runs only while there is something to tell.
type imageFollower struct {
	groups *coord.Runtime[*group.Machine]

	mu      sync.Mutex
	newest  *meta.Image
	told    *meta.Image           // what every partition knows
	missed  map[int32]*meta.Image // what those know that were being read
	again   bool
	running bool
	closed  bool
	ended   sync.WaitGroup
}

func (f *imageFollower) start(im *meta.Image) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest, f.told, f.missed = im, im, map[int32]*meta.Image{}
}

// changed is called with every new image.
func (f *imageFollower) changed(now *meta.Image) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.newest
	f.newest = now
	for range now.ChangedTopics(before) {
		f.run()
		break
	}
}

// loaded is called when a partition has come into service.
func (f *imageFollower) loaded(index int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.missed[index] != nil || f.running {
		f.run()
	}
}

// run starts the goroutine, or makes it look again; the lock is held.
func (f *imageFollower) run() {
	if f.closed {
		return
	}
	f.again = true
	if !f.running {
		f.running = true
		f.ended.Add(1)
		go f.tell()
	}
}

// tell brings every partition in service up to date until nothing changes.
func (f *imageFollower) tell() {
	defer f.ended.Done()
	for {
		f.mu.Lock()
		if !f.again || f.closed {
			f.running = false
			f.mu.Unlock()
			return
		}
		f.again = false
		now, told, missed := f.newest, f.told, f.missed
		f.told, f.missed = now, map[int32]*meta.Image{}
		f.mu.Unlock()
		for _, index := range f.groups.Serving() {
			before := missed[index]
			if before == nil {
				before = told
			}
			if before == now {
				continue
			}
			err := f.groups.TryAt(index, func(c *coord.Context, m *group.Machine) { m.ImageChanged(c, before, now) })
			if errors.Is(err, coord.ErrLoading) {
				f.mu.Lock()
				f.missed[index] = before
				f.mu.Unlock()
			}
		}
	}
}

// close waits for the goroutine.
func (f *imageFollower) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.ended.Wait()
}
