// Command logcheck checks, shows, explains and repairs the data directories of
// Apache Kafka and Gregor. It turns flags into calls of package fsck and prints
// what comes back; it has no knowledge of formats. Only repair writes.
package main
