package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// base is that of the segments that the tests write to.
const base = 40

// batchAt is a batch of one record.
func batchAt(offset int64, epoch int32, value string) batch.Batch {
	return batch.NewBuilder(codec.None).BaseOffset(offset).LeaderEpoch(epoch).Append(1_000+offset, nil, []byte(value)).Bytes()
}

// scene is a log of a few batches whose end nobody has synced, and a journal that has it.
type scene struct {
	t    testing.TB
	disk *simfs.FS
	ids  map[string][16]byte // of logs by name; {7} for those that are not in it
	log  []byte              // all that was appended
	ends []int               // of batches
}

func (s *scene) name() string { return segment.FileName(dir+"/t-0", base, segment.LogSuffix) }

// newScene appends six batches: two that were synced, and four in two records of the journal, the first with three of them.
func newScene(t testing.TB, seed uint64) *scene {
	s := &scene{t: t, disk: newDisk(t, simfs.Options{Seed: seed}), ids: map[string][16]byte{}}
	must(t, s.disk.MkdirAll(dir+"/t-0", 0o755))
	must(t, s.disk.SyncDir(dir))
	for i := range 6 {
		s.log = append(s.log, batchAt(base+int64(i), 3, fmt.Sprint("value ", i, string(bytes.Repeat([]byte{'.'}, 400))))...)
		s.ends = append(s.ends, len(s.log))
	}
	f, err := s.disk.OpenFile(s.name(), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	defer f.Close()
	write := func(from, to int) {
		_, err := f.WriteAt(s.log[from:to], int64(from))
		must(t, err)
	}
	write(0, s.ends[1])
	must(t, f.Sync())
	must(t, s.disk.SyncDir(dir+"/t-0"))
	j := quiet(t, s.disk, 8)
	defer j.Abandon()
	write(s.ends[1], s.ends[4])
	commit(t, j, "t-0", int64(s.ends[1]), s.log[s.ends[1]:s.ends[4]])
	write(s.ends[4], s.ends[5])
	commit(t, j, "t-0", int64(s.ends[4]), s.log[s.ends[4]:])
	return s
}

// now puts content into the log's file, durably.
func (s *scene) now(p []byte) {
	s.t.Helper()
	put(s.t, s.disk, s.name(), p)
}

func put(t testing.TB, disk *simfs.FS, name string, p []byte) {
	t.Helper()
	must(t, vfs.ReplaceFile(disk, name, p))
	must(t, disk.SyncDir(filepath.Dir(name)))
}

func (s *scene) id(path string) ([16]byte, error) {
	if id, ok := s.ids[filepath.Base(path)]; ok {
		return id, nil
	}
	return [16]byte{7}, nil
}

func (s *scene) redo() Redone {
	s.t.Helper()
	out, err := Redo(s.disk, dir, s.id, nil)
	must(s.t, err)
	return out
}

// has expects content in the log's file, after a power cut too.
func (s *scene) has(want []byte) {
	s.t.Helper()
	for what, disk := range map[string]*simfs.FS{"now": s.disk, "after a power cut": lost(s.disk)} {
		got, err := vfs.ReadFile(disk, s.name())
		must(s.t, err)
		if !bytes.Equal(got, want) {
			s.t.Fatalf("%s the log has %d bytes, the first that differs at %d, expected %d", what, len(got), differ(got, want), len(want))
		}
	}
}

func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestRedoTornFile: whatever a power cut left of what was not synced, all of it is there again, and durable.
func TestRedoTornFile(t *testing.T) {
	for seed := range uint64(300) {
		for _, volume := range []bool{false, true} {
			s := newScene(t, seed)
			s.disk = s.disk.Crash(simfs.CrashOptions{})
			var settle func() error
			if volume {
				v, err := s.disk.OpenVolume(dir)
				must(t, err)
				settle = v.Sync
			}
			out, err := Redo(s.disk, dir, s.id, settle)
			if err != nil || out.Entries != 2 || len(out.Foreign)+len(out.Failed) > 0 {
				t.Fatalf("seed %d: %+v, %v", seed, out, err)
			}
			s.has(s.log)
			if again := s.redo(); again.Bytes != 0 || again.Logs != 0 {
				t.Fatalf("seed %d: redone twice: %+v", seed, again)
			}
			s.has(s.log)
		}
	}
}

// TestRedoMissingTail: from every length that the file may have, up to the beginning of the entries.
func TestRedoMissingTail(t *testing.T) {
	s := newScene(t, 1)
	for n := s.ends[1]; n <= len(s.log); n++ {
		s.now(s.log[:n])
		out := s.redo()
		if n == len(s.log) && out.Bytes != 0 || n < len(s.log) && (out.Logs != 1 || out.Bytes < int64(len(s.log)-n)) {
			t.Fatalf("%d bytes: %+v", n, out)
		}
		s.has(s.log)
	}
}

// TestRedoAfterKill: the file has everything, in memory only.
func TestRedoAfterKill(t *testing.T) {
	s := newScene(t, 1)
	s.disk = s.disk.KillClone()
	if out := s.redo(); out.Bytes != 0 || out.Logs != 0 || out.Entries != 2 {
		t.Errorf("redone: %+v", out)
	}
	s.has(s.log)
}

// TestRedoLeavesOthersAlone: what somebody else has written since stays as it is, and is told.
func TestRedoLeavesOthersAlone(t *testing.T) {
	s := newScene(t, 1)
	other := func(i int, n int) []byte {
		return append(slices.Clone(s.log[:s.ends[i]]), batchAt(base+int64(i)+1, 4, string(bytes.Repeat([]byte{'!'}, n)))...)
	}
	again := slices.Clone(s.log[:s.ends[2]])
	batch.Batch(again[s.ends[1]:]).SetLeaderEpoch(4)
	gap := slices.Clone(s.log[:s.ends[1]])
	gap = append(gap, batchAt(base+30, 4, "after a gap")...)
	for what, there := range map[string][]byte{
		"shorter batches":           other(1, 10),
		"longer batches":            other(2, 2000),
		"as long ones":              other(3, 0),
		"batches after the others":  other(4, 300),
		"the same in a later epoch": again,
		"a gap":                     gap,
		"more of them":              append(other(1, 10), batchAt(base+3, 4, "and more")...),
		"a log that was cut":        s.log[:s.ends[0]],
		"an empty log":              nil,
	} {
		s.now(there)
		out := s.redo()
		if !slices.Equal(out.Foreign, []string{"t-0"}) || len(out.Failed) > 0 || out.Bytes > 0 {
			t.Errorf("%s: %+v", what, out)
		}
		s.has(there)
	}
}

// TestRedoTornHeader: the fields of a header that no checksum covers are put back, whichever of them are gone.
func TestRedoTornHeader(t *testing.T) {
	s := newScene(t, 1)
	for i := 1; i < 5; i++ {
		for at := range 21 {
			for _, to := range []int{at + 1, 21} {
				torn := slices.Clone(s.log)
				clear(torn[s.ends[i]+at : s.ends[i]+to])
				s.now(torn)
				if out := s.redo(); len(out.Foreign)+len(out.Failed) > 0 || (out.Bytes > 0) == bytes.Equal(torn, s.log) {
					t.Fatalf("batch %d without bytes %d to %d: %+v", i, at, to, out)
				}
				s.has(s.log)
			}
		}
	}
}

// TestRedoOnlyTheLogItWas: another topic's log of the same name, one that goes on in a newer segment, one that ends in an
// older one, and one that is gone.
func TestRedoOnlyTheLogItWas(t *testing.T) {
	s := newScene(t, 1)
	s.now(s.log[:s.ends[2]])
	s.ids["t-0"] = [16]byte{8}
	if out := s.redo(); out.Bytes != 0 || len(out.Foreign)+len(out.Failed) != 0 {
		t.Errorf("another topic: %+v", out)
	}
	s.has(s.log[:s.ends[2]])
	delete(s.ids, "t-0")

	newer := segment.FileName(dir+"/t-0", base+3, segment.LogSuffix)
	put(t, s.disk, newer, nil)
	if out := s.redo(); out.Bytes != 0 || len(out.Foreign)+len(out.Failed) != 0 {
		t.Errorf("a newer segment: %+v", out)
	}
	s.has(s.log[:s.ends[2]])

	must(t, s.disk.Remove(newer))
	must(t, s.disk.Rename(s.name(), segment.FileName(dir+"/t-0", base-5, segment.LogSuffix)))
	if out := s.redo(); out.Bytes != 0 || !slices.Equal(out.Foreign, []string{"t-0"}) {
		t.Errorf("an older segment: %+v", out)
	}

	must(t, s.disk.RemoveAll(dir+"/t-0"))
	if out := s.redo(); out.Bytes != 0 || len(out.Foreign)+len(out.Failed) != 0 || out.Entries != 2 {
		t.Errorf("no log: %+v", out)
	}
	if list := names(t, s.disk); len(list) != 2 {
		t.Errorf("made: %v", list)
	}
}

// TestRedoFailures: what cannot be read is the trouble of one log; what cannot be written or synced is the end, since
// nobody may read what is not on the drive.
func TestRedoFailures(t *testing.T) {
	for _, c := range []struct {
		fault vfs.Fault
		fatal bool
	}{
		{vfs.Fault{Op: vfs.OpRead, Name: "*.log"}, false},
		{vfs.Fault{Op: vfs.OpReadDir, Name: "t-0"}, false},
		{vfs.Fault{Op: vfs.OpOpen, Name: "*.log"}, false},
		{vfs.Fault{Op: vfs.OpSize, Name: "*.log"}, false},
		{vfs.Fault{Op: vfs.OpWrite, Name: "*.log", Err: syscall.ENOSPC}, true},
		{vfs.Fault{Op: vfs.OpSync, Name: "*.log"}, true},
		{vfs.Fault{Op: vfs.OpRead, Name: Names[0]}, true},
	} {
		s := newScene(t, 1)
		s.now(s.log[:s.ends[2]])
		faults := vfs.NewFaults(c.fault)
		out, err := Redo(vfs.WithFaults(s.disk, faults), dir, s.id, nil)
		if faults.Fired() == 0 || (err != nil) != c.fatal || !c.fatal && out.Failed["t-0"] == nil {
			t.Errorf("%s %s: %+v, %v", c.fault.Op, c.fault.Name, out, err)
		}
		var d *DamagedError
		if errors.As(err, &d) {
			t.Errorf("%s is taken for damage: %v", c.fault.Op, err)
		}
		if n := s.disk.Stats().OpenFiles; n > 0 {
			t.Errorf("%s: %d files are open", c.fault.Op, n)
		}
		s.redo()
		s.has(s.log)
	}
	s := newScene(t, 1)
	if _, err := Redo(s.disk, dir, s.id, func() error { return syscall.EIO }); !errors.Is(err, syscall.EIO) {
		t.Errorf("a volume that cannot be synced: %v", err)
	}
	p := content(t, s.disk, 0)
	p[BlockSize+30]++
	put(t, s.disk, filepath.Join(dir, Names[0]), p)
	if _, err := Redo(s.disk, dir, s.id, nil); !errors.As(err, new(*DamagedError)) {
		t.Errorf("a damaged journal: %v", err)
	}
	for what, settle := range map[string]func() error{"volume": func() error { return syscall.EIO }, "file": nil} {
		// What can be read of it is redone.
		p := slices.Clone(p)
		p[BlockSize+30]--
		p[2*BlockSize+30]++
		second := slices.Clone(p[:BlockSize])
		second[20]++ // the other file has a damaged header
		put(t, s.disk, filepath.Join(dir, Names[0]), p)
		put(t, s.disk, filepath.Join(dir, Names[1]), second)
		s.now(s.log[:s.ends[2]])
		var d *DamagedError
		if _, err := Redo(vfs.WithFaults(s.disk, vfs.NewFaults(vfs.Fault{Op: vfs.OpSync, Name: "*.log"})), dir, s.id, settle); err == nil || errors.As(err, &d) {
			t.Errorf("a damaged journal and a %s that cannot be synced: %v", what, err)
		}
	}
	s = newScene(t, 1)
	bad := errors.New("no id")
	if out, err := Redo(s.disk, dir, func(string) ([16]byte, error) { return [16]byte{}, bad }, nil); err != nil || !errors.Is(out.Failed["t-0"], bad) {
		t.Errorf("an id that cannot be read: %+v, %v", out, err)
	}
}

// TestRedoStrangeNames: an entry reaches no file outside its directory.
func TestRedoStrangeNames(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../data/t-0", "/data/t-0", "t-0/", ".lock"} {
		s := newScene(t, 1)
		must(t, Remove(s.disk, dir))
		s.now(s.log[:s.ends[4]])
		j := quiet(t, s.disk, 4)
		commit(t, j, name, int64(s.ends[4]), s.log[s.ends[4]:])
		j.Abandon()
		if out := s.redo(); out.Bytes != 0 || out.Failed[name] == nil {
			t.Errorf("%q: %+v", name, out)
		}
		s.has(s.log[:s.ends[4]])
	}
}

