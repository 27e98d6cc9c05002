package fsck

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/journal"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// isJournal says whether a name is that of a file of Gregor's commit journal, isKeptJournal that of one put aside.
func isJournal(name string) bool { return slices.Contains(journal.Names[:], name) }

func isKeptJournal(name string) bool {
	before, rest, ok := strings.Cut(name, journal.KeptSuffix)
	return ok && isJournal(before) && (rest == "" || strings.HasPrefix(rest, "-"))
}

// redoing is what the next start of Gregor would do with the journal of a log directory.
type redoing struct {
	journal.Redone
	files   []string        // of the journal
	logs    map[string]bool // that it has entries of
	missing []edit          // one for each of names
	names   []string        // the logs' files that lack something, sorted
	damage  []*journal.DamagedError
}

// redoJournal looks at it, and changes nothing; nil where there is no journal.
func redoJournal(f vfs.FS, dir string) (*redoing, error) {
	r := &redoing{logs: map[string]bool{}}
	for _, name := range journal.Names {
		if _, err := f.Stat(filepath.Join(dir, name)); err == nil {
			r.files = append(r.files, filepath.Join(dir, name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if len(r.files) == 0 {
		return nil, nil
	}
	try := &tryout{FS: f, logs: map[string]*tryoutFile{}}
	var err error
	r.Redone, err = journal.Redo(try, dir, func(path string) ([16]byte, error) {
		r.logs[filepath.Base(path)] = true
		data, err := vfs.ReadFile(f, filepath.Join(path, topicIDName))
		if errors.Is(err, fs.ErrNotExist) {
			return [16]byte{}, nil
		}
		if err != nil {
			return [16]byte{}, err
		}
		id, err := parseTopicID(data)
		return id, err
	}, nil)
	if r.damage = damages(err); err != nil && len(r.damage) == 0 {
		return nil, err
	}
	for name, file := range try.logs {
		if file.to > 0 {
			r.names = append(r.names, name)
		}
	}
	slices.Sort(r.names)
	for _, name := range r.names {
		file := try.logs[name]
		p := make([]byte, file.to-file.from)
		if err := try.read(name, p, file.from); err != nil {
			return nil, err
		}
		r.missing = append(r.missing, edit{from: file.from, to: min(file.to, file.size), bytes: p})
	}
	return r, nil
}

// damages takes joined errors apart.
func damages(err error) (list []*journal.DamagedError) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			list = append(list, damages(err)...)
		}
		return list
	}
	var d *journal.DamagedError
	if errors.As(err, &d) {
		list = append(list, d)
	}
	return list
}

// tryout is a disk on which logs can be written to, and nothing comes of it.
type tryout struct {
	vfs.FS
	logs map[string]*tryoutFile // by name
}

// tryoutFile is a log's file: what it has, and what was written over it.
type tryoutFile struct {
	vfs.File
	writes   []edit
	size     int64 // on the disk
	from, to int64 // around what was written
}

func (t *tryout) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	if flag&os.O_RDWR == 0 {
		return t.FS.OpenFile(name, flag, perm)
	}
	f, err := t.FS.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	file := t.logs[name]
	if file == nil {
		file = &tryoutFile{}
		if file.size, err = f.Size(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		t.logs[name] = file
	}
	file.File = f
	return file, nil
}

// read reads what a log would have.
func (t *tryout) read(name string, p []byte, at int64) error {
	f, err := t.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	n, err := f.ReadAt(p, at)
	if n == len(p) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

func (f *tryoutFile) Size() (int64, error) { return max(f.size, f.to), nil }
func (f *tryoutFile) Sync() error          { return nil }

func (f *tryoutFile) WriteAt(p []byte, at int64) (int, error) {
	if f.to == 0 {
		f.from = at
	}
	f.from, f.to = min(f.from, at), max(f.to, at+int64(len(p)))
	f.writes = append(f.writes, edit{from: at, to: at + int64(len(p)), bytes: slices.Clone(p)})
	return len(p), nil
}

func (f *tryoutFile) ReadAt(p []byte, at int64) (int, error) {
	n := int(max(min(int64(len(p)), max(f.size, f.to)-at), 0))
	clear(p[:n])
	if there := int(max(min(int64(n), f.size-at), 0)); there > 0 {
		if m, err := f.File.ReadAt(p[:there], at); m < there {
			return 0, cmp.Or(err, io.ErrUnexpectedEOF)
		}
	}
	for _, w := range f.writes {
		if w.from < at+int64(n) && w.to > at {
			copy(p[max(w.from-at, 0):n], w.bytes[max(at-w.from, 0):])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// offsetsOf are those of the batches of an edit.
func (e edit) offsetsOf() (first, last int64) {
	first, last = unknown, unknown
	for p := e.bytes; len(p) > 0; {
		b, rest, err := batch.Next(p)
		if err != nil {
			break
		}
		if first < 0 {
			first = b.BaseOffset()
		}
		last, p = b.LastOffset(), rest
	}
	return first, last
}

// checkJournal says what the journal of the directory has that the logs have not.
func (d *directory) checkJournal() {
	r, err := redoJournal(d.v.fs, d.path)
	if r == nil {
		if err != nil {
			d.report(Finding{Severity: Damage, Kind: KindUnreadable, File: filepath.Join(d.path, journal.Names[0]), Position: -1, Expected: "a journal that can be read", Found: err.Error()})
		}
		return
	}
	for _, e := range r.damage {
		d.report(Finding{Severity: Damage, Kind: KindJournal, File: e.File, Position: e.Position, Offset: unknown, LastOffset: unknown, Expected: e.Expected, Found: "damaged bytes"})
	}
	for i, name := range r.names {
		e := r.missing[i]
		first, last := e.offsetsOf()
		d.v.e.report.completes(name, e)
		d.report(Finding{Severity: Rebuildable, Kind: KindJournal, File: name, Position: e.from, Length: int64(len(e.bytes)), Partition: filepath.Base(filepath.Dir(name)), Offset: first, LastOffset: last,
			Expected: fmt.Sprintf("%d bytes that were acknowledged and stand in the journal", len(e.bytes)), Found: "not these, in a file of " + Size(r.size(d.v.fs, name))})
	}
	for _, log := range r.Foreign {
		d.report(Finding{Severity: Harmless, Kind: KindJournal, File: filepath.Join(d.path, log), Partition: log, Position: -1, Offset: unknown, LastOffset: unknown,
			Expected: "the log that the journal was written for", Found: "one that another broker has cut or written to since", Broker: "Gregor leaves the log as it is and keeps the journal beside it"})
	}
	for log, err := range r.Failed {
		d.report(Finding{Severity: Damage, Kind: KindUnreadable, File: filepath.Join(d.path, log), Partition: log, Position: -1, Expected: "a log that can be completed from the journal", Found: err.Error()})
	}
	if len(r.names)+len(r.damage)+len(r.Foreign)+len(r.Failed) == 0 {
		d.report(Finding{Severity: Harmless, Kind: KindJournal, File: r.files[0], Position: -1, Offset: unknown, LastOffset: unknown,
			Expected: "no journal, as after a clean stop", Found: fmt.Sprintf("one, and the logs have all of its entries, %d", r.Entries), Broker: "Gregor makes sure of it at its next start and removes it; Kafka ignores it"})
	}
}

func (r *redoing) size(f vfs.FS, name string) int64 {
	info, err := f.Stat(name)
	if err != nil {
		return 0
	}
	return info.Size()
}

// completes lets the finding of a torn tail say that the journal has the rest.
func (c *collector) completes(name string, e edit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.findings {
		f := &c.findings[i]
		if f.File == name && f.Severity == TornTail && f.Position >= e.from && f.Position < e.from+int64(len(e.bytes)) {
			f.Broker = "Gregor completes it from the journal of the log directory at its next start; Kafka cuts it, and loses what was acknowledged"
		}
	}
}

// redo plans what the journal of a log directory has for its logs, before anything is cut, and then that the journal goes.
// Where only a part of the directory is looked at, the logs that the journal may complete are left alone.
func (p *planner) redo(d *directory) error {
	r, err := redoJournal(p.view, d.path)
	if err != nil || r == nil {
		return err
	}
	if d.target == nil || p.file != "" {
		for _, part := range p.partitions() {
			if filepath.Dir(part.Path) == d.path && r.logs[part.Name] && p.stopped[part.Path] == "" {
				p.stopped[part.Path] = "the journal of the log directory has entries of it: repair the whole directory"
			}
		}
		return nil
	}
	for i, name := range r.names {
		e := r.missing[i]
		first, last := e.offsetsOf()
		p.act(Action{Kind: ActionRedo, File: name, Partition: filepath.Base(filepath.Dir(name)), Position: e.from, Offset: first, LastOffset: last,
			What: fmt.Sprintf("%d bytes are put back from the journal", len(e.bytes)), Why: "they were acknowledged, and are not in the log"})
		if err := p.edit(name, e); err != nil {
			return err
		}
	}
	if len(r.names) > 0 {
		return nil
	}
	for _, name := range r.files {
		p.view.remove(name)
		p.act(Action{Kind: ActionRemove, File: name, Position: -1, Offset: unknown, LastOffset: unknown,
			What: "moved to the evidence directory", Why: "the logs have what can be had of it"})
	}
	return nil
}

// journal explains a place in a journal's file.
func (x *explainer) journal() error {
	found := false
	err := journal.ReadFile(x.f, x.path, func(e journal.Entry) error {
		if x.position >= e.Record && x.position < e.Record+24 && !found {
			found = true
			x.say("\nThe header of record %d of the journal, from position %d on: length, checksum, generation, sequence.\n", e.Sequence, e.Record)
		}
		if end := e.At + 38 + int64(len(e.Log)+len(e.Bytes)); x.position >= e.At && x.position < end {
			found = true
			first, last := edit{bytes: e.Bytes}.offsetsOf()
			x.say("\nRecord %d of the journal, from position %d on, and in it the entry from %d to %d:\n  %s\n", e.Sequence, e.Record, e.At, end-1, describeJournaled(e, first, last))
		}
		return nil
	})
	switch {
	case err != nil:
		x.say("\nThe journal cannot be read to its end: %v.\n", err)
	case !found && x.position < journal.BlockSize:
		x.say("\nThe first block: magic, generation, size of the file, records of the generation before, and a checksum; zeros in a file that is free.\n")
	case !found:
		x.say("\nNo entry of the journal: padding, free space, or what an earlier generation or a torn write left.\n")
	}
	return nil
}

func describeJournaled(e journal.Entry, first, last int64) string {
	return fmt.Sprintf("%d bytes for %s (topic id %x) at position %d of %s, %s", len(e.Bytes), e.Log, e.ID, e.Position, filepath.Base(segment.FileName("", e.Base, segment.LogSuffix)), offsetWords(first, last))
}

// journal prints the entries of a journal's file.
func (d *dumper) journal(path string) error {
	err := journal.ReadFile(d.FS, path, func(e journal.Entry) error {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		first, last := edit{bytes: e.Bytes}.offsetsOf()
		return d.entry(path, e.At, entryRow{text: describeJournaled(e, first, last), Fields: map[string]any{"record": e.Sequence, "log": e.Log, "topicId": fmt.Sprintf("%x", e.ID),
			"segment": e.Base, "logPosition": e.Position, "length": len(e.Bytes), "offset": first, "lastOffset": last}})
	})
	var damage *journal.DamagedError
	if errors.As(err, &damage) {
		return d.damage(damage.Position, damage.Position, err)
	}
	return err
}
