package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/crc32"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// Entry is a range of bytes of a log's segment. Bytes are valid until the next entry is read.
type Entry struct {
	Log            string
	ID             [16]byte
	Base, Position int64
	Bytes          []byte

	// Record is the position of its record in the journal's file, Sequence the record's number in it, and At the
	// entry's own position.
	Record, Sequence, At int64
}

// DamagedError says that a journal file cannot be read to its end although more was committed to it.
type DamagedError struct {
	File     string
	Position int64
	Expected string
}

// Error names the file and the position.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("journal %s at %d: expected %s, but what is there is damaged", e.File, e.Position, e.Expected)
}

// Read calls visit with every entry that was committed to the journal of a directory, oldest first. Without a journal, or
// with an empty one, there is none. What can be read of a damaged file is visited too; the error is then a *DamagedError.
func Read(f vfs.FS, dir string, visit func(Entry) error) error {
	var live []*reader
	var damage error
	for _, name := range Names {
		r, err := open(f, filepath.Join(dir, name))
		var d *DamagedError
		switch {
		case errors.As(err, &d):
			damage = errors.Join(damage, err)
		case err != nil:
			return err
		case r != nil:
			defer r.file.Close()
			live = append(live, r)
		}
	}
	slices.SortFunc(live, func(a, b *reader) int { return cmp.Compare(a.generation, b.generation) })
	for i, r := range live {
		if i+1 < len(live) && live[i+1].generation == r.generation+1 {
			r.records = live[i+1].before
		}
		err := r.all(visit)
		var d *DamagedError
		if errors.As(err, &d) {
			damage = errors.Join(damage, err)
		} else if err != nil {
			return err
		}
	}
	return damage
}

// ReadFile is Read for one file, whatever its name is.
func ReadFile(f vfs.FS, name string, visit func(Entry) error) error {
	r, err := open(f, name)
	if r == nil {
		return err
	}
	return errors.Join(r.all(visit), r.file.Close())
}

type reader struct {
	file       vfs.File
	size       int64
	generation int64
	written    int64 // its size, by the header
	before     int64 // records of the generation before
	records    int64 // that are known to be there
	buf        []byte
}

// open returns nil for a file that is not there or free.
func open(f vfs.FS, name string) (*reader, error) {
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &reader{file: file}
	r.size, err = file.Size()
	var p [headerSize]byte
	if err == nil {
		err = readFull(file, p[:min(r.size, headerSize)], 0)
	}
	if err != nil || p == [headerSize]byte{} {
		return nil, errors.Join(err, file.Close())
	}
	if string(p[:8]) != magic || crc32.Checksum(p[:32], castagnoli) != binary.BigEndian.Uint32(p[32:]) {
		return nil, errors.Join(&DamagedError{name, 0, "the header of a journal, or zeros"}, file.Close())
	}
	r.generation, r.written = int64(binary.BigEndian.Uint64(p[8:])), int64(binary.BigEndian.Uint64(p[16:]))
	r.before = int64(binary.BigEndian.Uint64(p[24:]))
	return r, nil
}

// generation is that of a journal file; zero for one that is not there, or free, or damaged.
func generation(f vfs.FS, name string) (int64, error) {
	r, err := open(f, name)
	var d *DamagedError
	if r == nil {
		if errors.As(err, &d) {
			err = nil
		}
		return 0, err
	}
	return r.generation, r.file.Close()
}

func (r *reader) all(visit func(Entry) error) error {
	position := int64(BlockSize)
	for sequence := int64(0); ; sequence++ {
		body, found, err := r.record(position)
		if err != nil {
			return err
		}
		if body == nil || found != sequence {
			return r.behind(position, sequence)
		}
		n := recordHeader + len(body)
		if err := entries(body, Entry{Record: position, Sequence: sequence}, visit); err != nil {
			if errors.Is(err, errEntry) {
				return &DamagedError{r.file.Name(), position, "entries that fill the record"}
			}
			return err
		}
		position += int64(align(n))
	}
}

// behind tells the end of the journal from damage: a record is written only after the one before was synced.
func (r *reader) behind(end, sequence int64) error {
	if sequence < r.records {
		return &DamagedError{r.file.Name(), end, fmt.Sprintf("record %d of %d", sequence, r.records)}
	}
	if r.size < r.written {
		return &DamagedError{r.file.Name(), r.size, fmt.Sprintf("a file of %d bytes", r.written)}
	}
	for position := end; position < r.size; position += BlockSize {
		body, found, err := r.record(position)
		if err != nil {
			return err
		}
		if body != nil && found >= sequence {
			return &DamagedError{r.file.Name(), end, fmt.Sprintf("record %d", sequence)}
		}
	}
	return nil
}

// record returns the body of the intact record of this generation at position, or nil.
func (r *reader) record(position int64) (body []byte, sequence int64, err error) {
	var h [recordHeader]byte
	if position+recordHeader > r.size {
		return nil, 0, nil
	}
	if err := readFull(r.file, h[:], position); err != nil {
		return nil, 0, err
	}
	length := int64(binary.BigEndian.Uint32(h[:]))
	if length == 0 || length > maxRecordBytes || position+recordHeader+length > r.size || int64(binary.BigEndian.Uint64(h[8:])) != r.generation {
		return nil, 0, nil
	}
	r.buf = append(r.buf[:0], h[8:]...)
	r.buf = append(r.buf, make([]byte, length)...)
	if err := readFull(r.file, r.buf[16:], position+recordHeader); err != nil {
		return nil, 0, err
	}
	if crc32.Checksum(r.buf, castagnoli) != binary.BigEndian.Uint32(h[4:]) {
		return nil, 0, nil
	}
	return r.buf[16:], int64(binary.BigEndian.Uint64(h[16:])), nil
}

var errEntry = errors.New("an entry does not end in its record")

// entries visits those of the body of a record, which is what e says besides.
func entries(body []byte, e Entry, visit func(Entry) error) error {
	for p := body; len(p) > 0; {
		e.At = e.Record + recordHeader + int64(len(body)-len(p))
		if len(p) < 2 {
			return errEntry
		}
		name := int(binary.BigEndian.Uint16(p))
		if len(p) < entryHeader+name {
			return errEntry
		}
		e.Log = string(p[2 : 2+name])
		p = p[2+name:]
		copy(e.ID[:], p)
		e.Base, e.Position = int64(binary.BigEndian.Uint64(p[16:])), int64(binary.BigEndian.Uint64(p[24:]))
		n := int64(binary.BigEndian.Uint32(p[32:]))
		p = p[36:]
		if n > int64(len(p)) || e.Base < 0 || e.Position < 0 {
			return errEntry
		}
		e.Bytes, p = p[:n], p[n:]
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

func readFull(f vfs.File, p []byte, position int64) error {
	n, err := f.ReadAt(p, position)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s: read %d bytes at %d: %w", f.Name(), len(p), position, err)
}
