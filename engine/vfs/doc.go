// Package vfs is the engine's only door to a disk.
//
// It owns the interfaces FS, File and Mapping, the implementation over the operating system ([OS]), and two
// wrappers for tests: [WithFaults] fails chosen calls, [WithTrace] writes down every change asked of the disk. It
// also owns the two safety rules of mapped memory: pages are brought in by a system call ([Mapping].Populate)
// rather than by a touch, and a touch that may still fault runs inside [Guard].
//
// It never stores through a mapping (mappings are read-only), never appends with O_APPEND, never retries a failed
// sync, and knows nothing of what the files mean.
package vfs
