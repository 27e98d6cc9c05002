package api

import (
	"errors"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/partition"
	"github.com/gregor-broker/gregor/wire"
)

// AlterReplicaLogDirs, versions 1 and 2 (KIP-113).
//
//	2 flexible
//
// The answer is that a move has begun, not that it is over: DescribeLogDirs and kafka-reassign-partitions --verify tell.
// Moves that are under way already, or have nowhere to go, are no error. A partition that is named twice goes where it was
// named last.

// futureNameBytes is what the name of a partition's copy has more than the partition's: a dot, 32 hexadecimal digits, "-future".
const futureNameBytes = 1 + 32 + len("-future")

func (h *handlers) alterReplicaLogDirs(_ *wire.Request, q *kmsg.AlterReplicaLogDirsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterReplicaLogDirsResponse()
	im := h.Image()
	cordoned := h.cordonedDirs(im)
	type place struct {
		topic     string
		partition int32
	}
	to := map[place]string{}
	var order []place
	for _, d := range q.Dirs {
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				at := place{t.Topic, p}
				if _, twice := to[at]; !twice {
					order = append(order, at)
				}
				to[at] = d.Dir
			}
		}
	}
	topics := map[string]int{}
	for _, at := range order {
		i, ok := topics[at.topic]
		if !ok {
			i = len(resp.Topics)
			topics[at.topic] = i
			t := kmsg.NewAlterReplicaLogDirsResponseTopic()
			t.Topic = at.topic
			resp.Topics = append(resp.Topics, t)
		}
		one := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
		one.Partition = at.partition
		if err := h.moveTo(im, at.topic, at.partition, to[at], cordoned); err != nil {
			if one.ErrorCode = code(err); one.ErrorCode == errUnknownServerError || one.ErrorCode == errKafkaStorage {
				h.Logger.Error("cannot move a log", "topic", at.topic, "partition", at.partition, "to", to[at], "error", err)
			}
		}
		resp.Topics[i].Partitions = append(resp.Topics[i].Partitions, one)
	}
	return resp
}

var (
	errLongFutureName = &apiError{errInvalidTopic, "the topic's name is too long for a copy of its log"}
	errNoLogDir       = &apiError{errLogDirNotFound, "the directory is not one of log.dirs"}
	errCordonedLogDir = &apiError{errInvalidReplicaAssignment, "the directory is cordoned"}
	errNoReplica      = &apiError{errReplicaNotAvailable, "this broker has no replica of the partition"}
)

// moveTo checks in the order of ReplicaManager.alterReplicaLogDirs.
func (h *handlers) moveTo(im *meta.Image, topic string, index int32, dir string, cordoned []string) error {
	if len(partition.LogName(topic, index))+futureNameBytes > 255 {
		return errLongFutureName
	}
	if !slices.Contains(h.LogDirs, dir) {
		return errNoLogDir
	}
	if err := h.Store.Failed(dir); err != nil {
		return err
	}
	if slices.Contains(cordoned, dir) {
		return errCordonedLogDir
	}
	t := im.Topic(topic)
	if t == nil || t.Partition(index) == nil {
		return errNoTopic
	}
	p := h.Partitions.Get(t.ID, index)
	if p == nil {
		return errNoReplica
	}
	err := h.Partitions.MoveTo(p, dir)
	if errors.Is(err, engine.ErrNotFound) {
		return errNoReplica // deleted just now
	}
	return err
}

// cordonedDirs are the data directories that take no more partitions (KIP-1066).
func (h *handlers) cordonedDirs(im *meta.Image) []string {
	if im.MetadataVersion() < cordonedVersion {
		return nil
	}
	own := im.Configs(meta.ResourceBroker, strconv.Itoa(int(h.NodeID)))
	c, err := h.Config.WithDynamic(own, im.Configs(meta.ResourceBroker, ""))
	if err != nil {
		c = h.Config
	}
	return c.CordonedLogDirs
}

const cordonedVersion = 30 // 4.3-IV0
