package simfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gregor-broker/gregor/engine/vfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, disk vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := disk.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	return f
}

func write(t testing.TB, f vfs.File, data []byte, off int64) {
	t.Helper()
	if n, err := f.WriteAt(data, off); err != nil || n != len(data) {
		t.Fatalf("write: %d of %d, %v", n, len(data), err)
	}
}

// content is a file's bytes; absent says it is not there.
func content(t testing.TB, disk vfs.FS, name string) (data string, absent bool) {
	t.Helper()
	b, err := vfs.ReadFile(disk, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", true
	}
	must(t, err)
	return string(b), false
}

// outcomes are the states of a file after many crashes, and how often each was seen.
func outcomes(t testing.TB, disk *FS, name string, crashes int) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for range crashes {
		data, absent := content(t, disk.Crash(CrashOptions{}), name)
		if absent {
			data = "absent"
		}
		seen[data]++
	}
	return seen
}

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func TestSyncedDataAlwaysSurvives(t *testing.T) {
	disk := New(Options{})
	f := create(t, disk, "log")
	must(t, disk.SyncDir("/"))
	write(t, f, []byte("promised"), 0)
	must(t, f.Sync())
	write(t, f, []byte(" and not"), 8)
	seen := outcomes(t, disk, "log", 200)
	want := map[string]bool{"promised": true, "promised and not": true, "promised" + string(fill(0, 8)): true}
	for state := range seen {
		if !want[state] {
			t.Errorf("illegal state %q", state)
		}
	}
	for state := range want {
		if seen[state] == 0 {
			t.Errorf("state %q never seen", state)
		}
	}
}

func TestUnsyncedBlocksAreKeptLostAndTornIndependently(t *testing.T) {
	disk := New(Options{Seed: 1})
	f := create(t, disk, "f")
	must(t, disk.SyncDir("/"))
	write(t, f, fill('a', 3*BlockSize), 0)
	must(t, f.Sync())
	write(t, f, fill('b', 3*BlockSize), 0)
	write(t, f, fill('c', 3*BlockSize), 0)
	var wholes, torn = map[string]int{}, 0
	for range 2000 {
		data, _ := content(t, disk.Crash(CrashOptions{}), "f")
		var state strings.Builder
		for block := range slices.Chunk([]byte(data), BlockSize) {
			kinds := map[byte]bool{}
			for sector := range slices.Chunk(block, SectorSize) {
				if !bytes.Equal(sector, fill(sector[0], SectorSize)) {
					t.Fatal("a sector is torn")
				}
				kinds[sector[0]] = true
			}
			if len(kinds) == 3 {
				t.Fatal("a block torn between three states: at most one write-back can be under way")
			}
			if len(kinds) > 1 {
				torn++
			}
			state.WriteByte(block[0])
		}
		wholes[state.String()]++
	}
	if len(wholes) != 27 {
		t.Errorf("%d of 27 combinations of three blocks in three states: %v", len(wholes), wholes)
	}
	if torn == 0 {
		t.Error("no block was ever torn")
	}
	if wholes["aaa"] < 100 || wholes["ccc"] < 100 {
		t.Errorf("nothing kept %d times and all kept %d times in 2000", wholes["aaa"], wholes["ccc"])
	}
}

func TestWholeBlocksAreNeverTorn(t *testing.T) {
	disk := New(Options{})
	f := create(t, disk, "f")
	must(t, disk.SyncDir("/"))
	write(t, f, fill('a', BlockSize), 0)
	must(t, f.Sync())
	write(t, f, fill('b', BlockSize), 0)
	for range 300 {
		data, _ := content(t, disk.Crash(CrashOptions{WholeBlocks: true}), "f")
		if data != string(fill('a', BlockSize)) && data != string(fill('b', BlockSize)) {
			t.Fatal("torn")
		}
	}
}

