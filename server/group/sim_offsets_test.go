package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/assign"
)

// history is what was committed for one partition of one group, in the order in which the coordinator saw it.
type history struct {
	commits []*committed
}

type committed struct {
	value int64 // -1: a deletion
	fate  fate
	// Of a transactional offset, which is never seen before its transaction is decided.
	acknowledged bool // the commit, not the marker
	waiting      fate // sure: it waits for its marker; maybe: that depends on what a crash took
}

// fate says whether something came true.
type fate uint8

const (
	never fate = iota
	maybe      // nobody was told: under way, or the coordinator has crashed
	sure
)

// expect is what a fetch that is carried out now may answer: the last commit that is sure, or one after it that may be. The first is the oldest.
func (h *history) expect() (list []*committed) {
	for i := len(h.commits) - 1; i >= 0; i-- {
		c := h.commits[i]
		if c.fate != never {
			list = append(list, c)
		}
		if c.fate == sure {
			return list
		}
	}
	return append(list, &committed{value: -1, fate: sure})
}

// undecided says whether a transactional offset waits for its marker.
func (h *history) undecided() (f fate) {
	for _, c := range h.commits {
		f = max(f, c.waiting)
	}
	return f
}

// revealed is a fetch's answer: whoever saw it relies on it.
func revealed(list []*committed, value int64) bool {
	for i, c := range list { // the newest first
		if c.value != value {
			continue
		}
		c.fate = sure
		for _, later := range list[:i] {
			if later.fate == maybe && later.waiting == never {
				later.fate = never
			}
		}
		return true
	}
	return false
}

func (w *world) history(group string, partition int32) *history {
	k := offsetKey{group, simTopic, partition}
	h := w.offsets[k]
	if h == nil {
		h = &history{}
		w.offsets[k] = h
	}
	return h
}

// add notes a commit.
func (w *world) add(h *history, c *committed) {
	h.commits = append(h.commits, c)
	w.commits++
}

// nextValue is an offset that nobody has committed yet.
func (w *world) nextValue() int64 { return w.commits + 1 }

// commit sends an OffsetCommit and keeps account of it.
func (w *world) commit(q *kmsg.OffsetCommitRequest, partitions []int32, reply func(code int16, err error)) {
	q.Version = 10
	topic := kmsg.OffsetCommitRequestTopic{Topic: simTopic, TopicID: w.image.Topic(simTopic).ID}
	var made []*committed
	next := w.nextValue()
	for i, p := range partitions {
		c := &committed{value: next + int64(i), fate: maybe}
		made = append(made, c)
		metadata := fmt.Sprint(c.value)
		topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: p, Offset: c.value, LeaderEpoch: -1, Metadata: &metadata})
	}
	q.Topics = []kmsg.OffsetCommitRequestTopic{topic}
	stale := make([]bool, len(partitions))
	call(w, "commit of group "+q.Group+" by "+q.MemberID, 5*time.Second, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.OffsetCommitResponse]) {
		for i, p := range partitions {
			h := w.history(q.Group, p)
			w.add(h, made[i])
			stale[i] = q.Generation >= 0 && past(m, q, owned{assign.TopicID(topic.TopicID), p})
		}
		m.CommitOffsets(c, Client{ID: "c", Host: "/h"}, q, done)
	}, func(r *kmsg.OffsetCommitResponse, err error) {
		for i, c := range made {
			code := int16(-1)
			if err == nil {
				code = r.Topics[0].Partitions[i].ErrorCode
			}
			if stale[i] && code == codeNone {
				w.fail("group %s: %s commits with generation %d, which is over", q.Group, q.MemberID, q.Generation)
			}
			c.settle(w, code)
		}
	}, func(r *kmsg.OffsetCommitResponse, err error) {
		code := int16(0)
		if err == nil {
			code = r.Topics[0].Partitions[0].ErrorCode
		}
		reply(code, err)
	})
}

// past says whether a member's generation is over, or its epoch for this partition (KIP-1251).
func past(m *Machine, q *kmsg.OffsetCommitRequest, o owned) bool {
	g := m.find(q.Group)
	switch {
	case g == nil:
		return true
	case g.classic != nil:
		return q.Generation != g.classic.generation
	}
	x := g.consumer.member(q.MemberID)
	if x == nil || q.Generation >= x.epoch {
		return x == nil || q.Generation > x.epoch
	}
	for _, h := range [...]holdings{x.assigned, x.revoking} {
		if since, ok := h.epoch(o.topic, o.partition); ok && since <= q.Generation {
			return false
		}
	}
	return true
}

