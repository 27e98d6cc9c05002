package fsck

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// collector takes findings and figures from all workers.
type collector struct {
	mu       sync.Mutex
	findings []Finding
	counts   [len(severityNames)]int64
	maximum  int
	failed   int64

	up *collector // the one that this is a part of; it has the progress

	bytes, total                                      atomic.Int64
	partitions, segments, batches, records, undecoded atomic.Int64
}

// add takes one finding; beyond the maximum only the number of its severity is
// kept, unless a less severe one can make room.
func (c *collector) add(f Finding) {
	if f.Broker == "" {
		f.Broker = brokerDoes(f.Kind, f.Severity)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[f.Severity]++
	if f.Kind == KindUnreadable {
		c.failed++
	}
	if len(c.findings) < c.maximum {
		c.findings = append(c.findings, f)
		return
	}
	if i := slices.IndexFunc(c.findings, func(o Finding) bool { return o.Severity < f.Severity }); i >= 0 {
		c.findings[i] = f
	}
}

// read counts bytes that were checked.
func (c *collector) read(n int64) {
	c.bytes.Add(n)
	if c.up != nil {
		c.up.bytes.Add(n)
	}
}

func (c *collector) tooLarge() { c.undecoded.Add(1) }

// part is a collector of its own for one partition.
func (c *collector) part() *collector { return &collector{maximum: c.maximum, up: c} }

// merge takes in what a part collected; its bytes were counted on the way.
func (c *collector) merge(part *collector) {
	for _, f := range part.findings {
		c.add(f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := [len(severityNames)]int64{}
	for _, f := range part.findings {
		kept[f.Severity]++
	}
	for s, n := range part.counts {
		c.counts[s] += n - kept[s]
	}
	c.partitions.Add(part.partitions.Load())
	c.segments.Add(part.segments.Load())
	c.batches.Add(part.batches.Load())
	c.records.Add(part.records.Load())
	c.undecoded.Add(part.undecoded.Load())
}

// sorted gives the findings, the worst first, then by file and position.
func (c *collector) sorted() []Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.File, b.File), cmp.Compare(a.Position, b.Position))
	})
	return c.findings
}
