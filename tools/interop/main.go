package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"
	"github.com/gregor-broker/gregor/tools/interop/internal/suites"
)

func main() {
	if !run() {
		os.Exit(1)
	}
}

func run() (passed bool) {
	e := &rig.Env{}
	flag.StringVar(&e.Kind, "broker", rig.Gregor, "the broker on trial: gregor or kafka")
	flag.StringVar(&e.Cache, "cache", "", "directory filled by setup.sh")
	flag.StringVar(&e.Interop, "interop", ".", "directory of this module")
	flag.StringVar(&e.Root, "root", "../..", "root of the repository")
	flag.StringVar(&e.Binary, "gregor", "", "a gregor executable to use instead of building one")
	flag.BoolVar(&e.Groups, "groups", false, "test what needs group and transaction coordination even where suites.Coordination is false")
	flag.BoolVar(&e.Record, "record", false, "with --broker kafka: write the lists that the clients' own suites are held against")
	flag.BoolVar(&e.Keep, "keep", false, "keep the brokers' directories and logs")
	short := flag.Bool("short", false, "the clients' own suites as in a whole run, though they are asked for by name")
	flag.IntVar(&e.Rounds, "rounds", 0, "kills in the suites that kill, runs of kgo's own tests (0: what each suite thinks right)")
	flag.IntVar(&e.Lines, "lines", 1_000_000, "lines of text the kcat suite sends through with every codec")
	flag.Float64Var(&e.GiB, "gib", 2, "GiB on disk before the kill9 suite measures restarts")
	flag.Int64Var(&e.Seed, "seed", time.Now().UnixNano(), "seed of the kill9 suite's moments")
	flag.Usage = func() {
		_, _ = fmt.Fprintf(flag.CommandLine.Output(), "run.sh [flags] [suite...]\nsuites: %s\n", strings.Join(suites.Names(), " "))
		flag.PrintDefaults()
	}
	var names []string
	for rest := os.Args[1:]; ; rest = flag.Args()[1:] {
		// Flags may stand between and behind the suites.
		_ = flag.CommandLine.Parse(rest) // ends the process on an error
		if flag.NArg() == 0 {
			break
		}
		names = append(names, flag.Arg(0))
	}

	report := rig.NewReport(os.Stdout)
	e.Begin(report)
	defer func() { passed = report.Finish() }()
	setup := rig.NewSuite(e, "setup")

	e.Groups = e.Groups || suites.Coordination
	asked := len(names) > 0
	if !asked {
		names = suites.Whole(e.Groups)
	}
	ok := setup.Test("flags", time.Minute, func(t *rig.T) {
		if e.Record && e.Kind != rig.Kafka {
			t.Fatalf("--record without --broker kafka: the lists say what passes there")
		}
		if e.Kind != rig.Gregor && e.Kind != rig.Kafka {
			t.Fatalf("--broker %q: gregor or kafka", e.Kind)
		}
		for _, n := range names {
			if !slices.Contains(suites.Names(), n) {
				t.Fatalf("no suite is called %q: %s", n, strings.Join(suites.Names(), " "))
			}
		}
		var err error
		for _, p := range []*string{&e.Cache, &e.Interop, &e.Root} {
			*p, err = filepath.Abs(*p)
			t.Must(err, "path")
		}
		// Not below the system's temporary directory, which may be a RAM disk: durability would cost nothing there.
		base := filepath.Join(e.Cache, "run")
		t.Must(os.MkdirAll(base, 0o755), "scratch")
		e.Scratch, err = os.MkdirTemp(base, time.Now().Format("20060102-150405-"))
		t.Must(err, "scratch")
	})
	if !ok {
		return false
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, func() {
		if ctx.Err() != nil && len(e.KillAll()) > 0 {
			os.Exit(130)
		}
	})
	defer func() {
		for _, pid := range e.KillAll() {
			report.Note("process %d was left behind by its suite and killed", pid)
		}
		if e.Keep {
			report.Note("kept: %s", e.Scratch)
			return
		}
		_ = os.RemoveAll(e.Scratch)
	}()
	switch {
	case e.Binary != "":
	case e.Kind == rig.Kafka:
	default:
		e.Binary = filepath.Join(e.Scratch, "gregor") // not where another run may put its own
		if !setup.Test("build", 10*time.Minute, func(t *rig.T) { t.Must(e.BuildGregor(t.Context()), "build") }) {
			return false
		}
	}
	for _, n := range names {
		if ctx.Err() != nil {
			setup.Test("interrupted", time.Second, func(t *rig.T) { t.Fatalf("before suite %s", n) })
			return false
		}
		suites.Run(e, n, asked && !*short)
	}
	return true
}
