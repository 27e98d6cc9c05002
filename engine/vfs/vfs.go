package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is a disk. Names are slash-separated paths as the os package takes them. All methods may be called
// concurrently. Errors wrap the causes of io/fs and syscall, so errors.Is(err, fs.ErrNotExist) and
// errors.Is(err, syscall.ENOSPC) hold.
type FS interface {
	// OpenFile opens the named file with the flags of package os (O_RDWR, O_CREATE, O_EXCL, O_TRUNC). A created
	// file's name is durable only after SyncDir of its directory.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// MkdirAll creates a directory with its missing parents; the names are durable after SyncDir of each parent.
	MkdirAll(name string, perm fs.FileMode) error
	// Remove removes a file or an empty directory; durable after SyncDir of the parent. Open files and live
	// mappings of a removed file stay usable.
	Remove(name string) error
	// RemoveAll removes a tree; a name that does not exist is no error.
	RemoveAll(name string) error
	// Rename moves oldname to newname, replacing a file there atomically; durable only after SyncDir of the
	// parent, or of both parents when they differ.
	Rename(oldname, newname string) error
	// ReadDir lists a directory sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat describes a file or directory.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the creates, renames and removes done in the directory durable.
	SyncDir(name string) error
	// Lock takes an exclusive record lock on the whole of name, creating the file if absent, as Java's
	// FileChannel.tryLock does, so that Kafka and Gregor exclude each other from a log directory. It never waits:
	// a lock held by anyone, this process included, is ErrLocked. Closing the result releases the lock and leaves
	// the file. Nobody may open the same file by another way while the lock is held: closing any descriptor of a
	// file drops the process's record locks on it (fcntl(2)).
	Lock(name string) (io.Closer, error)
	// Usage reports the volume that holds name: all its bytes, and those an unprivileged process can still write
	// (DescribeLogDirs v4, KIP-827).
	Usage(name string) (total, usable uint64, err error)
	// OpenVolume opens the volume that holds the directory name as a whole. It is an error that satisfies
	// errors.Is(err, errors.ErrUnsupported) where the operating system does not report failed writes of data through
	// it (Linux before 5.8 and every other system).
	OpenVolume(name string) (Volume, error)
}

// Volume is a file system as a whole. It may be used concurrently.
type Volume interface {
	// Sync writes back everything that was changed on the volume before the call, data and names (syncfs(2)), whoever
	// changed it. Only a File.Sync of some file afterwards makes it durable: XFS flushes the drive's cache in syncfs
	// only when it had something to log. As with File.Sync, one failure, which may be that of anybody's file, is final.
	Sync() error
	io.Closer
}

// File is an open file. ReadAt, WriteAt, Size, Sync and Map may be called concurrently; Close at the end, once.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Name is the name the file was opened by.
	Name() string
	// Size is the file's present length in bytes.
	Size() (int64, error)
	// Truncate sets the length; a longer file reads zeros in the new part. Not to be called while anyone may
	// touch mapped bytes beyond size.
	Truncate(size int64) error
	// Sync is fdatasync(2): the data and the size needed to read it are durable. It does not make the file's name
	// durable. After one failure the file's unsynced data must be taken as lost: a later success proves nothing.
	Sync() error
	// Allocate reserves disk space for n bytes from off without changing the size (fallocate KEEP_SIZE). It
	// returns nil where the disk cannot do that; ENOSPC stays an error.
	Allocate(off, n int64) error
	// Map makes a read-only shared mapping of length bytes from offset 0; length may exceed the file's size, and
	// later writes and growth become visible in it. It returns ErrTooManyMappings at the cap; the caller then
	// reads with ReadAt. The mapping outlives Close and Remove.
	Map(length int) (Mapping, error)
}

// Mapping is a window of mapped file bytes.
type Mapping interface {
	// Bytes is the window. It is valid until Unmap and must not be written. A whole page past the end of the file
	// faults when touched.
	Bytes() []byte
	// Populate brings the n bytes from off into memory inside a system call (MADV_POPULATE_READ), so a slow disk
	// holds up no other goroutine. A range past the end of the file, or one the disk cannot read, is an error. On
	// kernels without the call it does nothing and returns nil.
	Populate(off, n int) error
	// Resident says whether all of the n bytes from off are in memory, so that nobody who touches them waits for the disk
	// (mincore(2)); true where that cannot be told.
	Resident(off, n int) bool
	// Unmap gives the window back. Nobody may be using Bytes; a second Unmap is an error.
	Unmap() error
}

// SyncError marks an error that came from a sync, whatever its cause: what the
// sync was to make durable must be taken as lost, and a later success proves
// nothing. Callers of File.Sync wrap with it.
type SyncError struct{ Err error }

// Error is the cause's text.
func (e *SyncError) Error() string { return "sync: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *SyncError) Unwrap() error { return e.Err }

// Sync syncs f and marks a failure as a SyncError.
func Sync(f File) error {
	if err := f.Sync(); err != nil {
		return &SyncError{err}
	}
	return nil
}

// ErrLocked is returned by FS.Lock when another holder, in this process or another, has the lock.
var ErrLocked = errors.New("already locked")

// ErrTooManyMappings is returned by File.Map when the process holds as many mappings as it allows itself: far
// fewer than vm.max_map_count, because the Go runtime dies when it cannot map memory.
var ErrTooManyMappings = errors.New("too many live mappings")

// ReadFile returns the whole content of the named file. For small files: it reads into one heap slice.
func ReadFile(f FS, name string) ([]byte, error) {
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close() // read only: nothing is lost with the error
	size, err := file.Size()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	data := make([]byte, size)
	n, err := file.ReadAt(data, 0)
	if err != nil && !(errors.Is(err, io.EOF) && int64(n) == size) {
		return nil, fmt.Errorf("read %s: %d of %d bytes: %w", name, n, size, err)
	}
	return data, nil
}

// WriteFileAtomic replaces the named file by one with exactly data, so that after a power cut either the old or
// the new content is there, and the new one once it returned nil. It writes name.tmp, syncs it, renames it and
// syncs the directory, the order of Kafka's CheckpointFile. Not for concurrent calls on one name.
func WriteFileAtomic(f FS, name string, data []byte) error {
	if err := ReplaceFile(f, name, data); err != nil {
		return err
	}
	if err := f.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// ReplaceFile is WriteFileAtomic without the last step: the caller syncs the directory.
func ReplaceFile(f FS, name string, data []byte) error {
	tmp := name + ".tmp"
	if err := writeSynced(f, tmp, data); err != nil {
		f.Remove(tmp) // best effort: it may hold space a full disk needs; the error that matters is err
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := f.Rename(tmp, name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func writeSynced(f FS, name string, data []byte) error {
	file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(data, 0); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Sync(); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}
