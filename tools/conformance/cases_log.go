package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// legacy makes a message set entry of format 0 or 1.
func legacy(magic byte) []byte {
	p := make([]byte, 12, 64)
	p = append(p, 0, 0, 0, 0, magic, 0)
	if magic == 1 {
		p = binary.BigEndian.AppendUint64(p, uint64(now))
	}
	p = append(p, 0, 0, 0, 1, 'k', 0, 0, 0, 1, 'v')
	binary.BigEndian.PutUint32(p[8:], uint32(len(p)-12))
	binary.BigEndian.PutUint32(p[12:], crc32.ChecksumIEEE(p[16:]))
	return p
}

// garbled is a batch that says it is compressed and holds noise.
func garbled(c codec.Type) []byte {
	return change(append(batch.Batch(nil), append(records(3)[:batch.HeaderSize:batch.HeaderSize], []byte("\x01\x02\x03 this is not compressed at all \xff\xfe")...)...), func(b batch.Batch) {
		binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
		b[22] = b[22]&^7 | byte(c)
	})
}

func attributes(v uint16) []byte {
	return change(records(2), func(b batch.Batch) { binary.BigEndian.PutUint16(b[21:], v) })
}

func put32(at int, v uint32) []byte {
	return change(records(3), func(b batch.Batch) { binary.BigEndian.PutUint32(b[at:], v) })
}

// record makes a batch of one uncompressed record with the given bytes.
func record(bytes ...byte) []byte {
	return change(append(batch.Batch(nil), append(records(1)[:batch.HeaderSize:batch.HeaderSize], bytes...)...), func(b batch.Batch) {
		binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	})
}

