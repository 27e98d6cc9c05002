package engine

import (
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// gate holds up whoever opens a file whose name contains what.
type gate struct {
	vfs.FS
	what    string
	reached chan struct{}
	once    sync.Once
	open    chan struct{}
}

func newGate(f vfs.FS, what string) *gate {
	return &gate{FS: f, what: what, reached: make(chan struct{}), open: make(chan struct{})}
}

func (g *gate) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if strings.Contains(name, g.what) {
		g.once.Do(func() {
			close(g.reached)
			<-g.open
		})
	}
	return g.FS.OpenFile(name, flag, perm)
}

// TestCleaningStops when somebody needs the log: the cleaner is at work on a throttled log, and is waiting for
// seconds at a time.
func TestCleaningStops(t *testing.T) {
	for name, do := range map[string]func(*Store, *Log) error{
		"delete":   func(st *Store, l *Log) error { return st.DeleteLog(l.name) },
		"close":    func(st *Store, l *Log) error { return st.Close(1) },
		"abandon":  func(st *Store, l *Log) error { st.Abandon(); return nil },
		"truncate": func(st *Store, l *Log) error { return l.Truncate(l.End() - 1) },
		"policy": func(st *Store, l *Log) error {
			c := l.Config()
			c.Compact = false
			l.SetConfig(c)
			l.pauseCleaning()()
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := simfs.New(simfs.Options{Seed: 1})
			if err := disk.MkdirAll("/data", 0o755); err != nil {
				t.Fatal(err)
			}
			g := newGate(disk, segment.LogSuffix+segment.CleanedSuffix)
			st, err := Open(Options{FS: g, Dirs: []string{"/data"}, Cleaner: CleanerOptions{Disabled: true}})
			if err != nil {
				t.Fatal(err)
			}
			l, err := st.CreateLog("/data", "topic-0", ID{1}, compacted())
			if err != nil {
				t.Fatal(err)
			}
			for i := range 8 {
				putKeys(t, l, time.Now(), fmt.Sprint("value-", i), many("key-", 20)...)
			}
			want := keysOf(t, l)
			st.SetCleaner(CleanerOptions{Backoff: time.Millisecond, IOBufferBytes: 8192})
			<-g.reached
			st.clean.throttle.SetRate(1000)
			st.clean.throttle.Pause(1_000_000, time.Now()) // it has to wait for a quarter of an hour
			close(g.open)
			began := time.Now()
			if err := do(st, l); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v", took)
			}
			st.Abandon()
			if name == "delete" {
				return
			}
			if st, err = Open(Options{FS: disk, Clock: clock.NewManual(time.Now()), Dirs: []string{"/data"}, Manual: true}); err != nil {
				t.Fatal(err)
			}
			if l, err = st.OpenLog("/data", "topic-0", compacted()); err != nil {
				t.Fatal(err)
			}
			if got := keysOf(t, l); got != want && name != "truncate" {
				t.Errorf("%s, expected %s", got, want)
			}
			entries, err := disk.ReadDir("/data/topic-0")
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if strings.HasSuffix(e.Name(), segment.CleanedSuffix) || strings.HasSuffix(e.Name(), segment.SwapSuffix) {
					t.Error(e.Name())
				}
			}
			st.Abandon()
		})
	}
}

