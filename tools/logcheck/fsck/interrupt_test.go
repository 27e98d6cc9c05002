package fsck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// simulated puts files on a disk that can lose power, durably.
func simulated(t testing.TB, files memory, o simfs.Options) *simfs.FS {
	t.Helper()
	disk := simfs.New(o)
	dirs := map[string]bool{}
	for name := range files {
		for dir := filepath.Dir(name); !dirs[dir]; dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := disk.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		if err := writeFile(disk, name, data); err != nil {
			t.Fatal(err)
		}
	}
	for dir := range dirs {
		if err := disk.SyncDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

// load reads all files of a disk.
func load(t testing.TB, f vfs.FS, dir string) memory {
	t.Helper()
	m := memory{}
	var walk func(dir string)
	walk = func(dir string) {
		list, err := f.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			name := filepath.Join(dir, e.Name())
			if e.IsDir() {
				walk(name)
				continue
			}
			data, err := vfs.ReadFile(f, name)
			if err != nil {
				t.Fatal(err)
			}
			m[name] = data
		}
	}
	walk(dir)
	return m
}

// wrecked is the made directory with damage in many files at once.
func wrecked(t testing.TB) (good, bad memory) {
	good = loadMemory(t, makeDirectory(t))
	bad = good.clone()
	change := func(name string, f func(p []byte) []byte) { bad["/data/"+name] = f(slices.Clone(bad["/data/"+name])) }
	bit := func(i int) func(p []byte) []byte { return func(p []byte) []byte { p[i] ^= 4; return p } }
	change("shop-0/00000000000000000000.log", bit(700))
	change("shop-0/00000000000000000020.log", func(p []byte) []byte { clear(p[512:700]); return p })
	change("shop-0/00000000000000000000.index", func(p []byte) []byte { return p[:13] })
	change("shop-0/00000000000000000020.timeindex", bit(5))
	change("shop-0/00000000000000000020.txnindex", bit(20))
	change("shop-0/leader-epoch-checkpoint", bit(2))
	change("shop-1/00000000000000000000.log", bit(3))
	change("shop-1/00000000000000000000.timeindex", func([]byte) []byte { return nil })
	change("shop-1/partition.metadata", bit(16))
	change("__cluster_metadata-0/00000000000000000000.log", bit(200))
	change("__cluster_metadata-0/quorum-state", bit(30))
	change("meta.properties", bit(40))
	change("recovery-point-offset-checkpoint", bit(0))
	change("log-start-offset-checkpoint", func(p []byte) []byte { return p[:3] })
	return good, bad
}

func repairOn(f vfs.FS, policy Policy) (*RepairReport, error) {
	return Repair(context.Background(), []string{"/data"}, RepairOptions{FS: f, Damage: policy, Now: repairTime, Workers: 1})
}

// TestInterruptedRepair takes the power away before each change that a repair
// makes: whatever of the unsynced changes stays, every file is the old or the
// new one, evidence of each new one is there, and a second repair comes to the
// same end.
func TestInterruptedRepair(t *testing.T) {
	good, bad := wrecked(t)
	for _, policy := range Policies[1:] {
		whole := simulated(t, bad, simfs.Options{Seed: 1})
		r, err := repairOn(whole, policy)
		if err != nil || r.Status != StatusClean {
			t.Fatalf("%s: %v %s", policy, err, tell(r))
		}
		want, wanted := load(t, whole, "/data"), contents(load(t, whole, "/data"))
		if gone := missing(contents(good), wanted, r); gone != "" {
			t.Fatalf("%s: %s is gone, %s", policy, gone, tell(r))
		}
		step := stride(180, 30)
		for n := 0; ; n += step {
			disk := simulated(t, bad, simfs.Options{Seed: uint64(n)})
			disk.PowerOffAfter(n)
			_, err := repairOn(disk, policy)
			if err == nil {
				t.Logf("%s: %d changes", policy, n)
				break
			}
			if !errors.Is(err, simfs.ErrPowerOff) {
				t.Fatalf("%s, power cut %d: %v", policy, n, err)
			}
			for _, keep := range []simfs.Keep{simfs.KeepNone, simfs.KeepAll, simfs.KeepSome} {
				after := disk.Crash(simfs.CrashOptions{Keep: keep})
				oldOrNew(t, fmt.Sprintf("%s, power cut %d, keep %d", policy, n, keep), good, bad, want, load(t, after, "/"))
				r, err := repairOn(after, policy)
				missingDir := err == nil && policy == PolicyQuarantine && r.After.Damage == 1 && r.Left[0].Kind == KindMissing
				if err != nil || r.Status != StatusClean && !missingDir { // a broker makes it anew
					t.Fatalf("%s, power cut %d, keep %d: repaired again: %v %s", policy, n, keep, err, tell(r))
				}
				got := load(t, after, "/data")
				if gone := missing(wanted, contents(got), &RepairReport{}); gone != "" {
					t.Fatalf("%s, power cut %d, keep %d: %s is not as after one repair\n%s", policy, n, keep, gone, tell(r))
				}
				for name := range got {
					if strings.HasSuffix(name, stagedSuffix) {
						t.Fatalf("%s, power cut %d: %s was left", policy, n, name)
					}
				}
			}
		}
	}
}

// oldOrNew checks the files of an interrupted repair.
func oldOrNew(t *testing.T, when string, good, bad, want, got memory) {
	t.Helper()
	manifests := 0
	for name := range got {
		if filepath.Base(name) == manifestName {
			manifests++
		}
	}
	for name, data := range got {
		if !strings.HasPrefix(name, "/data/") || strings.HasSuffix(name, stagedSuffix) || filepath.Base(name) == lockName {
			continue
		}
		if bytes.Equal(data, bad[name]) {
			continue
		}
		if manifests == 0 {
			t.Fatalf("%s: %s was replaced and there is no evidence", when, name)
		}
		if _, there := want[name]; there && !bytes.Equal(data, want[name]) {
			t.Fatalf("%s: %s is neither the old file nor the new one", when, name)
		}
	}
	for name := range bad {
		_, there := got[name]
		_, stays := want[name]
		if stays && !there && filepath.Base(name) != lockName {
			t.Fatalf("%s: %s is gone", when, name)
		}
	}
}

// TestEvidence takes the evidence of a repair and gets the old bytes back.
func TestEvidence(t *testing.T) {
	_, bad := wrecked(t)
	out := bad.clone()
	r, err := repairOn(out, PolicyCut)
	if err != nil || r.Evidence != "/data.logcheck-20260922T141320Z" {
		t.Fatalf("%v %s", err, tell(r))
	}
	n := 0
	for name, old := range bad {
		if bytes.Equal(out[name], old) {
			continue
		}
		n++
		kept := strings.Replace(name, "/data/", r.Evidence+"/data/", 1)
		if filepath.Ext(name) != ".log" {
			if !bytes.Equal(out[kept], old) {
				t.Errorf("%s: evidence is not what it was", name)
			}
			continue
		}
		found := false
		for saved, data := range out {
			var from, to int
			if rest, ok := strings.CutPrefix(saved, kept+"."); ok {
				found = true
				if _, err := fmt.Sscanf(rest, "%d-%d", &from, &to); err != nil || !bytes.Equal(old[from:to], data) {
					t.Errorf("%s: %v, not the bytes that were there", saved, err)
				}
			}
		}
		if !found {
			t.Errorf("%s: no evidence", name)
		}
	}
	if n < 12 {
		t.Errorf("%d files changed: %s", n, tell(r))
	}
}

// TestRepairOnABadDisk has syncs fail and space run out: the old files stay.
func TestRepairOnABadDisk(t *testing.T) {
	_, bad := wrecked(t)
	unchanged := func(what string, disk *simfs.FS) {
		for name, data := range load(t, disk, "/data") {
			if strings.HasSuffix(name, stagedSuffix) {
				t.Errorf("%s: %s was left", what, name)
			} else if !bytes.Equal(data, bad[name]) {
				t.Errorf("%s: %s was changed", what, name)
			}
		}
	}
	disk := simulated(t, bad, simfs.Options{})
	for n := 1; ; n++ {
		disk.FailSync(n)
		_, err := repairOn(disk, PolicyCut)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync %d: %v", n, err)
		}
		unchanged(fmt.Sprintf("sync %d", n), disk)
		if err := disk.RemoveAll("/data.logcheck-20260922T141320Z"); err != nil {
			t.Fatal(err)
		}
	}
	full := simulated(t, bad, simfs.Options{Capacity: int64(len(bad)+8) * simfs.BlockSize})
	if _, err := repairOn(full, PolicyCut); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	unchanged("a full disk", full)
}

