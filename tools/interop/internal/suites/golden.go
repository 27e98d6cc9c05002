package suites

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// expectation is what a broker served just before its directory was packed.
type expectation struct {
	Groups map[string][]string `json:"groups"`
	Topics map[string]struct {
		ID         string                     `json:"id"`
		Internal   bool                       `json:"internal"`
		Partitions int                        `json:"partitions"`
		Configs    string                     `json:"configs"`
		Data       map[string]partitionDigest `json:"data"`
	} `json:"topics"`
	Quotas       string            `json:"quotas"`
	Transactions map[string]string `json:"transactions"`
}

// partitionDigest is one partition: offsets, and number and digest of its records at both isolation levels.
type partitionDigest struct {
	Start, End, Stable      int64
	Uncommitted, Committed  int
	SHA256, SHA256Committed string
}

var goldenDirectories = []string{"kafka-4.0.0-clean", "kafka-4.0.0-killed", "kafka-4.3.1-clean", "kafka-4.3.1-killed"}

// goldenSuite starts the broker on directories that Apache Kafka wrote and compares everything it serves.
func goldenSuite(s *rig.S) {
	for _, name := range goldenDirectories {
		goldenDirectory(s, name)
	}
}

func goldenDirectory(s *rig.S, name string) {
	var b *rig.Broker
	var want expectation
	ok := s.Test(name+"/starts", 4*time.Minute, func(t *rig.T) {
		source := filepath.Join(t.Interop, "testdata", "golden", name)
		text, err := os.ReadFile(source + ".json")
		t.Must(err, "expectation")
		t.Must(json.Unmarshal(text, &want), "expectation")
		dir, err := t.TempDir(name)
		t.Must(err, "directory")
		_, err = rig.Output(exec.CommandContext(t.Context(), "tar", "xzf", source+".tar.gz", "-C", dir), "")
		t.Must(err, "unpack")
		b, err = rig.AdoptBroker(t.Env, dir)
		t.Must(err, "directory")
		t.Must(b.Start(t.Kind), "start")
	})
	if !ok {
		return
	}
	defer func() { _ = b.Kill() }()
	goldenChecks(s, b, name, &want)
	// What was recovered must survive our own stop as well.
	if s.Test(name+"/restarts", 4*time.Minute, func(t *rig.T) {
		t.Must(b.Stop(), "stop")
		t.Must(b.Start(t.Kind), "start again")
	}) {
		goldenChecks(s, b, name+"/restarted", &want)
		s.Test(name+"/stops", 2*time.Minute, func(t *rig.T) { t.Must(b.Stop(), "stop") })
	}
}

func goldenChecks(s *rig.S, b *rig.Broker, name string, want *expectation) {
	s.Test(name+"/topics", time.Minute, func(t *rig.T) {
		adm := newAdmin(t, b)
		now, err := adm.ListTopicsWithInternal(t.Context())
		t.Must(err, "list topics")
		if got, expected := now.Names(), slices.Sorted(maps.Keys(want.Topics)); !slices.Equal(got, expected) {
			t.Fatalf("topics %v, expected %v", got, expected)
		}
		for topic, w := range want.Topics {
			d := now[topic]
			id := base64.StdEncoding.EncodeToString(d.ID[:])
			if id != w.ID || d.IsInternal != w.Internal || len(d.Partitions) != w.Partitions {
				t.Fatalf("%s: id %s, internal %v, %d partitions, expected %s, %v, %d", topic, id, d.IsInternal, len(d.Partitions), w.ID, w.Internal, w.Partitions)
			}
		}
	})
	s.Test(name+"/configs", time.Minute, func(t *rig.T) {
		adm := newAdmin(t, b)
		for topic, w := range want.Topics {
			if w.Internal {
				continue
			}
			if got := dynamicConfigs(t.Context(), t, adm, topic); got != w.Configs {
				t.Fatalf("%s: %q, expected %q", topic, got, w.Configs)
			}
		}
	})
	s.Test(name+"/offsets", time.Minute, func(t *rig.T) {
		eachGolden(t, want, func(topic string, p int32, w partitionDigest) {
			got := goldenOffsets(t, b, topic, p)
			if got.Start != w.Start || got.End != w.End {
				t.Fatalf("%s-%d: from %d to %d, expected %d to %d", topic, p, got.Start, got.End, w.Start, w.End)
			}
		})
	})
	s.Test(name+"/records", 2*time.Minute, func(t *rig.T) {
		eachGolden(t, want, func(topic string, p int32, w partitionDigest) {
			n, digest, err := digestOf(t.Context(), b.Addr, topic, p, w.Start, w.End, kgo.ReadUncommitted())
			t.Must(err, "read")
			if n != w.Uncommitted || digest != w.SHA256 {
				t.Fatalf("%s-%d: %d records, digest %s, expected %d, %s", topic, p, n, digest, w.Uncommitted, w.SHA256)
			}
		})
	})
	s.Test(name+"/committed-records", 2*time.Minute, func(t *rig.T) {
		eachGolden(t, want, func(topic string, p int32, w partitionDigest) {
			if got := goldenOffsets(t, b, topic, p); got.Stable != w.Stable {
				t.Fatalf("%s-%d: last stable offset %d, expected %d", topic, p, got.Stable, w.Stable)
			}
			n, digest, err := digestOf(t.Context(), b.Addr, topic, p, w.Start, w.Stable, kgo.ReadCommitted())
			t.Must(err, "read")
			if n != w.Committed || digest != w.SHA256Committed {
				t.Fatalf("%s-%d: %d records, digest %s, expected %d, %s", topic, p, n, digest, w.Committed, w.SHA256Committed)
			}
		})
	})
	if !s.Groups {
		return
	}
	s.Test(name+"/groups", time.Minute, func(t *rig.T) { goldenGroups(t, b, want) })
	s.Test(name+"/quotas-and-transactions", time.Minute, func(t *rig.T) {
		adm := newAdmin(t, b)
		quotas, err := adm.DescribeClientQuotas(t.Context(), false, nil)
		t.Must(err, "quotas")
		if got := strconv.Itoa(len(quotas)); got != want.Quotas {
			t.Fatalf("%s client quotas, expected %s", got, want.Quotas)
		}
		listed, err := adm.ListTransactions(t.Context(), nil, nil)
		t.Must(err, "transactions")
		got := map[string]string{}
		for id, tx := range listed {
			got[id] = fmt.Sprintf("%s pid %d", tx.State, tx.ProducerID)
		}
		if !maps.Equal(got, want.Transactions) {
			t.Fatalf("transactions %v, expected %v", got, want.Transactions)
		}
	})
}

