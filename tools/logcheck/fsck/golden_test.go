package fsck

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// archives are log directories that Apache Kafka wrote, one of everything in
// them.
const archives = "../../interop/testdata/golden"

// unpacked keeps what unpack read.
var unpacked = map[string]memory{}

// unpack reads the log directory of an archive into memory, as "/data", once.
func unpack(t testing.TB, name string) memory {
	t.Helper()
	if m, ok := unpacked[name]; ok {
		return m
	}
	f, err := os.Open(filepath.Join(archives, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	m := memory{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			unpacked[name] = m
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		path, ok := strings.CutPrefix(filepath.Clean(h.Name), "data/")
		if !ok || h.Typeflag == tar.TypeDir {
			continue
		}
		// The indexes of a killed broker are 10 MiB of zeros behind a few entries; a part of them will do.
		content := io.Reader(r)
		if ext := filepath.Ext(path); h.Size > 1<<20 && (ext == ".index" || ext == ".timeindex") {
			content = io.LimitReader(r, 24_000)
		}
		data, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		m["/data/"+path] = data
	}
}

func TestKafkasDirectoriesAreClean(t *testing.T) {
	for _, name := range []string{"kafka-4.0.0-clean", "kafka-4.3.1-clean", "kafka-4.3.1-killed"} {
		disk := unpack(t, name+".tar.gz")
		for _, deep := range []bool{false, true} {
			r := check(t, disk, deep)
			if r.Status != StatusClean || r.Counts.Partitions < 100 || r.Counts.Batches < 300 {
				t.Errorf("%s, deep %t: %s", name, deep, describe(r))
			}
			for _, f := range r.Findings {
				if f.Kind != KindLeftover {
					t.Errorf("%s: %+v", name, f)
				}
			}
		}
	}
}

// TestKafkasPartitionsAloneAreClean checks them without what lies around.
func TestKafkasPartitionsAloneAreClean(t *testing.T) {
	disk := unpack(t, "kafka-4.3.1-clean.tar.gz")
	tree, err := Scan(disk, "/data")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range tree.Partitions {
		alone := memory{}
		for name, data := range disk {
			if strings.HasPrefix(name, p.Path+"/") {
				alone["/alone/"+p.Name+strings.TrimPrefix(name, p.Path)] = data
			}
		}
		r, err := Verify(context.Background(), []string{"/alone/" + p.Name}, Options{FS: alone, Deep: true, Workers: 1})
		if err != nil || r.Status != StatusClean {
			t.Errorf("%s: %v %s", p.Name, err, describe(r))
		}
	}
}

// TestKafkasFilesAloneAreClean checks every file of some partitions by itself.
func TestKafkasFilesAloneAreClean(t *testing.T) {
	disk := unpack(t, "kafka-4.3.1-clean.tar.gz")
	n := 0
	for _, name := range disk.files() {
		dir := filepath.Base(filepath.Dir(name))
		if filepath.Ext(name) == ".deleted" || dir != "txn-1" && dir != "plain-2" && dir != "trimmed-0" && dir != "compacted-1" && dir != "data" {
			continue
		}
		base := filepath.Base(name)
		if base == topicIDName || base == epochName {
			continue
		}
		n++
		r, err := Verify(context.Background(), []string{name}, Options{FS: disk, Deep: true})
		if err != nil || r.Status != StatusClean {
			t.Errorf("%s: %v %s", name, err, describe(r))
		}
	}
	if n < 30 {
		t.Errorf("%d files, expected more", n)
	}
}

// TestKafkasRecords dumps a whole log directory and counts what is there.
func TestKafkasRecords(t *testing.T) {
	disk := unpack(t, "kafka-4.3.1-clean.tar.gz")
	r := check(t, disk, true)
	o := NewDumpOptions()
	o.FS, o.Format = disk, FormatJSON
	var b bytes.Buffer
	if err := Dump(context.Background(), "/data", o, &b); err != nil {
		t.Fatal(err)
	}
	rows, named := int64(0), map[string]int{}
	for d := json.NewDecoder(&b); d.More(); rows++ {
		var row recordRow
		if err := d.Decode(&row); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(row.Decoded, "not decoded") {
			t.Errorf("%s@%d: %s", row.File, row.Offset, row.Decoded)
		}
		word, _, _ := strings.Cut(row.Decoded, " ")
		named[word]++
	}
	// Six records stand in the metadata log's snapshot and bootstrap.checkpoint, which are no partition's log.
	if rows < 9000 || rows > r.Counts.Records {
		t.Errorf("%d rows, %d records", rows, r.Counts.Records)
	}
	for _, word := range []string{"TopicRecord", "PartitionRecord", "PartitionChangeRecord", "RegisterBrokerRecord", "FeatureLevelRecord", "NoOpRecord",
		"LeaderChangeMessage", "ABORT", "COMMIT", "OffsetCommit", "GroupMetadata", "TransactionLog"} {
		if named[word] == 0 {
			t.Errorf("no %s among %v", word, named)
		}
	}
}

// TestTornTails cuts the log of a killed broker at every length: it is torn or,
// below what was promised, too short, and never damaged otherwise.
func TestTornTails(t *testing.T) {
	disk := unpack(t, "kafka-4.3.1-killed.tar.gz")
	small := memory{}
	for name, data := range disk {
		if dir := filepath.Base(filepath.Dir(name)); dir == "txn-1" || dir == metadataName || dir == "data" {
			small[name] = data
		}
	}
	name := "" // the last, and so longest, segment of the partition
	for file := range small {
		if strings.Contains(file, "/txn-1/") && strings.HasSuffix(file, ".log") {
			name = max(name, file)
		}
	}
	data := small[name]
	for length := len(data) - 1; length > 0; length -= 1 + length/70 {
		r := check(t, small.with(name, data[:length]), true)
		torn, other := false, false
		for _, f := range r.Findings {
			torn = torn || f.Severity == TornTail && f.File == name
			other = other || f.Severity == Damage && f.Kind != KindShort
		}
		atBatch := r.Counts.TornTails == 0
		if other || !torn && !atBatch {
			t.Fatalf("cut to %d: %s", length, describe(r))
		}
	}
	// Zeros behind the log, as a preallocated file has them.
	r := check(t, small.with(name, append(bytes.Clone(data), make([]byte, 5000)...)), true)
	if r.Counts.TornTails != 1 || r.Counts.Damage != 0 {
		t.Errorf("zeros behind the log: %s", describe(r))
	}
}
