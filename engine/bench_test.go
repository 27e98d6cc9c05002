package engine

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// benchStore is a store with one log on the real disk.
func benchStore(b *testing.B, c LogConfig, cache int64) (*Store, *Log, string) {
	b.Helper()
	dir := b.TempDir()
	st, err := Open(Options{Dirs: []string{dir}, CacheBytes: cache})
	if err != nil {
		b.Fatal(err)
	}
	c.RetentionMs, c.RetentionBytes = -1, -1
	l, err := st.CreateLog(dir, "bench-0", ID{1}, c)
	if err != nil {
		b.Fatal(err)
	}
	return st, l, dir
}

// benchBatch has n records of size bytes.
func benchBatch(n, size int) batch.Batch {
	b := batch.NewBuilder(codec.None)
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	for i := range n {
		b.Append(epochStart.UnixMilli()+int64(i), nil, value)
	}
	return b.Bytes()
}

// BenchmarkAppend waits for durability with each batch, from several appenders
// that share syncs.
func BenchmarkAppend(b *testing.B) {
	for _, kind := range []struct {
		name    string
		n, size int
	}{{"1x1KiB", 1, 1024}, {"100x100B", 100, 100}, {"1024x1KiB", 1024, 1024}} {
		for _, appenders := range []int{1, 16, 64, 256} {
			if kind.n > 1000 && appenders > 16 {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d", kind.name, appenders), func(b *testing.B) {
				st, l, _ := benchStore(b, LogConfig{SegmentBytes: 256 << 20}, 0)
				b.SetBytes(int64(len(benchBatch(kind.n, kind.size))))
				b.ReportAllocs()
				var left atomic.Int64
				left.Store(int64(b.N))
				finished := make(chan error, appenders)
				b.ResetTimer()
				for range appenders {
					go func() {
						p, done := benchBatch(kind.n, kind.size), make(waitChannel, 1)
						for left.Add(-1) >= 0 {
							_, err := l.Append(p, AppendOptions{Rules: &batch.Rules{}}, done)
							if err == nil {
								err = <-done
							}
							if err != nil {
								finished <- err
								return
							}
						}
						finished <- nil
					}()
				}
				for range appenders {
					if err := <-finished; err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(kind.n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
				if err := st.Close(1); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// BenchmarkAppendRelaxed does not wait for the disk: what the engine itself costs.
func BenchmarkAppendRelaxed(b *testing.B) {
	for _, kind := range []struct{ n, size int }{{1, 1024}, {100, 100}, {1024, 1024}} {
		b.Run(fmt.Sprintf("%dx%d", kind.n, kind.size), func(b *testing.B) {
			st, l, _ := benchStore(b, LogConfig{SegmentBytes: 256 << 20, FlushMessages: 1 << 40}, 0)
			p, done := benchBatch(kind.n, kind.size), make(waitChannel, 1)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := l.Append(p, AppendOptions{Rules: &batch.Rules{}}, done); err != nil {
					b.Fatal(err)
				}
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			if err := st.Close(1); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkRawSync is what the disk takes for a write and an fdatasync: the
// floor of an append.
func BenchmarkRawSync(b *testing.B) {
	for _, size := range []int{1100, 12 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f, err := vfs.OS.OpenFile(filepath.Join(b.TempDir(), "raw"), os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			p := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := range b.N {
				if _, err := f.WriteAt(p, int64(i%256)*int64(size)); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// history fills a log with total bytes in batches of 16 KiB.
func history(b *testing.B, l *Log, total int64) {
	b.Helper()
	p := benchBatch(16, 1000)
	done := make(waitChannel, 1)
	for l.Size() < total {
		if _, err := l.Append(p, AppendOptions{Checked: true}, done); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Flush(); err != nil {
		b.Fatal(err)
	}
}

// touch looks at one byte of each page of a view, as sending it would.
func touch(v *View) (sum int) {
	for _, s := range v.Spans {
		for i := 0; i < len(s); i += 4096 {
			sum += int(s[i])
		}
	}
	return sum
}

var relaxedHistory = LogConfig{SegmentBytes: 32 << 20, FlushMessages: 1 << 40}

// BenchmarkReadSequential reads a log of several segments through, 1 MiB at a time.
func BenchmarkReadSequential(b *testing.B) {
	for _, cache := range []int64{0, 16 << 20} {
		b.Run(fmt.Sprintf("cache=%d", cache), func(b *testing.B) {
			st, l, _ := benchStore(b, relaxedHistory, cache)
			defer st.Abandon()
			history(b, l, 128<<20)
			one := int64(len(benchBatch(16, 1000)))
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			b.ResetTimer()
			for at, read, bytes := int64(0), 0, 0; read < b.N; {
				v, err := l.Read(at, ReadOptions{MaxBytes: 1 << 20, AtLeastOne: true})
				if err != nil {
					b.Fatal(err)
				}
				touch(v)
				at += int64(v.Size) / one * 16
				if bytes += v.Size; v.Size == 0 || at >= l.High() {
					at = 0
				}
				v.Release()
				read = bytes >> 20
			}
		})
	}
}

// BenchmarkReadRandom reads 64 KiB at random places of which some are hot.
func BenchmarkReadRandom(b *testing.B) {
	for _, cache := range []int64{0, 64 << 20} {
		b.Run(fmt.Sprintf("cache=%d", cache), func(b *testing.B) {
			st, l, _ := benchStore(b, relaxedHistory, cache)
			defer st.Abandon()
			history(b, l, 128<<20)
			zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 1)), 1.2, 8, 1999)
			high := l.High()
			b.SetBytes(64 << 10)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				at := int64(zipf.Uint64()) * 7919 * 64 % high
				v, err := l.Read(at, ReadOptions{MaxBytes: 64 << 10, AtLeastOne: true})
				if err != nil {
					b.Fatal(err)
				}
				touch(v)
				v.Release()
			}
		})
	}
}

// BenchmarkLocate finds the batch of an offset by index and headers.
func BenchmarkLocate(b *testing.B) {
	st, l, _ := benchStore(b, relaxedHistory, 0)
	defer st.Abandon()
	history(b, l, 30<<20)
	seg, high := l.active(), l.High()
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := seg.Locate(rng.Int64N(high)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecovery checks a log of 64 MiB that was not closed.
func BenchmarkRecovery(b *testing.B) {
	st, l, dir := benchStore(b, LogConfig{SegmentBytes: 32 << 20, FlushMessages: 1 << 40}, 0)
	history(b, l, 64<<20)
	size := l.Size()
	st.Abandon()
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		st, err := Open(Options{Dirs: []string{dir}, Manual: true})
		if err != nil {
			b.Fatal(err)
		}
		l, err := st.OpenLog(dir, "bench-0", relaxedHistory)
		if err != nil || l.Size() != size {
			b.Fatal(err)
		}
		st.Abandon()
	}
}

// BenchmarkCleanOpen opens the same log after a clean stop.
func BenchmarkCleanOpen(b *testing.B) {
	st, l, dir := benchStore(b, LogConfig{SegmentBytes: 32 << 20, FlushMessages: 1 << 40}, 0)
	history(b, l, 64<<20)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := st.Close(1); err != nil {
			b.Fatal(err)
		}
		var err error
		if st, err = Open(Options{Dirs: []string{dir}, Manual: true}); err != nil {
			b.Fatal(err)
		}
		if _, err := st.OpenLog(dir, "bench-0", relaxedHistory); err != nil {
			b.Fatal(err)
		}
	}
	st.Abandon()
}
