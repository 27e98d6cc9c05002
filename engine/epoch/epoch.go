package epoch

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Entry says that an epoch's first offset is Start.
type Entry struct {
	Epoch int32
	Start int64
}

// Cache holds the entries of a log, strictly rising in epoch and in offset.
// The zero value is empty. Not safe for concurrent use.
type Cache struct {
	entries []Entry
}

// ErrMalformed is wrapped by every error of Decode.
var ErrMalformed = errors.New("malformed leader epoch checkpoint")

// Latest is the newest epoch, -1 for none.
func (c *Cache) Latest() int32 {
	if len(c.entries) == 0 {
		return -1
	}
	return c.entries[len(c.entries)-1].Epoch
}

// Entries returns a copy of all entries.
func (c *Cache) Entries() []Entry { return slices.Clone(c.entries) }

// Assign records that epoch begins at start and says whether that changed
// anything. Entries that contradict it (same or later epoch, or same or later
// start) go: a leader without data was followed by this one. An epoch older
// than the newest with an offset inside its range changes nothing.
func (c *Cache) Assign(epoch int32, start int64) bool {
	if epoch < 0 || start < 0 {
		return false
	}
	if n := len(c.entries); n > 0 && c.entries[n-1].Epoch == epoch && start >= c.entries[n-1].Start {
		return false
	}
	keep := len(c.entries)
	for keep > 0 && (c.entries[keep-1].Epoch >= epoch || c.entries[keep-1].Start >= start) {
		keep--
	}
	c.entries = append(c.entries[:keep], Entry{epoch, start})
	return true
}

// EndOffsetFor answers OffsetForLeaderEpoch: the largest known epoch at or
// below the asked one and the offset at which the next began (logEnd for the
// newest). (-1, -1) when the epoch is not known or none at or below it is.
func (c *Cache) EndOffsetFor(epoch int32, logEnd int64) (found int32, end int64) {
	if epoch < 0 || len(c.entries) == 0 || epoch > c.Latest() {
		return -1, -1
	}
	if epoch == c.Latest() {
		return epoch, logEnd
	}
	i, exact := slices.BinarySearchFunc(c.entries, epoch, func(e Entry, v int32) int { return int(e.Epoch) - int(v) })
	next := i
	if exact {
		next++
	}
	if next == 0 {
		// Older than everything known: the requested epoch ended where the log begins.
		return epoch, c.entries[0].Start
	}
	return c.entries[next-1].Epoch, c.entries[next].Start
}

// EpochForOffset is the epoch that wrote offset, -1 if unknown.
func (c *Cache) EpochForOffset(offset int64) int32 {
	for i := len(c.entries) - 1; i >= 0; i-- {
		if c.entries[i].Start <= offset {
			return c.entries[i].Epoch
		}
	}
	return -1
}

// TruncateFromEnd drops epochs that begin at or above end and says whether
// there were any. One that begins exactly at the log's end is kept by callers
// that pass end+1: a leader may have no data yet.
func (c *Cache) TruncateFromEnd(end int64) bool {
	keep := len(c.entries)
	for keep > 0 && c.entries[keep-1].Start > end {
		keep--
	}
	changed := keep < len(c.entries)
	c.entries = c.entries[:keep]
	return changed
}

// TruncateFromStart drops epochs that ended at or below start; the one that
// holds start now begins there.
func (c *Cache) TruncateFromStart(start int64) bool {
	drop := 0
	for drop+1 < len(c.entries) && c.entries[drop+1].Start <= start {
		drop++
	}
	if len(c.entries) == 0 || c.entries[drop].Start >= start && drop == 0 {
		return false
	}
	c.entries = slices.Delete(c.entries, 0, drop)
	c.entries[0].Start = max(c.entries[0].Start, start)
	return true
}

// Encode returns the content of leader-epoch-checkpoint.
func (c *Cache) Encode() []byte {
	b := append(strconv.AppendInt([]byte("0\n"), int64(len(c.entries)), 10), '\n')
	for _, e := range c.entries {
		b = append(strconv.AppendInt(b, int64(e.Epoch), 10), ' ')
		b = append(strconv.AppendInt(b, e.Start, 10), '\n')
	}
	return b
}

// Decode parses the content of leader-epoch-checkpoint. An empty file is an
// empty cache; anything else malformed is an error that names the line.
func Decode(data []byte) (*Cache, error) {
	c := &Cache{}
	if len(data) == 0 {
		return c, nil
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	fail := func(line int, expected string) (*Cache, error) {
		found := "the end"
		if line < len(lines) {
			found = strconv.Quote(lines[line][:min(len(lines[line]), 60)])
		}
		return nil, fmt.Errorf("%w: line %d: expected %s, found %s", ErrMalformed, line+1, expected, found)
	}
	if lines[0] != "0" {
		return fail(0, "version 0")
	}
	if len(lines) < 2 {
		return fail(1, "the number of entries")
	}
	n, err := strconv.Atoi(lines[1])
	if err != nil || n != len(lines)-2 {
		return fail(1, fmt.Sprintf("the number of entries, %d", len(lines)-2))
	}
	for i, line := range lines[2:] {
		first, second, ok := strings.Cut(line, " ")
		e, err1 := strconv.ParseInt(first, 10, 32)
		start, err2 := strconv.ParseInt(second, 10, 64)
		if !ok || err1 != nil || err2 != nil || e < 0 || start < 0 {
			return fail(i+2, "\"epoch offset\"")
		}
		if k := len(c.entries); k > 0 && (int32(e) <= c.entries[k-1].Epoch || start <= c.entries[k-1].Start) {
			return fail(i+2, "an epoch and an offset above those before")
		}
		c.entries = append(c.entries, Entry{int32(e), start})
	}
	return c, nil
}
