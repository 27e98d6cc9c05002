package producer

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

const hour = 3_600_000

// data builds n records of producer id from sequence seq at offset base.
func data(id int64, epoch int16, seq int32, base int64, n int) batch.Batch {
	b := batch.NewBuilder(codec.None).Producer(id, epoch, seq).BaseOffset(base)
	for i := range n {
		b.Append(1000+base+int64(i), nil, nil)
	}
	return b.Bytes()
}

func tx(id int64, epoch int16, seq int32, base int64, n int) batch.Batch {
	b := data(id, epoch, seq, base, n)
	b[22] |= byte(batch.AttrTransactional)
	return b
}

func marker(commit bool, id int64, epoch int16, coordinatorEpoch int32, base int64) batch.Batch {
	b := batch.EndTransactionMarker(commit, coordinatorEpoch, id, epoch, 1000+base)
	b.SetBaseOffset(base)
	return b
}

// outcome names what Check answered.
func outcome(dup *Meta, err error) string {
	var order *OutOfOrderError
	switch {
	case dup != nil && err == nil:
		return "duplicate"
	case errors.As(err, &order):
		if !errors.Is(err, ErrOutOfOrder) {
			return "not an ErrOutOfOrder"
		}
		return "out of order"
	case errors.Is(err, ErrFencedEpoch):
		return "fenced"
	case errors.Is(err, ErrTransactionState):
		return "transaction state"
	case err != nil:
		return err.Error()
	}
	return "accepted"
}

