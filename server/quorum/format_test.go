package quorum

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// plain returns a batch file without what differs from run to run: timestamps, CRCs and the given ids.
func plain(t *testing.T, data []byte, ids ...meta.UUID) []byte {
	t.Helper()
	out := bytes.Clone(data)
	for rest := out; len(rest) > 0; {
		b, next, err := batch.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.CheckCRC(); err != nil {
			t.Fatal(err)
		}
		_ = b.Each(1<<20, func(r *batch.Record) error {
			if b.IsControl() && binary.BigEndian.Uint16(r.Key[2:]) == uint16(meta.ControlSnapshotHeader) {
				clear(r.Value[2:10])
			}
			return nil
		})
		clear(b[17:21])
		clear(b[27:43])
		rest = next
	}
	for _, id := range ids {
		out = bytes.ReplaceAll(out, id[:], make([]byte, 16))
	}
	return out
}

func TestFormatWritesWhatKafkaWrites(t *testing.T) {
	disk, c := newDisk(), testConfig()
	c.ClusterID = testCluster
	d, err := Prepare(disk, c)
	if err != nil {
		t.Fatal(err)
	}
	mine := d.identity.directories["/data"].directory
	theirs, err := meta.ParseUUID(testDirectory)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(string(read(t, disk, "/data/meta.properties")), mine.String(), testDirectory)
	if want := string(fixture(t, "kafka-4.3.1.meta.properties")); got != want {
		t.Errorf("meta.properties:\n%q, want\n%q", got, want)
	}
	for name, want := range map[string]string{
		"/data/bootstrap.checkpoint": "kafka-4.3.1.bootstrap.checkpoint",
		"/data/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint": "kafka-4.3.1.voters.checkpoint",
	} {
		got, want := plain(t, read(t, disk, name), mine), plain(t, fixture(t, want), theirs)
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n%x, want\n%x", name, got, want)
		}
	}
	if got := string(read(t, disk, "/data/__cluster_metadata-0/partition.metadata")); got != "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ" {
		t.Errorf("partition.metadata: %q", got)
	}
}

