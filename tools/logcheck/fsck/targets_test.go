package fsck

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gregor-broker/gregor/engine/segment"
)

// TestRepairOfOneTarget repairs a partition and single files: only what belongs
// to them is changed, the line of a partition in the checkpoints included.
func TestRepairOfOneTarget(t *testing.T) {
	good, bad := wrecked(t)
	inside := func(dir string) func(name string) bool {
		return func(name string) bool { return strings.HasPrefix(name, "/data/"+dir+"/") }
	}
	only := func(file string) func(name string) bool {
		return func(name string) bool { return name == "/data/"+file }
	}
	for target, want := range map[string]func(name string) bool{
		"shop-1":                                   inside("shop-1"),
		"shop-1/00000000000000000000.timeindex":    inside("shop-1"),
		propertiesName:                             only(propertiesName),
		recoveryName:                               only(recoveryName),
		metadataName + "/quorum-state":             inside(metadataName),
		metadataName + "/00000000000000000000.log": inside(metadataName),
	} {
		before := good.clone()
		for name := range before { // all that it may change is damaged, and one thing that it may not
			if want(name) || name == "/data/shop-0/00000000000000000020.timeindex" {
				before[name] = bad[name]
			}
		}
		out := before.clone()
		r, err := Repair(context.Background(), []string{"/data/" + target}, RepairOptions{FS: out, Now: repairTime, Workers: 1})
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		n := 0
		for name, data := range before {
			if bytes.Equal(out[name], data) {
				continue
			}
			if n++; !want(name) {
				t.Errorf("%s: %s was changed\n%s", target, name, tell(r))
			}
		}
		if n == 0 {
			t.Errorf("%s: nothing was changed\n%s", target, tell(r))
		}
		for name := range out {
			if !strings.HasPrefix(name, "/data/") && !strings.HasPrefix(name, "/data.logcheck-20260922T141320Z/") {
				t.Errorf("%s: made %s", target, name)
			}
		}
	}
	// A partition that is cut short by its repair takes its lines of the checkpoints along.
	data := slices.Clone(good["/data/shop-1/00000000000000000000.log"])
	clear(data[700:])
	out := good.with("/data/shop-1/00000000000000000000.log", data)
	r, err := Repair(context.Background(), []string{"/data/shop-1"}, RepairOptions{FS: out, Damage: PolicyTruncate, Now: repairTime, Workers: 1})
	if err != nil || bytes.Equal(out["/data/"+recoveryName], good["/data/"+recoveryName]) {
		t.Fatalf("%v %s", err, tell(r))
	}
	if r := check(t, out, true); r.Status != StatusClean {
		t.Errorf("the directory after the repair of one partition: %s", describe(r))
	}
}

