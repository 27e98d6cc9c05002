package group

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/server/meta"
)

// Client is who sent a request.
type Client struct {
	ID   string // client.id
	Host string // as Java prints an address: "/127.0.0.1"
}

// Options of a Machine; all fields are required but Logger.
type Options struct {
	Settings config.Groups
	Offsets  config.Offsets
	// GroupConfig are the values of a KIP-848 group: the broker's, or those set on the group as a config resource.
	GroupConfig func(group string) (sessionMs, heartbeatMs, assignmentIntervalMs int64)
	// Image is the newest cluster metadata.
	Image func() *meta.Image
	// NewID makes a random id as Kafka's Uuid.randomUuid().toString() does: 16 bytes in URL-safe base64.
	NewID  func() string
	Logger *slog.Logger
}

// Kinds of timers. Those of KIP-848 groups begin at 16.
const (
	timerSession      uint8 = 1 + iota // group, member: a classic member's session, or the time a pending member has
	timerJoin                          // group: the members of a classic group have had their time to join
	timerSync                          // group: and to ask for their assignment
	timerExpire                        // offsets.retention.check.interval.ms
	timerTopics                        // offsets of deleted topics are left
	timerDeleteGroup                   // group: its offsets are being deleted
	firstConsumerKind uint8 = 16
)

// batchLimit bounds what one operation writes, in bytes. Kafka's bound is max.message.bytes of the topic.
const batchLimit = 8 << 20

// nameLimit bounds ids and names, in bytes: what the records can hold, with room for a member id's random part.
const nameLimit = 32767 - 64

// Machine is the state of one partition of __consumer_offsets: a coord.Machine. Its methods are called one at a time.
type Machine struct {
	opt       Options
	log       *slog.Logger
	partition int32
	groups    map[string]*group
	// newTopics is the offset of the newest image that has topics which the one before has not; 0 unknown.
	newTopics int64
	// transactions are the offsets that wait for the marker of their producer.
	transactions map[int64]map[offsetKey]offset
	// deleted are topics whose offsets are still to be removed.
	deleted []deletedTopic
	// expiring is the group names that the check under way has yet to look at.
	expiring []string

	// live is set while a record is written: it comes back to Apply with what it was made of.
	live      bool
	liveKey   record.Key
	liveValue record.Value
	key, val  []byte // scratch
}

// group is everything under one group id. It is of one kind, or has only offsets.
type group struct {
	id       string
	classic  *classicGroup
	consumer *consumerGroup
	other    otherKind
	offsets  []topicOffsets // by topic
	// open counts the producers whose transactional offset for a partition is undecided.
	open map[partitionKey]int32
	// deleting is who waits for the group's deletion, which takes more than one operation.
	deleting []coord.Done[int16]
}

// otherKind is a kind of group that this release does not serve.
type otherKind uint8

const (
	otherNone otherKind = iota
	otherShare
	otherStreams
)

// New makes an empty Machine of that partition.
func New(o Options, partition int32) *Machine {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Machine{opt: o, log: o.Logger, partition: partition, groups: map[string]*group{}, transactions: map[int64]map[offsetKey]offset{}}
}

// find is the group of that name, or nil. A group of which only offsets are left, which no record of a group explains, is none.
func (m *Machine) find(id string) *group {
	g := m.groups[id]
	if g == nil || g.classic == nil && g.consumer == nil && g.other == otherNone {
		return nil
	}
	return g
}

// entry is the group's entry, made if need be.
func (m *Machine) entry(id string) *group {
	g := m.groups[id]
	if g == nil {
		g = &group{id: id}
		m.groups[id] = g
	}
	return g
}

// tidy forgets an entry that says nothing.
func (m *Machine) tidy(g *group) {
	if g.classic == nil && g.consumer == nil && g.other == otherNone && len(g.offsets) == 0 && len(g.open) == 0 && len(g.deleting) == 0 {
		delete(m.groups, g.id)
	}
}

