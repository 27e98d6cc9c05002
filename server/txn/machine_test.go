package txn

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/txn/record"
)

func TestInitProducerID(t *testing.T) {
	const pid, last = 7, math.MaxInt16 - 1
	for _, x := range []struct {
		name    string
		have    record.Value
		q       InitRequest
		code    int16
		epoch   int16 // of pid, or of a new id
		newID   bool
		state   record.State
		aborted bool
	}{
		{"known", value(record.Empty, pid, 3), InitRequest{ProducerID: -1, ProducerEpoch: -1}, 0, 4, false, record.Empty, false},
		{"after a commit", value(record.CompleteCommit, pid, 3), InitRequest{ProducerID: -1, ProducerEpoch: -1}, 0, 4, false, record.Empty, false},
		{"after an abort", value(record.CompleteAbort, pid, 3), InitRequest{ProducerID: pid, ProducerEpoch: 3}, 0, 4, false, record.Empty, false},
		{"another id", value(record.Empty, pid, 3), InitRequest{ProducerID: 8, ProducerEpoch: 3}, codeProducerFenced, 3, false, record.Empty, false},
		{"an older epoch", value(record.Empty, pid, 3), InitRequest{ProducerID: pid, ProducerEpoch: 2}, codeProducerFenced, 3, false, record.Empty, false},
		{"a newer epoch", value(record.Empty, pid, 3), InitRequest{ProducerID: pid, ProducerEpoch: 4}, codeProducerFenced, 3, false, record.Empty, false},
		{"markers under way", value(record.PrepareCommit, pid, 3, p0), InitRequest{ProducerID: -1, ProducerEpoch: -1}, codeConcurrentTransactions, 3, false, record.PrepareCommit, false},
		{"open", value(record.Ongoing, pid, 3, p0), InitRequest{ProducerID: -1, ProducerEpoch: -1}, codeConcurrentTransactions, 4, false, record.PrepareAbort, true},
		{"open, with its epoch", value(record.Ongoing, pid, 3, p0), InitRequest{ProducerID: pid, ProducerEpoch: 3}, codeConcurrentTransactions, 4, false, record.PrepareAbort, true},
		{"open, not the owner", value(record.Ongoing, pid, 3, p0), InitRequest{ProducerID: 8, ProducerEpoch: 3}, codeProducerFenced, 3, false, record.Ongoing, false},
		{"exhausted", value(record.Empty, pid, last), InitRequest{ProducerID: -1, ProducerEpoch: -1}, 0, 0, true, record.Empty, false},
		{"exhausted, the owner", value(record.CompleteCommit, pid, last), InitRequest{ProducerID: pid, ProducerEpoch: last}, 0, 0, true, record.Empty, false},
		{"exhausted, an older epoch", value(record.Empty, pid, last), InitRequest{ProducerID: pid, ProducerEpoch: last - 1}, codeProducerFenced, last, false, record.Empty, false},
		{"one before", value(record.Empty, pid, last-1), InitRequest{ProducerID: -1, ProducerEpoch: -1}, 0, last, false, record.Empty, false},
	} {
		for _, version := range []int16{0, 1, 2} {
			b := newBench(t, version)
			b.set("id", x.have)
			x.q.TransactionalID = "id"
			got, used := b.init(x.q)
			want := Producer{x.code, pid, x.epoch}
			state := want.ID
			if x.newID {
				want.ID, state = b.lastID, b.lastID
			}
			if x.code != 0 {
				want = refuse(x.code)
			}
			if got != want || used != x.newID {
				t.Errorf("%s, version %d: %+v, expected %+v; used %v", x.name, version, got, want, used)
			}
			partitions := flatten(x.have.Topics)
			if x.state == record.Empty {
				partitions = nil
			}
			b.expect("id", x.state, state, x.epoch, partitions...)
			if x.aborted {
				if m := b.marked(); m.ProducerEpoch != x.epoch || m.Commit || m.CoordinatorEpoch != 4 || !slices.Equal(m.Partitions, partitions) || (m.Version == 2) != (version == 2) {
					t.Errorf("%s, version %d: marker %+v", x.name, version, m)
				}
				b.expect("id", record.CompleteAbort, state, x.epoch)
			}
		}
	}
}

