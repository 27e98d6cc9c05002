package fetch

import (
	"fmt"
	"math"

	"github.com/gregor-broker/gregor/wire/prim"
)

// Versions of Fetch that this package knows, and the first flexible one (KIP-482).
const (
	MinVersion   int16 = 4
	MaxVersion   int16 = 18
	FlexibleFrom int16 = 12
)

// Versions at which fields appear.
const (
	firstLogStart     = 5  // LogStartOffset
	firstSessions     = 7  // SessionID, SessionEpoch, Forgotten (KIP-227)
	firstLeaderEpoch  = 9  // CurrentLeaderEpoch (KIP-320)
	firstRack         = 11 // RackID, PreferredReadReplica (KIP-392)
	firstFetchedEpoch = 12 // LastFetchedEpoch (KIP-595)
	firstTopicIDs     = 13 // ids instead of names (KIP-516)
	firstReplicaState = 15 // ReplicaState instead of ReplicaID (KIP-903)
	firstNodes        = 16 // NodeEndpoints (KIP-951)
	firstDirectory    = 17 // ReplicaDirectoryID (KIP-853)
	firstReplicaHigh  = 18 // HighWatermark (KIP-1166)
)

// What one element costs in memory; parsing stops when a request's elements weigh more than six times its bytes and a slack,
// which not even one-letter topics of one partition do, or more than costMost, which is half a million partitions.
const (
	topicCost     = 64
	partitionCost = 56
	indexCost     = 4
	costFactor    = 6
	costSlack     = 64 << 10
	costMost      = 64 << 20
)

// kept bounds the slices that a Request keeps over Reset.
const kept = 1024

// NoHighWatermark is the high watermark of a follower that does not send one (KIP-1166).
const NoHighWatermark int64 = math.MaxInt64

// Request is a parsed Fetch request. Its byte slices alias the body that was parsed and are valid as long as that is; the
// Request may be parsed into again, which reuses its memory. Fields that a version does not have hold the schema's default.
// It is not safe for concurrent use.
type Request struct {
	ClusterID      []byte // nil for null
	ReplicaID      int32  // -1 for a consumer; from the ReplicaState field in version 15 and later
	ReplicaEpoch   int64  // -1 if unknown
	MaxWaitMs      int32
	MinBytes       int32
	MaxBytes       int32
	IsolationLevel int8  // 0 read uncommitted, 1 read committed; not checked here
	SessionID      int32 // 0 for none
	SessionEpoch   int32 // -1 for no session
	Topics         []Topic
	Forgotten      []ForgottenTopic
	RackID         []byte

	partitions []Partition
	indexes    []int32
}

// Topic is one topic of a Request, by name up to version 12 and by id from version 13 on.
type Topic struct {
	Name       []byte
	ID         [16]byte
	Partitions []Partition
}

// Partition is one partition of a Topic.
type Partition struct {
	Index              int32
	CurrentLeaderEpoch int32 // -1 if the client does not know it
	FetchOffset        int64
	LastFetchedEpoch   int32 // -1 if there is none
	MaxBytes           int32
	LogStartOffset     int64    // of a follower, -1 for a consumer
	HighWatermark      int64    // known to a follower, NoHighWatermark if not sent
	ReplicaDirectoryID [16]byte // of a follower, zero if not sent
}

// ForgottenTopic names partitions that an incremental request takes out of its session (KIP-227).
type ForgottenTopic struct {
	Name       []byte
	ID         [16]byte
	Partitions []int32
}

// Reset forgets the request parsed last and anything it aliases. Memory of ordinary size is kept for the next one.
func (q *Request) Reset() {
	clear(q.Topics)
	clear(q.Forgotten)
	*q = Request{
		Topics: keep(q.Topics), Forgotten: keep(q.Forgotten),
		partitions: keep(q.partitions), indexes: keep(q.indexes),
	}
}

func keep[T any](s []T) []T {
	if cap(s) > kept {
		return nil
	}
	return s[:0]
}

// Parse parses the body of a Fetch request of the version into q and replaces what was there. Its error wraps
// prim.ErrMalformed; q is then to be ignored. Bytes after the message are an error, and so are null arrays and names.
func Parse(body []byte, version int16, q *Request) error {
	if version < MinVersion || version > MaxVersion {
		return fmt.Errorf("fetch request: version %d, expected %d to %d", version, MinVersion, MaxVersion)
	}
	*q = Request{
		ReplicaID: -1, ReplicaEpoch: -1, SessionEpoch: -1,
		Topics: q.Topics[:0], Forgotten: q.Forgotten[:0], partitions: q.partitions[:0], indexes: q.indexes[:0],
	}
	p := parser{version: version, flexible: version >= FlexibleFrom, q: q}
	p.Reset(body)
	p.Allow(min(costFactor*len(body)+costSlack, costMost))
	p.parse()
	if err := p.Finish(); err != nil {
		return fmt.Errorf("fetch request version %d: %w", version, err)
	}
	// The shared slices have stopped moving: hand out their pieces.
	partitions, indexes := q.partitions, q.indexes
	for i := range q.Topics {
		n := len(q.Topics[i].Partitions)
		q.Topics[i].Partitions, partitions = partitions[:n:n], partitions[n:]
	}
	for i := range q.Forgotten {
		n := len(q.Forgotten[i].Partitions)
		q.Forgotten[i].Partitions, indexes = indexes[:n:n], indexes[n:]
	}
	return nil
}

