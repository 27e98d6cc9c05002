//go:build linux

// Command load sends prepared Produce requests to a server and says how many were answered, how fast, and what they
// cost it. It ends with an error if any response carries one.
//
//	load -address 127.0.0.1:9092 -pid 1234 -create -connections 1 -in-flight 5 -records 1000
//
// See benchmarks/README.md for what the figures mean.
package main
