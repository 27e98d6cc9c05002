package segment

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

func free(int64) error { return nil }

func TestStream(t *testing.T) {
	s, all := filled(t, options(t, simfs.Options{}))
	largest := 0
	for _, b := range all {
		largest = max(largest, len(b))
	}
	// A buffer of any size does, and grows for a batch that does not fit.
	for _, size := range []int{1, 61, 100, largest, 1000, 1 << 20} {
		buf, i, told := make([]byte, size), 0, int64(0)
		buf, err := s.Stream(0, buf, func(n int64) error { told += n; return nil }, func(b batch.Batch, h Header) (bool, error) {
			if !bytes.Equal(b, all[i]) || h.BaseOffset != all[i].BaseOffset() || h.Size != int64(len(b)) || cap(b) != len(b) {
				t.Fatalf("buffer of %d, batch %d: %+v", size, i, h)
			}
			i++
			return true, nil
		})
		if err != nil || i != len(all) || told < s.Size() || len(buf) < size {
			t.Fatalf("buffer of %d: %d batches, %d bytes read, buffer of %d, %v", size, i, told, len(buf), err)
		}
	}
	h, err := s.Locate(all[40].BaseOffset())
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	if _, err := s.Stream(h.Position, make([]byte, 200), free, func(b batch.Batch, _ Header) (bool, error) {
		if !bytes.Equal(b, all[40+seen]) {
			t.Fatal(b.BaseOffset())
		}
		seen++
		return seen < 3, nil
	}); err != nil || seen != 3 {
		t.Fatal(seen, err)
	}
	stop := errors.New("stop")
	if _, err := s.Stream(0, make([]byte, 200), func(int64) error { return stop }, nil); !errors.Is(err, stop) {
		t.Error(err)
	}
	if _, err := s.Stream(0, make([]byte, 200), free, func(batch.Batch, Header) (bool, error) { return true, stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestStreamFindsDamage wherever it is.
func TestStreamFindsDamage(t *testing.T) {
	opt := options(t, simfs.Options{})
	s, all := filled(t, opt)
	p, err := vfs.ReadFile(opt.FS, s.Name())
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(p); at += 7 {
		if rel := at - int(start(all, at)); rel < 8 || rel >= 12 && rel < 16 {
			continue // base offset and leader epoch lie outside of the checksum
		}
		f, err := s.handle()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{p[at] ^ 0x10}, int64(at)); err != nil {
			t.Fatal(err)
		}
		seen := 0
		_, err = s.Stream(0, make([]byte, 500), free, func(b batch.Batch, h Header) (bool, error) {
			if h.Magic == batch.Magic && !bytes.Equal(b, all[seen]) {
				t.Fatalf("byte %d: batch %d differs", at, seen)
			}
			seen++
			return true, nil
		})
		var damage *DamagedError
		if !errors.As(err, &damage) || damage.Position != start(all, at) {
			t.Fatalf("byte %d: %v after %d batches", at, err, seen)
		}
		if _, err := f.WriteAt(p[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}

// start is where the batch with the byte at begins.
func start(all []batch.Batch, at int) int64 {
	begin := 0
	for _, b := range all {
		if at < begin+len(b) {
			break
		}
		begin += len(b)
	}
	return int64(begin)
}

func TestEndAt(t *testing.T) {
	s, all := filled(t, options(t, simfs.Options{}))
	if end, err := s.EndAt(0); err != nil || end != base {
		t.Fatal(end, err)
	}
	position := int64(0)
	for _, b := range all {
		position += int64(len(b))
		if end, err := s.EndAt(position); err != nil || end != b.NextOffset() {
			t.Fatalf("at %d: %d, expected %d, %v", position, end, b.NextOffset(), err)
		}
	}
}

// TestCleanedSegment takes the place of another while somebody reads it, whatever its files are called.
func TestCleanedSegment(t *testing.T) {
	opt := options(t, simfs.Options{})
	old, all := filled(t, opt)
	if err := errors.Join(old.Seal(), old.AppendAborted(producer.AbortedTxn{ProducerID: 1, FirstOffset: base, LastOffset: base + 9, LastStableOffset: base})); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".log.cleaned", ".index.cleaned", ".txnindex.cleaned", ".index.swap"} {
		if err := vfs.WriteFileAtomic(opt.FS, FileName("/d", base, name), []byte("left over")); err != nil {
			t.Fatal(err)
		}
	}
	s, err := CreateCleaned("/d", base, opt)
	if err != nil {
		t.Fatal(err)
	}
	var run []byte
	for i, b := range all {
		if i%2 == 0 {
			run = append(run, b...)
		}
		if i%7 == 6 {
			if err := s.AppendBatches(run); err != nil {
				t.Fatal(err)
			}
			run = nil
		}
	}
	kept := producer.AbortedTxn{ProducerID: 2, FirstOffset: base + 1, LastOffset: base + 8, LastStableOffset: base}
	at := time.UnixMilli(1_600_000_000_000)
	if err := errors.Join(s.AppendBatches(run), s.AppendBatches(nil), s.AppendAborted(kept), s.Complete(at)); err != nil {
		t.Fatal(err)
	}
	if !s.Cleaned() || old.Cleaned() || s.Generation() == old.Generation() {
		t.Error("the two are not told apart")
	}
	check := func(step string, s *Segment) {
		t.Helper()
		if err := s.Idle(); err != nil {
			t.Fatal(step, err)
		}
		if !s.Acquire() {
			t.Fatal(step)
		}
		defer s.Release()
		for i := 0; i < len(all); i += 2 {
			h, err := s.Locate(all[i].LastOffset())
			if err != nil || h.BaseOffset != all[i].BaseOffset() {
				t.Fatalf("%s: batch %d: %+v, %v", step, i, h, err)
			}
		}
		if ts, _, err := s.MaxTimestamp(); err != nil || ts != 1590 {
			t.Fatalf("%s: largest timestamp %d, %v", step, ts, err)
		}
		got, _, err := s.Aborted(nil, base, base+100)
		if err != nil || !slices.Equal(got, []producer.AbortedTxn{kept}) {
			t.Fatalf("%s: %+v, %v", step, got, err)
		}
		if err := s.SyncIndexes(); err != nil {
			t.Fatal(step, err)
		}
	}
	check("cleaned", s)
	if err := errors.Join(s.MoveIndexes(SwapSuffix), s.MoveLog(SwapSuffix)); err != nil {
		t.Fatal(err)
	}
	check("swap", s)
	if err := old.Rename(DeletedSuffix); err != nil {
		t.Fatal(err)
	}
	// What belongs to the old one never touches the new one's files.
	if err := old.SyncIndexes(); err != nil {
		t.Fatal(err)
	}
	if err := s.MoveLog(""); err != nil {
		t.Fatal(err)
	}
	check("half of it moved", s)
	if err := errors.Join(s.MoveIndexes(""), old.SyncIndexes()); err != nil {
		t.Fatal(err)
	}
	check("in place", s)
	if got, err := s.ModTime(); err != nil || !got.Equal(at) {
		t.Errorf("modified at %v, expected %v, %v", got, at, err)
	}
	old.Retire(nil)
	size := s.Size()
	s.Retire(nil)
	s, err = Open("/d", base, size, opt)
	if err != nil {
		t.Fatal(err)
	}
	check("opened again", s)
	if intact, err := s.AbortedIntact(); !intact || err != nil {
		t.Error(err)
	}
	list, err := opt.FS.ReadDir("/d")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name()[18:])
	}
	if want := []string{"00.index", "00.index.deleted", "00.log", "00.log.deleted", "00.timeindex", "00.timeindex.deleted", "00.txnindex", "00.txnindex.deleted"}; !slices.Equal(names, want) {
		t.Errorf("files %v, expected %v", names, want)
	}
}

// TestDetachedAborted: the name of a transaction index may be another segment's.
func TestDetachedAborted(t *testing.T) {
	opt := options(t, simfs.Options{})
	s, _ := filled(t, opt)
	if err := s.AppendAborted(producer.AbortedTxn{ProducerID: 1, FirstOffset: base, LastOffset: base + 9}); err != nil {
		t.Fatal(err)
	}
	again, err := Open("/d", base, s.Size(), opt)
	if err != nil {
		t.Fatal(err)
	}
	again.Detach()
	if _, _, err := again.Aborted(nil, 0, 1000); !errors.Is(err, ErrRetired) {
		t.Errorf("read by a name that may be another's: %v", err)
	}
	name := FileName("/d", base, TxnIndexSuffix)
	s.Detach()
	if err := opt.FS.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := s.SyncIndexes(); err != nil {
		t.Fatal(err)
	}
	if _, err := opt.FS.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Error("written by a name that may be another's")
	}
}