// write writes a record, a tombstone if v is nil.
func (m *Machine) write(c *coord.Context, k record.Key, v record.Value) {
	m.key = k.Append(m.key[:0])
	value := []byte(nil)
	if v != nil {
		m.val = record.Append(m.val[:0], v)
		value = m.val
	}
	m.live, m.liveKey, m.liveValue = true, k, v
	c.Write(coord.Record{Key: m.key, Value: value})
	m.live, m.liveValue = false, nil
	if cap(m.val) > 64<<10 {
		m.val = nil
	}
}

// Apply implements coord.Machine.
func (m *Machine) Apply(r coord.Record, o coord.Origin) error {
	k, v := m.liveKey, m.liveValue
	if !m.live {
		var err error
		k, v, err = record.Decode(r.Key, r.Value)
		if errors.Is(err, record.ErrUnknownType) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	switch {
	case k.Type == record.TypeOffsetCommit || k.Type == record.TypeLegacyOffsetCommit:
		value, _ := v.(*record.OffsetCommit)
		m.applyOffset(k, value, o)
	case k.Type == record.TypeGroupMetadata:
		value, _ := v.(*record.GroupMetadata)
		m.applyClassic(k.Group, value)
	case k.Type == record.TypeShareGroupMetadata:
		m.applyOther(k.Group, otherShare, v == nil)
	case k.Type == record.TypeStreamsGroupMetadata:
		m.applyOther(k.Group, otherStreams, v == nil)
	case ofConsumerGroup(k.Type):
		return m.applyConsumer(k, v)
	}
	return nil
}

// ofConsumerGroup reports whether a record is about a KIP-848 group.
func ofConsumerGroup(t record.Type) bool {
	return t >= record.TypeConsumerGroupMetadata && t <= record.TypeConsumerGroupCurrentMemberAssignment || t == record.TypeConsumerGroupRegularExpression
}

// applyOther notes a group of a kind that is not served.
func (m *Machine) applyOther(id string, kind otherKind, tombstone bool) {
	if tombstone {
		if g := m.groups[id]; g != nil && g.other == kind {
			g.other = otherNone
			m.tidy(g)
		}
		return
	}
	g := m.entry(id)
	g.other = kind
	if g.classic != nil && g.classic.simple() {
		g.classic = nil
	}
}

// EndTransaction implements coord.Machine.
func (m *Machine) EndTransaction(producerID int64, _ int16, commit bool, _ coord.Origin) error {
	m.endTransaction(producerID, commit)
	return nil
}

// Loaded implements coord.Machine.
func (m *Machine) Loaded(c *coord.Context) {
	for _, id := range m.names() {
		switch g := m.groups[id]; {
		case g.classic != nil:
			m.loadedClassic(c, g)
		case g.consumer != nil:
			m.loadedConsumer(c, g)
		}
	}
	c.Timer(coord.TimerKey{Kind: timerExpire}, c.Now()+m.opt.Offsets.RetentionCheck.Milliseconds())
}

// Fire implements coord.Machine.
func (m *Machine) Fire(c *coord.Context, k coord.TimerKey) {
	switch k.Kind {
	case timerSession:
		m.sessionEnded(c, k.Name, k.Part)
	case timerJoin:
		m.joinTimeUp(c, k.Name)
	case timerSync:
		m.syncTimeUp(c, k.Name)
	case timerExpire:
		m.expire(c)
	case timerTopics:
		m.sweepDeletedTopics(c)
	case timerDeleteGroup:
		m.continueDelete(c, k.Name)
	default:
		m.fireConsumer(c, k)
	}
}

// Unloaded implements coord.Machine.
func (m *Machine) Unloaded(err error) {
	for _, id := range m.names() {
		g := m.groups[id]
		for _, done := range g.deleting {
			done(0, err)
		}
		g.deleting = nil
		if g.classic != nil {
			g.classic.unload(err)
		}
	}
	m.unloadedConsumer(err)
}

// String names the machine in logs.
func (m *Machine) String() string { return fmt.Sprintf("__consumer_offsets-%d", m.partition) }
