// Package histogram counts durations in log-linear buckets, so that a benchmark can report any quantile of millions of
// latencies from a few kilobytes.
//
// It owns the bucket arithmetic and nothing else: it reads no clock and starts no goroutine.
package histogram
