package meta

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// UUID is a Kafka Uuid: a topic id, directory id, incarnation id or ACL id. The zero value means "none".
type UUID [16]byte

// The ids Kafka reserves (org.apache.kafka.common.Uuid, DirectoryId). DirectoryMigrating is the zero UUID.
var (
	MetadataTopicID     = UUID{15: 1} // topic id of __cluster_metadata
	DirectoryMigrating  = UUID{}      // replica's directory is not known because the record predates directory ids
	DirectoryUnassigned = UUID{15: 1} // replica has not been given a directory yet
	DirectoryLost       = UUID{15: 2} // replica's directory was lost
)

// reservedUUIDs is how many of the smallest ids Kafka keeps for itself (DirectoryId.reserved).
const reservedUUIDs = 100

// ParseUUID reads Kafka's text form, URL-safe base64 of 16 bytes: 22 characters, or 24 with padding.
func ParseUUID(s string) (UUID, error) {
	var id UUID
	text := s
	if len(text) == 24 && text[22:] == "==" {
		text = text[:22]
	}
	if len(text) != 22 {
		return UUID{}, fmt.Errorf("uuid %.64q: expected 22 characters of base64, found %d", s, len(s))
	}
	// DecodeString skips line ends, so the count of decoded bytes has to be looked at too.
	p, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return UUID{}, fmt.Errorf("uuid %.64q: %w", s, err)
	}
	if copy(id[:], p) != len(id) {
		return UUID{}, fmt.Errorf("uuid %.64q: expected 16 bytes, found %d", s, len(p))
	}
	return id, nil
}

// NewUUID returns a random version 4 id that is not reserved and whose text does not begin with '-' (Uuid.randomUuid: such
// a text would be taken for an option on a command line).
func NewUUID() UUID {
	var id UUID
	for {
		// rand.Read never fails: it ends the process instead.
		_, _ = rand.Read(id[:])
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		if !id.Reserved() && id[0]>>2 != 62 {
			return id
		}
	}
}

// String returns the 22 characters of Kafka's text form.
func (id UUID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// IsZero reports whether id is the zero UUID, which names nothing.
func (id UUID) IsZero() bool { return id == UUID{} }

// Reserved reports whether id is among the ids Kafka keeps for itself, which no directory may carry (DirectoryId.reserved).
func (id UUID) Reserved() bool {
	return binary.BigEndian.Uint64(id[:8]) == 0 && binary.BigEndian.Uint64(id[8:]) < reservedUUIDs
}
