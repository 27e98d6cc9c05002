package engine

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// TestMoveWhileInUse moves a log to and fro under producers and readers, who never notice.
func TestMoveWhileInUse(t *testing.T) {
	disk := simfs.New(simfs.Options{Seed: 1})
	for _, dir := range moveDirs {
		if err := disk.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	store, err := Open(Options{FS: disk, Dirs: moveDirs})
	if err != nil {
		t.Fatal(err)
	}
	config := LogConfig{SegmentBytes: 16 << 10, SegmentIndexBytes: 4096, IndexIntervalBytes: 512, RetentionMs: -1, RetentionBytes: -1, FileDeleteDelayMs: 1}
	first, err := store.CreateLog(moveDirs[0], "a-0", ID{9}, config)
	if err != nil {
		t.Fatal(err)
	}
	var current atomic.Pointer[Log]
	current.Store(first)
	ctx, stop := context.WithCancel(context.Background())
	over, end := context.WithCancel(context.Background())
	defer stop()
	defer end()
	var all, readers sync.WaitGroup
	var acknowledged [3]atomic.Int64
	appends := make(chan struct{}, 300) // so many for each move, and a few more
	for id := range acknowledged {
		all.Go(func() {
			// One of them keeps the log it began with, as somebody may who has just looked it up.
			l := current.Load()
			for seq := int32(0); ; seq++ {
				select {
				case <-appends:
				case <-ctx.Done():
					return
				}
				if id > 0 {
					l = current.Load()
				}
				b := batch.NewBuilder(codec.None)
				b.Producer(int64(id), 0, seq)
				b.Append(epochStart.UnixMilli(), []byte{byte(id)}, make([]byte, 100))
				done := make(waitChannel, 1)
				out, err := l.Append(b.Bytes(), AppendOptions{Rules: &batch.Rules{}}, done)
				if err == nil {
					err = <-done
				}
				if err != nil || out.Duplicate {
					t.Errorf("producer %d, sequence %d: %+v, %v", id, seq, out, err)
					return
				}
				acknowledged[id].Store(int64(seq) + 1)
			}
		})
	}
	reads := [2]int64{}
	for id := range reads {
		readers.Go(func() {
			l := current.Load()
			next := [3]int32{}
			for at, last := int64(0), false; !last; {
				last = over.Err() != nil
				if id > 0 {
					l = current.Load()
				}
				v, err := l.Read(at, ReadOptions{MaxBytes: 8 << 10, AtLeastOne: true})
				if err != nil {
					t.Errorf("reader %d at %d: %v", id, at, err)
					return
				}
				last = last && v.Size == 0
				for _, span := range v.Spans {
					for len(span) > 0 {
						b, rest, err := batch.Next(span)
						if err == nil {
							err = b.CheckCRC()
						}
						if err != nil || b.BaseOffset() != at || b.BaseSequence() != next[b.ProducerID()] {
							t.Errorf("reader %d at %d: offset %d, sequence %d of producer %d, expected %d: %v", id, at, b.BaseOffset(), b.BaseSequence(),
								b.ProducerID(), next[b.ProducerID()], err)
							v.Release()
							return
						}
						next[b.ProducerID()]++
						at, span = b.NextOffset(), rest
					}
				}
				v.Release()
				reads[id] = at
			}
		})
	}
	for i := range 12 {
		for range cap(appends) {
			appends <- struct{}{}
		}
		m, err := store.StartMove(store.Log("a-0"), moveDirs[(i+1)%2])
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Copy(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Finish(ctx, func(l *Log) { current.Store(l) }); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	all.Wait()
	end()
	readers.Wait()
	l := current.Load()
	sum := int64(0)
	for i := range acknowledged {
		sum += acknowledged[i].Load()
	}
	if l.End() != sum || l.Dir() != moveDirs[0] || reads != [2]int64{sum, sum} {
		t.Errorf("ends at %d in %s, read up to %v, acknowledged %d", l.End(), l.Dir(), reads, sum)
	}
	if err := store.Close(1); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Options{FS: disk, Dirs: moveDirs, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Abandon()
	back, err := again.OpenLog(moveDirs[0], "a-0", config)
	if err != nil || back.End() != l.End() || back.ID() != (ID{9}) {
		t.Errorf("after a restart: %v, %v", back, err)
	}
	if dirs, err := again.Dirs(); err != nil || !dirs[0].Clean || !dirs[1].Clean || len(dirs[1].Logs) > 0 {
		t.Errorf("after a restart: %+v, %v", dirs, err)
	}
}

// twoDirs is a store of two directories without background jobs.
func twoDirs(t *testing.T, o Options) *Store {
	t.Helper()
	disk := simfs.New(simfs.Options{Seed: 1})
	for _, dir := range moveDirs {
		if err := disk.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o.FS, o.Dirs = disk, moveDirs
	store, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Abandon)
	return store
}

func moveTo(t *testing.T, store *Store, name, dir string) *Log {
	t.Helper()
	m, err := store.StartMove(store.Log(name), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Copy(context.Background()); err != nil {
		t.Fatal(err)
	}
	l, err := m.Finish(context.Background(), func(*Log) {})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestMoveHandsOver looks at what a log knows besides its files.
func TestMoveHandsOver(t *testing.T) {
	store := twoDirs(t, Options{Manual: true, Clock: clock.NewManual(epochStart)})
	old, err := store.CreateLog(moveDirs[0], "a-0", ID{1}, small)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.AssignEpoch(3); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		mustAppend(t, old, records(3, "x"))
	}
	seen := old.VisibleBytes()
	var told atomic.Int64
	old.OnHigh(func(_, bytes int64) { told.Store(bytes) })
	guard := old.BeginVerification(5, 0, 0, true)
	l := moveTo(t, store, "a-0", moveDirs[1])

	b := batch.NewBuilder(codec.None)
	b.Producer(5, 0, 0)
	b.Transactional()
	b.Append(epochStart.UnixMilli(), nil, []byte("v"))
	done := make(waitChannel, 1)
	if _, err := l.Append(b.Bytes(), AppendOptions{LeaderEpoch: 3, Verified: true, Guard: guard}, done); err != nil {
		t.Fatalf("a verification that began before the move is worth nothing: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !old.InTransaction(5, 0) || l.Stable() != 15 || told.Load() <= seen {
		t.Errorf("in a transaction: %v, stable %d, told %d bytes after %d", old.InTransaction(5, 0), l.Stable(), told.Load(), seen)
	}
	// Who still has the old log is led to the new one.
	if _, err := old.DeleteRecordsBefore(4); err != nil || l.Start() != 4 {
		t.Errorf("start %d, %v", l.Start(), err)
	}
	changed := small
	changed.RetentionBytes = 7
	old.SetConfig(changed)
	if err := errors.Join(old.AssignEpoch(4)); err != nil || l.LatestEpoch() != 4 || l.Config().RetentionBytes != 7 {
		t.Errorf("epoch %d, config %+v, %v", l.LatestEpoch(), l.Config(), err)
	}
	if n := len(old.Producers()); n != 1 {
		t.Errorf("%d producers, expected one", n)
	}
	if found, ok, err := old.OffsetForTimestamp(epochStart.UnixMilli() + 1); err != nil || !ok || found.Offset != 4 {
		t.Errorf("found %+v, %v, %v", found, ok, err)
	}
	if err := store.DeleteLog("a-0"); err != nil {
		t.Fatal(err)
	}
	if dirs, err := store.Dirs(); err != nil || len(dirs[0].Logs)+len(dirs[1].Logs) > 0 {
		t.Errorf("left of a deleted log: %+v, %v", dirs, err)
	}
}

// TestMoveRefusals are the moves that do not begin, and those that end because the log goes.
func TestMoveRefusals(t *testing.T) {
	store := twoDirs(t, Options{Manual: true, Clock: clock.NewManual(epochStart)})
	l, err := store.CreateLog(moveDirs[0], "a-0", ID{1}, small)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, records(3, "x"))
	other, err := store.CreateLog(moveDirs[0], "b-0", ID{2}, small)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.DeleteLog("b-0"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		log  *Log
		dir  string
		want error
	}{{other, moveDirs[1], ErrNotFound}, {l, moveDirs[0], ErrExists}} {
		if _, err := store.StartMove(c.log, c.dir); !errors.Is(err, c.want) {
			t.Errorf("move of %s to %s: %v, expected %v", c.log.Name(), c.dir, err, c.want)
		}
	}
	if _, err := store.StartMove(l, "/nowhere"); err == nil {
		t.Error("moved to a directory that is none of the store's")
	}
	m, err := store.StartMove(l, moveDirs[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.StartMove(l, moveDirs[1]); !errors.Is(err, ErrExists) {
		t.Errorf("a second move: %v", err)
	}
	if err := m.Copy(context.Background()); err != nil {
		t.Fatal(err)
	}
	if m.Size() != l.Size() || m.End() != l.End() || m.Dir() != moveDirs[1] {
		t.Errorf("copied %d bytes up to %d, expected %d and %d", m.Size(), m.End(), l.Size(), l.End())
	}
	futures, err := store.Futures()
	if err != nil || len(futures) != 1 || futures[0].Log != "a-0" || futures[0].Dir != moveDirs[1] || futures[0].ID != (ID{1}) {
		t.Errorf("futures %+v, %v", futures, err)
	}
	if err := store.DeleteLog("a-0"); err != nil {
		t.Fatal(err)
	}
	if err := m.Copy(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("copied a deleted log: %v", err)
	}
	if _, err := m.Finish(context.Background(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("moved a deleted log: %v", err)
	}
	if err := m.Cancel(); err != nil {
		t.Fatal(err)
	}
	if futures, err := store.Futures(); err != nil || len(futures) > 0 {
		t.Errorf("left: %+v, %v", futures, err)
	}
}

// TestMoveOfACompactedLog is compacted before and after, not on its way.
func TestMoveOfACompactedLog(t *testing.T) {
	now := clock.NewManual(epochStart)
	store := twoDirs(t, Options{Manual: true, Clock: now})
	config := small
	config.Compact, config.SegmentBytes = true, 1024
	l, err := store.CreateLog(moveDirs[0], "k-0", ID{1}, config)
	if err != nil {
		t.Fatal(err)
	}
	clean := func(l *Log) {
		t.Helper()
		for range 20 {
			mustAppend(t, l, records(4, "v"))
		}
		for range 3 {
			now.Advance(DefaultBackoff + 1)
			store.RunJobs()
		}
	}
	clean(l)
	before := store.dirs[0].cleanedTo("k-0")
	if before <= 0 {
		t.Fatalf("cleaned up to %d", before)
	}
	m, err := store.StartMove(l, moveDirs[1])
	if err != nil {
		t.Fatal(err)
	}
	clean(l)
	if at := store.dirs[0].cleanedTo("k-0"); at != before {
		t.Errorf("cleaned up to %d on its way, %d before", at, before)
	}
	n, err := m.Finish(context.Background(), func(*Log) {})
	if err != nil {
		t.Fatal(err)
	}
	if from, to := store.dirs[0].cleanedTo("k-0"), store.dirs[1].cleanedTo("k-0"); from != -1 || to != before {
		t.Errorf("clean up to %d where it was and %d where it is, expected -1 and %d", from, to, before)
	}
	clean(n)
	if at := store.dirs[1].cleanedTo("k-0"); at <= before {
		t.Errorf("cleaned up to %d after the move, %d before", at, before)
	}
}

// TestMoveRate copies no faster than it may, and stops while it waits.
func TestMoveRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := twoDirs(t, Options{})
		l, err := store.CreateLog(moveDirs[0], "a-0", ID{1}, LogConfig{RetentionMs: -1, RetentionBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		for l.Size() < 5<<20 {
			mustAppend(t, l, records(1, strings.Repeat("x", 256<<10)))
		}
		store.SetMoveRate(1 << 20)
		m, err := store.StartMove(l, moveDirs[1])
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := m.Copy(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
			t.Errorf("copied until %v: %v", time.Since(began), err)
		}
		if err := m.Copy(context.Background()); err != nil || time.Since(began) < 4*time.Second || time.Since(began) > 6*time.Second {
			t.Errorf("copied in %v: %v", time.Since(began), err)
		}
		if err := m.Cancel(); err != nil {
			t.Fatal(err)
		}
		// A rate that nobody lives to see the end of, until it is lifted.
		store.SetMoveRate(100)
		if m, err = store.StartMove(l, moveDirs[1]); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		time.AfterFunc(10*time.Second, func() { store.SetMoveRate(0) })
		if err := m.Copy(context.Background()); err != nil || time.Since(began) < 10*time.Second || time.Since(began) > 11*time.Second {
			t.Errorf("copied in %v: %v", time.Since(began), err)
		}
		began = time.Now()
		if _, err := m.Finish(context.Background(), func(*Log) {}); err != nil || time.Since(began) > 100*time.Millisecond {
			t.Errorf("finished in %v: %v", time.Since(began), err)
		}
	})
}
