// Package meta owns the cluster metadata of KRaft: the records of the metadata log and its control records as Go values, the
// immutable Image that results from applying them, the Delta that applies them, and the table of feature levels.
//
// An Image may be read by any number of goroutines without a lock; a Delta belongs to one goroutine. The package never does
// I/O, never reads a clock and knows no batches: callers hand it record values and take record values from it.
package meta