// bad is every batch that a broker should look at twice.
func bad() []struct {
	name    string
	records []byte
} {
	two := append(append([]byte(nil), records(1)...), records(1)...)
	crc := append([]byte(nil), records(2)...)
	crc[len(crc)-1] ^= 1
	header := append([]byte(nil), records(2)...)
	header[17] ^= 1
	return []struct {
		name    string
		records []byte
	}{
		{"good", records(3)},
		{"null", nil},
		{"empty", []byte{}},
		{"one byte", []byte{0}},
		{"16 bytes", make([]byte, 16)},
		{"60 bytes of zero", make([]byte, 60)},
		{"100 bytes of zero", make([]byte, 100)},
		{"bad crc", crc},
		{"bad crc field", header},
		{"cut by one", records(3)[:len(records(3))-1]},
		{"cut in the header", records(3)[:50]},
		{"a byte behind", append(append([]byte(nil), records(3)...), 0)},
		{"zeros behind", append(append([]byte(nil), records(3)...), make([]byte, 70)...)},
		{"two batches", two},
		{"second cut", two[:len(two)-5]},
		{"header only", change(append(batch.Batch(nil), records(1)[:61]...), func(b batch.Batch) {
			binary.BigEndian.PutUint32(b[8:], 49)
			binary.BigEndian.PutUint32(b[57:], 0)
		})},
		{"no records, delta -1", change(append(batch.Batch(nil), records(1)[:61]...), func(b batch.Batch) {
			binary.BigEndian.PutUint32(b[8:], 49)
			binary.BigEndian.PutUint32(b[57:], 0)
			binary.BigEndian.PutUint32(b[23:], 0xffffffff)
		})},
		{"magic 0", legacy(0)},
		{"magic 1", legacy(1)},
		{"magic 3", change(records(1), func(b batch.Batch) { b[16] = 3 })},
		{"magic -1", change(records(1), func(b batch.Batch) { b[16] = 0xff })},
		{"length 0", func() []byte {
			p := append([]byte(nil), records(1)...)
			binary.BigEndian.PutUint32(p[8:], 0)
			return p
		}()},
		{"length negative", func() []byte {
			p := append([]byte(nil), records(1)...)
			binary.BigEndian.PutUint32(p[8:], 0xfffffff0)
			return p
		}()},
		{"length huge", func() []byte {
			p := append([]byte(nil), records(1)...)
			binary.BigEndian.PutUint32(p[8:], 0x7fffffff)
			return p
		}()},
		{"base offset 7", change(records(2), func(b batch.Batch) { b.SetBaseOffset(7) })},
		{"base offset -1", change(records(2), func(b batch.Batch) { b.SetBaseOffset(-1) })},
		{"leader epoch 9", change(records(2), func(b batch.Batch) { b.SetLeaderEpoch(9) })},
		{"count too high", put32(57, 4)},
		{"count too low", put32(57, 2)},
		{"count zero", put32(57, 0)},
		{"count negative", put32(57, 0xffffffff)},
		{"last delta too high", put32(23, 3)},
		{"last delta too low", put32(23, 1)},
		{"last delta negative", put32(23, 0xffffffff)},
		{"count and delta too high", change(records(3), func(b batch.Batch) {
			binary.BigEndian.PutUint32(b[23:], 3)
			binary.BigEndian.PutUint32(b[57:], 4)
		})},
		{"count and delta too low", change(records(3), func(b batch.Batch) {
			binary.BigEndian.PutUint32(b[23:], 1)
			binary.BigEndian.PutUint32(b[57:], 2)
		})},
		{"control", attributes(0x20)},
		{"control with producer", change(build(batch.NewBuilder(codec.None).Producer(7, 0, 0), 1), func(b batch.Batch) { b[22] |= 0x20 })},
		{"transactional", attributes(0x10)},
		{"delete horizon", attributes(0x40)},
		{"log append time", attributes(0x08)},
		{"attribute 0x80", attributes(0x80)},
		{"attribute 0x4000", attributes(0x4000)},
		{"codec 5", attributes(5)},
		{"codec 7", attributes(7)},
		{"producer without epoch", build(batch.NewBuilder(codec.None).Producer(8, -1, 0), 1)},
		{"producer without sequence", build(batch.NewBuilder(codec.None).Producer(9, 0, -1), 1)},
		{"producer -2", build(batch.NewBuilder(codec.None).Producer(-2, 0, 0), 1)},
		{"sequence without producer", build(batch.NewBuilder(codec.None).Producer(-1, -1, 5), 1)},
		{"epoch without producer", build(batch.NewBuilder(codec.None).Producer(-1, 5, -1), 1)},
		{"record of no bytes", record(0)},
		{"record with a byte too many", record(16, 0, 0, 0, 1, 1, 0, 0, 0)},
		{"record too long", record(100, 0, 0, 0, 1, 1, 0)},
		{"record too short", record(4, 0, 0, 0, 1, 1, 0)},
		{"record of negative length", record(1, 0, 0, 0, 1, 1, 0)},
		{"record with negative headers", record(12, 0, 0, 0, 1, 1, 1)},
		{"record with many headers", record(12, 0, 0, 0, 1, 1, 100)},
		{"record with a null header key", record(16, 0, 0, 0, 1, 1, 2, 1, 1)},
		{"record with a header", record(16, 0, 0, 0, 1, 1, 2, 0, 1)},
		{"record with attributes", record(12, 7, 0, 0, 1, 1, 0)},
		{"record with offset delta 1", record(12, 0, 0, 2, 1, 1, 0)},
		{"record with key length -2", record(12, 0, 0, 0, 3, 1, 0)},
		{"null key and value", record(12, 0, 0, 0, 1, 1, 0)},
		{"long varint", record(14, 0, 0x80, 0x00, 0, 1, 1, 0)},
		{"garbled gzip", garbled(codec.Gzip)},
		{"garbled snappy", garbled(codec.Snappy)},
		{"garbled lz4", garbled(codec.LZ4)},
		{"garbled zstd", garbled(codec.Zstd)},
		{"gzip", build(batch.NewBuilder(codec.Gzip), 10)},
		{"snappy", build(batch.NewBuilder(codec.Snappy), 10)},
		{"lz4", build(batch.NewBuilder(codec.LZ4), 10)},
		{"zstd", build(batch.NewBuilder(codec.Zstd), 10)},
		{"gzip with a wrong count", change(build(batch.NewBuilder(codec.Gzip), 10), func(b batch.Batch) {
			binary.BigEndian.PutUint32(b[23:], 10)
			binary.BigEndian.PutUint32(b[57:], 11)
		})},
		{"zstd with a low count", change(build(batch.NewBuilder(codec.Zstd), 10), func(b batch.Batch) {
			binary.BigEndian.PutUint32(b[23:], 8)
			binary.BigEndian.PutUint32(b[57:], 9)
		})},
		{"max timestamp too high", change(records(2), func(b batch.Batch) { binary.BigEndian.PutUint64(b[35:], uint64(now+1000)) })},
		{"max timestamp too low", change(records(2), func(b batch.Batch) { binary.BigEndian.PutUint64(b[35:], uint64(now-1000)) })},
		{"too large", build(batch.NewBuilder(codec.None), 1)},
	}
}

