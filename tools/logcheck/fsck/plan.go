package fsck

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/epoch"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// planner plans what follows from one check.
type planner struct {
	*repairer
	v       *verifier
	changed []string
}

// partitions are the results of the check, by path.
func (p *planner) partitions() (list []*result) {
	for _, r := range p.v.results {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *result) int { return cmp.Compare(a.Path, b.Path) })
	return list
}

// directories are the log directories around the partitions, by path.
func (p *planner) directories() (list []*directory) {
	for _, d := range p.v.dirs {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b *directory) int { return cmp.Compare(a.path, b.path) })
	return list
}

// act takes an action into the plan.
func (p *planner) act(a Action) {
	p.changed = append(p.changed, a.File)
	p.report.Actions = append(p.report.Actions, a)
}

// because says what a finding says.
func because(f *Finding) string {
	words := fmt.Sprintf("%s: expected %s, found %s", f.Kind, f.Expected, f.Found)
	if f.Located != "" {
		words += "; " + f.Located
	}
	return words
}

// logs plans the logs of a partition: what is proven first, then a torn tail,
// then damage by the policy. Each is seen only when the one before is mended.
func (p *planner) logs(r *result) error {
	if p.file != "" || p.stopped[r.Path] != "" || p.asides[r.Path] {
		return nil
	}
	proven, torn, damage := r.sort()
	if len(proven) == 0 && p.unswap(r) {
		return nil
	}
	if p.lowered[r.Path] {
		said := func(f *Finding) bool { return f.Kind == KindShort }
		torn, damage = slices.DeleteFunc(torn, said), slices.DeleteFunc(damage, said)
	}
	if len(proven) > 0 {
		return p.patch(proven)
	}
	for _, f := range torn {
		if f.Kind == KindShort {
			p.lower(r, f)
			continue
		}
		why := "no broker had promised what it cut"
		if f.surplus {
			why = "what is in front of it is whole"
		}
		if err := p.truncate(f, why); err != nil {
			return err
		}
	}
	if len(p.changed) > 0 {
		return nil
	}
	damage = slices.DeleteFunc(damage, func(f *Finding) bool { return f.inner && p.accepted[f.File] })
	unreadable := slices.ContainsFunc(damage, func(f *Finding) bool { return f.Kind == KindUnreadable })
	switch {
	case len(damage) == 0:
	case r.isMetadata():
		p.stopped[r.Path] = "the metadata of the cluster is never cut"
	case p.o.Damage == PolicyQuarantine:
		return p.setAside(r, damage[0])
	case p.o.Damage == PolicyStop:
		p.stopped[r.Path] = "damage that nothing on disk can undo"
	case unreadable:
		p.stopped[r.Path] = "the disk does not give the bytes: copy what can be read to another one first"
	case p.o.Damage == PolicyTruncate:
		return p.endBefore(r, damage)
	default:
		return p.cut(r, damage)
	}
	return nil
}

// sort splits the findings about the files of batches, in order of the log.
func (r *result) sort() (proven, torn, damage []*Finding) {
	for i := range r.report.findings {
		f := &r.report.findings[i]
		inLog := strings.HasSuffix(strings.TrimSuffix(f.File, segment.SwapSuffix), segment.LogSuffix)
		switch {
		case len(f.Fixes) > 0:
			proven = append(proven, f)
		case f.Severity == TornTail, f.surplus:
			torn = append(torn, f)
		case inLog && f.Kind == KindShort && !f.inner && len(damage) > 0 && damage[len(damage)-1].Kind == KindShort && !damage[len(damage)-1].inner:
			// Several files say so: one filling does for all of them.
			l := damage[len(damage)-1]
			l.witnesses, l.LastOffset = max(l.witnesses, f.witnesses), max(l.LastOffset, f.LastOffset)
		case inLog && f.Severity == Damage && f.Kind != KindLeaderEpoch:
			damage = append(damage, f)
		}
	}
	slices.SortStableFunc(damage, func(a, b *Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Position, b.Position))
	})
	return proven, torn, damage
}

// unswap gives up what a cleaning made, if that is damaged: while the first
// segment that it replaces is there, all of them are.
func (p *planner) unswap(r *result) (done bool) {
	for base := range r.inPlace {
		if _, err := p.view.Stat(segment.FileName(r.Path, base, segment.LogSuffix)); err != nil {
			continue
		}
		for _, f := range r.report.findings {
			if n, suffix, ok := segment.ParseName(filepath.Base(f.File)); !ok || n != base || f.Severity == Harmless || suffix == segment.SnapshotSuffix {
				continue
			}
			for _, kind := range [...]string{segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix} {
				name := segment.FileName(r.Path, base, kind+segment.SwapSuffix)
				if _, err := p.view.Stat(name); err == nil {
					p.removeFile(r, &f, name, "")
				}
			}
			done = true
			break
		}
	}
	return done
}

