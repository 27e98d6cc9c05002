package rig

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Kinds of broker a suite can be run against.
const (
	Gregor = "gregor"
	Kafka  = "kafka"
)

// Env is what a run is told: where things are and how hard to push. It is read-only once the run has started.
type Env struct {
	Kind    string  // Gregor or Kafka: the broker on trial
	Cache   string  // directory filled by setup.sh
	Interop string  // this module's directory
	Root    string  // the repository's root
	Binary  string  // the gregor executable
	Scratch string  // temporary directory of the run, removed at its end unless Keep
	Groups  bool    // also run what needs group and transaction coordination
	Record  bool    // write the lists of what passes on Apache Kafka
	Keep    bool    // leave Scratch behind
	Rounds  int     // number of kills, or of runs; 0: see RoundsOr
	Lines   int     // kcat: number of lines of text
	GiB     float64 // kill9: GiB on disk before restarts are measured
	Seed    int64   // kill9: seed of the kill moments

	report *Report
	mu     sync.Mutex
	live   map[int]*os.Process // brokers running now, so that none outlives the run
}

func (e *Env) track(p *os.Process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live == nil {
		e.live = map[int]*os.Process{}
	}
	e.live[p.Pid] = p
}

func (e *Env) forget(pid int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.live, pid)
}

// KillAll kills every broker still running and returns their process ids. Safe for concurrent use.
func (e *Env) KillAll() []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	var pids []int
	for pid, p := range e.live {
		_ = p.Kill()
		pids = append(pids, pid)
	}
	return pids
}

// RoundsOr is how many rounds were asked for, or a suite's own number for each kind of broker.
func (e *Env) RoundsOr(gregor, kafka int) int {
	switch {
	case e.Rounds > 0:
		return e.Rounds
	case e.Kind == Kafka:
		return kafka
	}
	return gregor
}

// Begin attaches the report every test of the run is counted in.
func (e *Env) Begin(r *Report) { e.report = r }

// BuildGregor builds the broker from the repository, without cgo, into Binary.
func (e *Env) BuildGregor(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", e.Binary, "./cmd/gregor")
	cmd.Dir = e.Root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/gregor: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// TempDir makes a directory under Scratch whose name begins with prefix.
func (e *Env) TempDir(prefix string) (string, error) {
	return os.MkdirTemp(e.Scratch, prefix+"-")
}

// JavaCommand is a java process on Kafka's jars, with the log4j2 configuration of that name from the java directory.
func (e *Env) JavaCommand(ctx context.Context, log4j, class string, args ...string) *exec.Cmd {
	path := filepath.Join(e.Cache, "kafka", "lib", "*") + ":" + filepath.Join(e.Cache, "java")
	argv := append([]string{
		"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=" + tier(class), "-Xshare:auto",
		"-Dlog4j2.configurationFile=" + filepath.Join(e.Interop, "java", log4j),
		"-cp", path, class,
	}, args...)
	return exec.CommandContext(ctx, "java", argv...)
}

// tier keeps short-lived tools out of the optimising compiler: on two cores it costs more than it brings.
func tier(class string) string {
	if class == "kafka.Kafka" {
		return "4"
	}
	return "1"
}

// Tool runs one of Kafka's console tools and returns what it printed on standard output and error.
// The error is non-nil when the tool's exit status is not zero.
func (e *Env) Tool(ctx context.Context, class string, args ...string) (string, error) {
	return e.ToolInput(ctx, "", class, args...)
}

// ToolInput is Tool with text on the tool's standard input.
func (e *Env) ToolInput(ctx context.Context, input, class string, args ...string) (string, error) {
	cmd := e.JavaCommand(ctx, "log4j2-tools.properties", class, args...)
	return Output(cmd, input)
}

// Output runs cmd with input on its standard input; an error carries the end of what was printed.
func Output(cmd *exec.Cmd, input string) (string, error) {
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = 2 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", strings.Join(shorten(cmd.Args), " "), err, Tail(string(out), 20))
	}
	return string(out), nil
}

// shorten drops what makes a java command line unreadable.
func shorten(args []string) []string {
	for i, a := range args {
		if a == "-cp" && i+2 < len(args) {
			return args[i+2:]
		}
	}
	return args
}

// Tail is the last n lines of s.
func Tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

// Name is a topic name nobody else uses: prefix, a dash, eight random hexadecimal digits.
func Name(prefix string) string {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return prefix + "-" + hex.EncodeToString(b[:])
}
