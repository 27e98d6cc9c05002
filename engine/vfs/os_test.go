package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// tryLockVariable makes the test binary a second process that tries to lock a file and prints what happened.
const tryLockVariable = "VFS_TEST_TRY_LOCK"

func TestMain(m *testing.M) {
	if name := os.Getenv(tryLockVariable); name != "" {
		_, err := OS.Lock(name)
		fmt.Println("locked by the other process:", errors.Is(err, ErrLocked), "error:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, f FS, name string, flag int) File {
	t.Helper()
	file, err := f.OpenFile(name, flag, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func create(t *testing.T) File {
	t.Helper()
	return open(t, OS, filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE)
}

func write(t *testing.T, file File, data string, off int64) {
	t.Helper()
	if n, err := file.WriteAt([]byte(data), off); err != nil || n != len(data) {
		t.Fatalf("write: %d, %v", n, err)
	}
}

func mapped(t *testing.T, file File, length int) Mapping {
	t.Helper()
	m, err := file.Map(length)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Unmap(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	})
	return m
}

func TestMapOfAnEmptyFileSeesLaterWrites(t *testing.T) {
	file := create(t)
	before := LiveMappings()
	m := mapped(t, file, 1<<20)
	if len(m.Bytes()) != 1<<20 {
		t.Fatalf("window of %d bytes, want %d", len(m.Bytes()), 1<<20)
	}
	for i := range 100 {
		record := fmt.Sprintf("record %6d", i)
		off := int64(i * 1000)
		write(t, file, record, off)
		if err := m.Populate(int(off), len(record)); err != nil {
			t.Fatal(err)
		}
		if got := string(m.Bytes()[off : off+int64(len(record))]); got != record {
			t.Fatalf("mapped %q at %d, written %q", got, off, record)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if got := string(m.Bytes()[:6]); got != "record" {
		t.Fatalf("mapping after close reads %q", got)
	}
	if err := m.Unmap(); err != nil {
		t.Fatal(err)
	}
	if m.Bytes() != nil {
		t.Fatal("bytes after unmap")
	}
	if err := m.Unmap(); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("second unmap: %v", err)
	}
	if LiveMappings() != before {
		t.Fatalf("%d live mappings, want %d", LiveMappings(), before)
	}
}

func TestPopulatePastTheEndIsAnError(t *testing.T) {
	file := create(t)
	page := os.Getpagesize()
	m := mapped(t, file, 8*page)
	write(t, file, "x", 0)
	if err := m.Populate(0, page); err != nil {
		t.Fatalf("populate of the last partial page: %v", err)
	}
	if m.Bytes()[1] != 0 {
		t.Fatal("rest of the last page is not zero")
	}
	if runtime.GOOS == "linux" {
		if err := m.Populate(page/2, page); !errors.Is(err, syscall.EFAULT) {
			t.Fatalf("populate past the end: %v, want EFAULT", err)
		}
	}
	for _, r := range [][2]int{{-1, 1}, {0, 8*page + 1}, {8 * page, 1}, {1, -1}} {
		if err := m.Populate(r[0], r[1]); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("populate %v: %v, want fs.ErrInvalid", r, err)
		}
	}
	if err := m.Populate(8*page, 0); err != nil {
		t.Errorf("populate of nothing at the end: %v", err)
	}
}

func TestMapRefusesBadLengths(t *testing.T) {
	file := create(t)
	before := LiveMappings()
	for _, length := range []int{0, -1} {
		if _, err := file.Map(length); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("map of %d bytes: %v", length, err)
		}
	}
	if _, err := file.Map(1 << 62); err == nil {
		t.Error("map of 4 EiB worked")
	}
	if LiveMappings() != before {
		t.Fatalf("failed maps are counted as live")
	}
}

func TestMapStopsAtTheCap(t *testing.T) {
	file := create(t)
	var held []Mapping
	defer func() {
		for _, m := range held {
			m.Unmap()
		}
	}()
	for range maxMappings() + 1 {
		m, err := file.Map(1)
		if err == nil {
			held = append(held, m)
			continue
		}
		if !errors.Is(err, ErrTooManyMappings) {
			t.Fatal(err)
		}
		if LiveMappings() != maxMappings() {
			t.Fatalf("refused at %d live mappings, cap %d", LiveMappings(), maxMappings())
		}
		if err := held[0].Unmap(); err != nil {
			t.Fatal(err)
		}
		if held[0], err = file.Map(1); err != nil {
			t.Fatalf("map after an unmap: %v", err)
		}
		return
	}
	t.Fatal("no cap")
}

func TestGuardCatchesATouchAfterTruncate(t *testing.T) {
	file := create(t)
	write(t, file, strings.Repeat("x", 3*os.Getpagesize()), 0)
	m := mapped(t, file, 3*os.Getpagesize())
	out := make([]byte, len(m.Bytes()))
	if err := Guard(func() { copy(out, m.Bytes()) }); err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(1); err != nil {
		t.Fatal(err)
	}
	err := Guard(func() { copy(out, m.Bytes()) })
	var fault *FaultError
	if !errors.As(err, &fault) || fault.Addr == 0 {
		t.Fatalf("touch after truncate: %v", err)
	}
	if _, ok := errors.AsType[runtime.Error](err); !ok {
		t.Fatalf("%v does not wrap the runtime's error", err)
	}
	write(t, file, strings.Repeat("y", 3*os.Getpagesize()), 0)
	if err := Guard(func() { copy(out, m.Bytes()) }); err != nil || out[len(out)-1] != 'y' {
		t.Fatalf("after the file grew again: %v, %q", err, out[len(out)-1])
	}
}

func TestGuardLetsOtherPanicsThrough(t *testing.T) {
	caught := func(fn func()) (cause any) {
		defer func() { cause = recover() }()
		t.Errorf("guard returned %v", Guard(fn))
		return nil
	}
	cause := errors.New("mine")
	if got := caught(func() { panic(cause) }); got != cause {
		t.Errorf("panic became %v", got)
	}
	var nothing *[8]byte
	if got, ok := caught(func() { nothing[0]++ }).(runtime.Error); !ok {
		t.Errorf("nil dereference became %v", got)
	}
	empty := []byte{}
	if got, ok := caught(func() { empty[len(empty)]++ }).(runtime.Error); !ok {
		t.Errorf("index out of range became %v", got)
	}
	if err := Guard(func() {}); err != nil {
		t.Errorf("nothing went wrong, yet %v", err)
	}
}

func otherProcessIsExcluded(t *testing.T, name string) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), tryLockVariable+"="+name, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	switch {
	case bytes.Contains(out, []byte("locked by the other process: true")):
		return true
	case bytes.Contains(out, []byte("locked by the other process: false error: <nil>")):
		return false
	}
	t.Fatalf("other process: %s", out)
	return false
}

