package engine

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gregor-broker/gregor/engine/vfs"
)

// pressed is a disk whose page cache can be taken away, as by others who need
// the memory.
type pressed struct {
	vfs.FS
	mu   sync.Mutex
	maps []vfs.Mapping
}

type pressedFile struct {
	vfs.File
	disk *pressed
}

func (d *pressed) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return pressedFile{f, d}, nil
}

func (f pressedFile) Map(length int) (vfs.Mapping, error) {
	m, err := f.File.Map(length)
	if err != nil {
		return nil, err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.maps = append(f.disk.maps, m)
	return pressedMapping{m, f.disk}, nil
}

type pressedMapping struct {
	vfs.Mapping
	disk *pressed
}

func (m pressedMapping) Unmap() error {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	m.disk.maps = slices.DeleteFunc(m.disk.maps, func(n vfs.Mapping) bool { return n == m.Mapping })
	return m.Mapping.Unmap()
}

// press makes the kernel reclaim every mapped page.
func (d *pressed) press() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.maps {
		if err := unix.Madvise(m.Bytes(), unix.MADV_PAGEOUT); err != nil {
			return fmt.Errorf("giving pages back: %w", err)
		}
	}
	return nil
}

// BenchmarkReadRandomUnderPressure is BenchmarkReadRandom on a machine whose
// memory others use up: what was read is gone from the page cache a hundred
// reads later. That is what the hot-read cache is for.
func BenchmarkReadRandomUnderPressure(b *testing.B) {
	for _, cache := range []int64{0, 64 << 20} {
		b.Run(fmt.Sprintf("cache=%d", cache), func(b *testing.B) {
			st, l, dir := benchStore(b, relaxedHistory, cache)
			history(b, l, 128<<20)
			if err := st.Close(1); err != nil {
				b.Fatal(err)
			}
			disk := &pressed{FS: vfs.OS}
			st, err := Open(Options{FS: disk, Dirs: []string{dir}, CacheBytes: cache})
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
			for n := range b.N {
				if n%100 == 0 {
					b.StopTimer()
					if err := disk.press(); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
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
