package journal

import (
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
	slices.SortFunc(live, func(a, b *reader) int { return int(a.generation - b.generation) })
	for _, r := range live {
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

type reader struct {
	file       vfs.File
	size       int64
	generation int64
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
	if err == nil && r.size >= headerSize {
		err = readFull(file, p[:], 0)
	}
	if err != nil || p == [headerSize]byte{} {
		return nil, errors.Join(err, file.Close())
	}
	if string(p[:8]) != magic || crc32.Checksum(p[:16], castagnoli) != binary.BigEndian.Uint32(p[16:]) {
		return nil, errors.Join(&DamagedError{name, 0, "the header of a journal, or zeros"}, file.Close())
	}
	r.generation = int64(binary.BigEndian.Uint64(p[8:]))
	return r, nil
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
		if err := entries(body, visit); err != nil {
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

func entries(p []byte, visit func(Entry) error) error {
	for len(p) > 0 {
		if len(p) < 2 {
			return errEntry
		}
		name := int(binary.BigEndian.Uint16(p))
		if len(p) < entryHeader+name {
			return errEntry
		}
		e := Entry{Log: string(p[2 : 2+name])}
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
