package fsck

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/segment"
)

// full makes the exhaustive tests try everything: go test ./tools/logcheck/fsck -full.
var full = flag.Bool("full", false, "repair every flipped bit and every truncation instead of a sample")

// stride is how far apart n things must be tried for so many samples of them.
func stride(n, samples int) int {
	if *full {
		return 1
	}
	return 1 + n*coarse/samples
}

var repairTime = time.UnixMilli(madeTime + 86_400_000)

// repaired repairs a copy of the disk.
func repaired(t testing.TB, disk memory, policy Policy) (memory, *RepairReport) {
	t.Helper()
	out := disk.clone()
	r, err := Repair(context.Background(), []string{"/data"}, RepairOptions{FS: out, Damage: policy, Now: repairTime, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	return out, r
}

func tell(r *RepairReport) string {
	var b strings.Builder
	r.WriteText(&b, 20)
	return b.String()
}

// contents are all records of the partitions of a disk: a digest by partition
// and offset.
func contents(disk memory) map[string]map[int64]uint32 {
	all := map[string]map[int64]uint32{}
	for name, p := range disk {
		if _, covered := disk[name+segment.SwapSuffix]; covered {
			continue
		}
		if filepath.Ext(strings.TrimSuffix(name, segment.SwapSuffix)) != segment.LogSuffix || !strings.HasPrefix(name, "/data/") {
			continue
		}
		partition := filepath.Base(filepath.Dir(name))
		if all[partition] == nil {
			all[partition] = map[int64]uint32{}
		}
		for len(p) > 0 {
			b, rest, err := batch.Next(p)
			if err != nil || b.CheckCRC() != nil {
				break
			}
			_ = b.Each(1<<20, func(r *batch.Record) error {
				all[partition][r.Offset] = batch.Checksum(fmt.Appendf(nil, "%d %q %q %v %t %d", r.Timestamp, r.Key, r.Value, r.Headers, b.IsControl(), b.ProducerID()))
				return nil
			})
			p = rest
		}
	}
	return all
}

// missing compares what was with what is, and gives the first offset that is
// gone, or another, and that the report does not name.
func missing(before, after map[string]map[int64]uint32, r *RepairReport) string {
	lost := func(partition string, offset int64) bool {
		return slices.ContainsFunc(r.Lost, func(l Loss) bool {
			return l.Partition == partition && offset >= l.Offset && (offset <= l.LastOffset || l.LastOffset < 0)
		})
	}
	for partition, records := range before {
		for offset, digest := range records {
			if got, ok := after[partition][offset]; (!ok || got != digest) && !lost(partition, offset) {
				return fmt.Sprintf("%s offset %d: there %t", partition, offset, ok)
			}
		}
		for offset := range after[partition] {
			if _, ok := records[offset]; !ok {
				return fmt.Sprintf("%s offset %d was not there before", partition, offset)
			}
		}
	}
	return ""
}

// outcome of many repairs.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (y *tally) add(what string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.counts == nil {
		y.counts = map[string]int{}
	}
	y.counts[what]++
}

// try repairs a disk of which one file was changed and judges the outcome:
// nothing that the report does not name may be gone, and what it says is clean
// is. Only what nothing on disk can prove may be left.
func (y *tally) try(t *testing.T, disk memory, before map[string]map[int64]uint32, name, what string, changed []byte, policy Policy, mayStay bool) {
	broken := disk.with(name, changed)
	out, r := repaired(t, broken, policy)
	if gone := missing(before, contents(out), r); gone != "" && len(r.Left) == 0 {
		t.Errorf("%s %s, %s: %s is gone and the report does not say so\n%s", name, what, policy, gone, tell(r))
	}
	switch {
	case bytes.Equal(out[name], disk[name]):
		y.add("given back exactly")
	case r.Status == StatusClean && len(r.Lost) == 0:
		y.add("nothing lost")
	case r.Status == StatusClean:
		y.add("some records gone, said which")
	case mayStay:
		y.add("left, as nothing proves what it was")
	default:
		t.Errorf("%s %s, %s: not repaired\n%s", name, what, policy, tell(r))
		return
	}
	again, second := repaired(t, out, policy)
	if policy == PolicyQuarantine && second.After.Damage == second.Before.Damage && len(second.Actions) == 0 {
		return // a directory is missing until a broker makes it
	}
	if len(second.Actions) > 0 || second.Status != r.Status || len(again) != len(out) {
		t.Errorf("%s %s, %s: a second repair finds something to do\n%s\n%s", name, what, policy, tell(r), tell(second))
	}
}

// eachFile tries files on all processors.
func eachFile(disk memory, f func(name string, data []byte)) {
	var wait sync.WaitGroup
	work := make(chan string)
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for name := range work {
				f(name, disk[name])
			}
		})
	}
	for _, name := range disk.files() {
		work <- name
	}
	close(work)
	wait.Wait()
}

// unmendable says whether what a change of bytes [from, to) did cannot be known
// from anything else on the disk.
func unmendable(name string, data []byte, from, to int) bool {
	switch filepath.Base(name) {
	case propertiesName, bootstrapName, "00000000000000000000-0000000000" + checkpointSuffix, cleanerName:
		return true
	}
	return filepath.Base(filepath.Dir(name)) == metadataName && filepath.Ext(name) == segment.LogSuffix
}

func TestNothingToRepair(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	for _, policy := range Policies {
		out, r := repaired(t, disk, policy)
		if len(r.Actions) > 0 || r.Status != StatusClean || len(out) != len(disk) {
			t.Errorf("%s: %s", policy, tell(r))
		}
	}
}

// TestRepairOfEveryBit flips bits and repairs: all of them with -full.
func TestRepairOfEveryBit(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	before := contents(disk)
	var y tally
	eachFile(disk, func(name string, data []byte) {
		step := stride(len(data), 10)
		for i := range data {
			if i%step != 0 {
				continue
			}
			if (strings.Contains(name, segment.LogSuffix) || meaningless(name)) && unprovable(name, data, i, i+1) {
				y.add("in a gap of a compacted log, or in a file that a start removes")
				continue
			}
			for bit := range 8 {
				changed := slices.Clone(data)
				changed[i] ^= 1 << bit
				y.try(t, disk, before, name, fmt.Sprintf("byte %d bit %d", i, bit), changed, PolicyStop, filepath.Base(name) == propertiesName)
			}
		}
	})
	t.Log(y.counts)
}

// TestRepairOfEveryTruncation cuts files and repairs.
func TestRepairOfEveryTruncation(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	before := contents(disk)
	var y tally
	eachFile(disk, func(name string, data []byte) {
		step := stride(len(data), 24)
		for length := range data {
			if length%step == 0 {
				policy := [...]Policy{PolicyCut, PolicyTruncate, PolicyQuarantine}[length/step%3]
				y.try(t, disk, before, name, fmt.Sprintf("cut to %d bytes", length), slices.Clone(data[:length]), policy, unmendable(name, data, length, len(data)))
			}
		}
	})
	t.Log(y.counts)
}

// TestRepairOfEverySector zeroes, repeats and swaps sectors and repairs.
func TestRepairOfEverySector(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	before := contents(disk)
	var y tally
	eachFile(disk, func(name string, data []byte) {
		eachSector(data, func(what string, changed []byte, at int) {
			if coarse > 1 && !*full && at/512%3 != 0 {
				return
			}
			for _, policy := range Policies[1:] {
				y.try(t, disk, before, name, what, changed, policy, unmendable(name, data, at, len(data)))
			}
		})
	})
	t.Log(y.counts)
}
