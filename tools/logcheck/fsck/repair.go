package fsck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/engine/vfs"
	"golang.org/x/sys/unix"
)

// Policy says what a repair does about damage that nothing on disk can undo.
type Policy string

// The policies. What is proven is mended and torn tails are cut under all of
// them.
const (
	// PolicyStop leaves such a partition as it is.
	PolicyStop Policy = "stop"
	// PolicyCut takes the damaged bytes out of the log. Empty batches hold the place of the offsets that are gone,
	// so that no offset is ever given to another record.
	PolicyCut Policy = "cut"
	// PolicyTruncate ends the log in front of the damage, as Kafka does: a replica then fetches the rest again.
	PolicyTruncate Policy = "truncate"
	// PolicyQuarantine moves the whole partition to the evidence directory; a broker makes it anew.
	PolicyQuarantine Policy = "quarantine"
)

// Policies are all of them, the most careful first.
var Policies = []Policy{PolicyStop, PolicyCut, PolicyTruncate, PolicyQuarantine}

// RepairOptions say how Repair works. The zero value mends what is proven, on
// the real disk.
type RepairOptions struct {
	// FS is the disk, vfs.OS when nil.
	FS vfs.FS
	// Damage is the policy, PolicyStop when empty.
	Damage Policy
	// DryRun makes the plan and changes nothing. What it must write to see the outcome of the plan goes to the
	// system's directory for temporary files: as many bytes as the segments and indexes have that would be changed.
	DryRun bool
	// Evidence is the directory that keeps what is replaced; when empty it is made beside the log directory, named
	// after it and the time.
	Evidence string
	// Now dates the evidence, time.Now when zero.
	Now time.Time
	// Workers and DecodeLimit are those of Options.
	Workers, DecodeLimit int
	// Lock takes the lock of every log directory concerned for as long as it works, and refuses where a broker has
	// it. Not for use inside a broker.
	Lock bool
	// Progress is that of Options; it begins again with each pass.
	Progress func(read, total int64)
}

// ErrRunning says that a broker holds the lock of a directory that was to be
// repaired.
var ErrRunning = errors.New("a broker is running")

// stagedSuffix ends the names of files that are to take the place of others.
const stagedSuffix = ".repaired"

// maxPasses bounds how often a directory is checked again with what was
// planned: damage can hide other damage.
const maxPasses = 200

// Repair mends targets: log.dirs entries, partition directories and files; for
// a file of a partition, the whole partition.
//
// It checks the targets deeply, plans, writes the new files beside the old
// ones, and checks again what the directory will be with them, until nothing
// is left that it could mend. Only then it keeps what it replaces in the
// evidence directory and renames. Every file is at any moment the old one or
// the new one, so after an interruption it can be run again.
func Repair(ctx context.Context, targets []string, o RepairOptions) (_ *RepairReport, err error) {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	o.Damage = cmp.Or(o.Damage, PolicyStop)
	if !slices.Contains(Policies, o.Damage) {
		return nil, fmt.Errorf("policy %q: expected one of %v", o.Damage, Policies)
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	r := &repairer{
		ctx: ctx, o: o, fs: o.FS, view: newOverlay(o.FS), logs: map[string]*logPlan{}, asides: map[string]bool{}, stopped: map[string]string{}, lowered: map[string]bool{}, accepted: map[string]bool{}, tried: map[string]int{},
		report: &RepairReport{DryRun: o.DryRun, Damage: o.Damage, Actions: []Action{}, Left: []Finding{}},
	}
	began := time.Now()
	if err := r.resolve(targets); err != nil {
		return nil, err
	}
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := r.sweep(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.clear()) }()
	if err := r.plan(); err != nil {
		return nil, err
	}
	if len(r.report.Actions) > 0 {
		r.report.Evidence = r.evidenceDir()
		r.report.Lost = mergeLosses(r.report.Lost)
		if !o.DryRun {
			if err := r.commit(); err != nil {
				return nil, err
			}
		}
	}
	r.finish()
	r.report.Seconds = time.Since(began).Seconds()
	return r.report, nil
}

