package engine

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/journal"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// journaled opens the rig's store anew, with every sync one of a small journal.
func (r *rig) journaled(disk vfs.FS) {
	r.t.Helper()
	r.store.Abandon()
	var err error
	r.store, err = Open(Options{FS: disk, Clock: r.clock, Dirs: []string{"/data"}, Manual: true, SyncWorkers: 1, journalAll: true, JournalBytes: 6 * journal.BlockSize})
	if err != nil {
		r.t.Fatal(err)
	}
}

func newJournaledRig(t testing.TB) *rig {
	r := newRig(t)
	r.journaled(r.disk)
	return r
}

// journalFiles are the names of a journal in the directory.
func journalFiles(t testing.TB, f vfs.FS) (list []string) {
	t.Helper()
	all, err := f.ReadDir("/data")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if strings.HasPrefix(e.Name(), ".gregor-journal") {
			list = append(list, e.Name())
		}
	}
	return list
}

// ends opens logs on a disk, as a process that has no use for a journal of its own, and returns where they end.
func ends(disk vfs.FS, names ...string) (list []int64, err error) {
	store, err := Open(Options{FS: disk, Dirs: []string{"/data"}, Manual: true, JournalBytes: -1})
	if err != nil {
		return nil, err
	}
	defer store.Abandon()
	for _, name := range names {
		l, err := store.OpenLog("/data", name, small)
		if err != nil {
			return nil, err
		}
		list = append(list, l.High())
	}
	return list, nil
}

// expectEnd takes the power away and looks where a log ends: at one of the wanted offsets.
func (r *rig) expectEnd(what, name string, want ...int64) {
	r.t.Helper()
	for _, keep := range []simfs.Keep{simfs.KeepNone, simfs.KeepSome, simfs.KeepAll} {
		got, err := ends(r.disk.Crash(simfs.CrashOptions{Keep: keep}), name)
		if err != nil || !slices.Contains(want, got[0]) {
			r.t.Errorf("%s, keep %d: %s ends at %v, expected one of %d: %v", what, keep, name, got, want, err)
		}
	}
}

// TestPowerCutsOfTheJournal: whatever is acknowledged is there after a power cut at any moment, the journal's files
// switching all the time.
func TestPowerCutsOfTheJournal(t *testing.T) {
	r := newJournaledRig(t)
	defer func() { r.store.Abandon() }()
	var names []string
	var logs []*Log
	for i := range 6 {
		names = append(names, fmt.Sprintf("t-%d", i))
		c := small
		c.SegmentBytes = 2048
		logs = append(logs, r.create(names[i], c))
	}
	var mu sync.Mutex
	acknowledged := map[string]int64{}
	seed, redone, freed := uint64(0), 0, 0
	r.disk.OnChange(func(e vfs.Event) {
		mu.Lock()
		defer mu.Unlock()
		ours := strings.HasPrefix(filepath.Base(e.Name), ".gregor-journal")
		if ours && e.Op == vfs.OpWrite && e.Off == 0 {
			freed++ // or taken
		}
		if seed++; e.Op == vfs.OpWrite && !ours && seed%4 != 0 || len(acknowledged) < len(names) {
			return
		}
		after := r.disk.Crash(simfs.CrashOptions{Seed: seed, Keep: []simfs.Keep{simfs.KeepNone, simfs.KeepSome}[seed%2]})
		got, err := ends(after, names...)
		if err != nil {
			t.Errorf("cut %d: %v", seed, err)
			return
		}
		for i, name := range names {
			if got[i] < acknowledged[name] {
				t.Errorf("cut %d at %v: %s ends at %d, %d was acknowledged", seed, e, name, got[i], acknowledged[name])
			}
		}
		redone++
	})
	for round := range 20 {
		var all sync.WaitGroup
		for _, l := range logs {
			all.Go(func() {
				out := mustAppend(t, l, records(3, fmt.Sprintf("%s %d", l.Name(), round)))
				mu.Lock()
				defer mu.Unlock()
				acknowledged[l.Name()] = out.LastOffset + 1
			})
		}
		all.Wait()
	}
	r.disk.OnChange(nil)
	if redone < 100 || freed < 8 {
		t.Errorf("%d power cuts, the journal's headers written %d times", redone, freed)
	}
}

// TestFailedJournal: the first failed write or sync of the journal acknowledges nothing, and is the last.
func TestFailedJournal(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync} {
		r := newRig(t)
		faults := vfs.NewFaults()
		r.journaled(vfs.WithFaults(r.disk, faults))
		l := r.create("t-0", small)
		mustAppend(t, l, records(1, "good"))
		mustAppend(t, l, records(1, "good"))
		faults.Add(vfs.Fault{Op: op, Name: ".gregor-journal-?"})
		for range 2 {
			done := make(waitChannel, 1)
			_, err := l.Append(records(1, "more"), AppendOptions{LeaderEpoch: 3}, done)
			if err == nil {
				err = <-done
			}
			if err == nil || r.store.Failed("/data") == nil {
				t.Errorf("%s: acknowledged by a journal that failed: %v, %v", op, err, r.store.Failed("/data"))
			}
		}
		if faults.Fired() != 1 {
			t.Errorf("%s: %d faults", op, faults.Fired())
		}
		r.store.Abandon()
	}
}

