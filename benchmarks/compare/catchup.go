//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
	"github.com/gregor-broker/gregor/benchmarks/loadgen"
	"github.com/gregor-broker/gregor/benchmarks/procstat"
)

// The bars of reading history, against the same bytes without a broker.
const (
	leastOfLoopback = 0.9
	leastOfDisk     = 0.8
)

const (
	fetchBatches  = 4 // batches of 1 MiB in one response
	fetchInFlight = 2
	fetchVersion  = 12
	readChunk     = 1 << 20
)

var (
	catchUpColumns = []string{"of_loopback", "fetch_mb_per_s", "loopback_mb_per_s", "server_cpu_us_per_mb", "max_rss_anon_mib", "other_cpu_percent", "steal_percent"}
	coldColumns    = []string{"of_disk", "fetch_mb_per_s", "disk_mb_per_s", "other_cpu_percent", "steal_percent"}
)

func catchUpBars() []bar {
	return []bar{{metric: "of_loopback", atLeast: leastOfLoopback}, leastMemory()}
}
func coldBars() []bar { return []bar{{metric: "of_disk", atLeast: leastOfDisk}} }

// history is what a fill left: batches of one size.
type history struct {
	batches int64
	batch   int // bytes
	records int // per batch
}

// fillHistory writes the history that is read afterwards.
func (b *bench) fillHistory(ctx context.Context, s *contestant.Server, topicID [16]byte) (history, error) {
	records := loadgen.RecordsThatFit(b.settings.RecordBytes, largeBatch)
	h := history{batch: len(loadgen.Batch(records, b.settings.RecordBytes, time.Now())), records: records}
	h.batches = int64(b.settings.CatchUpGB*1e9)/int64(h.batch)/fetchBatches*fetchBatches + fetchBatches
	request, err := b.prepare(topicID, records)
	if err != nil {
		return h, err
	}
	_, err = loadgen.Run(ctx, loadgen.Options{Address: s.Address, Requests: []*loadgen.Prepared{request}, Connections: 1, InFlight: 1, Frames: h.batches})
	return h, err
}

func (h history) bytes() int64 { return h.batches * int64(h.batch) }

// runCatchUp reads history that is in the page cache, and in turn the same files without a broker: mapped, and written to
// a loopback connection in pieces of the same size on request.
func runCatchUp(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	m := metrics{}
	err := running(ctx, s, func(topicID [16]byte) error {
		h, err := b.fillHistory(ctx, s, topicID)
		if err != nil {
			return err
		}
		files, err := mapSegments(s.Dir)
		if err != nil {
			return err
		}
		defer files.close()
		plain, err := serveFiles(files, h)
		if err != nil {
			return err
		}
		defer plain.Close()
		var fetch, loopback time.Duration
		var began, ended usage
		for pass := range 3 {
			l, err := readAll(ctx, plain.Addr().String(), h)
			if err != nil {
				return fmt.Errorf("loopback: %w", err)
			}
			before, err := takeUsage(s)
			if err != nil {
				return err
			}
			f, err := readAll(ctx, s.Address, h)
			if err != nil {
				return fmt.Errorf("fetch: %w", err)
			}
			if pass == 0 {
				continue // warm-up of both
			}
			if ended, err = takeUsage(s); err != nil {
				return err
			}
			began = before
			fetch, loopback = fetch+f, loopback+l
		}
		for name, value := range ended.since(began, float64(h.bytes())/1e6, "mb") {
			m[name] = value
		}
		m["fetch_mb_per_s"] = 2 * float64(h.bytes()) / 1e6 / fetch.Seconds()
		m["loopback_mb_per_s"] = 2 * float64(h.bytes()) / 1e6 / loopback.Seconds()
		m["of_loopback"] = ratio(loopback.Seconds(), fetch.Seconds())
		memory, err := takeMemory(s)
		m["max_rss_anon_mib"] = memory
		return err
	})
	return m, err
}

// runCold reads history from the disk: once plainly, once through the broker, each behind an emptied page cache.
func runCold(ctx context.Context, b *bench, s *contestant.Server) (metrics, error) {
	var h history
	if err := running(ctx, s, func(topicID [16]byte) (err error) {
		h, err = b.fillHistory(ctx, s, topicID)
		return err
	}); err != nil {
		return nil, err
	}
	if err := dropCaches(); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := readPlainly(s.Dir); err != nil {
		return nil, err
	}
	disk := time.Since(began)
	if err := dropCaches(); err != nil {
		return nil, err
	}
	m := metrics{}
	if _, err := s.Start(); err != nil {
		return nil, err
	}
	if err := s.AwaitListening(ctx); err != nil {
		return nil, err
	}
	before, err := takeUsage(s)
	if err == nil {
		var fetch time.Duration
		if fetch, err = readAll(ctx, s.Address, h); err == nil {
			m["fetch_mb_per_s"] = float64(h.bytes()) / 1e6 / fetch.Seconds()
			m["disk_mb_per_s"] = float64(h.bytes()) / 1e6 / disk.Seconds()
			m["of_disk"] = ratio(disk.Seconds(), fetch.Seconds())
		}
	}
	after, afterErr := takeUsage(s)
	if err := errors.Join(err, afterErr, s.Stop()); err != nil {
		return nil, err
	}
	for name, value := range after.since(before, float64(h.bytes())/1e6, "mb") {
		m[name] = value
	}
	return m, nil
}

