package record

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/engine/batch"
)

// TestGolden decodes what brokers of Kafka 4.0.0 and 4.3.1 left in __consumer_offsets.
func TestGolden(t *testing.T) {
	archives, err := filepath.Glob("../../../tools/interop/testdata/golden/*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatal("no golden directories", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".tar.gz"), func(t *testing.T) {
			seen := map[Type]int{}
			for _, log := range offsetLogs(t, name) {
				walk(t, log, func(key, value []byte) {
					k, v, err := Decode(key, value)
					if err != nil {
						t.Fatal(err)
					}
					seen[k.Type]++
					if !bytes.Equal(k.Append(nil), key) {
						t.Errorf("%v: key is written in other bytes", k.Type)
					}
					if v == nil {
						return
					}
					version := int16(binary.BigEndian.Uint16(value))
					_, _, flexible := v.versions()
					if got := appendVersion(nil, v, version, flexible); !bytes.Equal(got, value) {
						t.Errorf("%v version %d is written as\n%x, Kafka wrote\n%x", k.Type, version, got, value)
					}
				})
			}
			if seen[TypeOffsetCommit] == 0 || seen[TypeGroupMetadata] == 0 {
				t.Errorf("records seen: %v", seen)
			}
			t.Log(seen)
		})
	}
}

// offsetLogs are the segments of __consumer_offsets in an archive.
func offsetLogs(t *testing.T, name string) (logs [][]byte) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return logs
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.Name, "__consumer_offsets-") && strings.HasSuffix(h.Name, ".log") && h.Size > 0 {
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			logs = append(logs, b)
		}
	}
}

// walk calls f with every record of a segment that is no control record.
func walk(t *testing.T, log []byte, f func(key, value []byte)) {
	for len(log) >= batch.HeaderSize {
		size := 12 + int(binary.BigEndian.Uint32(log[8:]))
		if size > len(log) {
			return // a torn tail
		}
		if b := batch.Batch(log[:size]); !b.IsControl() {
			if err := b.Each(1<<20, func(r *batch.Record) error {
				f(r.Key, r.Value)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		log = log[size:]
	}
}
