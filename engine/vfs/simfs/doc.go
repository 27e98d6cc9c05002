// Package simfs is a disk in memory that can lose power.
//
// It owns the difference between what a process has written and what a disk has promised. File data and file size
// are volatile until File.Sync; a created, renamed or removed name is volatile until FS.SyncDir of its directory,
// although real ext4 and XFS often hide a missing directory sync. [FS.Crash] makes the disk a power cut could leave,
// [FS.KillClone] the one a killed process leaves, and both leave the disk they were made from as it is, so many
// states can be taken from one moment. Everything follows from Options.Seed and the order of calls.
//
// A mapping is a private copy kept coherent by writes and truncations. Reading it past the end of the file gives
// zeros instead of a fault; Populate there is still an error. Unmap overwrites the copy with 0xDB bytes, so that a
// use after unmap is found by the next checksum, or by the race detector.
//
// It never touches the real disk, starts no goroutine, reads no clock but the one it is given, and knows nothing of
// what the files mean.
package simfs
