package quorum

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

func TestProperties(t *testing.T) {
	got, err := parseProperties([]byte("#c\r\n! c\n a = b \n\nc:d\ne f\\\n   g\\\\\nh\\=i=j\\u0041\\tk\nempty\nlatin=\xe9\nx=1\nx=2"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "b ", "c": "d", "e": `fg\`, "h=i": "jA\tk", "empty": "", "latin": "é", "x": "2"}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s=%q, expected %q", key, got[key], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%q, expected %q", got, want)
	}
	for _, bad := range []string{`a=\u12`, `a=\uzzzz`, `\u=1`} {
		if _, err := parseProperties([]byte(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestMetaPropertiesOfKafka(t *testing.T) {
	data := fixture(t, "kafka-4.3.1.meta.properties")
	p, err := parseMetaProperties(data)
	if err != nil || p.version != 1 || p.nodeID != 1 || p.clusterID != testCluster || p.directory.String() != testDirectory {
		t.Fatalf("%+v, %v", p, err)
	}
	if got := p.encode(start); !bytes.Equal(got, data) {
		t.Errorf("%q, expected %q", got, data)
	}
	p.clusterID = "MkU3OEVBNTcwNTJENDM2Qg==" // Kafka escapes it
	if got := p.encode(start); !bytes.Contains(got, []byte(`cluster.id=MkU3OEVBNTcwNTJENDM2Qg\=\=`+"\n")) {
		t.Errorf("%q", got)
	}
}

func TestQuorumStateOfKafka(t *testing.T) {
	for _, text := range []string{
		`{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`,
		`{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}`,
	} {
		s, err := parseQuorumState([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(s.encode()); got != text {
			t.Errorf("%s, expected %s", got, text)
		}
	}
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte("#\nnode.id=1\ncluster.id=a\\=\\u00e9\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := parseProperties(data)
		if err != nil {
			return
		}
		for _, value := range values {
			back, err := parseProperties([]byte("k=" + escapeProperty(value) + "\n"))
			if err != nil || back["k"] != value {
				t.Fatalf("%q came back as %q, %v", value, back["k"], err)
			}
		}
	})
}

func FuzzMetaProperties(f *testing.F) {
	f.Add([]byte("version=1\nnode.id=1\ncluster.id=a\ndirectory.id=" + testDirectory + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseMetaProperties(data)
		if err != nil || p.clusterID == "" || !p.hasNode || p.directory.IsZero() {
			return
		}
		back, err := parseMetaProperties(p.encode(time.Unix(0, 0)))
		if err != nil || back.clusterID != p.clusterID || back.nodeID != p.nodeID || back.directory != p.directory {
			t.Fatalf("%+v came back as %+v, %v", p, back, err)
		}
	})
}

func FuzzQuorumState(f *testing.F) {
	f.Add([]byte(`{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`))
	f.Add([]byte(`{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseQuorumState(data)
		if err != nil {
			return
		}
		back, err := parseQuorumState(s.encode())
		if err != nil || back.leaderEpoch != s.leaderEpoch || back.leaderID != s.leaderID || s.version == 0 && len(back.voters) != len(s.voters) {
			t.Fatalf("%+v came back as %+v, %v", s, back, err)
		}
	})
}

// FuzzLog reads any bytes as a metadata log and as a snapshot.
func FuzzLog(f *testing.F) {
	log, err := os.ReadFile("testdata/kafka-4.3.1-firststart.log")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(log)
	snapshot, err := os.ReadFile("testdata/kafka-4.3.1.voters.checkpoint")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(snapshot)
	f.Fuzz(func(t *testing.T, data []byte) {
		for b := data; ; { // what the fuzzer changes is to be read, not refused for its checksum
			one, rest, err := batch.Next(b)
			if err != nil || one.Magic() != batch.Magic {
				break
			}
			one.SetCRC()
			b = rest
		}
		disk := newDisk()
		write(t, disk, "/log/00000000000000000000.log", data)
		s := newMetadataState()
		bounds, err := scanLog(disk, "/log", 0, func(_ string, _ int64, b batch.Batch) error { return s.apply(b, 0, noVoters) })
		if err == nil && bounds.end < bounds.start {
			t.Fatalf("%+v", bounds)
		}
		var f vfs.FS = disk
		write(t, f, "/log/x.checkpoint", data)
		_, _ = readSnapshot(f, "/log/x.checkpoint", snapshotID{})
		_, _ = readBootstrap(f, &Config{MetadataLogDir: "/log", MetadataVersion: meta.MaxMetadataVersion})
	})
}
