package partition

import (
	"errors"
	"testing"
	"time"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/server/meta"
)

func txnRecord(epoch int16, sequence int32) batch.Batch {
	return batch.NewBuilder(codec.None).Producer(7, epoch, sequence).Transactional().Append(time.Now().UnixMilli(), []byte("key"), nil).Bytes()
}

// TestTransactions: proof is asked for where the configuration says so, and a marker ends what is open.
func TestTransactions(t *testing.T) {
	for _, verify := range []bool{false, true} {
		p := open(t, 1, 0, func(c *Config) { c.VerifyTransactions = verify }).Get(meta.UUID{1}, 0)
		log, err := p.Log()
		if err != nil {
			t.Fatal(err)
		}
		done := make(synced, 1)
		_, err = p.Append(txnRecord(0, 0), done)
		if verify {
			if !errors.Is(err, producer.ErrTransactionState) {
				t.Fatalf("without proof: %v", err)
			}
			_, err = p.AppendVerified(txnRecord(0, 0), log.BeginVerification(7, 0, 0, true), done)
		}
		if err := errors.Join(err, <-done); err != nil {
			t.Fatal(err)
		}
		if log.Stable() != 0 || !log.InTransaction(7, 0) {
			t.Fatalf("stable offset %d", log.Stable())
		}
		marker := Marker{ProducerID: 7, ProducerEpoch: 0, CoordinatorEpoch: 3, Version: 2}
		if err := p.AppendMarker(marker, done); !errors.Is(err, producer.ErrFencedEpoch) {
			t.Errorf("the epoch of the data, by version 2: %v", err)
		}
		marker.ProducerEpoch = 1
		if err := errors.Join(p.AppendMarker(marker, done), <-done); err != nil {
			t.Fatal(err)
		}
		if log.Stable() != 2 || log.InTransaction(7, 0) {
			t.Fatalf("stable offset %d behind the marker", log.Stable())
		}
		marker.CoordinatorEpoch = 2
		if err := p.AppendMarker(marker, done); !errors.Is(err, producer.ErrCoordinatorFenced) {
			t.Errorf("an older coordinator: %v", err)
		}
		p.leader.Store(meta.NoLeader)
		if err := p.AppendMarker(marker, done); !errors.Is(err, ErrNotLeader) {
			t.Errorf("no leader: %v", err)
		}
	}
}
