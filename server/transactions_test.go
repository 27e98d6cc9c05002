package server_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// txnClient is a transactional producer of transaction version 1 or 2.
type txnClient struct {
	*peer
	id      string
	version int
	pid     int64
	epoch   int16
	next    map[int32]int32 // sequence numbers by partition
	added   map[int32]bool
	offsets bool
}

// transactional makes a producer and initializes it.
func (m *memory) transactional(t testing.TB, id string, version int) *txnClient {
	c := &txnClient{peer: m.dial(t), id: id, version: version}
	x := kmsg.NewPtrFindCoordinatorRequest()
	x.Version, x.CoordinatorType, x.CoordinatorKeys = 4, 1, []string{id}
	if got := asked[*kmsg.FindCoordinatorResponse](c.peer, x).Coordinators[0]; got.ErrorCode != 0 {
		t.Fatalf("coordinator of %s: %+v", id, got)
	}
	c.init()
	return c
}

// init takes the id over: what was open is aborted first.
func (c *txnClient) init() {
	c.t.Helper()
	for {
		r := kmsg.NewPtrInitProducerIDRequest()
		r.Version, r.TransactionalID, r.TransactionTimeoutMillis, r.ProducerID, r.ProducerEpoch = 4, &c.id, 60_000, -1, -1
		resp := asked[*kmsg.InitProducerIDResponse](c.peer, r)
		switch resp.ErrorCode {
		case 0:
			c.pid, c.epoch = resp.ProducerID, resp.ProducerEpoch
			c.renew()
			return
		case 14, 51: // it is being read, or markers are under way
		default:
			c.t.Fatalf("InitProducerId: code %d", resp.ErrorCode)
		}
	}
}

func (c *txnClient) renew() {
	c.next, c.added, c.offsets = map[int32]int32{}, map[int32]bool{}, false
}

func (c *txnClient) write(topic string, partition int32, value string) *kmsg.ProduceRequest {
	b := batch.NewBuilder(codec.None).Producer(c.pid, c.epoch, c.next[partition]).Transactional().Append(time.Now().UnixMilli(), nil, []byte(value)).Bytes()
	r := produceTo(topic, partition, -1, b)
	r.Version, r.TransactionID = 12, &c.id
	if c.version == 1 {
		r.Version = 11
	}
	return r
}

// add is AddPartitionsToTxn, which version 2 does without.
func (c *txnClient) add(topic string, partition int32) {
	c.t.Helper()
	if c.version == 2 || c.added[partition] {
		return
	}
	r := kmsg.NewPtrAddPartitionsToTxnRequest()
	r.Version, r.TransactionalID, r.ProducerID, r.ProducerEpoch = 3, c.id, c.pid, c.epoch
	r.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: []int32{partition}}}
	for {
		switch code := asked[*kmsg.AddPartitionsToTxnResponse](c.peer, r).Topics[0].Partitions[0].ErrorCode; code {
		case 0:
			c.added[partition] = true
			return
		case 51:
		default:
			c.t.Fatalf("AddPartitionsToTxn: code %d", code)
		}
	}
}

// produce writes one record; a code is an answer.
func (c *txnClient) produce(topic string, partition int32, value string) int16 {
	c.t.Helper()
	c.add(topic, partition)
	code := asked[*kmsg.ProduceResponse](c.peer, c.write(topic, partition, value)).Topics[0].Partitions[0].ErrorCode
	if code == 0 {
		c.next[partition]++
	}
	return code
}

func (c *txnClient) endRequest(commit bool) *kmsg.EndTxnRequest {
	r := kmsg.NewPtrEndTxnRequest()
	r.Version, r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = 5, c.id, c.pid, c.epoch, commit
	if c.version == 1 {
		r.Version = 4
	}
	return r
}

func (c *txnClient) ended(resp *kmsg.EndTxnResponse) {
	c.t.Helper()
	if resp.ErrorCode != 0 {
		c.t.Fatalf("EndTxn: code %d", resp.ErrorCode)
	}
	next := c.next
	c.renew()
	if c.version == 2 {
		c.pid, c.epoch = resp.ProducerID, resp.ProducerEpoch
	} else {
		c.next = next
	}
}

func (c *txnClient) end(commit bool) {
	c.t.Helper()
	c.ended(asked[*kmsg.EndTxnResponse](c.peer, c.endRequest(commit)))
}

