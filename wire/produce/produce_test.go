package produce

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

func (s source) request(version int16) *kmsg.ProduceRequest {
	k := kmsg.NewPtrProduceRequest()
	k.Version = version
	k.TransactionID = s.maybe(20)
	k.Acks = int16(s.IntN(3) - 1)
	k.TimeoutMillis = int32(s.Uint32())
	k.UnknownTags = s.tags()
	for range s.IntN(4) {
		t := kmsg.NewProduceRequestTopic()
		if version >= 13 {
			t.TopicID = s.id()
		} else {
			t.Topic = s.text(249)
		}
		t.UnknownTags = s.tags()
		for range s.IntN(5) {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition = int32(s.Uint32())
			if s.IntN(4) > 0 {
				p.Records = []byte(s.text(300))
			}
			p.UnknownTags = s.tags()
			t.Partitions = append(t.Partitions, p)
		}
		k.Topics = append(k.Topics, t)
	}
	return k
}

func compareRequest(t *testing.T, k *kmsg.ProduceRequest, q *Request) {
	t.Helper()
	if (k.TransactionID == nil) != (q.TransactionalID == nil) || k.TransactionID != nil && *k.TransactionID != string(q.TransactionalID) ||
		k.Acks != q.Acks || k.TimeoutMillis != q.TimeoutMs || len(k.Topics) != len(q.Topics) {
		t.Fatalf("version %d: got %+v, want %+v", k.Version, q, k)
	}
	for i := range k.Topics {
		kt, qt := &k.Topics[i], &q.Topics[i]
		if kt.Topic != string(qt.Name) || kt.TopicID != qt.ID || len(kt.Partitions) != len(qt.Partitions) {
			t.Fatalf("version %d topic %d: got %+v, want %+v", k.Version, i, qt, kt)
		}
		for j := range kt.Partitions {
			kp, qp := &kt.Partitions[j], &qt.Partitions[j]
			if kp.Partition != qp.Index || !bytes.Equal(kp.Records, qp.Records) || (kp.Records == nil) != (qp.Records == nil) {
				t.Fatalf("version %d topic %d partition %d: got %+v, want %+v", k.Version, i, j, qp, kp)
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
			body := k.AppendTo(nil)
			if err := Parse(body, version, &q); err != nil {
				t.Fatalf("version %d: %v\n%+v", version, err, k)
			}
			compareRequest(t, k, &q)
			if s.IntN(5) == 0 {
				q.Reset()
				if len(q.Topics) != 0 || q.TransactionalID != nil {
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
	for _, version := range []int16{-1, 2, 14} {
		if Parse(nil, version, &q) == nil {
			t.Fatalf("version %d was parsed", version)
		}
	}
}

func TestNullsAreRefused(t *testing.T) {
	head := []byte{255, 255, 0, 1, 0, 0, 0, 9}
	flexibleHead := []byte{0, 0, 1, 0, 0, 0, 9}
	for name, c := range map[string]struct {
		version int16
		body    []byte
	}{
		"topics":              {3, append(head, 255, 255, 255, 255)},
		"topic name":          {3, append(head, 0, 0, 0, 1, 255, 255, 0, 0, 0, 0)},
		"partitions":          {3, append(head, 0, 0, 0, 1, 0, 1, 'a', 255, 255, 255, 255)},
		"flexible topics":     {9, append(flexibleHead, 0, 0)},
		"flexible topic name": {9, append(flexibleHead, 2, 0, 1, 0, 0)},
		"flexible partitions": {9, append(flexibleHead, 2, 2, 'a', 0, 0, 0)},
	} {
		var q Request
		if err := Parse(c.body, c.version, &q); !errors.Is(err, prim.ErrMalformed) {
			t.Errorf("null %s: %v", name, err)
		}
	}
}

// TestTinyElementsDoNotAmplify sends a mebibyte of empty topics, each of which would cost 64 bytes.
func TestTinyElementsDoNotAmplify(t *testing.T) {
	if unsafe.Sizeof(Topic{}) > topicCost || unsafe.Sizeof(Partition{}) > partitionCost {
		t.Fatalf("topic %d bytes, partition %d: update the costs", unsafe.Sizeof(Topic{}), unsafe.Sizeof(Partition{}))
	}
	const n = 1 << 20 / 3
	body := prim.AppendCompactArrayLen([]byte{0, 0, 1, 0, 0, 0, 9}, n)
	for range n {
		body = append(body, 1, 1, 0)
	}
	body = append(body, 0)
	var q Request
	if err := Parse(body, 9, &q); !errors.Is(err, prim.ErrMalformed) {
		t.Fatalf("a mebibyte of empty topics: %v", err)
	}
	if cap(q.Topics) != 0 {
		t.Fatalf("room for %d topics was made", cap(q.Topics))
	}
}

func TestParsingAgainDoesNotAllocate(t *testing.T) {
	s := newSource(3)
	for _, version := range []int16{3, 9, 13} {
		var bodies [][]byte
		for range 8 {
			bodies = append(bodies, s.request(version).AppendTo(nil))
		}
		var q Request
		if n := testing.AllocsPerRun(50, func() {
			for _, body := range bodies {
				if err := Parse(body, version, &q); err != nil {
					t.Fatal(err)
				}
				q.Reset()
			}
		}); n != 0 {
			t.Fatalf("version %d: %v allocations", version, n)
		}
	}
}

func TestResetForgetsLargeMemory(t *testing.T) {
	k := kmsg.NewPtrProduceRequest()
	k.Version = 9
	topic := kmsg.NewProduceRequestTopic()
	topic.Partitions = make([]kmsg.ProduceRequestTopicPartition, 2*kept)
	for range 2 * kept {
		k.Topics = append(k.Topics, kmsg.ProduceRequestTopic{Topic: "a topic name of some length that pays for itself"})
	}
	k.Topics = append(k.Topics, topic)
	var q Request
	if err := Parse(k.AppendTo(nil), 9, &q); err != nil {
		t.Fatal(err)
	}
	q.Reset()
	if cap(q.Topics) > kept || cap(q.partitions) > kept {
		t.Fatalf("kept %d topics and %d partitions", cap(q.Topics), cap(q.partitions))
	}
}

// responses makes the same random response in both shapes.
func (s source) responses(version int16) (*kmsg.ProduceResponse, *Response) {
	k, r := kmsg.NewPtrProduceResponse(), &Response{}
	k.Version = version
	k.ThrottleMillis = int32(s.Uint32())
	r.ThrottleMs = k.ThrottleMillis
	for range s.IntN(4) {
		kt, rt := kmsg.NewProduceResponseTopic(), TopicResponse{}
		if version >= 13 {
			kt.TopicID = s.id()
			rt.ID = kt.TopicID
		} else if kt.Topic = s.text(30); kt.Topic != "" {
			rt.Name = []byte(kt.Topic)
		}
		for range s.IntN(4) {
			kp := kmsg.NewProduceResponseTopicPartition()
			kp.Partition, kp.ErrorCode = int32(s.Uint32()), int16(s.Uint32())
			kp.BaseOffset, kp.LogAppendTime, kp.LogStartOffset = int64(s.Uint64()), int64(s.Uint64()), int64(s.Uint64())
			kp.ErrorMessage = s.maybe(40)
			rp := PartitionResponse{
				Index: kp.Partition, ErrorCode: kp.ErrorCode, BaseOffset: kp.BaseOffset, LogAppendTime: kp.LogAppendTime,
				LogStartOffset: kp.LogStartOffset, ErrorMessage: kp.ErrorMessage,
			}
			for range s.IntN(3) {
				e := kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: int32(s.Uint32()), ErrorMessage: s.maybe(20)}
				kp.ErrorRecords = append(kp.ErrorRecords, e)
				rp.RecordErrors = append(rp.RecordErrors, RecordError{BatchIndex: e.RelativeOffset, Message: e.ErrorMessage})
			}
			if s.IntN(2) == 0 {
				rp.CurrentLeader = wire.Leader{Set: true, ID: int32(s.IntN(9)), Epoch: int32(s.IntN(9))}
				if version >= 10 {
					kp.CurrentLeader.LeaderID, kp.CurrentLeader.LeaderEpoch = rp.CurrentLeader.ID, rp.CurrentLeader.Epoch
				}
			}
			kt.Partitions, rt.Partitions = append(kt.Partitions, kp), append(rt.Partitions, rp)
		}
		k.Topics, r.Topics = append(k.Topics, kt), append(r.Topics, rt)
	}
	for range s.IntN(3) {
		b := kmsg.ProduceResponseBroker{NodeID: int32(s.Uint32()), Host: s.text(20), Port: int32(s.Uint32()), Rack: s.maybe(9)}
		if version >= 10 { // kmsg would write the tag in any flexible version
			k.Brokers = append(k.Brokers, b)
		}
		r.NodeEndpoints = append(r.NodeEndpoints, wire.NodeEndpoint{ID: b.NodeID, Host: b.Host, Port: b.Port, Rack: b.Rack})
	}
	return k, r
}

// TestResponsesAgainstKmsg compares the bytes with an independent implementation's and lets it read them.
func TestResponsesAgainstKmsg(t *testing.T) {
	s := newSource(4)
	for version := MinVersion; version <= MaxVersion; version++ {
		for range 200 {
			k, r := s.responses(version)
			got, want := AppendResponse([]byte("kept"), version, r), k.AppendTo([]byte("kept"))
			if !bytes.Equal(got, want) {
				t.Fatalf("version %d:\ngot  %x\nwant %x", version, got, want)
			}
			back := kmsg.NewPtrProduceResponse()
			back.Version = version
			if err := back.ReadFrom(got[4:]); err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
		}
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
		err := Parse(body, version, &q)
		if err != nil {
			if !errors.Is(err, prim.ErrMalformed) {
				t.Fatalf("error %v does not wrap ErrMalformed", err)
			}
			return
		}
		cost := 0
		for _, topic := range q.Topics {
			cost += topicCost + len(topic.Partitions)*partitionCost
			for _, p := range topic.Partitions {
				if len(p.Records) > len(body) || cap(p.Records) != len(p.Records) {
					t.Fatalf("records of %d bytes, capacity %d, in %d", len(p.Records), cap(p.Records), len(body))
				}
			}
		}
		if cost > costFactor*len(body)+costSlack {
			t.Fatalf("%d bytes of elements from %d", cost, len(body))
		}
		k := kmsg.NewPtrProduceRequest()
		k.Version = version
		if k.ReadFrom(body) == nil {
			compareRequest(t, k, &q)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	k := kmsg.NewPtrProduceRequest()
	k.Version = 9
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "bench"
	topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Records: make([]byte, 1000)})
	k.Topics = append(k.Topics, topic)
	body := k.AppendTo(nil)
	var q Request
	b.ReportAllocs()
	for b.Loop() {
		if err := Parse(body, 9, &q); err != nil {
			b.Fatal(err)
		}
	}
}
