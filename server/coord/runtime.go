package coord

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
)

// errPanic is the cause of an operation that did not end.
var errPanic = errors.New("the operation ended in a panic")

// Options of a Runtime.
type Options[M Machine] struct {
	Topic  string
	New    func(partition int32) M // an empty Machine
	Clock  clock.Clock
	Logger *slog.Logger
	Codec  codec.Type // of the batches written
	// LoadWait bounds how long an operation waits for a log that is being read
	// before it is told ErrLoading; zero does not wait.
	LoadWait time.Duration
	// Loads bounds how many logs are read at a time; zero is 8.
	Loads int
	// OnLoaded, if not nil, is called, with no lock held, whenever a partition
	// has come into service, also when its log had to be read again.
	OnLoaded func(partition int32)
	// Go takes the place of the go statement, for simulations that decide what
	// runs when: it calls f once, later, with no lock of the caller held. nil is a
	// goroutine. WaitLoaded and Close wait for what it was given.
	Go func(f func())
}

// shared is what the shards of a Runtime have in common.
type shared struct {
	topic    string
	clock    clock.Clock
	logger   *slog.Logger
	codec    codec.Type
	onLoaded func(partition int32)
	spawn    func(f func())
	slots    chan struct{} // one for each log being read
	loads    sync.WaitGroup
}

// Runtime runs the Machines of one internal topic. Safe for concurrent use.
type Runtime[M Machine] struct {
	opt        Options[M]
	shared     *shared
	partitions atomic.Int32

	mu     sync.RWMutex
	shards map[int32]*core
	closed bool
}

// NewRuntime makes a Runtime that serves no partition yet.
func NewRuntime[M Machine](opt Options[M]) *Runtime[M] {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Loads <= 0 {
		opt.Loads = 8
	}
	if opt.Go == nil {
		opt.Go = func(f func()) { go f() }
	}
	return &Runtime[M]{opt: opt, shards: map[int32]*core{}, shared: &shared{topic: opt.Topic, clock: opt.Clock, logger: opt.Logger,
		codec: opt.Codec, onLoaded: opt.OnLoaded, spawn: opt.Go, slots: make(chan struct{}, opt.Loads)}}
}

// SetPartitions says how many partitions the topic has, 0 when it is not there.
func (r *Runtime[M]) SetPartitions(n int32) { r.partitions.Store(n) }

// Partition is the partition that a key belongs to; ok is false while the topic
// is not there.
func (r *Runtime[M]) Partition(key string) (index int32, ok bool) {
	n := r.partitions.Load()
	if n == 0 {
		return -1, false
	}
	return PartitionFor(key, n), true
}

// Serve begins to serve a partition: an empty log at once, another in the
// background as soon as it is read. A partition that is served already stays as
// it is.
func (r *Runtime[M]) Serve(index int32, log Log) {
	s := &core{
		shared: r.shared, index: index, epoch: log.Epoch(), log: log,
		fresh: func() Machine { return r.opt.New(index) }, loaded: make(chan struct{}),
	}
	s.timers.clock, s.timers.wake, s.commits.spawn = r.opt.Clock, s.fire, r.opt.Go
	r.mu.Lock()
	if r.closed || r.shards[index] != nil {
		r.mu.Unlock()
		return
	}
	r.shards[index] = s
	empty := log.Start() == log.End()
	if !empty {
		// Before anybody can close the runtime, which waits for loads.
		s.mu.Lock()
		s.startLoad()
		s.mu.Unlock()
	}
	r.mu.Unlock()
	if empty {
		s.load()
	}
}

// Refuse is Serve of a partition whose log is not there: whoever asks for it is
// told why.
func (r *Runtime[M]) Refuse(index int32, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && r.shards[index] == nil {
		r.shards[index] = &core{shared: r.shared, index: index, state: stopped,
			failure: fmt.Errorf("%w: %s-%d: %w", ErrNotCoordinator, r.opt.Topic, index, why)}
	}
}

// Stop ends serving a partition: everybody who waits is told ErrNotCoordinator.
func (r *Runtime[M]) Stop(index int32) {
	r.mu.Lock()
	s := r.shards[index]
	delete(r.shards, index)
	r.mu.Unlock()
	if s != nil {
		s.stop(s.gone(), false)
	}
}

