package simfs

import (
	"time"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// SetModified implements vfs.Modifier. A power cut keeps the time that was set last.
func (d *FS) SetModified(name string, t time.Time) error {
	return d.reading(vfs.OpStat, name, func() error {
		n := d.lookup(name)
		if n == nil {
			return d.missing(name)
		}
		n.modTime = t
		return nil
	})
}
