package txn

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn/record"
)

// TestLoadedGoesOn: what stood at Prepare is completed after a restart.
func TestLoadedGoesOn(t *testing.T) {
	b := newBench(t, 2)
	commit := value(record.PrepareCommit, 7, 3, p0, p1)
	commit.ClientVersion = 2
	b.set("a", commit)
	b.set("b", value(record.PrepareAbort, 8, 1, p2))
	b.set("c", value(record.PrepareAbort, 9, 1))
	b.set("d", value(record.Ongoing, 10, 1, p2))
	b.restart()
	got := map[string]Marker{}
	for range 2 {
		m := b.marked()
		got[m.TransactionalID] = m
	}
	if m := got["a"]; !m.Commit || m.ProducerID != 7 || m.ProducerEpoch != 3 || m.CoordinatorEpoch != 5 || m.Version != 2 || !slices.Equal(m.Partitions, []Partition{p0, p1}) {
		t.Errorf("%+v", m)
	}
	if m := got["b"]; m.Commit || m.ProducerID != 8 || m.ProducerEpoch != 1 || m.Version != 0 || !slices.Equal(m.Partitions, []Partition{p2}) {
		t.Errorf("%+v", m)
	}
	b.expect("a", record.CompleteCommit, 7, 3)
	b.expect("b", record.CompleteAbort, 8, 1)
	b.expect("c", record.CompleteAbort, 9, 1)
	b.expect("d", record.Ongoing, 10, 1, p2)
	b.clock.Advance(settings.AbortCheck) // it is watched again
	if m := b.marked(); m.TransactionalID != "d" {
		t.Errorf("%+v", m)
	}
}

// TestMarkersAreTriedAgain, ever less often, for the partitions that need them.
func TestMarkersAreTriedAgain(t *testing.T) {
	b := newBench(t, 2)
	b.set("id", value(record.Ongoing, 7, 3, p0, p1, p2))
	if got := b.end(EndRequest{"id", 7, 3, true, 2}); got.Code != 0 {
		t.Fatal(got)
	}
	offline := errors.New("offline")
	b.marked(nil, offline, offline)
	b.expect("id", record.PrepareCommit, 7, 4, p0, p1, p2)
	b.clock.Advance(firstRetryMs*time.Millisecond - time.Millisecond)
	if len(b.markers) != 0 {
		t.Fatal("too soon")
	}
	b.clock.Advance(time.Millisecond)
	if m := b.marked(offline, fmt.Errorf("%w: deleted", ErrGone)); !slices.Equal(m.Partitions, []Partition{p1, p2}) {
		t.Fatalf("%+v", m)
	}
	for wait := 2 * firstRetryMs; wait < 4*lastRetryMs; wait *= 2 {
		b.clock.Advance(time.Duration(min(wait, lastRetryMs)) * time.Millisecond)
		if m := b.marked(offline); !slices.Equal(m.Partitions, []Partition{p1}) {
			t.Fatalf("%+v", m)
		}
	}
	b.clock.Advance(lastRetryMs * time.Millisecond)
	b.marked(fmt.Errorf("%w: epoch", ErrFenced))
	b.expect("id", record.CompleteCommit, 7, 4)
}

// TestLateResultsOfALostMachine do not touch its successor.
func TestLateResultsOfALostMachine(t *testing.T) {
	b := newBench(t, 2)
	b.set("id", value(record.Ongoing, 7, 3, p0))
	b.end(EndRequest{"id", 7, 3, true, 2})
	old := <-b.markers
	b.log.Refuse(errors.New("no space left"))
	_ = b.rt.DoAt(0, func(c *coord.Context, m *Machine) { m.write(c, "other", value(record.Empty, 1, 1)) })
	b.log.Refuse(nil)
	b.rt.WaitLoaded()
	// The new Machine sends markers of its own, but only behind the old ones.
	b.expect("id", record.PrepareCommit, 7, 4, p0)
	if len(b.markers) != 0 {
		t.Fatal("two markers of one id at a time")
	}
	old.done([]error{nil})
	b.expect("id", record.PrepareCommit, 7, 4, p0)
	b.marked()
	b.expect("id", record.CompleteCommit, 7, 4)
}