func TestKeepNoneAndKeepAll(t *testing.T) {
	disk := New(Options{})
	f := create(t, disk, "f")
	must(t, disk.SyncDir("/"))
	write(t, f, []byte("old"), 0)
	must(t, f.Sync())
	write(t, f, []byte("newer"), 0)
	create(t, disk, "g")
	must(t, disk.Rename("f", "h"))
	for range 20 {
		none := disk.Crash(CrashOptions{Keep: KeepNone})
		if got, _ := content(t, none, "f"); got != "old" || len(tree(none, "/", "/")) != 1 {
			t.Fatalf("keep none left %q in %q", got, tree(none, "/", "/"))
		}
		all := disk.Crash(CrashOptions{Keep: KeepAll})
		if got, _ := content(t, all, "h"); got != "newer" || len(tree(all, "/", "/")) != 2 {
			t.Fatalf("keep all left %q in %q", got, tree(all, "/", "/"))
		}
	}
}

func TestNeverSyncedFileMayBeEmptyOrZeros(t *testing.T) {
	disk := New(Options{})
	f := create(t, disk, "f")
	write(t, f, []byte("data"), 0)
	seen := outcomes(t, disk, "f", 200)
	for _, state := range []string{"absent", "", "data", "\x00\x00\x00\x00"} {
		if seen[state] == 0 {
			t.Errorf("state %q never seen: %v", state, seen)
		}
	}
	if len(seen) != 4 {
		t.Errorf("illegal states: %v", seen)
	}
	must(t, f.Sync())
	if seen := outcomes(t, disk, "f", 100); seen["absent"] == 0 || seen["data"] == 0 || len(seen) != 2 {
		t.Errorf("a file's sync must fix its data and not its name: %v", seen)
	}
	must(t, disk.SyncDir("/"))
	if seen := outcomes(t, disk, "f", 50); seen["data"] != 50 {
		t.Errorf("all synced: %v", seen)
	}
}

func TestDirectoryChangesWithoutSyncDir(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, disk *FS)
		want   []string // states of "a|b"
	}{
		{"rename", func(t *testing.T, d *FS) { must(t, d.Rename("d/a", "d/b")) }, []string{"A|B", "absent|A"}},
		{"remove", func(t *testing.T, d *FS) { must(t, d.Remove("d/a")) }, []string{"A|B", "absent|B"}},
		{"remove both", func(t *testing.T, d *FS) { must(t, d.RemoveAll("d/a")); must(t, d.RemoveAll("d/b")) },
			[]string{"A|B", "absent|B", "A|absent", "absent|absent"}},
		{"rename away, then over", func(t *testing.T, d *FS) { must(t, d.Rename("d/b", "d/c")); must(t, d.Rename("d/a", "d/b")) },
			[]string{"A|B", "A|absent", "absent|A"}},
		{"replace by a new file", func(t *testing.T, d *FS) {
			f := create(t, d, "d/tmp")
			write(t, f, []byte("T"), 0)
			must(t, f.Sync())
			must(t, d.Rename("d/tmp", "d/a"))
		}, []string{"A|B", "T|B"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk := New(Options{})
			must(t, disk.MkdirAll("d", 0o755))
			must(t, disk.SyncDir("/"))
			for _, name := range []string{"a", "b"} {
				f := create(t, disk, "d/"+name)
				write(t, f, []byte(strings.ToUpper(name)), 0)
				must(t, f.Sync())
			}
			must(t, disk.SyncDir("d"))
			test.change(t, disk)
			state := func(d vfs.FS) string {
				var parts []string
				for _, name := range []string{"d/a", "d/b"} {
					data, absent := content(t, d, name)
					if absent {
						data = "absent"
					}
					parts = append(parts, data)
				}
				return strings.Join(parts, "|")
			}
			seen := map[string]int{}
			for range 300 {
				seen[state(disk.Crash(CrashOptions{}))]++
			}
			for _, want := range test.want {
				if seen[want] == 0 {
					t.Errorf("%q never seen", want)
				}
			}
			if len(seen) != len(test.want) {
				t.Errorf("seen %v, want %v", seen, test.want)
			}
			must(t, disk.SyncDir("d"))
			for range 50 {
				if got := state(disk.Crash(CrashOptions{})); got != state(disk) {
					t.Fatalf("after the directory sync %q, want %q", got, state(disk))
				}
			}
		})
	}
}

