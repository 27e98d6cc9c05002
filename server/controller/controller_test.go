package controller

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/quorum"
)

func ptr[T any](v T) *T { return &v }

type cluster struct {
	*Controller
	disk  *simfs.FS
	q     *quorum.Quorum
	store *engine.Store
}

func startCluster(t testing.TB, disk *simfs.FS, change func(*quorum.Config)) *cluster {
	t.Helper()
	c := quorum.Config{
		NodeID: 1, Broker: true, Controller: true, LogDirs: []string{"/data"}, SnapshotInterval: -1,
		ControllerListeners: []meta.Endpoint{{Name: "CONTROLLER", Host: "localhost", Port: 9093}},
		EndPoints:           []meta.Endpoint{{Name: "PLAINTEXT", Host: "localhost", Port: 9092}},
	}
	if change != nil {
		change(&c)
	}
	d, err := quorum.Prepare(disk, c)
	if err != nil {
		t.Fatal(err)
	}
	store, err := engine.Open(engine.Options{FS: disk, Dirs: c.LogDirs, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	log, err := quorum.OpenLog(store, disk, c, engine.LogConfig{SegmentBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	q, err := quorum.Open(disk, c, d, log)
	if err != nil {
		t.Fatal(err)
	}
	k := New(q, Config{
		NumPartitions: 3, DefaultReplicationFactor: 1, DeleteTopicEnable: true, NodeID: 1,
		IsList: func(_ int8, name string) bool { return name == "cleanup.policy" },
		Default: func(_ int8, name string) (string, bool) {
			return map[string]string{"cleanup.policy": "delete"}[name], name == "cleanup.policy"
		},
		ValidateConfig: func(r meta.ConfigResource, values, _ map[string]string) error {
			if _, ok := values["no.such.config"]; ok {
				return errors.New("Unknown topic config name: no.such.config")
			}
			return nil
		},
		EffectiveTopicConfigs: func(_ *meta.Image, overrides map[string]string) (list []EffectiveConfig) {
			for _, name := range sortedKeys(overrides) {
				list = append(list, EffectiveConfig{Name: name, Value: ptr(overrides[name]), Source: 1})
			}
			return list
		},
	})
	t.Cleanup(func() {
		k.Close()
		q.Close()
		store.Abandon()
	})
	return &cluster{k, disk, q, store}
}

func start(t testing.TB) *cluster { return startCluster(t, simfs.New(simfs.Options{}), nil) }

// same compares an answer's error with what Kafka answers; code 0 is none.
func same(t *testing.T, what string, got *Error, code int16, message string) {
	t.Helper()
	switch {
	case got == nil && code == 0:
	case got == nil:
		t.Errorf("%s: no error, expected %d %q", what, code, message)
	case got.Code != code || got.Message != message:
		t.Errorf("%s: %d %q, expected %d %q", what, got.Code, got.Message, code, message)
	}
}

func (c *cluster) create(t testing.TB, name string, partitions int32) meta.UUID {
	t.Helper()
	r, err := c.CreateTopics([]NewTopic{{Name: name, NumPartitions: partitions, ReplicationFactor: 1}}, false)
	if err != nil || r[0].Err != nil {
		t.Fatalf("create %s: %v, %v", name, err, r)
	}
	return r[0].ID
}

func TestCreateTopicsAnswersLikeKafka(t *testing.T) {
	c := start(t)
	c.create(t, "exists", 1)
	c.create(t, "a.b", 1)
	long := strings.Repeat("x", 250)
	for _, test := range []struct {
		topic   NewTopic
		code    int16
		message string
	}{
		{NewTopic{Name: "exists", NumPartitions: 1, ReplicationFactor: 1}, 36, "Topic 'exists' already exists."},
		{NewTopic{Name: "a_b", NumPartitions: 1, ReplicationFactor: 1}, 17, "Topic 'a_b' collides with existing topic: a.b"},
		{NewTopic{Name: "", NumPartitions: 1, ReplicationFactor: 1}, 17, "Topic name is invalid: the empty string is not allowed"},
		{NewTopic{Name: ".", NumPartitions: 1, ReplicationFactor: 1}, 17, "Topic name is invalid: '.' is not allowed"},
		{NewTopic{Name: "..", NumPartitions: 1, ReplicationFactor: 1}, 17, "Topic name is invalid: '..' is not allowed"},
		{NewTopic{Name: long, NumPartitions: 1, ReplicationFactor: 1}, 17, "Topic name is invalid: the length of '" + long + "' is longer than the max allowed length 249"},
		{NewTopic{Name: "a b", NumPartitions: 1, ReplicationFactor: 1}, 17, "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
		{NewTopic{Name: "__cluster_metadata", NumPartitions: 1, ReplicationFactor: 1}, 42, "Creation of internal topic __cluster_metadata is prohibited."},
		{NewTopic{Name: "n", NumPartitions: 1, ReplicationFactor: 2}, 38, "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned."},
		{NewTopic{Name: "n", NumPartitions: 1, ReplicationFactor: 0}, 38, "Replication factor must be larger than 0, or -1 to use the default value."},
		{NewTopic{Name: "n", NumPartitions: 0, ReplicationFactor: 1}, 37, "Number of partitions was set to an invalid non-positive value."},
		{NewTopic{Name: "n", NumPartitions: -2, ReplicationFactor: -1}, 37, "Number of partitions was set to an invalid non-positive value."},
		{NewTopic{Name: "n", NumPartitions: 1, ReplicationFactor: -1, Assignments: []Assignment{{0, []int32{1}}}}, 42, "A manual partition assignment was specified, but numPartitions was not set to -1."},
		{NewTopic{Name: "n", NumPartitions: -1, ReplicationFactor: 1, Assignments: []Assignment{{0, []int32{1}}}}, 42, "A manual partition assignment was specified, but replication factor was not set to -1."},
		{NewTopic{Name: "n", NumPartitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{0, []int32{1}}, {0, []int32{1}}}}, 39, "Found multiple manual partition assignments for partition 0"},
		{NewTopic{Name: "n", NumPartitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{0, []int32{1}}, {2, []int32{1}}}}, 39, "partitions should be a consecutive 0-based integer sequence"},
		{NewTopic{Name: "n", NumPartitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{0, []int32{1, 2}}}}, 39, "The manual partition assignment includes broker 2, but no such broker is registered."},
		{NewTopic{Name: "n", NumPartitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{0, []int32{1, 1}}}}, 39, "The manual partition assignment includes the broker 1 more than once."},
		{NewTopic{Name: "n", NumPartitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{0, []int32{}}}}, 39, "The manual partition assignment includes an empty replica list."},
		{NewTopic{Name: "n", NumPartitions: 1, ReplicationFactor: 1, Configs: []TopicConfig{{"a", nil}, {"b", nil}}}, 40, "Null value not supported for topic configs: a,b"},
		{NewTopic{Name: "n", NumPartitions: 1, ReplicationFactor: 1, Configs: []TopicConfig{{"no.such.config", ptr("1")}}}, 40, "Unknown topic config name: no.such.config"},
		{NewTopic{Name: "n", NumPartitions: 1, ReplicationFactor: 1, Configs: []TopicConfig{{"retention.ms", ptr(strings.Repeat("1", 40_000))}}}, 40, "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes."},
	} {
		r, err := c.CreateTopics([]NewTopic{test.topic}, false)
		if err != nil || len(r) != 1 || r[0].Name != test.topic.Name {
			t.Fatalf("%v, %v", r, err)
		}
		same(t, fmt.Sprintf("%.40v", test.topic), r[0].Err, test.code, test.message)
	}
	if _, err := c.CreateTopics([]NewTopic{{Name: "n", NumPartitions: 10_000, ReplicationFactor: 1}, {Name: "m", NumPartitions: -1, ReplicationFactor: 1}}, false); err == nil {
		t.Error("more than 10,000 partitions in a request")
	} else {
		same(t, "too many", asError(err, 0), 44, "Excessively large number of partitions per request.")
	}
	if got := c.Image().TopicCount(); got != 2 {
		t.Errorf("%d topics, expected 2", got)
	}
}

