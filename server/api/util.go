package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// sortedKeys returns the keys of m in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func sortPartitions(p []kmsg.DescribeLogDirsResponseDirTopicPartition) {
	slices.SortFunc(p, func(a, b kmsg.DescribeLogDirsResponseDirTopicPartition) int { return int(a.Partition - b.Partition) })
}
