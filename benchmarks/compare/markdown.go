//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// plots are the pictures beside a Markdown report: which metric of which scenarios.
var plots = []struct {
	file, title, metric, unit string
	less                      bool // of this less is better
}{
	{"rate.svg", "Records acknowledged per second", "records_per_s", "records/s", false},
	{"cpu.svg", "Processor time of the broker per record", "server_cpu_us_per_record", "µs", true},
	{"latency.svg", "Time to the acknowledgement, 99th percentile", "p99_us", "µs", true},
	{"memory.svg", "Private memory of the broker, peak", "max_rss_anon_mib", "MiB", true},
}

// writeMarkdown writes the tables, with the plots in files beside it.
func (r *report) writeMarkdown(file string) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# Benchmark of %s\n\n", r.Time.Format("2 January 2006"))
	fmt.Fprintf(&out, "Commit %s. %s, %d processors, %d MiB of memory, Linux %s, %s. Medians of %d rounds (least to most); contestants took turns in\none run. "+
		"`gregor` is durable: every acknowledgement waited for a sync. `kafka` is Apache Kafka 4.3.1 as it is by default, which acknowledges from\nthe page cache; `kafka-flush` is the same with `log.flush.interval.messages=1`. "+
		"`floor` is a program that only reads a request, checks its sum,\nwrites and syncs. What the figures mean: `benchmarks/README.md`.\n\n",
		r.Commit, r.Machine.CPU, r.Machine.Cores, r.Machine.MemoryMiB, r.Machine.Kernel, r.Machine.Go, r.Settings.Rounds)
	if len(r.Command) > 0 {
		fmt.Fprintf(&out, "```\n%s\n```\n\n", r.Command)
	}
	for _, p := range plots {
		var groups []plotGroup
		for _, sc := range r.Scenarios {
			if g := sc.plotGroup(p.metric); len(g.bars) > 1 {
				groups = append(groups, g)
			}
		}
		if len(groups) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, p.file), []byte(drawPlot(p.title, p.unit, p.less, groups)), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&out, "![%s](%s)\n\n", p.title, p.file)
	}
	for _, sc := range r.Scenarios {
		sc.markdown(&out)
	}
	return os.WriteFile(file, []byte(out.String()), 0o644)
}

// markdown writes one scenario's table and verdicts.
func (r *scenarioReport) markdown(out *strings.Builder) {
	fmt.Fprintf(out, "## %s\n\n%s\n\n", r.Name, r.Description)
	fmt.Fprintf(out, "| | %s |\n|---|%s\n", strings.Join(r.order, " | "), strings.Repeat("---:|", len(r.order)))
	for _, metric := range r.columns {
		cells := make([]string, len(r.order))
		seen := false
		for i, name := range r.order {
			s, found := r.Medians[name][metric]
			seen = seen || found
			switch {
			case !found:
				cells[i] = "-"
			case s.Min == s.Max:
				cells[i] = figure(s.Median)
			default:
				cells[i] = fmt.Sprintf("%s (%s to %s)", figure(s.Median), figure(s.Min), figure(s.Max))
			}
		}
		if seen {
			fmt.Fprintf(out, "| %s | %s |\n", metric, strings.Join(cells, " | "))
		}
	}
	fmt.Fprintln(out)
	for _, v := range r.Verdicts {
		fmt.Fprintf(out, "- %s\n", v)
	}
	if len(r.Verdicts) > 0 {
		fmt.Fprintln(out)
	}
}

// plotGroup is one scenario in a plot.
type plotGroup struct {
	label string
	bars  []plotBar
}

type plotBar struct {
	contestant string
	spread
}

func (r *scenarioReport) plotGroup(metric string) plotGroup {
	g := plotGroup{label: r.Name}
	for _, name := range r.order {
		if s, found := r.Medians[name][metric]; found {
			g.bars = append(g.bars, plotBar{name, s})
		}
	}
	return g
}

// Sizes of a plot in pixels.
const (
	plotWidth  = 860
	plotLabels = 130 // the scenario's name
	plotNames  = 86  // the contestants' names
	plotValues = 110 // the figure behind a bar
	plotBarY   = 16
	plotGap    = 12
	plotTop    = 54
)

// drawPlot draws horizontal bars: a group for each scenario, scaled to its own longest bar, with the least and the most
// of the rounds as a line. The colours follow the reader's light or dark page.
func drawPlot(title, unit string, less bool, groups []plotGroup) string {
	height := plotTop
	for _, g := range groups {
		height += len(g.bars)*plotBarY + plotGap
	}
	better := "more is better"
	if less {
		better = "less is better"
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n", plotWidth, height, plotWidth, height, title)
	out.WriteString(`<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 } .note, .name { fill: #57606a } .name { text-anchor: end } .scenario { font-weight: 600 }
.gregor { fill: #0a7d5a } .kafka { fill: #8c959f } .kafka-flush { fill: #b7791f } .floor, .floor-nofsync { fill: #afb8c1 }
.range { stroke: #24292f; stroke-width: 1.2; opacity: .6 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .note, .name { fill: #9198a1 } .gregor { fill: #3fb68b } .kafka { fill: #656c76 } .kafka-flush { fill: #d29922 }
.floor, .floor-nofsync { fill: #3d444d } .range { stroke: #e6edf3 }
}
</style>
`)
	fmt.Fprintf(&out, `<text class="title" x="0" y="20">%s</text><text class="note" x="0" y="38">%s, %s; the line is the range of the rounds</text>`+"\n", title, unit, better)
	y := plotTop
	left := plotLabels + plotNames
	room := float64(plotWidth - left - plotValues)
	for _, g := range groups {
		longest := 0.0
		for _, b := range g.bars {
			longest = max(longest, b.Max)
		}
		if longest == 0 {
			longest = 1
		}
		fmt.Fprintf(&out, `<text class="scenario" x="0" y="%d">%s</text>`+"\n", y+11, g.label)
		for _, b := range g.bars {
			at := func(v float64) float64 { return float64(left) + room*v/longest }
			fmt.Fprintf(&out, `<text class="name" x="%d" y="%d">%s</text>`, left-8, y+11, b.contestant)
			fmt.Fprintf(&out, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, b.contestant, left, y+1, max(at(b.Median)-float64(left), 1), plotBarY-4)
			if b.Max > b.Min {
				fmt.Fprintf(&out, `<line class="range" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, at(b.Min), at(b.Max), y+7, y+7)
			}
			fmt.Fprintf(&out, `<text x="%.1f" y="%d">%s</text>`+"\n", at(b.Max)+6, y+11, grouped(b.Median))
			y += plotBarY
		}
		y += plotGap
	}
	out.WriteString("</svg>\n")
	return out.String()
}

// grouped prints a figure with a thin space between thousands.
func grouped(v float64) string {
	s := figure(v)
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "\u2009" + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return whole
}
