package quorum

import (
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/server/meta"
)

// metadataState is what the records of snapshots and of the log make, control records included.
type metadataState struct {
	delta        *meta.Delta
	kraftVersion int16
	voters       []meta.Voter // nil: none named in the files
	votersAt     int64        // offset of that record; -1: the bootstrap snapshot; noVoters: never
	migration    int8         // last ZkMigrationState; 0 none
	footer       bool
	header       *meta.SnapshotHeaderRecord
	records      int
}

const noVoters int64 = -2

// decodeLimit bounds what one batch may decompress to.
const decodeLimit = 256 << 20

func newMetadataState() *metadataState {
	return &metadataState{delta: meta.NewDelta(nil), votersAt: noVoters}
}

// apply takes in one batch. In a snapshot all offsets count as at, since those inside the file mean nothing.
func (s *metadataState) apply(b batch.Batch, from, at int64) error {
	return b.Each(decodeLimit, func(r *batch.Record) error {
		offset := r.Offset
		if at != noVoters {
			offset = at
		} else if offset < from {
			return nil
		}
		s.records++
		if b.IsControl() {
			return s.control(r.Key, r.Value, offset)
		}
		if s.footer {
			return errors.New("record behind the snapshot's footer")
		}
		if r.Value == nil {
			return fmt.Errorf("record at offset %d: expected a value, found null", r.Offset)
		}
		rec, err := meta.Decode(r.Value)
		if err == nil {
			if z, ok := rec.(*meta.ZkMigrationStateRecord); ok {
				s.migration = z.State
			}
			err = s.delta.Apply(rec)
		}
		if err != nil {
			return fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
		return nil
	})
}

func (s *metadataState) control(key, value []byte, offset int64) error {
	typ, err := meta.ControlType(key)
	if err != nil {
		return fmt.Errorf("control record at offset %d: %w", offset, err)
	}
	rec, err := meta.DecodeControl(typ, value)
	if errors.Is(err, meta.ErrUnknownControl) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control record at offset %d: %w", offset, err)
	}
	switch rec := rec.(type) {
	case *meta.KRaftVersionRecord:
		s.kraftVersion = rec.KRaftVersion
	case *meta.VotersRecord:
		s.voters, s.votersAt = rec.Voters, offset
	case *meta.SnapshotHeaderRecord:
		s.header = rec
	case *meta.SnapshotFooterRecord:
		s.footer = true
	}
	return nil
}