// parser is a Reader that knows the version's encodings.
type parser struct {
	prim.Reader
	version  int16
	flexible bool
	q        *Request
}

func (p *parser) parse() {
	q := p.q
	if p.version < firstReplicaState {
		q.ReplicaID = p.Int32()
	}
	q.MaxWaitMs = p.Int32()
	q.MinBytes = p.Int32()
	q.MaxBytes = p.Int32()
	q.IsolationLevel = p.Int8()
	if p.version >= firstSessions {
		q.SessionID = p.Int32()
		q.SessionEpoch = p.Int32()
	}
	p.topics()
	if p.version >= firstSessions {
		p.forgotten()
	}
	if p.version >= firstRack {
		q.RackID = p.str("rack id")
	}
	if p.flexible {
		p.Tags(func(tag uint32, r *prim.Reader) {
			switch {
			case tag == 0:
				q.ClusterID = r.CompactStringBytes()
			case tag == 1 && p.version >= firstReplicaState:
				q.ReplicaID = r.Int32()
				q.ReplicaEpoch = r.Int64()
				r.SkipTags()
			}
		})
	}
}

func (p *parser) topics() {
	q := p.q
	n := p.array(p.smallestTopic())
	if !p.Charge(n, topicCost) {
		return
	}
	if cap(q.Topics) < n {
		q.Topics = make([]Topic, 0, n)
	}
	smallest := p.smallestPartition()
	for range n {
		var t Topic
		t.Name, t.ID = p.topic()
		partitions := p.array(smallest)
		if !p.Charge(partitions, partitionCost) {
			return
		}
		first := len(q.partitions)
		for range partitions {
			q.partitions = append(q.partitions, Partition{})
			p.partition(&q.partitions[len(q.partitions)-1])
		}
		if p.tags(); p.Err() != nil {
			return
		}
		t.Partitions = q.partitions[first:]
		q.Topics = append(q.Topics, t)
	}
}

func (p *parser) partition(t *Partition) {
	t.CurrentLeaderEpoch, t.LastFetchedEpoch, t.LogStartOffset, t.HighWatermark = -1, -1, -1, NoHighWatermark
	t.Index = p.Int32()
	if p.version >= firstLeaderEpoch {
		t.CurrentLeaderEpoch = p.Int32()
	}
	t.FetchOffset = p.Int64()
	if p.version >= firstFetchedEpoch {
		t.LastFetchedEpoch = p.Int32()
	}
	if p.version >= firstLogStart {
		t.LogStartOffset = p.Int64()
	}
	t.MaxBytes = p.Int32()
	if p.version < firstDirectory {
		p.tags()
		return
	}
	p.Tags(func(tag uint32, r *prim.Reader) {
		switch {
		case tag == 0:
			t.ReplicaDirectoryID = r.UUID()
		case tag == 1 && p.version >= firstReplicaHigh:
			t.HighWatermark = r.Int64()
		}
	})
}

func (p *parser) forgotten() {
	q := p.q
	n := p.array(p.smallestTopic())
	if !p.Charge(n, topicCost) {
		return
	}
	if cap(q.Forgotten) < n {
		q.Forgotten = make([]ForgottenTopic, 0, n)
	}
	for range n {
		var t ForgottenTopic
		t.Name, t.ID = p.topic()
		partitions := p.array(4)
		if !p.Charge(partitions, indexCost) {
			return
		}
		first := len(q.indexes)
		for range partitions {
			q.indexes = append(q.indexes, p.Int32())
		}
		if p.tags(); p.Err() != nil {
			return
		}
		t.Partitions = q.indexes[first:]
		q.Forgotten = append(q.Forgotten, t)
	}
}

func (p *parser) topic() (name []byte, id [16]byte) {
	if p.version >= firstTopicIDs {
		return nil, p.UUID()
	}
	return p.str("topic name"), id
}

// str reads a string that may not be null.
func (p *parser) str(what string) []byte {
	var s []byte
	if p.flexible {
		s = p.CompactStringBytes()
	} else {
		s = p.StringBytes()
	}
	if s == nil {
		p.null(what)
	}
	return s
}

// array reads the count of an array that may not be null.
func (p *parser) array(smallest int) int {
	var n int
	if p.flexible {
		n = p.CompactArrayLen(smallest)
	} else {
		n = p.ArrayLen(smallest)
	}
	if n < 0 {
		p.null("array")
	}
	return max(n, 0)
}

func (p *parser) null(what string) {
	p.Fail(fmt.Errorf("%w: %s before byte %d: expected a value, found null", prim.ErrMalformed, what, p.Offset()))
}

func (p *parser) tags() {
	if p.flexible {
		p.SkipTags()
	}
}

// smallestTopic is the fewest bytes a topic can take: its name or id, a count, tagged fields.
func (p *parser) smallestTopic() int {
	switch {
	case p.version >= firstTopicIDs:
		return 16 + 1 + 1
	case p.flexible:
		return 1 + 1 + 1
	default:
		return 2 + 4
	}
}

// smallestPartition is the fewest bytes a partition can take.
func (p *parser) smallestPartition() int {
	n := 4 + 8 + 4
	if p.version >= firstLogStart {
		n += 8
	}
	if p.version >= firstLeaderEpoch {
		n += 4
	}
	if p.version >= firstFetchedEpoch {
		n += 4 + 1
	}
	return n
}
