package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// scenario is one of the five.
type scenario struct {
	name  string
	about string
	run   func(ctx context.Context, s *stage) error
}

var scenarios = []scenario{
	{"saga", "an order goes through three services; one record nobody can read", runSaga},
	{"traces", "the errors of chosen requests out of a live stream of log lines", runTraces},
	{"ledger", "balances rebuilt by replaying an audit log from offset zero", runLedger},
	{"telemetry", "sensors over six partitions, rolling averages, alarms", runTelemetry},
	{"audit", "what the broker says it is, and whether it is so", runAudit},
}

// limit bounds one scenario: a broker that never answers must not look like a slow one.
const limit = 90 * time.Second

var errNothingToRun = errors.New("nothing to run")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	switch {
	case errors.Is(err, errNothingToRun):
		fmt.Fprintln(os.Stderr, "scenarios:", err)
		os.Exit(2)
	case err != nil:
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	flag.Usage = usage
	brokers := flag.String("brokers", "localhost:9092", "`host:port,...` of a running broker")
	flag.Parse()
	chosen, err := choose(flag.Args())
	if err != nil {
		return err
	}
	addresses := strings.Split(*brokers, ",")
	if !answers(addresses) {
		fmt.Printf("no broker answers at %s: starting a temporary one\n", *brokers)
		b, err := startBroker(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", errNothingToRun, err)
		}
		defer b.stop()
		addresses = []string{b.address}
	}
	failed := 0
	for _, sc := range chosen {
		if !perform(ctx, sc, addresses) {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d scenarios failed", failed, len(chosen))
	}
	return nil
}

func choose(names []string) ([]scenario, error) {
	if len(names) == 0 {
		return scenarios, nil
	}
	var chosen []scenario
next:
	for _, name := range names {
		for _, sc := range scenarios {
			if sc.name == name {
				chosen = append(chosen, sc)
				continue next
			}
		}
		return nil, fmt.Errorf("%w: there is no scenario %q; see -help", errNothingToRun, name)
	}
	return chosen, nil
}

// perform runs one scenario and says how it went.
func perform(ctx context.Context, sc scenario, brokers []string) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := newStage(sc.name, brokers)
	fmt.Printf("\n%s %s\n", bold(sc.name), sc.about)
	began := time.Now()
	err := sc.run(ctx, s)
	s.close()
	took := time.Since(began).Round(time.Millisecond)
	if err == nil && s.failures == 0 {
		fmt.Printf("%s %s: %d checks, %v\n", green("PASS"), sc.name, s.checks, took)
		return true
	}
	if err != nil {
		fmt.Printf("  %s %v\n", red("error"), err)
	}
	fmt.Printf("%s %s: %d of %d checks failed, %v\n", red("FAIL"), sc.name, s.failures, s.checks, took)
	return false
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), "scenarios [-brokers HOST:PORT,...] [NAME...]\n\n")
	for _, sc := range scenarios {
		fmt.Fprintf(flag.CommandLine.Output(), "  %-10s %s\n", sc.name, sc.about)
	}
	fmt.Fprintln(flag.CommandLine.Output())
	flag.PrintDefaults()
}
