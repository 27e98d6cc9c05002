package histogram

import (
	"math/bits"
	"time"
)

// Values below 2^subBits nanoseconds have a bucket each; above, every power of two is cut into 2^subBits buckets, so a
// bucket is never wider than 1/128 of the values in it.
const (
	subBits    = 7
	subBuckets = 1 << subBits
	buckets    = (64 - subBits) * subBuckets
)

// Histogram counts durations of 0 ns to 292 years with a relative error of at most 0.8 %. The zero value is empty and
// ready. It is not safe for concurrent use: keep one per goroutine and Merge them.
type Histogram struct {
	counts [buckets]uint64
	count  uint64
	sum    float64
	min    time.Duration
	max    time.Duration
}

// Record counts one duration; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	if h.count == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.counts[bucketOf(uint64(d))]++
	h.count++
	h.sum += float64(d)
}

// Merge adds everything other has counted.
func (h *Histogram) Merge(other *Histogram) {
	if other.count == 0 {
		return
	}
	if h.count == 0 || other.min < h.min {
		h.min = other.min
	}
	h.max = max(h.max, other.max)
	h.count += other.count
	h.sum += other.sum
	for i, n := range other.counts {
		h.counts[i] += n
	}
}

// Reset empties the histogram.
func (h *Histogram) Reset() { *h = Histogram{} }

// Count is the number of durations recorded.
func (h *Histogram) Count() uint64 { return h.count }

// Min is the smallest duration recorded, exactly; 0 when empty.
func (h *Histogram) Min() time.Duration { return h.min }

// Max is the largest duration recorded, exactly; 0 when empty.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean is the average of the recorded durations; 0 when empty.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.count))
}

// Quantile returns a duration that at least the fraction q (0 to 1) of the recorded ones do not exceed: the upper edge
// of the bucket that holds that rank, never above Max. It returns 0 when empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(min(max(q, 0), 1)*float64(h.count) + 0.999999)
	rank = min(max(rank, 1), h.count)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(time.Duration(upperEdge(i)), h.max)
		}
	}
	return h.max
}

// bucketOf returns the index of the bucket that holds v.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift*subBuckets + int(v>>shift)
}

// upperEdge returns the largest value bucket i holds.
func upperEdge(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i)
	}
	shift := i/subBuckets - 1
	sub := uint64(i - shift*subBuckets)
	return (sub+1)<<shift - 1
}
