package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/crc32"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// Redone is what Redo did.
type Redone struct {
	Entries int64 // that the journal held
	Bytes   int64 // that were written to the logs, zero when they had everything
	Logs    int   // that bytes were written to
	// Foreign are logs to which somebody else has written since, or which end before what the journal has of them: they
	// were left as they are from there on.
	Foreign []string
	// Failed are logs that could not be read or written, and why.
	Failed map[string]error
}

// maxOpen bounds the logs that are held open at a time.
const maxOpen = 512

// Redo writes what the journal of a directory holds to the logs that do not have it, and makes that durable; the journal
// stays, and may be redone again after a crash. What a log has already is made durable with the rest: after a kill it may
// stand in memory only. id returns the topic id of the log in a partition directory; settle, if not nil, writes back
// everything on the volume (vfs.Volume.Sync), which spares the sync of every log. No log of the directory may be open.
//
// A *DamagedError comes with what could be redone. After any other error, that of a write or a sync above all, nothing of
// the directory should be used: what the logs seem to hold may not be on the drive, and the journal has to be redone.
func Redo(f vfs.FS, dir string, id func(path string) ([16]byte, error), settle func() error) (Redone, error) {
	r := redo{fs: f, dir: dir, id: id, settle: settle, logs: map[string]*target{}}
	err := Read(f, dir, r.entry)
	failed := r.closeAll()
	if settle != nil && r.touched != "" && failed == nil {
		failed = errors.Join(settle(), syncFile(f, r.touched))
	}
	if failed != nil {
		err = failed // damage must not hide it
	}
	for name, t := range r.logs {
		switch {
		case t.err != nil:
			if r.out.Failed == nil {
				r.out.Failed = map[string]error{}
			}
			r.out.Failed[name] = t.err
		case t.foreign:
			r.out.Foreign = append(r.out.Foreign, name)
		}
		if t.written > 0 {
			r.out.Logs++
			r.out.Bytes += t.written
		}
	}
	slices.Sort(r.out.Foreign)
	return r.out, err
}

type redo struct {
	fs      vfs.FS
	dir     string
	id      func(path string) ([16]byte, error)
	settle  func() error
	logs    map[string]*target
	open    int    // files
	touched string // a file that was open
	out     Redone
	buf     []byte
}

// target is the last segment of a log.
type target struct {
	id      [16]byte
	base    int64 // -1 for a log that is no more
	file    vfs.File
	size    int64
	written int64
	foreign bool
	err     error
}

// entry redoes one entry. What goes wrong with one log is no trouble of another.
func (r *redo) entry(e Entry) error {
	r.out.Entries++
	t := r.logs[e.Log]
	if t == nil {
		t = &target{}
		r.logs[strings.Clone(e.Log)] = t
		t.err = r.find(t, e.Log)
	}
	if t.err != nil || t.base < 0 || t.foreign || t.id != e.ID {
		return nil
	}
	if t.base != e.Base {
		t.foreign = t.base < e.Base // cut in front of the segment
		return nil
	}
	if t.file == nil {
		if r.open >= maxOpen {
			if err := r.closeAll(); err != nil {
				return err
			}
		}
		if t.file, t.err = r.fs.OpenFile(segment.FileName(filepath.Join(r.dir, e.Log), t.base, segment.LogSuffix), os.O_RDWR, 0); t.err != nil {
			return nil
		}
		r.open++
		if t.size, t.err = t.file.Size(); t.err != nil {
			return nil
		}
	}
	rest, position, err := r.missing(t, e)
	t.err = err
	if len(rest) == 0 {
		return nil
	}
	if _, err := t.file.WriteAt(rest, position); err != nil {
		return fmt.Errorf("%s: write %d bytes at %d: %w", t.file.Name(), len(rest), position, err)
	}
	t.written += int64(len(rest))
	t.size = max(t.size, position+int64(len(rest)))
	return nil
}

func (r *redo) closeAll() error {
	var errs []error
	for _, t := range r.logs {
		if t.file == nil {
			continue
		}
		if r.settle == nil {
			errs = append(errs, vfs.Sync(t.file))
		}
		r.touched = t.file.Name()
		errs = append(errs, t.file.Close())
		t.file = nil
	}
	r.open = 0
	return errors.Join(errs...)
}

// syncFile is the flush behind a volume's sync.
func syncFile(f vfs.FS, name string) error {
	file, err := f.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(vfs.Sync(file), file.Close())
}

// find looks for the last segment of a log.
func (r *redo) find(t *target, log string) error {
	t.base = -1
	if log == "" || log != filepath.Base(log) || strings.HasPrefix(log, ".") {
		return fmt.Errorf("%q is no name of a log", log)
	}
	path := filepath.Join(r.dir, log)
	list, err := r.fs.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		if base, suffix, ok := segment.ParseName(e.Name()); ok && suffix == segment.LogSuffix {
			t.base = max(t.base, base)
		}
	}
	if t.base >= 0 {
		t.id, err = r.id(path)
	}
	return err
}

// missing returns an entry from the first batch that is not in the file, and where it belongs.
func (r *redo) missing(t *target, e Entry) (p []byte, position int64, err error) {
	if e.Position > t.size {
		t.foreign = true
		return nil, 0, nil
	}
	position, p = e.Position, e.Bytes
	for len(p) > 0 {
		b, rest, err := batch.Next(p)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: entry for position %d: %w", t.file.Name(), position, err)
		}
		have, err := r.read(t, position, len(b))
		if err != nil {
			return nil, 0, err
		}
		if string(have) != string(b) {
			if t.foreign, err = r.another(t, position, b); err != nil || t.foreign {
				return nil, 0, err
			}
			break
		}
		position, p = position+int64(len(b)), rest
	}
	return p, position, nil
}

// another says whether a whole batch other than b stands at position in its place. One that is torn in the fields that no
// checksum covers (offset, length, epoch) is none, but the same records in a later epoch are: they were sent again.
func (r *redo) another(t *target, position int64, b batch.Batch) (bool, error) {
	h, err := r.read(t, position, batch.HeaderSize)
	if err != nil {
		return false, err
	}
	n, err := batch.Peek(h)
	if err != nil || position+int64(n) > t.size {
		return false, nil
	}
	there := batch.Batch(h)
	want := there.CRC()
	if want == b.CRC() && (there.BaseOffset() != b.BaseOffset() || n != len(b) || there.LeaderEpoch() <= b.LeaderEpoch()) {
		return false, nil
	}
	// A length that is garbage may be that of the whole file.
	sum := crc32.Checksum(h[checked:], castagnoli)
	for at := int64(batch.HeaderSize); at < int64(n); {
		p, err := r.read(t, position+at, int(min(int64(n)-at, 64<<10)))
		if err != nil {
			return false, err
		}
		sum = crc32.Update(sum, castagnoli, p)
		at += int64(len(p))
	}
	return sum == want, nil
}

// checked is where the bytes begin that a batch's checksum covers: at its attributes.
const checked = 21

// read returns up to n bytes, fewer at the end of the file.
func (r *redo) read(t *target, position int64, n int) ([]byte, error) {
	n = int(min(int64(n), max(t.size-position, 0)))
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	p := r.buf[:n]
	m, err := t.file.ReadAt(p, position)
	if err != nil && !(errors.Is(err, io.EOF) && m == n) {
		return nil, fmt.Errorf("%s: read %d bytes at %d: %w", t.file.Name(), n, position, err)
	}
	return p, nil
}
