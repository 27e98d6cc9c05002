package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/crc32"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// pair is a directory with the journal's two files and nothing else, read-only; nil is no file.
type pair struct {
	vfs.FS
	files [2][]byte
}

func (p *pair) OpenFile(name string, _ int, _ fs.FileMode) (vfs.File, error) {
	i := slices.Index(Names[:], filepath.Base(name))
	if i < 0 || p.files[i] == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &bytesFile{name: name, p: p.files[i]}, nil
}

type bytesFile struct {
	vfs.File
	name string
	p    []byte
}

func (f *bytesFile) Name() string         { return f.name }
func (f *bytesFile) Close() error         { return nil }
func (f *bytesFile) Size() (int64, error) { return int64(len(f.p)), nil }
func (f *bytesFile) ReadAt(p []byte, at int64) (int, error) {
	if at > int64(len(f.p)) {
		return 0, io.EOF
	}
	n := copy(p, f.p[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// written is a journal of two live files, and what was committed: three records to the older file, of one block, two
// blocks and one block, and two to the newer one, which has a free block left with the record of an earlier generation.
func written(t testing.TB) (p *pair, committed []string, last int) {
	t.Helper()
	disk := newDisk(t, simfs.Options{})
	j := quiet(t, disk, 5)
	defer j.Abandon()
	for i := range 5 { // generations 1 and 2, settled
		commit(t, j, "old-0", int64(i), []byte("settled"))
		if i == 3 {
			must(t, j.Settle())
			j.now = 1
		}
	}
	must(t, j.Settle())
	j.now = 0
	at := int64(0)
	record := func(entries ...int) {
		t.Helper()
		j.Begin()
		for i, n := range entries {
			p := bytes.Repeat([]byte{'a' + byte(at%26)}, n)
			log := fmt.Sprintf("log-%d", i)
			if !add(j, log, at, p) {
				t.Fatal("not taken")
			}
			committed = append(committed, entry(log, at, p))
			at += int64(n)
		}
		if done, err := j.Commit(); !done || err != nil {
			t.Fatalf("commit: %v, %v", done, err)
		}
		last = len(entries)
	}
	record(100, 30)
	record(300, 2*BlockSize-600)
	record(7)
	j.now = 1
	record(50, 60, 70)
	record(BlockSize, 20)
	p = &pair{files: [2][]byte{content(t, disk, 0), content(t, disk, 1)}}
	expect(t, p, committed...)
	return p, committed, last
}

// judge says whether what was read of a journal that somebody has changed is as it must be: nothing but what was
// committed, in order; and all of it, or a DamagedError, or all but the very last record. For that one there is no other
// evidence: a power cut may tear a record whose sync has not returned, and that cannot be told from one that decays later.
func judge(got []string, err error, committed []string, last int) error {
	rest := committed
	for _, e := range got {
		i := slices.Index(rest, e)
		if i < 0 {
			return fmt.Errorf("an entry that was not committed, or not in order: %.100s", e)
		}
		rest = rest[i+1:]
	}
	var damage *DamagedError
	switch {
	case errors.As(err, &damage):
		return nil
	case err != nil:
		return fmt.Errorf("not damage: %w", err)
	case len(got) == len(committed), slices.Equal(got, committed[:len(committed)-last]):
		return nil
	}
	return fmt.Errorf("%d of %d entries, and no damage", len(got), len(committed))
}

// TestEveryBit flips every bit of a journal.
func TestEveryBit(t *testing.T) {
	p, committed, last := written(t)
	short, damaged := 0, 0
	for i, file := range p.files {
		for at := range file {
			for bit := range 8 {
				if bit > 0 && file[at] == 0 && at%BlockSize > recordHeader+entryHeader {
					continue // padding and free blocks: one bit is as good as another
				}
				file[at] ^= 1 << bit
				got, err := read(p)
				if bad := judge(got, err, committed, last); bad != nil {
					t.Fatalf("file %d, byte %d, bit %d: %v", i, at, bit, bad)
				}
				if err != nil {
					damaged++
				} else if len(got) < len(committed) {
					short++
				}
				file[at] ^= 1 << bit
			}
		}
	}
	// Every bit of the header and of the records counts.
	if want := 8 * (2*headerSize + 3*recordHeader); damaged < want || short < 8*BlockSize {
		t.Errorf("%d bits are damage, expected %d at least; %d lose the last record", damaged, want, short)
	}
}

// TestEveryLength cuts each file of a journal at every length. A file is made with all its bytes before anything is
// written to it, so a short one is damage; only one of no bytes at all cannot be told from one that was being made.
func TestEveryLength(t *testing.T) {
	p, committed, last := written(t)
	for i, file := range p.files {
		for n := range file {
			p.files[i] = file[:n]
			got, err := read(p)
			if bad := judge(got, err, committed, last); bad != nil && n > 0 {
				t.Fatalf("file %d of %d bytes: %v", i, n, bad)
			}
			if n > 0 && err == nil {
				t.Fatalf("file %d of %d bytes is not damaged", i, n)
			}
		}
		p.files[i] = file
	}
}

// TestEverySector takes any sectors of a page away: a drive that lied, or a page that decayed.
func TestEverySector(t *testing.T) {
	p, committed, last := written(t)
	for i, file := range p.files {
		whole := slices.Clone(file)
		for from := 0; from < len(file); from += 512 {
			for to := from + 512; to <= from/BlockSize*BlockSize+BlockSize; to += 512 {
				clear(file[from:to])
				got, err := read(p)
				// With its header a file is a free one.
				if bad := judge(got, err, committed, last); bad != nil && from > 0 {
					t.Fatalf("file %d without %d to %d: %v", i, from, to, bad)
				}
				copy(file, whole)
			}
		}
	}
}

// TestDamageIsTold: the error names the file and the place.
func TestDamageIsTold(t *testing.T) {
	p, committed, _ := written(t)
	p.files[0][BlockSize+100]++
	got, err := read(p)
	var d *DamagedError
	if !errors.As(err, &d) || d.File != filepath.Join(dir, Names[0]) || d.Position != BlockSize {
		t.Fatalf("damage: %v", err)
	}
	if !slices.Equal(got, committed[5:]) {
		t.Errorf("the other file has %d entries", len(got))
	}
	stop := errors.New("stop")
	if err := Read(p, dir, func(Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the caller becomes %v", err)
	}
}

// seal makes checksums right, so that what stands under them is read.
func seal(p []byte) {
	if len(p) < headerSize {
		return
	}
	copy(p, magic)
	binary.BigEndian.PutUint32(p[32:], crc32.Checksum(p[:32], castagnoli))
	for at, sequence := BlockSize, int64(0); at+recordHeader <= len(p); at += BlockSize {
		r := p[at:]
		n := int64(binary.BigEndian.Uint32(r))
		if n == 0 || n > maxRecordBytes || recordHeader+n > int64(len(r)) {
			continue
		}
		copy(r[8:16], p[8:])
		binary.BigEndian.PutUint64(r[16:], uint64(sequence))
		binary.BigEndian.PutUint32(r[4:], crc32.Checksum(r[8:recordHeader+n], castagnoli))
		sequence++
	}
}

func FuzzRead(f *testing.F) {
	p, _, _ := written(f)
	f.Add(p.files[0], p.files[1], false)
	f.Add(p.files[0], p.files[1], true)
	f.Add(p.files[1], p.files[1][:BlockSize+200], true)
	f.Add([]byte{}, []byte(magic), false)
	f.Fuzz(func(t *testing.T, first, second []byte, sealed bool) {
		p := &pair{files: [2][]byte{slices.Clone(first), slices.Clone(second)}}
		if sealed {
			seal(p.files[0])
			seal(p.files[1])
		}
		size := 0
		err := Read(p, dir, func(e Entry) error {
			size += entryHeader + len(e.Log) + len(e.Bytes)
			if e.Base < 0 || e.Position < 0 || !bytes.Contains(p.files[0], e.Bytes) && !bytes.Contains(p.files[1], e.Bytes) {
				t.Errorf("an entry that is in no file: %+v", e)
			}
			return nil
		})
		var d *DamagedError
		if err != nil && !errors.As(err, &d) {
			t.Errorf("not damage: %v", err)
		}
		if size > len(first)+len(second) {
			t.Errorf("%d bytes of entries in %d", size, len(first)+len(second))
		}
	})
}
