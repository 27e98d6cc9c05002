package simfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/vfs"
)

func TestMappingFollowsTheFile(t *testing.T) {
	disk := New(Options{})
	f := create(t, disk, "f")
	m, err := f.Map(3 * BlockSize)
	must(t, err)
	if !bytes.Equal(m.Bytes(), make([]byte, 3*BlockSize)) {
		t.Fatal("an empty file maps as something else than zeros")
	}
	write(t, f, []byte("hello"), 0)
	write(t, f, fill('x', 2*BlockSize), 2*BlockSize) // beyond the window
	if got := m.Bytes(); string(got[:5]) != "hello" || got[5] != 0 || got[3*BlockSize-1] != 'x' {
		t.Fatalf("window shows %q ... %q", got[:6], got[3*BlockSize-1])
	}
	must(t, f.Truncate(3))
	if got := m.Bytes(); string(got[:3]) != "hel" || !bytes.Equal(got[3:], make([]byte, 3*BlockSize-3)) {
		t.Fatal("the truncation is not visible")
	}
	if err := m.Populate(0, BlockSize); err != nil {
		t.Fatalf("populate of the last page: %v", err)
	}
	if err := m.Populate(BlockSize-1, 2); !errors.Is(err, syscall.EFAULT) {
		t.Fatalf("populate past the end: %v", err)
	}
	must(t, f.Close())
	must(t, disk.Remove("f"))
	if got := m.Bytes(); string(got[:3]) != "hel" {
		t.Fatal("a removed file's mapping is gone")
	}
	window := m.Bytes()
	must(t, m.Unmap())
	if !bytes.Equal(window, fill(poison, len(window))) {
		t.Fatal("not poisoned after unmap")
	}
	if err := m.Unmap(); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("second unmap: %v", err)
	}
	if err := m.Populate(0, 1); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("populate after unmap: %v", err)
	}
	if s := disk.Stats(); s.Mappings != 0 || s.OpenFiles != 0 {
		t.Fatalf("leaks: %+v", s)
	}
}

func TestMappingsAreLimited(t *testing.T) {
	disk := New(Options{MaxMappings: 1})
	f := create(t, disk, "f")
	m, err := f.Map(1)
	must(t, err)
	if _, err := f.Map(1); !errors.Is(err, vfs.ErrTooManyMappings) {
		t.Fatal(err)
	}
	must(t, m.Unmap())
	if _, err := f.Map(1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Map(0); !errors.Is(err, fs.ErrInvalid) {
		t.Fatal(err)
	}
}

func TestCapacity(t *testing.T) {
	disk := New(Options{Capacity: 4 * BlockSize})
	usable := func() int {
		t.Helper()
		total, usable, err := disk.Usage("/")
		must(t, err)
		if total != 4*BlockSize {
			t.Fatalf("total %d", total)
		}
		return int(usable) / BlockSize
	}
	f, g := create(t, disk, "f"), create(t, disk, "g")
	must(t, f.Allocate(0, 2*BlockSize))
	if usable() != 2 {
		t.Fatalf("%d blocks usable after an allocation of 2 of 4", usable())
	}
	n, err := g.WriteAt(fill('x', 3*BlockSize), 0)
	if n != 2*BlockSize || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if err := f.Allocate(2*BlockSize, 1); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Truncate(2*BlockSize + 1); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	write(t, f, fill('y', 2*BlockSize), 0) // into its allocation
	if usable() != 0 {
		t.Fatalf("%d blocks usable on a full disk", usable())
	}
	must(t, disk.Remove("g"))
	if usable() != 0 {
		t.Fatal("space of an open removed file came back")
	}
	must(t, g.Close())
	if usable() != 2 {
		t.Fatalf("%d blocks usable after the removal", usable())
	}
	h := create(t, disk, "h")
	write(t, h, fill('h', BlockSize), 0)
	must(t, errors.Join(h.Close(), create(t, disk, "i").Close(), disk.Rename("i", "h")))
	if usable() != 2 {
		t.Fatalf("%d blocks usable after a file was replaced", usable())
	}
	must(t, f.Truncate(0))
	if usable() != 4 {
		t.Fatalf("%d blocks usable after the truncation", usable())
	}
	write(t, f, fill('z', BlockSize+1), 0)
	must(t, f.Sync())
	must(t, disk.SyncDir("/"))
	for _, clone := range []*FS{disk.KillClone(), disk.Crash(CrashOptions{})} {
		if _, usable, err := clone.Usage("/"); err != nil || usable != 2*BlockSize {
			t.Fatalf("clone has %d bytes usable, %v", usable, err)
		}
	}
}

func TestLock(t *testing.T) {
	disk := New(Options{})
	held, err := disk.Lock("d/../.lock")
	must(t, err)
	if _, err := disk.Lock(".lock"); !errors.Is(err, vfs.ErrLocked) {
		t.Fatal(err)
	}
	must(t, held.Close())
	if err := held.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Fatal(err)
	}
	again, err := disk.Lock(".lock")
	must(t, err)
	must(t, again.Close())
	if s := disk.Stats(); s.OpenFiles != 0 {
		t.Fatalf("%d open files", s.OpenFiles)
	}
}

