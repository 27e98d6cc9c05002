package index

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"sync"
	"syscall"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// pendingBytes is how many bytes of entries wait in memory before one pwrite
// takes them to the file. It bounds both memory per active segment and the
// number of system calls per appended byte.
const pendingBytes = 48 * 12

// table is an append-only file of fixed-size entries. One writer appends while
// readers look up; the mutex is held for a few hundred nanoseconds. The file
// is opened only to write a run of pending entries or to map it, so that an
// idle partition costs no descriptor for its indexes.
type table struct {
	fs      vfs.FS
	name    string
	width   int
	maximum int // entries

	mu      sync.Mutex
	written int // entries in the file
	pending []byte
	// mapping covers the file from zero; nil until a reader needs it, and
	// when the process has no mappings left (file is then kept open instead).
	mapping vfs.Mapping
	file    vfs.File
	created bool
	exact   bool // the file ends with the last entry written
	gone    bool // the name may be another file's: nothing is opened any more
	held    bool // entries stay in memory
}

// open begins with what the file name holds; it may not exist. A trailing
// partial entry is ignored and overwritten by the next append.
func (t *table) open(f vfs.FS, name string, width int, maxBytes int64) error {
	t.fs, t.name, t.width, t.maximum = f, name, width, int(maxBytes/int64(width))
	info, err := f.Stat(name)
	switch {
	case err == nil:
		t.written = int(info.Size() / int64(width))
		t.created, t.exact = true, info.Size()%int64(width) == 0
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("index %s: %w", name, err)
	}
	return nil
}

// Len is the number of entries.
func (t *table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lenLocked()
}

func (t *table) lenLocked() int { return t.written + len(t.pending)/t.width }

// Full says that one more entry, besides the one kept free for the closing
// entry of a roll, does not fit.
func (t *table) Full() bool { return t.Len() >= t.maximum-1 }

// Exists says whether the file stands on disk.
func (t *table) Exists() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.created
}

// Create makes the empty file, as Kafka does for every new segment.
func (t *table) Create() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.created {
		return nil
	}
	f, err := t.fs.OpenFile(t.name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("index %s: create: %w", t.name, err)
	}
	t.created = true
	return f.Close()
}

func (t *table) append(entry []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, entry...)
	if len(t.pending) < pendingBytes {
		return nil
	}
	// Entries can wait for space, and be made again: a full disk is the log's
	// affair, not the index's.
	if err := t.flushLocked(); err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return nil
}

// Flush writes buffered entries to the file; it does not sync.
func (t *table) Flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.flushLocked()
}

// Hold keeps entries from the file while held is true: of a segment that must
// go on without one.
func (t *table) Hold(held bool) {
	t.mu.Lock()
	t.held = held
	t.mu.Unlock()
}

func (t *table) flushLocked() error {
	if len(t.pending) == 0 || t.held {
		return nil
	}
	t.exact = false
	return t.withFileLocked(func(f vfs.File) error {
		if _, err := f.WriteAt(t.pending, int64(t.written*t.width)); err != nil {
			return err
		}
		t.written += len(t.pending) / t.width
		t.pending = t.pending[:0]
		return nil
	})
}

func (t *table) withFileLocked(do func(vfs.File) error) error {
	f := t.file
	if f == nil {
		var err error
		if f, err = t.fs.OpenFile(t.name, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
			return fmt.Errorf("index %s: open: %w", t.name, err)
		}
		t.created = true
		defer f.Close()
	}
	if err := do(f); err != nil {
		return fmt.Errorf("index %s: %w", t.name, err)
	}
	return nil
}

// Sync writes what is pending and makes the file durable.
func (t *table) Sync() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.flushLocked(); err != nil {
		return err
	}
	if !t.created || t.gone {
		return nil // what is left of it is of no use to anybody
	}
	return t.withFileLocked(vfs.Sync)
}

// Truncate keeps the first n entries and cuts the file to exactly those. A file that was found so is not opened.
func (t *table) Truncate(n int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n >= t.written {
		if keep := (n - t.written) * t.width; keep < len(t.pending) {
			t.pending = t.pending[:keep]
		}
		if len(t.pending) > 0 || !t.created || t.exact {
			return nil
		}
	} else {
		t.pending = t.pending[:0]
		t.written, t.exact = n, false
	}
	return t.withFileLocked(func(f vfs.File) error { return f.Truncate(int64(t.written * t.width)) })
}

// Close flushes and gives back mapping and descriptor.
func (t *table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.flushLocked(), t.releaseLocked())
}

// ErrDetached is returned when an index whose files were renamed or moved has
// to be opened.
var ErrDetached = errors.New("index is detached from its file")

// Detach says that the file is about to be renamed or moved.
func (t *table) Detach() {
	t.mu.Lock()
	t.gone = true
	t.pending = t.pending[:0]
	t.mu.Unlock()
}

// Release gives back mapping and descriptor; the table stays usable.
func (t *table) Release() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.releaseLocked()
}

func (t *table) releaseLocked() error {
	var err error
	if t.mapping != nil {
		err = t.mapping.Unmap()
		t.mapping = nil
	}
	if t.file != nil {
		err = errors.Join(err, t.file.Close())
		t.file = nil
	}
	return err
}

