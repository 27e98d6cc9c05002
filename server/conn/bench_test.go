package conn

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/gregor-broker/gregor/wire"
)

// BenchmarkRoundTrip has some connections with one 1,100-byte request each in flight and a 50-byte answer.
func BenchmarkRoundTrip(b *testing.B) {
	answer := wire.Bytes(make([]byte, 41))
	for name, handle := range map[string]wire.Handler{
		"ready":   func(*wire.Request) wire.Reply { return answer },
		"waiting": wokenElsewhere(b),
	} {
		for _, conns := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/conns=%d", name, conns), func(b *testing.B) {
				h := serve(b, Options{}, slog.LevelInfo, handle)
				b.ReportAllocs()
				b.SetBytes(1100)
				drive(b, h, conns, 1, 1100-23)
			})
		}
	}
}

// BenchmarkPipelined has one connection with several requests in flight.
func BenchmarkPipelined(b *testing.B) {
	answer := wire.Bytes(make([]byte, 41))
	for _, size := range []int{100, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			h := serve(b, Options{}, slog.LevelInfo, func(*wire.Request) wire.Reply { return answer })
			b.ReportAllocs()
			b.SetBytes(int64(size))
			drive(b, h, 1, 5, size)
		})
	}
}

// wokenElsewhere returns a handler whose replies are woken by another goroutine, as a sync worker does.
func wokenElsewhere(b *testing.B) wire.Handler {
	wakers := make(chan wire.Waker, 1024)
	b.Cleanup(func() { close(wakers) })
	go func() {
		for w := range wakers {
			w.Wake()
		}
	}()
	return func(*wire.Request) wire.Reply { return waker(wakers) }
}

// drive sends b.N requests over conns connections with depth in flight on each.
func drive(b *testing.B, h *harness, conns, depth, size int) {
	frame := request(1, bytes.Repeat([]byte("x"), size))
	var clients []net.Conn
	for range conns {
		nc, err := net.Dial("tcp", h.address)
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		clients = append(clients, nc)
	}
	b.ResetTimer()
	var all sync.WaitGroup
	for i, nc := range clients {
		n := b.N / conns
		if i < b.N%conns {
			n++
		}
		free := make(chan struct{}, depth)
		all.Go(func() {
			for range n {
				free <- struct{}{}
				if _, err := nc.Write(frame); err != nil {
					b.Error(err)
					return
				}
			}
		})
		all.Go(func() {
			response := make([]byte, 64<<10)
			for got := 0; got < n; got++ {
				if _, err := io.ReadFull(nc, response[:4]); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(nc, response[:response[3]]); err != nil {
					b.Error(err)
					return
				}
				<-free
			}
		})
	}
	all.Wait()
	b.StopTimer()
}
