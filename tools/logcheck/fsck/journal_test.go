package fsck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/journal"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// journaled is the made directory with a journal that holds the last three batches of a log, in two records, whose file
// ends n bytes behind the beginning of the first of them.
func journaled(t testing.TB, n int) (disk *simfs.FS, log string, whole []byte, from int) {
	t.Helper()
	files := loadMemory(t, makeDirectory(t))
	for name := range files {
		if strings.HasPrefix(name, "/data/shop-0/") && strings.HasSuffix(name, segment.LogSuffix) && name > log {
			log = name
		}
	}
	whole = files[log]
	var starts []int
	for rest := whole; len(rest) > 0; {
		starts = append(starts, len(whole)-len(rest))
		_, next, err := batch.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		rest = next
	}
	from, last := starts[len(starts)-3], starts[len(starts)-1]
	files[log] = whole[:from+n]
	disk = simulated(t, files, simfs.Options{Seed: 1})
	j, err := journal.Create(disk, "/data", 8*journal.BlockSize, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Abandon()
	base, _, _ := segment.ParseName(filepath.Base(log))
	for _, r := range [][2]int{{from, last}, {last, len(whole)}} {
		j.Begin()
		copy(j.Add("shop-0", madeTopicID, base, int64(r[0]), r[1]-r[0]), whole[r[0]:r[1]])
		if done, err := j.Commit(); !done || err != nil {
			t.Fatalf("commit: %v, %v", done, err)
		}
	}
	return disk, log, whole, from
}

func verifyOn(t testing.TB, f vfs.FS) *Report {
	t.Helper()
	r, err := Verify(context.Background(), []string{"/data"}, Options{FS: f, Deep: true, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ofKind(r *Report, k Kind) (list []Finding) {
	for _, f := range r.Findings {
		if f.Kind == k {
			list = append(list, f)
		}
	}
	return list
}

// TestVerifyJournal: what a log lacks, and that it lacks nothing, and a journal that is damaged.
func TestVerifyJournal(t *testing.T) {
	disk, log, whole, from := journaled(t, 20)
	if f := ofKind(verifyOn(t, disk), KindUnknown); len(f) > 0 && slices.ContainsFunc(f, func(f Finding) bool { return strings.Contains(f.File, "journal") }) {
		t.Errorf("a file of no known kind: %v", f)
	}
	f := ofKind(verifyOn(t, disk), KindJournal)
	if len(f) != 1 || f[0].Severity != Rebuildable || f[0].File != log || f[0].Position != int64(from) || f[0].Length != int64(len(whole)-from) || f[0].Partition != "shop-0" ||
		f[0].Offset != batch.Batch(whole[from:]).BaseOffset() || !strings.Contains(f[0].Broker, "Gregor puts it back") {
		t.Errorf("a log without its end: %+v", f)
	}

	// Without promises the end is a torn tail, and the finding of it says that the journal has it.
	for _, name := range []string{markerName, recoveryName, highName} {
		if err := disk.Remove("/data/" + name); err != nil {
			t.Fatal(err)
		}
	}
	torn := slices.DeleteFunc(verifyOn(t, disk).Findings, func(f Finding) bool { return f.Severity != TornTail || f.File != log || f.Position < 0 })
	if len(torn) == 0 || !strings.Contains(torn[0].Broker, "completes it from the journal") {
		t.Errorf("a torn tail: %+v", torn)
	}

	disk, _, whole, _ = journaled(t, 0)
	if err := vfs.ReplaceFile(disk, log, whole); err != nil {
		t.Fatal(err)
	}
	r := verifyOn(t, disk)
	if f := ofKind(r, KindJournal); r.Status != StatusClean || len(f) != 1 || f[0].Severity != Harmless {
		t.Errorf("a log that has everything: status %d, %+v", r.Status, f)
	}

	name := "/data/" + journal.Names[0]
	p, err := vfs.ReadFile(disk, name)
	if err != nil {
		t.Fatal(err)
	}
	p[journal.BlockSize+70]++
	if err := vfs.ReplaceFile(disk, name, p); err != nil {
		t.Fatal(err)
	}
	if f := ofKind(verifyOn(t, disk), KindJournal); len(f) != 1 || f[0].Severity != Damage || f[0].File != name || f[0].Position != journal.BlockSize {
		t.Errorf("a damaged journal: %+v", f)
	}
	if err := journal.Keep(disk, "/data"); err != nil {
		t.Fatal(err)
	}
	r = verifyOn(t, disk)
	if f := ofKind(r, KindLeftover); r.Status != StatusClean || !slices.ContainsFunc(f, func(f Finding) bool { return f.File == name+journal.KeptSuffix }) {
		t.Errorf("a journal put aside: status %d, %+v", r.Status, f)
	}
}

// TestShowJournal explains and dumps a journal's file.
func TestShowJournal(t *testing.T) {
	disk, _, _, _ := journaled(t, 0)
	name := "/data/" + journal.Names[0]
	for position, want := range map[int64]string{
		3:                            "magic, generation",
		journal.BlockSize + 5:        "The header of record 0",
		journal.BlockSize + 30:       "the entry from 4120",
		2*journal.BlockSize + 100:    "Record 1 of the journal",
		3*journal.BlockSize + 100:    "No entry",
		2*journal.BlockSize - 1:      "No entry",
		2*journal.BlockSize + 24 + 9: "for shop-0 (topic id 51",
	} {
		var b strings.Builder
		if err := ExplainPosition(context.Background(), disk, name, position, &b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("position %d: %v, expected %q in\n%s", position, err, want, b.String())
		}
	}
	var b strings.Builder
	o := NewDumpOptions()
	o.FS = disk
	if err := Dump(context.Background(), name, o, &b); err != nil || strings.Count(b.String(), "\n") != 2 || strings.Count(b.String(), "for shop-0") != 2 {
		t.Errorf("dump: %v\n%s", err, b.String())
	}
	o.Format = FormatJSON
	if err := Dump(context.Background(), name, o, io.Discard); err != nil {
		t.Error(err)
	}
}

// TestRepairRedoesJournal: whatever the policy, nothing is cut that the journal has.
func TestRepairRedoesJournal(t *testing.T) {
	for _, policy := range Policies {
		disk, log, whole, from := journaled(t, 20)
		torn, _ := vfs.ReadFile(disk, log)
		plan, err := Repair(context.Background(), []string{"/data"}, RepairOptions{FS: disk, Damage: policy, Now: repairTime, DryRun: true})
		if err != nil || len(plan.Actions) == 0 || plan.Actions[0].Kind != ActionRedo || len(plan.Lost) > 0 {
			t.Fatalf("%s: planned %v %s", policy, err, tell(plan))
		}
		if now, _ := vfs.ReadFile(disk, log); !bytes.Equal(now, torn) {
			t.Fatalf("%s: a dry run wrote", policy)
		}
		r, err := repairOn(disk, policy)
		if err != nil || r.Status != StatusClean || len(r.Lost) > 0 {
			t.Fatalf("%s: %v %s", policy, err, tell(r))
		}
		after := load(t, disk, "/")
		if !bytes.Equal(after[log], whole) {
			t.Errorf("%s: the log has %d bytes of %d", policy, len(after[log]), len(whole))
		}
		for _, name := range journal.Names {
			if _, there := after["/data/"+name]; there || after[r.Evidence+"/data/"+name] == nil {
				t.Errorf("%s: %s is still there, or not in the evidence", policy, name)
			}
		}
		if old := after[fmt.Sprintf("%s/data/shop-0/%s.%d-%d", r.Evidence, filepath.Base(log), from, from+20)]; !bytes.Equal(old, torn[from:]) {
			t.Errorf("%s: the old end of the log is not in the evidence", policy)
		}
	}
}

// TestRepairOfAPartBesideAJournal: a partition alone is not cut where the journal has entries of it.
func TestRepairOfAPartBesideAJournal(t *testing.T) {
	for _, target := range []string{"/data/shop-0", "/data/" + recoveryName} {
		disk, log, whole, from := journaled(t, 20)
		if _, err := Repair(context.Background(), []string{target}, RepairOptions{FS: disk, Damage: PolicyTruncate, Now: repairTime}); err != nil {
			t.Fatal(err)
		}
		if now, _ := vfs.ReadFile(disk, log); !bytes.Equal(now, whole[:from+20]) {
			t.Errorf("%s: the log has %d bytes, not %d", target, len(now), from+20)
		}
	}
	disk, _, _, _ := journaled(t, 20)
	if _, err := Repair(context.Background(), []string{"/data/" + journal.Names[0]}, RepairOptions{FS: disk, Now: repairTime}); err == nil {
		t.Error("a journal's file is a target")
	}
}

// TestInterruptedRedo takes the power away before every change of a repair that redoes a journal.
func TestInterruptedRedo(t *testing.T) {
	step := stride(5, 1)
	for n := 0; ; n += step {
		disk, log, whole, _ := journaled(t, 20)
		disk.PowerOffAfter(n)
		_, err := repairOn(disk, PolicyTruncate)
		for _, keep := range []simfs.Keep{simfs.KeepNone, simfs.KeepAll, simfs.KeepSome} {
			after := disk.Crash(simfs.CrashOptions{Keep: keep})
			r, err := repairOn(after, PolicyTruncate)
			if err != nil || r.Status != StatusClean || len(r.Lost) > 0 {
				t.Fatalf("power cut %d, keep %d: %v %s", n, keep, err, tell(r))
			}
			if now, _ := vfs.ReadFile(after, log); !bytes.Equal(now, whole) {
				t.Fatalf("power cut %d, keep %d: the log has %d bytes of %d", n, keep, len(now), len(whole))
			}
		}
		if err == nil {
			break
		}
		if !errors.Is(err, simfs.ErrPowerOff) {
			t.Fatal(err)
		}
	}
}
