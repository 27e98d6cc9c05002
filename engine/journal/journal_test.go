package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

const dir = "/data"

// newDisk is a disk with an empty data directory.
func newDisk(t testing.TB, o simfs.Options) *simfs.FS {
	t.Helper()
	disk := simfs.New(o)
	must(t, disk.MkdirAll(dir, 0o755))
	must(t, disk.SyncDir("/"))
	return disk
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quiet settles nothing and expects no failure.
func quiet(t testing.TB, f vfs.FS, blocks int64) *Journal {
	t.Helper()
	j, err := Create(f, dir, blocks*BlockSize, func() error { return nil }, func(err error) { t.Errorf("failed in the background: %v", err) })
	must(t, err)
	return j
}

// add adds an entry of the first log, of a topic id and segment of its own.
func add(j *Journal, log string, position int64, p []byte) bool {
	to := j.Add(log, [16]byte{7}, 40, position, len(p))
	copy(to, p)
	return to != nil
}

// commit commits a record of one entry.
func commit(t testing.TB, j *Journal, log string, position int64, p []byte) bool {
	t.Helper()
	j.Begin()
	if !add(j, log, position, p) {
		t.Fatalf("an entry of %d bytes was not taken", len(p))
	}
	done, err := j.Commit()
	must(t, err)
	return done
}

// read lists the entries of a journal, one string each.
func read(f vfs.FS) (list []string, err error) {
	err = Read(f, dir, func(e Entry) error {
		list = append(list, fmt.Sprintf("%s %x %d %d %s", e.Log, e.ID[:1], e.Base, e.Position, e.Bytes))
		return nil
	})
	return list, err
}

func entry(log string, position int64, p []byte) string {
	return fmt.Sprintf("%s 07 40 %d %s", log, position, p)
}

func expect(t testing.TB, f vfs.FS, want ...string) {
	t.Helper()
	got, err := read(f)
	must(t, err)
	if !slices.Equal(got, want) {
		t.Fatalf("the journal has\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func names(t testing.TB, f vfs.FS) (list []string) {
	t.Helper()
	found, err := f.ReadDir(dir)
	must(t, err)
	for _, e := range found {
		list = append(list, e.Name())
	}
	return list
}

// lost is the disk after a power cut that keeps nothing that was not synced.
func lost(disk *simfs.FS) *simfs.FS { return disk.Crash(simfs.CrashOptions{Keep: simfs.KeepNone}) }

func TestRoundTrip(t *testing.T) {
	disk := newDisk(t, simfs.Options{})
	expect(t, disk)
	j := quiet(t, disk, 8)
	defer j.Abandon()
	expect(t, lost(disk))
	if done, err := j.Commit(); done || err != nil {
		t.Fatalf("a commit of nothing: %v, %v", done, err)
	}
	j.Begin()
	if !add(j, "a-0", 10, []byte("one")) || !add(j, "b-1", 0, []byte("gone")) {
		t.Fatal("not taken")
	}
	j.Undo()
	if !add(j, "c-2", 5, bytes.Repeat([]byte("long "), 2000)) {
		t.Fatal("not taken")
	}
	expect(t, disk)
	if done, err := j.Commit(); !done || err != nil {
		t.Fatalf("commit: %v, %v", done, err)
	}
	want := []string{entry("a-0", 10, []byte("one")), entry("c-2", 5, bytes.Repeat([]byte("long "), 2000))}
	expect(t, lost(disk), want...)
	j.Begin()
	add(j, "d-0", 0, []byte("never committed"))
	if !commit(t, j, "a-0", 13, []byte("two")) {
		t.Fatal("no room")
	}
	expect(t, lost(disk), append(want, entry("a-0", 13, []byte("two")))...)
	for log, holds := range map[string]bool{"a-0": true, "b-1": false, "c-2": true, "d-0": false} {
		if j.Holds(log) != holds {
			t.Errorf("holds %s: %v", log, !holds)
		}
	}
}

// TestBounds: what is too long is not taken, and does no harm to what was.
func TestBounds(t *testing.T) {
	disk := newDisk(t, simfs.Options{})
	j := quiet(t, disk, 1024)
	defer j.Abandon()
	j.Begin()
	for _, n := range []int{0, -1, MaxEntryBytes + 1} {
		if j.Add("a-0", [16]byte{7}, 40, 0, n) != nil {
			t.Errorf("an entry of %d bytes was taken", n)
		}
	}
	var want []string
	p := bytes.Repeat([]byte{'x'}, MaxEntryBytes)
	for add(j, "a-0", int64(len(want)), p) {
		want = append(want, entry("a-0", int64(len(want)), p))
	}
	if size := len(want) * (entryHeader + 3 + MaxEntryBytes); size > maxRecordBytes || size+2*MaxEntryBytes < maxRecordBytes {
		t.Errorf("a record of %d bytes", size)
	}
	if done, err := j.Commit(); !done || err != nil {
		t.Fatalf("commit: %v, %v", done, err)
	}
	expect(t, lost(disk), want...)

	// In a small file a record is what one file holds.
	small := newDisk(t, simfs.Options{})
	k := quiet(t, small, 3)
	defer k.Abandon()
	k.Begin()
	most := 2*BlockSize - recordHeader - entryHeader - 3
	if add(k, "a-0", 0, make([]byte, most+1)) {
		t.Fatal("more was taken than a file holds")
	}
	if !commit(t, k, "a-0", 0, p[:most]) {
		t.Fatal("a whole file of one record has no room")
	}
	expect(t, lost(small), entry("a-0", 0, p[:most]))
}

// TestTurns: a full file is settled, and only then free, while the other goes on; with both full there is no room.
func TestTurns(t *testing.T) {
	disk := newDisk(t, simfs.Options{})
	asked, answer := make(chan struct{}), make(chan error)
	j, err := Create(disk, dir, 3*BlockSize, func() error { asked <- struct{}{}; return <-answer }, func(err error) { t.Errorf("failed: %v", err) })
	must(t, err)
	defer j.Abandon()
	one := func(i int) []byte { return fmt.Appendf(nil, "entry %d", i) }
	var want []string
	put := func(i int) bool {
		done := commit(t, j, fmt.Sprintf("t-%d", i), 0, one(i))
		if done {
			want = append(want, entry(fmt.Sprintf("t-%d", i), 0, one(i)))
		}
		return done
	}
	for i := range 4 {
		if !put(i) {
			t.Fatalf("no room for entry %d", i)
		}
	}
	<-asked // the first file, from the third commit on
	if put(4) || put(5) {
		t.Fatal("room in two full files")
	}
	expect(t, lost(disk), want...) // nothing is free before it is settled
	answer <- nil
	j.mu.Lock()
	for j.retiring {
		j.retired.Wait()
	}
	j.mu.Unlock()
	expect(t, lost(disk), want[2:]...)
	if j.Holds("t-1") || !j.Holds("t-2") {
		t.Error("what it holds is not what is in the file that is live")
	}
	if !put(6) {
		t.Fatal("no room in a file that is free")
	}
	<-asked
	expect(t, lost(disk), want[2:]...)
	go func() { answer <- nil; <-asked; answer <- nil }() // the second file, and all of it
	must(t, j.Settle())
	expect(t, lost(disk))
	if j.Holds("t-6") {
		t.Error("a settled journal holds something")
	}
	want = nil
	if !put(7) {
		t.Fatal("no room after all was settled")
	}
	expect(t, lost(disk), want...)
}

// TestFailedSettle: nothing is freed, whoever owns the journal is told, and that is the end.
func TestFailedSettle(t *testing.T) {
	for what, fault := range map[string]func(disk *simfs.FS) error{
		"settle": func(*simfs.FS) error { return syscall.EIO },
		"sync":   func(disk *simfs.FS) error { disk.FailSync(1); return nil },
		"free":   func(disk *simfs.FS) error { disk.FailSync(2); return nil },
	} {
		disk := newDisk(t, simfs.Options{})
		goOn, told := make(chan struct{}), make(chan error, 1)
		j, err := Create(disk, dir, 2*BlockSize, func() error { <-goOn; return fault(disk) }, func(err error) { told <- err })
		must(t, err)
		commit(t, j, "a-0", 0, []byte("one"))
		commit(t, j, "a-0", 3, []byte("two"))
		goOn <- struct{}{}
		if err := <-told; !errors.Is(err, syscall.EIO) {
			t.Fatalf("%s: told %v", what, err)
		}
		j.Begin()
		add(j, "a-0", 6, []byte("three"))
		if done, err := j.Commit(); done || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: commit after a failure: %v, %v", what, done, err)
		}
		if err := j.Settle(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: settle after a failure: %v", what, err)
		}
		if err := j.Close(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: close after a failure: %v", what, err)
		}
		// Of a header whose sync failed the drive may have the old or the new.
		expect(t, lost(disk), entry("a-0", 0, []byte("one")), entry("a-0", 3, []byte("two")))
	}
}

// TestFailedCommit: the first failed write or sync is the last.
func TestFailedCommit(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync} {
		for nth := 1; nth <= 2; nth++ {
			disk := newDisk(t, simfs.Options{})
			faults := vfs.NewFaults()
			j := quiet(t, vfs.WithFaults(disk, faults), 8)
			faults.Add(vfs.Fault{Op: op, Nth: nth})
			failed := 0
			for i := range 4 {
				j.Begin()
				add(j, "a-0", int64(i), []byte{'a' + byte(i)})
				done, err := j.Commit()
				if done == (err != nil) || failed > 0 && err == nil {
					t.Fatalf("%s %d, commit %d: %v, %v", op, nth, i, done, err)
				}
				if err != nil {
					failed++
				}
			}
			if failed == 0 {
				t.Errorf("%s %d: nothing failed", op, nth)
			}
			j.Abandon()
		}
	}
}

func TestCloseAndAbandon(t *testing.T) {
	disk := newDisk(t, simfs.Options{})
	settled := 0
	make := func() *Journal {
		j, err := Create(disk, dir, 4*BlockSize, func() error { settled++; return nil }, func(error) {})
		must(t, err)
		return j
	}
	j := make()
	commit(t, j, "a-0", 0, []byte("one"))
	j.Abandon()
	expect(t, lost(disk), entry("a-0", 0, []byte("one")))
	j.Begin()
	add(j, "a-0", 3, []byte("two"))
	if done, err := j.Commit(); done || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("commit to an abandoned journal: %v, %v", done, err)
	}
	if settled != 0 {
		t.Error("abandoned, and yet settled")
	}
	j = make()
	expect(t, lost(disk)) // another one in its place
	commit(t, j, "a-0", 0, []byte("one"))
	disk.OnChange(func(e vfs.Event) {
		if e.Op == vfs.OpRemove && settled != 1 {
			t.Errorf("%v before it was settled", e)
		}
	})
	must(t, j.Close())
	if list := append(names(t, disk), names(t, lost(disk))...); len(list) > 0 {
		t.Errorf("left by a clean close: %v", list)
	}
	if n := disk.Stats().OpenFiles; n > 0 {
		t.Errorf("%d files are open", n)
	}
}