// Close stops every partition. What has been written already is answered when it
// is durable; everything else that waits is told ErrNotCoordinator before Close
// returns.
func (r *Runtime[M]) Close() {
	r.mu.Lock()
	r.closed = true
	shards := r.shards
	r.shards = map[int32]*core{}
	r.mu.Unlock()
	for _, s := range shards {
		s.stop(fmt.Errorf("%w: the broker is stopping", ErrNotCoordinator), true)
	}
	r.shared.loads.Wait()
}

// WaitLoaded waits until every partition served now has been read, or cannot be.
func (r *Runtime[M]) WaitLoaded() {
	for _, index := range r.Serving() {
		s := r.shard(index)
		if s == nil {
			continue
		}
		s.mu.Lock()
		loaded := s.loaded
		s.mu.Unlock()
		if loaded != nil {
			<-loaded
		}
	}
}

func (r *Runtime[M]) shard(index int32) *core {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.shards[index]
}

// Check says whether operations of a key would be run here, now or when its log
// has been read; the error, which wraps ErrNotCoordinator, says why not.
func (r *Runtime[M]) Check(key string) error {
	index, ok := r.Partition(key)
	if !ok {
		return fmt.Errorf("%w: there is no topic %s yet", ErrNotCoordinator, r.opt.Topic)
	}
	s := r.shard(index)
	if s == nil {
		return fmt.Errorf("%w: %s-%d is not served here", ErrNotCoordinator, r.opt.Topic, index)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Do runs op on the Machine that a key belongs to, before it returns. Errors:
// ErrNotCoordinator, ErrLoading; op was not run then.
func (r *Runtime[M]) Do(key string, op func(c *Context, m M)) error {
	index, ok := r.Partition(key)
	if !ok {
		return fmt.Errorf("%w: there is no topic %s yet", ErrNotCoordinator, r.opt.Topic)
	}
	return r.DoAt(index, op)
}

// DoAt is Do for a partition.
func (r *Runtime[M]) DoAt(index int32, op func(c *Context, m M)) error {
	return r.do(index, r.wait, op)
}

// TryAt is DoAt that never waits for a log to be read.
func (r *Runtime[M]) TryAt(index int32, op func(c *Context, m M)) error {
	return r.do(index, func(<-chan struct{}) bool { return false }, op)
}

func (r *Runtime[M]) do(index int32, wait func(<-chan struct{}) bool, op func(c *Context, m M)) error {
	s, err := r.enter(index, wait)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	m := s.machine.(M)
	s.run(func(c *Context) { op(c, m) })
	return nil
}

// enter takes the lock of an active shard.
func (r *Runtime[M]) enter(index int32, wait func(<-chan struct{}) bool) (*core, error) {
	s := r.shard(index)
	if s == nil {
		return nil, fmt.Errorf("%w: %s-%d is not served here", ErrNotCoordinator, r.opt.Topic, index)
	}
	return s, s.enter(wait)
}

// Each runs op on every Machine in service, one after the other, waiting for
// none.
func (r *Runtime[M]) Each(op func(c *Context, m M)) {
	for _, index := range r.Serving() {
		_ = r.TryAt(index, op) // one that loads or stops is not in service
	}
}

// Serving lists the partitions served, loading ones included, in no order.
func (r *Runtime[M]) Serving() []int32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]int32, 0, len(r.shards))
	for index := range r.shards {
		out = append(out, index)
	}
	return out
}

// Marker appends a transaction's marker to a partition's log and ends the
// transaction in its Machine; done is called once when the marker is durable, or
// with why it never will be. Errors, after which done is never called:
// ErrNotCoordinator, ErrLoading, and those of Log.AppendMarker.
func (r *Runtime[M]) Marker(index int32, producerID int64, epoch int16, coordinatorEpoch int32, transactionVersion int16, commit bool, done func(error)) error {
	s, err := r.enter(index, r.wait)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	return s.marker(producerID, epoch, coordinatorEpoch, transactionVersion, commit, done)
}

// wait waits for a log that is being read.
func (r *Runtime[M]) wait(loaded <-chan struct{}) bool {
	if r.opt.LoadWait <= 0 {
		return false
	}
	late := make(chan struct{})
	t := r.opt.Clock.AfterFunc(r.opt.LoadWait, func() { close(late) })
	defer t.Stop()
	select {
	case <-loaded:
		return true
	case <-late:
		return false
	}
}
