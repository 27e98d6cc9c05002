package fsck

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// Names of the files of a data directory.
const (
	metadataName     = "__cluster_metadata-0"
	epochName        = "leader-epoch-checkpoint"
	topicIDName      = "partition.metadata"
	quorumName       = "quorum-state"
	propertiesName   = "meta.properties"
	markerName       = ".kafka_cleanshutdown"
	lockName         = ".lock"
	bootstrapName    = "bootstrap.checkpoint"
	recoveryName     = "recovery-point-offset-checkpoint"
	startName        = "log-start-offset-checkpoint"
	highName         = "replication-offset-checkpoint"
	cleanerName      = "cleaner-offset-checkpoint"
	checkpointSuffix = ".checkpoint"
	remoteCacheName  = "remote-log-index-cache"
)

// TargetKind says what a target is.
type TargetKind string

// The kinds of targets.
const (
	TargetDirectory TargetKind = "log directory"
	TargetPartition TargetKind = "partition"
	TargetFile      TargetKind = "file"
)

// Tree is what Scan found under a target. Nothing in it changes.
type Tree struct {
	Path       string
	Kind       TargetKind
	Partitions []*Partition
	Files      []string // plain files of a log directory, by name
	Deleted    []string // directories of deleted partitions on their way out
	Foreign    []string // directories that are no partition
}

// Partition is one partition directory.
type Partition struct {
	Path      string
	Name      string // topic-partition, without the suffix of a stray or future directory
	Topic     string
	ID        int32
	Stray     bool // renamed because the metadata does not know it
	Future    bool // the copy of a move between log directories under way
	Segments  []Segment
	Snapshots []int64  // offsets, ascending
	Metadata  []string // snapshots of the metadata log
	Leftovers []string // .deleted, .cleaned, .swap, .torn, .tmp, .part
	Orphans   []string // index files without a log
	Unknown   []string
	HasEpochs bool
	HasID     bool
	HasQuorum bool
	Swaps     []Segment // output of a cleaning that waits to take the place of segments: .swap

	cleaned int64          // base of the first .cleaned file: swaps from there on are not whole, unknown without one
	inPlace map[int64]bool // swaps that stand in Segments, as they will when a broker starts
}

// Segment is one .log with the files of its base offset.
type Segment struct {
	Base    int64
	Size    int64 // of the .log, bytes
	Index   bool
	Times   bool
	Aborted bool
}

func (p *Partition) file(base int64, suffix string) string {
	if p.inPlace[base] && suffix != segment.SnapshotSuffix {
		suffix += segment.SwapSuffix
	}
	return segment.FileName(p.Path, base, suffix)
}

func (p *Partition) isMetadata() bool { return p.Name == metadataName }

// Bytes is the size of all .log files.
func (p *Partition) Bytes() int64 {
	n := int64(0)
	for _, s := range p.Segments {
		n += s.Size
	}
	return n
}

// Scan lists a target: a log.dirs entry, a partition directory, or one file.
// It reads names and sizes only.
func Scan(f vfs.FS, path string) (*Tree, error) {
	path = filepath.Clean(path)
	info, err := f.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return &Tree{Path: path, Kind: TargetFile}, nil
	}
	entries, err := f.ReadDir(path)
	if err != nil {
		return nil, err
	}
	if isPartition(filepath.Base(path), entries) {
		p, err := scanPartition(f, path, entries)
		if err != nil {
			return nil, err
		}
		return &Tree{Path: path, Kind: TargetPartition, Partitions: []*Partition{p}}, nil
	}
	t := &Tree{Path: path, Kind: TargetDirectory}
	for _, e := range entries {
		full := filepath.Join(path, e.Name())
		if !e.IsDir() {
			t.Files = append(t.Files, e.Name())
			continue
		}
		_, _, state, ok := parsePartition(e.Name())
		switch {
		case !ok && e.Name() != remoteCacheName:
			t.Foreign = append(t.Foreign, e.Name())
		case !ok:
		case state == "delete":
			t.Deleted = append(t.Deleted, e.Name())
		default:
			list, err := f.ReadDir(full)
			if err != nil {
				return nil, err
			}
			p, err := scanPartition(f, full, list)
			if err != nil {
				return nil, err
			}
			t.Partitions = append(t.Partitions, p)
		}
	}
	return t, nil
}

// isPartition tells a partition directory from a log directory, whose entries
// are directories.
func isPartition(name string, entries []fs.DirEntry) bool {
	_, _, _, named := parsePartition(name)
	for _, e := range entries {
		if e.IsDir() || e.Name() == propertiesName {
			return false
		}
		if _, suffix, ok := segment.ParseName(e.Name()); ok && suffix == segment.LogSuffix || e.Name() == topicIDName {
			return true
		}
	}
	return named
}

