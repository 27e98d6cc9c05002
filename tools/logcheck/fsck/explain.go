package fsck

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sort"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/index"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// ErrNoOffset says that no batch of a partition holds the offset.
var ErrNoOffset = errors.New("no batch holds that offset")

// ExplainPosition says in words what stands at a position of a file, what the
// checks say of it, and what a mend would take. f is vfs.OS when nil.
func ExplainPosition(ctx context.Context, f vfs.FS, path string, position int64, w io.Writer) error {
	return explain(ctx, f, path, position, -1, w)
}

// ExplainOffset does the same for the batch of a partition directory that holds
// an offset. It returns ErrNoOffset, after what it can say, when none does.
func ExplainOffset(ctx context.Context, f vfs.FS, dir string, offset int64, w io.Writer) error {
	if f == nil {
		f = vfs.OS
	}
	t, err := Scan(f, dir)
	if err != nil {
		return err
	}
	if t.Kind != TargetPartition {
		return fmt.Errorf("%s: expected a partition directory, found a %s", dir, t.Kind)
	}
	p := t.Partitions[0]
	i := sort.Search(len(p.Segments), func(i int) bool { return p.Segments[i].Base > offset }) - 1
	if i < 0 {
		return fmt.Errorf("%s: offset %d: %w: the first segment begins later", dir, offset, ErrNoOffset)
	}
	name := p.file(p.Segments[i].Base, segment.LogSuffix)
	position, err := positionOf(f, name, offset)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return explain(ctx, f, name, position, offset, w)
}

// positionOf finds the batch that holds the offset, or the damage that may have
// held it.
func positionOf(f vfs.FS, name string, offset int64) (int64, error) {
	w, err := openWindow(f, name)
	if err != nil {
		return 0, err
	}
	defer w.close()
	position, suspect := int64(-1), int64(-1)
	c := cutter{w: w, p: w.all()}
	for next := c.next(); next != nil && position < 0; next = c.next() {
		if next.err != nil {
			return 0, next.err
		}
		if next.hole != nil {
			suspect = next.from
			continue
		}
		fault := w.guard(func() {
			for _, s := range next.spans {
				h := headOf(batch.Batch(c.p[s.from:s.to]), s)
				if h.base <= offset && offset <= h.last {
					position = s.from
					return
				}
				if h.base <= offset {
					suspect = -1
				} else if suspect >= 0 {
					position = suspect
					return
				}
			}
		})
		if fault != nil {
			return 0, fault
		}
	}
	if position < 0 {
		position = suspect
	}
	if position < 0 {
		return 0, fmt.Errorf("offset %d: %w", offset, ErrNoOffset)
	}
	return position, nil
}

// explainer writes words about one place.
type explainer struct {
	f        vfs.FS
	path     string
	position int64
	offset   int64 // of the record that is asked for, -1 for none
	b        strings.Builder
}

func explain(ctx context.Context, f vfs.FS, path string, position, offset int64, w io.Writer) error {
	if f == nil {
		f = vfs.OS
	}
	path = filepath.Clean(path)
	info, err := f.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s: expected a file, found a directory", path)
	}
	x := &explainer{f: f, path: path, position: position, offset: offset}
	x.say("%s, %d bytes, position %d\n", path, info.Size(), position)
	if position < 0 || position >= info.Size() {
		return fmt.Errorf("%s: position %d: expected 0 to %d, within the file", path, position, info.Size()-1)
	}
	base, suffix, ok := segment.ParseName(filepath.Base(path))
	switch {
	case isJournal(filepath.Base(path)), isKeptJournal(filepath.Base(path)):
		err = x.journal()
	case strings.HasSuffix(path, checkpointSuffix), ok && strings.HasPrefix(suffix+".", segment.LogSuffix+"."):
		err = x.log()
	case ok && suffix == segment.SnapshotSuffix:
		err = x.snapshot()
	case ok:
		err = x.index(base, suffix)
	default:
		err = x.text()
	}
	if err == nil {
		err = x.findings(ctx)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, x.b.String())
	return err
}

func (x *explainer) say(format string, args ...any) { fmt.Fprintf(&x.b, format, args...) }

