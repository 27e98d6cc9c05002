//go:build linux

package loadgen

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errShortResponse = errors.New("response ends before the error code")

// errorCode finds the correlation id and the error code of the one partition in a Produce response without its length
// prefix. It reads nothing behind the error code.
func errorCode(response []byte, version int16) (correlation int32, code int16, err error) {
	rest := response
	take := func(n int) []byte {
		if n < 0 || n > len(rest) {
			err = errShortResponse
			return make([]byte, 8)
		}
		taken := rest[:n]
		rest = rest[n:]
		return taken
	}
	compact := func() int { // a compact length or count; the value is one less
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(response)) {
			err = errShortResponse
			return 0
		}
		take(size)
		return int(n) - 1
	}
	correlation = int32(binary.BigEndian.Uint32(take(4)))
	var topics, partitions int
	if version >= compactFromV {
		if tags := take(1); err == nil && tags[0] != 0 {
			return correlation, 0, fmt.Errorf("response header with %d tagged fields, expected none", tags[0])
		}
		topics = compact()
		if version >= topicIDFromV {
			take(16)
		} else {
			take(compact())
		}
		partitions = compact()
	} else {
		topics = int(int32(binary.BigEndian.Uint32(take(4))))
		take(int(int16(binary.BigEndian.Uint16(take(2)))))
		partitions = int(int32(binary.BigEndian.Uint32(take(4))))
	}
	take(4) // partition index
	code = int16(binary.BigEndian.Uint16(take(2)))
	if err == nil && (topics != 1 || partitions != 1) {
		err = fmt.Errorf("response with %d topics and %d partitions, expected one of each", topics, partitions)
	}
	return correlation, code, err
}