func TestInitProducerIDRefuses(t *testing.T) {
	b := newBench(t, 2)
	for _, x := range []struct {
		q    InitRequest
		code int16
	}{
		{InitRequest{}, codeInvalidRequest},
		{InitRequest{TransactionalID: "id", TimeoutMs: -1}, codeInvalidTransactionTimeout},
		{InitRequest{TransactionalID: "id", TimeoutMs: 900_001}, codeInvalidTransactionTimeout},
	} {
		if got, used := b.init(x.q); got != refuse(x.code) || used {
			t.Errorf("%+v: %+v", x.q, got)
		}
	}
	if got, used := b.init(InitRequest{TransactionalID: "id", TimeoutMs: 900_000, ProducerID: 5, ProducerEpoch: 6}); got.Code != 0 || got.Epoch != 0 || !used {
		t.Errorf("a producer of an id that was forgotten: %+v", got)
	}
}

// TestInitProducerIDAgain: an answer that was lost is given again, unless somebody else came in between (KIP-360).
func TestInitProducerIDAgain(t *testing.T) {
	b := newBench(t, 2)
	first := b.fresh("id")
	mine := InitRequest{TransactionalID: "id", ProducerID: first.ID, ProducerEpoch: first.Epoch}
	want := Producer{ID: first.ID, Epoch: 1}
	for range 2 {
		if got, _ := b.init(mine); got != want {
			t.Fatalf("%+v, expected %+v", got, want)
		}
	}
	if got, _ := b.init(InitRequest{TransactionalID: "id", ProducerID: first.ID, ProducerEpoch: 1}); got.Epoch != 2 {
		t.Fatalf("the next epoch: %+v", got)
	}
	if got, _ := b.init(mine); got.Code != codeProducerFenced {
		t.Fatalf("two epochs ago: %+v", got)
	}
	mine.ProducerEpoch = 1
	if got, _ := b.init(mine); got.Epoch != 2 {
		t.Fatalf("one epoch ago: %+v", got)
	}
	if got := b.fresh("id"); got != (Producer{ID: first.ID, Epoch: 3}) {
		t.Fatalf("another producer: %+v", got)
	}
	if got, _ := b.init(mine); got.Code != codeProducerFenced {
		t.Fatalf("after another producer: %+v", got)
	}
	// Out of epochs: the answer with the new id is given again too.
	b.set("id", value(record.Empty, first.ID, math.MaxInt16-1))
	mine.ProducerEpoch = math.MaxInt16 - 1
	got, used := b.init(mine)
	if got.ID == first.ID || got.Epoch != 0 || !used {
		t.Fatalf("out of epochs: %+v", got)
	}
	if again, used := b.init(mine); again != got || used {
		t.Fatalf("again: %+v, expected %+v", again, got)
	}
	// A restart forgets who asked: nobody is sure then.
	b.restart()
	if got, _ := b.init(mine); got.Code != codeProducerFenced {
		t.Fatalf("after a restart: %+v", got)
	}
}

