//go:build linux

package procstat

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of the CPU fields of /proc: USER_HZ, which is 100 on every Linux that Go supports.
const tick = 10 * time.Millisecond

// Times is processor time of a process.
type Times struct {
	User   time.Duration
	System time.Duration // in the kernel on its behalf: much of it on a cold machine goes into touching pages
}

// Total is both together.
func (t Times) Total() time.Duration { return t.User + t.System }

// Sub returns what was used since an earlier moment.
func (t Times) Sub(earlier Times) Times {
	return Times{User: t.User - earlier.User, System: t.System - earlier.System}
}

// CPU returns the user and system time of a process since it began, without its children, in steps of 10 ms.
func CPU(pid int) (Times, error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(name)
	if err != nil {
		return Times{}, fmt.Errorf("cpu of process %d: %w", pid, err)
	}
	// The command name in parentheses may hold spaces and parentheses; what follows the last one is regular.
	end := bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 13 {
		return Times{}, fmt.Errorf("%s: %d fields behind the command name, expected at least 13", name, len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return Times{}, fmt.Errorf("%s: utime: %w", name, err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return Times{}, fmt.Errorf("%s: stime: %w", name, err)
	}
	return Times{User: time.Duration(user) * tick, System: time.Duration(system) * tick}, nil
}

// Memory is resident memory in bytes.
type Memory struct {
	RSS     int64 // everything resident
	RSSAnon int64 // the part no file backs: heap, stacks, private pages
}

// ReadMemory returns what a process has resident now.
func ReadMemory(pid int) (Memory, error) {
	name := fmt.Sprintf("/proc/%d/status", pid)
	text, err := os.ReadFile(name)
	if err != nil {
		return Memory{}, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	var m Memory
	found := 0
	for line := range strings.Lines(string(text)) {
		var into *int64
		switch {
		case strings.HasPrefix(line, "VmRSS:"):
			into = &m.RSS
		case strings.HasPrefix(line, "RssAnon:"):
			into = &m.RSSAnon
		default:
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			return Memory{}, fmt.Errorf("%s: %q, expected a number of kB", name, line)
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("%s: %q: %w", name, line, err)
		}
		*into = n << 10
		found++
	}
	if found != 2 {
		return Memory{}, fmt.Errorf("%s: found %d of VmRSS and RssAnon", name, found)
	}
	return m, nil
}

// MachineTimes is processor time of the whole machine since boot.
type MachineTimes struct {
	Busy  time.Duration // everything but idle, waiting for disks, and steal
	Steal time.Duration // wanted by this machine, given to another by the hypervisor
}

// Machine returns the processor times of all CPUs together.
func Machine() (MachineTimes, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return MachineTimes{}, fmt.Errorf("processor times: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return MachineTimes{}, fmt.Errorf("/proc/stat: first line %q, expected cpu and eight numbers", line)
	}
	var t MachineTimes
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return MachineTimes{}, fmt.Errorf("/proc/stat: %q: %w", line, err)
		}
		switch i {
		case 3, 4: // idle, iowait
		case 7:
			t.Steal = time.Duration(n) * tick
		default:
			t.Busy += time.Duration(n) * tick
		}
	}
	return t, nil
}

// OwnCPU returns the user and system time of this process, in microseconds' precision.
func OwnCPU() time.Duration { return usage(unix.RUSAGE_SELF) }

// ThreadCPU returns the user and system time of the calling thread; lock the goroutine to it first.
func ThreadCPU() time.Duration { return usage(unix.RUSAGE_THREAD) }

func usage(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		panic(fmt.Sprintf("procstat: getrusage(%d): %v", who, err)) // only possible for a bad argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
