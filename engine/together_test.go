package engine

import (
	"fmt"
	"sync"
	"testing"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// shareSyncs appends to a dozen logs at the same time, round after round, and
// calls look behind every sync and other change of the disk but writes with what had been acknowledged
// before it. It returns how many syncs were shared.
func shareSyncs(t *testing.T, rounds int, look func(disk *simfs.FS, acknowledged map[string]int64)) int {
	r := newRig(t)
	defer r.store.Abandon()
	c := small
	c.SegmentBytes = 2048 // rolls every few rounds
	var logs []*Log
	for i := range 12 {
		logs = append(logs, r.create(fmt.Sprintf("t-%d", i), c))
	}
	var mu sync.Mutex
	acknowledged := map[string]int64{}
	r.disk.OnChange(func(e vfs.Event) {
		if e.Op == vfs.OpWrite {
			return // so that appends overtake the syncs, and some of these are shared
		}
		mu.Lock()
		defer mu.Unlock()
		look(r.disk, acknowledged)
	})
	for round := 0; round < rounds || r.disk.Stats().VolumeSyncs < rounds && round < 100*rounds; round++ {
		var all sync.WaitGroup
		for _, l := range logs {
			all.Add(1)
			go func() {
				defer all.Done()
				out := mustAppend(t, l, records(3, fmt.Sprintf("%s %d", l.Name(), round)))
				mu.Lock()
				defer mu.Unlock()
				acknowledged[l.Name()] = out.LastOffset + 1
			}()
		}
		all.Wait()
		look(r.disk, acknowledged) // before another sync flushes what this one should have
	}
	return r.disk.Stats().VolumeSyncs
}

// TestPowerCutsOfSharedSyncs: whatever is acknowledged out of a sync of many
// logs is there after a power cut at any moment.
func TestPowerCutsOfSharedSyncs(t *testing.T) {
	cuts, seed := 0, uint64(0)
	check := func(disk *simfs.FS, acknowledged map[string]int64) {
		if len(acknowledged) == 0 {
			return
		}
		seed++
		cuts++
		after := disk.Crash(simfs.CrashOptions{Seed: seed, Keep: []simfs.Keep{simfs.KeepNone, simfs.KeepSome}[seed%2]})
		store, err := Open(Options{FS: after, Dirs: []string{"/data"}, Manual: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer store.Abandon()
		for name, end := range acknowledged {
			l, err := store.OpenLog("/data", name, small)
			if err != nil {
				t.Errorf("cut %d: %v", cuts, err)
				continue
			}
			if l.High() < end {
				t.Errorf("cut %d: %s ends at %d, %d was acknowledged", cuts, name, l.High(), end)
			}
		}
	}
	if shared := shareSyncs(t, 8, check); shared == 0 {
		t.Fatal("no sync was shared: the test shows nothing")
	}
	if cuts < 40 {
		t.Fatalf("only %d power cuts", cuts)
	}
}

// TestFailedSharedSyncAcknowledgesNothing: the first failed sync of the volume
// is the last.
func TestFailedSharedSyncAcknowledgesNothing(t *testing.T) {
	r := newRig(t)
	defer r.store.Abandon()
	var logs []*Log
	for i := range 12 {
		logs = append(logs, r.create(fmt.Sprintf("t-%d", i), small))
		mustAppend(t, logs[i], records(1, "good"))
	}
	r.disk.FailSyncAll(1)
	failed := 0
	for round := 0; failed == 0; round++ {
		if round == 1000 {
			t.Fatal("no sync was shared in a thousand rounds")
		}
		results := make([]waitChannel, len(logs))
		for i, l := range logs {
			results[i] = make(waitChannel, 1)
			if _, err := l.Append(records(1, "more"), AppendOptions{LeaderEpoch: 3}, results[i]); err != nil {
				results[i] <- err
			}
		}
		for i := range logs {
			if err := <-results[i]; err != nil {
				failed++
			} else if failed > 0 && r.store.Failed("/data") == nil {
				t.Fatal("no poison after a failed sync")
			}
		}
	}
	for i, l := range logs {
		if _, err := l.Append(records(1, "later"), AppendOptions{LeaderEpoch: 3}, make(waitChannel, 1)); err == nil {
			t.Fatalf("log %d took an append after the failure", i)
		}
	}
}

// TestCheckpointOfManyLogs: the recovery points of many logs cost a few syncs
// together, and hold after a power cut at any moment of the checkpoint.
func TestCheckpointOfManyLogs(t *testing.T) {
	r := newRig(t)
	defer r.store.Abandon()
	var names []string
	for i := range 40 {
		l := r.create(fmt.Sprintf("t-%d", i), small)
		names = append(names, l.Name())
		for n := range 5 {
			b := records(2, fmt.Sprint(i, n))
			mustAppend(t, l, b)
		}
	}
	check := func(disk *simfs.FS, when string) {
		store, err := Open(Options{FS: disk, Dirs: []string{"/data"}, Manual: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer store.Abandon()
		for _, name := range names {
			l, err := store.OpenLog("/data", name, small)
			if err != nil {
				t.Errorf("%s: %v", when, err)
			} else if l.High() != 10 {
				t.Errorf("%s: %s ends at %d, 10 were acknowledged", when, name, l.High())
			}
		}
	}
	seed, cuts := uint64(0), 0
	r.disk.OnChange(func(e vfs.Event) {
		seed++
		if e.Op == vfs.OpWrite && seed%8 != 0 {
			return
		}
		cuts++
		check(r.disk.Crash(simfs.CrashOptions{Seed: seed, Keep: []simfs.Keep{simfs.KeepNone, simfs.KeepSome, simfs.KeepAll}[seed%3]}), e.String())
	})
	before := r.disk.Stats()
	if err := r.store.dirs[0].checkpointRecovery(true); err != nil {
		t.Fatal(err)
	}
	r.disk.OnChange(nil)
	after := r.disk.Stats()
	if n := after.Syncs - before.Syncs + after.DirSyncs - before.DirSyncs; n > 12 {
		t.Errorf("%d syncs for the recovery points of 40 logs", n)
	}
	for _, name := range names {
		if at := r.store.Log(name).recovery.Load(); at != 10 {
			t.Errorf("recovery point of %s is %d", name, at)
		}
	}
	if cuts < 10 {
		t.Errorf("only %d power cuts", cuts)
	}
	check(r.disk.Crash(simfs.CrashOptions{Keep: simfs.KeepNone}), "after it")
}