func TestAddPartitions(t *testing.T) {
	for _, x := range []struct {
		name  string
		have  record.Value
		pid   int64
		epoch int16
		code  int16
	}{
		{"empty", value(record.Empty, 7, 3), 7, 3, 0},
		{"open", value(record.Ongoing, 7, 3, p2), 7, 3, 0},
		{"committed", value(record.CompleteCommit, 7, 3), 7, 3, 0},
		{"aborted", value(record.CompleteAbort, 7, 3), 7, 3, 0},
		{"committing", value(record.PrepareCommit, 7, 3, p0), 7, 3, codeConcurrentTransactions},
		{"aborting", value(record.PrepareAbort, 7, 3, p0), 7, 3, codeConcurrentTransactions},
		{"aborting, any producer", value(record.PrepareAbort, 7, 3, p0), 9, 0, codeConcurrentTransactions},
		{"another producer", value(record.Empty, 7, 3), 8, 3, codeInvalidProducerIDMapping},
		{"an older epoch", value(record.Empty, 7, 3), 7, 2, codeProducerFenced},
		{"a newer epoch", value(record.Ongoing, 7, 3), 7, 4, codeProducerFenced},
	} {
		b := newBench(t, 2)
		b.set("id", x.have)
		q := AddRequest{TransactionalID: "id", ProducerID: x.pid, ProducerEpoch: x.epoch, Partitions: []Partition{p1, p0}, ClientVersion: 2}
		if got := b.add(q); !slices.Equal(got, []int16{x.code, x.code}) {
			t.Errorf("%s: %v, expected %d", x.name, got, x.code)
		}
		if x.code != 0 {
			continue
		}
		want := append([]Partition{p0, p1}, flatten(x.have.Topics)...)
		b.expect("id", record.Ongoing, 7, 3, want...)
		v, _ := b.get("id")
		if started := x.have.State == record.Ongoing; started != (v.StartedMs == 1) || v.ClientVersion != 2 || v.UpdatedMs != 1_000_000 {
			t.Errorf("%s: %+v", x.name, v)
		}
		before := b.log.End()
		if got := b.add(q); got[0] != 0 || b.log.End() != before {
			t.Errorf("%s: what is there already is written again, or refused: %v", x.name, got)
		}
	}
	b := newBench(t, 2)
	if got := b.add(AddRequest{TransactionalID: "none", Partitions: []Partition{p0}}); got[0] != codeInvalidProducerIDMapping {
		t.Errorf("unknown id: %v", got)
	}
	if got := b.add(AddRequest{Partitions: []Partition{p0}}); got[0] != codeInvalidRequest {
		t.Errorf("no id: %v", got)
	}
}

func TestVerify(t *testing.T) {
	for _, x := range []struct {
		name  string
		have  record.Value
		pid   int64
		epoch int16
		want  []int16
	}{
		{"open", value(record.Ongoing, 7, 3, p0, p2), 7, 3, []int16{0, codeTransactionAbortable}},
		{"ended", value(record.CompleteAbort, 7, 3), 7, 3, []int16{codeTransactionAbortable, codeTransactionAbortable}},
		{"ending", value(record.PrepareCommit, 7, 3, p0), 7, 3, []int16{codeConcurrentTransactions, codeConcurrentTransactions}},
		{"another producer", value(record.Ongoing, 7, 3, p0), 8, 3, []int16{codeInvalidProducerIDMapping, codeInvalidProducerIDMapping}},
		{"another epoch", value(record.Ongoing, 7, 3, p0), 7, 2, []int16{codeProducerFenced, codeProducerFenced}},
	} {
		b := newBench(t, 2)
		b.set("id", x.have)
		if got := b.add(AddRequest{TransactionalID: "id", ProducerID: x.pid, ProducerEpoch: x.epoch, Partitions: []Partition{p0, p1}, VerifyOnly: true}); !slices.Equal(got, x.want) {
			t.Errorf("%s: %v, expected %v", x.name, got, x.want)
		}
		b.expect("id", x.have.State, 7, 3, flatten(x.have.Topics)...)
	}
}