func produceCases(b *broker) {
	b.unnumbered = true
	for v := int16(3); v <= 13; v++ {
		plain, id := b.create(fmt.Sprintf("p%d", v), 3)
		compacted, compactedID := b.create(fmt.Sprintf("c%d", v), 1, "cleanup.policy", "compact")
		small, smallID := b.create(fmt.Sprintf("s%d", v), 1, "max.message.bytes", "100")
		stamped, stampedID := b.create(fmt.Sprintf("l%d", v), 1, "message.timestamp.type", "LogAppendTime")
		for _, x := range bad() {
			b.do(x.name, produceRequest(v, -1, plain, id, 0, x.records))
		}
		b.do("what is left", fetchRequest(min(v+4, 11), plain, id, 0, 0))
		keyless := batch.NewBuilder(codec.None).Append(now, []byte("k"), []byte("v")).Append(now, nil, []byte("v")).Append(now, nil, []byte("w")).Bytes()
		b.do("no key", produceRequest(v, -1, compacted, compactedID, 0, keyless))
		gzipped := batch.NewBuilder(codec.Gzip).Append(now, []byte("k"), []byte("v")).Append(now, nil, []byte("v")).Bytes()
		b.do("no key, gzip", produceRequest(v, -1, compacted, compactedID, 0, gzipped))
		b.do("keys", produceRequest(v, -1, compacted, compactedID, 0, records(3)))
		b.do("too large", produceRequest(v, -1, small, smallID, 0, records(5)))
		b.do("too large with a bad crc", produceRequest(v, -1, small, smallID, 0, bad()[7].records))
		b.do("small enough", produceRequest(v, -1, small, smallID, 0, record(12, 0, 0, 0, 1, 1, 0)))
		b.do("log append time", produceRequest(v, -1, stamped, stampedID, 0, records(3)))
		b.do("log append time set", produceRequest(v, -1, stamped, stampedID, 0, attributes(8)))
		b.do("log append time, gzip", produceRequest(v, -1, stamped, stampedID, 0, build(batch.NewBuilder(codec.Gzip), 3)))
		b.do("log append time, out of time", produceRequest(v, -1, stamped, stampedID, 0, batch.NewBuilder(codec.None).Append(now+1<<40, nil, nil).Bytes()))
		for _, acks := range []int16{1, -1, 2, -2, 100} {
			b.do(fmt.Sprintf("acks %d", acks), produceRequest(v, acks, plain, id, 0, records(1)))
			b.do(fmt.Sprintf("acks %d unknown partition", acks), produceRequest(v, acks, plain, id, 9, records(1)))
		}
		b.do("unknown partition", produceRequest(v, -1, plain, id, 9, records(1)))
		b.do("negative partition", produceRequest(v, -1, plain, id, -1, records(1)))
		b.do("unknown partition, bad records", produceRequest(v, -1, plain, id, 9, []byte{1}))
		b.do("unknown topic", produceRequest(v, -1, b.prefix+"missing", [16]byte{1}, 0, records(1)))
		b.do("unknown topic, bad records", produceRequest(v, -1, b.prefix+"missing", [16]byte{1}, 0, nil))
		b.do("zero id", produceRequest(v, -1, b.prefix+"missing", [16]byte{}, 0, records(1)))
		b.do("bad name", produceRequest(v, -1, "a b", [16]byte{2}, 0, records(1)))
		b.do("empty name", produceRequest(v, -1, "", [16]byte{3}, 0, records(1)))
		nothing := kmsg.NewPtrProduceRequest()
		nothing.SetVersion(v)
		nothing.Acks = -1
		b.do("no topics", nothing)
		mixed := produceRequest(v, -1, plain, id, 0, records(1))
		for i, r := range [][]byte{records(2), bad()[7].records, records(1)} {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition, p.Records = []int32{1, 2, 9}[i], r
			mixed.Topics[0].Partitions = append(mixed.Topics[0].Partitions, p)
		}
		b.do("good and bad partitions", mixed)
		twice := produceRequest(v, -1, plain, id, 1, records(1))
		twice.Topics[0].Partitions = append(twice.Topics[0].Partitions, twice.Topics[0].Partitions[0])
		b.do("one partition twice", twice)
		again := produceRequest(v, -1, plain, id, 1, records(1))
		again.Topics = append(again.Topics, again.Topics[0])
		b.do("one topic twice", again)
		none := produceRequest(v, -1, plain, id, 1, records(1))
		none.Topics[0].Partitions = nil
		b.do("a topic without partitions", none)
		txn := produceRequest(v, -1, plain, id, 1, records(1))
		txn.TransactionID = ptr("some id")
		b.do("transactional id, plain batch", txn)
		// acks 0: nothing is answered, an error closes.
		next := func(label string, r *kmsg.ProduceRequest) {
			if err := b.send(r); err != nil {
				b.note(label, v, nil, err)
				return
			}
			m := kmsg.NewPtrMetadataRequest()
			m.SetVersion(9)
			m.Topics = []kmsg.MetadataRequestTopic{}
			err := b.send(m)
			if err == nil {
				_, err = b.receive(m)
			}
			if err != nil {
				b.said(label, v, "closed")
				b.close()
				return
			}
			b.said(label, v, "open")
		}
		next("acks 0", produceRequest(v, 0, plain, id, 1, records(1)))
		next("acks 0, bad crc", produceRequest(v, 0, plain, id, 1, bad()[7].records))
		next("acks 0, unknown topic", produceRequest(v, 0, b.prefix+"missing", [16]byte{9}, 1, records(1)))
		next("acks 0, null", produceRequest(v, 0, plain, id, 1, nil))
		b.do("what is left of partition 1", fetchRequest(min(v+4, 11), plain, id, 1, 0))
	}
}

