package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/vfs"
)

func compacted() LogConfig {
	return LogConfig{SegmentBytes: 2048, SegmentIndexBytes: 4096, IndexIntervalBytes: 256, Compact: true, RetentionMs: -1, RetentionBytes: -1,
		SegmentMs: 1 << 40, DeleteRetentionMs: keyedRetention, FileDeleteDelayMs: 1000}
}

// putKeys appends a record for each key, one batch each.
func putKeys(t testing.TB, l *Log, now time.Time, value string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		done := make(waitChannel, 1)
		p := batch.NewBuilder(codec.None).Append(now.UnixMilli(), []byte(key), []byte(value)).Bytes()
		if _, err := l.Append(p, AppendOptions{LeaderEpoch: 1}, done); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// keysOf is "key=value@offset" of every record in order.
func keysOf(t testing.TB, l *Log) string {
	t.Helper()
	list, err := readBatches(l, l.Start())
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, b := range list {
		records, err := recordsOf(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			s = append(s, fmt.Sprintf("%s=%s@%d", r.key, r.value, r.offset))
		}
	}
	return strings.Join(s, " ")
}

func many(prefix string, n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint(prefix, i))
	}
	return keys
}

// grown is a log with some rounds of the same keys in sealed segments.
func grown(t testing.TB, r *rig, name string, c LogConfig) *Log {
	t.Helper()
	l := r.create(name, c)
	for i := range 6 {
		putKeys(t, l, r.clock.Now(), fmt.Sprint("value-", i), many("key-", 20)...)
	}
	return l
}

func (r *rig) stop() {
	r.t.Helper()
	if err := r.store.Close(1); err != nil {
		r.t.Fatal(err)
	}
}

// clean waits for the cleaner's next round.
func (r *rig) clean() {
	r.t.Helper()
	r.clock.Advance(DefaultBackoff)
	r.store.RunJobs()
}