// dropCaches empties the page cache; only root may.
func dropCaches() error {
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return fmt.Errorf("emptying the page cache (it takes root): %w", err)
	}
	return nil
}

// segments finds the history's log files in order.
func segments(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "data", topicName+"-0", "*.log"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no log files of %s below %s", topicName, dir)
	}
	slices.Sort(files)
	return files, err
}

func readPlainly(dir string) error {
	files, err := segments(dir)
	if err != nil {
		return err
	}
	buffer := make([]byte, readChunk)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		for err == nil {
			_, err = f.Read(buffer)
		}
		if err := errors.Join(f.Close(), notEOF(err)); err != nil {
			return err
		}
	}
	return nil
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// mapped are files that follow one another.
type mapped [][]byte

func mapSegments(dir string) (mapped, error) {
	names, err := segments(dir)
	if err != nil {
		return nil, err
	}
	var files mapped
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil && info.Size() > 0 {
			var data []byte
			if data, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE); err == nil {
				files = append(files, data)
			}
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (files mapped) close() {
	for _, data := range files {
		_ = unix.Munmap(data) // of a mapping of our own
	}
}

// serveFiles answers every request with the next response's worth of the files, a length before it. It ends with the
// listener.
func serveFiles(files mapped, h history) (net.Listener, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var head [4]byte
				request := make([]byte, 4<<10)
				left := files
				var at []byte
				for {
					if _, err := io.ReadFull(conn, head[:]); err != nil {
						return
					}
					if _, err := io.ReadFull(conn, request[:binary.BigEndian.Uint32(head[:])]); err != nil {
						return
					}
					need := fetchBatches * h.batch
					binary.BigEndian.PutUint32(head[:], uint32(need))
					out := net.Buffers{head[:]}
					for need > 0 {
						if len(at) == 0 {
							if len(left) == 0 {
								return
							}
							at, left = left[0], left[1:]
						}
						n := min(need, len(at))
						out = append(out, at[:n])
						at, need = at[n:], need-n
					}
					if _, err := out.WriteTo(conn); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener, nil
}

// batchRun is a run of batches that one request asks for.
type batchRun struct{ first, count int64 }

// readAll requests the whole history, a few responses ahead, and throws the bytes away. A response that ends with its
// segment is short; the rest is asked for again. It returns how long all of it took.
func readAll(ctx context.Context, address string, h history) (time.Duration, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		return 0, err
	}
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("compare"))
	var again, flying []batchRun
	next := int64(0)
	ask := func() error {
		var r batchRun
		switch {
		case len(again) > 0:
			r, again = again[0], again[1:]
		case next < h.batches:
			r = batchRun{next, fetchBatches}
			next += fetchBatches
		default:
			return nil
		}
		flying = append(flying, r)
		_, err := conn.Write(formatter.AppendRequest(nil, fetchOf(r, h), 1))
		return err
	}
	buffer := make([]byte, readChunk)
	began := time.Now()
	for range fetchInFlight {
		if err := ask(); err != nil {
			return 0, err
		}
	}
	for len(flying) > 0 {
		r := flying[0]
		flying = flying[1:]
		if _, err := io.ReadFull(conn, buffer[:4]); err != nil {
			return 0, err
		}
		size := int(binary.BigEndian.Uint32(buffer))
		got := int64(size / h.batch)
		if got == 0 || got > r.count {
			return 0, fmt.Errorf("response of %d bytes to a request of %d batches of %d", size, r.count, h.batch)
		}
		if got < r.count {
			again = append(again, batchRun{r.first + got, r.count - got})
		}
		for size > 0 {
			n, err := conn.Read(buffer[:min(size, len(buffer))])
			if err != nil {
				return 0, err
			}
			size -= n
		}
		if err := ask(); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// fetchOf is a Fetch outside of any session for exactly these batches.
func fetchOf(r batchRun, h history) *kmsg.FetchRequest {
	request := kmsg.NewPtrFetchRequest()
	request.Version = fetchVersion
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes = 1000, 1, 50<<20
	request.SessionEpoch = -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = topicName
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.FetchOffset, partition.PartitionMaxBytes = r.first*int64(h.records), int32(int(r.count)*h.batch)
	partition.CurrentLeaderEpoch, partition.LastFetchedEpoch, partition.LogStartOffset = -1, -1, -1
	topic.Partitions = append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	return request
}

// takeMemory is the private memory of a running server in MiB.
func takeMemory(s *contestant.Server) (float64, error) {
	m, err := procstat.ReadMemory(s.PID())
	return mib(m.RSSAnon), err
}
