package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
)

func TestWriteFileAtomicTranscript(t *testing.T) {
	dir := t.TempDir()
	trace := &Trace{Root: dir}
	disk := WithTrace(OS, trace)
	name := filepath.Join(dir, "recovery-point-offset-checkpoint")
	for _, content := range []string{"0\n0\n", "0\n1\ntopic 0 7\n"} {
		trace.Reset()
		if err := WriteFileAtomic(disk, name, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(disk, name); err != nil || string(got) != content {
			t.Fatalf("read back %q, %v", got, err)
		}
	}
	want := []string{
		"create recovery-point-offset-checkpoint.tmp",
		"write recovery-point-offset-checkpoint.tmp 0+14",
		"sync recovery-point-offset-checkpoint.tmp",
		"rename recovery-point-offset-checkpoint.tmp -> recovery-point-offset-checkpoint",
		"syncdir .",
	}
	if got := trace.Lines(); !reflect.DeepEqual(got, want) {
		t.Fatalf("transcript %q\nwant %q", got, want)
	}
}

func TestTraceOfEveryChange(t *testing.T) {
	dir := t.TempDir()
	trace := &Trace{Root: dir}
	faults := NewFaults(Fault{Op: OpSync, Nth: 2})
	disk := WithTrace(WithFaults(OS, faults), trace)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a, b := filepath.Join(dir, "d", "a"), filepath.Join(dir, "d", "b")
	must(disk.MkdirAll(filepath.Dir(a), 0o755))
	file := open(t, disk, a, os.O_RDWR|os.O_CREATE)
	must(file.Allocate(0, 4096))
	write(t, file, "hello", 3)
	must(file.Truncate(4))
	must(file.Sync())
	if err := file.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	open(t, disk, a, os.O_RDWR|os.O_CREATE)
	open(t, disk, a, os.O_RDWR|os.O_TRUNC)
	must(disk.Rename(a, b))
	must(disk.Remove(b))
	must(disk.SyncDir(filepath.Dir(a)))
	lock, err := disk.Lock(filepath.Join(dir, ".lock"))
	must(err)
	must(lock.Close())
	if err := disk.Rename(a, b); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	must(disk.RemoveAll(filepath.Dir(a)))
	want := []string{
		"mkdir d",
		"create d/a",
		"allocate d/a 0+4096",
		"write d/a 3+5",
		"truncate d/a 4",
		"sync d/a",
		"sync d/a: input/output error",
		"truncate d/a 0",
		"rename d/a -> d/b",
		"remove d/b",
		"syncdir d",
		"lock .lock",
		"rename d/a -> d/b: no such file or directory",
		"removeall d",
	}
	if got := trace.Lines(); !reflect.DeepEqual(got, want) {
		t.Fatalf("transcript %q\nwant %q", got, want)
	}
}

// Every call of a script fails once; the script must either report that or have done its work all the same.
func TestEveryCallOfWriteFileAtomicCanFail(t *testing.T) {
	for nth := 1; ; nth++ {
		name := filepath.Join(t.TempDir(), "checkpoint")
		if err := WriteFileAtomic(OS, name, []byte("old")); err != nil {
			t.Fatal(err)
		}
		faults := NewFaults(Fault{Nth: nth, Err: syscall.ENOSPC})
		err := WriteFileAtomic(WithFaults(OS, faults), name, []byte("new"))
		got, readErr := ReadFile(OS, name)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if faults.Fired() == 0 {
			if err != nil || string(got) != "new" {
				t.Fatalf("without a fault: %q, %v", got, err)
			}
			if want := 6; nth-1 != want { // open, write, sync, close, rename, syncdir
				t.Fatalf("the script has %d calls, want %d", nth-1, want)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fault at call %d was reported as %v", nth, err)
		}
		if nth <= 5 && string(got) != "old" {
			t.Fatalf("fault at call %d, before the rename, left %q", nth, got)
		}
		if _, err := os.Stat(name + ".tmp"); nth <= 4 && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("fault at call %d left the temporary file: %v", nth, err)
		}
	}
}

func TestFaultRules(t *testing.T) {
	dir := t.TempDir()
	faults := NewFaults(
		Fault{Op: OpWrite, Name: "*.log", Nth: 2, Short: 3, Err: syscall.ENOSPC},
		Fault{Op: OpSync, Name: filepath.ToSlash(dir) + "/*.index", Nth: 2, Sticky: true},
	)
	disk := WithFaults(OS, faults)
	log := open(t, disk, filepath.Join(dir, "0.log"), os.O_RDWR|os.O_CREATE)
	index := open(t, disk, filepath.Join(dir, "0.index"), os.O_RDWR|os.O_CREATE)

	write(t, index, "other", 0)
	write(t, log, "first", 0)
	if n, err := log.WriteAt([]byte("second"), 5); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("second write: %d, %v", n, err)
	}
	if got, err := ReadFile(OS, log.Name()); err != nil || string(got) != "firstsec" {
		t.Fatalf("after the short write: %q, %v", got, err)
	}
	write(t, log, "third", 5)

	if err := errors.Join(log.Sync(), log.Sync(), index.Sync()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := index.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sticky fault: %v", err)
		}
	}
	if faults.Fired() != 4 {
		t.Fatalf("fired %d times, want 4", faults.Fired())
	}
	faults.Clear()
	if err := index.Sync(); err != nil {
		t.Fatal(err)
	}
	if faults.Calls() < 10 {
		t.Fatalf("%d calls seen", faults.Calls())
	}
}

