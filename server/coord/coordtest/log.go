package coordtest

import (
	"errors"
	"sync"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/server/coord"
)

// Log is a coord.Log in memory. Safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	epoch   int32
	manual  bool
	batches []batch.Batch
	end     int64
	durable int // batches
	waiting []waiting
	refuse  error // by request
	poison  error // of a failed sync
}

type waiting struct {
	upTo int
	w    coord.Waiter
}

// NewLog makes an empty log whose appends are durable at once; with manual, when
// Sync is called.
func NewLog(epoch int32, manual bool) *Log { return &Log{epoch: epoch, manual: manual} }

// Append appends.
func (l *Log) Append(b batch.Batch, w coord.Waiter) error {
	l.mu.Lock()
	if l.refuse != nil || l.poison != nil {
		defer l.mu.Unlock()
		return errors.Join(l.refuse, l.poison)
	}
	b = append(batch.Batch(nil), b...)
	b.SetBaseOffset(l.end)
	b.SetLeaderEpoch(l.epoch)
	l.batches = append(l.batches, b)
	l.end += int64(b.LastOffsetDelta()) + 1
	if l.manual {
		l.waiting = append(l.waiting, waiting{len(l.batches), w})
		l.mu.Unlock()
		return nil
	}
	l.durable = len(l.batches)
	l.mu.Unlock()
	w.Synced(nil)
	return nil
}

// AppendMarker is Append.
func (l *Log) AppendMarker(b batch.Batch, _ int16, w coord.Waiter) error { return l.Append(b, w) }

// Load reads everything.
func (l *Log) Load(f func(b batch.Batch) error) error {
	_, err := l.LoadFrom(0, f)
	return err
}

// LoadFrom reads everything but the first n batches, and says how many there
// are. Batches never change.
func (l *Log) LoadFrom(n int, f func(b batch.Batch) error) (int, error) {
	l.mu.Lock()
	all := l.batches
	l.mu.Unlock()
	for ; n < len(all); n++ {
		if err := f(all[n]); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Start is 0.
func (l *Log) Start() int64 { return 0 }

// End is the offset behind the last record.
func (l *Log) End() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Flush is Sync; after a sync that failed it fails.
func (l *Log) Flush() error {
	l.mu.Lock()
	err := l.poison
	l.mu.Unlock()
	if err == nil {
		l.Sync(nil)
	}
	return err
}

// Epoch is the leader epoch.
func (l *Log) Epoch() int32 { return l.epoch }

// Sync makes everything appended durable, or tells everybody waiting err, after
// which the log takes nothing any more.
func (l *Log) Sync(err error) {
	l.mu.Lock()
	due := l.waiting
	l.waiting = nil
	if err == nil && l.poison == nil {
		l.durable = len(l.batches)
	} else if l.poison == nil {
		l.poison = err
	}
	err = l.poison
	l.mu.Unlock()
	for _, w := range due {
		w.w.Synced(err)
	}
}

// Refuse makes every append fail with err, until called with nil.
func (l *Log) Refuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = err
}

// Crash returns what a power cut leaves: a log, of the next leader epoch, that
// has what was durable and, of the rest, the first keep batches.
func (l *Log) Crash(keep int) *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := &Log{epoch: l.epoch + 1, manual: l.manual}
	n.batches = append(n.batches, l.batches[:min(l.durable+keep, len(l.batches))]...)
	n.durable = len(n.batches)
	if n.durable > 0 {
		n.end = n.batches[n.durable-1].LastOffset() + 1
	}
	return n
}

// Unsynced is the number of batches that a power cut may take.
func (l *Log) Unsynced() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.batches) - l.durable
}
