package engine

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// thrashed is a disk whose page cache never has what is wanted: making mapped
// bytes ready takes a drive's time, each time. It stands for a machine whose
// memory others use up.
type thrashed struct{ vfs.FS }

type thrashedFile struct{ vfs.File }

type thrashedMapping struct{ vfs.Mapping }

const driveTime = 200 * time.Microsecond

func (d thrashed) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return thrashedFile{f}, nil
}

func (f thrashedFile) Map(length int) (vfs.Mapping, error) {
	m, err := f.File.Map(length)
	if err != nil {
		return nil, err
	}
	return thrashedMapping{m}, nil
}

func (m thrashedMapping) Populate(off, n int) error {
	time.Sleep(driveTime)
	return m.Mapping.Populate(off, n)
}

// BenchmarkReadRandomFromDisk is BenchmarkReadRandom where the page cache is of
// no help: what the hot-read cache is for.
func BenchmarkReadRandomFromDisk(b *testing.B) {
	for _, cache := range []int64{0, 64 << 20} {
		b.Run(fmt.Sprintf("cache=%d", cache), func(b *testing.B) {
			st, l, dir := benchStore(b, relaxedHistory, cache)
			history(b, l, 128<<20)
			if err := st.Close(1); err != nil {
				b.Fatal(err)
			}
			st, err := Open(Options{FS: thrashed{vfs.OS}, Dirs: []string{dir}, CacheBytes: cache})
			if err != nil {
				b.Fatal(err)
			}
			defer st.Abandon()
			if l, err = st.OpenLog(dir, l.Name(), relaxedHistory); err != nil {
				b.Fatal(err)
			}
			zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 1)), 1.2, 8, 1999)
			high := l.High()
			b.SetBytes(64 << 10)
			b.ResetTimer()
			for range b.N {
				v, err := l.Read(int64(zipf.Uint64())*7919*64%high, ReadOptions{MaxBytes: 64 << 10, AtLeastOne: true})
				if err != nil {
					b.Fatal(err)
				}
				touch(v)
				v.Release()
			}
		})
	}
}
