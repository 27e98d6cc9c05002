package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/api"
	"github.com/gregor-broker/gregor/server/config"
	"github.com/gregor-broker/gregor/server/conn"
	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/partition"
	"github.com/gregor-broker/gregor/server/quorum"
	"github.com/gregor-broker/gregor/server/quota"
	"github.com/gregor-broker/gregor/server/session"
	"github.com/gregor-broker/gregor/wire"
)

// Env is what a test may replace. The zero value is the real world.
type Env struct {
	FS     vfs.FS
	Clock  clock.Clock
	Logger *slog.Logger
	// LogLevel is the level of Logger, which clients may change; nil when it
	// cannot be.
	LogLevel *slog.LevelVar
	Listen   func(ctx context.Context, address string) (net.Listener, error)
}

func (e Env) withDefaults() Env {
	if e.FS == nil {
		e.FS = vfs.OS
	}
	if e.Clock == nil {
		e.Clock = clock.Real
	}
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	if e.LogLevel == nil {
		e.LogLevel = new(slog.LevelVar)
	}
	if e.Listen == nil {
		e.Listen = conn.Listen
	}
	return e
}

// Broker is a running broker.
type Broker struct {
	cfg *config.Config
	env Env

	store      *engine.Store
	quorum     *quorum.Quorum
	controller *controller.Controller
	partitions *partition.Set
	quotas     *quota.Manager
	// coordinators are those of groups and transactions.
	coordinators *coordinators
	settings     atomic.Pointer[settings]
	conns        *conn.Server
	bound        []bound
	failed       chan error
}

// bound is a listener that is open but may not be served yet.
type bound struct {
	name string
	net.Listener
}

// Open starts a broker: ports bound, directories locked and taken over, logs
// recovered, requests served when it returns. Nothing is written before
// everything that could be refused has been looked at. An error is one
// sentence for the user.
func Open(cfg *config.Config, env Env) (*Broker, error) {
	b := &Broker{cfg: cfg, env: env.withDefaults(), failed: make(chan error, 1)}
	if err := b.start(); err != nil {
		b.abandon()
		return nil, err
	}
	return b, nil
}

func (b *Broker) start() error {
	if err := b.bind(); err != nil {
		return err
	}
	if err := b.openLogs(); err != nil {
		return err
	}
	if err := b.preregister(); err != nil {
		return err
	}
	b.serve()
	return nil
}

// bind opens the ports first: a port in use must not leave a formatted
// directory behind, and clients that connect early wait in the backlog.
func (b *Broker) bind() error {
	for _, l := range slices.Concat(b.cfg.Listeners, b.cfg.OpenControllerListeners) {
		address := net.JoinHostPort(l.Host, fmt.Sprint(l.Port))
		ln, err := b.env.Listen(context.Background(), address)
		if err != nil {
			if slices.Contains(b.cfg.OpenControllerListeners, l) {
				// Only tools come here: nothing that a client needs is missing.
				b.env.Logger.Warn("controller listener is not open: --bootstrap-controller does not reach this broker", "listener", l.Name, "address", address, "error", err)
				continue
			}
			if errors.Is(err, syscall.EADDRINUSE) {
				return fmt.Errorf("listener %s: port %d is in use: stop the program that has it, or choose another one in listeners", l.Name, l.Port)
			}
			return fmt.Errorf("listener %s: cannot listen on %s: %w", l.Name, address, err)
		}
		b.bound = append(b.bound, bound{l.Name, ln})
	}
	return nil
}