// TestCreateWithoutRoom: nothing is left on a full disk.
func TestCreateWithoutRoom(t *testing.T) {
	for blocks := range int64(15) {
		disk := newDisk(t, simfs.Options{Capacity: (blocks + 1) * simfs.BlockSize})
		j, err := Create(disk, dir, 8*BlockSize, nil, nil)
		if err == nil {
			j.Abandon()
			t.Fatalf("a journal of 16 blocks on a disk of %d", blocks+1)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%d blocks: %v", blocks, err)
		}
		if list := append(names(t, disk), names(t, lost(disk))...); len(list) > 0 {
			t.Fatalf("%d blocks: left %v", blocks, list)
		}
		if n := disk.Stats().OpenFiles; n > 0 {
			t.Fatalf("%d blocks: %d files are open", blocks, n)
		}
	}
}

// TestCreateInterrupted: a journal that was being made holds nothing, whatever the disk kept of it.
func TestCreateInterrupted(t *testing.T) {
	for n := 0; ; n++ {
		disk := newDisk(t, simfs.Options{Seed: uint64(n)})
		disk.PowerOffAfter(n)
		j, err := Create(disk, dir, 4*BlockSize, nil, nil)
		for _, keep := range []simfs.Keep{simfs.KeepNone, simfs.KeepAll, simfs.KeepSome, simfs.KeepSome} {
			expect(t, disk.Crash(simfs.CrashOptions{Keep: keep}))
		}
		if err == nil {
			j.Abandon()
			break
		}
		if !errors.Is(err, simfs.ErrPowerOff) {
			t.Fatal(err)
		}
	}
}

