package vfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

func datasync(fd int) error { return unix.Fdatasync(fd) }

func syncVolume(fd int) error { return unix.Syncfs(fd) }

// volumeErrors says whether syncfs(2) reports data that could not be written: since Linux 5.8.
var volumeErrors = sync.OnceValue(func() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major > 5 || major == 5 && minor >= 8
})

func allocate(fd int, off, n int64) error {
	err := unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		return nil // tmpfs of old kernels, network filesystems: space is then found at the write
	}
	return err
}

// populate faults in a page-aligned range; the kernel rounds the length up itself.
func populate(b []byte) error {
	err := unix.Madvise(b, unix.MADV_POPULATE_READ)
	if err == unix.EINVAL || err == unix.ENOSYS {
		return nil // before Linux 5.14: the touch will bring the pages in
	}
	return err
}

// resident asks for the pages of b, which begins on one, a megabyte at a time.
func resident(b []byte) bool {
	var pages [256]byte
	size := os.Getpagesize()
	for len(b) > 0 {
		n := min(len(b), len(pages)*size)
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(n), uintptr(unsafe.Pointer(&pages[0])))
		if errno != 0 {
			return true
		}
		for _, p := range pages[:(n+size-1)/size] {
			if p&1 == 0 {
				return false
			}
		}
		b = b[n:]
	}
	return true
}

func statfs(name string) (total, usable uint64, err error) {
	var st unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Statfs(name, &st) }); err != nil {
		return 0, 0, err
	}
	unit := uint64(st.Frsize) // what f_blocks counts; Bsize is only the best transfer size
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	return st.Blocks * unit, st.Bavail * unit, nil
}

// maxMappings leaves three quarters of the kernel's limit to the Go runtime, threads and libraries.
var maxMappings = sync.OnceValue(func() int64 {
	limit := int64(65530) // the kernel's default, where /proc is not mounted
	if b, err := os.ReadFile("/proc/sys/vm/max_map_count"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			limit = n
		}
	}
	return min(mappingCap, limit/4)
})