// repairer is one Repair.
type repairer struct {
	ctx     context.Context
	o       RepairOptions
	fs      vfs.FS
	view    *overlay
	targets []string
	file    string   // the only file of a log directory that may be changed, empty for all
	roots   []string // log directories around the targets
	report  *RepairReport

	logs     map[string]*logPlan
	asides   map[string]bool   // partition directories that go
	stopped  map[string]string // partition directories that are left, and why
	accepted map[string]bool   // segments at whose beginning or end something is gone for good
	lowered  map[string]bool   // partition directories whose checkpoints may say less than they did
	tried    map[string]int    // files made again, and how often

	known    map[string]*result
	cluster  *cluster
	settled  bool // cluster is that of the last pass
	scratch  string
	numbered int      // files in it
	written  []string // staged files on disk
	last     *Report
}

// logPlan is what becomes of a file of batches.
type logPlan struct {
	edits edits
	size  int64 // now
}

// resolve finds out what to check for the targets: a file of a partition
// stands for the partition.
func (r *repairer) resolve(targets []string) error {
	for _, target := range targets {
		t, err := Scan(r.fs, target)
		if err != nil {
			return err
		}
		root := t.Path
		switch {
		case t.Kind == TargetPartition:
			root = filepath.Dir(t.Path)
		case t.Kind == TargetFile && slices.Contains(directoryFiles, filepath.Base(t.Path)):
			root = filepath.Dir(t.Path)
			r.file = t.Path
			t.Path = root
			if len(targets) > 1 {
				return fmt.Errorf("%s: a file of a log directory is repaired by itself, expected no other target", target)
			}
		case t.Kind == TargetFile && isJournal(filepath.Base(t.Path)):
			return fmt.Errorf("%s: expected the log directory as the target: a journal is redone into its logs", target)
		case t.Kind == TargetFile:
			t.Path = filepath.Dir(t.Path)
			root = filepath.Dir(t.Path)
		}
		if !slices.Contains(r.targets, t.Path) {
			r.targets = append(r.targets, t.Path)
		}
		if !slices.Contains(r.roots, root) {
			r.roots = append(r.roots, root)
		}
	}
	r.report.Targets = targets
	return nil
}