// patch puts bytes back to what two proofs say they were.
func (p *planner) patch(list []*Finding) error {
	byFile := map[string]edits{}
	for _, f := range list {
		for _, fix := range f.Fixes {
			byFile[f.File] = append(byFile[f.File], edit{fix.Position, fix.Position + 1, []byte{fix.Correct}})
		}
		var words []string
		for _, fix := range f.Fixes {
			words = append(words, fmt.Sprintf("byte %d: %#02x becomes %#02x", fix.Position, fix.Found, fix.Correct))
		}
		p.act(Action{Kind: ActionPatch, File: f.File, Partition: f.Partition, Position: f.Fixes[0].Position, Offset: f.Offset, LastOffset: f.LastOffset,
			Fixes: f.Fixes, What: strings.Join(words, ", "), Why: because(f)})
	}
	for name, list := range byFile {
		if err := p.edit(name, list...); err != nil {
			return err
		}
	}
	return nil
}

// edit changes a file of batches as it is seen now.
func (p *planner) edit(name string, list ...edit) error {
	plan := p.repairer.logs[name]
	if plan == nil {
		info, err := p.fs.Stat(name)
		if err != nil {
			return err
		}
		plan = &logPlan{size: info.Size()}
		p.repairer.logs[name] = plan
	}
	// From the end on, so that no edit moves the place of another.
	slices.SortStableFunc(list, func(a, b edit) int { return cmp.Compare(b.from, a.from) })
	for _, e := range list {
		plan.edits = plan.edits.then(e)
	}
	if len(plan.edits) == 1 && plan.edits[0].to == plan.size && len(plan.edits[0].bytes) == 0 {
		// Only its end goes: nothing has to be copied for that.
		p.view.put(name, staged{p.fs, name, plan.edits[0].from})
		return nil
	}
	return p.stage(name, func(f vfs.FS, path string) error { return plan.edits.write(p.fs, name, f, path) })
}

