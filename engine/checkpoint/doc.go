// Package checkpoint owns the text form of Kafka's offset checkpoint files
// (OffsetCheckpointFile): recovery points, log starts, high watermarks and
// cleaner positions, one line per partition.
//
//	0
//	2
//	orders 0 1042
//	orders 1 77
//
// The first line is the version, the second the number of entries. It never
// touches files.
package checkpoint