func eachGolden(t *rig.T, want *expectation, f func(topic string, p int32, w partitionDigest)) {
	for _, topic := range slices.Sorted(maps.Keys(want.Topics)) {
		for key, w := range want.Topics[topic].Data {
			p, err := strconv.ParseInt(key, 10, 32)
			t.Must(err, "expectation")
			f(topic, int32(p), w)
		}
	}
}

// goldenOffsets asks for the start, end and last stable offset of a partition.
func goldenOffsets(t *rig.T, b *rig.Broker, topic string, p int32) partitionDigest {
	adm := newAdmin(t, b)
	ask := func(list func(context.Context, ...string) (kadm.ListedOffsets, error)) int64 {
		listed, err := list(t.Context(), topic)
		t.Must(err, "offsets")
		o, _ := listed.Lookup(topic, p)
		t.Must(o.Err, "offsets")
		return o.Offset
	}
	return partitionDigest{Start: ask(adm.ListStartOffsets), End: ask(adm.ListEndOffsets), Stable: ask(adm.ListCommittedOffsets)}
}

// digestOf reads records from start until end and condenses each one's offset, timestamp, type of timestamp, key,
// value and headers. Control records do not count but are asked for: the last offset before end may be one of them.
func digestOf(ctx context.Context, addr, topic string, p int32, start, end int64, level kgo.IsolationLevel) (int, string, error) {
	h := sha256.New()
	n := 0
	if start < end {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchIsolationLevel(level), kgo.KeepControlRecords(), kgo.FetchMaxWait(300*time.Millisecond),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(start)}}))
		if err != nil {
			return 0, "", err
		}
		defer cl.Close()
		for last := start - 1; last < end-1; {
			f := cl.PollFetches(ctx)
			if err := f.Err(); err != nil {
				return n, "", fmt.Errorf("%s-%d at %d of %d: %w", topic, p, last+1, end, err)
			}
			for _, r := range f.Records() {
				last = r.Offset
				if r.Offset >= end || r.Attrs.IsControl() {
					continue
				}
				n++
				_, _ = fmt.Fprintf(h, "%d %d %d %q %q %v %q\n", r.Offset, r.Timestamp.UnixMilli(), r.Attrs.TimestampType(), r.Key, r.Value, r.Value == nil, fmt.Sprint(r.Headers))
			}
		}
	}
	return n, fmt.Sprintf("%x", h.Sum(nil)), nil
}

func goldenGroups(t *rig.T, b *rig.Broker, want *expectation) {
	adm := newAdmin(t, b)
	listed, err := adm.ListGroups(t.Context())
	t.Must(err, "list groups")
	if got, expected := listed.Groups(), slices.Sorted(maps.Keys(want.Groups)); !slices.Equal(got, expected) {
		t.Fatalf("groups %v, expected %v", got, expected)
	}
	for group, expected := range want.Groups {
		offsets, err := adm.FetchOffsets(t.Context(), group)
		t.Must(err, "offsets of "+group)
		var got []string
		offsets.Each(func(o kadm.OffsetResponse) {
			got = append(got, fmt.Sprintf("%s-%d=%d %q", o.Topic, o.Partition, o.At, o.Metadata))
		})
		slices.Sort(got)
		if !slices.Equal(got, expected) {
			t.Fatalf("%s: %s, expected %s", group, strings.Join(got, ", "), strings.Join(expected, ", "))
		}
	}
}
