package partition

import (
	"sync"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

var recompressing sync.Mutex

// recompress rewrites a batch with another codec, for topics whose
// compression.type is not "producer": records, producer, sequence and
// attributes stay, limit bounds what the batch may decompress to.
//
// One at a time: a small batch may stand for tens of megabytes.
func recompress(b batch.Batch, to codec.Type, level, limit int) (batch.Batch, error) {
	recompressing.Lock()
	defer recompressing.Unlock()
	out := batch.NewBuilder(to).Level(level).Producer(b.ProducerID(), b.ProducerEpoch(), b.BaseSequence())
	if b.IsTransactional() {
		out.Transactional()
	}
	err := b.Each(limit, func(r *batch.Record) error {
		out.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
