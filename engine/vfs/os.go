package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"sync/atomic"

	"github.com/edsrzf/mmap-go"
	"golang.org/x/sys/unix"
)

// OS is the real disk, through the operating system.
var OS FS = osFS{}

type osFS struct{}

// OpenFile does not use os.OpenFile, which first offers every file to the poller, in five system calls, and is told that files are not polled.
func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	fd := -1
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Open(name, flag|unix.O_CLOEXEC, uint32(perm.Perm()))
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &osFile{File: os.NewFile(uintptr(fd), name)}, nil
}

func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) RemoveAll(name string) error { return os.RemoveAll(name) }

func (osFS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

func (osFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

func (osFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (osFS) SyncDir(name string) error {
	d, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0) // on a file it is a mistake, not a sync
	if err != nil {
		return err
	}
	// fsync, not fdatasync: only fsync is specified to cover everything about a directory.
	return errors.Join(d.Sync(), d.Close())
}

func (osFS) Lock(name string) (io.Closer, error) { return lockFile(name) }

func (osFS) Usage(name string) (total, usable uint64, err error) {
	total, usable, err = statfs(name)
	if err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return total, usable, nil
}

// osVolume is an open directory: errors of the file system since it was opened are reported once through it.
type osVolume struct{ *os.File }

func (osFS) OpenVolume(name string) (Volume, error) {
	if !volumeErrors() {
		return nil, &fs.PathError{Op: "syncfs", Path: name, Err: errors.ErrUnsupported}
	}
	d, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return osVolume{d}, nil
}

func (v osVolume) Sync() error {
	return (&osFile{v.File}).control("syncfs", syncVolume)
}

// osFile holds the *os.File for its whole life: a bare descriptor would be closed under us by the finalizer.
type osFile struct{ *os.File }

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Sync() error {
	return f.control("fdatasync", datasync)
}

func (f *osFile) Allocate(off, n int64) error {
	return f.control("fallocate", func(fd int) error { return allocate(fd, off, n) })
}

// control runs a system call on the descriptor, which cannot be closed meanwhile, again while signals interrupt it.
func (f *osFile) control(op string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		callErr = ignoringEINTR(func() error { return call(int(fd)) })
	})
	if err != nil {
		err = fs.ErrClosed // the only reason Control has; its own error is internal/poll's, which matches nothing
	} else {
		err = callErr
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func (f *osFile) Map(length int) (Mapping, error) {
	if length <= 0 || int64(length) > math.MaxInt64-int64(os.Getpagesize()) {
		return nil, &fs.PathError{Op: "mmap", Path: f.Name(), Err: fmt.Errorf("length %d: %w", length, fs.ErrInvalid)}
	}
	if liveMappings.Add(1) > maxMappings() {
		liveMappings.Add(-1)
		return nil, &fs.PathError{Op: "mmap", Path: f.Name(), Err: ErrTooManyMappings}
	}
	var data mmap.MMap
	err := f.control("mmap", func(int) (err error) {
		data, err = mmap.MapRegion(f.File, length, mmap.RDONLY, 0, 0)
		return err
	})
	if err != nil {
		liveMappings.Add(-1)
		return nil, err
	}
	return &osMapping{name: f.Name(), data: data}, nil
}

// mappingCap bounds live mappings: three files (log, offset index, time index) of 8192 segments.
const mappingCap = 8192 * 3

// liveMappings counts the mappings this process holds through OS.
var liveMappings atomic.Int64

// LiveMappings is the number of mappings of real files this process holds now; a gauge, and a leak check for tests.
func LiveMappings() int64 { return liveMappings.Load() }

type osMapping struct {
	name     string
	data     mmap.MMap
	unmapped atomic.Bool
}

func (m *osMapping) Bytes() []byte { return m.data }

func (m *osMapping) Populate(off, n int) error {
	if off < 0 || n < 0 || off > len(m.data)-n {
		return &fs.PathError{Op: "populate", Path: m.name,
			Err: fmt.Errorf("range [%d,+%d) outside the mapping of %d bytes: %w", off, n, len(m.data), fs.ErrInvalid)}
	}
	if n == 0 {
		return nil
	}
	start := off &^ (os.Getpagesize() - 1)
	if err := ignoringEINTR(func() error { return populate(m.data[start : off+n]) }); err != nil {
		return &fs.PathError{Op: "populate", Path: m.name, Err: fmt.Errorf("range [%d,+%d): %w", off, n, err)}
	}
	return nil
}

func (m *osMapping) Resident(off, n int) bool {
	if off < 0 || n <= 0 || off > len(m.data)-n {
		return true
	}
	start := off &^ (os.Getpagesize() - 1)
	return resident(m.data[start : off+n])
}

func (m *osMapping) Unmap() error {
	if !m.unmapped.CompareAndSwap(false, true) {
		return &fs.PathError{Op: "munmap", Path: m.name, Err: fs.ErrClosed}
	}
	data := m.data
	m.data = nil // a late reader panics on a nil slice instead of reading memory that became someone else's
	if err := data.Unmap(); err != nil {
		return &fs.PathError{Op: "munmap", Path: m.name, Err: err}
	}
	liveMappings.Add(-1)
	return nil
}
