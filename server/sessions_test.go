package server_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFetchSessionOverTheWire: a consumer's session from its first fetch to its
// last, with names (version 12) and with ids (13 and later).
func TestFetchSessionOverTheWire(t *testing.T) {
	for _, version := range []int16{7, 12, 13, 18} {
		m := startMemory(t, nil)
		p, q := m.dial(t), m.dial(t)
		id := p.createTopic("topic", 3)
		q.produced("topic", 0, records(time.Now(), "a", "b"))
		fetch := func(session, epoch int32, partitions ...kmsg.FetchRequestTopicPartition) *kmsg.FetchResponse {
			t.Helper()
			r := fetchFrom("topic", 0, 0, 0)
			r.Version, r.SessionID, r.SessionEpoch = version, session, epoch
			r.Topics[0].TopicID, r.Topics[0].Partitions = id, partitions
			if len(partitions) == 0 {
				r.Topics = nil
			}
			return asked[*kmsg.FetchResponse](p, r)
		}
		count := func(r *kmsg.FetchResponse) (n int) {
			for _, topic := range r.Topics {
				n += len(topic.Partitions)
			}
			return n
		}
		first := fetch(0, 0, fetchPartition(0, 0), fetchPartition(1, 0), fetchPartition(2, 0))
		if first.SessionID == 0 || count(first) != 3 {
			t.Fatalf("v%d: session %d, %d partitions", version, first.SessionID, count(first))
		}
		s := first.SessionID
		if r := fetch(s, 1, fetchPartition(0, 2)); r.SessionID != s || count(r) != 0 {
			t.Fatalf("v%d: session %d, %d partitions, expected none", version, r.SessionID, count(r))
		}
		q.produced("topic", 2, records(time.Now(), "c"))
		r := fetch(s, 2)
		if count(r) != 1 || r.Topics[0].Partitions[0].Partition != 2 || len(batches(t, r.Topics[0].Partitions[0].RecordBatches)) != 1 {
			t.Fatalf("v%d: %+v, expected partition 2 alone", version, r.Topics)
		}
		for _, x := range []struct {
			session, epoch int32
			code           int16
		}{{s + 1, 1, 70}, {s, 9, 71}, {s, 3, 0}} {
			if r := fetch(x.session, x.epoch); r.ErrorCode != x.code {
				t.Errorf("v%d: session %d epoch %d: code %d, expected %d", version, x.session, x.epoch, r.ErrorCode, x.code)
			}
		}
		// The other way of naming topics does not fit the session.
		other := fetchFrom("topic", 0, 0, 0)
		other.Version, other.SessionID, other.SessionEpoch, other.Topics = 25-version, s, 4, nil
		if other.Version >= 7 && (version < 13) != (other.Version < 13) {
			if r := asked[*kmsg.FetchResponse](p, other); r.ErrorCode != 106 {
				t.Errorf("v%d in a session of v%d: code %d, expected 106", other.Version, version, r.ErrorCode)
			}
		}
		if r := fetch(s, -1, fetchPartition(0, 0)); r.SessionID != 0 || count(r) != 1 {
			t.Errorf("v%d: final fetch: session %d, %d partitions", version, r.SessionID, count(r))
		}
		if r := fetch(s, 4); r.ErrorCode != 70 {
			t.Errorf("v%d: after the end: code %d, expected 70", version, r.ErrorCode)
		}
	}
}

// TestErrorPrecedence: of several mistakes in one request the one Kafka names.
func TestErrorPrecedence(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	p.createTopic("topic", 1, "max.message.bytes", "100", "cleanup.policy", "compact")
	good := records(time.Now(), "a")
	broken := append([]byte(nil), good...)
	broken[len(broken)-1] ^= 1
	large := records(time.Now(), string(make([]byte, 200)))
	largeAndBroken := append([]byte(nil), large...)
	largeAndBroken[len(largeAndBroken)-1] ^= 1
	transactional := append([]byte(nil), good...)
	transactional[22] |= 0x10
	for _, x := range []struct {
		name      string
		topic     string
		partition int32
		acks      int16
		records   []byte
		code      int16
	}{
		{"all well", "topic", 0, -1, good, 0},
		{"acks before records", "topic", 0, 5, nil, 21},
		{"topic before acks", "missing", 0, 5, good, 3},
		{"partition before records", "topic", 7, -1, nil, 3},
		{"a topic that cannot exist", "not a name", 0, -1, good, 3},
		{"null records", "topic", 0, -1, nil, 87},
		{"empty records", "topic", 0, -1, []byte{}, 87},
		{"size before checksum", "topic", 0, -1, largeAndBroken, 10},
		{"size", "topic", 0, -1, large, 10},
		{"checksum", "topic", 0, -1, broken, 2},
		{"transaction before checksum", "topic", 0, -1, transactional, 53},
		{"internal topic", "__consumer_offsets", 0, -1, good, 3},
	} {
		got := asked[*kmsg.ProduceResponse](p, produceTo(x.topic, x.partition, x.acks, x.records)).Topics[0].Partitions[0]
		if got.ErrorCode != x.code {
			t.Errorf("produce, %s: code %d, expected %d", x.name, got.ErrorCode, x.code)
		}
	}
	for _, x := range []struct {
		name      string
		topic     string
		partition int32
		epoch     int32
		timestamp int64
		code      int16
	}{
		{"all well", "topic", 0, -1, -1, 0},
		{"timestamp before topic", "missing", 0, -1, -99, 35},
		{"topic before epoch", "missing", 0, 99, -1, 3},
		{"epoch ahead", "topic", 0, 99, -1, 75},
		{"epoch below none", "topic", 0, -2, -1, 74},
		{"timestamp of a later version", "topic", 0, 99, -4, 35},
	} {
		r := kmsg.NewPtrListOffsetsRequest()
		r.Version, r.ReplicaID = 7, -1
		topic := kmsg.NewListOffsetsRequestTopic()
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.CurrentLeaderEpoch, part.Timestamp = x.partition, x.epoch, x.timestamp
		topic.Topic, topic.Partitions = x.topic, append(topic.Partitions, part)
		r.Topics = append(r.Topics, topic)
		if got := asked[*kmsg.ListOffsetsResponse](p, r).Topics[0].Partitions[0]; got.ErrorCode != x.code {
			t.Errorf("list offsets, %s: code %d, expected %d", x.name, got.ErrorCode, x.code)
		}
	}
}
