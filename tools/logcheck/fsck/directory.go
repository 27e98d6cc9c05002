package fsck

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/engine/checkpoint"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

var (
	checkpointNames = []string{recoveryName, startName, highName, cleanerName}
	directoryFiles  = []string{recoveryName, startName, highName, cleanerName, propertiesName, markerName}
)

// otherEnd names the checkpoint that says the same after a clean stop.
var otherEnd = map[string]string{recoveryName: highName, highName: recoveryName}

// directory is a log directory and what its own files say.
type directory struct {
	v         *verifier
	path      string
	target    *Tree    // nil when it only surrounds a target
	only      []string // partitions that are targets by themselves, by name
	around    bool     // it looks like a log directory
	clean     bool
	offsets   map[string]map[string]int64 // by checkpoint and partition
	nodeID    int32
	id        meta.UUID
	clusterID string
	outcomes  []checked
}

// checked is a partition and what came out.
type checked struct {
	*Partition
	outcome
}

func (d *directory) report(f Finding) {
	if f.Offset == 0 && f.LastOffset == 0 {
		f.Offset, f.LastOffset = unknown, unknown
	}
	d.v.e.report.add(f)
}

// check compares the directory's files with its partitions and the metadata.
func (d *directory) check() {
	for _, name := range directoryFiles {
		d.checkFile(name)
	}
	d.checkJournal()
	for _, name := range d.target.Files {
		switch {
		case slices.Contains(directoryFiles, name), name == lockName, name == bootstrapName, isJournal(name):
		case isKeptJournal(name):
			d.report(Finding{Severity: Harmless, Kind: KindLeftover, File: filepath.Join(d.path, name), Position: -1,
				Expected: "no journal that was put aside", Found: "one, as evidence of what could not be put back"})
		case isLeftover(name):
			d.report(Finding{Severity: Harmless, Kind: KindLeftover, File: filepath.Join(d.path, name), Position: -1,
				Expected: "no file of unfinished work", Found: "one"})
		default:
			d.report(Finding{Severity: Harmless, Kind: KindUnknown, File: filepath.Join(d.path, name), Position: -1,
				Expected: "a file that Kafka or Gregor writes", Found: "another"})
		}
	}
	for _, name := range d.target.Foreign {
		d.report(Finding{Severity: Damage, Kind: KindUnknown, File: filepath.Join(d.path, name), Position: -1,
			Expected: "directories named topic-partition", Found: "another", Broker: "Kafka refuses to start"})
	}
	if slices.Contains(d.target.Files, bootstrapName) {
		if err := d.v.snapshotLog(d.v.e, filepath.Join(d.path, bootstrapName), ""); err != nil {
			return
		}
	}
	d.checkReplicas()
}

// checkFile checks one of the directory's own files.
func (d *directory) checkFile(name string) {
	path := filepath.Join(d.path, name)
	data, err := vfs.ReadFile(d.v.fs, path)
	if err != nil {
		d.absent(name, err)
		return
	}
	switch name {
	case propertiesName:
		d.checkProperties(path, data)
	case markerName:
		d.checkMarker(path, data)
	default:
		d.checkOffsets(name, path, data)
	}
}

// absent judges a file that cannot be read.
func (d *directory) absent(name string, err error) {
	f := Finding{Severity: Rebuildable, Kind: KindMissing, File: filepath.Join(d.path, name), Position: -1, Expected: "a file that can be read", Found: err.Error()}
	if _, there := d.v.fs.Stat(f.File); there == nil {
		f.Kind = KindUnreadable
		d.report(f)
		return
	}
	ran := slices.ContainsFunc(d.outcomes, func(c checked) bool { return c.ran && !c.isMetadata() })
	switch {
	case name == propertiesName:
		f.Broker = "both take the directory for one that nobody has formatted"
	case d.clean && ran && (name == recoveryName || name == highName):
		f.Broker = "both take it for empty: after an unclean stop everything is checked from its start"
	default:
		return
	}
	d.report(f)
}

// checkOffsets compares an offset checkpoint with the partitions.
func (d *directory) checkOffsets(name, path string, data []byte) {
	line := 0
	report := func(s Severity, k Kind, expected, found string) {
		d.report(Finding{Severity: s, Kind: k, File: path, Position: lineAt(data, line), Offset: unknown, LastOffset: unknown, Expected: expected, Found: found})
	}
	list, err := decodeOffsets(data)
	if len(data) == 0 && d.clean && name != cleanerName {
		err = errors.New("an empty file, although a clean stop writes it")
	}
	if err != nil {
		line = oddLine(data)
		report(Rebuildable, KindCheckpoint, "an offset checkpoint", err.Error())
		return
	}
	if odd := strictLines(data); odd != "" && len(data) > 0 {
		report(Rebuildable, KindCheckpoint, "numbers and names between single spaces", odd)
	}
	if d.target == nil && len(d.only) == 0 {
		return
	}
	gone := Harmless
	if d.clean && name != cleanerName {
		gone = Rebuildable
	}
	seen, places := map[string]bool{}, map[string]int{}
	for k, c := range d.outcomes {
		if !c.Stray && !c.Future {
			places[c.Name] = k
		}
	}
	for i, e := range list {
		line = i + 2
		partition := fmt.Sprintf("%s-%d", e.Topic, e.Partition)
		seen[partition] = true
		if d.target == nil && !slices.Contains(d.only, partition) {
			continue
		}
		k, there := places[partition]
		if !there {
			report(gone, KindCheckpoint, "a partition of the directory", partition)
			continue
		}
		d.checkOffset(name, &d.outcomes[k], e.Offset, report)
	}
	if !d.clean || name != recoveryName && name != highName {
		return
	}
	line = 1
	for _, c := range d.outcomes {
		if !seen[c.Name] && !c.Stray && !c.Future && !c.isMetadata() && c.ran {
			report(Rebuildable, KindCheckpoint, "an entry for "+c.Name, "none")
		}
	}
}

