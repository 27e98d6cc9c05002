package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/gregor-broker/gregor/server"
	"github.com/gregor-broker/gregor/server/config"
)

// version is set by the linker for releases.
var version = ""

const usage = `Usage: gregor [server.properties] [--override key=value]...

Runs a Kafka broker. Without a file it listens on localhost:9092 and keeps its
data in ./data. Settings are Apache Kafka's; environment variables named as for
Kafka's container image (KAFKA_LOG_DIRS is log.dirs) win over the file, and
--override wins over both.

`

func main() {
	spareProcessors()
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// spareProcessors lets Go run two goroutines more than there are processors,
// unless the user has chosen a number: one that is in fdatasync or a long
// write holds its place until the runtime notices, and on a small machine that
// is half of all places. With two processors it gave 5 to 10 percent more
// acknowledged small requests a second at the same CPU for each.
func spareProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
	}
}

// stopTime bounds a clean stop; what is not done by then is left as after a
// crash, which loses nothing that was acknowledged.
const stopTime = 2 * time.Second

func run(args, environ []string, stdout, stderr io.Writer) int {
	began := processStart()
	flags := pflag.NewFlagSet("gregor", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	overrides := flags.StringArray("override", nil, "set one property, key=value; may be repeated")
	showVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprint(stdout, usage, flags.FlagUsages())
			return 0
		}
		return fail(stderr, err)
	}
	if *showVersion {
		fmt.Fprintln(stdout, "gregor", buildVersion())
		return 0
	}
	if flags.NArg() > 1 {
		return fail(stderr, fmt.Errorf("expected at most one file, found %s: give settings as --override key=value", strings.Join(flags.Args(), " ")))
	}
	cfg, err := config.Load(flags.Arg(0), *overrides, environ)
	if err != nil {
		return fail(stderr, err)
	}
	logger, level := newLogger(cfg, stderr)
	for _, w := range cfg.Warnings {
		logger.Warn(w)
	}

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	broker, err := open(cfg, server.Env{Logger: logger, LogLevel: level}, signals)
	if err != nil {
		return fail(stderr, err)
	}
	fmt.Fprintln(stdout, ready(broker.Summary(), time.Since(began)))
	return wait(broker, logger, signals, stderr)
}

// open starts the broker. A signal meanwhile ends the process at once: nothing
// has been served, and the next start goes on from where this one was.
func open(cfg *config.Config, env server.Env, signals <-chan os.Signal) (*server.Broker, error) {
	type opened struct {
		broker *server.Broker
		err    error
	}
	done := make(chan opened, 1)
	go func() {
		b, err := server.Open(cfg, env)
		done <- opened{b, err}
	}()
	select {
	case o := <-done:
		return o.broker, o.err
	case s := <-signals:
		return nil, fmt.Errorf("stopped while starting (%s)", s)
	}
}

// wait runs until a signal or a failure, and stops the broker. A second signal
// stops at once.
func wait(broker *server.Broker, logger *slog.Logger, signals <-chan os.Signal, stderr io.Writer) int {
	var failure error
	select {
	case s := <-signals:
		logger.Info("stopping", "signal", s.String())
	case failure = <-broker.Failed():
		logger.Error("stopping", "error", failure)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- broker.Close(ctx) }()
	select {
	case err := <-closed:
		if err = errors.Join(failure, err); err != nil {
			return fail(stderr, err)
		}
		logger.Info("stopped")
		return 0
	case s := <-signals:
		return fail(stderr, fmt.Errorf("stopped at once by a second signal (%s); the next start checks the logs", s))
	}
}

// ready is the one line a user reads.
func ready(s server.Summary, took time.Duration) string {
	dirs := make([]string, len(s.LogDirs))
	for i, d := range s.LogDirs {
		dirs[i] = shorten(d)
	}
	return fmt.Sprintf("gregor is ready on %s, data in %s: %d topics, %d partitions, %.1f ms",
		strings.Join(s.Addresses, ", "), strings.Join(dirs, ", "), s.Topics, s.Partitions, float64(took.Microseconds())/1000)
}

// shorten shows a directory as the user would name it from here.
func shorten(dir string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, dir); err == nil && !strings.HasPrefix(rel, "..") {
			return "./" + rel
		}
	}
	return dir
}

func fail(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "gregor:", strings.ReplaceAll(err.Error(), "\n", "; "))
	return 1
}

// newLogger returns the broker's logger and its level, which may change while
// it runs.
func newLogger(cfg *config.Config, w io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(cfg.LogLevel)
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), level
	}
	return slog.New(slog.NewTextHandler(w, options)), level
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
