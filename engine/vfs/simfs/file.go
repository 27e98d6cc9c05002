package simfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// handle is an open file. closed is guarded by the disk's lock.
type handle struct {
	disk   *FS
	node   *node
	name   string
	flag   int
	closed bool
}

func (h *handle) Name() string { return h.name }

func (h *handle) ReadAt(p []byte, off int64) (n int, err error) {
	err = h.disk.reading(vfs.OpRead, h.name, func() error {
		if err := h.usable(off, os.O_WRONLY); err != nil {
			return err
		}
		if off < int64(len(h.node.content.b)) {
			n = copy(p, h.node.content.b[off:])
		}
		return nil
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// usable refuses a closed handle, one opened in the given access mode, and a negative offset.
func (h *handle) usable(off int64, refused int) error {
	switch {
	case h.closed:
		return fs.ErrClosed
	case h.flag&(os.O_RDONLY|os.O_WRONLY|os.O_RDWR) == refused:
		return syscall.EBADF
	case off < 0:
		return fs.ErrInvalid
	}
	return nil
}

// change runs a changing call on the open file for writing.
func (h *handle) change(e vfs.Event, off int64, do func(e *vfs.Event) error) error {
	e.Name = h.name
	return h.disk.change(e, func(e *vfs.Event) error {
		err := h.usable(off, os.O_RDONLY)
		if err == nil {
			err = do(e)
		}
		if err != nil {
			return failed(e.Op, h.name, err)
		}
		return nil
	})
}

func (h *handle) WriteAt(p []byte, off int64) (n int, err error) {
	err = h.change(vfs.Event{Op: vfs.OpWrite, Off: off}, off, func(e *vfs.Event) error {
		room := h.disk.fit(h.node, off, int64(len(p)))
		if n = int(room); n > 0 {
			h.disk.apply(h.node, dataChange{off: off, data: slices.Clone(p[:n])})
		}
		e.Len = room
		h.disk.stats.Writes++
		h.disk.stats.BytesWritten += room
		if n < len(p) {
			return syscall.ENOSPC
		}
		return nil
	})
	return n, err
}

// fit is how many of n bytes at off the disk has room for.
func (d *FS) fit(n *node, off, length int64) int64 {
	if d.options.Capacity == 0 {
		return length
	}
	reach := n.space() + max(0, d.options.Capacity-d.used)&^(BlockSize-1)
	return min(length, max(0, reach-off))
}

// apply makes a change to what processes see, mappings included, and keeps it for the next sync.
func (d *FS) apply(n *node, c dataChange) {
	space := n.space()
	c.before = int64(len(n.content.b))
	if !c.truncate {
		c.size = max(c.before, c.off+int64(len(c.data)))
	} else if c.size < c.before {
		n.reserved = min(n.reserved, roundUp(c.size)) // as ftruncate(2) gives back blocks past the end
	}
	n.content.apply(c)
	n.pending = append(n.pending, c)
	n.modTime = d.now()
	d.used += n.space() - space
	for _, m := range n.maps {
		m.apply(c)
	}
}

func (h *handle) Truncate(size int64) error {
	return h.change(vfs.Event{Op: vfs.OpTruncate, Off: size}, size, func(*vfs.Event) error {
		if h.disk.fit(h.node, 0, size) < size {
			return syscall.ENOSPC
		}
		h.disk.apply(h.node, dataChange{truncate: true, size: size})
		return nil
	})
}

func (h *handle) Allocate(off, n int64) error {
	return h.change(vfs.Event{Op: vfs.OpAllocate, Off: off, Len: n}, off, func(*vfs.Event) error {
		if n <= 0 {
			return syscall.EINVAL
		}
		if h.disk.fit(h.node, off, n) < n {
			return syscall.ENOSPC
		}
		space := h.node.space()
		h.node.reserved = max(h.node.reserved, roundUp(off+n))
		h.disk.used += h.node.space() - space
		return nil
	})
}

// flush makes durable what Volume.Sync had written back: a drive's cache is flushed as a whole.
func (d *FS) flush() {
	for n, count := range d.written {
		for _, c := range n.pending[:count] {
			n.synced.apply(c)
		}
		n.pending = n.pending[count:]
	}
	clear(d.written)
	for dir, entries := range d.writtenDirs {
		dir.durable = entries
	}
	clear(d.writtenDirs)
	d.pending = slices.DeleteFunc(d.pending, func(c dirChange) bool { return c.written })
}

// OpenVolume implements vfs.FS: the whole disk is one volume.
func (d *FS) OpenVolume(name string) (vfs.Volume, error) {
	if _, err := d.Stat(name); err != nil {
		return nil, err
	}
	return volume{d, name}, nil
}

type volume struct {
	disk *FS
	name string
}

// Close implements vfs.Volume.
func (v volume) Close() error { return nil }

// Sync implements vfs.Volume. What it writes back may still be lost until some file is synced.
func (v volume) Sync() error {
	d := v.disk
	return d.change(vfs.Event{Op: vfs.OpSyncAll, Name: v.name}, func(*vfs.Event) error {
		d.stats.VolumeSyncs++
		fail := due(&d.failSyncAll)
		d.everyFile(func(n *node) {
			switch {
			case len(n.pending) == 0 || d.lying:
			case fail:
				n.forgot, n.owed, n.pending = true, true, nil
				delete(d.written, n)
			default:
				if d.written == nil {
					d.written = map[*node]int{}
				}
				d.written[n] = len(n.pending)
			}
		})
		if fail {
			return failed(vfs.OpSyncAll, v.name, syscall.EIO)
		}
		if !d.lying {
			d.writeNames()
		}
		return nil
	})
}

// writeNames writes the changes of directories to the drive's cache.
func (d *FS) writeNames() {
	if d.writtenDirs == nil {
		d.writtenDirs = map[*node][]entry{}
	}
	for i := range d.pending {
		c := &d.pending[i]
		c.written = true
		for _, dir := range []*node{c.from, c.to} {
			if dir != nil {
				d.writtenDirs[dir] = dir.entries
			}
		}
	}
}

// everyFile calls f with every file that has a name.
func (d *FS) everyFile(f func(n *node)) {
	var walk func(n *node)
	walk = func(n *node) {
		if !n.isDir() {
			f(n)
			return
		}
		for _, e := range n.entries {
			walk(e.node)
		}
	}
	walk(d.root)
}

func (h *handle) Sync() error {
	d, n := h.disk, h.node
	return d.change(vfs.Event{Op: vfs.OpSync, Name: h.name}, func(*vfs.Event) error {
		d.stats.Syncs++
		if h.closed {
			return failed(vfs.OpSync, h.name, fs.ErrClosed)
		}
		if due(&d.failSync) || n.owed {
			n.owed, n.forgot = false, n.forgot || len(n.pending) > 0
			n.pending = nil
			delete(d.written, n)
			return failed(vfs.OpSync, h.name, syscall.EIO)
		}
		if d.lying {
			return nil
		}
		d.flush()
		for _, c := range n.pending {
			n.synced.apply(c)
		}
		n.pending = nil
		return nil
	})
}

func (h *handle) Size() (size int64, err error) {
	err = h.disk.reading(vfs.OpSize, h.name, func() error {
		if h.closed {
			return fs.ErrClosed
		}
		size = int64(len(h.node.content.b))
		return nil
	})
	return size, err
}

// Close works without power too, so that a stopped test can tidy up.
func (h *handle) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.closed {
		return failed(vfs.OpClose, h.name, fs.ErrClosed)
	}
	h.closed = true
	h.disk.stats.OpenFiles--
	h.disk.release(h.node)
	return nil
}

func (h *handle) Map(length int) (vfs.Mapping, error) {
	d, n := h.disk, h.node
	var m *mapping
	err := d.reading(vfs.OpMap, h.name, func() error {
		switch {
		case h.closed:
			return fs.ErrClosed
		case h.usable(0, os.O_WRONLY) != nil:
			return syscall.EACCES
		case length <= 0:
			return fmt.Errorf("length %d: %w", length, fs.ErrInvalid)
		case d.options.MaxMappings > 0 && d.stats.Mappings >= d.options.MaxMappings:
			return vfs.ErrTooManyMappings
		}
		m = &mapping{disk: d, node: n, name: h.name, window: make([]byte, length)}
		copy(m.window, n.content.b)
		n.maps = append(n.maps, m)
		d.stats.Mappings++
		n.refs++
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// poison is what a reader finds in a window that was unmapped.
const poison = 0xDB

type mapping struct {
	disk     *FS
	node     *node
	name     string
	window   []byte
	unmapped bool // guarded by the disk's lock
}

// Bytes still returns the window after Unmap: its poison is there to be found.
func (m *mapping) Bytes() []byte { return m.window }

// apply shows a change of the file in the window.
func (m *mapping) apply(c dataChange) {
	length := int64(len(m.window))
	if c.truncate {
		if c.size < c.before && c.size < length {
			clear(m.window[c.size:min(c.before, length)])
		}
	} else if c.off < length {
		copy(m.window[c.off:], c.data)
	}
}

// Resident implements vfs.Mapping: a simulated disk is memory.
func (m *mapping) Resident(int, int) bool { return true }

func (m *mapping) Populate(off, n int) error {
	return m.disk.reading(vfs.OpPopulate, m.name, func() error {
		switch {
		case m.unmapped:
			return fs.ErrClosed
		case off < 0 || n < 0 || off > len(m.window)-n:
			return fmt.Errorf("range [%d,+%d) outside the mapping of %d bytes: %w", off, n, len(m.window), fs.ErrInvalid)
		case n > 0 && int64(off)+int64(n) > roundUp(int64(len(m.node.content.b))):
			return fmt.Errorf("range [%d,+%d) past the end of the file at %d: %w", off, n, len(m.node.content.b), syscall.EFAULT)
		}
		return nil
	})
}

func (m *mapping) Unmap() error {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	if m.unmapped {
		return failed(vfs.OpUnmap, m.name, fs.ErrClosed)
	}
	m.unmapped = true
	m.node.maps = slices.DeleteFunc(m.node.maps, func(other *mapping) bool { return other == m })
	m.disk.stats.Mappings--
	m.disk.release(m.node)
	m.window[0] = poison
	for done := 1; done < len(m.window); done *= 2 {
		copy(m.window[done:], m.window[:done])
	}
	return nil
}
