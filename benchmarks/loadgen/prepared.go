//go:build linux

package loadgen

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/klauspost/crc32"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of Produce that Prepare can build, the ones Kafka 4.3 serves.
const (
	MinProduceVersion = 3
	MaxProduceVersion = 13
)

const (
	batchHeader    = 61 // RecordBatch v2 up to the records
	batchOverhead  = 12 // base offset and batch length, which batch length does not count
	batchCRCStart  = 21 // the CRC covers everything from the attributes on
	lengthSize     = 4
	correlationAt  = lengthSize + 4 // behind the length, api key and version
	clientID       = "load"
	produceTimeout = 30 * time.Second
	produceAcks    = -1
	compactFromV   = 9  // KIP-482: flexible encoding
	topicIDFromV   = 13 // KIP-516: topic id in place of the name
	noProducer     = -1 // KIP-98: a batch outside idempotence may be sent any number of times
)

// Target names the partition a request goes to.
type Target struct {
	Topic     string
	TopicID   [16]byte // used by version 13 only
	Partition int32
}

// Prepared is a Produce request (acks=-1) with its length prefix, ready to be written to a socket.
type Prepared struct {
	Frame   []byte // write it as it is after SetCorrelationID
	Version int16
	Records int // records in the one batch of the request
}

// SetCorrelationID patches the one part that differs between two sendings.
func (p *Prepared) SetCorrelationID(id int32) {
	binary.BigEndian.PutUint32(p.Frame[correlationAt:], uint32(id))
}

// Clone returns a copy with bytes of its own.
func (p *Prepared) Clone() *Prepared {
	c := *p
	c.Frame = append([]byte(nil), p.Frame...)
	return &c
}

// Prepare builds a request of the given version with one uncompressed batch that carries no producer id.
func Prepare(version int16, to Target, batch []byte, records int) (*Prepared, error) {
	if version < MinProduceVersion || version > MaxProduceVersion {
		return nil, fmt.Errorf("prepare produce: version %d, expected %d to %d", version, MinProduceVersion, MaxProduceVersion)
	}
	request := kmsg.NewPtrProduceRequest()
	request.Version = version
	request.Acks = produceAcks
	request.TimeoutMillis = int32(produceTimeout / time.Millisecond)
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = to.Topic, to.TopicID
	partition := kmsg.NewProduceRequestTopicPartition()
	partition.Partition = to.Partition
	partition.Records = batch
	topic.Partitions = append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, request, 0)
	return &Prepared{Frame: frame, Version: version, Records: records}, nil
}

// Batch builds a RecordBatch v2 of records values of size bytes each, null keys, all with the timestamp now. The values
// are pseudo-random, so that nothing on the way gains from repetition, and the same for every call.
func Batch(records, size int, now time.Time) []byte {
	random := rand.NewChaCha8([32]byte{1})
	value := make([]byte, size)
	var body []byte
	for i := range records {
		_, _ = random.Read(value) // never fails
		r := kmsg.Record{OffsetDelta: int32(i), Value: value}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // a length of 0 takes one byte itself
		body = r.AppendTo(body)
	}
	b := kmsg.RecordBatch{
		Length:               int32(batchHeader - batchOverhead + len(body)),
		PartitionLeaderEpoch: -1,
		Magic:                2,
		LastOffsetDelta:      int32(records - 1),
		FirstTimestamp:       now.UnixMilli(),
		MaxTimestamp:         now.UnixMilli(),
		ProducerID:           noProducer,
		ProducerEpoch:        noProducer,
		FirstSequence:        noProducer,
		NumRecords:           int32(records),
		Records:              body,
	}
	encoded := b.AppendTo(nil)
	crc := crc32.Checksum(encoded[batchCRCStart:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(encoded[batchCRCStart-4:], crc)
	return encoded
}

// RecordsThatFit returns how many values of size bytes a batch of at most batchBytes surely holds, at least 1.
func RecordsThatFit(size, batchBytes int) int {
	r := kmsg.Record{OffsetDelta: int32(batchBytes), Value: make([]byte, size)}
	r.Length = int32(len(r.AppendTo(nil)))
	return max((batchBytes-batchHeader)/len(r.AppendTo(nil)), 1)
}
