package config

import (
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is the configuration of one broker: the typed values the other rooms use, and every other value by name.
// It is immutable and safe for concurrent use; maps and slices in it are shared and must not be changed.
type Config struct {
	// File is the path of server.properties; "" without one.
	File string
	// Warnings are sentences for the broker's log about keys that have no effect.
	Warnings []string

	NodeID int32
	// Rack is broker.rack; "" when not set.
	Rack string
	// Listeners are the broker's own, in the order written. The controller's are not among them.
	Listeners []Listener
	// ControllerListeners are the controller's. Where listeners names none, it is one that the metadata log names and
	// nobody opens.
	ControllerListeners []Listener
	// OpenControllerListeners are those of ControllerListeners that this node opens, for tools that ask the controller.
	OpenControllerListeners []Listener
	// InterBrokerListener is the name of the listener brokers use among themselves.
	InterBrokerListener string
	// Advertised are the addresses told to clients, one for each broker listener that is advertised. A port of 0 stands
	// for the one the operating system picks for the listener of the same name.
	Advertised []Endpoint
	// ControllerAdvertised are the addresses of ControllerListeners that others are told, in the same order.
	ControllerAdvertised []Endpoint

	// LogDirs are absolute paths, in the order written, without repetitions.
	LogDirs []string
	// CordonedLogDirs are those of LogDirs that get no new partitions.
	CordonedLogDirs []string
	// MetadataLogDir is the absolute path of the directory with the metadata log, by default the first of LogDirs.
	MetadataLogDir string

	// Topics are to exist once the broker runs, by topic.<name>.partitions, sorted by name.
	Topics []TopicSpec
	// AutoCreateTopics lets Metadata requests create topics; DeleteTopics lets DeleteTopics requests delete them.
	AutoCreateTopics, DeleteTopics bool
	// NumPartitions and DefaultReplicationFactor stand in for -1 in CreateTopics and serve automatic creation.
	NumPartitions            int32
	DefaultReplicationFactor int16

	Network      Network
	Log          Log
	Quorum       Quorum
	Groups       Groups
	Offsets      Offsets
	Transactions Transactions
	Share        Share

	// LogLevel and LogFormat ("text" or "json") shape the broker's own log lines.
	LogLevel  slog.Level
	LogFormat string
	// CacheBytes bounds the memory for blocks of log that are read again; 0 means no cache.
	CacheBytes int64

	static    static
	values    map[string]string // what is in force: static, with dynamic values over it
	localOnly bool              // no file: a listener without a host is advertised as localhost
	hostname  func() (string, error)
}

// raw is the value in force as somebody wrote it.
func (c *Config) raw(name string) (string, bool) {
	v, ok := c.values[name]
	return v, ok
}

// IsSet tells whether somebody gave the broker configuration a value, in any layer.
func (c *Config) IsSet(name string) bool { _, ok := c.raw(name); return ok }

// String returns the value in force of a broker configuration, in Kafka's spelling; "" when it is null. Like the other
// methods that take a name it panics on names that are not defined, which is a mistake in the program.
func (c *Config) String(name string) string {
	d := BrokerDef(name)
	if d == nil {
		panic("config: no broker configuration " + name)
	}
	if v, ok := c.raw(name); ok {
		if parsed, err := d.Parse(v); err == nil {
			return parsed
		}
	}
	return d.Default
}

// Int returns an integer configuration; 0 when it is null.
func (c *Config) Int(name string) int64 {
	n, _ := strconv.ParseInt(c.String(name), 10, 64)
	return n
}

// Bool returns a boolean configuration.
func (c *Config) Bool(name string) bool { return c.String(name) == "true" }

// Float returns a floating-point configuration.
func (c *Config) Float(name string) float64 {
	f, _ := parseDouble(c.String(name))
	return f
}

// List returns a list configuration; nil when it is empty or null.
func (c *Config) List(name string) []string { return splitList(c.String(name)) }

// Duration returns a configuration in milliseconds as a duration; values beyond 292 years become the longest one.
func (c *Config) Duration(name string) time.Duration { return Millis(c.Int(name)) }

// Millis turns milliseconds into a duration, stopping at the ends of what fits.
func Millis(ms int64) time.Duration {
	switch {
	case ms > math.MaxInt64/int64(time.Millisecond):
		return math.MaxInt64
	case ms < math.MinInt64/int64(time.Millisecond):
		return math.MinInt64
	}
	return time.Duration(ms) * time.Millisecond
}

func (c *Config) int32(name string) int32 { return int32(c.Int(name)) }
func (c *Config) int16(name string) int16 { return int16(c.Int(name)) }

// setValues puts what is in force together. A dynamic value also takes away the coarser static units of the same thing
// (DynamicBrokerConfig.overrideProps).
func (c *Config) setValues(cluster, broker map[string]string) {
	c.values = overlay(c.static, cluster, broker)
}

func overlay(s static, layers ...map[string]string) map[string]string {
	out := make(map[string]string, len(s)+8)
	for name, at := range s {
		out[name] = at.value
	}
	for _, layer := range layers {
		for name, value := range layer {
			if d := BrokerDef(name); d != nil {
				if _, err := d.Parse(value); err != nil {
					continue // stored by somebody with other rules; the layer below stays in force
				}
			}
			for _, syn := range brokerSynonyms(name) {
				if listenerBase(name) == "" {
					delete(out, syn.Name)
				}
			}
			out[name] = value
		}
	}
	return out
}

// build computes every typed field from the static layer.
func (c *Config) build() error {
	c.setValues(nil, nil)
	c.NodeID = c.int32("node.id")
	c.Rack = c.String("broker.rack")
	if err := c.buildListeners(); err != nil {
		return err
	}
	if err := c.buildQuorum(); err != nil {
		return err
	}
	if err := c.buildDirs(); err != nil {
		return err
	}
	if err := c.buildTopics(); err != nil {
		return err
	}
	c.LogFormat = c.String("gregor.log.format")
	c.CacheBytes = c.Int("gregor.cache.bytes")
	switch strings.ToLower(c.String("gregor.log.level")) {
	case "debug":
		c.LogLevel = slog.LevelDebug
	case "warn":
		c.LogLevel = slog.LevelWarn
	case "error":
		c.LogLevel = slog.LevelError
	}
	c.AutoCreateTopics = c.Bool("auto.create.topics.enable")
	c.DeleteTopics = c.Bool("delete.topic.enable")
	c.NumPartitions = c.int32("num.partitions")
	c.DefaultReplicationFactor = c.int16("default.replication.factor")
	if err := c.buildRooms(); err != nil {
		return c.static.valueErrorf(perIPName, "%v", err)
	}
	if name, reason := c.conflict(); reason != "" {
		for _, s := range brokerSynonyms(name) {
			if c.static.has(s.Name) {
				return c.static.valueErrorf(s.Name, "%s", strings.TrimPrefix(reason, s.Name+" "))
			}
		}
		return c.static.errorf(name, "%s", strings.TrimPrefix(reason, name+" "))
	}
	return nil
}

// WithDynamic returns the configuration with the dynamic values of this broker and the cluster-wide defaults below them
// in force. Either map may be nil. Values this release cannot parse are left out, as Kafka does.
func (c *Config) WithDynamic(broker, cluster map[string]string) (*Config, error) {
	n := *c
	n.setValues(cluster, broker)
	if err := n.buildRooms(); err != nil {
		return nil, kafkaText("Error parsing configuration property '" + perIPName + "': " + err.Error())
	}
	dirs, err := n.cordoned()
	if err != nil {
		return nil, err
	}
	n.CordonedLogDirs = dirs
	if name, reason := n.conflict(); reason != "" {
		if !strings.HasPrefix(name, "group.") {
			reason = "requirement failed: " + reason // what Scala's require says, where Kafka uses it
		}
		return nil, kafkaText(reason)
	}
	n.Listeners, n.OpenControllerListeners = slices.Clone(c.Listeners), slices.Clone(c.OpenControllerListeners)
	for _, list := range [...][]Listener{n.Listeners, n.OpenControllerListeners} {
		for i := range list {
			n.listenerLimits(&list[i])
		}
	}
	return &n, nil
}

func (c *Config) buildDirs() error {
	name := "log.dirs"
	if !c.IsSet(name) {
		name = "log.dir"
	}
	for _, dir := range c.List(name) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return c.static.errorf(name, "cannot make %s absolute: %v", dir, err)
		}
		if slices.Contains(c.LogDirs, abs) {
			return c.static.errorf(name, "%s is named twice", dir)
		}
		c.LogDirs = append(c.LogDirs, abs)
	}
	if len(c.LogDirs) == 0 {
		return c.static.errorf(name, "expected at least one directory")
	}
	c.MetadataLogDir = c.LogDirs[0]
	if dir := c.String("metadata.log.dir"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return c.static.errorf("metadata.log.dir", "cannot make %s absolute: %v", dir, err)
		}
		c.MetadataLogDir = abs
	}
	dirs, err := c.cordoned()
	if err != nil {
		return c.static.errorf("cordoned.log.dirs", "%v", err)
	}
	c.CordonedLogDirs = dirs
	return nil
}

// cordoned resolves cordoned.log.dirs, with the messages of KafkaConfig.
func (c *Config) cordoned() ([]string, error) {
	items := c.List("cordoned.log.dirs")
	if slices.Contains(items, "*") {
		if len(items) > 1 {
			return nil, kafkaText("requirement failed: When cordoned.log.dirs is set to *, it must not contain other values")
		}
		return c.LogDirs, nil
	}
	var out, missing []string
	for _, item := range items {
		abs, err := filepath.Abs(item)
		if err != nil || !slices.Contains(c.LogDirs, abs) {
			missing = append(missing, item)
			continue
		}
		out = append(out, abs)
	}
	if len(missing) > 0 {
		return nil, kafkaText("requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : " + strings.Join(missing, ", "))
	}
	return out, nil
}
