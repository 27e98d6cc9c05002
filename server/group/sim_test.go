package group

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/coord/coordtest"
	"github.com/gregor-broker/gregor/server/group/record"
	"github.com/gregor-broker/gregor/server/meta"
)

var (
	simSeeds = flag.Int("seeds", 400, "how many seeds the simulation runs")
	simSeed  = flag.Uint64("seed", 0, "the one seed the simulation runs, with a transcript; 0 for many")
)

// world is one simulation: a coordinator on a log in memory, clients, and an observer who knows what every answer may
// say. Time is virtual and everything happens on one goroutine, in an order that the seed decides; with goroutines, logs are
// read on others, which are waited for.
type world struct {
	t       testing.TB
	seed    uint64
	rng     *rand.Rand
	verbose bool

	clock  *clock.Manual
	begin  time.Time
	log    *coordtest.Log
	manual bool // syncs happen when the simulation says so
	run    *coord.Runtime[*Machine]
	opt    Options
	image  *meta.Image

	goroutines bool
	started    []func() // what the coordinator would run on goroutines
	follower   follower
	holders    map[owned]*consumerMember // the referee's
	a, b       []byte                    // for dumps

	incarnation int // of the coordinator, as far as connections go
	inbox       []func()
	parked      []*parked
	clients     []simClient
	calm        bool // no more faults
	loss        float64

	offsets map[offsetKey]*history
	commits int64                          // in them
	synced  map[string]int32               // group -> highest generation anybody was told an assignment of
	owners  map[string]map[ownerKey]string // group -> who owns what
	failure string
}

// simClient is a client in a simulation.
type simClient interface {
	// tick does what is due now.
	tick(w *world)
	// behave is told once: from here on the client makes no trouble.
	behave(w *world)
	// unsettled says what the client still waits for, "" if nothing.
	unsettled(w *world) string
}

// parked is a request that has not been answered.
type parked struct {
	what     string
	due      time.Time
	answered bool
}

type ownerKey struct {
	generation int32
	partition  int32
}

// errLost is what a client sees of a request or answer that was lost.
var errLost = errors.New("connection lost")

const (
	simTopic      = "t"
	simPartitions = 6
	simRetention  = 7 * 24 * time.Hour
)

var simImages sync.Map

// simImage has one topic of simPartitions partitions for every name.
func simImage(names ...string) *meta.Image {
	key := strings.Join(names, ",")
	if im, ok := simImages.Load(key); ok {
		return im.(*meta.Image)
	}
	d := meta.NewDelta(&meta.Image{})
	for i, name := range names {
		id := meta.UUID{byte(i + 1), 1}
		for _, r := range append([]meta.Record{&meta.TopicRecord{Name: name, TopicID: id}}, simPartitionRecords(id)...) {
			if err := d.Apply(r); err != nil {
				panic(err)
			}
		}
	}
	im := d.Image(1, 1)
	simImages.Store(key, im)
	return im
}

func simPartitionRecords(id meta.UUID) (list []meta.Record) {
	for p := range int32(simPartitions) {
		list = append(list, &meta.PartitionRecord{PartitionID: p, TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1})
	}
	return list
}

func newWorld(t testing.TB, seed uint64, goroutines bool) *world {
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	w := &world{t: t, seed: seed, rng: rng, begin: time.UnixMilli(1_700_000_000_000), manual: rng.IntN(2) == 0, image: simImage(simTopic),
		goroutines: goroutines, holders: map[owned]*consumerMember{}, offsets: map[offsetKey]*history{}, synced: map[string]int32{}, owners: map[string]map[ownerKey]string{}}
	w.clock = clock.NewManual(w.begin)
	w.opt = simOptions(rng)
	w.opt.Image = func() *meta.Image { return w.image }
	w.log = coordtest.NewLog(1, w.manual)
	w.serve()
	return w
}

