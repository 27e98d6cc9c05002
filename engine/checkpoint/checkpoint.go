package checkpoint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrMalformed says that bytes are not an offset checkpoint.
var ErrMalformed = errors.New("malformed offset checkpoint")

// Entry is the offset of one partition.
type Entry struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Encode is the content of an offset checkpoint: version 0, the number of entries, and a line with topic,
// partition and offset for each, in the order given.
func Encode(entries []Entry) []byte {
	p := fmt.Appendf(nil, "0\n%d\n", len(entries))
	for _, e := range entries {
		p = append(p, e.Topic...)
		p = append(p, ' ')
		p = strconv.AppendInt(p, int64(e.Partition), 10)
		p = append(p, ' ')
		p = strconv.AppendInt(p, e.Offset, 10)
		p = append(p, '\n')
	}
	return p
}

// Decode reads an offset checkpoint. Errors are ErrMalformed with the line and what was expected there;
// partitions must not be negative and offsets not below -1, and no
// partition may appear twice.
func Decode(p []byte) ([]Entry, error) {
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
	count, err := strconv.ParseUint(lines[1], 10, 31)
	if err != nil {
		return nil, malformed(2, "the number of entries", lines[1])
	}
	if got := uint64(len(lines) - 2); got != count {
		return nil, malformed(2, fmt.Sprintf("%d entries, as many as lines follow", got), lines[1])
	}
	type partition struct {
		topic string
		id    int32
	}
	entries := make([]Entry, 0, count)
	seen := make(map[partition]int, count)
	for i, line := range lines[2:] {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, malformed(i+3, "a topic, a partition and an offset", line)
		}
		id, err := strconv.ParseUint(fields[1], 10, 31)
		if err != nil {
			return nil, malformed(i+3, "a partition of at least 0", fields[1])
		}
		offset, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil || offset < -1 {
			return nil, malformed(i+3, "an offset of at least -1", fields[2])
		}
		key := partition{fields[0], int32(id)}
		if first, twice := seen[key]; twice {
			return nil, malformed(i+3, fmt.Sprintf("a partition other than that of line %d", first), line)
		}
		seen[key] = i + 3
		entries = append(entries, Entry{Topic: key.topic, Partition: key.id, Offset: offset})
	}
	return entries, nil
}

func malformed(line int, expected, found string) error {
	if len(found) > 64 {
		found = found[:64] + "..."
	}
	return fmt.Errorf("%w: line %d: expected %s, found %q", ErrMalformed, line, expected, found)
}
