package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Trace collects the changes asked of a disk wrapped by WithTrace, in the order they ended. The zero value is ready;
// it is safe for concurrent use.
type Trace struct {
	// Root is cut from the front of names, so that transcripts do not depend on where a test ran.
	Root string

	mu     sync.Mutex
	events []Event
}

// Lines is the transcript so far, one line per change.
func (t *Trace) Lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := make([]string, len(t.events))
	for i, e := range t.events {
		lines[i] = e.String()
	}
	return lines
}

// Reset forgets what was collected.
func (t *Trace) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = nil
}

func (t *Trace) add(e Event, err error) error {
	e.Name, e.To, e.Err = t.relative(e.Name), t.relative(e.To), err
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
	return err
}

func (t *Trace) relative(name string) string {
	if t.Root == "" || name == "" {
		return name
	}
	if rel, err := filepath.Rel(t.Root, name); err == nil {
		return filepath.ToSlash(rel)
	}
	return name
}

// WithTrace wraps a disk so that t writes down every change: creates, mkdirs, writes (offset+length), truncations,
// allocations, syncs, renames, removes and directory syncs, each with its error. Reads are not written down.
func WithTrace(inner FS, t *Trace) FS { return &traceFS{FS: inner, trace: t} }

type traceFS struct {
	FS
	trace *Trace
}

func (d *traceFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	_, statErr := d.FS.Stat(name)
	f, err := d.FS.OpenFile(name, flag, perm)
	switch {
	case flag&os.O_CREATE != 0 && errors.Is(statErr, fs.ErrNotExist):
		d.trace.add(Event{Op: OpCreate, Name: name}, err)
	case flag&os.O_TRUNC != 0:
		d.trace.add(Event{Op: OpTruncate, Name: name}, err)
	}
	if err != nil {
		return nil, err
	}
	return &traceFile{File: f, trace: d.trace}, nil
}

func (d *traceFS) MkdirAll(name string, perm fs.FileMode) error {
	return d.trace.add(Event{Op: OpMkdir, Name: name}, d.FS.MkdirAll(name, perm))
}

func (d *traceFS) Remove(name string) error {
	return d.trace.add(Event{Op: OpRemove, Name: name}, d.FS.Remove(name))
}

func (d *traceFS) RemoveAll(name string) error {
	return d.trace.add(Event{Op: OpRemoveAll, Name: name}, d.FS.RemoveAll(name))
}

func (d *traceFS) Rename(oldname, newname string) error {
	return d.trace.add(Event{Op: OpRename, Name: oldname, To: newname}, d.FS.Rename(oldname, newname))
}

func (d *traceFS) SyncDir(name string) error {
	return d.trace.add(Event{Op: OpSyncDir, Name: name}, d.FS.SyncDir(name))
}

func (d *traceFS) OpenVolume(name string) (Volume, error) {
	v, err := d.FS.OpenVolume(name)
	if err != nil {
		return nil, err
	}
	return &traceVolume{v, name, d.trace}, nil
}

type traceVolume struct {
	Volume
	name  string
	trace *Trace
}

func (v *traceVolume) Sync() error {
	return v.trace.add(Event{Op: OpSyncAll, Name: v.name}, v.Volume.Sync())
}

func (d *traceFS) Lock(name string) (io.Closer, error) {
	closer, err := d.FS.Lock(name)
	d.trace.add(Event{Op: OpLock, Name: name}, err)
	return closer, err
}

type traceFile struct {
	File
	trace *Trace
}

func (f *traceFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	return n, f.trace.add(Event{Op: OpWrite, Name: f.Name(), Off: off, Len: int64(n)}, err)
}

func (f *traceFile) Truncate(size int64) error {
	return f.trace.add(Event{Op: OpTruncate, Name: f.Name(), Off: size}, f.File.Truncate(size))
}

func (f *traceFile) Allocate(off, n int64) error {
	return f.trace.add(Event{Op: OpAllocate, Name: f.Name(), Off: off, Len: n}, f.File.Allocate(off, n))
}

func (f *traceFile) Sync() error {
	return f.trace.add(Event{Op: OpSync, Name: f.Name()}, f.File.Sync())
}
