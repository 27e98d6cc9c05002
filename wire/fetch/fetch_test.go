package fetch

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/wire"
	"github.com/gregor-broker/gregor/wire/prim"
)

// source makes random contents; the tests are the same in every run.
type source struct{ *rand.Rand }

func newSource(seed uint64) source { return source{rand.New(rand.NewPCG(seed, 1))} }

func (s source) text(most int) string {
	b := make([]byte, s.IntN(most+1))
	for i := range b {
		b[i] = byte('a' + s.IntN(26))
	}
	return string(b)
}

func (s source) maybe(most int) *string {
	if s.IntN(3) == 0 {
		return nil
	}
	t := s.text(most)
	return &t
}

func (s source) id() (id [16]byte) {
	for i := range id {
		id[i] = byte(s.Uint32())
	}
	return id
}

func (s source) tags() (t kmsg.Tags) {
	for i := range s.IntN(3) {
		t.Set(uint32(100+i), []byte(s.text(5)))
	}
	return t
}

func (s source) name(version int16) (name string, id [16]byte) {
	if version >= 13 {
		return "", s.id()
	}
	return s.text(249), id
}

func (s source) request(version int16) *kmsg.FetchRequest {
	k := kmsg.NewPtrFetchRequest()
	k.Version = version
	if version >= 12 {
		k.ClusterID = s.maybe(22)
		k.UnknownTags = s.tags()
	}
	if version < 15 {
		k.ReplicaID = int32(s.IntN(5) - 1)
	} else if s.IntN(2) == 0 {
		k.ReplicaState.ID, k.ReplicaState.Epoch = int32(s.IntN(5)), int64(s.Uint64())
		k.ReplicaState.UnknownTags = s.tags()
	}
	k.MaxWaitMillis, k.MinBytes, k.MaxBytes = int32(s.Uint32()), int32(s.Uint32()), int32(s.Uint32())
	k.IsolationLevel = int8(s.IntN(2))
	if version >= 7 {
		k.SessionID, k.SessionEpoch = int32(s.Uint32()), int32(s.Uint32())
	}
	for range s.IntN(4) {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = s.name(version)
		t.UnknownTags = s.tags()
		for range s.IntN(5) {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(s.Uint32()), int64(s.Uint64()), int32(s.Uint32())
			if version >= 5 {
				p.LogStartOffset = int64(s.Uint64())
			}
			if version >= 9 {
				p.CurrentLeaderEpoch = int32(s.Uint32())
			}
			if version >= 12 {
				p.LastFetchedEpoch = int32(s.Uint32())
				p.UnknownTags = s.tags()
			}
			if version >= 17 && s.IntN(2) == 0 {
				p.ReplicaDirectoryID = s.id()
			}
			if version >= 18 && s.IntN(2) == 0 {
				p.HighWatermark = int64(s.Uint64())
			}
			t.Partitions = append(t.Partitions, p)
		}
		k.Topics = append(k.Topics, t)
	}
	for range s.IntN(4) {
		if version < 7 {
			break
		}
		t := kmsg.NewFetchRequestForgottenTopic()
		t.Topic, t.TopicID = s.name(version)
		t.UnknownTags = s.tags()
		for range s.IntN(5) {
			t.Partitions = append(t.Partitions, int32(s.Uint32()))
		}
		k.ForgottenTopics = append(k.ForgottenTopics, t)
	}
	if version >= 11 {
		k.Rack = s.text(10)
	}
	return k
}

