package controller

import (
	"slices"

	"github.com/gregor-broker/gregor/server/meta"
)

// CordonDirectories notes which of this node's log directories take no new replicas (KIP-1066), as a broker's heartbeat tells
// a controller: what cordoned says of the newest image. Before 4.3-IV0 there is no such thing.
func (k *Controller) CordonDirectories(cordoned func(im *meta.Image) []meta.UUID) error {
	return k.Change(func(im *meta.Image) ([]meta.Record, error) {
		b := im.Brokers[k.c.NodeID]
		if b == nil || im.MetadataVersion() < cordonedVersion {
			return nil, nil
		}
		list := slices.Clone(cordoned(im))
		slices.SortFunc(list, func(a, b meta.UUID) int { return slices.Compare(a[:], b[:]) })
		before := slices.Clone(b.CordonedLogDirs)
		slices.SortFunc(before, func(a, b meta.UUID) int { return slices.Compare(a[:], b[:]) })
		if slices.Equal(list, before) {
			return nil, nil
		}
		if list == nil {
			list = []meta.UUID{}
		}
		return []meta.Record{&meta.BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, CordonedLogDirs: list}}, nil
	})
}

const directoriesVersion int16 = 17 // 3.7-IV2: directories of replicas

// AssignDirectory notes in which log directory this node keeps its replica of a partition
// (ReplicationControlManager.handleAssignReplicasToDirs). It is durable when it returns. Where the metadata knows no
// directories (metadata.version before 3.7-IV2) nothing is noted. A partition that this node has no replica of is an
// UNKNOWN_TOPIC_OR_PARTITION.
func (k *Controller) AssignDirectory(topic meta.UUID, partition int32, dir meta.UUID) error {
	return k.Change(func(im *meta.Image) ([]meta.Record, error) {
		t := im.TopicByID(topic)
		if t == nil {
			return nil, errorf(CodeUnknownTopicOrPartition, "No topic with id %s", topic)
		}
		p := t.Partition(partition)
		if p == nil {
			return nil, errorf(CodeUnknownTopicOrPartition, "No such partition as %s-%d", t.Name, partition)
		}
		i := slices.Index(p.Replicas, k.c.NodeID)
		if i < 0 && len(p.Replicas) > 0 {
			return nil, errorf(CodeUnknownTopicOrPartition, "Broker %d has no replica of %s-%d", k.c.NodeID, t.Name, partition)
		}
		if i < 0 || im.MetadataVersion() < directoriesVersion || i < len(p.Directories) && p.Directories[i] == dir {
			return nil, nil
		}
		change := meta.NewPartitionChange(topic, partition)
		change.Directories = make([]meta.UUID, len(p.Replicas))
		copy(change.Directories, p.Directories)
		change.Directories[i] = dir
		return []meta.Record{change}, nil
	})
}
