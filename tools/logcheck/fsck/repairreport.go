package fsck

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ActionKind names what a repair does; the words are stable, for programs.
type ActionKind string

// The kinds of actions.
const (
	ActionPatch    ActionKind = "patch"     // bytes of a log or checkpoint back to what two proofs say they were
	ActionCut      ActionKind = "cut"       // bytes taken out of a log
	ActionFill     ActionKind = "fill"      // an empty batch for offsets that are gone
	ActionTruncate ActionKind = "truncate"  // the end of a log taken off
	ActionRedo     ActionKind = "redo"      // acknowledged bytes put back into a log from the journal
	ActionRebuild  ActionKind = "rebuild"   // a file made again from the log
	ActionRewrite  ActionKind = "rewrite"   // a small file corrected
	ActionRemove   ActionKind = "remove"    // a file taken away
	ActionSetAside ActionKind = "set-aside" // a partition directory moved to the evidence directory
)

// Action is one step of a repair. Its file keeps its old bytes in the evidence
// directory.
type Action struct {
	Kind       ActionKind `json:"kind"`
	File       string     `json:"file"`
	Partition  string     `json:"partition,omitempty"`
	Position   int64      `json:"position"`         // in the file as this action finds it, -1 for the whole file
	Length     int64      `json:"length,omitempty"` // bytes taken away
	Offset     int64      `json:"offset"`           // first offset concerned, -1 for none
	LastOffset int64      `json:"lastOffset"`
	Fixes      []Fix      `json:"fixes,omitempty"`
	What       string     `json:"what"`            // what is done
	Why        string     `json:"why"`             // what was found
	Loses      string     `json:"loses,omitempty"` // what cannot be had back; empty for nothing
}

// Loss is a range of offsets that a repair could not save.
type Loss struct {
	Partition  string `json:"partition"`
	Offset     int64  `json:"offset"`
	LastOffset int64  `json:"lastOffset"` // -1 when it is not known where the log ended
	Bytes      int64  `json:"bytes"`      // of the log, kept in the evidence directory
}

// RepairReport is what Repair did, or, in a dry run, would do.
type RepairReport struct {
	Targets  []string  `json:"targets"`
	DryRun   bool      `json:"dryRun"`
	Damage   Policy    `json:"damage"`
	Status   int       `json:"status"`             // 0 clean now, 1 findings are left or, in a dry run, there is something to do, 2 could not check all
	Evidence string    `json:"evidence,omitempty"` // the directory with what was replaced
	Before   Counts    `json:"before"`
	After    Counts    `json:"after"`
	Actions  []Action  `json:"actions"`
	Lost     []Loss    `json:"lost,omitempty"`
	Left     []Finding `json:"left"` // what is not mended, the worst first
	Seconds  float64   `json:"seconds"`
}

// mergeLosses joins ranges that overlap or follow on. One whose end was not
// known ends with another that begins there.
func mergeLosses(list []Loss) (out []Loss) {
	slices.SortStableFunc(list, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.LastOffset, b.LastOffset))
	})
	for _, l := range list {
		if n := len(out) - 1; n >= 0 && out[n].Partition == l.Partition && (l.Offset <= out[n].LastOffset+1 || out[n].LastOffset < 0) {
			out[n].LastOffset = max(out[n].LastOffset, l.LastOffset)
			out[n].Bytes += l.Bytes
			continue
		}
		out = append(out, l)
	}
	return out
}

// WriteText writes the report for people, at most most of the findings that
// are left (0 for all).
func (r *RepairReport) WriteText(w io.Writer, most int) error {
	var b strings.Builder
	verdict := "nothing to repair"
	bad := r.After.Damage + r.After.TornTails + r.After.Rebuildable
	switch {
	case r.Status == StatusUnchecked:
		verdict = "NOT CHECKED COMPLETELY"
	case len(r.Actions) > 0 && r.DryRun:
		verdict = "can be repaired; nothing was changed"
	case len(r.Actions) > 0:
		verdict = "repaired"
	}
	if bad > 0 && r.Status != StatusUnchecked {
		stay := count(bad, "finding") + " stay"
		if bad == 1 {
			stay += "s"
		}
		verdict += ", but " + stay
		if len(r.Actions) == 0 {
			verdict = "nothing was repaired; " + stay
		}
	}
	fmt.Fprintf(&b, "%s: %s\n", strings.Join(r.Targets, ", "), verdict)
	fmt.Fprintf(&b, "  checked   %s, %s, %s, %s, %s in %.1f s\n", count(r.Before.Partitions, "partition"), count(r.Before.Segments, "segment"),
		count(r.Before.Batches, "batch"), count(r.Before.Records, "record"), Size(r.Before.Bytes), r.Seconds)
	fmt.Fprintf(&b, "  before    %d damage, %d torn tail, %d rebuildable\n", r.Before.Damage, r.Before.TornTails, r.Before.Rebuildable)
	if len(r.Actions) > 0 {
		fmt.Fprintf(&b, "  after     %d damage, %d torn tail, %d rebuildable\n", r.After.Damage, r.After.TornTails, r.After.Rebuildable)
	}
	fmt.Fprintf(&b, "  damage    --damage=%s\n", r.Damage)
	switch {
	case r.Evidence == "":
	case r.DryRun:
		fmt.Fprintf(&b, "  evidence  would be kept in %s\n", r.Evidence)
	default:
		fmt.Fprintf(&b, "  evidence  %s\n", r.Evidence)
	}
	if len(r.Actions) > 0 {
		fmt.Fprintf(&b, "  loses     %s\n", r.losses())
	}
	for i := range r.Actions {
		b.WriteByte('\n')
		r.Actions[i].write(&b)
	}
	if len(r.Left) > 0 {
		b.WriteString("\nNot repaired:\n")
	}
	for i := range r.Left {
		if most > 0 && i == most {
			fmt.Fprintf(&b, "\n... and %d more; --all shows them, --json too\n", len(r.Left)-most)
			break
		}
		b.WriteByte('\n')
		r.Left[i].write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// losses says in one line what is gone.
func (r *RepairReport) losses() string {
	if len(r.Lost) == 0 {
		return "nothing"
	}
	var parts []string
	for _, l := range r.Lost {
		if len(parts) == 6 {
			parts = append(parts, fmt.Sprintf("%d more ranges below", len(r.Lost)-6))
			break
		}
		parts = append(parts, l.Partition+" "+offsetWords(l.Offset, l.LastOffset))
	}
	return strings.Join(parts, "; ")
}

// offsetWords names a range of offsets.
func offsetWords(from, to int64) string {
	switch {
	case from < 0:
		return "no known offset"
	case to < 0:
		return fmt.Sprintf("from offset %d on", from)
	case to <= from:
		return fmt.Sprintf("offset %d", from)
	}
	return fmt.Sprintf("offsets %d to %d", from, to)
}

func (a *Action) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s  %s", strings.ToUpper(string(a.Kind)), a.File)
	if a.Position >= 0 {
		fmt.Fprintf(b, "@%d", a.Position)
		if a.Length > 0 {
			fmt.Fprintf(b, "+%d", a.Length)
		}
	}
	b.WriteByte('\n')
	loses := a.Loses
	if loses == "" {
		loses = "nothing"
	}
	for _, line := range [...][2]string{{"does", a.What}, {"because", a.Why}, {"loses", loses}} {
		if line[1] != "" {
			fmt.Fprintf(b, "  %-9s %s\n", line[0], line[1])
		}
	}
}
