package suites

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/raw"
	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hostile is what clients do who mean no good, or are broken. After each, normal work goes on and memory is bounded.
func hostile(s *rig.S) {
	s.With(func(b *rig.Broker) {
		var base int64
		s.Test("baseline", time.Minute, func(t *rig.T) {
			normalWork(t, b)
			var err error
			base, err = b.Anonymous()
			t.Must(err, "rss")
		})
		hostileTest := func(name string, f func(t *rig.T)) {
			s.Test(name, 2*time.Minute, func(t *rig.T) {
				f(t)
				normalWork(t, b)
				bounded(t, b, base)
			})
		}
		hostileTest("garbage", func(t *rig.T) { garbage(t, b) })
		hostileTest("length/huge", func(t *rig.T) { mustClose(t, b, lengthFrame(math.MaxInt32)) })
		hostileTest("length/over-the-limit", func(t *rig.T) { mustClose(t, b, lengthFrame(100<<20+1)) })
		hostileTest("length/negative", func(t *rig.T) { mustClose(t, b, lengthFrame(-1)) })
		hostileTest("length/zero", func(t *rig.T) { mustClose(t, b, lengthFrame(0)) })
		hostileTest("length/promised-and-not-sent", func(t *rig.T) {
			count := 50
			if t.Kind == rig.Kafka {
				count = 2 // it takes the memory at once
			}
			for range count {
				send(t, b, append(lengthFrame(90<<20), 0, 0, 0, 9, 0, 0))
			}
			normalWork(t, b)
			bounded(t, b, base)
		})
		hostileTest("half-a-frame", func(t *rig.T) {
			for i := range 100 {
				send(t, b, (&kmsg.RequestFormatter{}).AppendRequest(nil, metadataRequest(), 1)[:5+i%8])
			}
			normalWork(t, b)
		})
		hostileTest("byte-by-byte", func(t *rig.T) {
			c := send(t, b, nil)
			for _, octet := range (&kmsg.RequestFormatter{}).AppendRequest(nil, metadataRequest(), 7) {
				_, err := c.Write([]byte{octet})
				t.Must(err, "write")
			}
			var head [8]byte
			_, err := io.ReadFull(c, head[:])
			t.Must(err, "the answer")
			if id := binary.BigEndian.Uint32(head[4:]); id != 7 {
				t.Fatalf("correlation id %d, expected 7", id)
			}
		})
		hostileTest("array-counts", func(t *rig.T) { arrayCounts(t, b) })
		hostileTest("unknown-key-and-version", func(t *rig.T) { unknownVersions(t, b) })
		hostileTest("bad-crc", func(t *rig.T) { badBatches(t, b) })
		hostileTest("bomb", func(t *rig.T) { bomb(t, b) })
		hostileTest("idle-connections", func(t *rig.T) {
			for range 1000 {
				send(t, b, nil)
			}
			normalWork(t, b)
			bounded(t, b, base)
		})
		hostileTest("never-reads", func(t *rig.T) { neverReads(t, b, base) })
		hostileTest("leaves-at-once", func(t *rig.T) {
			frame := (&kmsg.RequestFormatter{}).AppendRequest(nil, metadataRequest(), 1)
			for range 500 {
				_ = send(t, b, frame).Close()
			}
		})
	})
}

// send connects, writes and leaves the connection open until the test is over.
func send(t *rig.T, b *rig.Broker, frame []byte) net.Conn {
	c, err := raw.Dial(t.Context(), b.Addr)
	t.Must(err, "connect")
	t.Cleanup(func() { _ = c.Close() })
	if len(frame) > 0 {
		_, err = c.Write(frame)
		t.Must(err, "write")
	}
	return c
}

func lengthFrame(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func metadataRequest() *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.SetVersion(9)
	return r
}

// mustClose sends frame and expects the broker to hang up soon.
func mustClose(t *rig.T, b *rig.Broker, frame []byte) {
	c := send(t, b, frame)
	_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
	if n, err := c.Read(make([]byte, 64)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after %x the connection is still open: %d bytes, %v", frame, n, err)
	}
}

// normalWork is a new client's create, produce and fetch.
func normalWork(t *rig.T, b *rig.Broker) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	topic := rig.Name("hostile")
	createTopic(t, b, topic, 1, nil)
	cl := newClient(t, b)
	for i := range 10 {
		t.Must(cl.ProduceSync(ctx, record(topic, 0, i)).FirstErr(), "produce")
	}
	records, err := readAll(ctx, b.Addr, topic, 0, 0, 10)
	t.Must(err, "fetch")
	for i, r := range records {
		checkRecord(t, r, int64(i), i)
	}
}

