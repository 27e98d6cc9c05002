package fsck

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// manifestName is the file of an evidence directory that says what was done.
const manifestName = "repair.json"

// replaced is a range of a log that a repair changed, as the manifest has it.
type replaced struct {
	File     string `json:"file"`
	Position int64  `json:"position"` // in the old file
	Length   int64  `json:"length"`
	Saved    string `json:"saved,omitempty"` // where the old bytes are, in the evidence directory
	With     []byte `json:"with,omitempty"`  // the new bytes
}

// manifest is the content of manifestName.
type manifest struct {
	*RepairReport
	Ranges []replaced `json:"ranges,omitempty"`
	Files  []string   `json:"files,omitempty"` // kept whole in the evidence directory
}

// evidenceDir chooses the directory for what is replaced.
func (r *repairer) evidenceDir() string {
	if r.o.Evidence != "" {
		return filepath.Clean(r.o.Evidence)
	}
	near := r.targets[0]
	if root := r.roots[0]; r.isRoot(root) {
		near = root // nothing but partitions may lie within a log directory
	}
	name := fmt.Sprintf("%s.logcheck-%s", near, r.o.Now.UTC().Format("20060102T150405Z"))
	for i, wanted := 1, name; ; i++ {
		if _, err := r.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
		name = fmt.Sprintf("%s-%d", wanted, i)
	}
}

// kept names the place of a file in the evidence directory.
func (r *repairer) kept(name string) string {
	for _, root := range r.roots {
		if rest, err := filepath.Rel(filepath.Dir(root), name); err == nil && filepath.IsLocal(rest) {
			return filepath.Join(r.report.Evidence, rest)
		}
	}
	return filepath.Join(r.report.Evidence, filepath.Base(filepath.Dir(name)), filepath.Base(name))
}

