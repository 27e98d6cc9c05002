package conn

import (
	"math/bits"
	"sync"
)

// Frame buffers come in four sizes per power of two: rounding wastes at most a quarter, and there are few enough sizes that a
// buffer finds its next user.
const (
	smallestFrameBits = 13 // 8 KiB
	largestFrameBits  = 25 // 32 MiB; larger ones are not kept
	frameClasses      = (largestFrameBits-smallestFrameBits)*4 + 1
)

// framePool keeps the buffers of frames above readBufferBytes for reuse. What is handed out and what is kept together stay
// within limit, except where frames in use alone need more.
type framePool struct {
	limit int64

	mu   sync.Mutex
	used int64 // handed out
	kept int64
	free [frameClasses][][]byte
	low  [frameClasses]int // fewest buffers kept since the last trim: these were not needed
}

// frameClass returns the class of the smallest buffer that holds n bytes and its size; -1 and n if none does.
func frameClass(n int) (class, size int) {
	if n <= 1<<smallestFrameBits {
		return 0, 1 << smallestFrameBits
	}
	if n > 1<<largestFrameBits {
		return -1, n
	}
	octave := bits.Len(uint(n-1)) - 1 // 2^octave < n <= 2^(octave+1)
	quarter := 1 << (octave - 2)
	steps := (n - 1<<octave + quarter - 1) / quarter // 1 to 4
	return (octave-smallestFrameBits)*4 + steps, 1<<octave + steps*quarter
}

// take returns a kept buffer of at least n bytes, nil if there is none.
func (f *framePool) take(n int) []byte {
	class, size := frameClass(n)
	if class < 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.free[class]
	if len(kept) == 0 {
		return nil
	}
	b := kept[len(kept)-1]
	kept[len(kept)-1] = nil
	f.free[class] = kept[:len(kept)-1]
	f.low[class] = min(f.low[class], len(kept)-1)
	f.kept -= int64(size)
	f.used += int64(size)
	return b
}

// make returns a kept or a new buffer of at least n bytes.
func (f *framePool) make(n int) []byte {
	if b := f.take(n); b != nil {
		return b
	}
	_, size := frameClass(n)
	f.mu.Lock()
	f.used += int64(size)
	f.evict()
	f.mu.Unlock()
	return make([]byte, size)
}

// put takes back a buffer of take or make.
func (f *framePool) put(b []byte) {
	size := cap(b)
	class, _ := frameClass(size)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used -= int64(size)
	if class < 0 || f.used+f.kept+int64(size) > f.limit {
		return
	}
	f.free[class] = append(f.free[class], b[:size])
	f.kept += int64(size)
}

// evict drops kept buffers, the largest first, until the limit holds; mu is held.
func (f *framePool) evict() {
	for class := frameClasses - 1; class >= 0 && f.kept > 0; class-- {
		for len(f.free[class]) > 0 && f.used+f.kept > f.limit {
			f.drop(class)
		}
	}
}

func (f *framePool) drop(class int) {
	kept := f.free[class]
	f.kept -= int64(cap(kept[len(kept)-1]))
	kept[len(kept)-1] = nil
	f.free[class] = kept[:len(kept)-1]
	f.low[class] = min(f.low[class], len(kept)-1)
}

// trim drops the buffers that nobody needed since the last trim and returns how many bytes that were and how many are left,
// kept or in use.
func (f *framePool) trim() (dropped, left int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.kept
	for class := range f.free {
		for range f.low[class] {
			f.drop(class)
		}
		if len(f.free[class]) == 0 {
			f.free[class] = nil
		}
		f.low[class] = len(f.free[class])
	}
	return before - f.kept, f.used + f.kept
}

// holds reports whether any buffer is kept.
func (f *framePool) holds() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept > 0
}