func TestAFileNeverVanishesThroughRenames(t *testing.T) {
	disk := New(Options{})
	must(t, disk.MkdirAll("x/y", 0o755))
	must(t, disk.MkdirAll("z", 0o755))
	f := create(t, disk, "x/f")
	write(t, f, []byte("here"), 0)
	must(t, f.Sync())
	for _, dir := range []string{"/", "x", "x/y", "z"} {
		must(t, disk.SyncDir(dir))
	}
	must(t, disk.Rename("x/f", "x/y/g"))
	must(t, disk.Rename("x/y", "z/y"))
	must(t, disk.Rename("z/y/g", "h"))
	must(t, disk.Rename("x", "z/x"))
	places := map[string]int{}
	check := func(crashed *FS) {
		var found []string
		for _, line := range tree(crashed, "", "/") {
			if !strings.HasSuffix(line, "/") {
				found = append(found, line)
			}
		}
		if len(found) != 1 || !strings.HasSuffix(found[0], " ok") || !strings.Contains(found[0], " 4 ") {
			t.Fatalf("the file is at %q in %q", found, tree(crashed, "", "/"))
		}
		places[found[0]]++
	}
	calls := EveryChoice(func(choose func(int) int) bool {
		check(disk.Crash(CrashOptions{Choose: choose}))
		return true
	})
	if calls != 16 || len(places) < 5 {
		t.Fatalf("%d states with %d places: %v", calls, len(places), places)
	}
	// A move between directories is durable with either of them.
	must(t, disk.SyncDir("/"))
	for range 50 {
		if data, _ := content(t, disk.Crash(CrashOptions{}), "h"); data != "here" {
			t.Fatalf("synced move lost: %q", data)
		}
	}
}

func TestTruncateWithoutSync(t *testing.T) {
	disk := New(Options{})
	f := create(t, disk, "f")
	must(t, disk.SyncDir("/"))
	write(t, f, fill('a', 3*BlockSize), 0)
	must(t, f.Sync())
	must(t, f.Truncate(100))
	write(t, f, fill('b', 100), 2*BlockSize)
	seen := map[string]int{}
	for range 1000 {
		data, _ := content(t, disk.Crash(CrashOptions{}), "f")
		if data[:100] != string(fill('a', 100)) {
			t.Fatal("bytes kept by the truncation are gone")
		}
		tail := func(from, to int) string {
			if len(data) < to {
				return "-"
			}
			if part := data[from:to]; part == string(fill(part[0], to-from)) {
				return part[:1]
			}
			return "torn"
		}
		seen[fmt.Sprintf("%d %q%q%q", len(data), tail(100, 512), tail(BlockSize, 2*BlockSize), tail(2*BlockSize, 2*BlockSize+100))]++
	}
	for state := range seen {
		size := 2*BlockSize + 100
		switch {
		// The truncation is not on the disk: its whole blocks are as they were.
		case strings.HasPrefix(state, fmt.Sprint(3*BlockSize)) && strings.HasSuffix(state, `"a""a"`):
		case strings.HasPrefix(state, "100 "):
		// It is, and so is the longer size: freed blocks never show their old bytes.
		case strings.HasPrefix(state, fmt.Sprint(size)) && strings.HasSuffix(state, `"\x00""\x00"`):
		case strings.HasPrefix(state, fmt.Sprint(size)) && strings.HasSuffix(state, `"\x00""b"`):
		default:
			t.Errorf("illegal state %s", state)
		}
	}
	if len(seen) < 6 {
		t.Errorf("too few states: %v", seen)
	}
}