// simOptions are the settings of a simulated coordinator; ids come from rng.
func simOptions(rng *rand.Rand) Options {
	interval := int64(rng.IntN(2)) * 1000
	return Options{
		Settings: config.Groups{MinSessionTimeout: 6 * time.Second, MaxSessionTimeout: 30 * time.Minute, InitialRebalanceDelay: time.Duration(rng.IntN(2)) * 3 * time.Second, MaxSize: 1000,
			Consumer: config.ConsumerGroups{SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second, MaxSize: 1000, Assignors: []string{"uniform", "range"}, MigrationPolicy: "bidirectional"}},
		Offsets:     config.Offsets{Retention: simRetention, RetentionCheck: 10 * time.Minute, MetadataMaxBytes: 4096},
		GroupConfig: func(string) (int64, int64, int64) { return 45_000, 5000, interval },
		Image:       func() *meta.Image { return simImage(simTopic) },
		NewID: func() string {
			var b [16]byte
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			return base64.RawURLEncoding.EncodeToString(b[:])
		},
	}
}

// serve starts a coordinator on the log.
func (w *world) serve() {
	w.incarnation++
	o := coord.Options[*Machine]{Topic: "__consumer_offsets", New: func(p int32) *Machine { return New(w.opt, p) }, Clock: w.clock, Codec: codec.None}
	if !w.goroutines {
		o.Go = func(f func()) { w.started = append(w.started, f) }
	}
	w.run = coord.NewRuntime(o)
	w.run.SetPartitions(1)
	w.run.Serve(0, (*simLog)(w))
	w.settle()
	w.logf("coordinator serves a log of %d records", w.log.End())
	w.peek(func(m *Machine) {
		for name, g := range m.groups {
			if g.classic != nil && g.classic.generation < w.synced[name] {
				w.fail("group %s has generation %d after a restart, but somebody was told generation %d", name, g.classic.generation, w.synced[name])
			}
		}
	})
}

// simLog is the world's log as the coordinator sees it; group tombstones are noticed.
type simLog world

func (l *simLog) Append(b batch.Batch, waiter coord.Waiter) error {
	w := (*world)(l)
	if err := w.log.Append(b, waiter); err != nil {
		return err
	}
	return b.Each(1<<20, func(r *batch.Record) error {
		if r.Value != nil {
			return nil
		}
		k, err := record.DecodeKey(r.Key)
		if err == nil && (k.Type == record.TypeGroupMetadata || k.Type == record.TypeConsumerGroupMetadata) {
			w.forget(k.Group)
		}
		return err
	})
}

func (l *simLog) AppendMarker(b batch.Batch, version int16, waiter coord.Waiter) error {
	return l.log.AppendMarker(b, version, waiter)
}
func (l *simLog) Load(f func(batch.Batch) error) error { return l.log.Load(f) }
func (l *simLog) Start() int64                         { return l.log.Start() }
func (l *simLog) End() int64                           { return l.log.End() }
func (l *simLog) Flush() error                         { return l.log.Flush() }
func (l *simLog) Epoch() int32                         { return l.log.Epoch() }

// forget is a group that is deleted: its generations begin again.
func (w *world) forget(group string) {
	delete(w.synced, group)
	delete(w.owners, group)
}

func (w *world) now() time.Time { return w.clock.Now() }

func (w *world) logf(format string, args ...any) {
	if w.verbose {
		w.t.Logf("%8.3fs %s", w.now().Sub(w.begin).Seconds(), fmt.Sprintf(format, args...))
	}
}

// fail notes the first thing that is wrong.
func (w *world) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf("after %v: %s", w.now().Sub(w.begin), fmt.Sprintf(format, args...))
		w.logf("FAILED: %s", w.failure)
	}
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

// between is a random time.
func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rng.Int64N(int64(high-low)+1))
}

// peek looks at the machine, when it is in service.
func (w *world) peek(f func(m *Machine)) {
	_ = w.run.DoAt(0, func(_ *coord.Context, m *Machine) { f(m) })
}