// TestDryRun plans without a change, and what it plans is done.
func TestDryRun(t *testing.T) {
	_, bad := wrecked(t)
	for _, policy := range Policies {
		out := bad.clone()
		plan, err := Repair(context.Background(), []string{"/data"}, RepairOptions{FS: out, Damage: policy, Now: repairTime, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range out {
			if !bytes.Equal(data, bad[name]) {
				t.Errorf("%s: %s was changed", policy, name)
			}
		}
		if len(out) != len(bad) || plan.Status != StatusFindings {
			t.Errorf("%s: %d files were %d: %s", policy, len(out), len(bad), tell(plan))
		}
		done, err := repairOn(out, policy)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(plan.Actions, done.Actions, func(a, b Action) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) || !slices.Equal(plan.Lost, done.Lost) ||
			len(plan.Left) != len(done.Left) || plan.Evidence != done.Evidence {
			t.Errorf("%s: planned %s\ndone %s", policy, tell(plan), tell(done))
		}
	}
	if list, _ := filepath.Glob(filepath.Join(os.TempDir(), "logcheck-*", "*")); len(list) > 0 {
		t.Errorf("left in the directory for temporary files: %v", list)
	}
}

// TestRepairRefuses: a lock that is held, a target that is not there.
func TestRepairRefuses(t *testing.T) {
	_, bad := wrecked(t)
	if _, err := Repair(context.Background(), []string{"/nothing"}, RepairOptions{FS: bad.clone()}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no target: %v", err)
	}
	if _, err := Repair(context.Background(), []string{"/data"}, RepairOptions{FS: bad.clone(), Damage: "all"}); err == nil {
		t.Error("an unknown policy is taken")
	}
	disk := simulated(t, bad, simfs.Options{})
	lock, err := disk.Lock("/data/" + lockName)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, target := range []string{"/data", "/data/shop-0", "/data/shop-0/00000000000000000000.log", "/data/meta.properties"} {
		if _, err := Repair(context.Background(), []string{target}, RepairOptions{FS: disk, Lock: true}); !errors.Is(err, ErrRunning) {
			t.Errorf("%s, of a directory that is locked: %v", target, err)
		}
	}
}
