//go:build !linux

package vfs

import "golang.org/x/sys/unix"

// datasync is fsync where there is no fdatasync.
func datasync(fd int) error { return unix.Fsync(fd) }

func syncVolume(int) error { return unix.ENOSYS }

func volumeErrors() bool { return false }

func allocate(int, int64, int64) error { return nil }

func populate([]byte) error { return nil }

func resident([]byte) bool { return true }

func statfs(name string) (total, usable uint64, err error) {
	var st unix.Statfs_t
	if err := ignoringEINTR(func() error { return unix.Statfs(name, &st) }); err != nil {
		return 0, 0, err
	}
	unit := uint64(st.Bsize)
	return uint64(st.Blocks) * unit, uint64(st.Bavail) * unit, nil
}

func maxMappings() int64 { return mappingCap }
