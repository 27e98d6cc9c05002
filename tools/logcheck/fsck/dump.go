package fsck

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// Format is how Dump writes.
type Format string

// The formats of Dump.
const (
	FormatTable Format = "table"
	FormatJSON  Format = "json" // one JSON object on each line
	FormatRaw   Format = "raw"  // the values of records, each followed by a line end
)

// DumpOptions say what Dump prints. NewDumpOptions gives those that print everything.
type DumpOptions struct {
	FS      vfs.FS // vfs.OS when nil
	Format  Format
	Batches bool // one row for each batch instead of each record
	Full    bool // table: do not shorten keys and values
	// From and To bound the offsets, both included; negative for no bound. So do FromTime and ToTime for
	// timestamps in milliseconds.
	From, To, FromTime, ToTime int64
	ProducerID                 int64   // of this producer only; negative for all
	Key                        *string // of this key only; nil for all
	Limit                      int64   // at most so many rows; 0 for all
	DecodeLimit                int     // of one batch, in bytes; 64 MiB when 0
}

// NewDumpOptions are options without a filter.
func NewDumpOptions() DumpOptions {
	return DumpOptions{Format: FormatTable, From: -1, To: -1, FromTime: -1, ToTime: -1, ProducerID: -1}
}

// ErrDamaged says that Dump met bytes that are no batch; it printed what it could.
var ErrDamaged = errors.New("damaged bytes were passed over")

// errEnough ends a dump that has all it wants.
var errEnough = errors.New("enough")

// dumper is one Dump.
type dumper struct {
	DumpOptions
	ctx       context.Context
	out       *bufio.Writer
	rows      int64
	damaged   bool
	partition string
	file      string
	headed    bool
}

// Dump prints a target: all records of a directory, partition or .log file, or the entries of another file. It
// returns ErrDamaged, at its end, when something could not be shown.
func Dump(ctx context.Context, path string, o DumpOptions, w io.Writer) error {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.DecodeLimit == 0 {
		o.DecodeLimit = 64 << 20
	}
	d := &dumper{DumpOptions: o, ctx: ctx, out: bufio.NewWriterSize(w, 64<<10)}
	err := d.target(path)
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && d.damaged {
		err = fmt.Errorf("%s: %w", path, ErrDamaged)
	}
	return errors.Join(err, d.out.Flush())
}

func (d *dumper) target(path string) error {
	t, err := Scan(d.FS, path)
	if err != nil {
		return err
	}
	if t.Kind == TargetFile {
		return d.one(path)
	}
	for _, p := range t.Partitions {
		for i, s := range p.Segments {
			if d.To >= 0 && s.Base > d.To || d.From >= 0 && i+1 < len(p.Segments) && p.Segments[i+1].Base <= d.From {
				continue
			}
			d.partition = p.Name
			if err := d.log(p.file(s.Base, segment.LogSuffix)); err != nil {
				return err
			}
		}
	}
	return nil
}

// one prints a file by what its name says it is.
func (d *dumper) one(path string) error {
	name := filepath.Base(path)
	if topic, id, _, ok := parsePartition(filepath.Base(filepath.Dir(path))); ok {
		d.partition = fmt.Sprintf("%s-%d", topic, id)
	}
	_, suffix, ok := segment.ParseName(name)
	switch {
	case isJournal(name), isKeptJournal(name):
		return d.journal(path)
	case strings.HasSuffix(name, checkpointSuffix):
		d.partition = metadataName
		return d.log(path)
	case ok && (suffix == segment.LogSuffix || strings.HasPrefix(suffix, segment.LogSuffix+".")):
		return d.log(path)
	}
	return d.entries(path)
}

// log prints a file of batches.
func (d *dumper) log(path string) error {
	w, err := openWindow(d.FS, path)
	if err != nil {
		return err
	}
	defer w.close()
	d.file = path
	d.head()
	p := w.all()
	c := cutter{w: w, p: p}
	for next := c.next(); next != nil; next = c.next() {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		var inner error
		fault := w.guard(func() { inner = d.piece(p, next) })
		if err := errors.Join(next.err, fault, inner); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) piece(p []byte, next *piece) error {
	if next.hole != nil {
		return d.damage(next.from, next.to, next.hole.err)
	}
	for _, s := range next.spans {
		if err := d.span(p[s.from:s.to], s); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) span(p []byte, s span) error {
	if err := checkSum(p); err != nil {
		return d.damage(s.from, s.to, err)
	}
	b := batch.Batch(p)
	if b[magicAt] != batch.Magic {
		return d.row(oldRow(b, s), fmt.Sprintf("a message of format %d, %d bytes: not decoded", b[magicAt], len(b)))
	}
	switch {
	case d.To >= 0 && b.BaseOffset() > d.To:
		return errEnough
	case d.From >= 0 && b.LastOffset() < d.From, d.ProducerID >= 0 && b.ProducerID() != d.ProducerID,
		d.FromTime >= 0 && b.MaxTimestamp() < d.FromTime:
		return nil
	}
	if d.Batches {
		return d.batchRow(b, s)
	}
	err := b.Each(d.DecodeLimit, func(r *batch.Record) error {
		if d.From >= 0 && r.Offset < d.From || d.To >= 0 && r.Offset > d.To ||
			d.FromTime >= 0 && r.Timestamp < d.FromTime || d.ToTime >= 0 && r.Timestamp > d.ToTime ||
			d.Key != nil && (r.Key == nil || *d.Key != string(r.Key)) {
			return nil
		}
		return d.record(b, s, r)
	})
	if err != nil && !errors.Is(err, errEnough) && d.ctx.Err() == nil {
		var write *writeError
		if errors.As(err, &write) {
			return err
		}
		return d.damage(s.from, s.to, err)
	}
	return err
}

// writeError is a failed write, which is no damage.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// put writes one row and counts it.
func (d *dumper) put(p []byte) error {
	if _, err := d.out.Write(p); err != nil {
		return &writeError{err}
	}
	d.rows++
	if d.Limit > 0 && d.rows >= d.Limit {
		return errEnough
	}
	return nil
}

// damage shows bytes that are no batch, in their place.
func (d *dumper) damage(from, to int64, why error) error {
	d.damaged = true
	switch d.Format {
	case FormatRaw:
		return nil
	case FormatJSON:
		return d.json(map[string]any{"partition": d.partition, "file": d.file, "position": from, "length": to - from, "damaged": why.Error()})
	}
	return d.put(fmt.Appendf(nil, "%20s  !! %d bytes at position %d of %s: %v\n", "damaged", to-from, from, d.file, why))
}

func (d *dumper) json(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	return d.put(b.Bytes())
}

// head writes the head of a table.
func (d *dumper) head() {
	if d.Format != FormatTable || d.headed {
		return
	}
	d.headed = true
	if d.Batches {
		fmt.Fprintf(d.out, "%-24s %12s %20s %20s %7s %5s %-24s %-6s %-5s %s\n",
			"PARTITION", "POSITION", "FIRST", "LAST", "RECORDS", "EPOCH", "MAX TIMESTAMP", "CODEC", "FLAGS", "PRODUCER")
		return
	}
	fmt.Fprintf(d.out, "%-24s %20s %-24s %-32s %s\n", "PARTITION", "OFFSET", "TIMESTAMP", "KEY", "VALUE")
}
