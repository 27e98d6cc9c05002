package produce

import (
	"fmt"

	"github.com/gregor-broker/gregor/wire/prim"
)

// Versions of Produce that this package knows, and the first flexible one (KIP-482).
const (
	MinVersion   int16 = 3
	MaxVersion   int16 = 13
	FlexibleFrom int16 = 9
)

// firstTopicIDs is the first version with topic ids instead of names (KIP-516).
const firstTopicIDs = 13

// What one element costs in memory; parsing stops when a request's elements weigh more than four times its bytes and a slack,
// which no request with records can, or more than costMost.
const (
	topicCost     = 64
	partitionCost = 32
	costFactor    = 4
	costSlack     = 64 << 10
	costMost      = 64 << 20
)

// kept bounds the slices that a Request keeps over Reset.
const kept = 1024

// Request is a parsed Produce request. Its slices alias the body that was parsed and are valid as long as that is; the Request
// may be parsed into again, which reuses its memory. It is not safe for concurrent use.
type Request struct {
	TransactionalID []byte // nil for null, that is: not transactional
	Acks            int16  // 0, 1 or -1 in valid requests; not checked here
	TimeoutMs       int32
	Topics          []Topic

	partitions []Partition
}

// Topic is one topic of a Request, by name up to version 12 and by id from version 13 on.
type Topic struct {
	Name       []byte
	ID         [16]byte
	Partitions []Partition
}

// Partition is one partition of a Topic.
type Partition struct {
	Index   int32
	Records []byte // nil for null
}

// Reset forgets the request parsed last and anything it aliases. Memory of ordinary size is kept for the next one.
func (q *Request) Reset() {
	topics, partitions := q.Topics, q.partitions
	clear(topics)
	clear(partitions)
	if cap(topics) > kept {
		topics = nil
	}
	if cap(partitions) > kept {
		partitions = nil
	}
	*q = Request{Topics: topics[:0], partitions: partitions[:0]}
}

// Parse parses the body of a Produce request of the version into q and replaces what was there. Its error wraps
// prim.ErrMalformed; q is then to be ignored. Bytes after the message are an error, and so are null topics or partitions.
func Parse(body []byte, version int16, q *Request) error {
	if version < MinVersion || version > MaxVersion {
		return fmt.Errorf("produce request: version %d, expected %d to %d", version, MinVersion, MaxVersion)
	}
	q.Topics, q.partitions = q.Topics[:0], q.partitions[:0]
	var r prim.Reader
	r.Reset(body)
	r.Allow(min(costFactor*len(body)+costSlack, costMost))
	if version >= FlexibleFrom {
		q.parseFlexible(&r, version)
	} else {
		q.parseClassic(&r)
	}
	if err := r.Finish(); err != nil {
		return fmt.Errorf("produce request version %d: %w", version, err)
	}
	// The shared slice has stopped moving: hand out its pieces.
	rest := q.partitions
	for i := range q.Topics {
		n := len(q.Topics[i].Partitions)
		q.Topics[i].Partitions, rest = rest[:n:n], rest[n:]
	}
	return nil
}

func (q *Request) parseClassic(r *prim.Reader) {
	q.TransactionalID = r.StringBytes()
	q.Acks = r.Int16()
	q.TimeoutMs = r.Int32()
	topics := notNull(r, r.ArrayLen(6), "topics")
	for range q.growTopics(r, topics) {
		name := r.StringBytes()
		if name == nil {
			notNull(r, -1, "topic name")
		}
		first := len(q.partitions)
		partitions := notNull(r, r.ArrayLen(8), "partitions")
		for range q.growPartitions(r, partitions) {
			q.partitions = append(q.partitions, Partition{Index: r.Int32(), Records: r.Bytes()})
		}
		if r.Err() != nil {
			return
		}
		q.Topics = append(q.Topics, Topic{Name: name, Partitions: q.partitions[first:]})
	}
}

func (q *Request) parseFlexible(r *prim.Reader, version int16) {
	q.TransactionalID = r.CompactStringBytes()
	q.Acks = r.Int16()
	q.TimeoutMs = r.Int32()
	smallest := 3
	if version >= firstTopicIDs {
		smallest = 18
	}
	topics := notNull(r, r.CompactArrayLen(smallest), "topics")
	for range q.growTopics(r, topics) {
		var topic Topic
		if version >= firstTopicIDs {
			topic.ID = r.UUID()
		} else if topic.Name = r.CompactStringBytes(); topic.Name == nil {
			notNull(r, -1, "topic name")
		}
		first := len(q.partitions)
		partitions := notNull(r, r.CompactArrayLen(6), "partitions")
		for range q.growPartitions(r, partitions) {
			q.partitions = append(q.partitions, Partition{Index: r.Int32(), Records: r.CompactBytes()})
			r.SkipTags()
		}
		r.SkipTags()
		if r.Err() != nil {
			return
		}
		topic.Partitions = q.partitions[first:]
		q.Topics = append(q.Topics, topic)
	}
	r.SkipTags()
}

// notNull reports a null where the schema has none.
func notNull(r *prim.Reader, n int, what string) int {
	if n < 0 && r.Err() == nil {
		r.Fail(fmt.Errorf("%w: %s before byte %d: expected a value, found null", prim.ErrMalformed, what, r.Offset()))
	}
	return max(n, 0)
}

// growTopics makes room for n topics if the request's allowance has it and returns how many to parse.
func (q *Request) growTopics(r *prim.Reader, n int) int {
	if !r.Charge(n, topicCost) {
		return 0
	}
	if cap(q.Topics) < n {
		q.Topics = make([]Topic, 0, n)
	}
	return n
}

// growPartitions charges the request's allowance for n partitions and returns how many to parse.
func (q *Request) growPartitions(r *prim.Reader, n int) int {
	if !r.Charge(n, partitionCost) {
		return 0
	}
	return n
}
