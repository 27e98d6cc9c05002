package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/logcheck/fsck"
)

func dump(ctx context.Context, args []string, out io.Writer) error {
	o := fsck.NewDumpOptions()
	f := flags("dump", "[flags] TARGET...", out)
	format := f.String("format", "table", "table, json (one object on each line) or raw (record values)")
	f.BoolVar(&o.Batches, "batches", false, "one row for each batch, records not decoded")
	f.BoolVar(&o.Full, "full", false, "do not shorten keys and values in the table")
	f.Int64Var(&o.From, "from", -1, "from this offset on")
	f.Int64Var(&o.To, "to", -1, "up to this offset, included")
	since := f.String("since", "", "from this time on: milliseconds, or 2006-01-02T15:04:05Z")
	until := f.String("until", "", "up to this time, included")
	key := f.String("key", "", "only records with this key")
	f.Int64Var(&o.ProducerID, "producer", -1, "only batches of this producer id")
	f.Int64Var(&o.Limit, "limit", 0, "at most so many rows of each target (default all)")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch o.Format = fsck.Format(*format); o.Format {
	case fsck.FormatTable, fsck.FormatJSON, fsck.FormatRaw:
	default:
		return fmt.Errorf("dump: --format %q: expected table, json or raw", *format)
	}
	if f.Changed("key") {
		o.Key = key
	}
	var err error
	if o.FromTime, err = moment(*since); err != nil {
		return err
	}
	if o.ToTime, err = moment(*until); err != nil {
		return err
	}
	if f.NArg() == 0 {
		return errors.New("dump: expected at least one target")
	}
	var errs []error
	for _, target := range f.Args() {
		errs = append(errs, fsck.Dump(ctx, target, o, out))
	}
	return errors.Join(errs...)
}

// moment reads a time; empty is no bound.
func moment(s string) (int64, error) {
	if s == "" {
		return -1, nil
	}
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms >= 0 {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, fmt.Errorf("time %q: expected milliseconds or 2006-01-02T15:04:05Z", s)
	}
	return t.UnixMilli(), nil
}

func explain(ctx context.Context, args []string, out io.Writer) error {
	f := flags("explain", "FILE@POSITION | DIR --offset N", out)
	offset := f.Int64("offset", -1, "explain the batch of the partition directory that holds this offset")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return errors.New("explain: expected one FILE@POSITION, or one partition directory and --offset")
	}
	if f.Changed("offset") {
		return fsck.ExplainOffset(ctx, nil, f.Arg(0), *offset, out)
	}
	i := strings.LastIndexByte(f.Arg(0), '@')
	if i < 0 {
		return fmt.Errorf("explain: expected FILE@POSITION, found %q", f.Arg(0))
	}
	position, err := strconv.ParseInt(f.Arg(0)[i+1:], 10, 64)
	if err != nil {
		return fmt.Errorf("explain: expected a position behind the @, found %q", f.Arg(0)[i+1:])
	}
	return fsck.ExplainPosition(ctx, nil, f.Arg(0)[:i], position, out)
}
