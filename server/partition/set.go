package partition

import (
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/server/meta"
)

// Options of a Set.
type Options struct {
	Store  *engine.Store
	Logger *slog.Logger
	Self   int32 // this broker's node id
	// Directories are the data directories by their directory.id.
	Directories map[meta.UUID]string
	// Default is where a partition goes whose directory the metadata does not
	// name.
	Default string
	// Movers is how many logs are copied to other data directories at a time;
	// Assign puts on record, durably, in which of them a partition is from now on.
	Movers int
	Assign func(topic meta.UUID, index int32, dir string) error
	// Config gives a topic's configuration on an image.
	Config func(im *meta.Image, topic string) *Config
	Now    func() int64 // ms
}

// Set is the partitions of the current image that this broker hosts. Lookups
// take a read lock; Apply is called by one goroutine at a time.
type Set struct {
	opt   Options
	moves *moves

	draining atomic.Bool

	mu     sync.RWMutex
	topics map[meta.UUID][]*Partition // by partition id; nil where not hosted
}

// NewSet returns an empty set.
func NewSet(opt Options) *Set {
	return &Set{opt: opt, moves: newMoves(opt.Movers), topics: map[meta.UUID][]*Partition{}}
}

// Get returns the partition, or nil if this broker does not host it.
func (s *Set) Get(topic meta.UUID, index int32) *Partition {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := s.topics[topic]
	if index < 0 || int(index) >= len(list) {
		return nil
	}
	return list[index]
}

// All returns every partition, in no order.
func (s *Set) All() []*Partition {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*Partition
	for _, list := range s.topics {
		for _, p := range list {
			if p != nil {
				out = append(out, p)
			}
		}
	}
	return out
}

// Drain fires every waiter, present and future: the broker is stopping and a
// fetch that waits for more must answer with what there is.
func (s *Set) Drain() {
	s.draining.Store(true)
	for _, p := range s.All() {
		p.wakeAll()
	}
}

// LogName is the directory name of a partition.
func LogName(topic string, index int32) string { return topic + "-" + strconv.Itoa(int(index)) }

// work is one log to be opened or created.
type work struct {
	topic    *meta.Topic
	replica  *meta.Partition
	config   *Config
	dir      string
	existing string // directory that holds it already, "" for none
	out      *Partition
}

// Start opens every log of the image. found lists the partition directories
// per data directory; those the image does not know are renamed -stray, as
// Kafka does, except names in keep.
func (s *Set) Start(im *meta.Image, found []engine.DirInfo, keep map[string]bool) error {
	where, err := s.find(im, found)
	if err != nil {
		return err
	}
	jobs := s.jobs(im, where)
	for _, w := range jobs {
		if w.existing != "" {
			delete(where, LogName(w.topic.Name, w.replica.ID))
		}
	}
	for name, dir := range where {
		if keep[name] {
			continue
		}
		s.opt.Logger.Warn("a partition directory that the metadata does not know is set aside as stray; nothing is deleted", "partition", name, "dir", dir)
		if err := s.opt.Store.MarkStray(dir, name); err != nil {
			return err
		}
	}
	s.open(jobs)
	return nil
}

// jobs is what is to be opened or created for the image. A directory of a partition's name that has another topic's id is not its.
func (s *Set) jobs(im *meta.Image, where map[string]string) []work {
	var jobs []work
	for _, t := range im.Topics() {
		c := s.opt.Config(im, t.Name)
		for _, r := range t.Partitions {
			if hosts(r, s.opt.Self) {
				jobs = append(jobs, work{topic: t, replica: r, config: c, dir: s.directory(r)})
			}
		}
	}
	together(len(jobs), func(i int) {
		w := &jobs[i]
		name := LogName(w.topic.Name, w.replica.ID)
		dir, ok := where[name]
		if !ok {
			return
		}
		id, err := s.opt.Store.ReadID(dir, name)
		switch {
		case err != nil:
			s.opt.Logger.Error("cannot read a partition's id; it stays offline", "partition", name, "error", err)
			w.existing = dir
		case id == engine.ID(w.topic.ID) || id == (engine.ID{}):
			w.existing = dir
		}
	})
	return jobs
}

func hosts(p *meta.Partition, self int32) bool {
	for _, r := range p.Replicas {
		if r == self {
			return true
		}
	}
	// A minimal directory may name no replicas at all; everything in it is ours.
	return len(p.Replicas) == 0
}

// directory is where the metadata says our replica lives.
func (s *Set) directory(p *meta.Partition) string {
	if dir, ok := s.named(p); ok {
		return dir
	}
	return s.opt.Default
}

// openers is how many logs are opened or created at a time: that is mostly
// waiting for the disk, whose file system makes the syncs of many one.
const openers = 16

// together calls f for 0 to n-1, openers of them at a time.
func together(n int, f func(i int)) {
	if n == 1 {
		f(0)
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, openers) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	all.Wait()
}

