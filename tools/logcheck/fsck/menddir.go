package fsck

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gregor-broker/gregor/engine/checkpoint"
	"github.com/gregor-broker/gregor/engine/epoch"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

// directory plans the files of a log directory itself.
func (p *planner) directory(d *directory) error {
	for _, name := range directoryFiles {
		path := filepath.Join(d.path, name)
		list := p.v.e.report.severe(path)
		if len(list) == 0 || p.file != "" && p.file != path {
			continue
		}
		wrong := func(data []byte) []Finding {
			other := d.on(p.with(path, data))
			other.checkFile(name)
			return other.v.e.report.severe(path)
		}
		meaning := same
		var again func([]byte) []byte
		switch name {
		case propertiesName:
			meaning = func(data []byte) string { q, _ := parseProperties(data); return fmt.Sprint(*q) }
			again = func(old []byte) []byte { return propertiesAgain(p.v.cluster, old) }
		case markerName:
			again = func([]byte) []byte { return markerAgain(p.v.cluster, d.nodeID) }
		default:
			again = func(old []byte) []byte { return p.offsetsAgain(d, name, old) }
		}
		if err := p.mend(path, "", &list[0], wrong, meaning, again); err != nil {
			return err
		}
	}
	if err := p.lowerLines(d); err != nil {
		return err
	}
	path := filepath.Join(d.path, bootstrapName)
	for _, f := range p.v.e.report.severe(path) {
		if p.file != "" || p.tried[path] > 4 {
			break
		}
		p.tried[path]++
		if len(f.Fixes) > 0 {
			return p.patch([]*Finding{&f})
		}
		if f.surplus {
			return p.truncate(&f, "what is in front of it is whole")
		}
	}
	return nil
}

// lowerLines lets the checkpoints say where the logs end that are shorter now.
func (p *planner) lowerLines(d *directory) error {
	for _, name := range [...]string{recoveryName, highName, cleanerName} {
		path := filepath.Join(d.path, name)
		old, err := vfs.ReadFile(p.view, path)
		if err != nil || p.file != "" || slices.Contains(p.changed, path) {
			continue
		}
		data := p.offsetsAgain(d, name, old)
		i := slices.IndexFunc(d.outcomes, func(c checked) bool {
			return p.lowered[c.Path] && d.offsets[name][c.Name] > c.end && !c.Stray && !c.Future
		})
		if i < 0 || string(data) == string(old) {
			continue
		}
		c := &d.outcomes[i]
		p.act(Action{Kind: ActionRewrite, File: path, Partition: c.Name, Position: -1, Offset: c.end, LastOffset: unknown,
			What: "made again with where the logs end now", Why: fmt.Sprintf("%s ends at offset %d now, and the file says %d", c.Name, c.end, d.offsets[name][c.Name])})
		if err := p.stage(path, func(f vfs.FS, to string) error { return writeFile(f, to, data) }); err != nil {
			return err
		}
	}
	return nil
}

// on is the directory as it would be on another disk, with findings of its own.
func (d *directory) on(f vfs.FS) *directory {
	v := *d.v
	v.fs = f
	e := *d.v.e
	e.report = &collector{maximum: 1000}
	v.e = &e
	other := *d
	other.v = &v
	return &other
}

// propertiesAgain corrects the lines of meta.properties that the metadata log
// knows better. The cluster id stands nowhere else.
func propertiesAgain(c *cluster, old []byte) []byte {
	if c == nil || !c.complete || len(c.image.Brokers) != 1 {
		return nil
	}
	var id int32
	var dirs []meta.UUID
	for node, b := range c.image.Brokers {
		id, dirs = node, b.LogDirs
	}
	if len(dirs) != 1 {
		return nil
	}
	known := map[string]string{"version": "1", "node.id": fmt.Sprint(id), "directory.id": dirs[0].String(), "cluster.id": ""}
	var comments, lines []string
	for _, line := range strings.Split(string(old), "\n") {
		key, value, _ := strings.Cut(line, "=")
		if strings.HasPrefix(line, "#") {
			comments = append(comments, line)
		}
		if key == "cluster.id" && clusterIDForm.MatchString(value) && known[key] == "" {
			known[key] = value
		}
	}
	for _, key := range [...]string{"node.id", "directory.id", "version", "cluster.id"} {
		if known[key] == "" {
			return nil
		}
		lines = append(lines, key+"="+known[key])
	}
	return []byte(strings.Join(append(comments, lines...), "\n") + "\n")
}

