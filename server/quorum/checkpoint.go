package quorum

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/meta"
)

const (
	checkpointSuffix = ".checkpoint"
	partSuffix       = ".checkpoint.part"    // being written
	deletedSuffix    = ".checkpoint.deleted" // on its way out
	damagedSuffix    = ".checkpoint.damaged" // set aside by Open; Kafka ignores the name
	// snapshotBatchRecords is how many records a batch of a snapshot holds (RaftSnapshotWriter).
	snapshotBatchRecords = 1024
)

// snapshotID names a snapshot by the offset behind the last record it covers and that record's epoch.
type snapshotID struct {
	end   int64
	epoch int32
}

func (id snapshotID) String() string { return fmt.Sprintf("%020d-%010d", id.end, id.epoch) }

// parseSnapshotID reads a file name that ends with the suffix. Kafka puts random digits in front of .checkpoint.part.
func parseSnapshotID(name, suffix string) (snapshotID, bool) {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok || len(stem) < 31 || stem[20] != '-' {
		return snapshotID{}, false
	}
	end, err := strconv.ParseInt(stem[:20], 10, 64)
	epoch, err2 := strconv.ParseInt(stem[21:31], 10, 32)
	if err != nil || err2 != nil || end < 0 || epoch < 0 {
		return snapshotID{}, false
	}
	return snapshotID{end, int32(epoch)}, len(stem) == 31 || suffix != checkpointSuffix
}

// listSnapshots returns the snapshots of a metadata log, newest first, and the names of leftovers.
func listSnapshots(f vfs.FS, logPath string) (list []snapshotID, leftovers []string, err error) {
	entries, err := f.ReadDir(logPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list %s: %w", logPath, err)
	}
	for _, e := range entries {
		if id, ok := parseSnapshotID(e.Name(), checkpointSuffix); ok {
			list = append(list, id)
		}
		for _, suffix := range []string{partSuffix, deletedSuffix} {
			if _, ok := parseSnapshotID(e.Name(), suffix); ok {
				leftovers = append(leftovers, e.Name())
			}
		}
	}
	slices.SortFunc(list, func(a, b snapshotID) int {
		if a.end != b.end {
			return int(max(min(b.end-a.end, 1), -1))
		}
		return int(b.epoch) - int(a.epoch)
	})
	return list, leftovers, nil
}

var errSnapshot = errors.New("not a whole snapshot")

// readSnapshot applies a snapshot to an empty state. The file must begin with a header and end with a footer.
func readSnapshot(f vfs.FS, name string, id snapshotID) (*metadataState, error) {
	r, err := openBatchFile(f, name)
	if err != nil {
		return nil, err
	}
	defer r.close()
	s := newMetadataState()
	for {
		position := r.at
		b, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = s.apply(b, 0, id.end-1)
		}
		if err == nil && s.header == nil {
			err = fmt.Errorf("%w: expected a header first", errSnapshot)
		}
		if err != nil {
			return nil, fmt.Errorf("snapshot %s at position %d: %w", name, position, err)
		}
	}
	if !s.footer {
		return nil, fmt.Errorf("snapshot %s: %w: no footer at the end", name, errSnapshot)
	}
	return s, nil
}

// snapshotWriter writes the batches of a snapshot one behind the other.
type snapshotWriter struct {
	file   vfs.File
	at     int64
	offset int64
	epoch  int32
	now    func() int64
}

func (w *snapshotWriter) write(b *batch.Builder) error {
	n := int64(b.Len())
	p := b.BaseOffset(w.offset).LeaderEpoch(w.epoch).Bytes()
	if _, err := w.file.WriteAt(p, w.at); err != nil {
		return err
	}
	w.at += int64(len(p))
	w.offset += n
	return nil
}

func (w *snapshotWriter) control(records ...meta.ControlRecord) error {
	return w.write(controlBatch(w.now(), records...))
}

// controlBatch returns a builder with the records; the caller sets offset and epoch.
func controlBatch(now int64, records ...meta.ControlRecord) *batch.Builder {
	b := batch.NewBuilder(codec.None).Control()
	for _, r := range records {
		b.Append(now, meta.AppendControlKey(nil, r.ControlType()), meta.AppendControlValue(nil, r))
	}
	return b
}

// writeSnapshot writes a whole snapshot to a new file and syncs it; the name is not durable yet.
func writeSnapshot(f vfs.FS, name string, id snapshotID, now func() int64, head []meta.ControlRecord, records iter.Seq[meta.Record], metadataVersion int16) (size int64, err error) {
	file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o400)
	if err != nil {
		return 0, err
	}
	w := &snapshotWriter{file: file, epoch: id.epoch, now: now}
	err = w.control(head...)
	if err == nil {
		err = w.data(records, metadataVersion)
	}
	if err == nil {
		err = w.control(&meta.SnapshotFooterRecord{})
	}
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return 0, fmt.Errorf("snapshot %s: %w", name, err)
	}
	return w.at, nil
}

func (w *snapshotWriter) data(records iter.Seq[meta.Record], metadataVersion int16) error {
	var b *batch.Builder
	var value []byte
	now := w.now()
	for r := range records {
		value = meta.Append(value[:0], r, metadataVersion)
		if b != nil && (b.Len() >= snapshotBatchRecords || b.Size()+len(value) > maxBatchBytes-64) {
			if err := w.write(b); err != nil {
				return err
			}
			b = nil
		}
		if b == nil {
			b, now = batch.NewBuilder(codec.None), w.now()
		}
		b.Append(now, nil, value)
	}
	if b == nil {
		return nil
	}
	return w.write(b)
}

// bootstrap is what bootstrap.checkpoint holds: the first records of a new cluster (BootstrapDirectory).
type bootstrap struct {
	metadataVersion int16
	records         []meta.Record
	elr             bool // eligible leader replicas are on
}

func newBootstrap(records []meta.Record) bootstrap {
	b := bootstrap{records: records}
	for _, r := range records {
		if level, ok := r.(*meta.FeatureLevelRecord); ok {
			switch level.Name {
			case meta.MetadataVersionFeature:
				b.metadataVersion = level.Level
			case meta.EligibleLeaderReplicasFeature:
				b.elr = level.Level > 0
			}
		}
	}
	return b
}

// readBootstrap reads bootstrap.checkpoint; where there is none Kafka takes the newest features.
func readBootstrap(f vfs.FS, c *Config) (bootstrap, error) {
	name := filepath.Join(c.MetadataLogDir, bootstrapFile)
	r, err := openBatchFile(f, name)
	if errors.Is(err, os.ErrNotExist) {
		return newBootstrap(meta.BootstrapRecords(c.MetadataVersion)), nil
	}
	if err != nil {
		return bootstrap{}, fmt.Errorf("read %s: %w", name, err)
	}
	defer r.close()
	const advice = "format the directory again; nothing is in it yet"
	var records []meta.Record
	for {
		position := r.at
		b, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && !b.IsControl() {
			err = b.Each(decodeLimit, func(rec *batch.Record) error {
				decoded, err := meta.Decode(rec.Value)
				records = append(records, decoded)
				return err
			})
		}
		if err != nil {
			return bootstrap{}, &RefusedError{Reason: ErrCorrupt, File: name, Found: fmt.Sprintf("position %d", position), Advice: advice, Cause: err}
		}
	}
	out := newBootstrap(records)
	if out.metadataVersion == 0 {
		return bootstrap{}, refuse(ErrCorrupt, name, advice, "no %s in it", meta.MetadataVersionFeature)
	}
	return out, nil
}
