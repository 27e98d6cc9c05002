// Package record is the records of the topic __consumer_offsets as Go values: committed offsets, classic groups and
// the groups of KIP-848, KIP-932 and KIP-1071, read in every version that Apache Kafka 4.3 reads and written in the
// version it writes (GroupCoordinatorRecordHelpers, CoordinatorRecordType).
//
// A key is a Key, whatever its type; a value is a pointer to one of the structs. Each struct lists its fields once, and the
// same list decodes, encodes and prints JSON. What is decoded shares no memory with the bytes it came from.
//
// The package does no I/O, has no state and knows nothing of groups but what is written down of them.
package record