// commitOffset commits an offset of a group in the transaction.
func (c *txnClient) commitOffset(group, topic string, partition int32, offset int64) {
	c.t.Helper()
	if c.version == 1 && !c.offsets {
		r := kmsg.NewPtrAddOffsetsToTxnRequest()
		r.Version, r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Group = 3, c.id, c.pid, c.epoch, group
		if code := asked[*kmsg.AddOffsetsToTxnResponse](c.peer, r).ErrorCode; code != 0 {
			c.t.Fatalf("AddOffsetsToTxn: code %d", code)
		}
		c.offsets = true
	}
	r := kmsg.NewPtrTxnOffsetCommitRequest()
	r.Version, r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Group, r.Generation = 5, c.id, c.pid, c.epoch, group, -1
	if c.version == 1 {
		r.Version = 4
	}
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic = topic
	x := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	x.Partition, x.Offset = partition, offset
	t.Partitions = append(t.Partitions, x)
	r.Topics = append(r.Topics, t)
	if code := asked[*kmsg.TxnOffsetCommitResponse](c.peer, r).Topics[0].Partitions[0].ErrorCode; code != 0 {
		c.t.Fatalf("TxnOffsetCommit: code %d", code)
	}
}

// readCommitted is what a read_committed consumer of a whole partition gets, and its last stable offset.
func (p *peer) readCommitted(topic string, partition int32) (values []string, stable int64) {
	p.t.Helper()
	for offset := int64(0); ; {
		r := fetchFrom(topic, partition, offset, 0)
		r.IsolationLevel = 1
		got := asked[*kmsg.FetchResponse](p, r).Topics[0].Partitions[0]
		if got.ErrorCode != 0 {
			p.t.Fatalf("fetching %s-%d: code %d", topic, partition, got.ErrorCode)
		}
		aborted := map[int64][]int64{}
		for _, a := range got.AbortedTransactions {
			aborted[a.ProducerID] = append(aborted[a.ProducerID], a.FirstOffset)
		}
		out := map[int64]bool{} // producers whose present transaction was aborted
		all := batches(p.t, got.RecordBatches)
		if len(all) == 0 {
			return values, got.LastStableOffset
		}
		for _, b := range all {
			id := b.ProducerID()
			if firsts := aborted[id]; len(firsts) > 0 && firsts[0] <= b.BaseOffset() {
				out[id], aborted[id] = true, firsts[1:]
			}
			offset = b.NextOffset()
			if b.IsControl() {
				delete(out, id)
				continue
			}
			if b.IsTransactional() && out[id] {
				continue
			}
			err := b.Each(1<<20, func(r *batch.Record) error {
				values = append(values, string(r.Value))
				return nil
			})
			if err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

func (p *peer) latest(topic string, isolation int8) int64 {
	p.t.Helper()
	r := kmsg.NewPtrListOffsetsRequest()
	r.Version, r.ReplicaID, r.IsolationLevel = 7, -1, isolation
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	t.Partitions = []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: -1, CurrentLeaderEpoch: -1}}
	r.Topics = append(r.Topics, t)
	return asked[*kmsg.ListOffsetsResponse](p, r).Topics[0].Partitions[0].Offset
}

// TestTransactions of clients of both versions beside each other.
func TestTransactions(t *testing.T) {
	m := startMemory(t, nil, soon...)
	p := m.dial(t)
	p.createTopic("topic", 2)
	p.coordinated("g")
	one, two := m.transactional(t, "one", 1), m.transactional(t, "two", 2)
	var want []string
	for i := range 6 {
		for _, c := range []*txnClient{one, two} {
			value := fmt.Sprint(c.id, i)
			for partition := range int32(2) {
				if code := c.produce("topic", partition, value); code != 0 {
					t.Fatalf("%s: code %d", value, code)
				}
			}
			c.commitOffset("g", "topic", int32(c.version-1), int64(i))
		}
		values, stable := p.readCommitted("topic", 0)
		if !slices.Equal(values, want) || stable != p.latest("topic", 1) || stable >= p.latest("topic", 0) {
			t.Fatalf("while both are open: %v, stable %d", values, stable)
		}
		for _, c := range []*txnClient{two, one} {
			commit := i%3 != c.version-1
			c.end(commit)
			if commit {
				want = append(want, fmt.Sprint(c.id, i))
			}
		}
		slices.SortFunc(want, func(a, b string) int { // as they were written
			return cmp.Or(cmp.Compare(a[3], b[3]), cmp.Compare(a, b))
		})
		for partition := range int32(2) {
			// The markers follow the answer.
			for values, _ := p.readCommitted("topic", partition); !slices.Equal(values, want); values, _ = p.readCommitted("topic", partition) {
				if len(values) >= len(want) {
					t.Fatalf("after both: %v, expected %v", values, want)
				}
			}
		}
	}
	for partition := range int32(2) {
		for p.committed("g", "topic", partition) != 5 {
		}
	}
}

// TestFencedProducer: whoever takes the id over ends what was open, and the old one can do nothing more.
func TestFencedProducer(t *testing.T) {
	for version := 1; version <= 2; version++ {
		m := startMemory(t, nil, soon...)
		p := m.dial(t)
		p.createTopic("topic", 2)
		old := m.transactional(t, "id", version)
		old.add("topic", 1)
		if code := old.produce("topic", 0, "old"); code != 0 {
			t.Fatal(code)
		}
		next := m.transactional(t, "id", version)
		for partition := range int32(2) {
			// The transaction had the first one, and the coordinator knows better than the second.
			r := old.write("topic", partition, "late")
			if code := asked[*kmsg.ProduceResponse](old.peer, r).Topics[0].Partitions[0].ErrorCode; code != 47 {
				t.Errorf("version %d: partition %d takes the old one's records: code %d", version, partition, code)
			}
		}
		if code := asked[*kmsg.EndTxnResponse](old.peer, old.endRequest(true)).ErrorCode; code != 90 {
			t.Errorf("version %d: the old one commits: code %d", version, code)
		}
		if code := next.produce("topic", 0, "new"); code != 0 {
			t.Fatal(code)
		}
		next.end(true)
		for stable := int64(0); stable < p.latest("topic", 0); {
			_, stable = p.readCommitted("topic", 0)
		}
		if values, _ := p.readCommitted("topic", 0); !slices.Equal(values, []string{"new"}) {
			t.Errorf("version %d: %v", version, values)
		}
	}
}

// TestTransactionTimesOut on the broker's clock.
func TestTransactionTimesOut(t *testing.T) {
	now := clock.NewManual(time.Now())
	m := startMemory(t, now, soon...)
	p := m.dial(t)
	p.createTopic("topic", 1)
	c := m.transactional(t, "id", 2)
	if code := c.produce("topic", 0, "late"); code != 0 {
		t.Fatal(code)
	}
	now.Advance(59 * time.Second)
	if stable := p.latest("topic", 1); stable != 0 {
		t.Fatalf("stable offset %d before the time is up", stable)
	}
	now.Advance(12 * time.Second)
	for p.latest("topic", 1) != 2 {
	}
	if code := c.produce("topic", 0, "too late"); code != 47 {
		t.Errorf("code %d after the time is up", code)
	}
	if values, _ := p.readCommitted("topic", 0); len(values) != 0 {
		t.Errorf("%v", values)
	}
}

// TestTransactionOfADeletedTopic ends without it.
func TestTransactionOfADeletedTopic(t *testing.T) {
	m := startMemory(t, nil, soon...)
	p := m.dial(t)
	p.createTopic("gone", 1)
	p.createTopic("kept", 1)
	c := m.transactional(t, "id", 2)
	for _, topic := range []string{"gone", "kept"} {
		c.next = map[int32]int32{}
		if code := c.produce(topic, 0, topic); code != 0 {
			t.Fatal(code)
		}
	}
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.Version, r.TopicNames, r.TimeoutMillis = 5, []string{"gone"}, 1000
	if code := asked[*kmsg.DeleteTopicsResponse](p, r).Topics[0].ErrorCode; code != 0 {
		t.Fatalf("deleting: code %d", code)
	}
	c.end(true)
	if code := c.produce("kept", 0, "next"); code != 0 {
		t.Fatal(code)
	}
	c.end(true)
	for p.latest("kept", 1) != 4 {
	}
}

// txnLedger is what the clients of a broker believe.
type txnLedger struct {
	group   string
	outcome string
	acked   map[string]int32 // value to partition
	sent    map[string]int32
	offset  int64
}

// TestTransactionsSurvivePowerCuts: at any moment the disk may be all there is, and it has each transaction whole or not at
// all: those whose commit was answered whole.
func TestTransactionsSurvivePowerCuts(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { txnPowerCuts(t, rand.New(rand.NewPCG(seed, 3))) })
	}
}

