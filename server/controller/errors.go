package controller

import (
	"errors"
	"fmt"
)

// Error codes of the Kafka protocol that operations answer (org.apache.kafka.common.protocol.Errors).
const (
	CodeUnknownServerError         int16 = -1
	CodeUnknownTopicOrPartition    int16 = 3
	CodeInvalidTopic               int16 = 17
	CodeUnsupportedSaslMechanism   int16 = 33
	CodeUnsupportedVersion         int16 = 35
	CodeTopicAlreadyExists         int16 = 36
	CodeInvalidPartitions          int16 = 37
	CodeInvalidReplicationFactor   int16 = 38
	CodeInvalidReplicaAssignment   int16 = 39
	CodeInvalidConfig              int16 = 40
	CodeInvalidRequest             int16 = 42
	CodePolicyViolation            int16 = 44
	CodeKafkaStorageError          int16 = 56
	CodeTopicDeletionDisabled      int16 = 73
	CodePreferredLeaderUnavailable int16 = 80
	CodeEligibleLeadersUnavailable int16 = 83
	CodeElectionNotNeeded          int16 = 84
	CodeNoReassignmentInProgress   int16 = 85
	CodeThrottlingQuotaExceeded    int16 = 89
	CodeResourceNotFound           int16 = 91
	CodeDuplicateResource          int16 = 92
	CodeUnacceptableCredential     int16 = 93
	CodeInvalidUpdateVersion       int16 = 95
	CodeUnknownTopicID             int16 = 100
	CodeBrokerIDNotRegistered      int16 = 102
)

// Error is an answer of the Kafka protocol. An empty Message stands for null.
type Error struct {
	Code    int16
	Message string
}

// Error names the code and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("error code %d", e.Code)
	}
	return fmt.Sprintf("error code %d: %s", e.Code, e.Message)
}

// Default messages of codes that Kafka sends without one of its own.
const (
	messageUnknownTopicOrPartition = "This server does not host this topic-partition."
	messageUnknownTopicID          = "This server does not host this topic ID."
	messageElectionNotNeeded       = "Leader election not needed for topic partition."
	messageNoPreferredLeader       = "The preferred leader was not available."
	messageNoEligibleLeader        = "Eligible topic partition leaders are not available."
	messageDeletionDisabled        = "Topic deletion is disabled."
	messageStorage                 = "Disk error when trying to access log file on the disk."
)

func errorf(code int16, format string, args ...any) *Error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// asError keeps an *Error and gives other errors a code.
func asError(err error, code int16) *Error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e
	}
	return &Error{code, err.Error()}
}
