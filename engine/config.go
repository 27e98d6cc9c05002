package engine

import (
	"log/slog"
	"math"
	"time"

	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/journal"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// ID identifies a log across renames and directories: Kafka's topic id, as in
// partition.metadata. The zero ID is no id.
type ID [16]byte

// LogConfig is what one log needs of its topic's configuration. Zero values
// of the size and time fields mean Kafka's defaults.
type LogConfig struct {
	SegmentBytes       int64 // segment.bytes
	SegmentMs          int64 // segment.ms
	SegmentJitterMs    int64 // segment.jitter.ms
	IndexIntervalBytes int64 // index.interval.bytes
	SegmentIndexBytes  int64 // segment.index.bytes

	// Delete is cleanup.policy=delete; RetentionMs and RetentionBytes are then
	// the limits, negative for none. RetentionMs zero is Kafka's zero: at once.
	Delete         bool
	Compact        bool
	RetentionMs    int64
	RetentionBytes int64

	// What follows matters with Compact only. Zeros are Kafka's zeros, but for MaxCompactionLagMs, where zero is none.
	MinCleanableDirtyRatio float64 // min.cleanable.dirty.ratio
	MinCompactionLagMs     int64   // min.compaction.lag.ms
	MaxCompactionLagMs     int64   // max.compaction.lag.ms
	DeleteRetentionMs      int64   // delete.retention.ms

	FileDeleteDelayMs int64 // file.delete.delay.ms

	// FlushMessages and FlushMs relax durability as Kafka's flush.messages and
	// flush.ms: with either above zero a batch is acknowledged and visible once
	// it is in the page cache, and synced after that many messages or
	// milliseconds. Zero for both, the default, means: synced before the
	// acknowledgement and before any reader sees it. FlushMessages 1 is the
	// same as the default.
	FlushMessages int64
	FlushMs       int64

	ProducerIDExpirationMs int64 // producer.id.expiration.ms
	Preallocate            bool  // preallocate: reserve the segment's space when it is created
}

// Kafka's defaults for LogConfig and the intervals of the Store.
const (
	DefaultSegmentBytes         = 1 << 30
	DefaultSegmentMs            = 7 * 24 * 3600 * 1000
	DefaultIndexIntervalBytes   = 4096
	DefaultSegmentIndexBytes    = 10 << 20
	DefaultFileDeleteDelayMs    = 60_000
	DefaultProducerIDExpiration = 24 * 3600 * 1000
	DefaultCheckpointBytes      = 32 << 20
	DefaultBackoff              = 15 * time.Second // of the cleaner
)

func (c LogConfig) withDefaults() LogConfig {
	set := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&c.SegmentBytes, DefaultSegmentBytes)
	set(&c.SegmentMs, DefaultSegmentMs)
	set(&c.IndexIntervalBytes, DefaultIndexIntervalBytes)
	set(&c.SegmentIndexBytes, DefaultSegmentIndexBytes)
	set(&c.FileDeleteDelayMs, DefaultFileDeleteDelayMs)
	set(&c.ProducerIDExpirationMs, DefaultProducerIDExpiration)
	set(&c.MaxCompactionLagMs, math.MaxInt64)
	c.SegmentBytes = min(c.SegmentBytes, math.MaxInt32)
	return c
}

// rollMs is when a segment is due by its age: what is to be compacted in time must not stay in the active one
// (LogConfig.maxSegmentMs).
func (c *LogConfig) rollMs() int64 {
	if c.Compact {
		return min(c.SegmentMs, c.MaxCompactionLagMs)
	}
	return c.SegmentMs
}

// relaxed says whether the user gave up durability before acknowledgement.
func (c *LogConfig) relaxed() bool { return c.FlushMessages > 1 || c.FlushMs > 0 }

// Options configure a Store. Zero values are sensible.
type Options struct {
	FS     vfs.FS       // vfs.OS when nil
	Clock  clock.Clock  // clock.Real when nil
	Logger *slog.Logger // discards when nil

	// Dirs are the data directories (log.dirs); they must exist.
	Dirs []string

	// CacheBytes bounds the hot-read cache; zero switches it off.
	CacheBytes int64
	// SyncWorkers is how many files of one directory may be synced at a time.
	SyncWorkers int
	// CheckpointBytes is how much may be appended to a directory before the
	// recovery points are brought up to date: what a restart after a crash has
	// to read at most. Where that concerns very many logs it may be eight times as much.
	CheckpointBytes int64
	// JournalBytes is the size of each of the two files of the journal that a
	// directory gets when many of its logs are written a little each; zero is
	// journal.DefaultBytes, negative means never.
	JournalBytes int64
	// RetentionInterval is log.retention.check.interval.ms; CheckpointInterval
	// is log.flush.offset.checkpoint.interval.ms.
	RetentionInterval  time.Duration
	CheckpointInterval time.Duration

	// Cleaner is how logs with LogConfig.Compact are compacted.
	Cleaner CleanerOptions

	// OnPoison is told the first failed sync of a directory.
	OnPoison func(dir string, err error)
	// Manual switches the background jobs off; the owner calls RunJobs. For
	// tests that want every file operation in a known order.
	Manual bool

	// journalAll makes and uses the journal from the first sync on, however few
	// logs wait. For tests.
	journalAll bool
}

// CleanerOptions are the settings of log.cleaner.*. Zero values are Kafka's defaults.
type CleanerOptions struct {
	Disabled          bool          // log.cleaner.enable=false
	Threads           int           // log.cleaner.threads: logs cleaned at a time; 1
	DedupeBufferBytes int64         // log.cleaner.dedupe.buffer.size, of all threads; 128 MiB. Memory is taken as keys come
	LoadFactor        float64       // log.cleaner.io.buffer.load.factor; 0.9
	IOBufferBytes     int           // log.cleaner.io.buffer.size, of all threads; 512 KiB
	MaxBytesPerSecond float64       // log.cleaner.io.max.bytes.per.second, reads and writes; no limit
	Backoff           time.Duration // log.cleaner.backoff.ms: between looks while there is nothing to clean; 15 s
}

func (o CleanerOptions) withDefaults() CleanerOptions {
	if o.Threads <= 0 {
		o.Threads = 1
	}
	if o.DedupeBufferBytes <= 0 {
		o.DedupeBufferBytes = 128 << 20
	}
	if !(o.LoadFactor > 0) {
		o.LoadFactor = 0.9
	}
	if o.IOBufferBytes <= 0 {
		o.IOBufferBytes = 512 << 10
	}
	if o.Backoff <= 0 {
		o.Backoff = DefaultBackoff
	}
	return o
}

func (o Options) withDefaults() Options {
	o.Cleaner = o.Cleaner.withDefaults()
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.Clock == nil {
		o.Clock = clock.Real
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SyncWorkers <= 0 {
		o.SyncWorkers = 4
	}
	if o.CheckpointBytes <= 0 {
		o.CheckpointBytes = DefaultCheckpointBytes
	}
	if o.JournalBytes == 0 {
		o.JournalBytes = journal.DefaultBytes
	}
	if o.RetentionInterval <= 0 {
		o.RetentionInterval = 5 * time.Minute
	}
	if o.CheckpointInterval <= 0 {
		o.CheckpointInterval = time.Minute
	}
	return o
}