func TestAccessModes(t *testing.T) {
	disk := New(Options{})
	create(t, disk, "f")
	read, err := disk.OpenFile("f", os.O_RDONLY, 0)
	must(t, err)
	if _, err := read.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("write to a read-only file: %v", err)
	}
	only, err := disk.OpenFile("f", os.O_WRONLY, 0)
	must(t, err)
	if _, err := only.ReadAt(make([]byte, 1), 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("read of a write-only file: %v", err)
	}
	if _, err := only.Map(1); !errors.Is(err, syscall.EACCES) {
		t.Errorf("map of a write-only file: %v", err)
	}
	if _, err := only.WriteAt([]byte("x"), -1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("write at -1: %v", err)
	}
}

func TestPowerOff(t *testing.T) {
	disk := New(Options{})
	f := create(t, disk, "f")
	must(t, disk.SyncDir("/"))
	m, err := f.Map(8)
	must(t, err)
	disk.PowerOffAfter(2)
	write(t, f, []byte("done"), 0)
	must(t, f.Sync())
	_, writeErr := f.WriteAt([]byte("late"), 4)
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	_, statErr := disk.Stat("f")
	for _, err := range []error{writeErr, readErr, statErr, f.Sync(), disk.SyncDir("/"), disk.Remove("f")} {
		if !errors.Is(err, ErrPowerOff) {
			t.Errorf("without power: %v", err)
		}
	}
	if string(m.Bytes()[:5]) != "done\x00" {
		t.Errorf("mapped %q", m.Bytes())
	}
	must(t, errors.Join(m.Unmap(), f.Close()))
	if got, _ := content(t, disk.Crash(CrashOptions{}), "f"); got != "done" {
		t.Errorf("after the power came back %q", got)
	}
}

func TestLogStatsAndOnChange(t *testing.T) {
	disk := New(Options{LogLimit: 6})
	var seen []string
	disk.OnChange(func(e vfs.Event) {
		seen = append(seen, e.String())
		if e.Op == vfs.OpSync {
			disk.Crash(CrashOptions{}) // must not deadlock
		}
	})
	must(t, disk.MkdirAll("d/e", 0o755))
	must(t, disk.MkdirAll("d/e", 0o755))
	f := create(t, disk, "d/f")
	create(t, disk, "d/f")
	write(t, f, []byte("hello"), 2)
	must(t, f.Allocate(0, 9))
	disk.FailSync(1)
	if err := f.Sync(); err == nil {
		t.Fatal("no error")
	}
	must(t, f.Sync())
	must(t, f.Truncate(1))
	must(t, disk.Rename("d/f", "d/g"))
	must(t, disk.SyncDir("d"))
	must(t, disk.RemoveAll("d"))
	want := []string{
		"mkdir /d", "mkdir /d/e", "create d/f", "write d/f 2+5", "allocate d/f 0+9", "sync d/f: input/output error",
		"sync d/f", "truncate d/f 1", "rename d/f -> d/g", "syncdir d", "remove d/e", "remove d/g", "remove d",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("changes %q\nwant %q", seen, want)
	}
	var logged []string
	for _, e := range disk.Log() {
		logged = append(logged, e.String())
	}
	if len(logged) < 6 || len(logged) > 12 || !slices.Equal(logged, want[len(want)-len(logged):]) {
		t.Errorf("log %q", logged)
	}
	s := disk.Stats()
	if s.Syncs != 2 || s.DirSyncs != 1 || s.Writes != 1 || s.BytesWritten != 5 || s.Changes < 13 || s.OpenFiles != 2 {
		t.Errorf("%+v", s)
	}
}

