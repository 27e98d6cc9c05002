package fsck

import (
	"bytes"
	"fmt"
	"math/bits"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gregor-broker/gregor/engine/epoch"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// searchBytes is how much of a small file is searched for a flipped bit; of a
// larger one, only its head and the lines that are wrong.
const searchBytes = 4 << 10

// oneBitFindings is how many findings about a small file one flipped bit can
// explain at most: one of a name makes one entry that should not be, and one
// that is not there.
const oneBitFindings = 4

// judge gives the findings that are not harmless of a file, were its content
// data.
type judge func(data []byte) []Finding

// oneBit finds the single flipped bit that explains all that is wrong with a
// small file: it flips every one and asks again. More than one answer is none,
// unless they mean the same.
func oneBit(data []byte, positions []int64, wrong judge, meaning func([]byte) string) (mended []byte, words string, ok bool) {
	for _, i := range searched(data, positions) {
		for bit := range 8 {
			p := slices.Clone(data)
			p[i] ^= 1 << bit
			if len(wrong(p)) > 0 {
				continue
			}
			if ok && meaning(p) != meaning(mended) {
				return nil, "", false
			}
			if !ok {
				mended, ok = p, true
				words = fmt.Sprintf("byte %d: %#02x becomes %#02x, bit %d was flipped: with it everything else agrees", i, data[i], p[i], bits.TrailingZeros8(1<<bit))
			}
		}
	}
	return mended, words, ok
}

// searched are the bytes worth flipping.
func searched(data []byte, positions []int64) (list []int) {
	if len(data) <= searchBytes {
		for i := range data {
			list = append(list, i)
		}
		return list
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	at := 0
	for n, line := range lines {
		hit := n < 2 || slices.ContainsFunc(positions, func(p int64) bool { return p >= int64(at) && p < int64(at+len(line)) })
		for i := range line {
			if hit && len(list) < searchBytes {
				list = append(list, at+i)
			}
		}
		at += len(line)
	}
	return list
}

// same is the meaning of a file of which every byte counts.
func same(p []byte) string { return string(p) }

// severe are the findings about one file that are not harmless.
func (c *collector) severe(name string) (list []Finding) {
	for _, f := range c.findings {
		if f.Severity > Harmless && f.File == name {
			list = append(list, f)
		}
	}
	return list
}

// with is the disk with another content of one file.
func (p *planner) with(name string, data []byte) vfs.FS {
	o := newOverlay(p.view)
	o.put(name, staged{blob(data).disk(), name, -1})
	return o
}

// mend plans a small file: the flipped bit that explains everything, or else
// the content that make gives, if nothing is wrong with that.
func (p *planner) mend(name, partition string, f *Finding, wrong judge, meaning func([]byte) string, make func(old []byte) []byte) error {
	if p.tried[name] > 1 {
		return nil
	}
	p.tried[name]++
	old, err := vfs.ReadFile(p.view, name)
	present := err == nil
	var positions []int64
	for _, f := range wrong(old) {
		positions = append(positions, f.Position)
	}
	data, words, ok := []byte(nil), "", false
	if present && len(positions) <= oneBitFindings {
		data, words, ok = oneBit(old, positions, wrong, meaning)
	}
	if !ok {
		data, words = make(old), "made again from what else is known"
		if ok = data != nil && !bytes.Equal(data, old); ok {
			left := len(wrong(data))
			ok = left == 0 || left < len(positions)
		}
	}
	if !ok {
		return nil
	}
	p.act(Action{Kind: ActionRewrite, File: name, Partition: partition, Position: -1, Offset: f.Offset, LastOffset: f.LastOffset, What: words, Why: because(f)})
	return p.stage(name, func(f vfs.FS, path string) error { return writeFile(f, path, data) })
}

// aside is a checker of a partition that only looks at small files of it, on
// another disk.
func (p *planner) aside(r *result, f vfs.FS) *checker {
	e := *p.v.e
	e.report = &collector{maximum: 100}
	part := *r.Partition
	part.HasEpochs, part.HasID, part.HasQuorum = true, true, true
	return &checker{e: &e, fs: f, p: &part, on: r.on, epochs: r.out.epochs, next: r.out.end, tail: r.out.tail, loose: r.out.loose, failed: r.out.failed}
}

// small plans the small files of a partition directory.
func (p *planner) small(r *result, why map[string]*Finding) error {
	name := filepath.Join(r.Path, epochName)
	if f := why[name]; f != nil {
		wrong := func(data []byte) []Finding {
			c := p.aside(r, p.with(name, data))
			c.checkEpochs(r.out.end, r.out.ran)
			return c.e.report.severe(name)
		}
		if err := p.mend(name, r.Name, f, wrong, same, func(old []byte) []byte { return epochsAgain(r, old) }); err != nil {
			return err
		}
	}
	name = filepath.Join(r.Path, topicIDName)
	if f := why[name]; f != nil {
		wrong := func(data []byte) []Finding {
			c := p.aside(r, p.with(name, data))
			c.checkTopicID()
			return c.e.report.severe(name)
		}
		if err := p.mend(name, r.Name, f, wrong, same, func(old []byte) []byte { return topicIDAgain(r, old) }); err != nil {
			return err
		}
	}
	name = filepath.Join(r.Path, quorumName)
	if f := why[name]; f != nil {
		wrong := func(data []byte) []Finding {
			v := *p.v
			v.fs = p.with(name, data)
			c := p.aside(r, v.fs)
			v.checkQuorumState(c.e, c.p, r.on)
			return c.e.report.severe(name)
		}
		if err := p.mend(name, r.Name, f, wrong, same, func(old []byte) []byte { return quorumAgain(p.v.cluster, old) }); err != nil {
			return err
		}
	}
	p.checkpoints(r, why)
	return nil
}

// epochsAgain makes leader-epoch-checkpoint from the batches, and keeps the
// lines of the old one that fit in between: epochs without a batch.
func epochsAgain(r *result, old []byte) []byte {
	start := r.on.start
	if start < 0 && len(r.Segments) > 0 {
		start = r.Segments[0].Base
	}
	var list []epoch.Entry
	for _, run := range r.out.epochs.list {
		if n := len(list); run.epoch >= 0 && (n == 0 || run.epoch > list[n-1].Epoch) {
			list = append(list, epoch.Entry{Epoch: run.epoch, Start: run.first})
		}
	}
	for _, line := range strings.Split(string(old), "\n") {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			continue
		}
		e, err1 := strconv.ParseUint(fields[0], 10, 31)
		at, err2 := strconv.ParseUint(fields[1], 10, 63)
		if err1 != nil || err2 != nil || int64(at) > r.out.end {
			continue
		}
		i, found := slices.BinarySearchFunc(list, int32(e), func(x epoch.Entry, e int32) int { return int(x.Epoch) - int(e) })
		if found || i > 0 && list[i-1].Start >= int64(at) || i < len(list) && list[i].Start <= int64(at) {
			continue
		}
		list = slices.Insert(list, i, epoch.Entry{Epoch: int32(e), Start: int64(at)})
	}
	cache := new(epoch.Cache)
	for _, e := range list {
		cache.Assign(e.Epoch, e.Start)
	}
	if c := r.on.cluster; c != nil {
		if led, exact, ok := c.ledEpoch(r.Partition); ok && exact && r.on.clean && led > cache.Latest() {
			cache.Assign(led, r.out.end)
		}
	}
	if start > 0 {
		cache.TruncateFromStart(start)
	}
	return cache.Encode()
}

// topicIDAgain makes partition.metadata from the metadata log. An id that can be
// read is not replaced: the directory may be that of a topic of old.
func topicIDAgain(r *result, old []byte) []byte {
	if _, err := parseTopicID(old); err == nil {
		return nil
	}
	var id meta.UUID
	switch c := r.on.cluster; {
	case r.isMetadata():
		id = meta.MetadataTopicID
	case c == nil || !c.complete:
		return nil
	default:
		t, part := c.partition(r.Partition)
		if part == nil {
			return nil
		}
		id = t.ID
	}
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s", id)
}

// quorumAgain makes quorum-state of a single voter, who can have promised
// nothing to another.
func quorumAgain(c *cluster, old []byte) []byte {
	if c == nil || !c.complete || c.voters != 1 {
		return nil
	}
	if bytes.Contains(old, []byte("currentVoters")) {
		return fmt.Appendf(nil, `{"clusterId":"","leaderId":%d,"leaderEpoch":%d,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":%d}],"data_version":0}`, c.leader, c.image.Epoch, c.leader)
	}
	return fmt.Appendf(nil, `{"leaderId":%d,"leaderEpoch":%d,"votedId":-1,"votedDirectoryId":"%s","data_version":1}`, c.leader, c.image.Epoch, meta.UUID{})
}

// checkpoints takes away snapshots of the metadata log that are damaged and not
// needed: the log, or another snapshot and the log behind it, says the same.
func (p *planner) checkpoints(r *result, why map[string]*Finding) {
	if !r.isMetadata() || len(r.Segments) == 0 || p.v.cluster == nil || !p.v.cluster.complete {
		return
	}
	base := r.Segments[0].Base
	for _, name := range r.Metadata {
		path := filepath.Join(r.Path, name)
		end, _, ok := parseSnapshotName(name)
		if why[path] == nil || !ok || end == 0 {
			continue
		}
		spare := base == 0 || slices.ContainsFunc(r.Metadata, func(other string) bool {
			at, _, ok := parseSnapshotName(other)
			return ok && other != name && at >= base && why[filepath.Join(r.Path, other)] == nil
		})
		if spare {
			p.removeFile(r, why[path], path, "")
		}
	}
}
