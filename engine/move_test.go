package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/journal"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

var moveDirs = []string{"/data", "/more"}

// movingWorld is a world with one log that is moved between two directories.
type movingWorld struct {
	*world
	m     *modelLog
	move  *Move
	on    string // where the log is to be, on record
	moved int
}

func newMovingWorld(seed uint64, name string) *movingWorld {
	w := &movingWorld{world: &world{rng: rand.New(rand.NewPCG(seed, 3)), clock: clock.NewManual(epochStart), logs: map[string]*modelLog{}, journal: seed%2 == 0}, on: "/data"}
	w.disk = simfs.New(simfs.Options{Seed: seed, LogLimit: 1000})
	for _, dir := range moveDirs {
		if err := w.disk.MkdirAll(dir, 0o755); err != nil {
			panic(err)
		}
	}
	if err := errors.Join(w.disk.SyncDir("/"), w.begin(), w.create(name)); err != nil {
		panic(err)
	}
	w.m = w.logs[name]
	return w
}

func (w *movingWorld) begin() error {
	disk := vfs.FS(w.disk)
	if w.wrap != nil {
		disk = w.wrap(disk)
	}
	var err error
	w.store, err = Open(Options{FS: disk, Clock: w.clock, Dirs: moveDirs, Manual: true, SyncWorkers: 1, journalAll: w.journal, JournalBytes: 6 * journal.BlockSize})
	if err == nil {
		w.store.random = func(n int64) int64 { return w.rng.Int64N(n + 1) }
	}
	return err
}

func (w *movingWorld) log() *Log { return w.store.Log(w.m.name) }

func (w *movingWorld) other() string {
	if w.log().Dir() == moveDirs[0] {
		return moveDirs[1]
	}
	return moveDirs[0]
}

// step does one random operation.
func (w *movingWorld) step() error {
	m, l := w.m, w.log()
	switch n := w.rng.IntN(100); {
	case n < 40:
		return w.append(m, l)
	case n < 44:
		return w.again(m, l)
	case n < 48:
		return w.deleteRecords(m, l)
	case n < 50:
		w.say("retain")
		m.startMax = max(m.startMax, l.High())
		err := l.Retain()
		if err == nil {
			m.start, m.startMax = l.Start(), l.Start()
		}
		return err
	case n < 54:
		w.say("checkpoint")
		return errors.Join(w.store.dirs[0].checkpointRecovery(true), w.store.dirs[1].checkpointRecovery(true))
	case n < 57:
		w.say("assign epoch %d at %d", m.epoch+1, m.end)
		m.epoch++
		return l.AssignEpoch(m.epoch)
	case n < 59:
		return w.truncate(m, l)
	case n < 61:
		w.say("jobs")
		w.clock.Advance(70_000_000_000)
		m.startMax = max(m.startMax, l.High())
		w.store.RunJobs()
		if err := w.failed(); err != nil {
			return err
		}
		m.start, m.startMax = l.Start(), l.Start()
		return nil
	case n < 64:
		w.say("clean stop")
		w.restarting = true
		if w.move != nil {
			w.move.Close()
			w.move = nil
		}
		if err := w.store.Close(5); err != nil {
			return err
		}
		w.synced()
		return errors.Join(w.begin(), w.back())
	case n < 66:
		w.say("kill")
		w.restarting = true
		after := w.disk.KillClone()
		w.abandon()
		w.disk, w.move = after, nil
		w.disk.PowerOffAfter(1 + w.rng.IntN(200))
		m.kept = m.end
		return errors.Join(w.begin(), w.back())
	case w.move == nil:
		return w.start()
	case n < 82:
		w.say("copy, %d bytes left", w.move.left())
		return w.ended(w.move.Copy(context.Background()))
	case n < 84:
		return w.ended(context.Canceled)
	default:
		before := w.moved
		if err := w.finish(); err != nil || w.moved == before { // what was canceled made nothing durable
			return err
		}
		return w.verified()
	}
}

func (w *movingWorld) start() (err error) {
	w.say("move to %s", w.other())
	w.move, err = w.store.StartMove(w.log(), w.other())
	return err
}

// ended cancels a move that failed for a reason that is none of the disk's.
func (w *movingWorld) ended(err error) error {
	if errors.Is(err, ErrMoved) || errors.Is(err, context.Canceled) {
		w.say("cancel: %v", err)
		err = w.move.Cancel()
		w.move = nil
	}
	return err
}

func (w *movingWorld) finish() error {
	w.say("finish")
	before := w.on
	w.on = w.move.Dir() // from here on record
	var published *Log
	l, err := w.move.Finish(context.Background(), func(l *Log) { published = l })
	if err != nil {
		if !errors.Is(err, ErrUndecided) {
			w.on = before
		}
		return w.ended(err)
	}
	w.move = nil
	w.moved++
	if l != published || l != w.log() || l.Dir() != w.on {
		return fmt.Errorf("moved to %s, published %v, expected %s: %w", l.Dir(), l == published, w.on, errModel)
	}
	w.m.must = w.m.end // all of it is durable in its new place
	return nil
}

