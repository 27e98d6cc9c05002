// Package codec compresses and decompresses the records section of record batches with the codecs of
// Kafka: gzip, snappy (the framing of Xerial's SnappyOutputStream, and raw blocks on input), LZ4 frames
// and zstd. Every decompression has a bound on its output, given by the caller; nothing is set up before
// its first use.
//
// It owns codecs and their pools. It never touches files, batches or records.
package codec