// TestEndVersion1 is the table of endTransactionWithTV1.
func TestEndVersion1(t *testing.T) {
	const ends = -2
	for _, x := range []struct {
		state         record.State
		abort, commit int16
	}{
		{record.Empty, codeInvalidTxnState, codeInvalidTxnState},
		{record.Ongoing, ends, ends},
		{record.PrepareCommit, codeConcurrentTransactions, codeConcurrentTransactions},
		{record.PrepareAbort, codeConcurrentTransactions, codeConcurrentTransactions},
		{record.CompleteCommit, codeInvalidTxnState, 0},
		{record.CompleteAbort, 0, codeInvalidTxnState},
	} {
		for _, commit := range []bool{false, true} {
			b := newBench(t, 2) // clients of version 1 work by it whatever the cluster can
			b.set("id", value(x.state, 7, 3, p0, p2))
			want := x.abort
			if commit {
				want = x.commit
			}
			got := b.end(EndRequest{TransactionalID: "id", ProducerID: 7, ProducerEpoch: 3, Commit: commit})
			if want == ends {
				if got != refuse(0) {
					t.Errorf("%v, commit %v: %+v", x.state, commit, got)
				}
				b.expect("id", outcome(commit), 7, 3, p0, p2)
				if m := b.marked(); m.ProducerEpoch != 3 || m.Commit != commit || m.Version != 0 {
					t.Errorf("%v, commit %v: marker %+v", x.state, commit, m)
				}
				b.expect("id", outcome(commit)+2, 7, 3)
			} else if got != refuse(want) {
				t.Errorf("%v, commit %v: %+v, expected %d", x.state, commit, got, want)
			}
			for _, q := range []struct {
				EndRequest
				code int16
			}{
				{EndRequest{"id", 7, 2, commit, 0}, codeProducerFenced}, {EndRequest{"id", 7, 4, commit, 0}, codeProducerFenced},
				{EndRequest{"id", 8, 3, commit, 0}, codeInvalidProducerIDMapping}, {EndRequest{"x", 7, 3, commit, 0}, codeInvalidProducerIDMapping},
				{EndRequest{"", 7, 3, commit, 0}, codeInvalidRequest},
			} {
				if got := b.end(q.EndRequest); got != refuse(q.code) {
					t.Errorf("%v: %+v: %+v, expected %d", x.state, q.EndRequest, got, q.code)
				}
			}
		}
	}
}

// TestEndVersion2 is the table of endTransaction: with the present epoch, and again with the one before.
func TestEndVersion2(t *testing.T) {
	const ends, none = -2, 0
	const fenced, state, busy = codeProducerFenced, codeInvalidTxnState, codeConcurrentTransactions
	for _, x := range []struct {
		state                                     record.State
		abort, abortAgain, commit, commitAgain, _ int16
	}{
		{record.Empty, ends, fenced, state, fenced, 0},
		{record.Ongoing, ends, fenced, ends, fenced, 0},
		{record.PrepareCommit, busy, busy, busy, busy, 0},
		{record.PrepareAbort, busy, busy, busy, busy, 0},
		{record.CompleteCommit, ends, state, state, none, 0},
		{record.CompleteAbort, ends, none, state, state, 0},
	} {
		for _, commit := range []bool{false, true} {
			for _, again := range []bool{false, true} {
				b := newBench(t, 2)
				var partitions []Partition
				if x.state == record.Ongoing || x.state == record.PrepareCommit || x.state == record.PrepareAbort {
					partitions = []Partition{p0}
				}
				v := value(x.state, 7, 3, partitions...)
				v.ClientVersion = 2
				b.set("id", v)
				name := fmt.Sprintf("%v, commit %v, again %v", x.state, commit, again)
				want := map[[2]bool]int16{{false, false}: x.abort, {false, true}: x.abortAgain, {true, false}: x.commit, {true, true}: x.commitAgain}[[2]bool{commit, again}]
				q := EndRequest{TransactionalID: "id", ProducerID: 7, ProducerEpoch: 3, Commit: commit, ClientVersion: 2}
				if again {
					q.ProducerEpoch = 2
				}
				got := b.end(q)
				switch want {
				case ends:
					if got != (Producer{ID: 7, Epoch: 4}) {
						t.Errorf("%s: %+v", name, got)
					}
					if len(partitions) > 0 {
						b.expect("id", outcome(commit), 7, 4, partitions...)
						if m := b.marked(); m.ProducerEpoch != 4 || m.Commit != commit || m.Version != 2 {
							t.Errorf("%s: marker %+v", name, m)
						}
					}
					b.expect("id", outcome(commit)+2, 7, 4)
					if again := b.end(q); again != got {
						t.Errorf("%s: asked again %+v, expected %+v", name, again, got)
					}
				case none:
					if got != (Producer{ID: 7, Epoch: 3}) {
						t.Errorf("%s: %+v", name, got)
					}
				default:
					if got != refuse(want) {
						t.Errorf("%s: %+v, expected %d", name, got, want)
					}
				}
			}
		}
		if x.state == record.PrepareCommit || x.state == record.PrepareAbort {
			continue
		}
		b := newBench(t, 2)
		b.set("id", value(x.state, 7, 3)) // of version 0, whose end raises no epoch: the one before is somebody else's
		for _, q := range []struct {
			EndRequest
			code int16
		}{
			{EndRequest{"id", 7, 4, false, 2}, fenced}, {EndRequest{"id", 7, 2, false, 2}, fenced}, {EndRequest{"id", 7, 2, true, 2}, fenced}, {EndRequest{"id", 7, 1, true, 2}, fenced}, {EndRequest{"id", 8, 3, true, 2}, codeInvalidProducerIDMapping},
			{EndRequest{"x", 7, 3, true, 2}, codeInvalidProducerIDMapping}, {EndRequest{"", 7, 3, true, 2}, codeInvalidRequest},
		} {
			if got := b.end(q.EndRequest); got != refuse(q.code) {
				t.Errorf("%v: %+v: %+v, expected %d", x.state, q.EndRequest, got, q.code)
			}
		}
	}
}

