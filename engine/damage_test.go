package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// tree is every file below a directory with its bytes.
func tree(t testing.TB, f vfs.FS, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := f.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := dir + "/" + e.Name()
		if e.IsDir() {
			maps.Copy(files, tree(t, f, name))
			continue
		}
		p, err := vfs.ReadFile(f, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(p)
	}
	return files
}

// put writes a file as someone else would, durably.
func put(t testing.TB, f vfs.FS, name string, data []byte) {
	t.Helper()
	if err := errors.Join(f.MkdirAll(filepath.Dir(name), 0o755), vfs.WriteFileAtomic(f, name, data)); err != nil {
		t.Fatal(err)
	}
}

// flip changes one bit of a file.
func flip(t testing.TB, f vfs.FS, name string, at int, bit uint) {
	t.Helper()
	file, err := f.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	one := make([]byte, 1)
	if _, err := file.ReadAt(one, int64(at)); err != nil {
		t.Fatal(err)
	}
	one[0] ^= 1 << bit
	if _, err := file.WriteAt(one, int64(at)); err != nil {
		t.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
}

// on returns a rig on another disk.
func (r *rig) on(disk *simfs.FS) *rig {
	other := &rig{t: r.t, disk: disk, clock: r.clock}
	other.open()
	return other
}

// filled makes a log of several segments on a killed process' disk, checkpointed
// in front of its last two batches.
func filled(t *testing.T) (r *rig, want []byte, batches []batch.Batch) {
	r = newRig(t)
	l := r.create("t-0", small)
	for i := range 60 {
		if i == 58 {
			if err := r.store.dirs[0].checkpointRecovery(true); err != nil {
				t.Fatal(err)
			}
		}
		b := records(1+i%4, fmt.Sprintf("value-%d-%s", i, strings.Repeat("x", 40*(i%5))))
		mustAppend(t, l, b)
		want, batches = append(want, b...), append(batches, slices.Clone(b))
	}
	if n := len(*l.segments.Load()); n < 3 {
		t.Fatalf("%d segments", n)
	}
	after := r.disk.KillClone()
	r.store.Abandon()
	return &rig{t: t, disk: after, clock: r.clock}, want, batches
}

// TestFlippedBits flips every bit, one at a time, of the last batch below the
// recovery point, which must be refused with nothing changed, and of the first
// one above it, which must be cut with the evidence kept. Only the leader epoch
// is covered by nothing.
func TestFlippedBits(t *testing.T) {
	r, want, batches := filled(t)
	point := batches[57].NextOffset()
	l := r.on(r.disk.KillClone()).load("t-0", small)
	file := l.active().Name()
	refused, cut := 0, 0
	for which, b := range batches {
		if which != 57 && which != 58 {
			continue
		}
		h, err := l.active().Locate(b.BaseOffset())
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(b) * 8 {
			at := int(h.Position) + i/8
			if i/8 >= 12 && i/8 < 16 {
				continue
			}
			hurt := r.on(r.disk.KillClone())
			flip(t, hurt.disk, file, at, uint(i%8))
			before := tree(t, hurt.disk, "/data/t-0")
			found, err := hurt.store.OpenLog("/data", "t-0", small)
			var corrupt *CorruptError
			switch {
			case which == 57:
				refused++
				if !errors.As(err, &corrupt) || !errors.Is(err, ErrStorage) || corrupt.Damage.File != file ||
					corrupt.Damage.Position != h.Position || corrupt.Offset != b.BaseOffset() || corrupt.RecoveryPoint != point {
					t.Fatalf("byte %d of batch %d at %d: %v", i/8, which, h.Position, err)
				}
				if !maps.Equal(before, tree(t, hurt.disk, "/data/t-0")) {
					t.Fatalf("byte %d: a refused log was changed", i/8)
				}
				if err := hurt.store.Close(1); err != nil {
					t.Fatal(err)
				}
				if _, err := hurt.disk.Stat("/data/" + cleanFile); err == nil {
					t.Fatal("the clean marker vouches for a refused log")
				}
			default:
				cut++
				if err != nil || found.End() != b.BaseOffset() {
					t.Fatalf("byte %d of batch %d: %v", i/8, which, err)
				}
				if got := contents(t, found, 4000); !bytes.Equal(got, want[:len(got)]) {
					t.Fatalf("byte %d of batch %d: other bytes", i/8, which)
				}
				torn, err := vfs.ReadFile(hurt.disk, file+segment.TornSuffix)
				if err != nil || string(torn) != before[file][h.Position:] {
					t.Fatalf("byte %d of batch %d: evidence of %d bytes, %v", i/8, which, len(torn), err)
				}
				hurt.store.Abandon()
			}
		}
	}
	t.Logf("%d flips refused, %d cut", refused, cut)
}

// TestLostTail takes bytes away from the end of the log.
func TestLostTail(t *testing.T) {
	r, want, batches := filled(t)
	point := batches[57].NextOffset()
	l := r.on(r.disk.KillClone()).load("t-0", small)
	file, size := l.active().Name(), l.active().Size()
	for left := int64(0); left <= size; left += 7 {
		for _, clean := range []bool{false, true} {
			hurt := r.on(r.disk.KillClone())
			if clean {
				hurt.load("t-0", small)
				if err := hurt.store.Close(1); err != nil {
					t.Fatal(err)
				}
				hurt.open()
			}
			f, err := hurt.disk.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Truncate(left), f.Sync(), f.Close()); err != nil {
				t.Fatal(err)
			}
			found, err := hurt.store.OpenLog("/data", "t-0", small)
			var corrupt *CorruptError
			if err != nil {
				if !errors.As(err, &corrupt) || corrupt.Damage.File != file {
					t.Fatalf("%d of %d bytes: %v", left, size, err)
				}
			} else if got := contents(t, found, 4000); found.End() < point || !bytes.HasPrefix(want, got) || clean && left < size {
				t.Fatalf("%d of %d bytes, clean %v: the log ends at %d, recovery point %d", left, size, clean, found.End(), point)
			}
			hurt.store.Abandon()
		}
	}
}

