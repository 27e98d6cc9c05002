package api

import (
	"errors"
	"sync"
	"time"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/server/partition"
	"github.com/gregor-broker/gregor/server/quota"
	"github.com/gregor-broker/gregor/server/session"
	"github.com/gregor-broker/gregor/wire"
	"github.com/gregor-broker/gregor/wire/fetch"
)

// Fetch, versions 4 to 18.
//
//	4  isolation level, aborted transactions
//	5  log start offset
//	7  incremental sessions (KIP-227)
//	9  current leader epoch (KIP-320)
//	11 rack, preferred read replica (KIP-392)
//	12 flexible, last fetched epoch
//	13 topic ids instead of names (KIP-516)
//	15 replica state instead of replica id
//	16 node endpoints (KIP-951)
//	17 replica directory id (KIP-853)
//	18 the follower's high watermark (KIP-1166)
//
// The reader parses, finds the session and reads every partition. If that is
// enough the reply is ready, with the views pinned; if not, the views are
// dropped, one waiter is registered, and the writer reads again, once, when it
// fires or the deadline has come.

// fetchReply is one fetch. It owns copies of all it needs: the frame is gone
// when it is encoded.
type fetchReply struct {
	h         *handlers
	version   int16
	minBytes  int64
	maxBytes  int
	committed bool // isolation level read_committed
	replica   int32
	listener  string
	deadline  time.Time

	session *session.Fetch
	parts   []fetchPart
	told    []session.Told
	sessErr int16
	bytes   int64 // read so far

	waiter *partition.Waiter
	timer  *time.Timer
	meter  *fetchMeter // nil: nobody has a quota
}

// fetchPart is one partition to read.
type fetchPart struct {
	want      session.Partition
	partition *partition.Partition
	err       error
	seen      int64 // visible bytes of its log when it was read
	log       *engine.Log
	out       fetch.PartitionResponse
	more      bool // the next segment has more to read
}

var fetchRequests = sync.Pool{New: func() any { return new(fetch.Request) }}

func (h *handlers) fetch(req *wire.Request) wire.Reply {
	q := fetchRequests.Get().(*fetch.Request)
	defer func() {
		q.Reset()
		fetchRequests.Put(q)
	}()
	if err := fetch.Parse(req.Body, req.Version, q); err != nil {
		return wire.CloseConnection(err)
	}
	r := &fetchReply{h: h, version: req.Version, committed: q.IsolationLevel != 0,
		replica: q.ReplicaID, listener: req.Conn.Listener, maxBytes: min(max(int(q.MaxBytes), 0), int(h.Config.Network.FetchMaxBytes))}
	if r.meter = h.meterFetch(req); r.meter != nil {
		// A response beyond what all windows allow would never be returned.
		r.maxBytes = int(h.Quotas.Most(quota.Fetch, r.meter.client, int64(r.maxBytes)))
	}
	// More than may be returned is not worth waiting for.
	r.minBytes = min(int64(q.MinBytes), int64(r.maxBytes))
	now := h.NowMs()
	f, code := h.Sessions.Begin(sessionRequest(q, req.Version), now)
	if code != errNone {
		r.sessErr = code
		return r
	}
	r.session = f
	r.resolve(req.Version)
	if q.MaxWaitMs > 0 && r.minBytes > 0 && len(r.parts) > 0 {
		r.deadline = time.Now().Add(time.Duration(q.MaxWaitMs) * time.Millisecond)
	}
	r.read()
	return r
}

// sessionRequest copies what the session must remember out of the frame.
func sessionRequest(q *fetch.Request, version int16) session.Request {
	out := session.Request{SessionID: q.SessionID, Epoch: q.SessionEpoch, UseIDs: version >= 13}
	if version < 7 {
		out.Epoch = -1
	}
	n := 0
	for i := range q.Topics {
		n += len(q.Topics[i].Partitions)
	}
	out.Wanted = make([]session.Partition, 0, n)
	for i := range q.Topics {
		t := &q.Topics[i]
		name := string(t.Name)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			out.Wanted = append(out.Wanted, session.Partition{
				Key:         session.Key{Name: name, ID: t.ID, Partition: p.Index},
				FetchOffset: p.FetchOffset, MaxBytes: p.MaxBytes,
				CurrentLeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
			})
		}
	}
	for i := range q.Forgotten {
		t := &q.Forgotten[i]
		name := string(t.Name)
		for _, p := range t.Partitions {
			out.Forgotten = append(out.Forgotten, session.Key{Name: name, ID: t.ID, Partition: p})
		}
	}
	return out
}

