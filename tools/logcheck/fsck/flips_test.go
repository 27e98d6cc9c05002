package fsck

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/segment"
)

func check(t testing.TB, disk memory, deep bool) *Report {
	t.Helper()
	r, err := Verify(context.Background(), []string{"/data"}, Options{FS: disk, Deep: deep, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func describe(r *Report) string {
	var b strings.Builder
	r.WriteText(&b, 20)
	return b.String()
}

// files lists the files of the disk that mean something.
func (m memory) files() (list []string) {
	for name := range m {
		if filepath.Base(name) != lockName {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// meaningless says whether a start removes the file: leftovers, and the segment
// that a .swap file takes the place of.
func meaningless(name string) bool {
	ext := filepath.Ext(name)
	return ext == segment.DeletedSuffix || ext == segment.CleanedSuffix ||
		strings.Contains(name, "/keys-0/00000000000000000018.") && ext != segment.SwapSuffix && ext != segment.SnapshotSuffix
}

// unprovable says whether nothing on disk contradicts a change of bytes
// [from, to): comments, the cluster id, which stands in one place only, how far
// the cleaner came, which may be anything below the end of the log, a base
// offset in a gap that compaction left, and files that a start removes.
func unprovable(name string, data []byte, from, to int) bool {
	if dir, file := filepath.Split(name); filepath.Base(dir) == "keys-0" {
		switch {
		case meaningless(name):
			return true
		case strings.Contains(file, segment.LogSuffix):
			at := 0
			for b, rest, err := batch.Next(data); err == nil && at <= from; b, rest, err = batch.Next(rest) {
				if from < at+8 && to <= at+8 {
					return true
				}
				at += len(b)
			}
			return false
		}
	}
	switch filepath.Base(name) {
	case propertiesName:
		line := data[bytes.LastIndexByte(data[:from], '\n')+1:]
		key := []byte("cluster.id=")
		next := bytes.TrimPrefix(data[from:], []byte("\n"))
		comment := bytes.HasPrefix(line, []byte("#")) && (!bytes.Contains(data[from:to], []byte("\n")) || bytes.HasPrefix(next, []byte("#")))
		return comment || bytes.HasPrefix(line, key) && !bytes.HasPrefix(data[from:], key)
	case cleanerName:
		return from >= bytes.LastIndexByte(bytes.TrimSpace(data), '\n')
	}
	return false
}

// found says whether a finding names the file and, where the finding has a
// range, byte at. A finding of another file counts when it names the file as
// its witness: two contradict each other and nothing says which is wrong.
func found(r *Report, name string, at int64) bool {
	for _, f := range r.Findings {
		if strings.Contains(f.Expected, filepath.Base(name)) {
			return true
		}
		if f.File == name && (f.Position < 0 || f.Length == 0 || at >= f.Position && at < f.Position+f.Length) {
			return true
		}
	}
	return false
}

func TestMadeDirectoryIsClean(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	for _, deep := range []bool{false, true} {
		if r := check(t, disk, deep); r.Status != StatusClean || len(r.Findings) != 1 || r.Findings[0].Kind != KindLeftover {
			t.Errorf("deep %t: %s", deep, describe(r))
		}
	}
}

func TestEveryFlippedBitIsLocated(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	var flips, exact, ties atomic.Int64
	var wait sync.WaitGroup
	for _, name := range disk.files() {
		wait.Go(func() { flip(t, disk, name, &flips, &exact, &ties) })
	}
	wait.Wait()
	t.Logf("%d flips; %d in logs, each taken back by the finding but %d", flips.Load(), exact.Load(), ties.Load())
	if ties.Load() > 2 {
		t.Errorf("%d flips of a log are blamed on leader-epoch-checkpoint", ties.Load())
	}
}

// flip tries every bit of a file.
func flip(t *testing.T, disk memory, name string, flips, exact, ties *atomic.Int64) {
	data := disk[name]
	step := stride(len(data), 80)
	for i := range data {
		if i%step != 0 {
			continue
		}
		for bit := range 8 {
			changed := slices.Clone(data)
			changed[i] ^= 1 << bit
			flips.Add(1)
			r, err := Verify(context.Background(), []string{"/data"}, Options{FS: disk.with(name, changed), Deep: true, Workers: 1})
			if err != nil || !found(r, name, int64(i)) && !unprovable(name, data, i, i+1) {
				t.Errorf("%s byte %d bit %d: not found, or elsewhere: %v\n%s", name, i, bit, err, describe(r))
				return
			}
			if !strings.HasSuffix(name, ".log") || unprovable(name, data, i, i+1) {
				continue
			}
			if r.Counts.Damage == 0 && r.Findings[0].Kind == KindEpochFile {
				ties.Add(1) // where two epochs meet, one bit in either file explains it
				continue
			}
			if f := mended(r, changed); f == nil || !bytes.Equal(f, data) {
				t.Errorf("%s byte %d bit %d: the finding does not give the byte back\n%s", name, i, bit, describe(r))
				return
			}
			exact.Add(1)
		}
	}
}

// mended applies the fixes of the findings.
func mended(r *Report, data []byte) []byte {
	p := slices.Clone(data)
	for _, f := range r.Findings {
		for _, fix := range f.Fixes {
			if p[fix.Position] != fix.Found {
				return nil
			}
			p[fix.Position] = fix.Correct
		}
	}
	return p
}

func TestEveryTruncationIsFound(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	n := 0
	for _, name := range disk.files() {
		data := disk[name]
		step := stride(len(data), 200)
		for length := range data {
			if length%step != 0 {
				continue
			}
			n++
			r := check(t, disk.with(name, data[:length]), true)
			if !found(r, name, int64(length)) && !found(r, name, int64(length-1)) && !sameMeaning(name, data, length) {
				t.Errorf("%s cut to %d of %d bytes: not found\n%s", name, length, len(data), describe(r))
			}
		}
	}
	t.Logf("%d truncations", n)
}

// sameMeaning says whether a shorter file means the same: a sparse index with
// fewer entries, comments that end earlier.
func sameMeaning(name string, data []byte, length int) bool {
	if meaningless(name) {
		return true
	}
	if strings.HasSuffix(name, ".index") || strings.HasSuffix(name, ".index"+segment.SwapSuffix) {
		return length%8 == 0
	}
	if filepath.Base(name) == cleanerName && length == 0 {
		return true
	}
	return filepath.Base(name) == propertiesName && unprovable(name, data, length, len(data))
}

// eachSector gives a file with one sector zeroed, written twice, written over
// another, or swapped with another.
func eachSector(data []byte, try func(what string, changed []byte, at int)) {
	const sector = 512
	change := func(what string, changed []byte, from int) {
		if !bytes.Equal(changed, data) {
			try(fmt.Sprintf("sector at %d %s", from, what), changed, from)
		}
	}
	for from := 0; from < len(data); from += sector {
		end := min(from+sector, len(data))
		zeroed := slices.Clone(data)
		clear(zeroed[from:end])
		change("zeroed", zeroed, from)
		change("written twice", slices.Concat(data[:end], data[from:end], data[end:]), from)
		for other := from + sector; other < len(data); other += sector {
			last := min(other+sector, len(data))
			copied := slices.Clone(data)
			copy(copied[other:last], data[from:end])
			change("written over another", copied, other)
			swapped := slices.Clone(data)
			copy(swapped[from:end], data[other:last])
			copy(swapped[other:last], data[from:end])
			change("swapped", swapped, from)
		}
	}
}

func TestEverySectorIsFound(t *testing.T) {
	disk := loadMemory(t, makeDirectory(t))
	n := 0
	for _, name := range disk.files() {
		eachSector(disk[name], func(what string, changed []byte, at int) {
			if meaningless(name) {
				return
			}
			n++
			r := check(t, disk.with(name, changed), true)
			hit := false
			for i := at; i < len(changed); i++ {
				hit = hit || found(r, name, int64(i))
			}
			if !hit {
				t.Errorf("%s: %s: not found\n%s", name, what, describe(r))
			}
		})
	}
	t.Logf("%d changed sectors", n)
}
