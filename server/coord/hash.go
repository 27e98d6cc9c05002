package coord

import "unicode/utf16"

// PartitionFor is the partition of n that a group id or transactional id
// belongs to: the absolute value of Java's String.hashCode, which counts UTF-16
// units, modulo n (GroupCoordinatorService.partitionFor; Utils.abs of the
// smallest number is 0).
func PartitionFor(key string, n int32) int32 {
	var h int32
	for _, r := range key {
		if r < 0x10000 {
			h = 31*h + r
			continue
		}
		a, b := utf16.EncodeRune(r)
		h = 31*(31*h+a) + b
	}
	if h == -1<<31 {
		h = 0
	}
	if h < 0 {
		h = -h
	}
	return h % n
}
