package engine

import (
	"errors"
	"flag"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

var faultSeeds = flag.Uint64("faultseeds", 4, "scripts of TestEveryFailingCall")

// settle brings the model to what an operation that failed without ending the
// directory has left: the log knows its end.
func (w *world) settle() {
	for name, m := range w.logs {
		l := w.store.Log(name)
		if l == nil {
			continue
		}
		must := min(m.must, l.End())
		m.cut(l.End())
		m.must = must
		m.start = min(m.start, l.Start())
		m.startMax = max(m.startMax, l.Start())
	}
}

// faultRun does a script with one fault, then takes the power away and looks.
// It returns how often the fault struck.
func faultRun(seed uint64, steps int, fault vfs.Fault) (fired int, w *world, err error) {
	faults := vfs.NewFaults()
	w = newWorld(seed)
	w.wrap = func(f vfs.FS) vfs.FS { return vfs.WithFaults(f, faults) }
	w.abandon()
	if err := w.open(); err != nil {
		return 0, w, err
	}
	faults.Add(fault)
	var failed error
	for range steps {
		err := w.attempt()
		if errors.Is(err, errModel) && faults.Fired() == 0 {
			return 0, w, err
		}
		if err == nil {
			continue
		}
		w.say("failed: %v", err)
		failed = err
		if w.store == nil || w.store.Failed("/data") != nil || w.restarting {
			break
		}
		w.settle()
	}
	fired = faults.Fired()
	faults.Clear()
	if failed != nil && w.store != nil && !w.restarting && w.store.Failed("/data") == nil {
		// The directory lives: it must work again now.
		for name, m := range w.logs {
			l := w.store.Log(name)
			if l == nil {
				continue
			}
			if err := w.append(m, l); err != nil {
				return fired, w, fmt.Errorf("log %s after the fault: %w: %w", name, errModel, err)
			}
		}
	}
	w.restarting = false
	if w.rng.IntN(2) == 0 {
		w.say("power cut at the end")
		for _, m := range w.logs {
			m.kept = 0
		}
		after := w.disk.Crash(simfs.CrashOptions{})
		w.abandon()
		w.disk = after
	} else {
		w.say("kill at the end")
		after := w.disk.KillClone()
		w.abandon()
		w.disk = after
	}
	if err := w.open(); err != nil {
		return fired, w, fmt.Errorf("%w: %w", errModel, err)
	}
	return fired, w, w.recover()
}

// TestEveryFailingCall lets every call of a script fail once, with every kind
// of error, and once that call and all later ones.
func TestEveryFailingCall(t *testing.T) {
	const steps = 50
	kinds := map[string]vfs.Fault{
		"EIO":             {Err: syscall.EIO},
		"EIO for good":    {Err: syscall.EIO, Sticky: true},
		"short write":     {Op: vfs.OpWrite, Err: syscall.EIO, Short: 100},
		"ENOSPC":          {Op: vfs.OpWrite, Err: syscall.ENOSPC},
		"ENOSPC for good": {Op: vfs.OpWrite, Err: syscall.ENOSPC, Sticky: true},
		"full, short":     {Op: vfs.OpWrite, Err: syscall.ENOSPC, Short: 77},
		"no new file":     {Op: vfs.OpCreate, Err: syscall.ENOSPC},
		"sync ENOSPC":     {Op: vfs.OpSync, Err: syscall.ENOSPC},
	}
	for name, fault := range kinds {
		t.Run(name, func(t *testing.T) {
			began, runs := time.Now(), 0
			seeds := *faultSeeds
			if testing.Short() {
				seeds = 1
			}
			for seed := range seeds {
				for n := 1; ; n++ {
					fault.Nth = n
					fired, w, err := faultRun(seed+1, steps, fault)
					runs++
					if err != nil {
						t.Fatalf("seed %d, call %d: %v\nscript:\n%s\ndisk:\n%s", seed, n, err, tail(w.script, 200), diskLog(w.disk))
					}
					w.abandon()
					if fired == 0 {
						break
					}
				}
			}
			t.Logf("%d runs in %v", runs, time.Since(began))
		})
	}
}