// The table of ProducerAppendInfo: what was appended, what comes, what happens to it.
func TestCheck(t *testing.T) {
	const wrap = math.MaxInt32
	for name, x := range map[string]struct {
		log  []batch.Batch
		next batch.Batch
		want string
	}{
		"unknown producer, sequence 0":        {next: data(1, 0, 0, 0, 1), want: "accepted"},
		"unknown producer, any sequence":      {next: data(1, 0, 77, 0, 1), want: "accepted"},
		"no producer":                         {next: data(-1, -1, -1, 0, 1), want: "accepted"},
		"next sequence":                       {log: []batch.Batch{data(1, 0, 0, 0, 3)}, next: data(1, 0, 3, 3, 1), want: "accepted"},
		"gap":                                 {log: []batch.Batch{data(1, 0, 0, 0, 3)}, next: data(1, 0, 4, 3, 1), want: "out of order"},
		"the same batch":                      {log: []batch.Batch{data(1, 0, 0, 0, 3)}, next: data(1, 0, 0, 3, 3), want: "duplicate"},
		"the same start, another size":        {log: []batch.Batch{data(1, 0, 0, 0, 3)}, next: data(1, 0, 0, 3, 2), want: "out of order"},
		"an old sequence":                     {log: []batch.Batch{data(1, 0, 5, 0, 3)}, next: data(1, 0, 4, 3, 1), want: "out of order"},
		"lower epoch":                         {log: []batch.Batch{data(1, 5, 0, 0, 3)}, next: data(1, 4, 3, 3, 1), want: "fenced"},
		"lower epoch, same sequence":          {log: []batch.Batch{data(1, 5, 0, 0, 3)}, next: data(1, 4, 0, 3, 3), want: "fenced"},
		"new epoch from 0":                    {log: []batch.Batch{data(1, 5, 0, 0, 3)}, next: data(1, 6, 0, 3, 1), want: "accepted"},
		"new epoch, same batch":               {log: []batch.Batch{data(1, 5, 0, 0, 3)}, next: data(1, 6, 0, 3, 3), want: "accepted"},
		"new epoch from 3":                    {log: []batch.Batch{data(1, 5, 0, 0, 3)}, next: data(1, 6, 3, 3, 1), want: "out of order"},
		"after MaxInt32 comes 0":              {log: []batch.Batch{data(1, 0, wrap, 0, 1)}, next: data(1, 0, 0, 1, 1), want: "accepted"},
		"after MaxInt32 not 1":                {log: []batch.Batch{data(1, 0, wrap, 0, 1)}, next: data(1, 0, 1, 1, 1), want: "out of order"},
		"wraps inside a batch":                {log: []batch.Batch{data(1, 0, wrap-1, 0, 4)}, next: data(1, 0, 2, 4, 1), want: "accepted"},
		"duplicate that wraps":                {log: []batch.Batch{data(1, 0, wrap-1, 0, 4)}, next: data(1, 0, wrap-1, 4, 4), want: "duplicate"},
		"another producer":                    {log: []batch.Batch{data(1, 0, 0, 0, 3)}, next: data(2, 0, 9, 3, 1), want: "accepted"},
		"plain batch in a transaction":        {log: []batch.Batch{tx(1, 0, 0, 0, 3)}, next: data(1, 0, 3, 3, 1), want: "transaction state"},
		"transaction goes on":                 {log: []batch.Batch{tx(1, 0, 0, 0, 3)}, next: tx(1, 0, 3, 3, 1), want: "accepted"},
		"transaction after plain":             {log: []batch.Batch{data(1, 0, 0, 0, 3)}, next: tx(1, 0, 3, 3, 1), want: "accepted"},
		"plain after the marker":              {log: []batch.Batch{tx(1, 0, 0, 0, 3), marker(true, 1, 0, 0, 3)}, next: data(1, 0, 3, 4, 1), want: "accepted"},
		"sequence goes on over the marker":    {log: []batch.Batch{tx(1, 0, 0, 0, 3), marker(true, 1, 0, 0, 3)}, next: tx(1, 0, 3, 4, 1), want: "accepted"},
		"retry over the marker":               {log: []batch.Batch{tx(1, 0, 0, 0, 3), marker(true, 1, 0, 0, 3)}, next: tx(1, 0, 0, 4, 3), want: "duplicate"},
		"marker with bumped epoch, old epoch": {log: []batch.Batch{tx(1, 0, 0, 0, 3), marker(true, 1, 1, 0, 3)}, next: tx(1, 0, 0, 4, 3), want: "fenced"},
		"marker with bumped epoch, from 0":    {log: []batch.Batch{tx(1, 0, 0, 0, 3), marker(true, 1, 1, 0, 3)}, next: tx(1, 1, 0, 4, 1), want: "accepted"},
		"marker with bumped epoch, from 3":    {log: []batch.Batch{tx(1, 0, 0, 0, 3), marker(true, 1, 1, 0, 3)}, next: tx(1, 1, 3, 4, 1), want: "out of order"},
		"marker for an unknown producer":      {log: []batch.Batch{marker(false, 1, 2, 0, 0)}, next: tx(1, 2, 0, 1, 1), want: "accepted"},
		"control batches are not checked":     {log: []batch.Batch{tx(1, 5, 0, 0, 3)}, next: marker(true, 1, 1, 0, 3), want: "accepted"},
		"fifth batch back": {log: []batch.Batch{data(1, 0, 0, 0, 1), data(1, 0, 1, 1, 1), data(1, 0, 2, 2, 1), data(1, 0, 3, 3, 1), data(1, 0, 4, 4, 1)},
			next: data(1, 0, 0, 5, 1), want: "duplicate"},
		"sixth batch back": {log: []batch.Batch{data(1, 0, 0, 0, 1), data(1, 0, 1, 1, 1), data(1, 0, 2, 2, 1), data(1, 0, 3, 3, 1), data(1, 0, 4, 4, 1), data(1, 0, 5, 5, 1)},
			next: data(1, 0, 0, 6, 1), want: "out of order"},
	} {
		table := New(24 * hour)
		for _, b := range x.log {
			table.Apply(b, 0)
		}
		if got := outcome(table.Check(x.next, Client, 0)); got != x.want {
			t.Errorf("%s: %s, expected %s", name, got, x.want)
		}
		for _, origin := range []Origin{Coordinator, Replication, Raft} {
			if got := outcome(table.Check(x.next, origin, 0)); got != "accepted" {
				t.Errorf("%s from origin %d: %s", name, origin, got)
			}
		}
	}
}