// TestRepairKeepsOwners repairs a real directory: a broker must be able to go
// on writing the files.
func TestRepairKeepsOwners(t *testing.T) {
	dir := makeDirectory(t)
	name := filepath.Join(dir, "shop-0", "00000000000000000000.index")
	if err := os.WriteFile(name, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "shop-0", "00000000000000000020.timeindex")
	if err := errors.Join(os.Chmod(name, 0o600), os.Remove(gone)); err != nil {
		t.Fatal(err)
	}
	owner := os.Geteuid()
	if owner == 0 {
		owner = 1234
		if err := errors.Join(os.Chown(name, owner, owner), os.Chown(filepath.Dir(name), owner, owner)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Repair(context.Background(), []string{dir}, RepairOptions{Evidence: filepath.Join(t.TempDir(), "kept"), Lock: true})
	if err != nil || r.Status != StatusClean || len(r.Actions) != 2 {
		t.Fatalf("%v %s", err, tell(r))
	}
	for name, mode := range map[string]os.FileMode{name: 0o600, gone: 0o644} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode || info.Sys().(*syscall.Stat_t).Uid != uint32(owner) {
			t.Errorf("%s: mode %v, owner %d, expected %v, %d", name, info.Mode(), info.Sys().(*syscall.Stat_t).Uid, mode, owner)
		}
	}
}

// far is a disk on which the evidence lies on another one.
type far struct{ memory }

func (f far) Rename(from, to string) error {
	if strings.HasPrefix(from, "/data/") != strings.HasPrefix(to, "/data/") {
		return syscall.EXDEV
	}
	return f.memory.Rename(from, to)
}

// TestEvidenceElsewhere keeps the evidence on another disk, where nothing can be
// renamed to.
func TestEvidenceElsewhere(t *testing.T) {
	_, bad := wrecked(t)
	for _, policy := range []Policy{PolicyTruncate, PolicyQuarantine} {
		near, _ := repaired(t, bad, policy)
		out := bad.clone()
		r, err := Repair(context.Background(), []string{"/data"}, RepairOptions{FS: far{out}, Damage: policy, Evidence: "/elsewhere", Now: repairTime, Workers: 1})
		if err != nil || r.Evidence != "/elsewhere" {
			t.Fatalf("%s: %v %s", policy, err, tell(r))
		}
		for name, data := range near {
			place := strings.Replace(name, "/data.logcheck-20260922T141320Z", "/elsewhere", 1)
			if !bytes.Equal(out[place], data) && filepath.Base(name) != manifestName {
				t.Errorf("%s: %s is not as when it is near", policy, place)
			}
		}
		if len(out) != len(near) {
			t.Errorf("%s: %d files, expected %d", policy, len(out), len(near))
		}
	}
}

// TestLostMarkerIsSaid cuts the marker of a transaction out of a log: the report
// says that readers will wait.
func TestLostMarkerIsSaid(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	name := "/data/shop-0/00000000000000000020.log"
	data := slices.Clone(disk[name])
	clear(data[:300])
	_, r := repaired(t, disk.with(name, data), PolicyCut)
	if !strings.Contains(tell(r), "the end of the transaction of producer 9 from offset 17") && !strings.Contains(tell(r), "readers of committed records wait there") {
		t.Errorf("%s", tell(r))
	}
}

// TestKafkasFilesAreGivenBack flips bits in files that Apache Kafka wrote and
// has them back, byte for byte.
func TestKafkasFilesAreGivenBack(t *testing.T) {
	all := unpack(t, "kafka-4.3.1-clean.tar.gz")
	disk := memory{}
	for name, data := range all {
		switch filepath.Base(filepath.Dir(name)) {
		case "txn-1", "plain-2", "trimmed-0", "compacted-1", metadataName, "data":
			disk[name] = data
		}
	}
	if r := check(t, disk, true); r.Counts.Damage == 0 {
		t.Logf("%s", describe(r)) // partitions of the metadata are not there
	}
	n := 0
	for _, name := range disk.files() {
		base := filepath.Base(name)
		data := disk[name]
		if meaningless(name) || len(data) == 0 || filepath.Base(filepath.Dir(name)) == "data" || base == topicIDName {
			continue
		}
		for i := len(data) / 3; i < len(data); i += 1 + len(data)*coarse/2 {
			changed := slices.Clone(data)
			changed[i] ^= 1 << (i % 8)
			out := disk.with(name, changed)
			r, err := Repair(context.Background(), []string{filepath.Dir(name)}, RepairOptions{FS: out, Now: repairTime, Workers: 1})
			if err != nil {
				t.Fatal(err)
			}
			n++
			if ext := filepath.Ext(name); !bytes.Equal(out[name], data) && (ext == segment.LogSuffix || ext == segment.SnapshotSuffix || ext == checkpointSuffix) && !strings.Contains(name, "compacted") {
				t.Errorf("%s byte %d: not given back\n%s", name, i, tell(r))
			}
		}
	}
	if n < 50/coarse {
		t.Errorf("%d flips", n)
	}
}

// FuzzRepair puts any bytes in the place of a file and repairs: no panic, and
// nothing is gone that the report does not name.
func FuzzRepair(f *testing.F) {
	disk := loadMemory(f, makeDirectory(f))
	before := contents(disk)
	files := disk.files()
	for i, name := range files {
		f.Add(uint8(i), uint8(i), disk[name][:len(disk[name])/2])
	}
	f.Fuzz(func(t *testing.T, which, policy uint8, data []byte) {
		name := files[int(which)%len(files)]
		out, r := repaired(t, disk.with(name, data), Policies[int(policy)%len(Policies)])
		if filepath.Ext(name) == segment.LogSuffix || strings.HasSuffix(name, segment.SwapSuffix) {
			return // what is in it may be anything
		}
		if gone := missing(before, contents(out), r); gone != "" {
			t.Errorf("%s: %s is gone\n%s", name, gone, tell(r))
		}
	})
}
