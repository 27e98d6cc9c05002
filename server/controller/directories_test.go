package controller

import (
	"testing"

	"github.com/gregor-broker/gregor/engine/vfs/simfs"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/quorum"
)

func TestAssignDirectory(t *testing.T) {
	c := start(t)
	id := c.create(t, "t", 2)
	other := meta.NewUUID()
	before := c.Image()
	for range 2 {
		if err := c.AssignDirectory(id, 1, other); err != nil {
			t.Fatal(err)
		}
	}
	im := c.Image()
	if got := im.Offset - before.Offset; got != 1 {
		t.Errorf("%d records for a new directory and the same again, expected one", got)
	}
	p, was := im.TopicByID(id).Partition(1), before.TopicByID(id).Partition(1)
	if len(p.Directories) != 1 || p.Directories[0] != other || p.LeaderEpoch != was.LeaderEpoch {
		t.Errorf("%+v, before %+v", p, was)
	}
	if p := im.TopicByID(id).Partition(0); p.Directories[0] == other {
		t.Errorf("another partition: %+v", p)
	}
	same(t, "no partition", asError(c.AssignDirectory(id, 7, other), 0), 3, "No such partition as t-7")
	none := meta.NewUUID()
	same(t, "no topic", asError(c.AssignDirectory(none, 0, other), 0), 3, "No topic with id "+none.String())
}

func TestCordonDirectories(t *testing.T) {
	c := start(t)
	mine := c.Image().Brokers[1].LogDirs
	want := mine
	cordon := func(records int64) {
		t.Helper()
		before := c.Image().Offset
		if err := c.CordonDirectories(func(*meta.Image) []meta.UUID { return want }); err != nil {
			t.Fatal(err)
		}
		if got := c.Image().Offset - before; got != records || len(c.Image().Brokers[1].CordonedLogDirs) != len(want) || c.Image().Brokers[1].Fenced {
			t.Errorf("%d records, expected %d; %+v", got, records, c.Image().Brokers[1])
		}
	}
	cordon(1)
	cordon(0)
	r, err := c.CreateTopics([]NewTopic{{Name: "t", NumPartitions: 1, ReplicationFactor: 1}}, false)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "no directory to put it", r[0].Err, 38, "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log directories cordoned.")
	want = nil
	cordon(1)
	c.create(t, "t", 1)
}

func TestAssignDirectoryNeedsItsVersion(t *testing.T) {
	c := startCluster(t, simfs.New(simfs.Options{}), func(c *quorum.Config) { c.MetadataVersion = 16 })
	id := c.create(t, "t", 1)
	before := c.Image().Offset
	if err := c.AssignDirectory(id, 0, meta.NewUUID()); err != nil || c.Image().Offset != before {
		t.Errorf("%d records, %v", c.Image().Offset-before, err)
	}
}

func TestTiesGoToTheFirstDirectory(t *testing.T) {
	dirs := []string{"/data", "/a", "/z", "/m"}
	c := startCluster(t, simfs.New(simfs.Options{}), func(c *quorum.Config) { c.LogDirs = dirs })
	for i := range 2 * len(dirs) {
		name := string(rune('a' + i))
		c.create(t, name, 1)
		if got, want := c.Image().Topic(name).Partitions[0].Directories[0], c.q.DirectoryID(dirs[i%len(dirs)]); got != want {
			t.Errorf("partition %d is in %s, expected %s", i, got, want)
		}
	}
}