func txnPowerCuts(t *testing.T, r *rand.Rand) {
	m := startMemory(t, nil, soon...)
	p := m.dial(t)
	p.createTopic("topic", 2)
	p.coordinated("g")
	clients := []*txnClient{m.transactional(t, "one", 1), m.transactional(t, "two", 2)}
	now := make([]*txnLedger, 2)
	var all []*txnLedger
	cut := func() {
		if r.IntN(12) == 0 {
			checkTxnCut(t, m.disk.Crash(simfs.CrashOptions{Seed: r.Uint64() | 1, Keep: simfs.Keep(r.IntN(3))}), all)
		}
	}
	for step := range 60 {
		i := r.IntN(2)
		c := clients[i]
		if now[i] == nil {
			now[i] = &txnLedger{group: "g-" + c.id, outcome: "open", acked: map[string]int32{}, sent: map[string]int32{}, offset: -1}
			all = append(all, now[i])
		}
		x := now[i]
		switch r.IntN(4) {
		case 0, 1:
			partition, value := r.Int32N(2), fmt.Sprint(c.id, step)
			c.add("topic", partition)
			x.sent[value] = partition
			q := c.write("topic", partition, value)
			c.send(q)
			cut()
			if code := c.receive(q, c.correlation).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
				t.Fatalf("%s: code %d", value, code)
			}
			c.next[partition]++
			x.acked[value] = partition
		case 2:
			c.commitOffset(x.group, "topic", 0, int64(step))
			x.offset = int64(step)
		case 3:
			if len(x.sent) == 0 {
				continue
			}
			commit := r.IntN(4) != 0
			if commit {
				x.outcome = "unknown"
			}
			q := c.endRequest(commit)
			c.send(q)
			cut()
			c.ended(c.receive(q, c.correlation).(*kmsg.EndTxnResponse))
			if commit {
				x.outcome = "committed"
			}
			now[i] = nil
		}
		cut()
	}
	checkTxnCut(t, m.disk.Crash(simfs.CrashOptions{}), all)
}

