package vfs

import (
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Fault is one error to inject.
type Fault struct {
	// Op is the kind of call to fail; empty is any kind.
	Op Op
	// Name is a path.Match pattern: of the whole name when it has a slash, of the last element when it has none.
	// Empty is any name. A rename matches by either of its names.
	Name string
	// Nth is the matching call that fails, counted from 1; 0 is 1.
	Nth int
	// Sticky fails every matching call from the nth on, not that one alone.
	Sticky bool
	// Err is the error; nil is syscall.EIO.
	Err error
	// Short lets a read or write do its first Short bytes before it fails. Other calls fail without being done,
	// except close and unmap, which are done all the same.
	Short int
}

// Faults decides which calls of a disk wrapped by WithFaults fail. The zero value fails none; it is safe for
// concurrent use. For a loop over every call of a script, use one Fault with Nth = 1, 2, ... until Fired is 0.
type Faults struct {
	mu    sync.Mutex
	rules []*rule
	calls int
	fired int
}

type rule struct {
	Fault
	seen int
}

// NewFaults makes a set of faults.
func NewFaults(faults ...Fault) *Faults {
	f := &Faults{}
	for _, one := range faults {
		f.Add(one)
	}
	return f
}

// Add adds a fault, which counts matching calls from now on.
func (f *Faults) Add(one Fault) {
	if one.Nth == 0 {
		one.Nth = 1
	}
	if one.Err == nil {
		one.Err = syscall.EIO
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{Fault: one})
}

// Clear removes every fault; the counts stay.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Calls is the number of calls seen, failed ones included.
func (f *Faults) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Fired is the number of calls that were made to fail.
func (f *Faults) Fired() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// check counts a call and returns the fault it meets. Every rule counts every call it matches; the first that is due
// decides.
func (f *Faults) check(op Op, names ...string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	var hit *Fault
	for _, r := range f.rules {
		if !r.matches(op, names) {
			continue
		}
		r.seen++
		if hit == nil && (r.seen == r.Nth || r.Sticky && r.seen > r.Nth) {
			hit = &r.Fault
		}
	}
	if hit != nil {
		f.fired++
	}
	return hit
}

func (r *rule) matches(op Op, names []string) bool {
	if r.Op != "" && r.Op != op {
		return false
	}
	if r.Name == "" {
		return true
	}
	for _, name := range names {
		name = filepath.ToSlash(name)
		if !strings.Contains(r.Name, "/") {
			name = path.Base(name)
		}
		if ok, err := path.Match(r.Name, name); err == nil && ok {
			return true
		}
	}
	return false
}

func (f *Faults) fail(op Op, name string) error {
	if hit := f.check(op, name); hit != nil {
		return hit.error(op, name)
	}
	return nil
}

func (f *Fault) error(op Op, name string) error {
	return &fs.PathError{Op: string(op), Path: name, Err: f.Err}
}

// WithFaults wraps a disk so that f decides which of its calls fail. A failed call does not reach the disk; what a
// failed sync does to pages already in the cache is simulated by simfs, not here.
func WithFaults(inner FS, f *Faults) FS { return &faultFS{inner: inner, faults: f} }

type faultFS struct {
	inner  FS
	faults *Faults
}

func (d *faultFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	op := OpOpen
	if flag&os.O_CREATE != 0 {
		op = OpCreate
	}
	if err := d.faults.fail(op, name); err != nil {
		return nil, err
	}
	f, err := d.inner.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{inner: f, faults: d.faults}, nil
}

func (d *faultFS) MkdirAll(name string, perm fs.FileMode) error {
	if err := d.faults.fail(OpMkdir, name); err != nil {
		return err
	}
	return d.inner.MkdirAll(name, perm)
}

func (d *faultFS) Remove(name string) error {
	if err := d.faults.fail(OpRemove, name); err != nil {
		return err
	}
	return d.inner.Remove(name)
}

func (d *faultFS) RemoveAll(name string) error {
	if err := d.faults.fail(OpRemoveAll, name); err != nil {
		return err
	}
	return d.inner.RemoveAll(name)
}

func (d *faultFS) Rename(oldname, newname string) error {
	if hit := d.faults.check(OpRename, oldname, newname); hit != nil {
		return &os.LinkError{Op: string(OpRename), Old: oldname, New: newname, Err: hit.Err}
	}
	return d.inner.Rename(oldname, newname)
}

func (d *faultFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := d.faults.fail(OpReadDir, name); err != nil {
		return nil, err
	}
	return d.inner.ReadDir(name)
}

func (d *faultFS) Stat(name string) (fs.FileInfo, error) {
	if err := d.faults.fail(OpStat, name); err != nil {
		return nil, err
	}
	return d.inner.Stat(name)
}

func (d *faultFS) SyncDir(name string) error {
	if err := d.faults.fail(OpSyncDir, name); err != nil {
		return err
	}
	return d.inner.SyncDir(name)
}

func (d *faultFS) OpenVolume(name string) (Volume, error) {
	v, err := d.inner.OpenVolume(name)
	if err != nil {
		return nil, err
	}
	return &faultVolume{v, name, d.faults}, nil
}

type faultVolume struct {
	Volume
	name   string
	faults *Faults
}

func (v *faultVolume) Sync() error {
	if err := v.faults.fail(OpSyncAll, v.name); err != nil {
		return err
	}
	return v.Volume.Sync()
}

func (d *faultFS) Lock(name string) (io.Closer, error) {
	if err := d.faults.fail(OpLock, name); err != nil {
		return nil, err
	}
	return d.inner.Lock(name)
}

func (d *faultFS) Usage(name string) (total, usable uint64, err error) {
	if err := d.faults.fail(OpUsage, name); err != nil {
		return 0, 0, err
	}
	return d.inner.Usage(name)
}

type faultFile struct {
	inner  File
	faults *Faults
}

func (f *faultFile) Name() string { return f.inner.Name() }

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	return f.transfer(OpRead, f.inner.ReadAt, p, off)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	return f.transfer(OpWrite, f.inner.WriteAt, p, off)
}

