package server_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
)

// table asks a broker what it serves.
func (p *peer) table() []kmsg.ApiVersionsResponseApiKey {
	p.t.Helper()
	r := kmsg.NewPtrApiVersionsRequest()
	r.Version, r.ClientSoftwareName, r.ClientSoftwareVersion = 4, "test", "1"
	return asked[*kmsg.ApiVersionsResponse](p, r).ApiKeys
}

// TestEveryAdvertisedVersionAnswers sends a request of every version of every
// key that ApiVersions names and decodes the answers.
func TestEveryAdvertisedVersionAnswers(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	p.createTopic("topic", 2)
	served := p.table()
	if len(served) < 18 {
		t.Fatalf("only %d keys", len(served))
	}
	for _, k := range served {
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			if k.ApiKey == 0 && v < 3 {
				continue // advertised for librdkafka's sake, see KAFKA-18659
			}
			r := kmsg.RequestForKey(k.ApiKey)
			if d, ok := r.(interface{ Default() }); ok {
				d.Default()
			}
			r.SetVersion(v)
			switch r := r.(type) {
			case *kmsg.ProduceRequest:
				r.Acks = -1
			case *kmsg.ApiVersionsRequest:
				r.ClientSoftwareName, r.ClientSoftwareVersion = "a", "1"
			}
			p.send(r)
			p.receive(r, p.correlation)
		}
	}
}

// TestUnservedVersionsCloseTheConnection is Kafka's answer to what it cannot
// read; ApiVersions alone has another.
func TestUnservedVersionsCloseTheConnection(t *testing.T) {
	m := startMemory(t, nil)
	for _, k := range m.dial(t).table() {
		for _, v := range []int16{k.MinVersion - 1, k.MaxVersion + 1, 1000} {
			if v < 0 {
				continue
			}
			p := m.dial(t)
			r := kmsg.RequestForKey(k.ApiKey)
			r.SetVersion(k.MaxVersion)
			frame := p.frame(r)
			frame[6], frame[7] = byte(v>>8), byte(v)
			if _, err := p.conn.Write(frame); err != nil {
				t.Fatal(err)
			}
			_, body, err := p.next()
			if k.ApiKey != 18 {
				if !errors.Is(err, io.EOF) {
					t.Fatalf("key %d version %d: %v, expected the end of the connection", k.ApiKey, v, err)
				}
				continue
			}
			r.SetVersion(0)
			resp, err2 := parseResponse(r, body)
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if a := resp.(*kmsg.ApiVersionsResponse); a.ErrorCode != 35 || len(a.ApiKeys) != 1 || a.ApiKeys[0].ApiKey != 18 {
				t.Fatalf("version %d: %+v", v, a)
			}
		}
	}
}

// TestPipelinedAnswersKeepTheOrder mixes requests that wait with such that do
// not.
func TestPipelinedAnswersKeepTheOrder(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	p.createTopic("topic", 1)
	var frames []byte
	var sent []kmsg.Request
	first := p.correlation + 1
	for i := range 30 {
		var r kmsg.Request
		switch i % 4 {
		case 0:
			r = produceTo("topic", 0, -1, records(time.Now(), fmt.Sprint(i)))
		case 1:
			r = fetchFrom("topic", 0, 1000, 0)
		case 2:
			f := fetchFrom("topic", 0, 0, 5*time.Millisecond)
			f.MinBytes = 1 << 20
			r = f
		default:
			m := kmsg.NewPtrMetadataRequest()
			m.Version = 12
			r = m
		}
		frames = append(frames, p.frame(r)...)
		sent = append(sent, r)
	}
	go func() { _, _ = p.conn.Write(frames) }()
	for i, r := range sent {
		p.receive(r, first+int32(i))
	}
}

// TestAcksZeroIsSilentAndClosesOnError checks both halves, and that what came
// before the error is answered.
func TestAcksZeroIsSilentAndClosesOnError(t *testing.T) {
	m := startMemory(t, nil)
	p := m.dial(t)
	p.createTopic("topic", 1)
	good := records(time.Now(), "a")
	bad := append(batch.Batch(nil), good...)
	bad[len(bad)-1] ^= 1
	p.send(produceTo("topic", 0, 0, good))
	p.send(produceTo("topic", 0, 0, good))
	if out := p.produced("topic", 0, good); out.BaseOffset != 2 {
		t.Fatalf("base offset %d, expected 2: acks=0 keeps its place", out.BaseOffset)
	}
	last := produceTo("topic", 0, -1, good)
	frames := append(p.frame(last), p.frame(produceTo("topic", 0, 0, bad))...)
	go func() { _, _ = p.conn.Write(frames) }()
	p.receive(last, p.correlation-1)
	if _, _, err := p.next(); !errors.Is(err, io.EOF) {
		t.Fatalf("%v, expected the end of the connection", err)
	}
	if out := m.dial(t).fetched("topic", 0, 0); out.HighWatermark != 4 {
		t.Fatalf("high watermark %d, expected 4", out.HighWatermark)
	}
}