func compareRequest(t *testing.T, k *kmsg.FetchRequest, q *Request) {
	t.Helper()
	replica, epoch := k.ReplicaID, int64(-1)
	if k.Version >= 15 {
		replica, epoch = k.ReplicaState.ID, k.ReplicaState.Epoch
	}
	if (k.ClusterID == nil) != (q.ClusterID == nil) || k.ClusterID != nil && *k.ClusterID != string(q.ClusterID) ||
		replica != q.ReplicaID || epoch != q.ReplicaEpoch ||
		k.MaxWaitMillis != q.MaxWaitMs || k.MinBytes != q.MinBytes || k.MaxBytes != q.MaxBytes || k.IsolationLevel != q.IsolationLevel ||
		k.SessionID != q.SessionID || k.SessionEpoch != q.SessionEpoch || k.Rack != string(q.RackID) ||
		len(k.Topics) != len(q.Topics) || len(k.ForgottenTopics) != len(q.Forgotten) {
		t.Fatalf("version %d: got %+v, want %+v", k.Version, q, k)
	}
	for i := range k.Topics {
		kt, qt := &k.Topics[i], &q.Topics[i]
		if kt.Topic != string(qt.Name) || kt.TopicID != qt.ID || len(kt.Partitions) != len(qt.Partitions) {
			t.Fatalf("version %d topic %d: got %+v, want %+v", k.Version, i, qt, kt)
		}
		for j, p := range kt.Partitions {
			want := Partition{
				Index: p.Partition, CurrentLeaderEpoch: p.CurrentLeaderEpoch, FetchOffset: p.FetchOffset,
				LastFetchedEpoch: p.LastFetchedEpoch, MaxBytes: p.PartitionMaxBytes, LogStartOffset: p.LogStartOffset,
				HighWatermark: p.HighWatermark, ReplicaDirectoryID: p.ReplicaDirectoryID,
			}
			if qt.Partitions[j] != want {
				t.Fatalf("version %d topic %d partition %d: got %+v, want %+v", k.Version, i, j, qt.Partitions[j], want)
			}
		}
	}
	for i := range k.ForgottenTopics {
		kt, qt := &k.ForgottenTopics[i], &q.Forgotten[i]
		if kt.Topic != string(qt.Name) || kt.TopicID != qt.ID || len(kt.Partitions) != len(qt.Partitions) {
			t.Fatalf("version %d forgotten topic %d: got %+v, want %+v", k.Version, i, qt, kt)
		}
		for j := range kt.Partitions {
			if kt.Partitions[j] != qt.Partitions[j] {
				t.Fatalf("version %d forgotten topic %d: got %+v, want %+v", k.Version, i, qt, kt)
			}
		}
	}
}

// TestParseAgainstKmsg parses what an independent implementation encodes, always into the same Request.
func TestParseAgainstKmsg(t *testing.T) {
	s := newSource(1)
	var q Request
	for version := MinVersion; version <= MaxVersion; version++ {
		for range 200 {
			k := s.request(version)
			if err := Parse(k.AppendTo(nil), version, &q); err != nil {
				t.Fatalf("version %d: %v\n%+v", version, err, k)
			}
			compareRequest(t, k, &q)
			if s.IntN(5) == 0 {
				q.Reset()
				if len(q.Topics) != 0 || len(q.Forgotten) != 0 || q.RackID != nil {
					t.Fatal("Reset left something")
				}
			}
		}
	}
}

// TestEveryPrefixIsRefused cuts requests everywhere, and lengthens them.
func TestEveryPrefixIsRefused(t *testing.T) {
	s := newSource(2)
	var q Request
	for version := MinVersion; version <= MaxVersion; version++ {
		body := s.request(version).AppendTo(nil)
		for n := range body {
			if err := Parse(body[:n], version, &q); !errors.Is(err, prim.ErrMalformed) {
				t.Fatalf("version %d cut to %d of %d bytes: %v", version, n, len(body), err)
			}
		}
		if err := Parse(append(body, 0), version, &q); !errors.Is(err, prim.ErrMalformed) {
			t.Fatalf("version %d with one byte more: %v", version, err)
		}
	}
	for _, version := range []int16{-1, 3, 19} {
		if Parse(nil, version, &q) == nil {
			t.Fatalf("version %d was parsed", version)
		}
	}
}

func TestNullsAreRefused(t *testing.T) {
	head := make([]byte, 17)      // replica id to isolation level, version 4
	session := make([]byte, 17+8) // and session, version 12
	for name, c := range map[string]struct {
		version int16
		body    []byte
	}{
		"topics":             {4, append(head[:17:17], 255, 255, 255, 255)},
		"topic name":         {4, append(head[:17:17], 0, 0, 0, 1, 255, 255, 0, 0, 0, 0)},
		"partitions":         {4, append(head[:17:17], 0, 0, 0, 1, 0, 1, 'a', 255, 255, 255, 255)},
		"flexible topics":    {12, append(session[:25:25], 0, 1, 1, 0)},
		"flexible forgotten": {12, append(session[:25:25], 1, 0, 1, 0)},
		"flexible rack":      {12, append(session[:25:25], 1, 1, 0, 0)},
	} {
		var q Request
		if err := Parse(c.body, c.version, &q); !errors.Is(err, prim.ErrMalformed) {
			t.Errorf("null %s: %v", name, err)
		}
	}
	var q Request
	if err := Parse(append(session, 1, 1, 1, 0), 12, &q); err != nil {
		t.Fatalf("the same without nulls: %v", err)
	}
}