func (c *committed) settle(w *world, code int16) {
	switch {
	case code == codeNone && c.fate == never:
		w.fail("an acknowledged commit of %d was not to be seen", c.value)
	case code == codeNone:
		c.fate = sure
	case c.fate == sure:
		w.fail("a refused commit of %d was seen", c.value)
	default:
		c.fate = never
	}
}

// fetch reads one partition's offset and judges the answer.
func (w *world) fetch(group string, partition int32, requireStable bool) {
	h := w.history(group, partition)
	var list []*committed
	undecided := never
	q := kmsg.NewOffsetFetchRequestGroup()
	q.Group = group
	all := w.chance(0.2)
	if !all {
		q.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: simTopic, TopicID: w.image.Topic(simTopic).ID, Partitions: []int32{partition}}}
	}
	call(w, "fetch of group "+group, 5*time.Second, func(c *coord.Context, m *Machine, done coord.Done[kmsg.OffsetFetchResponseGroup]) {
		list, undecided = h.expect(), h.undecided()
		m.FetchOffsets(c, 10, requireStable, &q, done)
	}, func(r kmsg.OffsetFetchResponseGroup, err error) {
		if err != nil {
			return
		}
		if r.ErrorCode != codeNone {
			w.fail("fetch of group %s: error %d", group, r.ErrorCode)
			return
		}
		got := kmsg.OffsetFetchResponseGroupTopicPartition{Offset: -1, Metadata: new(string)}
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				if t.Topic == simTopic && p.Partition == partition {
					got = p
				}
			}
		}
		switch {
		case got.ErrorCode == codeUnstableOffsetCommit && (!requireStable || undecided == never):
			w.fail("group %s partition %d: UNSTABLE_OFFSET_COMMIT although nothing is undecided", group, partition)
		case got.ErrorCode == codeUnstableOffsetCommit:
		case !all && requireStable && undecided == sure:
			w.fail("group %s partition %d: offset %d although one is undecided", group, partition, got.Offset)
		case !revealed(list, got.Offset):
			w.fail("group %s partition %d: fetched %d, expected one of %s", group, partition, got.Offset, values(list))
		case got.Offset >= 0 && *got.Metadata != fmt.Sprint(got.Offset):
			w.fail("group %s partition %d: offset %d has metadata %q", group, partition, got.Offset, *got.Metadata)
		}
	}, func(kmsg.OffsetFetchResponseGroup, error) {})
}

func values(list []*committed) string {
	s := ""
	for _, c := range list {
		s += fmt.Sprintf(" %d(%v)", c.value, []string{"never", "maybe", "sure"}[c.fate])
	}
	return s
}

// simpleClient is in no group: it commits, fetches and deletes as tools do.
type simpleClient struct {
	group string
	next  time.Time
}

func (s *simpleClient) behave(*world)           {}
func (s *simpleClient) unsettled(*world) string { return "" }

func (s *simpleClient) tick(w *world) {
	if w.now().Before(s.next) {
		return
	}
	s.next = w.now().Add(w.between(time.Second, 20*time.Second))
	partition := int32(w.rng.IntN(simPartitions))
	switch n := w.rng.IntN(10); {
	case n < 5:
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Group = s.group
		w.commit(q, []int32{partition}, func(code int16, err error) {
			if err == nil && code != codeNone {
				w.fail("a simple commit: %d", code)
			}
		})
	case n < 8:
		w.fetch(s.group, partition, w.chance(0.5))
	case n < 9:
		s.deleteOffset(w, partition)
	default:
		s.deleteGroup(w)
	}
}

func (s *simpleClient) deleteOffset(w *world, partition int32) {
	gone := &committed{value: -1, fate: maybe}
	q := kmsg.NewPtrOffsetDeleteRequest()
	q.Group, q.Topics = s.group, []kmsg.OffsetDeleteRequestTopic{{Topic: simTopic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: partition}}}}
	call(w, "deletion of an offset", 5*time.Second, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.OffsetDeleteResponse]) {
		h := w.history(s.group, partition)
		w.add(h, gone)
		m.DeleteOffsets(c, q, done)
	}, func(r *kmsg.OffsetDeleteResponse, err error) {
		code := int16(-1)
		if err == nil {
			code = r.ErrorCode
		}
		gone.settle(w, code)
	}, func(*kmsg.OffsetDeleteResponse, error) {})
}

