package fsck

import (
	"encoding/binary"
	"fmt"
	"path/filepath"

	"github.com/gregor-broker/gregor/engine/index"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/segment"
	"github.com/gregor-broker/gregor/engine/vfs"
)

// entryRow is one entry of a small file.
type entryRow struct {
	File     string         `json:"file"`
	Position int64          `json:"position"`
	Fields   map[string]any `json:"fields"`
	text     string
}

// entries prints the entries of any file but a log.
func (d *dumper) entries(path string) error {
	name := filepath.Base(path)
	base, suffix, ok := segment.ParseName(name)
	if ok && suffix == segment.SnapshotSuffix {
		return d.snapshot(path)
	}
	width := map[string]int64{segment.IndexSuffix: index.OffsetWidth, segment.TimeIndexSuffix: index.TimeWidth, segment.TxnIndexSuffix: producer.AbortedSize}[suffix]
	if !ok || width == 0 {
		data, err := vfs.ReadFile(d.FS, path)
		if err != nil {
			return err
		}
		_, err = d.out.Write(data)
		return err
	}
	w, err := openWindow(d.FS, path)
	if err != nil {
		return err
	}
	defer w.close()
	var inner error
	fault := w.guard(func() {
		for at := int64(0); at+width <= w.size && inner == nil; at += width {
			if inner = d.ctx.Err(); inner == nil {
				inner = d.entry(path, at, describeEntry(suffix, base, w.all()[at:at+width]))
			}
		}
		if rest := w.size % width; rest != 0 && inner == nil {
			inner = d.damage(w.size-rest, w.size, fmt.Errorf("entries have %d bytes", width))
		}
	})
	if fault != nil {
		return fault
	}
	return inner
}

func (d *dumper) entry(path string, at int64, row entryRow) error {
	row.File, row.Position = path, at
	switch d.Format {
	case FormatRaw:
		return nil
	case FormatJSON:
		return d.json(row)
	}
	return d.put(fmt.Appendf(nil, "%12d  %s\n", at, row.text))
}

// describeEntry reads one entry of an index.
func describeEntry(suffix string, base int64, p []byte) entryRow {
	switch suffix {
	case segment.IndexSuffix:
		offset, position := base+int64(int32(binary.BigEndian.Uint32(p))), int32(binary.BigEndian.Uint32(p[4:]))
		return entryRow{Fields: map[string]any{"offset": offset, "logPosition": position},
			text: fmt.Sprintf("offset %d is the last of the batch at position %d", offset, position)}
	case segment.TimeIndexSuffix:
		timestamp, offset := int64(binary.BigEndian.Uint64(p)), base+int64(int32(binary.BigEndian.Uint32(p[8:])))
		return entryRow{Fields: map[string]any{"timestamp": timestamp, "offset": offset},
			text: fmt.Sprintf("timestamp %d (%s) is the largest up to offset %d", timestamp, stamp(timestamp), offset)}
	}
	t, err := producer.DecodeAborted(p)
	if err != nil {
		return entryRow{Fields: map[string]any{"damaged": err.Error()}, text: "!! " + err.Error()}
	}
	return entryRow{Fields: map[string]any{"producerId": t.ProducerID, "firstOffset": t.FirstOffset, "lastOffset": t.LastOffset, "lastStableOffset": t.LastStableOffset},
		text: "aborted: " + describeAborted(t)}
}

func (d *dumper) snapshot(path string) error {
	data, err := vfs.ReadFile(d.FS, path)
	if err != nil {
		return err
	}
	t := producer.New(0)
	if err := t.Decode(data, 0); err != nil {
		return d.damage(0, int64(len(data)), err)
	}
	at, inner := int64(10), error(nil)
	t.Each(func(p producer.Producer) bool {
		inner = d.entry(path, at, entryRow{text: describeProducer(p), Fields: map[string]any{"producerId": p.ID, "producerEpoch": p.Epoch, "lastSequence": p.LastSequence,
			"lastOffset": p.LastOffset, "timestamp": p.Timestamp, "coordinatorEpoch": p.CoordinatorEpoch, "txnFirstOffset": p.TxnFirstOffset}})
		at += 46
		return inner == nil
	})
	return inner
}