// TestRedoOfManyLogs: more logs than files are held open.
func TestRedoOfManyLogs(t *testing.T) {
	s := newScene(t, 1)
	must(t, Remove(s.disk, dir))
	j := quiet(t, s.disk, 1024)
	for i := range maxOpen + 40 {
		log := fmt.Sprintf("many-%d", i)
		must(t, s.disk.MkdirAll(filepath.Join(dir, log), 0o755))
		put(t, s.disk, segment.FileName(filepath.Join(dir, log), base, segment.LogSuffix), nil)
	}
	must(t, s.disk.SyncDir(dir))
	for round := range 2 {
		j.Begin()
		for i := range maxOpen + 40 {
			from := 0
			if round > 0 {
				from = s.ends[0]
			}
			if !add(j, fmt.Sprintf("many-%d", i), int64(from), s.log[from:s.ends[round]]) {
				t.Fatal("not taken")
			}
		}
		if done, err := j.Commit(); !done || err != nil {
			t.Fatalf("commit: %v, %v", done, err)
		}
	}
	j.Abandon()
	if out := s.redo(); out.Logs != maxOpen+40 || out.Bytes != int64((maxOpen+40)*s.ends[1]) {
		t.Fatalf("redone: %+v", out)
	}
	after := lost(s.disk)
	for i := range maxOpen + 40 {
		got, err := vfs.ReadFile(after, segment.FileName(filepath.Join(dir, fmt.Sprintf("many-%d", i)), base, segment.LogSuffix))
		must(t, err)
		if !bytes.Equal(got, s.log[:s.ends[1]]) {
			t.Fatalf("log %d has %d bytes", i, len(got))
		}
	}
}

