package quorum

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/vfs"
)

const (
	scanWindow = 1 << 20
	// tornSpreadMs is how far the timestamps of intact batches behind a damaged one may lie apart for the damage to be taken as
	// a torn append: batches of one append are made at one moment, and every append is synced before the next.
	tornSpreadMs = 1000
)

// batchFile reads the batches of one file in order, changing nothing.
type batchFile struct {
	name string
	file vfs.File
	size int64
	at   int64 // position of the next batch
	buf  []byte
	from int64 // position of buf[0]
}

func openBatchFile(f vfs.FS, name string) (*batchFile, error) {
	file, err := f.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &batchFile{name: name, file: file, size: size}, nil
}

func (b *batchFile) close() { _ = b.file.Close() } // read only: nothing is lost with the error

// window returns up to n bytes at position at; fewer only at the end of the file.
func (b *batchFile) window(at int64, n int) ([]byte, error) {
	if left := b.size - at; int64(n) > left {
		n = int(left)
	}
	if at < b.from || at+int64(n) > b.from+int64(len(b.buf)) {
		want := max(int64(n), min(scanWindow, b.size-at))
		if int64(cap(b.buf)) < want {
			b.buf = make([]byte, want)
		}
		b.buf, b.from = b.buf[:want], at
		read, err := b.file.ReadAt(b.buf, at)
		if err != nil && !(errors.Is(err, io.EOF) && int64(read) == want) {
			b.buf = b.buf[:0]
			return nil, fmt.Errorf("read %s at %d: %w", b.name, at, err)
		}
	}
	return b.buf[at-b.from:][:n:n], nil
}

// damage says why the bytes at a position are no batch; errors that are not of this type are of the disk.
type damage struct {
	at     int64
	reason error
}

func (d *damage) Error() string { return fmt.Sprintf("position %d: %v", d.at, d.reason) }
func (d *damage) Unwrap() error { return d.reason }

// batchAt returns the intact batch at a position, valid until the next read.
func (b *batchFile) batchAt(at int64) (batch.Batch, error) {
	p, err := b.window(at, batch.HeaderSize)
	if err != nil {
		return nil, err
	}
	size, err := batch.Peek(p)
	if err == nil && int64(size) > b.size-at {
		err = fmt.Errorf("%w: a batch of %d bytes, %d are left", batch.ErrShort, size, b.size-at)
	}
	if err != nil {
		return nil, &damage{at, err}
	}
	if p, err = b.window(at, size); err != nil {
		return nil, err
	}
	if err := batch.Batch(p).CheckCRC(); err != nil {
		return nil, &damage{at, err}
	}
	return batch.Batch(p), nil
}

// next returns io.EOF at the end of the file.
func (b *batchFile) next() (batch.Batch, error) {
	if b.at >= b.size {
		return nil, io.EOF
	}
	p, err := b.batchAt(b.at)
	if err == nil {
		b.at += int64(len(p))
	}
	return p, err
}

// committedBehind reports whether intact batches behind the damage at the current position show that it had been synced: they
// are of a later epoch, or of more than one append.
func (b *batchFile) committedBehind(end int64, epoch int32) (bool, error) {
	var earliest, latest int64
	found := false
	for at := b.at + 1; at+batch.HeaderSize <= b.size; {
		p, err := b.window(at, batch.HeaderSize)
		if err != nil {
			return false, err
		}
		h := batch.Batch(p)
		if h.Magic() != batch.Magic || h.BaseOffset() < end || h.LeaderEpoch() < epoch || h.LastOffsetDelta() < 0 {
			at++
			continue
		}
		p, err = b.batchAt(at)
		if d := (*damage)(nil); errors.As(err, &d) {
			at++
			continue
		}
		if err != nil {
			return false, err
		}
		h = batch.Batch(p)
		if h.LeaderEpoch() > epoch {
			return true, nil
		}
		if !found {
			earliest, latest, found = h.BaseTimestamp(), h.BaseTimestamp(), true
		}
		earliest, latest = min(earliest, h.BaseTimestamp()), max(latest, h.MaxTimestamp())
		if latest-earliest > tornSpreadMs {
			return true, nil
		}
		at += int64(len(p))
	}
	return false, nil
}