// Every state a power cut can leave during WriteFileAtomic, by enumeration; and the same with a planted mistake.
func TestWriteFileAtomicUnderEveryPowerCut(t *testing.T) {
	const oldContent, newContent = "old", "new content"
	states := func(write func(disk vfs.FS) error) (seen map[string]int, promised map[string]int) {
		seen, promised = map[string]int{}, map[string]int{}
		for n := 0; ; n++ {
			disk := New(Options{})
			must(t, disk.MkdirAll("d", 0o755))
			must(t, disk.SyncDir("/"))
			must(t, vfs.WriteFileAtomic(disk, "d/f", []byte(oldContent)))
			disk.PowerOffAfter(n)
			err := write(disk)
			EveryChoice(func(choose func(int) int) bool {
				state, absent := content(t, disk.Crash(CrashOptions{Choose: choose}), "d/f")
				if absent {
					state = "absent"
				}
				seen[state]++
				if err == nil {
					promised[state]++
				}
				return true
			})
			if err == nil {
				return seen, promised
			}
			if !errors.Is(err, ErrPowerOff) {
				t.Fatal(err)
			}
		}
	}
	seen, promised := states(func(disk vfs.FS) error { return vfs.WriteFileAtomic(disk, "d/f", []byte(newContent)) })
	if len(seen) != 2 || seen[oldContent] == 0 || seen[newContent] == 0 || len(promised) != 1 || promised[newContent] == 0 {
		t.Fatalf("states %v, after success %v", seen, promised)
	}

	skip := func(syncs bool) func(vfs.FS) error {
		return func(disk vfs.FS) error {
			return vfs.WriteFileAtomic(&forgetful{FS: disk, files: syncs, dirs: !syncs}, "d/f", []byte(newContent))
		}
	}
	if seen, _ := states(skip(true)); len(seen) < 3 || seen[""] == 0 {
		t.Errorf("a missing file sync was not found: %v", seen)
	}
	if _, promised := states(skip(false)); promised[oldContent] == 0 {
		t.Errorf("a missing directory sync was not found: %v", promised)
	}
}

// forgetful leaves out syncs.
type forgetful struct {
	vfs.FS
	files, dirs bool
}

func (d *forgetful) SyncDir(name string) error {
	if d.dirs {
		return nil
	}
	return d.FS.SyncDir(name)
}

func (d *forgetful) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil || !d.files {
		return f, err
	}
	return &unsynced{f}, nil
}

type unsynced struct{ vfs.File }

func (*unsynced) Sync() error { return nil }

func TestEveryChoiceWalksTheWholeTree(t *testing.T) {
	var got []string
	calls := EveryChoice(func(choose func(int) int) bool {
		a := choose(2)
		path := fmt.Sprint(a)
		if a == 1 {
			path += fmt.Sprint(choose(3), choose(1))
		}
		got = append(got, path)
		return true
	})
	if want := []string{"0", "10 0", "11 0", "12 0"}; calls != 4 || !slices.Equal(got, want) {
		t.Fatalf("%d calls, %q, want %q", calls, got, want)
	}
	if calls := EveryChoice(func(choose func(int) int) bool { choose(9); return false }); calls != 1 {
		t.Fatalf("%d calls after the first said stop", calls)
	}
}

func TestSameSeedSameStates(t *testing.T) {
	run := func(seed uint64) []string {
		disk := New(Options{Seed: seed})
		var all []string
		for i := range 20 {
			name := fmt.Sprintf("d%d/f", i%3)
			must(t, disk.MkdirAll(path.Dir(name), 0o755))
			f := create(t, disk, name)
			write(t, f, fill(byte(i), 6000), int64(i)*1000)
			if i%4 == 0 {
				must(t, disk.SyncDir("/"))
				must(t, f.Sync())
			}
			if i%5 == 4 {
				disk = disk.Crash(CrashOptions{})
			}
			all = append(all, tree(disk, "", "/")...)
		}
		return all
	}
	if !slices.Equal(run(7), run(7)) {
		t.Error("one seed, two histories")
	}
	if slices.Equal(run(7), run(8)) {
		t.Error("two seeds, one history")
	}
	disk := New(Options{})
	write(t, create(t, disk, "f"), fill('x', 60_000), 0)
	a, b := disk.Crash(CrashOptions{Seed: 5}), disk.Crash(CrashOptions{Seed: 5})
	if !slices.Equal(tree(a, "", "/"), tree(b, "", "/")) {
		t.Error("one crash seed, two states")
	}
}

