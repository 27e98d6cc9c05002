package coord

import (
	"errors"

	"github.com/gregor-broker/gregor/engine/batch"
)

// Errors of operations; test with errors.Is.
var (
	// ErrNotCoordinator: this broker does not coordinate the key, or no longer
	// (NOT_COORDINATOR).
	ErrNotCoordinator = errors.New("this broker is not the coordinator")
	// ErrLoading: the log is still being read (COORDINATOR_LOAD_IN_PROGRESS).
	ErrLoading = errors.New("the coordinator is loading its log")
	// ErrNotAvailable: what the operation wrote may be lost; it can be asked
	// again (COORDINATOR_NOT_AVAILABLE).
	ErrNotAvailable = errors.New("the coordinator cannot write to its log")
)

// Record is one record of a coordinator's log. Value is nil for a tombstone.
type Record struct {
	Key, Value []byte
}

// Origin is where a record stands.
type Origin struct {
	Offset    int64
	Timestamp int64 // ms
	// ProducerID is -1 outside of transactions. A transactional record counts
	// when the transaction's marker says so, see Machine.EndTransaction.
	ProducerID    int64
	ProducerEpoch int16
}

// Machine is the state of one partition of an internal topic. Its methods, and
// the operations given to a Runtime, are called one at a time. It must not
// block, read a clock or start goroutines.
type Machine interface {
	// Apply takes one record in: every record of the log when it is loaded, and
	// each record of Context.Write at once. An error while loading takes the
	// shard out of service; unknown records are no error. key and value must
	// not be kept unless copied. While loading nobody else sees the Machine.
	Apply(r Record, o Origin) error
	// EndTransaction is a marker in the log: the records of that producer that
	// wait for a decision count from now on, or never.
	EndTransaction(producerID int64, producerEpoch int16, commit bool, o Origin) error
	// Loaded is called once when the whole log was applied, before the first
	// operation: timers start here.
	Loaded(c *Context)
	// Fire is called when a timer is due; the timer is gone by then.
	Fire(c *Context, k TimerKey)
	// Unloaded answers everything that is parked with err and is the last call.
	// A Machine that was never Loaded is not told.
	Unloaded(err error)
}

// TimerKey names a timer of a Machine.
type TimerKey struct {
	Kind       uint8
	Name, Part string // such as a group and a member
}

// Waiter is told once when an append is durable, or why it never will be.
type Waiter interface {
	Synced(err error)
}

// Log is the partition that a Machine is written in. The shard is its only
// writer.
type Log interface {
	// Append takes one batch in, whose base offset it stamps, and tells w when it
	// is durable, possibly before it returns; after an error never.
	Append(b batch.Batch, w Waiter) error
	// AppendMarker is Append of a transaction marker, refused when the producer
	// or the transaction coordinator has been fenced. transactionVersion is that
	// of the transaction: from 2 on its epoch must be above the last one (KIP-890).
	AppendMarker(b batch.Batch, transactionVersion int16, w Waiter) error
	// Load calls f with every batch from the start to the end, in order. A batch
	// is valid during the call.
	Load(f func(b batch.Batch) error) error
	// Start and End are the first offset and the one behind the last.
	Start() int64
	End() int64
	// Flush waits until everything appended is durable.
	Flush() error
	// Epoch is the leader epoch of the partition: the coordinator's epoch.
	Epoch() int32
}

// Context is what an operation may do. It is valid during the call.
type Context struct {
	core *core
	now  int64

	builder  *batch.Builder
	offset   int64 // of the next record
	written  int
	producer int64
	epoch    int16
	replies  []func(error)
	then     []func()
}

// Now is the time of the operation, ms since 1970.
func (c *Context) Now() int64 { return c.now }

// Partition is the index of the partition the Machine is of.
func (c *Context) Partition() int32 { return c.core.index }

// Epoch is the coordinator's epoch: the leader epoch of the partition.
func (c *Context) Epoch() int32 { return c.core.epoch }

// Transaction makes what the operation writes part of a producer's transaction.
// It comes before the first Write.
func (c *Context) Transaction(producerID int64, epoch int16) {
	if c.written != 0 {
		panic("coord: Transaction after Write")
	}
	c.producer, c.epoch = producerID, epoch
}

// Write appends a record and applies it. All records of an operation are one
// batch. key and value are copied.
func (c *Context) Write(r Record) {
	c.core.write(c, r)
}

// Reply calls f once, from any goroutine, when everything that was written up to
// the end of this operation is durable, or with why it never will be. f must only
// store and wake.
func (c *Context) Reply(f func(err error)) { c.replies = append(c.replies, f) }

// Then calls f on a goroutine of its own when everything that was written up to
// the end of this operation is durable; never otherwise.
func (c *Context) Then(f func()) { c.then = append(c.then, f) }

// Timer sets the timer k to fire at the given time (ms), in place of its time
// before. Putting it off is cheap.
func (c *Context) Timer(k TimerKey, at int64) { c.core.timers.set(k, at) }

// Cancel takes a timer away.
func (c *Context) Cancel(k TimerKey) { c.core.timers.cancel(k) }

// Done takes an answer once: v, or an error of this package and v is nothing.
type Done[T any] func(v T, err error)

// Send answers when the operation's writes are durable.
func Send[T any](c *Context, done Done[T], v T) {
	c.Reply(func(err error) {
		if err != nil {
			var none T
			done(none, err)
			return
		}
		done(v, nil)
	})
}