// call sends a request that must be answered within bound. observe sees every answer of this coordinator's life,
// reply what reaches the client: both run later, on the simulation's own turn. A lost request or answer is errLost, at once: real clients find out
// later, these wait by themselves.
func call[T any](w *world, what string, bound time.Duration, op func(c *coord.Context, m *Machine, done coord.Done[T]), observe, reply func(v T, err error)) {
	var none T
	if !w.calm && w.chance(w.loss) {
		w.inbox = append(w.inbox, func() { reply(none, errLost) })
		return
	}
	incarnation, p := w.incarnation, &parked{what: what, due: w.now().Add(bound)}
	done := func(v T, err error) {
		if w.incarnation != incarnation {
			return
		}
		if p.answered {
			w.fail("%s was answered twice", what)
		}
		p.answered = true
		w.inbox = append(w.inbox, func() {
			if observe != nil {
				observe(v, err)
			}
			if !w.calm && w.chance(w.loss) {
				v, err = none, errLost
			}
			reply(v, err)
		})
	}
	w.parked = append(w.parked, p)
	if err := w.run.Do("any", func(c *coord.Context, m *Machine) { op(c, m, done) }); err != nil {
		done(none, err)
	}
	w.settle() // an append may have been refused
}

// settle waits until a log that is read in the background is in service.
func (w *world) settle() {
	for len(w.started) > 0 {
		f := w.started[0]
		w.started = w.started[1:]
		f()
	}
	if w.goroutines {
		w.run.WaitLoaded()
		_ = w.run.DoAt(0, func(*coord.Context, *Machine) {})
	}
}

// advance lets time pass. After each moment at which a timer fired everything comes to rest, so that a seed says all.
func (w *world) advance(d time.Duration) {
	for {
		next, ok := w.clock.Next()
		if !ok || next > d {
			break
		}
		w.clock.Advance(next)
		w.settle()
		d -= next
	}
	w.clock.Advance(d)
}

// deliver hands out answers until there are none.
func (w *world) deliver() {
	for len(w.inbox) > 0 {
		next := w.inbox[0]
		w.inbox = w.inbox[1:]
		next()
	}
}

// step lets time pass and everybody act.
func (w *world) step(d time.Duration) {
	w.advance(d)
	if w.manual && (w.calm || w.chance(0.5)) {
		w.log.Sync(nil)
	}
	w.deliver()
	for _, c := range w.clients {
		c.tick(w)
		w.deliver()
	}
	kept := w.parked[:0]
	for _, p := range w.parked {
		if !p.answered && w.now().After(p.due) && (!w.manual || w.log.Unsynced() == 0) {
			w.fail("%s was not answered by %v", p.what, p.due.Sub(w.begin))
		}
		if !p.answered {
			kept = append(kept, p)
		}
	}
	w.parked = kept
}

// trouble is what goes wrong with the coordinator itself.
func (w *world) trouble() {
	switch {
	case w.chance(0.004):
		keep := w.rng.IntN(w.log.Unsynced() + 1)
		w.logf("CRASH: %d batches were not durable, %d of them are kept", w.log.Unsynced(), keep)
		w.end()
		w.log, w.follower = w.log.Crash(keep), follower{}
		w.serve()
	case w.chance(0.003):
		w.logf("the coordinator is restarted")
		_ = w.log.Flush()
		w.deliver()
		w.end()
		w.serve()
	case w.chance(0.003):
		w.logf("an append is refused")
		w.log.Refuse(errors.New("no space"))
		w.clients[w.rng.IntN(len(w.clients))].tick(w)
		w.advance(w.between(0, 3*time.Second))
		w.log.Refuse(nil)
		w.settle()
		w.deliver()
	case w.chance(0.01):
		w.replayed()
	}
}

// end takes the coordinator away; nobody hears from it again.
func (w *world) end() {
	w.incarnation++
	w.inbox, w.parked = nil, nil
	w.run.Close()
}

// replayed compares the machine with what its log makes of it.
func (w *world) replayed() {
	w.a, w.b = w.a[:0], w.b[:0]
	w.peek(func(m *Machine) {
		w.follow()
		w.a, w.b = dump(w.a, m, m), dump(w.b, w.follower.machine, m)
	})
	if !bytes.Equal(w.a, w.b) {
		w.fail("a replayed machine differs from the live one\nlive:\n%s\nreplayed:\n%s", w.a, w.b)
	}
}

// follower is another machine, which is given each record of the log once, decoded as when a log is loaded. As Apply knows only
// its machine and the record, a new machine that is given all of them would be the same.
type follower struct {
	machine *Machine
	batches int // of the log, that it was given
	// last is what compaction leaves of the log, but for offsets.
	last map[string]*compactedRecord
}

