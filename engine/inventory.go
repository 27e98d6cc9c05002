package engine

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sort"
	"strings"

	"github.com/gregor-broker/gregor/engine/segment"
)

// inventory is what a partition directory holds, leftovers of interrupted
// work already dealt with.
type inventory struct {
	logs      []foundLog // ascending
	snapshots []int64    // ascending
}

type foundLog struct{ base, size int64 }

func (l *Log) inventory() (inventory, error) {
	var inv inventory
	disk := l.store.opt.FS
	entries, err := disk.ReadDir(l.path)
	if err != nil {
		return inv, err
	}
	swapped, err := l.finishSwaps(entries)
	if err == nil && swapped {
		entries, err = disk.ReadDir(l.path)
	}
	if err != nil {
		return inv, err
	}
	logs := map[int64]bool{}
	var indexes []string
	for _, e := range entries {
		base, suffix, ok := segment.ParseName(e.Name())
		if !ok || e.IsDir() {
			continue
		}
		full := filepath.Join(l.path, e.Name())
		switch {
		case strings.HasSuffix(suffix, segment.DeletedSuffix):
			// Taken out of the log by its owner; only the unlinking was left.
			if err := disk.Remove(full); err != nil {
				return inv, err
			}
		case suffix == segment.LogSuffix:
			info, err := e.Info()
			if err != nil {
				return inv, err
			}
			logs[base] = true
			inv.logs = append(inv.logs, foundLog{base, info.Size()})
		case suffix == segment.SnapshotSuffix:
			inv.snapshots = append(inv.snapshots, base)
		case suffix == segment.IndexSuffix, suffix == segment.TimeIndexSuffix, suffix == segment.TxnIndexSuffix:
			indexes = append(indexes, e.Name())
		}
	}
	for _, name := range indexes {
		if base, _, _ := segment.ParseName(name); !logs[base] {
			if err := disk.Remove(filepath.Join(l.path, name)); err != nil {
				return inv, err
			}
		}
	}
	sort.Slice(inv.logs, func(i, j int) bool { return inv.logs[i].base < inv.logs[j].base })
	sort.Slice(inv.snapshots, func(i, j int) bool { return inv.snapshots[i] < inv.snapshots[j] })
	return inv, nil
}

// openSegments opens the segments. An empty one in the middle of its
// predecessor's offsets is what a roll left that found the disk full; the log
// went on without it.
func (l *Log) openSegments(logs []foundLog) ([]*segment.Segment, error) {
	var list []*segment.Segment
	for _, f := range logs {
		s, err := segment.Open(l.path, f.base, f.size, l.segmentOptions())
		if err != nil {
			return nil, err
		}
		if n := len(list); n > 0 && f.size == 0 {
			if _, err := list[n-1].Locate(f.base); err == nil {
				s.Retire(nil)
				if err := l.removeSegment(f.base); err != nil {
					return nil, err
				}
				continue
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// removeSegment removes the files of a segment that holds nothing of the log.
func (l *Log) removeSegment(base int64) error {
	disk := l.store.opt.FS
	for _, kind := range []string{segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix} {
		if err := disk.Remove(segment.FileName(l.path, base, kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return disk.SyncDir(l.path)
}

// dropBelow removes the segments that lie wholly below the start: a crash while
// they were being deleted may have left any of them, with holes in between.
func (l *Log) dropBelow(list []*segment.Segment, start int64) ([]*segment.Segment, error) {
	for len(list) > 1 && list[1].Base() <= start {
		list[0].Retire(nil)
		if err := l.removeSegment(list[0].Base()); err != nil {
			return nil, err
		}
		list = list[1:]
	}
	return list, nil
}

// finishSwaps completes or undoes an interrupted cleaning, by the protocol of
// Kafka's LogLoader: output still named .cleaned is incomplete and goes,
// together with .swap files at or above it; the other .swap files are whole,
// so the segments they replace go and they take their names. It reports whether
// the directory is no longer what entries say.
func (l *Log) finishSwaps(entries []fs.DirEntry) (swapped bool, err error) {
	disk := l.store.opt.FS
	incomplete := int64(-1)
	var cleaned, swaps []string
	for _, e := range entries {
		base, suffix, ok := segment.ParseName(e.Name())
		switch {
		case ok && strings.HasSuffix(suffix, segment.CleanedSuffix):
			cleaned = append(cleaned, e.Name())
			if incomplete < 0 || base < incomplete {
				incomplete = base
			}
		case ok && strings.HasSuffix(suffix, segment.SwapSuffix):
			swaps = append(swaps, e.Name())
		}
	}
	if len(cleaned)+len(swaps) == 0 {
		return false, nil
	}
	var errs []error
	remove := func(name string) { errs = append(errs, disk.Remove(filepath.Join(l.path, name))) }
	var whole []string
	from, to := int64(-1), int64(-1)
	for _, name := range swaps {
		base, suffix, _ := segment.ParseName(name)
		if incomplete >= 0 && base >= incomplete {
			remove(name)
			continue
		}
		whole = append(whole, name)
		if suffix != segment.LogSuffix+segment.SwapSuffix {
			continue
		}
		next, err := l.swapEnd(name, base)
		if err != nil {
			return true, err
		}
		if from < 0 || base < from {
			from = base
		}
		to = max(to, next)
	}
	// The .cleaned files go last: without one the rest would pass for a whole.
	if len(whole) < len(swaps) {
		errs = append(errs, disk.SyncDir(l.path))
	}
	if err := errors.Join(errs...); err != nil {
		return true, err
	}
	for _, name := range cleaned {
		remove(name)
	}
	for _, e := range entries {
		base, suffix, ok := segment.ParseName(e.Name())
		if !ok || base < from || base >= to || len(whole) == 0 {
			continue
		}
		switch suffix {
		case segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix:
			remove(e.Name())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return true, err
	}
	// Each step is durable before the next: the old segments go before a new
	// one appears, and a .log takes its name before its indexes do, so that
	// after a crash here the range to replace, which .log.swap files say, never
	// has new indexes in it.
	if err := disk.SyncDir(l.path); err != nil {
		return true, err
	}
	for _, logs := range []bool{true, false} {
		for _, name := range whole {
			to := strings.TrimSuffix(name, segment.SwapSuffix)
			if strings.HasSuffix(to, segment.LogSuffix) != logs {
				continue
			}
			if err := disk.Rename(filepath.Join(l.path, name), filepath.Join(l.path, to)); err != nil {
				return true, err
			}
		}
		if err := disk.SyncDir(l.path); err != nil {
			return true, err
		}
	}
	return true, nil
}

// swapEnd finds the offset behind the last batch of a .log.swap file.
func (l *Log) swapEnd(name string, base int64) (int64, error) {
	info, err := l.store.opt.FS.Stat(filepath.Join(l.path, name))
	if err != nil {
		return 0, err
	}
	s, err := segment.OpenSwapped(l.path, base, info.Size(), l.segmentOptions())
	if err != nil {
		return 0, err
	}
	defer s.Retire(nil)
	end := base
	err = s.Headers(func(h segment.Header) { end = h.LastOffset + 1 })
	return end, err
}
