package engine

import (
	"fmt"
	"path/filepath"
	"strings"
)

// DeleteLog takes a log out of the store: its directory is renamed
// name.<32 hex>-delete, durably, and removed after file.delete.delay.ms.
func (st *Store) DeleteLog(name string) error {
	return st.takeOut(name, deleteSuffix)
}

// MarkStray renames a partition directory that the metadata does not know to
// name.<32 hex>-stray. It is never removed.
func (st *Store) MarkStray(dir, name string) error {
	d, err := st.directory(dir)
	if err != nil {
		return err
	}
	if err := d.begin(); err != nil {
		return err
	}
	if _, err = st.setAside(d, name, straySuffix); err != nil {
		return err
	}
	return d.forget(name)
}

func (st *Store) takeOut(name, suffix string) error {
	st.mu.Lock()
	l := st.logs[name]
	delete(st.logs, name)
	st.mu.Unlock()
	if l == nil {
		return fmt.Errorf("log %s: %w", name, ErrNotFound)
	}
	for {
		next, err := l.takenOut(suffix)
		if next == nil {
			return err
		}
		l = next // it was moved just then
	}
}

// takenOut does it with a log that nobody finds any more, or says where that is now.
func (l *Log) takenOut(suffix string) (moved *Log, err error) {
	// Neither a checkpoint nor a cleaning under way may write to files of a later
	// log of that name.
	defer l.pauseCleaning()()
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	l.write.Lock()
	defer l.write.Unlock()
	if n := l.successor.Load(); n != nil {
		return n, nil
	}
	return nil, l.leave(suffix)
}

// leave closes a log and sets its directory aside; it is removed after file.delete.delay.ms. Every lock of the log is held.
func (l *Log) leave(suffix string) error {
	st, name := l.store, l.name
	l.write.closed = true
	l.removed.Store(true)
	// What was waiting for a sync may still get it; the files keep their
	// handles through the rename. By name they are not to be found any more:
	// there may be another log's.
	for _, s := range *l.segments.Load() {
		s.Detach()
	}
	moved, err := st.setAside(l.dir, name, suffix)
	if err != nil && l.successor.Load() == nil {
		return err
	}
	delay := l.config.Load().FileDeleteDelayMs
	for _, s := range *l.segments.Load() {
		s.Retire(nil)
	}
	l.forgetSwap()
	if err != nil {
		return err
	}
	st.jobs.after(delay, func() { st.removeTree(moved) })
	// Should this fail, creating a log of that name does it first.
	if err := l.dir.forget(name); err != nil && !isNoSpace(err) {
		return l.writeFailed(err)
	}
	return nil
}

// unique is what makes a name that is used once: a dot, 32 hexadecimal digits and the suffix.
func (st *Store) unique(suffix string) string {
	unique := make([]byte, 0, 32)
	for range 32 {
		unique = append(unique, "0123456789abcdef"[st.random(15)])
	}
	return "." + string(unique) + suffix
}

func (st *Store) setAside(d *directory, name, suffix string) (string, error) {
	rest := st.unique(suffix)
	to := name
	// Kafka keeps the whole name within 255 characters.
	if len(to)+len(rest) > 255 {
		to = to[:255-len(rest)]
	}
	moved := filepath.Join(d.path, to+rest)
	if err := st.opt.FS.Rename(filepath.Join(d.path, name), moved); err != nil {
		return "", fmt.Errorf("log %s: %w", name, err)
	}
	return moved, st.opt.FS.SyncDir(d.path)
}

func (st *Store) removeTree(path string) {
	if err := st.opt.FS.RemoveAll(path); err != nil {
		st.opt.Logger.Warn("cannot remove a deleted log; it goes at the next start", "dir", path, "error", err)
	}
}

// RemoveDeleted queues what earlier owners left for deletion (-delete
// directories) for removal.
func (st *Store) RemoveDeleted() error {
	for _, d := range st.dirs {
		entries, err := st.opt.FS.ReadDir(d.path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() && strings.HasSuffix(e.Name(), deleteSuffix) && strings.Contains(e.Name(), ".") {
				path := filepath.Join(d.path, e.Name())
				st.jobs.after(DefaultFileDeleteDelayMs, func() { st.removeTree(path) })
			}
		}
	}
	return nil
}
