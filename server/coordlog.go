package server

import (
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/engine/vfs"
	"github.com/gregor-broker/gregor/server/coord"
)

// coordLog is the coord.Log of a partition of an internal topic. The runtime is
// the only writer of such a log: clients may not produce to it.
type coordLog struct {
	*engine.Log
	epoch int32
}

// Start, End and High are those of the log where it is now: it may be moved to
// another directory.
func (l *coordLog) Start() int64 { return l.Current().Start() }

// End is the offset behind the last batch.
func (l *coordLog) End() int64 { return l.Current().End() }

// High is the offset below which everything is durable.
func (l *coordLog) High() int64 { return l.Current().High() }

// Flush waits until everything appended is durable.
func (l *coordLog) Flush() error { return l.Current().Flush() }

// Epoch is the leader epoch that the coordinator began with.
func (l *coordLog) Epoch() int32 { return l.epoch }

// Append takes one batch of the coordinator in. An error leaves nothing in the
// log, or, if the log is not where the coordinator thought, makes it read again.
func (l *coordLog) Append(b batch.Batch, w coord.Waiter) error {
	return l.append(b, engine.AppendOptions{}, w)
}

// AppendMarker takes a transaction marker in.
func (l *coordLog) AppendMarker(b batch.Batch, transactionVersion int16, w coord.Waiter) error {
	return l.append(b, engine.AppendOptions{TransactionVersion: transactionVersion}, w)
}

func (l *coordLog) append(b batch.Batch, o engine.AppendOptions, w coord.Waiter) error {
	o.LeaderEpoch, o.Origin, o.Checked = l.epoch, producer.Coordinator, true
	expected := b.BaseOffset()
	done, err := l.Log.Append(b, o, w)
	if err == nil && done.BaseOffset != expected {
		err = fmt.Errorf("log %s: a coordinator's batch for offset %d was appended at %d", l.Name(), expected, done.BaseOffset)
	}
	return err
}

// loadBytes is how much of a log is read at a time.
const loadBytes = 1 << 20

// Load reads the whole log, in steps. Everything must be durable: what is not is
// not there for a reader.
func (l *coordLog) Load(f func(b batch.Batch) error) error {
	var buf []byte
	for next, retired := l.Start(), 0; next < l.End(); {
		p, err := l.readAt(next, buf[:0])
		if err != nil {
			var gone *engine.RangeError
			if errors.As(err, &gone) && retired < 10 {
				// A segment was cleaned or deleted under the reader.
				retired, next = retired+1, max(next, l.Start())
				continue
			}
			return err
		}
		if len(p) == 0 {
			if l.High() < l.End() {
				return fmt.Errorf("log %s: nothing to read at offset %d: %d is its end, but only %d is durable", l.Name(), next, l.End(), l.High())
			}
			return nil // the rest was compacted away
		}
		buf, retired = p, 0
		for len(p) > 0 {
			b, rest, err := batch.Next(p)
			if err == nil {
				err = l.check(b, next)
			}
			if err != nil {
				return fmt.Errorf("log %s: batch at offset %d or behind: %w", l.Name(), next, err)
			}
			if err := f(b); err != nil {
				return err
			}
			next = b.NextOffset()
			p = rest
		}
	}
	return nil
}

// check says what is wrong with a batch that offset next lies in or before. The
// checksum does not cover the base offset, so a wrong one must not make what
// follows seem to have been read.
func (l *coordLog) check(b batch.Batch, next int64) error {
	if err := b.CheckCRC(); err != nil {
		return err
	}
	if b.NextOffset() <= next || b.NextOffset() > l.End() || b.BaseOffset() < next && next != l.Start() {
		return fmt.Errorf("offsets %d to %d, expected some from %d on and below %d", b.BaseOffset(), b.LastOffset(), next, l.End())
	}
	return nil
}

// readAt copies batches from an offset on to buf: a batch may lie across the
// spans of a view, and the pages of a mapping may not be readable.
func (l *coordLog) readAt(offset int64, buf []byte) (p []byte, err error) {
	v, err := l.Read(offset, engine.ReadOptions{MaxBytes: loadBytes, AtLeastOne: true})
	if err != nil {
		return nil, err
	}
	defer v.Release()
	p = buf
	fault := vfs.Guard(func() {
		for _, s := range v.Spans {
			p = append(p, s...)
		}
	})
	if fault != nil {
		return nil, fmt.Errorf("log %s: reading at offset %d: %w", l.Name(), offset, fault)
	}
	return p, nil
}
