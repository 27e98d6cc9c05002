package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// stateLimit is where a moment with very many states is left for the next; the
// random test covers such.
const stateLimit = 6000

// TestEveryState stops short scripts before each of their changes and tries
// every state that a power cut there can leave on the disk.
func TestEveryState(t *testing.T) {
	type step = func(w *world, m *modelLog, l *Log) error
	app := func(w *world, m *modelLog, l *Log) error { return w.append(m, l) }
	scripts := map[string][]step{
		"appends": {app, app, app},
		"checkpoint": {app, func(w *world, _ *modelLog, _ *Log) error {
			err := w.store.dirs[0].checkpointRecovery(true)
			if err == nil {
				w.synced()
			}
			return err
		}, app},
		"roll": {app, func(_ *world, _ *modelLog, l *Log) error {
			l.write.Lock()
			defer l.write.Unlock()
			return l.roll(l.End())
		}, app},
		"delete records": {app, func(_ *world, _ *modelLog, l *Log) error {
			l.write.Lock()
			defer l.write.Unlock()
			return l.roll(l.End())
		}, app, func(w *world, m *modelLog, l *Log) error { return w.deleteRecords(m, l) }, app},
		"truncate": {app, app, func(w *world, m *modelLog, l *Log) error { return w.truncate(m, l) }, app},
		"epoch": {app, func(_ *world, m *modelLog, l *Log) error {
			m.epoch++
			return l.AssignEpoch(m.epoch)
		}, app},
		"delete and create": {app, func(w *world, m *modelLog, l *Log) error {
			m.leaving = true
			if err := w.store.DeleteLog(m.name); err != nil {
				return err
			}
			delete(w.logs, m.name)
			return w.create(m.name)
		}},
		"clean stop": {app, func(w *world, _ *modelLog, _ *Log) error {
			err := w.store.Close(1)
			if err == nil {
				w.synced()
			}
			return err
		}},
	}
	for name, script := range scripts {
		for _, log := range []string{"a-0", "c-0"} {
			t.Run(name+" "+log, func(t *testing.T) {
				t.Parallel()
				began, states, cutShort := time.Now(), 0, 0
				for change := 0; ; change++ {
					n, finished, err := everyStateAt(script, log, change)
					if err != nil {
						t.Fatalf("change %d: %v", change, err)
					}
					if states += n; n >= stateLimit {
						cutShort++
					}
					if finished {
						break
					}
				}
				t.Logf("%d states in %v, %d moments cut short", states, time.Since(began).Round(time.Millisecond), cutShort)
			})
		}
	}
}

// everyStateAt runs a script until its nth change and tries all states then.
func everyStateAt(script []func(w *world, m *modelLog, l *Log) error, name string, change int) (states int, finished bool, err error) {
	run := func() (*world, error) {
		w := &world{rng: rand.New(rand.NewPCG(11, 2)), clock: clock.NewManual(epochStart), logs: map[string]*modelLog{}}
		w.disk = simfs.New(simfs.Options{Seed: 1})
		if err := errors.Join(w.disk.MkdirAll("/data", 0o755), w.disk.SyncDir("/"), w.open(), w.create(name)); err != nil {
			return w, fmt.Errorf("%w: %w", errModel, err)
		}
		w.disk.PowerOffAfter(change)
		for _, step := range script {
			l := w.store.Log(name)
			if l == nil {
				return w, fmt.Errorf("log %s is not open: %w", name, errModel)
			}
			if err := step(w, w.logs[name], l); err != nil {
				return w, err
			}
		}
		return w, nil
	}
	var base *world
	base, err = run()
	if finished = err == nil; !finished && errors.Is(err, errModel) {
		return 0, false, err
	}
	err = nil
	simfs.EveryChoice(func(choose func(n int) int) bool {
		states++
		w := &world{rng: rand.New(rand.NewPCG(1, 1)), clock: base.clock, logs: map[string]*modelLog{}}
		for n, m := range base.logs {
			w.logs[n] = m.clone()
		}
		w.disk = base.disk.Crash(simfs.CrashOptions{Choose: choose, WholeBlocks: true})
		if err = w.open(); err == nil {
			err = w.recover()
		}
		if err == nil {
			// And once more: a recovery leaves nothing that another would change.
			after := w.disk.Crash(simfs.CrashOptions{Keep: simfs.KeepNone})
			w.abandon()
			w.disk = after
			if err = w.open(); err == nil {
				err = w.recover()
			}
		}
		w.abandon()
		if err != nil {
			err = fmt.Errorf("state %d: %w\ndisk:\n%s", states, err, diskLog(base.disk))
		}
		return err == nil && states < stateLimit
	})
	base.abandon()
	return states, finished, err
}