// size is that of a file as it is seen now.
func (p *planner) size(name string) (int64, error) {
	info, err := p.view.Stat(name)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// truncate ends a log in front of a finding.
func (p *planner) truncate(f *Finding, why string) error {
	size, err := p.size(f.File)
	if err != nil {
		return err
	}
	a := Action{Kind: ActionTruncate, File: f.File, Partition: f.Partition, Position: f.Position, Length: size - f.Position, Offset: f.Offset, LastOffset: f.LastOffset,
		What: fmt.Sprintf("it ends at position %d", f.Position), Why: because(f) + "; " + why}
	if f.Offset >= 0 {
		a.What += fmt.Sprintf(", before offset %d", f.Offset)
	}
	if f.Severity == Damage && !f.surplus {
		a.Loses = offsetWords(f.Offset, f.LastOffset)
		p.report.Lost = append(p.report.Lost, Loss{f.Partition, f.Offset, f.LastOffset, a.Length})
	}
	p.act(a)
	return p.edit(f.File, edit{from: f.Position, to: size})
}

// endBefore ends the log in front of the first damage; later segments go.
func (p *planner) endBefore(r *result, damage []*Finding) error {
	f := *damage[0]
	switch {
	case f.inner && f.Kind == KindGap:
		p.accept(r, &f)
		return nil
	case f.Kind == KindShort && !f.inner:
		p.lower(r, &f)
		return nil
	}
	if f.Offset < 0 {
		f.Offset = f.at
	}
	if f.LastOffset = max(r.promised()-1, f.LastOffset); f.LastOffset < f.Offset {
		f.LastOffset = unknown
	}
	if err := p.truncate(&f, "a replica can fetch it again from there on"); err != nil {
		return err
	}
	for _, s := range r.Segments {
		if r.file(s.Base, segment.LogSuffix) <= f.File {
			continue
		}
		for _, suffix := range [...]string{segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix} {
			name := r.file(s.Base, suffix)
			if _, err := p.view.Stat(name); err != nil {
				continue
			}
			p.view.remove(name)
			delete(p.repairer.logs, name)
			p.act(Action{Kind: ActionRemove, File: name, Partition: r.Name, Position: -1, Offset: s.Base, LastOffset: unknown,
				What: "moved to the evidence directory", Why: "it lies behind the damage in " + filepath.Base(f.File), Loses: "see there"})
		}
	}
	p.lowered[r.Path] = true
	return nil
}

// promised is where the log ended by everything that says so.
func (r *result) promised() int64 {
	return slices.Max(append([]int64{r.out.end, r.on.recovery, r.on.high}, r.Snapshots...))
}

// lower lets the checkpoints of a log that is too short say where it ends.
func (p *planner) lower(r *result, f *Finding) {
	p.lowered[r.Path] = true
	p.report.Lost = append(p.report.Lost, Loss{r.Name, f.Offset, f.LastOffset, 0})
}

// accept takes note of offsets that are gone and leave nothing to mend in the
// log itself.
func (p *planner) accept(r *result, f *Finding) {
	p.accepted[f.File] = true
	p.report.Lost = append(p.report.Lost, Loss{r.Name, f.Offset, f.LastOffset, 0})
}

// setAside moves the partition directory away. It cannot stay under another
// name: Kafka loads stray partitions, too, and does not start on damage.
func (p *planner) setAside(r *result, f *Finding) error {
	// What was planned for it is not done.
	inside := func(name string) bool { return filepath.Dir(name) == r.Path }
	p.view.forget(inside)
	maps.DeleteFunc(p.repairer.logs, func(name string, _ *logPlan) bool { return inside(name) })
	p.report.Actions = slices.DeleteFunc(p.report.Actions, func(a Action) bool { return inside(a.File) })
	p.view.remove(r.Path)
	p.asides[r.Path] = true
	p.report.Lost = append(p.report.Lost, Loss{r.Name, min(r.Segments[0].Base, max(f.Offset, 0)), unknown, r.Bytes()})
	p.act(Action{Kind: ActionSetAside, File: r.Path, Partition: r.Name, Position: -1, Offset: unknown, LastOffset: unknown,
		What: "moved to the evidence directory; a broker makes the partition anew, empty or from another replica", Why: because(f),
		Loses: "the whole partition, until it is fetched again"})
	return nil
}

// cut takes damaged ranges out. What offsets are then missing is seen by the
// next check, and filled.
func (p *planner) cut(r *result, damage []*Finding) error {
	ranges := map[string]edits{}
	for _, f := range damage {
		n := f.Length
		if f.Kind == KindBaseOffset {
			n = f.size
		}
		if f.Kind == KindGap || f.Kind == KindShort || f.inner || n == 0 {
			continue
		}
		list := ranges[f.File]
		if k := len(list); k > 0 && f.Position < list[k-1].to {
			list[k-1].to = max(list[k-1].to, f.Position+n)
			continue
		}
		ranges[f.File] = append(list, edit{from: f.Position, to: f.Position + n})
		a := Action{Kind: ActionCut, File: f.File, Partition: r.Name, Position: f.Position, Length: n, Offset: f.Offset, LastOffset: f.LastOffset,
			What: fmt.Sprintf("%d bytes are taken out", n), Why: because(f)}
		if f.Kind == KindOverlap {
			a.Loses = "the second of two batches for " + offsetWords(f.Offset, f.LastOffset)
			if p.twice(r, f) {
				a.Loses = ""
			}
		} else if f.Offset >= 0 {
			a.Loses = offsetWords(f.Offset, f.LastOffset)
			p.report.Lost = append(p.report.Lost, Loss{r.Name, f.Offset, f.LastOffset, n})
		}
		p.act(a)
	}
	for name, list := range ranges {
		if err := p.edit(name, list...); err != nil {
			return err
		}
	}
	if len(ranges) > 0 {
		return nil
	}
	for _, f := range damage {
		var err error
		switch {
		case f.Kind == KindOverlap:
			err = p.shadowed(r, f)
		case f.inner:
			p.accept(r, f)
		case f.Kind == KindShort && f.witnesses < 2:
			p.lower(r, f)
		case f.Kind == KindGap, f.Kind == KindShort:
			err = p.fill(r, f)
		}
		if err != nil {
			return err
		}
	}
	if len(p.changed) == 0 && !p.lowered[r.Path] && !damage[0].inner {
		p.stopped[r.Path] = "nothing that is damaged can be taken out"
	}
	return nil
}

// twice says whether the batch of a finding stands in the log already, byte for
// byte.
func (p *planner) twice(r *result, f *Finding) (same bool) {
	read := func(name string, at int64) []byte {
		w, err := openWindow(p.view, name)
		if err != nil {
			return nil
		}
		defer w.close()
		var out []byte
		if err := w.ready(at, f.Length); err != nil || w.guard(func() { out = slices.Clone(w.all()[at:min(at+f.Length, w.size)]) }) != nil {
			return nil
		}
		return out
	}
	second := read(f.File, f.Position)
	for _, s := range r.Segments {
		name := r.file(s.Base, segment.LogSuffix)
		if s.Base > f.Offset || second == nil {
			break
		}
		at, err := positionOf(p.view, name, f.Offset)
		if err == nil && (name != f.File || at != f.Position) && bytes.Equal(read(name, at), second) {
			return true
		}
	}
	return false
}

// shadowed cuts the end of the segment before one that begins too early:
// readers take those offsets from the later one.
func (p *planner) shadowed(r *result, f *Finding) error {
	i := slices.IndexFunc(r.Segments, func(s Segment) bool { return r.file(s.Base, segment.LogSuffix) == f.File })
	if i < 1 {
		return nil
	}
	name := r.file(r.Segments[i-1].Base, segment.LogSuffix)
	w, err := openWindow(p.view, name)
	if err != nil {
		return err
	}
	defer w.close()
	at := int64(-1)
	c := cutter{w: w, p: w.all()}
	for next := c.next(); next != nil && at < 0; next = c.next() {
		fault := w.guard(func() {
			for _, s := range next.spans {
				if at < 0 && headOf(batch.Batch(c.p[s.from:s.to]), s).last >= f.Offset {
					at = s.from
				}
			}
		})
		if err := cmp.Or(next.err, fault); err != nil {
			return err
		}
	}
	if at < 0 {
		return nil
	}
	p.act(Action{Kind: ActionCut, File: name, Partition: r.Name, Position: at, Length: w.size - at, Offset: f.Offset, LastOffset: f.LastOffset,
		What: fmt.Sprintf("%d bytes are taken out", w.size-at), Why: because(f), Loses: "the first of two batches for " + offsetWords(f.Offset, f.LastOffset)})
	return p.edit(name, edit{from: at, to: w.size})
}

// fill puts empty batches where offsets are missing.
func (p *planner) fill(r *result, f *Finding) error {
	base, _, _ := segment.ParseName(filepath.Base(f.File))
	if f.LastOffset-base > math.MaxInt32 {
		p.stopped[r.Path] = fmt.Sprintf("%d missing offsets are more than a segment can hold", f.LastOffset-f.Offset+1)
		return nil
	}
	var empty []byte
	for _, e := range p.epochsOf(r, f) {
		empty = append(empty, placeholder(e.from, e.to, e.epoch)...)
	}
	p.act(Action{Kind: ActionFill, File: f.File, Partition: r.Name, Position: f.Position, Offset: f.Offset, LastOffset: f.LastOffset,
		What: fmt.Sprintf("an empty batch of %d bytes holds the place of %s", len(empty), offsetWords(f.Offset, f.LastOffset)), Why: because(f),
		Loses: offsetWords(f.Offset, f.LastOffset)})
	p.report.Lost = append(p.report.Lost, Loss{r.Name, f.Offset, f.LastOffset, 0})
	return p.edit(f.File, edit{from: f.Position, to: f.Position, bytes: empty})
}

// epochRange is a range of offsets of one leader epoch.
type epochRange struct {
	from, to int64
	epoch    int32
}

// epochsOf says in which leader epochs the missing offsets were written: as
// leader-epoch-checkpoint has it, within those of the batches around.
func (p *planner) epochsOf(r *result, f *Finding) []epochRange {
	low, high := f.epochs[0], f.epochs[1]
	if high < 0 {
		high = math.MaxInt32
	}
	list := []epochRange{{f.Offset, f.LastOffset, low}}
	if low < 0 && high < math.MaxInt32 {
		list[0].epoch = high
	}
	data, err := vfs.ReadFile(p.view, filepath.Join(r.Path, epochName))
	if err != nil {
		return list
	}
	cache, err := epoch.Decode(data)
	if err != nil {
		return list
	}
	if e := cache.EpochForOffset(f.Offset); e >= low && e <= high && e >= 0 {
		list[0].epoch = e
	}
	for _, e := range cache.Entries() {
		if n := len(list) - 1; e.Start > list[n].from && e.Start <= f.LastOffset && e.Epoch > list[n].epoch && e.Epoch <= high {
			list[n].to = e.Start - 1
			list = append(list, epochRange{e.Start, f.LastOffset, e.Epoch})
		}
	}
	return list
}

// placeholder is a batch without records, as compaction leaves them
// (DefaultRecordBatch.writeEmptyHeader).
func placeholder(first, last int64, leaderEpoch int32) batch.Batch {
	b := make(batch.Batch, batch.HeaderSize)
	b.SetBaseOffset(first)
	binary.BigEndian.PutUint32(b[8:], batch.HeaderSize-batch.Overhead)
	b.SetLeaderEpoch(leaderEpoch)
	b[magicAt] = batch.Magic
	binary.BigEndian.PutUint32(b[23:], uint32(last-first))
	for i := 27; i < 57; i++ {
		b[i] = 0xff // timestamps, producer, its epoch and sequence: -1, none
	}
	b.SetCRC()
	return b
}
