package fsck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// Options say how Verify works. The zero value is a fast check of the real disk.
type Options struct {
	// FS is the disk, vfs.OS when nil.
	FS vfs.FS
	// Deep decodes every record and replays producers and transactions.
	Deep bool
	// Workers is how many processors are used, all when 0.
	Workers int
	// DecodeLimit bounds what one batch is decompressed into, in bytes; 64 MiB when 0. A larger batch is counted as
	// not decoded. At most one batch above 4 MiB is decoded at a time.
	DecodeLimit int
	// MaxFindings bounds how many findings are kept, the least severe go first; 10,000 when 0. All are counted.
	MaxFindings int
	// ProbeLock asks whether a broker runs on a directory, see Running. Not for use inside a broker.
	ProbeLock bool
	// Progress is called some times a second with the bytes read so far and in all, if set.
	Progress func(read, total int64)
}

// Verify checks targets: log.dirs entries, partition directories and files. It
// changes nothing. An error means that a target could not be looked at at all;
// what could not be read within one is a finding of KindUnreadable. It may be
// canceled.
func Verify(ctx context.Context, paths []string, o Options) (*Report, error) {
	return newVerifier(ctx, o).verify(paths)
}

func (v *verifier) verify(paths []string) (*Report, error) {
	started := time.Now()
	var trees []*Tree
	for _, path := range paths {
		t, err := Scan(v.fs, path)
		if err != nil {
			return nil, err
		}
		trees = append(trees, t)
	}
	v.prepare(trees)
	stop := v.watch()
	err := v.run(trees)
	stop()
	if err != nil {
		return nil, err
	}
	r := v.e.report.result(v.e.deep)
	r.Targets, r.Running, r.Seconds = paths, v.running, time.Since(started).Seconds()
	return r, nil
}

// verifier is one Verify.
type verifier struct {
	e       *checking
	fs      vfs.FS
	workers int
	probe   bool
	notify  func(read, total int64)
	running []RunningBroker
	dirs    map[string]*directory
	cluster *cluster
	known   map[string]*result // of partitions that were checked before and have not changed since
	results map[string]*result // by path
	settled bool               // cluster is known
}

func newVerifier(ctx context.Context, o Options) *verifier {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	o.Workers = cmp.Or(o.Workers, runtime.GOMAXPROCS(0))
	return &verifier{
		e: &checking{ctx: ctx, slots: make(chan struct{}, o.Workers), large: make(chan struct{}, 1), deep: o.Deep,
			limit: cmp.Or(o.DecodeLimit, 64<<20), report: &collector{maximum: cmp.Or(o.MaxFindings, 10_000)}},
		fs: o.FS, workers: o.Workers, probe: o.ProbeLock, notify: o.Progress, dirs: map[string]*directory{}, results: map[string]*result{},
	}
}

// prepare reads what surrounds the targets: checkpoints, clean markers and the
// metadata log.
func (v *verifier) prepare(trees []*Tree) {
	for _, t := range trees {
		switch t.Kind {
		case TargetDirectory:
			v.directory(t.Path).target = t
		case TargetPartition:
			d := v.directory(filepath.Dir(t.Path))
			if p := t.Partitions[0]; d.around && !p.Stray && !p.Future {
				d.only = append(d.only, p.Name)
			}
		case TargetFile:
			v.directory(filepath.Dir(filepath.Dir(t.Path)))
		}
		for _, p := range t.Partitions {
			v.e.report.total.Add(p.Bytes())
		}
	}
	for _, d := range v.dirs {
		if v.settled || v.cluster != nil && v.cluster.complete {
			break
		}
		path := filepath.Join(d.path, metadataName)
		entries, err := v.fs.ReadDir(path)
		if err != nil {
			continue
		}
		if p, err := scanPartition(v.fs, path, entries); err == nil && len(p.Segments) > 0 {
			v.cluster = readCluster(v.fs, p, d.nodeID)
		}
	}
}

// directory reads a log directory's own files, once.
func (v *verifier) directory(path string) *directory {
	if d, ok := v.dirs[path]; ok {
		return d
	}
	d := &directory{v: v, path: path, offsets: map[string]map[string]int64{}, nodeID: unknown}
	v.dirs[path] = d
	_, err := v.fs.Stat(filepath.Join(path, markerName))
	d.clean = err == nil
	for _, name := range checkpointNames {
		data, err := vfs.ReadFile(v.fs, filepath.Join(path, name))
		if err != nil {
			continue
		}
		d.around = true
		list, err := decodeOffsets(data)
		if err != nil {
			continue
		}
		d.offsets[name] = map[string]int64{}
		for _, e := range list {
			d.offsets[name][fmt.Sprintf("%s-%d", e.Topic, e.Partition)] = e.Offset
		}
	}
	if data, err := vfs.ReadFile(v.fs, filepath.Join(path, propertiesName)); err == nil {
		d.around = true
		if p, err := parseProperties(data); err == nil {
			d.nodeID, d.id, d.clusterID = p.nodeID, p.directoryID, p.clusterID
		}
	}
	if v.probe {
		if pid, err := Running(path); err == nil && pid != 0 {
			v.running = append(v.running, RunningBroker{Directory: path, PID: pid})
		}
	}
	return d
}