// compactedRecord is the last record of its key.
type compactedRecord struct {
	key, value []byte
	offset     int64
}

// follow gives the follower what the log has more.
func (w *world) follow() {
	f := &w.follower
	if f.machine == nil {
		*f = follower{machine: New(w.opt, 0), last: map[string]*compactedRecord{}}
	}
	var err error
	if f.batches, err = w.log.LoadFrom(f.batches, f.take); err != nil {
		w.fail("replay: %v", err)
	}
}

// take applies a batch, as a shard does.
func (f *follower) take(b batch.Batch) error {
	m := f.machine
	if b.IsControl() {
		commit, _, err := batch.EndTransaction(b)
		if err != nil {
			return err
		}
		return m.EndTransaction(b.ProducerID(), b.ProducerEpoch(), commit, coord.Origin{Offset: b.BaseOffset()})
	}
	o := coord.Origin{ProducerID: -1}
	if b.IsTransactional() {
		o.ProducerID, o.ProducerEpoch = b.ProducerID(), b.ProducerEpoch()
	}
	return b.Each(1<<20, func(r *batch.Record) error {
		o.Offset, o.Timestamp = r.Offset, r.Timestamp
		if o.ProducerID == -1 {
			x := f.last[string(r.Key)]
			if x == nil {
				x = new(compactedRecord)
				f.last[string(r.Key)] = x
			}
			*x = compactedRecord{r.Key, r.Value, r.Offset} // batches of the log never change
		}
		return m.Apply(coord.Record{Key: r.Key, Value: r.Value}, o)
	})
}

// runSeed runs one simulation and returns what went wrong.
func runSeed(t testing.TB, seed uint64, verbose, goroutines bool) string {
	w := newWorld(t, seed, goroutines)
	w.verbose = verbose
	defer w.run.Close()
	w.loss = []float64{0, 0.02, 0.1}[w.rng.IntN(3)]
	addClassicClients(w)
	addConsumerClients(w)
	addOffsetClients(w)
	for range 150 + w.rng.IntN(150) {
		w.step(w.between(0, time.Second))
		w.trouble()
		if w.failure != "" {
			return w.failure
		}
	}
	w.logf("everybody behaves from here on")
	w.calm = true
	_ = w.log.Flush()
	w.deliver()
	for _, c := range w.clients {
		c.behave(w)
	}
	const patience = 20 * time.Minute
	late := ""
	for begun := w.now(); w.now().Sub(begun) < patience; {
		w.step(500 * time.Millisecond)
		late = ""
		for _, c := range w.clients {
			if why := c.unsettled(w); why != "" {
				late = why
				break
			}
		}
		if late == "" || w.failure != "" {
			break
		}
	}
	if late != "" {
		w.fail("clients that behave are not served: %s", late)
	}
	w.follower = follower{} // from the beginning
	w.replayed()
	return w.failure
}

func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		if why := runSeed(t, *simSeed, true, false); why != "" {
			t.Fatalf("seed %d: %s", *simSeed, why)
		}
		return
	}
	// A world is small and soon garbage: with a heap of a few MB the collector would run all the time.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	var next atomic.Uint64
	var mu sync.Mutex
	failures := map[uint64]string{}
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1); seed <= uint64(*simSeeds); seed = next.Add(1) {
				if why := runSeed(t, seed, false, false); why != "" {
					mu.Lock()
					failures[seed] = why
					mu.Unlock()
				}
			}
		})
	}
	workers.Wait()
	for i, seed := range slices.Sorted(maps.Keys(failures)) {
		if i == 5 {
			t.Errorf("and %d more", len(failures)-i)
			break
		}
		t.Errorf("seed %d (go test -run TestSimulation -v -seed %d): %s", seed, seed, failures[seed])
	}
}

// TestSimulationOnGoroutines: seeds hold as well when the coordinator starts goroutines as it does in a broker.
func TestSimulationOnGoroutines(t *testing.T) {
	for seed := range uint64(min(*simSeeds, 30)) {
		if why := runSeed(t, seed+1, false, true); why != "" {
			t.Errorf("seed %d: %s", seed+1, why)
		}
	}
}