// openLogs locks the directories, takes the cluster over and opens every log.
func (b *Broker) openLogs() error {
	q := b.quorumConfig()
	directory, err := quorum.Prepare(b.env.FS, q)
	if err != nil {
		return err
	}
	b.store, err = engine.Open(engine.Options{
		FS: b.env.FS, Clock: b.env.Clock, Logger: b.env.Logger, Dirs: b.cfg.LogDirs, CacheBytes: b.cfg.CacheBytes,
		RetentionInterval: b.cfg.Log.RetentionCheck, CheckpointInterval: b.cfg.Log.OffsetCheckpoint,
		Cleaner: cleanerOptions(&b.cfg.Log),
	})
	if err != nil {
		return err
	}
	// The metadata log is a log like any other, but never deletes by age:
	// snapshots let its prefix go.
	log, err := quorum.OpenLog(b.store, b.env.FS, q, engine.LogConfig{
		SegmentBytes: b.cfg.Quorum.SegmentBytes, SegmentMs: b.cfg.Quorum.SegmentAge.Milliseconds(), RetentionMs: -1, RetentionBytes: -1,
	})
	if err != nil {
		return err
	}
	if b.quorum, err = quorum.Open(b.env.FS, q, directory, log); err != nil {
		return err
	}
	found, err := b.store.Dirs()
	if err != nil {
		return err
	}
	directories := map[meta.UUID]string{}
	for _, dir := range b.cfg.LogDirs {
		directories[b.quorum.DirectoryID(dir)] = dir
	}
	b.partitions = partition.NewSet(partition.Options{
		Store: b.store, Logger: b.env.Logger, Self: b.cfg.NodeID, Directories: directories, Default: b.cfg.LogDirs[0],
		Config: b.topicConfig, Now: b.nowMs, Movers: b.movers(), Assign: b.assignDirectory,
	})
	if err := b.partitions.Start(b.quorum.Image(), found, map[string]bool{quorum.MetadataLogName: true}); err != nil {
		return err
	}
	b.controller = controller.New(b.quorum, b.controllerConfig())
	b.coordinators = b.newCoordinators()
	b.controller.OnImage(b.follow)
	b.quotas = b.newQuotas()
	b.followSettings()
	b.coordinators.start()
	return errors.Join(b.startMoves(), b.store.RemoveDeleted())
}

// follow acts on a new image before those are answered who made it.
func (b *Broker) follow(before, now *meta.Image) {
	b.coordinators.release(now)
	b.partitions.Apply(before, now)
	b.coordinators.follow(now)
}

func (b *Broker) nowMs() int64 { return b.env.Clock.Now().UnixMilli() }

// preregister creates the topics that server.properties names and the
// metadata does not have.
func (b *Broker) preregister() error {
	var wanted []controller.NewTopic
	for _, t := range b.cfg.Topics {
		known := b.quorum.Image().Topic(t.Name)
		switch {
		case known == nil:
			wanted = append(wanted, controller.NewTopic{Name: t.Name, NumPartitions: t.Partitions, ReplicationFactor: 1, ID: meta.UUID(t.ID)})
		case t.HasID && meta.UUID(t.ID) != known.ID:
			return fmt.Errorf("topic.%s.id=%s: the topic exists with id %s: remove the line, or delete the topic", t.Name, meta.UUID(t.ID), known.ID)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	results, err := b.controller.CreateTopics(wanted, false)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return fmt.Errorf("topic.%s.partitions: %w", r.Name, r.Err)
		}
	}
	return nil
}

func (b *Broker) serve() {
	deps := b.apiDeps()
	controllers := map[string]*wire.Table{}
	for _, l := range b.cfg.OpenControllerListeners {
		controllers[l.Name] = api.ControllerTable(deps)
	}
	limits := b.connectionLimits(b.settingsOn(b.quorum.Image()).Config)
	b.conns = conn.NewServer(conn.Options{
		Table: api.Table(deps), Tables: controllers, Logger: b.env.Logger,
		MaxRequestBytes: int(b.cfg.Network.RequestMaxBytes), IdleTimeout: idle(b.cfg.Network.MaxIdle),
		RequestMemoryBytes: b.cfg.Network.QueuedMaxRequestBytes, Limits: &limits, Pace: b.pace, Refuse: b.refuse,
	})
	for _, l := range b.bound {
		go func() {
			if err := b.conns.Serve(l.Listener, l.name); err != nil {
				select {
				case b.failed <- fmt.Errorf("listener %s: %w", l.name, err):
				default:
				}
			}
		}()
	}
}