// open does the jobs.
func (s *Set) open(jobs []work) {
	together(len(jobs), func(i int) { jobs[i].out = s.openOne(&jobs[i]) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range jobs {
		s.putLocked(jobs[i].out)
	}
}

func (s *Set) putLocked(p *Partition) {
	list := s.topics[p.TopicID]
	for int(p.Index) >= len(list) {
		list = append(list, nil)
	}
	list[p.Index] = p
	s.topics[p.TopicID] = list
}

// openOne never fails as a whole: a log that cannot be opened is an offline
// partition, answered with a storage error, and its neighbours are served.
func (s *Set) openOne(w *work) *Partition {
	p := &Partition{Topic: w.topic.Name, TopicID: w.topic.ID, Index: w.replica.ID, clock: s.opt.Now, set: s, self: s.opt.Self}
	p.config.Store(w.config)
	name := LogName(p.Topic, p.Index)
	var err error
	var log *engine.Log
	if w.existing != "" {
		log, err = s.opt.Store.OpenLog(w.existing, name, w.config.Log)
	} else {
		log, err = s.opt.Store.CreateLog(w.dir, name, engine.ID(p.TopicID), w.config.Log)
	}
	if err == nil {
		// A log that was made without an id gets the metadata's: later topics of
		// its name must not take it for theirs.
		err = log.Adopt(engine.ID(p.TopicID))
	}
	if err == nil {
		n := &notice{p: p}
		n.last.Store(log.VisibleBytes())
		log.OnHigh(n.high)
		p.log.Store(log)
	} else {
		p.offline(err)
		s.opt.Logger.Error("partition is offline", "partition", name, "error", err)
	}
	if err := p.follow(w.replica); err != nil {
		s.opt.Logger.Error("cannot record a leader epoch", "partition", name, "error", err)
	}
	return p
}

// follow takes leadership from the metadata.
func (p *Partition) follow(r *meta.Partition) error {
	leader := r.Leader
	if len(r.Replicas) == 0 && leader == meta.NoLeader {
		leader = p.self
	}
	before := p.epoch.Swap(r.LeaderEpoch)
	p.leader.Store(leader)
	log := p.log.Load()
	if log == nil || leader != p.self {
		return nil
	}
	if before != r.LeaderEpoch {
		p.wakeAll()
	}
	return log.AssignEpoch(r.LeaderEpoch)
}

// Apply brings the partitions in line with a new image: logs are created and
// deleted before it returns, so that whoever made the change can rely on them.
func (s *Set) Apply(before, now *meta.Image) {
	var jobs []work
	for change := range now.ChangedTopics(before) {
		if change.New == nil {
			s.remove(change.Old)
			continue
		}
		var c *Config
		for _, r := range change.New.Partitions {
			if !hosts(r, s.opt.Self) {
				continue
			}
			if p := s.Get(change.New.ID, r.ID); p != nil {
				if err := p.follow(r); err != nil {
					s.opt.Logger.Error("cannot record a leader epoch", "partition", LogName(p.Topic, p.Index), "error", err)
				}
				continue
			}
			if c == nil {
				c = s.opt.Config(now, change.New.Name)
			}
			jobs = append(jobs, work{topic: change.New, replica: r, config: c, dir: s.directory(r)})
		}
	}
	if len(jobs) > 0 {
		s.open(jobs)
	}
	s.reconfigure(before, now)
}

// reconfigure gives changed topic configs to the logs. A changed broker
// default reaches every topic.
func (s *Set) reconfigure(before, now *meta.Image) {
	var names map[string]bool
	all := false
	for r := range now.ChangedConfigs(before) {
		switch r.Type {
		case meta.ResourceTopic:
			if names == nil {
				names = map[string]bool{}
			}
			names[r.Name] = true
		case meta.ResourceBroker:
			all = true
		}
	}
	if !all && names == nil {
		return
	}
	configs := map[string]*Config{}
	for _, p := range s.All() {
		if !all && !names[p.Topic] {
			continue
		}
		c := configs[p.Topic]
		if c == nil {
			c = s.opt.Config(now, p.Topic)
			configs[p.Topic] = c
		}
		p.config.Store(c)
		if log := p.log.Load(); log != nil {
			log.SetConfig(c.Log)
		}
	}
}

// remove takes a deleted topic's partitions out and their logs away.
func (s *Set) remove(t *meta.Topic) {
	s.mu.Lock()
	list := s.topics[t.ID]
	delete(s.topics, t.ID)
	s.mu.Unlock()
	for _, p := range list {
		if p == nil {
			continue
		}
		p.leader.Store(meta.NoLeader)
		p.wakeAll()
		s.moves.cancel(p)
		if p.log.Load() == nil {
			continue
		}
		name := LogName(p.Topic, p.Index)
		if err := s.opt.Store.DeleteLog(name); err != nil && !errors.Is(err, engine.ErrNotFound) {
			s.opt.Logger.Error("cannot delete a partition's log", "partition", name, "error", err)
		}
	}
}