// TestTinyElementsDoNotAmplify sends a mebibyte of empty topics, each of which would cost 64 bytes.
func TestTinyElementsDoNotAmplify(t *testing.T) {
	if unsafe.Sizeof(Topic{}) > topicCost || unsafe.Sizeof(ForgottenTopic{}) > topicCost || unsafe.Sizeof(Partition{}) > partitionCost {
		t.Fatalf("topic %d bytes, partition %d: update the costs", unsafe.Sizeof(Topic{}), unsafe.Sizeof(Partition{}))
	}
	const n = 1 << 20 / 3
	tiny := prim.AppendCompactArrayLen(nil, n)
	for range n {
		tiny = append(tiny, 1, 1, 0)
	}
	head := make([]byte, 25)
	for name, body := range map[string][]byte{
		"topics":           append(append(bytes.Clone(head), tiny...), 1, 1, 0),
		"forgotten topics": append(append(append(bytes.Clone(head), 1), tiny...), 1, 0),
	} {
		var q Request
		if err := Parse(body, 12, &q); !errors.Is(err, prim.ErrMalformed) {
			t.Fatalf("a mebibyte of empty %s: %v", name, err)
		}
		if cap(q.Topics)+cap(q.Forgotten) != 0 {
			t.Fatalf("%s: room for %d was made", name, cap(q.Topics)+cap(q.Forgotten))
		}
	}
}

// TestDenseRequestsAreParsed has many partitions of a one-letter topic, the densest an honest client can be.
func TestDenseRequestsAreParsed(t *testing.T) {
	for _, version := range []int16{4, 12, 18} {
		k := kmsg.NewPtrFetchRequest()
		k.Version = version
		for range 5000 {
			topic := kmsg.NewFetchRequestTopic()
			topic.Topic = "t"
			topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
			k.Topics = append(k.Topics, topic)
		}
		var q Request
		if err := Parse(k.AppendTo(nil), version, &q); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
	}
}

func TestParsingAgainHardlyAllocates(t *testing.T) {
	s := newSource(3)
	for _, version := range []int16{4, 12, 18} {
		body := s.request(version).AppendTo(nil)
		var q Request
		if n := testing.AllocsPerRun(50, func() {
			if err := Parse(body, version, &q); err != nil {
				t.Fatal(err)
			}
			q.Reset()
		}); n > 1 {
			t.Fatalf("version %d: %v allocations", version, n)
		}
	}
}

// responses makes the same random response in both shapes; released counts the releases of its views.
func (s source) responses(version int16, released *int) (k *kmsg.FetchResponse, r *Response, views int) {
	k, r = kmsg.NewPtrFetchResponse(), &Response{}
	k.Version = version
	k.ThrottleMillis, k.ErrorCode, k.SessionID = int32(s.Uint32()), int16(s.Uint32()), int32(s.Uint32())
	r.ThrottleMs, r.ErrorCode, r.SessionID = k.ThrottleMillis, k.ErrorCode, k.SessionID
	for range s.IntN(4) {
		kt, rt := kmsg.NewFetchResponseTopic(), TopicResponse{}
		kt.Topic, kt.TopicID = s.name(version)
		rt.Name, rt.ID = []byte(kt.Topic), kt.TopicID
		for range s.IntN(4) {
			kp := kmsg.NewFetchResponseTopicPartition()
			kp.Partition, kp.ErrorCode, kp.HighWatermark = int32(s.Uint32()), int16(s.Uint32()), int64(s.Uint64())
			kp.LastStableOffset, kp.LogStartOffset, kp.PreferredReadReplica = int64(s.Uint64()), int64(s.Uint64()), int32(s.Uint32())
			rp := PartitionResponse{
				PartitionIndex: kp.Partition, ErrorCode: kp.ErrorCode, HighWatermark: kp.HighWatermark,
				LastStableOffset: kp.LastStableOffset, LogStartOffset: kp.LogStartOffset, PreferredReadReplica: kp.PreferredReadReplica,
			}
			if n := s.IntN(4); n > 0 {
				kp.AbortedTransactions, rp.Aborted = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}, []AbortedTransaction{}
				for range n - 1 {
					a := AbortedTransaction{ProducerID: int64(s.Uint64()), FirstOffset: int64(s.Uint64())}
					rp.Aborted = append(rp.Aborted, a)
					kp.AbortedTransactions = append(kp.AbortedTransactions,
						kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset})
				}
			}
			kp.RecordBatches = []byte{}
			for range s.IntN(4) {
				span := []byte(s.text(200))
				rp.Records = append(rp.Records, span)
				kp.RecordBatches = append(kp.RecordBatches, span...)
			}
			if s.IntN(2) == 0 {
				rp.Release = func() { *released++ }
				views++
			}
			if s.IntN(3) == 0 {
				rp.DivergingEpoch = EpochEnd{Set: true, Epoch: int32(s.Uint32()), EndOffset: int64(s.IntN(99))}
				kp.DivergingEpoch.Epoch, kp.DivergingEpoch.EndOffset = rp.DivergingEpoch.Epoch, rp.DivergingEpoch.EndOffset
			}
			if s.IntN(3) == 0 {
				rp.CurrentLeader = wire.Leader{Set: true, ID: int32(s.Uint32()), Epoch: int32(s.IntN(99))}
				kp.CurrentLeader.LeaderID, kp.CurrentLeader.LeaderEpoch = rp.CurrentLeader.ID, rp.CurrentLeader.Epoch
			}
			if s.IntN(3) == 0 {
				rp.SnapshotID = EpochEnd{Set: true, Epoch: int32(s.Uint32()), EndOffset: int64(s.IntN(99))}
				kp.SnapshotID.Epoch, kp.SnapshotID.EndOffset = rp.SnapshotID.Epoch, rp.SnapshotID.EndOffset
			}
			kt.Partitions, rt.Partitions = append(kt.Partitions, kp), append(rt.Partitions, rp)
		}
		k.Topics, r.Topics = append(k.Topics, kt), append(r.Topics, rt)
	}
	for range s.IntN(3) {
		b := kmsg.FetchResponseBroker{NodeID: int32(s.Uint32()), Host: s.text(20), Port: int32(s.Uint32()), Rack: s.maybe(9)}
		if version >= 16 { // kmsg would write the tag in any flexible version
			k.Brokers = append(k.Brokers, b)
		}
		r.NodeEndpoints = append(r.NodeEndpoints, wire.NodeEndpoint{ID: b.NodeID, Host: b.Host, Port: b.Port, Rack: b.Rack})
	}
	return k, r, views
}

