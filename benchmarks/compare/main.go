//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gregor-broker/gregor/benchmarks/contestant"
)

// errMissed is returned when everything ran and the subject missed a bar.
var errMissed = errors.New("a bar was missed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		stop()
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	Contestants []string
	Scenarios   []string
	Subject     string
	Rounds      int
	FramesLarge int64
	FramesSmall int64
	WarmLarge   int64
	WarmSmall   int64
	Version     int
	Producers   int
	WarmUp      time.Duration
	Duration    time.Duration
	Idle        time.Duration
	HistoryGB   float64
	CatchUpGB   float64
	WarmGB      float64
	RecordBytes int
	WarmMemory  bool
}

func run(ctx context.Context, arguments []string) (err error) {
	var s settings
	env := &contestant.Environment{JavaOptions: contestant.DefaultJavaOptions}
	flags := flag.NewFlagSet("compare", flag.ExitOnError)
	contestants := flags.String("contestants", "floor,gregor", "who takes part, of "+strings.Join(contestant.Names, ", "))
	wanted := flags.String("scenarios", "frames-1m,frames-1k", "what to run, of "+strings.Join(scenarioNames(), ", "))
	flags.StringVar(&s.Subject, "subject", contestant.Gregor, "the `contestant` that is judged")
	flags.IntVar(&s.Rounds, "rounds", 5, "rounds; in each, every contestant runs once, in turning order")
	flags.Int64Var(&s.FramesLarge, "frames-large", 3000, "counted requests of 1 MiB per run")
	flags.Int64Var(&s.FramesSmall, "frames-small", 200_000, "counted requests of 1 KiB per run")
	flags.Int64Var(&s.WarmLarge, "warm-large", 300, "uncounted requests of 1 MiB before; a Java server wants thousands")
	flags.Int64Var(&s.WarmSmall, "warm-small", 60_000, "uncounted requests of 1 KiB before")
	flags.IntVar(&s.Version, "version", 7, "version of the prepared Produce requests, 3 to 13")
	flags.IntVar(&s.Producers, "producers", 64, "producers of the waiting scenarios")
	flags.DurationVar(&s.WarmUp, "warm-up", 4*time.Second, "uncounted time of the waiting scenarios")
	flags.DurationVar(&s.Duration, "duration", 5*time.Second, "counted time of the waiting scenarios")
	flags.DurationVar(&s.Idle, "idle", 3*time.Second, "how long an idle server rests before its memory is read")
	flags.Float64Var(&s.HistoryGB, "history-gb", 10, "10^9 bytes of history for the reread scenario")
	flags.Float64Var(&s.CatchUpGB, "catch-up-gb", 2, "10^9 bytes of history for the catch-up and cold scenarios")
	flags.Float64Var(&s.WarmGB, "warm-gb", 12, "10^9 bytes of memory touched before a bulk scenario")
	flags.IntVar(&s.RecordBytes, "record-bytes", 1024, "bytes of a record's value")
	flags.BoolVar(&s.WarmMemory, "warm-memory", true, "touch memory before each load and free it while the load runs")
	flags.StringVar(&env.GregorBinary, "gregor", "", "`binary` of Gregor; built from ./cmd/gregor when empty")
	flags.StringVar(&env.FloorBinary, "floor", "", "`binary` of the floor; built from ./benchmarks/floor when empty")
	gregorRun := flags.String("gregor-run", "{properties}", "`arguments` that run Gregor")
	gregorFormat := flags.String("gregor-format", "", "`arguments` that format Gregor's directory first; empty = not needed")
	flags.StringVar(&env.KafkaJars, "kafka-jars", os.Getenv("KAFKA_JARS"), "`directory` of Apache Kafka's jars (environment KAFKA_JARS)")
	flags.StringVar(&env.Java, "java", "java", "the java `command`")
	command := flags.String("command", "", "what the report says it was made with")
	markdown := flags.String("markdown", "", "`file` for the tables as Markdown, with plots beside it")
	dir := flags.String("dir", os.TempDir(), "`directory` on the filesystem to measure")
	keep := flags.Bool("keep", false, "leave the contestants' directories behind")
	jsonFile := flags.String("json", "", "`file` for everything measured")
	save := flags.Bool("save", false, "also write the JSON to benchmarks/results")
	_ = flags.Parse(arguments) // exits by itself

	env.GregorRun, env.GregorFormat = strings.Fields(*gregorRun), strings.Fields(*gregorFormat)
	s.Contestants, s.Scenarios = strings.Split(*contestants, ","), strings.Split(*wanted, ",")
	chosen, err := chooseScenarios(s.Scenarios)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(*dir, "gregor-compare-")
	if err != nil {
		return err
	}
	if !*keep {
		defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	}
	if err := buildAll(ctx, env, s.Contestants, work); err != nil {
		return err
	}
	b := &bench{settings: s, env: env, work: work, keep: *keep, progress: os.Stderr}
	report := newReport(ctx, work, s)
	report.Command = *command
	for _, sc := range chosen {
		result, err := b.runScenario(ctx, sc)
		if err != nil {
			return fmt.Errorf("%s: %w", sc.name, err)
		}
		result.print(os.Stdout)
		report.Scenarios = append(report.Scenarios, result)
	}
	if *save {
		name := fmt.Sprintf("%s-%s.json", report.Time.Format("20060102T150405Z"), report.Commit)
		if err := report.write(filepath.Join("benchmarks", "results", name)); err != nil {
			return err
		}
	}
	if *markdown != "" {
		if err := report.writeMarkdown(*markdown); err != nil {
			return err
		}
	}
	if *jsonFile != "" {
		if err := report.write(*jsonFile); err != nil {
			return err
		}
	}
	if !report.passed() {
		return errMissed
	}
	return nil
}

// buildAll compiles what the contestants need and was not given.
func buildAll(ctx context.Context, env *contestant.Environment, names []string, dir string) (err error) {
	if env.FloorBinary == "" && (slices.Contains(names, contestant.Floor) || slices.Contains(names, contestant.FloorNoFsync)) {
		if env.FloorBinary, err = contestant.Build(ctx, dir, "./benchmarks/floor"); err != nil {
			return err
		}
	}
	if env.GregorBinary == "" && slices.Contains(names, contestant.Gregor) {
		if env.GregorBinary, err = contestant.Build(ctx, dir, "./cmd/gregor"); err != nil {
			return err
		}
	}
	for _, binary := range []*string{&env.FloorBinary, &env.GregorBinary, &env.KafkaJars} {
		if *binary != "" {
			if *binary, err = filepath.Abs(*binary); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		if err := env.Check(name); err != nil {
			return err
		}
	}
	return nil
}

// commit names the commit of the working tree, with a + when it has changes; "unknown" outside a repository.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(out))
	if status, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output(); err == nil && len(status) > 0 {
		name += "+"
	}
	return name
}
