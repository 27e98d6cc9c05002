package rig

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Report prints one line per test and counts them. Safe for concurrent use.
type Report struct {
	mu             sync.Mutex
	out            io.Writer
	passed, failed int
}

// NewReport prints to out.
func NewReport(out io.Writer) *Report { return &Report{out: out} }

// Result prints PASS or FAIL, the name and the seconds, and below a failure its reason, indented.
func (r *Report) Result(name string, took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.passed++
		_, _ = fmt.Fprintf(r.out, "PASS %s %.2f\n", name, took.Seconds())
		return
	}
	r.failed++
	_, _ = fmt.Fprintf(r.out, "FAIL %s %.2f\n", name, took.Seconds())
	for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
		_, _ = fmt.Fprintf(r.out, "     %s\n", line)
	}
}

// Note prints a line that is no test: a measurement, a path.
func (r *Report) Note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintf(r.out, "     "+format+"\n", args...)
}

// Finish prints the summary as the last line and reports whether every test passed. A run without a test has not passed.
func (r *Report) Finish() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = fmt.Fprintf(r.out, "%d passed, %d failed\n", r.passed, r.failed)
	return r.failed == 0 && r.passed > 0
}

// Failed is the number of failures so far.
func (r *Report) Failed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// S is one suite at work: tests run in it carry its name in front.
type S struct {
	*Env
	Suite string
}

// NewSuite starts a suite of that name.
func NewSuite(e *Env, name string) *S { return &S{Env: e, Suite: name} }

// T is one running test. Its methods may be called from the test's own goroutine only.
type T struct {
	*S
	ctx     context.Context
	cleanup []func()
}

// stop ends a test early from within.
type stop struct{ err error }

// Context ends when the test's time is over.
func (t *T) Context() context.Context { return t.ctx }

// Fatalf ends the test as failed.
func (t *T) Fatalf(format string, args ...any) {
	panic(stop{fmt.Errorf(format, args...)})
}

// Must ends the test as failed when err is not nil; what says what was being done.
func (t *T) Must(err error, what string) {
	if err != nil {
		t.Fatalf("%s: %w", what, err)
	}
}

// Cleanup runs f after the test, last one first.
func (t *T) Cleanup(f func()) { t.cleanup = append(t.cleanup, f) }

// Note prints a measurement below the running test.
func (t *T) Note(format string, args ...any) { t.report.Note(format, args...) }

// Note prints a line that is no test.
func (s *S) Note(format string, args ...any) { s.report.Note(format, args...) }

// Test runs f for at most limit and prints its line. It reports whether f passed.
func (s *S) Test(name string, limit time.Duration, f func(t *T)) bool {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	t := &T{S: s, ctx: ctx}
	done := make(chan error, 1)
	go func() { done <- t.run(f) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		// The test sees the same deadline; a moment later it is left behind.
		select {
		case err = <-done:
		case <-time.After(5 * time.Second):
			err = errors.New("does not return")
		}
		if err != nil {
			err = fmt.Errorf("after its %s were over: %w", limit, err)
		}
	}
	s.report.Result(s.Suite+"/"+name, time.Since(start), err)
	return err == nil
}

func (t *T) run(f func(*T)) (err error) {
	defer func() {
		for i := len(t.cleanup) - 1; i >= 0; i-- {
			t.cleanup[i]()
		}
	}()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case stop:
			err = p.err
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	f(t)
	return nil
}

// Program runs a child that reports its own tests: lines "PASS name seconds", "FAIL name seconds", reasons after a
// failure as lines beginning with "| ", and "DONE n" at the end. Anything else it prints is shown only if it breaks
// off: no DONE, another count, or an exit status that is not zero is one more failure.
func (s *S) Program(cmd *exec.Cmd, limit time.Duration) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := s.program(ctx, cmd)
	if ctx.Err() != nil {
		err = fmt.Errorf("not finished after %s: %w", limit, err)
	}
	if err != nil {
		s.report.Result(s.Suite+"/"+"runs-to-its-end", time.Since(start), err)
	}
}

func (s *S) program(ctx context.Context, cmd *exec.Cmd) error {
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	log, err := os.CreateTemp(s.Scratch, s.Suite+"-stderr-")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	stopKill := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stopKill()

	var (
		count, announced = 0, -1
		name, seconds    string
		reason, other    []string
	)
	flush := func() {
		if name != "" {
			took, _ := time.ParseDuration(seconds + "s")
			s.report.Result(s.Suite+"/"+name, took, errors.New(strings.Join(append(reason, ""), "\n")))
		}
		name, reason = "", nil
	}
	scan := bufio.NewScanner(pipe)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		line := scan.Text()
		fields := strings.Fields(line)
		switch {
		case len(fields) == 3 && fields[0] == "PASS":
			flush()
			count++
			took, _ := time.ParseDuration(fields[2] + "s")
			s.report.Result(s.Suite+"/"+fields[1], took, nil)
		case len(fields) == 3 && fields[0] == "FAIL":
			flush()
			count++
			name, seconds = fields[1], fields[2]
		case name != "" && strings.HasPrefix(line, "| "):
			reason = append(reason, line[2:])
		case len(fields) == 2 && fields[0] == "DONE":
			_, _ = fmt.Sscan(fields[1], &announced)
		default:
			other = append(other, line)
		}
	}
	flush()
	err = cmd.Wait()
	if err == nil && announced != count {
		err = fmt.Errorf("reported %d tests, announced %d", count, announced)
	}
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		err = fmt.Errorf("%w\n%s\n%s", err, Tail(strings.Join(other, "\n"), 10), Tail(string(text), 30))
	}
	return err
}
