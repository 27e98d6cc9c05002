package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/partition"
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

// checkEpoch compares the leader epoch a client knows; only -1 stands for none.
func checkEpoch(p *partition.Partition, epoch int32) error {
	if epoch < -1 {
		return partition.ErrFencedEpoch
	}
	return p.CheckEpoch(epoch)
}
