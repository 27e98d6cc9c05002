package engine

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

var epochStart = time.UnixMilli(1_700_000_000_000)

// rig is a store on a fake disk with a hand-wound clock and no background jobs.
type rig struct {
	t     testing.TB
	disk  *simfs.FS
	clock *clock.Manual
	store *Store
}

func newRig(t testing.TB) *rig {
	disk := simfs.New(simfs.Options{Seed: 1})
	if err := disk.MkdirAll("/data", 0o755); err != nil {
		t.Fatal(err)
	}
	disk.SyncDir("/")
	r := &rig{t: t, disk: disk, clock: clock.NewManual(epochStart)}
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	store, err := Open(Options{FS: r.disk, Clock: r.clock, Dirs: []string{"/data"}, Manual: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.store = store
}

func (r *rig) create(name string, c LogConfig) *Log {
	r.t.Helper()
	l, err := r.store.CreateLog("/data", name, ID{1, 2, 3}, c)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

func (r *rig) load(name string, c LogConfig) *Log {
	r.t.Helper()
	l, err := r.store.OpenLog("/data", name, c)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// crash takes the power away and comes back on what the disk had.
func (r *rig) crash() {
	r.t.Helper()
	after := r.disk.Crash(simfs.CrashOptions{})
	r.store.Abandon()
	r.disk = after
	r.open()
}

// kill stops the process; everything written survives.
func (r *rig) kill() {
	after := r.disk.KillClone()
	r.store.Abandon()
	r.disk = after
	r.open()
}

var small = LogConfig{SegmentBytes: 4096, SegmentIndexBytes: 4096, IndexIntervalBytes: 256, RetentionMs: -1, RetentionBytes: -1}

func records(n int, tag string) batch.Batch {
	b := batch.NewBuilder(codec.None)
	for i := range n {
		b.Append(epochStart.UnixMilli()+int64(i), []byte(fmt.Sprintf("k%d", i)), []byte(fmt.Sprintf("%s-%d", tag, i)))
	}
	return b.Bytes()
}

func mustAppend(t testing.TB, l *Log, b batch.Batch) Appended {
	t.Helper()
	done := make(waitChannel, 1)
	out, err := l.Append(b, AppendOptions{LeaderEpoch: 3, Rules: &batch.Rules{}}, done)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return out
}

// contents reads the whole log and returns its bytes.
func contents(t testing.TB, l *Log, maxBytes int) []byte {
	t.Helper()
	var all []byte
	at := l.Start()
	for at < l.High() {
		v, err := l.Read(at, ReadOptions{MaxBytes: maxBytes, AtLeastOne: true})
		if err != nil {
			t.Fatal(err)
		}
		if v.Size == 0 {
			t.Fatalf("nothing to read at %d of [%d, %d)", at, l.Start(), l.High())
		}
		n := 0
		for _, s := range v.Spans {
			all = append(all, s...)
			n += len(s)
		}
		if n != v.Size {
			t.Fatalf("the view says %d bytes and has %d", v.Size, n)
		}
		tail := all[len(all)-n:]
		for len(tail) > 0 {
			b, rest, err := batch.Next(tail)
			if err != nil {
				t.Fatalf("a view that does not end with a batch: %v", err)
			}
			if err := b.CheckCRC(); err != nil {
				t.Fatal(err)
			}
			at, tail = b.NextOffset(), rest
		}
		v.Release()
	}
	return all
}

func TestAppendReadReopen(t *testing.T) {
	r := newRig(t)
	l := r.create("t-0", small)
	var want []byte
	for i := range 40 {
		b := records(1+i%5, fmt.Sprintf("value-%d", i))
		end := l.End()
		out := mustAppend(t, l, b)
		if out.BaseOffset != end || b.BaseOffset() != end || b.LeaderEpoch() != 3 {
			t.Fatalf("batch %d: %+v at end %d", i, out, end)
		}
		want = append(want, b...)
	}
	if n := len(*l.segments.Load()); n < 2 {
		t.Fatalf("%d segments, expected several of %d bytes", n, small.SegmentBytes)
	}
	for _, size := range []int{1, 300, 1000, 1 << 20} {
		if got := contents(t, l, size); !bytes.Equal(got, want) {
			t.Fatalf("reads of %d bytes: got %d bytes, expected %d", size, len(got), len(want))
		}
	}
	for name, reopen := range map[string]func(){
		"clean": func() {
			if err := r.store.Close(7); err != nil {
				t.Fatal(err)
			}
			r.disk = r.disk.Crash(simfs.CrashOptions{})
			r.open()
			info, err := r.store.Dirs()
			if err != nil || !info[0].Clean || info[0].PreviousBrokerEpoch != 7 {
				t.Fatalf("%+v, %v", info, err)
			}
		},
		"crash": r.crash,
		"kill":  r.kill,
	} {
		reopen()
		l := r.load("t-0", small)
		if got := contents(t, l, 1000); !bytes.Equal(got, want) {
			t.Fatalf("%s: got %d bytes, expected %d", name, len(got), len(want))
		}
		if l.ID() != (ID{1, 2, 3}) {
			t.Fatalf("%s: id %x", name, l.ID())
		}
		b := records(2, name)
		mustAppend(t, l, b)
		want = append(want, b...)
		found, ok, err := l.OffsetForTimestamp(epochStart.UnixMilli() + 4)
		if err != nil || !ok || found.Timestamp != epochStart.UnixMilli()+4 || found.Offset != 14 {
			t.Fatalf("%s: %+v %v %v", name, found, ok, err)
		}
		if found, ok, err := l.MaxTimestamp(); err != nil || !ok || found.Offset != 14 || found.LeaderEpoch != 3 {
			t.Fatalf("%s: max timestamp %+v %v %v", name, found, ok, err)
		}
		if e, end := l.EndOffsetForEpoch(3); e != 3 || end != l.End() {
			t.Fatalf("%s: epoch 3 ends at %d (%d)", name, end, e)
		}
	}
}

func TestDuplicatesSurviveRestarts(t *testing.T) {
	r := newRig(t)
	l := r.create("t-0", small)
	make1 := func(seq int32) batch.Batch {
		return batch.NewBuilder(codec.None).Producer(9, 1, seq).Append(1, nil, []byte("x")).Append(2, nil, []byte("y")).Bytes()
	}
	first := mustAppend(t, l, make1(0))
	second := mustAppend(t, l, make1(2))
	again := mustAppend(t, l, make1(0))
	if !again.Duplicate || again.BaseOffset != first.BaseOffset || l.End() != 4 {
		t.Fatalf("%+v, end %d", again, l.End())
	}
	_, err := l.Append(make1(6), AppendOptions{LeaderEpoch: 3}, make(waitChannel, 1))
	if !errors.Is(err, producer.ErrOutOfOrder) {
		t.Fatalf("gap: %v", err)
	}
	for _, restart := range []func(){r.kill, r.crash} {
		restart()
		l = r.load("t-0", small)
		if again := mustAppend(t, l, make1(2)); !again.Duplicate || again.BaseOffset != second.BaseOffset {
			t.Fatalf("%+v", again)
		}
	}
}

func TestFailedSyncPoisons(t *testing.T) {
	r := newRig(t)
	l := r.create("t-0", small)
	mustAppend(t, l, records(1, "good"))
	r.disk.FailSync(1)
	done := make(waitChannel, 1)
	if _, err := l.Append(records(1, "lost"), AppendOptions{LeaderEpoch: 3}, done); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Fatal("acknowledged after a failed sync")
	}
	if _, err := l.Append(records(1, "later"), AppendOptions{LeaderEpoch: 3}, done); !errors.Is(err, ErrStorage) {
		t.Fatalf("after the failure: %v", err)
	}
	if l.High() != 1 || len(contents(t, l, 1000)) == 0 {
		t.Fatalf("what was durable is no longer served, high %d", l.High())
	}
	if err := r.store.Close(1); err == nil {
		t.Fatal("a poisoned store closed cleanly")
	}
	if _, err := vfs.ReadFile(r.disk, "/data/.kafka_cleanshutdown"); err == nil {
		t.Fatal("a poisoned store left the clean marker")
	}
}

// A pass through a history, in reads that do not end with the blocks, leaves
// the hot-read cache alone; a second one through the same blocks fills it.
func TestHotReadsTakeOnlyWhatIsReadAgain(t *testing.T) {
	c := newHotReads(1<<20, clock.Real.Now)
	pass := func(size int64) (repeated int) {
		for from := int64(0); from < 10*blockBytes; from += size {
			for at := from; at < from+size; {
				number := at / blockBytes
				end := min((number+1)*blockBytes, from+size)
				if c.missed(uint64(number), at, end) {
					repeated++
				}
				at = end
			}
		}
		return repeated
	}
	if n := pass(10_000); n != 0 {
		t.Fatalf("the first pass repeated %d blocks", n)
	}
	if n := pass(10_000); n < 10 {
		t.Fatalf("the second pass repeated %d blocks of 10", n)
	}
}
