package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// TestCompactionModel does random work with a compacted log and compares it with what was appended: the last value
// of every key is there, and nothing that was not.
func TestCompactionModel(t *testing.T) {
	rounds, compacted := 40, 0
	if testing.Short() {
		rounds = 8
	}
	if *cutsFlag > 0 {
		rounds = *cutsFlag
	}
	for seed := range uint64(rounds) {
		w := newKeyedWorld(seed + 1)
		var err error
		for range 400 {
			if err = w.attempt(); err != nil {
				break
			}
		}
		if err == nil {
			err = w.verify()
		}
		if err != nil {
			t.Errorf("seed %d: %v\nscript:\n%s\ndisk:\n%s", seed+1, err, tail(w.script, 60), diskLog(w.disk))
			w.abandon()
			break
		}
		left, err := readBatches(w.log, w.start)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) < len(w.batches)/2 {
			compacted++
		}
		if err := w.store.Close(1); err != nil {
			t.Fatal(err)
		}
		if s := w.disk.Stats(); s.OpenFiles != 0 || s.Mappings != 0 {
			t.Fatalf("seed %d: %+v", seed+1, s)
		}
	}
	if !t.Failed() && compacted < rounds/3 {
		t.Errorf("only %d of %d logs became smaller", compacted, rounds)
	}
}

// crash takes the power, makes one of the states that leaves, and opens it.
func (w *keyedWorld) crash(o simfs.CrashOptions) error {
	w.cuts, w.cutting = w.cuts+1, true
	w.say("power cut")
	after := w.disk.Crash(o)
	w.abandon()
	w.disk, w.kept = after, 0
	return w.back()
}

// TestCompactionPowerCuts takes the power away at random moments of random work with a compacted log.
func TestCompactionPowerCuts(t *testing.T) {
	total := *cutsFlag
	if total == 0 {
		total = 1000
	}
	if testing.Short() {
		total = 100
	}
	began, done := time.Now(), 0
	for seed := uint64(1); done < total && !t.Failed(); seed++ {
		if *seedFlag != 0 {
			seed = *seedFlag
		}
		w := newKeyedWorld(seed)
		for w.cuts < 15 {
			if err := w.untilCut(); err != nil {
				t.Errorf("seed %d, cut %d: %v\nscript:\n%s\ndisk:\n%s", seed, w.cuts, err, tail(w.script, 100), diskLog(w.disk))
				break
			}
		}
		w.abandon()
		done += w.cuts
		if *seedFlag != 0 {
			break
		}
	}
	t.Logf("%d power cuts, %.0f cuts/s", done, float64(done)/time.Since(began).Seconds())
}

func (w *keyedWorld) untilCut() error {
	w.cutting = true
	w.disk.PowerOffAfter(1 + w.rng.IntN(250))
	var err error
	for err == nil {
		if err = w.attempt(); errors.Is(err, errModel) {
			return err
		}
	}
	if !errors.Is(err, simfs.ErrPowerOff) && w.store.Failed("/data") == nil {
		return fmt.Errorf("%w: %w", errModel, err)
	}
	for {
		w.cuts++
		w.say("power cut: %v", err)
		after := w.disk.Crash(simfs.CrashOptions{})
		w.abandon()
		w.disk, w.kept = after, 0
		if w.rng.IntN(3) == 0 { // and once more while it recovers
			w.disk.PowerOffAfter(1 + w.rng.IntN(40))
		}
		if err = w.back(); err == nil || errors.Is(err, errModel) {
			break
		}
	}
	w.disk.PowerOffAfter(1 << 40)
	return err
}

// TestCompactionCutAtEveryStep takes the power away at every change of a cleaning, in several of the states that can
// leave, and again at every change of the recovery after it.
func TestCompactionCutAtEveryStep(t *testing.T) {
	states := 4
	if testing.Short() {
		states = 3
	}
	for seed := range uint64(2) {
		prepared := func() *keyedWorld {
			w := newKeyedWorld(seed + 1)
			w.config.SegmentBytes, w.config.SegmentIndexBytes = 2048, 1<<12
			w.log.SetConfig(w.config)
			for w.end < 300 {
				if err := w.append(); err != nil {
					t.Fatal(err)
				}
			}
			w.jobs()
			for w.end < 450 {
				if err := w.append(); err != nil {
					t.Fatal(err)
				}
			}
			w.clock.Advance(keyedRetention * time.Millisecond)
			return w
		}
		whole := prepared()
		before := whole.disk.Stats().Changes
		if err := whole.jobs(); err != nil {
			t.Fatal(err)
		}
		steps := whole.disk.Stats().Changes - before
		whole.store.Abandon()
		if steps < 20 {
			t.Fatalf("seed %d: a cleaning is %d changes", seed, steps)
		}
		stride := 1 + steps/60 // a small offset map makes many passes
		for step := 0; step < steps; step += stride {
			for state := range states {
				w := prepared()
				w.disk.PowerOffAfter(step)
				w.run()
				o := simfs.CrashOptions{Keep: simfs.KeepSome, Seed: uint64(1 + step*states + state)}
				if state < 2 {
					o.Keep = []simfs.Keep{simfs.KeepNone, simfs.KeepAll}[state]
				}
				w.disk.PowerOffAfter(1 << 40)
				err := w.crash(o)
				if err == nil && state%3 == 2 {
					// Go on, and clean again what was left.
					w.clock.Advance(2 * time.Second)
					err = w.jobs()
				}
				if err == nil {
					err = w.crash(simfs.CrashOptions{Keep: simfs.Keep(w.rng.IntN(3))})
				}
				if err != nil {
					t.Fatalf("seed %d, step %d, state %d: %v\nscript:\n%s\ndisk:\n%s", seed, step, state, err, tail(w.script, 10), diskLog(w.disk))
				}
				w.abandon()
			}
		}
		t.Logf("seed %d: %d steps", seed, steps)
	}
}