// bounded holds the broker's anonymous memory against what it needed before anybody was hostile.
func bounded(t *rig.T, b *rig.Broker, base int64) {
	limit := base + 128<<20
	if t.Kind == rig.Kafka {
		limit = 1 << 30
	}
	now, err := b.Anonymous()
	t.Must(err, "rss")
	if now > limit {
		t.Fatalf("%d MiB of anonymous memory, %d MiB before", now>>20, base>>20)
	}
}

func garbage(t *rig.T, b *rig.Broker) {
	source := rand.NewChaCha8([32]byte{7})
	for i := range 100 {
		c, err := raw.Dial(t.Context(), b.Addr)
		t.Must(err, "connect")
		frame := make([]byte, 4+i*7)
		_, _ = source.Read(frame)
		if i%2 == 0 {
			binary.BigEndian.PutUint32(frame, uint32(len(frame)-4)) // a good length before the garbage
		}
		_, _ = c.Write(frame) // the broker may have hung up
		_ = c.Close()
	}
	_, _ = send(t, b, []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")).Read(make([]byte, 1))
}

// arrayCounts sends requests whose arrays claim two thousand million elements.
func arrayCounts(t *rig.T, b *rig.Broker) {
	head := func(key, version int16) []byte {
		out := binary.BigEndian.AppendUint16(nil, uint16(key))
		out = binary.BigEndian.AppendUint16(out, uint16(version))
		out = binary.BigEndian.AppendUint32(out, 1)
		return binary.BigEndian.AppendUint16(out, 0xffff) // no client id
	}
	most := []byte{0x7f, 0xff, 0xff, 0xff}
	bodies := [][]byte{
		append(head(3, 1), most...),                                                       // Metadata topics
		append(append(head(0, 3), 0xff, 0xff, 0, 1, 0, 0, 0, 9), most...),                 // Produce topics
		append(append(head(1, 4), make([]byte, 17)...), most...),                          // Fetch topics
		append(append(head(2, 1), 0xff, 0xff, 0xff, 0xff), most...),                       // ListOffsets topics
		append(head(19, 2), most...),                                                      // CreateTopics topics
		append(append(head(3, 9), 0), 0xff, 0xff, 0xff, 0xff, 0x0f),                       // Metadata topics, compact
		append(append(head(3, 9), 0xff, 0xff, 0xff, 0xff, 0x0f), 1, 1, 1),                 // tags of the header
		append(append(head(32, 1), most...), 2, 0x7f, 0xff),                               // DescribeConfigs resources
		append(append(head(0, 3), 0x7f, 0xff), bytes.Repeat([]byte{1}, 20)...),            // Produce, a string beyond the end
		append(append(head(18, 3), 0), 0xff, 0xff, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0), // ApiVersions, strings
	}
	for _, body := range bodies {
		c := send(t, b, append(lengthFrame(int32(len(body))), body...))
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 64)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %x neither an answer nor an end", body)
		}
	}
}

// unknownVersions: ApiVersions of any version is answered in version 0 with error 35 (KIP-511); anything else unknown
// ends the connection.
func unknownVersions(t *rig.T, b *rig.Broker) {
	for _, version := range []uint16{5, 1000, 32767} {
		frame := append(lengthFrame(13), 0, 18)
		frame = binary.BigEndian.AppendUint16(frame, version)
		frame = append(frame, 0, 0, 0, 9, 0xff, 0xff, 0, 0xab, 0xcd) // no client id, no tags, a body nobody knows
		c := send(t, b, frame)
		answer, err := c.(*raw.Conn).Frame()
		t.Must(err, fmt.Sprintf("ApiVersions version %d", version))
		var resp kmsg.ApiVersionsResponse
		t.Must(resp.ReadFrom(answer[4:]), "ApiVersions in version 0")
		if resp.ErrorCode != 35 || len(resp.ApiKeys) == 0 {
			t.Fatalf("ApiVersions version %d: error code %d, %d keys", version, resp.ErrorCode, len(resp.ApiKeys))
		}
	}
	mustClose(t, b, append(lengthFrame(10), 0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff))
	mustClose(t, b, append(lengthFrame(10), 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff))
	mustClose(t, b, append(lengthFrame(10), 0, 4, 0, 0, 0, 0, 0, 1, 0xff, 0xff))
}