func (f *faultFile) transfer(op Op, do func([]byte, int64) (int, error), p []byte, off int64) (int, error) {
	hit := f.faults.check(op, f.Name())
	if hit == nil {
		return do(p, off)
	}
	n := 0
	if short := min(hit.Short, len(p)); short > 0 {
		var err error
		if n, err = do(p[:short], off); err != nil {
			return n, err
		}
	}
	return n, hit.error(op, f.Name())
}

func (f *faultFile) Close() error {
	hit := f.faults.fail(OpClose, f.Name())
	if err := f.inner.Close(); err != nil {
		return err
	}
	return hit
}

func (f *faultFile) Size() (int64, error) {
	if err := f.faults.fail(OpSize, f.Name()); err != nil {
		return 0, err
	}
	return f.inner.Size()
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.faults.fail(OpTruncate, f.Name()); err != nil {
		return err
	}
	return f.inner.Truncate(size)
}

func (f *faultFile) Sync() error {
	if err := f.faults.fail(OpSync, f.Name()); err != nil {
		return err
	}
	return f.inner.Sync()
}

func (f *faultFile) Allocate(off, n int64) error {
	if err := f.faults.fail(OpAllocate, f.Name()); err != nil {
		return err
	}
	return f.inner.Allocate(off, n)
}

func (f *faultFile) Map(length int) (Mapping, error) {
	if err := f.faults.fail(OpMap, f.Name()); err != nil {
		return nil, err
	}
	m, err := f.inner.Map(length)
	if err != nil {
		return nil, err
	}
	return &faultMapping{Mapping: m, name: f.Name(), faults: f.faults}, nil
}

type faultMapping struct {
	Mapping
	name   string
	faults *Faults
}

func (m *faultMapping) Populate(off, n int) error {
	if err := m.faults.fail(OpPopulate, m.name); err != nil {
		return err
	}
	return m.Mapping.Populate(off, n)
}

func (m *faultMapping) Unmap() error {
	hit := m.faults.fail(OpUnmap, m.name)
	if err := m.Mapping.Unmap(); err != nil {
		return err
	}
	return hit
}
