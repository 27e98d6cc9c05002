//go:build linux

package loadgen

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/klauspost/crc32"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestPreparedRequestDecodes reads every version back as a server would, down to the values of the records.
func TestPreparedRequestDecodes(t *testing.T) {
	const records, size = 7, 1000
	to := Target{Topic: "prepared", TopicID: [16]byte{15: 9}, Partition: 3}
	for version := int16(MinProduceVersion); version <= MaxProduceVersion; version++ {
		p, err := Prepare(version, to, Batch(records, size, time.UnixMilli(1_700_000_000_000)), records)
		if err != nil {
			t.Fatal(err)
		}
		p.SetCorrelationID(0x01020304)
		f := p.Frame
		if int(binary.BigEndian.Uint32(f)) != len(f)-4 || binary.BigEndian.Uint16(f[4:]) != 0 || int16(binary.BigEndian.Uint16(f[6:])) != version || binary.BigEndian.Uint32(f[8:]) != 0x01020304 {
			t.Fatalf("version %d: header % x", version, f[:12])
		}
		request := kmsg.NewPtrProduceRequest()
		request.Version = version
		body := f[12:]
		body = body[2+int(binary.BigEndian.Uint16(body)):] // client id
		if request.IsFlexible() {
			body = body[1:]
		}
		if err := request.ReadFrom(body); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		topic := request.Topics[0]
		if request.Acks != -1 || request.TransactionID != nil || topic.Partitions[0].Partition != 3 {
			t.Fatalf("version %d: %+v", version, request)
		}
		if version < 13 && topic.Topic != to.Topic || version >= 13 && topic.TopicID != to.TopicID {
			t.Fatalf("version %d: topic %q %v", version, topic.Topic, topic.TopicID)
		}
		checkBatch(t, topic.Partitions[0].Records, records, size)
	}
	for _, version := range []int16{MinProduceVersion - 1, MaxProduceVersion + 1} {
		if _, err := Prepare(version, to, nil, 0); err == nil {
			t.Fatalf("version %d was prepared", version)
		}
	}
}

func checkBatch(t *testing.T, encoded []byte, records, size int) {
	t.Helper()
	var b kmsg.RecordBatch
	if err := b.ReadFrom(encoded); err != nil {
		t.Fatal(err)
	}
	if int(b.Length) != len(encoded)-12 || b.Magic != 2 || int(b.NumRecords) != records || int(b.LastOffsetDelta) != records-1 || b.ProducerID != -1 {
		t.Fatalf("batch of %d bytes: %+v", len(encoded), b)
	}
	if sum := crc32.Checksum(encoded[21:], crc32.MakeTable(crc32.Castagnoli)); uint32(b.CRC) != sum {
		t.Fatalf("crc %08x, computed %08x", uint32(b.CRC), sum)
	}
	rest := b.Records
	for i := range records {
		length, n := binary.Varint(rest)
		var r kmsg.Record
		if err := r.ReadFrom(rest); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if int(r.OffsetDelta) != i || r.Key != nil || len(r.Value) != size {
			t.Fatalf("record %d: delta %d, key %v, %d value bytes", i, r.OffsetDelta, r.Key, len(r.Value))
		}
		rest = rest[n+int(length):]
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes behind the last record", len(rest))
	}
}

// TestRecordsThatFitFill checks that the answer fits and is not far from the most that would.
func TestRecordsThatFitFill(t *testing.T) {
	for _, size := range []int{1, 10, 100, 1024, 100 << 10} {
		n := RecordsThatFit(size, 1<<20)
		got := len(Batch(n, size, time.Now()))
		if got > 1<<20 || got < 1<<20-max(1<<20/8, 2*size) {
			t.Fatalf("%d records of %d bytes make a batch of %d", n, size, got)
		}
	}
	if n := RecordsThatFit(1<<20, 1<<10); n != 1 {
		t.Fatalf("a value larger than the batch: %d records, expected 1", n)
	}
}

// answerOf encodes a Produce response for one partition without the length prefix.
func answerOf(version int16, correlation int32, code int16) []byte {
	return answerNamed(version, "answer", correlation, code)
}

func answerNamed(version int16, name string, correlation int32, code int16) []byte {
	response := kmsg.NewPtrProduceResponse()
	response.Version = version
	topic := kmsg.NewProduceResponseTopic()
	topic.Topic, topic.TopicID = name, [16]byte{1, 2, 3}
	partition := kmsg.NewProduceResponseTopicPartition()
	partition.ErrorCode = code
	topic.Partitions = append(topic.Partitions, partition)
	response.Topics = append(response.Topics, topic)
	answer := binary.BigEndian.AppendUint32(nil, uint32(correlation))
	if response.IsFlexible() {
		answer = append(answer, 0)
	}
	return response.AppendTo(answer)
}

func TestErrorCodeOfEveryVersion(t *testing.T) {
	for version := int16(MinProduceVersion); version <= MaxProduceVersion; version++ {
		answer := answerOf(version, 77, 87)
		correlation, code, err := errorCode(answer, version)
		if err != nil || correlation != 77 || code != 87 {
			t.Fatalf("version %d: correlation %d, code %d, %v", version, correlation, code, err)
		}
		for cut := range 20 {
			if _, _, err := errorCode(answer[:cut], version); err == nil {
				t.Fatalf("version %d: %d bytes were enough", version, cut)
			}
		}
	}
}

// FuzzErrorCode feeds arbitrary responses, of which none may panic, and what a client library encodes with one partition, of
// which the code must be found. (The library does not decode the arbitrary ones: it looks for as many tagged fields as are
// announced, be it four billion.)
func FuzzErrorCode(f *testing.F) {
	for version := int16(MinProduceVersion); version <= MaxProduceVersion; version++ {
		f.Add(answerOf(version, 1, 5), version, "answer", int32(1), int16(5))
	}
	f.Fuzz(func(t *testing.T, answer []byte, version int16, topic string, correlation int32, code int16) {
		if version < MinProduceVersion || version > MaxProduceVersion {
			return
		}
		_, _, _ = errorCode(answer, version)
		if len(topic) > math.MaxInt16 {
			return
		}
		gotCorrelation, gotCode, err := errorCode(answerNamed(version, topic, correlation, code), version)
		if err != nil || gotCorrelation != correlation || gotCode != code {
			t.Fatalf("version %d, topic %q: correlation %d, code %d, %v; expected %d and %d", version, topic, gotCorrelation, gotCode, err, correlation, code)
		}
	})
}
