package group

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
	"github.com/gregor-broker/gregor/server/group/record"
)

// A fuzzed log is a row of entries: a byte for the kind (record, tombstone, marker), one for the producer (0 for none), and key and
// value each with two bytes of length.
func parseFuzzLog(b []byte, record func(producer int64, key, value []byte), mark func(producer int64, commit bool)) {
	part := func() []byte {
		if len(b) < 2 {
			b = nil
			return nil
		}
		n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
		p := b[2 : 2+n : 2+n]
		b = b[2+n:]
		return p
	}
	for len(b) >= 2 {
		kind, producer := b[0]%4, int64(b[1]%4)-1
		b = b[2:]
		switch kind {
		case 0:
			key := part()
			value := part()
			record(producer, key, value)
		case 1:
			record(producer, part(), nil)
		default:
			mark(producer, kind == 2)
		}
	}
}

// fuzzLog writes a log in that form.
func fuzzLog(l *coordtest.Log) (out []byte) {
	part := func(p []byte) { out = append(binary.BigEndian.AppendUint16(out, uint16(len(p))), p...) }
	_ = l.Load(func(b batch.Batch) error {
		producer := byte(0)
		if b.ProducerID() >= 0 {
			producer = byte(b.ProducerID()%3) + 1
		}
		if b.IsControl() {
			commit, _, err := batch.EndTransaction(b)
			out = append(out, map[bool]byte{true: 2, false: 3}[commit], producer)
			return err
		}
		return b.Each(1<<20, func(r *batch.Record) error {
			if r.Value == nil {
				out = append(out, 1, producer)
				part(r.Key)
				return nil
			}
			out = append(out, 0, producer)
			part(r.Key)
			part(r.Value)
			return nil
		})
	})
	return out
}

// FuzzLoad loads whatever stands in a log. A machine may refuse it, but it must not panic, neither then nor when it is used.
func FuzzLoad(f *testing.F) {
	for seed := range uint64(8) {
		w := newWorld(f, seed+1, true)
		addClassicClients(w)
		addConsumerClients(w)
		addOffsetClients(w)
		for range 60 {
			w.step(w.between(0, time.Second))
		}
		f.Add(fuzzLog(w.log))
		w.run.Close()
	}
	for _, typ := range []record.Type{record.TypeShareGroupMetadata, record.TypeStreamsGroupMetadata} {
		key := record.Key{Type: typ, Group: "g0"}.Append(nil)
		f.Add(append([]byte{1, 0, 0, byte(len(key))}, key...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		opt := simOptions(rand.New(rand.NewPCG(1, 1)))
		opt.Offsets.Retention = time.Hour
		m, log, offset, bad := New(opt, 0), coordtest.NewLog(1, false), int64(0), false
		parseFuzzLog(b, func(producer int64, key, value []byte) {
			if bad = bad || key == nil || m.Apply(coord.Record{Key: key, Value: value}, coord.Origin{Offset: offset, ProducerID: producer}) != nil; bad {
				return
			}
			build := batch.NewBuilder(codec.None)
			if producer >= 0 {
				build.Producer(producer, 0, batch.NoSequence).Transactional()
			}
			if err := log.Append(build.Append(1_700_000_000_000, key, value).Bytes(), none{}); err != nil {
				t.Fatal(err)
			}
			offset++
		}, func(producer int64, commit bool) {
			if bad || producer < 0 {
				return
			}
			if err := m.EndTransaction(producer, 0, commit, coord.Origin{Offset: offset}); err != nil {
				t.Fatal(err)
			}
			if err := log.Append(batch.EndTransactionMarker(commit, 1, producer, 0, 1_700_000_000_000), none{}); err != nil {
				t.Fatal(err)
			}
			offset++
		})
		if bad || offset == 0 {
			return
		}
		var complaints bytes.Buffer
		c := clock.NewManual(time.UnixMilli(1_700_000_000_000))
		run := coord.NewRuntime(coord.Options[*Machine]{Topic: "__consumer_offsets", New: func(p int32) *Machine { return New(opt, p) }, Clock: c, Codec: codec.None,
			Logger: slog.New(slog.NewTextHandler(&complaints, &slog.HandlerOptions{Level: slog.LevelError}))})
		run.SetPartitions(1)
		run.Serve(0, log)
		run.WaitLoaded()
		ignore := func() func(*kmsg.JoinGroupResponse, error) { return func(*kmsg.JoinGroupResponse, error) {} }()
		for range 2 {
			_ = run.DoAt(0, func(c *coord.Context, m *Machine) {
				if live, copied := dump(nil, m, m), dump(nil, m, m); !bytes.Equal(live, copied) {
					t.Error("a dump differs from itself")
				}
				for _, id := range m.names() {
					m.Describe(c, 6, id, func(kmsg.DescribeGroupsResponseGroup, error) {})
					q := kmsg.NewOffsetFetchRequestGroup()
					q.Group = id
					m.FetchOffsets(c, 9, true, &q, func(kmsg.OffsetFetchResponseGroup, error) {})
					join := joinRequest(id, "")
					join.Version = 3
					m.Join(c, Client{"c", "/h"}, join, ignore)
					if g := m.find(id); g != nil && g.classic != nil {
						for _, x := range g.classic.members {
							again := joinRequest(id, x.id)
							again.InstanceID = x.instance
							m.Join(c, Client{"c", "/h"}, again, ignore)
							break
						}
					}
				}
				m.List(c, nil, nil, func([]kmsg.ListGroupsResponseGroup, error) {})
			})
			c.Advance(20 * time.Minute)
			run.WaitLoaded()
		}
		c.Advance(2 * time.Hour)
		_ = run.DoAt(0, func(c *coord.Context, m *Machine) {
			for _, id := range m.names() {
				m.Delete(c, id, func(int16, error) {})
			}
		})
		run.WaitLoaded()
		run.Close()
		if complaints.Len() > 0 {
			t.Fatal(complaints.String())
		}
	})
}

type none struct{}

func (none) Synced(error) {}
