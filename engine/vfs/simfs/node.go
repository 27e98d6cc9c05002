package simfs

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// node is a file or a directory.
type node struct {
	mode    fs.FileMode
	modTime time.Time
	parent  *node  // nil for the root and for what has been removed
	name    string // in parent

	// Of a directory. Slices of entries are sorted by name and never changed in place, so both may be one slice.
	entries []entry // what processes see
	durable []entry // what a power cut cannot take

	// Of a file.
	content  bytesOrShared // what processes see
	synced   bytesOrShared // what a power cut cannot take
	pending  []dataChange  // from synced to content, in order
	forgot   bool          // a failed sync dropped changes that content still shows
	owed     bool          // its next sync says that a failed sync of the volume did
	maps     []*mapping
	reserved int64 // bytes allocated ahead
	refs     int   // open handles and live mappings: they keep a removed file's space
}

type entry struct {
	name string
	node *node
}

// bytesOrShared is a slice that may belong to several disks; it must be owned before it is changed.
type bytesOrShared struct {
	b      []byte
	shared bool
}

// share marks the bytes as belonging to a second holder too and returns that holder's view.
func (s *bytesOrShared) share() bytesOrShared {
	s.shared = true
	return *s
}

// resize owns the bytes with the given length; the part beyond the old length is zero.
func (s *bytesOrShared) resize(size int) {
	old := len(s.b)
	switch {
	case s.shared || size > cap(s.b):
		room := size
		if size > old && old > 0 {
			room = max(size, 2*old)
		}
		b := make([]byte, size, room)
		copy(b, s.b)
		s.b, s.shared = b, false
	case size < old:
		clear(s.b[size:])
		s.b = s.b[:size]
	default:
		s.b = s.b[:size]
	}
}

// apply makes one change to the bytes.
func (s *bytesOrShared) apply(c dataChange) {
	if c.truncate {
		s.resize(int(c.size))
		return
	}
	s.resize(max(len(s.b), int(c.off)+len(c.data)))
	copy(s.b[c.off:], c.data)
}

// dataChange is a write or a truncation.
type dataChange struct {
	off, size int64 // size of the file after it
	before    int64 // size of the file before it
	data      []byte
	truncate  bool
}

// touches reports whether the change may alter bytes of [from, to).
func (c dataChange) touches(from, to int64) bool {
	if c.truncate {
		return c.size < to && from < c.before
	}
	return c.off < to && from < c.off+int64(len(c.data))
}

func (n *node) isDir() bool { return n.mode.IsDir() }

func find(entries []entry, name string) (int, bool) {
	return slices.BinarySearchFunc(entries, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
}

func (n *node) get(name string) *node {
	if i, ok := find(n.entries, name); ok {
		return n.entries[i].node
	}
	return nil
}

// place puts child into n under name, taking it from wherever it was and replacing what was there.
func (n *node) place(name string, child *node) {
	child.detach()
	i, ok := find(n.entries, name)
	entries := make([]entry, 0, len(n.entries)+1)
	entries = append(entries, n.entries[:i]...)
	entries = append(entries, entry{name, child})
	if ok {
		n.entries[i].node.parent = nil
		i++
	}
	n.entries = append(entries, n.entries[i:]...)
	child.parent, child.name = n, name
}

// detach removes n from its directory.
func (n *node) detach() {
	if n.parent == nil {
		return
	}
	p := n.parent
	if i, ok := find(p.entries, n.name); ok {
		p.entries = slices.Concat(p.entries[:i], p.entries[i+1:])
	}
	n.parent = nil
}

// within reports whether n is dir or below it.
func (n *node) within(dir *node) bool {
	for ; n != nil; n = n.parent {
		if n == dir {
			return true
		}
	}
	return false
}

// space is what a file takes from the capacity.
func (n *node) space() int64 { return max(n.reserved, roundUp(int64(len(n.content.b)))) }

func roundUp(size int64) int64 { return (size + BlockSize - 1) &^ (BlockSize - 1) }

// clean gives a name its one form: rooted, without "." and "..".
func clean(name string) string { return path.Clean("/" + name) }

// split separates a name into its directory and last element; the root has no last element.
func split(name string) (dir, last string) {
	dir, last = path.Split(clean(name))
	return dir, last
}

// lookup finds the node of a name; nil means there is none.
func (d *FS) lookup(name string) *node {
	n := d.root
	for rest := clean(name)[1:]; rest != "" && n != nil; {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		n = n.get(first) // nothing is found in a file: it has no entries
	}
	return n
}
