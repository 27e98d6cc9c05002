package suites

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// entered is a ledger in which producer 0 sent four records to its own partition, acknowledged at 0 to 3.
func entered() (*ledger, place) {
	l, at := newLedger(), place{soloTopic(0), 0}
	for i := range int64(4) {
		l.ack(at, 0, l.next(at, 0), i)
	}
	return l, at
}

func found(l *ledger, at place, offset, n int64) error {
	return l.found(at, &kgo.Record{Topic: at.topic, Offset: offset, Value: payload(0, n)})
}

// A judge that finds nothing wrong with a broken log is no judge.
func TestLedgerFindsWhatIsWrong(t *testing.T) {
	cases := []struct {
		name string
		log  []int64 // numbers of the records in the log, by offset
		want string
	}{
		{"in order", []int64{0, 1, 2, 3}, ""},
		{"twice", []int64{0, 1, 1, 2, 3}, "there twice"},
		{"lost in the middle", []int64{0, 2, 3}, "lost or out of order"},
		{"reordered", []int64{0, 2, 1, 3}, "lost or out of order"},
		{"lost at the end", []int64{0, 1, 2}, "were acknowledged and are gone"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l, at := entered()
			var err error
			for offset, n := range c.log {
				if err == nil {
					err = found(l, at, int64(offset), n)
				}
			}
			if err == nil {
				err = l.settled(at, l.acknowledgedOf(at))
			}
			if err == nil {
				err = l.complete()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, expected %q", err, c.want)
			}
		})
	}
}

// acknowledgedOf is what was owed before anything was read.
func (l *ledger) acknowledgedOf(at place) [producers]int64 {
	return [producers]int64{int64(len(l.accounts[at][0].acked))}
}

func TestLedgerHoldsOffsetsToWhatWasPromised(t *testing.T) {
	l, at := entered()
	for i := range int64(4) {
		if err := found(l, at, i+7, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.settled(at, [producers]int64{4}); err == nil || !strings.Contains(err.Error(), "acknowledged at 0 and is at 7") {
		t.Fatalf("got %v", err)
	}
}

func TestLedgerRefusesForeignValues(t *testing.T) {
	l, at := entered()
	value := payload(0, 0)
	value[len(value)-1] ^= 1
	if err := l.found(at, &kgo.Record{Value: value}); err == nil {
		t.Fatal("a changed value is taken for the one that was sent")
	}
	if err := l.found(at, &kgo.Record{Value: []byte("short")}); err == nil {
		t.Fatal("a foreign value is taken for one that was sent")
	}
}

func TestPlanNoticesEveryField(t *testing.T) {
	p := plan{topic: "t", seed: 5, begin: time.UnixMilli(1000)}
	changes := map[string]func(*kgo.Record){
		"offset":    func(r *kgo.Record) { r.Offset++ },
		"timestamp": func(r *kgo.Record) { r.Timestamp = r.Timestamp.Add(time.Millisecond) },
		"key":       func(r *kgo.Record) { r.Key = append(r.Key, 0) },
		"value":     func(r *kgo.Record) { r.Value = append(r.Value, 0) },
		"headers":   func(r *kgo.Record) { r.Headers = append(r.Headers, kgo.RecordHeader{Key: "x"}) },
	}
	for i := range int64(100) {
		r := p.record(i)
		r.Offset = i
		if err := p.same(r, i); err != nil {
			t.Fatal(err)
		}
		for name, change := range changes {
			r := p.record(i)
			r.Offset = i
			change(r)
			if p.same(r, i) == nil {
				t.Fatalf("record %d: a changed %s is not noticed", i, name)
			}
		}
	}
}
