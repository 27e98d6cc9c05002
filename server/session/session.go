package session

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Kafka's error codes a session can answer with (ApiException names
// FetchSessionIdNotFound, InvalidFetchSessionEpoch, FetchSessionTopicId).
const (
	ErrNone              int16 = 0
	ErrIDNotFound        int16 = 70
	ErrInvalidEpoch      int16 = 71
	ErrTopicIDMismatch   int16 = 106
	initialEpoch               = 0
	finalEpoch                 = -1
	minEvictionMs              = 120_000
	maxSessionPartitions       = 1 << 20
)

// Key names a partition as the client did: by name up to Fetch 12, by id from
// 13 on.
type Key struct {
	Name      string
	ID        [16]byte
	Partition int32
}

// Partition is what the client wants of one partition.
type Partition struct {
	Key
	FetchOffset        int64
	MaxBytes           int32
	CurrentLeaderEpoch int32
	LastFetchedEpoch   int32
}

// Told is what a response says of a partition besides records.
type Told struct {
	HighWatermark, LogStart int64
	HasRecords, HasError    bool
}

type cached struct {
	want Partition
	// high and start are what the client was told last; -1 before that.
	high, start int64
}

// Session is one client's remembered fetch. Its methods are called by one
// connection at a time; the lock is for a client that uses it from two.
type Session struct {
	id     int32
	useIDs bool

	mu      sync.Mutex
	epoch   int32
	order   []Key // in the order they are to be served
	entries map[Key]*cached
	removed bool

	lastUsed atomic.Int64 // ms
}

// Cache holds the sessions of a broker. Safe for concurrent use.
type Cache struct {
	max int

	mu       sync.Mutex
	sessions map[int32]*Session
}

// NewCache returns a cache for at most max sessions.
func NewCache(max int) *Cache { return &Cache{max: max, sessions: map[int32]*Session{}} }

// Len is the number of live sessions.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
}

// Request is the session part of a Fetch request.
type Request struct {
	SessionID int32
	Epoch     int32
	UseIDs    bool // Fetch 13 and later
	Wanted    []Partition
	Forgotten []Key
}

// Fetch is one request within its session, or without one.
type Fetch struct {
	// Partitions are all to be read, in order.
	Partitions []Partition

	cache   *Cache
	session *Session // nil: sessionless, or a new session is made by Finish
	full    bool
	create  bool
	useIDs  bool
	nowMs   int64
}

// Begin finds the session of a request and what it asks for. A code other than
// ErrNone is the whole answer.
func (c *Cache) Begin(r Request, nowMs int64) (*Fetch, int16) {
	f := &Fetch{cache: c, nowMs: nowMs, useIDs: r.UseIDs}
	if r.Epoch == initialEpoch || r.Epoch == finalEpoch {
		if r.SessionID != 0 {
			c.remove(r.SessionID)
		}
		f.full = true
		f.create = r.Epoch == initialEpoch
		f.Partitions = r.Wanted
		return f, ErrNone
	}
	c.mu.Lock()
	s := c.sessions[r.SessionID]
	c.mu.Unlock()
	if s == nil {
		return nil, ErrIDNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.removed:
		return nil, ErrIDNotFound
	case s.epoch != r.Epoch:
		return nil, ErrInvalidEpoch
	case s.useIDs != r.UseIDs:
		return nil, ErrTopicIDMismatch
	}
	s.updateLocked(r)
	s.lastUsed.Store(nowMs)
	if len(s.entries) == 0 {
		s.removed = true
		c.forget(s.id)
		f.full = true
		return f, ErrNone
	}
	s.epoch = nextEpoch(s.epoch)
	f.session = s
	f.Partitions = make([]Partition, 0, len(s.order))
	for _, k := range s.order {
		f.Partitions = append(f.Partitions, s.entries[k].want)
	}
	return f, ErrNone
}

func nextEpoch(e int32) int32 {
	if e == 1<<31-1 {
		return 1
	}
	return e + 1
}

