//go:build linux

package procstat

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	ballastChunk = 32 << 20
	ballastSlack = 256 << 20 // free memory kept above the start, so that a burst finds warm pages
	ballastPoll  = 2 * time.Millisecond
)

// Ballast is memory that was touched and is given back bit by bit while a run needs it.
//
// A virtual machine with free page reporting (virtio-balloon) returns pages to its host a second or so after they
// become free, and the next touch of such a page costs up to ten times the write that caused it. Touching memory and
// freeing it before a run therefore helps for about a second only. A Ballast keeps the memory in use until the free
// memory of the machine falls, and then frees as much as was taken: the kernel hands out the most recently freed pages
// first, so the contestant writes into warm ones.
type Ballast struct {
	chunks [][]byte
	stop   chan struct{}
	done   chan struct{}
}

// NewBallast touches size bytes, rounded up to 32 MiB. It may take seconds per GiB where the host must provide the
// pages. The caller must Release.
func NewBallast(size int64) (*Ballast, error) {
	b := &Ballast{}
	for ; size > 0; size -= ballastChunk {
		chunk, err := unix.Mmap(-1, 0, ballastChunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_POPULATE)
		if err != nil {
			b.free(len(b.chunks))
			return nil, fmt.Errorf("warm memory: map %d bytes: %w", ballastChunk, err)
		}
		b.chunks = append(b.chunks, chunk)
	}
	return b, nil
}

// Start frees the slack and begins to watch the machine's free memory, giving back what others take.
func (b *Ballast) Start() {
	target := freeMemory() + ballastSlack
	b.free(ballastSlack / ballastChunk)
	b.stop, b.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(b.done)
		ticker := time.NewTicker(ballastPoll)
		defer ticker.Stop()
		for len(b.chunks) > 0 {
			select {
			case <-b.stop:
				return
			case <-ticker.C:
				if missing := target - freeMemory(); missing > 0 {
					b.free(int(missing/ballastChunk) + 1)
				}
			}
		}
	}()
}

// Release stops watching and frees what is left. It returns how many bytes were not needed: none left means that the
// end of the run may have been on cold memory.
func (b *Ballast) Release() (left int64) {
	if b.stop != nil {
		close(b.stop)
		<-b.done
		b.stop = nil
	}
	left = int64(len(b.chunks)) * ballastChunk
	b.free(len(b.chunks))
	return left
}

func (b *Ballast) free(n int) {
	for n = min(n, len(b.chunks)); n > 0; n-- {
		last := len(b.chunks) - 1
		if err := unix.Munmap(b.chunks[last]); err != nil {
			panic(fmt.Sprintf("procstat: munmap of a mapping of our own: %v", err))
		}
		b.chunks = b.chunks[:last]
	}
}

func freeMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		panic(fmt.Sprintf("procstat: sysinfo: %v", err)) // only possible for a bad address
	}
	return int64(info.Freeram) * int64(info.Unit)
}
