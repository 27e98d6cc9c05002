//go:build linux

package loadgen

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// fakeServer answers every request with what reply returns, in one write; nil closes the connection.
func fakeServer(t *testing.T, reply func(correlation int32) []byte) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			socket, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer socket.Close()
				in := bufio.NewReader(socket)
				var head [12]byte
				for {
					if _, err := io.ReadFull(in, head[:]); err != nil {
						return
					}
					if _, err := in.Discard(int(binary.BigEndian.Uint32(head[:])) - 8); err != nil {
						return
					}
					body := reply(int32(binary.BigEndian.Uint32(head[8:])))
					if body == nil {
						return
					}
					if _, err := socket.Write(body); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func framed(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func request(t *testing.T, version int16, size int) []*Prepared {
	t.Helper()
	p, err := Prepare(version, Target{Topic: "run"}, Batch(1, size, time.Now()), 1)
	if err != nil {
		t.Fatal(err)
	}
	return []*Prepared{p}
}

// TestRunCounts checks the figures of a run with large requests, whose writes and answers come in pieces.
func TestRunCounts(t *testing.T) {
	address := fakeServer(t, func(correlation int32) []byte {
		answer := answerOf(9, correlation, 0)
		return framed(append(answer, make([]byte, 2*receiveBuffer)...)) // larger than the buffer the loop begins with
	})
	measured := 0
	requests := request(t, 9, 3<<20)
	r, err := Run(t.Context(), Options{Address: address, Requests: requests, Connections: 2, InFlight: 3, WarmupFrames: 5, Frames: 20, OnMeasure: func() { measured++ }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Frames < 20 || r.Records != r.Frames || r.Bytes != r.Frames*int64(len(requests[0].Frame)) || r.Latency.Count() != uint64(r.Frames) || measured != 1 {
		t.Fatalf("%d frames, %d records, %d bytes, %d latencies, %d calls of OnMeasure", r.Frames, r.Records, r.Bytes, r.Latency.Count(), measured)
	}
	if r.FramesPerSecond() <= 0 || r.ClientCPUPerFrame() < 0 || r.ServerCPUPerFrame() != 0 {
		t.Fatalf("rate %v, client %v, server %v", r.FramesPerSecond(), r.ClientCPUPerFrame(), r.ServerCPUPerFrame())
	}
}

// TestRunEndsByDuration ends without a number of frames.
func TestRunEndsByDuration(t *testing.T) {
	address := fakeServer(t, func(correlation int32) []byte { return framed(answerOf(7, correlation, 0)) })
	const duration = 30 * time.Millisecond
	r, err := Run(t.Context(), Options{Address: address, Requests: request(t, 7, 10), Connections: 1, InFlight: 1, Duration: duration})
	if err != nil {
		t.Fatal(err)
	}
	if r.Elapsed < duration || r.Frames == 0 {
		t.Fatalf("%d frames in %v, expected some in at least %v", r.Frames, r.Elapsed, duration)
	}
}

// TestRunRefusesBadAnswers wants an error, not a figure, whenever an answer is not the success it waits for.
func TestRunRefusesBadAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		reply func(correlation int32) []byte
		want  string
	}{
		"error code":        {func(c int32) []byte { return framed(answerOf(7, c, kerr.CorruptMessage.Code)) }, "CORRUPT_MESSAGE"},
		"wrong correlation": {func(c int32) []byte { return framed(answerOf(7, c+1, 0)) }, "correlation id"},
		"closed":            {func(int32) []byte { return nil }, "closed the connection"},
		"huge length":       {func(int32) []byte { return []byte{0x7f, 0, 0, 0} }, "expected at most"},
		"negative length":   {func(int32) []byte { return []byte{0xff, 0, 0, 0} }, "expected at most"},
		"short body":        {func(c int32) []byte { return framed(answerOf(7, c, 0)[:10]) }, "ends before"},
		"silence":           {func(int32) []byte { return []byte{} }, "no answer for"},
	} {
		_, err := Run(t.Context(), Options{Address: fakeServer(t, c.reply), Requests: request(t, 7, 10), Connections: 1, InFlight: 1, Frames: 1, StallAfter: 10 * time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), c.want) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v, expected an error about %q", name, err, c.want)
		}
	}
}

func TestRunRefusesBadOptions(t *testing.T) {
	for _, o := range []Options{
		{Connections: 1, InFlight: 1, Frames: 1},
		{Requests: request(t, 7, 1), InFlight: 1, Frames: 1},
		{Requests: request(t, 7, 1), Connections: 1, Frames: 1},
		{Requests: request(t, 7, 1), Connections: 1, InFlight: 1},
	} {
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	address := fakeServer(t, func(int32) []byte { return []byte{} })
	if _, err := Run(ctx, Options{Address: address, Requests: request(t, 7, 1), Connections: 1, InFlight: 1, Frames: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v", err)
	}
}