func TestDates(t *testing.T) {
	disk := New(Options{})
	f := create(t, disk, "f")
	before, err := disk.Stat("f")
	must(t, err)
	write(t, f, []byte("x"), 0)
	after, err := disk.Stat("f")
	must(t, err)
	if !after.ModTime().After(before.ModTime()) {
		t.Errorf("written at %v, created at %v", after.ModTime(), before.ModTime())
	}
	now := time.UnixMilli(1_700_000_000_000)
	disk = New(Options{Now: func() time.Time { return now }})
	create(t, disk, "f")
	if info, err := disk.Stat("f"); err != nil || !info.ModTime().Equal(now) {
		t.Errorf("dated %v, %v", info.ModTime(), err)
	}
}

func TestConcurrentUse(t *testing.T) {
	disk := New(Options{})
	var workers sync.WaitGroup
	for w := range 6 {
		workers.Go(func() {
			dir := fmt.Sprint("d", w%2)
			name := filepath.Join(dir, fmt.Sprint(w))
			must(t, disk.MkdirAll(dir, 0o755))
			f := create(t, disk, name)
			m, err := f.Map(100_000)
			must(t, err)
			for i := range 100 {
				write(t, f, fill(byte(w), 500), int64(i)*500)
				if m.Bytes()[i*500] != byte(w) {
					t.Error("incoherent")
				}
				must(t, f.Sync())
				must(t, disk.SyncDir(dir))
				switch i % 20 {
				case 5:
					if data, err := vfs.ReadFile(disk.Crash(CrashOptions{Keep: KeepAll}), name); err != nil || len(data) < (i+1)*500 {
						t.Errorf("%d bytes, %v", len(data), err)
					}
				case 15:
					write(t, create(t, disk.KillClone(), name), []byte("zombie"), 0)
				}
			}
			must(t, m.Unmap())
			must(t, f.Close())
			must(t, disk.Rename(name, name+".done"))
		})
	}
	workers.Wait()
	if list, err := disk.ReadDir("d1"); err != nil || len(list) != 3 {
		t.Fatalf("%v, %v", list, err)
	}
}

// BenchmarkCrashAndRecover is one cycle of a crash test over a small log directory: append, crash, map, read, repair.
func BenchmarkCrashAndRecover(b *testing.B) {
	b.ReportAllocs()
	disk := New(Options{})
	must(b, disk.MkdirAll("data/topic-0", 0o755))
	must(b, disk.SyncDir("/"))
	must(b, disk.SyncDir("data"))
	for i := range 8 {
		f := create(b, disk, fmt.Sprintf("data/topic-0/%020d.log", i))
		write(b, f, fill('x', 64<<10), 0)
		must(b, f.Sync())
	}
	must(b, disk.SyncDir("data/topic-0"))
	record := fill('r', 700)
	for b.Loop() {
		f := create(b, disk, fmt.Sprintf("data/topic-0/%020d.log", 7))
		must(b, f.Truncate(32<<10))
		must(b, f.Sync())
		for i := range int64(8) {
			write(b, f, record, 32<<10+i*700)
		}
		disk = disk.Crash(CrashOptions{})
		f = create(b, disk, fmt.Sprintf("data/topic-0/%020d.log", 7))
		m, err := f.Map(256 << 10)
		must(b, err)
		if m.Bytes()[0] != 'x' {
			b.Fatal("lost")
		}
		must(b, m.Unmap())
	}
}

// BenchmarkCrash is the power cut alone: 8 files of 64 KiB, one with a few unsynced records.
func BenchmarkCrash(b *testing.B) {
	b.ReportAllocs()
	disk := New(Options{})
	for i := range 8 {
		f := create(b, disk, fmt.Sprint(i))
		write(b, f, fill('x', 64<<10), 0)
		must(b, f.Sync())
		if i == 7 {
			write(b, f, fill('y', 5000), 64<<10)
		}
	}
	must(b, disk.SyncDir("/"))
	for b.Loop() {
		disk.Crash(CrashOptions{})
	}
}