func TestCreateTopics(t *testing.T) {
	c := start(t)
	id := meta.NewUUID()
	r, err := c.CreateTopics([]NewTopic{
		{Name: "defaults", NumPartitions: -1, ReplicationFactor: -1},
		{Name: "twice", NumPartitions: 1, ReplicationFactor: 1},
		{Name: "twice", NumPartitions: 1, ReplicationFactor: 1},
		{Name: "known-id", NumPartitions: 2, ReplicationFactor: 1, ID: id, Configs: []TopicConfig{{"retention.ms", ptr("1")}, {"min.insync.replicas", ptr("1")}, {"retention.ms", ptr("2")}}},
		{Name: "manual", NumPartitions: -1, ReplicationFactor: -1, Assignments: []Assignment{{1, []int32{1}}, {0, []int32{1}}}},
	}, false)
	if err != nil || len(r) != 4 {
		t.Fatalf("%v, %v", r, err)
	}
	same(t, "twice", r[1].Err, 42, "Duplicate topic name.")
	if r[0].Err != nil || r[0].NumPartitions != 3 || r[0].ReplicationFactor != 1 || r[0].ID.IsZero() {
		t.Errorf("defaults: %+v", r[0])
	}
	if r[2].ID != id || len(r[2].Configs) != 2 || *r[2].Configs[1].Value != "2" {
		t.Errorf("known id: %+v", r[2])
	}
	im := c.Image()
	for _, name := range []string{"defaults", "known-id", "manual"} {
		for _, p := range im.Topic(name).Partitions {
			if p.Leader != 1 || !slices.Equal(p.Replicas, []int32{1}) || !slices.Equal(p.ISR, []int32{1}) || p.Directories[0] != c.q.DirectoryID("/data") || p.LeaderEpoch != 0 || p.PartitionEpoch != 0 {
				t.Errorf("%s: %+v", name, p)
			}
		}
	}
	if got := im.Configs(meta.ResourceTopic, "known-id"); got["retention.ms"] != "2" || im.Topic("twice") != nil {
		t.Errorf("configs %v", got)
	}
	// A known id cannot be given to two topics; a validated topic is not made.
	r, err = c.CreateTopics([]NewTopic{{Name: "again", NumPartitions: 1, ReplicationFactor: 1, ID: id}}, false)
	if err != nil || r[0].Err == nil || r[0].Err.Code != CodeTopicAlreadyExists {
		t.Errorf("%v, %v", r, err)
	}
	r, err = c.CreateTopics([]NewTopic{{Name: "only-validated", NumPartitions: 1, ReplicationFactor: 1}}, true)
	if err != nil || r[0].Err != nil || c.Image() != im {
		t.Errorf("validate only: %v, %v", r, err)
	}
}

