package simfs

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"testing"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// model says what may be on the disk, independently of the implementation: for each byte the values it had since the
// last sync, and the sizes.
type model struct {
	file  vfs.File
	data  []byte
	sizes []int
	past  [][]byte // data after each change since the last sync, the synced one first
}

func (m *model) note() {
	m.sizes = append(m.sizes, len(m.data))
	m.past = append(m.past, slices.Clone(m.data))
}

func (m *model) check(got []byte) error {
	if !slices.Contains(m.sizes, len(got)) {
		return fmt.Errorf("size %d, want one of %v", len(got), m.sizes)
	}
	at := func(data []byte, i int) byte {
		if i < len(data) {
			return data[i]
		}
		return 0
	}
	for from := 0; from < len(got); from += SectorSize {
		sector := got[from:min(from+SectorSize, len(got))]
		if !slices.ContainsFunc(m.past, func(data []byte) bool {
			for i := range sector {
				if sector[i] != at(data, from+i) {
					return false
				}
			}
			return true
		}) {
			return fmt.Errorf("sector at %d is in no state it ever had", from)
		}
	}
	return nil
}

func TestRandomWorkloadAgainstAModel(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 2))
		disk := New(Options{Seed: seed})
		var files []*model
		for i := range 3 {
			m := &model{file: create(t, disk, fmt.Sprint(i))}
			m.note()
			files = append(files, m)
		}
		must(t, disk.SyncDir("/"))
		for range 40 {
			m := files[r.IntN(len(files))]
			switch k := r.IntN(10); {
			case k < 6:
				p := fill(byte(r.IntN(255)+1), r.IntN(9000)+1)
				off := r.IntN(20_000)
				if k < 4 {
					off = len(m.data)
				}
				write(t, m.file, p, int64(off))
				m.data = append(m.data, make([]byte, max(0, off+len(p)-len(m.data)))...)
				copy(m.data[off:], p)
				m.note()
			case k == 6:
				size := r.IntN(20_000)
				must(t, m.file.Truncate(int64(size)))
				kept := min(size, len(m.data))
				m.data = append(slices.Clone(m.data[:kept]), make([]byte, size-kept)...)
				m.note()
			case k < 9:
				must(t, m.file.Sync())
				m.sizes, m.past = nil, nil
				m.note()
			default:
				disk = disk.KillClone()
				for _, m := range files {
					m.file = create(t, disk, m.file.Name())
				}
			}
			none, all := disk.Crash(CrashOptions{Keep: KeepNone}), disk.Crash(CrashOptions{Keep: KeepAll})
			for _, m := range files {
				if got, _ := content(t, none, m.file.Name()); got != string(m.past[0]) {
					t.Fatalf("seed %d: with nothing unsynced kept, file %s differs from its last sync", seed, m.file.Name())
				}
				if got, _ := content(t, all, m.file.Name()); got != string(m.data) {
					t.Fatalf("seed %d: with all kept, file %s differs from the live one", seed, m.file.Name())
				}
			}
			crashed := disk.Crash(CrashOptions{})
			if r.IntN(5) == 0 {
				disk = crashed
			}
			for _, m := range files {
				got, _ := content(t, crashed, m.file.Name())
				if err := m.check([]byte(got)); err != nil {
					t.Fatalf("seed %d, file %s: %v\n%v", seed, m.file.Name(), err, disk.Log())
				}
				if disk == crashed {
					m.file = create(t, disk, m.file.Name())
					m.data, m.sizes, m.past = []byte(got), nil, nil
					m.note()
				} else if live, _ := content(t, disk, m.file.Name()); live != string(m.data) {
					t.Fatalf("seed %d: a crash changed the disk it was taken from", seed)
				}
			}
		}
	}
}

