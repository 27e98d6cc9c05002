package fsck

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gregor-broker/gregor/engine/batch"
)

// recordRow is a record as JSON lines show it. Bytes that are no UTF-8 are
// given as base64 in the field of that name; null stays null.
type recordRow struct {
	Partition     string      `json:"partition"`
	File          string      `json:"file"`
	Position      int64       `json:"position"` // of the batch
	Offset        int64       `json:"offset"`
	Timestamp     int64       `json:"timestamp"`
	LogAppendTime bool        `json:"logAppendTime,omitempty"`
	LeaderEpoch   int32       `json:"leaderEpoch"`
	Codec         string      `json:"codec"`
	ProducerID    *int64      `json:"producerId,omitempty"`
	ProducerEpoch *int16      `json:"producerEpoch,omitempty"`
	Sequence      *int32      `json:"sequence,omitempty"`
	Transactional bool        `json:"transactional,omitempty"`
	Control       bool        `json:"control,omitempty"`
	Key           *string     `json:"key"`
	KeyBase64     string      `json:"keyBase64,omitempty"`
	Value         *string     `json:"value"`
	ValueBase64   string      `json:"valueBase64,omitempty"`
	Headers       []headerRow `json:"headers,omitempty"`
	Decoded       string      `json:"decoded,omitempty"`      // in words
	DecodedKey    any         `json:"decodedKey,omitempty"`   // of a record that Kafka itself wrote
	DecodedValue  any         `json:"decodedValue,omitempty"` // the same
}

type headerRow struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 string  `json:"valueBase64,omitempty"`
}

// textOf splits bytes into text or base64.
func textOf(p []byte) (text *string, encoded string) {
	switch {
	case p == nil:
		return nil, ""
	case utf8.Valid(p):
		s := string(p)
		return &s, ""
	}
	return nil, base64.StdEncoding.EncodeToString(p)
}

func (d *dumper) record(b batch.Batch, s span, r *batch.Record) error {
	own := d.decode(b, r)
	switch d.Format {
	case FormatRaw:
		return d.put(append(append([]byte(nil), r.Value...), '\n'))
	case FormatJSON:
		row := recordRow{Partition: d.partition, File: d.file, Position: s.from, Offset: r.Offset, Timestamp: r.Timestamp, LogAppendTime: b.IsLogAppendTime(),
			LeaderEpoch: b.LeaderEpoch(), Codec: b.Codec().String(), Transactional: b.IsTransactional(), Control: b.IsControl(),
			Decoded: own.words, DecodedKey: own.key, DecodedValue: own.value}
		row.Key, row.KeyBase64 = textOf(r.Key)
		row.Value, row.ValueBase64 = textOf(r.Value)
		for _, h := range r.Headers {
			text, encoded := textOf(h.Value)
			row.Headers = append(row.Headers, headerRow{h.Key, text, encoded})
		}
		if b.HasProducerID() {
			id, epoch := b.ProducerID(), b.ProducerEpoch()
			row.ProducerID, row.ProducerEpoch = &id, &epoch
			if b.BaseSequence() != batch.NoSequence {
				sequence := batch.AddSequence(b.BaseSequence(), int32(r.Offset-b.BaseOffset()))
				row.Sequence = &sequence
			}
		}
		return d.json(row)
	}
	key, value := d.cell(r.Key, 32), own.words
	if own.key != nil {
		key = "" // the words have it
	}
	if value == "" {
		value = d.cell(r.Value, 120)
	}
	if len(r.Headers) > 0 {
		var list []string
		for _, h := range r.Headers {
			list = append(list, h.Key+"="+d.cell(h.Value, 32))
		}
		value += "  {" + strings.Join(list, ", ") + "}"
	}
	return d.put(fmt.Appendf(nil, "%-24s %20d %-24s %-32s %s\n", d.partition, r.Offset, stamp(r.Timestamp), key, value))
}

// cell is a key or value as a table shows it.
func (d *dumper) cell(p []byte, width int) string {
	if p == nil {
		return "null"
	}
	s := string(p)
	if !utf8.Valid(p) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		s = strconv.Quote(s)
	}
	if r := []rune(s); !d.Full && len(r) > width {
		s = string(r[:width-1]) + "…"
	}
	return s
}

// batchRow is a batch as JSON lines show it.
type batchRow struct {
	Partition     string `json:"partition"`
	File          string `json:"file"`
	Position      int64  `json:"position"`
	Size          int64  `json:"size"`
	BaseOffset    int64  `json:"baseOffset"`
	LastOffset    int64  `json:"lastOffset"`
	Records       int32  `json:"records"`
	LeaderEpoch   int32  `json:"leaderEpoch"`
	MaxTimestamp  int64  `json:"maxTimestamp"`
	Codec         string `json:"codec"`
	Flags         string `json:"flags,omitempty"`
	ProducerID    int64  `json:"producerId"`
	ProducerEpoch int16  `json:"producerEpoch"`
	BaseSequence  int32  `json:"baseSequence"`
	CRC           string `json:"crc"`
	Decoded       string `json:"decoded,omitempty"`
}

// flagsOf are one letter for each attribute bit: log append time, transactional, control, horizon.
func flagsOf(b batch.Batch) string {
	var s strings.Builder
	for _, f := range [...]struct {
		on     bool
		letter byte
	}{{b.IsLogAppendTime(), 'L'}, {b.IsTransactional(), 'T'}, {b.IsControl(), 'C'}, {b.HasDeleteHorizon(), 'H'}} {
		if f.on {
			s.WriteByte(f.letter)
		}
	}
	return s.String()
}

func (d *dumper) batchRow(b batch.Batch, s span) error {
	return d.row(batchRow{Partition: d.partition, File: d.file, Position: s.from, Size: s.to - s.from, BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(),
		Records: b.RecordCount(), LeaderEpoch: b.LeaderEpoch(), MaxTimestamp: b.MaxTimestamp(), Codec: b.Codec().String(), Flags: flagsOf(b),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), CRC: fmt.Sprintf("%08x", b.CRC())}, "")
}

// oldRow is a message of a format before batches.
func oldRow(b batch.Batch, s span) batchRow {
	h := headOf(b, s)
	return batchRow{Position: s.from, Size: s.to - s.from, BaseOffset: h.base, LastOffset: h.last, Records: 1, LeaderEpoch: -1, MaxTimestamp: h.maxTimestamp,
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, CRC: fmt.Sprintf("%08x", binary.BigEndian.Uint32(b[12:]))}
}

func (d *dumper) row(r batchRow, decoded string) error {
	r.Partition, r.File, r.Decoded = d.partition, d.file, decoded
	switch d.Format {
	case FormatRaw:
		return nil
	case FormatJSON:
		return d.json(r)
	}
	who := "-"
	if r.ProducerID >= 0 {
		who = fmt.Sprintf("%d epoch %d sequence %d", r.ProducerID, r.ProducerEpoch, r.BaseSequence)
	}
	return d.put(fmt.Appendf(nil, "%-24s %12d %20d %20d %7d %5d %-24s %-6s %-5s %s %s\n", r.Partition, r.Position, r.BaseOffset, r.LastOffset, r.Records,
		r.LeaderEpoch, stamp(r.MaxTimestamp), r.Codec, r.Flags, who, decoded))
}
