package meta

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/gregor-broker/gregor/wire/prim"
)

// The keys of the metadata records (apiKey in Kafka's metadata schemas). 6, 13 and 16 were never assigned.
const (
	KeyRegisterBroker            int16 = 0
	KeyUnregisterBroker          int16 = 1
	KeyTopic                     int16 = 2
	KeyPartition                 int16 = 3
	KeyConfig                    int16 = 4
	KeyPartitionChange           int16 = 5
	KeyFenceBroker               int16 = 7
	KeyUnfenceBroker             int16 = 8
	KeyRemoveTopic               int16 = 9
	KeyDelegationToken           int16 = 10
	KeyUserScramCredential       int16 = 11
	KeyFeatureLevel              int16 = 12
	KeyClientQuota               int16 = 14
	KeyProducerIDs               int16 = 15
	KeyBrokerRegistrationChange  int16 = 17
	KeyAccessControlEntry        int16 = 18
	KeyRemoveAccessControlEntry  int16 = 19
	KeyNoOp                      int16 = 20
	KeyZkMigrationState          int16 = 21
	KeyRemoveUserScramCredential int16 = 22
	KeyBeginTransaction          int16 = 23
	KeyEndTransaction            int16 = 24
	KeyAbortTransaction          int16 = 25
	KeyRemoveDelegationToken     int16 = 26
	KeyRegisterController        int16 = 27
	KeyClearElr                  int16 = 28
)

// frameVersion is MetadataRecordSerde.DEFAULT_FRAME_VERSION, the only one there is.
const frameVersion = 1

// The metadata.version from which a fact has a place in records.
const (
	scramVersion                  int16 = 11
	delegationTokenVersion        int16 = 14
	controllerRegistrationVersion int16 = 15
	directoryAssignmentVersion    int16 = 17
	eligibleLeaderReplicasVersion int16 = 23
	cordonedLogDirsVersion        int16 = 30
)

// ErrMalformedRecord is what every error of Decode wraps.
var ErrMalformedRecord = errors.New("malformed metadata record")

// Record is one record of the metadata log: a pointer to one of the ...Record structs of this package, or *UnknownRecord.
// Slices and pointers inside a record given to a Delta belong to it from then on and must not be changed.
type Record interface {
	// Key returns the record's apiKey.
	Key() int16
	// version returns the record version Kafka writes at the given metadata.version.
	version(metadataVersion int16) int16
	// appendBody appends the fields that the version has.
	appendBody(dst []byte, version int16) []byte
	// readBody reads the fields that the version has; errors stay in r. What it keeps does not alias the input.
	readBody(r *prim.Reader, version int16)
}

type recordType struct {
	name       string
	maxVersion int16
	make       func() Record
}

// recordTypes is indexed by key; an entry without a name is a key this release does not know.
var recordTypes = [...]recordType{
	KeyRegisterBroker:            {"RegisterBrokerRecord", 4, func() Record { return new(RegisterBrokerRecord) }},
	KeyUnregisterBroker:          {"UnregisterBrokerRecord", 0, func() Record { return new(UnregisterBrokerRecord) }},
	KeyTopic:                     {"TopicRecord", 0, func() Record { return new(TopicRecord) }},
	KeyPartition:                 {"PartitionRecord", 2, func() Record { return new(PartitionRecord) }},
	KeyConfig:                    {"ConfigRecord", 0, func() Record { return new(ConfigRecord) }},
	KeyPartitionChange:           {"PartitionChangeRecord", 2, func() Record { return NewPartitionChange(UUID{}, -1) }},
	KeyFenceBroker:               {"FenceBrokerRecord", 0, func() Record { return new(FenceBrokerRecord) }},
	KeyUnfenceBroker:             {"UnfenceBrokerRecord", 0, func() Record { return new(UnfenceBrokerRecord) }},
	KeyRemoveTopic:               {"RemoveTopicRecord", 0, func() Record { return new(RemoveTopicRecord) }},
	KeyDelegationToken:           {"DelegationTokenRecord", 0, func() Record { return new(DelegationTokenRecord) }},
	KeyUserScramCredential:       {"UserScramCredentialRecord", 0, func() Record { return new(UserScramCredentialRecord) }},
	KeyFeatureLevel:              {"FeatureLevelRecord", 0, func() Record { return new(FeatureLevelRecord) }},
	KeyClientQuota:               {"ClientQuotaRecord", 0, func() Record { return new(ClientQuotaRecord) }},
	KeyProducerIDs:               {"ProducerIdsRecord", 0, func() Record { return new(ProducerIDsRecord) }},
	KeyBrokerRegistrationChange:  {"BrokerRegistrationChangeRecord", 3, func() Record { return new(BrokerRegistrationChangeRecord) }},
	KeyAccessControlEntry:        {"AccessControlEntryRecord", 0, func() Record { return new(AccessControlEntryRecord) }},
	KeyRemoveAccessControlEntry:  {"RemoveAccessControlEntryRecord", 0, func() Record { return new(RemoveAccessControlEntryRecord) }},
	KeyNoOp:                      {"NoOpRecord", 0, func() Record { return new(NoOpRecord) }},
	KeyZkMigrationState:          {"ZkMigrationStateRecord", 0, func() Record { return new(ZkMigrationStateRecord) }},
	KeyRemoveUserScramCredential: {"RemoveUserScramCredentialRecord", 0, func() Record { return new(RemoveUserScramCredentialRecord) }},
	KeyBeginTransaction:          {"BeginTransactionRecord", 0, func() Record { return new(BeginTransactionRecord) }},
	KeyEndTransaction:            {"EndTransactionRecord", 0, func() Record { return new(EndTransactionRecord) }},
	KeyAbortTransaction:          {"AbortTransactionRecord", 0, func() Record { return new(AbortTransactionRecord) }},
	KeyRemoveDelegationToken:     {"RemoveDelegationTokenRecord", 0, func() Record { return new(RemoveDelegationTokenRecord) }},
	KeyRegisterController:        {"RegisterControllerRecord", 0, func() Record { return new(RegisterControllerRecord) }},
	KeyClearElr:                  {"ClearElrRecord", 0, func() Record { return new(ClearElrRecord) }},
}