// log explains a place in a file of batches.
func (x *explainer) log() error {
	w, err := openWindow(x.f, x.path)
	if err != nil {
		return err
	}
	defer w.close()
	c := cutter{w: w, p: w.all()}
	before := int64(unknown)
	for next := c.next(); next != nil; next = c.next() {
		if next.err != nil {
			return next.err
		}
		done := false
		fault := w.guard(func() {
			if next.hole != nil && x.position < next.to {
				x.hole(c.p, next, before)
				done = true
				return
			}
			for _, s := range next.spans {
				if x.position < s.to {
					x.batch(c.p, s, before)
					done = true
					return
				}
				before = headOf(batch.Batch(c.p[s.from:s.to]), s).last
			}
		})
		if fault != nil || done {
			return fault
		}
	}
	return nil
}

// hole explains bytes that are no batch.
func (x *explainer) hole(p []byte, next *piece, before int64) {
	x.say("\nBytes %d to %d are no intact batch: %v.\n", next.from, next.to-1, next.hole.err)
	if before >= 0 {
		x.say("The batch before ends with offset %d.\n", before)
	}
	if next.to < int64(len(p)) {
		b := batch.Batch(p[next.to:])
		x.say("The next intact batch is at position %d, from offset %d on.\n", next.to, b.BaseOffset())
	} else {
		x.say("No intact batch stands behind them.\n")
	}
	x.mend(next.hole.diag, next.from, next.to)
	if next.to-next.from >= batch.HeaderSize {
		x.say("\nRead as a header, field by field:\n")
		x.header(p[next.from:], next.from)
	}
	x.hex(p, next.from, next.to)
}

// mend says what would give the bytes back, or what is gone.
func (x *explainer) mend(d diagnosis, from, to int64) {
	switch {
	case len(d.fixes) > 0:
		x.say("Proven: %s.\nMending it loses nothing:\n", d.text)
		for _, fix := range d.fixes {
			x.say("  byte %d: %#02x becomes %#02x\n", fix.Position, fix.Found, fix.Correct)
		}
	case d.text != "":
		x.say("Not proven: %s.\nCutting it out loses the %d bytes.\n", d.text, to-from)
	default:
		x.say("No single changed byte explains it; cutting it out loses the %d bytes.\n", to-from)
	}
}

// batch explains a batch that chains.
func (x *explainer) batch(p []byte, s span, before int64) {
	b := batch.Batch(p[s.from:s.to])
	h := headOf(b, s)
	x.say("\nA batch from position %d to %d, %d bytes, offsets %d to %d.\n", s.from, s.to-1, s.to-s.from, h.base, h.last)
	if before >= 0 {
		x.say("The batch before ends with offset %d%s.\n", before, map[bool]string{true: ", so it follows on", false: ""}[before+1 == h.base])
	}
	if h.magic != batch.Magic {
		x.say("It is a message of format %d, from before Kafka 0.11: not explained further.\n", h.magic)
		return
	}
	if err := b.CheckCRC(); err != nil {
		x.say("Its checksum is wrong: %v.\n", err)
		x.mend(diagnoseBatch(p, s.from, s.to), s.from, s.to)
	} else {
		x.say("Its checksum is right.\n")
	}
	x.say("\n")
	x.header(b, s.from)
	x.records(b, s)
	x.hex(p, s.from, s.to)
}

// header prints the fields of a header, the one at the position marked.
func (x *explainer) header(p []byte, from int64) {
	for _, f := range fields {
		mark := ' '
		if at := x.position - from; at >= f.at && at < f.at+int64(f.size) {
			mark = '>'
		}
		x.say("%c %10d  %-21s %-24x %s\n", mark, from+f.at, f.name, p[f.at:f.at+int64(f.size)], fieldWords(batch.Batch(p), f.name))
	}
}