// Move renames the file. Nobody can open it under the wrong name meanwhile. A file that is not there is no error.
func (t *table) Move(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.fs.Rename(t.name, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("index %s: %w", t.name, err)
	}
	t.name = name
	return nil
}

// Rebase says that the file is found under another name from now on: a directory above it was renamed.
func (t *table) Rebase(name string) {
	t.mu.Lock()
	t.name = name
	t.mu.Unlock()
}

// search finds how many leading entries satisfy keep, which must be true for
// a prefix of the entries, and passes the last of them to found. It runs under
// the fault guard: a file cut short behind our back is an error, not a crash.
func (t *table) search(keep func(entry []byte) bool, found func(entry []byte)) (n int, err error) {
	return t.searchFirst(math.MaxInt, keep, found)
}

// searchFirst is search among the first entries only.
func (t *table) searchFirst(first int, keep func(entry []byte) bool, found func(entry []byte)) (n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	err = t.viewLocked(false, func(at func(int) ([]byte, error)) error {
		lo, hi := 0, min(t.lenLocked(), first)
		// The tail of an index is what almost every lookup wants: look there
		// first, so that a search does not touch cold pages in the middle.
		if warm := hi - 8192/t.width; warm > 0 {
			e, err := at(warm)
			if err != nil {
				return err
			}
			if keep(e) {
				lo = warm + 1
			} else {
				hi = warm
			}
		}
		for lo < hi {
			mid := int(uint(lo+hi) >> 1)
			e, err := at(mid)
			if err != nil {
				return err
			}
			if keep(e) {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		n = lo
		if n == 0 {
			return nil
		}
		e, err := at(n - 1)
		if err == nil {
			found(e)
		}
		return err
	})
	return n, err
}

// each calls f for every entry until it returns false.
func (t *table) each(f func(i int, entry []byte) bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.viewLocked(true, func(at func(int) ([]byte, error)) error {
		for i, n := 0, t.lenLocked(); i < n; i++ {
			e, err := at(i)
			if err != nil {
				return err
			}
			if !f(i, e) {
				return nil
			}
		}
		return nil
	})
}

// final passes the last entry to found.
func (t *table) final(found func(entry []byte)) (ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	err = t.viewLocked(true, func(at func(int) ([]byte, error)) error {
		n := t.lenLocked()
		if n == 0 {
			return nil
		}
		e, err := at(n - 1)
		if err == nil {
			ok = true
			found(e)
		}
		return err
	})
	return ok, err
}

// viewLocked gives f random access to the entries. The few of a small file are read for what is asked once, so that opening ten thousand
// logs does not leave as many mappings behind.
func (t *table) viewLocked(once bool, f func(at func(int) ([]byte, error)) error) error {
	var small []byte
	if t.written > 0 {
		var err error
		if once && t.mapping == nil && t.file == nil && !t.gone && t.written*t.width <= pendingBytes {
			small, err = t.readLocked()
		} else {
			err = t.openLocked()
		}
		if err != nil {
			return err
		}
	}
	var fallback [16]byte
	var inner error
	fault := vfs.Guard(func() {
		inner = f(func(i int) ([]byte, error) {
			if i >= t.written {
				off := (i - t.written) * t.width
				return t.pending[off : off+t.width], nil
			}
			off := i * t.width
			if small != nil {
				return small[off : off+t.width], nil
			}
			if t.mapping != nil && off+t.width <= len(t.mapping.Bytes()) {
				return t.mapping.Bytes()[off : off+t.width], nil
			}
			if _, err := t.file.ReadAt(fallback[:t.width], int64(off)); err != nil {
				return nil, fmt.Errorf("index %s: entry %d: %w", t.name, i, err)
			}
			return fallback[:t.width], nil
		})
	})
	if fault != nil {
		return fmt.Errorf("index %s: cannot read mapped entries: %w", t.name, fault)
	}
	return inner
}

func (t *table) readLocked() ([]byte, error) {
	f, err := t.fs.OpenFile(t.name, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("index %s: open: %w", t.name, err)
	}
	p := make([]byte, t.written*t.width)
	_, err = f.ReadAt(p, 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("index %s: read %d entries: %w", t.name, t.written, err)
	}
	return p, nil
}

// openLocked maps the file, at the size it may grow to, or keeps it open for
// ReadAt when the process has run out of mappings.
func (t *table) openLocked() error {
	if t.gone && t.mapping == nil && t.file == nil {
		return fmt.Errorf("index %s: %w", t.name, ErrDetached)
	}
	need := t.written * t.width
	if t.mapping != nil && need <= len(t.mapping.Bytes()) || t.file != nil {
		return nil
	}
	if t.mapping != nil {
		if err := t.mapping.Unmap(); err != nil {
			return err
		}
		t.mapping = nil
	}
	f, err := t.fs.OpenFile(t.name, os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("index %s: open: %w", t.name, err)
	}
	m, err := f.Map(max(t.maximum*t.width, need))
	if err != nil {
		if !errors.Is(err, vfs.ErrTooManyMappings) {
			f.Close()
			return fmt.Errorf("index %s: map: %w", t.name, err)
		}
		t.file = f
		return nil
	}
	if err := errors.Join(m.Populate(0, need), f.Close()); err != nil {
		m.Unmap()
		return fmt.Errorf("index %s: map: %w", t.name, err)
	}
	t.mapping = m
	return nil
}
