package quorum

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
)

var start = time.Date(2026, 11, 21, 4, 59, 51, 0, time.UTC)

// testConfig is the configuration the fixtures were written with.
func testConfig(dirs ...string) Config {
	if len(dirs) == 0 {
		dirs = []string{"/data"}
	}
	return Config{
		NodeID: 1, Broker: true, Controller: true, LogDirs: dirs,
		ControllerListeners: []meta.Endpoint{{Name: "CONTROLLER", Host: "localhost", Port: 19093}},
		EndPoints:           []meta.Endpoint{{Name: "PLAINTEXT", Host: "localhost", Port: 19092}},
		Clock:               clock.NewManual(start),
		SnapshotInterval:    -1,
	}
}

// testSegment is small because the simulated disk keeps it in memory.
const testSegment = 8 << 20

// node is a quorum with the engine under it.
type node struct {
	*Quorum
	store *engine.Store
	ended bool
}

// run starts a node as a broker does: Prepare, locks, log, Open.
func run(f vfs.FS, c Config) (*node, error) {
	d, err := Prepare(f, c)
	if err != nil {
		return nil, err
	}
	store, err := engine.Open(engine.Options{FS: f, Clock: c.Clock, Dirs: c.LogDirs, Manual: true})
	if err != nil {
		return nil, err
	}
	log, err := OpenLog(store, f, c, engine.LogConfig{SegmentBytes: testSegment})
	if err != nil {
		store.Abandon()
		return nil, err
	}
	q, err := Open(f, c, d, log)
	if err != nil {
		store.Abandon()
		return nil, err
	}
	return &node{Quorum: q, store: store}, nil
}

func mustRun(t *testing.T, f vfs.FS, c Config) *node {
	t.Helper()
	n, err := run(f, c)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(n.kill)
	return n
}

// kill ends the node without a trace, as kill -9 does.
func (n *node) kill() {
	n.Close()
	if !n.ended {
		n.ended = true
		n.store.Abandon()
	}
}

// stop ends it cleanly.
func (n *node) stop(t *testing.T) {
	t.Helper()
	n.Close()
	n.ended = true
	if err := n.store.Close(n.BrokerEpoch()); err != nil {
		t.Fatalf("close the store: %v", err)
	}
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if path.Ext(name) != ".gz" {
		return data
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func write(t testing.TB, f vfs.FS, name string, data []byte) {
	t.Helper()
	if err := f.MkdirAll(path.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(f, name, data); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, f vfs.FS, name string) []byte {
	t.Helper()
	data, err := vfs.ReadFile(f, name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// digest is a hash of every name, and of every file's content, below a directory.
func digest(t testing.TB, f vfs.FS, dir string) string {
	t.Helper()
	h := sha256.New()
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := f.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			_, _ = io.WriteString(h, name+"\x00")
			if e.IsDir() {
				walk(name)
				continue
			}
			_, _ = h.Write(read(t, f, name))
		}
	}
	walk(dir)
	return hex.EncodeToString(h.Sum(nil))
}

func newDisk() *simfs.FS { return simfs.New(simfs.Options{}) }

func properties(cluster, node, directory string) []byte {
	return []byte("#\n#Sat Nov 21 04:59:51 UTC 2026\nnode.id=" + node + "\ndirectory.id=" + directory + "\nversion=1\ncluster.id=" + cluster + "\n")
}

const (
	testCluster   = "MkU3OEVBNTcwNTJENDM2Qg"
	testDirectory = "zkbgUffPTh6VnC-GhvZaZA"
)

// dataBatch puts records into a batch.
func dataBatch(base int64, epoch int32, timestamp int64, records ...meta.Record) []byte {
	b := batch.NewBuilder(codec.None).BaseOffset(base).LeaderEpoch(epoch)
	for _, r := range records {
		b.Append(timestamp, nil, meta.Append(nil, r, meta.MaxMetadataVersion))
	}
	return b.Bytes()
}

func ptr[T any](v T) *T { return &v }