func TestKillCloneLosesNothingYet(t *testing.T) {
	disk := New(Options{})
	must(t, disk.MkdirAll("d", 0o755))
	f := create(t, disk, "d/f")
	write(t, f, []byte("synced"), 0)
	must(t, f.Sync())
	for i, part := range []string{" w", "ri", "tt", "e", "n"} {
		write(t, f, []byte(part), []int64{6, 8, 10, 12, 13}[i])
	}
	must(t, disk.Rename("d/f", "d/g"))
	lock, err := disk.Lock(".lock")
	must(t, err)

	clone := disk.KillClone()
	if got, _ := content(t, clone, "d/g"); got != "synced written" {
		t.Fatalf("clone has %q", got)
	}
	again, err := clone.Lock(".lock")
	if err != nil {
		t.Fatalf("a killed process still holds its lock: %v", err)
	}
	must(t, again.Close())
	must(t, lock.Close())

	write(t, f, []byte("!"), 14)
	write(t, create(t, clone, "d/g"), []byte("?"), 0)
	if got, _ := content(t, clone, "d/g"); got != "?ynced written" {
		t.Fatalf("the dead process wrote to the clone: %q", got)
	}
	if got, _ := content(t, disk, "d/g"); got != "synced written!" {
		t.Fatalf("the clone wrote to the old disk: %q", got)
	}
	if got, _ := content(t, disk.Crash(CrashOptions{Keep: KeepAll}), "d/g"); got != "synced written!" {
		t.Fatalf("the clone wrote to the old disk's cache: %q", got)
	}
	seen := outcomes(t, clone, "d/g", 300)
	if seen["absent"] == 0 || seen["?ynced written"] == 0 || len(seen) < 3 {
		t.Fatalf("power cuts after the kill: %v", seen)
	}
	g := create(t, clone, "d/g")
	must(t, g.Sync())
	must(t, clone.SyncDir("/"))
	must(t, clone.SyncDir("d"))
	if seen := outcomes(t, clone, "d/g", 50); seen["?ynced written"] != 50 {
		t.Fatalf("synced after the kill: %v", seen)
	}
}

func TestFailedSyncLosesWhatItCovered(t *testing.T) {
	disk := New(Options{})
	f := create(t, disk, "f")
	must(t, disk.SyncDir("/"))
	write(t, f, []byte("one."), 0)
	must(t, f.Sync())
	disk.FailSync(2)
	must(t, f.Sync())
	write(t, f, []byte("two."), 4)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("failing sync returned %v", err)
	}
	if err := f.Sync(); err != nil {
		t.Fatalf("the sync after it must lie as Linux does, returned %v", err)
	}
	if got, _ := content(t, disk, "f"); got != "one.two." {
		t.Fatalf("the cache shows %q", got)
	}
	for _, keep := range []Keep{KeepSome, KeepNone, KeepAll} {
		if got, _ := content(t, disk.Crash(CrashOptions{Keep: keep}), "f"); got != "one." {
			t.Fatalf("after a crash %q", got)
		}
	}
	m, err := f.Map(16)
	must(t, err)
	write(t, f, []byte("three."), 8)
	must(t, f.Sync())
	const hole = "one.\x00\x00\x00\x00three."
	if got, _ := content(t, disk.Crash(CrashOptions{}), "f"); got != hole {
		t.Fatalf("after a later write, sync and crash %q", got)
	}
	disk.DropCaches()
	if got, _ := content(t, disk, "f"); got != hole || string(m.Bytes()[:14]) != hole {
		t.Fatalf("without the cache %q, mapped %q", got, m.Bytes())
	}
}

