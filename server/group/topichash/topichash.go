package topichash

import (
	"encoding/binary"
	"slices"
	"unicode/utf16"
)

// Topic is the hash of a topic (Utils.computeTopicHash). racks gives the racks of a partition's replicas, in any order; the list is not
// changed. Partitions are numbered from 0.
func Topic(id [16]byte, name string, partitions int, racks func(partition int) []string) int64 {
	b := make([]byte, 0, 64+2*len(name)+4*partitions)
	b = append(b, 0) // version of this layout
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(id[:8]))
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(id[8:]))
	b, _ = text(b, name)
	b = binary.LittleEndian.AppendUint32(b, uint32(partitions))
	for p := range partitions {
		b = binary.LittleEndian.AppendUint32(b, uint32(p))
		list := racks(p)
		if len(list) > 1 {
			list = slices.Sorted(slices.Values(list))
		}
		for _, rack := range list {
			at := len(b)
			b = append(b, 0, 0, 0, 0)
			var n int
			b, n = text(b, rack)
			binary.LittleEndian.PutUint32(b[at:], uint32(n))
		}
	}
	return int64(xxh3(b))
}

// text appends a string as hash4j's HashStream.putString does: UTF-16 units, then their number.
func text(b []byte, s string) ([]byte, int) {
	n := 0
	for _, r := range s {
		if r >= 0x10000 {
			hi, lo := utf16.EncodeRune(r)
			b = binary.LittleEndian.AppendUint16(b, uint16(hi))
			r = lo
			n++
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(r))
		n++
	}
	return binary.LittleEndian.AppendUint32(b, uint32(n)), n
}

// Group is the hash of a group from the hashes of the existing topics it subscribes to, ordered by the topics' names
// (Utils.computeGroupHash); 0 if there are none.
func Group(topics []int64) int64 {
	if len(topics) == 0 {
		return 0
	}
	b := make([]byte, 0, 8*len(topics))
	for _, h := range topics {
		b = binary.LittleEndian.AppendUint64(b, uint64(h))
	}
	return int64(xxh3(b))
}