func (b *Broker) apiDeps() api.Deps {
	endpoints := map[string]api.Endpoint{}
	for _, l := range slices.Concat(b.cfg.Advertised, b.cfg.ControllerAdvertised) {
		endpoints[l.Name] = api.Endpoint{Host: l.Host, Port: b.port(l.Name, l.Port)}
	}
	return api.Deps{
		NodeID: b.cfg.NodeID, ClusterID: b.quorum.ClusterID(), Config: b.cfg, Image: b.quorum.Image, Controller: b.controller, Quorum: b.quorum, Quotas: b.quotas,
		Partitions: b.partitions, Sessions: session.NewCache(int(b.cfg.Network.FetchSessionSlots)), Store: b.store, Logger: b.env.Logger, LogLevel: b.env.LogLevel,
		NowMs: b.nowMs, Endpoints: endpoints, Rack: b.rack(), LogDirs: b.cfg.LogDirs,
		Groups: b.coordinators.groups, Transactions: b.coordinators.transactions, Markers: b.coordinators.markers,
		ProducerIDs: b.coordinators.producerIDs, CreateInternalTopic: b.coordinators.createInternal,
		KRaftVersion: func() int16 { _, level := b.quorum.Voters(); return level },
	}
}

// Failed delivers an error that ends the broker while it runs.
func (b *Broker) Failed() <-chan error { return b.failed }

// Summary is the line a user sees when the broker is ready.
type Summary struct {
	Addresses  []string
	LogDirs    []string
	ClusterID  string
	Topics     int
	Partitions int
}

// Summary describes the running broker.
func (b *Broker) Summary() Summary {
	im := b.quorum.Image()
	s := Summary{LogDirs: b.cfg.LogDirs, ClusterID: b.quorum.ClusterID(), Topics: len(im.Topics()), Partitions: im.PartitionCount()}
	for _, e := range b.cfg.Advertised {
		e.Port = b.port(e.Name, e.Port)
		s.Addresses = append(s.Addresses, e.Addr())
	}
	return s
}

// drainTime bounds how long requests in flight may take at a stop.
const drainTime = time.Second

// Close drains connections, stops, syncs everything and leaves the directories
// as a clean stop does. When ctx ends, what is still running is cut off; the
// directories are then left as after a crash, which loses nothing acknowledged.
func (b *Broker) Close(ctx context.Context) error {
	drain, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	// Everybody who waits for something that need not come is answered first.
	b.partitions.Drain()
	b.coordinators.close()
	if err := b.conns.Shutdown(drain); err != nil {
		b.env.Logger.Warn("some connections did not drain in time and were cut", "error", err)
	}
	// Cut connections end within microseconds, on the time that is left.
	if err := b.conns.Wait(ctx); err != nil {
		// A reply may still read from a mapping: without a clean marker the next
		// start checks the logs, and nothing is unmapped under a reader.
		return fmt.Errorf("connections did not end in time: %w", err)
	}
	b.partitions.StopMoves()
	b.controller.Close()
	b.fence()
	b.quorum.Close()
	return b.store.Close(b.quorum.BrokerEpoch())
}

// fence says in the metadata that this broker is gone, as a controller does of
// one that shuts down. Without it a Kafka that takes the directory over waits
// for the session of a broker that still seems to be there (nine seconds).
func (b *Broker) fence() {
	_, err := b.quorum.Commit([]meta.Record{&meta.BrokerRegistrationChangeRecord{
		BrokerID: b.cfg.NodeID, BrokerEpoch: b.quorum.BrokerEpoch(), Fenced: 1}})
	if err != nil {
		b.env.Logger.Warn("cannot note in the metadata that this broker stops", "error", err)
	}
}

// abandon gives back what a failed start had taken.
func (b *Broker) abandon() {
	for _, l := range b.bound {
		l.Close()
	}
	if b.coordinators != nil {
		b.coordinators.close()
	}
	if b.partitions != nil {
		b.partitions.StopMoves()
	}
	if b.controller != nil {
		b.controller.Close()
	}
	if b.quorum != nil {
		b.quorum.Close()
	}
	if b.store != nil {
		b.store.Abandon()
	}
}
