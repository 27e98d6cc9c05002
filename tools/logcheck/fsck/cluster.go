package fsck

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// metadataLimit bounds what is decompressed of a batch of metadata, in bytes.
const metadataLimit = 64 << 20

// cluster is what the metadata log says.
type cluster struct {
	image    *meta.Image
	complete bool // the log was read to its end, and its records could be applied
	nodeID   int32
	voters   int   // of the last leader's message, 0 when there was none
	leader   int32 // of that message
	led      map[partitionKey]led
	problem  error // why it is not complete
	broken   bool  // because of a batch, which the check of the log finds by itself
}

type partitionKey struct {
	topic meta.UUID
	id    int32
}

// led is the epoch of a partition, and the newest one in which it had a
// leader, unknown when that was not seen.
type led struct{ epoch, led int32 }

// readCluster replays a metadata log, from its newest snapshot where its
// beginning is gone.
func readCluster(f vfs.FS, p *Partition, nodeID int32) *cluster {
	c := &cluster{image: new(meta.Image), nodeID: nodeID, led: map[partitionKey]led{}, leader: unknown}
	r := &replay{c: c, delta: meta.NewDelta(new(meta.Image))}
	from := int64(0)
	if len(p.Segments) > 0 && p.Segments[0].Base > 0 {
		name, end, ok := newestSnapshot(p)
		if !ok {
			c.problem = errors.New("the beginning of the metadata log is gone and there is no snapshot")
		} else if err := r.file(f, filepath.Join(p.Path, name), 0); err != nil {
			c.problem = err
		}
		from = end
	}
	for _, s := range p.Segments {
		if c.problem != nil {
			break
		}
		c.problem = r.file(f, p.file(s.Base, segment.LogSuffix), from)
	}
	c.complete = c.problem == nil
	c.image = r.delta.Image(r.offset, r.epoch)
	return c
}

// newestSnapshot names the snapshot with the largest end offset.
func newestSnapshot(p *Partition) (name string, end int64, ok bool) {
	end = unknown
	for _, n := range p.Metadata {
		if e, _, valid := parseSnapshotName(n); valid && e > end {
			name, end, ok = n, e, true
		}
	}
	return name, end, ok
}

// parseSnapshotName reads END-EPOCH.checkpoint (Snapshots.parse).
func parseSnapshotName(name string) (end int64, epoch int32, ok bool) {
	stem, found := strings.CutSuffix(name, checkpointSuffix)
	a, b, cut := strings.Cut(stem, "-")
	if !found || !cut || len(a) != 20 || len(b) != 10 {
		return 0, 0, false
	}
	end, err := strconv.ParseInt(a, 10, 64)
	if err != nil || end < 0 {
		return 0, 0, false
	}
	e, err := strconv.ParseInt(b, 10, 32)
	return end, int32(e), err == nil && e >= 0
}

// replay applies metadata records to an image.
type replay struct {
	c      *cluster
	delta  *meta.Delta
	offset int64
	epoch  int32
}

// file applies the batches of a file from an offset on.
func (r *replay) file(f vfs.FS, name string, from int64) error {
	w, err := openWindow(f, name)
	if err != nil {
		return err
	}
	defer w.close()
	if w.size > 0 {
		if err := w.ready(0, w.size); err != nil {
			return err
		}
	}
	var inner error
	fault := w.guard(func() { inner = r.batches(name, w.all(), from) })
	return errors.Join(fault, inner)
}

func (r *replay) batches(name string, p []byte, from int64) error {
	for at := 0; at < len(p); {
		b, _, err := batch.Next(p[at:])
		if err == nil {
			err = b.CheckCRC()
		}
		r.c.broken = err != nil
		if err == nil && b.LastOffset() >= from {
			err = r.batch(b)
		}
		if err != nil {
			return fmt.Errorf("%s@%d: %w", name, at, err)
		}
		at += len(b)
	}
	return nil
}

func (r *replay) batch(b batch.Batch) error {
	r.epoch = b.LeaderEpoch()
	return b.Each(metadataLimit, func(rec *batch.Record) error {
		r.offset = rec.Offset
		if b.IsControl() {
			return r.control(rec)
		}
		m, err := meta.Decode(rec.Value)
		if err != nil {
			return err
		}
		if err := r.delta.Apply(m); err != nil {
			return err
		}
		r.lead(m)
		return nil
	})
}

func (r *replay) control(rec *batch.Record) error {
	typ, err := meta.ControlType(rec.Key)
	if err != nil || typ != meta.ControlLeaderChange {
		return err
	}
	m, err := meta.DecodeControl(typ, rec.Value)
	if err != nil {
		return err
	}
	change := m.(*meta.LeaderChangeMessage)
	r.c.voters, r.c.leader = len(change.Voters), change.LeaderID
	return nil
}

// lead follows the leader epochs of partitions (PartitionRegistration.merge).
func (r *replay) lead(m meta.Record) {
	switch m := m.(type) {
	case *meta.PartitionRecord:
		l := led{m.LeaderEpoch, unknown}
		if m.Leader >= 0 {
			l.led = l.epoch
		}
		r.c.led[partitionKey{m.TopicID, m.PartitionID}] = l
	case *meta.PartitionChangeRecord:
		if m.Leader == meta.NoLeaderChange {
			return
		}
		key := partitionKey{m.TopicID, m.PartitionID}
		l := r.c.led[key]
		l.epoch++
		if m.Leader >= 0 {
			l.led = l.epoch
		}
		r.c.led[key] = l
	}
}

// partition finds the partition by its name, nil when the metadata has none.
func (c *cluster) partition(p *Partition) (*meta.Topic, *meta.Partition) {
	t := c.image.Topic(p.Topic)
	if t == nil {
		return nil, nil
	}
	for _, part := range t.Partitions {
		if part.ID == p.ID {
			return t, part
		}
	}
	return t, nil
}

// ledEpoch is the epoch in which this node, the only replica, last led the
// partition; exact is false when it may have been an earlier one.
func (c *cluster) ledEpoch(p *Partition) (epoch int32, exact, ok bool) {
	if p.isMetadata() || !c.complete {
		return 0, false, false
	}
	t, part := c.partition(p)
	if part == nil || len(part.Replicas) != 1 || part.Replicas[0] != c.nodeID {
		return 0, false, false
	}
	l := c.led[partitionKey{t.ID, p.ID}]
	if l.led == unknown {
		return l.epoch - 1, false, l.epoch > 0
	}
	return l.led, true, true
}

// compacted says whether the records of a topic may have been compacted;
// known is false when the topic's configuration is not.
func (c *cluster) compacted(topic string) (compacted, known bool) {
	if c.image.Topic(topic) == nil && topic != "__cluster_metadata" {
		return false, false
	}
	policy := c.image.Configs(meta.ResourceTopic, topic)["cleanup.policy"]
	list := strings.Split(policy, ",")
	return slices.ContainsFunc(list, func(s string) bool { return strings.TrimSpace(s) == "compact" }), true
}
