package coord

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
)

// core is a shard without the type of its Machine.
//
// mu guards the machine, its timers and the log's end; it is held while an
// operation runs and its batch is written, never while a sync is waited for or
// the log is read. Sync workers take only the lock of commits.
type core struct {
	*shared
	index int32
	epoch int32
	log   Log
	fresh func() Machine

	mu      sync.Mutex
	machine Machine // nil unless active
	context Context // of the operation under way
	state   state
	failure error         // why it is stopped
	loaded  chan struct{} // closed when state is no longer loading; nil while active
	timers  timers
	end     int64 // of the log
	refused int   // appends refused since the last one that went well
	retry   clock.Timer

	halt    atomic.Bool // a load under way gives up
	commits commits
}

type state uint8

const (
	loading state = iota
	active
	stopped
)

// synced is the waiter of one append.
type synced struct {
	core *core
	end  int64
}

// Synced runs on a sync worker, or in an append with the shard's lock held.
func (s *synced) Synced(err error) {
	if err == nil {
		s.core.commits.reached(s.end)
		return
	}
	s.core.commits.fail(fmt.Errorf("%w: %w", ErrNotAvailable, err))
	s.core.spawn(func() { s.core.stop(fmt.Errorf("%w: %w", ErrNotCoordinator, err), false) })
}

// startLoad reads the log in the background. The lock is held.
func (s *core) startLoad() {
	s.loads.Add(1)
	s.spawn(func() {
		defer s.loads.Done()
		s.slots <- struct{}{}
		defer func() { <-s.slots }()
		s.load()
	})
}

// load reads the log and puts the shard into service.
func (s *core) load() {
	began := s.clock.Now()
	m, end, err := s.read()
	s.mu.Lock()
	if s.state != loading {
		s.mu.Unlock()
		return
	}
	if err != nil {
		s.logger.Error("cannot load a coordinator's log; its groups or transactions are not served", "topic", s.topic, "partition", s.index, "error", err)
		s.shut(fmt.Errorf("%w: %w", ErrNotCoordinator, err), false)
		s.mu.Unlock()
		return
	}
	s.commits.reached(end)
	s.machine, s.end, s.state = m, end, active
	close(s.loaded)
	s.loaded = nil
	s.protected(m.Loaded)
	s.mu.Unlock()
	level := slog.LevelDebug
	took := s.clock.Now().Sub(began)
	if took >= longLoad {
		level = slog.LevelInfo
	}
	s.logger.Log(context.Background(), level, "a coordinator's log is read", "topic", s.topic, "partition", s.index, "end", end, "took", took)
	if s.onLoaded != nil {
		s.onLoaded(s.index)
	}
}

// longLoad is what a load takes that somebody may wonder about.
const longLoad = time.Second

