package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/group/assign"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire/prim"
)

// consumerProtocolVersion is the newest version of consumers' subscriptions and assignments (ConsumerProtocol); newer ones are
// read as this one.
const consumerProtocolVersion = 3

// consumerSubscription is what a consumer of the classic protocol says when it joins (ConsumerProtocolSubscription).
type consumerSubscription struct {
	version int16
	topics  []string
	owned   []namedPartitions
	rack    string
}

// namedPartitions are partitions of a topic.
type namedPartitions struct {
	topic      string
	partitions []int32
}

// readSubscription reads a consumer's subscription.
func readSubscription(metadata []byte) (s consumerSubscription, ok bool) {
	r := prim.NewReader(metadata)
	s.version = min(r.Int16(), consumerProtocolVersion)
	if s.version < 0 {
		return s, false
	}
	n := r.ArrayLen(2)
	ok = n >= 0
	for i := 0; i < n && r.Err() == nil; i++ {
		s.topics = append(s.topics, r.String())
	}
	r.Bytes()
	if s.version >= 1 {
		s.owned = readPartitions(r)
	}
	if s.version >= 2 {
		r.Int32()
	}
	if s.version >= 3 {
		s.rack = text(r.NullableString())
	}
	return s, ok && r.Err() == nil
}

func readPartitions(r *prim.Reader) (list []namedPartitions) {
	n := r.ArrayLen(6)
	for i := 0; i < n && r.Err() == nil; i++ {
		t := namedPartitions{topic: r.String()}
		k := r.ArrayLen(4)
		for j := 0; j < k && r.Err() == nil; j++ {
			t.partitions = append(t.partitions, r.Int32())
		}
		list = append(list, t)
	}
	return list
}

// readAssignment reads what a consumer was assigned (ConsumerProtocolAssignment). custom is set where an assignor of its own has something to say
// to it, which the broker could not.
func readAssignment(assignment []byte) (list []namedPartitions, custom, ok bool) {
	if len(assignment) == 0 {
		return nil, false, true // it has not synced yet
	}
	r := prim.NewReader(assignment)
	if r.Int16() < 0 {
		return nil, false, false
	}
	list = readPartitions(r)
	custom = len(r.Bytes()) > 0
	return list, custom, r.Err() == nil
}

// writeAssignment is an assignment in a version of the consumers' protocol. Topics that do not exist are left out.
func writeAssignment(version int16, image *meta.Image, each func(f func(topic assign.TopicID, partitions []int32))) []byte {
	b := prim.AppendInt16(nil, min(max(version, 0), consumerProtocolVersion))
	at, n := len(b), 0
	b = prim.AppendArrayLen(b, 0)
	each(func(topic assign.TopicID, partitions []int32) {
		t := image.TopicByID(topic)
		if t == nil {
			return
		}
		n++
		b = prim.AppendString(b, t.Name)
		b = prim.AppendArrayLen(b, len(partitions))
		for _, p := range partitions {
			b = prim.AppendInt32(b, p)
		}
	})
	prim.AppendArrayLen(b[:at], n)
	return prim.AppendBytes(b, nil)
}

// byID is partitions of existing topics, in order.
func byID(image *meta.Image, list []namedPartitions) assign.Assignment {
	var out []assign.TopicPartitions
	for _, t := range list {
		if topic := image.Topic(t.topic); topic != nil {
			out = append(out, assign.TopicPartitions{Topic: topic.ID, Partitions: t.partitions})
		}
	}
	return assign.New(out)
}

// requested is the same as a member of the KIP-848 protocol says it.
func requested(a assign.Assignment) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	out := make([]kmsg.ConsumerGroupHeartbeatRequestTopic, len(a))
	for i, t := range a {
		out[i].TopicID, out[i].Partitions = t.Topic, slices.Clone(t.Partitions)
	}
	return out
}
