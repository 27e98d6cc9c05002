package histogram

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestBucketsCoverEveryValueOnce walks the edges: each bucket ends where the next begins and holds its own edge.
func TestBucketsCoverEveryValueOnce(t *testing.T) {
	for i := range buckets - 1 {
		edge := upperEdge(i)
		if got := bucketOf(edge); got != i {
			t.Fatalf("bucketOf(%d) = %d, the value is the upper edge of bucket %d", edge, got, i)
		}
		if got := bucketOf(edge + 1); got != i+1 {
			t.Fatalf("bucketOf(%d) = %d, want the next bucket %d", edge+1, got, i+1)
		}
	}
	if got := bucketOf(1<<63 - 1); got >= buckets {
		t.Fatalf("the largest duration falls in bucket %d of %d", got, buckets)
	}
}

// TestQuantilesAgainstSorting compares with the exact answer of a sorted slice.
func TestQuantilesAgainstSorting(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var h Histogram
		values := make([]time.Duration, 1+random.IntN(5000))
		for i := range values {
			values[i] = time.Duration(random.Uint64() >> (1 + random.UintN(62)))
			h.Record(values[i])
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := max(int(q*float64(len(values))+0.999999), 1)
			exact := values[rank-1]
			got := h.Quantile(q)
			if got < exact || float64(got-exact) > float64(exact)/subBuckets+1 {
				t.Fatalf("quantile %v of %d values is %d, exact %d", q, len(values), got, exact)
			}
		}
		if h.Min() != values[0] || h.Max() != values[len(values)-1] || h.Count() != uint64(len(values)) {
			t.Fatalf("min %v max %v count %d, want %v %v %d", h.Min(), h.Max(), h.Count(), values[0], values[len(values)-1], len(values))
		}
	}
}

// TestMergeEqualsRecordingTogether splits one stream over three histograms.
func TestMergeEqualsRecordingTogether(t *testing.T) {
	var all, merged Histogram
	var parts [3]Histogram
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 3000 {
		d := time.Duration(random.IntN(1e9))
		all.Record(d)
		parts[i%3].Record(d)
	}
	merged.Merge(new(Histogram))
	for i := range parts {
		merged.Merge(&parts[i])
	}
	if merged != all {
		t.Fatal("a merged histogram differs from one that recorded everything")
	}
	merged.Reset()
	if merged != (Histogram{}) || merged.Quantile(0.5) != 0 || merged.Mean() != 0 {
		t.Fatal("a reset histogram is not empty")
	}
}
