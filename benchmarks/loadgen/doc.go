//go:build linux

// Package loadgen sends prepared Produce requests as fast as a server answers them and costs little itself.
//
// The bytes of a request are built once; only the correlation id is patched for each sending. One thread drives all
// connections with edge-triggered epoll, so that on a small machine the processor is left to the server that is being
// measured. It also owns the few blocking requests a run needs before: create a topic, wait for its leader.
//
// It never decodes a whole response while measuring: only the correlation id and the error code.
package loadgen
