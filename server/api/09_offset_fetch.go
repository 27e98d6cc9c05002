package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/wire"
)

// OffsetFetch, versions 1 to 10.
//
//	2 null topics: everything the group has; one code for the whole answer
//	5 leader epochs
//	6 flexible
//	7 only stable offsets: UNSTABLE_OFFSET_COMMIT while a transaction is open
//	8 many groups
//	9 members of KIP-848 groups
//	10 topic ids

func (h *handlers) offsetFetch(req *wire.Request, q *kmsg.OffsetFetchRequest, l *later) {
	groups := q.Groups
	if q.Version < 8 {
		groups = []kmsg.OffsetFetchRequestGroup{fetchGroup(q)}
	}
	// A group once: see eachGroup.
	names := make([]string, len(groups))
	for i := range groups {
		names[i] = groups[i].Group
	}
	names = distinct(names)
	if len(names) < len(groups) {
		groups = firstOfEach(groups)
	}
	im := h.Image()
	unknown := make([][]kmsg.OffsetFetchResponseGroupTopic, len(groups))
	for i := range groups {
		unknown[i] = resolveFetch(im, q.Version, &groups[i])
	}
	failed := func(i int, code int16) kmsg.OffsetFetchResponseGroup {
		out := kmsg.NewOffsetFetchResponseGroup()
		out.Group, out.ErrorCode = groups[i].Group, offsetFetchCode(code)
		return out
	}
	op := func(i int, c *coord.Context, m *group.Machine, done coord.Done[kmsg.OffsetFetchResponseGroup]) {
		m.FetchOffsets(c, q.Version, q.RequireStable, &groups[i], done)
	}
	eachGroup(h, names, failed, op, func(answers []kmsg.OffsetFetchResponseGroup) {
		for i := range answers {
			finishFetch(im, q.Version, groups[i].Topics == nil, &answers[i], unknown[i])
		}
		resp := kmsg.NewPtrOffsetFetchResponse()
		if q.Version < 8 {
			oneGroup(resp, q, &answers[0])
		} else {
			resp.Groups = answers
		}
		l.complete(resp)
	})
}

// offsetFetchCode: consumers before 3.9 do not ask again after
// COORDINATOR_NOT_AVAILABLE (GroupCoordinatorService.handleOffsetFetchException).
func offsetFetchCode(code int16) int16 {
	if code == errCoordinatorNotAvailable {
		return errNotCoordinator
	}
	return code
}

// fetchGroup is the one group of versions before 8.
func fetchGroup(q *kmsg.OffsetFetchRequest) kmsg.OffsetFetchRequestGroup {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = q.Group
	if q.Topics == nil {
		return g
	}
	g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(q.Topics))
	for i := range q.Topics {
		g.Topics[i].Topic, g.Topics[i].Partitions = q.Topics[i].Topic, q.Topics[i].Partitions
	}
	return g
}

func firstOfEach(groups []kmsg.OffsetFetchRequestGroup) []kmsg.OffsetFetchRequestGroup {
	seen := make(map[string]bool, len(groups))
	out := groups[:0:0]
	for i := range groups {
		if !seen[groups[i].Group] {
			seen[groups[i].Group] = true
			out = append(out, groups[i])
		}
	}
	return out
}

// resolveFetch fills in names and ids, and takes out topics whose id nobody
// knows, which it answers.
func resolveFetch(im *meta.Image, version int16, g *kmsg.OffsetFetchRequestGroup) (unknown []kmsg.OffsetFetchResponseGroupTopic) {
	known := g.Topics[:0]
	for i := range g.Topics {
		t := &g.Topics[i]
		if version < 10 {
			if topic := im.Topic(t.Topic); topic != nil {
				t.TopicID = topic.ID
			}
		} else if topic := im.TopicByID(t.TopicID); topic != nil {
			t.Topic = topic.Name
		} else {
			out := kmsg.NewOffsetFetchResponseGroupTopic()
			out.TopicID = t.TopicID
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, noOffset(p, errUnknownTopicID))
			}
			unknown = append(unknown, out)
			continue
		}
		known = append(known, *t)
	}
	g.Topics = known
	return unknown
}

func noOffset(partition int32, code int16) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.ErrorCode = partition, -1, -1, code
	p.Metadata = new(string)
	return p
}

// finishFetch gives topics their ids, leaves out those that have none any more,
// and adds what was not asked of the group.
func finishFetch(im *meta.Image, version int16, everything bool, out *kmsg.OffsetFetchResponseGroup, unknown []kmsg.OffsetFetchResponseGroupTopic) {
	if out.ErrorCode != errNone {
		return
	}
	if version >= 10 && everything {
		kept := out.Topics[:0]
		for i := range out.Topics {
			if topic := im.Topic(out.Topics[i].Topic); topic != nil {
				out.Topics[i].TopicID = topic.ID
				kept = append(kept, out.Topics[i])
			}
		}
		out.Topics = kept
	}
	out.Topics = append(out.Topics, unknown...)
}

// oneGroup lays a group out as versions before 8 have it.
func oneGroup(resp *kmsg.OffsetFetchResponse, q *kmsg.OffsetFetchRequest, g *kmsg.OffsetFetchResponseGroup) {
	resp.ErrorCode = g.ErrorCode
	if q.Version < 2 && g.ErrorCode != errNone {
		// There is no code for the whole yet.
		for _, t := range q.Topics {
			out := kmsg.NewOffsetFetchResponseTopic()
			out.Topic = t.Topic
			for _, p := range t.Partitions {
				x := noOffset(p, g.ErrorCode)
				out.Partitions = append(out.Partitions, kmsg.OffsetFetchResponseTopicPartition{Partition: p, Offset: x.Offset, LeaderEpoch: x.LeaderEpoch, Metadata: x.Metadata, ErrorCode: x.ErrorCode})
			}
			resp.Topics = append(resp.Topics, out)
		}
		return
	}
	for i := range g.Topics {
		out := kmsg.NewOffsetFetchResponseTopic()
		out.Topic = g.Topics[i].Topic
		for _, p := range g.Topics[i].Partitions {
			out.Partitions = append(out.Partitions, kmsg.OffsetFetchResponseTopicPartition{Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode})
		}
		resp.Topics = append(resp.Topics, out)
	}
}
