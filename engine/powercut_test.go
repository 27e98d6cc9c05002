package engine

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/journal"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

var (
	cutsFlag  = flag.Int("cuts", 0, "power cuts of TestPowerCuts; 0 is a number that a test run has time for")
	seedFlag  = flag.Uint64("seed", 0, "the only seed of TestPowerCuts to run; 0 is all")
	crashLogs = []string{"a-0", "b-0", "b-1", "c-0"}
)

// world is a store on a disk that loses power, and what it must hold.
type world struct {
	rng   *rand.Rand
	disk  *simfs.FS
	clock *clock.Manual
	store *Store
	logs  map[string]*modelLog
	cuts  int
	wrap  func(vfs.FS) vfs.FS // puts something between store and disk
	// journal makes every sync one of the journal.
	journal bool
	// restarting is set while a process was ended and its successor is not up.
	restarting bool

	script []string // what was done, for the report of a failure
}

func newWorld(seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), clock: clock.NewManual(epochStart), logs: map[string]*modelLog{}}
	w.disk = simfs.New(simfs.Options{Seed: seed, LogLimit: 1000})
	w.journal = seed%2 == 0
	if err := errors.Join(w.disk.MkdirAll("/data", 0o755), w.disk.SyncDir("/"), w.open()); err != nil {
		panic(err)
	}
	return w
}

func (w *world) open() error {
	var err error
	disk := vfs.FS(w.disk)
	if w.wrap != nil {
		disk = w.wrap(disk)
	}
	w.store, err = Open(Options{FS: disk, Clock: w.clock, Dirs: []string{"/data"}, Manual: true, SyncWorkers: 1, journalAll: w.journal, JournalBytes: 6 * journal.BlockSize})
	if err == nil {
		w.store.random = func(n int64) int64 { return w.rng.Int64N(n + 1) }
	}
	return err
}

func (w *world) abandon() {
	if w.store != nil {
		w.store.Abandon()
	}
}

func (w *world) say(format string, args ...any) {
	w.script = append(w.script, fmt.Sprintf(format, args...))
	if len(w.script) > 200 {
		w.script = w.script[100:]
	}
}

func (w *world) config(name string) LogConfig {
	c := LogConfig{SegmentBytes: 1024 << w.rng.IntN(3), SegmentIndexBytes: 1 << 12, IndexIntervalBytes: 128 << w.rng.IntN(3),
		Delete: true, RetentionMs: -1, RetentionBytes: -1, FileDeleteDelayMs: 1000, SegmentMs: 1 << 40}
	switch name[0] {
	case 'b':
		c.RetentionBytes = 6000
		c.RetentionMs = 20_000
	case 'c':
		c.FlushMessages = 1 << 40
	}
	return c
}

// attempt does one random operation. An error says that the power went; the
// model then knows what may be there.
func (w *world) attempt() error {
	w.clock.Advance(time.Duration(w.rng.IntN(300)) * time.Millisecond)
	name := crashLogs[w.rng.IntN(len(crashLogs))]
	m := w.logs[name]
	if m == nil {
		return w.create(name)
	}
	l := w.store.Log(name)
	if l == nil {
		return fmt.Errorf("log %s is not open", name)
	}
	switch n := w.rng.IntN(100); {
	case n < 60:
		return w.append(m, l)
	case n < 64:
		return w.again(m, l)
	case n < 69:
		return w.deleteRecords(m, l)
	case n < 73:
		w.say("retain %s", name)
		m.startMax = max(m.startMax, l.High())
		err := l.Retain()
		if err == nil {
			m.start = l.Start()
			m.startMax = m.start
		}
		return err
	case n < 80:
		w.say("checkpoint")
		err := w.store.dirs[0].checkpointRecovery(true)
		if err == nil {
			w.synced()
		}
		return err
	case n < 84:
		w.say("assign epoch %d to %s at %d", m.epoch+1, name, m.end)
		m.epoch++
		return l.AssignEpoch(m.epoch)
	case n < 87:
		return w.truncate(m, l)
	case n < 89:
		w.say("flush %s", name)
		err := l.Flush()
		if err == nil {
			m.must = m.end
		}
		return err
	case n < 91:
		w.say("delete %s", name)
		m.leaving = true
		if err := w.store.DeleteLog(name); err != nil {
			return err
		}
		delete(w.logs, name)
		return nil
	case n < 95:
		w.say("jobs")
		w.clock.Advance(time.Duration(w.rng.IntN(2000)) * time.Millisecond)
		for _, m := range w.logs {
			if l := w.store.Log(m.name); l != nil {
				m.startMax = max(m.startMax, l.High())
			}
		}
		w.store.RunJobs()
		if err := w.store.Failed("/data"); err != nil {
			return err
		}
		for _, m := range w.logs {
			if l := w.store.Log(m.name); l != nil {
				m.start = l.Start()
				m.startMax = m.start
			}
		}
		return nil
	case n < 97:
		w.say("kill")
		w.restarting = true
		after := w.disk.KillClone()
		w.abandon()
		w.disk = after
		if w.wrap == nil {
			w.disk.PowerOffAfter(1 + w.rng.IntN(60))
		}
		for _, m := range w.logs {
			m.kept = m.end // in the page cache, so only if the power stays
		}
		if err := w.open(); err != nil {
			return err
		}
		if err := w.recover(); err != nil {
			return err
		}
		w.restarting = false
		return nil
	default:
		w.say("clean stop")
		w.restarting = true
		if err := w.store.Close(5); err != nil {
			return err
		}
		w.synced()
		if err := w.open(); err != nil {
			return err
		}
		if dirs, err := w.store.Dirs(); err != nil || !dirs[0].Clean {
			return fmt.Errorf("unclean after a clean stop: %w", errModel)
		}
		if err := w.recover(); err != nil {
			return err
		}
		w.restarting = false
		return nil
	}
}

