package commit

import (
	"errors"
	"testing"
)

// fakeJournal takes what it is told to take.
type fakeJournal struct {
	takes func(l Log) bool
	room  bool
	err   error

	wanted, begun, taken, committed int
}

func (j *fakeJournal) Ready() bool { return j.wanted > 0 }
func (j *fakeJournal) Want()       { j.wanted++ }
func (j *fakeJournal) Begin()      { j.begun++; j.taken = 0 }

func (j *fakeJournal) Take(l Log) bool {
	if j.takes != nil && !j.takes(l) {
		return false
	}
	j.taken++
	return true
}

func (j *fakeJournal) Commit() (bool, error) {
	if j.err != nil || !j.room || j.taken == 0 {
		return false, j.err
	}
	j.committed++
	return true, nil
}

// TestTheJournalIsTheSyncOfManyLogs: what the journal takes is not synced again, and what it does not take is.
func TestTheJournalIsTheSyncOfManyLogs(t *testing.T) {
	for _, c := range []struct {
		name           string
		refused        int // logs that the journal does not take
		room           bool
		committed, all int // commits of the journal, syncs of the volume
		own            int64
	}{
		{"all", 0, true, 1, 0, 0},
		{"but for three", 3, true, 1, 0, 3},
		{"too many are left", 4, true, 0, 1, 1},
		{"no room", 0, false, 0, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := NewPool(1, nil)
			shared := 0
			p.SyncTogether(func() error { shared++; return nil })
			j := &fakeJournal{room: c.room}
			p.JournalTogether(j, 0)
			held, logs, results := ready(t, p, 20)
			j.takes = func(l Log) bool {
				for _, r := range logs[:c.refused] {
					if l == r {
						return false
					}
				}
				return true
			}
			held.gate <- struct{}{}
			own := int64(0)
			for i, r := range results {
				if err := r.wait(); err != nil {
					t.Fatal(err)
				}
				own += logs[i].syncs.Load()
				if logs[i].committed.Load() != 3 {
					t.Errorf("log %d: durable notice %d", i, logs[i].committed.Load())
				}
			}
			p.Close()
			if j.committed != c.committed || shared != c.all || own != c.own {
				t.Errorf("%d commits, %d syncs of all, %d of single logs; expected %d, %d, %d", j.committed, shared, own, c.committed, c.all, c.own)
			}
		})
	}
}

// TestAFailedJournalPoisons: nobody whose bytes are in it is answered.
func TestAFailedJournalPoisons(t *testing.T) {
	cause := errors.New("input/output error")
	p := NewPool(1, nil)
	p.SyncTogether(func() error { t.Error("a sync after the journal's failed"); return nil })
	p.JournalTogether(&fakeJournal{err: cause}, 0)
	held, logs, results := ready(t, p, 5)
	held.gate <- struct{}{}
	for i, r := range results {
		if err := r.wait(); !errors.Is(err, cause) {
			t.Fatalf("log %d: %v", i, err)
		}
		if logs[i].committed.Load() != 0 {
			t.Fatalf("log %d got a durable notice", i)
		}
	}
	if !errors.Is(p.Poisoned(), cause) {
		t.Error("the pool takes more after a failed journal")
	}
	p.Close()
}