func TestWhatCheckSays(t *testing.T) {
	table := New(hour)
	for i := range 4 {
		table.Apply(data(1, 2, int32(i*10), int64(100+i*10), 10), 0)
	}
	dup, err := table.Check(data(1, 2, 10, 0, 10), Client, 0)
	if err != nil || dup.BaseOffset() != 110 || dup.LastOffset != 119 || dup.Timestamp != 1119 || dup.BaseSequence() != 10 || dup.LastSequence != 19 {
		t.Fatalf("%+v, %v", dup, err)
	}
	_, err = table.Check(data(1, 2, 55, 0, 1), Client, 0)
	var order *OutOfOrderError
	if !errors.As(err, &order) || *order != (OutOfOrderError{ProducerID: 1, Epoch: 2, Expected: 40, Found: 55}) {
		t.Fatal(err)
	}
	if _, err = table.Check(data(1, 3, 55, 0, 1), Client, 0); !errors.As(err, &order) || *order != (OutOfOrderError{ProducerID: 1, Epoch: 3, Found: 55, NewEpoch: true}) {
		t.Fatal(err)
	}
	if table.Len() != 1 {
		t.Fatal("Check changes the table")
	}
}

func TestCheckCoordinator(t *testing.T) {
	table := New(hour)
	table.Apply(tx(1, 3, 0, 0, 1), 0)
	table.Apply(marker(true, 1, 3, 8, 1), 0)
	for name, x := range map[string]struct {
		b    batch.Batch
		want error
	}{
		"unknown producer":         {marker(true, 2, 0, 0, 2), nil},
		"same epochs":              {marker(true, 1, 3, 8, 2), nil},
		"newer epochs":             {marker(false, 1, 4, 9, 2), nil},
		"older producer epoch":     {marker(true, 1, 2, 8, 2), ErrFencedEpoch},
		"older coordinator epoch":  {marker(true, 1, 3, 7, 2), ErrCoordinatorFenced},
		"data of a fenced one":     {tx(1, 2, -1, 2, 1), ErrFencedEpoch},
		"data, whatever sequence":  {tx(1, 3, -1, 2, 1), nil},
		"another kind of control":  {batch.NewBuilder(codec.None).Producer(1, 3, -1).Control().Append(1, batch.ControlKey(2), nil).Bytes(), batch.ErrControl},
		"data of an unknown other": {tx(9, 0, -1, 2, 1), nil},
	} {
		if err := table.CheckCoordinator(x.b, 0); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, expected %v", name, err, x.want)
		}
	}
}

// TestCheckCoordinatorVersion2: a marker raises the epoch of the transaction it ends.
func TestCheckCoordinatorVersion2(t *testing.T) {
	open, ended, last := New(hour), New(hour), New(hour)
	open.Apply(tx(1, 3, 0, 0, 1), 0)
	ended.Apply(tx(1, 3, 0, 0, 1), 0)
	ended.Apply(marker(true, 1, 4, 8, 1), 0)
	last.Apply(tx(1, 32767, 0, 0, 1), 0)
	for name, x := range map[string]struct {
		table   *Table
		epoch   int16
		version int16
		want    error
	}{
		"the epoch of an open one":               {open, 3, 2, ErrFencedEpoch},
		"the epoch of an open one, by version 1": {open, 3, 1, nil},
		"the next":                               {open, 4, 2, nil},
		"a lower one":                            {open, 2, 2, ErrFencedEpoch},
		"written again":                          {ended, 4, 2, nil},
		"of the transaction before":              {ended, 3, 2, ErrFencedEpoch},
		"no epoch left":                          {last, 32767, 2, nil},
	} {
		if err := x.table.CheckCoordinator(marker(false, 1, x.epoch, 9, 5), x.version); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, expected %v", name, err, x.want)
		}
	}
}

