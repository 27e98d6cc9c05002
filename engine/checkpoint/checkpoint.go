package checkpoint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Entry is one partition's offset.
type Entry struct {
	Topic     string
	Partition int32
	Offset    int64
}

// ErrMalformed is wrapped by every error of Decode.
var ErrMalformed = errors.New("malformed checkpoint")

// Encode returns the file's content.
func Encode(entries []Entry) []byte {
	b := append(strconv.AppendInt([]byte("0\n"), int64(len(entries)), 10), '\n')
	for _, e := range entries {
		b = append(append(b, e.Topic...), ' ')
		b = append(strconv.AppendInt(b, int64(e.Partition), 10), ' ')
		b = append(strconv.AppendInt(b, e.Offset, 10), '\n')
	}
	return b
}

// Decode parses a file's content. An empty file has no entries. It is strict:
// a wrong version, a malformed line or a wrong count is an error that names
// the line.
func Decode(data []byte) ([]Entry, error) {
	if len(data) == 0 {
		return nil, nil
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if lines[0] != "0" {
		return nil, fmt.Errorf("%w: line 1: expected version 0, found %q", ErrMalformed, short(lines[0]))
	}
	if len(lines) < 2 {
		return nil, fmt.Errorf("%w: line 2: expected the number of entries, found the end", ErrMalformed)
	}
	n, err := strconv.Atoi(lines[1])
	if err != nil || n < 0 {
		return nil, fmt.Errorf("%w: line 2: expected the number of entries, found %q", ErrMalformed, short(lines[1]))
	}
	if n != len(lines)-2 {
		return nil, fmt.Errorf("%w: line 2: expected %d entries, found %d", ErrMalformed, n, len(lines)-2)
	}
	entries := make([]Entry, 0, n)
	for i, line := range lines[2:] {
		e, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w, found %q", ErrMalformed, i+3, err, short(line))
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func parse(line string) (e Entry, err error) {
	f := strings.Fields(line)
	if len(f) != 3 {
		return e, errors.New("expected \"topic partition offset\"")
	}
	p, err := strconv.ParseInt(f[1], 10, 32)
	if err != nil || p < 0 {
		return e, errors.New("expected a partition number in the second place")
	}
	o, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return e, errors.New("expected an offset in the third place")
	}
	return Entry{Topic: f[0], Partition: int32(p), Offset: o}, nil
}

func short(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
