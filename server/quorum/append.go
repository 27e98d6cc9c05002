package quorum

import (
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/server/meta"
)

// batchOverhead is more than a batch adds to the values of its records: its header and, for each record, the lengths around it.
const batchOverhead = 64

// ErrTooManyRecords is returned by Round.Propose for one change that needs more records than a batch holds, where the cluster's
// metadata.version knows no metadata transactions to spread it over several.
var ErrTooManyRecords = errors.New("too many records for one change")

// appender lays batches one behind the other, as one append to the log.
type appender struct {
	next  int64 // offset of the next record
	epoch int32
	buf   []byte
	value []byte
}

func (a *appender) add(b *batch.Builder) {
	n := int64(b.Len())
	a.buf = append(a.buf, b.BaseOffset(a.next).LeaderEpoch(a.epoch).Bytes()...)
	a.next += n
}

func (a *appender) control(now int64, records ...meta.ControlRecord) {
	a.add(controlBatch(now, records...))
}

// data adds records, in as many batches as they need, and returns how many that were.
func (a *appender) data(now int64, records []meta.Record, metadataVersion int16) (batches int) {
	var b *batch.Builder
	for _, r := range records {
		a.value = meta.Append(a.value[:0], r, metadataVersion)
		if b != nil && (b.Len() >= maxBatchRecords || b.Size()+len(a.value)+batchOverhead > maxBatchBytes) {
			a.add(b)
			b = nil
		}
		if b == nil {
			b = batch.NewBuilder(codec.None)
			batches++
		}
		b.Append(now, nil, a.value)
	}
	if b != nil {
		a.add(b)
	}
	return batches
}

// atomic adds records so that all or none of them count: in one batch or, where they do not fit, in a metadata transaction.
func (a *appender) atomic(now int64, records []meta.Record, metadataVersion int16) error {
	before := *a
	if a.data(now, records, metadataVersion) <= 1 {
		return nil
	}
	before.value, before.buf = a.value, a.buf[:len(before.buf)]
	*a = before
	if metadataVersion < transactionsVersion {
		return fmt.Errorf("%w: %d records, expected at most %d in %d bytes at metadata.version %s",
			ErrTooManyRecords, len(records), maxBatchRecords, maxBatchBytes, meta.MetadataVersionName(metadataVersion))
	}
	name := "Large change"
	a.data(now, []meta.Record{&meta.BeginTransactionRecord{Name: &name}}, metadataVersion)
	a.data(now, records, metadataVersion)
	a.data(now, []meta.Record{&meta.EndTransactionRecord{}}, metadataVersion)
	return nil
}