// parsePartition splits the name of a partition directory at its last "-";
// state is "", "delete", "stray" or "future" (UnifiedLog.parseTopicPartitionName).
func parsePartition(name string) (topic string, id int32, state string, ok bool) {
	for _, s := range [...]string{"delete", "stray", "future"} {
		rest, found := strings.CutSuffix(name, "-"+s)
		if !found {
			continue
		}
		if i := strings.LastIndexByte(rest, '.'); i > 0 && len(rest)-i-1 == 32 {
			name, state = rest[:i], s
		}
	}
	i := strings.LastIndexByte(name, '-')
	if i <= 0 {
		return "", 0, "", false
	}
	n, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != name[i+1:] {
		return "", 0, "", false
	}
	return name[:i], int32(n), state, true
}

func scanPartition(f vfs.FS, path string, entries []fs.DirEntry) (*Partition, error) {
	p := &Partition{Path: path, Name: filepath.Base(path), cleaned: unknown}
	if topic, id, state, ok := parsePartition(p.Name); ok {
		p.Topic, p.ID, p.Stray, p.Future = topic, id, state == "stray", state == "future"
		p.Name = fmt.Sprintf("%s-%d", topic, id)
	}
	files := map[string]bool{}
	for _, e := range entries {
		files[e.Name()] = true
	}
	for _, e := range entries {
		name := e.Name()
		base, suffix, ok := segment.ParseName(name)
		switch {
		case e.IsDir():
			p.Unknown = append(p.Unknown, name)
		case name == epochName:
			p.HasEpochs = true
		case name == topicIDName:
			p.HasID = true
		case name == quorumName:
			p.HasQuorum = true
		case isLeftover(name):
			p.Leftovers = append(p.Leftovers, name)
			if ok && strings.HasSuffix(suffix, segment.CleanedSuffix) && (p.cleaned < 0 || base < p.cleaned) {
				p.cleaned = base
			}
			if !ok || suffix != segment.LogSuffix+segment.SwapSuffix {
				continue
			}
			info, err := f.Stat(filepath.Join(path, name))
			if err != nil {
				return nil, err
			}
			has := func(kind string) bool { return files[fmt.Sprintf("%020d%s%s", base, kind, segment.SwapSuffix)] }
			p.Swaps = append(p.Swaps, Segment{Base: base, Size: info.Size(), Index: has(segment.IndexSuffix), Times: has(segment.TimeIndexSuffix), Aborted: has(segment.TxnIndexSuffix)})
		case ok && suffix == segment.LogSuffix:
			info, err := f.Stat(filepath.Join(path, name))
			if err != nil {
				return nil, err
			}
			digits := strings.TrimSuffix(name, segment.LogSuffix)
			p.Segments = append(p.Segments, Segment{
				Base: base, Size: info.Size(), Index: files[digits+segment.IndexSuffix],
				Times: files[digits+segment.TimeIndexSuffix], Aborted: files[digits+segment.TxnIndexSuffix],
			})
		case ok && suffix == segment.SnapshotSuffix:
			p.Snapshots = append(p.Snapshots, base)
		case ok && (suffix == segment.IndexSuffix || suffix == segment.TimeIndexSuffix || suffix == segment.TxnIndexSuffix):
			if !files[fmt.Sprintf("%020d%s", base, segment.LogSuffix)] {
				p.Orphans = append(p.Orphans, name)
			}
		case strings.HasSuffix(name, checkpointSuffix) && p.isMetadata():
			p.Metadata = append(p.Metadata, name)
		default:
			p.Unknown = append(p.Unknown, name)
		}
	}
	slices.SortFunc(p.Segments, func(a, b Segment) int { return int(min(max(a.Base-b.Base, -1), 1)) })
	slices.Sort(p.Snapshots)
	p.Swaps = slices.DeleteFunc(p.Swaps, func(s Segment) bool { return p.cleaned >= 0 && s.Base >= p.cleaned })
	return p, nil
}

func isLeftover(name string) bool {
	for _, suffix := range [...]string{
		segment.DeletedSuffix, segment.CleanedSuffix, segment.SwapSuffix, segment.TornSuffix, stagedSuffix, ".tmp", ".part",
	} {
		if strings.HasSuffix(name, suffix) || strings.Contains(name, segment.TornSuffix+".") {
			return true
		}
	}
	return false
}
