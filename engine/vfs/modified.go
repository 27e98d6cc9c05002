package vfs

import (
	"os"
	"time"
)

// Modifier is what an FS has that can give a file another modification time.
type Modifier interface {
	// SetModified sets the named file's modification time. It is durable when the operating system sees fit:
	// nothing may rely on it after a crash.
	SetModified(name string, t time.Time) error
}

// SetModified gives the named file another modification time; where the disk cannot do that, nothing happens.
func SetModified(f FS, name string, t time.Time) error {
	if m, ok := f.(Modifier); ok {
		return m.SetModified(name, t)
	}
	return nil
}

// SetModified implements Modifier.
func (osFS) SetModified(name string, t time.Time) error { return os.Chtimes(name, time.Time{}, t) }

// SetModified implements Modifier.
func (d *faultFS) SetModified(name string, t time.Time) error { return SetModified(d.inner, name, t) }

// SetModified implements Modifier.
func (d *traceFS) SetModified(name string, t time.Time) error { return SetModified(d.FS, name, t) }
