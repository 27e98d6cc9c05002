package quorum

import (
	"errors"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
)

const logName = "/data/__cluster_metadata-0/00000000000000000000.log"

// appendRecords puts a batch of records behind the log of a stopped node.
func appendRecords(t *testing.T, disk *simfs.FS, records ...meta.Record) {
	t.Helper()
	d, err := Inspect(disk, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	old := read(t, disk, logName)
	write(t, disk, logName, append(old, dataBatch(d.LogEnd, d.Epoch, start.UnixMilli(), records...)...))
}

func appendControl(t *testing.T, disk *simfs.FS, records ...meta.ControlRecord) {
	t.Helper()
	d, err := Inspect(disk, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	b := controlBatch(start.UnixMilli(), records...).BaseOffset(d.LogEnd).LeaderEpoch(d.Epoch).Bytes()
	write(t, disk, logName, append(read(t, disk, logName), b...))
}

func register(id int32) *meta.RegisterBrokerRecord {
	return &meta.RegisterBrokerRecord{BrokerID: id, IncarnationID: meta.NewUUID(), EndPoints: []meta.Endpoint{}, Features: meta.SupportedFeatures(), LogDirs: []meta.UUID{meta.NewUUID()}}
}

func TestRefusals(t *testing.T) {
	other, _ := meta.ParseUUID(testDirectory)
	voter := func(id int32) meta.Voter {
		return meta.Voter{ID: id, DirectoryID: other, Endpoints: []meta.VoterEndpoint{{Name: "CONTROLLER", Host: "h", Port: 1}}, MaxKRaftVersion: 1}
	}
	state := func(text string) func(*testing.T, *simfs.FS, *Config) {
		return func(t *testing.T, disk *simfs.FS, _ *Config) {
			write(t, disk, "/data/__cluster_metadata-0/quorum-state", []byte(text))
		}
	}
	records := func(list ...meta.Record) func(*testing.T, *simfs.FS, *Config) {
		return func(t *testing.T, disk *simfs.FS, _ *Config) { appendRecords(t, disk, list...) }
	}
	control := func(list ...meta.ControlRecord) func(*testing.T, *simfs.FS, *Config) {
		return func(t *testing.T, disk *simfs.FS, _ *Config) { appendControl(t, disk, list...) }
	}
	properties := func(dir, text string) func(*testing.T, *simfs.FS, *Config) {
		return func(t *testing.T, disk *simfs.FS, _ *Config) { write(t, disk, dir+"/meta.properties", []byte(text)) }
	}
	config := func(change func(*Config)) func(*testing.T, *simfs.FS, *Config) {
		return func(_ *testing.T, _ *simfs.FS, c *Config) { change(c) }
	}
	second := func(text string) func(*testing.T, *simfs.FS, *Config) {
		return func(t *testing.T, disk *simfs.FS, c *Config) {
			c.LogDirs = append(c.LogDirs, "/second")
			if text != "" {
				write(t, disk, "/second/meta.properties", []byte(text))
			}
		}
	}
	unknown, err := meta.Decode([]byte{1, 120, 0, 1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(t *testing.T, disk *simfs.FS, c *Config)
		reason error
		words  string
	}{
		{"broker only", config(func(c *Config) { c.Controller = false }), ErrRoles, "process.roles"},
		{"controller only", config(func(c *Config) { c.Broker = false }), ErrRoles, "process.roles"},
		{"static voters", config(func(c *Config) { c.StaticVoters = []int32{1, 2, 3} }), ErrSeveralVoters, "controller.quorum.voters"},
		{"static voter elsewhere", config(func(c *Config) { c.StaticVoters = []int32{3} }), ErrNotVoter, "voter 3"},
		{"node id", config(func(c *Config) { c.NodeID = 2 }), ErrNodeID, "stored node id 1 doesn't match the configured node.id 2"},
		{"configured cluster id", config(func(c *Config) { c.ClusterID = "other" }), ErrClusterID, "expected other"},
		{"cluster id between directories", second("version=1\nnode.id=1\ncluster.id=another\n"), ErrClusterID, "/second/meta.properties"},
		{"node id between directories", second("version=1\nnode.id=7\ncluster.id=" + testCluster + "\n"), ErrNodeID, "/second/meta.properties"},
		{"directory not formatted", second(""), ErrNotFormatted, "/second"},
		{"reserved directory id", second("version=1\nnode.id=1\ncluster.id=" + testCluster + "\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n"), ErrDirectoryID, "reserved"},
		{"version of meta.properties", properties("/data", "version=2\n"), ErrMetaProperties, "expected 0 or 1"},
		{"no node id", properties("/data", "version=1\ncluster.id=x\n"), ErrMetaProperties, "node.id was not found"},
		{"no cluster id", properties("/data", "version=1\nnode.id=1\n"), ErrMetaProperties, "cluster.id was not found"},
		{"no cluster id in version 0", properties("/data", "broker.id=1\n"), ErrMetaProperties, "cluster.id was not found"},
		{"several voters in the log", control(&meta.VotersRecord{Voters: []meta.Voter{voter(1), voter(2)}}), ErrSeveralVoters, "[1 2]"},
		{"another voter in the log", control(&meta.VotersRecord{Voters: []meta.Voter{voter(3000)}}), ErrNotVoter, "node 3000"},
		{"another directory in the log", control(&meta.VotersRecord{Voters: []meta.Voter{voter(1)}}), ErrNotVoter, testDirectory},
		{"kraft.version", control(&meta.KRaftVersionRecord{KRaftVersion: 2}), ErrFeatures, "kraft.version 2"},
		{"several voters in quorum-state", state(`{"clusterId":"","leaderId":1,"leaderEpoch":4,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}`), ErrSeveralVoters, "quorum-state"},
		{"observer's quorum-state", state(`{"clusterId":"","leaderId":3,"leaderEpoch":4,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":3}],"data_version":0}`), ErrNotVoter, "node 3"},
		{"another leader", state(`{"leaderId":3000,"leaderEpoch":9,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`), ErrNotVoter, "epoch 9"},
		{"quorum-state of a later release", state(`{"leaderId":1,"leaderEpoch":9,"data_version":2}`), ErrCorrupt, "data_version"},
		{"quorum-state cut short", state(`{"leaderId":1,`), ErrCorrupt, "quorum-state"},
		{"another broker", records(register(2)), ErrOtherBrokers, "broker 2"},
		{"metadata.version", records(&meta.FeatureLevelRecord{Name: meta.MetadataVersionFeature, Level: 31}), ErrFeatures, "level 31"},
		{"metadata.version too old", records(&meta.FeatureLevelRecord{Name: meta.MetadataVersionFeature, Level: 6}), ErrFeatures, "level 6"},
		{"level of a feature", records(&meta.FeatureLevelRecord{Name: "share.version", Level: 2}), ErrFeatures, "share.version"},
		{"unknown feature", records(&meta.FeatureLevelRecord{Name: "teleport.version", Level: 1}), ErrFeatures, "teleport.version"},
		{"unknown record", records(unknown), ErrFeatures, "type 120"},
		{"migration", records(&meta.ZkMigrationStateRecord{State: 2}), ErrMigration, "ZkMigrationState 2"},
		{"migration not begun", records(&meta.ZkMigrationStateRecord{State: 1}), ErrMigration, "ZkMigrationState 1"},
		{"record that does not fit", records(&meta.RemoveTopicRecord{TopicID: meta.NewUUID()}), ErrCorrupt, "cannot be applied"},
		{"metadata log elsewhere", func(t *testing.T, disk *simfs.FS, c *Config) {
			second("version=1\nnode.id=1\ncluster.id="+testCluster+"\n")(t, disk, c)
			write(t, disk, "/second/__cluster_metadata-0/x", nil)
		}, ErrMisplacedLog, "/second/__cluster_metadata-0"},
		{"duplicate directory id", func(t *testing.T, disk *simfs.FS, c *Config) {
			second(string(read(t, disk, "/data/meta.properties")))(t, disk, c)
		}, ErrDirectoryID, "duplicate"},
		{"partitions without metadata", func(t *testing.T, disk *simfs.FS, _ *Config) {
			if err := errors.Join(disk.RemoveAll("/data/__cluster_metadata-0"), disk.MkdirAll("/data/orders-0", 0o755)); err != nil {
				t.Fatal(err)
			}
		}, ErrMissingMetadata, "orders-0"},
		{"partitions without meta.properties", func(t *testing.T, disk *simfs.FS, _ *Config) {
			if err := errors.Join(disk.Remove("/data/meta.properties"), disk.MkdirAll("/data/orders-0", 0o755)); err != nil {
				t.Fatal(err)
			}
		}, ErrNotFormatted, "orders-0"},
		{"metadata without meta.properties", func(t *testing.T, disk *simfs.FS, _ *Config) {
			if err := disk.Remove("/data/meta.properties"); err != nil {
				t.Fatal(err)
			}
		}, ErrNotFormatted, "__cluster_metadata-0"},
		{"damage below a later epoch", func(t *testing.T, disk *simfs.FS, _ *Config) {
			data := read(t, disk, logName)
			appendControl(t, disk, &meta.LeaderChangeMessage{LeaderID: 1, Voters: []meta.VoterID{}, GrantingVoters: []meta.VoterID{}})
			whole := read(t, disk, logName)
			batch.Batch(whole[len(data):]).SetLeaderEpoch(2)
			whole[len(data)-1] ^= 1
			write(t, disk, logName, whole)
		}, ErrCorrupt, "written later"},
		{"damage in front of later appends", func(t *testing.T, disk *simfs.FS, _ *Config) {
			data := read(t, disk, logName)
			d, err := Inspect(disk, testConfig())
			if err != nil {
				t.Fatal(err)
			}
			for i := range int64(3) {
				data = append(data, dataBatch(d.LogEnd+i, d.Epoch, start.UnixMilli()+i*800, &meta.NoOpRecord{})...)
			}
			data[300] ^= 1
			write(t, disk, logName, data)
		}, ErrCorrupt, "written later"},
		{"damage with segments behind", func(t *testing.T, disk *simfs.FS, _ *Config) {
			data := read(t, disk, logName)
			write(t, disk, "/data/__cluster_metadata-0/00000000000000000016.log", nil)
			write(t, disk, logName, data[:len(data)-1])
		}, ErrCorrupt, "later segments"},
		{"missing segment", func(t *testing.T, disk *simfs.FS, _ *Config) {
			write(t, disk, "/data/__cluster_metadata-0/00000000000000000100.log", nil)
		}, ErrCorrupt, "missing segment"},
		{"missing log", func(t *testing.T, disk *simfs.FS, _ *Config) {
			write(t, disk, "/data/__cluster_metadata-0/00000000000000000100.log", nil)
			if err := disk.Remove(logName); err != nil {
				t.Fatal(err)
			}
		}, ErrCorrupt, "newest whole snapshot ends at 0"},
		{"later bootstrap.checkpoint", func(t *testing.T, disk *simfs.FS, _ *Config) {
			if err := disk.RemoveAll("/data/__cluster_metadata-0"); err != nil {
				t.Fatal(err)
			}
			write(t, disk, "/data/bootstrap.checkpoint", dataBatch(0, 0, 0, &meta.FeatureLevelRecord{Name: meta.MetadataVersionFeature, Level: 33}))
		}, ErrFeatures, "level 33"},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk := newDisk()
			c := testConfig()
			c.ClusterID = testCluster
			n := mustRun(t, disk, c)
			n.stop(t)
			c.ClusterID = ""
			test.change(t, disk, &c)
			before := digest(t, disk, "/")
			n, err := run(disk, c)
			if err == nil {
				n.kill()
				t.Fatal("started")
			}
			var refused *RefusedError
			if !errors.Is(err, test.reason) || !errors.As(err, &refused) || !strings.Contains(err.Error(), test.words) {
				t.Errorf("error %v, expected %v with %q", err, test.reason, test.words)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one sentence: %v", err)
			}
			if digest(t, disk, "/") != before {
				t.Error("something was written")
			}
		})
	}
}

func TestTornTailIsCut(t *testing.T) {
	disk := newDisk()
	c := testConfig()
	n := mustRun(t, disk, c)
	commitTopic(t, n, "kept", 1)
	want := n.Image()
	n.kill()
	data := read(t, disk, logName)
	whole := len(data)
	for n := range 200 { // one append at the same moment, damaged in front
		data = append(data, dataBatch(want.Offset+1+int64(n), 1, start.UnixMilli(), &meta.NoOpRecord{})...)
	}
	for i := range 60 {
		data[whole+i] = 0
	}
	write(t, disk, logName, data)
	n = mustRun(t, disk, c)
	sameTopics(t, want, n.Image())
	if n.Image().Offset < want.Offset {
		t.Errorf("offset %d after %d", n.Image().Offset, want.Offset)
	}
}