func TestTransactions(t *testing.T) {
	table := New(hour)
	type state struct {
		undecided, unstable int64 // -1 for none
	}
	check := func(step string, want state) {
		t.Helper()
		got := state{-1, -1}
		if first, ok := table.FirstUndecidedOffset(); ok {
			got.undecided = first
		}
		if first, ok := table.FirstUnstableOffset(); ok {
			got.unstable = first
		}
		if got != want {
			t.Fatalf("%s: %+v, expected %+v", step, got, want)
		}
	}
	apply := func(b batch.Batch, want *CompletedTxn) {
		t.Helper()
		if done := table.Apply(b, 0); (done == nil) != (want == nil) || done != nil && *done != *want {
			t.Fatalf("%+v, expected %+v", done, want)
		}
	}
	check("nothing", state{-1, -1})
	apply(data(9, 0, 0, 0, 10), nil)
	check("plain data", state{-1, -1})
	apply(tx(1, 0, 0, 10, 5), nil)
	apply(tx(2, 0, 0, 15, 5), nil)
	apply(tx(1, 0, 5, 20, 5), nil)
	check("two open", state{10, 10})
	if table.OpenTransactions() != 2 {
		t.Fatal(table.OpenTransactions())
	}
	table.OnHighWatermark(25)
	apply(marker(false, 1, 0, 3, 25), &CompletedTxn{ProducerID: 1, FirstOffset: 10, LastOffset: 25, Aborted: true})
	check("the first is decided, its marker not replicated", state{15, 10})
	apply(marker(false, 1, 0, 3, 26), nil) // a retry of the marker
	table.OnHighWatermark(25)
	check("a high watermark at the marker", state{15, 10})
	table.OnHighWatermark(26)
	check("a high watermark behind the marker", state{15, 15})
	table.OnHighWatermark(3)
	apply(marker(true, 2, 0, 4, 27), &CompletedTxn{ProducerID: 2, FirstOffset: 15, LastOffset: 27})
	check("both decided", state{-1, 15})
	apply(tx(1, 0, 10, 28, 1), nil)
	check("a third", state{28, 15})
	table.OnHighWatermark(28)
	check("only the third is left", state{28, 28})
	p, ok := table.Lookup(1)
	if want := (Producer{ID: 1, CoordinatorEpoch: 3, LastSequence: 10, LastOffset: 28, Timestamp: 1028, TxnFirstOffset: 28}); !ok || p != want {
		t.Fatalf("%+v, expected %+v", p, want)
	}
	if p, _ = table.Lookup(2); p.CoordinatorEpoch != 4 || p.TxnFirstOffset != -1 || p.Timestamp != 1027 {
		t.Fatalf("%+v", p)
	}
	table.Reset()
	check("after Reset", state{-1, -1})
	if table.Len() != 0 {
		t.Fatal(table.Len())
	}
}

