package fsck

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Running asks who holds the lock of a log directory, without taking it: the
// process id of a broker of another process, 0 for none. A broker in this very
// process is not seen, and would lose its lock: closing any descriptor of a file
// drops all record locks of the process on it (fcntl(2)). So it is not to be
// called where a broker runs.
func Running(dir string) (pid int, err error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("%s: ask for its holder: %w", f.Name(), err)
	}
	if lock.Type == unix.F_UNLCK {
		return 0, nil
	}
	return max(int(lock.Pid), 1), nil
}
