package quorum

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// golden writes the directory of a Kafka that was stopped, its metadata only, and returns its configuration.
func golden(t testing.TB, disk *simfs.FS, name string) Config {
	t.Helper()
	data := fixture(t, name+".log.gz")
	var directory meta.UUID
	b, _, err := batch.Next(data)
	if err != nil {
		t.Fatal(err)
	}
	s := newMetadataState()
	if err := s.apply(b, 0, noVoters); err != nil {
		t.Fatal(err)
	}
	directory = s.voters[0].DirectoryID
	write(t, disk, "/data/meta.properties", properties("MkU3OEVBNTcwNTJENDM2Qk", "1", directory.String()))
	write(t, disk, "/data/__cluster_metadata-0/00000000000000000000.log", data)
	write(t, disk, "/data/__cluster_metadata-0/quorum-state",
		[]byte(`{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`))
	c := testConfig()
	c.ControllerListeners[0].Port = 21993
	return c
}

func TestTakesOverKafkasDirectories(t *testing.T) {
	for _, name := range []string{"kafka-4.0.0-clean", "kafka-4.0.0-killed", "kafka-4.3.1-clean", "kafka-4.3.1-killed"} {
		t.Run(name, func(t *testing.T) {
			disk := newDisk()
			c := golden(t, disk, name)
			before := read(t, disk, "/data/__cluster_metadata-0/00000000000000000000.log")
			d, err := Inspect(disk, c)
			if err != nil {
				t.Fatal(err)
			}
			n := mustRun(t, disk, c)
			var want map[string]struct {
				Configs    string
				ID         string
				Partitions int
			}
			if err := json.Unmarshal(fixture(t, name+".json"), &want); err != nil {
				t.Fatal(err)
			}
			im := n.Image()
			if im.TopicCount() != len(want) {
				t.Errorf("%d topics, expected %d", im.TopicCount(), len(want))
			}
			for topic, w := range want {
				got := im.Topic(topic)
				if got == nil {
					t.Errorf("no topic %s", topic)
					continue
				}
				if base64.StdEncoding.EncodeToString(got.ID[:]) != w.ID || len(got.Partitions) != w.Partitions {
					t.Errorf("%s: id %s, %d partitions, expected %+v", topic, got.ID, len(got.Partitions), w)
				}
				for _, pair := range strings.Fields(w.Configs) {
					key, value, _ := strings.Cut(pair, "=")
					if im.Configs(meta.ResourceTopic, topic)[key] != value {
						t.Errorf("%s: %s=%s, expected %s", topic, key, im.Configs(meta.ResourceTopic, topic)[key], value)
					}
				}
			}
			checkElection(t, d.Image, im, n)
			after := read(t, disk, "/data/__cluster_metadata-0/00000000000000000000.log")
			if !slices.Equal(after[:len(before)], before) {
				t.Error("bytes that existed were changed")
			}
		})
	}
}

