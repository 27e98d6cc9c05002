package api

import (
	"errors"
	"fmt"
	"math"

	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/server/partition"
	"github.com/gregor-broker/gregor/wire/produce"
)

// What listing the bad records of one refused batch may cost.
const (
	mostRecordErrors   = 1000
	recordErrorsInflow = 1 << 20 // bytes of a compressed batch that are looked at
)

var errEnough = errors.New("enough")

// recordErrors lists every record of a refused batch that broke the rule the
// first one broke, as Kafka does (LogValidator.processRecordErrors); producers
// tell their users which records were at fault and which were only in their
// company. What breaks the format is an error of the batch alone.
func recordErrors(first *batch.RecordError, p *partition.Partition, records []byte, nowMs int64) []produce.RecordError {
	keys, times := errors.Is(first.Reason, batch.ErrNoKey), errors.Is(first.Reason, batch.ErrTimestamp)
	if p == nil || !keys && !times {
		return nil
	}
	out := []produce.RecordError{{BatchIndex: int32(first.Index), Message: message(first.Reason)}}
	c := p.Config()
	lo, hi := timestampBounds(c, nowMs)
	index := -1
	err := batch.Batch(records).Each(recordErrorsInflow, func(r *batch.Record) error {
		if index++; index <= first.Index {
			return nil
		}
		switch {
		case c.RequireKeys && r.Key == nil:
			out = append(out, produce.RecordError{BatchIndex: int32(index), Message: message(batch.ErrNoKey)})
		case !c.LogAppendTime && r.Timestamp != batch.NoTimestamp && (r.Timestamp < lo || r.Timestamp > hi):
			text := fmt.Errorf("%w: %d, expected %d to %d", batch.ErrTimestamp, r.Timestamp, lo, hi)
			out = append(out, produce.RecordError{BatchIndex: int32(index), Message: message(text)})
		}
		if len(out) == mostRecordErrors {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return out[:1]
	}
	return out
}

func timestampBounds(c *partition.Config, nowMs int64) (lo, hi int64) {
	lo, hi = math.MinInt64, math.MaxInt64
	if c.TimestampBeforeMaxMs < math.MaxInt64 {
		lo = nowMs - c.TimestampBeforeMaxMs
	}
	if c.TimestampAfterMaxMs < math.MaxInt64-nowMs {
		hi = nowMs + c.TimestampAfterMaxMs
	}
	return lo, hi
}

// startOnError is the log start offset that goes with an error: Kafka tells it
// where the validation of records failed, and -1 where it did not get that far
// (ReplicaManager.appendToLocalLog).
func startOnError(code int16, p *partition.Partition) int64 {
	switch code {
	case errUnknownTopicOrPartition, errNotLeaderOrFollower, errMessageTooLarge, errRecordListTooLarge, errCorruptMessage,
		errKafkaStorage, errInvalidRequiredAcks, errUnsupportedCompressionType, errTransactionalIDAuthorizationFailed:
		return -1
	}
	log, err := p.Log()
	if err != nil {
		return -1
	}
	return log.Start()
}
