package quorum

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// Quorum is a running single-voter quorum: the leader of its metadata log. Safe for concurrent use.
type Quorum struct {
	fs          vfs.FS
	c           Config
	log         Log
	clusterID   string
	directories map[string]meta.UUID // by log directory
	epoch       int32
	brokerEpoch int64
	kraft       int16
	voters      []meta.Voter

	published atomic.Pointer[published]

	rounds  sync.Mutex // held by the open Round
	failed  error      // under rounds: the first append or sync that failed
	closed  bool       // under rounds
	backlog int64      // under rounds: bytes appended since the newest snapshot

	snapshots snapshots
}

// published is an image with what a snapshot of it has to say.
type published struct {
	image     *meta.Image
	timestamp int64 // of the last batch
}

// snapshots is the part of Quorum that writes and drops snapshots.
type snapshots struct {
	mu      sync.Mutex // held while one is written
	list    []snapshotID
	running atomic.Bool
	wait    sync.WaitGroup
	timer   clock.Timer // under Quorum.rounds; nil: nothing changed since the newest
}

// Open makes this node the leader of a new epoch, one above any seen, and writes the records that begin it: LeaderChange, the
// bootstrap records if there are none yet, the registrations of this node with a new incarnation, and the election of this node
// for every partition that it has a replica of and does not lead. It returns when they are durable. The caller holds the locks of
// all directories and has opened log; d comes from an Inspect with the same Config, which is repeated if log has another end.
func Open(f vfs.FS, c Config, d *Directory, log Log) (*Quorum, error) {
	c = c.withDefaults()
	if !d.Formatted {
		return nil, fmt.Errorf("open the quorum: %w: %s", ErrNotFormatted, c.MetadataLogDir)
	}
	if log.End() != d.LogEnd {
		again, err := Inspect(f, c)
		if err != nil {
			return nil, err
		}
		if *d = *again; log.End() != d.LogEnd {
			return nil, refuse(ErrCorrupt, c.logPath(), "restore the directory from a copy", "the log ends at offset %d, expected %d", log.End(), d.LogEnd)
		}
	}
	directories, err := adoptDirectories(f, &c, d)
	if err != nil {
		return nil, fmt.Errorf("open the quorum: %w", err)
	}
	if err := tidy(f, &c, d); err != nil {
		return nil, fmt.Errorf("open the quorum: %w", err)
	}
	q := &Quorum{
		fs: f, c: c, log: log, clusterID: d.ClusterID, directories: directories, epoch: d.Epoch + 1,
		kraft: d.state.kraftVersion, voters: d.state.voters, backlog: d.logBytes,
	}
	for _, id := range d.snapshots {
		q.snapshots.list = append([]snapshotID{id}, q.snapshots.list...)
	}
	if err := q.begin(d); err != nil {
		return nil, fmt.Errorf("begin epoch %d of the metadata log: %w", q.epoch, err)
	}
	return q, nil
}

// begin appends the records of a new epoch and writes quorum-state, at the same time.
func (q *Quorum) begin(d *Directory) error {
	now := q.c.Clock.Now().UnixMilli()
	e := &epochStart{
		c: &q.c, d: d, directory: q.directories[q.c.MetadataLogDir], kraft: q.kraft, voters: q.voters,
		out: &appender{next: q.log.End(), epoch: q.epoch},
	}
	e.control(now)
	q.kraft, q.voters = e.kraft, e.voters
	mv := e.metadataVersion()
	delta := meta.NewDelta(d.Image)
	apply := func(records []meta.Record) error {
		for _, r := range records {
			if err := delta.Apply(r); err != nil {
				return fmt.Errorf("%s: %w", meta.RecordName(r.Key()), err)
			}
		}
		return nil
	}
	activation := e.activationRecords()
	e.out.data(now, activation, mv)
	if err := apply(activation); err != nil {
		return err
	}
	logDirs := q.DirectoryIDs()
	records, brokerEpoch := e.registrationRecords(e.out.next, sortedUUIDs(logDirs))
	q.brokerEpoch = brokerEpoch
	found := map[string][]meta.UUID{}
	for name, dirs := range d.partitionDirs {
		for _, dir := range dirs {
			found[name] = append(found[name], q.directories[dir])
		}
	}
	records = append(records, electionRecords(delta.Image(0, 0), q.c.NodeID, mv, logDirs, found)...)
	e.out.data(now, records, mv)
	if err := apply(records); err != nil {
		return err
	}
	state := &quorumState{version: 1, leaderID: q.c.NodeID, leaderEpoch: q.epoch, votedID: -1}
	if q.kraft == 0 {
		state.version, state.voters = 0, []int32{q.c.NodeID}
	}
	err := together([]func() error{
		func() error { return q.appendAndWait(e.out.buf) },
		func() error {
			return vfs.WriteFileAtomic(q.fs, filepath.Join(q.c.logPath(), quorumStateFile), state.encode())
		},
	})
	if err != nil {
		return err
	}
	q.published.Store(&published{delta.Image(e.out.next-1, q.epoch), now})
	q.appended(int64(len(e.out.buf)))
	q.c.Logger.Info("leader of the metadata log", "epoch", q.epoch, "offset", e.out.next-1, "broker.epoch", brokerEpoch,
		"metadata.version", meta.MetadataVersionName(mv), "elections", len(records))
	return nil
}

func (q *Quorum) appendAndWait(p []byte) error {
	wait := make(waitChannel, 1)
	end := q.log.End()
	base, err := q.log.Append(p, q.epoch, wait)
	if err != nil {
		return err
	}
	if err := <-wait; err != nil {
		return err
	}
	if base != end {
		return fmt.Errorf("metadata log: appended at offset %d, expected %d: somebody else writes to it", base, end)
	}
	return nil
}

