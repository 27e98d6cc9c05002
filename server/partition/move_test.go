package partition

import (
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
)

var dirs = map[meta.UUID]string{{11}: "/one", {12}: "/two", {13}: "/three"}

// broker is what the tests of moves have of one: a disk with three directories and the record of where partitions are.
type broker struct {
	t     *testing.T
	disk  *simfs.FS
	faded bool // Assign fails

	mu       sync.Mutex
	record   map[int32]string
	assigned []string

	store *engine.Store
	set   *Set
}

func newBroker(t *testing.T, n int) *broker {
	b := &broker{t: t, disk: simfs.New(simfs.Options{}), record: map[int32]string{}}
	for _, dir := range dirs {
		if err := b.disk.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		b.record[int32(i)] = "/one"
	}
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *broker) image() *meta.Image {
	d := meta.NewDelta(nil)
	id := meta.UUID{1}
	records := []meta.Record{&meta.FeatureLevelRecord{Name: meta.MetadataVersionFeature, Level: 25}, &meta.TopicRecord{Name: "topic", TopicID: id}}
	for i := range len(b.record) {
		p := &meta.PartitionRecord{PartitionID: int32(i), TopicID: id, Replicas: []int32{self}, ISR: []int32{self}, Leader: self}
		for id, dir := range dirs {
			if dir == b.record[int32(i)] {
				p.Directories = []meta.UUID{id}
			}
		}
		records = append(records, p)
	}
	for _, r := range records {
		if err := d.Apply(r); err != nil {
			b.t.Fatal(err)
		}
	}
	return d.Image(1, 1)
}

func (b *broker) start() error {
	var err error
	if b.store, err = engine.Open(engine.Options{FS: b.disk, Dirs: []string{"/one", "/two", "/three"}}); err != nil {
		return err
	}
	c := &Config{Log: engine.LogConfig{SegmentBytes: 4 << 10, Delete: true, RetentionMs: -1, RetentionBytes: -1}, MaxMessageBytes: 1000,
		TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64}
	b.set = NewSet(Options{Store: b.store, Logger: slog.New(slog.DiscardHandler), Self: self, Default: "/one", Directories: dirs, Movers: 1,
		Assign: func(_ meta.UUID, index int32, dir string) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.faded {
				return errors.New("no controller")
			}
			b.record[index] = dir
			b.assigned = append(b.assigned, dir)
			return nil
		},
		Config: func(*meta.Image, string) *Config { return c }, Now: func() int64 { return 1 }})
	found, err := b.store.Dirs()
	if err != nil {
		return err
	}
	if err := b.set.Start(b.image(), found, nil); err != nil {
		return err
	}
	return b.set.ResumeMoves()
}

func (b *broker) stop() {
	b.t.Helper()
	b.set.StopMoves()
	if err := b.store.Close(1); err != nil {
		b.t.Error(err)
	}
}

func (b *broker) get(index int32) *Partition { return b.set.Get(meta.UUID{1}, index) }

// logDir is where a partition's log is, "" for offline.
func (b *broker) logDir(index int32) string {
	log, err := b.get(index).Log()
	if err != nil {
		return ""
	}
	return log.Dir()
}

func (b *broker) list(dir string) string {
	entries, err := b.disk.ReadDir(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			name := e.Name()
			if at := strings.IndexByte(name, '.'); at > 0 {
				name = name[:at] + name[strings.LastIndexByte(name, '-'):]
			}
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func TestMoveTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, 2)
		p := b.get(0)
		for range 20 {
			appendTo(t, p, one("a", "b"))
		}
		before, err := p.Log()
		if err != nil {
			t.Fatal(err)
		}
		woken := make(chan struct{})
		w := NewWaiter(1<<20, func() { close(woken) })
		w.Add(p, before.VisibleBytes())

		b.set.moves.slots <- struct{}{} // the copying waits
		if err := b.set.MoveTo(p, "/two"); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.set.MoveTo(p, "/two"), b.set.MoveTo(b.get(1), "/one")); err != nil {
			t.Error(err)
		}
		if f := b.set.Futures(); len(f) != 1 || f[0].Partition != p || f[0].Dir != "/two" || f[0].Size != 0 || f[0].Lag != 40 {
			t.Errorf("futures %+v", f)
		}
		if got := b.list("/two"); got != "topic-0-future" {
			t.Errorf("/two has %s", got)
		}
		<-b.set.moves.slots
		synctest.Wait()
		if f := b.set.Futures(); len(f) > 0 || b.logDir(0) != "/two" || b.record[0] != "/two" {
			t.Errorf("in %s, futures %+v, record %v", b.logDir(0), f, b.record)
		}
		<-woken
		w.Remove()
		appendTo(t, p, one("c"))
		if log, _ := p.Log(); log.End() != 41 || log.High() != 41 {
			t.Errorf("end %d", log.End())
		}
		if one, two := b.list("/one"), b.list("/two"); one != "topic-0-delete topic-1" || two != "topic-0" {
			t.Errorf("/one has %s, /two %s", one, two)
		}
		b.stop()
	})
}

// TestMoveToElsewhere changes the destination, and takes the move back.
func TestMoveToElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, 1)
		p := b.get(0)
		appendTo(t, p, one("a"))
		b.set.moves.slots <- struct{}{}
		if err := errors.Join(b.set.MoveTo(p, "/two"), b.set.MoveTo(p, "/three")); err != nil {
			t.Fatal(err)
		}
		if two, three := b.list("/two"), b.list("/three"); two != "" || three != "topic-0-future" {
			t.Errorf("/two has %s, /three %s", two, three)
		}
		if err := b.set.MoveTo(p, "/one"); err != nil {
			t.Fatal(err)
		}
		<-b.set.moves.slots
		synctest.Wait()
		if f := b.set.Futures(); len(f) > 0 || b.list("/three") != "" || b.logDir(0) != "/one" || len(b.assigned) > 0 {
			t.Errorf("futures %+v, /three has %s, assigned %v", f, b.list("/three"), b.assigned)
		}
		b.stop()
	})
}

func TestMoveWithoutARecordStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, 1)
		b.faded = true
		p := b.get(0)
		appendTo(t, p, one("a"))
		if err := b.set.MoveTo(p, "/two"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if b.logDir(0) != "/one" || b.list("/two") != "" || len(b.set.Futures()) > 0 {
			t.Errorf("in %s, /two has %s", b.logDir(0), b.list("/two"))
		}
		appendTo(t, p, one("b"))
		b.stop()
	})
}

func TestMoveOfADeletedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, 2)
		for i := range int32(2) {
			appendTo(t, b.get(i), one("a"))
		}
		b.set.moves.slots <- struct{}{}
		if err := errors.Join(b.set.MoveTo(b.get(0), "/two"), b.set.MoveTo(b.get(1), "/three")); err != nil {
			t.Fatal(err)
		}
		b.set.Apply(b.image(), meta.NewDelta(nil).Image(2, 1))
		<-b.set.moves.slots
		synctest.Wait()
		if one, two, three := b.list("/one"), b.list("/two"), b.list("/three"); one != "topic-0-delete topic-1-delete" || two+three != "" {
			t.Errorf("/one has %s, /two %s, /three %s", one, two, three)
		}
		b.stop()
	})
}

// TestMoveGoesOn restarts the broker in the middle of a move.
func TestMoveGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, 2)
		for i := range int32(2) {
			appendTo(t, b.get(i), one("a"))
		}
		b.set.moves.slots <- struct{}{}
		if err := b.set.MoveTo(b.get(0), "/two"); err != nil {
			t.Fatal(err)
		}
		b.stop()
		// One of a topic that is not known, and one that was overtaken.
		for _, name := range []string{"/two/gone-0", "/one/topic-1"} {
			path := name + ".0123456789abcdef0123456789abcdef-future"
			id := "version: 0\ntopic_id: AQAAAAAAAAAAAAAAAAAAAA"
			if strings.Contains(name, "gone") {
				id = "version: 0\ntopic_id: BQAAAAAAAAAAAAAAAAAAAA"
			}
			if err := errors.Join(b.disk.MkdirAll(path, 0o755), vfs.WriteFileAtomic(b.disk, path+"/partition.metadata", []byte(id))); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.start(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if b.logDir(0) != "/two" || b.record[0] != "/two" || b.logDir(1) != "/one" {
			t.Errorf("in %s and %s, record %v", b.logDir(0), b.logDir(1), b.record)
		}
		if two := b.list("/two"); two != "gone-0-future topic-0" {
			t.Errorf("/two has %s", two)
		}
		if one := b.list("/one"); one != "topic-0-delete topic-1" && one != "topic-0-delete topic-1 topic-1-delete" {
			t.Errorf("/one has %s", one)
		}
		b.stop()
	})
}

// TestPartitionInTwoDirectories is what a crash at the end of a move leaves.
func TestPartitionInTwoDirectories(t *testing.T) {
	for _, c := range []struct {
		record, kept string
	}{{"/one", "/one"}, {"/two", "/two"}, {"/three", ""}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBroker(t, 1)
			appendTo(t, b.get(0), one("a"))
			b.stop()
			copyTree(t, b.disk, "/one/topic-0", "/two/topic-0")
			b.record[0] = c.record
			err := b.start()
			if c.kept == "" {
				if err == nil || !strings.Contains(err.Error(), "two data directories") {
					t.Errorf("started: %v", err)
				}
				b.store.Abandon()
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if log, err := b.get(0).Log(); err != nil || log.Dir() != c.kept || log.End() != 1 {
				t.Errorf("recorded in %s: %v, %v", c.record, log, err)
			}
			if all := b.list("/one") + " " + b.list("/two"); all != "topic-0 topic-0-stray" && all != "topic-0-stray topic-0" {
				t.Errorf("the directories have %s", all)
			}
			b.stop()
		})
	}
}

func copyTree(t *testing.T, disk vfs.FS, from, to string) {
	t.Helper()
	entries, err := disk.ReadDir(from)
	if err == nil {
		err = disk.MkdirAll(to, 0o755)
	}
	for _, e := range entries {
		p, readErr := vfs.ReadFile(disk, from+"/"+e.Name())
		err = errors.Join(err, readErr, vfs.WriteFileAtomic(disk, to+"/"+e.Name(), p))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAppendsDuringMoves produces while the log goes round.
func TestAppendsDuringMoves(t *testing.T) {
	b := newBroker(t, 1)
	p := b.get(0)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var counts [2]int
	for id := range counts {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var records batch.Batch = one("a")
				done := make(synced, 1)
				_, err := p.Append(records, done)
				if err == nil {
					err = <-done
				}
				if err != nil {
					t.Error(err)
					return
				}
				counts[id]++
			}
		})
	}
	for i := range 10 {
		if err := b.set.MoveTo(p, []string{"/two", "/three", "/one"}[i%3]); err != nil {
			t.Fatal(err)
		}
		if one := b.set.moves.of(p); one != nil {
			<-one.over
		}
	}
	close(stop)
	all.Wait()
	log, err := p.Log()
	if err != nil || log.Dir() != "/two" || log.End() != int64(counts[0]+counts[1]) {
		t.Errorf("%v in %s, end %d, appended %v", err, log.Dir(), log.End(), counts)
	}
	b.stop()
}