// verified is what to say of an open log, unless the power went meanwhile.
func (w *movingWorld) verified() error {
	err := w.m.verify(w.log())
	if err != nil && !errors.Is(err, simfs.ErrPowerOff) {
		return fmt.Errorf("%w: %w", errModel, err)
	}
	return err
}

func (w *movingWorld) failed() error {
	return errors.Join(w.store.Failed(moveDirs[0]), w.store.Failed(moveDirs[1]))
}

// back opens the log where it is found, or where it is on record if it is found twice.
func (w *movingWorld) back() error {
	var found []string
	for _, dir := range moveDirs {
		_, err := w.disk.Stat(dir + "/" + w.m.name)
		if err == nil {
			found = append(found, dir)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	switch len(found) {
	case 0:
		return fmt.Errorf("log %s is gone: %w", w.m.name, errModel)
	case 1:
		w.on = found[0]
	default:
		w.say("in both directories")
		away := found[0]
		if away == w.on {
			away = found[1]
		}
		if err := w.store.MarkStray(away, w.m.name); err != nil {
			return err
		}
	}
	l, err := w.store.OpenLog(w.on, w.m.name, w.m.config)
	if err == nil {
		w.m.epoch = max(w.m.epoch, l.LatestEpoch())
		if err = w.m.verify(l); err == nil {
			err = w.m.verifyFiles(l)
		}
	}
	w.m.kept = 0
	if err != nil && !errors.Is(err, simfs.ErrPowerOff) {
		return fmt.Errorf("%w: %w", errModel, err)
	}
	if err == nil {
		w.restarting = false
		err = w.store.RemoveDeleted()
	}
	return err
}

// crash takes the power away and comes back.
func (w *movingWorld) crash(o simfs.CrashOptions) error {
	w.cuts++
	w.say("power cut")
	after := w.disk.Crash(o)
	w.abandon()
	w.disk, w.move, w.m.kept = after, nil, 0
	if w.rng.IntN(4) == 0 {
		w.disk.PowerOffAfter(1 + w.rng.IntN(30))
	}
	err := w.begin()
	if err == nil {
		err = w.back()
	}
	if err != nil && !errors.Is(err, errModel) {
		w.say("again: %v", err)
		return w.crash(simfs.CrashOptions{})
	}
	w.disk.PowerOffAfter(1 << 40)
	return err
}

func (w *movingWorld) report(t *testing.T, seed uint64, err error) {
	t.Helper()
	t.Fatalf("seed %d, cut %d: %v\nscript:\n%s\ndisk:\n%s", seed, w.cuts, err, tail(w.script, 60), diskLog(w.disk))
}

// TestMovePowerCuts takes the power away at random moments of random work with a log that is on its way.
func TestMovePowerCuts(t *testing.T) {
	total, moved := *cutsFlag, 0
	if total == 0 {
		total = 1500
	}
	if testing.Short() {
		total = 300
	}
	done := 0
	for seed := uint64(1); done < total; seed++ {
		if *seedFlag != 0 {
			seed = *seedFlag
		}
		w := newMovingWorld(seed, []string{"a-0", "b-0", "c-0"}[seed%3])
		for w.cuts < 20 {
			w.disk.PowerOffAfter(1 + w.rng.IntN(200))
			var err error
			for err == nil {
				err = w.step()
			}
			if !errors.Is(err, simfs.ErrPowerOff) && w.failed() == nil && !errors.Is(err, ErrUndecided) || errors.Is(err, errModel) {
				w.report(t, seed, err)
			}
			w.say("%v", err)
			w.disk.PowerOffAfter(1 << 40)
			if err := w.crash(simfs.CrashOptions{}); err != nil {
				w.report(t, seed, err)
			}
		}
		w.abandon()
		done, moved = done+w.cuts, moved+w.moved
		if *seedFlag != 0 {
			break
		}
	}
	t.Logf("%d power cuts, %d moves", done, moved)
	if moved < done/10 {
		t.Errorf("only %d moves came to their end", moved)
	}
}

// prepareMove makes a log with several segments, of which a part is copied.
func prepareMove(t *testing.T, seed uint64) *movingWorld {
	w := newMovingWorld(seed, "a-0")
	work := func(n int) {
		for range n {
			if err := w.append(w.m, w.log()); err != nil {
				t.Fatal(err)
			}
		}
	}
	work(12)
	if err := errors.Join(w.deleteRecords(w.m, w.log()), w.start(), w.move.Copy(context.Background())); err != nil {
		t.Fatal(err)
	}
	work(8)
	return w
}

// TestMoveCutAtEveryStep takes the power away at every change of the end of a move, in several of the states that can leave.
func TestMoveCutAtEveryStep(t *testing.T) {
	states := 6
	if testing.Short() {
		states = 3
	}
	both := 0
	for seed := range uint64(2) {
		whole := prepareMove(t, seed)
		before := whole.disk.Stats().Changes
		if err := whole.finish(); err != nil {
			t.Fatal(err)
		}
		steps := whole.disk.Stats().Changes - before
		whole.store.Abandon()
		if steps < 20 {
			t.Fatalf("the end of a move is %d changes", steps)
		}
		for step := range steps {
			for state := range states {
				w := prepareMove(t, seed)
				w.disk.PowerOffAfter(step)
				if err := w.finish(); err == nil && step < steps*2/3 {
					t.Fatalf("seed %d: finished with the power off at change %d of %d", seed, step, steps)
				}
				w.disk.PowerOffAfter(1 << 40)
				o := simfs.CrashOptions{Keep: simfs.KeepSome, Seed: uint64(1 + step*states + state)}
				if state < 2 {
					o.Keep = []simfs.Keep{simfs.KeepNone, simfs.KeepAll}[state]
				}
				err := w.crash(o)
				if err == nil && state%2 == 0 {
					// On, and the same once more.
					for range 30 {
						if err = w.step(); err != nil {
							break
						}
					}
					if errors.Is(err, simfs.ErrPowerOff) && !errors.Is(err, errModel) {
						err = nil // a kill counts down to it
					}
				}
				if err == nil {
					err = w.crash(simfs.CrashOptions{Keep: simfs.Keep(w.rng.IntN(3))})
				}
				if err != nil {
					w.report(t, seed, fmt.Errorf("step %d, state %d: %w", step, state, err))
				}
				if strings.Contains(strings.Join(w.script, "\n"), "in both directories") {
					both++
				}
				w.abandon()
			}
		}
	}
	if both == 0 {
		t.Error("no crash left the log in both directories")
	}
}

// TestMoveFailingCalls lets every call that the end of a move makes fail once.
func TestMoveFailingCalls(t *testing.T) {
	for _, kind := range []error{syscall.EIO, syscall.ENOSPC} {
		ended := map[string]int{}
		for call := 1; ; call++ {
			faults := vfs.NewFaults()
			w := newMovingWorld(1, "a-0")
			w.wrap = func(f vfs.FS) vfs.FS { return vfs.WithFaults(f, faults) }
			w.abandon()
			if err := errors.Join(w.begin(), w.back()); err != nil {
				t.Fatal(err)
			}
			for range 12 {
				if err := w.append(w.m, w.log()); err != nil {
					t.Fatal(err)
				}
			}
			faults.Add(vfs.Fault{Nth: call, Err: kind})
			err := w.start()
			if err == nil {
				err = w.move.Copy(context.Background())
			}
			if err == nil {
				err = w.finish()
			}
			fired := faults.Fired()
			faults.Clear()
			if err == nil {
				err = w.verified()
			}
			if errors.Is(err, errModel) {
				w.report(t, uint64(call), err)
			}
			l := w.log()
			switch {
			case err == nil:
				ended["moved"]++
			case errors.Is(err, ErrUndecided):
				ended["undecided"]++
				if err := w.append(w.m, l); !errors.Is(err, ErrClosed) {
					t.Errorf("call %d: appended to a log that is nowhere for certain: %v", call, err)
				}
			default:
				ended["stayed"]++
				if w.move != nil {
					if err := w.move.Cancel(); err != nil {
						w.report(t, uint64(call), err)
					}
					w.move = nil
				}
				if futures, err := w.store.Futures(); err != nil || len(futures) > 0 {
					t.Errorf("call %d: %v, %v are left of a move that was given up", call, futures, err)
				}
			}
			if w.store.Failed(l.Dir()) == nil && !errors.Is(err, ErrUndecided) {
				if err := w.append(w.m, l); err != nil {
					w.report(t, uint64(call), fmt.Errorf("call %d, %v: append: %w", call, kind, err))
				}
			}
			if kind == syscall.ENOSPC && w.failed() != nil && !errors.Is(err, ErrUndecided) {
				// Only a sync that fails may end a directory.
				if !strings.Contains(w.failed().Error(), "sync") {
					t.Errorf("call %d: a full disk ended a directory: %v", call, w.failed())
				}
			}
			w.wrap = nil
			if err := w.crash(simfs.CrashOptions{}); err != nil {
				w.report(t, uint64(call), fmt.Errorf("call %d, %v: %w", call, kind, err))
			}
			w.abandon()
			if fired == 0 {
				t.Logf("%v at each of %d calls: %v", kind, call-1, ended)
				break
			}
		}
	}
}
