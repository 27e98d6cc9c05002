package partition

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/server/meta"
)

// Errors of a partition; test with errors.Is.
var (
	// ErrFencedEpoch: the client knows an older leader epoch (FENCED_LEADER_EPOCH).
	ErrFencedEpoch = errors.New("leader epoch is older than the partition's")
	// ErrUnknownEpoch: the client knows a newer one (UNKNOWN_LEADER_EPOCH).
	ErrUnknownEpoch = errors.New("leader epoch is newer than the partition's")
	// ErrNotLeader: this broker does not lead the partition.
	ErrNotLeader = errors.New("this broker is not the partition's leader")
	// ErrInvalidBatch: records that no producer may send; see the wrapped cause.
	ErrInvalidBatch = errors.New("invalid record batch")
)

// Config is what a partition needs of its topic's configuration.
type Config struct {
	Log             engine.LogConfig
	MaxMessageBytes int  // max.message.bytes
	LogAppendTime   bool // message.timestamp.type
	// Rules of the records: keys for compacted topics, timestamp bounds.
	// TimestampBeforeMaxMs and TimestampAfterMaxMs are
	// message.timestamp.before.max.ms and after.max.ms, MaxInt64 for none.
	RequireKeys          bool
	TimestampBeforeMaxMs int64
	TimestampAfterMaxMs  int64
	// VerifyTransactions is transaction.partition.verification.enable.
	VerifyTransactions bool
	// Compression is compression.type: nil for producer, else the codec that
	// batches are stored with, at Level.
	Compression *codec.Type
	Level       int
}

// Partition is one partition this broker hosts. Safe for concurrent use.
type Partition struct {
	Topic   string
	TopicID meta.UUID
	Index   int32

	log    atomic.Pointer[engine.Log] // nil when offline
	reason atomic.Pointer[error]      // why it is offline; set before that
	clock  func() int64
	set    *Set

	leader atomic.Int32 // broker id, meta.NoLeader for none
	epoch  atomic.Int32
	config atomic.Pointer[Config]
	self   int32

	waiting struct {
		sync.Mutex
		list []*Waiter
	}
	hasWaiters atomic.Bool
}

// Log is the partition's log, or an error that says why it is offline.
func (p *Partition) Log() (*engine.Log, error) {
	if log := p.log.Load(); log != nil {
		return log, nil
	}
	return nil, fmt.Errorf("%w: %w", engine.ErrStorage, *p.reason.Load())
}

// offline takes the log away from everybody who asks for it from now on.
func (p *Partition) offline(reason error) {
	p.reason.Store(&reason)
	p.log.Store(nil)
}

// Leader is the leader's broker id (meta.NoLeader for none) and the epoch.
func (p *Partition) Leader() (id, epoch int32) { return p.leader.Load(), p.epoch.Load() }

// Config is the present configuration.
func (p *Partition) Config() *Config { return p.config.Load() }

// CheckEpoch compares the leader epoch a client knows, -1 for none, with the
// partition's (KIP-320), and that this broker leads it.
func (p *Partition) CheckEpoch(epoch int32) error {
	leader, now := p.Leader()
	if epoch >= 0 && epoch < now {
		return ErrFencedEpoch
	}
	if epoch > now {
		return ErrUnknownEpoch
	}
	if leader != p.self {
		return ErrNotLeader
	}
	return nil
}

// Append takes a producer's records in: exactly one batch of magic 2. w is told
// when it is durable on the in-sync set, which on one node is this disk.
// Errors: ErrNotLeader, ErrInvalidBatch, and those of engine.Log.Append.
func (p *Partition) Append(records []byte, w engine.Waiter) (engine.Appended, error) {
	return p.AppendVerified(records, 0, w)
}

