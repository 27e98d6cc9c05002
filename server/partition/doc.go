// Package partition gives a log its Kafka meaning: which topic and partition
// it is, its leader epoch, who waits for its high watermark to move, and which
// logs must exist for a metadata image.
//
// A Partition is the one way to a log for produce, fetch and the admin APIs.
// The Set keeps the partitions of the current image and brings the disk in
// line with each new one: logs are created, opened and deleted here.
//
// The package never sees a connection, a request or an API version; its errors
// are its own and the engine's, the API layer gives them Kafka's codes.
package partition
