package fsck

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// edit replaces the bytes [from, to) of a file by others.
type edit struct {
	from, to int64
	bytes    []byte
}

// edits are what changes one file into another: by position, none touching the
// one before.
type edits []edit

// delta is by how much a file grows.
func (list edits) delta() (n int64) {
	for _, e := range list {
		n += int64(len(e.bytes)) - (e.to - e.from)
	}
	return n
}

// run is a part of a file that edits make: bytes of the old one, or others.
type run struct {
	from, to int64 // in the old file; to is math.MaxInt64 for its rest
	bytes    []byte
}

func (r *run) length() int64 {
	if r.bytes != nil {
		return int64(len(r.bytes))
	}
	return r.to - r.from
}

// runs gives the parts of the new file.
func (list edits) runs() (out []run) {
	at := int64(0)
	for _, e := range list {
		out = append(out, run{from: at, to: e.from})
		if len(e.bytes) > 0 {
			out = append(out, run{bytes: e.bytes})
		}
		at = e.to
	}
	return append(out, run{from: at, to: math.MaxInt64})
}

// then gives the edits that do the same as those of list and, on the file that
// comes out, one more.
func (list edits) then(next edit) (out edits) {
	var parts []run
	at, placed := int64(0), false // in the new file
	for _, r := range list.runs() {
		end := at + r.length()
		if end < at {
			end = math.MaxInt64
		}
		if at < next.from {
			parts = append(parts, r.cut(0, min(next.from, end)-at))
		}
		if end > next.to {
			if !placed {
				parts = append(parts, run{bytes: next.bytes})
				placed = true
			}
			parts = append(parts, r.cut(max(next.to, at)-at, r.length()))
		}
		at = end
	}
	// What does not come from where the old file goes on is an edit.
	old := int64(0)
	var bytes []byte
	for _, r := range parts {
		if r.bytes != nil || r.from == r.to {
			bytes = append(bytes, r.bytes...)
			continue
		}
		if r.from != old || len(bytes) > 0 {
			out = append(out, edit{old, r.from, bytes})
			bytes = nil
		}
		old = r.to
	}
	if len(bytes) > 0 || old != math.MaxInt64 {
		out = append(out, edit{old, math.MaxInt64, bytes})
	}
	return out
}

// cut is a part of the run.
func (r *run) cut(from, to int64) run {
	if r.bytes != nil {
		return run{bytes: r.bytes[from:to]}
	}
	if to == r.length() {
		return run{from: r.from + from, to: r.to}
	}
	return run{from: r.from + from, to: r.from + to}
}

// write makes the file to from the one named from. It is synced; its name is
// not durable yet.
func (list edits) write(source vfs.FS, from string, target vfs.FS, to string) (err error) {
	in, err := source.OpenFile(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	size, err := in.Size()
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	out, err := target.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := &appending{f: out}
	at := int64(0)
	buffer := make([]byte, min(size, 1<<20))
	for _, e := range append(slices.Clone(list), edit{from: size, to: size}) {
		for at < e.from {
			p := buffer[:min(int64(len(buffer)), e.from-at)]
			if n, err := in.ReadAt(p, at); err != nil && !(errors.Is(err, io.EOF) && n == len(p)) {
				return fmt.Errorf("%s: read %d bytes at %d: %w", from, len(p), at, err)
			}
			if err := w.write(p); err != nil {
				return err
			}
			at += int64(len(p))
		}
		if err := w.write(e.bytes); err != nil {
			return err
		}
		at = e.to
	}
	return vfs.Sync(out)
}

// appending writes one piece behind the other.
type appending struct {
	f  vfs.File
	at int64
}

func (w *appending) write(p []byte) error {
	if _, err := w.f.WriteAt(p, w.at); err != nil {
		return fmt.Errorf("%s: write %d bytes at %d: %w", w.f.Name(), len(p), w.at, err)
	}
	w.at += int64(len(p))
	return nil
}

// writeFile makes a synced file of the bytes.
func writeFile(f vfs.FS, name string, data []byte) (err error) {
	out, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := (&appending{f: out}).write(data); err != nil {
		return err
	}
	return vfs.Sync(out)
}
