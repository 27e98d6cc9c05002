package simfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// dirChange is a change of names that no SyncDir has made durable. node is created in to, removed from "from", or
// moved between them.
type dirChange struct {
	node           *node
	from, to       *node // nil for a creation or a removal
	fromName, name string
	written        bool // in the drive's cache
}

func (c *dirChange) touches(dirs []*node) bool {
	return c.from != nil && slices.Contains(dirs, c.from) || c.to != nil && slices.Contains(dirs, c.to)
}

// moves reports a rename from one directory to another.
func (c *dirChange) moves() bool { return c.from != nil && c.to != nil && c.from != c.to }

func failed(op vfs.Op, name string, err error) error {
	return &fs.PathError{Op: string(op), Path: name, Err: err}
}

// OpenFile implements vfs.FS. Directories cannot be opened.
func (d *FS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	var n *node
	err := d.reading(vfs.OpOpen, name, func() (err error) {
		if n, err = d.openable(name, flag); n != nil {
			d.opened(n)
		}
		return err
	})
	if err == nil && n == nil {
		err = d.change(vfs.Event{Op: vfs.OpCreate, Name: name}, func(e *vfs.Event) (err error) {
			if n, err = d.create(e, name, flag, perm); err == nil {
				d.opened(n)
			}
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	f := &handle{disk: d, node: n, name: name, flag: flag}
	if flag&os.O_TRUNC != 0 {
		if size, err := f.Size(); err == nil && size > 0 {
			if err := f.Truncate(0); err != nil {
				return nil, errors.Join(err, f.Close())
			}
		}
	}
	return f, nil
}

// openable finds the file to open; nil without an error means it must be created.
func (d *FS) openable(name string, flag int) (*node, error) {
	n := d.lookup(name)
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, d.missing(name)
	case n == nil:
		return nil, nil
	case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, syscall.EEXIST
	case n.isDir():
		return nil, syscall.EISDIR
	}
	return n, nil
}

// missing tells a name below a file from one that is just not there.
func (d *FS) missing(name string) error {
	for dir, _ := split(name); dir != "/"; dir, _ = split(dir) {
		if n := d.lookup(dir); n != nil && !n.isDir() {
			return syscall.ENOTDIR
		}
	}
	return syscall.ENOENT
}

// create makes an empty file; if another goroutine was faster it takes that one, and nothing is written down.
func (d *FS) create(e *vfs.Event, name string, flag int, perm fs.FileMode) (*node, error) {
	n, err := d.openable(name, flag)
	if err != nil {
		return nil, failed(vfs.OpCreate, name, err)
	}
	if n != nil {
		e.Op = ""
		return n, nil
	}
	n = &node{mode: perm.Perm()}
	if err := d.add(name, n); err != nil {
		return nil, failed(vfs.OpCreate, name, err)
	}
	return n, nil
}

func (d *FS) add(name string, n *node) error {
	dir, last := split(name)
	parent := d.lookup(dir)
	if parent == nil || !parent.isDir() {
		return d.missing(name)
	}
	n.modTime = d.now()
	parent.modTime = n.modTime
	parent.place(last, n)
	d.pending = append(d.pending, dirChange{node: n, to: parent, name: last})
	return nil
}

// MkdirAll implements vfs.FS; every missing level is a change of its own.
func (d *FS) MkdirAll(name string, perm fs.FileMode) error {
	name = clean(name)
	for i := 1; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		level := name[:i]
		var n *node
		if err := d.reading(vfs.OpMkdir, level, func() error { n = d.lookup(level); return nil }); err != nil {
			return err
		}
		if n != nil {
			if !n.isDir() {
				return failed(vfs.OpMkdir, level, syscall.ENOTDIR)
			}
			continue
		}
		err := d.change(vfs.Event{Op: vfs.OpMkdir, Name: level}, func(e *vfs.Event) error {
			if n := d.lookup(level); n != nil && n.isDir() {
				e.Op = ""
				return nil
			}
			if err := d.add(level, &node{mode: fs.ModeDir | perm.Perm()}); err != nil {
				return failed(vfs.OpMkdir, level, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Remove implements vfs.FS.
func (d *FS) Remove(name string) error {
	return d.change(vfs.Event{Op: vfs.OpRemove, Name: name}, func(*vfs.Event) error {
		n := d.lookup(name)
		switch {
		case n == nil:
			return failed(vfs.OpRemove, name, d.missing(name))
		case n == d.root:
			return failed(vfs.OpRemove, name, syscall.EBUSY)
		case len(n.entries) > 0:
			return failed(vfs.OpRemove, name, syscall.ENOTEMPTY)
		}
		n.parent.modTime = d.now()
		d.pending = append(d.pending, dirChange{node: n, from: n.parent, fromName: n.name})
		n.detach()
		d.settle(n)
		return nil
	})
}

// RemoveAll implements vfs.FS; every file and directory is a change of its own, children first.
func (d *FS) RemoveAll(name string) error {
	var children []string
	var exists bool
	err := d.reading(vfs.OpRemoveAll, name, func() error {
		n := d.lookup(name)
		if exists = n != nil; !exists {
			if err := d.missing(name); err != syscall.ENOENT {
				return err
			}
		} else {
			for _, e := range n.entries {
				children = append(children, strings.TrimSuffix(name, "/")+"/"+e.name)
			}
		}
		return nil
	})
	if err != nil || !exists {
		return err
	}
	for _, child := range children {
		if err := d.RemoveAll(child); err != nil {
			return err
		}
	}
	if err := d.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // someone else removed it meanwhile
}

// Rename implements vfs.FS. A rename between two directories becomes durable by SyncDir of either one, together with
// all other changes of names: it lands in both at once, which takes a journal.
func (d *FS) Rename(oldname, newname string) error {
	return d.change(vfs.Event{Op: vfs.OpRename, Name: oldname, To: newname}, func(*vfs.Event) error {
		if err := d.rename(oldname, newname); err != nil {
			return &os.LinkError{Op: string(vfs.OpRename), Old: oldname, New: newname, Err: err}
		}
		return nil
	})
}

func (d *FS) rename(oldname, newname string) error {
	n := d.lookup(oldname)
	if replaced := d.lookup(newname); replaced != nil && replaced.isDir() && n != nil {
		return syscall.EEXIST // os.Rename never replaces a directory, not even by itself
	}
	// Both directories are looked up before either name, as in the kernel.
	oldDir, _ := split(oldname)
	if from := d.lookup(oldDir); from == nil || !from.isDir() {
		return d.missing(oldname)
	}
	dir, last := split(newname)
	to := d.lookup(dir)
	if to == nil || !to.isDir() {
		return d.missing(newname)
	}
	if n == nil {
		return d.missing(oldname)
	}
	if n == d.root || last == "" {
		return syscall.EBUSY
	}
	if to.within(n) {
		return syscall.EINVAL
	}
	replaced := to.get(last)
	switch {
	case replaced == n:
		return nil
	case replaced == nil:
	case n.isDir():
		return syscall.ENOTDIR
	}
	d.pending = append(d.pending, dirChange{node: n, from: n.parent, fromName: n.name, to: to, name: last})
	n.parent.modTime = d.now()
	to.modTime = d.now()
	to.place(last, n)
	if replaced != nil {
		d.settle(replaced)
	}
	return nil
}

// ReadDir implements vfs.FS.
func (d *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	var list []fs.DirEntry
	err := d.reading(vfs.OpReadDir, name, func() error {
		n := d.lookup(name)
		if n == nil {
			return d.missing(name)
		}
		if !n.isDir() {
			return syscall.ENOTDIR
		}
		list = make([]fs.DirEntry, len(n.entries))
		for i, e := range n.entries {
			list[i] = fs.FileInfoToDirEntry(e.node.info(e.name))
		}
		return nil
	})
	return list, err
}

// Stat implements vfs.FS.
func (d *FS) Stat(name string) (fs.FileInfo, error) {
	var info fs.FileInfo
	err := d.reading(vfs.OpStat, name, func() error {
		n := d.lookup(name)
		if n == nil {
			return d.missing(name)
		}
		_, last := split(name)
		info = n.info(last)
		return nil
	})
	return info, err
}

// SyncDir implements vfs.FS.
func (d *FS) SyncDir(name string) error {
	return d.change(vfs.Event{Op: vfs.OpSyncDir, Name: name}, func(*vfs.Event) error {
		d.stats.DirSyncs++
		n := d.lookup(name)
		switch {
		case n == nil:
			return failed(vfs.OpSyncDir, name, d.missing(name))
		case !n.isDir():
			return failed(vfs.OpSyncDir, name, syscall.ENOTDIR)
		case due(&d.failSyncDir):
			return failed(vfs.OpSyncDir, name, syscall.EIO)
		case d.lying:
			return nil
		}
		dirs := []*node{n}
		if slices.ContainsFunc(d.pending, func(c dirChange) bool { return c.moves() && c.touches(dirs) }) {
			for _, c := range d.pending {
				dirs = append(dirs, c.from, c.to)
			}
		}
		d.pending = slices.DeleteFunc(d.pending, func(c dirChange) bool { return c.touches(dirs) })
		for _, dir := range dirs {
			if dir != nil {
				delete(d.writtenDirs, dir) // older than this
				dir.durable = dir.entries
			}
		}
		return nil
	})
}

// Lock implements vfs.FS: it excludes other holders of this disk value; a clone starts without locks.
func (d *FS) Lock(name string) (io.Closer, error) {
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	h := f.(*handle)
	d.mu.Lock()
	taken := d.locks[h.node]
	if !taken {
		d.locks[h.node] = true
	}
	d.mu.Unlock()
	if taken {
		h.Close() // of an open handle: cannot fail
		return nil, failed(vfs.OpLock, name, vfs.ErrLocked)
	}
	return &lock{h}, nil
}

type lock struct{ handle *handle }

func (l *lock) Close() error {
	if err := l.handle.Close(); err != nil {
		return err
	}
	d := l.handle.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.locks, l.handle.node)
	return nil
}

// Usage implements vfs.FS; an unlimited disk has 1 TiB.
func (d *FS) Usage(name string) (total, usable uint64, err error) {
	err = d.reading(vfs.OpUsage, name, func() error {
		if d.lookup(name) == nil {
			return d.missing(name)
		}
		total = uint64(d.options.Capacity)
		if total == 0 {
			total = 1 << 40
		}
		usable = total - min(total, uint64(d.used))
		return nil
	})
	return total, usable, err
}

// reading runs a call that changes nothing, under the lock.
func (d *FS) reading(op vfs.Op, name string, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.power()
	if err == nil {
		err = do()
	}
	if err != nil {
		return failed(op, name, err)
	}
	return nil
}

func (d *FS) opened(n *node) {
	n.refs++
	d.stats.OpenFiles++
}

// release takes back an open handle or a mapping.
func (d *FS) release(n *node) {
	n.refs--
	d.settle(n)
}

// settle gives back the space of a file nobody can reach any more.
func (d *FS) settle(n *node) {
	if n.parent == nil && n.refs == 0 && !n.isDir() {
		d.used -= n.space()
	}
}

func (n *node) info(name string) fs.FileInfo {
	return info{name: name, size: int64(len(n.content.b)), mode: n.mode, modTime: n.modTime}
}

type info struct {
	name    string
	size    int64
	mode    fs.FileMode
	modTime time.Time
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.modTime }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
