package server_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/engine/vfs/simfs"
)

const threeDirs = "log.dirs=/one,/two,/three"

// logDirs says where the partitions of a topic are, such as "0:/one 0:/two?" for one on its way.
func (p *peer) logDirs(topic string) string {
	p.t.Helper()
	r := kmsg.NewPtrDescribeLogDirsRequest()
	r.Version = 5
	var found []string
	for _, d := range asked[*kmsg.DescribeLogDirsResponse](p, r).Dirs {
		for _, t := range d.Topics {
			for _, x := range t.Partitions {
				if t.Topic != topic {
					continue
				}
				future := ""
				if x.IsFuture {
					future = "?"
				}
				found = append(found, fmt.Sprintf("%d:%s%s", x.Partition, d.Dir, future))
			}
		}
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

// arrived waits until nothing of a topic is on its way.
func (p *peer) arrived(topic string) string {
	p.t.Helper()
	for {
		if at := p.logDirs(topic); !strings.Contains(at, "?") {
			return at
		}
	}
}

// moveLog asks for partitions of a topic to be moved and returns their codes.
func (p *peer) moveLog(topic, dir string, partitions ...int32) (codes []int16) {
	p.t.Helper()
	r := kmsg.NewPtrAlterReplicaLogDirsRequest()
	r.Version = 2
	t := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
	t.Topic, t.Partitions = topic, partitions
	d := kmsg.NewAlterReplicaLogDirsRequestDir()
	d.Dir, d.Topics = dir, []kmsg.AlterReplicaLogDirsRequestDirTopic{t}
	r.Dirs = append(r.Dirs, d)
	for _, t := range asked[*kmsg.AlterReplicaLogDirsResponse](p, r).Topics {
		for _, x := range t.Partitions {
			codes = append(codes, x.ErrorCode)
		}
	}
	return codes
}

// away is a directory that partition 0 is not in.
func (p *peer) away(topic string) string {
	p.t.Helper()
	at := p.logDirs(topic)
	for _, dir := range []string{"/one", "/two", "/three"} {
		if !strings.Contains(at, "0:"+dir) {
			return dir
		}
	}
	p.t.Fatal(at)
	return ""
}

func TestAlterReplicaLogDirs(t *testing.T) {
	m := startMemory(t, nil, threeDirs)
	p := m.dial(t)
	p.createTopic("t", 1)
	for i := range 10 {
		p.produced("t", 0, records(time.Now(), fmt.Sprint("v", i)))
	}
	for _, c := range []struct {
		topic, dir string
		partition  int32
		code       int16
	}{{"t", "/four", 0, 57}, {"t", "one", 0, 57}, {"t", "/one", 7, 3}, {"u", "/one", 0, 3}, {strings.Repeat("x", 230), "/one", 0, 17}} {
		if got := p.moveLog(c.topic, c.dir, c.partition); len(got) != 1 || got[0] != c.code {
			t.Errorf("%s-%d to %s: %v, expected %d", c.topic, c.partition, c.dir, got, c.code)
		}
	}
	to := p.away("t")
	// Slow enough to be seen on its way: the rate counts from the first megabyte on.
	p.alter(brokerKind, "1", "replica.alter.log.dirs.io.max.bytes.per.second", "1000")
	for range 3 {
		p.produced("t", 0, records(time.Now(), strings.Repeat("x", 600_000)))
	}
	if got := p.moveLog("t", to, 0); !slices.Equal(got, []int16{0}) {
		t.Fatalf("codes %v", got)
	}
	if at := p.logDirs("t"); !strings.Contains(at, "0:"+to+"?") {
		t.Errorf("on its way: %s", at)
	}
	p.produced("t", 0, records(time.Now(), "on its way"))
	if at := p.logDirs("t"); !strings.Contains(at, "0:"+to+"?") {
		t.Errorf("still on its way: %s", at)
	}
	p.alter(brokerKind, "1", "replica.alter.log.dirs.io.max.bytes.per.second", "1000000000")
	if at := p.arrived("t"); at != "0:"+to {
		t.Errorf("arrived at %s", at)
	}
	p.produced("t", 0, records(time.Now(), "there"))
	check := func(p *peer) {
		t.Helper()
		if at, n := p.arrived("t"), p.offsetOf("t", -1); at != "0:"+to || n != 15 {
			t.Errorf("%d records in %s", n, at)
		}
		if got := batches(t, p.fetched("t", 0, 0).RecordBatches); len(got) == 0 || got[0].BaseOffset() != 0 {
			t.Errorf("%d batches", len(got))
		}
	}
	check(p)
	check(startOn(t, m.disk.Crash(simfs.CrashOptions{}), nil, threeDirs).dial(t))
	check(startOn(t, m.disk.KillClone(), nil, threeDirs).dial(t))
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	check(startOn(t, m.disk, nil, threeDirs).dial(t))
}

// TestMoveSurvivesAKill is a move that a new process takes up.
func TestMoveSurvivesAKill(t *testing.T) {
	m := startMemory(t, nil, threeDirs)
	p := m.dial(t)
	p.createTopic("t", 1)
	p.alter(brokerKind, "1", "replica.alter.log.dirs.io.max.bytes.per.second", "1000")
	for range 3 {
		p.produced("t", 0, records(time.Now(), strings.Repeat("x", 600_000)))
	}
	to := p.away("t")
	p.moveLog("t", to, 0)
	after := startOn(t, m.disk.KillClone(), nil, threeDirs)
	q := after.dial(t)
	if at := q.logDirs("t"); !strings.Contains(at, "0:"+to+"?") {
		t.Errorf("after a kill: %s", at)
	}
	q.alter(brokerKind, "1", "replica.alter.log.dirs.io.max.bytes.per.second", "-")
	if at := q.arrived("t"); at != "0:"+to || q.offsetOf("t", -1) != 3 {
		t.Errorf("%d records in %s", q.offsetOf("t", -1), at)
	}
	entries, err := after.disk.ReadDir(to)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-future") {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// TestCoordinatorsMove: groups and transactions work on while their logs are moved.
func TestCoordinatorsMove(t *testing.T) {
	m := startMemory(t, nil, append(soon, threeDirs)...)
	p := m.dial(t)
	p.createTopic("t", 1)
	p.coordinated("g")
	member, generation := p.joined("g")
	x := m.transactional(t, "x", 2)
	for i := range int64(6) {
		for _, topic := range []string{"__consumer_offsets", "__transaction_state", "t"} {
			if topic == "t" {
				if got := p.moveLog(topic, p.away(topic), 0); !slices.Equal(got, []int16{0}) {
					t.Fatalf("%s: codes %v", topic, got)
				}
				continue
			}
			for partition := range int32(3) {
				dir := []string{"/one", "/two", "/three"}[(i+int64(partition))%3]
				if got := p.moveLog(topic, dir, partition); !slices.Equal(got, []int16{0}) {
					t.Fatalf("%s: codes %v", topic, got)
				}
			}
		}
		if code := p.commit("g", member, generation, "t", 0, i); code != 0 {
			t.Fatalf("commit %d: code %d", i, code)
		}
		if code := x.produce("t", 0, fmt.Sprint("v", i)); code != 0 {
			t.Fatalf("write %d: code %d", i, code)
		}
		x.end(true)
		p.arrived("__consumer_offsets")
		p.arrived("__transaction_state")
		p.arrived("t")
	}
	q := startOn(t, m.disk.KillClone(), nil, append(soon, threeDirs)...).dial(t)
	if got := q.committed("g", "t", 0); got != 5 {
		t.Errorf("committed %d", got)
	}
	if got := q.offsetOf("t", -1); got != 12 {
		t.Errorf("%d records and markers, expected 12", got)
	}
}

// TestCordonedLogDirs: they get no new partitions.
func TestCordonedLogDirs(t *testing.T) {
	m := startMemory(t, nil, threeDirs, "cordoned.log.dirs=/one,/three")
	p := m.dial(t)
	p.createTopic("t", 3)
	if at := p.logDirs("t"); at != "0:/two 1:/two 2:/two" {
		t.Errorf("partitions %s", at)
	}
	if got := p.moveLog("t", "/one", 0); !slices.Equal(got, []int16{39}) {
		t.Errorf("codes %v", got)
	}
	p.alter(brokerKind, "1", "cordoned.log.dirs", "/two")
	if got := p.moveLog("t", "/two", 0); !slices.Equal(got, []int16{39}) {
		t.Errorf("to where it is, which is cordoned: codes %v", got)
	}
	if got := p.moveLog("t", "/one", 0); !slices.Equal(got, []int16{0}) {
		t.Errorf("codes %v", got)
	}
	if at := p.arrived("t"); at != "0:/one 1:/two 2:/two" {
		t.Errorf("partitions %s", at)
	}
}

// TestPartitionInTwoDirectories is what a power cut behind the last rename of a move leaves.
func TestPartitionInTwoDirectories(t *testing.T) {
	m := startMemory(t, nil, threeDirs)
	p := m.dial(t)
	p.createTopic("t", 1)
	p.produced("t", 0, records(time.Now(), "a"))
	from := strings.TrimPrefix(p.logDirs("t"), "0:")
	stale := m.disk.KillClone()
	to := p.away("t")
	p.moveLog("t", to, 0)
	p.arrived("t")
	p.produced("t", 0, records(time.Now(), "b"))
	disk := m.disk.KillClone()
	entries, err := stale.ReadDir(from + "/t-0")
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.MkdirAll(from+"/t-0", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := vfs.ReadFile(stale, from+"/t-0/"+e.Name())
		if err == nil {
			err = vfs.WriteFileAtomic(disk, from+"/t-0/"+e.Name(), b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	q := startOn(t, disk, nil, threeDirs).dial(t)
	if at, n := q.logDirs("t"), q.offsetOf("t", -1); at != "0:"+to || n != 2 {
		t.Errorf("%d records in %s, expected 2 in %s", n, at, to)
	}
}