func TestTenThousandPartitions(t *testing.T) {
	c := start(t)
	c.create(t, "wide", 10_000)
	if got := len(c.Image().Topic("wide").Partitions); got != 10_000 {
		t.Errorf("%d partitions", got)
	}
}

func TestCreatePartitions(t *testing.T) {
	c := start(t)
	c.create(t, "t", 2)
	old := c.Image()
	r, err := c.CreatePartitions([]NewPartitions{
		{Topic: "none", Count: 3}, {Topic: "twice", Count: 3}, {Topic: "twice", Count: 4}, {Topic: "t", Count: 4},
	}, true)
	if err != nil || len(r) != 3 || c.Image() != old {
		t.Fatalf("%v, %v", r, err)
	}
	same(t, "none", r[0].Err, 3, "")
	same(t, "twice", r[1].Err, 42, "Duplicate topic name.")
	same(t, "validated", r[2].Err, 0, "")
	for _, test := range []struct {
		request NewPartitions
		code    int16
		message string
	}{
		{NewPartitions{Topic: "t", Count: 2}, 37, "Topic already has 2 partition(s)."},
		{NewPartitions{Topic: "t", Count: 1}, 37, "The topic t currently has 2 partition(s); 1 would not be an increase."},
		{NewPartitions{Topic: "t", Count: 4, Assignments: [][]int32{{1}}}, 39, "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."},
		{NewPartitions{Topic: "t", Count: 3, Assignments: [][]int32{{3}}}, 39, "The manual partition assignment includes broker 3, but no such broker is registered."},
		{NewPartitions{Topic: "t", Count: 3, Assignments: [][]int32{{1}}}, 0, ""},
		{NewPartitions{Topic: "t", Count: 5}, 0, ""},
		{NewPartitions{Topic: "t", Count: 20_000}, 44, "Excessively large number of partitions per request."},
	} {
		r, err := c.CreatePartitions([]NewPartitions{test.request}, false)
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprint(test.request), r[0].Err, test.code, test.message)
	}
	if got := c.Image().Topic("t").Partitions; len(got) != 5 || got[4].ID != 4 || got[4].Leader != 1 {
		t.Errorf("%d partitions", len(got))
	}
}