// records decodes every batch of a log: control records by type, the others as records.
func records(t *testing.T, data []byte) (list []meta.Record, control [][]byte) {
	t.Helper()
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Each(1<<24, func(r *batch.Record) error {
			if b.IsControl() {
				control = append(control, append(bytes.Clone(r.Key), r.Value...))
				return nil
			}
			rec, err := meta.Decode(r.Value)
			list = append(list, rec)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		data = rest
	}
	return list, control
}

func TestFirstEpochWritesWhatKafkaWrites(t *testing.T) {
	disk, c := newDisk(), testConfig()
	n := mustRun(t, disk, c)
	mine := n.DirectoryID("/data")
	theirs, _ := meta.ParseUUID(testDirectory)
	got := plain(t, read(t, disk, "/data/__cluster_metadata-0/00000000000000000000.log"), mine)
	want := plain(t, fixture(t, "kafka-4.3.1-firststart.log"), theirs)
	// The control batch and the bootstrap transaction are 174 and 330 bytes.
	if !bytes.Equal(got[:504], want[:504]) {
		t.Errorf("first batches:\n%x, want\n%x", got[:504], want[:504])
	}
	if got := string(read(t, disk, "/data/__cluster_metadata-0/quorum-state")); got != `{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}` {
		t.Errorf("quorum-state: %s", got)
	}
	list, _ := records(t, read(t, disk, "/data/__cluster_metadata-0/00000000000000000000.log"))
	list = list[9:]
	if len(list) != 4 {
		t.Fatalf("%d records after the bootstrap transaction, expected 4", len(list))
	}
	broker := list[1].(*meta.RegisterBrokerRecord)
	if broker.BrokerEpoch != 13 || n.BrokerEpoch() != 13 || !broker.Fenced || len(broker.LogDirs) != 1 || broker.LogDirs[0] != mine || len(broker.Features) != 7 {
		t.Errorf("registration: %+v, broker epoch %d", broker, n.BrokerEpoch())
	}
	if got := n.Image().Brokers[1]; got.Fenced || got.CordonedLogDirs == nil || n.Image().Offset != 15 {
		t.Errorf("broker after the epoch's start: %+v at offset %d", got, n.Image().Offset)
	}
	if n.Image().Configs(meta.ResourceBroker, "")["min.insync.replicas"] != "1" {
		t.Error("no default of min.insync.replicas")
	}
}

func TestFormatSeveralDirectories(t *testing.T) {
	disk, c := newDisk(), testConfig("/a", "/b", "/c")
	c.MetadataLogDir = "/b"
	n := mustRun(t, disk, c)
	seen := map[meta.UUID]bool{}
	for _, dir := range c.LogDirs {
		p, err := parseMetaProperties(read(t, disk, dir+"/meta.properties"))
		if err != nil || p.clusterID != n.ClusterID() || p.nodeID != 1 || seen[p.directory] {
			t.Errorf("%s: %+v, %v", dir, p, err)
		}
		seen[p.directory] = true
		if back, ok := n.LogDir(p.directory); !ok || back != dir {
			t.Errorf("directory %s is %s, expected %s", p.directory, back, dir)
		}
		read(t, disk, dir+"/bootstrap.checkpoint")
		if _, err := disk.Stat(dir + "/" + MetadataLogName); (err == nil) != (dir == "/b") {
			t.Errorf("%s: metadata log: %v", dir, err)
		}
	}
	if got := n.Image().Brokers[1].LogDirs; len(got) != 3 {
		t.Errorf("registered log directories: %v", got)
	}
}

func TestFormatStatic(t *testing.T) {
	disk, c := newDisk(), testConfig()
	c.StaticVoters = []int32{1}
	n := mustRun(t, disk, c)
	if got := string(read(t, disk, "/data/__cluster_metadata-0/quorum-state")); got != `{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}` {
		t.Errorf("quorum-state: %s", got)
	}
	_, control := records(t, read(t, disk, "/data/__cluster_metadata-0/00000000000000000000.log"))
	if len(control) != 1 {
		t.Errorf("%d control records, expected LeaderChange alone", len(control))
	}
	if voters, level := n.Voters(); voters != nil || level != 0 {
		t.Errorf("voters %v, kraft.version %d", voters, level)
	}
	// The second start does not need the configuration to know that the quorum is static.
	n.stop(t)
	c.StaticVoters = nil
	n = mustRun(t, disk, c)
	if _, level := n.Voters(); level != 0 || n.Epoch() != 2 {
		t.Errorf("kraft.version %d in epoch %d, expected 0 in 2", level, n.Epoch())
	}
}

func TestFormatHoldsTheLocks(t *testing.T) {
	disk, c := newDisk(), testConfig()
	d, err := Inspect(disk, c)
	if err != nil || d.Formatted {
		t.Fatalf("%+v, %v", d, err)
	}
	if err := disk.MkdirAll("/data", 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := disk.Lock("/data/.lock")
	if err != nil {
		t.Fatal(err)
	}
	if err := Format(disk, c, d); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("format of a locked directory: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Format(disk, c, d); err != nil {
		t.Fatal(err)
	}
	if d, err = Inspect(disk, c); err != nil || !d.Formatted {
		t.Fatalf("after format: %+v, %v", d, err)
	}
	if err := Format(disk, c, d); err == nil {
		t.Error("formatted a second time")
	}
}

// TestFirstStartSurvivesPowerCuts cuts the power after every change of the disk that a first start makes, in many ways each, and
// starts again from what is left.
func TestFirstStartSurvivesPowerCuts(t *testing.T) {
	for cut := 1; ; cut++ {
		disk := simfs.New(simfs.Options{Seed: uint64(cut)})
		disk.PowerOffAfter(cut)
		n, err := run(disk, testConfig("/a", "/b"))
		if err == nil {
			n.kill()
		}
		for seed := range uint64(12) {
			keep := simfs.KeepSome
			switch seed {
			case 0:
				keep = simfs.KeepAll
			case 1:
				keep = simfs.KeepNone
			}
			after := disk.Crash(simfs.CrashOptions{Keep: keep, Seed: seed + 1})
			again, err := run(after, testConfig("/a", "/b"))
			if err != nil {
				t.Fatalf("power cut after change %d, seed %d: %v", cut, seed, err)
			}
			if again.Image().MetadataVersion() != meta.MaxMetadataVersion || again.Image().Brokers[1].Fenced {
				t.Fatalf("power cut after change %d, seed %d: %+v", cut, seed, again.Image())
			}
			again.kill()
		}
		if err == nil {
			if cut < 20 {
				t.Errorf("a first start makes only %d changes", cut)
			}
			return
		}
	}
}