func fieldWords(b batch.Batch, field string) string {
	switch field {
	case "baseOffset":
		return fmt.Sprint(b.BaseOffset())
	case "batchLength":
		return fmt.Sprintf("%d, so %d bytes in all", b.Size()-batch.Overhead, b.Size())
	case "partitionLeaderEpoch":
		return fmt.Sprint(b.LeaderEpoch())
	case "magic":
		return fmt.Sprintf("%d, the only one since Kafka 0.11 is 2", b.Magic())
	case "crc":
		return "CRC-32C of everything behind it"
	case "attributes":
		words := []string{"compression " + b.Codec().String()}
		for _, w := range [...]struct {
			on   bool
			word string
		}{{b.IsLogAppendTime(), "LogAppendTime"}, {b.IsTransactional(), "transactional"}, {b.IsControl(), "control"}, {b.HasDeleteHorizon(), "delete horizon"}} {
			if w.on {
				words = append(words, w.word)
			}
		}
		return strings.Join(words, ", ")
	case "lastOffsetDelta":
		return fmt.Sprintf("%d, so the last offset is %d", b.LastOffsetDelta(), b.LastOffset())
	case "baseTimestamp":
		return stamp(b.BaseTimestamp())
	case "maxTimestamp":
		return stamp(b.MaxTimestamp())
	case "producerId":
		if !b.HasProducerID() {
			return "none"
		}
		return fmt.Sprint(b.ProducerID())
	case "producerEpoch":
		return fmt.Sprint(b.ProducerEpoch())
	case "baseSequence":
		return fmt.Sprint(b.BaseSequence())
	case "recordCount":
		return fmt.Sprint(b.RecordCount())
	}
	return ""
}

// shownRecords is how many records around the one that is asked for are shown.
const shownRecords = 5

// records lists records of the batch: those around the one that is asked for,
// by its offset or, in a batch that is not compressed, by the position.
func (x *explainer) records(b batch.Batch, s span) {
	d := &dumper{partition: filepath.Base(filepath.Dir(x.path))}
	if strings.HasSuffix(x.path, checkpointSuffix) {
		d.partition = metadataName
	}
	type seen struct {
		offset int64
		text   string
	}
	var list []seen
	wanted, at := -1, s.from+batch.HeaderSize
	err := b.Each(proofLimit, func(r *batch.Record) error {
		line := d.decode(b, r).words
		if line == "" {
			line = "value " + d.cell(r.Value, 60)
		}
		list = append(list, seen{r.Offset, fmt.Sprintf("%s  key %s  %s", stamp(r.Timestamp), d.cell(r.Key, 24), line)})
		from := at
		if b.Codec() == 0 {
			size, n := binary.Varint(b[at-s.from:])
			at += int64(n) + size
			if x.position >= from && x.position < at {
				wanted = len(list) - 1
			}
		}
		if r.Offset == x.offset {
			wanted = len(list) - 1
		}
		return nil
	})
	first := 0
	if wanted >= 0 {
		first = max(0, wanted-shownRecords/2)
	}
	x.say("\n%s", count(int64(len(list)), "record"))
	if last := min(first+shownRecords, len(list)); last-first < len(list) {
		x.say(", %d of them here", last-first)
	}
	x.say(":\n")
	for i := first; i < min(first+shownRecords, len(list)); i++ {
		mark := ' '
		if i == wanted {
			mark = '>'
		}
		x.say("%c %10d  %s\n", mark, list[i].offset, list[i].text)
	}
	if err != nil {
		x.say("The records cannot be read on from there: %v.\n", err)
	}
}

// hex shows the bytes around the position.
func (x *explainer) hex(p []byte, from, to int64) {
	start := max(from, x.position&^15-32)
	end := min(to, start+80)
	x.say("\n")
	for at := start; at < end; at += 16 {
		line := p[at:min(at+16, end)]
		text := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, latin(line))
		mark := ' '
		if x.position >= at && x.position < at+16 {
			mark = '>'
		}
		x.say("%c %10d  %-48x %s\n", mark, at, spaced(line), text)
	}
}

// latin makes one rune of every byte.
func latin(p []byte) string {
	r := make([]rune, len(p))
	for i, b := range p {
		r[i] = rune(b)
	}
	return string(r)
}

// spaced prints bytes in hexadecimal with spaces between.
type spaced []byte

// Format writes the bytes, padded to the width.
func (s spaced) Format(f fmt.State, _ rune) {
	text := fmt.Sprintf("% x", []byte(s))
	width, _ := f.Width()
	fmt.Fprintf(f, "%-*s", width, text)
}