// TestKeep puts journals aside under names of their own.
func TestKeep(t *testing.T) {
	disk := newDisk(t, simfs.Options{})
	must(t, Keep(disk, dir))
	for range 3 {
		j := quiet(t, disk, 4)
		commit(t, j, "a-0", 0, []byte("one"))
		j.Abandon()
		must(t, Keep(disk, dir))
		expect(t, lost(disk))
	}
	list := names(t, lost(disk))
	if want := []string{".gregor-journal-0.kept", ".gregor-journal-0.kept-2", ".gregor-journal-0.kept-3",
		".gregor-journal-1.kept", ".gregor-journal-1.kept-2", ".gregor-journal-1.kept-3"}; !slices.Equal(list, want) {
		t.Errorf("kept %v", list)
	}
	must(t, Remove(disk, dir)) // not those
	if again := names(t, disk); !slices.Equal(again, list) {
		t.Errorf("left of %v: %v", list, again)
	}
}

// TestPutAwayInterrupted: what an interruption of Keep or Remove leaves is the journal, or its beginning, or nothing.
func TestPutAwayInterrupted(t *testing.T) {
	whole := []string{entry("a-0", 0, []byte("one")), entry("a-0", 3, []byte("two"))}
	for what, away := range map[string]func(vfs.FS, string) error{"keep": Keep, "remove": Remove} {
		for turn := range 2 {
			for n := 0; ; n++ {
				disk := newDisk(t, simfs.Options{Seed: uint64(n)})
				j := quiet(t, disk, 2)
				for range turn { // so that the other file is the newer one
					commit(t, j, "a-0", 0, []byte("none"))
					must(t, j.Settle())
					j.now = 1 - j.now
				}
				commit(t, j, "a-0", 0, []byte("one"))
				j.mu.Lock()
				j.now = 1 - j.now // as if the first were being settled
				j.mu.Unlock()
				commit(t, j, "a-0", 3, []byte("two"))
				j.Abandon()
				expect(t, disk, whole...)
				disk.PowerOffAfter(n)
				err := away(disk, dir)
				for _, keep := range []simfs.Keep{simfs.KeepNone, simfs.KeepAll, simfs.KeepSome, simfs.KeepSome} {
					got, bad := read(disk.Crash(simfs.CrashOptions{Keep: keep}))
					if bad != nil || len(got) > 2 || !slices.Equal(got, whole[:len(got)]) || err == nil && len(got) > 0 {
						t.Fatalf("%s, turn %d, power cut %d: %v, left %v, %v", what, turn, n, err, got, bad)
					}
				}
				if err == nil {
					break
				}
			}
		}
	}
}