// promise collects what is known of a partition from outside.
func (d *directory) promise(p *Partition) promise {
	on := promise{clean: d.clean, around: d.around, recovery: unknown, high: unknown, start: unknown, cluster: d.v.cluster}
	get := func(file string) int64 {
		if offset, ok := d.offsets[file][p.Name]; ok && !p.Stray && !p.Future {
			return offset
		}
		return unknown
	}
	on.recovery, on.high, on.start = get(recoveryName), get(highName), get(startName)
	if _, cleaned := d.offsets[cleanerName][p.Name]; cleaned || p.Topic == "__consumer_offsets" || p.Topic == "__transaction_state" {
		on.compacted, on.policy = true, true
	} else if c := d.v.cluster; p.isMetadata() {
		on.policy = true
	} else if c != nil {
		on.compacted, on.policy = c.compacted(p.Topic)
	}
	if on.start >= 0 && len(p.Segments) > 0 {
		on.start = max(on.start, p.Segments[0].Base)
	}
	return on
}

// run checks all partitions, the largest first, then what is compared with all
// of them.
func (v *verifier) run(trees []*Tree) error {
	var work []*Partition
	for _, t := range trees {
		if t.Kind == TargetFile {
			if err := v.file(t.Path); err != nil {
				return err
			}
		}
		work = append(work, t.Partitions...)
	}
	slices.SortStableFunc(work, func(a, b *Partition) int { return cmp.Compare(b.Bytes(), a.Bytes()) })
	next := make(chan *Partition)
	var wait sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for range min(v.workers, len(work)) {
		wait.Go(func() {
			for p := range next {
				d := v.dirs[filepath.Dir(p.Path)]
				r, err := v.partition(p, d.promise(p))
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					d.outcomes = append(d.outcomes, checked{r.Partition, r.out})
					v.results[p.Path] = r
				}
				mu.Unlock()
			}
		})
	}
	for _, p := range work {
		next <- p
	}
	close(next)
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, t := range trees {
		if t.Kind == TargetDirectory {
			v.dirs[t.Path].check()
		}
	}
	for _, d := range v.dirs {
		if d.target == nil && len(d.only) > 0 {
			for _, name := range checkpointNames {
				d.checkFile(name)
			}
		}
	}
	return v.e.ctx.Err()
}

// result is what came out of the check of one partition, and what it was held
// against.
type result struct {
	*Partition
	on     promise
	out    outcome
	report *collector
}

func (v *verifier) partition(p *Partition, on promise) (*result, error) {
	if err := v.e.ctx.Err(); err != nil {
		return nil, err
	}
	if r := v.known[p.Path]; r != nil && r.on == on {
		v.e.report.bytes.Add(r.report.bytes.Load())
		v.e.report.merge(r.report)
		return r, nil
	}
	e := *v.e
	e.report = v.e.report.part()
	r := &result{Partition: p, on: on, report: e.report}
	c := &checker{e: &e, fs: v.fs, p: p, on: on}
	var err error
	r.out, err = c.run()
	if err == nil && p.isMetadata() {
		err = v.metadataFiles(&e, p, on)
	}
	r.Partition = c.p
	v.e.report.merge(e.report)
	return r, err
}

// file checks one file, by what its name says it is. A file of a segment is
// checked together with the rest of its segment.
func (v *verifier) file(path string) error {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	entries, err := v.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	base, suffix, ok := segment.ParseName(name)
	if strings.HasSuffix(name, checkpointSuffix) {
		return v.snapshotLog(v.e, path, "")
	}
	if !ok {
		d := v.directory(dir)
		if slices.Contains(directoryFiles, name) {
			d.checkFile(name)
			return nil
		}
		if isJournal(name) || isKeptJournal(name) {
			d.checkJournal()
			return nil
		}
		return fmt.Errorf("%s: %w: expected a file of a partition or of a log directory, by its name", path, fs.ErrInvalid)
	}
	p, err := scanPartition(v.fs, dir, entries)
	if err != nil {
		return err
	}
	p.Segments = slices.DeleteFunc(p.Segments, func(s Segment) bool { return s.Base != base })
	p.Leftovers, p.Orphans, p.Unknown, p.Metadata, p.HasEpochs = nil, nil, nil, nil, false
	p.Snapshots = slices.DeleteFunc(p.Snapshots, func(at int64) bool { return at != base || suffix != segment.SnapshotSuffix })
	if suffix == segment.SnapshotSuffix {
		p.Segments = nil
		newProducerCheck(&checker{e: v.e, fs: v.fs, p: p})
		return nil
	}
	on := v.directory(filepath.Dir(dir)).promise(p)
	on.recovery, on.high, on.start = unknown, unknown, unknown
	v.e.report.total.Add(p.Bytes())
	c := &checker{e: v.e, fs: v.fs, p: p, on: on, single: true}
	_, err = c.run()
	return err
}

// watch calls the progress function until the returned one is called.
func (v *verifier) watch() (stop func()) {
	if v.notify == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	tick := time.NewTicker(200 * time.Millisecond)
	go func() {
		defer close(ended)
		for {
			select {
			case <-tick.C:
				v.notify(v.e.report.bytes.Load(), v.e.report.total.Load())
			case <-done:
				return
			}
		}
	}()
	return func() { tick.Stop(); close(done); <-ended }
}