// markerAgain makes the clean marker from the broker's registration.
func markerAgain(c *cluster, node int32) []byte {
	if c == nil || !c.complete || c.image.Brokers[node] == nil {
		return nil
	}
	return fmt.Appendf(nil, `{"version":0,"brokerEpoch":%d}`, c.image.Brokers[node].Epoch)
}

// offsetsAgain makes an offset checkpoint: lines of the old one that can be
// read and that the logs allow, and what a clean stop writes. Lines of
// partitions that are left as they are stay, too.
func (p *planner) offsetsAgain(d *directory, name string, old []byte) []byte {
	values := map[string]int64{}
	var order []string
	set := func(partition string, offset int64) {
		if _, there := values[partition]; !there {
			order = append(order, partition)
		}
		values[partition] = offset
	}
	for _, line := range strings.Split(string(old), "\n") {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		id, err1 := strconv.ParseUint(fields[1], 10, 31)
		offset, err2 := strconv.ParseInt(fields[2], 10, 64)
		if err1 == nil && err2 == nil && offset >= 0 {
			set(fmt.Sprintf("%s-%d", fields[0], id), offset)
		}
	}
	whole := d.target != nil
	if _, err := decodeOffsets(old); err != nil && !whole {
		return nil // lines of partitions that are not looked at would go
	}
	for partition := range values {
		there := slices.ContainsFunc(d.outcomes, func(c checked) bool { return c.Name == partition && !c.Stray && !c.Future })
		if !there && (whole && d.clean || p.isAside(d.path, partition)) {
			delete(values, partition)
		}
	}
	for i := range d.outcomes {
		c := &d.outcomes[i]
		if c.Stray || c.Future || c.isMetadata() || p.stopped[c.Path] != "" || len(c.Segments) == 0 {
			continue
		}
		offset, there := values[c.Name]
		if wanted, ok := p.offsetOf(d, name, c, offset, there); ok {
			set(c.Name, wanted)
		} else if there {
			delete(values, c.Name)
		}
	}
	var list []checkpoint.Entry
	for _, partition := range order {
		offset, there := values[partition]
		topic, id, _, ok := parsePartition(partition)
		if there && ok {
			list = append(list, checkpoint.Entry{Topic: topic, Partition: id, Offset: offset})
		}
	}
	return checkpoint.Encode(list)
}

func (p *planner) isAside(dir, partition string) bool {
	return p.asides[filepath.Join(dir, partition)]
}

// offsetOf is the offset that the checkpoint must have for a partition; ok is
// false for no line.
func (p *planner) offsetOf(d *directory, name string, c *checked, offset int64, there bool) (wanted int64, ok bool) {
	switch name {
	case recoveryName, highName:
		exact := d.clean && c.sure && c.ran && (name == recoveryName || d.onlyReplica(c.Partition))
		if exact || there && offset > c.end && (p.lowered[c.Path] || !c.short) {
			return c.end, true
		}
		return offset, there
	case startName:
		if there && offset > c.first && offset <= c.end {
			return offset, true
		}
		// After a clean stop the leader epochs begin at the start of the log.
		data, err := vfs.ReadFile(p.view, filepath.Join(c.Path, epochName))
		if err != nil || !d.clean {
			return 0, false
		}
		cache, err := epoch.Decode(data)
		if err != nil || cache.Len() == 0 {
			return 0, false
		}
		at := cache.Entries()[0].Start
		return at, at > c.first && at <= c.end
	}
	return offset, there && offset <= c.end
}