// TestPowerCutsOfCommits takes the power away before every change of a journal whose files switch all the time: what was
// committed and not settled is there, and nothing else but the commit under way.
func TestPowerCutsOfCommits(t *testing.T) {
	cuts := 0
	for n := 0; ; n++ {
		disk := newDisk(t, simfs.Options{Seed: uint64(n)})
		disk.PowerOffAfter(n)
		acknowledged, i := 0, 0
		var begun, settled atomic.Int64 // the entry under way, and where settling began
		j, err := Create(disk, dir, 4*BlockSize, func() error { settled.Store(begun.Load()); return nil }, func(error) {})
		for ; err == nil && i < 12; i++ {
			begun.Store(int64(i))
			j.Begin()
			add(j, "a-0", int64(i), []byte{'a' + byte(i)})
			var done bool
			if done, err = j.Commit(); done {
				acknowledged = i + 1
			}
			j.mu.Lock()
			for j.retiring {
				j.retired.Wait()
			}
			j.mu.Unlock()
		}
		if j != nil {
			j.Abandon()
		}
		for _, keep := range []simfs.Keep{simfs.KeepNone, simfs.KeepAll, simfs.KeepSome, simfs.KeepSome, simfs.KeepSome} {
			cuts++
			got, bad := read(disk.Crash(simfs.CrashOptions{Keep: keep}))
			if bad != nil {
				t.Fatalf("power cut %d: %v", n, bad)
			}
			end := 0
			for k, e := range got {
				var position int
				fmt.Sscanf(e, "a-0 07 40 %d", &position)
				if e != entry("a-0", int64(position), []byte{'a' + byte(position)}) || k > 0 && position != end {
					t.Fatalf("power cut %d: %v", n, got)
				}
				if k == 0 && position > int(settled.Load()) {
					t.Fatalf("power cut %d: begins with %d, %d were settled", n, position, settled.Load())
				}
				end = position + 1
			}
			if end > i+1 || end < acknowledged && int(settled.Load()) < acknowledged {
				t.Fatalf("power cut %d: ends with %d, %d were acknowledged", n, end, acknowledged)
			}
		}
		if err == nil {
			break
		}
		if !errors.Is(err, simfs.ErrPowerOff) {
			t.Fatal(err)
		}
	}
	if cuts < 200 {
		t.Errorf("only %d power cuts", cuts)
	}
}

// content is what is in a journal's file.
func content(t testing.TB, f vfs.FS, i int) []byte {
	t.Helper()
	p, err := vfs.ReadFile(f, filepath.Join(dir, Names[i]))
	must(t, err)
	return p
}