func TestLockExcludesThisAndOtherProcesses(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, ".lock")
	if otherProcessIsExcluded(t, name) {
		t.Fatal("excluded from a free lock")
	}
	held, err := OS.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	alias := filepath.Join(dir, "alias")
	if err := os.Symlink(name, alias); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{name, alias} {
		if _, err := OS.Lock(n); !errors.Is(err, ErrLocked) {
			t.Fatalf("second lock of %s in one process: %v", n, err)
		}
	}
	// The refused attempts must not have closed a descriptor of the file: that would have dropped the lock.
	if !otherProcessIsExcluded(t, name) {
		t.Fatal("another process took a held lock")
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if err := held.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("second close: %v", err)
	}
	if otherProcessIsExcluded(t, name) {
		t.Fatal("a released lock still excludes")
	}
	again, err := OS.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OS.Lock(filepath.Join(dir, "missing", ".lock")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("lock in a missing directory: %v", err)
	}
}

func TestAllocateKeepsTheSize(t *testing.T) {
	file := create(t)
	if err := file.Allocate(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if size, err := file.Size(); err != nil || size != 0 {
		t.Fatalf("size %d, %v", size, err)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
}

func TestUsage(t *testing.T) {
	total, usable, err := OS.Usage(t.TempDir())
	if err != nil || total == 0 || usable > total {
		t.Fatalf("total %d, usable %d, %v", total, usable, err)
	}
	if _, _, err := OS.Usage(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestClosedFile(t *testing.T) {
	file := create(t)
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	_, mapErr := file.Map(1)
	_, sizeErr := file.Size()
	for what, err := range map[string]error{
		"sync": file.Sync(), "allocate": file.Allocate(0, 1), "map": mapErr, "size": sizeErr, "close": file.Close(),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s of a closed file: %v", what, err)
		}
	}
}

func TestReadFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if _, err := ReadFile(OS, name); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("missing file: %v", err)
	}
	for _, content := range []string{"", "content"} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadFile(OS, name); err != nil || string(got) != content {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	faulty := WithFaults(OS, NewFaults(Fault{Op: OpRead, Short: 3, Err: io.ErrUnexpectedEOF}))
	if _, err := ReadFile(faulty, name); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "3 of 7 bytes") {
		t.Fatalf("short read: %v", err)
	}
}
