//go:build linux

package procstat

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// flushesField is the number of the field of /proc/diskstats that counts flush requests, since Linux 5.5.
const flushesField = 18

// Flushes returns how many flushes of its cache the drive that holds a directory has done since boot, for whomever: what
// syncs cost it. It fails where the kernel does not count them or the directory is on no drive of its own (a RAM disk).
func Flushes(dir string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, fmt.Errorf("drive of %s: %w", dir, err)
	}
	major, minor := strconv.Itoa(int(unix.Major(st.Dev))), strconv.Itoa(int(unix.Minor(st.Dev)))
	text, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return 0, fmt.Errorf("flushes: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) <= flushesField || fields[0] != major || fields[1] != minor {
			continue
		}
		n, err := strconv.ParseInt(fields[flushesField], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/diskstats: %q: %w", line, err)
		}
		return n, nil
	}
	return 0, fmt.Errorf("/proc/diskstats has no flushes of device %s:%s, which holds %s", major, minor, dir)
}
