package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// benchLog is a log of some 64 MiB in sealed segments with records of 16+100 bytes, 100 in a batch, of as many keys.
func benchLog(b *testing.B, dir string, c LogConfig, packed codec.Type, keys int) (*Store, *Log) {
	b.Helper()
	st, err := Open(Options{Dirs: []string{dir}, Manual: true, Cleaner: CleanerOptions{Backoff: time.Nanosecond}})
	if err != nil {
		b.Fatal(err)
	}
	l, err := st.CreateLog(dir, "topic-0", ID{1}, c)
	if err != nil {
		b.Fatal(err)
	}
	n := uint64(0)
	value := make([]byte, 100)
	for l.Size() < 64<<20 && n < 2_000_000 {
		p := batch.NewBuilder(packed)
		for range 100 {
			n++
			var key [16]byte
			binary.BigEndian.PutUint64(key[8:], n*0x9E3779B97F4A7C15%uint64(keys))
			binary.BigEndian.PutUint64(value, n)
			p.Append(int64(n), key[:], value)
		}
		done := make(waitChannel, 1)
		if _, err := l.Append(p.Bytes(), AppendOptions{LeaderEpoch: 1}, done); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	return st, l
}

// BenchmarkCompaction is how fast a log is cleaned, in bytes of the log, beside what reading them twice and
// writing what is left takes with nothing in between (raw-MB/s).
func BenchmarkCompaction(b *testing.B) {
	for _, x := range []struct {
		name   string
		packed codec.Type
		keys   int
	}{{"all keys differ", codec.None, 1 << 30}, {"one in ten stays", codec.None, 55_000}, {"lz4, one in ten", codec.LZ4, 55_000}, {"zstd, one in ten", codec.Zstd, 55_000}} {
		b.Run(x.name, func(b *testing.B) {
			c := LogConfig{Compact: true, SegmentBytes: 16 << 20, FlushMessages: 1 << 40, RetentionMs: -1, RetentionBytes: -1, FileDeleteDelayMs: 1}
			var took, raw time.Duration
			var bytes int64
			for range b.N {
				b.StopTimer()
				dir := b.TempDir()
				st, l := benchLog(b, dir, c, x.packed, x.keys)
				list := *l.segments.Load()
				dirty := l.Size() - list[len(list)-1].Size()
				b.StartTimer()
				began := time.Now()
				if _, err := l.clean(st.clean); err != nil {
					b.Fatal(err)
				}
				took += time.Since(began)
				b.StopTimer()
				bytes += dirty
				list = *l.segments.Load()
				raw += rawCopy(b, dir, dirty, l.Size()-list[len(list)-1].Size())
				if err := st.Close(1); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(bytes)/1e6/took.Seconds(), "MB/s")
			b.ReportMetric(float64(bytes)/1e6/raw.Seconds(), "raw-MB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// rawCopy reads n bytes twice, writes m of them and syncs.
func rawCopy(b *testing.B, dir string, n, m int64) time.Duration {
	b.Helper()
	from, err := os.Create(filepath.Join(dir, "from"))
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	buf := make([]byte, 256<<10)
	for at := int64(0); at < n; at += int64(len(buf)) {
		if _, err := from.WriteAt(buf[:min(int64(len(buf)), n-at)], at); err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	to, err := os.Create(filepath.Join(dir, "to"))
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	for pass := range 2 {
		for at := int64(0); at < n; at += int64(len(buf)) {
			k, err := from.ReadAt(buf, at)
			if err != nil && err != io.EOF {
				b.Fatal(err)
			}
			if pass == 1 && at < m {
				if _, err := to.WriteAt(buf[:k], at); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	if err := to.Sync(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// BenchmarkAppendDuringCompaction is how long an append is held up while its log is cleaned: the time until it is
// written, without a sync.
func BenchmarkAppendDuringCompaction(b *testing.B) {
	c := LogConfig{Compact: true, SegmentBytes: 16 << 20, FlushMessages: 1 << 40, RetentionMs: -1, RetentionBytes: -1, FileDeleteDelayMs: 1}
	var quiet, busy []time.Duration
	one := batch.NewBuilder(codec.None).Append(1, []byte("key"), make([]byte, 100)).Bytes()
	appendOne := func(l *Log) time.Duration {
		began := time.Now()
		done := make(waitChannel, 1)
		if _, err := l.Append(one, AppendOptions{LeaderEpoch: 1}, done); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	for range b.N {
		b.StopTimer()
		c.SegmentBytes = 16 << 20
		st, l := benchLog(b, b.TempDir(), c, codec.None, 55_000)
		c.SegmentBytes = 1 << 30 // no rolls, which sync under the append lock
		l.SetConfig(c)
		for range 200_000 {
			quiet = append(quiet, appendOne(l))
		}
		// Recovery points are stored by and by anyway, and sync what was appended.
		if err := errors.Join(l.Flush(), st.dirs[0].checkpointRecovery(true)); err != nil {
			b.Fatal(err)
		}
		finished := make(chan error, 1)
		b.StartTimer()
		go func() {
			_, err := l.clean(st.clean)
			finished <- err
		}()
		for cleaning := true; cleaning; {
			select {
			case err := <-finished:
				if err != nil {
					b.Fatal(err)
				}
				cleaning = false
			default:
				busy = append(busy, appendOne(l))
			}
		}
		b.StopTimer()
		if err := st.Close(1); err != nil {
			b.Fatal(err)
		}
	}
	for name, list := range map[string][]time.Duration{"quiet": quiet, "cleaning": busy} {
		slices.Sort(list)
		for _, q := range []float64{0.5, 0.99, 1} {
			b.ReportMetric(float64(list[int(q*float64(len(list)-1))].Nanoseconds())/1e3, fmt.Sprintf("%s-p%v-µs", name, q*100))
		}
	}
	b.ReportMetric(0, "ns/op")
}
