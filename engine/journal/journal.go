package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/klauspost/crc32"

	"github.com/gregor-broker/gregor/engine/vfs"
)

const (
	// BlockSize is what records begin at multiples of, in bytes.
	BlockSize = 4096
	// DefaultBytes is the size of each of the two files: what is settled at a time.
	DefaultBytes = 32 << 20
	// MaxEntryBytes is the longest range that an entry holds; what is longer is better synced where it is.
	MaxEntryBytes = 32 << 10

	maxRecordBytes = 1 << 20
	recordHeader   = 24
	entryHeader    = 2 + 16 + 8 + 8 + 4 // without the name
	headerSize     = 36
	magic          = "GREGORJ1"
)

// Names are the journal's files in a data directory.
var Names = [2]string{".gregor-journal-0", ".gregor-journal-1"}

// KeptSuffix marks files that Keep put aside; a number may follow.
const KeptSuffix = ".kept"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Journal is the journal of an open directory. Begin, Add and Commit are for one caller at a time; the other methods
// may be called meanwhile.
type Journal struct {
	fs     vfs.FS
	dir    string
	bytes  int64
	settle func() error
	failed func(error)

	record []byte   // under way
	logs   []string // of its entries
	last   int      // where the last one begins

	mu         sync.Mutex
	files      [2]*file
	now        int // the one that is written
	generation int64
	before     int64      // records of the generation written last
	retiring   bool       // the other one is being settled
	retired    *sync.Cond // retiring has become false
	err        error      // the first failure; nothing is written any more
}

type file struct {
	vfs.File
	live     bool                // its header is written
	at       int64               // where the next record goes
	sequence int64               // of the next record
	logs     map[string]struct{} // that it holds entries of
}

// Create makes the two files of the journal in dir, each of so many bytes, zeroed and durable: no later write needs space.
// settle writes back everything that was written to the volume before the call (vfs.Volume.Sync); failed is told the first error that
// happens in the background. Files of an earlier journal must have been redone: they are replaced.
func Create(f vfs.FS, dir string, bytes int64, settle func() error, failed func(error)) (*Journal, error) {
	j := &Journal{fs: f, dir: dir, bytes: max(bytes, 2*BlockSize) &^ (BlockSize - 1), settle: settle, failed: failed}
	j.retired = sync.NewCond(&j.mu)
	for i, name := range Names {
		opened, err := j.make(filepath.Join(dir, name))
		if err != nil {
			j.Abandon()
			return nil, errors.Join(fmt.Errorf("make a journal in %s: %w", dir, err), Remove(f, dir))
		}
		j.files[i] = &file{File: opened, at: BlockSize, logs: map[string]struct{}{}}
	}
	if err := f.SyncDir(dir); err != nil {
		j.Abandon()
		return nil, fmt.Errorf("make a journal in %s: %w", dir, &vfs.SyncError{Err: err})
	}
	return j, nil
}

