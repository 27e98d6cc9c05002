package fsck

import (
	"bytes"
	"fmt"
	"path/filepath"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// checkFiles checks the small files of a partition directory and what does not
// belong there.
func (c *checker) checkFiles() {
	if c.single {
		return
	}
	note := func(k Kind, list []string, expected, found string) {
		if len(list) > 0 {
			c.report(Finding{Severity: Harmless, Kind: k, File: filepath.Join(c.p.Path, list[0]), Position: -1, Offset: unknown, LastOffset: unknown,
				Expected: expected, Found: fmt.Sprintf(found, len(list))})
		}
	}
	note(KindLeftover, c.p.Leftovers, "no files of finished or interrupted work", "%d such files")
	note(KindLeftover, c.p.Orphans, "a .log for every index", "%d indexes without one")
	note(KindUnknown, c.p.Unknown, "files that Kafka or Gregor writes", "%d others")
	if c.p.Stray {
		c.report(Finding{Severity: Harmless, Kind: KindStray, File: c.p.Path, Position: -1, Offset: unknown, LastOffset: unknown,
			Expected: "a partition of the metadata", Found: "one that a broker has put aside", Broker: "kept and not served"})
	}
	if len(c.p.Segments) == 0 {
		c.report(Finding{Severity: Rebuildable, Kind: KindMissing, File: c.p.Path, Position: -1, Offset: unknown, LastOffset: unknown,
			Expected: "a .log file", Found: "none", Broker: "both begin an empty log at its start offset"})
	}
	c.checkTopicID()
}

// checkTopicID compares partition.metadata with the metadata log.
func (c *checker) checkTopicID() {
	path := filepath.Join(c.p.Path, topicIDName)
	report := func(s Severity, k Kind, position int64, expected, found string) {
		c.report(Finding{Severity: s, Kind: k, File: path, Position: position, Offset: unknown, LastOffset: unknown, Expected: expected, Found: found})
	}
	ran := false
	for _, s := range c.p.Segments {
		ran = ran || s.Index
	}
	if !c.p.HasID {
		if ran {
			report(Rebuildable, KindTopicID, -1, "the topic id", "no file")
		}
		return
	}
	data, err := vfs.ReadFile(c.fs, path)
	if err != nil {
		report(Rebuildable, KindUnreadable, -1, "a file that can be read", err.Error())
		return
	}
	id, err := parseTopicID(data)
	if err != nil {
		report(Rebuildable, KindTopicID, 0, "the topic id", err.Error())
		return
	}
	if c.p.isMetadata() {
		if id != meta.MetadataTopicID {
			report(Rebuildable, KindTopicID, 12, meta.MetadataTopicID.String(), id.String())
		}
		return
	}
	if c.on.cluster == nil || !c.on.cluster.complete || c.p.Stray || c.p.Topic == "" {
		return
	}
	t, part := c.on.cluster.partition(c.p)
	gone := Harmless // a deletion may have been under way
	if c.on.clean {
		gone = Rebuildable
	}
	switch {
	case t == nil:
		report(gone, KindStray, 12, "a topic of the metadata", fmt.Sprintf("%s with id %s", c.p.Topic, id))
	case t.ID != id && c.on.cluster.image.TopicByID(id) == nil:
		report(Rebuildable, KindTopicID, 12, fmt.Sprintf("id %s, that of topic %s", t.ID, t.Name), id.String())
	case t.ID != id:
		report(Rebuildable, KindTopicID, 12, fmt.Sprintf("id %s, that of topic %s", t.ID, t.Name), id.String()+", that of another topic")
	case part == nil:
		report(gone, KindStray, -1, fmt.Sprintf("one of the %d partitions of the topic", len(t.Partitions)), c.p.Name)
	}
}

// metadataFiles checks what stands beside the metadata log only.
func (v *verifier) metadataFiles(e *checking, p *Partition, on promise) error {
	if p.HasQuorum {
		v.checkQuorumState(e, p, on)
	} else if len(p.Segments) > 0 && p.Segments[0].Index {
		e.report.add(Finding{Severity: Damage, Kind: KindQuorum, File: filepath.Join(p.Path, quorumName), Position: -1, Partition: p.Name, Offset: unknown, LastOffset: unknown,
			Expected: "the state of the quorum", Found: "no file"})
	}
	for _, name := range p.Metadata {
		if err := v.snapshotLog(e, filepath.Join(p.Path, name), p.Name); err != nil {
			return err
		}
	}
	if !e.deep {
		return nil
	}
	if c := v.cluster; c != nil && c.problem != nil && !c.broken {
		e.report.add(Finding{Severity: Damage, Kind: KindMetadata, File: p.Path, Position: -1, Partition: p.Name, Offset: c.image.Offset, LastOffset: unknown,
			Expected: "metadata records that apply one after the other", Found: c.problem.Error()})
	}
	return nil
}

// snapshotLog checks a snapshot of the metadata log, or bootstrap.checkpoint:
// batches from offset 0 with a header first and a footer last.
func (v *verifier) snapshotLog(e *checking, path, partition string) error {
	w, err := openWindow(v.fs, path)
	if err != nil {
		e.report.add(Finding{Severity: Damage, Kind: KindUnreadable, File: path, Position: -1, Partition: partition, Offset: unknown, LastOffset: unknown,
			Expected: "a file that can be read", Found: err.Error()})
		return nil
	}
	defer w.close()
	s := &snapshotVisitor{e: e, path: path, partition: partition, epoch: unknown}
	if err := e.walk(w, s); err != nil {
		return err
	}
	s.settle(unknown)
	s.epochs()
	if s.end > 0 && s.end < w.size {
		f := Finding{Severity: Damage, Kind: KindSnapshotLog, File: path, Position: s.end, Length: w.size - s.end, Partition: partition, Offset: unknown, LastOffset: unknown,
			Expected: "nothing behind the footer", Found: fmt.Sprintf("%d bytes", w.size-s.end), surplus: !s.broke}
		e.report.add(f)
	}
	if !s.broke && (!s.header || !s.footer) {
		s.report(w.size, 0, "a snapshot that begins with a header and ends with a footer", fmt.Sprintf("header %t, footer %t", s.header, s.footer), diagnosis{})
	}
	return nil
}

// snapshotVisitor checks the batches of a snapshot.
type snapshotVisitor struct {
	e               *checking
	path, partition string
	next            int64
	epoch           int32
	header, footer  bool
	broke           bool
	count           int
	odd             []oddEpoch // batches whose epoch is not that of the snapshot
	moved           *movedBatch
	end             int64 // behind the footer, 0 until it was seen
}

// movedBatch is a batch whose offset does not follow on.
type movedBatch struct{ position, found, want, next int64 }

// settle reports it when the offset of the batch behind it is known: if that
// follows on what it should be, the field is wrong, and otherwise the batch.
func (s *snapshotVisitor) settle(following int64) {
	m := s.moved
	if m == nil {
		return
	}
	s.moved = nil
	d := diagnosis{}
	if following == m.next || following == unknown && bitApart(m.found, m.want) {
		d = diagnosis{"field baseOffset: the batches of a snapshot count up from 0", offsetFixes(m.position, m.found, m.want)}
	}
	s.report(m.position, 8, fmt.Sprintf("offset %d", m.want), fmt.Sprintf("offset %d", m.found), d)
}

type oddEpoch struct {
	position int64
	epoch    int32
}

// epochs reports batches of another epoch: they are wrong if others have the
// right one, and else it may be the name that is.
func (s *snapshotVisitor) epochs() {
	for _, o := range s.odd {
		d := diagnosis{}
		if len(s.odd) < s.count {
			d = diagnosis{"field partitionLeaderEpoch: the name and the other batches agree", epochFixes(o.position, o.epoch, s.epoch)}
		}
		s.report(o.position+12, 4, fmt.Sprintf("epoch %d, that of the snapshot", s.epoch), fmt.Sprintf("epoch %d", o.epoch), d)
	}
}

func (s *snapshotVisitor) report(position, length int64, expected, found string, d diagnosis) {
	s.e.report.add(Finding{Severity: Damage, Kind: KindSnapshotLog, File: s.path, Position: position, Length: length, Partition: s.partition, Offset: unknown, LastOffset: unknown,
		Expected: expected, Found: found, Located: d.text, Fixes: d.fixes})
}

func (s *snapshotVisitor) intact(p []byte, at span) {
	b := batch.Batch(p[at.from:at.to])
	s.e.report.batches.Add(1)
	s.e.report.records.Add(int64(b.RecordCount()))
	if s.footer {
		return // said at the end
	}
	if at.fault != nil {
		s.report(at.from, at.to-at.from, "records that fill the batch", at.fault.err.Error(), diagnosis{})
		return
	}
	if s.broke {
		s.next = b.BaseOffset() // what is missing was said already
	}
	s.settle(b.BaseOffset())
	if b.BaseOffset() != s.next {
		s.moved = &movedBatch{at.from, b.BaseOffset(), s.next, s.next + int64(b.LastOffsetDelta()) + 1}
	}
	if s.epoch == unknown {
		if _, epoch, ok := parseSnapshotName(filepath.Base(s.path)); ok {
			s.epoch = epoch
		} else {
			s.epoch = 0
		}
	}
	if b.LeaderEpoch() != s.epoch {
		s.odd = append(s.odd, oddEpoch{at.from, b.LeaderEpoch()})
	}
	s.count++
	s.next += int64(b.LastOffsetDelta()) + 1
	if s.e.deep || b.IsControl() {
		s.records(b, at)
	}
	if s.footer {
		s.end = at.to
	}
}

func (s *snapshotVisitor) records(b batch.Batch, at span) {
	err := b.Each(metadataLimit, func(r *batch.Record) error {
		if !b.IsControl() {
			_, err := meta.Decode(r.Value)
			return err
		}
		typ, err := meta.ControlType(r.Key)
		if err != nil {
			return err
		}
		s.header = s.header || typ == meta.ControlSnapshotHeader && bytes.Equal(r.Key, meta.AppendControlKey(nil, typ))
		s.footer = s.footer || typ == meta.ControlSnapshotFooter
		_, err = meta.DecodeControl(typ, r.Value)
		return err
	})
	if err != nil {
		s.report(at.from, at.to-at.from, "metadata records", err.Error(), diagnosis{})
	}
}

func (s *snapshotVisitor) broken(p []byte, at span) {
	s.hole(p, at.from, at.to, at.fault)
}

func (s *snapshotVisitor) hole(_ []byte, from, to int64, f *fault) {
	if s.footer {
		return // said at the end
	}
	s.broke = true
	s.report(from, to-from, "an intact batch", f.err.Error(), f.diag)
}

func (s *snapshotVisitor) unreadable(from int64, err error) {
	s.broke = true
	s.e.report.add(Finding{Severity: Damage, Kind: KindUnreadable, File: s.path, Position: from, Partition: s.partition, Offset: unknown, LastOffset: unknown,
		Expected: "bytes that can be read", Found: err.Error()})
}