func (w *world) synced() {
	for name, m := range w.logs {
		if w.store.Log(name) != nil { // not one whose deletion failed half way
			m.must = m.end
		}
	}
}

func (w *world) create(name string) error {
	m := &modelLog{name: name, config: w.config(name), maybe: true}
	m.replay()
	w.logs[name] = m
	w.say("create %s", name)
	_, err := w.store.CreateLog("/data", name, ID{7}, m.config)
	if err == nil {
		m.exists = true
	}
	return err
}

func (w *world) append(m *modelLog, l *Log) error {
	p := m.modelBatches(w.rng, w.clock.Now().UnixMilli())
	w.say("append %d bytes in %d batches to %s at %d", len(p), len(m.pending), m.name, m.end)
	// Until the answer all of them may be there, in order, or none.
	for _, b := range m.pending {
		m.batches = append(m.batches, b)
		m.end = b.last + 1
		m.note(b.bytes)
	}
	done := make(waitChannel, 1)
	// A marker comes from the coordinator; the checks that this leaves out are for single batches anyway.
	_, err := l.Append(p, AppendOptions{LeaderEpoch: m.epoch, Origin: producer.Coordinator}, done)
	if err == nil {
		err = <-done
	}
	if err == nil && !m.relaxed() {
		m.must = m.end
	}
	return err
}

// again sends a producer's last batch once more.
func (w *world) again(m *modelLog, l *Log) error {
	for i := len(m.batches) - 1; i >= 0 && !m.forgot; i-- {
		b := m.batches[i]
		if !b.bytes.HasProducerID() || b.bytes.IsControl() {
			continue
		}
		w.say("repeat %d of %s", b.base, m.name)
		done := make(waitChannel, 1)
		out, err := l.Append(slices.Clone(b.bytes), AppendOptions{LeaderEpoch: m.epoch}, done)
		if err == nil {
			err = <-done
		}
		if err != nil {
			return err
		}
		if !out.Duplicate || out.BaseOffset != b.base {
			return fmt.Errorf("a repeated batch was taken: %+v, expected offset %d: %w", out, b.base, errModel)
		}
		return nil
	}
	return nil
}

func (w *world) deleteRecords(m *modelLog, l *Log) error {
	high := l.High()
	at := m.start + w.rng.Int64N(high-m.start+1)
	w.say("delete records of %s below %d", m.name, at)
	m.startMax = max(m.startMax, at)
	got, err := l.DeleteRecordsBefore(at)
	if err == nil {
		m.start, m.startMax = got, got
	}
	return err
}

func (w *world) truncate(m *modelLog, l *Log) error {
	live := m.live()
	if len(live) == 0 {
		return nil
	}
	b := live[w.rng.IntN(len(live))]
	at := b.base
	if at < m.start {
		return nil
	}
	w.say("truncate %s to %d", m.name, at)
	m.must = min(m.must, at)
	err := l.Truncate(at)
	if err == nil {
		m.cut(at)
	}
	return err
}

