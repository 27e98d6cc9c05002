package fsck

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// errReadOnly is what every change through an overlay is answered with.
var errReadOnly = errors.New("an overlay is read-only")

// overlay is a disk as it will be when a repair is carried out: files that are
// staged stand in the place of the old ones, and some are gone. It is
// read-only for those who look through it.
type overlay struct {
	vfs.FS
	mu    sync.RWMutex
	files map[string]staged
	gone  map[string]bool // files and whole directories
}

// staged is the future content of a file: another file, or the beginning of
// the present one.
type staged struct {
	fs    vfs.FS
	path  string
	limit int64 // only so many bytes of it; -1 for all
}

func newOverlay(f vfs.FS) *overlay {
	return &overlay{FS: f, files: map[string]staged{}, gone: map[string]bool{}}
}

// put makes name what s says.
func (o *overlay) put(name string, s staged) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files[name] = s
	delete(o.gone, name)
}

// remove makes name, a file or directory, one that is not there.
func (o *overlay) remove(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.files, name)
	o.gone[name] = true
}

// forget undoes what was put and removed.
func (o *overlay) forget(which func(name string) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.files, func(name string, _ staged) bool { return which(name) })
	maps.DeleteFunc(o.gone, func(name string, _ bool) bool { return which(name) })
}

// find says where the bytes of name are.
func (o *overlay) find(name string) (s staged, err error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if s, ok := o.files[name]; ok {
		return s, nil
	}
	if o.gone[name] || o.gone[filepath.Dir(name)] {
		return s, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return staged{o.FS, name, -1}, nil
}

func (o *overlay) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	s, err := o.find(name)
	if err != nil {
		return nil, err
	}
	f, err := s.fs.OpenFile(s.path, flag, perm)
	if err != nil || s.limit < 0 {
		return f, err
	}
	return &prefix{f, s.limit}, nil
}

func (o *overlay) Stat(name string) (fs.FileInfo, error) {
	s, err := o.find(name)
	if err != nil {
		return nil, err
	}
	info, err := s.fs.Stat(s.path)
	if err != nil || s.limit < 0 {
		return info, err
	}
	return prefixInfo{info, s.limit}, nil
}

func (o *overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := o.FS.ReadDir(name)
	if err != nil {
		return nil, err
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	list = slices.DeleteFunc(slices.Clone(list), func(e fs.DirEntry) bool {
		path := filepath.Join(name, e.Name())
		return o.gone[path] || strings.HasSuffix(e.Name(), stagedSuffix)
	})
	for path := range o.files {
		base := filepath.Base(path)
		if filepath.Dir(path) != name || slices.ContainsFunc(list, func(e fs.DirEntry) bool { return e.Name() == base }) {
			continue
		}
		list = append(list, newEntry(base))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

func (o *overlay) MkdirAll(string, fs.FileMode) error { return errReadOnly }
func (o *overlay) Remove(string) error                { return errReadOnly }
func (o *overlay) RemoveAll(string) error             { return errReadOnly }
func (o *overlay) Rename(string, string) error        { return errReadOnly }

// newEntry is the entry of a file that a repair will make.
type newEntry string

func (e newEntry) Name() string      { return string(e) }
func (e newEntry) IsDir() bool       { return false }
func (e newEntry) Type() fs.FileMode { return 0 }
func (e newEntry) Info() (fs.FileInfo, error) {
	return nil, fmt.Errorf("%s: not made yet: %w", string(e), fs.ErrNotExist)
}

// prefix is the beginning of a file.
type prefix struct {
	vfs.File
	limit int64
}

func (p *prefix) Size() (int64, error) {
	n, err := p.File.Size()
	return min(n, p.limit), err
}

func (p *prefix) Map(length int) (vfs.Mapping, error) {
	return p.File.Map(int(min(int64(length), p.limit)))
}

type prefixInfo struct {
	fs.FileInfo
	limit int64
}

func (p prefixInfo) Size() int64 { return min(p.FileInfo.Size(), p.limit) }