// Marks and compaction of the transactions agree with a plain list, whatever the order of ends.
func TestTransactionsAgainstModel(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 8 {
		table := New(hour)
		type span struct{ first, last int64 }
		var model []span
		open := map[int64]int{} // producer -> index
		next, high := int64(0), int64(0)
		for range 6000 {
			id := random.Int64N(40)
			if id == 0 && random.IntN(20) > 0 {
				id = 1 // producer 0 keeps its transaction open for long
			}
			switch i, is := open[id]; {
			case random.IntN(6) == 0:
				high += random.Int64N(next - high + 1)
				table.OnHighWatermark(high)
			case is && random.IntN(2) == 0:
				model[i].last = next
				delete(open, id)
				if done := table.Apply(marker(true, id, 0, 0, next), 0); done == nil || done.FirstOffset != model[i].first || done.LastOffset != next {
					t.Fatalf("%+v, expected %+v", done, model[i])
				}
				next++
			default:
				if !is {
					open[id] = len(model)
					model = append(model, span{next, -1})
				}
				table.Apply(tx(id, 0, 0, next, 2), 0)
				next += 2
			}
			undecided, unstable := int64(-1), int64(-1)
			for _, s := range model {
				if s.last < 0 && undecided < 0 {
					undecided = s.first
				}
				if (s.last < 0 || s.last >= high) && unstable < 0 {
					unstable = s.first
				}
			}
			got, ok := table.FirstUndecidedOffset()
			if ok != (undecided >= 0) || ok && got != undecided {
				t.Fatalf("first undecided %d, %v, expected %d", got, ok, undecided)
			}
			got, ok = table.FirstUnstableOffset()
			if ok != (unstable >= 0) || ok && got != unstable {
				t.Fatalf("first unstable %d, %v, expected %d", got, ok, unstable)
			}
			if table.OpenTransactions() != len(open) {
				t.Fatalf("%d open, expected %d", table.OpenTransactions(), len(open))
			}
		}
		if len(table.txns) > 2*minCompact+100 {
			t.Fatalf("%d transactions are held", len(table.txns))
		}
	}
}

// Logs that other tools wrote are read as they are.
func TestApplyNeverMinds(t *testing.T) {
	table := New(hour)
	for i := range 8 {
		table.Apply(data(0, 0, 0, int64(i), 1), 0)
	}
	table.Apply(data(0, 5, 99, 8, 1), 0)
	table.Apply(data(0, 4, 7, 9, 1), 0)
	if p, _ := table.Lookup(0); p.Epoch != 4 || p.LastSequence != 7 || p.LastOffset != 9 {
		t.Fatalf("%+v", p)
	}
	table.Apply(tx(1, 0, 0, 10, 1), 0)
	table.Apply(data(1, 0, 1, 11, 1), 0) // not transactional: the transaction stays open
	table.Apply(data(-1, -1, -1, 12, 1), 0)
	emptied := marker(true, 1, 0, 0, 13)
	copy(emptied[57:], []byte{0, 0, 0, 0})
	if table.Apply(emptied, 0) != nil {
		t.Fatal("a marker that compaction emptied ends something")
	}
	if first, ok := table.FirstUndecidedOffset(); !ok || first != 10 || table.Len() != 2 {
		t.Fatal(first, ok, table.Len())
	}
	table.Apply(tx(3, 0, 0, 5, 1), 0) // before what was seen: a log read again
	table.Apply(tx(4, 0, 0, 5, 1), 0)
	if first, _ := table.FirstUndecidedOffset(); first != 5 {
		t.Fatal(first)
	}
	table.Apply(marker(true, 3, 0, 0, 14), 0)
	if first, _ := table.FirstUndecidedOffset(); first != 5 {
		t.Fatal(first)
	}
	table.Apply(marker(true, 4, 0, 0, 15), 0)
	if first, _ := table.FirstUndecidedOffset(); first != 10 {
		t.Fatal(first)
	}
}

func TestExpiration(t *testing.T) {
	table := New(24 * hour)
	table.Apply(data(1, 0, 0, 0, 1), 0)
	table.Apply(tx(2, 0, 0, 1, 1), 0)
	table.Apply(data(3, 0, 0, 2, 1), 10*hour)
	if table.RemoveExpired(24*hour-1) != 0 || table.Len() != 3 {
		t.Fatal("nobody was idle for a day")
	}
	if got := outcome(table.Check(data(1, 0, 9, 3, 1), Client, 24*hour)); got != "accepted" {
		t.Fatalf("an expired producer: %s", got)
	}
	if n := table.RemoveExpired(24 * hour); n != 1 {
		t.Fatalf("%d producers", n)
	}
	if _, known := table.Lookup(1); known {
		t.Fatal("producer 1 is still known")
	}
	if n := table.RemoveExpired(1000 * hour); n != 1 || table.Len() != 1 {
		t.Fatal("a producer with an open transaction must stay")
	}
	table.Apply(marker(true, 2, 0, 0, 4), 1000*hour)
	table.SetExpiration(hour)
	if table.RemoveExpired(1001*hour-1) != 0 || table.RemoveExpired(1001*hour) != 1 || table.Len() != 0 {
		t.Fatal("the time counts from the marker")
	}
	table.SetExpiration(0)
	table.Apply(data(1, 0, 0, 0, 1), 0)
	if table.RemoveExpired(math.MaxInt64) != 0 {
		t.Fatal("0 means never")
	}
}