func (j *Journal) make(name string) (vfs.File, error) {
	f, err := j.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, min(j.bytes, 1<<20))
	for at := int64(0); at < j.bytes && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), j.bytes-at)], at)
	}
	if err == nil {
		err = vfs.Sync(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Begin begins a record; one that was not committed is forgotten.
func (j *Journal) Begin() {
	if cap(j.record) > maxRecordBytes {
		j.record = nil
	}
	j.record, j.logs = append(j.record[:0], make([]byte, recordHeader)...), j.logs[:0]
}

// Add adds n bytes at position of the log's segment to the record and returns them for the caller to fill, before the
// next call; nil if they are too many.
func (j *Journal) Add(log string, id [16]byte, base, position int64, n int) []byte {
	size := entryHeader + len(log) + n
	if n <= 0 || n > MaxEntryBytes || int64(align(len(j.record)+size)) > min(maxRecordBytes, j.bytes-BlockSize) {
		return nil
	}
	j.last = len(j.record)
	p := binary.BigEndian.AppendUint16(j.record, uint16(len(log)))
	p = append(append(p, log...), id[:]...)
	p = binary.BigEndian.AppendUint64(p, uint64(base))
	p = binary.BigEndian.AppendUint64(p, uint64(position))
	p = binary.BigEndian.AppendUint32(p, uint32(n))
	at := len(p)
	j.record = slices.Grow(p, n)[:at+n]
	j.logs = append(j.logs, log)
	return j.record[at:]
}

// Undo takes back the last Add.
func (j *Journal) Undo() {
	j.record = j.record[:j.last]
	j.logs = j.logs[:len(j.logs)-1]
}

// Commit makes the record durable. It returns false without an error when there is nothing in it, or no room before the
// other file is settled: the caller then syncs the logs themselves. An error is final.
func (j *Journal) Commit() (bool, error) {
	if len(j.logs) == 0 {
		return false, nil
	}
	length := len(j.record)
	p := slices.Grow(j.record, align(length)-length)[:align(length)]
	clear(p[length:])
	j.record = p
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return false, j.err
	}
	f := j.files[j.now]
	if f.at+int64(len(p)) > j.bytes {
		if j.retiring {
			return false, nil
		}
		j.retiring = true
		go j.retire(f)
		j.now = 1 - j.now
		f = j.files[j.now]
	}
	if !f.live {
		// With the first record, in one sync: neither says anything without the other.
		j.generation++
		f.sequence = 0
		if _, err := f.WriteAt(header(j.generation, j.bytes, j.before), 0); err != nil {
			return false, j.fail(f, "write", err)
		}
		f.live = true
	}
	binary.BigEndian.PutUint32(p, uint32(length-recordHeader))
	binary.BigEndian.PutUint64(p[8:], uint64(j.generation))
	binary.BigEndian.PutUint64(p[16:], uint64(f.sequence))
	binary.BigEndian.PutUint32(p[4:], crc32.Checksum(p[8:length], castagnoli))
	if _, err := f.WriteAt(p, f.at); err != nil {
		return false, j.fail(f, "write", err)
	}
	if err := vfs.Sync(f.File); err != nil {
		return false, j.fail(f, "sync", err)
	}
	f.at += int64(len(p))
	f.sequence++
	j.before = f.sequence
	for _, log := range j.logs {
		f.logs[log] = struct{}{}
	}
	return true, nil
}

// fail keeps the first error; j.mu is held.
func (j *Journal) fail(f *file, what string, err error) error {
	if j.err == nil {
		j.err = fmt.Errorf("journal %s: %s: %w", f.Name(), what, err)
	}
	return j.err
}

// retire settles the file that is full while the other one is written.
func (j *Journal) retire(f *file) {
	err := j.clear(f)
	j.mu.Lock()
	if err != nil {
		err = j.fail(f, "settle", err)
	} else {
		clear(f.logs)
	}
	j.retiring = false
	j.retired.Broadcast()
	j.mu.Unlock()
	if err != nil {
		j.failed(err)
	}
}

// clear frees a file whose entries need not be redone once everything is settled. Nobody writes to it meanwhile.
func (j *Journal) clear(f *file) error {
	if !f.live {
		return nil
	}
	if err := j.settle(); err != nil {
		return err
	}
	// What was written back may still be in the drive's cache, where it must not be overtaken.
	if err := vfs.Sync(f.File); err != nil {
		return err
	}
	if _, err := f.WriteAt(make([]byte, headerSize), 0); err != nil {
		return err
	}
	if err := vfs.Sync(f.File); err != nil {
		return err
	}
	f.live, f.at = false, BlockSize
	return nil
}

// Settle makes durable where it belongs what the journal holds, and empties it: what is done to a log's file from then
// on, no redo undoes.
func (j *Journal) Settle() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.retiring {
		j.retired.Wait()
	}
	if j.err != nil {
		return j.err
	}
	if f := j.files[j.now]; f.live {
		if err := j.clear(f); err != nil {
			return j.fail(f, "settle", err)
		}
		clear(f.logs)
	}
	return nil
}

// Holds says whether the journal may have entries of a log.
func (j *Journal) Holds(log string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, first := j.files[0].logs[log]
	_, second := j.files[1].logs[log]
	return first || second
}

// Close settles the journal and removes its files; the directory is then as if there had been none. After an error they
// stay, for Redo.
func (j *Journal) Close() error {
	err := j.Settle()
	j.Abandon()
	if err != nil {
		return err
	}
	return Remove(j.fs, j.dir)
}

// Abandon closes the files and leaves them as they are.
func (j *Journal) Abandon() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.retiring {
		j.retired.Wait()
	}
	if j.err == nil {
		j.err = fs.ErrClosed
	}
	for _, f := range j.files {
		if f != nil {
			f.Close() // what matters was synced
		}
	}
}

// newestFirst is the order in which the files are put away: where an interruption leaves one, it is the beginning of the
// journal, and Redo finds again where somebody else has written. A damaged file counts as the older one.
func newestFirst(f vfs.FS, dir string) ([2]string, error) {
	names := [2]string{filepath.Join(dir, Names[0]), filepath.Join(dir, Names[1])}
	first, err := generation(f, names[0])
	second, more := generation(f, names[1])
	if first < second {
		names[0], names[1] = names[1], names[0]
	}
	return names, errors.Join(err, more)
}

// Remove removes the journal's files from a directory, durably. What they hold is lost: Redo comes first.
func Remove(f vfs.FS, dir string) error {
	names, _ := newestFirst(f, dir) // what cannot be read can be removed
	for _, name := range names {
		err := f.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = f.SyncDir(dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Keep puts the journal's files aside under other names, durably, for whoever looks into what they hold.
func Keep(f vfs.FS, dir string) error {
	names, err := newestFirst(f, dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := keep(f, name); err != nil {
			return err
		}
		if err := f.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func keep(f vfs.FS, from string) error {
	if _, err := f.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	to := from + KeptSuffix
	for i := 2; ; i++ {
		if _, err := f.Stat(to); errors.Is(err, fs.ErrNotExist) {
			return f.Rename(from, to)
		} else if err != nil {
			return err
		}
		to = fmt.Sprintf("%s%s-%d", from, KeptSuffix, i)
	}
}

func header(generation, size, before int64) []byte {
	p := binary.BigEndian.AppendUint64([]byte(magic), uint64(generation))
	p = binary.BigEndian.AppendUint64(p, uint64(size))
	p = binary.BigEndian.AppendUint64(p, uint64(before))
	return binary.BigEndian.AppendUint32(p, crc32.Checksum(p, castagnoli))
}

func align(n int) int { return (n + BlockSize - 1) &^ (BlockSize - 1) }
