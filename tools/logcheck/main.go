package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gregor-broker/gregor/tools/logcheck/fsck"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

const usage = `Usage: logcheck COMMAND [flags] TARGET...

Checks, shows and repairs the data of Apache Kafka and Gregor: a log.dirs entry,
a partition directory, or one file. All but repair only read.

  verify  TARGET...            check headers, checksums and indexes; --deep for everything
  repair  TARGET...            mend what is proven; --damage says what to do with the rest,
                               --dry-run prints the plan
  dump    TARGET...            print batches, records, and the entries of small files
  explain FILE@POSITION        say what stands there, byte by byte
  explain DIR --offset N       the same for the batch with that offset

Exit status: 0 clean (harmless findings included), 1 findings, 2 could not check.
logcheck COMMAND --help lists a command's flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(errs, usage)
		return fsck.StatusUnchecked
	}
	var status int
	var err error
	switch args[0] {
	case "verify":
		status, err = verify(ctx, args[1:], out, errs)
	case "repair":
		status, err = repair(ctx, args[1:], out, errs)
	case "dump":
		err = dump(ctx, args[1:], out)
	case "explain":
		err = explain(ctx, args[1:], out)
	case "help", "-h", "--help":
		fmt.Fprint(out, usage)
		return fsck.StatusClean
	default:
		err = fmt.Errorf("unknown command %q, expected verify, repair, dump or explain", args[0])
	}
	if err == pflag.ErrHelp {
		return fsck.StatusClean
	}
	if err != nil {
		fmt.Fprintln(errs, "logcheck:", err)
		if errors.Is(err, fsck.ErrDamaged) {
			return fsck.StatusFindings
		}
		return fsck.StatusUnchecked
	}
	return status
}

// flags makes a flag set that prints its help where the command prints.
func flags(name, synopsis string, out io.Writer) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SortFlags = false
	f.SetOutput(out)
	f.Usage = func() {
		fmt.Fprintf(out, "Usage: logcheck %s %s\n\n%s", name, synopsis, f.FlagUsages())
	}
	return f
}

func verify(ctx context.Context, args []string, out, errs io.Writer) (int, error) {
	f := flags("verify", "[flags] TARGET...", out)
	deep := f.Bool("deep", false, "decode every record, replay producers and transactions, apply the metadata log")
	asJSON := f.Bool("json", false, "print the report as one JSON object")
	all := f.Bool("all", false, "print every finding, not only the worst 50")
	workers := f.Int("workers", 0, "processors to use (default all)")
	quiet := f.Bool("no-progress", false, "no progress bar, not even on a terminal")
	if err := f.Parse(args); err != nil {
		return 0, err
	}
	if f.NArg() == 0 {
		return 0, fmt.Errorf("verify: expected at least one target")
	}
	o := fsck.Options{Deep: *deep, Workers: *workers, ProbeLock: true}
	bar := newProgress(errs, *quiet)
	if bar != nil {
		o.Progress = bar.show
	}
	r, err := fsck.Verify(ctx, f.Args(), o)
	if bar != nil {
		bar.clear()
	}
	if err != nil {
		return 0, err
	}
	return r.Status, tell(out, r, *asJSON, *all)
}

func repair(ctx context.Context, args []string, out, errs io.Writer) (int, error) {
	f := flags("repair", "[flags] TARGET...", out)
	damage := f.String("damage", string(fsck.PolicyStop), `what to do with damage that nothing on disk can undo:
stop        leave that partition as it is
cut         take the damaged bytes out; empty batches hold the place of the offsets
truncate    end the log in front of it, so that a replica fetches the rest again
quarantine  move the partition to the evidence directory; a broker makes it anew`)
	dry := f.Bool("dry-run", false, "print the plan and change nothing")
	evidence := f.String("evidence", "", "directory for what is replaced (default beside the log directory, with the time in its name)")
	asJSON := f.Bool("json", false, "print the report as one JSON object")
	all := f.Bool("all", false, "print everything that is left, not only the worst 50")
	workers := f.Int("workers", 0, "processors to use (default all)")
	quiet := f.Bool("no-progress", false, "no progress bar, not even on a terminal")
	if err := f.Parse(args); err != nil {
		return 0, err
	}
	if f.NArg() == 0 {
		return 0, fmt.Errorf("repair: expected at least one target")
	}
	o := fsck.RepairOptions{Damage: fsck.Policy(*damage), DryRun: *dry, Evidence: *evidence, Workers: *workers, Lock: true}
	bar := newProgress(errs, *quiet)
	if bar != nil {
		o.Progress = bar.show
	}
	r, err := fsck.Repair(ctx, f.Args(), o)
	if bar != nil {
		bar.clear()
	}
	if err != nil {
		return 0, err
	}
	return r.Status, tell(out, r, *asJSON, *all)
}

// tell writes a report as JSON, or as text: its fifty worst findings, or all.
func tell(out io.Writer, r interface {
	WriteText(w io.Writer, most int) error
}, asJSON, all bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	most := 50
	if all {
		most = 0
	}
	return r.WriteText(out, most)
}

// progress draws a bar with rate and time left.
type progress struct {
	w       io.Writer
	started time.Time
}

// newProgress gives nil when w is no terminal.
func newProgress(w io.Writer, quiet bool) *progress {
	file, ok := w.(*os.File)
	if !ok || quiet {
		return nil
	}
	if _, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS); err != nil {
		return nil
	}
	return &progress{w: w, started: time.Now()}
}

func (p *progress) show(read, total int64) {
	const width = 30
	elapsed := time.Since(p.started).Seconds()
	rate := float64(read) / max(elapsed, 0.001)
	done, left := 0.0, "?"
	if total > 0 {
		done = min(float64(read)/float64(total), 1)
	}
	if rate > 0 {
		left = time.Duration(float64(total-read) / rate * float64(time.Second)).Round(time.Second).String()
	}
	bar := make([]byte, width)
	for i := range bar {
		bar[i] = ' '
		if float64(i) < done*width {
			bar[i] = '='
		}
	}
	fmt.Fprintf(p.w, "\r[%s] %3.0f%%  %s of %s  %s/s  %s left\x1b[K", bar, done*100, fsck.Size(read), fsck.Size(total), fsck.Size(int64(rate)), left)
}

func (p *progress) clear() { fmt.Fprint(p.w, "\r\x1b[K") }