// TestGarbageBesideTheLog puts all kinds of garbage in place of every file that
// can be made again.
func TestGarbageBesideTheLog(t *testing.T) {
	r, want, batches := filled(t)
	rng := rand.New(rand.NewPCG(1, 1))
	random := make([]byte, 700)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	garbage := map[string]func([]byte) []byte{
		"empty":   func([]byte) []byte { return nil },
		"zeros":   func([]byte) []byte { return make([]byte, 6000) },
		"random":  func([]byte) []byte { return random },
		"half":    func(p []byte) []byte { return p[:len(p)/2] },
		"odd end": func(p []byte) []byte { return append(slices.Clone(p), 1, 2, 3) },
		"zero tail": func(p []byte) []byte {
			return append(slices.Clone(p), make([]byte, 4800)...)
		},
		"text": func([]byte) []byte { return []byte("0\n1\nt 0 900\n") },
	}
	for _, clean := range []bool{false, true} {
		start := r.on(r.disk.KillClone())
		if clean {
			start.load("t-0", small)
			if err := start.store.Close(1); err != nil {
				t.Fatal(err)
			}
		}
		for name, content := range tree(t, start.disk, "/data") {
			if strings.HasSuffix(name, segment.LogSuffix) || strings.HasSuffix(name, idFile) || strings.HasSuffix(name, lockFile) {
				continue
			}
			for kind, make := range garbage {
				if kind == "text" && (strings.HasSuffix(name, startFile) || strings.HasSuffix(name, recoveryFile)) {
					continue // not garbage: it says something
				}
				hurt := &rig{t: t, disk: start.disk.KillClone(), clock: r.clock}
				put(t, hurt.disk, name, make([]byte(content)))
				hurt.open()
				l, err := hurt.store.OpenLog("/data", "t-0", small)
				if err != nil {
					t.Fatalf("%s in %s, clean %v: %v", kind, name, clean, err)
				}
				for _, size := range []int{1, 900, 1 << 20} {
					if got := contents(t, l, size); !bytes.Equal(got, want) {
						t.Fatalf("%s in %s, clean %v: %d bytes of %d", kind, name, clean, len(got), len(want))
					}
				}
				if e, end := l.EndOffsetForEpoch(3); e != 3 || end != l.End() {
					t.Fatalf("%s in %s, clean %v: epoch 3 ends at %d, %d", kind, name, clean, e, end)
				}
				if found, ok, err := l.MaxTimestamp(); err != nil || !ok || found.Timestamp != epochStart.UnixMilli()+3 ||
					found.Offset != batches[3].LastOffset() && !strings.HasSuffix(name, segment.TimeIndexSuffix) {
					t.Fatalf("%s in %s, clean %v: max timestamp %+v %v %v", kind, name, clean, found, ok, err)
				}
				mustAppend(t, l, records(1, "more"))
				hurt.store.Abandon()
			}
		}
	}
}

