//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
)

// TestFloorAgainstItself runs both loads over the floor with and without sync, as child processes, and judges them.
func TestFloorAgainstItself(t *testing.T) {
	work := t.TempDir()
	env := &contestant.Environment{}
	names := []string{contestant.Floor, contestant.FloorNoFsync}
	binary, err := contestant.Build(t.Context(), work, "github.com/gregor-broker/gregor/benchmarks/floor")
	if err != nil {
		t.Fatal(err)
	}
	env.FloorBinary = binary
	if err := buildAll(t.Context(), env, names, work); err != nil {
		t.Fatal(err)
	}
	b := &bench{env: env, work: work, progress: io.Discard, settings: settings{Contestants: names, Subject: contestant.FloorNoFsync, Rounds: 2,
		FramesLarge: 5, FramesSmall: 500, WarmLarge: 1, WarmSmall: 64, Version: 7, RecordBytes: 1024}}
	report := newReport(t.Context(), work, b.settings)
	chosen, err := chooseScenarios([]string{"frames-1m", "frames-1k", "start", "waiting-shared"})
	if err != nil {
		t.Fatal(err)
	}
	for _, sc := range chosen {
		result, err := b.runScenario(t.Context(), sc)
		if err != nil {
			t.Fatal(err)
		}
		report.Scenarios = append(report.Scenarios, result)
	}
	for i, want := range []struct{ runs, verdicts int }{{4, 2}, {4, 2}, {4, 0}, {0, 0}} {
		sc := report.Scenarios[i]
		if len(sc.Runs) != want.runs || len(sc.Verdicts) != want.verdicts {
			t.Fatalf("%s: %d runs and %d verdicts, expected %d and %d", sc.Name, len(sc.Runs), len(sc.Verdicts), want.runs, want.verdicts)
		}
	}
	if first, second := report.Scenarios[0].Runs[0].Contestant, report.Scenarios[0].Runs[2].Contestant; first == second {
		t.Fatalf("both rounds began with %s", first)
	}
	file := filepath.Join(work, "results", "report.json")
	if err := report.write(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, new(struct{ Scenarios []scenarioReport })); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(work, "*-frames-*")); err != nil || len(left) != 0 {
		t.Fatalf("directories left behind: %v, %v", left, err)
	}
}

// TestJudging checks medians, paired ratios and both kinds of bounds on made-up runs.
func TestJudging(t *testing.T) {
	r := &scenarioReport{Name: "made up", order: []string{"a", "b"}, columns: []string{"rate", "absent"}}
	for round, pair := range [][2]float64{{8, 10}, {9, 10}, {2, 20}} {
		r.Runs = append(r.Runs, runReport{"a", round + 1, metrics{"rate": pair[0]}}, runReport{"b", round + 1, metrics{"rate": pair[1]}})
	}
	r.judge([]bar{
		{metric: "rate", reference: "b", atLeast: 0.8},
		{metric: "rate", reference: "b", atLeast: 0.81},
		{metric: "rate", reference: "b", atMost: 0.8},
		{metric: "rate", reference: "b", atMost: 0.79},
		{metric: "rate", reference: "a", atLeast: 2},
		{metric: "rate", reference: "nobody", atLeast: 2},
		{metric: "absent", reference: "b", atLeast: 2},
	}, "a")
	if got := r.Medians["a"]["rate"]; got != (spread{8, 2, 9}) {
		t.Fatalf("spread of a: %+v", got)
	}
	var passes []bool
	for _, v := range r.Verdicts {
		passes = append(passes, v.Pass)
		if v.Ratio != 0.8 || v.RatioMin != 0.1 || v.RatioMax != 0.9 {
			t.Fatalf("verdict %+v, expected 0.8 of medians and 0.1 to 0.9 by round", v)
		}
	}
	if len(passes) != 4 || !passes[0] || passes[1] || !passes[2] || passes[3] {
		t.Fatalf("verdicts %v, expected pass, fail, pass, fail", passes)
	}
	if (&report{Scenarios: []*scenarioReport{r}}).passed() {
		t.Fatal("a report with a failed verdict passed")
	}
	var table bytes.Buffer
	r.print(&table)
	for _, want := range []string{"8.00 (2.00 to 9.00)", "PASS rate: a is 0.80 of b (0.10 to 0.90 by round), at least 0.80 wanted", "FAIL"} {
		if !strings.Contains(table.String(), want) {
			t.Fatalf("%q is not in the table:\n%s", want, table.String())
		}
	}
	if got := spreadOf([]float64{4, 1, 3, 2}); got != (spread{2.5, 1, 4}) {
		t.Fatalf("spread of an even number: %+v", got)
	}
}

func TestUnknownNames(t *testing.T) {
	if _, err := chooseScenarios([]string{"frames-1m", "nothing"}); err == nil {
		t.Fatal("an unknown scenario was chosen")
	}
	env := &contestant.Environment{FloorBinary: filepath.Join(t.TempDir(), "absent")}
	for _, name := range []string{"nobody", contestant.Floor, contestant.Kafka} {
		if err := env.Check(name); err == nil {
			t.Fatalf("contestant %s passed the check without a program", name)
		}
	}
}