// index explains an entry of an index file.
func (x *explainer) index(base int64, suffix string) error {
	width := map[string]int64{segment.IndexSuffix: index.OffsetWidth, segment.TimeIndexSuffix: index.TimeWidth, segment.TxnIndexSuffix: producer.AbortedSize}[suffix]
	if width == 0 {
		return x.text()
	}
	data, err := vfs.ReadFile(x.f, x.path)
	if err != nil {
		return err
	}
	i := x.position / width
	if (i+1)*width > int64(len(data)) {
		x.say("\nThe last %d bytes are no whole entry of %d.\n", int64(len(data))-i*width, width)
		return nil
	}
	e := data[i*width : (i+1)*width]
	x.say("\nEntry %d of %d, bytes %d to %d: %x\n  %s\n", i, int64(len(data))/width, i*width, (i+1)*width-1, e, describeEntry(suffix, base, e).text)
	return nil
}

// snapshot explains an entry of a producer snapshot.
func (x *explainer) snapshot() error {
	data, err := vfs.ReadFile(x.f, x.path)
	if err != nil {
		return err
	}
	t := producer.New(0)
	if err := t.Decode(data, 0); err != nil {
		x.say("\nNot a producer snapshot: %v.\nIt can be made again from the log and an older snapshot.\n", err)
		return nil
	}
	if x.position < 10 {
		x.say("\nThe header: version 1, the checksum of all behind it, %s.\n", count(int64(t.Len()), "producer"))
		return nil
	}
	i := (x.position - 10) / 46
	x.say("\nEntry %d of %d, bytes %d to %d.\n", i, t.Len(), 10+i*46, 10+i*46+45)
	id := int64(binary.BigEndian.Uint64(data[10+i*46:]))
	if p, ok := t.Lookup(id); ok {
		x.say("  %s\n", describeProducer(p))
	}
	return nil
}

// text explains a line of a text file.
func (x *explainer) text() error {
	data, err := vfs.ReadFile(x.f, x.path)
	if err != nil {
		return err
	}
	before := data[:x.position]
	line := strings.Count(string(before), "\n")
	from := strings.LastIndexByte(string(before), '\n') + 1
	rest, _, _ := strings.Cut(string(data[from:]), "\n")
	x.say("\nLine %d, byte %d of it: %q\n", line+1, x.position-int64(from), rest)
	return nil
}

// findings adds what a deep check of everything around says of the place.
func (x *explainer) findings(ctx context.Context) error {
	target := filepath.Dir(x.path)
	if _, err := x.f.Stat(filepath.Join(filepath.Dir(target), propertiesName)); err == nil {
		if _, _, _, ok := parsePartition(filepath.Base(target)); !ok {
			target = x.path
		}
	}
	r, err := Verify(ctx, []string{target}, Options{FS: x.f, Deep: true})
	if err != nil {
		x.say("\nNot checked: %v.\n", err)
		return nil
	}
	bad := false
	said := false
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.File == x.path && (f.Position < 0 || f.Length == 0 || x.position >= f.Position && x.position < f.Position+f.Length) {
			x.say("\n")
			f.write(&x.b)
			said = true
			bad = bad || f.Severity > Harmless
		}
	}
	switch {
	case !said:
		x.say("\nThe checks find nothing wrong here.\n")
	case bad && !isJournal(filepath.Base(x.path)):
		return x.plan(ctx, target)
	}
	return nil
}

// plan says what a repair would do about the file.
func (x *explainer) plan(ctx context.Context, target string) error {
	for _, policy := range [...]Policy{PolicyStop, PolicyCut} {
		r, err := Repair(ctx, []string{target}, RepairOptions{FS: x.f, Damage: policy, DryRun: true})
		if err != nil {
			return err
		}
		said := false
		for i := range r.Actions {
			if r.Actions[i].File != x.path {
				continue
			}
			if !said {
				x.say("\nlogcheck repair --damage=%s would:\n", policy)
			}
			said = true
			r.Actions[i].write(&x.b)
		}
		if said {
			return nil
		}
	}
	x.say("\nlogcheck repair would leave the file as it is.\n")
	return nil
}
