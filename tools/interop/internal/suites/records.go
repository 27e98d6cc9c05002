package suites

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// plan is a stream of records that anybody can make again from its seed: record i is at offset i of its partition.
type plan struct {
	topic     string
	partition int32
	seed      uint64
	begin     time.Time // timestamp of record 0; each record is one millisecond after the one before
}

// mix is a step of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// record is record i: a key in three of four, a null value now and then, up to two headers, 20 to 147 bytes of text
// half of which a codec can take away.
func (p plan) record(i int64) *kgo.Record {
	x := mix(p.seed ^ mix(uint64(i)))
	r := &kgo.Record{Topic: p.topic, Partition: p.partition, Timestamp: p.begin.Add(time.Duration(i) * time.Millisecond)}
	if x&3 != 0 {
		r.Key = binary.BigEndian.AppendUint64(nil, x)
	}
	if x&31<<8 != 0 {
		r.Value = make([]byte, 0, 160)
		for n := 20 + int(x>>16&127); len(r.Value) < n; {
			x = mix(x)
			r.Value = append(binary.AppendUvarint(r.Value, x&0xffff_ffff), " some words "...)
		}
	}
	for h := range x >> 40 & 3 % 3 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: fmt.Sprintf("h%d", h), Value: []byte{byte(x >> 48), byte(h)}})
	}
	return r
}

// same says what differs between a record that was read and record i.
func (p plan) same(got *kgo.Record, i int64) error {
	want := p.record(i)
	switch {
	case got.Offset != i:
		return fmt.Errorf("%s-%d: offset %d where %d was expected", p.topic, p.partition, got.Offset, i)
	case !got.Timestamp.Equal(want.Timestamp) && !p.begin.IsZero():
		return fmt.Errorf("%s-%d offset %d: timestamp %s, expected %s", p.topic, p.partition, i, got.Timestamp, want.Timestamp)
	case !bytes.Equal(got.Key, want.Key) || (got.Key == nil) != (want.Key == nil):
		return fmt.Errorf("%s-%d offset %d: key %x, expected %x", p.topic, p.partition, i, got.Key, want.Key)
	case !bytes.Equal(got.Value, want.Value) || (got.Value == nil) != (want.Value == nil):
		return fmt.Errorf("%s-%d offset %d: value %q, expected %q", p.topic, p.partition, i, got.Value, want.Value)
	case len(got.Headers) != len(want.Headers):
		return fmt.Errorf("%s-%d offset %d: %d headers, expected %d", p.topic, p.partition, i, len(got.Headers), len(want.Headers))
	}
	for h := range want.Headers {
		if got.Headers[h].Key != want.Headers[h].Key || !bytes.Equal(got.Headers[h].Value, want.Headers[h].Value) {
			return fmt.Errorf("%s-%d offset %d: header %d is %v, expected %v", p.topic, p.partition, i, h, got.Headers[h], want.Headers[h])
		}
	}
	return nil
}

// produce sends records from up to (not including) to and checks that each is acknowledged at its own offset.
func (p plan) produce(ctx context.Context, cl *kgo.Client, from, to int64) error {
	var failed atomic.Pointer[error]
	for i := from; i < to; i++ {
		cl.Produce(ctx, p.record(i), func(r *kgo.Record, err error) {
			if err == nil && r.Offset != i {
				err = fmt.Errorf("%s-%d: record %d acknowledged at offset %d", p.topic, p.partition, i, r.Offset)
			}
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
		if failed.Load() != nil {
			break
		}
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// verify reads the partition from from to to and compares every record; it holds one fetch at a time in memory.
func (p plan) verify(ctx context.Context, addr string, from, to int64) error {
	if from == to {
		return nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchMaxWait(250*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {p.partition: kgo.NewOffset().At(from)}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	for next := from; next < to; {
		f := cl.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			return fmt.Errorf("%s-%d at %d of %d: %w", p.topic, p.partition, next, to, err)
		}
		for _, e := range f.Errors() {
			return fmt.Errorf("%s-%d at %d of %d: %w", p.topic, p.partition, next, to, e.Err)
		}
		for _, r := range f.Records() {
			if next == to {
				return fmt.Errorf("%s-%d: a record at offset %d, after the last that was sent", p.topic, p.partition, r.Offset)
			}
			if err := p.same(r, next); err != nil {
				return err
			}
			next++
		}
	}
	return nil
}
