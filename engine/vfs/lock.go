package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// inode is a file's identity, whatever name it was reached by.
type inode struct{ dev, ino uint64 }

// held are the files this process has locked: record locks belong to the process and would not exclude a second
// holder within it. mu also covers opening, because opening and closing a held file would drop the lock.
var held = struct {
	mu    sync.Mutex
	files map[inode]bool
}{files: map[inode]bool{}}

func lockFile(name string) (io.Closer, error) {
	held.mu.Lock()
	defer held.mu.Unlock()

	var st unix.Stat_t
	switch err := ignoringEINTR(func() error { return unix.Stat(name, &st) }); err {
	case nil:
		if held.files[inodeOf(&st)] {
			return nil, fmt.Errorf("lock %s: %w by this process", name, ErrLocked)
		}
	case unix.ENOENT:
	default:
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}

	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	file := &osFile{File: f}
	err = file.control("lock", func(fd int) error {
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		// Len 0: to the end of the file however long it becomes, the same range as Java's FileChannel.tryLock.
		return unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart})
	})
	if err != nil {
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			err = fmt.Errorf("lock %s: %w by another process", name, ErrLocked)
		}
		return nil, errors.Join(err, f.Close())
	}
	id := inodeOf(&st)
	held.files[id] = true
	return &lock{file: file, id: id}, nil
}

func inodeOf(st *unix.Stat_t) inode {
	return inode{dev: uint64(st.Dev), ino: uint64(st.Ino)}
}

type lock struct {
	file *osFile
	id   inode
}

// Close releases the lock with the descriptor; a second Close is fs.ErrClosed and releases nothing.
func (l *lock) Close() error {
	held.mu.Lock()
	defer held.mu.Unlock()
	if err := l.file.Close(); err != nil {
		return err
	}
	delete(held.files, l.id)
	return nil
}
