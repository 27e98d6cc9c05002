//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/benchmarks/loadgen"
)

func startFloor(t *testing.T, durable bool) (address, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "floor.log")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(f, durable)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- s.serve(listener) }()
	t.Cleanup(func() { _ = listener.Close(); <-served; close(s.kick) })
	return listener.Addr().String(), file
}

// TestEveryFrameIsInTheFile sends over several connections and finds exactly the prepared frames, whole.
func TestEveryFrameIsInTheFile(t *testing.T) {
	for _, durable := range []bool{true, false} {
		for version := int16(minVersion); version <= maxVersion; version++ {
			address, file := startFloor(t, durable)
			request, err := loadgen.Prepare(version, loadgen.Target{Topic: "floor"}, loadgen.Batch(3, 300, time.Now()), 3)
			if err != nil {
				t.Fatal(err)
			}
			const frames = 100
			result, err := loadgen.Run(t.Context(), loadgen.Options{Address: address, Requests: []*loadgen.Prepared{request}, Connections: 3, InFlight: 4, Frames: frames})
			if err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
			if result.Frames < frames || result.Latency.Count() != uint64(result.Frames) {
				t.Fatalf("version %d: %d frames and %d latencies counted, expected at least %d", version, result.Frames, result.Latency.Count(), frames)
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := request.Clone().Frame[4:]
			if len(content)%len(want) != 0 || len(content)/len(want) < frames {
				t.Fatalf("version %d: file of %d bytes, expected a multiple of %d", version, len(content), len(want))
			}
			for chunk := range bytesChunks(content, len(want)) {
				copy(chunk[4:8], want[4:8]) // the correlation id differs
				if !bytes.Equal(chunk, want) {
					t.Fatalf("version %d: a frame in the file differs from the one sent", version)
				}
			}
		}
	}
}

func bytesChunks(b []byte, size int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 && yield(b[:size]) {
			b = b[size:]
		}
	}
}

// TestAnswersDecode reads every canned answer as a client library does.
func TestAnswersDecode(t *testing.T) {
	answers := buildAnswers()
	for version := int16(minVersion); version <= maxVersion; version++ {
		answer := answers[version]
		if got := int(binary.BigEndian.Uint32(answer)); got != len(answer)-4 {
			t.Fatalf("version %d: length prefix %d of %d bytes", version, got, len(answer)-4)
		}
		response := kmsg.NewPtrProduceResponse()
		response.Version = version
		body := answer[8:]
		if response.IsFlexible() {
			body = body[1:]
		}
		if err := response.ReadFrom(body); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 || response.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Fatalf("version %d: %+v", version, response)
		}
	}
}

// TestForeignBytesCloseTheConnection sends what no Produce request can be.
func TestForeignBytesCloseTheConnection(t *testing.T) {
	address, _ := startFloor(t, true)
	for _, frame := range [][]byte{
		{0, 0, 0, 3, 1, 2, 3},
		{0xff, 0xff, 0xff, 0xff},
		{0, 0, 0, 8, 0, 0, 0x7f, 0xff, 0, 0, 0, 1},
		{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1},
	} {
		socket, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := socket.Write(frame); err != nil {
			t.Fatal(err)
		}
		if n, err := socket.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatalf("% x was answered", frame)
		}
		_ = socket.Close()
	}
}
