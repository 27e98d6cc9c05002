//go:build linux

// Package procstat reads what a process and the machine have used, from proc(5): CPU time, resident memory, and memory
// that is not backed by a file (RssAnon), which is the figure that a broker with mapped logs must keep small. Its
// Ballast holds memory warm for a run, see there.
//
// It observes processes by id and never signals them.
package procstat
