//go:build linux

// Command compare runs contestants against each other on one machine, alternately and several times, and judges the
// medians: the floor (see benchmarks/floor), Gregor, and Apache Kafka with and without a sync before each answer.
//
//	go run ./benchmarks/compare -contestants floor,gregor,kafka -kafka-jars DIRECTORY -scenarios frames-1m,frames-1k
//
// It builds the programs of this repository itself, starts every contestant as a child with a fresh directory, prints a
// table, and writes everything it measured as JSON when asked. It exits with 1 when the subject misses a bar.
//
// See benchmarks/README.md for the scenarios and what the figures mean.
package main
