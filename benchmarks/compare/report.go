//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// report is the JSON document of a comparison.
type report struct {
	Time      time.Time         `json:"time"`
	Commit    string            `json:"commit"`
	Command   string            `json:"command,omitempty"` // what a reader would type
	Machine   machine           `json:"machine"`
	Settings  settings          `json:"settings"`
	Scenarios []*scenarioReport `json:"scenarios"`
}

// machine is what the figures depend on.
type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMiB  int64  `json:"memory_mib"`
	Kernel     string `json:"kernel"`
	Filesystem string `json:"filesystem"` // statfs(2) magic number of the measured directory
	Go         string `json:"go"`
}

type scenarioReport struct {
	Name        string                       `json:"name"`
	Description string                       `json:"description"`
	Runs        []runReport                  `json:"runs"`
	Medians     map[string]map[string]spread `json:"medians"` // contestant, metric
	Verdicts    []verdict                    `json:"verdicts,omitempty"`

	columns []string
	order   []string
}

type runReport struct {
	Contestant string  `json:"contestant"`
	Round      int     `json:"round"`
	Metrics    metrics `json:"metrics"`
}

// spread is a metric over the rounds.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// verdict compares the subject with a reference.
type verdict struct {
	Subject   string  `json:"subject"`
	Reference string  `json:"reference,omitempty"` // empty: Ratio is the figure itself
	Metric    string  `json:"metric"`
	Ratio     float64 `json:"ratio"`     // of the medians: this is what is judged
	RatioMin  float64 `json:"ratio_min"` // of the pairs of one round
	RatioMax  float64 `json:"ratio_max"`
	AtLeast   float64 `json:"at_least,omitempty"`
	AtMost    float64 `json:"at_most,omitempty"`
	Pass      bool    `json:"pass"`
}

func newReport(ctx context.Context, dir string, s settings) *report {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: cpuModel()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMiB = int64(info.Totalram) * int64(info.Unit) >> 20
	}
	var disk unix.Statfs_t
	if unix.Statfs(dir, &disk) == nil {
		m.Filesystem = fmt.Sprintf("%#x", disk.Type)
	}
	return &report{Time: time.Now().UTC(), Commit: commit(ctx), Machine: m, Settings: s}
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // the model is empty where there is none
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (r *report) write(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func (r *report) passed() bool {
	for _, sc := range r.Scenarios {
		for _, v := range sc.Verdicts {
			if !v.Pass {
				return false
			}
		}
	}
	return true
}

// judge computes the medians and compares the subject with the references that took part.
func (r *scenarioReport) judge(bars []bar, subject string) {
	r.Medians = map[string]map[string]spread{}
	for _, name := range r.order {
		r.Medians[name] = map[string]spread{}
		for _, metric := range r.metricNames(name) {
			r.Medians[name][metric] = spreadOf(r.values(name, metric))
		}
	}
	for _, b := range bars {
		ours, us := r.Medians[subject][b.metric]
		if b.reference == "" && us {
			v := verdict{Subject: subject, Metric: b.metric, Ratio: ours.Median, RatioMin: ours.Min, RatioMax: ours.Max, AtLeast: b.atLeast, AtMost: b.atMost}
			v.Pass = (b.atLeast == 0 || v.Ratio >= b.atLeast) && (b.atMost == 0 || v.Ratio <= b.atMost)
			r.Verdicts = append(r.Verdicts, v)
		}
		theirs, them := r.Medians[b.reference][b.metric]
		if !us || !them || subject == b.reference {
			continue
		}
		v := verdict{Subject: subject, Reference: b.reference, Metric: b.metric, Ratio: ratio(ours.Median, theirs.Median), AtLeast: b.atLeast, AtMost: b.atMost}
		ourValues, theirValues := r.values(subject, b.metric), r.values(b.reference, b.metric)
		var pairs []float64
		for i := range min(len(ourValues), len(theirValues)) {
			pairs = append(pairs, ratio(ourValues[i], theirValues[i]))
		}
		v.RatioMin, v.RatioMax = slices.Min(pairs), slices.Max(pairs)
		v.Pass = v.Ratio > 0 && (b.atLeast == 0 || v.Ratio >= b.atLeast) && (b.atMost == 0 || v.Ratio <= b.atMost)
		r.Verdicts = append(r.Verdicts, v)
	}
}

// ratio is a/b, and 0 where b is too short to be measured; a verdict of 0 never passes.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// values returns a metric of a contestant by round.
func (r *scenarioReport) values(contestant, metric string) (values []float64) {
	for _, run := range r.Runs {
		if value, found := run.Metrics[metric]; found && run.Contestant == contestant {
			values = append(values, value)
		}
	}
	return values
}

func (r *scenarioReport) metricNames(contestant string) (names []string) {
	for _, run := range r.Runs {
		if run.Contestant == contestant {
			for name := range run.Metrics {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

// print writes a table with a line per metric and a column per contestant: median (least to most).
func (r *scenarioReport) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s: %s\n", r.Name, r.Description)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "\t%s\n", strings.Join(r.order, "\t"))
	for _, metric := range r.columns {
		fmt.Fprint(w, metric)
		for _, name := range r.order {
			s, found := r.Medians[name][metric]
			switch {
			case !found:
				fmt.Fprint(w, "\t-")
			case s.Min == s.Max:
				fmt.Fprintf(w, "\t%s", figure(s.Median))
			default:
				fmt.Fprintf(w, "\t%s (%s to %s)", figure(s.Median), figure(s.Min), figure(s.Max))
			}
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // the table is for the terminal; the JSON is what is kept
	for _, v := range r.Verdicts {
		fmt.Fprintln(out, v)
	}
}

// String is the verdict as a line.
func (v verdict) String() string {
	word, bound := "FAIL", fmt.Sprintf("at least %s", figure(v.AtLeast))
	if v.AtMost != 0 {
		bound = fmt.Sprintf("at most %s", figure(v.AtMost))
	}
	if v.Pass {
		word = "PASS"
	}
	if v.Reference == "" {
		return fmt.Sprintf("%s %s: %s has %s (%s to %s), %s wanted", word, v.Metric, v.Subject, figure(v.Ratio), figure(v.RatioMin), figure(v.RatioMax), bound)
	}
	return fmt.Sprintf("%s %s: %s is %.2f of %s (%.2f to %.2f by round), %s wanted", word, v.Metric, v.Subject, v.Ratio, v.Reference, v.RatioMin, v.RatioMax, bound)
}

// figure prints three significant digits, and whole numbers above 100.
func figure(v float64) string {
	switch size := math.Abs(v); {
	case size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