// AppendVerified is Append for a producer with a transaction: guard proves that
// the coordinator knows of it. A batch that would open a transaction without
// proof is a producer.ErrTransactionState, if the configuration asks for one.
func (p *Partition) AppendVerified(records []byte, guard engine.Guard, w engine.Waiter) (engine.Appended, error) {
	log, err := p.Log()
	if err != nil {
		return engine.Appended{}, err
	}
	if err := p.CheckEpoch(-1); err != nil {
		return engine.Appended{}, err
	}
	c := p.config.Load()
	if len(records) > c.MaxMessageBytes {
		return engine.Appended{}, fmt.Errorf("%w: %d bytes, max.message.bytes is %d", engine.ErrBatchTooLarge, len(records), c.MaxMessageBytes)
	}
	// The checksum comes before anything the header says, as in Kafka: damage
	// on the way is CORRUPT_MESSAGE, which a client retries.
	size, err := batch.Peek(records)
	if err != nil {
		return engine.Appended{}, fmt.Errorf("%w: %w", ErrInvalidBatch, err)
	}
	if size != len(records) {
		return engine.Appended{}, fmt.Errorf("%w: expected exactly one batch, found %d bytes for a batch of %d", ErrInvalidBatch, len(records), size)
	}
	b := batch.Batch(records)
	if err := b.CheckCRC(); err != nil {
		return engine.Appended{}, err
	}
	if err := b.CheckClient(); err != nil {
		return engine.Appended{}, fmt.Errorf("%w: %w", ErrInvalidBatch, err)
	}
	if b.BaseOffset() != 0 {
		return engine.Appended{}, fmt.Errorf("%w: base offset %d, expected 0", ErrInvalidBatch, b.BaseOffset())
	}
	if c.Compression != nil && b.Codec() != *c.Compression {
		if records, err = recompress(b, *c.Compression, c.Level, recompressLimit(c)); err != nil {
			return engine.Appended{}, fmt.Errorf("%w: %w", ErrInvalidBatch, err)
		}
	}
	rules := batch.Rules{RequireKeys: c.RequireKeys}
	if !c.LogAppendTime {
		now := p.clock()
		rules.CheckTimestamps = true
		rules.MinTimestamp, rules.MaxTimestamp = saturatingSub(now, c.TimestampBeforeMaxMs), saturatingAdd(now, c.TimestampAfterMaxMs)
	}
	return log.Append(records, engine.AppendOptions{
		LeaderEpoch: p.epoch.Load(), LogAppendTime: c.LogAppendTime, Origin: producer.Client, Rules: &rules, Checked: true,
		Verified: c.VerifyTransactions, Guard: guard,
	}, w)
}

// recompressLimit bounds what a batch may decompress to: twenty times the
// largest batch the topic takes, at most 64 MiB but never less than one batch.
func recompressLimit(c *Config) int {
	return max(min(c.MaxMessageBytes*20, 64<<20), c.MaxMessageBytes)
}

func saturatingSub(a, b int64) int64 {
	if d := a - b; b >= 0 && d > a || b < 0 {
		return -1 << 63
	} else {
		return d
	}
}

func saturatingAdd(a, b int64) int64 {
	if s := a + b; s >= a {
		return s
	}
	return 1<<63 - 1
}

// Waiter waits for bytes to become visible on some partitions. It fires once.
type Waiter struct {
	need  atomic.Int64
	fired atomic.Bool
	fire  func()
	on    []*Partition
}

// NewWaiter returns a waiter that calls fire, once, from any goroutine, when
// need more bytes are visible on the partitions it is added to or when Fire is
// called.
func NewWaiter(need int64, fire func()) *Waiter {
	w := &Waiter{fire: fire}
	w.need.Store(need)
	return w
}

// Add registers the waiter with p. seen is the visible byte count (VisibleBytes
// of the log) at the moment the caller last looked: what came since counts.
func (w *Waiter) Add(p *Partition, seen int64) {
	if p.log.Load() == nil {
		return
	}
	p.waiting.Lock()
	p.waiting.list = append(p.waiting.list, w)
	p.hasWaiters.Store(true)
	p.waiting.Unlock()
	w.on = append(w.on, p)
	if p.set.draining.Load() {
		w.Fire()
		return
	}
	// What became visible between the look and the registration.
	if log := p.log.Load(); log == nil {
		w.Fire()
	} else if now := log.VisibleBytes(); now > seen {
		w.arrived(now - seen)
	}
}

// Fire fires the waiter unless it has fired.
func (w *Waiter) Fire() {
	if w.fired.CompareAndSwap(false, true) {
		w.fire()
	}
}

func (w *Waiter) arrived(n int64) {
	if w.need.Add(-n) <= 0 {
		w.Fire()
	}
}

// Remove takes the waiter off its partitions. Not concurrently with Add.
func (w *Waiter) Remove() {
	for _, p := range w.on {
		p.waiting.Lock()
		for i, x := range p.waiting.list {
			if x == w {
				last := len(p.waiting.list) - 1
				p.waiting.list[i] = p.waiting.list[last]
				p.waiting.list[last] = nil
				p.waiting.list = p.waiting.list[:last]
				break
			}
		}
		p.hasWaiters.Store(len(p.waiting.list) > 0)
		p.waiting.Unlock()
	}
	w.on = nil
}

// noticed is the log's durable notice: count, fire, nothing else.
type notice struct {
	p    *Partition
	last atomic.Int64
}

func (n *notice) high(_, bytes int64) {
	before := n.last.Swap(bytes)
	if bytes <= before || !n.p.hasWaiters.Load() {
		return
	}
	n.p.waiting.Lock()
	for _, w := range n.p.waiting.list {
		w.arrived(bytes - before)
	}
	n.p.waiting.Unlock()
}

// wakeAll fires every waiter: leadership, existence or the start changed.
func (p *Partition) wakeAll() {
	p.waiting.Lock()
	list := append([]*Waiter(nil), p.waiting.list...)
	p.waiting.Unlock()
	for _, w := range list {
		w.Fire()
	}
}
