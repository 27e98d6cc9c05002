package fsck

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// memory is a disk of files in memory, so that a directory can be checked and
// repaired a hundred thousand times. Many may read it, or one write.
type memory map[string][]byte

func (m memory) clone() memory { return maps.Clone(m) }

// with gives a disk on which one file is another.
func (m memory) with(name string, data []byte) memory {
	c := m.clone()
	c[name] = data
	return c
}

// loadMemory reads a directory into memory, as "/data".
func loadMemory(t testing.TB, dir string) memory {
	t.Helper()
	m := memory{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		m["/data/"+rel] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

type memoryInfo struct {
	name string
	size int64
	dir  bool
}

func (i memoryInfo) Name() string               { return i.name }
func (i memoryInfo) Size() int64                { return i.size }
func (i memoryInfo) Mode() fs.FileMode          { return i.Type() | 0o644 }
func (i memoryInfo) ModTime() time.Time         { return time.Time{} }
func (i memoryInfo) IsDir() bool                { return i.dir }
func (i memoryInfo) Sys() any                   { return nil }
func (i memoryInfo) Info() (fs.FileInfo, error) { return i, nil }
func (i memoryInfo) Type() fs.FileMode {
	if i.dir {
		return fs.ModeDir
	}
	return 0
}

func (m memory) OpenFile(name string, flag int, _ fs.FileMode) (vfs.File, error) {
	_, ok := m[name]
	switch {
	case !ok && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case !ok, flag&os.O_TRUNC != 0:
		m[name] = nil
	}
	return &memoryFile{m, name}, nil
}

func (m memory) Stat(name string) (fs.FileInfo, error) {
	if data, ok := m[name]; ok {
		return memoryInfo{filepath.Base(name), int64(len(data)), false}, nil
	}
	for file := range m {
		if strings.HasPrefix(file, name+"/") {
			return memoryInfo{filepath.Base(name), 0, true}, nil
		}
	}
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}

func (m memory) ReadDir(name string) ([]fs.DirEntry, error) {
	found := map[string]memoryInfo{}
	for file, data := range m {
		rest, ok := strings.CutPrefix(file, name+"/")
		if !ok {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		found[first] = memoryInfo{first, int64(len(data)), deeper}
	}
	if len(found) == 0 {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var list []fs.DirEntry
	for _, key := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[key])
	}
	return list, nil
}

func (m memory) MkdirAll(name string, _ fs.FileMode) error { return nil }

func (m memory) Remove(name string) error {
	if _, ok := m[name]; !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(m, name)
	return nil
}

func (m memory) RemoveAll(name string) error {
	maps.DeleteFunc(m, func(file string, _ []byte) bool { return file == name || strings.HasPrefix(file, name+"/") })
	return nil
}

func (m memory) Rename(from, to string) error {
	found := false
	for file, data := range maps.Clone(m) {
		if rest, ok := strings.CutPrefix(file, from); ok && (rest == "" || rest[0] == '/') {
			delete(m, file)
			m[to+rest] = data
			found = true
		}
	}
	if !found {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	return nil
}

func (m memory) SyncDir(string) error                         { return nil }
func (m memory) Lock(string) (io.Closer, error)               { return io.NopCloser(nil), nil }
func (m memory) Usage(string) (total, usable uint64, e error) { return 1 << 40, 1 << 40, nil }
func (m memory) OpenVolume(string) (vfs.Volume, error)        { return nil, errors.ErrUnsupported }

type memoryFile struct {
	disk memory
	name string
}

func (f *memoryFile) Name() string { return f.name }
func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.disk[f.name]).ReadAt(p, off)
}

// WriteAt never changes the old bytes, which other disks share.
func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	data := make([]byte, max(len(f.disk[f.name]), int(off)+len(p)))
	copy(data, f.disk[f.name])
	f.disk[f.name] = data
	return copy(data[off:], p), nil
}
func (f *memoryFile) Close() error         { return nil }
func (f *memoryFile) Size() (int64, error) { return int64(len(f.disk[f.name])), nil }
func (f *memoryFile) Truncate(size int64) error {
	f.disk[f.name] = f.disk[f.name][:size:size]
	return nil
}
func (f *memoryFile) Sync() error                 { return nil }
func (f *memoryFile) Allocate(int64, int64) error { return nil }
func (f *memoryFile) Map(n int) (vfs.Mapping, error) {
	return blobMapping{p: f.disk[f.name][:n:n]}, nil
}