func (s *simpleClient) deleteGroup(w *world) {
	var gone []*committed
	call(w, "deletion of a group", 5*time.Second, func(c *coord.Context, m *Machine, done coord.Done[int16]) {
		for p := range int32(simPartitions) {
			h, x := w.history(s.group, p), &committed{value: -1, fate: maybe}
			w.add(h, x)
			gone = append(gone, x)
		}
		m.Delete(c, s.group, done)
	}, func(code int16, err error) {
		if err != nil {
			code = -1
		}
		for _, x := range gone {
			x.settle(w, code)
		}
	}, func(int16, error) {})
}

// producer commits offsets in transactions and ends them, as a transaction coordinator would: a decision is carried out until it is done.
type producer struct {
	id     int64
	group  string
	next   time.Time
	open   []*committed
	ending bool // the marker has to be written
	commit bool // it commits
	busy   int  // the incarnation of the coordinator that an answer is awaited from
}

func (p *producer) behave(*world) {}

func (p *producer) unsettled(*world) string {
	if len(p.open) != 0 {
		return fmt.Sprintf("producer %d has an open transaction", p.id)
	}
	return ""
}

func (p *producer) tick(w *world) {
	if p.busy == w.incarnation || w.now().Before(p.next) {
		return
	}
	p.next = w.now().Add(w.between(time.Second, 8*time.Second))
	switch {
	case p.ending:
		p.mark(w)
	case len(p.open) > 0 && (w.calm || w.chance(0.4)):
		p.ending, p.commit = true, w.chance(0.7)
		p.mark(w)
	case !w.calm:
		p.add(w)
	}
}

func (p *producer) add(w *world) {
	partition := int32(w.rng.IntN(simPartitions))
	x := &committed{value: w.nextValue()}
	text := fmt.Sprint(x.value)
	q := kmsg.NewPtrTxnOffsetCommitRequest()
	q.Version, q.Group, q.ProducerID, q.Generation = 5, p.group, p.id, -1
	q.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: simTopic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: partition, Offset: x.value, LeaderEpoch: -1, Metadata: &text}}}}
	p.busy = w.incarnation
	call(w, fmt.Sprintf("transactional commit of producer %d", p.id), 5*time.Second, func(c *coord.Context, m *Machine, done coord.Done[*kmsg.TxnOffsetCommitResponse]) {
		x.waiting = maybe
		h := w.history(p.group, partition)
		w.add(h, x)
		p.open = append(p.open, x)
		m.CommitTransactionalOffsets(c, Client{}, q, done)
	}, func(r *kmsg.TxnOffsetCommitResponse, err error) {
		if err != nil {
			x.waiting = never
			p.open = slices.DeleteFunc(p.open, func(y *committed) bool { return x == y })
			return
		}
		if code := r.Topics[0].Partitions[0].ErrorCode; code != codeNone {
			w.fail("transactional commit: error %d", code)
		}
		x.waiting, x.acknowledged = sure, true
	}, func(*kmsg.TxnOffsetCommitResponse, error) { p.busy = 0 })
}

// mark writes the marker.
func (p *producer) mark(w *world) {
	incarnation := w.incarnation
	p.busy = incarnation
	err := w.run.Marker(0, p.id, 0, 1, 2, p.commit, func(err error) {
		w.inbox = append(w.inbox, func() {
			if w.incarnation != incarnation {
				return
			}
			p.busy = 0
			if err != nil {
				return
			}
			for _, x := range p.open {
				x.waiting = never
				if p.commit && x.acknowledged {
					x.fate = sure
				}
			}
			p.open, p.ending = nil, false
		})
	})
	if err != nil { // refused: nothing has happened
		p.busy = 0
		return
	}
	for _, x := range p.open {
		x.waiting = maybe
		if p.commit {
			x.fate = max(x.fate, maybe)
		}
	}
}

// addOffsetClients adds those who only deal with offsets.
func addOffsetClients(w *world) {
	w.clients = append(w.clients, &simpleClient{group: "simple"})
	for i := range w.rng.IntN(3) {
		w.clients = append(w.clients, &producer{id: int64(100 + i), group: "g0"})
	}
	w.clients = append(w.clients, &reader{groups: []string{"g0", "g1", "simple"}})
}

// reader fetches offsets of all groups.
type reader struct {
	groups []string
	next   time.Time
}

func (r *reader) behave(*world)           {}
func (r *reader) unsettled(*world) string { return "" }

func (r *reader) tick(w *world) {
	if w.now().Before(r.next) {
		return
	}
	r.next = w.now().Add(w.between(time.Second, 10*time.Second))
	w.fetch(r.groups[w.rng.IntN(len(r.groups))], int32(w.rng.IntN(simPartitions)), w.chance(0.5))
}