func idempotence(b *broker) {
	const v = 9
	batchOf := func(pid int64, epoch int16, seq int32, n int) []byte {
		return build(batch.NewBuilder(codec.None).Producer(pid, epoch, seq), n)
	}
	type step struct {
		epoch int16
		seq   int32
		n     int
	}
	for i, steps := range [][]step{
		{{0, 0, 1}, {0, 1, 2}, {0, 3, 1}, {0, 3, 1}, {0, 1, 2}, {0, 0, 1}, {0, 5, 1}, {0, 4, 1}},
		{{0, 5, 1}, {0, 6, 1}, {0, 5, 1}},
		{{3, 0, 1}, {2, 1, 1}, {2, 0, 1}, {4, 1, 1}, {4, 0, 1}, {3, 1, 1}, {4, 1, 1}},
		{{0, 0, 1}, {0, 1, 1}, {0, 2, 1}, {0, 3, 1}, {0, 4, 1}, {0, 5, 1}, {0, 6, 1}, {0, 0, 1}, {0, 1, 1}, {0, 2, 1}, {0, 2, 2}, {0, 7, 1}},
		{{0, 2147483646, 2}, {0, 0, 1}, {0, 1, 1}, {0, 2147483646, 2}},
		{{0, 2147483645, 5}, {0, 2, 1}, {0, 2147483645, 5}},
		{{0, 2147483647, 1}, {0, 0, 1}},
		{{32767, 0, 1}, {32767, 1, 1}, {0, 0, 1}},
		{{0, 0, 3}, {0, 0, 2}, {0, 1, 2}, {0, 2, 1}, {0, 3, 1}},
	} {
		topic, _ := b.create(fmt.Sprint("t", i), 1)
		for j, s := range steps {
			b.do(fmt.Sprintf("row %d step %d epoch %d sequence %d+%d", i, j, s.epoch, s.seq, s.n), produceRequest(v, -1, topic, [16]byte{}, 0, batchOf(1000+int64(i), s.epoch, s.seq, s.n)))
		}
		b.do(fmt.Sprintf("row %d leaves", i), fetchRequest(11, topic, [16]byte{}, 0, 0))
	}
	topic, _ := b.create("zero", 1)
	b.do("producer 0 epoch 0 sequence 0", produceRequest(v, -1, topic, [16]byte{}, 0, batchOf(0, 0, 0, 1)))
	b.do("producer 0 again", produceRequest(v, -1, topic, [16]byte{}, 0, batchOf(0, 0, 0, 1)))
	b.do("duplicate with other records", produceRequest(v, -1, topic, [16]byte{}, 0, build(batch.NewBuilder(codec.Gzip).Producer(0, 0, 0), 1)))
	b.do("plain between", produceRequest(v, -1, topic, [16]byte{}, 0, records(1)))
	b.do("producer 0 goes on", produceRequest(v, -1, topic, [16]byte{}, 0, batchOf(0, 0, 1, 1)))
	for acks := int16(-1); acks <= 1; acks += 2 {
		b.do(fmt.Sprintf("acks %d", acks), produceRequest(v, acks, topic, [16]byte{}, 0, batchOf(5, 0, int32(acks+1), 1)))
	}
	stamped, _ := b.create("stamped", 1, "message.timestamp.type", "LogAppendTime")
	b.do("stamped", produceRequest(v, -1, stamped, [16]byte{}, 0, batchOf(1, 0, 0, 1)))
	b.do("stamped duplicate", produceRequest(v, -1, stamped, [16]byte{}, 0, batchOf(1, 0, 0, 1)))
	// A request may hold two sequences for two partitions, one of them wrong.
	two, _ := b.create("two", 2)
	r := produceRequest(v, -1, two, [16]byte{}, 0, batchOf(6, 0, 0, 1))
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = 1, batchOf(6, 0, 5, 1)
	r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
	b.do("two partitions", r)
	b.do("two partitions again", r)
}