func checkTxnCut(t *testing.T, disk *simfs.FS, all []*txnLedger) {
	t.Helper()
	m := startOn(t, disk, nil, soon...)
	p := m.dial(t)
	// Taking the ids over ends what is open, and waits for the markers of what was decided.
	m.transactional(t, "one", 1)
	m.transactional(t, "two", 2)
	there := map[string]int32{}
	for partition := range int32(2) {
		values, stable := p.readCommitted("topic", partition)
		r := fetchFrom("topic", partition, stable, 0)
		if got := asked[*kmsg.FetchResponse](p, r).Topics[0].Partitions[0]; got.HighWatermark != stable {
			t.Fatalf("partition %d: a transaction hangs at %d, below %d", partition, stable, got.HighWatermark)
		}
		for _, v := range values {
			if _, twice := there[v]; twice {
				t.Fatalf("%s is there twice", v)
			}
			there[v] = partition
		}
	}
	offsets := map[string][]int64{}
	for _, x := range all {
		n := 0
		for v := range x.sent {
			if _, ok := there[v]; ok {
				n++
			}
		}
		switch x.outcome {
		case "open":
			if n != 0 {
				t.Fatalf("%d records of a transaction that was never committed", n)
			}
		case "committed":
			if n != len(x.acked) {
				t.Fatalf("%d of %d records of a committed transaction", n, len(x.acked))
			}
			if x.offset >= 0 {
				offsets[x.group] = []int64{x.offset}
			}
		case "unknown":
			if n != 0 && n != len(x.acked) {
				t.Fatalf("%d of %d records of a transaction", n, len(x.acked))
			}
			if x.offset >= 0 {
				if n != 0 {
					offsets[x.group] = nil
				}
				offsets[x.group] = append(offsets[x.group], x.offset)
			}
		}
	}
	for group, want := range offsets {
		if got := p.committed(group, "topic", 0); !slices.Contains(want, got) {
			t.Fatalf("offset %d of %s, expected one of %v (of %v)", got, group, want, slices.Sorted(maps.Keys(offsets)))
		}
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
