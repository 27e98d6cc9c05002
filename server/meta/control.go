package meta

import (
	"errors"
	"fmt"

	"github.com/gregor-broker/gregor/wire/prim"
)

// Types of the control records in logs of the KRaft protocol (ControlRecordType).
const (
	ControlLeaderChange   int16 = 2
	ControlSnapshotHeader int16 = 3
	ControlSnapshotFooter int16 = 4
	ControlKRaftVersion   int16 = 5
	ControlKRaftVoters    int16 = 6
)

// ErrMalformedControl is what every error of DecodeControl about a known type wraps.
var ErrMalformedControl = errors.New("malformed control record")

// ErrUnknownControl is returned by DecodeControl for a type it does not know; readers skip such records.
var ErrUnknownControl = errors.New("unknown control record type")

// ControlRecord is the value of one control record: a pointer to one of LeaderChangeMessage, SnapshotHeaderRecord,
// SnapshotFooterRecord, KRaftVersionRecord and VotersRecord.
type ControlRecord interface {
	// ControlType returns the type that goes into the record's key.
	ControlType() int16
	appendValue(dst []byte) []byte
	// readValue reads what follows the version.
	readValue(r *prim.Reader, version int16)
}

// AppendControlKey appends the key of a control record: version 0 and the type.
func AppendControlKey(dst []byte, controlType int16) []byte {
	return prim.AppendInt16(prim.AppendInt16(dst, 0), controlType)
}

// ControlType reads the type from a control record's key, whatever the key's version and whatever follows.
func ControlType(key []byte) (int16, error) {
	var r prim.Reader
	r.Reset(key)
	r.Int16()
	controlType := r.Int16()
	if err := r.Err(); err != nil {
		return 0, fmt.Errorf("%w: key: %w", ErrMalformedControl, err)
	}
	return controlType, nil
}

// AppendControlValue appends the value of a control record.
func AppendControlValue(dst []byte, rec ControlRecord) []byte { return rec.appendValue(dst) }

// DecodeControl reads the value of a control record of the given type. A version newer than the one known is read as the
// known one and what is left over is ignored, as Kafka does (ControlRecordUtils); otherwise bytes left over are an error.
// The result does not alias value.
func DecodeControl(controlType int16, value []byte) (ControlRecord, error) {
	var rec ControlRecord
	newest := int16(0)
	switch controlType {
	case ControlLeaderChange:
		rec, newest = new(LeaderChangeMessage), 1
	case ControlSnapshotHeader:
		rec = new(SnapshotHeaderRecord)
	case ControlSnapshotFooter:
		rec = new(SnapshotFooterRecord)
	case ControlKRaftVersion:
		rec = new(KRaftVersionRecord)
	case ControlKRaftVoters:
		rec = new(VotersRecord)
	default:
		return nil, fmt.Errorf("%w: %d", ErrUnknownControl, controlType)
	}
	var r prim.Reader
	r.Reset(value)
	version := r.Int16()
	if r.Err() == nil && version < 0 {
		return nil, fmt.Errorf("%w: type %d: expected a version from 0, found %d", ErrMalformedControl, controlType, version)
	}
	rec.readValue(&r, version)
	r.SkipTags()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%w: type %d version %d: %w", ErrMalformedControl, controlType, version, err)
	}
	if n := r.Remaining(); n != 0 && version <= newest {
		return nil, fmt.Errorf("%w: type %d version %d: %d bytes after the body at byte %d", ErrMalformedControl, controlType, version, n, r.Offset())
	}
	return rec, nil
}

// VoterID names a voter in a LeaderChangeMessage.
type VoterID struct {
	ID          int32
	DirectoryID UUID // version 1 only
}

// LeaderChangeMessage is the first record of every leader's epoch. Kafka 4.3 itself writes version 0 and reads every message
// as version 0, whatever the kraft.version (ControlRecordUtils.LEADER_CHANGE_CURRENT_VERSION).
type LeaderChangeMessage struct {
	Version        int16 // 0, or 1 with directory ids
	LeaderID       int32
	Voters         []VoterID
	GrantingVoters []VoterID
}

// ControlType returns ControlLeaderChange.
func (m *LeaderChangeMessage) ControlType() int16 { return ControlLeaderChange }
func (m *LeaderChangeMessage) appendValue(dst []byte) []byte {
	dst = prim.AppendInt32(prim.AppendInt16(dst, m.Version), m.LeaderID)
	for _, voters := range [...][]VoterID{m.Voters, m.GrantingVoters} {
		dst = prim.AppendCompactArrayLen(dst, len(voters))
		for _, v := range voters {
			dst = prim.AppendInt32(dst, v.ID)
			if m.Version >= 1 {
				dst = prim.AppendUUID(dst, v.DirectoryID)
			}
			dst = prim.AppendTags0(dst)
		}
	}
	return prim.AppendTags0(dst)
}
func (m *LeaderChangeMessage) readValue(r *prim.Reader, version int16) {
	m.Version = version
	m.LeaderID = r.Int32()
	size := 5
	if version >= 1 {
		size = 21
	}
	read := func(r *prim.Reader) VoterID {
		v := VoterID{ID: r.Int32()}
		if version >= 1 {
			v.DirectoryID = readUUID(r)
		}
		r.SkipTags()
		return v
	}
	m.Voters = required(r, readList(r, size, read))
	m.GrantingVoters = required(r, readList(r, size, read))
}

