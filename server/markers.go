package server

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/server/coord"
	"github.com/gregor-broker/gregor/server/meta"
	"github.com/gregor-broker/gregor/server/partition"
	"github.com/gregor-broker/gregor/server/txn"
)

// markers writes transaction markers to the partitions of this broker. The logs of coordinators have one writer, their
// runtime: a marker goes there through it.
type markers struct {
	image      func() *meta.Image
	partitions *partition.Set
	// runtimes are those of the internal topics, by name.
	runtimes map[string]markerRuntime
}

// markerRuntime is a coord.Runtime.
type markerRuntime interface {
	Marker(index int32, producerID int64, epoch int16, coordinatorEpoch int32, transactionVersion int16, commit bool, done func(error)) error
}

// markerWrite is one Write under way: the last sync tells its outcome.
type markerWrite struct {
	results []error
	left    atomic.Int32
	done    func([]error)
}

// markerPart is one partition of a markerWrite.
type markerPart struct {
	write *markerWrite
	at    int
}

// Synced is called by a sync worker.
func (p *markerPart) Synced(err error) {
	w := p.write
	w.results[p.at] = classify(err)
	if w.left.Add(-1) == 0 {
		go w.done(w.results)
	}
}

// Write appends a marker to each partition and tells when all are durable or have failed.
func (s *markers) Write(m txn.Marker, done func([]error)) {
	w := &markerWrite{results: make([]error, len(m.Partitions)), done: done}
	w.left.Store(int32(len(m.Partitions)) + 1)
	im := s.image()
	for i, p := range m.Partitions {
		part := &markerPart{w, i}
		if err := s.write(im, &m, p, part); err != nil {
			part.Synced(err)
		}
	}
	if w.left.Add(-1) == 0 {
		go done(w.results)
	}
}

// write appends one marker. part is told its outcome unless an error is returned.
func (s *markers) write(im *meta.Image, m *txn.Marker, p txn.Partition, part *markerPart) error {
	topic := im.Topic(p.Topic)
	if topic == nil || topic.Partition(p.Index) == nil {
		return fmt.Errorf("%w: %s-%d", txn.ErrGone, p.Topic, p.Index)
	}
	if r := s.runtimes[p.Topic]; r != nil {
		return r.Marker(p.Index, m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch, m.Version, m.Commit, part.Synced)
	}
	hosted := s.partitions.Get(topic.ID, p.Index)
	if hosted == nil {
		return fmt.Errorf("%w: %s-%d is not here yet", partition.ErrNotLeader, p.Topic, p.Index)
	}
	return hosted.AppendMarker(partition.Marker{ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, CoordinatorEpoch: m.CoordinatorEpoch,
		Commit: m.Commit, Version: m.Version}, part)
}

// classify marks the errors that trying again does not help against.
func classify(err error) error {
	if errors.Is(err, producer.ErrFencedEpoch) || errors.Is(err, producer.ErrCoordinatorFenced) {
		return fmt.Errorf("%w: %w", txn.ErrFenced, err)
	}
	return err
}

var _ txn.Markers = (*markers)(nil)
var _ markerRuntime = (*coord.Runtime[*txn.Machine])(nil)
