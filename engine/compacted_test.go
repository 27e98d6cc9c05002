package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/clock"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

// compactedTopics were written by Kafka 4.3.1 with its cleaner off (before), and are what the cleaner of Kafka
// 4.3.1 then made of them (after), twice: stage 2 goes on from what stage 1 left, with delete.retention.ms passed
// in between. plain has no producers, packed batches of every codec, idem idempotent producers that come and go,
// txn interleaved transactions that commit and abort and one that is open, and appendtime has
// message.timestamp.type=LogAppendTime.
var compactedTopics = []string{"plain", "packed", "idem", "txn", "appendtime"}

const compactedData = "testdata/kafka-4.3.1-compacted"

// onDisk copies a directory of the test data to a fake disk.
func onDisk(t *testing.T, from, to string) *simfs.FS {
	t.Helper()
	d := simfs.New(simfs.Options{})
	err := filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(name, from))
		if e.IsDir() {
			return d.MkdirAll(target, 0o755)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return vfs.WriteFileAtomic(d, target, data)
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sealedBatches reads the batches of every sealed segment of a partition directory, by segment.
func sealedBatches(t *testing.T, read func(name string) ([]byte, error), names []string) map[string][]batch.Batch {
	t.Helper()
	out := map[string][]batch.Batch{}
	var logs []string
	for _, name := range names {
		if strings.HasSuffix(name, segment.LogSuffix) {
			logs = append(logs, name)
		}
	}
	for _, name := range logs[:len(logs)-1] {
		data, err := read(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = []batch.Batch{}
		for len(data) > 0 {
			b, rest, err := batch.Next(data)
			if err != nil {
				t.Fatal(name, err)
			}
			out[name] = append(out[name], b)
			data = rest
		}
	}
	return out
}

// plainBytes is a batch as it would be without compression, checksum and length left out.
func plainBytes(t *testing.T, b batch.Batch) []byte {
	t.Helper()
	p := bytes.Clone(b[:batch.HeaderSize])
	copy(p[8:12], "size")
	copy(p[17:21], "crc.")
	records, err := codec.Decompress(nil, b.Codec(), b.Records(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return append(p, records...)
}

func describeBatch(b batch.Batch) string {
	s := fmt.Sprintf("[%d, %d] attributes %#x, producer %d/%d/%d, base time %d, max %d, %d records, %d bytes:", b.BaseOffset(), b.LastOffset(), b.Attributes(),
		b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.BaseTimestamp(), b.MaxTimestamp(), b.RecordCount(), len(b))
	_ = b.Each(1<<20, func(r *batch.Record) error {
		s += fmt.Sprintf(" %d@%d:%q=%.12q", r.Offset, r.Timestamp, r.Key, r.Value)
		return nil
	})
	return s
}

// TestCompactsAsKafka cleans what Kafka wrote and compares the outcome with that of Kafka's own cleaner, byte for
// byte.
func TestCompactsAsKafka(t *testing.T) {
	for _, stage := range []string{"1", "2"} {
		for _, topic := range compactedTopics {
			t.Run(stage+topic, func(t *testing.T) {
				after := filepath.Join(compactedData, stage, "after", topic+"-0")
				entries, err := os.ReadDir(after)
				if err != nil {
					t.Fatal(err)
				}
				var names []string
				for _, e := range entries {
					names = append(names, e.Name())
				}
				want := sealedBatches(t, func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(after, name)) }, names)
				// Kafka's cleaner looked at its clock 2 s before the delete horizons it set.
				now := int64(0)
				for _, list := range want {
					for _, b := range list {
						if b.HasDeleteHorizon() {
							now = max(now, b.BaseTimestamp()-2000)
						}
					}
				}
				if now == 0 {
					t.Fatal("no delete horizon in the test data")
				}
				disk := onDisk(t, filepath.Join(compactedData, stage, "before"), "/data")
				clk := clock.NewManual(time.UnixMilli(now).Add(-DefaultBackoff))
				st, err := Open(Options{FS: disk, Clock: clk, Dirs: []string{"/data"}, Manual: true})
				if err != nil {
					t.Fatal(err)
				}
				l, err := st.OpenLog("/data", topic+"-0", LogConfig{Compact: true, MinCleanableDirtyRatio: 0.01, DeleteRetentionMs: 2000, IndexIntervalBytes: 512,
					SegmentBytes: 1 << 20, SegmentIndexBytes: 1 << 16})
				if err != nil {
					t.Fatal(err)
				}
				clk.Advance(DefaultBackoff)
				st.RunJobs()
				files, err := disk.ReadDir("/data/" + topic + "-0")
				if err != nil {
					t.Fatal(err)
				}
				var mine []string
				for _, e := range files {
					mine = append(mine, e.Name())
				}
				got := sealedBatches(t, func(name string) ([]byte, error) { return vfs.ReadFile(disk, "/data/"+topic+"-0/"+name) }, mine)
				for name, list := range want {
					found := got[name]
					for i := range max(len(list), len(found)) {
						switch {
						case i >= len(found):
							t.Errorf("%s: missing %s", name, describeBatch(list[i]))
						case i >= len(list):
							t.Errorf("%s: too much %s", name, describeBatch(found[i]))
						case !bytes.Equal(plainBytes(t, list[i]), plainBytes(t, found[i])), list[i].Codec() == codec.None && !bytes.Equal(list[i], found[i]), found[i].CheckCRC() != nil:
							t.Errorf("%s: %s\nexpected %s", name, describeBatch(found[i]), describeBatch(list[i]))
						}
					}
					if topic == "packed" {
						continue // other compressors, other positions
					}
					for _, kind := range []string{segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix} {
						file := strings.TrimSuffix(name, segment.LogSuffix) + kind
						a, errA := os.ReadFile(filepath.Join(after, file))
						b, errB := vfs.ReadFile(disk, "/data/"+topic+"-0/"+file)
						if errors.Is(errA, fs.ErrNotExist) != errors.Is(errB, fs.ErrNotExist) || !bytes.Equal(a, b) {
							t.Errorf("%s: %d bytes %x, %v, expected %d %x, %v", file, len(b), b, errB, len(a), a, errA)
						}
					}
				}
				for name := range got {
					if want[name] == nil {
						t.Errorf("%s is there", name)
					}
				}
				wantFile, err := os.ReadFile(filepath.Join(compactedData, stage, "after", cleanerFile))
				if err != nil {
					t.Fatal(err)
				}
				if line := fmt.Sprintf("%s 0 %d\n", topic, st.dirs[0].cleanedTo(l.name)); !strings.Contains(string(wantFile), line) {
					t.Errorf("checkpoint %q, expected a line of %q", line, wantFile)
				}
				if err := st.Close(1); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}