// TestNeighboursOfABadPartitionAreServed has good and bad partitions in one
// request.
func TestNeighboursOfABadPartitionAreServed(t *testing.T) {
	p := startMemory(t, nil).dial(t)
	p.createTopic("topic", 4)
	bad := append(batch.Batch(nil), records(time.Now(), "a")...)
	bad[len(bad)-1] ^= 1
	r := produceTo("topic", 0, -1, records(time.Now(), "a"))
	for i, x := range [][]byte{bad, records(time.Now(), "b"), nil, records(time.Now(), "c")} {
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = int32(i+1), x
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, part)
	}
	got := asked[*kmsg.ProduceResponse](p, r).Topics[0].Partitions
	for i, want := range []int16{0, 2, 0, 87, 3} {
		if got[i].ErrorCode != want || got[i].Partition != int32(i) {
			t.Errorf("partition %d: %+v, expected code %d", i, got[i], want)
		}
	}
	for i, want := range []int64{1, 0, 1, 0} {
		if out := p.fetched("topic", int32(i), 0); out.HighWatermark != want {
			t.Errorf("partition %d ends at %d, expected %d", i, out.HighWatermark, want)
		}
	}
}

// TestManyPartitionsInOneRequest produces to and fetches from a thousand
// partitions of several topics at once.
func TestManyPartitionsInOneRequest(t *testing.T) {
	const topics, partitions = 5, 200
	p := startMemory(t, nil).dial(t)
	produce := kmsg.NewPtrProduceRequest()
	produce.Version, produce.Acks, produce.TimeoutMillis = 9, -1, 10_000
	fetch := fetchFrom("", 0, 0, 0)
	fetch.Topics = nil
	for i := range topics {
		name := fmt.Sprint("topic-", i)
		p.createTopic(name, partitions)
		in, out := kmsg.NewProduceRequestTopic(), kmsg.NewFetchRequestTopic()
		in.Topic, out.Topic = name, name
		for j := range int32(partitions) {
			x := kmsg.NewProduceRequestTopicPartition()
			x.Partition, x.Records = j, records(time.Now(), fmt.Sprint(i, j))
			in.Partitions = append(in.Partitions, x)
			out.Partitions = append(out.Partitions, fetchPartition(j, 0))
		}
		produce.Topics, fetch.Topics = append(produce.Topics, in), append(fetch.Topics, out)
	}
	for _, topic := range asked[*kmsg.ProduceResponse](p, produce).Topics {
		for _, x := range topic.Partitions {
			if x.ErrorCode != 0 || x.BaseOffset != 0 {
				t.Fatalf("%s-%d: %+v", topic.Topic, x.Partition, x)
			}
		}
	}
	n := 0
	for i, topic := range asked[*kmsg.FetchResponse](p, fetch).Topics {
		for _, x := range topic.Partitions {
			n++
			var value string
			if err := batches(t, x.RecordBatches)[0].Each(1<<20, func(r *batch.Record) error { value = string(r.Value); return nil }); err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprint(i, x.Partition); value != want {
				t.Fatalf("%s-%d holds %q, expected %q", topic.Topic, x.Partition, value, want)
			}
		}
	}
	if n != topics*partitions {
		t.Fatalf("%d partitions, expected %d", n, topics*partitions)
	}
}

// TestLongPoll checks that a fetch at the end answers when something comes and
// not before, and that its deadline ends it.
func TestLongPoll(t *testing.T) {
	m := startMemory(t, nil)
	p, q := m.dial(t), m.dial(t)
	p.createTopic("topic", 2)
	for i := range 20 {
		f := fetchFrom("topic", 0, int64(i), 30*time.Second)
		p.send(f)
		q.produced("topic", 1, records(time.Now(), "elsewhere"))
		from := time.Now()
		q.produced("topic", 0, records(time.Now(), "here"))
		out := p.receive(f, p.correlation).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if took := time.Since(from); took > 5*time.Second {
			t.Fatalf("woken after %v", took)
		}
		if b := batches(t, out.RecordBatches); len(b) != 1 || b[0].BaseOffset() != int64(i) {
			t.Fatalf("round %d: %d batches", i, len(b))
		}
	}
	for _, x := range []struct {
		name  string
		wait  time.Duration
		least time.Duration
		f     func(*kmsg.FetchRequest)
	}{
		{"deadline", 40 * time.Millisecond, 40 * time.Millisecond, nil},
		{"a minimum that is never reached", 40 * time.Millisecond, 40 * time.Millisecond, func(r *kmsg.FetchRequest) { r.MinBytes = 1 << 20 }},
		{"out of range does not wait", time.Minute, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].FetchOffset = 1000 }},
		{"min bytes 0 does not wait", time.Minute, 0, func(r *kmsg.FetchRequest) { r.MinBytes = 0 }},
		{"only unknown partitions do not wait", time.Minute, 0, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].Partition = 9 }},
		{"more than may be returned is not waited for", time.Minute, 0, func(r *kmsg.FetchRequest) {
			r.MinBytes, r.MaxBytes, r.Topics[0].Partitions[0].FetchOffset = 1<<30, 10, 0
		}},
		{"an unknown partition beside a known one waits", 40 * time.Millisecond, 40 * time.Millisecond, func(r *kmsg.FetchRequest) {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, fetchPartition(9, 0))
		}},
	} {
		r := fetchFrom("topic", 0, 20, x.wait)
		if x.f != nil {
			x.f(r)
		}
		from := time.Now()
		asked[*kmsg.FetchResponse](p, r)
		if took := time.Since(from); took < x.least || took > x.least+20*time.Second {
			t.Errorf("%s: took %v", x.name, took)
		}
	}
}