// TestRedoInterrupted takes the power away before every change of Redo, and of what follows it: redone again, everything
// is there.
func TestRedoInterrupted(t *testing.T) {
	for seed := range uint64(10) {
		for n := 0; ; n++ {
			s := newScene(t, seed)
			s.disk = s.disk.Crash(simfs.CrashOptions{})
			s.disk.PowerOffAfter(n)
			_, err := Redo(s.disk, dir, s.id, nil)
			if err == nil {
				err = Remove(s.disk, dir)
			}
			for _, keep := range []simfs.Keep{simfs.KeepNone, simfs.KeepAll, simfs.KeepSome} {
				again := &scene{t: t, disk: s.disk.Crash(simfs.CrashOptions{Keep: keep}), log: s.log}
				again.redo()
				again.has(s.log)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, simfs.ErrPowerOff) {
				t.Fatal(err)
			}
		}
	}
}

// TestRedoInterruptedBesideOthers: what somebody else has written stays as it is when Keep is interrupted between the two
// files, the later of which knows nothing of where the logs part.
func TestRedoInterruptedBesideOthers(t *testing.T) {
	for n := 0; ; n++ {
		s := newScene(t, uint64(n))
		must(t, Remove(s.disk, dir))
		s.now(s.log[:s.ends[1]])
		j := quiet(t, s.disk, 2)
		commit(t, j, "t-0", int64(s.ends[1]), s.log[s.ends[1]:s.ends[4]])
		j.mu.Lock()
		j.now = 1
		j.mu.Unlock()
		commit(t, j, "t-0", int64(s.ends[4]), s.log[s.ends[4]:])
		j.Abandon()
		theirs := append(slices.Clone(s.log[:s.ends[1]]), batchAt(base+2, 4, string(bytes.Repeat([]byte{'!'}, 5000)))...)
		s.now(theirs)
		s.disk.PowerOffAfter(n)
		_, err := Redo(s.disk, dir, s.id, nil)
		if err == nil {
			err = Keep(s.disk, dir)
		}
		for _, keep := range []simfs.Keep{simfs.KeepNone, simfs.KeepAll, simfs.KeepSome, simfs.KeepSome} {
			again := &scene{t: t, disk: s.disk.Crash(simfs.CrashOptions{Keep: keep})}
			again.redo()
			again.has(theirs)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, simfs.ErrPowerOff) {
			t.Fatal(err)
		}
	}
}