// SnapshotHeaderRecord begins a snapshot.
type SnapshotHeaderRecord struct {
	Version                   int16
	LastContainedLogTimestamp int64 // milliseconds since 1970, of the last batch the snapshot covers
}

// ControlType returns ControlSnapshotHeader.
func (s *SnapshotHeaderRecord) ControlType() int16 { return ControlSnapshotHeader }
func (s *SnapshotHeaderRecord) appendValue(dst []byte) []byte {
	return prim.AppendTags0(prim.AppendInt64(prim.AppendInt16(dst, s.Version), s.LastContainedLogTimestamp))
}
func (s *SnapshotHeaderRecord) readValue(r *prim.Reader, version int16) {
	s.Version, s.LastContainedLogTimestamp = version, r.Int64()
}

// SnapshotFooterRecord ends a snapshot; a file without it is not whole.
type SnapshotFooterRecord struct{ Version int16 }

// ControlType returns ControlSnapshotFooter.
func (s *SnapshotFooterRecord) ControlType() int16 { return ControlSnapshotFooter }
func (s *SnapshotFooterRecord) appendValue(dst []byte) []byte {
	return prim.AppendTags0(prim.AppendInt16(dst, s.Version))
}
func (s *SnapshotFooterRecord) readValue(_ *prim.Reader, version int16) { s.Version = version }

// KRaftVersionRecord sets kraft.version from its offset on (KIP-853).
type KRaftVersionRecord struct {
	Version      int16
	KRaftVersion int16
}

// ControlType returns ControlKRaftVersion.
func (k *KRaftVersionRecord) ControlType() int16 { return ControlKRaftVersion }
func (k *KRaftVersionRecord) appendValue(dst []byte) []byte {
	return prim.AppendTags0(prim.AppendInt16(prim.AppendInt16(dst, k.Version), k.KRaftVersion))
}
func (k *KRaftVersionRecord) readValue(r *prim.Reader, version int16) {
	k.Version, k.KRaftVersion = version, r.Int16()
}

// VoterEndpoint is where a voter listens for the other controllers.
type VoterEndpoint struct {
	Name string // listener name
	Host string
	Port uint16
}

// Voter is one member of the quorum (KIP-853).
type Voter struct {
	ID              int32
	DirectoryID     UUID
	Endpoints       []VoterEndpoint
	MinKRaftVersion int16 // levels of kraft.version it understands
	MaxKRaftVersion int16
}

// VotersRecord sets the members of the quorum from its offset on.
type VotersRecord struct {
	Version int16
	Voters  []Voter
}

// ControlType returns ControlKRaftVoters.
func (v *VotersRecord) ControlType() int16 { return ControlKRaftVoters }
func (v *VotersRecord) appendValue(dst []byte) []byte {
	dst = prim.AppendCompactArrayLen(prim.AppendInt16(dst, v.Version), len(v.Voters))
	for _, voter := range v.Voters {
		dst = prim.AppendUUID(prim.AppendInt32(dst, voter.ID), voter.DirectoryID)
		dst = prim.AppendCompactArrayLen(dst, len(voter.Endpoints))
		for _, e := range voter.Endpoints {
			dst = prim.AppendCompactString(prim.AppendCompactString(dst, e.Name), e.Host)
			dst = prim.AppendTags0(prim.AppendUint16(dst, e.Port))
		}
		dst = prim.AppendInt16(prim.AppendInt16(dst, voter.MinKRaftVersion), voter.MaxKRaftVersion)
		dst = prim.AppendTags0(prim.AppendTags0(dst)) // of the feature range, of the voter
	}
	return prim.AppendTags0(dst)
}
func (v *VotersRecord) readValue(r *prim.Reader, version int16) {
	v.Version = version
	v.Voters = required(r, readList(r, 27, func(r *prim.Reader) Voter {
		voter := Voter{ID: r.Int32(), DirectoryID: readUUID(r)}
		voter.Endpoints = required(r, readList(r, 5, func(r *prim.Reader) VoterEndpoint {
			e := VoterEndpoint{Name: r.CompactString(), Host: r.CompactString(), Port: r.Uint16()}
			r.SkipTags()
			return e
		}))
		voter.MinKRaftVersion, voter.MaxKRaftVersion = r.Int16(), r.Int16()
		r.SkipTags()
		r.SkipTags()
		return voter
	}))
}