// TestKafkaKilled opens what a killed Apache Kafka 4.3.1 left: index files of
// 10 MiB with a tail of zeros (cut off in testdata), an open transaction, a
// compacted log with gaps, a log with its head deleted.
func TestKafkaKilled(t *testing.T) {
	disk := simfs.New(simfs.Options{})
	stored := map[string][]byte{}
	root := "testdata/kafka-4.3.1-killed"
	err := filepath.WalkDir(root, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		p, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		stored[filepath.ToSlash(rel)] = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	lastOf := map[string]string{"txn-0": "00000000000000000050", "compacted-0": "00000000000000001925", "trimmed-0": "00000000000000000000"}
	for name, p := range stored {
		dir, file := filepath.Split(name)
		if strings.HasPrefix(file, lastOf[strings.TrimSuffix(dir, "/")]) && dir != "" {
			switch filepath.Ext(file) {
			case segment.IndexSuffix:
				p = append(slices.Clone(p), make([]byte, 10485760-len(p))...)
			case segment.TimeIndexSuffix:
				p = append(slices.Clone(p), make([]byte, 10485756-len(p))...)
			}
		}
		put(t, disk, "/data/"+name, p)
	}
	r := &rig{t: t, disk: disk, clock: nil}
	r.clock = newRig(t).clock
	c := LogConfig{SegmentBytes: 1 << 20, RetentionMs: -1, RetentionBytes: -1}
	for _, restart := range []string{"taken over", "killed", "cleanly stopped"} {
		r.open()
		for _, want := range []struct {
			name               string
			start, end, stable int64
		}{{"txn-0", 0, 175, 165}, {"compacted-0", 0, 2500, 2500}, {"trimmed-0", 600, 1000, 1000}} {
			l := r.load(want.name, c)
			if l.Start() != want.start || l.End() != want.end || l.Stable() != want.stable {
				t.Fatalf("%s, %s: [%d, %d), stable %d, expected %+v", restart, want.name, l.Start(), l.End(), l.Stable(), want)
			}
			var all []byte
			for _, base := range []string{"00000000000000000000", "00000000000000000050", "00000000000000001925"} {
				all = append(all, stored[want.name+"/"+base+segment.LogSuffix]...)
			}
			if got := contents(t, l, 5000); !bytes.HasSuffix(all, got) || want.start == 0 && len(got) != len(all) {
				t.Fatalf("%s, %s: %d bytes of %d", restart, want.name, len(got), len(all))
			}
		}
		l := r.store.Log("txn-0")
		txns, err := l.AbortedTransactions(0, 200)
		var index []byte
		for _, a := range txns {
			index = appendAborted(index, a)
		}
		if err != nil || !bytes.Equal(index, stored["txn-0/00000000000000000050.txnindex"]) {
			t.Fatalf("%s: aborted transactions %+v, %v", restart, txns, err)
		}
		if restart == "taken over" {
			r.kill2()
		} else if err := r.store.Close(1); err != nil {
			t.Fatal(err)
		}
	}
}

// kill2 stops the process and leaves the store closed.
func (r *rig) kill2() {
	after := r.disk.KillClone()
	r.store.Abandon()
	r.disk = after
}

// TestForeignLog serves a log that something else made: one segment without
// index, checksums that do not hold. It must stay as it is, whatever happens.
func TestForeignLog(t *testing.T) {
	var foreign []byte
	for i := range 20 {
		b := records(2, fmt.Sprintf("foreign-%d", i))
		b.SetBaseOffset(int64(2 * i))
		b.SetLeaderEpoch(0)
		b[17] ^= 0xFF
		foreign = append(foreign, b...)
	}
	r := newRig(t)
	name := "/data/t-0/00000000000000000000.log"
	put(t, r.disk, name, foreign)
	if err := r.disk.SyncDir("/data"); err != nil {
		t.Fatal(err)
	}
	var ours []byte
	for i, restart := range []func(){func() {}, r.kill, r.crash, func() {
		if err := r.store.Close(3); err != nil {
			t.Fatal(err)
		}
		r.open()
	}, r.crash, func() {
		r.store.dirs[0].checkpointRecovery(true)
		r.kill()
	}, r.crash} {
		restart()
		l := r.load("t-0", small)
		if l.End() != int64(40+i) || l.Start() != 0 {
			t.Fatalf("restart %d: [%d, %d)", i, l.Start(), l.End())
		}
		var got []byte
		for at := int64(0); at < l.End(); {
			p, err := readAt(l, at, 300)
			if err != nil {
				t.Fatal(err)
			}
			for rest := p; len(rest) > 0; {
				var b batch.Batch
				if b, rest, err = batch.Next(rest); err != nil {
					t.Fatal(err)
				}
				at = b.NextOffset()
			}
			got = append(got, p...)
		}
		if !bytes.Equal(got, append(slices.Clone(foreign), ours...)) {
			t.Fatalf("restart %d: %d bytes, expected %d and %d", i, len(got), len(foreign), len(ours))
		}
		if stays, err := vfs.ReadFile(r.disk, name); err != nil || !bytes.Equal(stays, foreign) {
			t.Fatalf("restart %d: the foreign file was changed, %v", i, err)
		}
		if e, end := l.EndOffsetForEpoch(0); e != 0 || i == 0 && end != 40 {
			t.Fatalf("restart %d: epoch 0 ends at %d, %d", i, e, end)
		}
		b := records(1, "ours")
		mustAppend(t, l, b)
		ours = append(ours, b...)
	}
}

// TestInterruptedCleaning stops Kafka's cleaner, which replaces two segments by
// one, after each of its steps.
func TestInterruptedCleaning(t *testing.T) {
	r := newRig(t)
	l := r.create("t-0", small)
	for i := range 60 {
		mustAppend(t, l, records(1+i%4, strings.Repeat("x", 40*(i%5))))
	}
	want := contents(t, l, 1<<20)
	list := *l.segments.Load()
	if len(list) < 4 {
		t.Fatalf("%d segments", len(list))
	}
	first, second := list[0].Base(), list[1].Base()
	if err := r.store.Close(1); err != nil {
		t.Fatal(err)
	}
	file := func(base int64, suffix string) string { return segment.FileName("/data/t-0", base, suffix) }
	data := tree(t, r.disk, "/data/t-0")
	merged := data[file(first, segment.LogSuffix)] + data[file(second, segment.LogSuffix)]
	type step func(f vfs.FS)
	var steps []step
	write := func(name, content string) { steps = append(steps, func(f vfs.FS) { put(t, f, name, []byte(content)) }) }
	rename := func(from, to string) {
		steps = append(steps, func(f vfs.FS) {
			if err := errors.Join(f.Rename(from, to), f.SyncDir("/data/t-0")); err != nil {
				t.Fatal(err)
			}
		})
	}
	kinds := []string{segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix}
	write(file(first, segment.LogSuffix+segment.CleanedSuffix), merged[:300])
	write(file(first, segment.IndexSuffix+segment.CleanedSuffix), "")
	write(file(first, segment.TimeIndexSuffix+segment.CleanedSuffix), "")
	write(file(first, segment.LogSuffix+segment.CleanedSuffix), merged)
	for i := len(kinds) - 1; i >= 0; i-- { // Kafka renames the log last here
		rename(file(first, kinds[i]+segment.CleanedSuffix), file(first, kinds[i]+segment.SwapSuffix))
	}
	for _, base := range []int64{second, first} {
		for _, kind := range kinds {
			rename(file(base, kind), file(base, kind+segment.DeletedSuffix))
		}
	}
	for _, kind := range kinds {
		rename(file(first, kind+segment.SwapSuffix), file(first, kind))
	}
	for n := 0; n <= len(steps); n++ {
		for _, crash := range []bool{false, true} {
			now := &rig{t: t, disk: r.disk.KillClone(), clock: r.clock}
			for _, do := range steps[:n] {
				do(now.disk)
			}
			if crash {
				if err := errors.Join(now.disk.Remove("/data/"+cleanFile), now.disk.SyncDir("/data")); err != nil {
					t.Fatal(err)
				}
			}
			now.open()
			l, err := now.store.OpenLog("/data", "t-0", small)
			if err != nil {
				t.Fatalf("after step %d, crash %v: %v", n, crash, err)
			}
			if got := contents(t, l, 1000); !bytes.Equal(got, want) {
				t.Fatalf("after step %d, crash %v: %d bytes of %d", n, crash, len(got), len(want))
			}
			now.crash()
			if got := contents(t, now.load("t-0", small), 1000); !bytes.Equal(got, want) {
				t.Fatalf("after step %d, crash %v, and a power cut: %d bytes of %d", n, crash, len(got), len(want))
			}
			now.store.Abandon()
		}
	}
}

func appendAborted(dst []byte, t AbortedTxn) []byte { return producer.AppendAborted(dst, t) }