// TestEpochsRunOut: the last epoch is the coordinator's own; the client goes on with a new producer id.
func TestEpochsRunOut(t *testing.T) {
	b := newBench(t, 2)
	b.set("id", value(record.Ongoing, 7, math.MaxInt16-1, p0))
	q := EndRequest{TransactionalID: "id", ProducerID: 7, ProducerEpoch: math.MaxInt16 - 1, Commit: true, ClientVersion: 2}
	got := b.end(q)
	next := b.lastID
	if got != (Producer{ID: next}) || next == 7 {
		t.Fatalf("%+v, expected the id %d", got, next)
	}
	b.expect("id", record.PrepareCommit, 7, math.MaxInt16, p0)
	if codes := b.add(AddRequest{TransactionalID: "id", ProducerID: next, Partitions: []Partition{p0}}); codes[0] != codeConcurrentTransactions {
		t.Fatalf("the next transaction may not begin yet: %v", codes)
	}
	<-b.markers // lost
	b.restart() // the id is in the record
	if m := b.marked(); m.ProducerID != 7 || m.ProducerEpoch != math.MaxInt16 || m.CoordinatorEpoch != 5 {
		t.Fatalf("marker %+v", m)
	}
	b.expect("id", record.CompleteCommit, next, 0)
	if again := b.end(q); again != got {
		t.Fatalf("asked again: %+v, expected %+v", again, got)
	}
	q.ProducerEpoch--
	if again := b.end(q); again.Code != codeInvalidProducerIDMapping {
		t.Fatalf("an older epoch of the old id: %+v", again)
	}
	// A fence takes the last epoch too.
	b.set("id", value(record.Ongoing, 7, math.MaxInt16-1, p0))
	if got, used := b.init(InitRequest{TransactionalID: "id", ProducerID: none, ProducerEpoch: none}); got.Code != codeConcurrentTransactions || !used {
		t.Fatalf("fence: %+v", got)
	}
	b.marked()
	b.expect("id", record.CompleteAbort, b.lastID, 0)
	// And so does the search for what took too long, which has to ask for an id.
	b.set("id", value(record.Ongoing, 8, math.MaxInt16-1, p1))
	b.do(func(c *coord.Context, m *Machine) { m.watch(c) })
	b.clock.Advance(settings.AbortCheck)
	if m := b.marked(); m.ProducerID != 8 || m.ProducerEpoch != math.MaxInt16 {
		t.Fatalf("marker %+v", m)
	}
	b.expect("id", record.CompleteAbort, b.lastID, 0)
	// An epoch that nobody should have can still be aborted.
	b.set("id", value(record.Ongoing, 9, math.MaxInt16, p1))
	if got := b.fresh("id"); got.Code != codeConcurrentTransactions {
		t.Fatalf("the largest epoch: %+v", got)
	}
	b.marked()
	b.expect("id", record.CompleteAbort, b.lastID, 0)
}

