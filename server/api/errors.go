package api

import (
	"errors"

	"github.com/gregor-broker/gregor/engine"
	"github.com/gregor-broker/gregor/engine/batch"
	"github.com/gregor-broker/gregor/engine/codec"
	"github.com/gregor-broker/gregor/engine/producer"
	"github.com/gregor-broker/gregor/server/controller"
	"github.com/gregor-broker/gregor/server/partition"
)

// Kafka's error codes (org.apache.kafka.common.protocol.Errors) that this
// broker answers with.
const (
	errUnknownServerError                 int16 = -1
	errNone                               int16 = 0
	errOffsetOutOfRange                   int16 = 1
	errCorruptMessage                     int16 = 2
	errUnknownTopicOrPartition            int16 = 3
	errLeaderNotAvailable                 int16 = 5
	errNotLeaderOrFollower                int16 = 6
	errReplicaNotAvailable                int16 = 9
	errMessageTooLarge                    int16 = 10
	errCoordinatorLoadInProgress          int16 = 14
	errCoordinatorNotAvailable            int16 = 15
	errNotCoordinator                     int16 = 16
	errInvalidTopic                       int16 = 17
	errRecordListTooLarge                 int16 = 18
	errNotEnoughReplicas                  int16 = 19
	errInvalidRequiredAcks                int16 = 21
	errInconsistentGroupProtocol          int16 = 23
	errInvalidGroupID                     int16 = 24
	errTopicAuthorizationFailed           int16 = 29
	errInvalidTimestamp                   int16 = 32
	errUnsupportedVersion                 int16 = 35
	errTopicAlreadyExists                 int16 = 36
	errInvalidPartitions                  int16 = 37
	errInvalidReplicationFactor           int16 = 38
	errInvalidReplicaAssignment           int16 = 39
	errInvalidConfig                      int16 = 40
	errInvalidRequest                     int16 = 42
	errPolicyViolation                    int16 = 44
	errOutOfOrderSequence                 int16 = 45
	errInvalidProducerEpoch               int16 = 47
	errInvalidTxnState                    int16 = 48
	errInvalidProducerIDMapping           int16 = 49
	errConcurrentTransactions             int16 = 51
	errTransactionCoordFenced             int16 = 52
	errTransactionalIDAuthorizationFailed int16 = 53
	errOperationNotAttempted              int16 = 55
	errKafkaStorage                       int16 = 56
	errLogDirNotFound                     int16 = 57
	errUnknownProducerID                  int16 = 59
	errFetchSessionTopicID                int16 = 106
	errFencedLeaderEpoch                  int16 = 74
	errUnknownLeaderEpoch                 int16 = 75
	errUnsupportedCompressionType         int16 = 76
	errInvalidRecord                      int16 = 87
	errProducerFenced                     int16 = 90
	errUnknownTopicID                     int16 = 100
	errTransactionAbortable               int16 = 120
	errInvalidRegularExpression           int16 = 128
)

// code maps an error of the rooms below to Kafka's code. What it does not know
// is UNKNOWN_SERVER_ERROR, which the caller logs.
func code(err error) int16 {
	if err == nil {
		return errNone
	}
	var a *apiError
	if errors.As(err, &a) {
		return a.code
	}
	var c *controller.Error
	if errors.As(err, &c) {
		return c.Code
	}
	for _, m := range mapping {
		if errors.Is(err, m.err) {
			return m.code
		}
	}
	return errUnknownServerError
}

// mapping is searched in order: causes before what wraps them.
var mapping = []struct {
	err  error
	code int16
}{
	{engine.ErrStorage, errKafkaStorage},
	{engine.ErrClosed, errNotLeaderOrFollower},
	{engine.ErrOffsetOutOfRange, errOffsetOutOfRange},
	{engine.ErrBatchTooLarge, errMessageTooLarge},
	{engine.ErrSegmentTooSmall, errRecordListTooLarge},
	{partition.ErrFencedEpoch, errFencedLeaderEpoch},
	{partition.ErrUnknownEpoch, errUnknownLeaderEpoch},
	{partition.ErrNotLeader, errNotLeaderOrFollower},
	{producer.ErrOutOfOrder, errOutOfOrderSequence},
	{producer.ErrFencedEpoch, errInvalidProducerEpoch},
	{producer.ErrTransactionState, errInvalidTxnState},
	{producer.ErrCoordinatorFenced, errTransactionCoordFenced},
	{batch.ErrCRC, errCorruptMessage},
	{batch.ErrTimestamp, errInvalidTimestamp},
	{batch.ErrLength, errCorruptMessage},
	{batch.ErrShort, errInvalidRecord}, // no batch at all, for Kafka
	{batch.ErrNoKey, errInvalidRecord},
	{batch.ErrStructure, errInvalidRecord},
	{batch.ErrCount, errInvalidRecord},
	{batch.ErrAttributes, errInvalidRecord},
	{batch.ErrProducer, errInvalidRecord},
	{batch.ErrControl, errInvalidRecord},
	{batch.ErrMagic, errCorruptMessage},
	{batch.ErrOldMagic, errInvalidRecord},
	{codec.ErrTooLarge, errInvalidRecord},
	{codec.ErrCorrupt, errInvalidRecord},
	{codec.ErrUnknown, errInvalidRecord},
	{partition.ErrInvalidBatch, errInvalidRecord},
}

// message is an error's text for responses that carry one, nil for none.
func message(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	if e := (*controller.Error)(nil); errors.As(err, &e) {
		s = e.Message
	}
	return &s
}
