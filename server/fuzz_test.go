package server_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// exchange sends one frame of garbage and takes what comes: an answer, or the
// end of the connection. Then the broker must still serve others.
func exchange(t *testing.T, m *memory, frame []byte, silent bool) {
	t.Helper()
	c := m.listener.dial(t)
	defer c.Close()
	patience := 20 * time.Second
	if silent {
		patience = 100 * time.Millisecond // a fetch may ask to wait for days
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	p := binary.BigEndian.AppendUint32(nil, uint32(len(frame)))
	// A second request, whose answer ends the wait for a silent first one.
	last := kmsg.NewPtrApiVersionsRequest()
	p = append(p, frame...)
	p = append(p, kmsg.NewRequestFormatter().AppendRequest(nil, last, 77)...)
	go func() { _, _ = c.Write(p) }()
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() && !silent {
				t.Fatalf("neither answered nor closed: %x", frame)
			}
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		if len(body) >= 4 && binary.BigEndian.Uint32(body) == 77 {
			return
		}
	}
}

// alive fails when the broker logged a panic away or serves nobody any more.
func alive(t *testing.T, m *memory) {
	t.Helper()
	if got := m.dial(t).table(); len(got) == 0 {
		t.Fatal("the broker serves nothing")
	}
}

// FuzzDispatch throws frames at the whole way from the connection through the
// header to every handler.
func FuzzDispatch(f *testing.F) {
	m := startMemory(f, nil, "auto.create.topics.enable=false", "num.partitions=1")
	p := m.dial(f)
	p.createTopic("topic", 2)
	p.produced("topic", 0, records(time.Now(), "a", "b"))
	for _, k := range p.table() {
		for _, v := range []int16{k.MinVersion, k.MaxVersion} {
			r := kmsg.RequestForKey(k.ApiKey)
			r.SetVersion(v)
			f.Add(p.frame(r)[4:])
		}
	}
	f.Add(p.frame(produceTo("topic", 0, -1, records(time.Now(), "a")))[4:])
	f.Add(p.frame(fetchFrom("topic", 0, 0, 0))[4:])
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) == 0 || len(frame) > 1<<16 {
			return
		}
		exchange(t, m, frame, true)
		alive(t, m)
	})
}

// FuzzColdRequest throws bodies at every handler but Produce's and Fetch's, with
// a right header, so that more of them get as far as the handler.
func FuzzColdRequest(f *testing.F) {
	m := startMemory(f, nil, "auto.create.topics.enable=false")
	p := m.dial(f)
	p.createTopic("topic", 2)
	p.produced("topic", 0, records(time.Now(), "a", "b"))
	for _, k := range p.table() {
		for v := k.MinVersion; v <= k.MaxVersion; v++ {
			r := kmsg.RequestForKey(k.ApiKey)
			r.SetVersion(v)
			f.Add(k.ApiKey, v, r.AppendTo(nil))
			if r := named(k.ApiKey); r != nil {
				r.SetVersion(v)
				f.Add(k.ApiKey, v, r.AppendTo(nil))
			}
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		r := kmsg.RequestForKey(key)
		if r == nil || key < 2 || version < 0 || version > r.MaxVersion() || len(body) > 1<<16 {
			return
		}
		r.SetVersion(version)
		frame := binary.BigEndian.AppendUint16(nil, uint16(key))
		frame = binary.BigEndian.AppendUint16(frame, uint16(version))
		frame = append(frame, 0, 0, 0, 1, 0xff, 0xff)
		if r.IsFlexible() {
			frame = append(frame, 0)
		}
		exchange(t, m, append(frame, body...), false)
	})
}

// named is a request that names the topic there is.
func named(key int16) kmsg.Request {
	name := "topic"
	switch r := kmsg.RequestForKey(key).(type) {
	case *kmsg.ListOffsetsRequest:
		r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{CurrentLeaderEpoch: -1, Timestamp: -1}}}}
		return r
	case *kmsg.MetadataRequest:
		r.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
		return r
	case *kmsg.OffsetForLeaderEpochRequest:
		r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: -1}}}}
		return r
	case *kmsg.DescribeConfigsRequest:
		r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: 2, ResourceName: name}, {ResourceType: 4, ResourceName: "1"}}
		return r
	case *kmsg.DescribeTopicPartitionsRequest:
		r.ResponsePartitionLimit, r.Topics = 1, []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: name}}
		return r
	case *kmsg.DeleteRecordsRequest:
		r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 1}}}}
		return r
	case *kmsg.DescribeLogDirsRequest:
		r.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: name, Partitions: []int32{0, 1}}}
		return r
	}
	return nil
}
