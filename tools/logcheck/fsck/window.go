package fsck

import (
	"fmt"
	"os"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// window is a file seen through a read-only mapping of the size it had when it
// was opened. Its bytes are touched under vfs.Guard only, after ready brought
// them in.
type window struct {
	name    string
	size    int64
	file    vfs.File
	mapping vfs.Mapping // nil for an empty file
}

func openWindow(f vfs.FS, name string) (*window, error) {
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	w := &window{name: name, file: file}
	if w.size, err = file.Size(); err == nil && w.size > 0 {
		w.mapping, err = file.Map(int(w.size))
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return w, nil
}

// all is the whole file.
func (w *window) all() []byte {
	if w.mapping == nil {
		return nil
	}
	return w.mapping.Bytes()[:w.size]
}

// ready brings n bytes from position into memory.
func (w *window) ready(position, n int64) error {
	if n = min(n, w.size-position); n <= 0 {
		return nil
	}
	if err := w.mapping.Populate(int(position), int(n)); err != nil {
		return fmt.Errorf("%s: read %d bytes at %d: %w", w.name, n, position, err)
	}
	return nil
}

// guard runs f, which touches the window's bytes.
func (w *window) guard(f func()) error {
	if err := vfs.Guard(f); err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	return nil
}

func (w *window) close() {
	if w.mapping != nil {
		w.mapping.Unmap() // read only: nothing is lost with the error
	}
	w.file.Close()
}