func (r *rig) file(name string) string {
	r.t.Helper()
	p, err := vfs.ReadFile(r.disk, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	return string(p)
}

func (r *rig) names(log string) string {
	r.t.Helper()
	entries, err := r.disk.ReadDir("/data/" + log)
	if err != nil {
		r.t.Fatal(err)
	}
	var s []string
	for _, e := range entries {
		s = append(s, strings.TrimLeft(e.Name(), "0"))
	}
	return strings.Join(s, " ")
}

// TestCleanerProtocol is what a cleaning does to a partition directory and to its neighbours, step by step.
func TestCleanerProtocol(t *testing.T) {
	r := newRig(t)
	l := grown(t, r, "topic-0", compacted())
	if err := r.store.dirs[0].checkpointRecovery(true); err != nil {
		t.Fatal(err)
	}
	list := *l.segments.Load()
	if len(list) < 4 {
		t.Fatalf("%d segments", len(list))
	}
	active := list[len(list)-1].Base()
	modified, err := list[len(list)-2].ModTime()
	if err != nil {
		t.Fatal(err)
	}
	held, err := l.Read(0, ReadOptions{MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(held.Spans[0])
	generation := list[0].Generation()
	c := compacted()
	c.SegmentBytes = 1 << 16 // so that all become one
	l.SetConfig(c)
	var steps []string
	r.disk.OnChange(func(e vfs.Event) { steps = append(steps, strings.ReplaceAll(e.String(), "00000000000000000", "")) })
	r.clean()
	r.disk.OnChange(nil)
	var names []string
	for _, s := range steps {
		if strings.HasPrefix(s, "rename") || strings.HasPrefix(s, "syncdir") || strings.HasPrefix(s, "sync /data/topic-0/000.log") {
			names = append(names, strings.ReplaceAll(s, "/data/topic-0/", ""))
		}
	}
	got := strings.Join(names, "\n")
	at := 0
	for _, want := range []string{
		"sync 000.log.cleaned", "syncdir /data/topic-0",
		"rename 000.index.cleaned -> 000.index.swap", "rename 000.timeindex.cleaned -> 000.timeindex.swap",
		"rename 000.log.cleaned -> 000.log.swap", "syncdir /data/topic-0",
		"rename 000.log -> 000.log.deleted", "syncdir /data/topic-0",
		"rename 000.log.swap -> 000.log", "syncdir /data/topic-0",
		"rename 000.index.swap -> 000.index", "rename 000.timeindex.swap -> 000.timeindex", "syncdir /data/topic-0",
		"rename /data/cleaner-offset-checkpoint.tmp -> /data/cleaner-offset-checkpoint", "syncdir /data",
	} {
		i := strings.Index(got[at:], want)
		if i < 0 {
			t.Fatalf("no %q behind byte %d of\n%s", want, at, got)
		}
		at += i + len(want)
	}
	// A reader that was there reads on, even when the files are gone.
	r.clock.Advance(2 * time.Second)
	r.store.RunJobs()
	if !bytes.Equal(bytes.Join(held.Spans, nil), before) {
		t.Error("a reader's bytes changed")
	}
	held.Release()
	r.clock.Advance(2 * time.Second)
	r.store.RunJobs()
	now := *l.segments.Load()
	if len(now) != 2 || now[0].Base() != 0 || now[1].Base() != active || now[0].Generation() == generation {
		t.Errorf("%d segments", len(now))
	}
	if got, err := now[0].ModTime(); err != nil || !got.Equal(modified) {
		t.Errorf("modified %v, expected %v, %v", got, modified, err)
	}
	if got, want := r.file("/data/cleaner-offset-checkpoint"), fmt.Sprintf("0\n1\ntopic 0 %d\n", active); got != want {
		t.Errorf("checkpoint %q, expected %q", got, want)
	}
	if names := r.names("topic-0"); strings.Contains(names, ".deleted") || strings.Contains(names, ".swap") || strings.Contains(names, ".cleaned") || strings.Count(names, ".snapshot") > 2 {
		t.Error(names)
	}
	// Each key once below the active segment.
	view := keysOf(t, l)
	for _, key := range many("key-", 20) {
		if n := strings.Count(view, key+"="); n < 1 || n > 2 {
			t.Errorf("%d records of %s in %s", n, key, view)
		}
	}
	if !strings.HasPrefix(view, "key-") || l.Start() != 0 {
		t.Error(l.Start(), view)
	}
	// Again there is nothing to do.
	steps = nil
	r.disk.OnChange(func(e vfs.Event) { steps = append(steps, e.String()) })
	r.clean()
	r.disk.OnChange(nil)
	for _, s := range steps {
		if strings.Contains(s, ".cleaned") {
			t.Error(s)
		}
	}
	// The log goes with its line.
	if err := r.store.DeleteLog("topic-0"); err != nil {
		t.Fatal(err)
	}
	if got := r.file("/data/cleaner-offset-checkpoint"); got != "0\n0\n" {
		t.Errorf("checkpoint %q", got)
	}
	r.stop()
}

// TestCleanerAndHotReads: what was cached of replaced segments is never found again.
func TestCleanerAndHotReads(t *testing.T) {
	r := newRig(t)
	r.stop()
	var err error
	if r.store, err = Open(Options{FS: r.disk, Clock: r.clock, Dirs: []string{"/data"}, Manual: true, CacheBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	c := compacted()
	c.SegmentBytes, c.SegmentIndexBytes = 256<<10, 1<<16
	l := r.create("topic-0", c)
	for i := range 10 {
		putKeys(t, l, r.clock.Now(), strings.Repeat("v", 4000)+fmt.Sprint(i), many("key-", 20)...)
	}
	var old string
	for range 4 {
		old = keysOf(t, l)
	}
	r.clean()
	view := keysOf(t, l)
	if view == old || len(view) > len(old)/2 {
		t.Fatal("nothing was cleaned")
	}
	for range 4 {
		if got := keysOf(t, l); got != view {
			t.Fatal("another answer the second time")
		}
	}
	r.stop()
}

// TestCleanerIsPrompt with the settings that tests of clients use.
func TestCleanerIsPrompt(t *testing.T) {
	r := newRig(t)
	c := compacted()
	c.SegmentBytes, c.SegmentMs, c.MinCleanableDirtyRatio, c.MaxCompactionLagMs, c.DeleteRetentionMs = 1<<20, 500, 0.01, 100, 100
	l := r.create("topic-0", c)
	began := r.clock.Now()
	for i := range 5 {
		putKeys(t, l, r.clock.Now(), fmt.Sprint(i), "a", "b", "c")
		r.clock.Advance(600 * time.Millisecond)
	}
	putKeys(t, l, r.clock.Now(), "last", "c")
	for {
		next := r.store.RunJobs()
		if view := keysOf(t, l); view == "a=4@12 b=4@13 c=4@14 c=last@15" {
			break
		} else if r.clock.Now().Sub(began) > 20*time.Second {
			t.Fatalf("after 20 s: %s", view)
		}
		r.clock.Advance(next.Sub(r.clock.Now()))
	}
	r.stop()
}

func TestCleanerFollowsConfig(t *testing.T) {
	r := newRig(t)
	c := compacted()
	c.Compact = false
	l := grown(t, r, "topic-0", c)
	size := l.Size()
	r.clean()
	if l.Size() != size {
		t.Fatal("a log that is not to be compacted was")
	}
	c.Compact, c.MinCompactionLagMs = true, 60_000
	l.SetConfig(c)
	r.clean()
	if l.Size() != size {
		t.Fatal("compacted within min.compaction.lag.ms")
	}
	c.MinCompactionLagMs, c.MinCleanableDirtyRatio = 0, 1
	l.SetConfig(c)
	r.clean()
	if l.Size() != size {
		t.Fatal("compacted below min.cleanable.dirty.ratio")
	}
	c.MaxCompactionLagMs = 1000
	l.SetConfig(c)
	r.clean()
	if l.Size() > size/2 {
		t.Fatalf("not compacted although max.compaction.lag.ms is long past: %d of %d bytes", l.Size(), size)
	}
	// Both policies: what is left goes by its age, without waiting for the retention job.
	c.MinCleanableDirtyRatio, c.Delete, c.RetentionMs = 0.5, true, 100_000
	l.SetConfig(c)
	putKeys(t, l, r.clock.Now(), "new", "key-1")
	r.clean()
	if l.Start() != 0 {
		t.Fatal("deleted too early")
	}
	r.clock.Advance(100 * time.Second)
	r.clean()
	if l.Start() == 0 {
		t.Fatal("compact,delete deletes nothing")
	}
	// Compaction is off again: the checkpoint stays for when it comes back.
	c.Compact, c.Delete = false, false
	l.SetConfig(c)
	r.clean()
	if r.store.dirs[0].cleanedTo("topic-0") <= 0 {
		t.Error("the checkpoint is gone")
	}
	if next := r.store.RunJobs(); next.Sub(r.clock.Now()) < DefaultBackoff {
		t.Errorf("the jobs want to run again in %v although nothing is compacted", next.Sub(r.clock.Now()))
	}
	r.stop()
}

// TestCleanerOff does nothing until it is switched on.
func TestCleanerOff(t *testing.T) {
	r := newRig(t)
	r.store.SetCleaner(CleanerOptions{Disabled: true})
	l := grown(t, r, "topic-0", compacted())
	size := l.Size()
	r.clean()
	r.clean()
	if l.Size() != size {
		t.Fatal("compacted by a cleaner that is off")
	}
	r.store.SetCleaner(CleanerOptions{DedupeBufferBytes: 24 * 10})
	r.clean()
	if l.Size() > size/2 {
		t.Fatal("not compacted")
	}
	// A shorter backoff is in force for the wait that has begun.
	r.store.RunJobs()
	r.store.SetCleaner(CleanerOptions{Backoff: 300 * time.Millisecond})
	if next := r.store.RunJobs(); next.Sub(r.clock.Now()) != 300*time.Millisecond {
		t.Errorf("the next look is in %v", next.Sub(r.clock.Now()))
	}
	r.stop()
}

// TestCleanerResets a checkpoint that lies outside of the log.
func TestCleanerResets(t *testing.T) {
	for _, lies := range []string{"0\n1\ntopic 0 100000\n", "rubbish", "0\n1\ntopic 0 0\n"} {
		r := newRig(t)
		l := grown(t, r, "topic-0", compacted())
		putKeys(t, l, r.clock.Now(), "last", "key-1")
		if _, err := l.DeleteRecordsBefore(5); err != nil {
			t.Fatal(err)
		}
		size := l.Size()
		r.stop()
		if err := vfs.WriteFileAtomic(r.disk, "/data/cleaner-offset-checkpoint", []byte(lies)); err != nil {
			t.Fatal(err)
		}
		r.open()
		if dirs, err := r.store.Dirs(); err != nil || !dirs[0].Clean {
			t.Errorf("%q: the directory counts as unclean", lies)
		}
		l = r.load("topic-0", compacted())
		r.clean()
		if l.Size() > size/2 {
			t.Errorf("%q: not compacted", lies)
		}
		if view := keysOf(t, l); !strings.HasSuffix(view, "key-1=last@120") {
			t.Errorf("%q: %s", lies, view)
		}
		r.stop()
	}
}

// TestCleanerLeavesDamage alone, names it, and cleans the others.
func TestCleanerLeavesDamage(t *testing.T) {
	for kind, spoil := range map[string]func([]byte) []byte{
		"flipped bit": func(p []byte) []byte { p[len(p)/2] ^= 1; return p },
		"old format":  func(p []byte) []byte { return append(oldMessage(), p[len(oldMessage()):]...) },
	} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t)
			damaged, other := grown(t, r, "damaged-0", compacted()), grown(t, r, "other-0", compacted())
			size := other.Size()
			name := (*damaged.segments.Load())[1].Name()
			p, err := vfs.ReadFile(r.disk, name)
			if err != nil {
				t.Fatal(err)
			}
			f, err := r.disk.OpenFile(name, 2, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(spoil(p), 0); err != nil {
				t.Fatal(err)
			}
			f.Close()
			before := strings.ReplaceAll(r.names("damaged-0"), " 120.snapshot", "")
			r.clean()
			r.clean()
			if !damaged.uncleanable.Load() || other.uncleanable.Load() || other.Size() > size/2 {
				t.Errorf("uncleanable %v and %v, other %d bytes", damaged.uncleanable.Load(), other.uncleanable.Load(), other.Size())
			}
			// A recovery point was stored first; that is all.
			if after := strings.ReplaceAll(r.names("damaged-0"), " 120.snapshot", ""); after != before {
				t.Errorf("files were %s, are %s", before, after)
			}
			if r.store.Failed("/data") != nil {
				t.Error(r.store.Failed("/data"))
			}
			putKeys(t, damaged, r.clock.Now(), "v", "k")
		})
	}
}

// oldMessage is a message of format 1.
func oldMessage() []byte {
	p := make([]byte, 100)
	p[11] = 88
	p[16] = 1
	copy(p[12:16], []byte{0, 0, 0, 0})
	return p
}

// TestCompactedProducers: a producer whose records are all gone goes on where it was, also after a crash.
func TestCompactedProducers(t *testing.T) {
	r := newRig(t)
	l := r.create("topic-0", compacted())
	sequence := func(n int32) []byte {
		return batch.NewBuilder(codec.None).Producer(7, 1, n).Append(r.clock.Now().UnixMilli(), []byte("key-1"), []byte("x")).Bytes()
	}
	send := func(l *Log, n int32) Appended {
		t.Helper()
		done := make(waitChannel, 1)
		out, err := l.Append(sequence(n), AppendOptions{LeaderEpoch: 1, Origin: producer.Client}, done)
		if err == nil {
			err = <-done
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for n := range int32(3) {
		send(l, n)
	}
	for i := range 6 {
		putKeys(t, l, r.clock.Now(), fmt.Sprint(i), many("key-", 20)...)
	}
	r.clean()
	if view := keysOf(t, l); strings.Contains(view, "=x@") {
		t.Fatal(view)
	}
	for _, again := range []func(){func() {}, r.kill, r.crash, func() { r.stop(); r.open() }} {
		again()
		if r.store.Log("topic-0") == nil {
			l = r.load("topic-0", compacted())
		}
		if out := send(l, 2); !out.Duplicate || out.BaseOffset != 2 {
			t.Fatalf("%+v", out)
		}
	}
	if out := send(l, 3); out.Duplicate {
		t.Fatalf("%+v", out)
	}
	r.stop()
}
