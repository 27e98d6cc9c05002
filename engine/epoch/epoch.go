package epoch

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Undefined stands for an epoch or an offset that is not known (UNDEFINED_EPOCH, UNDEFINED_EPOCH_OFFSET).
const Undefined = -1

// ErrMalformed says that bytes are not a leader-epoch-checkpoint file.
var ErrMalformed = errors.New("malformed leader-epoch-checkpoint")

// Entry says that the leader of an epoch began to append at an offset.
type Entry struct {
	Epoch int32
	Start int64
}

// Cache is the history of a log's leader epochs, by ascending epoch and ascending start offset. The zero
// value is an empty one. It is not safe for concurrent use: the log's lock guards it. Methods that change
// it return whether they did, so that the caller knows when to write the file.
type Cache struct {
	entries []Entry
}

// Len is the number of entries.
func (c *Cache) Len() int { return len(c.entries) }

// Clone returns an independent copy.
func (c *Cache) Clone() *Cache { return &Cache{entries: slices.Clone(c.entries)} }

// Entries are a copy of the entries, by ascending epoch.
func (c *Cache) Entries() []Entry { return slices.Clone(c.entries) }

// Latest is the newest epoch, or Undefined.
func (c *Cache) Latest() int32 {
	if len(c.entries) == 0 {
		return Undefined
	}
	return c.entries[len(c.entries)-1].Epoch
}

// Assign records that an epoch began at start. Entries at its end that contradict it - an equal or newer
// epoch, an equal or later start - go first. Nothing changes when the epoch is the newest already and does
// not begin earlier, nor on a negative epoch or start.
func (c *Cache) Assign(epoch int32, start int64) (changed bool) {
	if epoch < 0 || start < 0 {
		return false
	}
	n := len(c.entries)
	if n > 0 && c.entries[n-1].Epoch == epoch && c.entries[n-1].Start <= start {
		return false
	}
	for n > 0 && (c.entries[n-1].Epoch >= epoch || c.entries[n-1].Start >= start) {
		n--
	}
	c.entries = append(c.entries[:n], Entry{epoch, start})
	return true
}

// EndOffsetFor answers OffsetForLeaderEpoch: the largest epoch at or below the asked one, and the offset
// behind its last record; for the newest epoch that is logEnd. An epoch before all known ones ends where
// the first known one begins. Both are Undefined for an unknown newer epoch, an empty Cache, and Undefined
// itself.
func (c *Cache) EndOffsetFor(epoch int32, logEnd int64) (found int32, end int64) {
	n := len(c.entries)
	if epoch == Undefined || n == 0 {
		return Undefined, Undefined
	}
	if c.entries[n-1].Epoch == epoch {
		return epoch, logEnd
	}
	higher := sort.Search(n, func(i int) bool { return c.entries[i].Epoch > epoch })
	switch higher {
	case n:
		return Undefined, Undefined
	case 0:
		return epoch, c.entries[0].Start
	}
	return c.entries[higher-1].Epoch, c.entries[higher].Start
}

// EpochForOffset is the epoch of the record at offset, or Undefined.
func (c *Cache) EpochForOffset(offset int64) int32 {
	later := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].Start > offset })
	if later == 0 {
		return Undefined
	}
	return c.entries[later-1].Epoch
}

// TruncateFromEnd removes the entries that begin at or behind end, the log's new end.
func (c *Cache) TruncateFromEnd(end int64) (changed bool) {
	if end < 0 {
		return false
	}
	n := len(c.entries)
	for n > 0 && c.entries[n-1].Start >= end {
		n--
	}
	changed = n < len(c.entries)
	c.entries = c.entries[:n]
	return changed
}

// TruncateFromStart removes the entries that end at or before start, the log's new start; the one that
// start lies in begins there from now on.
func (c *Cache) TruncateFromStart(start int64) (changed bool) {
	later := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].Start > start })
	if later == 0 || later == 1 && c.entries[0].Start == start {
		return false
	}
	c.entries = slices.Delete(c.entries, 0, later-1)
	c.entries[0].Start = start
	return true
}

// Clear removes every entry.
func (c *Cache) Clear() (changed bool) {
	changed = len(c.entries) > 0
	c.entries = nil
	return changed
}

// Encode is the content of a leader-epoch-checkpoint file: version 0, the number of entries, and a line
// with epoch and start offset for each.
func (c *Cache) Encode() []byte {
	p := fmt.Appendf(nil, "0\n%d\n", len(c.entries))
	for _, e := range c.entries {
		p = fmt.Appendf(p, "%d %d\n", e.Epoch, e.Start)
	}
	return p
}

// Decode reads a leader-epoch-checkpoint file. Errors are ErrMalformed with the line and what was
// expected there; epochs and offsets must not be negative and must ascend strictly.
func Decode(p []byte) (*Cache, error) {
	lines := strings.Split(strings.TrimSuffix(string(p), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	if lines[0] != "0" {
		return nil, malformed(1, "version 0", lines[0])
	}
	if len(lines) < 2 {
		return nil, malformed(2, "the number of entries", "")
	}
	count, err := number(lines[1], 32)
	if err != nil {
		return nil, malformed(2, "the number of entries", lines[1])
	}
	if got := int64(len(lines) - 2); got != count {
		return nil, malformed(2, fmt.Sprintf("%d entries, as many as lines follow", got), lines[1])
	}
	c := new(Cache)
	previous := Entry{-1, -1}
	for i, line := range lines[2:] {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			return nil, malformed(i+3, "an epoch and an offset", line)
		}
		epoch, err := number(fields[0], 32)
		if err != nil {
			return nil, malformed(i+3, "an epoch of at least 0", fields[0])
		}
		start, err := number(fields[1], 64)
		if err != nil {
			return nil, malformed(i+3, "an offset of at least 0", fields[1])
		}
		e := Entry{int32(epoch), start}
		if e.Epoch <= previous.Epoch || e.Start <= previous.Start {
			return nil, malformed(i+3, fmt.Sprintf("an epoch above %d and an offset above %d", previous.Epoch, previous.Start), line)
		}
		c.entries = append(c.entries, e)
		previous = e
	}
	return c, nil
}

// number reads decimal digits and nothing else.
func number(s string, bits int) (int64, error) {
	v, err := strconv.ParseUint(s, 10, bits-1)
	return int64(v), err
}

func malformed(line int, expected, found string) error {
	if len(found) > 64 {
		found = found[:64] + "..."
	}
	return fmt.Errorf("%w: line %d: expected %s, found %q", ErrMalformed, line, expected, found)
}