func TestTimeouts(t *testing.T) {
	for _, version := range []int16{1, 2} {
		b := newBench(t, version)
		at := func(s record.State, startedMs int64, timeoutMs int32) record.Value {
			v := value(s, 7, 3, p0)
			v.StartedMs, v.TimeoutMs = startedMs, timeoutMs
			return v
		}
		now := b.clock.Now().UnixMilli()
		b.set("late", at(record.Ongoing, now-5000, 14_000))
		b.set("soon", at(record.Ongoing, now, 14_000))
		b.set("never", at(record.Ongoing, now-1_000_000, math.MaxInt32))
		b.set("done", at(record.CompleteCommit, now-1_000_000, 1))
		b.do(func(c *coord.Context, m *Machine) { m.watch(c) })
		b.clock.Advance(settings.AbortCheck)
		m := b.marked()
		if m.TransactionalID != "late" || m.Commit || m.ProducerEpoch != 4 {
			t.Fatalf("version %d: marker %+v", version, m)
		}
		b.expect("late", record.CompleteAbort, 7, 4)
		b.expect("soon", record.Ongoing, 7, 3, p0)
		b.expect("never", record.Ongoing, 7, 3, p0)
		b.clock.Advance(settings.AbortCheck)
		b.marked()
		b.expect("soon", record.CompleteAbort, 7, 4)
		b.expect("never", record.Ongoing, 7, 3, p0)
		b.expect("done", record.CompleteCommit, 7, 3, p0)
		if codes := b.add(AddRequest{TransactionalID: "late", ProducerID: 7, ProducerEpoch: 3, Partitions: []Partition{p0}}); codes[0] != codeProducerFenced {
			t.Errorf("version %d: the late producer goes on: %v", version, codes)
		}
	}
}

func TestExpiry(t *testing.T) {
	b := newBench(t, 2)
	old := b.clock.Now().Add(settings.ExpireCheck - settings.IDExpiration).UnixMilli()
	for i, s := range []record.State{record.Empty, record.Ongoing, record.PrepareCommit, record.PrepareAbort, record.CompleteCommit, record.CompleteAbort} {
		for after := range int64(2) {
			v := value(s, 7, 3, p0)
			v.UpdatedMs = old + after
			v.TimeoutMs = math.MaxInt32
			b.set(fmt.Sprintf("%d%d", i, after), v)
		}
	}
	b.clock.Advance(settings.ExpireCheck)
	b.do(func(_ *coord.Context, m *Machine) {
		for i := range 6 {
			for after := range 2 {
				gone := after == 0 && i != 1 && i != 2 && i != 3
				if m.all[fmt.Sprintf("%d%d", i, after)] == nil != gone {
					t.Errorf("state %d, %d ms late: gone should be %v", i, after, gone)
				}
			}
		}
	})
	if list := b.states("00"); list[len(list)-1].State != record.Dead {
		t.Error("no tombstone")
	}
	b.restart()
	b.do(func(_ *coord.Context, m *Machine) {
		if len(m.all) != 9 {
			t.Errorf("%d ids after a restart, expected 9", len(m.all))
		}
	})
}

// TestExpiryIsBounded: many at once are many batches.
func TestExpiryIsBounded(t *testing.T) {
	b := newBench(t, 2)
	const n = 2*batchLimit + 1
	b.do(func(c *coord.Context, m *Machine) {
		for i := range n {
			m.write(c, fmt.Sprint(i), value(record.Empty, 7, 3))
		}
	})
	b.clock.Advance(settings.IDExpiration + settings.ExpireCheck + time.Second)
	b.do(func(_ *coord.Context, m *Machine) {
		if len(m.all) != 0 {
			t.Errorf("%d ids are left", len(m.all))
		}
	})
}

func TestDescribe(t *testing.T) {
	b := newBench(t, 2)
	describe := func(id string) (d Description) {
		b.do(func(c *coord.Context, m *Machine) { m.Describe(c, id, func(got Description, _ error) { d = got }) })
		return d
	}
	b.set("id", value(record.Ongoing, 7, 3, p1, p0, p2))
	d := describe("id")
	if d.Code != 0 || d.State != record.Ongoing || d.ProducerID != 7 || d.ProducerEpoch != 3 || d.TimeoutMs != 60_000 || d.StartedMs != 1 ||
		!slices.Equal(flatten(d.Topics), []Partition{p0, p1, p2}) {
		t.Errorf("%+v", d)
	}
	if describe("x").Code != codeTransactionalIDNotFound || describe("").Code != codeInvalidRequest {
		t.Error("ids that are not there")
	}
}

