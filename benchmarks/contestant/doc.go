//go:build linux

// Package contestant builds, starts and stops the servers that a comparison runs: the floor, Gregor, and Apache Kafka
// from a directory of its jars, each as a child process on free ports of the loopback address, with directories of its
// own.
//
// It ends only the processes that it started. It measures nothing but the moment of starting.
package contestant