// TestGate: the markers of a Machine that was thrown away never come behind those of its successor.
func TestGate(t *testing.T) {
	var under []*written
	var seen []string
	g := Gate(markersFunc(func(m Marker, done func([]error)) { under = append(under, &written{m, done}) }))
	write := func(name, id string, partition int32, number int64) {
		g.Write(Marker{TransactionalID: id, from: source{partition, number}}, func([]error) { seen = append(seen, name) })
	}
	write("a", "x", 0, 1)
	write("other", "y", 0, 1)
	write("outside", "", 0, 0)
	write("outside", "", 0, 0)
	if len(under) != 4 {
		t.Fatalf("%d under way", len(under))
	}
	write("b", "x", 0, 2)
	write("late", "x", 0, 1)
	write("late", "y", 0, 1)
	write("elsewhere", "z", 1, 1)
	if len(under) != 5 {
		t.Fatalf("%d under way, expected the one elsewhere and no more", len(under))
	}
	done := make(chan struct{})
	first := under[0]
	under = nil
	gate := g.(*gate)
	gate.markers = markersFunc(func(m Marker, done2 func([]error)) {
		under = append(under, &written{m, done2})
		close(done)
	})
	first.done(nil)
	<-done
	if len(under) != 1 || under[0].from.number != 2 || !slices.Equal(seen, []string{"a"}) {
		t.Fatalf("behind the first: %d under way, answered %v", len(under), seen)
	}
}

type markersFunc func(Marker, func([]error))

func (f markersFunc) Write(m Marker, done func([]error)) { f(m, done) }

// TestWaitingForMarkers: the next transaction may wait for the end of the one before.
func TestWaitingForMarkers(t *testing.T) {
	b := newBench(t, 2)
	b.set("id", value(record.Ongoing, 7, 3, p0))
	b.end(EndRequest{"id", 7, 3, true, 2})
	next := AddRequest{TransactionalID: "id", ProducerID: 7, ProducerEpoch: 4, Partitions: []Partition{p1}, ClientVersion: 2, WaitMs: 100}
	stale := next
	stale.ProducerEpoch = 3
	if codes := b.add(stale); codes[0] != codeConcurrentTransactions {
		t.Errorf("a late batch waits: %v", codes)
	}
	short := next
	short.WaitMs = 10
	impatient, patient := b.tryAdd(short), b.tryAdd(next)
	b.clock.Advance(10 * time.Millisecond)
	if codes := <-impatient; codes[0] != codeConcurrentTransactions {
		t.Errorf("after the wait: %v", codes)
	}
	if len(patient) != 0 {
		t.Error("answered too soon")
	}
	b.marked()
	if codes := <-patient; codes[0] != 0 {
		t.Errorf("after the markers: %v", codes)
	}
	b.expect("id", record.Ongoing, 7, 4, p1)
	// Whoever waits when the shard goes is told.
	b.end(EndRequest{"id", 7, 4, false, 2})
	next.ProducerEpoch = 5
	parked := b.tryAdd(next)
	b.rt.Stop(0)
	if codes := <-parked; codes != nil {
		t.Errorf("%v from a coordinator that is gone", codes)
	}
}

func TestWaitingIsBounded(t *testing.T) {
	b := newBench(t, 2)
	b.set("id", value(record.Ongoing, 7, 3, p0))
	b.end(EndRequest{"id", 7, 3, true, 2})
	q := AddRequest{TransactionalID: "id", ProducerID: 7, ProducerEpoch: 4, Partitions: []Partition{p1}, WaitMs: 100}
	for range waitingLimit {
		b.tryAdd(q)
	}
	if codes := b.add(q); codes[0] != codeConcurrentTransactions {
		t.Errorf("%v", codes)
	}
}