// commit keeps the evidence and lets the staged files take their places.
func (r *repairer) commit() error {
	if err := r.keep(); err != nil {
		return fmt.Errorf("keep evidence in %s: %w", r.report.Evidence, err)
	}
	touched := map[string]bool{}
	// From the end of a log on: whenever it stops, what is there is a log that is shorter.
	gone := slices.Sorted(maps.Keys(r.view.gone))
	slices.Reverse(gone)
	for _, name := range gone {
		if r.asides[name] || isJournal(filepath.Base(name)) {
			continue
		}
		if err := r.move(name); err != nil {
			return err
		}
		touched[filepath.Dir(name)] = true
	}
	names := slices.SortedFunc(maps.Keys(r.view.files), func(a, b string) int {
		if x, y := rank(a), rank(b); x != y {
			return x - y
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		touched[filepath.Dir(name)] = true
		if err := r.replace(name); err != nil {
			return err
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(r.asides)) {
		if err := r.moveAll(dir); err != nil {
			return err
		}
		touched[filepath.Dir(dir)] = true
		delete(touched, dir)
	}
	for _, dir := range slices.Sorted(maps.Keys(touched)) {
		if r.asides[dir] {
			continue
		}
		if err := r.fs.SyncDir(dir); err != nil {
			return &vfs.SyncError{Err: err}
		}
	}
	// A journal goes when the logs have what it has.
	for _, name := range gone {
		if !isJournal(filepath.Base(name)) {
			continue
		}
		if err := r.move(name); err != nil {
			return err
		}
		if err := r.fs.SyncDir(filepath.Dir(name)); err != nil {
			return &vfs.SyncError{Err: err}
		}
	}
	return nil
}

// rank puts logs before what is made from them.
func rank(name string) int {
	switch {
	case strings.HasSuffix(name, segment.LogSuffix):
		return 0
	case slices.Contains(directoryFiles, filepath.Base(name)):
		return 2
	}
	return 1
}

// replace gives a file its new content.
func (r *repairer) replace(name string) error {
	s := r.view.files[name]
	if s.limit < 0 {
		return r.fs.Rename(s.path, name)
	}
	f, err := r.fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = f.Truncate(s.limit); err == nil {
		err = vfs.Sync(f)
	}
	return errors.Join(err, f.Close())
}

// move takes a file to the evidence directory, which keep has made for it.
func (r *repairer) move(name string) error {
	to := r.kept(name)
	if _, err := r.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := r.fs.Rename(name, to); err == nil {
		return r.fs.SyncDir(filepath.Dir(to))
	}
	// It is on another disk.
	if err := (edits{}).write(r.fs, name, r.fs, to); err != nil {
		return err
	}
	if err := r.fs.SyncDir(filepath.Dir(to)); err != nil {
		return &vfs.SyncError{Err: err}
	}
	return r.fs.Remove(name)
}

// moveAll takes a partition directory to the evidence directory. Where that is
// on another disk it is copied, and goes under a name that says that it is
// deleted: whenever this stops, what is there is whole or of no meaning.
func (r *repairer) moveAll(dir string) error {
	to := r.kept(dir)
	if err := r.fs.Rename(dir, to); err == nil {
		return r.fs.SyncDir(filepath.Dir(to))
	}
	if err := r.copyAll(dir, to); err != nil {
		return err
	}
	if err := r.fs.SyncDir(filepath.Dir(to)); err != nil {
		return &vfs.SyncError{Err: err}
	}
	var id [16]byte
	copy(id[:], fmt.Sprintf("logcheck%08x", uint32(r.o.Now.Unix())))
	deleted := fmt.Sprintf("%s.%x-delete", dir, id)
	if err := r.fs.Rename(dir, deleted); err != nil {
		return err
	}
	if err := r.fs.SyncDir(filepath.Dir(dir)); err != nil {
		return &vfs.SyncError{Err: err}
	}
	return r.fs.RemoveAll(deleted)
}

// copyAll copies a directory, durably but for its name.
func (r *repairer) copyAll(dir, to string) error {
	if err := r.fs.MkdirAll(to, 0o755); err != nil {
		return err
	}
	list, err := r.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		one := func() error {
			return (edits{}).write(r.fs, filepath.Join(dir, e.Name()), r.fs, filepath.Join(to, e.Name()))
		}
		if e.IsDir() {
			one = func() error { return r.copyAll(filepath.Join(dir, e.Name()), filepath.Join(to, e.Name())) }
		}
		if err := one(); err != nil {
			return err
		}
	}
	if err := r.fs.SyncDir(to); err != nil {
		return &vfs.SyncError{Err: err}
	}
	return nil
}

// keep copies what will be replaced and writes down what will be done, all of
// it durable.
func (r *repairer) keep() error {
	m := manifest{RepairReport: r.report}
	dirs := map[string]bool{r.report.Evidence: true}
	place := func(name string) (string, error) {
		to := r.kept(name)
		dir := filepath.Dir(to)
		if !dirs[dir] {
			dirs[dir] = true
			if err := r.fs.MkdirAll(dir, 0o755); err != nil {
				return "", err
			}
		}
		return to, nil
	}
	if err := r.fs.MkdirAll(r.report.Evidence, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(r.view.gone)) {
		if _, err := place(name); err != nil {
			return err
		}
		m.Files = append(m.Files, name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.view.files)) {
		to, err := place(name)
		if err != nil {
			return err
		}
		if plan := r.logs[name]; plan != nil {
			if err := r.keepRanges(name, to, plan, &m); err != nil {
				return err
			}
			continue
		}
		if _, err := r.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
			continue // there was none
		}
		if err := (edits{}).write(r.fs, name, r.fs, to); err != nil {
			return err
		}
		m.Files = append(m.Files, name)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(r.fs, filepath.Join(r.report.Evidence, manifestName), text); err != nil {
		return err
	}
	// The directories between evidence and files have names, too.
	for dir := range maps.Clone(dirs) {
		for up := filepath.Dir(dir); len(up) >= len(filepath.Dir(r.report.Evidence)); up = filepath.Dir(up) {
			dirs[up] = true
			if up == filepath.Dir(up) {
				break
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := r.fs.SyncDir(dir); err != nil {
			return &vfs.SyncError{Err: err}
		}
	}
	return nil
}

// keepRanges copies the ranges of a log that will be others.
func (r *repairer) keepRanges(name, to string, plan *logPlan, m *manifest) error {
	for _, e := range plan.edits {
		entry := replaced{File: name, Position: e.from, Length: e.to - e.from, With: e.bytes}
		if entry.Length > 0 {
			saved := fmt.Sprintf("%s.%d-%d", to, e.from, e.to)
			only := edits{{from: 0, to: e.from}, {from: e.to, to: plan.size}}
			if e.from == 0 {
				only = only[1:]
			}
			if err := only.write(r.fs, name, r.fs, saved); err != nil {
				return err
			}
			entry.Saved, _ = filepath.Rel(r.report.Evidence, saved)
		}
		m.Ranges = append(m.Ranges, entry)
	}
	return nil
}