func TestList(t *testing.T) {
	b := newBench(t, 2)
	now := b.clock.Now().UnixMilli()
	for id, v := range map[string]record.Value{"a1": value(record.Ongoing, 1, 0), "a2": value(record.Empty, 2, 0), "b1": value(record.Ongoing, 3, 0), "b2": value(record.CompleteAbort, 4, 0)} {
		v.StartedMs = now - 1000
		if id == "b1" {
			v.StartedMs = now - 5000
		}
		b.set(id, v)
	}
	for _, x := range []struct {
		name string
		f    Filter
		want []string
	}{
		{"all", Filter{DurationMs: -1}, []string{"a1", "a2", "b1", "b2"}},
		{"producers", Filter{DurationMs: -1, ProducerIDs: map[int64]bool{1: true, 4: true, 9: true}}, []string{"a1", "b2"}},
		{"states", Filter{DurationMs: -1, States: map[record.State]bool{record.Ongoing: true}}, []string{"a1", "b1"}},
		{"states that do not exist", Filter{DurationMs: -1, States: map[record.State]bool{}}, nil},
		{"longer than", Filter{DurationMs: 1000}, []string{"b1"}},
		{"pattern", Filter{DurationMs: -1, Pattern: regexp.MustCompile("^a")}, []string{"a1", "a2"}},
		{"together", Filter{DurationMs: 10, Pattern: regexp.MustCompile("1$"), ProducerIDs: map[int64]bool{1: true}}, []string{"a1"}},
	} {
		var got []string
		b.do(func(c *coord.Context, m *Machine) {
			m.List(c, x.f, func(list []Listed, _ error) {
				for _, l := range list {
					got = append(got, l.TransactionalID)
				}
			})
		})
		slices.Sort(got)
		if !slices.Equal(got, x.want) {
			t.Errorf("%s: %v, expected %v", x.name, got, x.want)
		}
	}
}

// TestUnknownRecordsAreSkipped, and damaged ones take the shard out of service.
func TestUnknownRecordsAreSkipped(t *testing.T) {
	m := New(Options{}, 0)
	good := value(record.Empty, 7, 3)
	for _, x := range []struct {
		key, value []byte
		bad        bool
	}{
		{[]byte{0, 9, 1}, nil, false},
		{record.AppendKey(nil, "id"), []byte{0, 9}, false},
		{record.AppendKey(nil, "id"), record.AppendValue(nil, &good, 1)[:8], true},
		{[]byte{0}, nil, true},
	} {
		if err := m.Apply(coord.Record{Key: x.key, Value: x.value}, coord.Origin{}); (err != nil) != x.bad {
			t.Errorf("%x %x: %v", x.key, x.value, err)
		}
	}
	if len(m.all) != 0 {
		t.Error("records that were skipped are known")
	}
}

func TestMerge(t *testing.T) {
	old, _ := merge(nil, []Partition{p1})
	all, grown := merge(old, []Partition{p2, p0, p1})
	if !grown || !slices.Equal(flatten(all), []Partition{p0, p1, p2}) || !slices.Equal(flatten(old), []Partition{p1}) {
		t.Errorf("%v, and %v", all, old)
	}
	if again, grown := merge(all, []Partition{p0}); grown || !slices.Equal(flatten(again), flatten(all)) {
		t.Error("nothing new")
	}
	if contains(all, Partition{"topic", 2}) || contains(all, Partition{"a", 0}) || !contains(all, p2) {
		t.Error("contains")
	}
	odd := []record.Topic{{Name: "zoo", Partitions: []int32{0}}, {Name: "topic", Partitions: []int32{1, 0}}, {Name: "topic", Partitions: []int32{0}}}
	if got := flatten(sorted(odd)); !slices.Equal(got, []Partition{p0, p1, p2}) {
		t.Errorf("%v", got)
	}
}