// checkElection checks that the node leads everything, and that only what it did not lead was changed.
func checkElection(t *testing.T, before, after *meta.Image, n *node) {
	t.Helper()
	for _, topic := range after.Topics() {
		for _, p := range topic.Partitions {
			old := before.TopicByID(topic.ID).Partition(p.ID)
			if p.Leader != 1 || !slices.Equal(p.ISR, []int32{1}) || len(p.ELR)+len(p.LastKnownELR) > 0 || p.RecoveryState != meta.RecoveryStateRecovered {
				t.Fatalf("%s-%d: %+v", topic.Name, p.ID, p)
			}
			if p.Directories[0] != n.DirectoryID("/data") {
				t.Fatalf("%s-%d: directory %s", topic.Name, p.ID, p.Directories[0])
			}
			bumped := p.LeaderEpoch - old.LeaderEpoch
			if want := int32(b2i(old.Leader != 1)); bumped != want || p.PartitionEpoch-old.PartitionEpoch != want {
				t.Fatalf("%s-%d: leader epoch %d, was %d under leader %d", topic.Name, p.ID, p.LeaderEpoch, old.LeaderEpoch, old.Leader)
			}
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// minimal writes a directory that has nothing but meta.properties and a log of records without registrations.
func minimal(t *testing.T, disk *simfs.FS, records ...meta.Record) {
	t.Helper()
	write(t, disk, "/data/meta.properties", properties(testCluster, "1", testDirectory))
	b := dataBatch(1, 0, 1_700_000_000_000, records...)
	// A header count of -1 where Kafka writes 0: the last byte of the last record.
	b[len(b)-1] = 1
	batch.Batch(b).SetCRC()
	write(t, disk, "/data/__cluster_metadata-0/00000000000000000000.log", b)
}

func TestTakesOverMinimalDirectories(t *testing.T) {
	disk := newDisk()
	id, partitionless := meta.NewUUID(), meta.NewUUID()
	minimal(t, disk,
		&meta.FeatureLevelRecord{Name: meta.MetadataVersionFeature, Level: 21},
		&meta.TopicRecord{Name: "led", TopicID: id},
		&meta.PartitionRecord{TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, LeaderEpoch: 4, PartitionEpoch: 7, Directories: []meta.UUID{meta.DirectoryUnassigned}},
		&meta.PartitionRecord{PartitionID: 1, TopicID: id, Replicas: []int32{1}, ISR: []int32{}, Leader: -1, LeaderEpoch: 4, PartitionEpoch: 7, Directories: []meta.UUID{{}}},
		&meta.PartitionRecord{PartitionID: 2, TopicID: id, Replicas: []int32{5}, ISR: []int32{5}, Leader: -1, Directories: []meta.UUID{{}}},
		&meta.TopicRecord{Name: "none", TopicID: partitionless},
	)
	before := read(t, disk, "/data/__cluster_metadata-0/00000000000000000000.log")
	n := mustRun(t, disk, testConfig())
	im := n.Image()
	directory := n.DirectoryID("/data")
	p := im.Topic("led").Partition(0)
	if p.LeaderEpoch != 4 || p.PartitionEpoch != 8 || p.Directories[0] != directory {
		t.Errorf("led partition: %+v", p)
	}
	p = im.Topic("led").Partition(1)
	if p.Leader != 1 || p.LeaderEpoch != 5 || !slices.Equal(p.ISR, []int32{1}) || p.Directories[0] != directory {
		t.Errorf("partition without leader: %+v", p)
	}
	if p = im.Topic("led").Partition(2); p.Leader != -1 || p.PartitionEpoch != 0 {
		t.Errorf("partition of another broker: %+v", p)
	}
	if im.MetadataVersion() != 21 || im.Topic("none") == nil || im.Brokers[1] == nil {
		t.Errorf("image: metadata.version %d, brokers %v", im.MetadataVersion(), im.Brokers)
	}
	if _, level := n.Voters(); level != 1 {
		t.Errorf("kraft.version %d, expected 1: nothing else names the voter", level)
	}
	after := read(t, disk, "/data/__cluster_metadata-0/00000000000000000000.log")
	if !slices.Equal(after[:len(before)], before) {
		t.Error("bytes that existed were changed")
	}
	// What is led and assigned stays as it is from now on.
	n.kill()
	again := mustRun(t, disk, testConfig())
	if p := again.Image().Topic("led").Partition(0); p.PartitionEpoch != 8 || again.Epoch() != n.Epoch()+1 {
		t.Errorf("after a kill: %+v in epoch %d", p, again.Epoch())
	}
}

func TestGivesMissingDirectoryID(t *testing.T) {
	for _, properties := range []string{"version=0\nbroker.id=1\ncluster.id=" + testCluster + "\n", "broker.id=1\ncluster.id=" + testCluster + "\n",
		"version=1\nnode.id=1\ncluster.id=" + testCluster + "\n"} {
		disk := newDisk()
		write(t, disk, "/data/meta.properties", []byte(properties))
		n := mustRun(t, disk, testConfig())
		p, err := parseMetaProperties(read(t, disk, "/data/meta.properties"))
		if err != nil || p.version != 1 || p.directory != n.DirectoryID("/data") || p.directory.IsZero() || p.clusterID != testCluster {
			t.Errorf("%q became %+v, %v", properties, p, err)
		}
	}
}

func TestFixesDirectoriesOfMovedPartitions(t *testing.T) {
	disk := newDisk()
	c := testConfig("/a", "/b")
	n := mustRun(t, disk, c)
	id := meta.NewUUID()
	a, b := n.DirectoryID("/a"), n.DirectoryID("/b")
	records := []meta.Record{&meta.TopicRecord{Name: "t", TopicID: id}}
	for i, dir := range []meta.UUID{a, a, meta.DirectoryUnassigned, meta.DirectoryLost} {
		records = append(records, &meta.PartitionRecord{PartitionID: int32(i), TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []meta.UUID{dir}})
	}
	if _, err := n.Commit(records); err != nil {
		t.Fatal(err)
	}
	n.kill()
	for _, dir := range []string{"/a/t-0", "/b/t-1", "/a/t-2"} {
		if err := disk.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n = mustRun(t, disk, c)
	for i, want := range []meta.UUID{a, b, a, b} { // the last has no directory yet and goes where there are fewer
		p := n.Image().Topic("t").Partition(int32(i))
		if p.Directories[0] != want || p.LeaderEpoch != 0 {
			t.Errorf("partition %d: %+v, expected directory %s", i, p, want)
		}
	}
}

func TestReadsSnapshotAndRest(t *testing.T) {
	disk := newDisk()
	c := testConfig()
	n := mustRun(t, disk, c)
	commitTopic(t, n, "before", 3)
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	if err := n.Snapshot(); err != nil { // nothing new
		t.Fatal(err)
	}
	commitTopic(t, n, "after", 2)
	want := n.Image()
	n.kill()
	// What an interrupted snapshot leaves, and a newer one that is damaged.
	path := "/data/__cluster_metadata-0/"
	write(t, disk, path+"00000000000000000020-0000000001-1234567890.checkpoint.part", []byte("x"))
	write(t, disk, path+"00000000000000000020-0000000001.checkpoint.deleted", []byte("x"))
	damaged := fmt.Sprintf("%s%020d-%010d.checkpoint", path, want.Offset+1, 1)
	write(t, disk, damaged, fixture(t, "kafka-4.3.1.bootstrap.checkpoint")[:300])
	n = mustRun(t, disk, c)
	sameTopics(t, want, n.Image())
	entries, err := disk.ReadDir("/data/__cluster_metadata-0")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.Contains(e.Name(), ".checkpoint") {
			names = append(names, e.Name())
		}
	}
	if want := []string{"00000000000000000000-0000000000.checkpoint", "00000000000000000021-0000000001.checkpoint",
		fmt.Sprintf("%020d-0000000001.checkpoint.damaged", want.Offset+1)}; !slices.Equal(names, want) {
		t.Errorf("snapshots %v, expected %v", names, want)
	}
	if n.Epoch() != 2 {
		t.Errorf("epoch %d, expected 2", n.Epoch())
	}
}

func commitTopic(t testing.TB, n *node, name string, partitions int) {
	t.Helper()
	if _, err := n.Commit(topicRecords(n, name, partitions)); err != nil {
		t.Fatal(err)
	}
}

func topicRecords(n *node, name string, partitions int) []meta.Record {
	id := meta.NewUUID()
	records := []meta.Record{&meta.TopicRecord{Name: name, TopicID: id}, &meta.ConfigRecord{ResourceType: meta.ResourceTopic, ResourceName: name, Name: "retention.ms", Value: ptr("1")}}
	for i := range partitions {
		records = append(records, &meta.PartitionRecord{PartitionID: int32(i), TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []meta.UUID{n.DirectoryID(n.c.MetadataLogDir)}})
	}
	return records
}

func sameTopics(t *testing.T, want, got *meta.Image) {
	t.Helper()
	if want.TopicCount() != got.TopicCount() {
		t.Errorf("%d topics, expected %d", got.TopicCount(), want.TopicCount())
	}
	for _, w := range want.Topics() {
		g := got.TopicByID(w.ID)
		if g == nil || g.Name != w.Name || len(g.Partitions) != len(w.Partitions) || len(got.Configs(meta.ResourceTopic, w.Name)) != len(want.Configs(meta.ResourceTopic, w.Name)) {
			t.Errorf("topic %s: %+v, expected %+v", w.Name, g, w)
			continue
		}
		for i, p := range w.Partitions {
			if g.Partitions[i].LeaderEpoch != p.LeaderEpoch || g.Partitions[i].PartitionEpoch != p.PartitionEpoch || g.Partitions[i].Leader != p.Leader {
				t.Errorf("%s-%d: %+v, expected %+v", w.Name, i, g.Partitions[i], p)
			}
		}
	}
}
