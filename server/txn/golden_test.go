package txn

import (
	"compress/gzip"
	"io"
	"os"
	"reflect"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/server/txn/record"
)

// TestRecordsAreKafkas does what Apache Kafka 4.3.1 was asked to do when it wrote its log, and compares the records.
func TestRecordsAreKafkas(t *testing.T) {
	f, err := os.Open("record/testdata/kafka-4.3.1.log.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	log, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	kafka := map[string][]record.Value{}
	for len(log) > 0 {
		var x batch.Batch
		if x, log, err = batch.Next(log); err != nil {
			t.Fatal(err)
		}
		err = x.Each(1<<20, func(r *batch.Record) error {
			id, err := record.DecodeKey(r.Key)
			if err != nil {
				return err
			}
			v, _, err := record.DecodeValue(r.Value)
			kafka[id] = append(kafka[id], *v)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t, 2)
	for id, want := range kafka {
		for i := range want {
			w := &want[i]
			switch w.State {
			case record.Empty:
				b.init(InitRequest{TransactionalID: id, TimeoutMs: w.TimeoutMs, ProducerID: none, ProducerEpoch: none})
			case record.Ongoing:
				v, _ := b.get(id)
				b.add(AddRequest{TransactionalID: id, ProducerID: v.ProducerID, ProducerEpoch: v.ProducerEpoch, Partitions: flatten(w.Topics), ClientVersion: 2})
			case record.PrepareCommit, record.PrepareAbort:
				v, _ := b.get(id)
				b.end(EndRequest{id, v.ProducerID, v.ProducerEpoch, w.State == record.PrepareCommit, 2})
			case record.CompleteCommit, record.CompleteAbort:
				b.marked()
			}
		}
		got := b.states(id)
		if len(got) != len(want) {
			t.Fatalf("%s: %d records, expected %d", id, len(got), len(want))
		}
		own := got[0].ProducerID
		for i := range want {
			g, w := &got[i], &want[i]
			if (g.StartedMs == none) != (w.StartedMs == none) || g.UpdatedMs == 0 || g.ProducerID != own {
				t.Errorf("%s: record %d: %+v, expected %+v", id, i, g, w)
			}
			// The times and the id are this coordinator's own.
			g.StartedMs, g.UpdatedMs, w.StartedMs, w.UpdatedMs = 0, 0, 0, 0
			if g.PreviousProducerID == g.ProducerID {
				g.ProducerID, g.PreviousProducerID = w.ProducerID, w.ProducerID
			}
			w.Topics = sorted(w.Topics)
			if !reflect.DeepEqual(g, w) {
				t.Errorf("%s: record %d: %+v, expected %+v", id, i, g, w)
			}
		}
	}
}