// errModel marks an error that no power cut explains.
var errModel = errors.New("the store is wrong")

// recover opens every log of a store just opened and compares it. A wrong
// store is an errModel; other errors are the power that went.
func (w *world) recover() error {
	for _, name := range crashLogs {
		m := w.logs[name]
		if m == nil {
			if _, err := w.disk.Stat("/data/" + name); err == nil {
				return fmt.Errorf("the deleted log %s is back: %w", name, errModel)
			}
			continue
		}
		_, err := w.disk.Stat("/data/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			if m.exists && !m.leaving {
				return fmt.Errorf("log %s is gone: %w", name, errModel)
			}
			delete(w.logs, name)
			continue
		}
		if err != nil {
			return err
		}
		l, err := w.store.OpenLog("/data", name, m.config)
		if errors.Is(err, simfs.ErrPowerOff) {
			return err
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errModel, err)
		}
		m.exists, m.leaving = true, false
		defer func() { m.kept = 0 }()
		m.epoch = max(m.epoch, l.LatestEpoch())
		if err = m.verify(l); err == nil {
			err = m.verifyFiles(l)
		}
		if errors.Is(err, simfs.ErrPowerOff) {
			return err
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errModel, err)
		}
	}
	return nil
}

// cut takes the power away n changes from now, works until it is gone, and
// comes back on what the disk had kept.
func (w *world) cut() error {
	w.disk.PowerOffAfter(1 + w.rng.IntN(120))
	var err error
	for err == nil {
		err = w.attempt()
		if errors.Is(err, errModel) {
			return err
		}
	}
	if !errors.Is(err, simfs.ErrPowerOff) && (w.store == nil || w.store.Failed("/data") == nil) {
		return fmt.Errorf("%w: %w", errModel, err)
	}
	for {
		w.cuts++
		w.say("power cut: %v", err)
		for _, m := range w.logs {
			m.kept = 0
		}
		after := w.disk.Crash(simfs.CrashOptions{})
		w.abandon()
		w.disk = after
		if w.rng.IntN(4) == 0 { // and once more while it recovers
			w.disk.PowerOffAfter(1 + w.rng.IntN(30))
		}
		if err = w.open(); err == nil {
			err = w.recover()
		}
		if errors.Is(err, errModel) {
			return err
		}
		if err == nil {
			break
		}
	}
	w.disk.PowerOffAfter(1 << 40)
	if w.rng.IntN(4) > 0 {
		return nil
	}
	// What was recovered is durable, and recovering again changes nothing.
	w.cuts++
	w.say("power cut after recovery")
	after := w.disk.Crash(simfs.CrashOptions{Keep: simfs.Keep(w.rng.IntN(3))})
	w.abandon()
	w.disk = after
	if err := w.open(); err != nil {
		return fmt.Errorf("%w: %w", errModel, err)
	}
	if err := w.recover(); err != nil {
		return fmt.Errorf("after a second recovery: %w: %w", errModel, err)
	}
	return nil
}

// TestPowerCuts takes the power away at random moments of random work and
// compares what comes back with what was acknowledged.
func TestPowerCuts(t *testing.T) {
	total := *cutsFlag
	if total == 0 {
		total = 5000
	}
	if testing.Short() {
		total = 500
	}
	began, done, seeds := time.Now(), 0, uint64(0)
	for seed := uint64(1); done < total && !t.Failed(); seed++ {
		if *seedFlag != 0 {
			seed = *seedFlag
		}
		w := newWorld(seed)
		for w.cuts < 50 {
			if err := w.cut(); err != nil {
				t.Errorf("seed %d, cut %d: %v\nscript:\n%s\ndisk:\n%s", seed, w.cuts, err, tail(w.script, 200), diskLog(w.disk))
				break
			}
		}
		w.abandon()
		done += w.cuts
		seeds++
		if *seedFlag != 0 {
			break
		}
	}
	t.Logf("%d power cuts, %d seeds, %.0f cuts/s", done, seeds, float64(done)/time.Since(began).Seconds())
}

func tail(lines []string, n int) string {
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func diskLog(d *simfs.FS) string {
	var lines []string
	for _, e := range d.Log() {
		lines = append(lines, e.String())
	}
	return tail(lines, 1000)
}
