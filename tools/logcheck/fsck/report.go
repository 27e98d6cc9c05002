package fsck

import (
	"fmt"
	"io"
	"strings"
)

// Report is what Verify found.
type Report struct {
	Targets []string        `json:"targets"`
	Deep    bool            `json:"deep"`
	Status  int             `json:"status"` // 0 clean, 1 findings, 2 could not check all
	Running []RunningBroker `json:"running,omitempty"`
	Counts  Counts          `json:"counts"`
	Seconds float64         `json:"seconds"`
	// Findings are the worst first; with more than Options.MaxFindings of them the least severe are left out.
	Findings []Finding `json:"findings"`
}

// RunningBroker is a process that holds the lock of a directory.
type RunningBroker struct {
	Directory string `json:"directory"`
	PID       int    `json:"pid"`
}

// Counts are the figures of a check.
type Counts struct {
	Partitions  int64 `json:"partitions"`
	Segments    int64 `json:"segments"`
	Batches     int64 `json:"batches"`
	Records     int64 `json:"records"`
	Bytes       int64 `json:"bytes"`
	Undecoded   int64 `json:"undecoded"` // batches larger than Options.DecodeLimit
	Damage      int64 `json:"damage"`
	TornTails   int64 `json:"tornTails"`
	Rebuildable int64 `json:"rebuildable"`
	Harmless    int64 `json:"harmless"`
}

// The values of Report.Status, which are exit statuses.
const (
	StatusClean     = 0 // nothing but harmless findings
	StatusFindings  = 1
	StatusUnchecked = 2 // something could not be read
)

func (c *collector) result(deep bool) *Report {
	r := &Report{Deep: deep, Findings: c.sorted(), Counts: Counts{
		Partitions: c.partitions.Load(), Segments: c.segments.Load(), Batches: c.batches.Load(), Records: c.records.Load(),
		Bytes: c.bytes.Load(), Undecoded: c.undecoded.Load(), Damage: c.counts[Damage], TornTails: c.counts[TornTail],
		Rebuildable: c.counts[Rebuildable], Harmless: c.counts[Harmless],
	}}
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	switch {
	case c.failed > 0:
		r.Status = StatusUnchecked
	case c.counts[Damage]+c.counts[TornTail]+c.counts[Rebuildable] > 0:
		r.Status = StatusFindings
	}
	return r
}

// WriteText writes the report for people: a summary, then the findings, the
// worst first, at most most of them (0 for all).
func (r *Report) WriteText(w io.Writer, most int) error {
	var b strings.Builder
	for _, running := range r.Running {
		fmt.Fprintf(&b, "A broker (process %d) is running on %s: what it is writing may look torn or unfinished here.\n", running.PID, running.Directory)
	}
	c := r.Counts
	verdict := "clean"
	switch {
	case r.Status == StatusUnchecked:
		verdict = "NOT CHECKED COMPLETELY"
	case c.Damage > 0:
		verdict = "DAMAGED"
	case r.Status == StatusFindings:
		verdict = "not clean; no promised data is damaged"
	}
	mode := "fast: headers, checksums, indexes; --deep decodes records and replays producers"
	if r.Deep {
		mode = "deep"
	}
	fmt.Fprintf(&b, "%s: %s\n", strings.Join(r.Targets, ", "), verdict)
	fmt.Fprintf(&b, "  checked   %s, %s, %s, %s, %s in %.1f s", count(c.Partitions, "partition"), count(c.Segments, "segment"),
		count(c.Batches, "batch"), count(c.Records, "record"), Size(c.Bytes), r.Seconds)
	if r.Seconds > 0.05 {
		fmt.Fprintf(&b, " (%s/s)", Size(int64(float64(c.Bytes)/r.Seconds)))
	}
	fmt.Fprintf(&b, "\n  mode      %s\n", mode)
	fmt.Fprintf(&b, "  findings  %d damage, %d torn tail, %d rebuildable, %d harmless\n", c.Damage, c.TornTails, c.Rebuildable, c.Harmless)
	if c.Undecoded > 0 {
		fmt.Fprintf(&b, "  %s decompress to more than the limit: checksum checked, records not\n", count(c.Undecoded, "batch"))
	}
	for i := range r.Findings {
		if most > 0 && i == most {
			fmt.Fprintf(&b, "\n... and %d more; --all shows them, --json too\n", int64(len(r.Findings)-most))
			break
		}
		b.WriteByte('\n')
		r.Findings[i].write(&b)
	}
	if all := c.Damage + c.TornTails + c.Rebuildable + c.Harmless; all > int64(len(r.Findings)) {
		fmt.Fprintf(&b, "\n%d findings were counted and not kept.\n", all-int64(len(r.Findings)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *Finding) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s  %s  %s\n", strings.ToUpper(f.Severity.String()), f.Kind, f.Where())
	if f.Partition != "" {
		fmt.Fprintf(b, "  %-9s %s", "partition", f.Partition)
		switch {
		case f.Offset >= 0 && f.LastOffset > f.Offset:
			fmt.Fprintf(b, ", offsets %d to %d", f.Offset, f.LastOffset)
		case f.Offset >= 0 && f.LastOffset == f.Offset:
			fmt.Fprintf(b, ", offset %d", f.Offset)
		case f.Offset >= 0:
			fmt.Fprintf(b, ", from offset %d", f.Offset)
		}
		b.WriteByte('\n')
	}
	for _, line := range [...][2]string{{"expected", f.Expected}, {"found", f.Found}, {"located", f.Located}, {"a broker", f.Broker}} {
		if line[1] != "" {
			fmt.Fprintf(b, "  %-9s %s\n", line[0], line[1])
		}
	}
}

// count gives a number and its noun.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "ch") {
		noun += "e"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Size gives a number of bytes in words of powers of 1024.
func Size(n int64) string {
	units := [...]string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
