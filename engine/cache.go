package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// blockBytes is the unit of the hot-read cache.
const blockBytes = 64 << 10

// hotReads keeps copies of log blocks that were read from the disk again, below
// the tail: history that several consumers re-read then needs no disk, however
// the page cache fares. A block enters when it had to come from the disk for the
// second time, so one scan through a long history leaves the cache alone, and so
// do all reads while the page cache has what they want; which entries stay is
// ristretto's TinyLFU.
//
// Keys hold the segment's process-wide generation, so nothing is ever
// invalidated: a deleted or truncated segment's blocks are simply never asked
// for again. Only blocks wholly below the published size are cached; their
// bytes never change. Values are heap copies, immutable, safe to hold as long
// as a View likes.
type hotReads struct {
	max    int64
	now    func() time.Time
	warm   func(seg *segment.Segment, from, to int64) bool // segment.Resident; tests say what they like
	once   sync.Once
	cache  *ristretto.Cache[uint64, block]
	filled atomic.Bool // something was ever put in

	// marks are blocks, by hash, that the search for a read's first batch has just
	// brought in from the disk.
	marks [4096]atomic.Uint64
	asked atomic.Uint32 // looks since one found bytes that were not in memory

	mu   sync.Mutex
	seen [4096]glance // blocks missed once, by hash: a small lossy memory
	// fills and filling bound how fast the cache is filled: where the page
	// cache is warm, a history larger than this cache would be copied for
	// nothing at every pass.
	fills   int
	filling time.Time
}

// glance is a block that was read from disk or page cache, up to a position.
type glance struct {
	key uint64
	to  int64
}

type block struct {
	key  uint64
	data []byte
}

func newHotReads(max int64, now func() time.Time) *hotReads {
	if max < 4*blockBytes {
		return nil
	}
	return &hotReads{max: max, now: now, warm: (*segment.Segment).Resident}
}

func (c *hotReads) open() {
	c.once.Do(func() {
		// Errors come only from a configuration that makes no sense; then
		// there is no cache, and reads go on without one.
		cache, err := ristretto.NewCache(&ristretto.Config[uint64, block]{
			NumCounters: max(c.max/blockBytes*10, 1000),
			MaxCost:     c.max,
			BufferItems: 64,
		})
		if err == nil {
			c.cache = cache
		}
	})
}

// missed says whether a read of the bytes [from, to) of a block, from the disk,
// repeats an earlier one. A read that goes on where the last one
// in the block ended is the same pass through the log.
func (c *hotReads) missed(key uint64, from, to int64) bool {
	slot := &c.seen[hash(key)]
	c.mu.Lock()
	defer c.mu.Unlock()
	if slot.key == key && slot.to != from {
		return c.mayFill()
	}
	*slot = glance{key, to}
	return false
}

// fillsPerSecond is how many blocks may enter the cache in a second: 32 MiB,
// which costs a few milliseconds of copying.
const fillsPerSecond = 512

func (c *hotReads) mayFill() bool {
	now := c.now()
	if now.Sub(c.filling) >= time.Second {
		c.filling, c.fills = now, 0
	}
	c.fills++
	return c.fills <= fillsPerSecond
}

// spans fills v with the bytes [from, to) of seg: block by block from the cache
// where it has any, and straight from the mapping for the rest.
func (c *hotReads) spans(v *View, seg *segment.Segment, from, to int64) error {
	if !c.filled.Load() {
		return c.direct(v, seg, from, to)
	}
	direct := from // start of the run not served from the cache
	for at := from; at < to; {
		number := at / blockBytes
		start := number * blockBytes
		end := min(start+blockBytes, to)
		key := blockKey(seg, number)
		if hit, ok := c.cache.Get(key); ok && hit.key == key {
			if err := c.direct(v, seg, direct, at); err != nil {
				return err
			}
			v.Spans = append(v.Spans, hit.data[at-start:end-start])
			direct = end
		}
		at = end
	}
	return c.direct(v, seg, direct, to)
}

// direct adds a run of the mapping, and learns from one that has to come from
// the disk.
func (c *hotReads) direct(v *View, seg *segment.Segment, from, to int64) error {
	if from == to {
		return nil
	}
	p, err := seg.Span(from, to)
	if err != nil {
		return err
	}
	v.Spans = append(v.Spans, p)
	return c.learn(seg, from, to, c.look() && !c.noted(c.warm(seg, from, to)))
}

// While everything was in memory for so many looks, only one in a few is taken.
const (
	warmLooks = 64
	seldom    = 16
)

// look says whether it is time to ask if bytes are in memory: the question costs
// about a microsecond, a third of a read from memory.
func (c *hotReads) look() bool {
	n := c.asked.Add(1)
	return n <= warmLooks || n%seldom == 0
}

// noted notes an answer.
func (c *hotReads) noted(warm bool) bool {
	if !warm {
		c.asked.Store(0)
	}
	return warm
}

// bring notes blocks that come from the disk although a reader will find them in memory.
func (c *hotReads) bring(generation uint32, position int64, n int, m vfs.Mapping) {
	if !c.look() || c.noted(m.Resident(int(position), n)) {
		return
	}
	for number := position / blockBytes; number*blockBytes < position+int64(n); number++ {
		key := uint64(generation)<<32 | uint64(number)
		c.marks[hash(key)].Store(key)
	}
}

func (c *hotReads) marked(key uint64) bool {
	slot := &c.marks[hash(key)]
	return slot.Load() == key && slot.CompareAndSwap(key, 0)
}

// hash is a slot of 4096.
func hash(key uint64) uint64 { return key * 0x9E3779B97F4A7C15 >> 52 }

// learn remembers the blocks of a read that come from the disk, all of them if it is cold, and
// keeps those that were read from it before.
func (c *hotReads) learn(seg *segment.Segment, from, to int64, cold bool) error {
	size := seg.Size()
	for at := from; at < to; {
		number := at / blockBytes
		start := number * blockBytes
		end := min(start+blockBytes, to)
		if key := blockKey(seg, number); start+blockBytes <= size && (c.marked(key) || cold) && c.missed(key, at, end) {
			c.open()
			if c.cache == nil {
				return nil
			}
			data, err := seg.Copy(make([]byte, blockBytes), start)
			if err != nil {
				return err
			}
			c.cache.Set(key, block{key, data}, blockBytes+64)
			c.filled.Store(true)
		}
		at = end
	}
	return nil
}

// peek gives up to n bytes of a segment if a block has them: headers on the way to
// what a reader wants.
func (c *hotReads) peek(generation uint32, position int64, n int) []byte {
	if !c.filled.Load() {
		return nil
	}
	at := position % blockBytes
	key := uint64(generation)<<32 | uint64(position/blockBytes)
	if hit, ok := c.cache.Get(key); ok && hit.key == key {
		return hit.data[at:min(at+int64(n), blockBytes)]
	}
	return nil
}

func blockKey(seg *segment.Segment, number int64) uint64 {
	return uint64(seg.Generation())<<32 | uint64(number)
}