// starts settles where logs begin when log-start-offset-checkpoint and the
// leader epochs contradict each other after a clean stop: the checkpoint is
// mended when one flipped bit in it explains more than one log, or when the
// epochs begin earlier, so that nothing is lost. Otherwise the epochs follow.
func (p *planner) starts(d *directory) error {
	path := filepath.Join(d.path, startName)
	if !d.clean || p.file != "" && p.file != path || p.tried[path] > 1 {
		return nil
	}
	all := slices.DeleteFunc(p.partitions(), func(r *result) bool {
		return filepath.Dir(r.Path) != d.path || r.Stray || r.Future || r.isMetadata() || p.stopped[r.Path] != "" || p.asides[r.Path]
	})
	var torn []*result
	var first Finding
	for _, r := range all {
		for _, f := range r.report.severe(filepath.Join(r.Path, epochName)) {
			if strings.Contains(f.Expected, startName) {
				torn, first = append(torn, r), f
				break
			}
		}
	}
	if len(torn) == 0 {
		return nil
	}
	malformed := len(p.v.e.report.severe(path)) > 0
	if len(torn) == 1 && !malformed {
		return p.startOf(d, path, torn[0], &first)
	}
	wrong := func(data []byte) []Finding {
		other := d.on(p.with(path, data))
		other.checkFile(startName)
		list := other.v.e.report.severe(path)
		entries, err := decodeOffsets(data)
		if err != nil {
			return list
		}
		starts := map[string]int64{}
		for _, e := range entries {
			starts[fmt.Sprintf("%s-%d", e.Topic, e.Partition)] = e.Offset
		}
		for _, r := range all {
			start, there := starts[r.Name]
			if !there {
				start = unknown
			} else if len(r.Segments) > 0 {
				start = max(start, r.Segments[0].Base)
			}
			if start == r.on.start && !slices.Contains(torn, r) {
				continue
			}
			c := p.aside(r, p.view)
			c.on.start = start
			c.checkEpochs(r.out.end, r.out.ran)
			list = append(list, c.e.report.severe(filepath.Join(r.Path, epochName))...)
		}
		return list
	}
	if malformed {
		first = p.v.e.report.severe(path)[0]
	} else {
		first.Found += fmt.Sprintf("; so in %d logs", len(torn))
	}
	return p.mend(path, "", &first, wrong, same, func(old []byte) []byte { return p.offsetsAgain(d, startName, old) })
}

// startOf settles it for one log.
func (p *planner) startOf(d *directory, path string, r *result, f *Finding) error {
	data, err := vfs.ReadFile(p.view, filepath.Join(r.Path, epochName))
	if err != nil {
		return nil
	}
	cache, err := epoch.Decode(data)
	if err != nil || cache.Len() == 0 {
		return nil
	}
	begins, start := cache.Entries()[0].Start, max(r.on.start, r.Segments[0].Base)
	old, err := vfs.ReadFile(p.view, path)
	entries, bad := decodeOffsets(old)
	if bad != nil && err == nil || begins > r.out.end || begins > start && err == nil || begins < r.Segments[0].Base {
		return nil
	}
	entries = slices.DeleteFunc(entries, func(e checkpoint.Entry) bool { return e.Topic == r.Topic && e.Partition == r.ID })
	if begins > r.Segments[0].Base {
		entries = append(entries, checkpoint.Entry{Topic: r.Topic, Partition: r.ID, Offset: begins})
	}
	p.tried[path]++
	p.act(Action{Kind: ActionRewrite, File: path, Partition: r.Name, Position: -1, Offset: begins, LastOffset: unknown,
		What: fmt.Sprintf("the log begins at offset %d, as its leader epochs have it: of the two the one that loses nothing", begins), Why: because(f)})
	return p.stage(path, func(f vfs.FS, to string) error { return writeFile(f, to, checkpoint.Encode(entries)) })
}