func (s *Session) updateLocked(r Request) {
	for _, w := range r.Wanted {
		if e := s.entries[w.Key]; e != nil {
			e.want = w
			continue
		}
		if len(s.entries) < maxSessionPartitions {
			s.entries[w.Key] = &cached{want: w, high: -1, start: -1}
			s.order = append(s.order, w.Key)
		}
	}
	if len(r.Forgotten) == 0 {
		return
	}
	for _, k := range r.Forgotten {
		delete(s.entries, k)
	}
	kept := s.order[:0]
	for _, k := range s.order {
		if s.entries[k] != nil {
			kept = append(kept, k)
		}
	}
	clear(s.order[len(kept):])
	s.order = kept
}

// Changed says whether the partition at position i of Partitions must be in
// the response. Every partition of a full fetch is; in an incremental one only
// those with records, an error or a changed high watermark or log start.
// Partitions that return records go to the end of the order, so that all get
// their turn under a small byte limit. Call it once per partition, in order.
func (f *Fetch) Changed(i int, t Told) bool {
	if f.session == nil {
		return true
	}
	s := f.session
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[f.Partitions[i].Key]
	if e == nil {
		return true
	}
	changed := t.HasRecords || t.HasError || e.high != t.HighWatermark || e.start != t.LogStart
	e.high, e.start = t.HighWatermark, t.LogStart
	if t.HasError {
		// So that the next response tells again, whatever it is then.
		e.high = -1
	}
	return changed
}

// Finish gives the session id for the response: the session's, a new one for a
// full fetch that asked for one and got a place, or 0. told are the values of
// the response, one per partition. served are positions that returned records.
func (f *Fetch) Finish(told []Told) int32 {
	if f.session != nil {
		f.rotate(told)
		return f.session.id
	}
	if !f.create {
		return 0
	}
	s := &Session{useIDs: f.useIDs, epoch: 1, entries: make(map[Key]*cached, len(f.Partitions))}
	s.lastUsed.Store(f.nowMs)
	for i, w := range f.Partitions {
		if s.entries[w.Key] != nil {
			continue
		}
		e := &cached{want: w, high: told[i].HighWatermark, start: told[i].LogStart}
		if told[i].HasError {
			e.high = -1
		}
		s.entries[w.Key] = e
		s.order = append(s.order, w.Key)
	}
	return f.cache.add(s, f.nowMs)
}

// Held gives the session id for a response that tells nothing, because the
// client must pause first: the session's, as it was, and never a new one.
func (f *Fetch) Held() int32 {
	if f.session == nil {
		return 0
	}
	return f.session.id
}

func (f *Fetch) rotate(told []Told) {
	s := f.session
	s.mu.Lock()
	defer s.mu.Unlock()
	var served []Key
	for i, t := range told {
		if t.HasRecords && i < len(f.Partitions) {
			served = append(served, f.Partitions[i].Key)
		}
	}
	if len(served) == 0 || len(served) == len(s.order) {
		return
	}
	last := make(map[Key]bool, len(served))
	for _, k := range served {
		last[k] = true
	}
	order := make([]Key, 0, len(s.order))
	for _, k := range s.order {
		if !last[k] {
			order = append(order, k)
		}
	}
	for _, k := range served {
		if s.entries[k] != nil {
			order = append(order, k)
		}
	}
	s.order = order
}

// add gives s an id and a place, evicting a session that was idle for two
// minutes if the cache is full; 0 means no place.
func (c *Cache) add(s *Session, nowMs int64) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) >= c.max && !c.evictLocked(nowMs) {
		return 0
	}
	for {
		id := rand.Int32N(1<<31-1) + 1
		if c.sessions[id] == nil {
			s.id = id
			c.sessions[id] = s
			return id
		}
	}
}

func (c *Cache) evictLocked(nowMs int64) bool {
	var oldest *Session
	var at int64
	for _, s := range c.sessions {
		used := s.lastUsed.Load()
		if nowMs-used >= minEvictionMs && (oldest == nil || used < at) {
			oldest, at = s, used
		}
	}
	if oldest == nil {
		return false
	}
	delete(c.sessions, oldest.id)
	return true
}

func (c *Cache) remove(id int32) {
	c.mu.Lock()
	s := c.sessions[id]
	delete(c.sessions, id)
	c.mu.Unlock()
	if s != nil {
		s.mu.Lock()
		s.removed = true
		s.mu.Unlock()
	}
}

func (c *Cache) forget(id int32) {
	c.mu.Lock()
	delete(c.sessions, id)
	c.mu.Unlock()
}