func TestFaultOfEveryKind(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	faults := &Faults{}
	disk := WithFaults(OS, faults)
	file := open(t, disk, name, os.O_RDWR|os.O_CREATE)
	write(t, file, "data", 0)
	window := mapped(t, file, 4)
	volume, err := disk.OpenVolume(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer volume.Close()
	calls := map[Op]func() error{
		OpCreate:    func() error { _, err := disk.OpenFile(name, os.O_CREATE, 0); return err },
		OpOpen:      func() error { _, err := disk.OpenFile(name, os.O_RDONLY, 0); return err },
		OpMkdir:     func() error { return disk.MkdirAll(dir, 0o755) },
		OpTruncate:  func() error { return file.Truncate(4) },
		OpAllocate:  func() error { return file.Allocate(0, 1) },
		OpRename:    func() error { return disk.Rename(name, name) },
		OpRemove:    func() error { return disk.Remove(name) },
		OpRemoveAll: func() error { return disk.RemoveAll(name) },
		OpSyncDir:   func() error { return disk.SyncDir(dir) },
		OpSyncAll:   func() error { return volume.Sync() },
		OpSize:      func() error { _, err := file.Size(); return err },
		OpMap:       func() error { _, err := file.Map(1); return err },
		OpPopulate:  func() error { return window.Populate(0, 1) },
		OpReadDir:   func() error { _, err := disk.ReadDir(dir); return err },
		OpStat:      func() error { _, err := disk.Stat(name); return err },
		OpLock:      func() error { _, err := disk.Lock(name); return err },
		OpUsage:     func() error { _, _, err := disk.Usage(dir); return err },
		OpUnmap:     func() error { return window.Unmap() },
		OpClose:     func() error { return file.Close() },
	}
	for _, op := range []Op{OpCreate, OpOpen, OpMkdir, OpTruncate, OpAllocate, OpRename, OpRemove, OpRemoveAll, OpSyncDir, OpSyncAll,
		OpSize, OpMap, OpPopulate, OpReadDir, OpStat, OpLock, OpUsage, OpUnmap, OpClose} {
		faults.Clear()
		faults.Add(Fault{Op: op, Err: syscall.EROFS})
		if err := calls[op](); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v, want EROFS", op, err)
		}
	}
	if got, err := ReadFile(OS, name); err != nil || string(got) != "data" {
		t.Fatalf("failed calls changed the disk: %q, %v", got, err)
	}
}