// Whatever the process does with names, a crash shows each file at most once, and one that was durable and not removed
// exactly once.
func TestRandomTreesLoseNothingThatWasNotRemoved(t *testing.T) {
	dirs := []string{"/", "/a", "/b", "/a/c", "/b/c", "/a/c/d"}
	twice := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		disk := New(Options{Seed: seed})
		name := func() string { return path.Join(dirs[r.IntN(len(dirs))], string(rune('a'+r.IntN(5)))) }
		durable := map[string]bool{}
		for step := range 60 {
			// Most calls fail, as names are random; what they do when they succeed is what counts.
			switch k := r.IntN(12); {
			case k < 2:
				disk.MkdirAll(dirs[r.IntN(len(dirs))], 0o755)
			case k < 4:
				if f, err := disk.OpenFile(name(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644); err == nil {
					write(t, f, fmt.Appendf(nil, "%d", step), 0)
					must(t, f.Sync())
					must(t, f.Close())
				}
			case k < 9:
				disk.Rename(name(), name())
			case k == 9:
				disk.Remove(name())
			case k == 10:
				if dir := dirs[r.IntN(len(dirs))]; disk.SyncDir(dir) == nil {
					for _, e := range mustList(t, disk, dir) {
						if !e.IsDir() && disk.lookup(dir).durableRoot(disk.root) {
							data, _ := content(t, disk, path.Join(dir, e.Name()))
							durable[data] = true
						}
					}
				}
			default:
				live := map[string]int{}
				count(t, disk, "/", live)
				crashed := disk.Crash(CrashOptions{})
				seen := map[string]int{}
				count(t, crashed, "/", seen)
				for id, n := range seen {
					if n != 1 {
						t.Fatalf("seed %d: file %q is there %d times\n%v\n%q", seed, id, n, disk.Log(), tree(crashed, "", "/"))
					}
				}
				for id := range durable {
					if live[id] == 1 && seen[id] == 0 {
						t.Fatalf("seed %d: file %q is gone\n%v\n%q", seed, id, disk.Log(), tree(crashed, "", "/"))
					}
					if live[id] == 0 && seen[id] == 1 {
						twice++
					}
				}
				if r.IntN(2) == 0 {
					disk, durable = crashed, map[string]bool{}
					for id := range seen {
						durable[id] = true
					}
				}
			}
		}
	}
	if twice == 0 {
		t.Error("a lost removal was never seen")
	}
}

// Orders of moves and removals whose subsets would lose or double a file, were each change kept or lost blindly.
func TestMovesUnderEveryPowerCut(t *testing.T) {
	for _, test := range []struct {
		name    string
		moves   func(t *testing.T, d *FS)
		missing bool // the file may be missing
	}{
		{"out of a directory that is removed then", func(t *testing.T, d *FS) {
			must(t, d.Rename("x/f", "y/f"))
			must(t, d.Remove("x"))
		}, false},
		{"out of a directory that is replaced then", func(t *testing.T, d *FS) {
			must(t, d.Rename("x/f", "y/f"))
			must(t, d.Remove("x"))
			must(t, d.Rename("y", "x"))
		}, false},
		{"two directories through each other", func(t *testing.T, d *FS) {
			must(t, d.Rename("x", "y/x"))
			must(t, d.Rename("y/x", "z"))
			must(t, d.Rename("y", "z/y"))
		}, false},
		{"out of an unsynced directory that moves", func(t *testing.T, d *FS) {
			must(t, d.Remove("x/f"))
			must(t, d.SyncDir("x"))
			must(t, d.MkdirAll("new", 0o755))
			f := create(t, d, "new/f")
			write(t, f, []byte("content"), 0)
			must(t, f.Sync())
			must(t, d.SyncDir("new"))
			must(t, d.Rename("new/f", "f"))
			must(t, d.Rename("new", "newer"))
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk := New(Options{})
			must(t, disk.MkdirAll("x", 0o755))
			must(t, disk.MkdirAll("y", 0o755))
			f := create(t, disk, "x/f")
			write(t, f, []byte("content"), 0)
			must(t, f.Sync())
			must(t, disk.SyncDir("/"))
			must(t, disk.SyncDir("x"))
			test.moves(t, disk)
			EveryChoice(func(choose func(int) int) bool {
				crashed := disk.Crash(CrashOptions{Choose: choose})
				seen := map[string]int{}
				count(t, crashed, "/", seen)
				if n := seen["content"]; n > 1 || n == 0 && !test.missing {
					t.Errorf("the file is there %d times: %q", n, tree(crashed, "", "/"))
				}
				return true
			})
		})
	}
}

// durableRoot reports whether the way from the root to n is durable.
func (n *node) durableRoot(root *node) bool {
	for ; n != root; n = n.parent {
		if i, ok := find(n.parent.durable, n.name); !ok || n.parent.durable[i].node != n {
			return false
		}
	}
	return true
}

func mustList(t testing.TB, disk vfs.FS, dir string) []fs.DirEntry {
	t.Helper()
	list, err := disk.ReadDir(dir)
	must(t, err)
	return list
}

// count adds up how often each content is found below dir.
func count(t testing.TB, disk vfs.FS, dir string, seen map[string]int) {
	t.Helper()
	for _, e := range mustList(t, disk, dir) {
		if name := path.Join(dir, e.Name()); e.IsDir() {
			count(t, disk, name, seen)
		} else if data, _ := content(t, disk, name); data != "" {
			seen[data]++
		}
	}
}