func TestMaxProducers(t *testing.T) {
	table := New(hour)
	table.SetMaxProducers(3)
	table.Apply(tx(1, 0, 0, 0, 1), 0)
	for id := int64(2); id <= 4; id++ {
		table.Apply(data(id, 0, 0, id, 1), id)
		if id == 3 {
			table.Apply(data(2, 0, 1, 9, 1), 5) // seen again: 3 is the longest idle
		}
	}
	ids := func() (ids []int64) {
		table.Each(func(p Producer) bool { ids = append(ids, p.ID); return true })
		return ids
	}
	if got := ids(); len(got) != 3 || got[0] != 1 || got[1] != 2 || got[2] != 4 {
		t.Fatalf("%v", got)
	}
	table.SetMaxProducers(0)
	if got := ids(); len(got) != 1 || got[0] != 1 {
		t.Fatalf("%v", got)
	}
	table.Apply(data(7, 0, 0, 20, 1), 9)
	if got := outcome(table.Check(data(7, 0, 0, 20, 1), Client, 9)); got != "duplicate" {
		t.Fatalf("the newest producer is forgotten: %s", got)
	}
	n := 0
	table.Each(func(Producer) bool { n++; return false })
	if n != 1 {
		t.Fatal("Each goes on")
	}
}

// The log and its index were written by Kafka 4.3.1.
func TestReplayOfKafkaLog(t *testing.T) {
	p, err := os.ReadFile("testdata/txn-1.log")
	if err != nil {
		t.Fatal(err)
	}
	table := New(0)
	var aborted []byte
	for len(p) > 0 {
		b, rest, err := batch.Next(p)
		if err != nil {
			t.Fatal(err)
		}
		p = rest
		if done := table.Apply(b, 0); done != nil && done.Aborted {
			stable, open := table.FirstUndecidedOffset()
			if !open {
				stable = b.NextOffset()
			}
			aborted = AppendAborted(aborted, AbortedTxn{done.ProducerID, done.FirstOffset, done.LastOffset, stable})
		}
		table.OnHighWatermark(b.NextOffset())
	}
	want, err := os.ReadFile("testdata/txn-1-5.txnindex")
	if err != nil {
		t.Fatal(err)
	}
	if string(aborted) != string(want) {
		t.Errorf("aborted transactions\n%x, Kafka has\n%x", aborted, want)
	}
	if _, open := table.FirstUnstableOffset(); open {
		t.Error("a transaction is open")
	}
	want, err = os.ReadFile("testdata/txn-1-165.snapshot")
	if err != nil {
		t.Fatal(err)
	}
	if got := table.Encode(nil); string(got) != string(want) {
		t.Errorf("producers\n%x, Kafka has\n%x", got, want)
	}
}

func BenchmarkCheckApply(b *testing.B) {
	table := New(24 * hour)
	for id := range int64(1000) {
		table.Apply(data(id, 0, 0, 0, 1), 0)
	}
	p := data(500, 0, 1, 1, 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := table.Check(p, Client, 0); err != nil {
			b.Fatal(err)
		}
		table.Apply(p, 0)
		p.SetBaseOffset(p.NextOffset())
		next := batch.AddSequence(p.LastSequence(), 1)
		p[53], p[54], p[55], p[56] = byte(next>>24), byte(next>>16), byte(next>>8), byte(next)
	}
}