// logBounds is what scanLog found.
type logBounds struct {
	exists    bool
	start     int64 // base of the first segment
	end       int64 // offset behind the last intact batch
	epoch     int32 // of the last intact batch at or after the first one read; -1 if none
	timestamp int64 // of that batch
	size      int64 // bytes of all segments
	empty     bool  // no batch at all was read
}

// segmentBases returns the base offsets of the .log files of a directory, ascending, and their total size.
func segmentBases(f vfs.FS, dir string) (bases []int64, size int64, err error) {
	entries, err := f.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".log")
		if !ok || len(base) != 20 || e.IsDir() {
			continue
		}
		offset, err := strconv.ParseInt(base, 10, 64)
		if err != nil || offset < 0 {
			continue
		}
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
		bases = append(bases, offset) // ReadDir sorts by name, which is by offset here
	}
	return bases, size, nil
}

func segmentName(dir string, base int64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d.log", base))
}

// scanLog visits every batch that has an offset of at least from, in order. visit must not keep the batch.
func scanLog(f vfs.FS, dir string, from int64, visit func(file string, position int64, b batch.Batch) error) (logBounds, error) {
	bases, size, err := segmentBases(f, dir)
	if err != nil {
		return logBounds{}, err
	}
	if len(bases) == 0 {
		return logBounds{end: from, start: from, epoch: -1, empty: true}, nil
	}
	bounds := logBounds{exists: true, start: bases[0], epoch: -1, size: size, empty: true}
	first := 0
	for i, base := range bases {
		if base <= from {
			first = i
		}
	}
	bounds.end = bases[first]
	for i := first; i < len(bases); i++ {
		if err := scanSegment(f, dir, bases[i], i == len(bases)-1, from, &bounds, visit); err != nil {
			return bounds, err
		}
	}
	return bounds, nil
}

func scanSegment(f vfs.FS, dir string, base int64, last bool, from int64, bounds *logBounds, visit func(string, int64, batch.Batch) error) error {
	name := segmentName(dir, base)
	r, err := openBatchFile(f, name)
	if err != nil {
		return fmt.Errorf("read the metadata log: %w", err)
	}
	defer r.close()
	if !bounds.empty && base != bounds.end {
		return refuse(ErrCorrupt, name, "restore the missing segment", "the segment before it ends at offset %d, expected %d", bounds.end, base)
	}
	for {
		position := r.at
		b, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = fits(b, base, position, bounds)
		}
		if d := (*damage)(nil); errors.As(err, &d) {
			r.at = position
			return damaged(r, d, last, bounds)
		}
		if err != nil {
			return fmt.Errorf("read the metadata log: %w", err)
		}
		if b.LastOffset() >= from {
			if err := visit(name, position, b); err != nil {
				return err
			}
		}
		bounds.end, bounds.epoch, bounds.timestamp, bounds.empty = b.NextOffset(), b.LeaderEpoch(), b.MaxTimestamp(), false
	}
}

// fits checks what a batch alone cannot show: a Raft log has neither gaps nor epochs that go back. Its first batch may begin
// above the name of its file.
func fits(b batch.Batch, base, position int64, bounds *logBounds) error {
	switch {
	case b.LastOffsetDelta() < 0:
		return &damage{position, fmt.Errorf("last offset delta %d", b.LastOffsetDelta())}
	case bounds.empty && b.BaseOffset() < base, !bounds.empty && b.BaseOffset() != bounds.end:
		return &damage{position, fmt.Errorf("base offset %d, expected %d", b.BaseOffset(), bounds.end)}
	case b.LeaderEpoch() < bounds.epoch:
		return &damage{position, fmt.Errorf("leader epoch %d after %d", b.LeaderEpoch(), bounds.epoch)}
	}
	return nil
}

// damaged decides whether the log ends here or had more.
func damaged(r *batchFile, d *damage, last bool, bounds *logBounds) error {
	const advice = "restore the directory from a copy; going on would drop topics that exist"
	if !last {
		return refuse(ErrCorrupt, r.name, advice, "%v, and later segments follow", d)
	}
	committed, err := r.committedBehind(bounds.end, bounds.epoch)
	if err != nil {
		return fmt.Errorf("read the metadata log: %w", err)
	}
	if committed {
		return refuse(ErrCorrupt, r.name, advice, "%v, and intact batches that were written later follow", d)
	}
	return nil
}