// badBatches are refused with the error codes of Kafka, and leave nothing behind.
func badBatches(t *rig.T, b *rig.Broker) {
	topic := rig.Name("hostile-batches")
	createTopic(t, b, topic, 1, nil)
	c, err := raw.Dial(t.Context(), b.Addr)
	t.Must(err, "connect")
	t.Cleanup(func() { _ = c.Close() })
	good := func() []byte { return raw.Batch([]byte("one"), []byte("two")) }
	crc := func(batch []byte) []byte {
		binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
		return batch
	}
	flip := func(at int) []byte {
		batch := good()
		batch[at] ^= 0x40
		return batch
	}
	count := good()
	binary.BigEndian.PutUint32(count[57:], 3)
	const corruptMessage, invalidRecord = 2, 87
	for name, bad := range map[string]struct {
		batch []byte
		codes []int16
	}{
		"a flipped payload":       {flip(len(good()) - 2), []int16{corruptMessage}},
		"a wrong checksum":        {flip(18), []int16{corruptMessage}},
		"one record too many":     {crc(count), []int16{invalidRecord, corruptMessage}},
		"two batches":             {append(good(), good()...), []int16{invalidRecord}},
		"no batch":                {[]byte{}, []int16{invalidRecord, corruptMessage, 0}},
		"a cut batch":             {good()[:40], []int16{invalidRecord, corruptMessage}},
		"an old message format":   {func() []byte { x := good(); x[16] = 1; return x }(), []int16{invalidRecord, corruptMessage}},
		"a format of the future":  {func() []byte { x := good(); x[16] = 9; return x }(), []int16{invalidRecord, corruptMessage}},
		"a control batch":         {func() []byte { x := good(); x[22] |= 0x20; return crc(x) }(), []int16{invalidRecord}},
		"an unknown codec":        {func() []byte { x := good(); x[22] |= 6; return crc(x) }(), []int16{invalidRecord, corruptMessage, 76, -1}},
		"gzip that is none":       {func() []byte { x := good(); x[22] |= 1; return crc(x) }(), []int16{invalidRecord, corruptMessage, -1}},
		"a batch length too long": {func() []byte { x := good(); x[10] = 0x7f; return x }(), []int16{invalidRecord, corruptMessage}},
	} {
		_, code, err := c.Produce(topic, 0, bad.batch)
		if err != nil {
			// Hanging up on it is an answer too; then go on with a new connection.
			if c, err = raw.Dial(t.Context(), b.Addr); err != nil {
				t.Fatalf("connect after %s: %w", name, err)
			}
			t.Cleanup(func() { _ = c.Close() })
			if t.Kind == rig.Gregor {
				t.Fatalf("%s: the connection was closed, expected one of the error codes %d", name, bad.codes)
			}
			continue
		}
		found := false
		for _, want := range bad.codes {
			found = found || code == want
		}
		if !found {
			t.Fatalf("%s: error code %d, expected one of %d", name, code, bad.codes)
		}
	}
	offset, code, err := c.Produce(topic, 0, good())
	t.Must(err, "a good batch")
	if code != 0 || offset != 0 {
		t.Fatalf("a good batch after bad ones: error code %d, offset %d, expected offset 0", code, offset)
	}
}

// bomb is a batch of one megabyte that says it is a gigabyte: whatever the answer, the broker must not make room for it.
func bomb(t *rig.T, b *rig.Broker) {
	topic := rig.Name("hostile-bomb")
	createTopic(t, b, topic, 1, map[string]string{"max.message.bytes": "4194304"})
	var squeezed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&squeezed, gzip.BestSpeed)
	zeros := make([]byte, 1<<20)
	for range 256 {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	batch := raw.Batch([]byte("x"))[:61]
	binary.BigEndian.PutUint32(batch[8:], uint32(49+squeezed.Len()))
	batch[22] |= 1
	batch = append(batch, squeezed.Bytes()...)
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	for range 8 {
		c := send(t, b, nil).(*raw.Conn)
		_, code, err := c.Produce(topic, 0, batch)
		if err == nil && code == 0 {
			t.Fatalf("a batch of zeros was taken")
		}
	}
}

// neverReads asks for gigabytes on fifty connections and takes none of it.
func neverReads(t *rig.T, b *rig.Broker, base int64) {
	topic := rig.Name("hostile-reads")
	createTopic(t, b, topic, 1, nil)
	cl := newClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := make([]byte, 500_000)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(value)
	for range 40 {
		t.Must(cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: value}).FirstErr(), "produce")
	}
	var frames []byte
	for i := range 200 {
		frames = (&kmsg.RequestFormatter{}).AppendRequest(frames, raw.FetchRequest(topic, 0, 0, 20<<20), int32(i))
	}
	for range 50 {
		c := send(t, b, nil)
		_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // a broker that does not read either is right
		if _, err := c.Write(frames); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Must(err, "write")
		}
	}
	normalWork(t, b)
	bounded(t, b, base)
}