// TestDeleteDoesNotWait for a checkpoint of other logs of the directory.
func TestDeleteDoesNotWait(t *testing.T) {
	disk := simfs.New(simfs.Options{Seed: 1})
	if err := disk.MkdirAll("/data", 0o755); err != nil {
		t.Fatal(err)
	}
	g := newGate(disk, "/data/a-0/00000000000000000001.snapshot")
	st, err := Open(Options{FS: g, Clock: clock.NewManual(epochStart), Dirs: []string{"/data"}, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a-0", "b-0"} {
		l, err := st.CreateLog("/data", name, ID{1}, LogConfig{})
		if err != nil {
			t.Fatal(err)
		}
		putKeys(t, l, epochStart, "v", "k")
	}
	done := make(chan error, 1)
	go func() { done <- st.dirs[0].checkpointRecovery(true) }()
	<-g.reached // the checkpoint is at work on a-0 and does not get on
	if err := st.DeleteLog("b-0"); err != nil {
		t.Fatal(err)
	}
	close(g.open)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if p, err := vfs.ReadFile(disk, "/data/recovery-point-offset-checkpoint"); err != nil || string(p) != "0\n1\na 0 1\n" {
		t.Errorf("%q, %v", p, err)
	}
	if err := st.Close(1); err != nil {
		t.Fatal(err)
	}
}

// TestCleaningFails once at every call in turn: a full disk costs a round, damage to reading the log's cleaning,
// and a failed write or sync the directory. Whatever happens, every key is there.
func TestCleaningFails(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		calls := 0
		for nth := 1; ; nth++ {
			w := newKeyedWorld(5)
			w.cutting = true // it may fail between two steps
			faults := vfs.NewFaults()
			w.wrap = func(f vfs.FS) vfs.FS { return vfs.WithFaults(f, faults) }
			w.abandon()
			if err := w.reopen(); err != nil {
				t.Fatal(err)
			}
			for w.end < 200 {
				if err := w.append(); err != nil {
					t.Fatal(err)
				}
			}
			faults.Add(vfs.Fault{Nth: nth, Err: cause})
			w.clock.Advance(2 * time.Second)
			w.run()
			fired := faults.Fired() > 0
			faults.Clear()
			failed := w.store.Failed("/data")
			if failed == nil {
				if cause == syscall.ENOSPC && w.log.uncleanable.Load() {
					t.Fatalf("call %d: a full disk made the log uncleanable", nth)
				}
				w.clock.Advance(2 * time.Second)
				w.run()
				if err := w.verify(); err != nil {
					t.Fatalf("%v at call %d: %v\n%s", cause, nth, err, diskLog(w.disk))
				}
				if !w.log.uncleanable.Load() && w.cleaned == 0 {
					t.Fatalf("%v at call %d: not cleaned", cause, nth)
				}
			}
			w.wrap = nil
			if err := w.crash(simfs.CrashOptions{}); err != nil {
				t.Fatalf("%v at call %d: %v\n%s", cause, nth, err, diskLog(w.disk))
			}
			w.abandon()
			if !fired {
				break
			}
			calls++
		}
		if calls < 50 {
			t.Errorf("%v: only %d calls", cause, calls)
		}
	}
}

// TestCleanerIsThrottled: reading the dirty part, reading all of it again and writing what stays takes as long as
// it may.
func TestCleanerIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := simfs.New(simfs.Options{Seed: 1})
		if err := disk.MkdirAll("/data", 0o755); err != nil {
			t.Fatal(err)
		}
		st, err := Open(Options{FS: disk, Dirs: []string{"/data"}, Cleaner: CleanerOptions{Backoff: time.Second, MaxBytesPerSecond: 1000, IOBufferBytes: 8192}})
		if err != nil {
			t.Fatal(err)
		}
		l, err := st.CreateLog("/data", "topic-0", ID{1}, compacted())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			putKeys(t, l, time.Now(), fmt.Sprint("value-", i), many("key-", 20)...)
		}
		list := *l.segments.Load()
		dirty := l.Size() - list[len(list)-1].Size()
		done := make(chan struct{})
		disk.OnChange(func(e vfs.Event) {
			if e.Op == vfs.OpRename && strings.HasSuffix(e.To, cleanerFile) {
				close(done)
			}
		})
		began := time.Now()
		<-done
		disk.OnChange(nil)
		list = *l.segments.Load()
		clean := l.Size() - list[len(list)-1].Size()
		took, want := time.Since(began)-time.Second, time.Duration(2*dirty+clean)*time.Millisecond
		if took < want-time.Second || took > want+want/4 {
			t.Errorf("%d bytes at 1000 a second took %v, expected %v", 2*dirty+clean, took, want)
		}
		if err := st.Close(1); err != nil {
			t.Fatal(err)
		}
	})
}
