package partition

import (
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
)

// recompress rewrites a batch with another codec, for topics whose
// compression.type is not "producer": records, producer, sequence and
// attributes stay, limit bounds what the batch may decompress to.
func recompress(b batch.Batch, to codec.Type, level, limit int) (batch.Batch, error) {
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
