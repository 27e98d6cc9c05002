package fsck

import (
	"bytes"
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

// memory is a read-only disk of files in memory, so that a directory can be
// checked a hundred thousand times.
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

func (m memory) OpenFile(name string, _ int, _ fs.FileMode) (vfs.File, error) {
	data, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memoryFile{name, data}, nil
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

func (m memory) MkdirAll(string, fs.FileMode) error           { return fs.ErrPermission }
func (m memory) Remove(string) error                          { return fs.ErrPermission }
func (m memory) RemoveAll(string) error                       { return fs.ErrPermission }
func (m memory) Rename(string, string) error                  { return fs.ErrPermission }
func (m memory) SyncDir(string) error                         { return fs.ErrPermission }
func (m memory) Lock(string) (io.Closer, error)               { return nil, fs.ErrPermission }
func (m memory) Usage(string) (total, usable uint64, e error) { return 0, 0, fs.ErrPermission }

type memoryFile struct {
	name string
	data []byte
}

func (f *memoryFile) Name() string { return f.name }
func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.data).ReadAt(p, off)
}
func (f *memoryFile) WriteAt([]byte, int64) (int, error) { return 0, fs.ErrPermission }
func (f *memoryFile) Close() error                       { return nil }
func (f *memoryFile) Size() (int64, error)               { return int64(len(f.data)), nil }
func (f *memoryFile) Truncate(int64) error               { return fs.ErrPermission }
func (f *memoryFile) Sync() error                        { return fs.ErrPermission }
func (f *memoryFile) Allocate(int64, int64) error        { return fs.ErrPermission }
func (f *memoryFile) Map(n int) (vfs.Mapping, error)     { return memoryMapping(f.data[:n:n]), nil }

type memoryMapping []byte

func (m memoryMapping) Bytes() []byte           { return m }
func (m memoryMapping) Populate(int, int) error { return nil }
func (m memoryMapping) Unmap() error            { return nil }
