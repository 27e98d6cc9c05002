package fsck

import (
	"fmt"
	"math/bits"
	"path/filepath"
	"slices"
	"sort"
	"strconv"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/epoch"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// maxRuns bounds how many changes of the leader epoch are kept of a log.
const maxRuns = 1 << 16

// epochRun is a run of batches of one leader epoch.
type epochRun struct {
	epoch       int32
	first, last int64 // offsets
	count       int64
	file        string
	position    int64 // of the first batch
	second      int64 // offset of the second batch
	// The last batch, when there are several.
	lastBase, lastPosition int64
	lastFile               string
}

type epochRuns struct {
	list []epochRun
	more bool // there were more than are kept
}

func (r *epochRuns) add(h head, file string) {
	if h.magic != batch.Magic {
		return
	}
	if n := len(r.list); n > 0 && r.list[n-1].epoch == h.epoch {
		l := &r.list[n-1]
		if l.count++; l.count == 2 {
			l.second = h.base
		}
		l.last, l.lastBase, l.lastPosition, l.lastFile = h.last, h.base, h.from, file
		return
	}
	if len(r.list) == maxRuns {
		r.more = true
		return
	}
	r.list = append(r.list, epochRun{epoch: h.epoch, first: h.base, last: h.last, count: 1, file: file, position: h.from, second: unknown, lastBase: unknown})
}

// latest is the epoch of the last batch, unknown without one.
func (r *epochRuns) latest() int32 {
	if n := len(r.list); n > 0 {
		return r.list[n-1].epoch
	}
	return unknown
}

// checkEpochs compares leader-epoch-checkpoint and the batches' epochs.
func (c *checker) checkEpochs(end int64, ran bool) {
	name := filepath.Join(c.p.Path, epochName)
	runs := c.epochs.list
	if !c.p.HasEpochs {
		c.checkMonotone(runs)
		if ran && len(runs) > 0 && runs[0].epoch >= 0 {
			c.report(Finding{Severity: Rebuildable, Kind: KindMissing, File: name, Position: -1, Offset: unknown, LastOffset: unknown,
				Expected: "the leader epochs of the log", Found: "no file",
				Broker: "Kafka goes on without: followers truncate by high watermark; Gregor makes it again when it recovers the log"})
		}
		return
	}
	report := func(line int, expected, found string) {
		c.report(Finding{Severity: Rebuildable, Kind: KindEpochFile, File: name, Position: c.linePosition(name, line), Offset: unknown, LastOffset: unknown,
			Expected: expected, Found: found})
	}
	data, err := vfs.ReadFile(c.fs, name)
	if err != nil {
		c.report(Finding{Severity: Rebuildable, Kind: KindUnreadable, File: name, Position: -1, Offset: unknown, LastOffset: unknown,
			Expected: "a file that can be read", Found: err.Error()})
		return
	}
	cache, err := epoch.Decode(data)
	if err != nil {
		c.checkMonotone(runs)
		report(0, "a leader-epoch-checkpoint", err.Error())
		return
	}
	if trailing := strictLines(data); trailing != "" {
		report(0, "numbers between single spaces", trailing)
	}
	if c.epochs.more || c.failed {
		return
	}
	entries := cache.Entries()
	start, whose := c.on.start, "as log-start-offset-checkpoint says"
	if start < 0 && len(c.p.Segments) > 0 {
		start, whose = c.p.Segments[0].Base, "the base of the first segment, as log-start-offset-checkpoint says no other"
	}
	c.checkHead(entries, start)
	good := c.goodRuns(runs, cache, start)
	kept := start
	if len(entries) > 0 && !c.on.clean {
		kept = max(start, entries[0].Start) // the start of the log moved, and its checkpoint is behind
	}
	for i := range entries {
		c.checkEntry(i, entries, good, start, whose, end, func(expected, found string) { report(i+2, expected, found) })
	}
	for _, r := range good {
		if r.epoch < 0 || r.last < kept {
			continue
		}
		if i := sort.Search(len(entries), func(i int) bool { return entries[i].Epoch >= r.epoch }); i == len(entries) || entries[i].Epoch != r.epoch {
			report(1, fmt.Sprintf("an entry for epoch %d, of batches from offset %d on", r.epoch, r.first), "none")
		}
	}
	c.checkLatest(entries, report)
}

// checkHead looks for segments that are gone from the front of a log: after a
// clean stop its leader epochs begin where it does, and nothing else says that
// it begins later.
func (c *checker) checkHead(entries []epoch.Entry, start int64) {
	if len(entries) == 0 || !c.on.clean || !c.startSure() || c.on.start >= 0 || entries[0].Start >= start || oneBitText(entries[0].Start, start) {
		return
	}
	c.report(Finding{Severity: Damage, Kind: KindGap, File: c.p.file(start, segment.LogSuffix), Position: 0, Offset: entries[0].Start, LastOffset: start - 1, inner: true,
		Expected: fmt.Sprintf("a segment with offset %d, where the log begins as %s says", entries[0].Start, epochName), Found: fmt.Sprintf("the first segment begins at offset %d", start),
		Broker: "both take the log to begin there"})
}

// checkEntry compares entry i with the batches of its epoch.
func (c *checker) checkEntry(i int, entries []epoch.Entry, runs []epochRun, start int64, whose string, end int64, report func(expected, found string)) {
	e := entries[i]
	found := fmt.Sprintf("epoch %d from offset %d", e.Epoch, e.Start)
	var run, before *epochRun
	for k := range runs {
		if runs[k].epoch == e.Epoch && run == nil {
			run = &runs[k]
		}
		if runs[k].epoch < e.Epoch {
			before = &runs[k]
		}
	}
	if i == 0 && e.Start <= start {
		if e.Start != start && (c.on.clean || !c.on.around) && c.startSure() {
			report(fmt.Sprintf("its first epoch from offset %d, %s", start, whose), found)
		}
		if run == nil && len(runs) > 0 && (len(entries) == 1 || entries[1].Start > runs[0].first) && runs[0].epoch >= 0 && runs[0].first >= start {
			report(fmt.Sprintf("epoch %d, that of the batch at offset %d", runs[0].epoch, runs[0].first), found)
		}
		return
	}
	switch {
	case run == nil:
		if c.tail || c.loose {
			return
		}
		if i == len(entries)-1 && e.Start != end {
			report(fmt.Sprintf("epoch %d, which has no batch, from offset %d, the end of the log", e.Epoch, end), found)
		}
		if i < len(entries)-1 && !c.on.compacted {
			report("an epoch that batches have", found)
		}
	case e.Start == run.first:
	case i == 0 && c.on.clean && c.startSure() && c.on.compacted:
		report(fmt.Sprintf("its first epoch from offset %d, %s", start, whose), found)
	case c.on.compacted && e.Start < run.first && (before == nil || e.Start > before.last):
	case i == 0 && e.Start > run.first && e.Start <= run.last+1 && !c.on.clean:
		// The start of the log moved, and its checkpoint is behind.
	case i == 0 && e.Start < run.first && before == nil && !c.startSure():
	case i == 0 && e.Start > run.first:
		report(fmt.Sprintf("its first epoch from offset %d, %s", start, whose), found)
	default:
		report(fmt.Sprintf("epoch %d from offset %d, where its first batch is in %s", e.Epoch, run.first, filepath.Base(run.file)), found)
	}
}

// startSure says whether the start of the log is known.
func (c *checker) startSure() bool { return c.on.around && !c.p.isMetadata() }

// checkLatest compares the newest epoch with the metadata log: this node led
// last in the epoch that it wrote down last.
func (c *checker) checkLatest(entries []epoch.Entry, report func(line int, expected, found string)) {
	if c.on.cluster == nil || len(entries) == 0 {
		return
	}
	led, exact, ok := c.on.cluster.ledEpoch(c.p)
	last := entries[len(entries)-1]
	if !ok {
		return
	}
	if last.Epoch > led || exact && c.on.clean && last.Epoch != led {
		report(len(entries)+1, fmt.Sprintf("epoch %d, the last that had a leader in the metadata", led), fmt.Sprintf("epoch %d from offset %d", last.Epoch, last.Start))
	}
}

// goodRuns reports the runs whose epoch was changed in the batch, and gives
// back the others, with what was split by them joined again.
func (c *checker) goodRuns(runs []epochRun, cache *epoch.Cache, start int64) []epochRun {
	runs = c.boundaries(runs, cache)
	var good []epochRun
	for i, r := range runs {
		want := wantedEpoch(cache, runs, i, start)
		if r.epoch != want && want >= 0 && r.count == 1 && blamed(runs, i, want, cache) {
			c.reportEpoch(r.file, r.position, r.first, r.last, r.epoch, want)
			r.epoch = want
		}
		if n := len(good); n > 0 && good[n-1].epoch == r.epoch {
			good[n-1].last, good[n-1].count = r.last, good[n-1].count+r.count
			continue
		}
		good = append(good, r)
	}
	return good
}

// boundaries reports batches that took the epoch of their neighbour where two
// epochs meet: the checkpoint has the boundary one batch further on or back. It
// gives back the runs with the boundaries of the checkpoint.
func (c *checker) boundaries(runs []epochRun, cache *epoch.Cache) []epochRun {
	runs = slices.Clone(runs)
	for i := 1; i < len(runs); i++ {
		before, r := &runs[i-1], &runs[i]
		k := slices.IndexFunc(cache.Entries(), func(e epoch.Entry) bool { return e.Epoch == r.epoch })
		if k < 0 || cache.EpochForOffset(before.first) != before.epoch {
			continue
		}
		if oneBitText(cache.Entries()[k].Start, r.first) {
			continue // a flipped bit in the checkpoint explains it as well: the log is believed
		}
		switch start := cache.Entries()[k].Start; start {
		case r.first:
		case r.second:
			c.reportEpoch(r.file, r.position, r.first, start-1, r.epoch, before.epoch)
			r.first, before.last = start, start-1
		case before.lastBase:
			c.reportEpoch(before.lastFile, before.lastPosition, start, before.last, before.epoch, r.epoch)
			r.first, before.last = start, start-1
		}
	}
	return runs
}

// reportEpoch reports a batch with the wrong epoch, on the word of the
// checkpoint and of the batches around it.
func (c *checker) reportEpoch(file string, position, first, last int64, found, want int32) {
	c.report(Finding{Severity: Damage, Kind: KindLeaderEpoch, File: file, Position: position + 12, Length: 4, Offset: first, LastOffset: last,
		Expected: fmt.Sprintf("epoch %d, as leader-epoch-checkpoint says for offset %d", want, first), Found: fmt.Sprintf("epoch %d", found),
		Located: "field partitionLeaderEpoch", Fixes: epochFixes(position, found, want)})
}

// wantedEpoch is the epoch that run i must have, Undefined when that is not
// known. The checkpoint says nothing of what lies below the log's start: there
// epochs only must not fall nor be newer than its first one.
func wantedEpoch(cache *epoch.Cache, runs []epochRun, i int, start int64) int32 {
	r, entries := runs[i], cache.Entries()
	if len(entries) == 0 || r.first >= entries[0].Start {
		return cache.EpochForOffset(r.first)
	}
	oldest := entries[0].Epoch
	switch {
	case entries[0].Start > start || r.epoch == epoch.Undefined:
		return epoch.Undefined
	case r.last >= start, r.epoch > oldest:
		return oldest
	case i > 0 && r.epoch < runs[i-1].epoch && runs[i-1].epoch <= oldest:
		return runs[i-1].epoch
	case r.epoch < 0:
		return oldest
	}
	return r.epoch
}

// blamed says whether the one batch of run i has the wrong epoch, and not the
// checkpoint: its neighbours have the epoch that is wanted, and the checkpoint
// knows no place for the one found, or one that other batches confirm.
func blamed(runs []epochRun, i int, want int32, cache *epoch.Cache) bool {
	before := i > 0 && runs[i-1].epoch == want
	behind := i+1 < len(runs) && runs[i+1].epoch == want
	if before && behind {
		return true
	}
	for _, e := range cache.Entries() {
		if e.Epoch == runs[i].epoch && !slices.ContainsFunc(runs, func(r epochRun) bool { return r.epoch == e.Epoch && r.first == e.Start }) {
			return false
		}
	}
	return before || behind || len(runs) == 1 && !oneBitText(int64(want), int64(runs[i].epoch))
}

// oneBitText says whether the numbers, written in decimal, differ in one bit.
func oneBitText(a, b int64) bool {
	x, y := strconv.FormatInt(a, 10), strconv.FormatInt(b, 10)
	if len(x) != len(y) {
		return false
	}
	n := 0
	for i := range len(x) {
		n += bits.OnesCount8(x[i] ^ y[i])
	}
	return n == 1
}

// checkMonotone reports epochs that fall, when no checkpoint is there to say
// which of them is wrong.
func (c *checker) checkMonotone(runs []epochRun) {
	for i := 1; i < len(runs); i++ {
		if runs[i].epoch < runs[i-1].epoch {
			c.report(Finding{Severity: Damage, Kind: KindLeaderEpoch, File: runs[i].file, Position: runs[i].position + 12, Length: 4, Offset: runs[i].first, LastOffset: runs[i].last,
				Expected: fmt.Sprintf("an epoch of at least %d, that of the batch before", runs[i-1].epoch), Found: fmt.Sprintf("epoch %d", runs[i].epoch)})
		}
	}
}

func epochFixes(position int64, found, correct int32) (list []Fix) {
	for i := range 4 {
		a, b := byte(found>>(24-8*i)), byte(correct>>(24-8*i))
		if a != b {
			list = append(list, Fix{position + 12 + int64(i), a, b})
		}
	}
	return list
}

// linePosition is where line i of a file begins, counted from 0.
func (c *checker) linePosition(name string, line int) int64 {
	data, err := vfs.ReadFile(c.fs, name)
	if err != nil {
		return -1
	}
	return lineAt(data, line)
}

func lineAt(data []byte, line int) int64 {
	at := 0
	for i, b := range data {
		if line == 0 {
			break
		}
		if b == '\n' {
			line, at = line-1, i+1
		}
	}
	return int64(at)
}

// strictLines finds what the readers of checkpoints let pass and no writer
// writes: it is empty for a file as Kafka and Gregor write them.
func strictLines(data []byte) string {
	for i, b := range data {
		switch {
		case b == '\r', b == '\t', b == ' ' && (i == 0 || data[i-1] == ' ' || data[i-1] == '\n' || i+1 == len(data) || data[i+1] == '\n'):
			return fmt.Sprintf("byte %#02x at position %d", b, i)
		}
	}
	if n := len(data); n > 0 && data[n-1] != '\n' {
		return "no line end after the last line"
	}
	return ""
}