// sortedUUIDs sorts as Kafka's Uuid compares: two signed halves.
func sortedUUIDs(ids []meta.UUID) []meta.UUID {
	list := slices.Clone(ids)
	half := func(id meta.UUID, at int) int64 { return int64(binary.BigEndian.Uint64(id[at:])) }
	slices.SortFunc(list, func(a, b meta.UUID) int {
		return cmp.Or(cmp.Compare(half(a, 0), half(b, 0)), cmp.Compare(half(a, 8), half(b, 8)))
	})
	return list
}

// Image is the metadata as of the last durable record. It never blocks.
func (q *Quorum) Image() *meta.Image { return q.published.Load().image }

// BrokerEpoch is the epoch this node registered with at Open: the offset of its RegisterBroker record, as with Kafka. The clean
// marker carries it.
func (q *Quorum) BrokerEpoch() int64 { return q.brokerEpoch }

// Epoch is the leader epoch that Open began.
func (q *Quorum) Epoch() int32 { return q.epoch }

// ClusterID is the cluster.id of meta.properties.
func (q *Quorum) ClusterID() string { return q.clusterID }

// DirectoryID returns the directory.id of one of the log directories, spelled as in Config; the zero UUID for others.
func (q *Quorum) DirectoryID(dir string) meta.UUID { return q.directories[dir] }

// DirectoryIDs returns the directory.ids of log.dirs, in the order of Config.LogDirs.
func (q *Quorum) DirectoryIDs() []meta.UUID {
	ids := make([]meta.UUID, len(q.c.LogDirs))
	for i, dir := range q.c.LogDirs {
		ids[i] = q.directories[dir]
	}
	return ids
}

// LogDir returns the log directory with that directory.id.
func (q *Quorum) LogDir(id meta.UUID) (dir string, ok bool) {
	for dir, have := range q.directories {
		if have == id {
			return dir, true
		}
	}
	return "", false
}

// Voters returns the members of the quorum and kraft.version; the slice is shared and read-only. With kraft.version 0 voters are
// named by configuration only, and the slice is nil.
func (q *Quorum) Voters() (voters []meta.Voter, kraftVersion int16) {
	if q.kraft == 0 {
		return nil, 0
	}
	return q.voters, q.kraft
}

// Round is a set of changes that become durable with one append and one sync. One is open at a time; begin, propose any number of
// changes, then Commit or Discard.
type Round struct {
	q     *Quorum
	image *meta.Image
	out   appender
	now   int64
}

// Begin opens a Round, waiting for the one before to end.
func (q *Quorum) Begin() (*Round, error) {
	q.rounds.Lock()
	err := q.failed
	if q.closed {
		err = ErrClosed
	}
	if err != nil {
		q.rounds.Unlock()
		return nil, err
	}
	return &Round{q: q, image: q.Image(), out: appender{next: q.log.End(), epoch: q.epoch}, now: q.c.Clock.Now().UnixMilli()}, nil
}

// Image is the metadata with everything proposed in this Round, before anybody else sees it.
func (r *Round) Image() *meta.Image { return r.image }

// Next is the offset the next proposed record gets, which is what Kafka takes as the epoch of a broker that it registers.
func (r *Round) Next() int64 { return r.out.next }

// Propose adds one change: all of the records count, or none does, also after a crash. The records belong to the quorum from then
// on. Records that do not fit the image are an error, and the Round goes on without them.
func (r *Round) Propose(records []meta.Record) error {
	if len(records) == 0 {
		return nil
	}
	mv := r.image.MetadataVersion()
	delta := meta.NewDelta(r.image)
	before := r.out
	if err := r.out.atomic(r.now, records, mv); err != nil {
		return err
	}
	for _, rec := range records {
		if err := delta.Apply(rec); err != nil {
			r.out.next, r.out.buf = before.next, r.out.buf[:len(before.buf)]
			return fmt.Errorf("%s: %w", meta.RecordName(rec.Key()), err)
		}
	}
	r.image = delta.Image(r.out.next-1, r.q.epoch)
	return nil
}

// Commit makes everything proposed durable, publishes the image and returns it. After an error nothing was published and every
// later Begin fails: whether the records are on disk cannot be known any more.
func (r *Round) Commit() (*meta.Image, error) {
	q := r.q
	defer q.rounds.Unlock()
	if len(r.out.buf) == 0 {
		return r.image, nil
	}
	if err := q.appendAndWait(r.out.buf); err != nil {
		q.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		q.c.Logger.Error("the metadata log has failed; no further change is accepted", "error", err)
		return nil, q.failed
	}
	q.published.Store(&published{r.image, r.now})
	q.appended(int64(len(r.out.buf)))
	return r.image, nil
}

// Discard ends the Round without a trace.
func (r *Round) Discard() { r.q.rounds.Unlock() }

// Commit is a Round of one change.
func (q *Quorum) Commit(records []meta.Record) (*meta.Image, error) {
	r, err := q.Begin()
	if err != nil {
		return nil, err
	}
	if err := r.Propose(records); err != nil {
		r.Discard()
		return nil, err
	}
	return r.Commit()
}

// Close ends the quorum after the open Round and any snapshot under way. It writes nothing: a leader that stops leaves no trace,
// and the next one begins a new epoch. The log stays open. Calling it again does nothing.
func (q *Quorum) Close() {
	q.rounds.Lock()
	q.closed = true
	if q.snapshots.timer != nil {
		q.snapshots.timer.Stop()
	}
	q.rounds.Unlock()
	q.snapshots.wait.Wait()
}
