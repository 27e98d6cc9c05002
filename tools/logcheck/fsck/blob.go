package fsck

import (
	"bytes"
	"io/fs"
	"time"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// blob is a disk on which every file has the same bytes: the content of one
// file that is not written anywhere.
type blob []byte

func (b blob) disk() vfs.FS { return blobDisk{data: b} }

type blobDisk struct {
	vfs.FS
	data []byte
}

func (d blobDisk) OpenFile(name string, _ int, _ fs.FileMode) (vfs.File, error) {
	return &blobFile{name: name, Reader: bytes.NewReader(d.data), data: d.data}, nil
}

func (d blobDisk) Stat(name string) (fs.FileInfo, error) {
	return blobInfo{name, int64(len(d.data))}, nil
}

type blobFile struct {
	vfs.File
	*bytes.Reader
	name string
	data []byte
}

func (f *blobFile) Name() string                            { return f.name }
func (f *blobFile) ReadAt(p []byte, off int64) (int, error) { return f.Reader.ReadAt(p, off) }
func (f *blobFile) Size() (int64, error)                    { return int64(len(f.data)), nil }
func (f *blobFile) Close() error                            { return nil }
func (f *blobFile) Map(length int) (vfs.Mapping, error)     { return blobMapping{p: f.data[:length]}, nil }

type blobMapping struct {
	vfs.Mapping
	p []byte
}

func (m blobMapping) Bytes() []byte           { return m.p }
func (m blobMapping) Populate(int, int) error { return nil }
func (m blobMapping) Unmap() error            { return nil }

type blobInfo struct {
	name string
	size int64
}

func (i blobInfo) Name() string       { return i.name }
func (i blobInfo) Size() int64        { return i.size }
func (i blobInfo) Mode() fs.FileMode  { return 0o644 }
func (i blobInfo) ModTime() time.Time { return time.Time{} }
func (i blobInfo) IsDir() bool        { return false }
func (i blobInfo) Sys() any           { return nil }
