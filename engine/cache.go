package engine

import (
	"sync"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/gregor-broker/gregor/engine/segment"
)

// blockBytes is the unit of the hot-read cache.
const blockBytes = 64 << 10

// hotReads keeps copies of log blocks that were read again, below the tail:
// history that several consumers re-read then needs no disk, however the page
// cache fares. A block enters at its second miss, so one scan through a long
// history leaves the cache alone; which entries stay is ristretto's TinyLFU.
//
// Keys hold the segment's process-wide generation, so nothing is ever
// invalidated: a deleted or truncated segment's blocks are simply never asked
// for again. Only blocks wholly below the published size are cached; their
// bytes never change. Values are heap copies, immutable, safe to hold as long
// as a View likes.
type hotReads struct {
	max   int64
	now   func() time.Time
	once  sync.Once
	cache *ristretto.Cache[uint64, block]

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
	return &hotReads{max: max, now: now}
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

// missed says whether a read of the bytes [from, to) of a block, which is not
// in the cache, repeats an earlier one. A read that goes on where the last one
// in the block ended is the same pass through the log.
func (c *hotReads) missed(key uint64, from, to int64) bool {
	slot := &c.seen[key*0x9E3779B97F4A7C15>>52]
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

// spans fills v with the bytes [from, to) of seg, block by block from the
// cache, and straight from the mapping where the cache has nothing.
func (c *hotReads) spans(v *View, seg *segment.Segment, from, to int64) error {
	c.open()
	size := seg.Size()
	direct := from // start of the run not served from the cache
	flush := func(end int64) error {
		if direct == end {
			return nil
		}
		p, err := seg.Span(direct, end)
		if err == nil {
			v.Spans = append(v.Spans, p)
		}
		return err
	}
	for at := from; at < to && c.cache != nil; {
		number := at / blockBytes
		start := number * blockBytes
		end := min(start+blockBytes, to)
		key := uint64(seg.Generation())<<32 | uint64(number)
		hit, ok := c.cache.Get(key)
		if ok && hit.key != key {
			ok = false
		}
		if !ok && start+blockBytes <= size && c.missed(key, at, end) {
			data, err := seg.Copy(make([]byte, blockBytes), start)
			if err != nil {
				return err
			}
			hit, ok = block{key, data}, true
			c.cache.Set(key, hit, blockBytes+64)
		}
		if ok {
			if err := flush(at); err != nil {
				return err
			}
			v.Spans = append(v.Spans, hit.data[at-start:end-start])
			direct = end
		}
		at = end
	}
	return flush(to)
}
