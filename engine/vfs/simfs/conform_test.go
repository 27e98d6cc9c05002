package simfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// The same random script on the real disk and on this one must answer alike and leave the same tree.
func TestBehavesAsTheRealDisk(t *testing.T) {
	for seed := range uint64(15) {
		root := t.TempDir()
		disk := New(Options{Seed: seed})
		if err := disk.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		real := runScript(vfs.OS, root, seed)
		simulated := runScript(disk, root, seed)
		for i := range real {
			if real[i] != simulated[i] {
				t.Fatalf("seed %d, step %d:\nreal:      %s\nsimulated: %s\nafter:\n%s",
					seed, i, real[i], simulated[i], strings.Join(real[max(0, i-10):i], "\n"))
			}
		}
	}
}

// runScript does random calls and returns a line for each with what it answered.
func runScript(disk vfs.FS, root string, seed uint64) []string {
	r := rand.New(rand.NewPCG(seed, 1))
	names := []string{"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "a/x", "missing/x"}
	name := func() string { return filepath.Join(root, names[r.IntN(len(names))]) }
	var lines []string
	note := func(what string, err error, results ...any) {
		lines = append(lines, strings.ReplaceAll(what, root, "")+" "+errorClass(err)+" "+fmt.Sprint(results...))
	}
	type openFile struct {
		vfs.File
		vfs.Mapping
	}
	var files []openFile
	for range 400 {
		switch k := r.IntN(20); {
		case k == 0:
			n := name()
			note("mkdir "+n, disk.MkdirAll(n, 0o755))
		case k == 1:
			n := name()
			note("remove "+n, disk.Remove(n))
		case k == 2 && r.IntN(4) == 0:
			n := name()
			note("removeall "+n, disk.RemoveAll(n))
		case k <= 4:
			from, to := name(), name()
			note("rename "+from+" "+to, disk.Rename(from, to))
		case k == 5:
			n := name()
			list, err := disk.ReadDir(n)
			var entries []string
			for _, e := range list {
				entries = append(entries, fmt.Sprint(e.Name(), e.IsDir()))
			}
			note("readdir "+n, err, entries)
		case k == 6:
			n := name()
			info, err := disk.Stat(n)
			if err == nil && info.IsDir() {
				note("stat "+n, nil, info.Name(), info.Mode().Type())
			} else if err == nil {
				note("stat "+n, nil, info.Name(), info.Size(), info.Mode().Type())
			} else {
				note("stat "+n, err)
			}
		case k == 7:
			n := name()
			note("syncdir "+n, disk.SyncDir(n))
		case k <= 10:
			n := name()
			flags := []int{os.O_RDWR, os.O_CREATE | os.O_RDWR, os.O_CREATE | os.O_EXCL | os.O_RDWR, os.O_CREATE | os.O_TRUNC | os.O_RDWR}
			flag := flags[r.IntN(len(flags))]
			f, err := disk.OpenFile(n, flag, 0o644)
			note(fmt.Sprint("open ", n, " ", flag), err)
			if err == nil {
				m, err := f.Map(20_000)
				note("map", err)
				files = append(files, openFile{f, m})
			}
		default:
			if len(files) == 0 {
				continue
			}
			i := r.IntN(len(files))
			f := files[i]
			off, length := int64(r.IntN(12_000)), r.IntN(6_000)
			switch what := fmt.Sprint(k, " ", f.Name(), " ", off, "+", length); k {
			case 11, 12, 13:
				n, err := f.WriteAt(bytes.Repeat([]byte{byte(r.IntN(255) + 1)}, length), off)
				note("write "+what, err, n)
			case 14:
				note("truncate "+what, f.Truncate(off))
			case 15:
				note("sync "+what, f.Sync())
			case 16:
				err := f.Populate(int(off), length)
				note("populate "+what, err)
				if err == nil {
					note("window", nil, checksum(f.Bytes()[off:int(off)+length]))
				}
			case 17:
				note("allocate "+what, f.Allocate(off, int64(length)+1))
			case 18:
				p := make([]byte, length)
				n, err := f.ReadAt(p, off)
				note("read "+what, err, n, checksum(p))
			default:
				size, err := f.Size()
				note("size "+what, err, size)
				note("unmap", f.Unmap())
				note("close", f.Close())
				note("close again", f.Close())
				_, err = f.ReadAt(make([]byte, 1), 0)
				note("read closed", err)
				note("sync closed", f.Sync())
				files = append(files[:i], files[i+1:]...)
			}
		}
	}
	for _, f := range files {
		note("unmap", f.Unmap())
		note("close", f.Close())
	}
	return append(lines, tree(disk, root, root)...)
}

func checksum(p []byte) uint64 {
	sum := uint64(14695981039346656037)
	for _, b := range p {
		sum = (sum ^ uint64(b)) * 1099511628211
	}
	return sum
}

func errorClass(err error) string {
	if err == nil {
		return "ok"
	}
	if err == io.EOF {
		return "EOF"
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if errors.Is(err, fs.ErrClosed) {
		return "closed"
	}
	return err.Error()
}

// tree lists every name below dir with its content.
func tree(disk vfs.FS, root, dir string) []string {
	var lines []string
	list, err := disk.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range list {
		name := filepath.Join(dir, e.Name())
		short := strings.TrimPrefix(name, root)
		if e.IsDir() {
			lines = append(lines, short+"/")
			lines = append(lines, tree(disk, root, name)...)
			continue
		}
		content, err := vfs.ReadFile(disk, name)
		lines = append(lines, fmt.Sprint(short, " ", len(content), " ", checksum(content), " ", errorClass(err)))
	}
	return lines
}