// read makes a fresh machine of the log, all of which is durable then. The lock
// is not held: nobody else sees the machine yet.
func (s *core) read() (m Machine, end int64, err error) {
	defer func() {
		// Whatever is wrong with a log may cost its partition, not the broker.
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	m = s.fresh()
	if s.log.Start() == s.log.End() {
		return m, s.log.End(), nil
	}
	if err := s.log.Flush(); err != nil {
		return nil, 0, err
	}
	if err := s.log.Load(func(b batch.Batch) error { return s.take(m, b) }); err != nil {
		return nil, 0, err
	}
	return m, s.log.End(), nil
}

// loadLimit bounds what one batch of a coordinator's log decompresses to.
const loadLimit = 256 << 20

// take applies one batch of the log.
func (s *core) take(m Machine, b batch.Batch) error {
	if s.halt.Load() {
		return s.gone()
	}
	if b.IsControl() {
		if typ, err := batch.ControlType(b); err != nil || typ != batch.ControlCommit && typ != batch.ControlAbort {
			return nil // LeaderChange and the like
		}
		commit, _, err := batch.EndTransaction(b)
		if err != nil {
			return fmt.Errorf("%s-%d: %w", s.topic, s.index, err)
		}
		return m.EndTransaction(b.ProducerID(), b.ProducerEpoch(), commit, Origin{Offset: b.BaseOffset(), Timestamp: b.MaxTimestamp(), ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch()})
	}
	o := Origin{ProducerID: -1, ProducerEpoch: -1}
	if b.IsTransactional() {
		o.ProducerID, o.ProducerEpoch = b.ProducerID(), b.ProducerEpoch()
	}
	return b.Each(loadLimit, func(r *batch.Record) error {
		o.Offset, o.Timestamp = r.Offset, r.Timestamp
		if r.Key == nil {
			return nil
		}
		if err := m.Apply(Record{Key: r.Key, Value: r.Value}, o); err != nil {
			return fmt.Errorf("%s-%d: record at offset %d: %w", s.topic, s.index, r.Offset, err)
		}
		return nil
	})
}

// gone is what is told once the partition is not served any more.
func (s *core) gone() error {
	return fmt.Errorf("%w: %s-%d is not served here any more", ErrNotCoordinator, s.topic, s.index)
}

// enter takes the lock of an active shard; the caller unlocks. wait bounds how
// long a loading shard is waited for.
func (s *core) enter(wait func(loaded <-chan struct{}) bool) error {
	for waited := false; ; waited = true {
		s.mu.Lock()
		switch s.state {
		case active:
			return nil
		case stopped:
			err := s.failure
			s.mu.Unlock()
			return err
		}
		loaded := s.loaded
		s.mu.Unlock()
		if waited || !wait(loaded) {
			return fmt.Errorf("%w: %s-%d", ErrLoading, s.topic, s.index)
		}
	}
}

// run runs one operation. The lock is held and the shard active. A panic goes on
// to the caller; whatever the operation did to the machine is thrown away.
func (s *core) run(op func(c *Context)) {
	c := &s.context
	*c = Context{core: s, now: s.clock.Now().UnixMilli(), offset: s.end, producer: -1, epoch: -1}
	whole := false
	defer func() {
		if !whole {
			s.fail(c, errPanic)
		}
		*c = Context{}
	}()
	op(c)
	s.finish(c)
	whole = true
}

// protected is run for what no connection asked for: a panic is logged.
func (s *core) protected(op func(c *Context)) {
	defer func() {
		if v := recover(); v != nil {
			s.logger.Error("panic in a coordinator; its log is read again", "topic", s.topic, "partition", s.index, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	s.run(op)
}

// write is Context.Write.
func (s *core) write(c *Context, r Record) {
	if c.builder == nil {
		c.builder = batch.NewBuilder(s.codec).LeaderEpoch(s.epoch).BaseOffset(s.end)
		if c.producer != -1 {
			c.builder.Producer(c.producer, c.epoch, batch.NoSequence).Transactional()
		}
	}
	c.builder.Append(c.now, r.Key, r.Value)
	c.written++
	err := s.machine.Apply(r, Origin{Offset: c.offset, Timestamp: c.now, ProducerID: c.producer, ProducerEpoch: c.epoch})
	c.offset++
	if err != nil {
		// A machine that cannot read what it writes is a defect.
		panic(fmt.Sprintf("coord: %s-%d: applying its own record: %v", s.topic, s.index, err))
	}
}

// finish appends what an operation wrote and parks its replies.
func (s *core) finish(c *Context) {
	if c.written > 0 {
		if err := s.log.Append(c.builder.Bytes(), &synced{s, c.offset}); err != nil {
			s.logger.Error("cannot append to a coordinator's log; it is read again", "topic", s.topic, "partition", s.index, "error", err)
			s.fail(c, err)
			return
		}
		s.end = c.offset
		s.refused = 0
	}
	s.timers.arm()
	s.commits.add(pending{end: s.end, replies: c.replies, then: c.then})
}

// fail is after an operation that is not in the log although the machine has
// seen it: the machine is thrown away and the log read again, more and more
// slowly while that keeps happening (a full disk).
func (s *core) fail(c *Context, cause error) {
	err := fmt.Errorf("%w: %w", ErrNotAvailable, cause)
	for _, f := range c.replies {
		f(err)
	}
	if s.state != active {
		return
	}
	s.unload(err)
	s.state, s.loaded = loading, make(chan struct{})
	delay := reloadDelay(s.refused)
	s.refused++
	if delay == 0 {
		s.startLoad()
		return
	}
	s.retry = s.clock.AfterFunc(delay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.state == loading {
			s.startLoad()
		}
	})
}

// reloadDelay is how long to wait before the log is read again: not at all
// after the first refusal, then from 100 ms to 5 s.
func reloadDelay(refused int) time.Duration {
	if refused == 0 {
		return 0
	}
	return min(100*time.Millisecond<<min(refused-1, 10), 5*time.Second)
}

// unload lets the machine answer whom it has parked, and forgets it.
func (s *core) unload(err error) {
	s.timers.stop()
	m := s.machine
	s.machine = nil
	defer func() {
		if v := recover(); v != nil {
			s.logger.Error("panic in a coordinator that is unloaded", "topic", s.topic, "partition", s.index, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	m.Unloaded(err)
}

// fire runs the timers that are due, each as an operation.
func (s *core) fire() {
	s.mu.Lock()
	s.timers.armed = 0
	s.mu.Unlock()
	for s.fireOne() {
	}
}

// fireOne lets others have the lock between two timers.
func (s *core) fireOne() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != active {
		return false
	}
	k, ok := s.timers.next(s.clock.Now().UnixMilli())
	if !ok {
		s.timers.arm()
		return false
	}
	m := s.machine
	s.protected(func(c *Context) { m.Fire(c, k) })
	return true
}

// marker appends a transaction marker and ends the producer's transaction. done
// is called when it is durable.
func (s *core) marker(producerID int64, epoch int16, coordinatorEpoch int32, transactionVersion int16, commit bool, done func(error)) error {
	now := s.clock.Now().UnixMilli()
	b := batch.EndTransactionMarker(commit, coordinatorEpoch, producerID, epoch, now)
	b.SetLeaderEpoch(s.epoch)
	b.SetBaseOffset(s.end)
	if err := s.log.AppendMarker(b, transactionVersion, &synced{s, s.end + 1}); err != nil {
		return err
	}
	o := Origin{Offset: s.end, Timestamp: now, ProducerID: producerID, ProducerEpoch: epoch}
	s.end++
	s.commits.add(pending{end: s.end, replies: []func(error){done}})
	whole := false
	defer func() {
		if !whole {
			s.fail(&Context{}, errPanic)
		}
	}()
	if err := s.machine.EndTransaction(producerID, epoch, commit, o); err != nil {
		panic(fmt.Sprintf("coord: %s-%d: ending transaction of producer %d: %v", s.topic, s.index, producerID, err))
	}
	whole = true
	return nil
}

// stop takes the shard out of service. settle lets what is written already be
// answered when it is durable.
func (s *core) stop(err error, settle bool) {
	s.halt.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut(err, settle)
}

// shut is stop with the lock held.
func (s *core) shut(err error, settle bool) {
	switch s.state {
	case stopped:
		return
	case loading:
		close(s.loaded)
		s.loaded = nil
		if s.retry != nil {
			s.retry.Stop()
		}
	case active:
		s.unload(err)
	}
	s.state, s.failure = stopped, err
	s.end = math.MaxInt64
	if !settle {
		s.commits.fail(err)
	}
}