// RecordName returns the schema's name for a key ("TopicRecord"), or "record N" for a key this release does not know.
func RecordName(key int16) string {
	if key >= 0 && int(key) < len(recordTypes) && recordTypes[key].name != "" {
		return recordTypes[key].name
	}
	return "record " + strconv.Itoa(int(key))
}

// Decode reads one record value of the metadata log: frame version, key, version, body. The result aliases nothing of value.
// A key or version this release does not know becomes an *UnknownRecord; unknown tagged fields are skipped; anything else
// that is not as the schema says, and bytes after the body, are an error that wraps ErrMalformedRecord.
func Decode(value []byte) (Record, error) {
	var r prim.Reader
	r.Reset(value)
	frame, key, version := r.Uvarint(), r.Uvarint(), r.Uvarint()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%w: frame: %w", ErrMalformedRecord, err)
	}
	if frame != frameVersion {
		return nil, fmt.Errorf("%w: frame version at byte 0: expected %d, found %d", ErrMalformedRecord, frameVersion, frame)
	}
	if key > math.MaxInt16 || version > math.MaxInt16 {
		return nil, fmt.Errorf("%w: key %d version %d at byte 1: expected at most %d", ErrMalformedRecord, key, version, math.MaxInt16)
	}
	if int(key) >= len(recordTypes) || recordTypes[key].make == nil || version > uint32(recordTypes[key].maxVersion) {
		return &UnknownRecord{APIKey: int16(key), Version: int16(version), Raw: append([]byte(nil), value...)}, nil
	}
	rec := recordTypes[key].make()
	rec.readBody(&r, int16(version))
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%w: %s version %d: %w", ErrMalformedRecord, recordTypes[key].name, version, err)
	}
	if n := r.Remaining(); n != 0 {
		return nil, fmt.Errorf("%w: %s version %d: %d bytes after the body at byte %d", ErrMalformedRecord, recordTypes[key].name, version, n, r.Offset())
	}
	return rec, nil
}

// Append appends the record as a value of the metadata log, in the record version Kafka writes at that metadata.version.
// Fields that this version does not have are left out. Strings must not be longer than prim.MaxStringBytes.
func Append(dst []byte, r Record, metadataVersion int16) []byte {
	return appendVersion(dst, r, r.version(metadataVersion))
}

func appendVersion(dst []byte, r Record, version int16) []byte {
	if u, ok := r.(*UnknownRecord); ok {
		return append(dst, u.Raw...)
	}
	dst = prim.AppendUvarint(dst, frameVersion)
	dst = prim.AppendUvarint(dst, uint32(r.Key()))
	dst = prim.AppendUvarint(dst, uint32(version))
	return r.appendBody(dst, version)
}

// UnknownRecord is a record whose key or version this release does not know. Kafka writes none below the metadata.version
// that introduces it; it is kept so that nothing is lost on the way through a snapshot, and Unsupported names it.
type UnknownRecord struct {
	APIKey  int16
	Version int16
	Raw     []byte // the whole value, frame included
}

// Key returns the key that was found.
func (u *UnknownRecord) Key() int16                            { return u.APIKey }
func (u *UnknownRecord) version(int16) int16                   { return u.Version }
func (u *UnknownRecord) appendBody(dst []byte, _ int16) []byte { return dst }
func (u *UnknownRecord) readBody(*prim.Reader, int16)          {}
