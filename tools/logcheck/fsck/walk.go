package fsck

import (
	"context"
	"errors"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// piecesAhead is how many pieces of one log are under way at a time.
const piecesAhead = 4

// easyDecode is how much each worker may decompress of a batch without asking
// the others, in bytes; larger batches are decompressed one at a time.
const easyDecode = 4 << 20

// checking is what all walks of one Verify share: the number of processors in
// use and the progress.
type checking struct {
	ctx    context.Context
	slots  chan struct{}
	large  chan struct{}
	deep   bool
	limit  int
	report *collector
}

// visitor sees the log in order, under the guard of its window.
type visitor interface {
	// intact is called for every batch whose checksum is right, and whose records are when that was asked.
	intact(p []byte, s span)
	// broken is called for a batch that chains and yet is wrong.
	broken(p []byte, s span)
	// hole is called for bytes that are no batch.
	hole(p []byte, from, to int64, f *fault)
	// unreadable is called, last, when the file could not be read on from there.
	unreadable(from int64, err error)
}

// walk checks a whole log: headers one after the other, checksums and records
// by many workers, and the visitor in order.
func (e *checking) walk(w *window, v visitor) error {
	ctx, stop := context.WithCancel(e.ctx)
	defer stop()
	pieces := make(chan *piece, piecesAhead)
	p := w.all()
	go func() {
		defer close(pieces)
		c := cutter{w: w, p: p}
		for next := c.next(); next != nil; next = c.next() {
			select {
			case e.slots <- struct{}{}:
			case <-ctx.Done():
				close(next.done)
				return
			}
			go func() {
				defer func() { <-e.slots; close(next.done) }()
				if err := w.guard(func() { e.check(p, next) }); err != nil && next.err == nil {
					next.err = err
				}
			}()
			select {
			case pieces <- next:
			case <-ctx.Done():
				<-next.done
				return
			}
		}
	}()
	defer func() {
		stop()
		for next := range pieces { // nobody may touch the window when it is closed
			<-next.done
		}
	}()
	for next := range pieces {
		<-next.done
		if err := e.ctx.Err(); err != nil {
			return err
		}
		fault := w.guard(func() {
			for _, s := range next.spans {
				if s.fault == nil || s.fault.kind == KindRecords {
					v.intact(p, s)
				} else {
					v.broken(p, s)
				}
			}
			if next.hole != nil {
				v.hole(p, next.from, next.to, next.hole)
			}
		})
		if err := errors.Join(next.err, fault); err != nil {
			v.unreadable(next.from, err)
			return nil
		}
		e.report.read(next.to - next.from)
	}
	return e.ctx.Err()
}

// check is a worker's part of a piece.
func (e *checking) check(p []byte, next *piece) {
	for i := range next.spans {
		if e.ctx.Err() != nil {
			return
		}
		s := &next.spans[i]
		b := p[s.from:s.to]
		if err := checkSum(b); err != nil {
			s.fault = &fault{kind: KindBatch, err: err, diag: diagnoseChained(p, s.from, s.to)}
			continue
		}
		if b[magicAt] != batch.Magic || !e.deep {
			continue
		}
		if err := e.records(b); err != nil {
			s.fault = &fault{kind: KindRecords, err: err}
		}
	}
}

// records walks the records of a batch within bounds of memory.
func (e *checking) records(b batch.Batch) error {
	err := checkRecords(b, min(easyDecode, e.limit))
	if !errors.Is(err, codec.ErrTooLarge) || e.limit <= easyDecode {
		return e.forgive(err)
	}
	e.large <- struct{}{}
	defer func() { <-e.large }()
	return e.forgive(checkRecords(b, e.limit))
}

// forgive counts a batch that is larger than the limit instead of blaming it.
func (e *checking) forgive(err error) error {
	if errors.Is(err, codec.ErrTooLarge) {
		e.report.tooLarge()
		return nil
	}
	return err
}