func timestamps(b *broker) {
	day := (24 * time.Hour).Milliseconds()
	limited, _ := b.create("limited", 1, "message.timestamp.before.max.ms", fmt.Sprint(day), "message.timestamp.after.max.ms", fmt.Sprint(day))
	plain, _ := b.create("plain", 1)
	stamped, _ := b.create("stamped", 1, "message.timestamp.type", "LogAppendTime")
	one := func(times ...int64) []byte {
		x := batch.NewBuilder(codec.None)
		for _, t := range times {
			x.Append(t, []byte("k"), nil)
		}
		return x.Bytes()
	}
	for v := int16(3); v <= 9; v++ {
		for _, topic := range []string{limited, plain, stamped} {
			kind := topic[len(b.prefix):]
			for _, x := range []struct {
				name  string
				times []int64
			}{
				{"past", []int64{now - 2*day}}, {"future", []int64{now + 2*day}}, {"some past", []int64{now, now - 2*day, now + 2*day, now}},
				{"hour", []int64{now + 2*3600*1000}}, {"none", []int64{-1}}, {"zero", []int64{0}}, {"negative", []int64{-5}}, {"good", []int64{now - day/2}},
				{"largest", []int64{1<<63 - 1}}, {"smallest", []int64{-1 << 63}},
			} {
				b.do(kind+" "+x.name, produceRequest(v, -1, topic, [16]byte{}, 0, one(x.times...)))
			}
			gz := batch.NewBuilder(codec.Gzip).Append(now, nil, nil).Append(now+2*day, nil, nil).Bytes()
			b.do(kind+" gzip future", produceRequest(v, -1, topic, [16]byte{}, 0, gz))
		}
	}
}

func compression(b *broker) {
	for _, kind := range []string{"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"} {
		topic, id := b.create(kind, 1, "compression.type", kind)
		keyed, _ := b.create("k"+kind, 1, "compression.type", kind, "cleanup.policy", "compact")
		stamped, _ := b.create("s"+kind, 1, "compression.type", kind, "message.timestamp.type", "LogAppendTime")
		for c := codec.None; c <= codec.Zstd; c++ {
			b.do(fmt.Sprintf("%v to %s", c, kind), produceRequest(9, -1, topic, id, 0, build(batch.NewBuilder(c), 20)))
			b.do(fmt.Sprintf("%v to %s with sequence", c, kind), produceRequest(9, -1, topic, id, 0, build(batch.NewBuilder(c).Producer(77, 0, 20*int32(c)), 20)))
			b.do(fmt.Sprintf("%v to %s garbled", c, kind), produceRequest(9, -1, topic, id, 0, garbled(c)))
			keyless := batch.NewBuilder(c).Append(now, []byte("k"), nil).Append(now, nil, nil).Bytes()
			b.do(fmt.Sprintf("%v to %s without key", c, kind), produceRequest(9, -1, keyed, id, 0, keyless))
			b.do(fmt.Sprintf("%v to %s stamped", c, kind), produceRequest(9, -1, stamped, id, 0, build(batch.NewBuilder(c), 20)))
			b.do(fmt.Sprintf("%v to %s too far", c, kind), produceRequest(9, -1, topic, id, 0, batch.NewBuilder(c).Append(now, nil, nil).Append(now+1<<33, nil, nil).Bytes()))
		}
		b.do(kind+" leaves", fetchRequest(11, topic, id, 0, 0))
		b.do(kind+" stamped leaves", fetchRequest(11, stamped, id, 0, 0))
		for v := int16(4); v <= 12; v++ {
			b.do(kind+" fetched", fetchRequest(v, topic, id, 0, 0))
		}
	}
}