// isRoot says whether a directory looks like a log.dirs entry.
func (r *repairer) isRoot(dir string) bool {
	for _, name := range [...]string{propertiesName, lockName, recoveryName} {
		if _, err := r.fs.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// lock takes the locks of the log directories.
func (r *repairer) lock() (unlock func(), err error) {
	var held []io.Closer
	unlock = func() {
		for _, l := range held {
			l.Close() // the lock goes with the descriptor whatever it answers
		}
	}
	if !r.o.Lock {
		return unlock, nil
	}
	for _, root := range r.roots {
		if !r.isRoot(root) {
			continue
		}
		pid, err := Running(root)
		if err == nil && pid != 0 {
			err = fmt.Errorf("%s: %w there, process %d: stop it first", root, ErrRunning, pid)
		}
		if err == nil && !r.o.DryRun {
			var l io.Closer
			name := filepath.Join(root, lockName)
			_, missing := r.fs.Stat(name)
			if l, err = r.fs.Lock(name); err == nil {
				held = append(held, l)
				if missing != nil && r.fs == vfs.OS {
					err = sameOwner(name+".old", name) // as the directory's: a broker must be able to lock it
				}
			} else if errors.Is(err, vfs.ErrLocked) {
				err = fmt.Errorf("%s: %w there: stop it first", root, ErrRunning)
			}
		}
		if err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// sweep removes what an interrupted repair had staged.
func (r *repairer) sweep() error {
	if r.o.DryRun {
		return nil
	}
	dirs := slices.Clone(r.roots)
	for _, target := range r.targets {
		t, err := Scan(r.fs, target)
		if err != nil {
			return err
		}
		for _, p := range t.Partitions {
			dirs = append(dirs, p.Path)
		}
	}
	for _, dir := range dirs {
		list, err := r.fs.ReadDir(dir)
		if err != nil {
			continue // the check says so
		}
		for _, e := range list {
			if !strings.HasSuffix(e.Name(), stagedSuffix) || e.IsDir() {
				continue
			}
			if err := r.fs.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// clear removes staged files that were not used.
func (r *repairer) clear() (err error) {
	for _, name := range r.written {
		if e := r.fs.Remove(name); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if r.scratch != "" {
		err = errors.Join(err, vfs.OS.RemoveAll(r.scratch))
	}
	return err
}

// stage makes the future content of name with write, which is given where to
// put it, and lets it be seen.
func (r *repairer) stage(name string, write func(f vfs.FS, path string) error) error {
	f, path := r.fs, name+stagedSuffix
	if r.o.DryRun {
		if r.scratch == "" {
			dir, err := os.MkdirTemp("", "logcheck-")
			if err != nil {
				return err
			}
			r.scratch = dir
		}
		f, path = vfs.OS, filepath.Join(r.scratch, fmt.Sprint(r.numbered))
		if old, ok := r.view.files[name]; ok && old.limit < 0 {
			path = old.path
		}
		r.numbered++
	} else if !slices.Contains(r.written, path) {
		r.written = append(r.written, path)
	}
	err := write(f, path)
	if err == nil && f == vfs.OS && !r.o.DryRun {
		err = sameOwner(name, path)
	}
	if err != nil {
		return fmt.Errorf("plan %s: %w", name, err)
	}
	r.view.put(name, staged{f, path, -1})
	return nil
}

// sameOwner gives the new file the owner and the permissions of the old one, or
// the owner of the directory: whoever repairs, a broker must be able to write it.
func sameOwner(name, path string) error {
	var old, now unix.Stat_t
	if err := unix.Stat(path, &now); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	mode := uint32(0o644)
	err := unix.Stat(name, &old)
	if err == nil {
		mode = old.Mode & 0o7777
	} else if err = unix.Stat(filepath.Dir(name), &old); err != nil {
		return &os.PathError{Op: "stat", Path: filepath.Dir(name), Err: err}
	}
	if old.Uid != now.Uid || old.Gid != now.Gid {
		if err := os.Chown(path, int(old.Uid), int(old.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(path, os.FileMode(mode&0o777))
}

// plan checks and plans until there is nothing more to do.
func (r *repairer) plan() error {
	for pass := 0; ; pass++ {
		v, err := r.check()
		if err != nil {
			return err
		}
		if pass == 0 {
			r.report.Before = r.last.Counts
		}
		if pass == maxPasses {
			return nil // what is left is in the last report
		}
		changed, err := r.step(v)
		if err != nil || len(changed) == 0 {
			return err
		}
		r.known = maps.Clone(v.results)
		r.settled = true
		for _, name := range changed {
			dir := filepath.Dir(name)
			delete(r.known, dir)
			delete(r.known, name)
			if filepath.Base(dir) == metadataName {
				r.settled = false
			}
		}
		r.cluster = v.cluster
	}
}

// check looks at the targets as they will be.
func (r *repairer) check() (*verifier, error) {
	v := newVerifier(r.ctx, Options{FS: r.view, Deep: true, Workers: r.o.Workers, DecodeLimit: r.o.DecodeLimit, Progress: r.o.Progress, MaxFindings: 100_000})
	v.known = r.known
	if r.settled {
		v.cluster, v.settled = r.cluster, true
	}
	report, err := v.verify(r.targets)
	r.last = report
	return v, err
}

// step plans what follows from one check and names the files that it changes.
// Logs come first, those of the metadata before the others: what is beside them
// is held against them.
func (r *repairer) step(v *verifier) (changed []string, err error) {
	p := &planner{repairer: r, v: v}
	for _, d := range p.directories() {
		if err := p.redo(d); err != nil {
			return nil, err
		}
	}
	if len(p.changed) > 0 {
		return p.changed, nil
	}
	for _, part := range p.partitions() {
		if part.isMetadata() {
			if err := p.logs(part); err != nil || len(p.changed) > 0 {
				return p.changed, err
			}
		}
	}
	for _, part := range p.partitions() {
		if part.isMetadata() {
			continue
		}
		if err := p.logs(part); err != nil {
			return nil, err
		}
	}
	if len(p.changed) > 0 {
		return p.changed, nil
	}
	for _, d := range p.directories() {
		if err := p.starts(d); err != nil || len(p.changed) > 0 {
			return p.changed, err
		}
	}
	for _, part := range p.partitions() {
		if err := p.beside(part); err != nil {
			return nil, err
		}
	}
	for _, d := range p.directories() {
		if err := p.directory(d); err != nil {
			return nil, err
		}
	}
	return p.changed, nil
}

// finish says what is left.
func (r *repairer) finish() {
	c := &collector{maximum: 10_000}
	for _, f := range r.last.Findings {
		if !r.asides[f.File] {
			c.add(f)
		}
	}
	report := c.result(true)
	r.report.Left = report.Findings
	r.report.After = r.last.Counts
	r.report.Status = report.Status
	if r.o.DryRun && len(r.report.Actions) > 0 {
		r.report.Status = max(r.report.Status, StatusFindings)
	}
}