func TestDeleteTopics(t *testing.T) {
	c := start(t)
	a, b, both := c.create(t, "a", 1), c.create(t, "b", 1), c.create(t, "both", 1)
	none := meta.NewUUID()
	r, err := c.DeleteTopics([]TopicRef{
		{Name: ptr("a")}, {ID: b}, {Name: ptr("none")}, {ID: none}, {}, {Name: ptr("a"), ID: a},
		{Name: ptr("x")}, {Name: ptr("x")}, {Name: ptr("both")}, {ID: both},
	})
	if err != nil || len(r) != 8 {
		t.Fatalf("%v, %v", r, err)
	}
	for i, want := range []struct {
		code    int16
		message string
	}{
		{0, ""}, {0, ""}, {3, "This server does not host this topic-partition."}, {100, "This server does not host this topic ID."},
		{42, "Neither topic name nor id were specified."}, {42, "You may not specify both topic name and topic id."},
		{42, "Duplicate topic name."}, {42, "The provided topic name maps to an ID that was already supplied."},
	} {
		same(t, fmt.Sprint(i), r[i].Err, want.code, want.message)
	}
	if r[1].Name == nil || *r[1].Name != "b" || r[0].ID != a {
		t.Errorf("names and ids: %+v", r[:2])
	}
	if im := c.Image(); im.TopicCount() != 1 || im.Topic("both") == nil {
		t.Errorf("%d topics", im.TopicCount())
	}
	// The name may be taken again, and no longer collides.
	c.create(t, "a", 1)
	c.create(t, "c.d", 1)
	if _, err := c.DeleteTopics([]TopicRef{{Name: ptr("c.d")}}); err != nil {
		t.Fatal(err)
	}
	c.create(t, "c_d", 1)
	off := New(c.q, Config{NodeID: 1})
	defer off.Close()
	_, err = off.DeleteTopics([]TopicRef{{Name: ptr("a")}})
	same(t, "disabled", asError(err, 0), 73, "Topic deletion is disabled.")
}