func TestFailedSyncDirLeavesChangesVolatile(t *testing.T) {
	disk := New(Options{})
	disk.FailSyncDir(1)
	must(t, create(t, disk, "f").Sync())
	if err := disk.SyncDir("/"); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if seen := outcomes(t, disk, "f", 100); seen["absent"] == 0 {
		t.Fatalf("durable after a failed sync: %v", seen)
	}
	must(t, disk.SyncDir("/"))
	if seen := outcomes(t, disk, "f", 50); seen["absent"] != 0 {
		t.Fatalf("lost after a good sync: %v", seen)
	}
}

func TestLyingDisk(t *testing.T) {
	disk := New(Options{})
	disk.SetLying(true)
	f := create(t, disk, "f")
	write(t, f, []byte("data"), 0)
	must(t, f.Sync())
	must(t, disk.SyncDir("/"))
	if seen := outcomes(t, disk, "f", 200); len(seen) != 4 {
		t.Fatalf("states %v, want the four of no sync at all", seen)
	}
	disk.SetLying(false)
	must(t, f.Sync())
	must(t, disk.SyncDir("/"))
	if seen := outcomes(t, disk, "f", 50); seen["data"] != 50 {
		t.Fatalf("honest again: %v", seen)
	}
}

// TestVolumeSyncIsNoFlush: what syncfs wrote back may be lost until a file is
// synced after it, and then everything written before it is durable, and nothing after it.
func TestVolumeSyncIsNoFlush(t *testing.T) {
	for _, flush := range []bool{false, true} {
		disk := New(Options{Seed: 1})
		must(t, disk.MkdirAll("d", 0o755))
		a, b, c := create(t, disk, "d/a"), create(t, disk, "d/b"), create(t, disk, "d/c")
		must(t, disk.SyncDir("d"))
		must(t, disk.SyncDir("."))
		volume, err := disk.OpenVolume("d")
		must(t, err)
		write(t, a, []byte("early"), 0)
		write(t, b, []byte("early"), 0)
		late := create(t, disk, "d/new")
		must(t, volume.Sync())
		must(t, late.Close())
		must(t, create(t, disk, "d/newer").Close())
		write(t, b, []byte(" late"), 5)
		if flush {
			must(t, c.Sync())
		}
		after := disk.Crash(CrashOptions{Keep: KeepNone})
		for name, want := range map[string]string{"d/a": "early", "d/b": "early"} {
			if !flush {
				want = ""
			}
			if got, _ := content(t, after, name); got != want {
				t.Errorf("flush %v: %s is %q after the power cut, expected %q", flush, name, got, want)
			}
		}
		if _, absent := content(t, after, "d/new"); absent == flush {
			t.Errorf("flush %v: a file made before is absent: %v", flush, absent)
		}
		if _, absent := content(t, after, "d/newer"); !absent {
			t.Errorf("flush %v: a file made behind the sync is there", flush)
		}
	}
}

func TestFailedVolumeSyncLosesEverythingUnsynced(t *testing.T) {
	disk := New(Options{Seed: 1})
	a, b := create(t, disk, "a"), create(t, disk, "b")
	must(t, disk.SyncDir("."))
	volume, err := disk.OpenVolume(".")
	must(t, err)
	write(t, a, []byte("x"), 0)
	write(t, b, []byte("y"), 0)
	disk.FailSyncAll(1)
	if err := volume.Sync(); err == nil {
		t.Fatal("no error")
	}
	must(t, volume.Sync())
	for _, f := range []vfs.File{a, b} {
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Errorf("the first sync of a file that lost something: %v", err)
		}
		must(t, f.Sync())
	}
	after := disk.Crash(CrashOptions{Keep: KeepAll})
	for _, name := range []string{"a", "b"} {
		if got, _ := content(t, after, name); got != "" && got != "\x00" {
			t.Errorf("%s is %q although its write back had failed", name, got)
		}
	}
}