// offsetLine is how the lines of an offset checkpoint look from the third on.
var offsetLine = regexp.MustCompile(`^\S+ [0-9]+ [0-9]+$`)

// oddLine is the first line, counted from 0, that cannot be one of an offset
// checkpoint.
func oddLine(data []byte) int {
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if i == 0 && line != "0" || i > 1 && !offsetLine.MatchString(line) {
			return i
		}
	}
	return 1
}

// decodeOffsets reads an offset checkpoint. An empty file has no entries: Kafka
// makes it when it starts, and writes it when there is something to write.
func decodeOffsets(data []byte) ([]checkpoint.Entry, error) {
	if len(data) == 0 {
		return nil, nil
	}
	return checkpoint.Decode(data)
}

// checkOffset compares one entry with the partition's log.
func (d *directory) checkOffset(name string, c *checked, offset int64, report func(s Severity, k Kind, expected, found string)) {
	found := fmt.Sprintf("offset %d for %s", offset, c.Name)
	end := fmt.Sprintf("%d, where the log ends", c.end)
	exact := d.clean && c.sure
	switch {
	case offset > c.end && (name == recoveryName || name == highName):
		if len(c.Segments) == 0 || c.short || !c.sure && d.clean {
			return // the log's own finding says it
		}
		report(Rebuildable, KindCheckpoint, end+" and as "+otherEnd[name]+" says", found)
	case name == recoveryName && exact && offset != c.end:
		report(Rebuildable, KindCheckpoint, end+" after a clean stop", found)
	case name == highName && exact && offset != c.end && d.onlyReplica(c.Partition):
		report(Rebuildable, KindCheckpoint, end+" after a clean stop of the only replica", found)
	case name == startName && offset > c.end && c.sure:
		d.report(Finding{Severity: Rebuildable, Kind: KindCheckpoint, File: filepath.Join(d.path, name), Position: -1, Offset: offset, LastOffset: unknown, Partition: c.Name,
			Expected: "at most " + end, Found: found, Broker: "both drop all segments and go on, empty, at that offset"})
	case name == startName && offset <= c.first && len(c.Segments) > 0:
		s := Harmless
		if d.clean {
			s = Rebuildable
		}
		report(s, KindCheckpoint, fmt.Sprintf("an offset above %d, the base of the first segment", c.first), found)
	case name == cleanerName && offset > c.end && c.sure:
		report(Rebuildable, KindCheckpoint, "at most "+end, found)
	}
}

// onlyReplica says whether the metadata knows this node as the only replica.
func (d *directory) onlyReplica(p *Partition) bool {
	if d.v.cluster == nil || !d.v.cluster.complete {
		return false
	}
	_, part := d.v.cluster.partition(p)
	return part != nil && len(part.Replicas) == 1 && part.Replicas[0] == d.nodeID
}

// checkReplicas looks for partitions that the metadata places in this directory
// and that are not there.
func (d *directory) checkReplicas() {
	c := d.v.cluster
	if c == nil || !c.complete || !d.clean {
		return
	}
	for _, t := range c.image.Topics() {
		for _, part := range t.Partitions {
			name := fmt.Sprintf("%s-%d", t.Name, part.ID)
			at := slices.Index(part.Replicas, d.nodeID)
			if at < 0 || at >= len(part.Directories) || part.Directories[at] != d.id {
				continue
			}
			i := slices.IndexFunc(d.outcomes, func(o checked) bool { return o.Name == name && !o.Future })
			if i >= 0 && !d.outcomes[i].Stray {
				continue
			}
			if i >= 0 && !slices.ContainsFunc(d.outcomes, func(o checked) bool { return o.Name == name && !o.Stray }) {
				d.report(Finding{Severity: Harmless, Kind: KindMissing, File: filepath.Join(d.path, name), Position: -1, Partition: name, Offset: unknown, LastOffset: unknown,
					Expected: "the directory of a partition that the metadata places here", Found: "one that was set aside: " + filepath.Base(d.outcomes[i].Path), Broker: "both make it anew, empty, or fetch it from another replica"})
			} else if i < 0 {
				d.report(Finding{Severity: Damage, Kind: KindMissing, File: filepath.Join(d.path, name), Position: -1, Partition: name, Offset: unknown, LastOffset: unknown,
					Expected: "the directory of a partition that the metadata places here", Found: "none", Broker: "both make it anew, empty"})
			}
		}
	}
}
