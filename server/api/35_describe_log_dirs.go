package api

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/partition"
	"github.com/gregor-broker/gregor/wire"
)

// DescribeLogDirs, versions 1 to 5.
//
//	2 flexible
//	3 error code for the whole response
//	4 total and usable bytes of the volume (KIP-827)
//	5 whether the directory is cordoned (KIP-1066)

func (h *handlers) describeLogDirs(_ *wire.Request, q *kmsg.DescribeLogDirsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	wanted := func(*partition.Partition) bool { return true }
	if q.Topics != nil {
		names := map[string]map[int32]bool{}
		for _, t := range q.Topics {
			if names[t.Topic] == nil {
				names[t.Topic] = map[int32]bool{}
			}
			for _, p := range t.Partitions {
				names[t.Topic][p] = true
			}
		}
		wanted = func(p *partition.Partition) bool { return names[p.Topic][p.Index] }
	}
	byDir := map[string]map[string][]kmsg.DescribeLogDirsResponseDirTopicPartition{}
	add := func(dir, topic string, one kmsg.DescribeLogDirsResponseDirTopicPartition) {
		topics := byDir[dir]
		if topics == nil {
			topics = map[string][]kmsg.DescribeLogDirsResponseDirTopicPartition{}
			byDir[dir] = topics
		}
		topics[topic] = append(topics[topic], one)
	}
	for _, f := range h.Partitions.Futures() {
		if wanted(f.Partition) {
			one := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			one.Partition, one.Size, one.OffsetLag, one.IsFuture = f.Partition.Index, f.Size, f.Lag, true
			add(f.Dir, f.Partition.Topic, one)
		}
	}
	for _, p := range h.Partitions.All() {
		log, err := p.Log()
		if err != nil || !wanted(p) {
			continue
		}
		one := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		// The lag of a current replica is how far its end is behind the high
		// watermark, never below zero.
		one.Partition, one.Size, one.OffsetLag = p.Index, log.Size(), max(log.High()-log.End(), 0)
		add(log.Dir(), p.Topic, one)
	}
	cordoned := h.cordonedDirs(h.Image())
	for _, dir := range h.LogDirs {
		d := kmsg.NewDescribeLogDirsResponseDir()
		d.Dir = dir
		d.TotalBytes, d.UsableBytes = -1, -1
		if err := h.Store.Failed(dir); err != nil {
			d.ErrorCode = errKafkaStorage
			resp.Dirs = append(resp.Dirs, d)
			continue
		}
		if total, usable, err := h.Store.Usage(dir); err == nil {
			d.TotalBytes, d.UsableBytes = clampInt64(total), clampInt64(usable)
		}
		d.IsCordoned = slices.Contains(cordoned, dir)
		for _, name := range sortedKeys(byDir[dir]) {
			t := kmsg.NewDescribeLogDirsResponseDirTopic()
			t.Topic, t.Partitions = name, byDir[dir][name]
			sortPartitions(t.Partitions)
			d.Topics = append(d.Topics, t)
		}
		resp.Dirs = append(resp.Dirs, d)
	}
	return resp
}

func clampInt64(v uint64) int64 { return int64(min(v, math.MaxInt64)) }