// TestFailedSettlePoisons: a volume that cannot be synced when a file of the journal is full ends the directory at once,
// with nobody asking.
func TestFailedSettlePoisons(t *testing.T) {
	r := newRig(t)
	r.store.Abandon()
	poisoned := make(chan error, 1)
	var err error
	r.store, err = Open(Options{FS: r.disk, Clock: r.clock, Dirs: []string{"/data"}, Manual: true, SyncWorkers: 1, journalAll: true, JournalBytes: 2 * journal.BlockSize,
		OnPoison: func(_ string, err error) { poisoned <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.store.Abandon()
	l := r.create("t-0", small)
	mustAppend(t, l, records(1, "first file"))
	r.disk.FailSyncAll(1)
	durable := []int64{2}
	acked := make(waitChannel, 1)
	if _, err := l.Append(records(1, "second file"), AppendOptions{LeaderEpoch: 3, Rules: &batch.Rules{}}, acked); err != nil {
		acked <- err
	}
	if <-acked != nil { // the settling of the first file may be the quicker one, and then the second one's sync says so
		durable = []int64{1, 2}
	}
	if err := <-poisoned; !errors.Is(err, syscall.EIO) {
		t.Errorf("poisoned by %v", err)
	}
	if _, err := l.Append(records(1, "late"), AppendOptions{LeaderEpoch: 3}, make(waitChannel, 1)); err == nil {
		t.Error("an append to a directory that failed")
	}
	r.expectEnd("after it", "t-0", durable...)
}

// TestEndOfAJournal: a clean stop leaves no file of it, any other one that the next start uses.
func TestEndOfAJournal(t *testing.T) {
	r := newJournaledRig(t)
	l := r.create("t-0", small)
	mustAppend(t, l, records(3, "a"))
	if list := journalFiles(t, r.disk); len(list) != 2 {
		t.Fatalf("the journal's files: %v", list)
	}
	if err := r.store.Close(1); err != nil {
		t.Fatal(err)
	}
	if list := append(journalFiles(t, r.disk), journalFiles(t, r.disk.Crash(simfs.CrashOptions{Keep: simfs.KeepNone}))...); len(list) > 0 {
		t.Errorf("left by a clean stop: %v", list)
	}
	r.expectEnd("after a clean stop", "t-0", 3)

	r.journaled(r.disk)
	mustAppend(t, r.load("t-0", small), records(2, "b"))
	r.store.Abandon()
	after := r.disk.Crash(simfs.CrashOptions{Keep: simfs.KeepNone})
	if list := journalFiles(t, after); len(list) != 2 {
		t.Fatalf("after a power cut: %v", list)
	}
	if got, err := ends(after, "t-0"); err != nil || got[0] != 5 {
		t.Errorf("ends at %v, expected 5: %v", got, err)
	}
	if list := journalFiles(t, after); len(list) > 0 {
		t.Errorf("left by the next start: %v", list)
	}
	// And what it has put back is durable without the journal.
	if got, err := ends(after.Crash(simfs.CrashOptions{Keep: simfs.KeepNone}), "t-0"); err != nil || got[0] != 5 {
		t.Errorf("after another power cut it ends at %v, expected 5: %v", got, err)
	}
}

// TestDamagedJournalIsKept: what can be read is used, and the files are put aside.
func TestDamagedJournalIsKept(t *testing.T) {
	r := newJournaledRig(t)
	l := r.create("t-0", small)
	mustAppend(t, l, records(1, "a"))
	mustAppend(t, l, records(1, "b"))
	mustAppend(t, l, records(1, "c"))
	r.store.Abandon()
	after := r.disk.Crash(simfs.CrashOptions{Keep: simfs.KeepNone})
	name := filepath.Join("/data", journal.Names[0])
	p, err := vfs.ReadFile(after, name)
	if err != nil {
		t.Fatal(err)
	}
	p[2*journal.BlockSize+50]++
	if err := errors.Join(vfs.ReplaceFile(after, name, p), after.SyncDir("/data")); err != nil {
		t.Fatal(err)
	}
	if got, err := ends(after, "t-0"); err != nil || got[0] != 1 {
		t.Errorf("ends at %v, expected 1: %v", got, err)
	}
	if list := journalFiles(t, after); len(list) != 2 || !strings.HasSuffix(list[0], journal.KeptSuffix) || !strings.HasSuffix(list[1], journal.KeptSuffix) {
		t.Errorf("kept: %v", list)
	}
}

// TestJournalBringsNothingBack: what was cut or deleted on purpose stays so.
func TestJournalBringsNothingBack(t *testing.T) {
	for what, c := range map[string]struct {
		end  int64
		away func(r *rig, l *Log) error
	}{
		"cut": {2, func(r *rig, l *Log) error { return l.Truncate(2) }},
		"deleted and made again": {0, func(r *rig, l *Log) error {
			err := r.store.DeleteLog("t-0")
			r.create("t-0", small) // of the same name and topic id
			return err
		}},
	} {
		r := newJournaledRig(t)
		l := r.create("t-0", small)
		for range 3 {
			mustAppend(t, l, records(2, "a"))
		}
		r.expectEnd(what+": before", "t-0", 6)
		if err := c.away(r, l); err != nil {
			t.Fatal(err)
		}
		r.expectEnd(what, "t-0", c.end)
		mustAppend(t, r.store.Log("t-0"), records(1, "b"))
		r.expectEnd(what+", and written again", "t-0", c.end+1)
		r.store.Abandon()
	}
}

// TestJournalOfALogThatWasAway: what was cut while the log lived in another directory does not come back when it does.
func TestJournalOfALogThatWasAway(t *testing.T) {
	disk := simfs.New(simfs.Options{Seed: 1})
	for _, dir := range moveDirs {
		if err := disk.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	open := func(disk vfs.FS, o Options) *Store {
		t.Helper()
		o.FS, o.Dirs, o.Manual, o.SyncWorkers = disk, moveDirs, true, 1
		store, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	if err := disk.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	store := open(disk, Options{journalAll: true, JournalBytes: 6 * journal.BlockSize})
	defer store.Abandon()
	l, err := store.CreateLog("/data", "t-0", ID{1}, small)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mustAppend(t, l, records(2, "a"))
	}
	for _, dir := range []string{"/more", "/data"} {
		m, err := store.StartMove(l, dir)
		if err == nil {
			err = m.Copy(t.Context())
		}
		if err == nil {
			l, err = m.Finish(t.Context(), func(*Log) {})
		}
		if err == nil && dir == "/more" {
			err = l.Truncate(2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	again := open(disk.Crash(simfs.CrashOptions{Keep: simfs.KeepNone}), Options{JournalBytes: -1})
	defer again.Abandon()
	if l, err = again.OpenLog("/data", "t-0", small); err != nil || l.High() != 2 {
		t.Fatalf("the log ends at %d, expected 2: %v", l.High(), err)
	}
}

// TestCutBeforeItsSync: the records that come in the place of some that were cut before anybody had synced them are what
// the journal holds, even where there are as many bytes of both.
func TestCutBeforeItsSync(t *testing.T) {
	r := newJournaledRig(t)
	defer func() { r.store.Abandon() }()
	c := small
	c.SegmentBytes = 1 << 20
	l, other := r.create("t-0", c), r.create("u-0", c)
	mustAppend(t, l, records(1, "a"))
	mustAppend(t, other, records(1, "a"))
	// A sync under way that is no journal's, too long for one, holds the only worker up.
	held, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	r.disk.OnChange(func(e vfs.Event) {
		if e.Op == vfs.OpSync && strings.Contains(e.Name, "u-0") && once.CompareAndSwap(false, true) {
			close(held)
			<-release
		}
	})
	append1 := func(l *Log, n int, tag string) waitChannel {
		t.Helper()
		done := make(waitChannel, 1)
		if _, err := l.Append(records(n, tag), AppendOptions{LeaderEpoch: 3}, done); err != nil {
			t.Fatal(err)
		}
		return done
	}
	long := append1(other, 1, strings.Repeat("x", journal.MaxEntryBytes))
	<-held
	cut := append1(l, 1, strings.Repeat("1", 2500))
	if err := l.Truncate(1); err != nil {
		t.Fatal(err)
	}
	kept := append1(l, 1, strings.Repeat("2", 2500))
	close(release)
	<-cut
	if err := errors.Join(<-long, <-kept); err != nil {
		t.Fatal(err)
	}
	after := r.disk.Crash(simfs.CrashOptions{Keep: simfs.KeepNone})
	store, err := Open(Options{FS: after, Dirs: []string{"/data"}, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Abandon()
	back, err := store.OpenLog("/data", "t-0", c)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(contents(t, back, 1<<20)); back.High() != 2 || !strings.Contains(got, "22222") || strings.Contains(got, "11111") {
		t.Errorf("the log ends at %d; of what was cut: %v, of what was acknowledged: %v", back.High(), strings.Contains(got, "11111"), strings.Contains(got, "22222"))
	}
}
