package engine

import (
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/engine/segment"
)

// Sentinels; test with errors.Is.
var (
	// ErrOffsetOutOfRange: the offset is below the log's start or above its end.
	ErrOffsetOutOfRange = errors.New("offset is out of the log's range")
	// ErrClosed: the log or store was closed, or the log deleted.
	ErrClosed = errors.New("log is closed")
	// ErrStorage: the directory cannot be written (a failed sync or write) or
	// the log is damaged. Kafka's KAFKA_STORAGE_ERROR.
	ErrStorage = errors.New("storage error")
	// ErrBatchTooLarge: a batch above the allowed size.
	ErrBatchTooLarge = errors.New("batch is too large")
	// ErrSegmentTooSmall: a batch that no segment of this log can hold
	// (RECORD_LIST_TOO_LARGE).
	ErrSegmentTooSmall = errors.New("batch is larger than segment.bytes")
	// ErrNotFound: no such log.
	ErrNotFound = errors.New("no such log")
	// ErrExists: a log of that name is there already.
	ErrExists = errors.New("log exists")
)

// CorruptError is a DamagedError below the recovery point: acknowledged data.
// It is an ErrStorage.
type CorruptError struct {
	Log    string
	Damage *segment.DamagedError
	// RecoveryPoint is the offset below which everything had been synced; the
	// damage begins at Offset.
	RecoveryPoint, Offset int64
}

// Error names file, position and what to do.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("log %s: offset %d was durable (recovery point %d), yet %v; nothing was changed: run logcheck on it",
		e.Log, e.Offset, e.RecoveryPoint, e.Damage)
}

// Unwrap gives ErrStorage and the damage.
func (e *CorruptError) Unwrap() []error { return []error{ErrStorage, e.Damage} }

// RangeError says which offsets a log offers; it is an ErrOffsetOutOfRange.
type RangeError struct {
	Offset, Start, End int64
}

// Error names the range.
func (e *RangeError) Error() string {
	return fmt.Sprintf("offset %d is outside of [%d, %d]", e.Offset, e.Start, e.End)
}

// Unwrap gives ErrOffsetOutOfRange.
func (e *RangeError) Unwrap() error { return ErrOffsetOutOfRange }
