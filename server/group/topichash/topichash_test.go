package topichash

import (
	"bufio"
	"encoding/base64"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestKafka compares with what hash4j and org.apache.kafka.coordinator.group.Utils of Kafka 4.3.1 compute.
func TestKafka(t *testing.T) {
	f, err := os.Open("testdata/kafka-4.3.1-hashes.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p := strings.Split(lines.Text(), "\t")
		want, err := strconv.ParseInt(p[len(p)-1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seen[p[0]]++
		var got int64
		switch p[0] {
		case "x": // XXH3 of n bytes
			n, err := strconv.Atoi(p[1])
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(i*131 + n)
			}
			got = int64(xxh3(b))
		case "t": // a topic: name, id, partitions, racks
			id, err := base64.RawURLEncoding.DecodeString(p[2])
			if err != nil {
				t.Fatal(err)
			}
			n, err := strconv.Atoi(p[3])
			if err != nil {
				t.Fatal(err)
			}
			racks := strings.Split(p[4], ";")
			got = Topic([16]byte(id), p[1], n, func(i int) []string {
				if racks[i] == "" {
					return nil
				}
				return strings.Split(racks[i], ",")
			})
		case "g": // a group: topics and their hashes
			topics := strings.Split(p[1], ",")
			if p[1] == "" {
				topics = nil
			}
			slices.SortFunc(topics, func(a, b string) int {
				x, _, _ := strings.Cut(a, "=")
				y, _, _ := strings.Cut(b, "=")
				return strings.Compare(x, y)
			})
			var hashes []int64
			for _, s := range topics {
				_, h, _ := strings.Cut(s, "=")
				v, err := strconv.ParseInt(h, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				hashes = append(hashes, v)
			}
			got = Group(hashes)
		}
		if got != want {
			t.Errorf("%s: %d, of Kafka %d", strings.Join(p[:len(p)-1], " "), got, want)
		}
	}
	if lines.Err() != nil || seen["x"] == 0 || seen["t"] == 0 || seen["g"] == 0 {
		t.Error(seen, lines.Err())
	}
}

func BenchmarkTopic(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Topic([16]byte{1}, "orders", 1000, func(int) []string { return nil })
	}
}