func TestConcurrentChangesShareAppends(t *testing.T) {
	c := start(t)
	var published []int64
	c.OnImage(func(old, im *meta.Image) {
		if old.Offset >= im.Offset {
			t.Errorf("image at %d published after %d", im.Offset, old.Offset)
		}
		published = append(published, im.Offset)
	})
	const callers = 64
	syncs := c.disk.Stats().Syncs
	release := make(chan struct{})
	entered := make(chan struct{})
	go func() {
		_ = c.Change(func(*meta.Image) ([]meta.Record, error) { close(entered); <-release; return nil, nil })
	}()
	<-entered
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			name := fmt.Sprintf("t%d", i)
			c.create(t, name, 2)
			if c.Image().Topic(name) == nil {
				t.Errorf("%s was answered before it is visible", name)
			}
		})
	}
	for len(c.work) < callers { // all of them wait behind the first
		select {
		case <-t.Context().Done():
			return
		default:
		}
	}
	close(release)
	wg.Wait()
	if got := c.disk.Stats().Syncs - syncs; got != 1 {
		t.Errorf("%d syncs for %d callers who waited together, expected 1", got, callers)
	}
	c.Close()
	if c.Image().TopicCount() != callers || len(published) != 1 {
		t.Errorf("%d topics, %d images", c.Image().TopicCount(), len(published))
	}
	var e *Error
	if _, err := c.AllocateProducerIDs(); !errors.As(err, &e) {
		t.Errorf("after close: %v", err)
	}
}

func TestFailedDisk(t *testing.T) {
	c := start(t)
	c.disk.FailSync(1)
	var e *Error
	if _, err := c.CreateTopics([]NewTopic{{Name: "t", NumPartitions: 1, ReplicationFactor: 1}}, false); !errors.As(err, &e) || e.Code != CodeKafkaStorageError {
		t.Errorf("create on a failing disk: %v", err)
	}
	if _, err := c.AllocateProducerIDs(); !errors.As(err, &e) || e.Code != CodeKafkaStorageError {
		t.Errorf("afterwards: %v", err)
	}
	if c.Image().TopicCount() != 0 {
		t.Error("an image was published")
	}
}

func TestAllocateProducerIDs(t *testing.T) {
	c := start(t)
	for want := int64(0); want < 3000; want += 1000 {
		if got, err := c.AllocateProducerIDs(); err != nil || got != want {
			t.Errorf("block %d, expected %d: %v", got, want, err)
		}
	}
	if err := c.Change(func(*meta.Image) ([]meta.Record, error) {
		return []meta.Record{&meta.ProducerIDsRecord{BrokerID: 1, NextProducerID: math.MaxInt64 - 10}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	_, err := c.AllocateProducerIDs()
	same(t, "exhausted", asError(err, 0), -1, "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit")
}

func TestCordonedDirectories(t *testing.T) {
	c := startCluster(t, simfs.New(simfs.Options{}), func(c *quorum.Config) { c.LogDirs = []string{"/data", "/more"} })
	cordon := func(dirs ...meta.UUID) {
		if err := c.Change(func(*meta.Image) ([]meta.Record, error) {
			return []meta.Record{&meta.BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: c.q.BrokerEpoch(), CordonedLogDirs: dirs}}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	c.create(t, "spread", 10)
	count := map[meta.UUID]int{}
	for _, p := range c.Image().Topic("spread").Partitions {
		count[p.Directories[0]]++
	}
	if count[c.q.DirectoryID("/data")] != 5 || count[c.q.DirectoryID("/more")] != 5 {
		t.Errorf("partitions by directory: %v", count)
	}
	cordon(c.q.DirectoryID("/data"))
	c.create(t, "one", 4)
	for _, p := range c.Image().Topic("one").Partitions {
		if p.Directories[0] != c.q.DirectoryID("/more") {
			t.Errorf("partition %d is in a cordoned directory", p.ID)
		}
	}
	cordon(c.q.DirectoryID("/data"), c.q.DirectoryID("/more"))
	r, err := c.CreateTopics([]NewTopic{{Name: "none", NumPartitions: 1, ReplicationFactor: 1}}, false)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "all cordoned", r[0].Err, 38, "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log directories cordoned.")
}

func BenchmarkCreateTenThousandPartitions(b *testing.B) {
	c := start(b)
	i := 0
	for b.Loop() {
		i++
		c.create(b, fmt.Sprintf("t%d", i), 10_000)
	}
}