// resolve finds the partitions on one image.
func (r *fetchReply) resolve(version int16) {
	im := r.h.Image()
	r.parts = make([]fetchPart, len(r.session.Partitions))
	r.told = make([]session.Told, len(r.parts))
	for i := range r.parts {
		p := &r.parts[i]
		p.want = r.session.Partitions[i]
		id := p.want.ID
		if version < 13 {
			t := im.Topic(p.want.Name)
			if t == nil {
				p.err = errNoTopic
				continue
			}
			id = t.ID
		} else if im.TopicByID(id) == nil {
			p.err = errNoTopicID
			continue
		}
		if p.partition = r.h.Partitions.Get(id, p.want.Partition); p.partition == nil {
			p.err = errNoTopic
		}
	}
}

// read reads every partition into out.
func (r *fetchReply) read() {
	left, first := r.maxBytes, true
	r.bytes = 0
	for i := range r.parts {
		p := &r.parts[i]
		p.out = r.readOne(p, left, first)
		n := 0
		for _, s := range p.out.Records {
			n += len(s)
		}
		if n > 0 {
			first = false
			left = max(left-n, 0)
			r.bytes += int64(n)
		}
		r.told[i] = session.Told{HighWatermark: p.out.HighWatermark, LogStart: p.out.LogStartOffset, HasRecords: n > 0,
			HasError: p.out.ErrorCode != errNone || p.out.DivergingEpoch.Set}
	}
}

// readOne reads one partition. first allows its first batch to be larger than
// what is left, so that a consumer never gets stuck in front of a large batch.
func (r *fetchReply) readOne(p *fetchPart, left int, first bool) fetch.PartitionResponse {
	out := fetch.PartitionResponse{PartitionIndex: p.want.Partition, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, PreferredReadReplica: -1}
	err := p.err
	if err == nil && r.replica >= 0 {
		// Nobody replicates from a single node; a client that says it is a
		// broker must not move anything (CVE-2018-1288).
		err = partition.ErrNotLeader
	}
	if err == nil {
		err = p.partition.CheckEpoch(p.want.CurrentLeaderEpoch)
	}
	if err == nil {
		err = r.readLog(p, &out, left, first)
	}
	if err != nil {
		out.ErrorCode = code(err)
		if out.Release != nil {
			out.Release()
		}
		// Kafka's read gives null here; what is never read keeps the schema's empty list.
		out.Records, out.Release, out.Aborted = nil, nil, nil
		if p.err != nil {
			out.Aborted = []fetch.AbortedTransaction{}
		}
		if out.ErrorCode == errKafkaStorage || out.ErrorCode == errUnknownServerError {
			r.h.Logger.Error("fetch failed", "topic", p.want.Name, "partition", p.want.Partition, "offset", p.want.FetchOffset, "error", err)
		}
		if p.partition != nil && (out.ErrorCode == errNotLeaderOrFollower || out.ErrorCode == errFencedLeaderEpoch) {
			id, epoch := p.partition.Leader()
			out.CurrentLeader = wire.Leader{Set: true, ID: id, Epoch: epoch}
		}
	}
	return out
}

func (r *fetchReply) readLog(p *fetchPart, out *fetch.PartitionResponse, left int, first bool) error {
	log, err := p.partition.Log()
	if err != nil {
		return err
	}
	p.log, p.seen = log, log.VisibleBytes()
	// In this order: a transaction that opens in between must not be taken for
	// stable.
	stable := log.Stable()
	high := log.High()
	out.HighWatermark, out.LastStableOffset, out.LogStartOffset = high, stable, log.Start()
	if r.committed {
		out.Aborted = []fetch.AbortedTransaction{}
	}
	if p.want.LastFetchedEpoch >= 0 {
		found, end := log.EndOffsetForEpoch(p.want.LastFetchedEpoch)
		if found < 0 {
			// An epoch that never was: where the client left the log is anybody's guess.
			out.HighWatermark, out.LastStableOffset, out.LogStartOffset = -1, -1, -1
			return engine.ErrOffsetOutOfRange
		}
		if found < p.want.LastFetchedEpoch || end < p.want.FetchOffset {
			out.DivergingEpoch = fetch.EpochEnd{Set: true, Epoch: found, EndOffset: end}
			return nil
		}
	}
	o := engine.ReadOptions{MaxBytes: min(left, max(int(p.want.MaxBytes), 0)), AtLeastOne: first}
	if r.committed {
		o.UpTo = stable
		if stable == 0 {
			return rangeOnly(log, p.want.FetchOffset)
		}
	}
	v, err := log.Read(p.want.FetchOffset, o)
	if err != nil {
		var outside *engine.RangeError
		if errors.As(err, &outside) {
			out.HighWatermark, out.LastStableOffset, out.LogStartOffset = -1, -1, -1
		}
		return err
	}
	if v.Size == 0 {
		v.Release()
		return nil
	}
	out.Records, out.Release, p.more = v.Spans, v.Release, v.More
	out.HighWatermark = v.High
	if r.committed {
		aborted, err := log.AbortedTransactions(p.want.FetchOffset, stable)
		if err != nil {
			return err
		}
		for _, a := range aborted {
			out.Aborted = append(out.Aborted, fetch.AbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset})
		}
	}
	return nil
}