// TestResponsesAgainstKmsg compares the bytes with an independent implementation's and lets it read them.
func TestResponsesAgainstKmsg(t *testing.T) {
	s := newSource(4)
	for version := MinVersion; version <= MaxVersion; version++ {
		for range 200 {
			released := 0
			k, r, views := s.responses(version, &released)
			p := wire.GetPayload()
			if err := AppendResponse(p, version, r); err != nil {
				t.Fatal(err)
			}
			got, want := p.Bytes(), k.AppendTo(nil)
			if !bytes.Equal(got, want) {
				t.Fatalf("version %d:\ngot  %x\nwant %x", version, got, want)
			}
			back := kmsg.NewPtrFetchResponse()
			back.Version = version
			if err := back.ReadFrom(got); err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
			wire.PutPayload(p)
			if released != views {
				t.Fatalf("%d of %d views released", released, views)
			}
		}
	}
}

// TestTooManyRecords offers more than a partition can carry; the spans are all the same memory.
func TestTooManyRecords(t *testing.T) {
	span, released := make([]byte, 1<<20), 0
	part := PartitionResponse{Release: func() { released++ }}
	for range 2048 {
		part.Records = append(part.Records, span)
	}
	p := wire.GetPayload()
	err := AppendResponse(p, 12, &Response{Topics: []TopicResponse{{Partitions: []PartitionResponse{part}}}})
	if err == nil {
		t.Fatal("2 GiB of records were accepted")
	}
	wire.PutPayload(p)
	if released != 1 {
		t.Fatalf("released %d times", released)
	}
}

func TestRecordsAreNotCopied(t *testing.T) {
	span := make([]byte, 1<<20)
	r := &Response{Topics: []TopicResponse{{Name: []byte("t"), Partitions: []PartitionResponse{{Records: [][]byte{span}}}}}}
	p := wire.GetPayload()
	defer wire.PutPayload(p)
	if err := AppendResponse(p, 12, r); err != nil {
		t.Fatal(err)
	}
	if len(p.Buffer()) > 200 || p.Size() != len(p.Buffer())+len(span) {
		t.Fatalf("buffer of %d bytes, size %d", len(p.Buffer()), p.Size())
	}
}

func FuzzParse(f *testing.F) {
	s := newSource(5)
	for version := MinVersion; version <= MaxVersion; version++ {
		f.Add(version, s.request(version).AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		version = MinVersion + int16(uint16(version)%uint16(MaxVersion-MinVersion+1))
		var q Request
		if err := Parse(body, version, &q); err != nil {
			if !errors.Is(err, prim.ErrMalformed) {
				t.Fatalf("error %v does not wrap ErrMalformed", err)
			}
			return
		}
		cost := 0
		for _, topic := range q.Topics {
			cost += topicCost + len(topic.Partitions)*partitionCost
		}
		for _, topic := range q.Forgotten {
			cost += topicCost + len(topic.Partitions)*indexCost
		}
		if cost > costFactor*len(body)+costSlack {
			t.Fatalf("%d bytes of elements from %d", cost, len(body))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	k := newSource(6).request(18)
	body := k.AppendTo(nil)
	var q Request
	b.ReportAllocs()
	for b.Loop() {
		if err := Parse(body, 18, &q); err != nil {
			b.Fatal(err)
		}
	}
}