// rangeOnly checks an offset of a read that may return nothing.
func rangeOnly(log *engine.Log, offset int64) error {
	if offset < log.Start() || offset > log.End() {
		return &engine.RangeError{Offset: offset, Start: log.Start(), End: log.End()}
	}
	return nil
}

// enough says whether what was read is an answer: enough bytes, an error, a
// read that ended with a segment while more is there, or no wait allowed.
// Partitions that do not exist do not count beside others that do, as in Kafka:
// a consumer with a deleted topic among its own would ask again and again.
func (r *fetchReply) enough() bool {
	if r.deadline.IsZero() || r.bytes >= r.minBytes {
		return true
	}
	known := 0
	for i, t := range r.told {
		if r.parts[i].err != nil {
			continue
		}
		if known++; t.HasError || r.parts[i].more {
			return true
		}
	}
	return known == 0
}

// Wait is ready when the first read was an answer. Otherwise it drops the
// views and waits for bytes or the deadline.
func (r *fetchReply) Wait(w wire.Waker) bool {
	if r.sessErr != errNone || r.enough() {
		return true
	}
	need := r.minBytes - r.bytes
	r.dropViews()
	r.waiter = partition.NewWaiter(need, w.Wake)
	r.timer = time.AfterFunc(time.Until(r.deadline), r.waiter.Fire)
	for i := range r.parts {
		if p := &r.parts[i]; p.log != nil {
			r.waiter.Add(p.partition, p.seen)
		}
	}
	return false
}

// dropViews unpins what was read.
func (r *fetchReply) dropViews() {
	for i := range r.parts {
		out := &r.parts[i].out
		if out.Release != nil {
			out.Release()
		}
		out.Records, out.Release = nil, nil
	}
}

// Encode lays out the response; spans go to the socket from the mapping.
func (r *fetchReply) Encode(p *wire.Payload) error {
	if r.sessErr != errNone {
		return fetch.AppendResponse(p, r.version, &fetch.Response{ErrorCode: r.sessErr})
	}
	if r.waiter != nil {
		r.read()
	}
	if r.meter != nil {
		if ms := r.meter.throttled(r.h, r.bytes, len(r.parts)); ms > 0 {
			r.dropViews()
			return fetch.AppendResponse(p, r.version, &fetch.Response{ThrottleMs: ms, SessionID: r.session.Held()})
		}
	}
	resp := r.layOut()
	resp.SessionID = r.session.Finish(r.told)
	if r.version < 7 {
		resp.SessionID = 0
	}
	return fetch.AppendResponse(p, r.version, resp)
}

// layOut groups the partitions by topic, in order, without those that the
// session says the client knows. The response owns their releases then.
func (r *fetchReply) layOut() *fetch.Response {
	resp := &fetch.Response{}
	type topic struct {
		name string
		id   [16]byte
	}
	var last topic
	at := -1
	var seen map[topic]int
	for i := range r.parts {
		p := &r.parts[i]
		if !r.session.Changed(i, r.told[i]) {
			continue
		}
		if key := (topic{p.want.Name, p.want.ID}); at < 0 || key != last {
			if seen == nil {
				seen = make(map[topic]int, 4)
			}
			known, ok := seen[key]
			if !ok {
				known = len(resp.Topics)
				seen[key] = known
				resp.Topics = append(resp.Topics, fetch.TopicResponse{Name: []byte(key.name), ID: key.id})
			}
			last, at = key, known
		}
		if p.out.CurrentLeader.Set {
			resp.NodeEndpoints = r.h.nodeEndpoints(r.listener)
		}
		resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, p.out)
		p.out.Records, p.out.Release = nil, nil
	}
	return resp
}

// Release gives back the waiter and what is still pinned.
func (r *fetchReply) Release() {
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.waiter != nil {
		r.waiter.Remove()
	}
	r.dropViews()
}
